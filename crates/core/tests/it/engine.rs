//! Stories about the engine in a world of fakes: orders, interruptions and hand-overs in every order.

use std::sync::Arc;
use std::time::Duration;

use mosaic_core::domain::agent::{Phase, Status};
use mosaic_core::domain::lifecycle::KillCause;
use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::ports::store::{Query, Store};
use mosaic_core::stop::Stop;
use mosaic_testkit::fakes::knobs::Broken;
use mosaic_testkit::fakes::store::FakeStore;
use mosaic_testkit::fakes::world::Behaviour;
use mosaic_testkit::story::{PATIENCE, Story};

use crate::conditions::ended;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_run_to_their_pushed_branches_and_leave_nothing() {
    let mut story = Story::prepare(Arc::new(FakeStore::new()), 3, Behaviour::EndAtOnce, |_| {});
    story.run();
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(story.spawn_usual(&format!("T-{n}")).await);
    }
    for id in ids {
        let record = story.until(id, ended).await;
        assert_eq!(record.agent.status(), Status::Completed, "{:?}", record.agent.state);
        assert!(story.world.is_cleaned(id));
    }
    assert_eq!((story.world.pushed().len(), story.world.double_runs()), (20, 0));
    story.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_given_while_slots_fill_is_never_lost() {
    for round in 0..200 {
        let mut story = Story::prepare(Arc::new(FakeStore::new()), 4, Behaviour::RunOn, |_| {});
        for n in 0..4 {
            story.spawn_usual(&format!("T-{round}-{n}")).await;
        }
        // The engine begins with all four in the queue, so that its slots fill in the very moment of the order.
        story.run();
        if round % 2 == 0 {
            let report =
                tokio::time::timeout(PATIENCE, story.o.kill_all("test", None)).await.expect("kill-all ends");
            assert_eq!(
                (report.total, report.killed, report.failed),
                (4, 4, 0),
                "round {round}: {:?}",
                report.errors
            );
            let all = story.o.list(Query { limit: 10, ..Query::default() }).await.expect("listed");
            assert!(all.iter().all(|r| r.agent.status() == Status::Killed), "round {round}: {all:?}");
        }
        // A stop right after the slots filled must reach every driver, or the engine never ends.
        story.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_lost_between_lease_and_first_step_runs_after_the_restart() {
    let store: Arc<dyn Store> = Arc::new(FakeStore::new());
    let mut story = Story::prepare(Arc::clone(&store), 1, Behaviour::EndAtOnce, |_| {});
    let id = story.spawn_usual("T-1").await;
    let node = "here".parse().expect("a word");
    assert!(store.lease(&node, story.o.now()).await.expect("the store answers").is_some());
    story.run();
    let record = story.until(id, ended).await;
    assert_eq!((record.agent.status(), record.agent.attempt), (Status::Completed, 1));
    story.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_gives_running_agents_back_without_counting_and_the_next_engine_finishes_them() {
    let store: Arc<dyn Store> = Arc::new(FakeStore::new());
    let mut first = Story::prepare(Arc::clone(&store), 2, Behaviour::RunOn, |_| {});
    let id = first.spawn_usual("T-1").await;
    first.run();
    first.until(id, |r| r.agent.phase() == Phase::Working).await;
    first.end_by(Stop::Drain(Duration::ZERO)).await;
    let record = store.get(id).await.expect("it is there");
    assert_eq!((record.agent.phase(), record.agent.attempt, record.node), (Phase::Queued, 1, None));
    let mut second = Story::prepare(store, 2, Behaviour::EndAtOnce, |_| {});
    second.run();
    let record = second.until(id, ended).await;
    assert_eq!((record.agent.status(), record.agent.attempt), (Status::Completed, 1));
    second.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_lets_running_agents_finish() {
    let mut story = Story::prepare(Arc::new(FakeStore::new()), 1, Behaviour::RunOn, |_| {});
    let id = story.spawn_usual("T-1").await;
    story.run();
    story.until(id, |r| r.agent.phase() == Phase::Working).await;
    story.stop.send_replace(Stop::Drain(PATIENCE));
    story.world.release();
    let record = story.until(id, ended).await;
    assert_eq!(record.agent.status(), Status::Completed);
    story.end_by(Stop::Drain(PATIENCE)).await;
}

/// `mosaic run` without a server admits its task and then refuses others; the task still gets all its attempts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_admitted_before_new_work_is_refused_gets_all_its_attempts() {
    let mut story = Story::prepare(Arc::new(FakeStore::new()), 1, Behaviour::CrashAtOnce, |_| {});
    let id = story.spawn("T-1", "https://git.example.com/r.git", 1).await;
    story.o.refuse_new();
    story.run();
    story.until(id, |r| r.agent.phase() == Phase::Backoff).await;
    story.world.skip(Duration::from_secs(600));
    let record = story.until(id, ended).await;
    assert_eq!((record.agent.status(), record.agent.attempt), (Status::Failed, 2));
    story.end().await;
}

/// A verified stop of the jobs is not lost when the sandbox fails, and the kill is not called verified before it answers.
#[tokio::test(start_paused = true)]
async fn a_sandbox_that_fails_to_stop_leaves_the_kill_unverified_and_is_asked_again() {
    let mut story = Story::prepare(Arc::new(FakeStore::new()), 1, Behaviour::RunOn, |_| {});
    let node = story.o.settings().node.to_string();
    story.run();
    let id = story.spawn_usual("T-1").await;
    story.until(id, |r| r.agent.phase() == Phase::Working).await;
    let away = Failure::new(FailureKind::Internal, "the engine is away");
    story.world.knobs.breaks(&node, Broken::SandboxStop, Some(away));
    let killed = story.o.kill(id, KillCause::Operator, "by test").await.expect("the store answers");
    // The processes are dead, so the sandbox alone keeps the kill from being verified.
    assert!(!killed.confirmed && story.world.alive().is_empty());
    story.world.knobs.breaks(&node, Broken::SandboxStop, None);
    let killed = story.o.kill(id, KillCause::Operator, "by test").await.expect("the store answers");
    let receipt = killed.receipt.expect("it was stopped");
    assert!(killed.confirmed && receipt.container == "none", "{receipt:?}");
    assert_eq!(receipt.processes.map(|stop| stop.processes_before), Some(1));
    story.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_racing_completion_gives_one_ending_and_the_truth() {
    let rounds = std::env::var("MOSAIC_RACE_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(200);
    for round in 0..rounds {
        let mut story = Story::prepare(Arc::new(FakeStore::new()), 1, Behaviour::RunOn, |_| {});
        let id = story.spawn_usual("T-1").await;
        story.run();
        // In two of three rounds the kill meets a program at work, in the third one any step before that.
        if round % 3 > 0 {
            story.until(id, |r| r.agent.phase() == Phase::Working).await;
        }
        story.world.release();
        let killed = tokio::time::timeout(PATIENCE, story.o.kill(id, KillCause::Operator, "test"));
        let killed = killed.await.expect("the kill ends").expect("it works");
        let record = story.until(id, ended).await;
        assert!(killed.confirmed && killed.record.agent.is_terminal(), "round {round}");
        assert_eq!(
            killed.record.agent.status(),
            record.agent.status(),
            "round {round}: the caller was told something else"
        );
        let entries = story.o.ports().store.entries(0, 1000).await.expect("the log is read");
        let endings = entries
            .iter()
            .filter(|e| matches!(e.fact.kind(), "agent.completed" | "agent.failed" | "agent.killed"));
        assert_eq!(endings.count(), 1, "round {round}");
        assert!(story.world.alive().is_empty());
        story.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_queue_starts_nothing_and_goes_on_where_it_was() {
    let mut story = Story::prepare(Arc::new(FakeStore::new()), 2, Behaviour::EndAtOnce, |_| {});
    story.o.pause("test", None).await.expect("paused");
    let id = story.spawn_usual("T-1").await;
    story.run();
    let killed = story.spawn_usual("T-2").await;
    let report = story.o.kill(killed, KillCause::Operator, "test").await.expect("killed");
    let receipt = report.receipt.expect("it had not ended before");
    assert!(report.confirmed && receipt.processes.is_some_and(|found| found.processes_before == 0));
    assert_eq!(story.o.agent(id).await.expect("there").agent.phase(), Phase::Queued);
    story.o.resume("test").await.expect("resumed");
    assert_eq!(story.until(id, ended).await.agent.status(), Status::Completed);
    story.end().await;
}
