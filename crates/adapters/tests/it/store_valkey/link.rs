//! The connection to a real server: passwords, TLS, clusters, connections that are cut, words of errors.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use mosaic_adapters::store_valkey::{LinkOptions, Tls, ValkeyOptions, ValkeyStore, inspect};
use mosaic_core::ports::store::{Store, StoreError};
use mosaic_testkit::require;
use mosaic_testkit::store_suite::sample::{T0, admission, agent};
use mosaic_testkit::valkey_server::ValkeyServer;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

fn link(port: u16) -> LinkOptions {
    LinkOptions { host: "127.0.0.1".to_owned(), port, prefix: "{m}".to_owned(), ..LinkOptions::default() }
}

async fn connect(link: LinkOptions) -> Result<ValkeyStore, StoreError> {
    ValkeyStore::connect(ValkeyOptions { link, ..ValkeyOptions::default() }).await
}

async fn refusal(link: LinkOptions) -> String {
    match connect(link).await {
        Ok(_) => panic!("it connected"),
        Err(e) => e.to_string(),
    }
}

async fn ready(store: &ValkeyStore) {
    let began = Instant::now();
    while store.check().await.is_err() {
        assert!(began.elapsed() < PATIENCE, "the store does not come back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn user_and_password_are_used_and_never_shown() {
    let Some(server) = ValkeyServer::start() else { return };
    let made = server.ask("ACL SETUSER mosaic on >canary-right ~* &* +@all").unwrap();
    assert_eq!(made, "+OK");
    assert_eq!(server.ask("CONFIG SET requirepass canary-default").unwrap(), "+OK");
    let right = LinkOptions {
        username: Some("mosaic".to_owned()),
        password: Some("canary-right".to_owned()),
        database: 3,
        ..link(server.port())
    };
    connect(right.clone()).await.unwrap().admit(admission(&agent("T-1", T0))).await.unwrap();
    let only = LinkOptions { password: Some("canary-default".to_owned()), ..link(server.port()) };
    connect(only.clone()).await.unwrap();
    for wrong in [
        link(server.port()),
        LinkOptions { password: Some("canary-wrong".to_owned()), ..right.clone() },
        LinkOptions { password: Some("canary-wrong".to_owned()), ..only },
    ] {
        let said = format!("{:?} {}", wrong, refusal(wrong.clone()).await);
        assert!(said.contains(&format!(":{}", server.port())) && !said.contains("canary"), "{said}");
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_comes_back_and_one_that_nobody_serves_is_named() {
    let Some(mut server) = ValkeyServer::start() else { return };
    let store = connect(link(server.port())).await.unwrap();
    for _ in 0..5 {
        server.ask("CLIENT KILL TYPE normal").unwrap();
        ready(&store).await;
    }
    server.kill();
    let began = Instant::now();
    let why = loop {
        match store.check().await {
            Err(e) if e.to_string().contains("refused") => break e.to_string(),
            _ => assert!(began.elapsed() < PATIENCE, "it is not noticed"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(
        why,
        format!(
            "store unavailable: cannot reach the store at 127.0.0.1:{} (connection refused)",
            server.port()
        )
    );
    let again = Instant::now();
    assert!(store.check().await.is_err() && again.elapsed() < Duration::from_millis(500), "it waits in vain");
    server.restart();
    ready(&store).await;
}

#[tokio::test]
async fn a_cluster_is_used_by_its_hash_tag_and_followed_when_the_slot_moves() {
    let cluster = ["--cluster-enabled", "yes", "--cluster-require-full-coverage", "no"];
    let Some(one) = ValkeyServer::start_with(&cluster) else { return };
    let Some(two) = ValkeyServer::start_with(&cluster) else { return };
    assert_eq!(one.ask("CLUSTER ADDSLOTSRANGE 0 16383").unwrap(), "+OK");
    assert_eq!(one.ask(&format!("CLUSTER MEET 127.0.0.1 {}", two.port())).unwrap(), "+OK");
    let until = |what: &str, server: &ValkeyServer, words: &[&str]| {
        let began = Instant::now();
        while !words.iter().all(|word| server.ask_all("CLUSTER INFO").unwrap().contains(word)) {
            assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    for server in [&one, &two] {
        until(
            "the cluster",
            server,
            &["cluster_known_nodes:2", "cluster_slots_assigned:16384", "cluster_state:ok"],
        );
    }
    let untagged = LinkOptions { prefix: String::new(), ..link(one.port()) };
    let said = refusal(untagged).await;
    assert!(said.contains("MOSAIC_VALKEY_PREFIX"), "{said}");
    // Asked of the wrong one, it goes to the right one.
    let store = connect(link(two.port())).await.unwrap();
    store.admit(admission(&agent("T-1", T0))).await.unwrap();
    let slot = two.ask("CLUSTER KEYSLOT {m}").unwrap().trim_start_matches(':').to_owned();
    one.ask("FLUSHALL").unwrap();
    let id = |server: &ValkeyServer| {
        server.ask_all("CLUSTER MYID").unwrap().lines().nth(1).unwrap().trim().to_owned()
    };
    for server in [&two, &one] {
        assert_eq!(server.ask(&format!("CLUSTER SETSLOT {slot} NODE {}", id(&two))).unwrap(), "+OK");
    }
    store.admit(admission(&agent("T-2", T0))).await.unwrap();
    assert_eq!(two.ask("EXISTS {m}:orchestrator:task:T-2").unwrap(), ":1");
}

#[tokio::test]
async fn what_a_managed_server_hides_is_said_and_no_reason_to_refuse() {
    let Some(server) = ValkeyServer::start() else { return };
    server.ask("ACL SETUSER mosaic on >p ~* &* +@all -config").unwrap();
    let hidden = LinkOptions {
        username: Some("mosaic".to_owned()),
        password: Some("p".to_owned()),
        ..link(server.port())
    };
    connect(hidden.clone()).await.unwrap();
    let server = inspect(&hidden).await.unwrap();
    assert!(server.risks().is_empty() && server.remarks().join(" ").contains("appendfsync"), "{server:?}");
    assert_eq!((server.append_only, server.policy.as_deref()), (Some(true), Some("noeviction")));
}

/// Makes an authority and a certificate for 127.0.0.1, with the program `openssl`.
fn certificates(dir: &Path) -> bool {
    let run = |args: &str| {
        let done = Command::new("openssl").args(args.split(' ')).current_dir(dir).output();
        done.is_ok_and(|output| output.status.success())
    };
    std::fs::write(dir.join("ext"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    run("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=authority")
        && run("req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=server")
        && run(
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile ext",
        )
}

#[tokio::test]
async fn tls_is_spoken_with_those_that_the_authority_vouches_for() {
    let dir = tempfile::tempdir().unwrap();
    if !require::have("valkey", certificates(dir.path()), "install openssl, for certificates") {
        return;
    }
    let file = |name: &str| dir.path().join(name).display().to_string();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (tls_port, cert, key, ca) =
        (port.to_string(), file("server.pem"), file("server.key"), file("ca.pem"));
    let options = [
        ["--tls-port", &tls_port],
        ["--tls-cert-file", &cert],
        ["--tls-key-file", &key],
        ["--tls-ca-cert-file", &ca],
        ["--tls-auth-clients", "no"],
    ];
    let Some(server) = ValkeyServer::start_with(&options.concat()) else { return };
    let tls = |ca_file: &str| LinkOptions {
        tls: Some(Tls { ca_file: Some(dir.path().join(ca_file)) }),
        ..link(port)
    };
    let store = connect(tls("ca.pem")).await.unwrap();
    store.admit(admission(&agent("T-1", T0))).await.unwrap();
    assert_eq!(server.ask("EXISTS {m}:orchestrator:task:T-1").unwrap(), ":1");
    let other = tempfile::tempdir().unwrap();
    assert!(certificates(other.path()));
    std::fs::copy(other.path().join("ca.pem"), dir.path().join("other.pem")).unwrap();
    let said = refusal(tls("other.pem")).await;
    assert!(said.contains("certificate"), "{said}");
    let said = refusal(tls("nowhere.pem")).await;
    assert!(said.contains("nowhere.pem") && said.contains("MOSAIC_VALKEY_CA_FILE"), "{said}");
    let said = refusal(LinkOptions { port: server.port(), ..tls("ca.pem") }).await;
    assert!(said.contains(&format!(":{}", server.port())), "{said}");
}

/// Asks again and again until the server's answer has these words.
fn says(server: &ValkeyServer, command: &str, words: &[&str]) {
    let began = Instant::now();
    while !server.ask_all(command).is_ok_and(|answer| words.iter().all(|word| answer.contains(word))) {
        assert!(began.elapsed() < PATIENCE, "waited in vain for {words:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test]
async fn a_cluster_is_found_again_through_any_server_when_the_one_that_was_named_is_dead() {
    let options = ["--cluster-enabled", "yes", "--cluster-require-full-coverage", "no"];
    let Some(mut named) = ValkeyServer::start_with(&options) else { return };
    let Some(keys) = ValkeyServer::start_with(&options) else { return };
    assert_eq!(keys.ask("CLUSTER ADDSLOTSRANGE 0 16383").unwrap(), "+OK");
    assert_eq!(keys.ask(&format!("CLUSTER MEET 127.0.0.1 {}", named.port())).unwrap(), "+OK");
    for server in [&named, &keys] {
        says(
            server,
            "CLUSTER INFO",
            &["cluster_known_nodes:2", "cluster_slots_assigned:16384", "cluster_state:ok"],
        );
    }
    let store = connect(link(named.port())).await.unwrap();
    store.admit(admission(&agent("T-1", T0))).await.unwrap();
    named.kill();
    // The connection to the server with the keys is lost while the one that was named is dead.
    keys.ask("CLIENT KILL TYPE normal SKIPME yes").unwrap();
    ready(&store).await;
    store.admit(admission(&agent("T-2", T0))).await.unwrap();
    // A new start needs another address.
    assert!(refusal(link(named.port())).await.contains("cannot reach the store"));
    let several = LinkOptions { others: vec![("127.0.0.1".to_owned(), keys.port())], ..link(named.port()) };
    connect(several.clone()).await.unwrap().admit(admission(&agent("T-3", T0))).await.unwrap();
    assert!(inspect(&several).await.unwrap().cluster);
    // Several servers that are no cluster may have different truths.
    let Some(plain) = ValkeyServer::start() else { return };
    let two = LinkOptions { others: vec![("127.0.0.1".to_owned(), 1)], ..link(plain.port()) };
    assert!(refusal(two).await.contains("not one of a cluster"));
}
