//! Programs that pose as the server: one that took the port of a server that is gone, and one that passes on what the real
//! server says. No command gives them a token, and no command believes them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Output;
use std::sync::{Arc, Mutex};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::support::{Home, Server};

/// The commands that call a server, orders to stop among them.
const COMMANDS: &[&[&str]] = &[
    &["ps"],
    &["status"],
    &["kill-all", "--yes"],
    &["kill", "7d0c6c1e"],
    &["killswitch", "status"],
    &["killswitch", "engage", "--yes"],
    &["killswitch", "release"],
    &["freeze", "--all"],
    &["queue"],
    &["nodes"],
    &["logs", "7d0c6c1e"],
    &["rm", "7d0c6c1e"],
    &["prune", "--yes"],
    &["wait", "7d0c6c1e"],
    &["drain"],
    &["doctor"],
    &["audit"],
];

/// A program on a port that keeps what it is sent and answers as `answer` says.
struct Impostor {
    port: u16,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Impostor {
    fn on(port: u16, answer: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let (port, heard) = (listener.local_addr().unwrap().port(), Arc::default());
        let keeps: Arc<Mutex<Vec<u8>>> = Arc::clone(&heard);
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (keeps, answer) = (Arc::clone(&keeps), Arc::clone(&answer));
                std::thread::spawn(move || converse(stream.unwrap(), &keeps, &*answer));
            }
        });
        Self { port, heard }
    }

    fn heard(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().unwrap()).into_owned()
    }
}

fn converse(mut stream: TcpStream, keeps: &Mutex<Vec<u8>>, answer: &dyn Fn(&[u8]) -> Vec<u8>) {
    let mut piece = [0u8; 64 * 1024];
    let n = stream.read(&mut piece).unwrap_or(0);
    keeps.lock().unwrap().extend_from_slice(&piece[..n]);
    // The command may have ended meanwhile.
    let _ = stream.write_all(&answer(&piece[..n]));
}

fn http(body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// An answer that fits many questions: nothing runs, all is well, no token is needed.
fn forged(_: &[u8]) -> Vec<u8> {
    http(&json!({
        "items": [], "nextCursor": null, "status": "ok", "auth": "off", "port": 1, "proofs": ["00"],
        "killed": 4711, "failed": 0, "total": 4711, "errors": [], "verified": true, "engaged": false,
    }))
}

fn output_text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Ends a server as a crash does, which leaves its files. Returns its token and its port.
fn crashed(mut server: Server<'_>) -> (String, u16) {
    server.signal(Signal::KILL);
    server.wait_end();
    let port = server.url.rsplit(':').next().unwrap().parse().unwrap();
    assert!(server.home().data().join("server.json").exists(), "the crash left the file");
    (server.token.clone(), port)
}

#[test]
fn who_takes_the_port_of_a_crashed_server_gets_no_token_and_is_not_believed() {
    let home = Home::new();
    let (token, port) = crashed(home.serve(&[]));
    let impostor = Impostor::on(port, forged);
    let url = format!("http://127.0.0.1:{port}");
    let by_name: &[(&str, &str)] = &[("MOSAIC_URL", &url)];
    let all: &[(&str, &str)] = &[("MOSAIC_URL", &url), ("MOSAIC_TOKEN", &token)];
    for env in [&[][..], by_name, all] {
        for command in COMMANDS {
            let output = home.run(env, command);
            let text = output_text(&output);
            assert_ne!(output.status.code(), Some(2), "{command:?} is no command: {text}");
            assert!(!text.contains("4711"), "{env:?} {command:?} believes it: {text}");
            assert!(!impostor.heard().contains(&token), "{env:?} {command:?} gave the token away: {text}");
        }
    }
    assert!(impostor.heard().contains("GET /v1/hello?nonce="), "{}", impostor.heard());
}

#[test]
fn who_passes_on_what_the_real_server_says_gets_no_token_either() {
    let home = Home::new();
    let server = home.serve(&[]);
    let real = server.url.strip_prefix("http://").unwrap().to_owned();
    let relay = Impostor::on(0, move |request| {
        let mut to = TcpStream::connect(&real).unwrap();
        // The relay reads to the end of the connection, which a kept-alive one would not come to.
        let text = String::from_utf8_lossy(request).replacen("\r\n", "\r\nConnection: close\r\n", 1);
        to.write_all(text.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let _ = to.read_to_end(&mut answer);
        answer
    });
    // The file names the relay and is right in all the rest.
    let path = home.data().join("server.json");
    let mut file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    file["url"] = json!(format!("http://127.0.0.1:{}", relay.port));
    std::fs::write(&path, file.to_string()).unwrap();
    let output = home.run(&[], &["ps"]);
    assert_eq!(output.status.code(), Some(5), "{}", output_text(&output));
    assert!(output_text(&output).contains("does not prove"), "{}", output_text(&output));
    assert!(relay.heard().contains("/v1/hello") && !relay.heard().contains(&server.token));
    // The orders that stop come by the private socket and reach the real one.
    let output = home.run(&[], &["kill-all", "--yes"]);
    assert!(output.status.success() && output_text(&output).contains("0 killed"), "{}", output_text(&output));
    assert!(!relay.heard().contains(&server.token));
}

#[test]
fn a_server_without_authentication_gets_no_token_of_an_earlier_one() {
    let home = Home::new();
    let mut server = home.serve(&[]);
    let token = server.token.clone();
    server.signal(Signal::TERM);
    server.wait_end();
    drop(server);
    let server = home.serve(&[("ORCHESTRATOR_AUTH", "off")]);
    assert!(home.data().join("token").exists());
    for env in [&[][..], &[("MOSAIC_URL", server.url.as_str())]] {
        let output = home.run(env, &["ps"]);
        assert!(output.status.success(), "{env:?} {}", output_text(&output));
    }
    // With a token in hand a server that wants none is refused: anything could say so.
    let output = home.run(&[("MOSAIC_TOKEN", &token), ("MOSAIC_URL", "http://127.0.0.1:1")], &["ps"]);
    assert_eq!(output.status.code(), Some(5), "{}", output_text(&output));
}
