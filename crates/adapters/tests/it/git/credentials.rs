//! Credentials and redirects over http, against a listener on loopback that writes down what git sends.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};

use mosaic_adapters::git::{Credentials, GitOptions, GitRepositories};
use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::ports::repositories::Publisher;
use mosaic_testkit::require;

const TOKEN: &str = "canary-token-1f9a";
/// `x-access-token:canary-token-1f9a` in base 64.
const BASIC: &str = "eC1hY2Nlc3MtdG9rZW46Y2FuYXJ5LXRva2VuLTFmOWE=";

/// Answers every request by `answer(has_authorization)` and reports each request's head.
fn listener(answer: impl Fn(bool) -> String + Send + 'static) -> (SocketAddr, Receiver<String>) {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("it is bound");
    let (say, heard) = channel();
    std::thread::spawn(move || {
        for stream in socket.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut head = String::new();
            let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
            while reader.read_line(&mut head).is_ok_and(|n| n > 2) {}
            let text = answer(head.contains("Authorization:"));
            if say.send(head).is_err() {
                return;
            }
            let _ = stream.write_all(text.as_bytes());
        }
    });
    (address, heard)
}

fn plain(status: &str, header: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{header}Content-Length: 0\r\nConnection: close\r\n\r\n")
}

fn available() -> bool {
    let out = std::process::Command::new("git").args(["--exec-path"]).output().expect("git starts");
    let dir = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    require::have(
        "git-remote-http",
        std::path::Path::new(&dir).join("git-remote-http").exists(),
        "install git with http support",
    )
}

async fn fetch(address: SocketAddr, token_host: String) -> Failure {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut options = GitOptions::new(dir.path().join("data"), "/nonexistent");
    options.allow_local = true;
    options.credentials =
        Credentials { token: Some(TOKEN.to_owned()), token_host: Some(token_host), ..Credentials::default() };
    let git = GitRepositories::new(options).expect("made");
    let url = format!("http://{address}/x.git").parse().expect("an address");
    let main = "main".parse().expect("a branch");
    let own = "own".parse().expect("a branch");
    let failure = git.fetch(&url, &main, &own).await.expect_err("the listener has no repository");
    let left = std::fs::read_dir(dir.path().join("data/git/credentials")).expect("readable").count();
    assert_eq!(left, 0, "a credentials file stayed");
    failure
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_goes_to_its_host_and_into_no_error() {
    if !available() {
        return;
    }
    let (address, heard) = listener(|known| match known {
        true => plain("403 Forbidden", ""),
        false => plain("401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n"),
    });
    let failure = fetch(address, address.to_string()).await;
    assert_eq!(failure.kind, FailureKind::RemoteAuth, "{}", failure.message);
    assert!(
        !failure.message.contains(TOKEN) && failure.message.contains("MOSAIC_GIT_TOKEN"),
        "{}",
        failure.message
    );
    assert!(heard.try_iter().any(|head| head.contains(BASIC)), "the token was sent as basic credentials");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_host_gets_no_token() {
    if !available() {
        return;
    }
    let (address, heard) = listener(|_| plain("401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n"));
    let failure = fetch(address, "git.example.com".to_owned()).await;
    assert_eq!(failure.kind, FailureKind::RemoteAuth, "{}", failure.message);
    let heads: Vec<String> = heard.try_iter().collect();
    assert!(!heads.is_empty() && heads.iter().all(|h| !h.contains("Authorization:")), "{heads:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_not_followed() {
    if !available() {
        return;
    }
    let (target, reached) = listener(|_| plain("404 Not Found", ""));
    let (address, _heard) =
        listener(move |_| plain("302 Found", &format!("Location: http://{target}/x.git/info/refs\r\n")));
    let failure = fetch(address, target.to_string()).await;
    assert_eq!(failure.kind, FailureKind::BadInput, "{}", failure.message);
    assert_eq!(reached.try_iter().count(), 0, "the redirect was followed");
}
