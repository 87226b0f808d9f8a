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

/// Writes a stand-in for Claude Code: it acknowledges what it is asked, and does `turn` when it gets a message. Returns
/// its path.
pub(crate) fn claude_stand_in(dir: &Path, turn: &str) -> String {
    let text = format!(
        r#"#!/bin/sh
case "$*" in *--version*) echo 2.1.330; exit;; esac
while read -r line; do
  case "$line" in
    *'"type":"control_request"'*) echo '{{"type":"control_response","response":{{"subtype":"success","request_id":"mosaic-initialize","response":{{}}}}}}'; continue;;
  esac
{turn}
done
"#
    );
    let path = dir.join("claude");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    path.display().to_string()
}

/// Spawns an agent of the `claude` runtime, with more fields; returns its id.
pub(crate) fn spawn_claude(
    server: &super::Server<'_>,
    fixture: &Fixture,
    task: &str,
    more: &Value,
) -> String {
    let mut body = body(&fixture.url(), task);
    (body["runtime"], body["gateProfile"]) = (json!("claude"), json!("minimal"));
    for (field, value) in more.as_object().unwrap() {
        body[field] = value.clone();
    }
    server.spawn(&body)
}
