//! The lifecycle whole: every state against every event (the table in ARCHITECTURE.md), and random histories.

mod waits;

use mosaic_core::domain::agent::{
    Agent, AnsweredAttention, AttentionAnswer, AttentionKind, End, Ending, QueueCause, State, Status, Turn,
};
use mosaic_core::domain::blame::Part;
use mosaic_core::domain::gates::{GatePlan, GateReport, Verdict};
use mosaic_core::domain::ids::{AgentId, CommitId, Timestamp};
use mosaic_core::domain::job::WorkerResult;
use mosaic_core::domain::lifecycle::{Elsewhere, Event, KillCause, Now, Salvage, next, state_name};
use mosaic_core::domain::outcome::{EndReason, Failure, FailureKind, Outcome};
use mosaic_core::domain::publication::{Publication, RemoteLook};
use mosaic_core::domain::quota::Reset;
use mosaic_core::domain::spec::{Budget, SpawnSpec};
use mosaic_core::domain::spent::Spent;
use mosaic_core::domain::stall::Stage;
use mosaic_core::limits;
use proptest::prelude::*;
use serde_json::json;

fn agent(kind: &str) -> Agent {
    let body = json!({"taskId": "T-1", "agentType": kind, "maxRetries": 2, "maxFixRounds": 2,
        "context": {"repository": "https://git.example.com/r.git", "branch": "main", "workItems": ["x"]}});
    let spec = SpawnSpec::parse(&body).unwrap();
    let id: AgentId = "7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a".parse().unwrap();
    Agent::admitted(id, spec, "mosaic", None, Timestamp(1_000))
}

fn commit(digit: char) -> CommitId {
    digit.to_string().repeat(40).parse().unwrap()
}

fn now() -> Now {
    Now { at: Timestamp(2_000), dice: 0.5 }
}

fn report(verdict: Verdict) -> GateReport {
    GateReport { verdict, ..GateReport::new(commit('c'), Vec::new(), &GatePlan::default()) }
}

fn crash() -> Failure {
    Failure::new(FailureKind::Crash, "it crashed")
}

fn node_failed(node: &str, elsewhere: Elsewhere) -> Event {
    Event::NodeFailed {
        node: node.parse().unwrap(),
        part: Part::Fetch { repository: "https://git.example.com/r.git".to_owned() },
        failure: Failure::new(FailureKind::RemoteAuth, format!("no credentials on {node}")),
        warnings: Vec::new(),
        elsewhere,
    }
}

/// One event of every kind.
fn events() -> Vec<Event> {
    let turn = |outcome| Event::TurnEnded {
        outcome,
        left: None,
        session: Some("s".to_owned()),
        warnings: Vec::new(),
    };
    vec![
        Event::Leased,
        Event::TreeReady {
            base: commit('b'),
            remote_tip: None,
            plan: GatePlan::default(),
            warnings: Vec::new(),
        },
        Event::Confined,
        Event::Launched { session: None, warnings: Vec::new() },
        turn(Outcome::Completed { text: "done".to_owned() }),
        turn(Outcome::Failed(crash())),
        Event::Kept { head: commit('c'), warnings: Vec::new() },
        Event::Unchanged { beside: Vec::new(), warnings: Vec::new() },
        Event::Diverged { branches: vec!["x".to_owned()], warnings: Vec::new() },
        Event::Filtered { paths: Vec::new() },
        Event::SecretsFound { findings: Vec::new() },
        Event::Judged { report: report(Verdict::Passed), warnings: Vec::new() },
        Event::Judged { report: report(Verdict::Failed), warnings: Vec::new() },
        Event::Conflicted { base: commit('d'), files: vec!["a".to_owned()] },
        Event::Pushed { shown: true },
        Event::Failed(Failure::new(FailureKind::MissingBranch, "no branch")),
        Event::Kill { cause: KillCause::Operator, note: "by test".to_owned() },
        Event::Interrupted,
        Event::PutOff { until: Timestamp(9_000), why: "its breaker is open".to_owned(), credential: None },
        Event::CredentialChanged,
        Event::FinishedElsewhere { result: WorkerResult::Completed("done elsewhere".to_owned()) },
        Event::FinishedElsewhere { result: WorkerResult::Failed("it failed elsewhere".to_owned()) },
        Event::Stalled { stage: Stage::Notice, summary: "silent".to_owned() },
        Event::WentOn,
        Event::Answered(AnsweredAttention {
            kind: AttentionKind::Stalled,
            since: Timestamp(1),
            answer: AttentionAnswer::Wait,
            by: "operator".to_owned(),
            at: Timestamp(2),
        }),
        Event::Spent(Spent { usd: 0.5, turns: 3 }),
        Event::TakenOver,
        Event::Placed { node: "b".parse().unwrap() },
        Event::NodeLost { node: "a".parse().unwrap() },
        node_failed("b", Elsewhere::Able),
        Event::Unwound {
            salvage: Salvage::Nothing,
            pending: None,
            look: RemoteLook::Unknown,
            warnings: Vec::new(),
        },
    ]
}

