//! The store fails over: a replica becomes the primary. Whatever was acknowledged is there, and the server goes on by
//! itself.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use mosaic_testkit::git_fixture::Fixture;
use mosaic_testkit::valkey_sentinel::ValkeySentinel;
use mosaic_testkit::valkey_server::ValkeyServer;

use super::support::{Home, body, script, until};

/// Options that protect a primary that lost its replicas, with the shortest lag that there is.
const GUARDED: [&str; 4] = ["--min-replicas-to-write", "1", "--min-replicas-max-lag", "1"];
/// Clients that spawn at the same time.
const CLIENTS: usize = 4;

fn replica_of(primary: &ValkeyServer) -> Option<ValkeyServer> {
    let port = primary.port().to_string();
    let options = [&GUARDED[..], &["--replicaof", "127.0.0.1", &port]].concat();
    ValkeyServer::start_with(&options)
}

/// A primary with replicas that a Sentinel watches.
struct Watched {
    servers: Vec<ValkeyServer>,
    sentinel: ValkeySentinel,
}

impl Watched {
    fn start(replicas: usize) -> Option<Self> {
        let primary = ValkeyServer::start_with(&GUARDED)?;
        let followers: Option<Vec<ValkeyServer>> = (0..replicas).map(|_| replica_of(&primary)).collect();
        let sentinel = ValkeySentinel::watch(primary.port())?;
        let servers = std::iter::once(primary).chain(followers?).collect();
        let watched = Self { servers, sentinel };
        watched.whole();
        Some(watched)
    }

    /// Returns the server that takes writes now.
    fn primary(&self) -> Option<usize> {
        let port = self.sentinel.primary()?;
        let at = self.servers.iter().position(|server| server.port() == port)?;
        self.servers[at].ask_all("INFO replication").ok()?.contains("role:master").then_some(at)
    }

    /// Waits until every other server follows the primary and the Sentinel knows it.
    fn whole(&self) {
        let others = self.servers.len() - 1;
        until("every replica to follow", || {
            let info = self.servers[self.primary()?].ask_all("INFO replication").ok()?;
            (info.matches("state=online").count() == others).then_some(())
        });
        self.sentinel.wait_for_replicas(others);
    }

    /// Has another server become the primary, and waits for it. A killed one comes back as a replica.
    fn fail_over(&mut self, planned: bool) {
        let before = until("a primary", || self.primary());
        if planned {
            until("the Sentinel to begin", || self.sentinel.fail_over().then_some(()));
        } else {
            self.servers[before].kill();
        }
        until("another primary", || self.primary().filter(|&now| now != before));
        if !planned {
            self.servers[before].restart();
        }
        self.whole();
    }
}

/// Fails over again and again while clients spawn, and returns how many spawns were acknowledged. Each is there at the end.
fn acknowledged_through_failovers(replicas: usize, planned: bool, times: usize) -> Option<usize> {
    let mut watched = Watched::start(replicas)?;
    let (home, fixture) = (Home::new(), Fixture::new());
    let sentinels = format!("127.0.0.1:{}", watched.sentinel.port());
    let env = [("MOSAIC_VALKEY_SENTINELS", sentinels.as_str()), ("MOSAIC_SLOTS", "1")];
    let server = home.serve(&env);
    server.http.post("/v1/queue/pause", Some(&serde_json::json!({}))).expect(200);
    let (over, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    let spawn = |client: usize| {
        let mut acknowledged = Vec::new();
        for n in 0.. {
            if over.load(Ordering::SeqCst) {
                break;
            }
            let body = body(&fixture.url(), &format!("T-{client}-{n}"));
            let reply = server.http.post("/agents/spawn", Some(&body));
            if reply.status == 201 {
                acknowledged.push(reply.body["agentId"].as_str().unwrap().to_owned());
                count.fetch_add(1, Ordering::SeqCst);
            }
        }
        acknowledged
    };
    let more = |than: usize| {
        until("more spawns", || (count.load(Ordering::SeqCst) >= than + 50).then_some(()));
    };
    let acknowledged: Vec<String> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(move || spawn(client))).collect();
        for _ in 0..times {
            more(count.load(Ordering::SeqCst));
            watched.fail_over(planned);
        }
        more(count.load(Ordering::SeqCst));
        over.store(true, Ordering::SeqCst);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let lost: Vec<&String> = acknowledged
        .iter()
        // Only 404 says that a record is gone. Any other answer tells of the store and not of the agent.
        .filter(|id| server.http.get(&format!("/agents/{id}/status")).status == 404)
        .collect();
    assert!(
        lost.is_empty(),
        "{} of {} acknowledged spawns are gone: {lost:?}",
        lost.len(),
        acknowledged.len()
    );
    Some(acknowledged.len())
}

