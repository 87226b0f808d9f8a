//! Text without anything but letters and digits, and the way back from a place in it.

use std::ops::Range;

/// Longest control sequence of a terminal that is left out as one, in bytes.
const SEQUENCE: usize = 64;

/// Returns how many bytes at this place are left out: none of a letter or digit, all of an escape such as `\n`, `\x` or `0x`
/// and of a terminal's control sequence, which would put a letter between two pieces.
fn left_out(text: &[u8], at: usize) -> usize {
    match text[at] {
        0x1b => control_sequence(&text[at..]),
        b'\\' => match text.get(at + 1) {
            Some(b'x' | b'X' | b'u' | b'U' | b'n' | b'r' | b't') => 2,
            _ => 1,
        },
        b'0' => {
            let prefix = matches!(text.get(at + 1), Some(b'x' | b'X'));
            let starts = at == 0 || !text[at - 1].is_ascii_alphanumeric();
            if prefix && starts { 2 } else { 0 }
        }
        byte => usize::from(!byte.is_ascii_alphanumeric()),
    }
}

/// Returns the length of the control sequence that begins here: `ESC [`, parameters and a letter, or `ESC ]` up to its end.
fn control_sequence(text: &[u8]) -> usize {
    // Without a bound, a sequence that is opened in front of a text and closed far behind it would hide all that stands
    // between from the scan. Real sequences are short.
    let within = &text[..text.len().min(SEQUENCE)];
    let end = match within.get(1) {
        Some(b'[') => within.iter().skip(2).position(|byte| (0x40..=0x7e).contains(byte)).map(|at| at + 3),
        Some(b']') => within.iter().skip(2).position(|byte| matches!(byte, 0x07 | 0x1b)).map(|at| at + 3),
        _ => None,
    };
    end.unwrap_or(1)
}

/// Squeezes a text.
pub(super) fn squeeze(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        match left_out(text, at) {
            0 => {
                out.push(text[at]);
                at += 1;
            }
            more => at += more,
        }
    }
    out
}

/// Returns where ranges of the squeezed text stand in the text. The ranges are in order of their starts.
pub(super) fn unsqueeze(text: &[u8], ranges: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut wanted: Vec<usize> = ranges.iter().flat_map(|range| [range.start, range.end - 1]).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let mut places = Vec::with_capacity(wanted.len());
    let (mut at, mut squeezed) = (0, 0);
    while at < text.len() && places.len() < wanted.len() {
        let skipped = left_out(text, at);
        if skipped == 0 {
            if squeezed == wanted[places.len()] {
                places.push(at);
            }
            squeezed += 1;
        }
        at += skipped.max(1);
    }
    let place = |n: usize| places[wanted.binary_search(&n).expect("it was asked for")];
    ranges.iter().map(|range| place(range.start)..place(range.end - 1) + 1).collect()
}

/// Returns the parts of a span when quotes, blanks, escapes or line breaks stand between them; none when it is in one piece.
/// Only the parts are hidden then, so that a string, a line or JSON stays what it is.
pub(super) fn pieces(text: &[u8], span: &Range<usize>) -> Vec<Range<usize>> {
    let structural = |byte: &u8| !byte.is_ascii_graphic() || matches!(byte, b'"' | b'\'' | b'`' | b'\\');
    // A value in one piece is masked as a whole; signs inside of it, such as dashes, belong to it.
    if !text[span.clone()].iter().any(structural) {
        return Vec::new();
    }
    let mut out: Vec<Range<usize>> = Vec::new();
    let mut at = span.start;
    while at < span.end {
        match left_out(text, at) {
            0 => {
                match out.last_mut() {
                    Some(last) if last.end == at => last.end += 1,
                    _ => out.push(at..at + 1),
                }
                at += 1;
            }
            more => at += more,
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_the_squeezed_text_are_found_again() {
        let text = b"a-b\\n\"c\"\0d 0x65, \\x66 x0x1";
        assert_eq!(squeeze(text), b"abcd6566x0x1");
        assert_eq!(unsqueeze(text, &[0..1, 0..4, 2..4, 4..8]), [0..1, 0..10, 6..10, 13..21]);
        assert_eq!(squeeze(b""), b"");
        assert_eq!(pieces(text, &(0..10)), [0..1, 2..3, 6..7, 9..10]);
        assert!(pieces(b"x a-b/c y", &(2..7)).is_empty());
        assert_eq!(squeeze(b"\\"), b"");
        assert_eq!(squeeze(b"a\x1b[01;31m\x1b[Kb\x1b[m\x1b[Kc\x1b]0;title\x07d\x1b"), b"abcd");
    }
}
