//! Spans that can be cut out of a text.

use std::ops::Range;

/// Widens a span to whole characters, so that it can be cut out of the text.
pub(super) fn whole_characters(text: &str, span: Range<usize>) -> Range<usize> {
    let (mut start, mut end) = (span.start, span.end.min(text.len()));
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    while !text.is_char_boundary(end) {
        end += 1;
    }
    start..end
}
