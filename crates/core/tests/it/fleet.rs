//! Stories about several nodes on one store: leases that run out, nodes that are cut off and come back, orders that reach
//! agents wherever they are. The runtime's clock is paused, so that time passes only when everybody waits for it.

mod bad_node;
mod left_work;
mod orders;
mod spreading;

use std::sync::Arc;
use std::time::Duration;

use mosaic_core::Orchestrator;
use mosaic_core::caretaker::Rounds;
use mosaic_core::dispatch_gate::Blocked;
use mosaic_core::domain::agent::{Phase, Status};
use mosaic_core::domain::audit::{Action, AuditEntry};
use mosaic_core::domain::ids::{AgentId, NodeId, Timestamp};
use mosaic_core::domain::kept_work::{WorkState, head_ref, salvage_ref};
use mosaic_core::domain::lifecycle::KillCause;
use mosaic_core::domain::outcome::EndReason;
use mosaic_core::engine;
use mosaic_core::ports::external_queue::{ExternalChange, Submission};
use mosaic_core::ports::fleet::{Cordon, JoinError, LostNode, NodeRemoval};
use mosaic_core::ports::store::{EndedAfter, Store, StoreError, Versioned};
use mosaic_core::removal::RemoveError;
use mosaic_core::removal::prune::PruneRequest;
use mosaic_core::stop::Stop;
use mosaic_testkit::fakes::store::{FakeStore, Mood};
use mosaic_testkit::fakes::world::{Behaviour, FakeWorld};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::conditions::ended;

const TERM: Duration = Duration::from_secs(40);
/// Of the fake clock: far longer than any story takes.
const PATIENCE: Duration = Duration::from_secs(3600);

struct Node {
    o: Arc<Orchestrator>,
    connection: Arc<FakeStore>,
    stop: watch::Sender<Stop>,
    engine: JoinHandle<()>,
}

impl Node {
    /// Takes its connection to the store away, or restores it.
    fn cut(&self, cut: bool) {
        self.connection.set_mood(if cut { Mood::Down } else { Mood::Well });
    }

    async fn end(self, how: Stop) {
        self.stop.send_replace(how);
        tokio::time::timeout(PATIENCE, self.engine).await.expect("the engine ends").expect("without a panic");
    }
}

struct Fleet {
    world: Arc<FakeWorld>,
    store: Arc<FakeStore>,
}

impl Fleet {
    fn new(behaviour: Behaviour) -> Self {
        let store = Arc::new(FakeStore::shared(TERM));
        let (world, _) = FakeWorld::orchestrator(Arc::new(FakeStore::new()), 1, behaviour);
        Self { world, store }
    }

    fn node(&self, name: &str, slots: usize) -> Node {
        let connection = Arc::new(self.store.connect());
        let o = self.world.node(name, &connection, slots, |_| {});
        let stop = watch::Sender::new(Stop::No);
        let engine = tokio::spawn(engine::run(Arc::clone(&o), stop.subscribe()));
        Node { o, connection, stop, engine }
    }

    async fn until(&self, id: AgentId, wanted: impl Fn(&Versioned) -> bool) -> Versioned {
        let mut newest = self.store.newest();
        let look = async {
            loop {
                let record = self.store.get(id).await.expect("it is there");
                if wanted(&record) {
                    return record;
                }
                newest.changed().await.expect("the store lives");
            }
        };
        tokio::time::timeout(PATIENCE, look).await.expect("it never came to that")
    }

    async fn works_on(&self, id: AgentId, node: &str) -> Versioned {
        let on = |r: &Versioned| r.node.as_ref().is_some_and(|n| n.as_str() == node);
        self.until(id, |r| on(r) && r.agent.phase() == Phase::Working).await
    }

    async fn kinds(&self) -> Vec<String> {
        let log = self.store.entries(0, 10_000).await.expect("the log is read");
        log.into_iter().map(|entry| entry.fact.kind().to_owned()).collect()
    }
}

