//! One connection to the API of a server, for the chaos suite and the benchmarks. HTTP/1.1 on a socket of our own: the
//! benchmarks need a client that costs next to nothing beside the server that it measures, and the chaos suite one that tells
//! an answer that came whole from one that a dying server began.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use mosaic_api::SseReader;
use thiserror::Error;

/// Largest answer that is read, in bytes: what the suite asks for at once is a page of a hundred agents.
const ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// Reasons why no whole answer came.
#[derive(Debug, Error)]
pub enum ConnectionError {
    /// The connection broke, or took too long.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The server closed the connection before it had answered.
    #[error("the server closed the connection")]
    Closed,
    /// The answer does not begin as one.
    #[error("the answer is not HTTP")]
    NotHttp,
    /// The answer is longer than is read.
    #[error("an answer of {0} bytes is too large")]
    TooLarge(usize),
    /// The event stream was refused.
    #[error("the event stream was answered {0}")]
    NoStream(u16),
}

/// Events as a server sends them.
pub type EventStream = SseReader<BufReader<TcpStream>>;

/// One connection, which is kept for further requests.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
    head: String,
    request: Vec<u8>,
    body: Vec<u8>,
}

impl Connection {
    /// Connects; `token` goes into every request, and nothing may take longer than `patience`.
    pub fn open(address: SocketAddr, token: &str, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        let head = format!("Host: {address}\r\nAuthorization: Bearer {token}\r\n");
        Ok(Self { stream: BufReader::new(stream), head, request: Vec::new(), body: Vec::new() })
    }

    /// Sends a request and returns the status and the whole body of its answer. `more` are further lines of its head, each with
    /// its line end.
    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        more: &str,
        body: &str,
    ) -> Result<(u16, &[u8]), ConnectionError> {
        let (head, length) = (&self.head, body.len());
        self.request.clear();
        // In one piece: a second small packet would wait for the answer to the first.
        write!(
            self.request,
            "{method} {path} HTTP/1.1\r\n{head}{more}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        self.stream.get_mut().write_all(&self.request)?;
        let (status, length) = self.read_head()?;
        if length > ANSWER_BYTES {
            return Err(ConnectionError::TooLarge(length));
        }
        self.body.resize(length, 0);
        self.stream.read_exact(&mut self.body)?;
        Ok((status, &self.body))
    }

    /// Turns the connection into a reader of an event stream, which may be silent for this long. Asked for as HTTP/1.0, so
    /// that the body comes as it is, without chunks.
    pub fn events(mut self, path: &str, silence: Duration) -> Result<EventStream, ConnectionError> {
        let request = format!("GET {path} HTTP/1.0\r\n{}Accept: text/event-stream\r\n\r\n", self.head);
        self.stream.get_mut().write_all(request.as_bytes())?;
        match self.read_head()? {
            (200, _) => {}
            (status, _) => return Err(ConnectionError::NoStream(status)),
        }
        self.stream.get_ref().set_read_timeout(Some(silence))?;
        Ok(SseReader::new(self.stream, ANSWER_BYTES as u64))
    }

    /// Reads the status and the length of the body.
    fn read_head(&mut self) -> Result<(u16, usize), ConnectionError> {
        let mut line = String::new();
        self.line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
        let (status, mut length) = (status.ok_or(ConnectionError::NotHttp)?, 0);
        loop {
            self.line(&mut line)?;
            match line.split_once(':') {
                None if line.is_empty() => return Ok((status, length)),
                None => return Err(ConnectionError::NotHttp),
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().map_err(|_| ConnectionError::NotHttp)?;
                }
                Some(_) => {}
            }
        }
    }

    fn line(&mut self, line: &mut String) -> Result<(), ConnectionError> {
        line.clear();
        // A line without its end is one that a dying server began.
        if self.stream.read_line(line)? == 0 || !line.ends_with('\n') {
            return Err(ConnectionError::Closed);
        }
        line.truncate(line.trim_end().len());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Patience of these tests: far more than a machine needs that answers at once.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// Answers one connection with these bytes and closes it.
    fn answering(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            // What was asked is read first: a close would throw the answer away together with it.
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            io::copy(&mut stream, &mut io::sink()).unwrap();
        });
        address
    }

    fn asked(answer: &'static str) -> Result<(u16, Vec<u8>), ConnectionError> {
        let mut connection = Connection::open(answering(answer), "t", PATIENCE).unwrap();
        let (status, body) = connection.send("GET", "/", "", "")?;
        Ok((status, body.to_owned()))
    }

    #[test]
    fn a_whole_answer_is_told_from_one_that_was_cut_off() {
        let whole = asked("HTTP/1.1 404 Not Found\r\ncontent-LENGTH: 2\r\nx: y\r\n\r\n{}").unwrap();
        assert_eq!(whole, (404, b"{}".to_vec()));
        let cut = asked("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}").unwrap_err();
        assert!(matches!(&cut, ConnectionError::Io(e) if e.kind() == io::ErrorKind::UnexpectedEof), "{cut}");
        assert!(matches!(asked("HTTP/1.1 200 OK\r\ncont").unwrap_err(), ConnectionError::Closed));
        assert!(matches!(asked("hello\r\n\r\n").unwrap_err(), ConnectionError::NotHttp));
        let large = asked("HTTP/1.1 200 OK\r\ncontent-length: 999999999999\r\n\r\n").unwrap_err();
        assert!(matches!(large, ConnectionError::TooLarge(999_999_999_999)));
    }

    #[test]
    fn a_stream_begins_behind_the_head_of_its_answer() {
        let stream = "HTTP/1.0 200 OK\r\n\r\nid: 1\nevent: x\ndata: {}\n\n";
        let connection = Connection::open(answering(stream), "t", PATIENCE).unwrap();
        let event = connection.events("/v1/events", PATIENCE).unwrap().next_event().unwrap().unwrap();
        assert_eq!((event.id.as_str(), event.event.as_str()), ("1", "x"));
        let refused = Connection::open(answering("HTTP/1.0 401 No\r\n\r\n"), "t", PATIENCE).unwrap();
        assert!(matches!(refused.events("/v1/events", PATIENCE), Err(ConnectionError::NoStream(401))));
    }
}
