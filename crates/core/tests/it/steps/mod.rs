//! Each step of a task's life in a world of fakes, one file per step as in `src/steps`.

mod admit;
mod checkout;
mod commit;
mod confine;
mod gate;
mod launch;
mod lease;
mod publish;
mod settle;
mod supervise;

use std::time::Duration;

use mosaic_core::domain::agent::{QueueCause, State, Status};
use mosaic_core::domain::ids::AgentId;
use mosaic_core::domain::outcome::Failure;
use mosaic_core::ports::store::Versioned;
use mosaic_testkit::fakes::knobs::Broken;
use mosaic_testkit::fakes::world::Behaviour;
use mosaic_testkit::story::Story;

use crate::conditions::{ended, store, working};

const A: &str = "https://git.example.com/a.git";
const B: &str = "https://git.example.com/b.git";

/// Returns the failure after which an agent waits in the queue.
fn waits_for(record: &Versioned) -> Option<Failure> {
    match &record.agent.state {
        State::Queued { cause: QueueCause::Backoff { failure, .. } } => Some(failure.clone()),
        _ => None,
    }
}

/// Plays an agent whose first attempt fails at a broken part of its node: nothing of it runs on, the failure stands in the record,
/// and the second attempt completes once the part works and leaves nothing. Returns the story and the agent.
async fn fails_once(part: Broken, failure: &Failure) -> (Story, AgentId) {
    let mut story = Story::prepare(store(), 1, Behaviour::EndAtOnce, |_| {});
    let node = story.o.settings().node.to_string();
    story.world.knobs.breaks(&node, part, Some(failure.clone()));
    story.run();
    let id = story.spawn("T-1", A, 1).await;
    // The phase is shown while the attempt is still being released, and that it is over stands in no log.
    let waits_for = story.soon(async || waits_for(&story.o.agent(id).await.expect("it is there"))).await;
    assert_eq!(waits_for.kind, failure.kind);
    assert!(waits_for.message.ends_with(&failure.message), "{}", waits_for.message);
    assert!(story.world.alive().is_empty() && story.world.pushed().is_empty());
    story.world.knobs.breaks(&node, part, None);
    story.world.skip(Duration::from_secs(600));
    let record = story.until(id, ended).await;
    assert_eq!((record.agent.status(), record.agent.attempt), (Status::Completed, 2));
    assert!(story.world.is_cleaned(id));
    (story, id)
}

/// Plays an agent that fails for good at a broken part of its node; returns its end's words.
async fn fails_for_good(part: Broken, failure: &Failure) -> (Story, Versioned) {
    let mut story = Story::prepare(store(), 1, Behaviour::EndAtOnce, |_| {});
    let node = story.o.settings().node.to_string();
    story.world.knobs.breaks(&node, part, Some(failure.clone()));
    story.run();
    let id = story.spawn("T-1", A, 3).await;
    let record = story.until(id, ended).await;
    assert_eq!((record.agent.status(), record.agent.attempt), (Status::Failed, 1));
    assert!(story.world.is_cleaned(id) && story.world.pushed().is_empty());
    (story, record)
}
