//! Verdicts of a coordinator: what becomes of each gate.

use std::sync::Arc;

use async_trait::async_trait;
use mosaic_core::domain::gates::{GateOutcome, GatePlan, GateReport, Isolation, Verdict};
use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::domain::spec::GateProfile;
use mosaic_core::ports::gatekeeper::{BaseFiles, Gatekeeper, GatekeeperHealth, PlanRequest};
use mosaic_testkit::stub_coordinator::{Reply, StubCoordinator};

use super::{Unread, agent, commit, judged, keeper, keeper_in, request};

/// A base commit that has the configuration file or nothing.
struct Config(Option<&'static [u8]>);

#[async_trait]
impl BaseFiles for Config {
    async fn paths(&self) -> Result<Vec<String>, Failure> {
        Ok(self.0.iter().map(|_| ".mosaic/config.toml".to_owned()).collect())
    }
    async fn read(&self, _: &str) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.0.map(<[u8]>::to_vec))
    }
}

async fn answered(body: &str) -> GateReport {
    let body = body.to_owned();
    let stub = StubCoordinator::start(move |_, _| Reply::Json(body.clone()));
    judged(&keeper(&stub.url())).await.expect("there is a verdict")
}

fn outcomes(report: &GateReport) -> Vec<GateOutcome> {
    report.results.iter().map(|result| result.outcome).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_without_results_passes_every_gate() {
    let report = answered(r#"{"approved": true, "gate": "post-commit", "message": null}"#).await;
    assert_eq!(outcomes(&report), [GateOutcome::Pass, GateOutcome::Pass]);
    assert_eq!(report.verdict, Verdict::Passed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_put_on_the_gate_that_it_names_and_told_to_the_agent() {
    let body =
        r#"{"approved": false, "gate": "tests", "message": "2 failed", "details": {"failed": ["a", "b"]}}"#;
    let report = answered(body).await;
    assert_eq!(outcomes(&report), [GateOutcome::Skip, GateOutcome::Fail]);
    assert_eq!(report.verdict, Verdict::Failed);
    let findings = report.findings();
    assert_eq!(findings[0].source, "tests");
    assert!(
        findings[0].message.contains("2 failed") && findings[0].message.contains(r#""a""#),
        "{findings:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_names_no_gate_of_the_plan_still_refuses() {
    for gate in [r#", "gate": "pre-merge""#, ""] {
        let report = answered(&format!(r#"{{"approved": false{gate}, "message": "no"}}"#)).await;
        assert_eq!(report.verdict, Verdict::Failed);
        assert_eq!(report.findings().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_judged_makes_the_verdict_incomplete() {
    let body = r#"{"approved": false, "gate": "tests", "details": {"verdict": "incomplete"},
        "results": [{"name": "lint", "outcome": "pass"}, {"name": "tests", "outcome": "skip"}]}"#;
    let report = answered(body).await;
    assert_eq!(
        (outcomes(&report), report.verdict),
        (vec![GateOutcome::Pass, GateOutcome::Skip], Verdict::Incomplete)
    );
    let approved = body.replace("false", "true");
    assert_eq!(answered(&approved).await.verdict, Verdict::Incomplete);
    // Without our word for it, a refusal stays one.
    let report = answered(
        &body
            .replace(r#"{"verdict": "incomplete"}"#, "{}")
            .replace(r#", {"name": "tests", "outcome": "skip"}"#, ""),
    )
    .await;
    assert_eq!(report.verdict, Verdict::Failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_profile_ends_where_a_gate_was_not_judged() {
    let body = r#"{"approved": true, "gate": "x", "results": {"lint": "ok", "tests": "skipped"}}"#;
    let stub = StubCoordinator::start(move |_, _| Reply::Json(body.to_owned()));
    let mut strict = request();
    strict.profile = GateProfile::Strict;
    let judged = keeper(&stub.url()).judge(strict, Arc::new(Unread)).await;
    let failure = judged.expect_err("it opened the gate");
    assert_eq!(failure.kind, FailureKind::GatesUndefined);
    assert!(failure.message.contains("did not judge tests"), "{}", failure.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gates_printed_is_kept_as_their_logs_and_everything_is_bounded() {
    let key = ["AKIA", "Z7QW3RTY5UIOPASD"].concat();
    let long = "x".repeat(100_000);
    let body = format!(
        r#"{{"approved": false, "gate": "tests", "details": {{"isolation": "strong", "warnings": ["w"]}}, "results": [
            {{"name": "lint", "outcome": "pass", "durationMs": 7, "summary": "exit 0", "output": "all well\n"}},
            {{"name": "tests", "outcome": "fail", "durationMs": 9, "exitCode": 1, "summary": "{long}", "output": "1 failed\n",
              "findings": [{{"source": "other", "path": "a.rs", "line": 3, "message": "key {key} \u001b[31m"}}]}}]}}"#
    );
    let stub = StubCoordinator::start(move |_, _| Reply::Json(body.clone()));
    let data = tempfile::tempdir().unwrap();
    let report = judged(&keeper_in(data.path(), &stub.url())).await.unwrap();
    let tests = &report.results[1];
    assert_eq!(
        (tests.log.as_deref(), tests.exit_code, tests.duration_ms),
        (Some("gate-1-tests"), Some(1), 9)
    );
    let log = data.path().join(format!("transcripts/{}/gate-1-tests.log", agent()));
    assert_eq!(std::fs::read_to_string(log).unwrap(), "1 failed\n");
    assert!(tests.summary.len() < 10_000);
    let finding = &tests.findings[0];
    assert_eq!((finding.source.as_str(), finding.line), ("tests", Some(3)));
    assert!(!finding.message.contains(&key) && !finding.message.contains('\u{1b}'), "{}", finding.message);
    assert_eq!((report.isolation, report.warnings), (Isolation::Strong, vec!["w".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_name_what_was_asked_are_taken_in_any_spelling() {
    let head = commit().to_string();
    for body in [
        format!(r#"{{"approved": true, "gate": "x", "taskId": "T-1", "headCommit": "{head}"}}"#),
        format!(
            r#"{{"approved": true, "gate": "x", "details": {{"task_id": "T-1", "commit": "{}"}}}}"#,
            &head[..8]
        ),
        r#"{"approved": true, "gate": "x", "details": {"commit": "feat: more of it", "sha": null}}"#
            .to_owned(),
    ] {
        assert_eq!(answered(&body).await.verdict, Verdict::Passed, "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_base_defines_nothing_the_coordinator_is_asked_for_the_profiles_gates_by_name() {
    let stub = StubCoordinator::start(|_, _| Reply::approval());
    let keeper = keeper(&stub.url());
    let base = commit();
    let asked = |config| PlanRequest {
        profile: GateProfile::Standard,
        custom: &[],
        base: &base,
        files: Arc::new(Config(config)),
    };
    let plan: GatePlan = keeper.plan(asked(None)).await.unwrap();
    let names: Vec<&str> = plan.gates.iter().map(|gate| gate.name.as_str()).collect();
    assert_eq!(names, ["typecheck", "lint", "tests", "coverage"]);
    assert!(plan.undefined.is_empty() && plan.defined_by.contains("the coordinator"), "{plan:?}");
    let plan = keeper.plan(asked(Some(b"[gates]\ntests = 'true'\n"))).await.unwrap();
    assert_eq!(
        (plan.gates.len(), plan.undefined.len()),
        (1, 3),
        "a profile shrinks and grows as it does without a coordinator"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_is_reached_whatever_it_answers_and_unreachable_when_it_does_not() {
    let stub = StubCoordinator::start(|_, _| Reply::approval());
    assert!(matches!(keeper(&stub.url()).health().await, GatekeeperHealth::Reached(_)));
    let url = stub.url();
    drop(stub);
    let GatekeeperHealth::Unreachable(why) = keeper(&url).health().await else { panic!("nobody is there") };
    assert!(why.contains(&url) && why.contains("cannot be connected to"), "{why}");
}
