//! Stories about where work goes: to the node with the smallest share of its slots in use, and never to one that cannot take it,
//! which nothing waits for. Nodes that only send heartbeats stand for those that look free and take nothing.

use std::sync::Arc;
use std::time::Duration;

use mosaic_core::domain::ids::{AgentId, Timestamp};
use mosaic_core::limits;
use mosaic_core::ports::fleet::{Fleet as _, NodeHealth, NodeInfo, RuntimeHealth};
use mosaic_core::stop::Stop;
use mosaic_testkit::fakes::fleet::FakeFleet;
use mosaic_testkit::fakes::world::Behaviour;
use tokio::time::Instant;

use super::{Fleet, Node, cordon, soon, spawn};

/// A change of what a node says of itself.
type Change = fn(&mut NodeInfo);

/// A node that sends heartbeats and takes nothing.
struct Ghost {
    fleet: FakeFleet,
    info: NodeInfo,
}

impl Ghost {
    /// Lets it join with so many slots, of which none is in use.
    async fn join(fleet: &Fleet, name: &str, slots: usize) -> Self {
        let info = NodeInfo {
            node: name.parse().expect("a word"),
            instance: name.to_owned(),
            directory: None,
            boot: None,
            url: None,
            version: "test".to_owned(),
            slots,
            running: 0,
            labels: [].into(),
            clock_offset_ms: None,
            clock_error_ms: None,
            archives: true,
            format: 1,
            started_at: Timestamp(1),
            draining: false,
            health: NodeHealth::default(),
        };
        let ghost = Self { fleet: FakeFleet::of(Arc::new(fleet.store.connect())), info };
        ghost.fleet.join(&ghost.info).await.expect("it joins");
        ghost
    }

    async fn heartbeat(&self) {
        self.fleet.heartbeat(&self.info, &[]).await.expect("it is heard");
    }
}

/// Spawns so many agents through a node and returns how long each waited until some node had it.
async fn waits(fleet: &Fleet, node: &Node, tasks: std::ops::Range<usize>) -> Vec<Duration> {
    let mut waited = Vec::new();
    for n in tasks {
        let begun = Instant::now();
        let id = spawn(&node.o, &format!("T-{n}"), 0).await;
        fleet.until(id, |record| record.node.is_some()).await;
        waited.push(begun.elapsed());
    }
    waited
}

async fn home(fleet: &Fleet, id: AgentId) -> String {
    fleet.until(id, |record| record.node.is_some()).await.node.expect("it is leased").to_string()
}

/// Makes node `a` with four slots, two of them in use, which knows what the ghost says of itself by now.
async fn half_full(fleet: &Fleet, ghost: &Ghost) -> Node {
    let a = fleet.node("a", 4);
    soon(|| a.o.known_nodes().len() == 2).await;
    // The first two find the ghost as free as a; both moments may pass in vain.
    waits(fleet, &a, 0..2).await;
    ghost.heartbeat().await;
    tokio::time::sleep(limits::SPREAD_PERIOD * 2).await;
    ghost.heartbeat().await;
    let known = || a.o.known_nodes().iter().any(|node| node.info == ghost.info);
    soon(known).await;
    a
}

