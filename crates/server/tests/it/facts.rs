//! Facts of the core, events of the API and the page about events are one list: the same kinds, with the same fields.

use std::collections::{BTreeMap, BTreeSet};

use mosaic_api::{Event, EventEnvelope};
use mosaic_core::domain::agent::{AttentionKind, Phase, Salvaged, Status};
use mosaic_core::domain::blame::Part;
use mosaic_core::domain::facts::*;
use mosaic_core::domain::gates::{FilteredPath, Finding, GateOutcome, Verdict};
use mosaic_core::domain::ids::{CommitId, NodeId, Stamp, Timestamp};
use mosaic_core::domain::journal::{Entry, LogRecord};
use mosaic_core::domain::kept_work::{KeptRef, KeptWork, WorkState};
use mosaic_core::domain::outcome::EndReason;
use mosaic_core::domain::secrets::{Fingerprint, SecretFinding};
use mosaic_core::domain::spec::GateProfile;
use mosaic_core::domain::stall::Stage;
use mosaic_core::domain::stop::{ForcedStop, StopCause, StopReceipt};
use mosaic_testkit::store_suite::sample;
use serde_json::{Value, json};

use crate::documented::{page, quoted, rows, same};
use crate::openapi::made;

const COMMIT: &str = "8c1d2e08c1d2e08c1d2e08c1d2e08c1d2e08c1d2";

fn commit() -> CommitId {
    COMMIT.parse().expect("it is one")
}

