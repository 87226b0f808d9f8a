//! The control socket as the commands call it: one request, one answer, the connection closed. It is tried first by
//! whatever stops agents, because it gets through when the server's port is busy with others.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mosaic_adapters::bounded_file;
use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;

/// A control socket.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    path: PathBuf,
}

/// One request over the control socket.
pub(crate) struct Request<'a> {
    /// `GET` or `POST`.
    pub(crate) method: &'a str,
    /// Path and query.
    pub(crate) target: &'a str,
    /// Headers without Host and length.
    pub(crate) headers: Vec<(String, String)>,
    /// JSON text; empty for none.
    pub(crate) body: String,
}

impl Control {
    /// Names the socket of a data directory, when there is one.
    pub(crate) fn of(path: PathBuf) -> Option<Self> {
        path.exists().then_some(Self { path })
    }

    /// Connects. A path may be longer than a socket's may be, so the directory is reached by its descriptor. A server
    /// whose connections wait in the kernel is connected to all the same.
    ///
    /// The program at its other end must run under this user, or as root; root may also call the server of the directory's
    /// owner. A token is for no other program.
    pub(crate) fn connect(&self) -> io::Result<UnixStream> {
        let parent = self.path.parent().unwrap_or(Path::new("."));
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let dir = bounded_file::open_dir_linked(parent)?;
        let stream = UnixStream::connect(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()))?;
        let peer = socket_peercred(&stream)?.uid.as_raw();
        if is_trusted(peer, geteuid().as_raw(), dir.metadata()?.uid()) {
            Ok(stream)
        } else {
            let why = format!("the control socket belongs to a program of another user (uid {peer})");
            Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
        }
    }
}

/// Tells whether the user at the other end of a control socket may be given a token.
fn is_trusted(peer: u32, own: u32, owner_of_directory: u32) -> bool {
    peer == own || peer == 0 || (own == 0 && peer == owner_of_directory)
}

/// Sends a request and reads the whole answer, at most `most` bytes, within `limit`. Returns status and body.
pub(crate) fn ask(
    mut stream: UnixStream,
    request: &Request<'_>,
    limit: Duration,
    most: u64,
) -> io::Result<(u16, Vec<u8>)> {
    let until = Instant::now() + limit;
    // HTTP/1.0: the answer is not chunked and the connection ends with it.
    let mut text = format!("{} {} HTTP/1.0\r\nhost: localhost\r\n", request.method, request.target);
    for (name, value) in &request.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("content-length: {}\r\n\r\n{}", request.body.len(), request.body));
    stream.set_write_timeout(Some(limit))?;
    stream.write_all(text.as_bytes())?;
    let mut answer = Vec::new();
    let mut piece = [0u8; 16 * 1024];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no whole answer came in time"));
        }
        // The time that is left, and not the whole limit: a server that sends a byte now and then would never run into
        // it.
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut piece)? {
            0 => break,
            n => answer.extend_from_slice(&piece[..n]),
        }
        if answer.len() as u64 > most {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is too large"));
        }
    }
    split(&answer)
}

/// Takes an answer apart.
fn split(answer: &[u8]) -> io::Result<(u16, Vec<u8>)> {
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "the answer is no HTTP");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(broken)?;
    let head = std::str::from_utf8(&answer[..end]).map_err(|_| broken())?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1."));
    let status = status.and_then(|rest| rest.split(' ').nth(1)?.parse().ok()).ok_or_else(broken)?;
    let body = answer[end + 4..].to_vec();
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    // In HTTP/1.0 the end of the connection is the end of the answer. Without this check the half answer of a server
    // that died would look whole.
    if length.is_some_and(|length| length != body.len()) {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the answer was cut off"));
    }
    Ok((status, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_apart_or_refused() {
        let whole = b"HTTP/1.0 202 Accepted\r\nContent-Length: 2\r\n\r\n{}".to_vec();
        assert_eq!(split(&whole).unwrap(), (202, b"{}".to_vec()));
        assert_eq!(split(&whole[..whole.len() - 1]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        for bad in [&b""[..], b"HTTP/1.0 202", b"hello\r\n\r\n", b"HTTP/1.0 x\r\n\r\n"] {
            assert!(split(bad).is_err());
        }
    }

    #[test]
    fn only_the_same_user_root_and_for_root_the_owner_are_trusted() {
        assert!(is_trusted(1000, 1000, 1000) && is_trusted(0, 1000, 1000) && is_trusted(1000, 0, 1000));
        assert!(!is_trusted(1001, 1000, 1000) && !is_trusted(1001, 1000, 1001) && !is_trusted(1001, 0, 1000));
    }

    #[test]
    fn a_server_that_says_nothing_is_not_waited_for_longer_than_allowed() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let request =
            Request { method: "POST", target: "/agents/kill-all", headers: Vec::new(), body: String::new() };
        let error = ask(ours, &request, Duration::from_millis(50), 1024).unwrap_err();
        assert!(matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut), "{error}");
        drop(theirs);
    }
}
