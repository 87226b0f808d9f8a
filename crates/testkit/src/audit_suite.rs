//! Requirements on every audit log, whatever it is kept in.

use std::future::Future;
use std::sync::Arc;

use mosaic_core::domain::audit::{Action, AuditEntry};
use mosaic_core::domain::ids::Timestamp;
use mosaic_core::ports::audit::{Audit, Wanted};

/// Time of the first audit entry.
const START: u64 = 1_795_341_849_112;

fn entry(n: u64) -> AuditEntry {
    let (action, actor) = match n % 3 {
        0 => (Action::Kill, "operator".to_owned()),
        1 => (Action::QueuePause, format!("agent/{n}")),
        _ => (Action::Retention, "agents".to_owned()),
    };
    AuditEntry::new(action, &actor, Timestamp(START + n))
        .subject(n)
        .reason(Some("why \"not\"\n"))
        .request(&format!("r{n}"))
}

fn all(limit: usize) -> Wanted {
    Wanted { limit, ..Wanted::default() }
}

/// Runs every check, each on a fresh log.
pub async fn run<A: Audit + 'static, F: Future<Output = Arc<A>>>(fresh: impl Fn() -> F) {
    records_come_back_in_order(fresh().await).await;
    many_at_once_make_one_chain(fresh().await).await;
    pages_and_filters(fresh().await).await;
}

async fn records_come_back_in_order(audit: Arc<impl Audit>) {
    assert_eq!(audit.head().n, 0);
    assert_eq!(audit.verify().await.expect("it can be checked").broken, None);
    assert_eq!(audit.append(entry(1)).await.expect("it is recorded").n, 1);
    audit.note(entry(2));
    let third = audit.append(entry(3)).await.expect("it is recorded");
    assert_eq!((third.n, audit.head()), (3, third), "a note keeps its place in the queue");
    let page = audit.read(all(10)).await.expect("it can be read");
    let entries: Vec<AuditEntry> = page.records.iter().map(|record| record.entry.clone()).collect();
    assert_eq!(entries, [entry(1), entry(2), entry(3)]);
    assert_eq!((page.next, page.records[2].head()), (None, third));
    let verified = audit.verify().await.expect("it can be checked");
    assert_eq!((verified.broken, verified.head, verified.first), (None, third, 1));
}

async fn many_at_once_make_one_chain(audit: Arc<impl Audit + 'static>) {
    let calls: Vec<_> = (0..200)
        .map(|n| {
            let audit = Arc::clone(&audit);
            tokio::spawn(async move { audit.append(entry(n)).await.expect("it is recorded").n })
        })
        .collect();
    let mut numbers = Vec::new();
    for call in calls {
        numbers.push(call.await.expect("nothing panics"));
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=200).collect::<Vec<u64>>());
    let verified = audit.verify().await.expect("it can be checked");
    assert_eq!((verified.broken, verified.head.n), (None, 200));
}

async fn pages_and_filters(audit: Arc<impl Audit>) {
    for n in 1..=9 {
        audit.append(entry(n)).await.expect("it is recorded");
    }
    let numbers = async |wanted: Wanted| {
        let page = audit.read(wanted).await.expect("it can be read");
        (page.records.iter().map(|record| record.n).collect::<Vec<u64>>(), page.next)
    };
    assert_eq!(numbers(all(4)).await, (vec![1, 2, 3, 4], Some(4)));
    assert_eq!(numbers(Wanted { after: 4, ..all(5) }).await, (vec![5, 6, 7, 8, 9], None));
    assert_eq!(numbers(Wanted { after: 9, ..all(5) }).await, (vec![], None));
    let kills = Wanted { action: Some("kill".to_owned()), ..all(2) };
    assert_eq!(numbers(kills.clone()).await, (vec![3, 6], Some(6)));
    assert_eq!(numbers(Wanted { after: 6, ..kills }).await, (vec![9], None));
    // Those below an actor, and no others that begin alike.
    let actor = |name: &str| Wanted { actor: Some(name.to_owned()), ..all(9) };
    assert_eq!(numbers(actor("agent")).await.0, [1, 4, 7]);
    assert_eq!(numbers(actor("agent/4")).await.0, [4]);
    assert!(numbers(actor("nobody")).await.0.is_empty());
    assert_eq!(numbers(Wanted { since: Some(Timestamp(START + 8)), ..all(9) }).await.0, [8, 9]);
}
