//! The adapters keep the contracts of their ports, each with the real thing behind it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mosaic_adapters::gates_local::{GateOptions, LocalGatekeeper, Trust};
use mosaic_adapters::private_dirs::PrivateDirs;
use mosaic_adapters::sandbox_none::NoSandbox;
use mosaic_adapters::secret_scan::RuleScanner;
use mosaic_adapters::trash::Trash;
use mosaic_testkit::fakes::clock::RealClock;
use mosaic_testkit::fakes::plain_processes::PlainProcesses;
use mosaic_testkit::fakes::transcripts::MemoryTranscripts;
use mosaic_testkit::gatekeeper_suite::{self, Subject};
use mosaic_testkit::sandbox_suite;

/// Makes a directory that stays until the test's process has ended: what is made in it may outlive its maker.
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
        });
        Subject { keeper: Arc::new(keeper), checkout, reads_definitions: true }
    };
    gatekeeper_suite::run(fresh, b"[gates]\npasses = 'true'\nfails = 'exit 3'\n").await;
}
