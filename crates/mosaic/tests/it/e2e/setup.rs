//! Setups of repositories: run once before agents, given to trees and gates, never part of what an agent publishes.

use std::path::Path;

use mosaic_testkit::git_fixture::Fixture;
use serde_json::json;

use super::life::{text, with};
use super::support::{Home, Marker, body, script, until};

/// A repository with this configuration and a lock file.
fn fixture(config: &str) -> Fixture {
    let fixture = Fixture::new();
    fixture.commit_on("main", &[(".mosaic/config.toml", config), ("lock", "one\n")]);
    fixture
}

fn files(fixture: &Fixture, branch: &str) -> Vec<String> {
    let listed = fixture.run(&fixture.remote(), &["ls-tree", "-r", "--name-only", branch]);
    listed.lines().map(str::to_owned).collect()
}

fn lines(file: &Path) -> usize {
    std::fs::read_to_string(file).unwrap_or_default().lines().count()
}

#[test]
fn what_a_setup_makes_is_in_every_tree_and_in_no_commit() {
    let home = Home::new();
    let count = home.path().join("count");
    let config = format!(
        "[setup]\nrun = \"\"\"echo run >> '{}'; mkdir deps; cp lock deps/content\"\"\"\ninputs = ['lock']\noutputs = ['deps']\n\
         [gates]\ntests = 'cmp lock deps/content'\n",
        count.display()
    );
    let fixture = fixture(&config);
    let agent = "cat deps/content > seen.txt\ngit add -A\ngit commit -qm work\necho more > left.txt\necho junk > deps/junk\n";
    let line = script(home.path(), "agent.sh", agent);
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    for task in ["T-1", "T-2"] {
        let asked = with(body(&fixture.url(), task), json!({"gateProfile": "minimal"}));
        let done = server.life(&asked, "completed", "done");
        assert_eq!(done["verdict"], "passed", "{done:#}");
        let branch = text(&done["branch"]);
        assert_eq!(fixture.read_branch_file(&branch, "seen.txt").as_deref(), Some("one\n"));
        let files = files(&fixture, &branch);
        assert!(files.contains(&"left.txt".to_owned()), "{files:?}");
        assert!(!files.iter().any(|file| file.starts_with("deps")), "{files:?}");
    }
    assert_eq!(lines(&count), 1);
}

#[test]
fn a_setup_that_fails_ends_the_agent_before_its_program_starts() {
    let home = Home::new();
    let fixture = fixture("[setup]\nrun = 'echo registry is away; exit 9'\n[gates]\ntests = 'true'\n");
    let started = home.path().join("started");
    let line = script(home.path(), "agent.sh", &format!("touch '{}'\n", started.display()));
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let asked = with(body(&fixture.url(), "T-1"), json!({"maxRetries": 2, "maxFixRounds": 2}));
    let failed = server.life(&asked, "failed", "setup_failed");
    assert_eq!((&failed["attempt"], &failed["fixRound"]), (&json!(1), &json!(0)), "{failed:#}");
    assert!(!started.exists() && failed["startedAt"].is_null(), "the agent was started: {failed:#}");
    let error = text(&failed["error"]);
    assert!(error.contains("exit 9") && error.contains("registry is away"), "{error}");
    let logs = server.cli(&["logs", &text(&failed["agentId"])]);
    assert!(String::from_utf8_lossy(&logs.stdout).contains("registry is away"), "{logs:?}");
    let log = home.data().join("transcripts").join(text(&failed["agentId"])).join("setup-1.log");
    assert_eq!(std::fs::read_to_string(log).unwrap(), "registry is away\n");
}

#[test]
fn a_kill_ends_a_setup() {
    let (home, marker) = (Home::new(), Marker::new());
    let fixture = fixture(&format!("[setup]\nrun = 'sleep {marker}'\n[gates]\ntests = 'true'\n"));
    let server = home.serve(&[("MOSAIC_COMMAND", "cat")]);
    let id = server.spawn(&body(&fixture.url(), "T-1"));
    until("the setup", || (!marker.alive().is_empty()).then_some(()));
    server.kill(&id);
    assert_eq!(server.ended(&id)["status"], "killed");
    assert_eq!(marker.alive(), Vec::<String>::new());
}

