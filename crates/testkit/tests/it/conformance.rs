//! The fakes keep the contracts of the ports that they stand in for.

use std::path::Path;
use std::sync::Arc;

use mosaic_core::domain::ids::AgentId;
use mosaic_core::domain::spec::{AgentType, Budget};
use mosaic_core::ports::processes::Processes;
use mosaic_core::ports::runtime::LaunchRequest;
use mosaic_testkit::fakes::plain_processes::PlainProcesses;
use mosaic_testkit::fakes::sandbox::handle;
use mosaic_testkit::fakes::store::FakeStore;
use mosaic_testkit::fakes::transcripts::MemoryTranscripts;
use mosaic_testkit::fakes::world::{Behaviour, FakeWorld};
use mosaic_testkit::gatekeeper_suite::{self, Subject};
use mosaic_testkit::processes_suite::{self, ProcessesFixture};
use mosaic_testkit::{runtime_suite, sandbox_suite, transcripts_suite};

fn orchestrator() -> Arc<mosaic_core::Orchestrator> {
    FakeWorld::orchestrator(Arc::new(FakeStore::new()), 1, Behaviour::RunOn).1
}

#[tokio::test]
async fn the_fake_sandbox_is_one() {
    sandbox_suite::run(|| Arc::clone(&orchestrator().ports().sandbox), false).await;
}

#[tokio::test]
async fn transcripts_in_memory_are_transcripts() {
    transcripts_suite::run(|| Arc::new(MemoryTranscripts::default())).await;
}

#[tokio::test]
async fn the_fake_gatekeeper_is_one() {
    let fresh = || Subject {
        keeper: Arc::clone(&orchestrator().ports().gatekeeper),
        checkout: "/nonexistent".into(),
        reads_definitions: false,
    };
    gatekeeper_suite::run(fresh, b"").await;
}

#[tokio::test]
async fn the_fake_runtime_is_one() {
    let runtime = Arc::clone(&orchestrator().ports().runtimes["fake"]);
    let request = LaunchRequest {
        agent: AgentId(uuid::Uuid::from_u128(7)),
        task: "T-1".parse().unwrap(),
        agent_type: AgentType::Worker,
        prompt: "Do it.".to_owned(),
        system: String::new(),
        tree: "/tree".into(),
        sandbox: handle("/agent/home", "/agent/config"),
        model: None,
        budget: Budget::default(),
        resume: None,
        new_session: "s".to_owned(),
    };
    runtime_suite::run(runtime, &request, &[b"one".to_vec(), b"two".to_vec()]).await;
}

struct Plain(PlainProcesses, tempfile::TempDir);

impl ProcessesFixture for Plain {
    fn processes(&self) -> &dyn Processes {
        &self.0
    }
    fn directory(&self) -> &Path {
        self.1.path()
    }
    fn restart(&mut self) -> bool {
        false
    }
}

#[tokio::test]
async fn plain_processes_are_processes_that_end_with_the_test() {
    processes_suite::run(|| Plain(PlainProcesses::new(), tempfile::tempdir().unwrap())).await;
}
