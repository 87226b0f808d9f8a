//! The adapters keep the contracts of their ports, each with the real thing behind it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mosaic_adapters::agent_claude::{ClaudeOptions, ClaudeRuntime};
use mosaic_adapters::agent_command::CommandRuntime;
use mosaic_adapters::agent_demo::{DemoRuntime, MARKER, MARKER_TEXT};
use mosaic_adapters::gates_local::{GateOptions, LocalGatekeeper, Trust};
use mosaic_adapters::isolation::Isolator;
use mosaic_adapters::private_dirs::PrivateDirs;
use mosaic_adapters::process::{CgroupChoice, ProcessOptions, ShimProcesses};
use mosaic_adapters::sandbox_none::NoSandbox;
use mosaic_adapters::secret_scan::RuleScanner;
use mosaic_adapters::transcripts_files::FileTranscripts;
use mosaic_adapters::trash::Trash;
use mosaic_adapters::uid_range::UidRange;
use mosaic_core::domain::ids::AgentId;
use mosaic_core::domain::spec::{AgentType, Budget};
use mosaic_core::ports::processes::Processes;
use mosaic_core::ports::runtime::LaunchRequest;
use mosaic_testkit::fakes::clock::RealClock;
use mosaic_testkit::fakes::plain_processes::PlainProcesses;
use mosaic_testkit::fakes::sandbox::handle;
use mosaic_testkit::fakes::transcripts::MemoryTranscripts;
use mosaic_testkit::gatekeeper_suite::{self, Subject};
use mosaic_testkit::processes_suite::{self, ProcessesFixture};
use mosaic_testkit::{require, runtime_suite, sandbox_suite, transcripts_suite};

/// Makes a directory that stays among the temporary ones after the test: shims in it may outlive their maker by a moment.
fn directory() -> PathBuf {
    tempfile::tempdir().unwrap().keep()
}

fn no_sandbox(data: &Path, trash: &Arc<Trash>) -> NoSandbox {
    NoSandbox::new(PrivateDirs::new(data, "/usr/local/bin:/usr/bin:/bin", Arc::clone(trash)))
}

#[tokio::test]
async fn no_sandbox_keeps_the_contract_of_a_sandbox() {
    let place = tempfile::tempdir().unwrap();
    let number = std::sync::atomic::AtomicUsize::new(0);
    let fresh = || {
        let n = number.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let data = place.path().join(n.to_string());
        std::fs::create_dir(&data).unwrap();
        Arc::new(no_sandbox(&data, &Arc::new(Trash::new(&data))))
    };
    sandbox_suite::run(fresh, true).await;
}

#[tokio::test]
async fn transcripts_in_files_keep_the_contract() {
    let place = tempfile::tempdir().unwrap();
    let number = std::sync::atomic::AtomicUsize::new(0);
    let fresh = || {
        let n = number.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Arc::new(FileTranscripts::new(place.path().join(n.to_string())))
    };
    transcripts_suite::run(fresh).await;
}

#[tokio::test]
async fn the_local_gatekeeper_keeps_the_contract() {
    let fresh = || {
        let data = directory();
        let checkout = data.join("checkout");
        std::fs::create_dir(&checkout).unwrap();
        let trash = Arc::new(Trash::new(&data));
        let keeper = LocalGatekeeper::new(GateOptions {
            processes: Arc::new(PlainProcesses::new()),
            transcripts: Arc::new(MemoryTranscripts::default()),
            clock: Arc::new(RealClock),
            scanner: Arc::new(RuleScanner::new()),
            trust: Trust::All,
            sandbox: Arc::new(no_sandbox(&data, &trash)),
            trash,
            isolator: Arc::new(Isolator::off("a test of the contract")),
            at_once: 1,
            variable: Arc::new(|_| None),
        });
        Subject { keeper: Arc::new(keeper), checkout, reads_definitions: true }
    };
    gatekeeper_suite::run(fresh, b"[gates]\npasses = 'true'\nfails = 'exit 3'\n").await;
}

