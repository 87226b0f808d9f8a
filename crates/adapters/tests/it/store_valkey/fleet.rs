//! The fleet on a real server: nodes, cordons, leases that are extended, lost and run out, and what wakes a node.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mosaic_adapters::store_valkey::{LinkOptions, ValkeyOptions, ValkeyStore};
use mosaic_core::domain::agent::Status;
use mosaic_core::domain::ids::{NodeId, Timestamp};
use mosaic_core::domain::journal::LogRecord;
use mosaic_core::domain::kept_work::{KeptRef, WorkReport, WorkState};
use mosaic_core::domain::outcome::EndReason;
use mosaic_core::ports::external_queue::ExternalQueue;
use mosaic_core::ports::fleet::{Cordon, Fleet, JoinError, LostNode, NodeInfo, NodeRemoval};
use mosaic_core::ports::store::{Lease, Removal, Store};
use mosaic_testkit::store_suite::sample::{T0, admission, agent, at, change, in_backoff, settled};
use mosaic_testkit::valkey_server::ValkeyServer;
use mosaic_testkit::wrong_clock::WrongClock;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

fn options(server: &ValkeyServer, node: &str, term: Duration) -> ValkeyOptions {
    let link = LinkOptions {
        host: "127.0.0.1".to_owned(),
        port: server.port(),
        prefix: "{m}".to_owned(),
        ..LinkOptions::default()
    };
    ValkeyOptions { link, source: node.to_owned(), term, ..ValkeyOptions::default() }
}

async fn open(server: &ValkeyServer, node: &str, term: Duration) -> ValkeyStore {
    ValkeyStore::connect(options(server, node, term)).await.unwrap()
}

fn info(node: &str, instance: &str) -> NodeInfo {
    NodeInfo {
        node: node.parse().unwrap(),
        instance: instance.to_owned(),
        directory: None,
        boot: None,
        url: Some("http://127.0.0.1:1".to_owned()),
        version: "0.1.0".to_owned(),
        slots: 2,
        running: 0,
        clock_offset_ms: None,
        clock_error_ms: None,
        archives: true,
        format: 1,
        labels: BTreeMap::from([("zone".to_owned(), "north".to_owned())]),
        started_at: Timestamp(1),
        draining: false,
        health: Default::default(),
    }
}

fn fact() -> LogRecord {
    LogRecord::stored("node.cordoned", None, None, Timestamp(1), serde_json::Value::Null)
}

/// Looks again and again until there is an answer.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looked = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looked).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// Admits one and takes it.
async fn leased(store: &ValkeyStore, node: &str) -> Lease {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    store.admit(admission(&agent(&format!("T-{n}"), T0))).await.unwrap();
    let node: NodeId = node.parse().unwrap();
    store.lease(&node, Timestamp(u64::MAX / 2)).await.unwrap().unwrap().0
}

#[tokio::test]
async fn a_name_is_one_server_s_while_it_is_alive_or_holds_something() {
    let Some(server) = ValkeyServer::start() else { return };
    let term = Duration::from_millis(600);
    let store = open(&server, "a", term).await;
    store.join(&info("a", "first")).await.unwrap();
    store.join(&info("a", "first")).await.unwrap();
    let taken = store.join(&info("a", "second")).await;
    assert!(matches!(taken, Err(JoinError::NameTaken { .. })), "{taken:?}");
    let lease = leased(&store, "a").await;
    store.leave(&lease.node).await.unwrap();
    let nodes = store.nodes().await.unwrap();
    assert!(!nodes[0].alive && nodes[0].info.draining, "{nodes:?}");
    assert!(store.join(&info("a", "second")).await.is_err(), "what it holds is still its own");
    until("the lease to end", async || store.join(&info("a", "second")).await.ok()).await;
    // The first one, back from wherever it was, does not take the name back.
    store.heartbeat(&info("a", "first"), &[]).await.unwrap();
    assert_eq!(store.nodes().await.unwrap()[0].info.instance, "second");
}

