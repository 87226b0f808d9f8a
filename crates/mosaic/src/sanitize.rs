//! Text from outside (agents, servers, repositories) on its way to a terminal: control and invisible formatting
//! characters are shown, never passed on.

use mosaic_core::domain::characters::hidden_in;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

fn push_escaped(out: &mut String, c: char) {
    let code = u32::from(c);
    if code < 0x100 {
        out.push_str(&format!("\\x{code:02x}"));
    } else {
        out.push_str(&format!("\\u{{{code:x}}}"));
    }
}

/// Returns the text as one line: every control character escaped, line breaks and tabs as `\n` and `\t`.
pub(crate) fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (c, hidden) in hidden_in(text) {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if hidden => push_escaped(&mut out, c),
            c => out.push(c),
        }
    }
    out
}

/// Returns the text with its line breaks and tabs, every other control character escaped.
pub(crate) fn block(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (c, hidden) in hidden_in(text) {
        match c {
            '\n' | '\t' => out.push(c),
            c if hidden => push_escaped(&mut out, c),
            c => out.push(c),
        }
    }
    out
}

/// Returns the first line of a text, escaped and cut to `most` columns.
pub(crate) fn first_line(text: &str, most: usize) -> String {
    let first = text.lines().find(|l| !l.trim().is_empty()).unwrap_or("");
    cut(&line(first.trim()), most)
}

/// Returns how many columns of a terminal a text takes.
pub(crate) fn columns(text: &str) -> usize {
    text.width()
}

/// Cuts a text to `most` columns of a terminal, with a mark where it was cut.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if columns(text) <= most {
        return text.to_owned();
    }
    let mut left = most.saturating_sub(1);
    let fits = |c: &char| {
        let width = c.width().unwrap_or(0);
        let fits = width <= left;
        left = left.saturating_sub(width);
        fits
    };
    let mut out: String = text.chars().take_while(fits).collect();
    out.push('…');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown() {
        assert_eq!(line("a\u{1b}]0;x\u{7}\r\nb\u{202e}c"), "a\\x1b]0;x\\x07\\r\\nb\\u{202e}c");
        assert_eq!(
            line("x\u{61c}\u{ad}\u{3164}\u{fff9}\u{e0041}y"),
            "x\\u{61c}\\xad\\u{3164}\\u{fff9}\\u{e0041}y"
        );
        assert_eq!(line("done ✔️ 👩‍💻"), "done ✔️ 👩‍💻");
        assert_eq!(block("a\tb\n\u{9b}31m\u{0}"), "a\tb\n\\x9b31m\\x00");
    }

    #[test]
    fn lines_are_cut_at_characters() {
        assert_eq!(first_line("\n  héllo wörld\nmore", 6), "héllo…");
        assert_eq!(cut("abc", 3), "abc");
        // A wide character takes two columns and is not cut in half.
        assert_eq!((cut("漢字かな", 8), cut("漢字かな", 6)), ("漢字かな".to_owned(), "漢字…".to_owned()));
    }
}
