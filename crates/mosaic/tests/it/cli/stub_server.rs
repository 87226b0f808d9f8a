//! A server that gives prepared answers, so that the program can be tried against an API without one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

use mosaic_adapters::data_dir::{DirLock, process_start};
use mosaic_core::domain::access::{server_proof, token_digest};

/// The token that the program finds in the data directory.
pub(crate) const TOKEN: &str = "t0ken";

/// One answer of the stand-in server: the start of the request line, the status, the form, the body.
pub(crate) type Reply = (&'static str, u16, &'static str, &'static str);

/// A whole agent with these fields of its own: of a field that stands twice the last one counts.
macro_rules! agent {
    ($fields:literal) => {
        concat!(
            r#"{"agentId":"","taskId":"","status":"running","spawnedAt":"2026-11-22T10:00:00.000Z","phase":"working","#,
            r#""attention":[],"endReason":null,"attempt":1,"fixRound":0,"verdict":null,"warnings":[],"branch":null,"name":"","#,
            r#""previousAgentId":null,"version":1,"agentType":"worker","gateProfile":"standard","repository":"","baseBranch":"","#,
            r#""priority":5,"labels":{},"maxRetries":3,"maxFixRounds":2,"timeoutSeconds":3600,"budget":{},"#,
            r#""spent":{"usd":0,"turns":0},"publication":{"state":"none"},"keptWork":[],"#,
            r#""links":{"self":"","status":"","transcript":"","diff":"","gates":"","resources":"","kill":""},"#,
            $fields,
            "}"
        )
    };
}
pub(crate) use agent;

/// The answer to a spawn.
pub(crate) const SPAWNED: &str = r#"{"agentId":"7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a","name":"fix-7d0c","taskId":"US-1","status":"spawning","phase":"queued","queuePosition":null,"branch":"","previousAgentId":null,"links":{"self":"","status":"","transcript":"","diff":"","gates":"","resources":"","kill":""}}"#;

/// Serves these replies, chosen by the request line, one connection at a time, until the test ends. Requests are
/// told on the channel.
pub(crate) fn answering(dir: &Path, replies: &'static [Reply]) -> Receiver<String> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let pid = std::process::id();
    let start = process_start(pid).unwrap();
    let file = serde_json::json!({
        "url": format!("http://127.0.0.1:{port}"), "pid": pid, "processStart": start, "startedAt": "", "version": "",
    });
    std::fs::write(dir.join("server.json"), file.to_string()).unwrap();
    std::fs::write(dir.join("token"), format!("{TOKEN}\n")).unwrap();
    // The file counts while the process that it names holds the lock: to the end of the test.
    std::mem::forget(DirLock::take(dir).unwrap());
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let tell = tell.clone();
            std::thread::spawn(move || answer(stream.unwrap(), port, replies, &tell));
        }
    });
    told
}

/// The proof that a server of this token gives, as `server/src/hello.rs` makes it.
fn proof(request: &str, port: u16) -> Option<String> {
    let nonce = request.strip_prefix("GET /v1/hello?nonce=")?.split([' ', '&']).next()?;
    let proof = server_proof(&token_digest(TOKEN.as_bytes()), nonce, port);
    Some(serde_json::json!({"auth": "token", "port": port, "proofs": [proof]}).to_string())
}

fn answer(mut stream: TcpStream, port: u16, replies: &[Reply], tell: &std::sync::mpsc::Sender<String>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut request = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
            break;
        }
        if let Some(n) = line.to_lowercase().strip_prefix("content-length:") {
            length = n.trim().parse().unwrap();
        }
        request.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    request.push_str(&String::from_utf8_lossy(&body));
    let not_found = (
        "",
        404,
        "application/problem+json",
        r#"{"code":"route_not_found","detail":"no such route","status":404}"#,
    );
    if let Some(text) = proof(&request, port) {
        let length = text.len();
        let head = format!("HTTP/1.1 200 x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{text}");
        let _ = stream.write_all(head.as_bytes());
        return;
    }
    let (_, status, form, text) =
        replies.iter().find(|(start, ..)| request.starts_with(start)).copied().unwrap_or(not_found);
    let length = text.len();
    let head = format!(
        "HTTP/1.1 {status} x\r\ncontent-type: {form}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    // The program may have ended meanwhile, as after a closed pipe.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(text.as_bytes()));
    let _ = tell.send(request);
}
