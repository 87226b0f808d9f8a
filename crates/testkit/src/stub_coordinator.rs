//! A coordinator written from the contract alone: it knows `POST /api/quality/check` with its fields, and nothing of ours. How it
//! answers is the test's affair, badly too.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use serde::Deserialize;

/// Body of a check, as the contract has it; other fields are ignored.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the contract is the documentation")]
pub struct Asked {
    pub task_id: String,
    pub agent_id: String,
    pub stage: String,
    pub profile: String,
    pub gates: Vec<String>,
    pub repository: String,
    pub branch: String,
    pub base_commit: String,
    pub head_commit: String,
    pub files: Vec<String>,
    pub diff_summary: String,
}

/// Answer to a check.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Status 200 with this JSON.
    Json(String),
    /// Status and further header lines, each with its line break, with this body.
    Http(u16, String, String),
    /// These bytes, then the end of the connection.
    Raw(Vec<u8>),
    /// Zeros without an end, as the body of a JSON answer of unknown length.
    Endless,
    /// Nothing, until the client leaves.
    Silence,
    /// The head of an answer, and then nothing until the client leaves.
    HalfAnAnswer,
    /// The end of the stub's own half of the connection, the other half stays open.
    HalfClosed,
}

impl Reply {
    /// Says that every gate passed.
    pub fn approval() -> Self {
        Self::Json(r#"{"approved": true, "gate": "post-commit"}"#.to_owned())
    }
}

/// A coordinator on a port of this machine. Dropping it ends it.
pub struct StubCoordinator {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl StubCoordinator {
    /// Starts one that answers checks with this function; it is called with the number of checks before.
    pub fn start(reply: impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of this machine");
        let address = listener.local_addr().expect("it has an address");
        let (asked, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (seen, ends, reply) = (Arc::clone(&asked), Arc::clone(&stop), Arc::new(reply));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (seen, reply) = (Arc::clone(&seen), Arc::clone(&reply));
                // Ends with its client, who never stays longer than the test.
                std::thread::spawn(move || serve(stream, &seen, &*reply));
            }
        });
        Self { address, asked, stop, thread: Some(thread) }
    }

    /// Returns its address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the checks that came.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().clone()
    }
}

impl Drop for StubCoordinator {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for the next connection.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(mut stream: TcpStream, seen: &Mutex<Vec<Asked>>, reply: &dyn Fn(usize, &Asked) -> Reply) {
    let Some((line, body)) = read(&stream) else { return };
    if !line.starts_with("POST /api/quality/check ") {
        let _ = stream.write_all(http(404, "", "{}").as_bytes());
        return;
    }
    let asked: Asked = serde_json::from_slice(&body).expect("a check has every field of the contract");
    let before = {
        let mut seen = seen.lock();
        seen.push(asked.clone());
        seen.len() - 1
    };
    // A client that has left is what some of these provoke.
    let _ = answer(&mut stream, reply(before, &asked));
}

fn answer(stream: &mut TcpStream, reply: Reply) -> std::io::Result<()> {
    let json = "content-type: application/json\r\n";
    match reply {
        Reply::Json(body) => stream.write_all(http(200, json, &body).as_bytes()),
        Reply::Http(status, headers, body) => stream.write_all(http(status, &headers, &body).as_bytes()),
        Reply::Raw(bytes) => stream.write_all(&bytes),
        Reply::Silence => wait(stream),
        Reply::HalfAnAnswer => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 40\r\n\r\n{\"approved\": true,")?;
            wait(stream)
        }
        Reply::HalfClosed => {
            stream.shutdown(Shutdown::Write)?;
            wait(stream)
        }
        Reply::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")?;
            loop {
                stream.write_all(&[b' '; 65_536])?;
            }
        }
    }
}

/// Waits until the client leaves.
fn wait(stream: &mut TcpStream) -> std::io::Result<()> {
    while stream.read(&mut [0; 1024])? > 0 {}
    Ok(())
}

fn http(status: u16, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} Said\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Reads a request line and a body of known length.
fn read(stream: &TcpStream) -> Option<(String, Vec<u8>)> {
    let mut input = BufReader::new(stream);
    let mut first = String::new();
    input.read_line(&mut first).ok()?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        input.read_line(&mut line).ok()?;
        if line.trim_end().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    input.read_exact(&mut body).ok()?;
    Some((first, body))
}