#[tokio::test(start_paused = true)]
async fn work_goes_to_the_node_with_the_smaller_share_of_its_slots_in_use() {
    let fleet = Fleet::new(Behaviour::RunOn);
    let a = fleet.node("a", 8);
    soon(|| a.o.known_nodes().len() == 1).await;
    waits(&fleet, &a, 0..4).await;
    // Half of a's slots are in use, and none of b's eight: four come to b before a takes another.
    let b = fleet.node("b", 8);
    soon(|| a.o.known_nodes().len() == 2).await;
    for n in 4..8 {
        let id = spawn(&a.o, &format!("T-{n}"), 0).await;
        assert_eq!(home(&fleet, id).await, "b", "task {n}");
        // The moment that a gives is over, and not left over for the next one.
        tokio::time::sleep(limits::SPREAD_MOMENT * 2).await;
    }
    a.end(Stop::Now).await;
    b.end(Stop::Now).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_without_others_waits_for_nobody() {
    let fleet = Fleet::new(Behaviour::RunOn);
    let a = fleet.node("a", 40);
    soon(|| a.o.known_nodes().len() == 1).await;
    let waited = waits(&fleet, &a, 0..40).await;
    assert!(waited.iter().all(Duration::is_zero), "{waited:?}");
    a.end(Stop::Now).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_for_a_node_that_cannot_take_it() {
    let runtime = |error: Option<&str>| RuntimeHealth {
        name: "fake".to_owned(),
        version: None,
        error: error.map(str::to_owned),
    };
    let changes: [(&str, Change); 5] = [
        ("full", |info| info.running = info.slots),
        ("ending", |info| info.draining = true),
        ("held", |info| info.health.held = Some("memory".to_owned())),
        ("as loaded", |info| info.running = 2),
        ("without slots", |info| info.slots = 0),
    ];
    for (what, change) in changes {
        let fleet = Fleet::new(Behaviour::RunOn);
        let mut ghost = Ghost::join(&fleet, "b", 4).await;
        change(&mut ghost.info);
        let a = half_full(&fleet, &ghost).await;
        assert_eq!(waits(&fleet, &a, 2..3).await, [Duration::ZERO], "for one that is {what}");
        a.end(Stop::Now).await;
    }
    for (what, health) in [("without the program", Some("not there")), ("able", None)] {
        let fleet = Fleet::new(Behaviour::RunOn);
        let mut ghost = Ghost::join(&fleet, "b", 4).await;
        ghost.info.health.runtimes = vec![runtime(health)];
        let a = half_full(&fleet, &ghost).await;
        let waited = waits(&fleet, &a, 2..3).await;
        assert_eq!(waited[0].is_zero(), health.is_some(), "for one that is {what}: {waited:?}");
        a.end(Stop::Now).await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_for_a_node_that_is_cordoned_or_silent() {
    let fleet = Fleet::new(Behaviour::RunOn);
    let ghost = Ghost::join(&fleet, "b", 4).await;
    let a = half_full(&fleet, &ghost).await;
    let cordoned = a.o.cordon(&ghost.info.node, cordon(false)).await;
    assert_eq!(cordoned.ok(), Some(true));
    soon(|| a.o.known_nodes().iter().any(|node| node.cordon.is_some())).await;
    assert_eq!(waits(&fleet, &a, 2..3).await, [Duration::ZERO], "for one that is cordoned");
    a.o.cordon(&ghost.info.node, None).await.expect("it is written");
    ghost.heartbeat().await;
    // Its leases would hold for long; it is as good as gone once three heartbeats are missing.
    tokio::time::sleep(limits::NODE_HEARTBEAT * 2 + limits::ORDER_LOOK * 2).await;
    assert!(a.o.known_nodes().iter().all(|node| node.alive));
    assert_eq!(waits(&fleet, &a, 3..4).await, [Duration::ZERO], "for one that is silent");
    a.end(Stop::Now).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_looks_free_and_takes_nothing_costs_a_bounded_time() {
    let fleet = Fleet::new(Behaviour::RunOn);
    let ghost = Ghost::join(&fleet, "b", 100).await;
    let a = fleet.node("a", 40);
    soon(|| a.o.known_nodes().len() == 2).await;
    ghost.heartbeat().await;
    let begun = Instant::now();
    let waited = waits(&fleet, &a, 0..40).await;
    let (all, longest) = (begun.elapsed(), waited.iter().max().copied().unwrap_or_default());
    assert!(longest <= limits::SPREAD_MOMENT + Duration::from_millis(5), "{waited:?}");
    assert!(
        all < limits::SPREAD_UNUSED + limits::SPREAD_MOMENT * 2,
        "40 tasks waited {all:?} together: {waited:?}"
    );
    assert!(!all.is_zero(), "it was not given a chance");
    a.end(Stop::Now).await;
}
