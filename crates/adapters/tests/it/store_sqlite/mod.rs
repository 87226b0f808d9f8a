//! Promises of the embedded store alone: its lock, its file, and the data that survives a kill.

mod damage;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use mosaic_adapters::store_sqlite::SqliteStore;
use mosaic_core::domain::agent::Status;
use mosaic_core::domain::outcome::EndReason;
use mosaic_core::ports::store::{Admitted, EndedAfter, Pause, Query, Store, StoreError};
use mosaic_testkit::store_suite::sample::*;
use rusqlite::Connection;

/// A store as version 1 wrote it, with agents in every part of their life.
const SAMPLE_V1: &str = include_str!("../../data/store_v1.sql");

fn open(dir: &Path) -> SqliteStore {
    SqliteStore::open(dir).unwrap()
}

fn refusal(dir: &Path) -> String {
    match SqliteStore::open(dir) {
        Err(StoreError::Unusable(text) | StoreError::Damaged(text) | StoreError::InUse(text)) => text,
        Err(other) => panic!("expected Unusable, got {other:?}"),
        Ok(_) => panic!("expected a refusal"),
    }
}

fn raw(dir: &Path) -> Connection {
    Connection::open(dir.join("mosaic.db")).unwrap()
}

/// Makes a store with a few agents and ends it, so that everything is in the one file.
async fn filled(dir: &Path, agents: usize) {
    let store = open(dir);
    for n in 0..agents {
        admit(&store, &agent(&format!("t{n}"), at(n as u64))).await;
    }
}

#[tokio::test]
async fn a_second_server_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let text = refusal(dir.path());
    assert!(text.contains(&dir.path().display().to_string()), "{text}");
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    assert!(text.contains("stop it first"), "{text}");
    admit(&first, &agent("t", T0)).await;
    drop(first);
    open(dir.path());
}

#[tokio::test]
async fn what_became_due_during_a_pause_is_not_due_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    admit(&store, &agent("later", T0)).await;
    let (held, record) = lease(&store, T0).await;
    store.advance(&held, change(in_backoff(record.agent, at(60)), "x", T0)).await.unwrap();
    let pause = Pause { by: "alice".to_owned(), reason: None, at: at(1) };
    store.set_pause(Some(pause), fact("queue.paused", &agent("a", T0), at(1))).await.unwrap();
    assert!(store.lease(&node("n1"), at(59)).await.unwrap().is_none());
    assert_eq!(store.next_due().await.unwrap(), Some(at(60)));
    assert!(store.lease(&node("n1"), at(61)).await.unwrap().is_none());
    assert_eq!(
        store.next_due().await.unwrap(),
        None,
        "a time in the past would wake the dispatcher indefinitely"
    );
    store.set_pause(None, fact("queue.resumed", &agent("a", T0), at(62))).await.unwrap();
    assert!(store.lease(&node("n1"), at(62)).await.unwrap().is_some());
}

#[tokio::test]
async fn the_directory_is_made_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("a/b");
    let _store = open(&inner);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&inner), 0o700);
    for file in ["mosaic.db", "mosaic.db-wal", "lock"] {
        assert_eq!(mode(&inner.join(file)), 0o600, "{file}");
    }
    std::fs::write(dir.path().join("file"), "x").unwrap();
    assert!(refusal(&dir.path().join("file")).contains("file"));
}

