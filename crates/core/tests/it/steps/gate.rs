//! Step 8, gate: the commit is judged before it is pushed.

use mosaic_core::domain::agent::Status;
use mosaic_core::domain::outcome::{EndReason, Failure, FailureKind};
use mosaic_testkit::fakes::knobs::Broken;
use mosaic_testkit::fakes::world::Behaviour;
use mosaic_testkit::story::Story;

use super::{A, ended, store};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_its_gates_goes_back_as_often_as_asked_and_is_never_pushed() {
    let mut story = Story::prepare(store(), 1, Behaviour::EndAtOnce, |_| {});
    let node = story.o.settings().node.to_string();
    story.world.knobs.breaks(&node, Broken::Gate, Some(Failure::new(FailureKind::Internal, "red")));
    story.run();
    let id = story.spawn("T-1", A, 0).await;
    let agent = story.until(id, ended).await.agent;
    let end = agent.end().expect("it has ended");
    assert_eq!((end.status, end.reason), (Status::Failed, EndReason::GatesFailed));
    // The first run, and one for each round.
    assert_eq!((agent.fix_round, agent.runs), (agent.spec.max_fix_rounds, agent.spec.max_fix_rounds + 1));
    assert!(story.world.pushed().is_empty() && story.world.is_cleaned(id));
    story.end().await;
}
