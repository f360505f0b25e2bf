//! Making text from outside safe to show: bounded, on one line, and without secrets.

/// The most characters that are shown.
const MAX_CHARS: usize = 600;

/// Makes text from outside safe to show: control and direction characters become spaces, runs of spaces become one, the query of
/// a URL and the content of a data URI are left out, and a long text is cut.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut shown = 0;
    let words = text.split(|c: char| c.is_whitespace() || c.is_control() || changes_direction(c));
    for word in words.filter(|word| !word.is_empty()) {
        if !out.is_empty() {
            out.push(' ');
            shown += 1;
        }
        for c in remove_secrets(word).chars() {
            if shown >= MAX_CHARS {
                out.push('…');
                return out;
            }
            out.push(c);
            shown += 1;
        }
    }
    out
}

/// Whether a character changes the direction of the text around it, and so could disguise what an error says.
fn changes_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Removes the query of a URL, which may have a signature, and the content of a data URI.
fn remove_secrets(word: &str) -> String {
    let lower = word.to_ascii_lowercase();
    if let Some(start) = lower.find("://")
        && let Some(query) = word[start..].find('?')
    {
        return format!("{}?…", &word[..start + query]);
    }
    if let Some(start) = lower.find("data:")
        && let Some(comma) = word[start..].find(',')
        && word.len() > start + comma + 1
    {
        return format!("{},…", &word[..start + comma]);
    }
    word.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_url_loses_its_query() {
        assert_eq!(
            plain("no such file: https://cdn.example/a.mp4?X-Sig=abc&x=1 (gone)"),
            "no such file: https://cdn.example/a.mp4?… (gone)"
        );
        assert_eq!(plain("\"HTTPS://h/?sig=1\""), "\"HTTPS://h/?…");
    }

    #[test]
    fn a_data_uri_loses_its_content() {
        assert_eq!(
            plain("bad data:image/png;base64,AAAA"),
            "bad data:image/png;base64,…"
        );
    }

    #[test]
    fn text_comes_out_on_one_bounded_line() {
        assert_eq!(plain(" a\r\n\u{1b}[31m\tb\u{202e}c "), "a [31m b c");
        let long = plain(&"ä".repeat(5000));
        assert_eq!(long.chars().count(), MAX_CHARS + 1);
        assert_eq!(plain(""), "");
    }
}