#[tokio::test]
async fn a_sample_of_version_1_loads() {
    let dir = tempfile::tempdir().unwrap();
    raw(dir.path()).execute_batch(SAMPLE_V1).unwrap();
    let store = open(dir.path());
    let all = store.list(Query { limit: 100, ..Query::default() }).await.unwrap();
    let found: Vec<(u64, String, &str)> = all
        .iter()
        .map(|record| (record.seq, record.agent.spec.task_id.to_string(), record.agent.status().as_str()))
        .collect();
    let expected = [
        (6, "waits", "spawning"),
        (5, "backoff", "running"),
        (4, "killed", "killed"),
        (3, "dead", "failed"),
        (2, "done", "completed"),
        (1, "runs", "running"),
    ];
    assert_eq!(found, expected.map(|(seq, task, status)| (seq, task.to_owned(), status)));
    assert!(store.damaged().await.unwrap().is_empty());
    let counts = store.counts(at(20)).await.unwrap();
    assert_eq!((counts.waiting, counts.delayed, counts.active), (1, 1, 1));
    assert_eq!((counts.completed, counts.failed, counts.killed, counts.dead), (1, 1, 1, 1));
    let log = store.entries(0, 100).await.unwrap();
    assert_eq!(log.len() as u64, *store.newest().borrow());
    assert_eq!(log[0].fact.kind(), "agent.spawned");
    assert_eq!(store.pause().await.unwrap().unwrap().by, "alice");
    let old = store.settled(at(1000), EndedAfter::default(), 10).await.unwrap();
    assert_eq!(old.iter().map(|record| record.seq).collect::<Vec<_>>(), [2, 3, 4], "their ends are known");
    // And it goes on: what was held is taken over, what waits starts, a new agent is numbered after the others.
    let held = store.leased().await.unwrap();
    store.take_over(held[0].agent.id, &node("n2")).await.unwrap();
    store.set_pause(None, fact("queue.resumed", &held[0].agent, at(30))).await.unwrap();
    assert_eq!(lease(&store, at(30)).await.1.agent.spec.task_id.as_str(), "waits");
    assert_eq!(admit(&store, &agent("new", at(40))).await.seq, 7);
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 1).await;
    raw(dir.path()).pragma_update(None, "user_version", 99).unwrap();
    let before = std::fs::read(dir.path().join("mosaic.db")).unwrap();
    let text = refusal(dir.path());
    assert!(
        text.contains("mosaic.db") && text.contains("version 99") && text.contains("newer program"),
        "{text}"
    );
    assert_eq!(std::fs::read(dir.path().join("mosaic.db")).unwrap(), before);
}

#[tokio::test]
async fn a_start_that_was_cut_off_is_repeated() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mosaic.db.new"), "half").unwrap();
    std::fs::write(dir.path().join("mosaic.db.new-wal"), "half").unwrap();
    admit(&open(dir.path()), &agent("t", T0)).await;
}

/// Set for the process that [`what_was_acknowledged_survives_kill_9`] starts and kills.
const VICTIM: &str = "MOSAIC_TEST_STORE_VICTIM";

/// Not a test by itself: admits agents and prints each acknowledged id until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn victim_of_kill_9() {
    let Some(dir) = std::env::var_os(VICTIM) else { return };
    let store = Arc::new(open(Path::new(&dir)));
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..16 {
        let store = store.clone();
        callers.spawn(async move {
            for n in 0..100_000 {
                let one = agent(&format!("t{}-{caller}-{n}", std::process::id()), T0);
                admit(&*store, &one).await;
                println!("acknowledged {}", one.id);
            }
        });
    }
    callers.join_all().await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    use std::io::{BufRead, BufReader};
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0u64;
    for round in 1..=5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store_sqlite::victim_of_kill_9", "--nocapture"])
            .env(VICTIM, dir.path())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut ids = Vec::new();
        while ids.len() < 100 * round {
            let line = lines.next().expect("the child writes until it is killed").unwrap();
            if let Some((_, id)) = line.split_once("acknowledged ") {
                ids.push(id.parse().unwrap());
            }
        }
        child.kill().unwrap();
        // What it still printed before it died counts as well; a line without its end does not.
        for line in lines.map_while(Result::ok) {
            if let Some((_, id)) = line.split_once("acknowledged ")
                && let Ok(id) = id.parse()
            {
                ids.push(id);
            }
        }
        child.wait().unwrap();
        let store = open(dir.path());
        for id in &ids {
            store.get(*id).await.unwrap();
        }
        acknowledged += ids.len() as u64;
        let counts = store.counts(T0).await.unwrap();
        assert!(counts.waiting >= acknowledged);
        let newest = *store.newest().borrow();
        assert_eq!(newest, counts.waiting, "one fact per agent, whichever were cut off");
        let last = store.entries(newest - 1, 10).await.unwrap();
        assert_eq!(last.len(), 1);
    }
}

