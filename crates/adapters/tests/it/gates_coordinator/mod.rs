//! The gatekeeper elsewhere against a coordinator that was written from the contract alone.

mod faults;
mod verdicts;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mosaic_adapters::gates_coordinator::{CoordinatorGatekeeper, CoordinatorOptions};
use mosaic_adapters::gates_local::{GateOptions, LocalGatekeeper, Trust};
use mosaic_adapters::isolation::Isolator;
use mosaic_adapters::private_dirs::PrivateDirs;
use mosaic_adapters::sandbox_none::NoSandbox;
use mosaic_adapters::secret_scan::RuleScanner;
use mosaic_adapters::transcripts_files::FileTranscripts;
use mosaic_adapters::trash::Trash;
use mosaic_core::domain::gates::{GateDefinition, GatePlan, GateReport};
use mosaic_core::domain::ids::{AgentId, CommitId};
use mosaic_core::domain::outcome::Failure;
use mosaic_core::ports::gatekeeper::{CommitSource, Gatekeeper, JudgeRequest};
use mosaic_core::ports::repositories::JudgingCheckout;
use mosaic_testkit::fakes::clock::{HastyClock, RealClock, RealIds};
use mosaic_testkit::fakes::gatekeeper::judge_request;
use mosaic_testkit::fakes::plain_processes::PlainProcesses;
use mosaic_testkit::gatekeeper_suite::{self, Subject};
use mosaic_testkit::stub_coordinator::{Asked, Reply, StubCoordinator};

/// Longest time of a check in these tests; the clock runs fifty times as fast.
const DEADLINE: Duration = Duration::from_secs(100);

/// A commit of which nothing is read, because the stub asks for nothing of it.
struct Unread;

#[async_trait]
impl CommitSource for Unread {
    async fn checkout(&self) -> Result<JudgingCheckout, Failure> {
        Ok(JudgingCheckout { path: PathBuf::from("/nonexistent"), warnings: Vec::new() })
    }
    async fn bundle(&self) -> Result<PathBuf, Failure> {
        Ok(PathBuf::from("/nonexistent"))
    }
    async fn whole_bundle(&self) -> Result<PathBuf, Failure> {
        self.bundle().await
    }
}

/// A gatekeeper that asks this address, with what it keeps in this directory.
fn keeper_in(data: &Path, url: &str) -> CoordinatorGatekeeper {
    let trash = Arc::new(Trash::new(data));
    let transcripts = Arc::new(FileTranscripts::new(data.join("transcripts")));
    let scanner = Arc::new(RuleScanner::new());
    let local = LocalGatekeeper::new(GateOptions {
        processes: Arc::new(PlainProcesses::new()),
        transcripts: transcripts.clone(),
        clock: Arc::new(RealClock),
        scanner: scanner.clone(),
        trust: Trust::All,
        sandbox: Arc::new(NoSandbox::new(PrivateDirs::new(data, "/usr/bin:/bin", Arc::clone(&trash)))),
        trash,
        isolator: Arc::new(Isolator::off("nothing is judged here")),
        at_once: 1,
        variable: Arc::new(|_| None),
    });
    CoordinatorGatekeeper::new(CoordinatorOptions {
        url: url.parse().unwrap(),
        token: None,
        deadline: DEADLINE,
        strict_needs_all: true,
        local: Arc::new(local),
        clock: Arc::new(HastyClock),
        chance: Arc::new(RealIds),
        transcripts,
        scanner,
    })
}

fn keeper(url: &str) -> CoordinatorGatekeeper {
    keeper_in(&tempfile::tempdir().unwrap().keep(), url)
}

fn commit() -> CommitId {
    "9f31c2a0".repeat(5).parse().unwrap()
}

fn agent() -> AgentId {
    AgentId(uuid::Uuid::from_u128(7))
}

/// A judgement of two gates, `lint` and `tests`.
fn request() -> JudgeRequest {
    let gate = |name: &str| GateDefinition::of_command(name.parse().unwrap(), "true".to_owned());
    let plan = GatePlan { gates: vec![gate("lint"), gate("tests")], trusted: true, ..GatePlan::default() };
    judge_request(agent(), commit(), plan)
}

async fn judged(keeper: &CoordinatorGatekeeper) -> Result<GateReport, Failure> {
    keeper.judge(request(), Arc::new(Unread)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_of_the_contract_alone_keeps_the_contract_of_a_gatekeeper() {
    let passes = |gate: &String| format!(r#"{{"gate": "{gate}", "passed": {}}}"#, gate != "fails");
    let stub = StubCoordinator::start(move |_, asked: &Asked| {
        let red = asked.gates.iter().find(|gate| *gate == "fails");
        let results: Vec<String> = asked.gates.iter().map(passes).collect();
        let (approved, gate) = (red.is_none(), red.map_or("all", |gate| gate.as_str()));
        let results = results.join(", ");
        Reply::Json(format!(r#"{{"approved": {approved}, "gate": "{gate}", "results": [{results}]}}"#))
    });
    let url = stub.url();
    let fresh = || {
        let data = tempfile::tempdir().unwrap().keep();
        let checkout = data.join("bundle");
        std::fs::write(&checkout, "").unwrap();
        Subject { keeper: Arc::new(keeper_in(&data, &url)), checkout, reads_definitions: true }
    };
    let config = b"[gates]\npasses = 'true'\nfails = 'exit 3'\n";
    gatekeeper_suite::run(fresh, config).await;
    let asked = stub.asked();
    assert_eq!(asked[0].gates, ["passes", "fails"]);
    assert_eq!((asked[0].stage.as_str(), asked[0].profile.as_str()), ("post-commit", "custom"));
    assert_eq!(asked[0].head_commit, commit().to_string());
}
