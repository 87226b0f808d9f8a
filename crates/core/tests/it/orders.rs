//! Stories about standing orders in a world of fakes: kill-all and the kill switch against everything that starts,
//! repeats or takes over agents, on good days and on days when nothing can be written.

mod storms;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mosaic_core::Orchestrator;
use mosaic_core::dispatch_gate::Blocked;
use mosaic_core::domain::agent::{Phase, Status};
use mosaic_core::domain::ids::{AgentId, Timestamp};
use mosaic_core::domain::lifecycle::KillCause;
use mosaic_core::domain::orders::{Barrier, KillOrder, Latch, StandingOrders};
use mosaic_core::domain::outcome::EndReason;
use mosaic_core::domain::stop::StopCause;
use mosaic_core::engine;
use mosaic_core::orchestrator::{RetryError, SpawnError};
use mosaic_core::orders::{Recorded, ReleaseError};
use mosaic_core::ports::orders::StopFile;
use mosaic_core::ports::store::{Query, Store, Versioned};
use mosaic_core::receipt::{AgentReceipt, LeaseFate, TreeFate};
use mosaic_core::stop::Stop;
use mosaic_testkit::fakes::store::{FakeStore, Mood};
use mosaic_testkit::fakes::world::{Behaviour, FakeWorld};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::conditions::{ended, working};

