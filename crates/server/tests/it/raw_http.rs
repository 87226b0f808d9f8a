//! The server on a real socket: answers, shutdown with its deadline, a reader that stops reading.

use std::time::{Duration, Instant};

use mosaic_core::domain::journal::LogRecord;
use mosaic_core::ports::store::Store;
use mosaic_server::{ConnectionLimits, serve};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::world::{DEADLINE, TOKEN, World};

async fn start(
    world: &World,
) -> (std::net::SocketAddr, oneshot::Sender<()>, JoinHandle<std::io::Result<()>>) {
    start_with(world, ConnectionLimits { open: 900, reserved: 32, control: 16 }).await
}

async fn start_with(
    world: &World,
    most: ConnectionLimits,
) -> (std::net::SocketAddr, oneshot::Sender<()>, JoinHandle<std::io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("the test's own step works");
    let address = listener.local_addr().expect("the test's own step works");
    let (stop, stopped) = oneshot::channel();
    (address, stop, tokio::spawn(serve(listener, world.router.clone(), most, stopped)))
}

/// Sends a request line with Host and token; reads until this text came.
async fn request(address: std::net::SocketAddr, line: &str, until: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).await.expect("the test's own step works");
    let head = format!("{line} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {TOKEN}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("the test's own step works");
    let mut text = String::new();
    while !text.contains(until) {
        let mut buffer = [0; 4096];
        let n = tokio::time::timeout(DEADLINE, stream.read(&mut buffer))
            .await
            .expect("an answer in time")
            .expect("the test's own step works");
        assert!(n > 0, "closed after {text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
    (stream, text)
}

#[tokio::test]
async fn it_answers_and_stops_when_told() {
    let world = World::new();
    let (address, stop, served) = start(&world).await;
    let (_idle, text) = request(address, "GET /health", "startedAt").await;
    assert!(text.starts_with("HTTP/1.1 200") && text.contains("x-request-id"), "{text}");
    let before = Instant::now();
    stop.send(()).unwrap();
    tokio::time::timeout(DEADLINE, served).await.unwrap().unwrap().unwrap();
    assert!(before.elapsed() < Duration::from_secs(4), "an idle connection holds nothing up");
    assert!(TcpStream::connect(address).await.is_err(), "the port is free again");
}

/// Sends many requests ahead on one connection and returns everything that is answered until it is closed.
async fn sent_ahead(address: std::net::SocketAddr, head: &str, count: usize) -> String {
    let mut stream = TcpStream::connect(address).await.expect("the server listens");
    stream.write_all(head.repeat(count).as_bytes()).await.expect("the requests are sent");
    // The server closes it, or it stays open and this side has said everything.
    stream.shutdown().await.expect("the connection is there");
    let mut text = Vec::new();
    // A reset is an end as well: what was sent ahead was not read.
    let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut text)).await.expect("the connection ends");
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn a_caller_that_is_turned_away_gets_one_answer_a_connection() {
    let world = World::new();
    let (address, _stop, _served) = start(&world).await;
    let let_in =
        format!("GET /v1/nodes HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {TOKEN}\r\n\r\n");
    assert_eq!(sent_ahead(address, &let_in, 40).await.matches("HTTP/1.1 200").count(), 40);
    let strangers = [
        (format!("GET /v1/nodes HTTP/1.1\r\nhost: {address}\r\n\r\n"), "401"),
        (format!("GET /v1/nodes HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer wrong\r\n\r\n"), "401"),
        (
            format!("GET /v1/nodes HTTP/1.1\r\nhost: evil.example\r\nauthorization: Bearer {TOKEN}\r\n\r\n"),
            "421",
        ),
    ];
    for (head, status) in strangers {
        let text = sent_ahead(address, &head, 40).await;
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{text}");
        assert!(text.starts_with(&format!("HTTP/1.1 {status}")), "{text}");
        assert!(text.to_lowercase().contains("connection: close"), "{text}");
    }
}

#[tokio::test]
async fn open_event_streams_end_at_the_deadline() {
    let world = World::new();
    let (address, stop, served) = start(&world).await;
    let (mut stream, _) = request(address, "GET /v1/events", "snapshot").await;
    stop.send(()).unwrap();
    tokio::time::timeout(DEADLINE, served)
        .await
        .expect("a stream does not hold it up indefinitely")
        .unwrap()
        .unwrap();
    let mut rest = Vec::new();
    let _ =
        tokio::time::timeout(DEADLINE, stream.read_to_end(&mut rest)).await.expect("the stream is closed");
}

#[tokio::test]
async fn who_stops_reading_holds_up_nobody() {
    let world = World::new();
    let (address, stop, served) = start(&world).await;
    let (_stuck, _) = request(address, "GET /v1/events?after=0", "retry").await;
    let long = "x".repeat(10_000);
    // 20 MB in all, which no buffer between server and reader holds: the server is certain to be stuck in a write.
    for _ in 0..2000 {
        let at = world.orchestrator.now();
        let fact = LogRecord::stored("queue.paused", None, None, at, json!({"reason": &long}));
        world.store.log(vec![fact]).await.unwrap();
    }
    let (_other, text) = request(address, "GET /v1/events?after=1999", "id: 2000").await;
    assert!(text.contains("queue.paused"));
    drop(stop);
    tokio::time::timeout(DEADLINE, served).await.expect("nor the end").unwrap().unwrap();
}

#[tokio::test]
async fn what_is_no_http_is_refused_without_harm() {
    let world = World::new();
    let (address, _stop, _served) = start(&world).await;
    let large = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "x".repeat(200_000));
    let smuggled = "POST /agents/kill-all HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ntransfer-encoding: x\r\n\r\nhello";
    for bad in [
        "\0\0\0\0\r\n\r\n",
        "\u{16}\u{3}\u{1}\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        &large,
        smuggled,
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The server may close before everything was sent.
        let _ = stream.write_all(bad.as_bytes()).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer))
            .await
            .expect("the connection is closed");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    request(address, "GET /health", "startedAt").await;
}

