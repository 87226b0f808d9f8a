//! Stories about the monitor: silence answered in stages, breakers, room on the machine, clocks that jump, and drivers
//! whose lease was taken over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mosaic_core::Orchestrator;
use mosaic_core::attention::{AnswerError, AttentionId};
use mosaic_core::dispatch_gate::Blocked;
use mosaic_core::domain::agent::{AttentionAnswer, AttentionKind, Phase, Status};
use mosaic_core::domain::ids::{AgentId, Timestamp};
use mosaic_core::domain::outcome::{EndReason, Failure, FailureKind};
use mosaic_core::domain::room::{Floors, Reading};
use mosaic_core::domain::stall::Stage;
use mosaic_core::limits;
use mosaic_core::monitor::state::Dispatch;
use mosaic_core::ports::processes::Usage;
use mosaic_core::ports::store::{Change, Safety, Store, Versioned};
use mosaic_testkit::fakes::knobs::Broken;
use mosaic_testkit::fakes::store::FakeStore;
use mosaic_testkit::fakes::world::Behaviour;
use mosaic_testkit::story::Story;

const A: &str = "https://git.example.com/a.git";
const B: &str = "https://git.example.com/b.git";
const HOUR: i64 = 3_600_000;

fn store() -> Arc<FakeStore> {
    Arc::new(FakeStore::new())
}

fn ended(record: &Versioned) -> bool {
    record.agent.is_terminal()
}

fn working(record: &Versioned) -> bool {
    record.agent.phase() == Phase::Working
}

fn stalled(record: &Versioned) -> bool {
    record.agent.attention.iter().any(|one| one.kind == AttentionKind::Stalled)
}

/// Returns the stages that were logged of an agent, and where its attention was cleared.
async fn stages(story: &Story, id: AgentId) -> Vec<String> {
    let of = |e: &mosaic_core::domain::journal::Entry| match e.fact.kind() {
        "agent.attention" => e.fact.data()["stage"].as_str().map(str::to_owned),
        "agent.attention_cleared" => Some("cleared".to_owned()),
        _ => None,
    };
    story.log().await.iter().filter(|e| e.fact.agent == Some(id)).filter_map(of).collect()
}

