//! Step 7, commit: the work is received, all of it.

use std::sync::Arc;

use mosaic_core::domain::agent::Status;
use mosaic_core::restore::WorkPlace;
use mosaic_testkit::fakes::store::FakeStore;
use mosaic_testkit::fakes::world::Behaviour;
use mosaic_testkit::story::Story;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_beside_a_pushed_commit_stands_in_the_record() {
    let mut story = Story::prepare(Arc::new(FakeStore::new()), 1, Behaviour::EndAtOnce, |_| {});
    story.run();
    let plain = story.spawn_usual("T-1").await;
    let plain = story.until(plain, ended).await.agent;
    assert_eq!((plain.work.salvage, plain.work.salvage_beside), (None, false));
    story.world.leave_beside();
    let id = story.spawn_usual("T-2").await;
    let agent = story.until(id, ended).await.agent;
    assert_eq!(agent.status(), Status::Completed);
    assert!(agent.work.salvage.is_some() && agent.work.salvage_beside && !agent.work.dirty);
    assert!(agent.work.pushed.is_some() && story.world.is_cleaned(id));
    assert!(Box::pin(story.o.restore(id, WorkPlace::Last)).await.expect("restored").salvage.is_some());
    story.end().await;
}