/// One state of every kind.
fn states() -> Vec<State> {
    let end = End { status: Status::Completed, reason: EndReason::Done, error: None, at: Timestamp(1) };
    vec![
        State::Queued { cause: QueueCause::Admitted },
        State::Checkout { turn: Turn::First },
        State::Confining { turn: Turn::First },
        State::Launching { turn: Turn::First },
        State::Working,
        State::Committing { text: String::new() },
        State::Gating { head: commit('c') },
        State::Publishing { head: commit('c') },
        State::Unwinding { ending: Ending::Requeue { cause: QueueCause::Interrupted } },
        State::Unwinding { ending: Ending::Settle { end: end.clone() } },
        State::Settled { end },
    ]
}

fn label(state: &State) -> String {
    match state {
        State::Unwinding { ending: Ending::Requeue { .. } } => "Unwinding(requeue)".to_owned(),
        State::Unwinding { ending: Ending::Settle { end } } => format!("Unwinding({})", end.status.as_str()),
        State::Settled { end } => format!("Settled({})", end.status.as_str()),
        other => state_name(other).to_owned(),
    }
}

/// Prints every legal transition of a worker with retries and fix rounds left; all others are refused.
fn table() -> String {
    let mut out = String::from("| state | event → next state |\n|---|---|\n");
    for state in states() {
        let mut record = agent("worker");
        record.attempt = 1;
        record.state = state.clone();
        let legal: Vec<String> = events()
            .into_iter()
            .filter_map(|event| {
                let name = event.name();
                next(&record, event, now()).ok().map(|step| format!("{name} → {}", label(&step.agent.state)))
            })
            .collect();
        let legal = if legal.is_empty() { "– (final)".to_owned() } else { legal.join(" · ") };
        out.push_str(&format!("| {} | {legal} |\n", label(&state)));
    }
    out
}

#[test]
fn the_table_in_architecture_md_is_the_one_the_code_has() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../ARCHITECTURE.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (begin, end) = ("<!-- transition table -->\n", "<!-- /transition table -->");
    let written =
        text.split(begin).nth(1).and_then(|rest| rest.split(end).next()).expect("the markers are missing");
    assert_eq!(written, table(), "the transition table changed; put this in its place:\n{}", table());
}

fn run(agent: &Agent, events: impl IntoIterator<Item = Event>) -> Agent {
    let mut record = agent.clone();
    for event in events {
        let name = event.name();
        record = next(&record, event, now()).unwrap_or_else(|e| panic!("{name}: {e}")).agent;
    }
    record
}

/// The events of `events()` that lead to the working state.
fn to_working() -> Vec<Event> {
    events().into_iter().take(4).collect()
}

/// The events that lead to the working state again in a fix round.
fn to_fixing() -> Vec<Event> {
    to_working().split_off(1)
}

fn pick(name: &str) -> Event {
    events().into_iter().find(|e| e.name() == name).unwrap_or_else(|| panic!("no event {name}"))
}