#[tokio::test]
async fn a_beat_extends_what_is_held_and_tells_what_is_lost() {
    let Some(server) = ValkeyServer::start() else { return };
    let store = open(&server, "a", Duration::from_secs(60)).await;
    store.join(&info("a", "i")).await.unwrap();
    let (kept, taken, lapsed) =
        (leased(&store, "a").await, leased(&store, "a").await, leased(&store, "a").await);
    let lock = |lease: &Lease| format!("{{m}}:bull:orchestrator-tasks:{}:lock", lease.agent);
    for lease in [&taken, &lapsed] {
        // For the scripts a lock that was deleted is one that ran out, and the test need not wait for a minute.
        assert_eq!(server.ask(&format!("DEL {}", lock(lease))).unwrap(), ":1");
    }
    let other: NodeId = "b".parse().unwrap();
    let (newer, _) = store.take_over(taken.agent, &other).await.unwrap();
    assert_eq!(server.ask(&format!("PEXPIRE {} 5000", lock(&kept))).unwrap(), ":1");
    let reply =
        store.heartbeat(&info("a", "i"), &[kept.clone(), taken.clone(), lapsed.clone()]).await.unwrap();
    assert_eq!(reply.lost, [taken.agent]);
    for lease in [&kept, &lapsed] {
        let left = server.ask(&format!("PTTL {}", lock(lease))).unwrap();
        assert!(left.trim_start_matches(':').parse::<u64>().unwrap() > 50_000, "{left}");
    }
    assert!(newer.epoch > taken.epoch);
    assert!(store.take_over(lapsed.agent, &other).await.is_err(), "the lease was extended");
    let nodes = store.nodes().await.unwrap();
    assert!(nodes[0].alive && nodes[0].leases_end_at.unwrap() > nodes[0].seen_at, "{nodes:?}");
}

#[tokio::test]
async fn nothing_counts_as_lapsed_for_a_term_after_each_connection() {
    let Some(mut server) = ValkeyServer::start() else { return };
    let term = Duration::from_millis(900);
    let store = open(&server, "a", term).await;
    let lease = leased(&store, "a").await;
    let lapsed = async |store: &ValkeyStore| store.lapsed(10).await.unwrap_or_default().first().copied();
    assert_eq!(until("the lease to run out", async || lapsed(&store).await).await, lease.agent);
    server.restart();
    until("the connection", async || store.check().await.ok()).await;
    let back = std::time::Instant::now();
    assert_eq!(store.lapsed(10).await.unwrap(), [], "right after the connection");
    until("the quiet term to end", async || lapsed(&store).await).await;
    assert!(back.elapsed() > term / 2, "it was quiet for {:?} only", back.elapsed());
}

#[tokio::test]
async fn a_cordon_is_told_with_the_beat_and_survives_the_node() {
    let Some(server) = ValkeyServer::start() else { return };
    let store = open(&server, "a", Duration::from_secs(60)).await;
    let node: NodeId = "a".parse().unwrap();
    let cordon =
        Cordon { by: "op".to_owned(), reason: Some("disk".to_owned()), at: Timestamp(5), drain: true };
    assert!(!store.cordon(&node, Some(cordon.clone()), fact()).await.unwrap(), "there is no such node");
    store.join(&info("a", "i")).await.unwrap();
    let mut changes = store.changes();
    changes.mark_unchanged();
    assert!(store.cordon(&node, Some(cordon.clone()), fact()).await.unwrap());
    tokio::time::timeout(PATIENCE, changes.changed()).await.expect("others hear of it").unwrap();
    assert!(store.cordon(&node, Some(cordon.clone()), fact()).await.unwrap());
    assert_eq!(store.entries(0, 10).await.unwrap().len(), 1, "what changes nothing is not logged");
    store.join(&info("a", "i")).await.unwrap();
    assert_eq!(store.heartbeat(&info("a", "i"), &[]).await.unwrap().cordon, Some(cordon));
    assert!(store.cordon(&node, None, fact()).await.unwrap());
    assert_eq!(store.heartbeat(&info("a", "i"), &[]).await.unwrap().cordon, None);
    assert_eq!(store.nodes().await.unwrap()[0].cordon, None);
}

