//! A git remote over http on loopback, served by `git http-backend`, that can be told to misbehave around pushes: to lie,
//! to hang, to cut the line, to fall silent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use parking_lot::Mutex;

/// The behaviour of a remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// As git does it.
    Honest,
    /// Pushes are answered with success, and nothing is stored.
    Lies,
    /// Pushes are stored, and the line is cut before the answer.
    CutsAfterPush,
    /// Pushes are stored and never answered.
    HangsAfterPush,
    /// Pushes are stored and never answered, and nothing else is answered from then on.
    SilentAfterPush,
    /// Nothing is answered.
    Silent,
    /// As git does it, for those who show any credentials.
    Private,
}

/// The answer to somebody who shows no credentials.
const UNKNOWN: &[u8] =
    b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"git\"\r\nContent-Length: 0\r\n\
    Connection: close\r\n\r\n";

/// A running remote. Its threads end with the process.
pub struct GitHttpServer {
    address: SocketAddr,
    mood: Arc<Mutex<Mood>>,
}

impl GitHttpServer {
    /// Serves the bare repositories below `root`. Panics when it cannot.
    pub fn start(root: &Path, mood: Mood) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("it is bound");
        let mood = Arc::new(Mutex::new(mood));
        let (shared, root) = (Arc::clone(&mood), root.to_owned());
        std::thread::spawn(move || {
            for stream in socket.incoming().flatten() {
                let (shared, root) = (Arc::clone(&shared), root.clone());
                // What a client does to its connection is its own affair.
                std::thread::spawn(move || drop(answer(stream, &root, &shared)));
            }
        });
        Self { address, mood }
    }

    /// The address of a repository.
    pub fn url(&self, repository: &str) -> String {
        format!("http://{}/{repository}", self.address)
    }

    /// Changes how it behaves from now on.
    pub fn set(&self, mood: Mood) {
        *self.mood.lock() = mood;
    }
}

struct Request {
    method: String,
    path: String,
    query: String,
    content_type: String,
    protocol: String,
    encoding: String,
    /// It shows credentials.
    known: bool,
    body: Vec<u8>,
}

fn answer(mut stream: TcpStream, root: &PathBuf, mood: &Mutex<Mood>) -> std::io::Result<()> {
    let request = read(&stream)?;
    let now = *mood.lock();
    let pushes = request.method == "POST" && request.path.ends_with("/git-receive-pack");
    let answer = match now {
        Mood::Silent => return hang(stream),
        Mood::Private if !request.known => UNKNOWN.to_vec(),
        Mood::Lies if pushes => head(b"200 OK", "application/x-git-receive-pack-result", &lie(&request.body)),
        _ => backend(root, &request)?,
    };
    match now {
        Mood::CutsAfterPush if pushes => return Ok(()),
        Mood::HangsAfterPush if pushes => return hang(stream),
        Mood::SilentAfterPush if pushes => {
            *mood.lock() = Mood::Silent;
            return hang(stream);
        }
        _ => {}
    }
    stream.write_all(&answer)
}

/// Holds the line until the client lets go of it.
fn hang(mut stream: TcpStream) -> std::io::Result<()> {
    std::io::copy(&mut stream, &mut std::io::sink()).map(drop)
}

fn read(stream: &TcpStream) -> std::io::Result<Request> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default().to_owned();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let (path, query) = (path.to_owned(), query.to_owned());
    let (mut length, mut chunked, mut known) = (0, false, false);
    let [mut content_type, mut protocol, mut encoding] = [const { String::new() }; 3];
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap_or(0),
            "transfer-encoding" => chunked = value == "chunked",
            "content-type" => content_type = value.to_owned(),
            "authorization" => known = true,
            "git-protocol" => protocol = value.to_owned(),
            "content-encoding" => encoding = value.to_owned(),
            "expect" => stream.try_clone()?.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?,
            _ => {}
        }
    }
    let mut body = Vec::new();
    if chunked {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size)?;
            let size = u64::from_str_radix(size.trim(), 16).unwrap_or(0);
            reader.by_ref().take(size).read_to_end(&mut body)?;
            reader.read_line(&mut String::new())?;
            if size == 0 {
                break;
            }
        }
    } else {
        reader.take(length).read_to_end(&mut body)?;
    }
    Ok(Request { method, path, query, content_type, protocol, encoding, known, body })
}

fn backend(root: &PathBuf, request: &Request) -> std::io::Result<Vec<u8>> {
    let mut command = Command::new("git");
    command.arg("http-backend").env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("GIT_PROJECT_ROOT", root).env("GIT_HTTP_EXPORT_ALL", "1").env("REMOTE_USER", "anybody");
    command.env("PATH_INFO", &request.path).env("QUERY_STRING", &request.query);
    command.env("REQUEST_METHOD", &request.method).env("CONTENT_TYPE", &request.content_type);
    command.env("GIT_PROTOCOL", &request.protocol).env("HTTP_CONTENT_ENCODING", &request.encoding);
    command.env("CONTENT_LENGTH", request.body.len().to_string()).env("REMOTE_ADDR", "127.0.0.1");
    for (n, (key, value)) in [("safe.directory", "*"), ("http.receivepack", "true")].iter().enumerate() {
        command.env(format!("GIT_CONFIG_KEY_{n}"), key).env(format!("GIT_CONFIG_VALUE_{n}"), value);
    }
    command.env("GIT_CONFIG_COUNT", "2").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take().expect("it is piped");
    let body = request.body.clone();
    let feed = std::thread::spawn(move || drop(stdin.write_all(&body)));
    let out = child.wait_with_output()?.stdout;
    drop(feed.join());
    let end = out.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(out.len().saturating_sub(4));
    let (head, body) = (String::from_utf8_lossy(&out[..end]).into_owned(), &out[end + 4..]);
    let status = head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK").to_owned();
    let kind = head.lines().find_map(|line| line.strip_prefix("Content-Type: ")).unwrap_or("text/plain");
    Ok(self::head(status.as_bytes(), kind, body))
}

fn head(status: &[u8], kind: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut all = [b"HTTP/1.1 ".as_slice(), status].concat();
    all.extend(
        format!("\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n").bytes(),
    );
    all.extend(body);
    all
}

/// The answer of a remote that took a push.
fn lie(body: &[u8]) -> Vec<u8> {
    let start = body.windows(11).position(|part| part == b"refs/heads/").unwrap_or(0);
    let name = body[start..].split(|byte| matches!(byte, 0 | b' ' | b'\n')).next().unwrap_or_default();
    let packet = |text: &[u8]| [format!("{:04x}", text.len() + 4).as_bytes(), text].concat();
    let inner = [packet(b"unpack ok\n"), packet(&[b"ok ", name, b"\n"].concat()), b"0000".to_vec()].concat();
    [packet(&[&[1], inner.as_slice()].concat()), b"0000".to_vec()].concat()
}
