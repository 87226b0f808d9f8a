//! Stories about one node that is bad at something while another is not: nothing fails, nothing waits for it, and it takes
//! itself out of service until the cause is gone.

use std::time::Duration;

use mosaic_core::domain::agent::Status;
use mosaic_core::domain::ids::AgentId;
use mosaic_core::domain::outcome::{EndReason, Failure, FailureKind};
use mosaic_core::fleet::health::ITSELF;
use mosaic_core::ports::store::Versioned;
use mosaic_core::stop::Stop;
use mosaic_testkit::fakes::knobs::Broken;
use mosaic_testkit::fakes::world::Behaviour;

use super::{Fleet, Node, ended, soon, spawn};

fn refused() -> Failure {
    Failure::new(FailureKind::RemoteAuth, "the remote wants credentials, and there are none")
}

async fn all_end(fleet: &Fleet, ids: &[AgentId]) -> Vec<Versioned> {
    let mut records = Vec::new();
    for id in ids {
        records.push(fleet.until(*id, ended).await);
    }
    records
}

async fn spawn_many(node: &Node, count: usize, retries: u32) -> Vec<AgentId> {
    let mut ids = Vec::new();
    for n in 0..count {
        ids.push(spawn(&node.o, &format!("T-{n}"), retries).await);
    }
    ids
}

/// Of 20 tasks without retries every one is completed by the good node, each as its first attempt.
async fn the_other_does_it(part: Broken, failure: Failure) -> (Fleet, Node, Node) {
    let fleet = Fleet::new(Behaviour::EndAtOnce);
    fleet.world.knobs.breaks("bad", part, Some(failure));
    let bad = fleet.node("bad", 2);
    soon(|| bad.o.known_nodes().len() == 1).await;
    let good = fleet.node("good", 2);
    let ids = spawn_many(&bad, 20, 0).await;
    for record in all_end(&fleet, &ids).await {
        let agent = &record.agent;
        assert_eq!((agent.status(), agent.attempt), (Status::Completed, 1), "{:?}", agent.end());
        assert_eq!(record.home.as_ref().map(|node| node.as_str()), Some("good"));
    }
    (fleet, bad, good)
}

#[tokio::test(start_paused = true)]
async fn a_node_without_credentials_fails_nothing_and_takes_itself_out_of_service_until_it_has_them() {
    let (fleet, bad, good) = the_other_does_it(Broken::Fetch, refused()).await;
    soon(|| bad.o.cordoned().is_some_and(|cordon| cordon.by == ITSELF)).await;
    let nodes = fleet_nodes(&good).await;
    let reason = nodes.iter().find_map(|node| node.cordon.clone()).and_then(|cordon| cordon.reason);
    assert!(reason.as_deref().is_some_and(|why| why.contains("there are none")), "{reason:?}");
    assert!(good.o.cordoned().is_none());
    fleet.world.knobs.breaks("bad", Broken::Fetch, None);
    soon(|| bad.o.cordoned().is_none()).await;
    good.end(Stop::Now).await;
    let id = spawn(&bad.o, "T-later", 0).await;
    let record = fleet.until(id, ended).await;
    assert_eq!(record.agent.status(), Status::Completed);
    bad.end(Stop::Now).await;
}

