//! Step 9, publish: the push, and the truth about it.

use std::sync::Arc;

use mosaic_core::caretaker::Rounds;
use mosaic_core::domain::agent::Status;
use mosaic_core::domain::ids::AgentId;
use mosaic_core::domain::lifecycle::KillCause;
use mosaic_core::domain::publication::Publication;
use mosaic_testkit::fakes::store::FakeStore;
use mosaic_testkit::fakes::world::{Behaviour, RemoteMood};
use mosaic_testkit::story::{PATIENCE, Story};

use super::*;

/// Kills an agent in the middle of its push and returns what is known of it then.
async fn killed_while_pushing(story: &Story, mood: RemoteMood) -> (AgentId, Publication) {
    story.world.remote_is(mood);
    // A push that hangs is certain to be met half way by the kill.
    story.world.hang_pushes(true);
    let id = story.spawn_usual("T-1").await;
    tokio::time::timeout(PATIENCE, story.world.push_begun()).await.expect("a push is begun");
    let killed = story.o.kill(id, KillCause::Operator, "by test").await.expect("the store answers");
    let told = killed.receipt.expect("it was killed now").publication;
    let record = story.until(id, ended).await;
    assert_eq!((record.agent.status(), &record.agent.work.publication), (Status::Killed, &told));
    (id, told)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remote_that_could_not_be_asked_about_a_push_is_asked_again() {
    let mut story = Story::prepare(Arc::new(FakeStore::new()), 1, Behaviour::EndAtOnce, |_| {});
    story.run();
    let (id, told) = killed_while_pushing(&story, RemoteMood::Silent).await;
    assert!(told.is_open(), "{told:?}");
    let mut rounds = Rounds::default();
    story.o.care_round(&mut rounds).await;
    assert!(story.o.agent(id).await.unwrap().agent.work.publication.is_open(), "nobody has answered yet");
    story.world.remote_is(RemoteMood::Honest);
    story.o.care_round(&mut rounds).await;
    let work = story.o.agent(id).await.unwrap().agent.work;
    assert!(
        matches!(&work.publication, Publication::There { commit } if work.pushed.as_ref() == Some(commit))
    );
    let told = story.o.ports().store.entries(0, 1000).await.unwrap();
    assert_eq!(told.iter().filter(|entry| entry.fact.kind() == "git.pushed").count(), 1);
    story.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_that_was_broken_off_counts_as_lost_only_when_it_cannot_arrive_any_more() {
    let mut story = Story::prepare(Arc::new(FakeStore::new()), 1, Behaviour::EndAtOnce, |_| {});
    story.run();
    let (id, told) = killed_while_pushing(&story, RemoteMood::Honest).await;
    assert!(told.is_open(), "a remote may still be taking it in: {told:?}");
    let mut rounds = Rounds::default();
    story.o.care_round(&mut rounds).await;
    assert!(story.o.agent(id).await.unwrap().agent.work.publication.is_open());
    story.world.skip(mosaic_core::limits::PUSH_ARRIVES);
    story.o.care_round(&mut rounds).await;
    let work = story.o.agent(id).await.unwrap().agent.work;
    assert!(matches!(work.publication, Publication::NotThere { .. }) && work.pushed.is_none());
    story.end().await;
}
