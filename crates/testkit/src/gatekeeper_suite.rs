//! Requirements on every gatekeeper. `config` defines a gate `passes` that passes and a gate `fails` that fails, where it can
//! judge at all.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use mosaic_core::domain::gates::{GateDefinition, GateOutcome, GatePlan, Verdict};
use mosaic_core::domain::ids::{AgentId, CommitId, Word};
use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::domain::spec::GateProfile;
use mosaic_core::ports::gatekeeper::{BaseFiles, CommitForm, CommitSource, Gatekeeper, PlanRequest};
use mosaic_core::ports::repositories::JudgingCheckout;

use crate::fakes::gatekeeper::{CheckedOut, judge_request};

/// A gatekeeper with what a test needs around it.
pub struct Subject {
    /// The gatekeeper.
    pub keeper: Arc<dyn Gatekeeper>,
    /// A fresh checkout, which it may remove.
    pub checkout: PathBuf,
    /// It reads the definitions of a base commit; else it passes whatever it is asked about.
    pub reads_definitions: bool,
}

/// The file that defines gates.
const CONFIG: &str = ".mosaic/config.toml";

/// A source that has nothing.
struct Unreachable;

#[async_trait]
impl CommitSource for Unreachable {
    async fn checkout(&self) -> Result<JudgingCheckout, Failure> {
        Err(Failure::new(FailureKind::Disk, "the disk is full"))
    }
    async fn bundle(&self) -> Result<PathBuf, Failure> {
        self.checkout().await.map(|checkout| checkout.path)
    }
    async fn whole_bundle(&self) -> Result<PathBuf, Failure> {
        self.bundle().await
    }
}

/// A base commit that has the configuration file or nothing.
struct Config(Option<Vec<u8>>);

#[async_trait]
impl BaseFiles for Config {
    async fn paths(&self) -> Result<Vec<String>, Failure> {
        Ok(self.0.iter().map(|_| CONFIG.to_owned()).collect())
    }
    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.0.clone().filter(|_| path == CONFIG))
    }
}

/// Runs every check, each with a fresh subject.
pub async fn run(fresh: impl Fn() -> Subject, config: &[u8]) {
    a_plan_follows_from_the_base_commit(fresh(), config).await;
    a_report_is_about_the_commit_and_the_plan(fresh(), config).await;
    what_is_not_trusted_is_not_run(fresh(), config).await;
    a_commit_that_cannot_be_read_is_no_verdict(fresh(), config).await;
}

fn agent() -> AgentId {
    AgentId(uuid::Uuid::from_u128(7))
}

fn commit() -> CommitId {
    "9f31c2a0".repeat(5).parse().expect("it is one")
}

fn gate_names(names: &[&str]) -> Vec<Word> {
    names.iter().map(|name| name.parse().expect("a word")).collect()
}

async fn plan(subject: &Subject, names: &[&str], config: Option<&[u8]>) -> Result<GatePlan, Failure> {
    let (custom, base) = (gate_names(names), commit());
    let files = Arc::new(Config(config.map(<[u8]>::to_owned)));
    let request = PlanRequest { profile: GateProfile::Custom, custom: &custom, base: &base, files };
    subject.keeper.plan(request).await
}

/// Returns the plan of the file, or one that names its gates where definitions are not read.
async fn planned(subject: &Subject, config: &[u8], names: &[&str]) -> GatePlan {
    let made = plan(subject, names, Some(config)).await.expect("it can be planned");
    if subject.reads_definitions {
        return made;
    }
    let gates = gate_names(names).into_iter().map(|name| GateDefinition::of_command(name, "true".to_owned()));
    GatePlan { gates: gates.collect(), trusted: true, ..made }
}

async fn a_plan_follows_from_the_base_commit(subject: Subject, config: &[u8]) {
    let one = plan(&subject, &["passes", "fails"], Some(config)).await.expect("planned");
    let two = plan(&subject, &["passes", "fails"], Some(config)).await.expect("planned");
    assert_eq!(one, two, "a plan is made of the definitions alone");
    if subject.reads_definitions {
        let names: Vec<&str> = one.gates.iter().map(|gate| gate.name.as_str()).collect();
        assert_eq!(names, ["passes", "fails"]);
        let none = plan(&subject, &["passes"], None).await.expect("nothing is defined");
        let by_name: Vec<Word> = none.gates.iter().map(|gate| gate.name.clone()).collect();
        assert!(none.gates.iter().all(|gate| gate.run.is_none()), "a command comes from the base commit");
        // One that is elsewhere may have definitions of its own; a name is not lost either way.
        assert_eq!([by_name, none.undefined].concat(), gate_names(&["passes"]));
        let is_elsewhere = subject.keeper.reads() == CommitForm::Bundle;
        assert!(none.gates.is_empty() || is_elsewhere, "what is not defined here cannot be run here");
        let broken = plan(&subject, &["passes"], Some(b"[gates")).await.expect_err("it cannot be read");
        assert_eq!(broken.kind, FailureKind::BadInput);
    }
}

async fn a_report_is_about_the_commit_and_the_plan(subject: Subject, config: &[u8]) {
    let plan = planned(&subject, config, &["passes", "fails"]).await;
    let request = judge_request(agent(), commit(), plan.clone());
    let source = Arc::new(CheckedOut(subject.checkout.clone()));
    let report = subject.keeper.judge(request, source).await.expect("judged");
    assert_eq!(report.commit, commit());
    let names: Vec<&Word> = report.results.iter().map(|result| &result.name).collect();
    let wanted: Vec<&Word> = plan.gates.iter().map(|gate| &gate.name).collect();
    assert_eq!(names, wanted, "one result per gate, in order");
    assert_eq!(report.results[0].outcome, GateOutcome::Pass);
    if subject.reads_definitions {
        assert_eq!((report.results[1].outcome, report.verdict), (GateOutcome::Fail, Verdict::Failed));
        if subject.keeper.reads() == CommitForm::Checkout {
            assert!(!subject.checkout.exists(), "the checkout is removed");
        }
    }
}

async fn what_is_not_trusted_is_not_run(subject: Subject, config: &[u8]) {
    let plan = GatePlan { trusted: false, ..planned(&subject, config, &["passes"]).await };
    let request = judge_request(agent(), commit(), plan);
    let source = Arc::new(CheckedOut(subject.checkout.clone()));
    let report = subject.keeper.judge(request, source).await.expect("reported");
    assert!(report.results.iter().all(|result| result.outcome == GateOutcome::Skip));
    assert_eq!(report.verdict, Verdict::Incomplete, "what was not run never counts as a pass");
}

async fn a_commit_that_cannot_be_read_is_no_verdict(subject: Subject, config: &[u8]) {
    if !subject.reads_definitions {
        return;
    }
    let plan = planned(&subject, config, &["passes"]).await;
    let judged = subject.keeper.judge(judge_request(agent(), commit(), plan), Arc::new(Unreachable)).await;
    assert_eq!(
        judged.expect_err("nothing was judged").kind,
        FailureKind::Disk,
        "the machine's fault stays one"
    );
}