fn rounds(replicas: usize, planned: bool) {
    let times = std::env::var("MOSAIC_FAILOVERS").map_or(1, |text| text.parse().unwrap());
    if let Some(count) = acknowledged_through_failovers(replicas, planned, times) {
        let kind = if planned { "planned" } else { "unplanned" };
        println!("{times} {kind} failovers with {replicas} replicas: {count} acknowledged, all there");
    }
}

#[test]
fn a_planned_failover_to_the_only_replica_loses_no_acknowledged_spawn() {
    rounds(1, true);
}

#[test]
fn a_planned_failover_to_one_of_two_replicas_loses_no_acknowledged_spawn() {
    rounds(2, true);
}

#[test]
fn the_death_of_a_primary_with_one_replica_loses_no_acknowledged_spawn() {
    rounds(1, false);
}

#[test]
fn the_death_of_a_primary_with_two_replicas_loses_no_acknowledged_spawn() {
    rounds(2, false);
}

#[test]
fn a_primary_that_takes_writes_without_its_replicas_is_refused_by_the_name_of_the_setting() {
    let Some(primary) = ValkeyServer::start() else { return };
    let port = primary.port().to_string();
    let Some(replica) = ValkeyServer::start_with(&["--replicaof", "127.0.0.1", &port]) else { return };
    until("the replica to follow", || {
        primary.ask_all("INFO replication").ok()?.contains("state=online").then_some(())
    });
    let home = Home::new();
    let refused = home.mosaic(&["serve"]).env("VALKEY_PORT", &port).output().unwrap();
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && told.contains("min-replicas-to-write is 0"), "{told}");
    assert!(told.contains("MOSAIC_VALKEY_ACCEPT_RISK"), "{told}");
    drop(home.serve(&[("VALKEY_PORT", &port), ("MOSAIC_VALKEY_ACCEPT_RISK", "true")]));
    drop(replica);
}

#[test]
fn a_store_that_lost_a_replica_takes_nothing_by_that_name() {
    let Some(primary) = ValkeyServer::start_with(&GUARDED) else { return };
    let Some(mut first) = replica_of(&primary) else { return };
    let Some(second) = replica_of(&primary) else { return };
    until("both replicas to follow", || {
        (primary.ask_all("INFO replication").ok()?.matches("state=online").count() == 2).then_some(())
    });
    let (home, fixture) = (Home::new(), Fixture::new());
    let port = primary.port().to_string();
    let server = home.serve(&[("VALKEY_PORT", &port), ("MOSAIC_SLOTS", "1")]);
    server.http.post("/v1/queue/pause", Some(&serde_json::json!({}))).expect(200);
    server.spawn(&body(&fixture.url(), "T-1"));
    first.kill();
    let reply = server.http.post("/agents/spawn", Some(&body(&fixture.url(), "T-2")));
    assert_eq!((reply.status, &reply.body["code"]), (503, &"store_not_safe".into()), "{}", reply.text);
    assert!(reply.body["detail"].as_str().unwrap().contains("replicas"), "{}", reply.text);
    first.restart();
    // What was refused may have been written on the primary, so each try is a task of its own.
    let mut tries = 3..;
    until("a spawn with both replicas", || {
        let task = format!("T-{}", tries.next().unwrap());
        (server.http.post("/agents/spawn", Some(&body(&fixture.url(), &task))).status == 201).then_some(())
    });
    drop(second);
}

#[test]
fn a_write_that_no_replica_has_is_not_acknowledged() {
    let Some(primary) = ValkeyServer::start() else { return };
    let Some(replica) = replica_of(&primary) else { return };
    until("the replica to follow", || {
        primary.ask_all("INFO replication").ok()?.contains("state=online").then_some(())
    });
    let (home, fixture) = (Home::new(), Fixture::new());
    let port = primary.port().to_string();
    let line = script(home.path(), "agent.sh", "cat > /dev/null\necho done > done.txt\n");
    // This primary takes writes without its replica, so only the wait of the server for a replica can refuse below.
    let server = home.serve(&[
        ("VALKEY_PORT", &port),
        ("MOSAIC_COMMAND", &line),
        ("MOSAIC_VALKEY_ACCEPT_RISK", "true"),
    ]);
    let first = server.spawn(&body(&fixture.url(), "T-1"));
    replica.pause();
    let reply = server.http.post("/agents/spawn", Some(&body(&fixture.url(), "T-2")));
    assert_eq!(reply.status, 503, "{}", reply.text);
    assert!(reply.body["detail"].as_str().unwrap().contains("replica"), "{}", reply.text);
    replica.resume();
    assert_eq!(server.ended(&first)["status"], "completed");
    let last = server.spawn(&body(&fixture.url(), "T-3"));
    assert_eq!(server.ended(&last)["status"], "completed");
}