#[tokio::test]
async fn a_marker_of_another_producer_wakes_every_node_at_once() {
    let Some(server) = ValkeyServer::start() else { return };
    let (one, two) = (
        open(&server, "a", Duration::from_secs(60)).await,
        open(&server, "b", Duration::from_secs(60)).await,
    );
    until("both to wait for the marker", async || {
        let clients = server.ask_all("CLIENT LIST").unwrap();
        let waiting = |node: &str| {
            let name = format!(" name={{m}}:bull:b3JjaGVzdHJhdG9yLXRhc2tz:w:{node} ");
            clients.lines().any(|line| line.contains(&name) && line.contains("cmd=bzpopmin"))
        };
        // Each store listens to the changes and to the facts. A node that does not listen yet would miss the one
        // message of this test.
        let listening = clients.matches("cmd=subscribe").count();
        (waiting("a") && waiting("b") && listening >= 4).then_some(())
    })
    .await;
    let mut all = [one.changes(), two.changes()];
    all.iter_mut().for_each(|changes| changes.mark_unchanged());
    server.ask("ZADD {m}:bull:orchestrator-tasks:marker 0 0").unwrap();
    for changes in &mut all {
        tokio::time::timeout(PATIENCE, changes.changed()).await.expect("it hears of it").unwrap();
    }
}

#[tokio::test]
async fn a_copied_directory_and_a_copied_machine_do_not_join_beside_the_original() {
    let Some(server) = ValkeyServer::start() else { return };
    let store = open(&server, "a", Duration::from_millis(600)).await;
    let of = |directory: &str, boot: &str| NodeInfo {
        directory: Some(directory.to_owned()),
        boot: Some(boot.to_owned()),
        ..info("a", "same")
    };
    store.join(&of("8-1", "first")).await.unwrap();
    store.join(&of("8-1", "first")).await.unwrap();
    let copied = store.join(&of("8-2", "first")).await;
    assert!(matches!(copied, Err(JoinError::NameTaken { .. })), "{copied:?}");
    let imaged = store.join(&of("8-1", "second")).await;
    assert!(matches!(imaged, Err(JoinError::Restarted { .. })), "{imaged:?}");
    // A heartbeat of one that did not join changes nothing either.
    store.heartbeat(&of("8-1", "second"), &[]).await.unwrap();
    assert_eq!(store.nodes().await.unwrap()[0].info.boot.as_deref(), Some("first"));
    // A machine that really was started anew is let in once the server before has been silent for a whole lease.
    until("the name to be free", async || store.join(&of("8-1", "second")).await.ok()).await;
    // An earlier version says less, and is replaced by a later one at once.
    store.join(&info("b", "old")).await.unwrap();
    store.join(&NodeInfo { node: "b".parse().unwrap(), ..of("8-3", "first") }).await.unwrap_err();
    let newer = NodeInfo { instance: "old".to_owned(), ..of("8-3", "first") };
    store.join(&NodeInfo { node: "b".parse().unwrap(), ..newer }).await.unwrap();
}

#[tokio::test]
async fn what_is_due_is_decided_by_the_server_s_clock_and_not_by_the_taker_s() {
    let Some(server) = ValkeyServer::start() else { return };
    let store = open(&server, "a", Duration::from_secs(60)).await;
    store.join(&info("a", "i")).await.unwrap();
    let now = store.store_time().await.unwrap().expect("the server has a clock");
    let in_a_minute = now.plus(Duration::from_secs(60));
    let (ready, delayed) = (agent("T-ready", now), in_backoff(agent("T-delayed", now), in_a_minute));
    for one in [&ready, &delayed] {
        store.admit(admission(one)).await.unwrap();
    }
    let (node, ahead) = ("a".parse::<NodeId>().unwrap(), now.plus(Duration::from_secs(7200)));
    for caller in [ahead, Timestamp(0)] {
        let counts = store.counts(caller).await.unwrap();
        assert_eq!((counts.waiting, counts.delayed), (1, 1), "asked at {caller:?}");
        let listed: Vec<_> =
            store.waiting(0, 10, caller).await.unwrap().iter().map(|record| record.agent.id).collect();
        assert_eq!(listed, [ready.id, delayed.id]);
    }
    assert_eq!(store.lease(&node, ahead).await.unwrap().unwrap().0.agent, ready.id);
    assert!(store.lease(&node, ahead).await.unwrap().is_none(), "it is due in a minute");
    assert_eq!(store.next_due().await.unwrap(), Some(in_a_minute));
}

