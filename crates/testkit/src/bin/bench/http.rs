//! A small HTTP/1.1 client on a kept-alive connection. It costs next to nothing, so that on a small machine the
//! figures are the server's and not the load generator's.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use mosaic_api::{Event, EventEnvelope, SseReader};
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::Outcome;

/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(60);
/// Largest answer that is read, in bytes.
const ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// One connection.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    head: String,
    request: Vec<u8>,
    body: Vec<u8>,
}

impl Client {
    /// Connects; `token` goes into every request.
    pub(crate) fn connect(address: SocketAddr, token: &str) -> Outcome<Self> {
        let stream = TcpStream::connect_timeout(&address, ANSWER)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        let head = format!("Host: {address}\r\nAuthorization: Bearer {token}\r\n");
        Ok(Self { stream: BufReader::new(stream), head, request: Vec::new(), body: Vec::new() })
    }

    /// Sends a request and returns the answer's status and body.
    pub(crate) fn send(&mut self, method: &str, path: &str, body: &str) -> Outcome<(u16, &[u8])> {
        self.request.clear();
        let length = body.len();
        write!(
            self.request,
            "{method} {path} HTTP/1.1\r\n{}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}",
            self.head
        )?;
        self.stream.get_mut().write_all(&self.request)?;
        let (status, length) = self.read_head()?;
        if length > ANSWER_BYTES {
            return Err(format!("an answer of {length} bytes is too large").into());
        }
        self.body.resize(length, 0);
        self.stream.read_exact(&mut self.body)?;
        Ok((status, &self.body))
    }

    /// Sends a request that must succeed.
    pub(crate) fn done(&mut self, method: &str, path: &str, body: &str) -> Outcome<()> {
        self.json::<IgnoredAny>(method, path, body).map(drop)
    }

    /// Sends a request that must succeed, and reads its answer.
    pub(crate) fn json<T: DeserializeOwned>(&mut self, method: &str, path: &str, body: &str) -> Outcome<T> {
        let (status, answer) = self.send(method, path, body)?;
        if !(200..300).contains(&status) {
            return Err(format!(
                "{method} {path} was answered {status}: {}",
                String::from_utf8_lossy(answer)
            )
            .into());
        }
        Ok(serde_json::from_slice(answer)?)
    }

    fn read_head(&mut self) -> Outcome<(u16, usize)> {
        let mut line = String::new();
        self.line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or("the answer is not HTTP")?;
        let mut length = 0;
        loop {
            self.line(&mut line)?;
            if line.is_empty() {
                return Ok((status, length));
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse()?;
            }
        }
    }

    fn line(&mut self, line: &mut String) -> Outcome<()> {
        line.clear();
        if self.stream.read_line(line)? == 0 {
            return Err("the server closed the connection".into());
        }
        line.truncate(line.trim_end().len());
        Ok(())
    }

    /// Turns the connection into a reader of the event stream: asked as HTTP/1.0, so that the body comes as it is,
    /// without chunks. Returns once the server has sent where the stream begins.
    pub(crate) fn events(mut self, kinds: &str) -> Outcome<Events> {
        let request = format!(
            "GET /v1/events?types={kinds} HTTP/1.0\r\n{}Accept: text/event-stream\r\n\r\n",
            self.head
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let (status, _) = self.read_head()?;
        if status != 200 {
            return Err(format!("the event stream was answered {status}").into());
        }
        let mut events = Events { stream: SseReader::new(self.stream, ANSWER_BYTES as u64) };
        while events.next()?.kind() != "snapshot" {}
        Ok(events)
    }
}

/// The event stream.
pub(crate) struct Events {
    stream: SseReader<BufReader<TcpStream>>,
}

impl Events {
    /// Waits for the next event.
    pub(crate) fn next(&mut self) -> Outcome<Event> {
        let event = self.stream.next_event()?.ok_or("the server closed the event stream")?;
        Ok(serde_json::from_str::<EventEnvelope>(&event.data)?.event())
    }
}
