//! The store fails over: a replica becomes the primary. Whatever was acknowledged is there, and the server goes on by
//! itself.

use std::sync::atomic::{AtomicUsize, Ordering};

use mosaic_testkit::git_fixture::Fixture;
use mosaic_testkit::valkey_sentinel::ValkeySentinel;
use mosaic_testkit::valkey_server::ValkeyServer;

use super::support::{Home, body, script, until};

fn replica_of(primary: &ValkeyServer) -> Option<ValkeyServer> {
    let port = primary.port().to_string();
    let replica = ValkeyServer::start_with(&["--replicaof", "127.0.0.1", &port])?;
    until("the replica to follow", || {
        let info = primary.ask_all("INFO replication").unwrap_or_default();
        info.contains("state=online").then_some(())
    });
    Some(replica)
}

#[test]
fn acknowledged_spawns_are_all_there_after_a_failover() {
    let Some(mut primary) = ValkeyServer::start() else { return };
    let Some(replica) = replica_of(&primary) else { return };
    let Some(sentinel) = ValkeySentinel::watch(primary.port()) else { return };
    sentinel.wait_for_replica();
    let (home, fixture) = (Home::new(), Fixture::new());
    let sentinels = format!("127.0.0.1:{}", sentinel.port());
    let line = script(home.path(), "agent.sh", "cat > /dev/null\necho done > done.txt\n");
    let env =
        [("MOSAIC_VALKEY_SENTINELS", sentinels.as_str()), ("MOSAIC_SLOTS", "1"), ("MOSAIC_COMMAND", &line)];
    let server = home.serve(&env);
    server.http.post("/v1/queue/pause", Some(&serde_json::json!({}))).expect(200);
    let spawn = &|n: usize| {
        let reply = server.http.post("/agents/spawn", Some(&body(&fixture.url(), &format!("T-{n}"))));
        (reply.status == 201).then(|| reply.body["agentId"].as_str().unwrap().to_owned())
    };
    let count = AtomicUsize::new(0);
    let counted = &|_: &String| {
        count.fetch_add(1, Ordering::SeqCst);
    };
    let acknowledged: Vec<String> = std::thread::scope(|scope| {
        let spawned = scope.spawn(move || (0..5000).map_while(spawn).inspect(counted).collect());
        until("many spawns", || (count.load(Ordering::SeqCst) >= 100).then_some(()));
        primary.kill();
        spawned.join().unwrap()
    });
    assert!(acknowledged.len() < 5000, "the store was there all the time");
    until("the server to be ready on the replica", || {
        (server.http.get("/health/ready").status == 200).then_some(())
    });
    assert!(replica.ask_all("INFO replication").unwrap().contains("role:master"));
    for id in &acknowledged {
        assert_eq!(server.agent(id)["status"], "spawning", "{id} of {}", acknowledged.len());
    }
    println!("{} acknowledged, all there", acknowledged.len());
    server.http.post("/v1/queue/resume", Some(&serde_json::json!({}))).expect(200);
    let last = server.ended(&acknowledged[0]);
    assert_eq!(last["status"], "completed", "{last:#}");
}

#[test]
fn a_write_that_no_replica_has_is_not_acknowledged() {
    let Some(primary) = ValkeyServer::start() else { return };
    let Some(replica) = replica_of(&primary) else { return };
    let (home, fixture) = (Home::new(), Fixture::new());
    let port = primary.port().to_string();
    let line = script(home.path(), "agent.sh", "cat > /dev/null\necho done > done.txt\n");
    let server = home.serve(&[("VALKEY_PORT", &port), ("MOSAIC_COMMAND", &line)]);
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