#[tokio::test]
async fn old_keys_are_forgotten_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let day = mosaic_core::limits::IDEMPOTENCY.as_secs();
    for n in 0..20 {
        let when = if n < 10 { at(n) } else { at(2 * day + n) };
        let mut one = admission(&agent(&format!("t{n}"), when));
        let key = format!("k{n}");
        one.idempotency = Some(mosaic_core::ports::store::Idempotency { key, fingerprint: "f".to_owned() });
        assert!(matches!(store.admit(one).await.unwrap(), Admitted::New(_)));
    }
    drop(store);
    let left: i64 =
        raw(dir.path()).query_row("SELECT count(*) FROM idempotency", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 10);
}

#[tokio::test]
async fn a_thousand_delayed_entries_become_ready_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path()));
    let mut callers = tokio::task::JoinSet::new();
    for n in 0..1000u64 {
        let store = store.clone();
        callers.spawn(async move {
            admit(&*store, &in_backoff(agent(&format!("t{n}"), at(n)), at(5000))).await;
        });
    }
    callers.join_all().await;
    assert!(store.lease(&node("n1"), at(4999)).await.unwrap().is_none());
    for n in 0..3 {
        assert_eq!(lease(&*store, at(5000)).await.1.agent.spec.task_id.to_string(), format!("t{n}"));
    }
    let counts = store.counts(at(5000)).await.unwrap();
    assert_eq!((counts.waiting, counts.delayed, counts.active), (997, 0, 3));
}

/// Ends an agent in a way that the sample of each version has; kept here so that the next version's sample can be
/// made the same way: run it with `MOSAIC_TEST_WRITE_SAMPLE` set to a directory, and dump the file there as SQL.
#[tokio::test]
async fn sample_can_be_written() {
    let kept = std::env::var_os("MOSAIC_TEST_WRITE_SAMPLE");
    let temporary = tempfile::tempdir().unwrap();
    let dir = kept.as_ref().map_or(temporary.path(), Path::new);
    let store = open(dir);
    for (n, task) in ["runs", "done", "dead", "killed", "backoff", "waits"].into_iter().enumerate() {
        let body = serde_json::json!({"taskId": task, "labels": {"team": "core"}, "priority": 5});
        admit(&store, &agent_from(body, at(n as u64))).await;
    }
    for n in 0..5 {
        let (held, record) = lease(&store, at(10)).await;
        let runs = working(record.agent, at(11));
        store.advance(&held, change(runs.clone(), "agent.running", at(11))).await.unwrap();
        let (next, kind) = match n {
            0 => continue,
            1 => (settled(runs, Status::Completed, EndReason::Done, at(12)), "agent.completed"),
            2 => (settled(runs, Status::Failed, EndReason::AgentError, at(12)), "agent.failed"),
            3 => (settled(runs, Status::Killed, EndReason::Operator, at(12)), "agent.killed"),
            _ => (in_backoff(runs, at(1000)), "agent.backoff"),
        };
        store.advance(&held, change(next, kind, at(12))).await.unwrap();
    }
    let pause = mosaic_core::ports::store::Pause { by: "alice".to_owned(), reason: None, at: at(13) };
    let about = agent("x", at(13));
    let mut fact = fact("queue.paused", &about, at(13));
    fact.agent = None;
    store.set_pause(Some(pause), fact).await.unwrap();
    assert_eq!(*store.newest().borrow(), 16);
}
