//! Step 2, lease: what a free slot takes, and why it takes nothing.

use std::collections::BTreeMap;

use mosaic_core::Orchestrator;
use mosaic_core::dispatch_gate::Blocked;
use mosaic_core::domain::agent::{Phase, Status};
use mosaic_core::domain::capacity::{CapacityLimits, HostLoad};
use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::limits;
use mosaic_core::monitor::state::Dispatch;
use mosaic_testkit::fakes::knobs::Broken;
use mosaic_testkit::fakes::world::Behaviour;
use mosaic_testkit::story::Story;

use super::*;

/// The name of the one node of these stories.
fn node(story: &Story) -> String {
    story.o.settings().node.to_string()
}

/// Returns what the machine has against one more agent.
fn capacity(o: &Orchestrator) -> Option<String> {
    match o.blocked() {
        Some(Blocked::Capacity(why)) => Some(why),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_breaker_holds_up_its_repository_and_no_other() {
    let story = Story::begin(store(), 1, Behaviour::EndAtOnce, |_| {});
    let (here, away) = (node(&story), Failure::new(FailureKind::Network, "no route to the remote"));
    story.world.knobs.breaks(&here, Broken::Fetch, Some(away));
    for n in 0..limits::BREAKER_FAILURES {
        let id = story.spawn(&format!("T-{n}"), A, 0).await;
        story.until(id, ended).await;
    }
    story.world.knobs.breaks(&here, Broken::Fetch, None);
    let held = [story.spawn("T-10", A, 0).await, story.spawn("T-11", A, 0).await];
    let other = story.spawn("T-20", B, 0).await;
    let record = story.until(other, ended).await;
    assert_eq!(record.agent.status(), Status::Completed, "another repository was held up");
    for (place, id) in held.into_iter().enumerate() {
        let record = story.o.agent(id).await.expect("it is there");
        let agent = &record.agent;
        assert_eq!((agent.phase(), agent.attempt, agent.not_before()), (Phase::Queued, 0, None));
        assert_eq!((record.version, record.epoch.0), (1, 0), "it was taken and put back");
        let position = story.o.ports().store.position(id).await.expect("it is read");
        assert_eq!(position, Some(place as u64), "it lost its place");
        let why = story.o.held_here(agent, &BTreeMap::new()).expect("a reason");
        assert!(why.contains("breaker for fetching from") && why.contains("no route to the remote"), "{why}");
    }
    let state = story.o.state().await.expect("it is read");
    assert_eq!(state.breakers.len(), 1, "{:?}", state.breakers);
    assert_eq!((state.breakers[0].state.as_str(), state.breakers[0].part.repository()), ("open", Some(A)));
    let kinds: Vec<String> = story.log().await.into_iter().map(|e| e.fact.kind().to_owned()).collect();
    assert_eq!(kinds.iter().filter(|kind| *kind == "breaker.opened").count(), 1);
    story.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_one_repository_no_more_run_at_once_than_may_and_others_pass() {
    use mosaic_core::domain::lifecycle::KillCause;
    let story = Story::begin(store(), 3, Behaviour::RunOn, |settings| settings.repository_slots = Some(1));
    let first = story.spawn("T-1", A, 0).await;
    story.until(first, working).await;
    let second = story.spawn("T-2", A, 0).await;
    let other = story.spawn("T-3", B, 0).await;
    // T-3 was admitted after T-2. Once it works, T-2 was passed over and is not merely waiting for its turn.
    story.until(other, working).await;
    let record = story.o.agent(second).await.expect("it is there");
    assert_eq!((record.agent.phase(), record.epoch.0), (Phase::Queued, 0), "it was taken");
    let why = story.o.held_here(&record.agent, &BTreeMap::new()).expect("a reason");
    assert!(why.contains("MOSAIC_REPOSITORY_SLOTS"), "{why}");
    story.o.kill(first, KillCause::Operator, "test").await.expect("killed");
    story.until(second, working).await;
    story.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_crash_hold_up_no_other_task_of_their_repository() {
    let story = Story::begin(store(), 1, Behaviour::CrashAtOnce, |_| {});
    for n in 0..limits::BREAKER_FAILURES * 2 {
        let id = story.spawn(&format!("T-{n}"), A, 0).await;
        story.until(id, ended).await;
    }
    assert_eq!(story.o.state().await.expect("it is read").breakers, []);
    story.world.behave(Behaviour::EndAtOnce);
    let id = story.spawn("T-good", A, 0).await;
    let record = story.until(id, ended).await;
    assert_eq!((record.agent.status(), record.agent.attempt, record.epoch.0), (Status::Completed, 1, 1));
    story.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_and_work_that_is_refused_open_no_breaker() {
    use mosaic_core::domain::lifecycle::KillCause;
    let story = Story::begin(store(), 1, Behaviour::RunOn, |_| {});
    for n in 0..limits::BREAKER_FAILURES + 2 {
        let id = story.spawn(&format!("T-{n}"), A, 0).await;
        story.until(id, working).await;
        story.o.kill(id, KillCause::Operator, "test").await.expect("killed");
    }
    assert_eq!(story.o.state().await.expect("it is read").breakers, []);
    story.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn below_the_memory_floor_nothing_starts_and_it_goes_on_by_itself() {
    let limits = CapacityLimits { memory_bytes: 100 << 20, load_per_core: 0.0 };
    let story = Story::begin(store(), 2, Behaviour::EndAtOnce, |s| s.capacity = limits);
    story.world.knobs.set_host_load(HostLoad { memory_bytes: Some(10 << 20), load_per_core: None });
    // The engine may have asked before the machine became narrow.
    let why = story.soon(async || capacity(&story.o)).await;
    assert!(why.starts_with("memory: 10 MiB available"), "{why}");
    let id = story.spawn("T-1", A, 0).await;
    let state = story.o.state().await.expect("it is read");
    assert_eq!((state.dispatch, state.held), (Dispatch::Held, Some(why.clone())));
    let detail = story.o.ready().await.into_iter().find(|check| check.name == "dispatcher");
    assert!(detail.is_some_and(|check| check.ok && check.detail.contains(&why)));
    assert_eq!(story.o.agent(id).await.expect("it is there").agent.attempt, 0);
    story.world.knobs.set_host_load(HostLoad { memory_bytes: Some(1 << 30), load_per_core: None });
    let record = story.until(id, ended).await;
    assert_eq!(record.agent.status(), Status::Completed);
    story.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn above_the_load_ceiling_one_agent_runs_at_a_time() {
    let limits = CapacityLimits { memory_bytes: 0, load_per_core: 1.0 };
    let story = Story::begin(store(), 4, Behaviour::RunOn, |s| s.capacity = limits);
    story.world.knobs.set_host_load(HostLoad { memory_bytes: None, load_per_core: Some(5.0) });
    story.soon(async || story.o.host_load().load_per_core).await;
    let (first, second) = (story.spawn("T-1", A, 0).await, story.spawn("T-2", A, 0).await);
    story.until(first, working).await;
    story.soon(async || capacity(&story.o)).await;
    assert_eq!(story.o.agent(second).await.expect("it is there").agent.phase(), Phase::Queued);
    story.world.knobs.set_host_load(HostLoad { memory_bytes: None, load_per_core: Some(0.5) });
    story.until(second, working).await;
    story.world.release();
    story.until(second, ended).await;
    story.end().await;
}
