//! Freezing in a world of fakes: what stands still, what goes on, and that a kill works all the same.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use mosaic_core::domain::agent::{Phase, Status};
use mosaic_core::domain::ids::AgentId;
use mosaic_core::domain::lifecycle::KillCause;
use mosaic_core::freeze::FreezeError;
use mosaic_testkit::fakes::store::FakeStore;
use mosaic_testkit::fakes::world::Behaviour;
use mosaic_testkit::story::{PATIENCE, Story};

fn begin() -> Story {
    Story::begin(Arc::new(FakeStore::new()), 1, Behaviour::RunOn, |_| {})
}

/// Spawns an agent and waits until it works.
async fn working(story: &Story, task: &str) -> AgentId {
    let id = story.spawn_usual(task).await;
    story.until(id, |r| r.agent.phase() == Phase::Working).await;
    id
}

/// Returns the kinds of the facts about freezing, in order.
async fn kinds(story: &Story) -> Vec<String> {
    let kinds = story.log().await.into_iter().map(|entry| entry.fact.kind().to_owned());
    kinds.filter(|kind| kind.ends_with("en") || kind.ends_with("wed")).collect()
}

#[tokio::test]
async fn a_frozen_agent_takes_no_further_step_until_it_is_thawed() {
    let story = begin();
    let id = working(&story, "T-1").await;
    assert!(story.o.freeze(id, "by a test").await.unwrap().changed);
    let again = story.o.freeze(id, "by a test").await.unwrap();
    assert!(again.frozen && !again.changed && story.o.is_frozen(id));
    assert_eq!(story.world.frozen(), [id]);
    // A program that ends all the same, as one that ended in this very moment: what follows waits.
    story.world.release();
    story.until(id, |r| r.agent.phase() == Phase::Committing).await;
    // No event says that something does not happen, so the test waits for a time, in which a thawed agent
    // would be done.
    let goes_on = story.until(id, |r| r.agent.is_terminal());
    assert!(tokio::time::timeout(Duration::from_millis(200), goes_on).await.is_err(), "it goes on");
    assert!(story.o.thaw(id, "by a test").await.unwrap().changed);
    assert!(!story.o.thaw(id, "by a test").await.is_ok_and(|thawed| thawed.changed));
    let record = story.until(id, |r| r.agent.is_terminal()).await;
    assert_eq!(record.agent.status(), Status::Completed);
    assert_eq!(kinds(&story).await, ["agent.frozen", "agent.thawed"]);
    story.end().await;
}

#[tokio::test]
async fn a_kill_ends_a_frozen_agent() {
    let story = begin();
    let id = working(&story, "T-1").await;
    story.o.freeze(id, "by a test").await.unwrap();
    let killed = story.o.kill(id, KillCause::Operator, "by a test").await.unwrap();
    assert!(killed.confirmed && killed.record.agent.status() == Status::Killed);
    assert!(!story.o.is_frozen(id) && story.world.alive().is_empty());
    story.end().await;
}

#[tokio::test]
async fn what_does_not_run_cannot_be_frozen() {
    let story = begin();
    let running = working(&story, "T-1").await;
    let waiting = story.spawn_usual("T-2").await;
    let refused = story.o.freeze(waiting, "by a test").await.unwrap_err();
    assert!(matches!(&refused, FreezeError::NotRunning { phase, .. } if phase == "queued"), "{refused}");
    story.o.kill(running, KillCause::Operator, "by a test").await.unwrap();
    assert!(matches!(story.o.thaw(running, "by a test").await, Err(FreezeError::NotRunning { .. })));
    story.end().await;
}

#[tokio::test]
async fn a_thaw_that_is_ordered_while_the_program_is_being_frozen_is_what_counts() {
    let story = begin();
    let id = working(&story, "T-1").await;
    story.world.hold_freezes(true);
    let o = Arc::clone(&story.o);
    let freeze = tokio::spawn(async move { o.freeze(id, "by a test").await });
    tokio::time::timeout(PATIENCE, story.world.freezes(1)).await.expect("the freeze begins");
    let mut thaw = Box::pin(story.o.thaw(id, "by a test"));
    // It goes as far as it can before the freeze does.
    let waits = poll_fn(|context| Poll::Ready(thaw.as_mut().poll(context).is_pending())).await;
    assert!(waits, "it overtook the freeze");
    story.world.hold_freezes(false);
    assert!(freeze.await.unwrap().unwrap().frozen);
    assert!(thaw.as_mut().await.unwrap().changed);
    drop(thaw);
    assert!(story.world.frozen().is_empty() && !story.o.is_frozen(id));
    story.end().await;
}