/// Far longer than any story takes; only a fault reaches it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Returns the number of rounds of a race: a few by default, many where there is time.
fn rounds() -> usize {
    std::env::var("MOSAIC_RACE_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(50)
}

/// An orchestrator with its engine.
struct Server {
    o: Arc<Orchestrator>,
    stop: watch::Sender<Stop>,
    engine: JoinHandle<()>,
}

impl Server {
    fn start(o: Arc<Orchestrator>) -> Self {
        let stop = watch::Sender::new(Stop::No);
        let engine = tokio::spawn(engine::run(Arc::clone(&o), stop.subscribe()));
        Self { o, stop, engine }
    }

    async fn end(self) {
        self.stop.send_replace(Stop::Now);
        tokio::time::timeout(PATIENCE, self.engine).await.expect("the engine ends").expect("without a panic");
    }

    /// Dies as a process does: nothing is released.
    async fn die(self) {
        self.engine.abort();
        assert!(self.engine.await.is_err_and(|e| e.is_cancelled()));
    }
}

fn begin(slots: usize, behaviour: Behaviour) -> (Arc<FakeStore>, Arc<FakeWorld>, Server) {
    let store = Arc::new(FakeStore::new());
    let (world, o) = FakeWorld::orchestrator(store.clone(), slots, behaviour);
    (store, world, Server::start(o))
}

fn body(task: &str) -> serde_json::Value {
    // A repository of its own, so that no breaker opens.
    json!({"taskId": task, "agentType": "worker", "gateProfile": "minimal",
        "context": {"repository": format!("https://git.example.com/{task}.git"), "branch": "main", "workItems": ["x"]}})
}

async fn spawn(o: &Orchestrator, task: &str) -> AgentId {
    o.spawn(&body(task), None).await.expect("admitted").record.agent.id
}

/// Waits until the record is as wanted; the store's log tells when to look, and a lease that is released logs nothing.
async fn until(o: &Orchestrator, id: AgentId, wanted: impl Fn(&Versioned) -> bool) -> Versioned {
    let mut newest = o.ports().store.newest();
    let look = async {
        loop {
            let record = o.agent(id).await.expect("it is there");
            if wanted(&record) {
                return record;
            }
            let _ = tokio::time::timeout(Duration::from_millis(50), newest.changed()).await;
        }
    };
    match tokio::time::timeout(PATIENCE, look).await {
        Ok(record) => record,
        Err(_) => panic!("it never came to that: {:?}", o.agent(id).await.map(|r| (r.node, r.agent.state))),
    }
}

/// Waits until something that no record says has come true.
async fn eventually(o: &Orchestrator, is_true: impl Fn() -> bool) {
    let mut newest = o.ports().store.newest();
    let look = async {
        while !is_true() {
            let _ = tokio::time::timeout(Duration::from_millis(50), newest.changed()).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("it comes true");
}

async fn all(store: &dyn Store) -> Vec<Versioned> {
    store.list(Query { limit: 1000, ..Query::default() }).await.expect("listed")
}

async fn kinds(store: &dyn Store) -> Vec<String> {
    store
        .entries(0, 100_000)
        .await
        .expect("read")
        .into_iter()
        .map(|entry| entry.fact.kind().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_all_says_what_was_verified_and_what_is_spawned_later_runs() {
    let (store, world, server) = begin(2, Behaviour::RunOn);
    let ids = [spawn(&server.o, "a").await, spawn(&server.o, "b").await];
    for id in ids {
        until(&server.o, id, working).await;
    }
    let queued = spawn(&server.o, "c").await;
    let report = server.o.kill_all("alice", Some("enough".to_owned())).await;
    assert_eq!((report.total, report.killed, report.failed, report.queued), (3, 3, 0, 1), "{report:?}");
    assert_eq!((report.recorded, report.barrier, report.verified), (Recorded::Durable, 3, true));
    assert_eq!(report.receipts.len(), 2);
    for receipt in &report.receipts {
        let found = receipt.receipt.processes.clone().expect("known");
        assert_eq!(
            (found.processes_before, found.processes_after, found.confinement.as_str()),
            (1, 0, "fake")
        );
        assert_eq!((receipt.status, receipt.receipt.container.as_str()), (Status::Killed, "none"));
        assert_eq!(
            (receipt.receipt.lease, receipt.receipt.worktree),
            (LeaseFate::Released, TreeFate::Removed)
        );
    }
    for id in ids.into_iter().chain([queued]) {
        let end = server.o.agent(id).await.expect("there").agent.end().cloned().expect("it has ended");
        assert_eq!((end.status, end.reason), (Status::Killed, EndReason::KillAll));
        assert_eq!(end.error.as_deref(), Some("enough (alice)"));
    }
    assert_eq!(store.orders().await.expect("read").barrier.and_then(|b| b.seq), Some(3));
    assert_eq!(world.filed().orders.barrier.as_ref().and_then(|b| b.seq), Some(3));
    until(&server.o, spawn(&server.o, "d").await, working).await;
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_barrier_ends_what_a_dead_server_left_before_anything_runs() {
    let (store, world, server) = begin(1, Behaviour::RunOn);
    let (held, queued) = (spawn(&server.o, "a").await, spawn(&server.o, "b").await);
    until(&server.o, held, working).await;
    server.die().await;
    // The command line left its order with a time: it could not ask the store.
    let now =
        world.filed().orders.barrier.is_none().then(|| mosaic_now(&world, &store)).expect("no order yet");
    let barrier =
        Barrier { seq: None, before: now, by: "the command line".to_owned(), reason: None, at: now };
    world.filed().orders.barrier = Some(barrier);
    world.skip(Duration::from_secs(1));
    let second = Server::start(world.again(store.clone(), 1));
    for id in [held, queued] {
        let record = until(&second.o, id, ended).await;
        assert_eq!((record.agent.status(), record.agent.attempt <= 1), (Status::Killed, true));
    }
    assert_eq!((world.alive(), world.double_runs()), (vec![], 0));
    until(&second.o, spawn(&second.o, "c").await, working).await;
    let filed = world.filed().orders.barrier.clone().expect("it stands");
    assert_eq!((filed.seq, filed.before), (Some(2), Timestamp(0)), "the time became a place");
    second.end().await;
}

fn mosaic_now(world: &Arc<FakeWorld>, store: &Arc<FakeStore>) -> Timestamp {
    world.again(store.clone(), 1).now()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_switch_ends_what_runs_and_keeps_what_waits_until_it_is_released() {
    let (store, world, server) = begin(1, Behaviour::ByTask);
    let backoff = spawn(&server.o, "crash-1").await;
    until(&server.o, backoff, |r| r.agent.phase() == Phase::Backoff).await;
    let running = spawn(&server.o, "run-1").await;
    until(&server.o, running, working).await;
    let queued = spawn(&server.o, "quick-1").await;
    let (latch, report) = server.o.engage("alice", Some("freeze".to_owned())).await;
    assert_eq!((report.total, report.killed, report.failed, report.queued), (1, 1, 0, 2), "{report:?}");
    assert_eq!((latch.by.as_str(), report.recorded), ("alice", Recorded::Durable));
    let end = server.o.agent(running).await.expect("there").agent.end().cloned().expect("ended");
    assert_eq!((end.status, end.reason), (Status::Killed, EndReason::KillAll));
    assert_eq!(end.error.as_deref(), Some("kill switch: freeze (alice)"));
    let refused = server.o.spawn(&body("later"), None).await;
    assert!(matches!(refused, Err(SpawnError::Stopped(by)) if by == latch));
    let refused = server.o.retry(running, Vec::new(), None).await;
    assert!(matches!(refused, Err(RetryError::Spawn(SpawnError::Stopped(_)))));
    // The backoff is over after this, so the latch alone keeps the agent from its second attempt.
    world.skip(Duration::from_secs(600));
    server.die().await;

    let second = Server::start(world.again(store.clone(), 1));
    let dispatched = second.o.kill(queued, KillCause::Operator, "test");
    assert!(dispatched.await.expect("killed").confirmed, "a single kill still works");
    let (again, report) = second.o.engage("bob", None).await;
    assert_eq!((again.by.as_str(), report.total, report.queued), ("alice", 0, 1), "{report:?}");
    assert_eq!(second.o.agent(backoff).await.expect("there").agent.phase(), Phase::Backoff);
    assert!(second.o.release("alice").await.expect("released"));
    assert!(!second.o.release("alice").await.expect("released twice"));
    until(&second.o, backoff, |r| r.agent.attempt == 2).await;
    let kinds = kinds(&*store).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "killswitch.engaged").count(), 1);
    assert_eq!(kinds.iter().filter(|kind| *kind == "killswitch.released").count(), 1);
    assert_eq!((world.filed().orders.latch.clone(), second.o.switch_state().latch), (None, None));
    second.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_had_begun_under_a_dead_server_ends_under_the_latch_and_what_had_not_waits() {
    let store = Arc::new(FakeStore::new());
    let (world, o) = FakeWorld::orchestrator(store.clone(), 2, Behaviour::RunOn);
    let first = Server::start(o);
    let begun = spawn(&first.o, "a").await;
    until(&first.o, begun, working).await;
    first.die().await;
    let o = world.again(store.clone(), 2);
    let leased = spawn(&o, "b").await;
    assert!(store.lease(&"here".parse().expect("a word"), o.now()).await.expect("up").is_some());
    world.filed().orders.latch = Some(Latch { by: "x".to_owned(), reason: None, at: Timestamp(1) });
    let second = Server::start(o);
    assert_eq!(until(&second.o, begun, ended).await.agent.status(), Status::Killed);
    let back = until(&second.o, leased, |r| r.node.is_none()).await;
    assert_eq!((back.agent.phase(), back.agent.attempt), (Phase::Queued, 0));
    assert!(store.orders().await.expect("read").latch.is_some(), "the store learns what the file says");
    assert_eq!(world.alive(), vec![]);
    second.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stop_file_is_a_latch_that_must_be_removed_first() {
    let (_store, world, server) = begin(1, Behaviour::RunOn);
    let id = spawn(&server.o, "a").await;
    until(&server.o, id, working).await;
    world.filed().stop = StopFile::There;
    let record = until(&server.o, id, ended).await;
    let note = record.agent.end().and_then(|end| end.error.clone()).unwrap_or_default();
    assert!(record.agent.status() == Status::Killed && note.contains("STOP"), "{note}");
    assert!(
        matches!(server.o.release("x").await, Err(ReleaseError::StopFile(path)) if path.contains("STOP"))
    );
    assert!(server.o.switch_state().stop_file.is_some());
    world.filed().stop = StopFile::Absent;
    assert!(server.o.release("x").await.expect("released"));
    until(&server.o, spawn(&server.o, "b").await, working).await;
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_order_that_was_left_is_carried_out_once() {
    let (store, world, server) = begin(1, Behaviour::RunOn);
    let (held, queued) = (spawn(&server.o, "a").await, spawn(&server.o, "b").await);
    until(&server.o, held, working).await;
    server.die().await;
    for agent in [held, queued] {
        let kill = KillOrder { agent, by: "bob".to_owned(), reason: None, at: Timestamp(1) };
        world.filed().kills.push(kill);
    }
    let second = Server::start(world.again(store, 1));
    for id in [held, queued] {
        let end = until(&second.o, id, ended).await.agent.end().cloned().expect("ended");
        assert_eq!((end.status, end.reason), (Status::Killed, EndReason::Operator));
    }
    let gone = async {
        while !world.filed().kills.is_empty() {
            // The next look forgets them; it comes at the latest after the dispatcher's own period.
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the orders are forgotten");
    second.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_command_line_killed_beside_a_hung_server_was_stopped_by_an_order() {
    let (_store, world, server) = begin(1, Behaviour::RunOn);
    let agent = spawn(&server.o, "a").await;
    until(&server.o, agent, working).await;
    world.knobs.stopped_by_supervisors(3);
    // The order is there before the supervisor obeys it, and the server learns of the end first.
    world.filed().kills.push(KillOrder { agent, by: "bob".to_owned(), reason: None, at: Timestamp(1) });
    world.behave(Behaviour::CrashAtOnce);
    let record = until(&server.o, agent, ended).await;
    assert_eq!(record.agent.status(), Status::Killed);
    assert_eq!(record.agent.stop.map(|stop| stop.cause), Some(StopCause::Order));
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_completed_agent_has_no_receipt_of_a_stop_that_found_nothing() {
    for (left, told) in [(0, None), (2, Some(2))] {
        let (_store, world, server) = begin(1, Behaviour::RunOn);
        let agent = spawn(&server.o, "a").await;
        until(&server.o, agent, working).await;
        world.knobs.stopped_by_supervisors(left);
        world.release();
        let record = until(&server.o, agent, ended).await;
        assert_eq!(record.agent.status(), Status::Completed);
        assert_eq!(record.agent.stop.map(|stop| stop.receipt.processes_before), told);
        server.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_write_holds_up_a_kill_and_the_answer_says_so() {
    for mood in [Mood::Stuck, Mood::Down] {
        for files in [true, false] {
            let (store, world, server) = begin(3, Behaviour::RunOn);
            let mut ids = Vec::new();
            for n in 0..3 {
                ids.push(spawn(&server.o, &format!("t-{n}")).await);
                until(&server.o, ids[n], working).await;
            }
            let queued = spawn(&server.o, "queued").await;
            store.set_mood(mood);
            // One copy can be written in half of the cases and none in the others, and the answer must tell which.
            world.break_files(!files);
            let (report, latch) = if files {
                let order = server.o.kill_all("alice", None);
                tokio::pin!(order);
                // Everything is dead although not one write has come back yet.
                let dead = async {
                    while !world.alive().is_empty() {
                        tokio::task::yield_now().await;
                    }
                };
                tokio::select! {
                    biased;
                    _ = &mut order => panic!("it cannot be done before anything is dead"),
                    () = dead => {}
                }
                (tokio::time::timeout(PATIENCE, order).await.expect("it answers"), None)
            } else {
                let order = tokio::time::timeout(PATIENCE, server.o.engage("alice", None));
                let (latch, report) = order.await.expect("it answers");
                (report, Some(latch))
            };
            assert_eq!(world.alive(), vec![]);
            assert_eq!((report.total, report.killed, report.failed), (3, 3, 0), "{mood:?} {report:?}");
            let recorded = if files { Recorded::Durable } else { Recorded::Memory };
            assert_eq!((report.recorded, report.verified), (recorded, false), "{report:?}");
            assert!(!report.errors.is_empty(), "nobody could look at the queue: {report:?}");
            store.set_mood(Mood::Well);
            world.break_files(false);
            for id in ids {
                assert_eq!(until(&server.o, id, ended).await.agent.status(), Status::Killed);
            }
            // It is written down as soon as that works again.
            let written = async {
                loop {
                    let (stored, filed) = (store.orders().await.expect("up"), world.filed().orders.clone());
                    let both = |of: fn(&StandingOrders) -> bool| of(&stored) && of(&filed);
                    if both(if latch.is_some() { |o| o.latch.is_some() } else { |o| o.barrier.is_some() }) {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(PATIENCE, written).await.expect("it is written down");
            if latch.is_none() {
                assert_eq!(until(&server.o, queued, ended).await.agent.status(), Status::Killed);
            } else {
                assert_eq!(server.o.agent(queued).await.expect("there").agent.phase(), Phase::Queued);
            }
            server.end().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_does_not_wait_for_the_decision_before_it_to_be_written() {
    for _ in 0..rounds() {
        let (store, world, server) = begin(1, Behaviour::RunOn);
        let id = spawn(&server.o, "a").await;
        let up = async {
            while world.alive().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, up).await.expect("it starts");
        // Its launch may be written by now or not.
        store.set_mood(Mood::Stuck);
        let o = Arc::clone(&server.o);
        let kill = tokio::spawn(async move { o.kill(id, KillCause::Operator, "test").await });
        let dead = async {
            while !world.alive().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, dead).await.expect("it dies while nothing can be written");
        store.set_mood(Mood::Well);
        let killed = kill.await.expect("no panic").expect("it works");
        assert!(killed.confirmed && killed.record.agent.status() == Status::Killed, "{killed:?}");
        server.end().await;
    }
}

/// The store was set aside or put back from a copy: its places begin again, and the files remember more than it ever gave.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_barrier_of_another_stores_life_covers_nothing_new() {
    let (_store, world, server) = begin(4, Behaviour::EndAtOnce);
    let (by, at) = ("somebody".to_owned(), Timestamp(1));
    let barrier = Barrier { seq: Some(50_000), before: Timestamp(0), by, reason: None, at };
    server.end().await;
    world.filed().orders.barrier = Some(barrier);
    let store = Arc::new(FakeStore::new());
    let second = Server::start(world.again(store, 4));
    for n in 0..5 {
        let id = spawn(&second.o, &format!("T-{n}")).await;
        let record = until(&second.o, id, ended).await;
        assert_eq!(record.agent.status(), Status::Completed, "{:?}", record.agent.state);
    }
    second.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_no_order_it_holds_dispatch_and_ends_nobody() {
    let (store, world, server) = begin(2, Behaviour::RunOn);
    let runs = spawn(&server.o, "a").await;
    until(&server.o, runs, working).await;
    let why = "orders/latch.json cannot be read: Too many open files (os error 24)".to_owned();
    {
        let mut filed = world.filed();
        filed.unread = Some(why.clone());
        filed.stop = StopFile::Unknown(why.clone());
    }
    eventually(&server.o, || matches!(server.o.blocked(), Some(Blocked::OrdersUnknown(Some(_))))).await;
    let waits = spawn(&server.o, "b").await;
    let state = server.o.state().await.expect("told");
    assert!(state.held.as_ref().is_some_and(|held| held.contains(&why)), "{state:?}");
    assert_eq!(state.dispatch, mosaic_core::monitor::state::Dispatch::Held);
    let ready = server.o.ready().await;
    let dispatcher = ready.iter().find(|check| check.name == "dispatcher").expect("listed");
    assert!(dispatcher.ok && dispatcher.detail.contains(&why), "{dispatcher:?}");
    assert!(server.o.switch_state().latch.is_none() && server.o.switch_state().stop_file.is_none());
    assert_eq!(store.orders().await.expect("read"), StandingOrders::default(), "nothing is written");
    assert!(matches!(server.o.release("x").await, Err(ReleaseError::Unread(_))));
    assert!(working(&server.o.agent(runs).await.expect("there")), "what runs goes on");
    assert_eq!(server.o.agent(waits).await.expect("there").agent.phase(), Phase::Queued);
    *world.filed() = mosaic_core::ports::orders::Filed::default();
    until(&server.o, waits, working).await;
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_directory_that_hangs_holds_up_no_order_and_learns_of_it_later() {
    let (store, world, server) = begin(1, Behaviour::RunOn);
    let id = spawn(&server.o, "a").await;
    until(&server.o, id, working).await;
    world.hang_files(true);
    store.set_mood(Mood::Down);
    let engaged = tokio::time::timeout(Duration::from_secs(8), server.o.engage("alice", None)).await;
    let (_, report) = engaged.expect("it is answered");
    assert_eq!((report.recorded, world.alive().len()), (Recorded::Memory, 0), "{report:?}");
    let released = tokio::time::timeout(Duration::from_secs(8), server.o.release("alice")).await;
    assert!(released.expect("it is answered").is_err(), "half a release is none");
    assert_eq!(server.o.switch_state().recorded, Recorded::Memory);
    world.hang_files(false);
    store.set_mood(Mood::Well);
    // It is written down once that works.
    eventually(&server.o, || {
        server.o.switch_state().recorded == Recorded::Durable && world.filed().orders.latch.is_some()
    })
    .await;
    assert!(store.orders().await.expect("read").latch.is_some());
    server.die().await;
    let second = world.again(store, 1);
    second.know_orders().await;
    assert!(second.switch_state().latch.is_some(), "a switch that was engaged is so after a restart");
}
