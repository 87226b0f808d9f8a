//! One range of bytes of an answer, as RFC 9110 §14 has it. Several ranges, other units and what cannot be read are ignored, as
//! a server may do: then the whole is answered.

use std::collections::VecDeque;

use axum::http::HeaderMap;
use axum::http::header::RANGE;

/// A range that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ByteRange {
    /// From a first byte to a last one, or to the end.
    From(u64, Option<u64>),
    /// So many bytes at the end.
    Last(u64),
}

impl ByteRange {
    /// Reads the header `Range`.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(RANGE).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        Self::parse(value.to_str().ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let (unit, range) = text.split_once('=')?;
        let (first, last) = range.trim().split_once('-')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        match (first, last) {
            ("", last) => number(last).map(Self::Last),
            (first, "") => Some(Self::From(number(first)?, None)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::From(first, Some(last)))
            }
        }
    }
}

/// Reads digits; a number that is too large is as good as the largest one.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.len() <= 40 && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// The bytes of a range out of a text that comes in pieces, at most so many of them: of a range that has more the beginning,
/// of the end of the text its last ones.
pub(crate) struct Window {
    range: ByteRange,
    most: usize,
    total: u64,
    kept: VecDeque<u8>,
}

impl Window {
    /// Makes one that keeps at most so many bytes.
    pub(crate) fn new(range: ByteRange, most: usize) -> Self {
        Self { range, most, total: 0, kept: VecDeque::new() }
    }

    /// Takes the next piece of the text.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        let start = self.total;
        self.total += piece.len() as u64;
        match self.range {
            ByteRange::From(first, last) => {
                let inside = |place: u64| usize::try_from(place.saturating_sub(start)).unwrap_or(usize::MAX);
                let from = inside(first).min(piece.len());
                let to = last.map_or(piece.len(), |last| inside(last.saturating_add(1)).min(piece.len()));
                let room = self.most - self.kept.len();
                self.kept.extend(piece[from..to.max(from)].iter().take(room));
            }
            ByteRange::Last(count) => {
                self.kept.extend(piece);
                let most = usize::try_from(count).unwrap_or(usize::MAX).min(self.most);
                let over = self.kept.len().saturating_sub(most);
                self.kept.drain(..over);
            }
        }
    }

    /// Returns how many bytes the text has.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Returns the place of the first byte and the bytes; nothing when the range has none of the text.
    pub(crate) fn take(self) -> Option<(u64, Vec<u8>)> {
        let bytes = Vec::from(self.kept);
        let first = match self.range {
            ByteRange::From(first, _) => first,
            ByteRange::Last(_) => self.total - bytes.len() as u64,
        };
        (!bytes.is_empty()).then_some((first, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_of_bytes_is_read_and_anything_else_ignored() {
        let cases = [
            ("bytes=0-", Some(ByteRange::From(0, None))),
            ("bytes=3-5", Some(ByteRange::From(3, Some(5)))),
            ("Bytes = 3-3", Some(ByteRange::From(3, Some(3)))),
            ("bytes=-7", Some(ByteRange::Last(7))),
            ("bytes=99999999999999999999999-", Some(ByteRange::From(u64::MAX, None))),
            ("bytes=5-3", None),
            ("bytes=0-1,3-4", None),
            ("bytes=-", None),
            ("bytes=+1-2", None),
            ("bytes=1--2", None),
            ("lines=0-1", None),
            ("0-1", None),
            ("", None),
        ];
        for (text, wanted) in cases {
            assert_eq!(ByteRange::parse(text), wanted, "{text}");
        }
        let mut headers = HeaderMap::new();
        headers.append(RANGE, "bytes=0-1".parse().unwrap());
        headers.append(RANGE, "bytes=2-3".parse().unwrap());
        assert_eq!(ByteRange::of(&headers), None, "two headers");
    }

    #[test]
    fn a_window_has_the_same_bytes_however_the_text_is_cut() {
        let text: Vec<u8> = (0..100).collect();
        let cases = [
            (ByteRange::From(0, None), Some(0..10)),
            (ByteRange::From(95, None), Some(95..100)),
            (ByteRange::From(20, Some(22)), Some(20..23)),
            (ByteRange::From(98, Some(u64::MAX)), Some(98..100)),
            (ByteRange::From(100, None), None),
            (ByteRange::From(u64::MAX, None), None),
            (ByteRange::Last(3), Some(97..100)),
            (ByteRange::Last(50), Some(90..100)),
            (ByteRange::Last(0), None),
        ];
        for size in [1, 7, 100] {
            for (range, wanted) in &cases {
                let mut window = Window::new(*range, 10);
                text.chunks(size).for_each(|piece| window.push(piece));
                let wanted =
                    wanted.clone().map(|at: std::ops::Range<usize>| (at.start as u64, text[at].to_vec()));
                assert_eq!((window.total(), window.take()), (100, wanted), "{range:?} in pieces of {size}");
            }
        }
        assert_eq!(Window::new(ByteRange::Last(3), 10).take(), None, "of nothing");
    }
}
