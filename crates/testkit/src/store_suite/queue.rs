//! The queue: in which order work starts, what delays it, and how it is counted.

use std::sync::Arc;

use mosaic_core::domain::agent::Status;
use mosaic_core::domain::ids::Timestamp;
use mosaic_core::domain::outcome::EndReason;
use mosaic_core::domain::placement::Conditions;
use mosaic_core::limits::{AGEING_STEP, QUEUE_SKIPPED};
use mosaic_core::ports::store::{Counts, Pause, Query, Store};
use serde_json::json;

use super::Bench;
use super::sample::*;

/// Takes everything that is ready; returns the task ids in order.
async fn drain(store: &dyn Store, now: Timestamp) -> Vec<String> {
    let mut tasks = Vec::new();
    while let Some((_, record)) = store.lease(&node("n1"), now).await.unwrap() {
        tasks.push(record.agent.spec.task_id.to_string());
    }
    tasks
}

async fn admit_with(store: &dyn Store, task: &str, priority: u64, when: Timestamp) {
    admit(store, &agent_from(json!({"taskId": task, "priority": priority}), when)).await;
}

/// Priority 1 first; equal priorities by age; equal ages by admission.
pub async fn starts_by_priority_then_age(bench: &dyn Bench) {
    let store = store(bench).await;
    let entries =
        [("p5-old", 5, 0), ("p9", 9, 1), ("p1", 1, 2), ("p5-new", 5, 3), ("p5-newest", 5, 3), ("p10", 10, 0)];
    for (task, priority, when) in entries {
        admit_with(&*store, task, priority, at(when)).await;
    }
    assert_eq!(drain(&*store, at(10)).await, ["p1", "p5-old", "p5-new", "p5-newest", "p9", "p10"]);
    assert!(store.lease(&node("n1"), at(10)).await.unwrap().is_none());
}

/// Urgent work passes older work only within the bound of ageing.
pub async fn ageing_lets_old_work_pass(bench: &dyn Bench) {
    let store = store(bench).await;
    let bound = AGEING_STEP.as_secs() * 9;
    admit_with(&*store, "old", 10, T0).await;
    admit_with(&*store, "just-before", 1, at(bound - 1)).await;
    admit_with(&*store, "just-after", 1, at(bound + 1)).await;
    assert_eq!(drain(&*store, at(bound + 2)).await, ["just-before", "old", "just-after"]);
}

/// Delayed work is not given before its time, then in its place by rank.
pub async fn delayed_work_waits_for_its_time(bench: &dyn Bench) {
    let store = store(bench).await;
    admit(&*store, &agent("later", T0)).await;
    let (held, record) = lease(&*store, T0).await;
    let waits = in_backoff(record.agent, at(60));
    store.advance(&held, change(waits.clone(), "x", T0)).await.unwrap();
    assert_eq!(store.next_due().await.unwrap(), Some(at(60)));
    assert!(store.lease(&node("n1"), at(59)).await.unwrap().is_none());
    admit(&*store, &agent("young", at(30))).await;
    let counts = store.counts(at(59)).await.unwrap();
    assert_eq!((counts.waiting, counts.delayed), (1, 1));
    let counts = store.counts(at(60)).await.unwrap();
    assert_eq!((counts.waiting, counts.delayed), (2, 0));
    let (_, first) = lease(&*store, at(60)).await;
    assert_eq!(first.agent, waits, "it is older, so it goes first once it is ready");
    assert_eq!(store.next_due().await.unwrap(), None);
    assert_eq!(drain(&*store, at(60)).await, ["young"]);
}

/// Nothing is leased while dispatch is paused; the first pause stands.
pub async fn a_pause_stops_dispatch(bench: &dyn Bench) {
    let store = store(bench).await;
    let a = agent("a", T0);
    admit(&*store, &a).await;
    assert_eq!(store.pause().await.unwrap(), None);
    let pause = Pause { by: "alice".to_owned(), reason: Some("release".to_owned()), at: at(1) };
    store.set_pause(Some(pause.clone()), fact("queue.paused", &a, at(1))).await.unwrap();
    let later = Pause { by: "bob".to_owned(), reason: None, at: at(2) };
    store.set_pause(Some(later), fact("queue.paused", &a, at(2))).await.unwrap();
    assert_eq!(store.pause().await.unwrap(), Some(pause));
    assert!(store.lease(&node("n1"), at(2)).await.unwrap().is_none());
    admit(&*store, &agent("b", at(2))).await;
    store.set_pause(None, fact("queue.resumed", &a, at(3))).await.unwrap();
    store.set_pause(None, fact("queue.resumed", &a, at(4))).await.unwrap();
    assert_eq!(store.pause().await.unwrap(), None);
    assert_eq!(drain(&*store, at(4)).await, ["a", "b"]);
}

