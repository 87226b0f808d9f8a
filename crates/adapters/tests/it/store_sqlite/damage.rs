//! The embedded store with a damaged file: one record is set aside, a damaged file is refused, nothing panics.

use std::path::Path;

use mosaic_adapters::store_sqlite::SqliteStore;
use mosaic_core::ports::store::{Query, Store, StoreError};
use mosaic_testkit::store_suite::sample::*;

use super::{filled, open, raw};

fn refusal(dir: &Path) -> String {
    match SqliteStore::open(dir) {
        Err(StoreError::Unusable(text) | StoreError::Damaged(text)) => text,
        Err(other) => panic!("expected Unusable, got {other:?}"),
        Ok(_) => panic!("expected a refusal"),
    }
}

#[tokio::test]
async fn a_damaged_record_is_set_aside_and_everything_else_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 8).await;
    let conn = raw(dir.path());
    conn.execute_batch(
        "UPDATE agents SET body = substr(body, 1, 100) WHERE seq = 1;
         UPDATE agents SET body = '' WHERE seq = 2;
         UPDATE agents SET body = (SELECT body FROM agents WHERE seq = 8) WHERE seq = 3;
         UPDATE agents SET id = x'0102' WHERE seq = 4;
         UPDATE agents SET body = CAST(x'ff00ff' AS TEXT) WHERE seq = 5;
         UPDATE agents SET status = 'failed' WHERE seq = 6;",
    )
    .unwrap();
    drop(conn);
    let store = open(dir.path());
    // Each way of meeting a damaged record leaves it out.
    let (_, record) = lease(&store, at(10)).await;
    assert_eq!(record.agent.spec.task_id.as_str(), "t6");
    let good = store.list(Query { limit: 2, ..Query::default() }).await.unwrap();
    assert_eq!(good.iter().map(|record| record.seq).collect::<Vec<_>>(), [8, 7]);
    let damaged = store.damaged().await.unwrap();
    assert_eq!(damaged.len(), 6, "{damaged:?}");
    assert!(damaged.iter().any(|one| one.id == "0102"));
    assert!(damaged.iter().all(|one| !one.why.is_empty()));
    let id = damaged[0].id.parse().unwrap();
    assert!(matches!(store.get(id).await, Err(StoreError::Quarantined(found)) if found == id));
    let counts = store.counts(at(10)).await.unwrap();
    assert_eq!((counts.waiting, counts.active, counts.failed), (1, 1, 0));
    admit(&store, &agent("t0", at(11))).await;
    drop(store);
    assert_eq!(open(dir.path()).damaged().await.unwrap(), damaged, "it stays set aside");
}

#[tokio::test]
async fn every_read_survives_damaged_records() {
    let dir = tempfile::tempdir().unwrap();
    for verb in 0..7 {
        let dir = dir.path().join(verb.to_string());
        let store = open(&dir);
        let agents = [agent("a", T0), agent("b", at(1))];
        for one in &agents {
            admit(&store, one).await;
        }
        let (held, _) = lease(&store, at(1)).await;
        drop(store);
        raw(&dir).execute("UPDATE agents SET body = '{}'", []).unwrap();
        let store = open(&dir);
        let [a, b] = [agents[0].id, agents[1].id];
        match verb {
            0 => assert!(matches!(store.get(a).await, Err(StoreError::Quarantined(_)))),
            1 => assert!(store.leased().await.unwrap().is_empty()),
            2 => assert!(store.waiting(0, 10, at(1)).await.unwrap().is_empty()),
            3 => assert!(store.of_task(&agents[0].spec.task_id).await.unwrap().is_empty()),
            4 => assert!(matches!(store.take_over(a, &node("n2")).await, Err(StoreError::Quarantined(_)))),
            5 => {
                let late = store.advance(&held, change(agents[0].clone(), "x", at(2))).await;
                assert!(matches!(late, Err(StoreError::Quarantined(_))), "{late:?}");
            }
            _ => {
                let answers = store.amend(vec![(1, change(agents[1].clone(), "x", at(2)))]).await.unwrap();
                assert!(matches!(answers[..], [Err(StoreError::Quarantined(_))]), "{answers:?}");
            }
        }
        assert!(store.position(b).await.unwrap().is_none_or(|before| before == 0));
        assert!(store.lease(&node("n1"), at(2)).await.unwrap().is_none());
        assert!(store.list(Query { limit: 10, ..Query::default() }).await.unwrap().is_empty());
        assert_eq!(store.counts(at(2)).await.unwrap(), Default::default());
        assert_eq!(store.damaged().await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn a_truncated_file_is_refused_or_read_but_never_a_panic() {
    let source = tempfile::tempdir().unwrap();
    filled(source.path(), 60).await;
    let whole = std::fs::read(source.path().join("mosaic.db")).unwrap();
    assert!(whole.len() > 64 * 1024);
    let cuts = [
        0,
        1,
        15,
        16,
        99,
        100,
        511,
        512,
        4095,
        4096,
        4097,
        8192,
        20_000,
        40_960,
        whole.len() - 4096,
        whole.len() - 1,
    ];
    for cut in cuts {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mosaic.db");
        std::fs::write(&path, &whole[..cut]).unwrap();
        let text = refusal(dir.path());
        assert!(text.contains("mosaic.db") && text.contains("damaged"), "cut at {cut}: {text}");
        assert_eq!(std::fs::read(&path).unwrap(), &whole[..cut], "the file is kept as it was");
    }
}

#[tokio::test]
async fn garbage_in_the_file_is_refused_or_answered_but_never_a_panic() {
    let source = tempfile::tempdir().unwrap();
    filled(source.path(), 60).await;
    let whole = std::fs::read(source.path().join("mosaic.db")).unwrap();
    let mut refused = 0;
    for page in 0..whole.len() / 4096 {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = whole.clone();
        bytes[page * 4096 + 20..][..300].fill(0xa5);
        std::fs::write(dir.path().join("mosaic.db"), bytes).unwrap();
        match SqliteStore::open(dir.path()) {
            Err(StoreError::Unusable(text) | StoreError::Damaged(text)) => {
                refused += 1;
                assert!(text.contains("mosaic.db"), "page {page}: {text}");
            }
            Err(other) => panic!("page {page}: {other:?}"),
            Ok(store) => {
                let _ = store.list(Query { limit: 100, ..Query::default() }).await;
                let _ = store.lease(&node("n1"), at(100)).await;
                let _ = store.admit(admission(&agent("new", at(100)))).await;
                let _ = store.entries(0, 100).await;
            }
        }
    }
    assert!(refused > 0);
}

#[tokio::test]
async fn a_log_without_its_database_is_not_taken_for_a_new_store() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mosaic.db-wal"), "something").unwrap();
    assert!(refusal(dir.path()).contains("mosaic.db-wal"));
}
