//! A gatekeeper over real shims, with a checkout that it judges.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mosaic_adapters::gates_local::{GateOptions, LocalGatekeeper, Trust};
use mosaic_adapters::isolation::Isolator;
use mosaic_adapters::private_dirs::PrivateDirs;
use mosaic_adapters::process::{CgroupChoice, ProcessOptions, ShimProcesses};
use mosaic_adapters::sandbox_none::NoSandbox;
use mosaic_adapters::secret_scan::RuleScanner;
use mosaic_adapters::trash::Trash;
use mosaic_adapters::uid_range::UidRange;
use mosaic_core::domain::gates::{GateDefinition, GatePlan, GateReport, GateResult, ReportSpec};
use mosaic_core::domain::ids::AgentId;
use mosaic_core::ports::gatekeeper::Gatekeeper as _;
use mosaic_testkit::fakes::gatekeeper::{CheckedOut, judge_request};
use mosaic_testkit::require;
use uuid::Uuid;

use crate::gates_local::{Logs, Wall};

/// Number of testbeds that this process has made.
static NEXT: AtomicU32 = AtomicU32::new(0);
/// Longest wait of a test for a judgement.
const DEADLINE: Duration = Duration::from_secs(120);

/// A judgement's surroundings.
pub(super) struct Testbed {
    pub(super) place: tempfile::TempDir,
    pub(super) agent: AgentId,
    /// Users of its own, so that tests that run at once tell their processes apart.
    pub(super) uids: UidRange,
    pub(super) isolator: Arc<Isolator>,
    pub(super) at_once: usize,
    /// Most processes of a job before its supervisor ends it.
    pub(super) most_processes: u32,
    /// Number of the checkout that is judged next: each has a name of its own, as in a server.
    pub(super) round: AtomicU32,
}

/// Tells whether this machine isolates as root does; else says why the test is skipped.
pub(super) fn can_isolate() -> bool {
    require::have("mounts", rustix::process::geteuid().is_root(), "root, to be another user")
}

fn shim() -> Vec<String> {
    vec![crate::programs::example("shim").display().to_string(), "shim".to_owned()]
}

impl Testbed {
    /// Makes one with an empty checkout, isolated as well as this machine allows.
    pub(super) fn new() -> Self {
        Self::in_place(tempfile::tempdir().unwrap())
    }

    pub(super) fn in_place(place: tempfile::TempDir) -> Self {
        // Four for each testbed of each process of the tests, far above those that others use.
        let number = NEXT.fetch_add(1, Ordering::Relaxed) % 250;
        let first = 1_000_000 + std::process::id() % 1_000_000 * 1000 + number * 4;
        let uids: UidRange = format!("{first}-{}", first + 3).parse().unwrap();
        let isolator = Isolator::new(shim(), uids).hiding(vec![place.path().to_owned()]).with_tasks(256);
        let isolator = Arc::new(isolator);
        let testbed = Self {
            place,
            agent: AgentId(Uuid::new_v4()),
            uids,
            isolator,
            at_once: 2,
            most_processes: 1024,
            round: AtomicU32::new(0),
        };
        std::fs::create_dir(testbed.path().join("logs")).unwrap();
        testbed.fresh();
        testbed
    }

    pub(super) fn weak(self) -> Self {
        Self { isolator: Arc::new(Isolator::off("a control")), ..self }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.place.path().canonicalize().unwrap()
    }

    pub(super) fn tree(&self) -> PathBuf {
        self.path().join(format!("judge-1-{}", self.round.load(Ordering::Relaxed)))
    }

    /// Makes the checkout that is judged next.
    pub(super) fn fresh(&self) {
        self.round.fetch_add(1, Ordering::Relaxed);
        std::fs::create_dir(self.tree()).unwrap();
    }

    pub(super) fn file(&self, name: &str, text: &str) {
        std::fs::write(self.tree().join(name), text).unwrap();
    }

    pub(super) fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join("logs").join(name)).unwrap()
    }

    /// Judges the checkout by these gates.
    pub(super) async fn judge(&self, gates: Vec<GateDefinition>) -> GateReport {
        let data = self.path();
        let trash = Arc::new(Trash::new(&data));
        let dirs = PrivateDirs::new(&data, "/usr/local/bin:/usr/bin:/bin", Arc::clone(&trash));
        let processes = ShimProcesses::new(ProcessOptions {
            data_dir: data.clone(),
            shim_command: shim(),
            cgroup: CgroupChoice::Auto,
            trash: None,
            open_files: None,
        });
        let keeper = LocalGatekeeper::new(GateOptions {
            processes: Arc::new(processes.with_most_processes(self.most_processes)),
            transcripts: Arc::new(Logs(data.join("logs"))),
            clock: Arc::new(Wall),
            scanner: Arc::new(RuleScanner::new()),
            trust: Trust::All,
            trash,
            sandbox: Arc::new(NoSandbox::new(dirs)),
            isolator: Arc::clone(&self.isolator),
            at_once: self.at_once,
            variable: Arc::new(|name| (name == "ASKED_FOR").then(|| "given".to_owned())),
        });
        let plan = GatePlan { gates, trusted: true, ..GatePlan::default() };
        let request = judge_request(self.agent, "9f31c2a0".repeat(5).parse().unwrap(), plan);
        let judged = keeper.judge(request, Arc::new(CheckedOut(self.tree())));
        tokio::time::timeout(DEADLINE, judged).await.expect("gates end in time").unwrap()
    }

    /// Judges by one gate.
    pub(super) async fn judge_one(&self, gate: GateDefinition) -> GateResult {
        let report = self.judge(vec![gate]).await;
        report.results.into_iter().next().unwrap()
    }

    /// Lists the processes that run as one of the users of this testbed.
    pub(super) fn survivors(&self) -> Vec<PathBuf> {
        let uids = self.uids.to_string();
        let [first, last] =
            <[u32; 2]>::try_from(uids.split('-').map(|n| n.parse().unwrap()).collect::<Vec<u32>>()).unwrap();
        let is_ours = |path: &Path| {
            let status = std::fs::read_to_string(path.join("status")).unwrap_or_default();
            let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")).map(str::to_owned);
            let is_alive = !status.contains("State:\tZ");
            is_alive
                && uid
                    .unwrap_or_default()
                    .split_ascii_whitespace()
                    .any(|uid| (first..=last).contains(&uid.parse().unwrap()))
        };
        std::fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| is_ours(path))
            .collect()
    }
}

/// Defines a gate that is judged by its command.
pub(super) fn gate(name: &str, run: &str) -> GateDefinition {
    GateDefinition { timeout_ms: 60_000, ..GateDefinition::of_command(name.parse().unwrap(), run.to_owned()) }
}

/// Lets a gate be judged by a JUnit report, too.
pub(super) fn with_report(gate: GateDefinition, path: &str) -> GateDefinition {
    let report = ReportSpec::new("junit".parse().unwrap(), path);
    GateDefinition { reports: vec![report], ..gate }
}