/// Ready entries by rank, then delayed ones by time; pages fit together.
pub async fn waiting_lists_in_starting_order(bench: &dyn Bench) {
    let store = store(bench).await;
    admit_with(&*store, "r2", 5, at(1)).await;
    for (task, until) in [("d2", 500), ("d1", 400), ("due", 20)] {
        admit(&*store, &in_backoff(agent(task, at(1)), at(until))).await;
    }
    for (task, priority, when) in [("r3", 5, 2), ("r1", 1, 3)] {
        admit_with(&*store, task, priority, at(when)).await;
    }
    let order = ["r1", "r2", "due", "r3", "d1", "d2"];
    for size in 1..=7 {
        let mut seen = Vec::new();
        loop {
            let page = store.waiting(seen.len() as u64, size, at(30)).await.unwrap();
            assert!(page.len() <= size);
            if page.is_empty() {
                break;
            }
            seen.extend(page.into_iter().map(|record| record.agent.spec.task_id.to_string()));
        }
        assert_eq!(seen, order, "in pages of {size}");
    }
    assert_eq!(drain(&*store, at(30)).await, order[..4], "they start in the order in which they were listed");
}

/// A position counts ready entries that start before; what does not wait has none.
pub async fn position_counts_what_starts_before(bench: &dyn Bench) {
    let store = store(bench).await;
    let agents: Vec<_> = [(5, 0), (1, 1), (5, 1), (5, 1)]
        .iter()
        .enumerate()
        .map(|(n, (priority, when))| {
            agent_from(json!({"taskId": format!("t{n}"), "priority": priority}), at(*when))
        })
        .collect();
    for agent in &agents {
        admit(&*store, agent).await;
    }
    let delayed = in_backoff(agent("delayed", T0), at(900));
    admit(&*store, &delayed).await;
    for (agent, position) in agents.iter().zip([1, 0, 2, 3]) {
        assert_eq!(store.position(agent.id).await.unwrap(), Some(position));
    }
    assert_eq!(store.position(delayed.id).await.unwrap(), Some(4));
    lease(&*store, at(2)).await;
    assert_eq!(store.position(agents[1].id).await.unwrap(), None);
    assert_eq!(store.position(agents[0].id).await.unwrap(), Some(0));
    assert_eq!(store.position(agent("unknown", T0).id).await.unwrap(), None);
}

/// Counts are right after every kind of write.
pub async fn counts_follow_every_write(bench: &dyn Bench) {
    let store = store(bench).await;
    let mut expected = Counts::default();
    assert_eq!(store.counts(T0).await.unwrap(), expected);
    for n in 0..6 {
        admit(&*store, &agent(&format!("t{n}"), at(n))).await;
    }
    expected.waiting = 6;
    assert_eq!(store.counts(T0).await.unwrap(), expected);
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(lease(&*store, at(9)).await);
    }
    (expected.waiting, expected.active) = (1, 5);
    assert_eq!(store.counts(T0).await.unwrap(), expected);
    bench.lapse(held[0].0.agent).await;
    let (taken, record) = store.take_over(held[0].0.agent, &node("n2")).await.unwrap();
    held[0] = (taken, record);
    let new = |n: usize, agent: &mosaic_core::domain::agent::Agent| match n {
        0 => settled(agent.clone(), Status::Completed, EndReason::Done, at(10)),
        1 => settled(agent.clone(), Status::Failed, EndReason::Timeout, at(10)),
        2 => settled(agent.clone(), Status::Failed, EndReason::AgentError, at(10)),
        3 => in_backoff(agent.clone(), at(50)),
        _ => working(agent.clone(), at(10)),
    };
    for (n, (lease, record)) in held.iter().enumerate() {
        store.advance(lease, change(new(n, &record.agent), "x", at(10))).await.unwrap();
    }
    expected = Counts { waiting: 1, delayed: 1, active: 1, completed: 1, failed: 2, killed: 0, dead: 1 };
    assert_eq!(store.counts(at(10)).await.unwrap(), expected);
    let left = store.waiting(0, 1, at(10)).await.unwrap().remove(0);
    let killed = settled(left.agent, Status::Killed, EndReason::KillAll, at(11));
    store.amend(vec![(left.version, change(killed, "x", at(11)))]).await.unwrap().remove(0).unwrap();
    (expected.waiting, expected.killed) = (0, 1);
    assert_eq!(store.counts(at(11)).await.unwrap(), expected);
}

