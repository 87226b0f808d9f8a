//! Step 6, supervise: silence answered in stages, and the deadline.

use std::time::{Duration, Instant};

use mosaic_core::attention::{AnswerError, AttentionId};
use mosaic_core::domain::agent::{AttentionAnswer, AttentionKind, Phase, Status};
use mosaic_core::domain::ids::{AgentId, Timestamp};
use mosaic_core::domain::outcome::EndReason;
use mosaic_core::domain::stall::Stage;
use mosaic_core::limits;
use mosaic_core::ports::store::{Change, Safety, Store, Versioned};
use mosaic_testkit::fakes::world::Behaviour;
use mosaic_testkit::story::Story;

use super::*;

/// Returns the middle and the last but one in a hundred.
fn spread(mut all: Vec<Duration>) -> (Duration, Duration) {
    all.sort_unstable();
    (all[all.len() / 2], all[(all.len() * 99).div_ceil(100) - 1])
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
        // While the queue is paused no driver holds a record, so each can be changed below, and all agents
        // start together.
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