#[tokio::test]
async fn a_server_whose_clock_is_set_forward_gives_no_lease_to_anybody_for_a_whole_term() {
    let dir = tempfile::tempdir().unwrap();
    let clock = WrongClock::new(dir.path(), "store", 0);
    let Some(server) = ValkeyServer::start_in(&[], &clock.environment()) else { return };
    let term = Duration::from_millis(1500);
    let (store, other) = (open(&server, "a", term).await, open(&server, "b", term).await);
    store.join(&info("a", "i")).await.unwrap();
    let held = leased(&store, "a").await;
    let mut last = std::time::Instant::now();
    // Both have stood for a term, and the lease is extended meanwhile.
    until("the quiet term to end", async || {
        assert!(store.heartbeat(&info("a", "i"), std::slice::from_ref(&held)).await.unwrap().lost.is_empty());
        other.store_time().await.unwrap();
        (last.elapsed() > term + term / 4).then_some(())
    })
    .await;
    assert_eq!(other.lapsed(10).await.unwrap(), []);
    clock.set(3_600_000);
    last = std::time::Instant::now();
    let node: NodeId = "b".parse().unwrap();
    let taken = other.take_over(held.agent, &node).await;
    assert!(taken.is_err(), "its lease was counted by a clock that was set: {taken:?}");
    assert_eq!(other.lapsed(10).await.unwrap(), [], "right after the clock was set");
    // Nobody extends it any more.
    let lapsed =
        until("the lease to count as over", async || other.lapsed(10).await.unwrap().first().copied());
    assert_eq!(lapsed.await, held.agent);
    assert!(last.elapsed() >= term, "it counted as over after {:?}", last.elapsed());
    other.take_over(held.agent, &node).await.unwrap();
}

