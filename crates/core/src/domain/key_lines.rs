//! Private keys that are shown line by line. A rule finds a key whose header and body stand in one text; where each line is an
//! event of its own, or other output stands between them, the body is told from what came before it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use crate::limits;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END";
/// Fewest characters of a run in base64 that is taken for a line of a body wherever it stands.
const LINE: usize = 16;
/// Mark in the place of a line of a body.
const MARK: &str = "…";

/// Follows a text that comes in parts, and finds the lines of private keys in it.
#[derive(Debug, Default)]
pub struct KeyLines {
    /// Lines and bytes since the header of a key whose end has not come.
    open: Option<(usize, usize)>,
    /// The last line held a part of a body: a short line after it may be its last one.
    in_body: bool,
    /// Lines of bodies that were found, as far as [`limits::KEY_LINES`].
    found: HashSet<String>,
}

impl KeyLines {
    /// Returns the part of the text with the lines of bodies hidden, when a key is open before or after it or was shown earlier.
    /// A key that stands whole in this part is left to the rule that finds it.
    pub fn hide<'t>(&mut self, text: &'t str) -> Cow<'t, str> {
        let is_new = self.open.is_none() && self.found.is_empty();
        let spans = self.spans(text);
        if spans.is_empty() || (is_new && self.open.is_none()) {
            return Cow::Borrowed(text);
        }
        Cow::Owned(replaced(text, &spans))
    }

    /// Returns a text that repeats what was said before, such as the last lines of an output, without the lines of bodies
    /// that were found in it.
    pub fn hide_again(&self, text: &str) -> String {
        if self.found.is_empty() {
            return text.to_owned();
        }
        let spans: Vec<Range<usize>> =
            runs(text).into_iter().filter(|run| self.found.contains(&text[run.clone()])).collect();
        replaced(text, &spans)
    }

    /// Takes the next part of the text and returns where the lines of bodies stand in it, in order.
    pub fn spans(&mut self, text: &str) -> Vec<Range<usize>> {
        let mut spans = Vec::new();
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            self.line(line, start, &mut spans);
            start += line.len();
        }
        spans
    }

    fn line(&mut self, line: &str, start: usize, spans: &mut Vec<Range<usize>>) {
        // Several headers and ends may stand in one line of JSON.
        let mut at = 0;
        loop {
            if self.open.is_none() {
                let Some(header) = header(&line[at..]) else {
                    self.again(&line[at..], start + at, spans);
                    return;
                };
                at += header;
                (self.open, self.in_body) = (Some((0, 0)), false);
            }
            let end = line[at..].find(END).map(|end| at + end);
            self.body(&line[at..end.unwrap_or(line.len())], start + at, spans);
            match end {
                Some(end) => {
                    self.open = None;
                    at = end + END.len();
                }
                None => return,
            }
        }
    }

    /// Looks for lines that were found before, where no key is open.
    fn again(&self, part: &str, start: usize, spans: &mut Vec<Range<usize>>) {
        if !self.found.is_empty() {
            let known = |run: &Range<usize>| run.len() >= LINE && self.found.contains(&part[run.clone()]);
            spans.extend(runs(part).into_iter().filter(known).map(|run| start + run.start..start + run.end));
        }
    }

    /// Looks for lines of a body in a part of a line.
    fn body(&mut self, part: &str, start: usize, spans: &mut Vec<Range<usize>>) {
        let Some((lines, bytes)) = self.open else { return };
        // A header without an end, as in a text about keys, would otherwise hide everything that comes after it.
        if lines > limits::KEY_LINES || bytes > limits::KEY_BYTES {
            self.open = None;
            return;
        }
        self.open = Some((lines + 1, bytes + part.len()));
        let all = runs(part);
        let alone = alone(part);
        let mut found = false;
        for run in all {
            let text = &part[run.clone()];
            let is_last = self.in_body && alone.as_ref().is_some_and(|alone| *alone == run);
            if is_line(text) || is_last || (text.len() >= 4 && self.found.contains(text)) {
                found = true;
                if self.found.len() < limits::KEY_LINES {
                    self.found.insert(text.to_owned());
                }
                spans.push(start + run.start..start + run.end);
            }
        }
        if !part.trim().is_empty() {
            self.in_body = found;
        }
    }
}

/// Returns the end of the next header of a private key.
fn header(text: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = text[from..].find(BEGIN) {
        let words = from + at + BEGIN.len();
        let name = text[words..]
            .bytes()
            .take(40)
            .take_while(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b' ');
        let end = words + name.count();
        if text[words..end].contains("PRIVATE KEY") && text[end..].starts_with("-----") {
            return Some(end + 5);
        }
        from = words;
    }
    None
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

/// Returns the runs of characters of base64. The letter of an escape such as `\n` belongs to none.
fn runs(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut all = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if !is_base64(bytes[at]) {
            at += 1;
            continue;
        }
        let is_escape = at > 0 && bytes[at - 1] == b'\\' && matches!(bytes[at], b'n' | b'r' | b't');
        let start = at + usize::from(is_escape);
        while at < bytes.len() && is_base64(bytes[at]) {
            at += 1;
        }
        if start < at {
            all.push(start..at);
        }
    }
    all
}

