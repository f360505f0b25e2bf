//! `STATUS.html`, for people who see only the folders. It is one file that any browser shows without a network: text, small
//! pictures of the inputs, and links to the outputs next to it. This module only makes the HTML; the daemon gathers the content
//! and writes the file.

use std::fmt::Write as _;

/// The maximum number of rows in a table; the rest is counted.
pub const ROWS: usize = 100;

/// The content of a page.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// The inboxes that the page is about.
    pub inboxes: Vec<Inbox>,
    /// Why nothing is submitted now, if that is so.
    pub stopped: Option<String>,
    /// Whether the daemon has ended.
    pub ended: bool,
}

/// One inbox on a page.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Inbox {
    /// Its name.
    pub name: String,
    /// Its folder, for people.
    pub folder: String,
    /// Why it cannot be used now, if it cannot.
    pub frozen: Option<String>,
    /// What cannot be done in which of its folders, a sentence each.
    pub problems: Vec<String>,
    /// Files that wait.
    pub waiting: Vec<Waiting>,
    /// How many more files wait than are listed.
    pub more_waiting: usize,
    /// Jobs in progress.
    pub running: Vec<Running>,
    /// How many more are in progress than are listed.
    pub more_running: usize,
    /// Jobs that need a decision.
    pub doubts: Vec<Trouble>,
    /// Jobs that failed or were cancelled recently, the latest first.
    pub failed: Vec<Trouble>,
    /// Jobs that were delivered recently, the latest first.
    pub done: Vec<Done>,
}

/// A file that waits.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// The file, below the inbox.
    pub input: String,
    /// What it waits for.
    pub reason: String,
}

/// A job in progress.
#[derive(Debug, Clone, PartialEq)]
pub struct Running {
    /// The file, below the inbox.
    pub input: String,
    /// Its state.
    pub state: String,
    /// From 0 to 1.
    pub progress: Option<f64>,
}

/// A job that somebody should look at.
#[derive(Debug, Clone, PartialEq)]
pub struct Trouble {
    /// The file, below the inbox.
    pub input: String,
    /// What happened, and where, a line for each place.
    pub what: Vec<String>,
    /// What to do now.
    pub advice: String,
    /// When, for people.
    pub at: String,
}

/// A job that was delivered.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// The file, below the inbox.
    pub input: String,
    /// A small picture of the input, as a data URI.
    pub picture: Option<String>,
    /// What came out.
    pub outputs: Vec<Link>,
    /// What it cost, for people.
    pub credits: String,
    /// When, for people.
    pub at: String,
}

/// A file to open.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// The relative link from the page to it, if it is below the page's folder, so that it also works on another computer.
    pub way: Option<String>,
}

impl Page {
    /// Returns the page as HTML. `told_at` is the time of the content, for people.
    pub fn html(&self, told_at: &str) -> String {
        let mut html = String::with_capacity(16 * 1024);
        html.push_str(HEAD);
        html.push_str("<h1>taxiway</h1>\n");
        let state = if self.ended {
            "<strong>taxiway is not running.</strong> Files dropped now wait until it is started again."
        } else {
            "taxiway is running."
        };
        push(
            &mut html,
            format_args!(
                "<p>{state} Last updated: <time>{}</time>. The page is updated when something changes.</p>\n",
                escape(told_at)
            ),
        );
        html.push_str(UPDATE);
        if let Some(why) = &self.stopped {
            push(
                &mut html,
                format_args!(
                    "<p class=\"alert\"><strong>Nothing is submitted at the moment.</strong> Work waits {}.</p>\n",
                    escape(why)
                ),
            );
        }
        for inbox in &self.inboxes {
            inbox.write(&mut html);
        }
        html.push_str("</main>\n</body>\n</html>\n");
        html
    }
}