async fn fleet_nodes(node: &Node) -> Vec<mosaic_core::ports::fleet::NodeState> {
    node.o.ports().fleet.nodes().await.expect("it is read")
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_confinement_fails_gives_every_task_to_others() {
    let failure = Failure::new(FailureKind::Internal, "the sandbox cannot be made");
    let (fleet, bad, good) = the_other_does_it(Broken::Sandbox, failure).await;
    let kinds = fleet.kinds().await;
    assert!(kinds.iter().any(|kind| kind == "agent.moved"), "{kinds:?}");
    bad.end(Stop::Now).await;
    good.end(Stop::Now).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_may_not_push_leaves_the_task_to_one_that_may() {
    let (_fleet, bad, good) = the_other_does_it(Broken::Push, refused()).await;
    bad.end(Stop::Now).await;
    good.end(Stop::Now).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_without_the_runtimes_program_takes_nothing_and_comes_back_once_it_is_there() {
    let missing = Failure::new(FailureKind::ProgramMissing, "no such program");
    let fleet = Fleet::new(Behaviour::EndAtOnce);
    let good = fleet.node("good", 2);
    soon(|| good.o.known_nodes().len() == 1).await;
    fleet.world.knobs.breaks("bad", Broken::Program, Some(missing));
    let bad = fleet.node("bad", 2);
    soon(|| {
        bad.o
            .cordoned()
            .is_some_and(|cordon| cordon.reason.is_some_and(|why| why.contains("no such program")))
    })
    .await;
    let ids = spawn_many(&bad, 20, 0).await;
    for record in all_end(&fleet, &ids).await {
        assert_eq!(
            (record.agent.status(), record.epoch.0),
            (Status::Completed, 1),
            "it was taken by the bad one"
        );
    }
    fleet.world.knobs.breaks("bad", Broken::Program, None);
    soon(|| bad.o.cordoned().is_none()).await;
    bad.end(Stop::Now).await;
    good.end(Stop::Now).await;
}

#[tokio::test(start_paused = true)]
async fn what_no_node_can_do_ends_with_every_nodes_reason() {
    let fleet = Fleet::new(Behaviour::EndAtOnce);
    for node in ["a", "b"] {
        fleet.world.knobs.breaks(node, Broken::Fetch, Some(refused()));
    }
    let (a, b) = (fleet.node("a", 1), fleet.node("b", 1));
    soon(|| a.o.known_nodes().len() == 2 && b.o.known_nodes().len() == 2).await;
    let id = spawn(&a.o, "T-1", 3).await;
    let end = fleet.until(id, ended).await;
    let end = end.agent.end().expect("it ended");
    assert_eq!((end.status, end.reason), (Status::Failed, EndReason::SetupFailed));
    let text = end.error.as_deref().unwrap_or_default();
    assert!(text.contains("and on node "), "{text}");
    a.end(Stop::Now).await;
    b.end(Stop::Now).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_alone_fails_at_once_what_it_cannot_do() {
    let fleet = Fleet::new(Behaviour::EndAtOnce);
    let missing = Failure::new(FailureKind::ProgramMissing, "no such program");
    fleet.world.knobs.breaks("only", Broken::Program, Some(missing));
    let only = fleet.node("only", 1);
    let id = spawn(&only.o, "T-1", 3).await;
    let record = fleet.until(id, ended).await;
    let end = record.agent.end().expect("it ended");
    assert_eq!((end.reason, record.agent.attempt), (EndReason::SetupFailed, 1));
    assert_eq!(end.error.as_deref(), Some("no such program"));
    assert!(only.o.cordoned().is_none());
    only.end(Stop::Now).await;
}

#[tokio::test(start_paused = true)]
async fn a_persons_word_stands_against_a_nodes_own() {
    let (fleet, bad, good) = the_other_does_it(Broken::Fetch, refused()).await;
    soon(|| bad.o.cordoned().is_some_and(|cordon| cordon.by == ITSELF)).await;
    bad.o.cordon(&bad.o.settings().node, None).await.expect("it is written");
    let kinds = fleet.kinds().await;
    // Ten looks of the node at its own health fit into this time, each of which could take it out of service.
    tokio::time::sleep(Duration::from_secs(50)).await;
    assert!(bad.o.cordoned().is_none(), "it took itself out of service again for the same");
    assert_eq!(fleet.kinds().await.len(), kinds.len());
    bad.o.cordon(&bad.o.settings().node, super::cordon(false)).await.expect("it is written");
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!(bad.o.cordoned().is_some_and(|cordon| cordon.by == "test"), "it lifted a person's cordon");
    bad.end(Stop::Now).await;
    good.end(Stop::Now).await;
}