#[test]
fn a_good_life_ends_completed_with_its_commit_pushed() {
    let path = to_working()
        .into_iter()
        .chain(["TurnEnded(ok)", "Kept", "Judged(passed)", "Pushed", "Unwound"].map(pick));
    let end = run(&agent("worker"), path);
    assert_eq!((end.status(), end.end().unwrap().reason), (Status::Completed, EndReason::Done));
    assert_eq!((end.work.pushed, end.attempt, end.fix_round, end.runs), (Some(commit('c')), 1, 0, 1));
}

#[test]
fn a_crash_is_retried_with_backoff_and_stays_running() {
    let once = || to_working().into_iter().chain(["TurnEnded(failed)", "Unwound"].map(pick));
    let waiting = run(&agent("worker"), once());
    assert_eq!((waiting.status(), waiting.phase().as_str()), (Status::Running, "backoff"));
    assert_eq!(waiting.not_before(), Some(Timestamp(2_000 + 5_000)));
    let third = run(&agent("worker"), once().chain(once()).chain(once()));
    let end = third.end().unwrap();
    assert_eq!((end.status, end.reason, third.attempt), (Status::Failed, EndReason::AgentError, 3));
    assert!(end.error.as_deref().unwrap().contains("attempt 3 of 3"), "{end:?}");
}

#[test]
fn whatever_ends_a_run_what_it_used_up_counts_once() {
    let spent = |usd, turns| Event::Spent(Spent { usd, turns });
    let working = || run(&agent("worker"), to_working());
    for end in ["TurnEnded(ok)", "TurnEnded(failed)", "Interrupted", "Kill", "Failed", "NodeLost"] {
        let record = run(&working(), [spent(0.25, 2), spent(0.5, 3), pick("TakenOver"), pick(end)]);
        assert_eq!(record.spent, Spent { usd: 0.5, turns: 3 }, "{end}");
        assert!(record.spent_in_run.is_nothing(), "{end}");
    }
    let path = ["TurnEnded(failed)", "Unwound"].map(pick).into_iter().chain(to_working());
    let second = run(&run(&working(), [spent(0.5, 3)]), path);
    assert_eq!((second.spent().usd, second.spent().turns), (0.5, 3), "a new run begins at nothing");
    assert_eq!(run(&second, [spent(0.25, 1)]).spent(), Spent { usd: 0.75, turns: 4 });
}

#[test]
fn the_next_run_gets_what_is_left_and_none_starts_for_a_tenth() {
    let cap = Budget { usd: Some(2.0), turns: Some(10) };
    assert_eq!(cap.less(Spent::default()), Ok(cap));
    assert_eq!(cap.less(Spent { usd: 0.5, turns: 3 }), Ok(Budget { usd: Some(1.5), turns: Some(7) }));
    for (usd, turns) in [(1.8, 0), (1.9, 0), (2.0, 0), (5.7, 0), (0.1, 10), (0.1, 11)] {
        let why = cap.less(Spent { usd, turns }).unwrap_err();
        assert!(why.to_string().contains("used up"), "{why}");
    }
    let small = Budget { usd: Some(0.01), turns: None };
    assert_eq!(small.less(Spent { usd: 0.0, turns: 4 }), Ok(small), "the first run always starts");
    assert_eq!(Budget::default().less(Spent { usd: 9.0, turns: 90 }), Ok(Budget::default()));
}

#[test]
fn an_interruption_does_not_count_as_an_attempt() {
    let record =
        run(&agent("worker"), to_working().into_iter().chain(["Interrupted", "Unwound", "Leased"].map(pick)));
    assert_eq!(record.attempt, 1);
    assert_eq!(record.state, State::Checkout { turn: Turn::Again });
}

#[test]
fn an_interruption_between_commit_and_push_does_not_run_the_agent_again() {
    let path = to_working()
        .into_iter()
        .chain(["TurnEnded(ok)", "Kept", "Judged(passed)", "Interrupted", "Unwound", "Leased"].map(pick));
    let record = run(&agent("worker"), path);
    assert_eq!(record.state, State::Gating { head: commit('c') });
    assert_eq!((record.attempt, record.runs), (1, 1));
}

