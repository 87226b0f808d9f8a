//! Orders to stop get through when everything else of the server is used up: idle connections, requests whose head or
//! body never ends, on the port and on the control socket.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mosaic_testkit::git_fixture::Fixture;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::support::{Home, Marker, Server, body, script, until};

/// More than are ever taken: the ordinary ones and those kept for orders to stop.
const CROWD: usize = 1000;
/// A stop is prompt when it takes no longer than the grace (500 ms here) and a busy machine's own time.
const PROMPT: Duration = Duration::from_secs(5);

fn more_descriptors() {
    let limits = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit { current: limits.maximum.map(|n| n.min(8192)).or(Some(8192)), ..limits },
    )
    .unwrap();
}

/// Returns the text that a client sends which takes a connection and then does nothing with it.
fn request_text(server: &Server<'_>, i: usize) -> String {
    let head = format!("host: localhost\r\nauthorization: Bearer {}\r\n", server.token);
    match i % 4 {
        0 => String::new(),
        1 => "GET /health HTTP/1.1\r\nhost: loc".to_owned(),
        2 => format!(
            "POST /agents/spawn HTTP/1.1\r\n{head}content-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
        ),
        _ => format!("GET /v1/events HTTP/1.1\r\n{head}accept: text/event-stream\r\n\r\n"),
    }
}

/// Keeps so many connections open, and makes new ones for those that are closed, until told to stop.
fn crowd(server: &Server<'_>, ready: &AtomicUsize, enough: &AtomicBool) {
    let address = server.url.trim_start_matches("http://");
    let open = |i: usize| {
        let mut stream = TcpStream::connect(address).unwrap();
        // Closed already when there was no place; the next look sees it.
        let _ = stream.write_all(request_text(server, i).as_bytes());
        stream.set_nonblocking(true).unwrap();
        stream
    };
    let mut all: Vec<TcpStream> = (0..CROWD).map(open).collect();
    while !enough.load(Ordering::SeqCst) {
        for (i, stream) in all.iter_mut().enumerate() {
            let mut bytes = [0; 4096];
            let closed = loop {
                match stream.read(&mut bytes) {
                    Ok(0) => break true,
                    Ok(_) => {}
                    Err(e) => break e.kind() != std::io::ErrorKind::WouldBlock,
                }
            };
            if closed {
                *stream = open(i);
            }
        }
        ready.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Sends one request on a connection of its own; returns the whole answer.
fn ask(server: &Server<'_>, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        server.token
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn stops_get_through_when_all_connections_are_taken() {
    more_descriptors();
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let line = script(home.path(), "agent.sh", &format!("cat > /dev/null\nsleep {marker}\n"));
    let server = home.serve(&[("MOSAIC_COMMAND", &line), ("MOSAIC_SLOTS", "4")]);
    let ids: Vec<String> = (0..4).map(|n| server.spawn(&body(&fixture.url(), &format!("T-{n}")))).collect();
    until("the agents' programs", || (marker.alive().len() == 4).then_some(()));
    let (ready, enough) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| crowd(&server, &ready, &enough));
        // Whatever fails in here, the crowd must go, or the test would hang instead of failing.
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until("a full house", || (ready.load(Ordering::SeqCst) > 2).then_some(()));
            // Who says nothing makes way for whoever asks something.
            let listed = ask(&server, "GET", "/v1/agents");
            assert!(listed.starts_with("HTTP/1.1 200"), "{listed}");
            assert!(ask(&server, "GET", "/health").starts_with("HTTP/1.1 200"));

            let timed = |what: &str, order: &mut dyn FnMut()| {
                let began = Instant::now();
                order();
                let took = began.elapsed();
                println!("{what}: {} ms", took.as_millis());
                assert!(took < PROMPT, "{what} took {took:?}");
            };
            timed("kill over HTTP", &mut || {
                let answer = ask(&server, "POST", &format!("/agents/{}/kill", ids[0]));
                assert!(
                    answer.starts_with("HTTP/1.1 200") && answer.contains("\"verified\":true"),
                    "{answer}"
                );
            });
            // The control socket is crowded too, beyond what it takes.
            let path = home.data().join("control.sock");
            let dir = std::fs::File::open(home.data()).unwrap();
            assert!(path.exists());
            let idle: Vec<UnixStream> = (0..40)
                .map(|_| {
                    UnixStream::connect(format!("/proc/self/fd/{}/control.sock", dir.as_raw_fd())).unwrap()
                })
                .collect();
            timed("mosaic kill by name", &mut || {
                let killed = server.cli(&["kill", "t-1"]);
                assert!(killed.status.success(), "{killed:?}");
            });
            timed("mosaic kill-all", &mut || {
                let killed = server.cli(&["kill-all", "--yes", "--json"]);
                assert!(killed.status.success(), "{killed:?}");
                let text = String::from_utf8_lossy(&killed.stdout).into_owned();
                assert!(text.contains("\"killed\":2") && text.contains("\"failed\":0"), "{text}");
            });
            drop(idle);
            timed("kill-all over HTTP", &mut || {
                assert!(ask(&server, "POST", "/agents/kill-all").starts_with("HTTP/1.1 200"));
            });
            assert_eq!(marker.alive(), Vec::<String>::new());
        }));
        enough.store(true, Ordering::SeqCst);
        if let Err(panic) = checked {
            std::panic::resume_unwind(panic);
        }
    });
    // Once they are gone, everything is answered again.
    until("ordinary answers", || ask(&server, "GET", "/v1/agents").starts_with("HTTP/1.1 200").then_some(()));
}

#[test]
fn the_control_socket_takes_orders_to_stop_only_and_only_with_the_token() {
    let home = Home::new();
    let server = home.serve(&[]);
    let dir = std::fs::File::open(home.data()).unwrap();
    let send = |method: &str, path: &str, token: &str| {
        let mut stream =
            UnixStream::connect(format!("/proc/self/fd/{}/control.sock", dir.as_raw_fd())).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-length: 0\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        // The request does not ask for it, but a connection of this socket is closed after one answer. Kept open, it
        // would hang this test.
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    let token = server.token.clone();
    for (method, path, status) in [
        ("GET", "/health", "200"),
        ("GET", "/v1/agents", "200"),
        ("POST", "/agents/kill-all", "200"),
        ("POST", "/agents/spawn", "503"),
        ("GET", "/v1/queue", "503"),
        ("GET", "/v1/audit", "503"),
        ("GET", "/v1/events", "503"),
    ] {
        assert_eq!(send(method, path, &token), status, "{method} {path}");
    }
    for path in ["/agents/kill-all", "/v1/agents"] {
        let method = if path == "/v1/agents" { "GET" } else { "POST" };
        assert_eq!(send(method, path, "wrong"), "401", "{path}");
    }
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(home.data().join("control.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let path = home.data().join("control.sock");
    drop(server);
    assert!(!path.exists(), "a server that ended leaves no control socket");
}