#[test]
fn a_gate_whose_program_is_missing_starts_no_agent() {
    let home = Home::new();
    let fixture = fixture("[gates]\ntests = 'no-such-tool --all'\n");
    let server = home.serve(&[("MOSAIC_COMMAND", "sh -c 'echo x > x.txt'")]);
    let asked = with(body(&fixture.url(), "T-1"), json!({"gateProfile": "minimal", "maxFixRounds": 2}));
    let failed = server.life(&asked, "failed", "setup_failed");
    assert!(text(&failed["error"]).contains("gate tests needs `no-such-tool`"), "{failed:#}");
    assert!(failed["startedAt"].is_null());
}

#[test]
fn a_gate_that_the_base_cannot_be_judged_by_either_costs_no_fix_round() {
    let home = Home::new();
    let fixture = fixture("[gates]\ntests = 'sh -c no-such-tool; exit 127'\n");
    let server = home.serve(&[("MOSAIC_COMMAND", "sh -c 'echo x > x.txt'")]);
    let asked = with(body(&fixture.url(), "T-1"), json!({"gateProfile": "minimal", "maxFixRounds": 2}));
    let failed = server.life(&asked, "failed", "setup_failed");
    assert_eq!((&failed["fixRound"], &failed["attempt"]), (&json!(0), &json!(1)), "{failed:#}");
    assert!(
        failed["headCommit"].is_string() && failed["pushedCommit"].is_null(),
        "the work is not kept: {failed:#}"
    );
    assert!(failed["warnings"].to_string().contains("cannot be judged on the base either"), "{failed:#}");
    let gates = server.http.get(&format!("/v1/agents/{}/gates", text(&failed["agentId"]))).expect(200);
    assert_eq!(gates["report"]["results"][0]["fault"], "machine", "{gates:#}");
}

#[test]
fn npm_ci_runs_before_the_agent_and_its_modules_are_found() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let clone = fixture.path().join("work");
    let npm = |dir: &Path, args: &[&str]| {
        let mut command = std::process::Command::new("npm");
        command.args(args).current_dir(dir).env("HOME", home.path()).env("npm_config_offline", "true");
        command.output().is_ok_and(|done| done.status.success())
    };
    let dep = home.path().join("dep");
    std::fs::create_dir_all(&dep).unwrap();
    std::fs::write(dep.join("package.json"), r#"{"name":"dep","version":"1.0.0","bin":{"dep":"index.js"}}"#)
        .unwrap();
    std::fs::write(dep.join("index.js"), "#!/usr/bin/env node\nconsole.log('from dep');\n").unwrap();
    if !mosaic_testkit::require::have("npm", npm(&dep, &["--version"]), "install node with npm") {
        return;
    }
    assert!(npm(&dep, &["pack", "--pack-destination", clone.to_str().unwrap()]));
    let package = r#"{"name":"app","version":"1.0.0","dependencies":{"dep":"file:dep-1.0.0.tgz"}}"#;
    std::fs::write(clone.join("package.json"), package).unwrap();
    assert!(npm(&clone, &["install", "--package-lock-only", "--no-audit"]));
    let config = "[setup]\nrun = 'npm ci --offline --no-audit'\ninputs = ['package-lock.json']\noutputs = ['node_modules']\n\
         [gates]\ntests = 'node_modules/.bin/dep'\n";
    std::fs::create_dir_all(clone.join(".mosaic")).unwrap();
    std::fs::write(clone.join(".mosaic/config.toml"), config).unwrap();
    fixture.run(&clone, &["add", "-A"]);
    fixture.run(&clone, &["commit", "-qm", "app"]);
    fixture.run(&clone, &["push", "-q", "origin", "HEAD:main"]);
    let line = script(home.path(), "agent.sh", "node_modules/.bin/dep > seen.txt\n");
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let asked = with(body(&fixture.url(), "T-1"), json!({"gateProfile": "minimal"}));
    let done = server.life(&asked, "completed", "done");
    assert_eq!(done["verdict"], "passed", "{done:#}");
    let branch = text(&done["branch"]);
    assert_eq!(fixture.read_branch_file(&branch, "seen.txt").as_deref(), Some("from dep\n"));
    assert!(!files(&fixture, &branch).iter().any(|file| file.starts_with("node_modules")));
}