/// The dead-letter list has failures whose attempts were used up, and no other end.
pub async fn dead_letters_are_failures_with_attempts_used_up(bench: &dyn Bench) {
    use EndReason::{AgentError, Auth, GatesFailed, KillAll, NodeLost, RateLimited, Timeout};
    let store = store(bench).await;
    let mut dead = Vec::new();
    for (n, reason) in
        [AgentError, RateLimited, NodeLost, Timeout, Auth, GatesFailed, KillAll].into_iter().enumerate()
    {
        admit(&*store, &agent(&format!("t{n}"), T0)).await;
        let (held, record) = lease(&*store, T0).await;
        let status = if reason == KillAll { Status::Killed } else { Status::Failed };
        store.advance(&held, change(settled(record.agent, status, reason, T0), "x", T0)).await.unwrap();
        if n < 3 {
            dead.insert(0, held.agent);
        }
    }
    let list = store.list(Query { dead: true, limit: 10, ..Query::default() }).await.unwrap();
    assert_eq!(ids(&list), dead);
    assert_eq!(store.counts(T0).await.unwrap().dead, 3);
}

/// Takes everything that these conditions allow; returns the task ids in order.
async fn drain_within(store: &dyn Store, conditions: &Conditions) -> Vec<String> {
    let mut tasks = Vec::new();
    while let Some((_, record)) = store.lease_within(&node("n1"), at(10), conditions).await.unwrap() {
        tasks.push(record.agent.spec.task_id.to_string());
    }
    tasks
}

fn of(repository: &str, task: &str, when: Timestamp) -> mosaic_core::domain::agent::Agent {
    let context = json!({"repository": repository, "branch": "main", "workItems": ["x"]});
    agent_from(json!({"taskId": task, "context": context, "runtime": "claude"}), when)
}

/// An entry that conditions refuse is passed over, keeps its place, is not delayed, and goes to the next node that takes it.
pub async fn what_is_refused_stays_at_its_place_for_others(bench: &dyn Bench) {
    const A: &str = "https://git.example.com/a.git";
    const B: &str = "https://git.example.com/b.git";
    let store = store(bench).await;
    for (n, (repository, task)) in [(A, "a1"), (B, "b1"), (A, "a2"), (B, "b2")].into_iter().enumerate() {
        admit(&*store, &of(repository, task, at(n as u64))).await;
    }
    let runtime = Conditions { runtimes: ["claude".to_owned()].into(), ..Conditions::default() };
    assert_eq!(drain_within(&*store, &runtime).await, [] as [&str; 0]);
    let first = store.waiting(0, 1, at(10)).await.unwrap().remove(0);
    let agents = Conditions { agents: [first.agent.id].into(), ..Conditions::default() };
    let (taken, _) = store.lease_within(&node("n1"), at(10), &agents).await.unwrap().unwrap();
    assert_ne!(taken.agent, first.agent.id);
    let back = store.get(taken.agent).await.unwrap().agent;
    assert_eq!(back.spec.task_id.as_str(), "b1");
    store.advance(&taken, change(back, "back", at(10))).await.unwrap();
    let repository = Conditions { repositories: [A.to_owned()].into(), ..Conditions::default() };
    assert_eq!(drain_within(&*store, &repository).await, ["b1", "b2"]);
    let counts = store.counts(at(10)).await.unwrap();
    assert_eq!((counts.waiting, counts.delayed, counts.active), (2, 0, 2));
    assert_eq!(store.position(first.agent.id).await.unwrap(), Some(0));
    let unchanged = store.get(first.agent.id).await.unwrap();
    assert_eq!(
        (unchanged.version, unchanged.epoch.0),
        (1, 0),
        "it was written although it was only passed over"
    );
    assert_eq!(drain(&*store, at(10)).await, ["a1", "a2"]);
}