impl Inbox {
    fn write(&self, html: &mut String) {
        push(
            html,
            format_args!(
                "<section>\n<h2>{}</h2>\n<p class=\"folder\">{}</p>\n",
                escape(&self.name),
                escape(&self.folder)
            ),
        );
        if let Some(why) = &self.frozen {
            push(
                html,
                format_args!(
                    "<p class=\"alert\"><strong>The folder cannot be used now.</strong> {}</p>\n",
                    escape(why)
                ),
            );
        }
        for what in &self.problems {
            push(
                html,
                format_args!("<p class=\"alert\">{}</p>\n", escape(what)),
            );
        }
        write_troubles(html, "Needs your decision", &self.doubts);
        table(
            html,
            "In progress",
            &["File", "State"],
            &self.running,
            self.more_running,
            Running::cells,
        );
        table(
            html,
            "Waiting",
            &["File", "Waits for"],
            &self.waiting,
            self.more_waiting,
            |one| vec![escape(&one.input), escape(&one.reason)],
        );
        write_troubles(html, "Failed or cancelled recently", &self.failed);
        table(
            html,
            "Delivered recently",
            &["", "File", "Output", "Credits", "When"],
            &self.done,
            0,
            Done::cells,
        );
        let parts = [
            self.doubts.len(),
            self.running.len().saturating_add(self.more_running),
            self.waiting.len().saturating_add(self.more_waiting),
            self.failed.len(),
            self.done.len(),
        ];
        if parts.iter().all(|count| *count == 0) {
            html.push_str(
                "<p>Nothing yet. Drop an image, a video or a sidecar into the folder.</p>\n",
            );
        }
        html.push_str("</section>\n");
    }
}

impl Running {
    fn cells(&self) -> Vec<String> {
        let bar = self.progress.map_or_else(String::new, |progress| {
            let percent = (progress.clamp(0.0, 1.0) * 100.0).round();
            format!(
                " <progress max=\"100\" value=\"{percent}\" aria-label=\"{percent} percent\"></progress>"
            )
        });
        vec![escape(&self.input), format!("{}{bar}", escape(&self.state))]
    }
}

impl Done {
    fn cells(&self) -> Vec<String> {
        let picture = self.picture.as_ref().map_or_else(String::new, |picture| {
            // The file's name is next to it: a description would be read twice.
            format!("<img src=\"{}\" alt=\"\">", escape(picture))
        });
        let outputs: Vec<String> = self.outputs.iter().map(Link::html).collect();
        vec![
            picture,
            escape(&self.input),
            outputs.join("<br>"),
            escape(&self.credits),
            escape(&self.at),
        ]
    }
}

impl Link {
    fn html(&self) -> String {
        match &self.way {
            Some(way) => format!("<a href=\"{}\">{}</a>", escape(way), escape(&self.name)),
            None => escape(&self.name),
        }
    }
}

fn write_troubles(html: &mut String, title: &str, troubles: &[Trouble]) {
    let columns = ["File", "What happened", "What to do", "When"];
    table(html, title, &columns, troubles, 0, |one| {
        let what: Vec<String> = one.what.iter().map(|line| escape(line)).collect();
        vec![
            escape(&one.input),
            what.join("<br>"),
            escape(&one.advice),
            escape(&one.at),
        ]
    });
}

/// Writes a table with a heading, if there is anything to show. `more` rows are counted and not listed. The file names the row; a
/// cell is HTML.
fn table<T>(
    html: &mut String,
    title: &str,
    columns: &[&str],
    rows: &[T],
    more: usize,
    cells: impl Fn(&T) -> Vec<String>,
) {
    if rows.is_empty() && more == 0 {
        return;
    }
    push(
        html,
        format_args!(
            "<h3>{} <span class=\"count\">{}</span></h3>\n<div class=\"wide\"><table>\n<thead><tr>",
            escape(title),
            rows.len().saturating_add(more)
        ),
    );
    for column in columns {
        match *column {
            "" => html.push_str("<td></td>"),
            column => push(
                html,
                format_args!("<th scope=\"col\">{}</th>", escape(column)),
            ),
        }
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for row in rows.iter().take(ROWS) {
        html.push_str("<tr>");
        for (cell, column) in cells(row).iter().zip(columns) {
            match *column {
                "File" => push(html, format_args!("<th scope=\"row\">{cell}</th>")),
                "" => push(html, format_args!("<td>{cell}</td>")),
                column => push(
                    html,
                    format_args!("<td data-column=\"{column}\">{cell}</td>"),
                ),
            }
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody>\n</table></div>\n");
    let hidden = rows.len().saturating_sub(ROWS).saturating_add(more);
    if hidden > 0 {
        push(html, format_args!("<p>… and {hidden} more.</p>\n"));
    }
}

fn push(html: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail; its error type exists only for the trait.
    if html.write_fmt(text).is_err() {
        tracing::debug!("a part of the status page is missing");
    }
}

/// Escapes text for HTML: anybody can name a file.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Returns a path below the page's folder as a link. Each part is encoded, so that any name works.
pub fn way(parts: &[&std::ffi::OsStr]) -> String {
    let mut way = String::from(".");
    for part in parts {
        way.push('/');
        for byte in part.as_encoded_bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                    way.push(char::from(*byte));
                }
                byte => push(&mut way, format_args!("%{byte:02X}")),
            }
        }
    }
    way
}

