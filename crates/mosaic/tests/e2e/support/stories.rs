//! Bodies, agents and repositories that many stories use.

use std::path::{Path, PathBuf};

use mosaic_testkit::git_fixture::Fixture;
use serde_json::{Value, json};

/// A spawn body for a repository: one work item, no gates, no retries.
pub(crate) fn body(repository: &str, task: &str) -> Value {
    json!({
        "taskId": task, "agentType": "worker", "maxRetries": 0, "maxFixRounds": 0,
        "context": {"repository": repository, "branch": "main", "workItems": ["do it"]},
    })
}

/// Writes a shell script and returns the program line that runs it as an agent.
pub(crate) fn script(dir: &Path, name: &str, text: &str) -> String {
    let path: PathBuf = dir.join(name);
    std::fs::write(&path, text).unwrap();
    format!("sh '{}'", path.display())
}

/// Makes a remote whose `main` defines these gates, as lines of `[gates]`.
pub(crate) fn fixture_with_gates(gates: &str) -> Fixture {
    let fixture = Fixture::new();
    fixture.commit_on("main", &[(".mosaic/config.toml", &format!("[gates]\n{gates}\n"))]);
    fixture
}