/// An entry that asks for labels goes only to a node that has them.
pub async fn labels_of_the_node_are_asked_for(bench: &dyn Bench) {
    let store = store(bench).await;
    admit(&*store, &agent_from(json!({"taskId": "gpu", "nodeLabels": {"gpu": "a100"}}), at(0))).await;
    admit(&*store, &agent_from(json!({"taskId": "any"}), at(1))).await;
    assert_eq!(drain(&*store, at(10)).await, ["any"], "a node without labels took what asks for one");
    let labels = |value: &str| Conditions {
        labels: [("gpu".to_owned(), value.to_owned()), ("zone".to_owned(), "eu".to_owned())].into(),
        ..Conditions::default()
    };
    assert_eq!(drain_within(&*store, &labels("h100")).await, [] as [&str; 0]);
    assert_eq!(drain_within(&*store, &labels("a100")).await, ["gpu"]);
}

/// Of one repository no more agents are leased than may, whichever nodes ask at once; others pass, and what ends makes room.
pub async fn of_one_repository_no_more_are_leased_on_all_nodes_than_may(bench: &dyn Bench) {
    const A: &str = "https://git.example.com/a.git";
    const B: &str = "https://git.example.com/b.git";
    let store = store(bench).await;
    for n in 0..6 {
        admit(&*store, &of(A, &format!("a{n}"), at(n))).await;
    }
    admit(&*store, &of(B, "b0", at(9))).await;
    let bounded = Conditions { repository_leases: Some(2), ..Conditions::default() };
    let mut callers = tokio::task::JoinSet::new();
    for n in 0..12 {
        let (store, bounded) = (Arc::clone(&store), bounded.clone());
        callers.spawn(async move {
            store.lease_within(&node(&format!("n{}", n % 4)), at(10), &bounded).await.unwrap()
        });
    }
    let mut taken: Vec<_> = callers.join_all().await.into_iter().flatten().collect();
    taken.sort_by_key(|(_, record)| record.seq);
    let tasks: Vec<_> = taken.iter().map(|(_, record)| record.agent.spec.task_id.to_string()).collect();
    assert_eq!(tasks, ["a0", "a1", "b0"]);
    let both = [A.to_owned(), B.to_owned()].into();
    let leased: Vec<_> = store.leased_of(&both).await.unwrap().into_iter().collect();
    assert_eq!(leased, [(A.to_owned(), 2), (B.to_owned(), 1)]);
    let waits = store.waiting(0, 1, at(10)).await.unwrap().remove(0);
    assert_eq!((waits.agent.spec.task_id.as_str(), waits.version), ("a2", 1), "it lost its place");
    // One goes back to the queue, one ends: each makes room for one.
    let (back, record) = &taken[0];
    store.advance(back, change(record.agent.clone(), "back", at(11))).await.unwrap();
    let (held, record) = taken[1].clone();
    let end = settled(working(record.agent, at(11)), Status::Completed, EndReason::Done, at(11));
    store.advance(&held, change(end, "x", at(11))).await.unwrap();
    assert_eq!(drain_within(&*store, &bounded).await, ["a0", "a2"]);
    // Who has no bound is not held up by that of others.
    assert_eq!(drain(&*store, at(12)).await, ["a3", "a4", "a5"]);
}

/// However much is refused at the front, what waits behind it is found after some looks.
pub async fn what_is_refused_never_hides_what_waits_behind_it(bench: &dyn Bench) {
    const A: &str = "https://git.example.com/a.git";
    let store = store(bench).await;
    // More are refused than one call looks through, so that a look which always began at the front would never reach
    // the last entry.
    let refused = QUEUE_SKIPPED * 5 / 2;
    for n in 0..refused {
        admit(&*store, &of(A, &format!("a{n}"), at(0))).await;
    }
    admit(&*store, &of("https://git.example.com/b.git", "b", at(1))).await;
    let conditions = Conditions { repositories: [A.to_owned()].into(), ..Conditions::default() };
    let mut found = None;
    for _ in 0..4 {
        found = found.or(store.lease_within(&node("n1"), at(10), &conditions).await.unwrap());
    }
    let (_, record) = found.expect("it was never found");
    assert_eq!(record.agent.spec.task_id.as_str(), "b");
    let counts = store.counts(at(10)).await.unwrap();
    assert_eq!((counts.waiting, counts.delayed), (refused as u64, 0));
}
