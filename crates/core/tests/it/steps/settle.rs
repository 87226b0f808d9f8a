//! Step 10, settle: everything is released, and the end stands in the record.

use std::sync::Arc;

use mosaic_core::domain::agent::{Phase, Status};
use mosaic_core::domain::lifecycle::KillCause;
use mosaic_core::steps::unwind::CleanUp;
use mosaic_testkit::fakes::store::FakeStore;
use mosaic_testkit::fakes::world::{Behaviour, Stuck};
use mosaic_testkit::story::Story;

use super::*;

/// Remains that cannot be cleaned up neither keep the slot nor are forgotten, and are gone once they can be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_up_that_fails_blocks_nothing_and_is_repeated() {
    for what in [Stuck::Removal, Stuck::Salvage] {
        let mut story = Story::prepare(Arc::new(FakeStore::new()), 1, Behaviour::RunOn, |_| {});
        story.world.stick(what);
        story.run();
        let id = story.spawn_usual("T-1").await;
        story.until(id, |r| r.agent.phase() == Phase::Working).await;
        assert_eq!(story.o.clean_up_again(id).await.expect("read"), CleanUp::Active);
        story.o.kill(id, KillCause::Operator, "by test").await.expect("killed");
        let agent = story.until(id, ended).await.agent;
        assert_eq!(agent.status(), Status::Killed);
        let pending = agent.work.cleanup_pending.clone().expect("it says what is left");
        assert!(!story.world.is_cleaned(id) && agent.work.dirty == (what == Stuck::Salvage), "{pending}");
        // The only slot is free.
        let next = story.spawn_usual("T-2").await;
        story.until(next, |r| r.agent.phase() == Phase::Working).await;
        assert_eq!(story.o.clean_up_again(id).await.expect("tried"), CleanUp::Pending(pending));
        story.world.stick(Stuck::Nothing);
        // The second time nothing is left to do, and nothing may change: a clean-up can be repeated after
        // every crash.
        for _ in 0..2 {
            assert_eq!(story.o.clean_up_again(id).await.expect("tried"), CleanUp::Done);
            let agent = story.o.agent(id).await.expect("there").agent;
            assert_eq!((agent.status(), &agent.work.cleanup_pending), (Status::Killed, &None));
            assert!(agent.work.salvage.is_some() && !agent.work.dirty && story.world.is_cleaned(id));
        }
        story.end().await;
    }
}