/// Tells whether a run looks like a line of a body: long, and longer than a word where it has one kind of characters only.
fn is_line(run: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| usize::from(run.as_bytes().iter().any(kind));
    let kinds = has(u8::is_ascii_uppercase)
        + has(u8::is_ascii_lowercase)
        + has(u8::is_ascii_digit)
        + has(|b| matches!(b, b'+' | b'/' | b'='));
    let is_word = run.bytes().all(|byte| byte.is_ascii_lowercase());
    run.len() >= LINE && (kinds >= 2 || run.len() >= 40 || (run.len() >= 24 && !is_word))
}

/// Returns the only run of a line that has nothing else but the number of the line, or quotes, before and after it.
fn alone(line: &str) -> Option<Range<usize>> {
    let is_frame = |c: char| {
        c.is_whitespace() || c.is_ascii_digit() || matches!(c, '→' | '|' | ':' | '"' | '\'' | ',' | '+' | '-')
    };
    let all = runs(line);
    let mut long = all.iter().filter(|run| !line[(*run).clone()].bytes().all(|b| b.is_ascii_digit()));
    let (run, None) = (long.next()?.clone(), long.next()) else { return None };
    let framed =
        line[..run.start].chars().all(is_frame) && line[run.end..].chars().all(|c| is_frame(c) || c == '\\');
    framed.then_some(run)
}

fn replaced(text: &str, spans: &[Range<usize>]) -> String {
    let (mut out, mut copied) = (String::with_capacity(text.len()), 0);
    for span in spans {
        out.push_str(&text[copied..span.start]);
        out.push_str(MARK);
        copied = span.end;
    }
    out.push_str(&text[copied..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of a key in PEM that belongs to nobody, without its frame.
    fn body() -> Vec<String> {
        let line = |seed: u8| -> String {
            (0..64u8)
                .map(|n| {
                    char::from(b"ABCDEFGHIJabcdefghij0123456789+/"[usize::from(n.wrapping_mul(seed) % 32)])
                })
                .collect()
        };
        vec![line(3), line(5), line(7), "Qx9=".to_owned()]
    }

    fn frame(word: &str) -> String {
        format!("-----{word} RSA {}-----", ["PRIVATE", "KEY"].join(" "))
    }

    #[test]
    fn the_body_is_hidden_line_by_line_with_other_events_between() {
        let mut keys = KeyLines::default();
        assert_eq!(keys.hide(&frame("BEGIN")), frame("BEGIN"));
        for (n, line) in body().iter().enumerate() {
            assert_eq!(keys.hide(line), MARK, "line {n}");
            if n == 1 {
                assert_eq!(keys.hide("and now for something else"), "and now for something else");
            }
        }
        assert_eq!(keys.hide(&frame("END")), frame("END"));
        let line = &body()[0];
        assert_eq!(keys.hide(line), MARK, "shown again after the end");
        let other = line.to_lowercase();
        assert_eq!(keys.hide(&other), other, "after the end");
        assert_eq!(keys.hide_again(&format!("last: {line}\n")), format!("last: {MARK}\n"));
    }

    #[test]
    fn numbered_lines_and_lines_of_json_are_found() {
        let mut keys = KeyLines::default();
        keys.hide(&format!("     1→{}", frame("BEGIN")));
        for (n, line) in body().iter().enumerate() {
            assert_eq!(keys.hide(&format!("     {}→{line}", n + 2)), format!("     {}→{MARK}", n + 2));
        }
        let mut keys = KeyLines::default();
        keys.hide(&format!(r#"{{"text":"{}\n"}}"#, frame("BEGIN")));
        let line = format!(r#"{{"text":"\n{}\n{}\n"}}"#, body()[0], body()[1]);
        assert_eq!(keys.hide(&line), format!(r#"{{"text":"\n{MARK}\n{MARK}\n"}}"#));
    }

    #[test]
    fn a_header_without_an_end_hides_no_more_than_its_bound() {
        let mut keys = KeyLines::default();
        keys.hide(&frame("BEGIN"));
        let line = |n: usize| format!("{}{n:04}", body()[0]);
        let hidden = (0..limits::KEY_LINES * 3).filter(|n| keys.hide(&line(*n)) == MARK).count();
        assert!((1..=limits::KEY_LINES + 1).contains(&hidden), "{hidden}");
        let other = "-----BEGIN CERTIFICATE-----";
        assert_eq!(keys.hide(other), other);
        assert_eq!(keys.hide(&line(9999)), line(9999));
    }

    #[test]
    fn ordinary_words_after_a_header_stay() {
        let mut keys = KeyLines::default();
        keys.hide(&frame("BEGIN"));
        for text in ["is the line that a key begins with", "internationalization matters", "ok", ""] {
            assert_eq!(keys.hide(text), text);
        }
    }
}