/// Waits until something that no event tells is so.
async fn soon(look: impl Fn() -> bool) {
    let again = async {
        while !look() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("it never came to that");
}

async fn spawn(o: &Orchestrator, task: &str, retries: u32) -> AgentId {
    let body = json!({"taskId": task, "agentType": "worker", "gateProfile": "minimal", "maxRetries": retries,
        "context": {"repository": "https://git.example.com/r.git", "branch": "main", "workItems": ["x"]}});
    o.spawn(&body, None).await.expect("admitted").record.agent.id
}

fn cordon(drain: bool) -> Option<Cordon> {
    Some(Cordon { by: "test".to_owned(), reason: None, at: Timestamp(1), drain })
}

fn fleet_time() -> Timestamp {
    mosaic_testkit::fakes::knobs::wall()
}

#[tokio::test(start_paused = true)]
async fn two_nodes_share_the_work_and_hold_it_for_many_terms() {
    let fleet = Fleet::new(Behaviour::RunOn);
    let (a, b) = (fleet.node("a", 1), fleet.node("b", 1));
    let (one, two) = (spawn(&a.o, "T-1", 3).await, spawn(&a.o, "T-2", 3).await);
    for id in [one, two] {
        fleet.until(id, |r| r.agent.phase() == Phase::Working).await;
    }
    assert_eq!((fleet.world.alive_on("a").len(), fleet.world.alive_on("b").len()), (1, 1));
    tokio::time::sleep(TERM * 5).await;
    assert_eq!(fleet.world.alive().len(), 2, "heartbeats hold what runs");
    let names: Vec<_> = b.o.known_nodes().iter().map(|n| (n.info.node.to_string(), n.alive)).collect();
    assert_eq!(names, [("a".to_owned(), true), ("b".to_owned(), true)]);
    fleet.world.release();
    for id in [one, two] {
        assert_eq!(fleet.until(id, ended).await.agent.status(), Status::Completed);
    }
    assert_eq!((fleet.world.pushed().len(), fleet.world.double_runs()), (2, 0));
    a.end(Stop::Now).await;
    b.end(Stop::Now).await;
    assert_eq!(fleet.kinds().await.iter().filter(|kind| *kind == "node.joined").count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_cut_off_node_has_nothing_alive_before_another_starts_its_agent_and_writes_nothing_when_it_is_back()
{
    let fleet = Fleet::new(Behaviour::RunOn);
    let a = fleet.node("a", 1);
    let id = spawn(&a.o, "T-1", 3).await;
    let before = fleet.works_on(id, "a").await;
    let b = fleet.node("b", 1);
    a.cut(true);
    let taken = fleet.works_on(id, "b").await;
    assert_eq!(fleet.world.double_runs(), 0, "the first was dead before the second began");
    assert!(fleet.world.alive_on("a").is_empty());
    assert!(taken.epoch > before.epoch && taken.agent.attempt == 1 && taken.agent.node_losses == 1);
    let kept = b.o.kept_work(&taken).await;
    assert_eq!((kept.len(), kept[0].run, kept[0].node.as_str()), (1, 1, "a"), "{kept:?}");
    assert_eq!(kept[0].state, WorkState::Unreported);
    let said = kept[0].sentence(id).expect("it is to be looked after");
    assert!(said.contains("ended on node a") && said.contains(&salvage_ref(id)), "{said}");
    tokio::time::sleep(Duration::from_secs(10)).await;
    a.cut(false);
    // Back again, it finds that somebody else has the agent, and keeps what lies in its tree.
    soon(|| fleet.world.trees_on("a").is_empty()).await;
    let now = fleet.store.get(id).await.expect("there");
    let kept = b.o.kept_work(&now).await;
    assert_eq!((kept[0].state, kept[0].refs[0].reference.as_str()), (WorkState::Kept, &*salvage_ref(id)));
    assert!(fleet.kinds().await.contains(&"agent.work_reported".to_owned()));
    assert_eq!((now.epoch, now.node.as_ref().map(NodeId::as_str)), (taken.epoch, Some("b")));
    fleet.world.release();
    let record = fleet.until(id, ended).await;
    assert_eq!(record.agent.status(), Status::Completed);
    let pushed = fleet.world.pushed_by();
    assert!(pushed.len() == 1 && pushed[0].1 == "b", "{pushed:?}");
    assert!(fleet.kinds().await.contains(&"node.lost".to_owned()));
    a.end(Stop::Now).await;
    b.end(Stop::Now).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_store_is_gone_for_less_than_a_lease_goes_on_and_loses_nothing() {
    let fleet = Fleet::new(Behaviour::RunOn);
    let a = fleet.node("a", 1);
    let id = spawn(&a.o, "T-1", 3).await;
    fleet.works_on(id, "a").await;
    a.cut(true);
    // The program ends while its end cannot be written, so its driver must hold the result until the store is back.
    fleet.world.release();
    tokio::time::sleep(TERM / 2).await;
    a.cut(false);
    let record = fleet.until(id, ended).await;
    assert_eq!((record.agent.status(), record.agent.attempt), (Status::Completed, 1));
    assert_eq!((record.agent.runs, record.agent.node_losses), (1, 0));
    a.end(Stop::Now).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_alone_that_is_cut_off_for_longer_gives_its_agent_back_without_counting_it() {
    let fleet = Fleet::new(Behaviour::RunOn);
    let a = fleet.node("a", 1);
    // No retry is allowed, so an interruption that counted as an attempt would fail the agent.
    let id = spawn(&a.o, "T-1", 0).await;
    fleet.works_on(id, "a").await;
    a.cut(true);
    tokio::time::sleep(TERM * 2).await;
    assert!(fleet.world.alive().is_empty(), "a lease that is over runs nothing");
    a.cut(false);
    fleet.works_on(id, "a").await;
    fleet.world.release();
    let record = fleet.until(id, ended).await;
    assert_eq!((record.agent.status(), record.agent.attempt), (Status::Completed, 1));
    assert_eq!((record.agent.runs, fleet.world.double_runs()), (2, 0));
    a.end(Stop::Now).await;
}

#[tokio::test(start_paused = true)]
async fn a_restarted_node_takes_its_own_back_at_once_and_leaves_those_of_others() {
    let fleet = Fleet::new(Behaviour::RunOn);
    let (a, b) = (fleet.node("a", 1), fleet.node("b", 1));
    let (one, two) = (spawn(&a.o, "T-1", 3).await, spawn(&a.o, "T-2", 3).await);
    for id in [one, two] {
        fleet.until(id, |r| r.agent.phase() == Phase::Working).await;
    }
    let on_b = fleet.world.alive_on("b")[0];
    let epoch = fleet.store.get(on_b).await.expect("there").epoch;
    // As after a crash: nobody gives anything back.
    a.engine.abort();
    let again = fleet.node("a", 1);
    let mine = if on_b == one { two } else { one };
    let begun = tokio::time::Instant::now();
    fleet.until(mine, |r| r.epoch.0 == 2 && r.agent.phase() == Phase::Working).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "at once");
    tokio::time::sleep(TERM * 2).await;
    assert_eq!(fleet.store.get(on_b).await.expect("there").epoch, epoch);
    assert_eq!((fleet.world.alive().len(), fleet.world.double_runs()), (2, 0));
    again.end(Stop::Now).await;
    b.end(Stop::Now).await;
}

#[tokio::test(start_paused = true)]
async fn lost_nodes_come_to_an_end() {
    let fleet = Fleet::new(Behaviour::RunOn);
    let watcher = fleet.node("w", 1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    // The watcher must take nothing: it is there to return the agents of lost nodes to the queue.
    assert!(watcher.o.cordon(&"w".parse().expect("a word"), cordon(false)).await.expect("written"));
    let id = spawn(&watcher.o, "T-1", 1).await;
    let mut gone = Vec::new();
    for name in ["a", "b"] {
        let node = fleet.node(name, 1);
        fleet.works_on(id, name).await;
        node.cut(true);
        // Held to the end, because a dropped sender tells the engine to stop, and a node that ends in order
        // is not lost.
        gone.push(node);
        fleet.until(id, |r| r.node.is_none()).await;
    }
    let end = fleet.until(id, ended).await.agent.end().cloned().expect("it ended");
    assert_eq!((end.status, end.reason), (Status::Failed, EndReason::NodeLost));
    let why = end.error.expect("words");
    assert!(why.contains("node b") && why.contains("as 1 node before"), "{why}");
    assert_eq!(fleet.world.double_runs(), 0);
    watcher.end(Stop::Now).await;
}

#[tokio::test(start_paused = true)]
async fn a_queued_agent_that_moves_leaves_behind_what_only_the_other_node_has() {
    let fleet = Fleet::new(Behaviour::RunOn);
    let a = fleet.node("a", 1);
    let id = spawn(&a.o, "T-1", 3).await;
    fleet.works_on(id, "a").await;
    a.end(Stop::Drain(Duration::ZERO)).await;
    let waits = fleet.store.get(id).await.expect("there");
    assert!(waits.agent.work.kept.is_some() && waits.agent.node.as_ref().is_some_and(|n| n.as_str() == "a"));
    let b = fleet.node("b", 1);
    let record = fleet.works_on(id, "b").await;
    assert!(record.agent.work.kept.is_none() && record.agent.work.base.is_some());
    assert_eq!((record.agent.attempt, record.agent.node_losses), (1, 0));
    let kept = b.o.kept_work(&record).await;
    let head = (kept[0].state, kept[0].refs[0].reference.clone());
    assert_eq!((kept.len(), head), (1, (WorkState::Kept, head_ref(id))), "{kept:?}");
    // What it left on the first node is kept there once that is back.
    assert_eq!(fleet.world.trees_on("a"), [id]);
    let a = fleet.node("a", 1);
    a.o.care_round(&mut Rounds::default()).await;
    assert!(fleet.world.trees_on("a").is_empty() && !fleet.world.trees_on("b").is_empty());
    assert_eq!(fleet.store.get(id).await.expect("there").version, record.version, "nothing was written");
    a.end(Stop::Now).await;
    b.end(Stop::Now).await;
}

#[tokio::test(start_paused = true)]
async fn a_cordoned_node_takes_nothing_and_a_drained_one_ends_when_it_is_empty() {
    let fleet = Fleet::new(Behaviour::RunOn);
    let (a, b) = (fleet.node("a", 1), fleet.node("b", 1));
    let name = |name: &str| name.parse::<NodeId>().expect("a word");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(a.o.cordon(&name("b"), cordon(false)).await.expect("written"));
    assert!(!a.o.cordon(&name("nobody"), cordon(false)).await.expect("read"));
    soon(|| matches!(b.o.blocked(), Some(Blocked::Cordoned(_)))).await;
    let (one, two) = (spawn(&b.o, "T-1", 3).await, spawn(&b.o, "T-2", 3).await);
    fleet.works_on(one, "a").await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(fleet.world.alive_on("b").is_empty());
    assert!(a.o.cordon(&name("b"), None).await.expect("written"));
    fleet.works_on(two, "b").await;
    assert!(a.o.cordon(&name("b"), cordon(true)).await.expect("written"));
    tokio::time::timeout(PATIENCE, b.o.drain_asked()).await.expect("it is asked to drain");
    assert!(b.o.is_draining());
    b.stop.send_replace(Stop::Drain(PATIENCE));
    fleet.world.release();
    assert_eq!(fleet.until(two, ended).await.agent.status(), Status::Completed);
    b.end(Stop::Drain(PATIENCE)).await;
    let kinds = fleet.kinds().await;
    for kind in ["node.cordoned", "node.uncordoned", "node.drained"] {
        assert!(kinds.contains(&kind.to_owned()), "{kind} in {kinds:?}");
    }
    // It was drained by the server before; the next one only takes nothing.
    let again = fleet.node("b", 1);
    soon(|| again.o.cordoned().is_some()).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(!again.o.is_draining());
    a.end(Stop::Now).await;
    again.end(Stop::Now).await;
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_taken_takes_nothing() {
    let fleet = Fleet::new(Behaviour::RunOn);
    let a = fleet.node("a", 0);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let connection = Arc::new(fleet.store.connect());
    let other = fleet.world.node("a", &connection, 1, |_| {});
    other.introduce(mosaic_core::fleet::membership::About {
        instance: "another".to_owned(),
        ..Default::default()
    });
    let refused = other.join().await.expect_err("the name is taken");
    assert!(matches!(refused, JoinError::NameTaken { .. }));
    assert!(refused.to_string().contains("MOSAIC_NODE"), "{refused}");
    let (stop, stopped) = watch::channel(Stop::No);
    let engine = tokio::spawn(engine::run(Arc::clone(&other), stopped));
    let id = spawn(&a.o, "T-1", 0).await;
    tokio::time::sleep(TERM).await;
    assert_eq!(fleet.store.get(id).await.expect("there").agent.phase(), Phase::Queued);
    // Once the other one is gone for good, the name is free.
    a.end(Stop::Now).await;
    fleet.works_on(id, "a").await;
    stop.send_replace(Stop::Now);
    tokio::time::timeout(PATIENCE, engine).await.expect("the engine ends").expect("without a panic");
}

#[tokio::test(start_paused = true)]
async fn a_push_that_hangs_is_dead_before_its_lease_is_over_elsewhere() {
    let fleet = Fleet::new(Behaviour::EndAtOnce);
    fleet.world.hang_pushes(true);
    let a = fleet.node("a", 1);
    let id = spawn(&a.o, "T-1", 3).await;
    fleet.until(id, |r| r.agent.phase() == Phase::Publishing).await;
    // While heartbeats are answered a long push goes on.
    tokio::time::sleep(TERM * 3).await;
    assert_eq!(fleet.world.given_up(), 0);
    let b = fleet.node("b", 1);
    a.cut(true);
    fleet.until(id, |r| r.node.as_ref().is_some_and(|n| n.as_str() == "b")).await;
    assert_eq!(fleet.world.given_up() + fleet.world.pushed().len(), 0, "it was dropped with its lease");
    fleet.world.hang_pushes(false);
    let record = fleet.until(id, ended).await;
    assert_eq!(record.agent.status(), Status::Completed);
    a.cut(false);
    tokio::time::sleep(TERM).await;
    let pushed = fleet.world.pushed_by();
    assert!(pushed.len() == 1 && pushed[0].1 == "b", "{pushed:?}");
    a.end(Stop::Now).await;
    b.end(Stop::Now).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stood_still_has_no_stale_side_effect() {
    let fleet = Fleet::new(Behaviour::RunOn);
    let a = fleet.node("a", 1);
    let id = spawn(&a.o, "T-1", 3).await;
    fleet.works_on(id, "a").await;
    // Nothing of it comes through, and nothing is refused: as if its server were stopped.
    a.connection.set_mood(Mood::Stuck);
    let b = fleet.node("b", 1);
    let taken = fleet.works_on(id, "b").await;
    a.connection.set_mood(Mood::Well);
    tokio::time::sleep(TERM).await;
    let now = fleet.store.get(id).await.expect("there");
    assert_eq!((now.version, now.epoch), (taken.version, taken.epoch));
    assert_eq!(fleet.world.double_runs(), 0);
    fleet.world.release();
    fleet.until(id, ended).await;
    assert!(fleet.world.pushed_by().iter().all(|(_, node)| node == "b"));
    a.end(Stop::Now).await;
    b.end(Stop::Now).await;
}

#[tokio::test(start_paused = true)]
async fn the_shared_store_lets_nobody_else_take_a_lease_that_holds() {
    let store = FakeStore::shared(TERM);
    let (world, _) = FakeWorld::orchestrator(Arc::new(FakeStore::new()), 1, Behaviour::RunOn);
    let connection = Arc::new(store.connect());
    let o = world.node("a", &connection, 0, |_| {});
    let id = spawn(&o, "T-1", 0).await;
    let (a, b): (NodeId, NodeId) = ("a".parse().expect("a word"), "b".parse().expect("a word"));
    store.lease(&a, o.now()).await.expect("read").expect("leased");
    assert!(matches!(store.take_over(id, &b).await, Err(StoreError::Conflict(_))));
    assert!(store.take_over(id, &a).await.is_ok(), "a restarted node takes its own");
    tokio::time::sleep(TERM).await;
    assert!(store.take_over(id, &b).await.is_ok());
    assert_eq!(connection.get(id).await.expect("there").home, Some(b));
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_clock_is_wrong_takes_nothing_until_it_is_right_and_writes_the_store_s_time() {
    let fleet = Fleet::new(Behaviour::RunOn);
    let node = fleet.node("a", 2);
    soon(|| node.o.clocks().offset().is_some()).await;
    fleet.world.knobs.jump(3_600_000);
    let offset = node.o.clocks().offset().unwrap();
    assert!(offset.offset_ms.abs_diff(3_600_000) < 100, "{offset:?}");
    let before = fleet_time();
    let id = spawn(&node.o, "T-1", 0).await;
    let record = fleet.store.get(id).await.unwrap();
    assert!(
        record.agent.spawned_at.0.abs_diff(before.0) < 5000,
        "it was written down by the node's own clock"
    );
    let ready = node.o.ready().await;
    let clock = ready.iter().find(|check| check.name == "clock").unwrap();
    assert!(!clock.ok && clock.detail.contains("ahead of the store's"), "{clock:?}");
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(node.o.running(), 0);
    assert!(matches!(node.o.blocked(), Some(Blocked::Clock(_))));
    let told = node.o.nodes().await.unwrap()[0].info.clock_offset_ms.unwrap();
    assert!(told.abs_diff(3_600_000) < 1000, "{told}");
    // A minute is the bound, either way.
    fleet.world.knobs.jump(-50_000);
    fleet.works_on(id, "a").await;
    node.end(Stop::Now).await;
}
