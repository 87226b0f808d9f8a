//! The twelve faults of a coordinator, and their siblings: none of them is a verdict.

use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::limits;
use mosaic_testkit::require;
use mosaic_testkit::stub_coordinator::{Reply, StubCoordinator};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{commit, judged, keeper};

/// Asks a coordinator that answers so, and returns why there is no verdict.
async fn refused(reply: Reply) -> Failure {
    let stub = StubCoordinator::start(move |_, _| reply.clone());
    judged(&keeper(&stub.url())).await.expect_err("it opened the gate")
}

async fn refused_json(body: impl Into<String>) -> Failure {
    refused(Reply::Json(body.into())).await
}

/// Asserts that a failure is for good, says this, and tells where the fault is.
fn is_for_good(failure: &Failure, words: &str) {
    assert!(failure.message.contains(words), "{}", failure.message);
    assert!(failure.message.contains("the coordinator http"), "{}", failure.message);
    assert_eq!(failure.kind, FailureKind::BadInput, "{}", failure.message);
}

const JSON: &str = "content-type: application/json\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn fault_1_a_coordinator_that_is_down_is_no_verdict() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let failure = judged(&keeper(&format!("http://{free}"))).await.expect_err("it opened the gate");
    assert_eq!(failure.kind, FailureKind::Network, "it may be back for the next attempt");
    assert!(failure.message.contains("cannot be connected to"), "{}", failure.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_2_an_error_of_the_coordinator_is_no_verdict() {
    let approval = r#"{"approved": true, "gate": "x"}"#;
    for status in [500, 501, 400, 401, 404, 418, 204, 206] {
        let failure = refused(Reply::Http(status, JSON.to_owned(), approval.to_owned())).await;
        is_for_good(&failure, &status.to_string());
    }
    for status in [502, 503, 504, 429] {
        let failure = refused(Reply::Http(status, JSON.to_owned(), approval.to_owned())).await;
        assert_eq!(failure.kind, FailureKind::RemoteBusy, "{}", failure.message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_3_an_answer_of_garbage_is_no_verdict() {
    for body in [
        "",
        "approved",
        "true",
        "null",
        "[]",
        r#"[{"approved": true}]"#,
        r#"{"approved": true"#,
        r#"{"approved": true, "gate": "x"} {"approved": true}"#,
        r#"{"approved": false, "approved": true, "gate": "x"}"#,
        r#"{"approved": true, "gate": 7}"#,
        "\u{0}\u{1}",
    ] {
        is_for_good(&refused_json(body).await, "cannot be read");
    }
    let deep = format!(r#"{{"approved": true, "details": {}1{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    is_for_good(&refused_json(deep).await, "cannot be read");
    // What is no HTTP may be a proxy that starts.
    let failure = refused(Reply::Raw(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec())).await;
    assert_eq!(failure.kind, FailureKind::Network, "{}", failure.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_4_a_huge_answer_is_no_verdict_and_is_not_read_to_its_end() {
    is_for_good(&refused(Reply::Endless).await, "more than");
    let announced = format!("HTTP/1.1 200 OK\r\n{JSON}content-length: 99999999999\r\n\r\n{{");
    is_for_good(&refused(Reply::Raw(announced.into_bytes())).await, "more than");
    let headers = format!("{JSON}{}", "x-filler: 0123456789\r\n".repeat(200_000));
    let failure = refused(Reply::Http(200, headers, r#"{"approved": true, "gate": "x"}"#.to_owned())).await;
    assert!(failure.kind.is_retryable() || failure.kind == FailureKind::BadInput);
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_5_a_slow_answer_is_no_verdict_once_the_deadline_is_over() {
    for reply in [Reply::Silence, Reply::HalfAnAnswer] {
        is_for_good(&refused(reply).await, "no verdict after 100 s");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_6_a_verdict_about_another_task_is_none() {
    for body in [
        r#"{"approved": true, "gate": "x", "taskId": "T-2"}"#,
        r#"{"approved": true, "gate": "x", "details": {"task_id": "T-2"}}"#,
        r#"{"approved": true, "gate": "x", "results": [{"gate": "lint", "passed": true, "taskId": "T-2"}]}"#,
    ] {
        is_for_good(&refused_json(body).await, "about the task T-2, and T-1 was asked for");
    }
    let other = r#"{"approved": true, "gate": "x", "agentId": "7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a"}"#;
    is_for_good(&refused_json(other).await, "about the agent");
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_7_a_redirect_is_not_followed() {
    let generous = Arc::new(StubCoordinator::start(|_, _| Reply::approval()));
    for status in [301, 302, 303, 307, 308] {
        let target = format!("location: {}/api/quality/check\r\n", generous.url());
        let body = r#"{"approved": true, "gate": "x"}"#.to_owned();
        let failure = refused(Reply::Http(status, format!("{JSON}{target}"), body)).await;
        is_for_good(&failure, "a redirect, which is not followed");
    }
    assert!(generous.asked().is_empty(), "another address was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_8_a_connection_that_is_closed_halfway_is_no_verdict() {
    let whole = r#"{"approved": true, "gate": "x"}"#;
    let cut = format!("HTTP/1.1 200 OK\r\n{JSON}content-length: {}\r\n\r\n{whole}", whole.len() + 1);
    for reply in [Reply::HalfClosed, Reply::Raw(Vec::new()), Reply::Raw(cut.into_bytes())] {
        let failure = refused(reply).await;
        assert_eq!(failure.kind, FailureKind::Network, "{}", failure.message);
        assert!(failure.message.contains("the connection broke"), "{}", failure.message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_9_an_answer_of_another_content_type_is_no_verdict() {
    for kind in [
        "content-type: text/html\r\n",
        "content-type: text/plain\r\n",
        "",
        "content-type: application/jsonx\r\n",
    ] {
        let body = r#"{"approved": true, "gate": "x"}"#.to_owned();
        is_for_good(&refused(Reply::Http(200, kind.to_owned(), body)).await, "not application/json");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_10_a_stale_verdict_about_another_commit_is_none() {
    let old = "8".repeat(40);
    for body in [
        format!(r#"{{"approved": true, "gate": "x", "headCommit": "{old}"}}"#),
        format!(r#"{{"approved": true, "gate": "x", "details": {{"head_commit": "{old}"}}}}"#),
        format!(r#"{{"approved": true, "gate": "x", "results": {{"headCommit": "{old}", "lint": true}}}}"#),
        format!(r#"{{"approved": true, "gate": "x", "details": {{"commit": "{}"}}}}"#, &old[..10]),
        r#"{"approved": true, "gate": "x", "headCommit": ""}"#.to_owned(),
    ] {
        is_for_good(&refused_json(body).await, "about the commit");
    }
    let base = format!(r#"{{"approved": true, "gate": "x", "baseCommit": "{old}"}}"#);
    is_for_good(&refused_json(base).await, "about the base commit");
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_11_an_answer_without_approved_is_no_verdict() {
    for body in [
        "{}",
        r#"{"gate": "x"}"#,
        r#"{"approved": null, "gate": "x"}"#,
        r#"{"approved": "true", "gate": "x"}"#,
        r#"{"approved": 1, "gate": "x"}"#,
        r#"{"Approved": true, "gate": "x"}"#,
        r#"{"details": {"approved": true}, "gate": "x"}"#,
    ] {
        is_for_good(&refused_json(body).await, "cannot be read");
    }
}

/// Makes a certificate for 127.0.0.1 that nobody vouches for, with the program `openssl`.
fn certificate(dir: &std::path::Path) -> bool {
    let args = "req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=x -addext subjectAltName=IP:127.0.0.1";
    let done = Command::new("openssl").args(args.split(' ')).current_dir(dir).output();
    done.is_ok_and(|output| output.status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_12_a_certificate_that_nobody_vouches_for_is_no_verdict() {
    let dir = tempfile::tempdir().unwrap();
    if !require::have("valkey", certificate(dir.path()), "install openssl, for certificates") {
        return;
    }
    let pem = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(&pem("cert.pem")).unwrap()],
            PrivateKeyDer::from_pem_slice(&pem("key.pem")).unwrap(),
        )
        .unwrap();
    let (acceptor, trusted) = (TlsAcceptor::from(Arc::new(config)), Arc::new(AtomicUsize::new(0)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let count = Arc::clone(&trusted);
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if acceptor.accept(stream).await.is_ok() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    let failure = judged(&keeper(&url)).await.expect_err("it opened the gate");
    is_for_good(&failure, "TLS: ");
    assert_eq!(trusted.load(Ordering::SeqCst), 0, "nothing is sent to a server that is not believed");
    server.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_with_a_failed_result_contradicts_itself() {
    for results in [
        r#"[{"gate": "lint", "passed": true}, {"gate": "tests", "passed": false}]"#,
        r#"[{"name": "tests", "outcome": "flaky"}]"#,
        r#"{"tests": "failed"}"#,
        r#"{"other": {"status": "error"}}"#,
        r#"[{"passed": false}]"#,
    ] {
        let body = format!(r#"{{"approved": true, "gate": "x", "results": {results}}}"#);
        is_for_good(&refused_json(body).await, "contradicts itself");
    }
    // The other way round, the agent would be sent back with nothing to repair.
    let body = r#"{"approved": false, "gate": "x", "results": {"lint": true, "tests": true}}"#;
    is_for_good(&refused_json(body).await, "contradicts itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passing_fault_is_asked_about_again_and_a_lasting_one_is_not() {
    let stub = StubCoordinator::start(|before, _| match before {
        0 => Reply::Http(503, "retry-after: 1\r\n".to_owned(), String::new()),
        1 => Reply::HalfClosed,
        _ => Reply::approval(),
    });
    let report = judged(&keeper(&stub.url())).await.expect("the third time it answers");
    assert_eq!((report.commit, stub.asked().len()), (commit(), 3));
    let stub = StubCoordinator::start(|_, _| Reply::Http(500, String::new(), String::new()));
    judged(&keeper(&stub.url())).await.expect_err("it opened the gate");
    assert_eq!(stub.asked().len(), 1);
    let stub = StubCoordinator::start(|_, _| Reply::Http(503, String::new(), String::new()));
    judged(&keeper(&stub.url())).await.expect_err("it opened the gate");
    assert_eq!(stub.asked().len(), limits::CHECK_TRIES as usize);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_fails_again_and_again_is_left_alone_and_then_asked_once() {
    let stub = StubCoordinator::start(|before, _| match before {
        0..5 => Reply::Http(500, String::new(), String::new()),
        _ => Reply::approval(),
    });
    let keeper = keeper(&stub.url());
    for _ in 0..limits::CHECK_BREAKER_FAILURES {
        judged(&keeper).await.expect_err("it opened the gate");
    }
    let failure = judged(&keeper).await.expect_err("it opened the gate");
    assert!(failure.message.contains("failed several times in a row"), "{}", failure.message);
    assert_eq!(failure.kind, FailureKind::Network);
    let asked = stub.asked().len();
    assert_eq!(asked, limits::CHECK_BREAKER_FAILURES as usize, "it was asked while the breaker was open");
    let mut report = Err(failure);
    while report.is_err() {
        report = judged(&keeper).await;
    }
    assert_eq!(stub.asked().len(), asked + 1);
}