#[tokio::test]
async fn whoever_asks_is_answered_however_many_say_nothing_or_half_a_request() {
    let world = World::new();
    let most = ConnectionLimits { open: 8, reserved: 2, control: 2 };
    let (address, _stop, _served) = start_with(&world, most).await;
    let mut crowd = Vec::new();
    for n in 0..40 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        if n % 2 == 0 {
            stream.write_all(b"GET /v1/agents HTTP/1.1\r\nhost: loc").await.unwrap();
        }
        crowd.push(stream);
        // Whoever came has a moment to ask; once that is over, the one that asks goes before it.
        if n % 8 == 7 {
            let answered = async {
                while !request(address, "GET /v1/agents", "}").await.1.starts_with("HTTP/1.1 200") {}
            };
            tokio::time::timeout(DEADLINE, answered).await.expect("it is answered");
        }
    }
}

#[tokio::test]
async fn one_caller_cannot_hold_every_connection() {
    let world = World::new();
    let most = ConnectionLimits { open: 8, reserved: 4, control: 2 };
    let (address, _stop, _served) = start_with(&world, most).await;
    let mut streams = Vec::new();
    // Three quarters of the eight connections, which is the most that one caller may hold.
    for _ in 0..6 {
        streams.push(request(address, "GET /v1/events", "snapshot").await);
    }
    let (_closed, refused) = request(address, "GET /v1/events", "hint").await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("one caller"), "{refused}");
    // Orders to stop count for nobody's share.
    let (_kept, stopped) = request(address, "GET /v1/killswitch", "engaged").await;
    assert!(stopped.starts_with("HTTP/1.1 200"), "{stopped}");
    // Who gives some back has them again.
    drop(streams);
    let again =
        async { while !request(address, "GET /v1/agents", "}").await.1.starts_with("HTTP/1.1 200") {} };
    tokio::time::timeout(DEADLINE, again).await.expect("the share is released");
}
