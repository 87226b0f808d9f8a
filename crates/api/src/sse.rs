//! Server-sent events as a client reads them: the one reader of the event stream and of live transcripts.

use std::io::{self, BufRead};

/// One server-sent event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// Number of the last event that had one; empty before the first.
    pub id: String,
    /// Its kind; empty for the default kind.
    pub event: String,
    /// Its data, lines joined by line breaks.
    pub data: String,
}

/// Part of a stream up to an empty line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SseBlock {
    /// An event.
    Event(SseEvent),
    /// No event: a heartbeat, or an event that is too large.
    Nothing,
    /// End of the stream.
    End,
}

/// Reader of a stream of server-sent events.
#[derive(Debug)]
pub struct SseReader<R> {
    stream: R,
    most: u64,
    id: String,
}

impl<R: BufRead> SseReader<R> {
    /// Makes a reader. An event with a line of more than `most` bytes, or with more data than that, is left out.
    pub fn new(stream: R, most: u64) -> Self {
        Self { stream, most, id: String::new() }
    }

    /// Returns the stream, for its deadlines.
    pub fn stream(&self) -> &R {
        &self.stream
    }

    /// Reads the next event; `None` at the end of the stream. An event that is cut off by the end does not count.
    pub fn next_event(&mut self) -> io::Result<Option<SseEvent>> {
        loop {
            match self.next_block()? {
                SseBlock::Event(event) => return Ok(Some(event)),
                SseBlock::Nothing => {}
                SseBlock::End => return Ok(None),
            }
        }
    }

    /// Reads the next block, for a reader that looks at its clock when a heartbeat comes, too.
    pub fn next_block(&mut self) -> io::Result<SseBlock> {
        let mut event = SseEvent::default();
        let (mut has_data, mut is_too_large) = (false, false);
        loop {
            let line = match self.line()? {
                Line::End => return Ok(SseBlock::End),
                Line::TooLong => {
                    is_too_large = true;
                    continue;
                }
                Line::Text(line) => line,
            };
            if line.is_empty() {
                if has_data && !is_too_large {
                    event.id.clone_from(&self.id);
                    return Ok(SseBlock::Event(event));
                }
                return Ok(SseBlock::Nothing);
            }
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "data" => {
                    if has_data {
                        event.data.push('\n');
                    }
                    has_data = true;
                    event.data.push_str(value);
                    is_too_large |= event.data.len() as u64 > self.most;
                    if is_too_large {
                        event.data.clear();
                    }
                }
                "event" => value.clone_into(&mut event.event),
                "id" => value.clone_into(&mut self.id),
                // A line that begins with a colon is a comment: the heartbeat.
                _ => {}
            }
        }
    }

    fn line(&mut self) -> io::Result<Line> {
        let mut line = Vec::new();
        let mut is_too_long = false;
        loop {
            let read = io::Read::take(&mut self.stream, self.most + 1).read_until(b'\n', &mut line)?;
            if line.last() == Some(&b'\n') {
                break;
            }
            if read == 0 {
                return Ok(Line::End);
            }
            // The rest of a long line must not pass for a line of its own.
            is_too_long |= line.len() as u64 > self.most;
            if is_too_long {
                line.clear();
            }
        }
        if is_too_long {
            return Ok(Line::TooLong);
        }
        let text = String::from_utf8_lossy(&line);
        Ok(Line::Text(text.trim_end_matches(['\n', '\r']).to_owned()))
    }
}

impl<R: BufRead> Iterator for SseReader<R> {
    type Item = io::Result<SseEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_event().transpose()
    }
}

enum Line {
    Text(String),
    TooLong,
    End,
}

#[cfg(test)]
mod tests {
    use super::{SseEvent, SseReader};

    fn read(text: &str) -> Vec<SseEvent> {
        SseReader::new(text.as_bytes(), 40).map(|event| event.expect("memory does not fail")).collect()
    }

    fn event(id: &str, event: &str, data: &str) -> SseEvent {
        SseEvent { id: id.to_owned(), event: event.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn events_are_read_as_the_standard_has_them() {
        let text = "retry: 1000\n\n: hb\n\nid: 7\nevent: snapshot\ndata: {\"a\":1}\n\ndata:one\r\ndata:  two\r\n\r\nevent: x\n\ndata: cut";
        assert_eq!(read(text), [event("7", "snapshot", "{\"a\":1}"), event("7", "", "one\n two")]);
    }

    #[test]
    fn an_event_that_is_too_large_is_left_out_and_the_next_is_read() {
        let long = "x".repeat(200);
        let text = format!("data: {long}\n\ndata: a\ndata: {long}\ndata: b\n\nid: 2\ndata: c\n\n");
        assert_eq!(read(&text), [event("2", "", "c")]);
        let many = "data: 0123456789\n".repeat(10);
        assert_eq!(read(&format!("{many}\ndata: c\n\n")), [event("", "", "c")]);
    }
}