#[tokio::test]
async fn a_node_goes_off_the_list_once_it_is_gone_and_a_lost_one_is_an_ordinary_one_when_it_joins_again() {
    let Some(server) = ValkeyServer::start() else { return };
    let term = Duration::from_secs(3);
    let (a, b) = (open(&server, "a", term).await, open(&server, "b", term).await);
    let (one, two): (NodeId, NodeId) = ("a".parse().unwrap(), "b".parse().unwrap());
    a.join(&info("a", "1")).await.unwrap();
    let lost = LostNode { node: one.clone(), by: "test".to_owned(), reason: None, at: Timestamp(1) };
    assert!(matches!(b.remove_node(&one, Some(&lost), fact()).await.unwrap(), NodeRemoval::Alive(_)));
    assert_eq!(b.remove_node(&two, None, fact()).await.unwrap(), NodeRemoval::Unknown);
    leased(&a, "a").await;
    a.leave(&one).await.unwrap();
    // It has left, and what it holds is still its own.
    assert!(matches!(b.remove_node(&one, Some(&lost), fact()).await.unwrap(), NodeRemoval::Holds(_)));
    until("its leases to be over", async || {
        let lapsed = b.lapsed(10).await.unwrap();
        let taken = b.take_over(*lapsed.first()?, &two).await.ok()?;
        Some(taken)
    })
    .await;
    assert_eq!(b.remove_node(&one, Some(&lost), fact()).await.unwrap(), NodeRemoval::Done);
    assert_eq!(b.lost_nodes().await.unwrap(), [lost]);
    assert!(b.nodes().await.unwrap().iter().all(|node| node.info.node != one));
    a.join(&info("a", "1")).await.unwrap();
    assert!(b.lost_nodes().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_a_node_reports_of_an_agent_stands_beside_the_record_and_goes_with_it() {
    let Some(server) = ValkeyServer::start() else { return };
    let store = open(&server, "a", Duration::from_secs(60)).await;
    store.admit(admission(&agent("T-report", T0))).await.unwrap();
    let (held, record) = store.lease(&"a".parse().unwrap(), Timestamp(u64::MAX / 2)).await.unwrap().unwrap();
    let id = record.agent.id;
    let ended = settled(record.agent, Status::Killed, EndReason::Operator, at(4));
    store.advance(&held, change(ended, "agent.killed", at(4))).await.unwrap();
    let ended = store.get(id).await.unwrap();
    let refs = vec![KeptRef {
        reference: "refs/mosaic/salvage/x".to_owned(),
        commit: "d".repeat(40).parse().unwrap(),
    }];
    let report = WorkReport { node: "b".parse().unwrap(), run: 1, state: WorkState::Kept, refs };
    let logged = *store.newest().borrow();
    for _ in 0..2 {
        store.report_work(id, &report, vec![fact()]).await.unwrap();
    }
    assert_eq!(store.work_reports(id).await.unwrap(), std::slice::from_ref(&report));
    assert_eq!(*store.newest().borrow(), logged + 1, "the same report is logged once");
    let removal = Removal {
        agent: id,
        version: ended.version,
        at: Timestamp(2),
        why: "test".to_owned(),
        node: None,
        facts: Vec::new(),
    };
    store.remove(removal).await.unwrap();
    store.report_work(id, &report, Vec::new()).await.unwrap();
    assert!(store.work_reports(id).await.unwrap().is_empty(), "nothing is reported of what was removed");
}

#[tokio::test]
async fn builds_that_cannot_read_each_other_do_not_share_a_store() {
    let Some(server) = ValkeyServer::start() else { return };
    let store = open(&server, "a", Duration::from_secs(60)).await;
    let of = |node: &str, format: u32| NodeInfo { format, ..info(node, node) };
    store.join(&of("old", 1)).await.unwrap();
    let early = store.join(&of("new", 2)).await.unwrap_err();
    let JoinError::OthersOlder { node, own: 2 } = &early else { panic!("{early:?}") };
    assert_eq!(node, "old");
    assert!(early.to_string().contains("drain"), "{early}");
    assert_eq!(store.nodes().await.unwrap().len(), 1, "it joined all the same");
    // Once the older one is gone the newer one goes on, and there is no way back.
    store.leave(&"old".parse().unwrap()).await.unwrap();
    store.join(&of("new", 2)).await.unwrap();
    let late = store.join(&of("old", 1)).await.unwrap_err();
    assert!(matches!(late, JoinError::StoreNewer { store: 2, own: 1 }), "{late:?}");
    let held = leased(&store, "old").await;
    assert!(
        store.heartbeat(&of("old", 1), std::slice::from_ref(&held)).await.is_err(),
        "an older node extends its leases"
    );
    store.heartbeat(&of("new", 2), &[]).await.unwrap();
}

#[tokio::test]
async fn a_node_that_says_no_format_or_more_than_is_known_is_understood() {
    let Some(server) = ValkeyServer::start() else { return };
    let store = open(&server, "a", Duration::from_secs(60)).await;
    let mut older = serde_json::to_value(info("older", "older")).unwrap();
    for field in ["format", "archives", "health"] {
        older.as_object_mut().unwrap().remove(field);
    }
    let mut newer = serde_json::to_value(info("newer", "newer")).unwrap();
    newer["feels"] = serde_json::json!({"fine": true});
    // One that was silent for long is no node any more.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    for (name, info) in [("older", older), ("newer", newer)] {
        let text = format!(r#"{{"seenAt":{now},"left":false,"info":{info}}}"#);
        assert_eq!(server.ask(&format!("HSET {{m}}:orchestrator:nodes {name} '{text}'")).unwrap(), ":1");
    }
    let nodes = store.nodes().await.unwrap();
    assert_eq!(
        nodes.iter().map(|node| (node.info.format, node.info.archives)).collect::<Vec<_>>(),
        [(1, true), (1, false)]
    );
    store.join(&info("a", "a")).await.unwrap();
}