#[test]
fn findings_go_back_as_often_as_asked_and_then_fail() {
    for (event, reason) in [("Judged(failed)", EndReason::GatesFailed), ("SecretsFound", EndReason::Secret)] {
        let mut record = run(&agent("worker"), to_working());
        for round in 1..=2 {
            record = run(&record, ["TurnEnded(ok)", "Kept", event].map(pick));
            assert_eq!(record.fix_round, round);
            assert!(matches!(record.state, State::Checkout { turn: Turn::Fix { .. } }), "{:?}", record.state);
            record = run(&record, to_fixing());
        }
        record = run(&record, ["TurnEnded(ok)", "Kept", event, "Unwound"].map(pick));
        assert_eq!(record.end().unwrap().reason, reason);
        assert_eq!(record.attempt, 1, "fix rounds are not attempts");
    }
}

#[test]
fn nothing_changed_fails_a_worker_and_completes_a_reviewer() {
    for (kind, status) in
        [("worker", Status::Failed), ("reviewer", Status::Completed), ("tester", Status::Completed)]
    {
        let end = run(
            &agent(kind),
            to_working().into_iter().chain(["TurnEnded(ok)", "Unchanged", "Unwound"].map(pick)),
        );
        assert_eq!((end.status(), end.end().unwrap().reason), (status, EndReason::NoChanges));
        assert_eq!((end.work.pushed, end.work.result.as_deref()), (None, Some("done")));
    }
}

#[test]
fn the_deadline_counts_from_the_first_launch_of_the_attempt() {
    let working = run(&agent("worker"), to_working());
    let first = working.work.deadline.unwrap();
    assert_eq!(first, Timestamp(2_000 + 3_600_000));
    let path = ["TurnEnded(ok)", "Kept", "Judged(failed)"].map(pick).into_iter().chain(to_fixing());
    assert_eq!(run(&working, path).work.deadline, Some(first), "a fix round got new time");
}

#[test]
fn what_another_worker_finished_has_run_and_ended() {
    let done = next(&agent("worker"), pick("FinishedElsewhere(ok)"), now()).unwrap();
    let kinds: Vec<&str> = done.facts.iter().map(|fact| fact.kind()).collect();
    assert_eq!(kinds, ["agent.running", "agent.phase", "agent.completed"]);
    assert_eq!(done.facts[2].data()["from"], "running");
    let end = done.agent.end().unwrap();
    assert_eq!((end.status, end.reason), (Status::Completed, EndReason::Done));
    assert_eq!(done.agent.work.result.as_deref(), Some("done elsewhere"));
    assert_eq!(done.agent.shown_branch(), None, "nothing was pushed");
    assert!(done.agent.warnings[0].contains("another worker"), "{:?}", done.agent.warnings);
    let failed = run(&agent("worker"), [pick("FinishedElsewhere(failed)")]);
    let end = failed.end().unwrap();
    assert_eq!((end.status, end.reason, failed.started_at), (Status::Failed, EndReason::AgentError, None));
    assert!(end.error.as_deref().unwrap().contains("it failed elsewhere"));
}

