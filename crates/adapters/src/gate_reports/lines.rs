//! Lines of what runners print: bounded, without terminal escapes.

use std::borrow::Cow;

/// Longest part of a line that is read, in bytes: names and messages of real runners are far shorter.
const LINE_BYTES: usize = 16 * 1024;

/// Returns the lines of a text, each without its end, its escapes and what is beyond the bound.
pub(super) fn of(bytes: &[u8]) -> impl Iterator<Item = Cow<'_, str>> {
    bytes.split(|byte| *byte == b'\n').map(|line| plain(&line[..line.len().min(LINE_BYTES)]))
}

/// Returns a line as text: runners colour what they print, and Windows ends lines otherwise.
fn plain(line: &[u8]) -> Cow<'_, str> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if !line.iter().any(|byte| *byte == 0x1b || *byte == b'\r') {
        return String::from_utf8_lossy(line);
    }
    let mut out = Vec::with_capacity(line.len());
    let mut rest = line.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        match (byte, rest.peek()) {
            (0x1b, Some(b'[')) => {
                rest.next();
                while rest.next().is_some_and(|b| !(0x40..=0x7e).contains(&b)) {}
            }
            // A carriage return overwrites the line on a terminal: progress bars do it.
            (b'\r', _) => out.clear(),
            (0x1b, _) => {}
            (byte, _) => out.push(byte),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// Largest count that is told apart from a larger one: sums of it over all lines of a report stay in range.
const LARGEST: u64 = 1 << 40;

/// Returns the number at the start of a text and what follows it. One that no run reaches is the largest, and never none: it
/// may count failures.
pub(super) fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    (!digits.is_empty()).then(|| (digits.parse().unwrap_or(LARGEST).min(LARGEST), rest))
}

/// Returns path and line of `path:line` or `path:line:column`, which may stand in brackets or quotes.
pub(super) fn place(text: &str) -> Option<(String, u64)> {
    // A stack names the function, and the place behind it in brackets.
    let text = text.rsplit_once(" (").map_or(text, |(_, place)| place);
    let text = text.trim().trim_matches(|c| matches!(c, '\'' | '"' | '(' | ')' | '`')).trim_end_matches(':');
    let text = text.strip_prefix("file://").unwrap_or(text);
    let (front, last) = text.rsplit_once(':')?;
    let last: u64 = last.parse().ok()?;
    match front.rsplit_once(':').and_then(|(path, line)| Some((path, line.parse().ok()?))) {
        Some((path, line)) => Some((path.to_owned(), line)),
        None => Some((front.to_owned(), last)),
    }
}

/// Adds a line to a message within its bound.
pub(super) fn append(message: &mut String, line: &str) {
    if message.len() < super::results::MESSAGE_BYTES {
        if !message.is_empty() {
            message.push('\n');
        }
        message.push_str(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_line_ends_and_overwritten_text_are_gone() {
        let text = b"\x1b[32mok\x1b[0m 1\r\nhalf\rwhole\nplain";
        assert_eq!(of(text).collect::<Vec<_>>(), ["ok 1", "whole", "plain"]);
    }

    #[test]
    fn places_have_a_path_and_a_line() {
        assert_eq!(place("src/a.rs:9:5:"), Some(("src/a.rs".to_owned(), 9)));
        assert_eq!(place("'/tree/a.js:3:1'"), Some(("/tree/a.js".to_owned(), 3)));
        assert_eq!(place("Test.<anonymous> (/tree/a.js:3:27)"), Some(("/tree/a.js".to_owned(), 3)));
        assert_eq!(place("a.go:7"), Some(("a.go".to_owned(), 7)));
        assert_eq!(place("no place"), None);
        assert_eq!(number("12 passed"), Some((12, " passed")));
        assert_eq!(number("99999999999999999999 failed"), Some((LARGEST, " failed")));
        assert_eq!(number("x"), None);
    }
}
