//! Writing to stdout, where a reader that has gone away (`| head`) is no failure.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::error::CommandError;
use crate::files::is_invisible;

/// Prints text as it is.
pub(super) fn text(text: &str) -> Result<(), CommandError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(failed)
}

/// Prints a line.
pub(super) fn line(line: &str) -> Result<(), CommandError> {
    text(&format!("{line}\n"))
}

/// Prints objects for programs, one a line.
pub(super) fn json_lines(objects: &[impl Serialize]) -> Result<(), CommandError> {
    let mut all = String::new();
    for object in objects {
        let json = serde_json::to_string(object);
        let json = json.map_err(|error| CommandError::Failed(error.to_string()))?;
        all.push_str(&json);
        all.push('\n');
    }
    text(&all)
}

fn failed(error: io::Error) -> CommandError {
    match error.kind() {
        io::ErrorKind::BrokenPipe => CommandError::ReaderGone,
        _ => CommandError::Failed(format!("nothing can be printed: {error}")),
    }
}

/// Whether a stream may be coloured and redrawn: a terminal, and nobody said NO_COLOR.
pub(super) fn colours(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A row of a table, such as its head.
pub(super) fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// Rows as aligned columns, two spaces apart; the last column is not padded. Control characters are shown as `?`, so that a
/// file's name cannot play with the terminal.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| plain(cell)).collect())
        .collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or_default()
        })
        .collect();
    let mut text = String::new();
    for row in &rows {
        let mut out = String::new();
        for (column, cell) in row.iter().enumerate() {
            out.push_str(cell);
            if column.saturating_add(1) < row.len() {
                let width = widths.get(column).copied().unwrap_or_default();
                let padding = width.saturating_sub(cell.chars().count()).saturating_add(2);
                out.extend(std::iter::repeat_n(' ', padding));
            }
        }
        text.push_str(out.trim_end());
        text.push('\n');
    }
    text
}

/// Text with control characters, and characters that change how others are shown, shown as `?`.
pub(super) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() || is_invisible(c) {
                '?'
            } else {
                c
            }
        })
        .collect()
}

/// The same for text of several lines, which stay.
pub(super) fn plain_lines(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(plain).collect();
    lines.join("\n")
}

/// Text cut to `width` characters, with an ellipsis where something is left out.
pub(super) fn fit(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// The width of a terminal that everybody has.
pub(super) const COLUMNS: usize = 80;

/// Text in lines of at most 80 columns, where its words allow it, all indented and those after the first a little more.
pub(super) fn wrap(text: &str, indent: usize) -> String {
    let mut wrapped = String::new();
    let mut line = " ".repeat(indent);
    let mut is_empty = true;
    for word in text.split_whitespace() {
        let width = line.chars().count().saturating_add(word.chars().count());
        if !is_empty && width.saturating_add(1) > COLUMNS {
            wrapped.push_str(&line);
            wrapped.push('\n');
            line = " ".repeat(indent.saturating_add(2));
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    wrapped.push_str(&line);
    wrapped.push('\n');
    wrapped
}

/// Credits for people: `25`, `12.5`, `?` where not known.
pub(super) fn credits(credits: Option<f64>) -> String {
    match credits {
        Some(credits) => format!("{credits}"),
        None => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_at_80_columns_and_loses_no_word() {
        let text = "one two three ".repeat(30) + &"x".repeat(100);
        let wrapped = wrap(&text, 2);
        let lines: Vec<&str> = wrapped.lines().collect();
        assert!(
            lines
                .iter()
                .take(lines.len() - 1)
                .all(|line| line.chars().count() <= 80)
        );
        assert!(lines[0].starts_with("  one") && lines[1].starts_with("    "));
        let words = |text: &str| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(words(&wrapped), words(&text));
    }
}
