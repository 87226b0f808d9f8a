//! The part of a gate's output that is looked at: a bounded start and a bounded end, however much is printed.

use std::collections::VecDeque;

use mosaic_core::limits;

/// Collects output within its bound.
#[derive(Default)]
pub(super) struct LogWindow {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    dropped: u64,
}

impl LogWindow {
    /// Takes more output.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let room = limits::GATE_WINDOW_BYTES - self.head.len();
        let (head, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(head);
        self.tail.extend(rest);
        let over = self.tail.len().saturating_sub(limits::GATE_WINDOW_BYTES);
        self.drain(over);
    }

    /// Notes that output was lost before it came here. Whatever follows belongs to the end.
    pub(super) fn gap(&mut self, bytes: u64) {
        self.dropped = self.dropped.saturating_add(bytes);
    }

    fn drain(&mut self, over: usize) {
        self.tail.drain(..over);
        self.dropped = self.dropped.saturating_add(over as u64);
    }

    /// Returns the text, without terminal escapes and with a mark where something is missing.
    pub(super) fn text(&self) -> String {
        let (front, back) = self.tail.as_slices();
        let tail = [front, back].concat();
        if self.dropped == 0 {
            return plain(&[self.head.as_slice(), &tail].concat());
        }
        format!("{}\n[… {} bytes left out …]\n{}", plain(&self.head), self.dropped, plain(&tail))
    }
}

/// Removes terminal escape sequences and carriage returns; bytes that are not UTF-8 become marks.
fn plain(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        match (byte, rest.peek()) {
            (0x1b, Some(b'[')) => {
                rest.next();
                while rest.next().is_some_and(|b| !(0x40..=0x7e).contains(&b)) {}
            }
            (0x1b, Some(b']')) => while rest.next().is_some_and(|b| b != 0x07 && b != 0x1b && b != b'\n') {},
            (0x1b | b'\r', _) => {}
            (b, _) if b < 0x20 && !matches!(b, b'\n' | b'\t') => {}
            (b, _) => out.push(b),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_start_and_end_of_a_flood() {
        let mut window = LogWindow::default();
        window.push(b"first\n");
        for _ in 0..64 {
            window.push(&[b'x'; 64 * 1024]);
        }
        window.push(b"\nlast");
        let text = window.text();
        assert!(text.starts_with("first\n") && text.ends_with("\nlast"));
        assert!(text.contains("bytes left out"));
        assert!(text.len() < 2 * limits::GATE_WINDOW_BYTES + 100);
    }

    #[test]
    fn escapes_go_and_text_stays() {
        let mut window = LogWindow::default();
        window.push(b"\x1b[1;31merror\x1b[0m: \x1b]8;;http://x\x07a\x1b]8;;\x07\r\n\xff");
        assert_eq!(window.text(), "error: a\n\u{fffd}");
    }
}
