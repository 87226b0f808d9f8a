//! Lines out of chunks of output.

use crate::limits;

/// Puts chunks together to lines; a line longer than [`limits::LINE_BYTES`] is dropped.
#[derive(Default)]
pub(super) struct Lines {
    partial: Vec<u8>,
    too_long: bool,
}

impl Lines {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.too_long || self.partial.len() + bytes.len() > limits::LINE_BYTES {
            self.drop_current();
        } else {
            self.partial.extend_from_slice(bytes);
        }
    }

    pub(super) fn drop_current(&mut self) {
        self.partial = Vec::new();
        self.too_long = true;
    }

    /// Ends the current line with these bytes; `None` when it was too long.
    pub(super) fn finish(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.push(bytes);
        let line = std::mem::take(&mut self.partial);
        (!std::mem::take(&mut self.too_long)).then_some(line)
    }

    pub(super) fn take_rest(&mut self) -> Option<Vec<u8>> {
        (!self.partial.is_empty()).then(|| std::mem::take(&mut self.partial))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_and_endless_ones_dropped() {
        let mut lines = Lines::default();
        lines.push(b"ab");
        assert_eq!(lines.finish(b"c"), Some(b"abc".to_vec()));
        lines.push(&vec![b'x'; limits::LINE_BYTES]);
        lines.push(b"y");
        assert!(lines.partial.is_empty(), "a dropped line holds memory");
        assert_eq!(lines.finish(b"z"), None);
        assert_eq!(lines.finish(b"next"), Some(b"next".to_vec()));
    }
}