#[test]
fn a_push_that_was_begun_may_be_there_until_the_remote_has_answered() {
    let judged = || to_working().into_iter().chain(["TurnEnded(ok)", "Kept", "Judged(passed)"].map(pick));
    let open = Publication::MayBeThere { commit: commit('c') };
    let begun = run(&agent("worker"), judged());
    assert_eq!(begun.work.publication, open, "it is written before the push begins");
    let killed = run(&begun, ["Kill", "Unwound"].map(pick));
    assert_eq!((killed.status(), &killed.work.publication), (Status::Killed, &open));
    let answer =
        |look| Event::Unwound { salvage: Salvage::Nothing, pending: None, look, warnings: Vec::new() };
    let there = run(&begun, [pick("Kill"), answer(RemoteLook::Shows(commit('c')))]);
    assert_eq!(there.work.pushed, Some(commit('c')));
    assert_eq!(there.work.publication, Publication::There { commit: commit('c') });
    let absent = run(&begun, [pick("Kill"), answer(RemoteLook::Absent)]);
    assert_eq!(
        (absent.work.pushed, absent.work.publication),
        (None, Publication::NotThere { commit: commit('c') })
    );
    let queued = run(&begun, ["Interrupted", "Unwound", "Kill"].map(pick));
    assert_eq!((queued.status(), queued.work.publication), (Status::Killed, open.clone()));
    let unasked = run(&begun, [Event::Pushed { shown: false }, pick("Unwound")]);
    assert_eq!((unasked.status(), unasked.work.publication), (Status::Completed, open));
    let refused = Event::Failed(Failure::new(FailureKind::PushRejected, "declined"));
    let refused = run(&begun, [refused, pick("Unwound")]);
    assert_eq!(refused.work.publication, Publication::NotThere { commit: commit('c') });
}

#[test]
fn the_callers_own_pauses_are_kept() {
    use mosaic_core::domain::retry::{Backoff, BackoffKind};
    let mut record = agent("worker");
    record.spec.backoff = Some(Backoff { kind: BackoffKind::Exponential, delay: 300, jitter: 0.0 });
    let once = || to_working().into_iter().chain(["TurnEnded(failed)", "Unwound"].map(pick));
    let first = run(&record, once());
    assert_eq!(first.not_before(), Some(Timestamp(2_000 + 300)));
    assert_eq!(run(&first, once()).not_before(), Some(Timestamp(2_000 + 600)));
}

fn any_event() -> impl Strategy<Value = Event> {
    let kinds = proptest::sample::select(vec![
        FailureKind::Crash,
        FailureKind::Auth,
        FailureKind::RateLimited,
        FailureKind::Timeout,
        FailureKind::Disk,
        FailureKind::PushRejected,
        FailureKind::Unpublishable,
        FailureKind::MissingBranch,
        FailureKind::Network,
    ]);
    prop_oneof![
        8 => proptest::sample::select(events()),
        1 => kinds.prop_map(|kind| Event::Failed(Failure::new(kind, "x"))),
    ]
}

fn rank(status: Status) -> u8 {
    match status {
        Status::Spawning => 0,
        Status::Running => 1,
        _ => 2,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_history_keeps_the_promises(
        kind in proptest::sample::select(vec!["worker", "reviewer", "tester"]),
        history in proptest::collection::vec(any_event(), 0..120),
    ) {
        let mut record = agent(kind);
        for event in history {
            let before = record.clone();
            let (interrupted, killed) = (event == Event::Interrupted, matches!(event, Event::Kill { .. }));
            let Ok(step) = next(&record, event, now()) else { continue };
            record = step.agent;
            prop_assert!(!before.is_terminal(), "something followed a terminal state");
            prop_assert!(record.attempt <= 3 && record.fix_round <= 2);
            prop_assert!(record.attempt >= before.attempt && record.runs >= before.runs);
            prop_assert!(!interrupted || record.attempt == before.attempt);
            prop_assert!(rank(record.status()) >= rank(before.status()), "status went back");
            prop_assert_eq!(record.status() == Status::Running, record.started_at.is_some() && !record.is_terminal());
            let ends_killed = matches!(
                &record.state,
                State::Settled { end } | State::Unwinding { ending: Ending::Settle { end } } if end.status == Status::Killed
            );
            prop_assert!(!killed || ends_killed, "a kill did not end it: {:?}", record.state);
            if before.status() != record.status() {
                let kind = format!("agent.{}", record.status().as_str());
                prop_assert_eq!(step.facts.iter().filter(|f| f.kind() == kind).count(), 1);
            }
            let text = serde_json::to_string(&record).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Agent>(&text).unwrap(), &record, "the record does not read back");
        }
    }
}