const HEAD: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>taxiway: status</title>
<style>
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --alert: #c336; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; overflow-wrap: anywhere; }
main { max-width: 70rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .5rem; }
h2 { font-size: 1.25rem; margin: 2rem 0 0; border-top: 1px solid var(--line); padding-top: 1rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
.folder, .count { opacity: .75; font-weight: normal; }
.folder { margin: 0; }
.alert { border-left: .3rem solid var(--alert); background: var(--soft); padding: .5rem .75rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--line); }
td[data-column="When"] { white-space: nowrap; }
thead th { font-weight: 600; opacity: .75; }
tbody th { font-weight: 600; min-width: 8rem; }
td:has(> img), tbody td:empty { width: 6rem; }
img { display: block; max-width: 6rem; max-height: 4rem; border-radius: .2rem; }
progress { width: 8rem; max-width: 100%; vertical-align: middle; }
a { color: inherit; }
@media (max-width: 40rem) {
  thead { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
  tr, th, td { display: block; border: 0; padding: 0; }
  tr { border-bottom: 1px solid var(--line); padding: .5rem 0; }
  td[data-column]::before { content: attr(data-column) ": "; opacity: .75; }
}
</style>
</head>
<body>
<main>
"#;

/// Reloads the page, but not while text is selected or the page is in the background.
const UPDATE: &str = r#"<p><label><input type="checkbox" id="update" checked> Update automatically</label></p>
<script>
setInterval(function () {
  var box = document.getElementById("update");
  var quiet = String(window.getSelection()) === "" && document.visibilityState === "visible";
  if (box.checked && quiet) { location.reload(); }
}, 15000);
</script>
<noscript><p>Load the page again to see what is new.</p></noscript>
"#;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn what_people_name_their_files_is_text_and_nothing_else() {
        let nasty = "<script>alert('x')</script>&\"";
        let page = Page {
            inboxes: vec![Inbox {
                name: nasty.to_owned(),
                folder: nasty.to_owned(),
                frozen: Some(nasty.to_owned()),
                waiting: vec![Waiting {
                    input: nasty.to_owned(),
                    reason: nasty.to_owned(),
                }],
                done: vec![Done {
                    input: nasty.to_owned(),
                    picture: None,
                    outputs: vec![Link {
                        name: nasty.to_owned(),
                        way: Some(way(&[OsStr::new(nasty)])),
                    }],
                    credits: nasty.to_owned(),
                    at: nasty.to_owned(),
                }],
                ..Inbox::default()
            }],
            stopped: Some(nasty.to_owned()),
            ended: false,
        };
        let html = page.html("now");
        assert!(!html.contains("<script>alert"), "{html}");
        assert!(!html.contains("alert('"), "{html}");
        assert_eq!(html.matches("<script>").count(), 1);
    }

    #[test]
    fn a_link_finds_any_name() {
        let parts = [OsStr::new("outbox"), OsStr::new("a b/#?%ä.mp4")];
        assert_eq!(way(&parts), "./outbox/a%20b%2F%23%3F%25%C3%A4.mp4");
    }

    #[test]
    fn thousands_of_rows_are_counted_and_not_all_shown() {
        let waiting = (0..5_000)
            .map(|number| Waiting {
                input: format!("{number}.jpg"),
                reason: "for a sidecar".to_owned(),
            })
            .collect();
        let page = Page {
            inboxes: vec![Inbox {
                waiting,
                ..Inbox::default()
            }],
            ..Page::default()
        };
        let html = page.html("now");
        assert!(
            html.contains("and 4900 more") && html.contains("5000"),
            "{}",
            html.len()
        );
        assert!(html.len() < 40_000);
    }
}
