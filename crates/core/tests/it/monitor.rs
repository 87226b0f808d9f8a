//! Stories about the monitor: silence answered in stages, breakers, room on the machine, clocks that jump, and drivers
//! whose lease another node took.

use std::sync::Arc;
use std::time::Duration;

use mosaic_core::domain::agent::{Phase, Status};
use mosaic_core::domain::ids::{AgentId, Timestamp};
use mosaic_core::ports::processes::Usage;
use mosaic_core::ports::store::Store;
use mosaic_testkit::fakes::world::Behaviour;
use mosaic_testkit::story::Story;

use crate::conditions::{ended, store, working};

const A: &str = "https://git.example.com/a.git";
const HOUR: i64 = 3_600_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resources_of_a_live_agent_are_sampled() {
    let story = Story::begin(store(), 1, Behaviour::RunOn, |s| s.stall = Duration::from_secs(20));
    let usage = Usage {
        cpu: Duration::from_secs(3),
        memory_bytes: 5 << 20,
        processes: 2,
        read_bytes: 7,
        written_bytes: 9,
    };
    story.world.knobs.set_usage(usage);
    let id = story.spawn("T-1", A, 0).await;
    story.until(id, working).await;
    let look = async || Some(story.o.resources(id)).filter(|r| r.samples.len() > 1);
    let resources = story.soon(look).await;
    let last = resources.samples.last().expect("there is one");
    assert_eq!((last.cpu_ms, last.memory_bytes, last.processes), (3000, 5 << 20, 2));
    assert_eq!((last.written_bytes, last.disk_bytes, last.phase), (9, Some(4096), Phase::Working));
    assert!(resources.live && resources.last_event.is_some() && resources.in_phase.is_some());
    story.world.release();
    story.until(id, ended).await;
    story.soon(async || Some(()).filter(|()| !story.o.resources(id).live)).await;
    story.end().await;
}

/// Returns the times in the log of one agent. Those of several are written side by side.
async fn times(story: &Story, id: AgentId) -> Vec<Timestamp> {
    story.log().await.iter().filter(|e| e.fact.agent == Some(id)).map(|e| e.fact.at).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_times_nothing_out_and_the_log_never_goes_back() {
    for jump in [HOUR, -HOUR] {
        let story = Story::begin(store(), 2, Behaviour::RunOn, |_| {});
        let id = story.spawn("T-1", A, 3).await;
        let before = story.until(id, working).await;
        let deadline = before.agent.work.deadline.expect("it has one");
        story.world.knobs.jump(jump);
        // The other one is spawned, put into the queue and run wholly in the other time.
        let later = story.spawn("T-2", A, 3).await;
        story.until(later, working).await;
        let still = story.o.agent(id).await.expect("it is there");
        assert_eq!((still.agent.phase(), still.agent.work.deadline), (Phase::Working, Some(deadline)));
        story.world.release();
        for id in [id, later] {
            let record = story.until(id, ended).await;
            assert_eq!(record.agent.status(), Status::Completed, "jump {jump}: {:?}", record.agent.state);
        }
        // An attempt has an hour by default, and the jump is an hour too: a clock that counted it would leave
        // nothing.
        let left = story.o.agent(id).await.expect("it is there").agent.work.time_left_ms;
        assert!(left.is_none_or(|ms| ms > 3_500_000), "jump {jump}: the attempt has only {left:?} ms left");
        for id in [id, later] {
            let times = times(&story, id).await;
            assert!(
                times.len() > 5 && times.is_sorted(),
                "jump {jump}: the agent's log goes back: {times:?}"
            );
        }
        story.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backoff_ends_although_the_clock_was_set_back() {
    let story = Story::begin(store(), 1, Behaviour::CrashAtOnce, |_| {});
    let id = story.spawn("T-1", A, 1).await;
    story.until(id, |r| r.agent.phase() == Phase::Backoff).await;
    // A wait that went by the wall clock would now last an hour longer than any test waits.
    story.world.knobs.jump(-HOUR);
    story.world.behave(Behaviour::EndAtOnce);
    let record = story.until(id, ended).await;
    assert_eq!((record.agent.status(), record.agent.attempt), (Status::Completed, 2));
    story.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_lies_ahead_is_gone_on_with() {
    let store: Arc<dyn Store> = store();
    let first = Story::begin(Arc::clone(&store), 1, Behaviour::EndAtOnce, |_| {});
    first.world.knobs.jump(HOUR);
    let id = first.spawn("T-1", A, 0).await;
    first.until(id, ended).await;
    first.end().await;
    let second = Story::begin(Arc::clone(&store), 1, Behaviour::EndAtOnce, |_| {});
    let told = second.log().await.last().expect("there is a log").fact.at;
    second.soon(async || Some(()).filter(|()| second.o.now() >= told)).await;
    let id = second.spawn("T-2", A, 0).await;
    second.until(id, ended).await;
    let times: Vec<Timestamp> = second.log().await.iter().map(|e| e.fact.at).collect();
    assert!(times.is_sorted(), "the log goes back after the restart: {times:?}");
    second.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_whose_lease_was_taken_over_changes_nothing_any_more() {
    let store = store();
    let story = Story::begin(store.clone(), 1, Behaviour::RunOn, |_| {});
    let id = story.spawn("T-1", A, 3).await;
    story.until(id, working).await;
    // The next server of this node has adopted what runs.
    let here = "here".parse().expect("a word");
    let (_lease, taken) = store.take_over(id, &here).await.expect("it is leased");
    let version = taken.version;
    let logged = story.log().await.len();
    // What the old driver waits for comes late.
    story.world.release();
    story.soon(async || Some(()).filter(|()| !story.o.resources(id).live)).await;
    let now = store.get(id).await.expect("it is there");
    assert_eq!((now.version, now.epoch), (version, taken.epoch), "the old driver wrote state");
    assert_eq!(story.log().await.len(), logged, "the old driver logged something");
    assert!(story.world.pushed().is_empty(), "the old driver pushed");
    assert!(!story.world.is_cleaned(id), "the old driver took the new attempt's tree away");
    assert_eq!(story.world.stops(id), 0, "the old driver stopped the new attempt's processes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_node_took_over_is_ended_here() {
    let store = store();
    let story = Story::begin(store.clone(), 1, Behaviour::RunOn, |_| {});
    let id = story.spawn("T-1", A, 3).await;
    story.until(id, working).await;
    let there = "there".parse().expect("a word");
    store.take_over(id, &there).await.expect("it is leased");
    story.world.knobs.speak();
    story.world.release();
    story.soon(async || Some(()).filter(|()| story.world.stops(id) > 0)).await;
    assert!(story.world.pushed().is_empty() && !story.world.is_cleaned(id));
}