/// Returns what the machine has against one more agent.
fn capacity(o: &Orchestrator) -> Option<String> {
    match o.blocked() {
        Some(Blocked::Capacity(why)) => Some(why),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_agent_is_answered_in_stages_and_ended_within_the_ceiling() {
    let ceiling = Duration::from_secs(2);
    let story = Story::begin(store(), 1, Behaviour::RunOn, |s| s.stall = ceiling);
    let id = story.spawn("T-1", A, 0).await;
    story.until(id, working).await;
    let begun = Instant::now();
    let record = story.until(id, ended).await;
    let took = begun.elapsed();
    let end = record.agent.end().expect("it has ended");
    assert_eq!((end.status, end.reason), (Status::Failed, EndReason::Stalled), "{end:?}");
    assert!(end.error.as_deref().is_some_and(|e| e.contains("its processes do nothing")), "{end:?}");
    assert_eq!(stages(&story, id).await, ["notice", "nudge", "interrupt", "cleared"]);
    let told: Vec<String> = story.world.knobs.told().into_iter().map(|(_, text)| text).collect();
    assert!(told.len() == 2 && told[0].starts_with("nudge: You have said nothing"), "{told:?}");
    assert_eq!(told[1], "interrupt\n");
    assert!(took <= ceiling + Duration::from_secs(1), "it took {took:?}");
    println!("ended {} ms after the ceiling of {ceiling:?} began to count", took.as_millis());
    story.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_goes_on_is_left_alone_and_its_attention_is_cleared() {
    let story = Story::begin(store(), 1, Behaviour::RunOn, |s| s.stall = Duration::from_secs(4));
    let id = story.spawn("T-1", A, 0).await;
    story.until(id, stalled).await;
    assert_eq!(story.o.state().await.expect("it is read").stalled, 1);
    assert_eq!(story.o.resources(id).stall, Stage::Notice);
    story.world.knobs.speak();
    let record = story.until(id, |r| !stalled(r)).await;
    assert_eq!(record.agent.phase(), Phase::Working);
    assert_eq!(stages(&story, id).await, ["notice", "cleared"]);
    story.world.release();
    let record = story.until(id, ended).await;
    assert_eq!(record.agent.status(), Status::Completed, "{:?}", record.agent.state);
    story.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_agent_is_waited_for_when_a_person_answers_so_and_late_answers_are_refused() {
    let story = Story::begin(store(), 1, Behaviour::RunOn, |s| s.stall = Duration::from_secs(8));
    let id = story.spawn("T-1", A, 0).await;
    let record = story.until(id, stalled).await;
    assert_eq!(story.o.attention().await.expect("it is read").len(), 1);
    let open = AttentionId::of(&record.agent, &record.agent.attention[0]);
    let answer = async |id, answer| story.o.answer_attention(id, answer, "operator/alice", "a test").await;
    let earlier = AttentionId { since: Timestamp(1), ..open };
    let refused = answer(earlier, AttentionAnswer::Wait).await.expect_err("another decision");
    assert!(matches!(refused, AnswerError::Closed { .. }), "{refused}");
    let done = answer(open, AttentionAnswer::Wait).await.expect("it is open");
    assert!(done.changed && done.record.agent.attention.is_empty(), "{:?}", done.record.agent.attention);
    assert!(story.o.attention().await.expect("it is read").is_empty());
    let again = answer(open, AttentionAnswer::Wait).await.expect("the same answer again");
    assert!(!again.changed);
    let refused = answer(open, AttentionAnswer::Kill).await.expect_err("it was answered otherwise");
    assert!(refused.to_string().contains("operator/alice answered \"wait\""), "{refused}");
    assert_eq!(story.o.agent(id).await.expect("it lives").agent.phase(), Phase::Working);

    let record = story.until(id, stalled).await;
    let next = AttentionId::of(&record.agent, &record.agent.attention[0]);
    assert_ne!(next, open);
    assert!(answer(next, AttentionAnswer::Kill).await.expect("it is open").changed);
    story.until(id, ended).await;
    assert!(!answer(next, AttentionAnswer::Kill).await.expect("the same answer again").changed);
    let refused = answer(next, AttentionAnswer::Wait).await.expect_err("it has ended");
    assert!(refused.to_string().contains("has ended (killed)"), "{refused}");
    story.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_attempt_is_repeated() {
    let story = Story::begin(store(), 1, Behaviour::RunOn, |s| s.stall = Duration::from_secs(1));
    let id = story.spawn("T-1", A, 1).await;
    story.until(id, |r| r.agent.phase() == Phase::Backoff).await;
    // Nothing is logged when its slot is free again.
    let record = story.soon(async || story.o.agent(id).await.ok().filter(|r| r.node.is_none())).await;
    assert_eq!(record.agent.attempt, 1);
    assert!(story.world.alive().is_empty(), "the silent program lives on");
    story.end().await;
}

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

/// The name of the one node of these stories.
fn node(story: &Story) -> String {
    story.o.settings().node.to_string()
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
    let floors = Floors { memory_bytes: 100 << 20, load_per_core: 0.0 };
    let story = Story::begin(store(), 2, Behaviour::EndAtOnce, |s| s.floors = floors);
    story.world.knobs.set_reading(Reading { memory_bytes: Some(10 << 20), load_per_core: None });
    // The engine may have asked before the machine became narrow.
    let why = story.soon(async || capacity(&story.o)).await;
    assert!(why.starts_with("memory: 10 MiB available"), "{why}");
    let id = story.spawn("T-1", A, 0).await;
    let state = story.o.state().await.expect("it is read");
    assert_eq!((state.dispatch, state.held), (Dispatch::Held, Some(why.clone())));
    let detail = story.o.ready().await.into_iter().find(|check| check.name == "dispatcher");
    assert!(detail.is_some_and(|check| check.ok && check.detail.contains(&why)));
    assert_eq!(story.o.agent(id).await.expect("it is there").agent.attempt, 0);
    story.world.knobs.set_reading(Reading { memory_bytes: Some(1 << 30), load_per_core: None });
    let record = story.until(id, ended).await;
    assert_eq!(record.agent.status(), Status::Completed);
    story.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn above_the_load_ceiling_one_agent_runs_at_a_time() {
    let floors = Floors { memory_bytes: 0, load_per_core: 1.0 };
    let story = Story::begin(store(), 4, Behaviour::RunOn, |s| s.floors = floors);
    story.world.knobs.set_reading(Reading { memory_bytes: None, load_per_core: Some(5.0) });
    story.soon(async || story.o.reading().load_per_core).await;
    let (first, second) = (story.spawn("T-1", A, 0).await, story.spawn("T-2", A, 0).await);
    story.until(first, working).await;
    story.soon(async || capacity(&story.o)).await;
    assert_eq!(story.o.agent(second).await.expect("it is there").agent.phase(), Phase::Queued);
    story.world.knobs.set_reading(Reading { memory_bytes: None, load_per_core: Some(0.5) });
    story.until(second, working).await;
    story.world.release();
    story.until(second, ended).await;
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

/// Returns the middle and the last but one in a hundred.
fn spread(mut all: Vec<Duration>) -> (Duration, Duration) {
    all.sort_unstable();
    (all[all.len() / 2], all[(all.len() * 99).div_ceil(100) - 1])
}

/// Measures the delay with which agents are ended after their time: many at once, as many as `MOSAIC_OVERRUN_AGENTS` says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_silence_nor_the_deadline_is_overrun() {
    let agents = std::env::var("MOSAIC_OVERRUN_AGENTS").map_or(20, |text| text.parse().expect("a number"));
    let time = Duration::from_secs(2);
    for (name, stall, reason) in
        [("silence", time, EndReason::Stalled), ("deadline", limits::STALL, EndReason::Timeout)]
    {
        let store = store();
        let story = Story::begin(store.clone(), agents, Behaviour::RunOn, |s| s.stall = stall);
        story.o.pause("test", None).await.expect("paused");
        let mut ids = Vec::new();
        for n in 0..agents {
            let id = story.spawn(&format!("T-{n}"), A, 0).await;
            // As if most of the attempt's time were used; nobody may ask for so little.
            let mut record = store.get(id).await.expect("it is there");
            record.agent.work.time_left_ms = (name == "deadline").then_some(2000);
            let change = Change { safety: Safety::Process, agent: record.agent, facts: Vec::new() };
            let written = store.amend(vec![(record.version, change)]).await.expect("the store answers");
            assert!(written.iter().all(Result::is_ok), "{written:?}");
            ids.push(id);
        }
        story.o.resume("test").await.expect("resumed");
        let mut late = Vec::new();
        for id in ids {
            let record = story.until(id, ended).await;
            let end = record.agent.end().expect("it has ended");
            assert_eq!(end.reason, reason, "{end:?}");
            let ran = end.at.since(record.agent.started_at.expect("it ran"));
            late.push(ran.saturating_sub(time));
        }
        let (middle, p99) = spread(late);
        println!("{name}: {agents} agents ended {middle:?} after their time, p99 {p99:?}");
        assert!(p99 <= Duration::from_secs(1), "{name}: p99 {p99:?}");
        story.end().await;
    }
}