fn node() -> NodeId {
    sample::node("laptop")
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn stamp() -> Stamp {
    Stamp(Timestamp(1_795_341_849_112))
}

fn finding() -> Finding {
    let secret = SecretFinding {
        rule: text("jwt"),
        commit: commit(),
        fingerprint: Fingerprint::of("jwt", Some("a"), "x"),
        own: true,
    };
    Finding {
        source: text("secret-scan"),
        path: Some(text("a")),
        line: Some(3),
        message: text("a JWT"),
        secret: Some(secret),
    }
}

fn kept_ref() -> KeptRef {
    KeptRef { reference: text("refs/agents/x/head"), commit: commit() }
}

/// Returns facts about an agent's life, each with everything that it can have, and what is logged of them.
fn life() -> Vec<(Fact, Value)> {
    [states(), runs(), decisions(), removals()].concat()
}

/// Returns facts about the states of an agent.
fn states() -> Vec<(Fact, Value)> {
    let agent = sample::agent("T-1", Timestamp(1));
    let (from, name) = (Status::Spawning, text("t-1-x"));
    let ended = |to, error| AgentEnded {
        from: Status::Running,
        to,
        name: text("t-1-x"),
        end_reason: EndReason::Done,
        error,
    };
    vec![
        (
            Fact::AgentSpawning(AgentSpawning::of(&agent)),
            json!({"to": "spawning", "name": agent.name, "agentType": "worker", "repository": agent.spec.context.repository,
                "priority": agent.spec.priority, "previousAgentId": null}),
        ),
        (
            Fact::AgentRunning(AgentRan { from, to: Status::Running, name }),
            json!({"from": "spawning", "to": "running", "name": "t-1-x"}),
        ),
        (
            Fact::AgentCompleted(ended(Status::Completed, None)),
            json!({"from": "running", "to": "completed", "name": "t-1-x", "endReason": "done", "error": null}),
        ),
        (
            Fact::AgentFailed(ended(Status::Failed, Some(text("why")))),
            json!({"from": "running", "to": "failed", "name": "t-1-x", "endReason": "done", "error": "why"}),
        ),
        (
            Fact::AgentKilled(ended(Status::Killed, Some(text("why")))),
            json!({"from": "running", "to": "killed", "name": "t-1-x", "endReason": "done", "error": "why"}),
        ),
        (
            Fact::AgentPhase(AgentPhase {
                from: Phase::Queued,
                to: Phase::Checkout,
                attempt: 1,
                fix_round: 2,
            }),
            json!({"from": "queued", "to": "checkout", "attempt": 1, "fixRound": 2}),
        ),
    ]
}

/// Returns facts about the runs of an agent.
fn runs() -> Vec<(Fact, Value)> {
    let freeze = || AgentFreeze { name: text("t-1-x"), note: text("alice") };
    let receipt = StopReceipt {
        container: None,
        processes_before: 2,
        processes_after: 0,
        rung: text("term"),
        took_ms: 12,
        confinement: text("cgroup"),
        past_grace_ms: 1,
    };
    let stopped = ForcedStop { run: 1, cause: StopCause::AfterResult, receipt };
    vec![
        (
            Fact::AgentAdopted(AgentAdopted { phase: Phase::Working, attempt: 1 }),
            json!({"phase": "working", "attempt": 1}),
        ),
        (
            Fact::AgentNodeLost(AgentNodeLost { node: node(), attempt: 1, losses: 2 }),
            json!({"node": "laptop", "attempt": 1, "losses": 2}),
        ),
        (Fact::AgentFrozen(freeze()), json!({"name": "t-1-x", "note": "alice"})),
        (Fact::AgentThawed(freeze()), json!({"name": "t-1-x", "note": "alice"})),
        (
            Fact::AgentStopped(stopped),
            json!({"run": 1, "cause": "afterResult", "processesBefore": 2, "processesAfter": 0, "rung": "term",
                "tookMs": 12, "confinement": "cgroup", "pastGraceMs": 1}),
        ),
        (
            Fact::AgentMoved(AgentMoved { node: node(), error: text("why"), tries: 1, until: Some(stamp()) }),
            json!({"node": "laptop", "error": "why", "tries": 1, "until": "2026-11-22T10:04:09.112Z"}),
        ),
    ]
}

/// Returns facts about what is asked of people and of an agent.
fn decisions() -> Vec<(Fact, Value)> {
    vec![
        (
            Fact::AgentAttention(AgentAttention {
                kind: AttentionKind::Stalled,
                stage: Some(Stage::Nudge),
                until: Some(stamp()),
                summary: text("silent"),
            }),
            json!({"kind": "stalled", "stage": "nudge", "until": "2026-11-22T10:04:09.112Z", "summary": "silent"}),
        ),
        (
            Fact::AgentAttentionCleared(AttentionCleared { kind: AttentionKind::GateFailed }),
            json!({"kind": "gate_failed"}),
        ),
        (
            Fact::AgentFixRequested(FixRequested {
                reason: EndReason::GatesFailed,
                fix_round: 1,
                findings: vec![finding()],
            }),
            json!({"reason": "gates_failed", "fixRound": 1, "findings": [found()]}),
        ),
        (
            Fact::TaskRetryScheduled(RetryScheduled { until: stamp(), error: text("why"), attempt: 1 }),
            json!({"until": "2026-11-22T10:04:09.112Z", "error": "why", "attempt": 1}),
        ),
    ]
}

/// Returns facts about the work that an agent leaves, and about its removal.
fn removals() -> Vec<(Fact, Value)> {
    let kept = KeptWork {
        attempt: 1,
        run: 2,
        node: node(),
        at: stamp().0,
        state: WorkState::Kept,
        refs: vec![kept_ref()],
        earlier: true,
    };
    let kept_json = json!({"attempt": 1, "run": 2, "node": "laptop", "at": "2026-11-22T10:04:09.112Z", "state": "kept",
        "refs": [{"reference": "refs/agents/x/head", "commit": COMMIT}], "earlier": true});
    vec![
        (
            Fact::AgentWorkReported(WorkReported {
                node: node(),
                state: WorkState::Kept,
                refs: vec![kept_ref()],
            }),
            json!({"node": "laptop", "state": "kept", "refs": [{"reference": "refs/agents/x/head", "commit": COMMIT}]}),
        ),
        (
            Fact::AgentRemoved(AgentRemoved {
                name: text("t-1-x"),
                why: text("retention"),
                discarded: vec![commit()],
                tree: true,
                elsewhere: vec![kept],
            }),
            json!({"name": "t-1-x", "why": "retention", "discarded": [COMMIT], "tree": true, "elsewhere": [kept_json]}),
        ),
    ]
}

fn found() -> Value {
    let fingerprint = Fingerprint::of("jwt", Some("a"), "x");
    json!({"source": "secret-scan", "path": "a", "line": 3, "message": "a JWT",
        "secret": {"rule": "jwt", "commit": COMMIT, "fingerprint": fingerprint, "own": true}})
}

/// Returns facts about an agent's work.
fn work() -> Vec<(Fact, Value)> {
    let salvaged = Salvaged { reference: text("refs/mosaic/salvage/x"), commit: commit() };
    let passed = GateWord {
        name: sample::node("tests"),
        outcome: GateOutcome::Pass,
        duration_ms: 7,
        cached: false,
        flaky_tests: Vec::new(),
    };
    vec![
        (
            Fact::FilterRefused(FilterRefused {
                paths: vec![FilteredPath { path: text("a"), filter: text("lfs") }],
            }),
            json!({"paths": [{"path": "a", "filter": "lfs"}]}),
        ),
        (Fact::SecretFound(SecretFound { findings: vec![finding()] }), json!({"findings": [found()]})),
        (Fact::GitCommit(GitCommit { commit: commit() }), json!({"commit": COMMIT})),
        (
            Fact::GitConflict(GitConflict { base: commit(), files: vec![text("a")] }),
            json!({"base": COMMIT, "files": ["a"]}),
        ),
        (
            Fact::GitSalvaged(GitSalvaged::of(&salvaged)),
            json!({"reference": "refs/mosaic/salvage/x", "commit": COMMIT}),
        ),
        (
            Fact::GitRestored(GitRestored {
                path: text("/r"),
                head: None,
                salvage: Some(commit()),
                node: node(),
            }),
            json!({"path": "/r", "head": null, "salvage": COMMIT, "node": "laptop"}),
        ),
        (
            Fact::GitPushed(GitPushed {
                branch: "mosaic/t".parse().expect("it is one"),
                commit: commit(),
                shown: true,
            }),
            json!({"branch": "mosaic/t", "commit": COMMIT, "shown": true}),
        ),
        (
            Fact::GateFinished(GateFinished {
                commit: commit(),
                repository: "https://git.example.com/r.git".parse().expect("it is one"),
                profile: GateProfile::Standard,
                verdict: Verdict::Passed,
                results: vec![passed],
            }),
            json!({"commit": COMMIT, "repository": "https://git.example.com/r.git", "profile": "standard", "verdict": "passed",
                "results": [{"name": "tests", "outcome": "pass", "durationMs": 7, "cached": false, "flakyTests": []}]}),
        ),
    ]
}

/// Returns facts about the server.
fn server() -> Vec<(Fact, Value)> {
    let fetch = Part::Fetch { repository: text("https://git/x") };
    let run = Part::Run { runtime: text("claude") };
    let turned = |part, pause_seconds, error| BreakerTurned { part, node: node(), pause_seconds, error };
    let (by, reason) = (|| text("alice"), || Some(text("why")));
    vec![
        (
            Fact::BreakerOpened(turned(fetch, Some(60), reason())),
            json!({"part": "fetch", "repository": "https://git/x", "node": "laptop", "pauseSeconds": 60, "error": "why"}),
        ),
        (
            Fact::BreakerClosed(turned(run, None, None)),
            json!({"part": "run", "runtime": "claude", "node": "laptop", "pauseSeconds": null, "error": null}),
        ),
        (Fact::QueuePaused(QueuePaused { by: by(), reason: None }), json!({"by": "alice", "reason": null})),
        (Fact::QueueResumed(QueueResumed { by: by() }), json!({"by": "alice"})),
        (
            Fact::QueueDataRefused(DataRefused { job_id: text("7"), reason: text("why") }),
            json!({"jobId": "7", "reason": "why"}),
        ),
        (
            Fact::QueueJobRefused(JobRefused { job_id: text("7"), reason: text("why") }),
            json!({"jobId": "7", "reason": "why"}),
        ),
        (
            Fact::KillSwitchEngaged(KillSwitchEngaged { by: by(), reason: reason() }),
            json!({"by": "alice", "reason": "why"}),
        ),
        (Fact::KillSwitchReleased(KillSwitchReleased { by: by() }), json!({"by": "alice"})),
        (Fact::NodeJoined(NodeJoined { node: node(), slots: 4 }), json!({"node": "laptop", "slots": 4})),
        (
            Fact::NodeLost(NodeLost { node: node(), seen_at: stamp() }),
            json!({"node": "laptop", "seenAt": "2026-11-22T10:04:09.112Z"}),
        ),
        (
            Fact::NodeCordoned(NodeCordoned { node: node(), by: by(), reason: None, drain: true }),
            json!({"node": "laptop", "by": "alice", "reason": null, "drain": true}),
        ),
        (Fact::NodeUncordoned(NodeUncordoned { node: node() }), json!({"node": "laptop"})),
        (
            Fact::NodeRemoved(NodeRemoved { node: node(), by: by(), reason: reason(), lost: true }),
            json!({"node": "laptop", "by": "alice", "reason": "why", "lost": true}),
        ),
        (Fact::NodeDrained(NodeDrained { node: node() }), json!({"node": "laptop"})),
        (
            Fact::KillAllDone(KillAllDone { total: 3, killed: 2, failed: 1, note: by() }),
            json!({"total": 3, "killed": 2, "failed": 1, "note": "alice"}),
        ),
    ]
}

fn samples() -> Vec<(Fact, Value)> {
    life().into_iter().chain(work()).chain(server()).collect()
}

#[test]
fn every_fact_is_logged_as_its_kind_with_its_details() {
    let samples = samples();
    let kinds: Vec<&str> = samples.iter().map(|(fact, _)| fact.kind()).collect();
    assert_eq!(BTreeSet::from_iter(kinds), BTreeSet::from_iter(Fact::KINDS.iter().copied()));
    for (fact, logged) in samples {
        let entry = Entry { seq: 7, fact: LogRecord::new(&fact, Timestamp(1)) };
        let stored = json!({"seq": 7, "kind": fact.kind(), "at": 1, "data": logged});
        assert_eq!(serde_json::to_value(&entry).expect("it is JSON"), stored);
        assert_eq!(serde_json::from_value::<Entry>(stored).expect("it reads back"), entry);
    }
}

#[test]
fn every_fact_goes_out_as_the_event_of_the_api_that_has_its_details() {
    assert_eq!(Fact::KINDS, Event::KINDS);
    let agent = sample::agent("T-1", Timestamp(1));
    for (fact, logged) in samples() {
        let entry = Entry { seq: 7, fact: LogRecord::about(&agent, &fact, Timestamp(1)) };
        let sent = entry.envelope("laptop");
        let envelope: EventEnvelope = serde_json::from_value(sent.clone()).expect("it is an envelope");
        let event = envelope.event();
        assert!(!matches!(event, Event::Unknown(_)), "{event:?}");
        assert_eq!((event.kind(), event.details()), (fact.kind(), logged));
        assert_eq!(envelope.data.agent_id, Some(agent.id.to_string()));
        assert_eq!(serde_json::to_value(&envelope).expect("it is JSON"), sent);
    }
}

#[test]
fn a_word_of_a_fact_is_known_to_the_api() {
    for (fact, logged) in samples() {
        let event = Event::read(fact.kind(), logged.as_object().expect("an object").clone());
        assert!(!event.details().to_string().contains("\"unknown\""), "{event:?}");
    }
}

/// Returns the fields of the details of each kind, as the OpenAPI document has them.
fn described() -> BTreeMap<String, BTreeSet<String>> {
    let document = made();
    let kinds =
        document["components"]["schemas"]["Event"]["allOf"][1]["oneOf"].as_array().expect("a list").clone();
    let one = |event: Value| {
        let kind = event["properties"]["type"]["enum"][0].as_str().expect("a kind");
        let kind = kind.trim_start_matches("dev.mosaic.").trim_end_matches(".v1").to_owned();
        let pointer = event["properties"]["data"]["$ref"].as_str().expect("a reference");
        let details = document.pointer(pointer.trim_start_matches('#')).expect("it is there");
        let fields = details["properties"].as_object().expect("fields").keys().cloned().collect();
        (kind, fields)
    };
    kinds.into_iter().map(one).collect()
}

#[test]
fn every_event_is_documented_with_its_fields() {
    let page = page("events.md");
    let mut documented = BTreeMap::new();
    for row in rows(&page, "| kind | when |") {
        for kind in quoted(row[0]) {
            let fields: BTreeSet<String> = quoted(row[2]).map(str::to_owned).collect();
            assert!(documented.insert(kind.to_owned(), fields).is_none(), "{kind} stands there twice");
        }
    }
    let described = described();
    same(
        "events in docs/events.md",
        documented.keys().cloned().collect(),
        described.keys().cloned().collect(),
    );
    for (kind, fields) in described {
        same(&kind, documented.remove(&kind).unwrap_or_default(), fields);
    }
}