#[tokio::test]
async fn the_local_gatekeeper_keeps_the_contract_with_isolated_gates() {
    if !require::have("mounts", rustix::process::geteuid().is_root(), "root, to be another user") {
        return;
    }
    let shim = || vec![crate::programs::example("shim").display().to_string(), "shim".to_owned()];
    let fresh = || {
        let data = directory();
        let checkout = data.join("checkout");
        std::fs::create_dir(&checkout).unwrap();
        let trash = Arc::new(Trash::new(&data));
        let keeper = LocalGatekeeper::new(GateOptions {
            processes: Arc::new(Shims::at(data.clone(), CgroupChoice::Auto).processes),
            transcripts: Arc::new(FileTranscripts::new(data.join("transcripts"))),
            clock: Arc::new(RealClock),
            scanner: Arc::new(RuleScanner::new()),
            trust: Trust::All,
            sandbox: Arc::new(no_sandbox(&data, &trash)),
            trash,
            isolator: Arc::new(Isolator::new(shim(), UidRange::default())),
            at_once: 2,
            variable: Arc::new(|_| None),
        });
        Subject { keeper: Arc::new(keeper), checkout, reads_definitions: true }
    };
    gatekeeper_suite::run(fresh, b"[gates]\npasses = 'true'\nfails = 'exit 3'\n").await;
}

struct Shims {
    data: PathBuf,
    cgroup: CgroupChoice,
    processes: ShimProcesses,
}

impl Shims {
    fn at(data: PathBuf, cgroup: CgroupChoice) -> Self {
        let processes = ShimProcesses::new(ProcessOptions {
            data_dir: data.clone(),
            shim_command: vec![crate::programs::example("shim").display().to_string(), "shim".to_owned()],
            cgroup: cgroup.clone(),
            trash: None,
            open_files: None,
        });
        Self { data, cgroup, processes }
    }
}

impl ProcessesFixture for Shims {
    fn processes(&self) -> &dyn Processes {
        &self.processes
    }
    fn directory(&self) -> &Path {
        &self.data
    }
    fn restart(&mut self) -> bool {
        *self = Self::at(self.data.clone(), self.cgroup.clone());
        true
    }
}

#[tokio::test]
async fn jobs_under_shims_keep_the_contract() {
    processes_suite::run(|| Shims::at(directory(), CgroupChoice::Auto)).await;
}

#[tokio::test]
async fn jobs_under_shims_without_cgroups_keep_the_contract() {
    processes_suite::run(|| Shims::at(directory(), CgroupChoice::Off)).await;
}

fn request(place: &Path, tree: &Path) -> LaunchRequest {
    LaunchRequest {
        agent: AgentId(uuid::Uuid::from_u128(7)),
        task: "demo-fix".parse().unwrap(),
        agent_type: AgentType::Worker,
        prompt: "Do it.\nNow.".to_owned(),
        system: "rules".to_owned(),
        tree: tree.to_owned(),
        sandbox: handle(place.join("home"), place.join("config")),
        model: None,
        budget: Budget::default(),
        resume: None,
        new_session: "5e55e55e-0000-4000-8000-000000000001".to_owned(),
    }
}

/// Returns the lines of a recorded success, after the program's answer to its greeting.
fn recorded() -> Vec<Vec<u8>> {
    let path = format!("{}/tests/data/streams/claude_2.1.330_commit.jsonl", env!("CARGO_MANIFEST_DIR"));
    let ready =
        br#"{"type":"control_response","response":{"subtype":"success","request_id":"mosaic-initialize","response":{}}}"#;
    let stream = std::fs::read(path).unwrap();
    let lines = stream.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec);
    std::iter::once(ready.to_vec()).chain(lines).collect()
}

#[tokio::test]
async fn every_runtime_keeps_the_contract() {
    let place = directory();
    for part in ["home", "config", "tree/.mosaic/demo"] {
        std::fs::create_dir_all(place.join(part)).unwrap();
    }
    let tree = place.join("tree");
    std::fs::write(tree.join(MARKER), MARKER_TEXT).unwrap();
    let request = request(&place, &tree);
    let options = ClaudeOptions {
        program: Some("/bin/sh".into()),
        api_key: Some("sk-ant-api03-a-key-for-tests".to_owned()),
        ..ClaudeOptions::default()
    };
    runtime_suite::run(Arc::new(ClaudeRuntime::new(options)), &request, &recorded()).await;
    runtime_suite::run(Arc::new(DemoRuntime::new("/mosaic".into())), &request, &recorded()).await;
    let command = CommandRuntime::new("sh -c 'cat'".to_owned(), Vec::new());
    runtime_suite::run(Arc::new(command), &request, &[b"working".to_vec(), b"done".to_vec()]).await;
}
