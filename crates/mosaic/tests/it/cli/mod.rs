//! The program from outside: help, usage errors, exit codes, and calls to a server that answers as the API does.

mod doctor;
mod repositories;
mod screens;
mod stub_server;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use mosaic_testkit::program;
use stub_server::{Reply, SPAWNED, agent, answering};

/// Makes a call of the program in an empty environment with its state in `dir`.
fn command(dir: &Path) -> Command {
    program::command(Path::new(env!("CARGO_BIN_EXE_mosaic")), dir, dir)
}

/// Runs the program in an empty environment with its state in `dir`.
fn mosaic_with(dir: &Path, env: &[(&str, &str)], args: &[&str]) -> Output {
    command(dir).args(args).envs(env.iter().copied()).current_dir(dir).output().unwrap()
}

fn mosaic(args: &[&str]) -> (Output, String, String) {
    let dir = tempfile::tempdir().unwrap();
    parts(mosaic_with(dir.path(), &[], args))
}

fn parts(output: Output) -> (Output, String, String) {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    (output, out, err)
}

const COMMANDS: [&str; 28] = [
    "attention",
    "answer",
    "serve",
    "demo",
    "run",
    "spawn",
    "ps",
    "status",
    "logs",
    "diff",
    "gates",
    "wait",
    "kill",
    "kill-all",
    "rm",
    "prune",
    "killswitch",
    "freeze",
    "thaw",
    "drill",
    "retry",
    "queue",
    "nodes",
    "doctor",
    "config",
    "token",
    "completions",
    "help",
];

#[test]
fn every_command_has_help_with_examples() {
    let (_, root, _) = mosaic(&["--help"]);
    for command in COMMANDS.iter().filter(|c| **c != "help") {
        assert!(root.lines().any(|l| l.trim_start().starts_with(command)), "{command} is not in the help");
        let (output, out, _) = mosaic(&[command, "--help"]);
        assert!(output.status.success() && out.contains("Examples:\n  "), "{command}: {out}");
    }
    assert!(root.contains("Exit codes:\n  0 ok"), "{root}");
}

#[test]
fn wrong_flags_are_usage_errors_with_a_guess() {
    for (args, part) in [
        (&["ps", "--colour", "never"][..], "--color"),
        (&["spawn", "x", "--gate", "strct"], "strict"),
        (&["spawn", "x", "--priority", "11"], "1..=10"),
        (&["spawn", "x", "--type", "wroker"], "worker"),
        (&["spawn", "x", "--budget", "much"], "40turns"),
        (&["spawn", "x", "--repo", "ext::sh -c id", "--branch", "main"], "--repo"),
        (&["spawn"], "nothing to do"),
        (&["gtes", "x"], "gates"),
        (&["wait"], "AGENT"),
        (&["kill-all", "--yes=many"], "--yes"),
        (&["ps", "--url", "https://x"], "http only"),
    ] {
        let (output, out, err) = mosaic(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {err}");
        assert!(err.contains(part) && out.is_empty(), "{args:?}: {err}");
    }
}

#[test]
fn without_a_server_the_code_is_5_and_the_way_out_is_named() {
    for args in [
        &["ps"][..],
        &["status"],
        &["logs", "fix-1234"],
        &["kill", "fix-1234"],
        &["kill-all", "--yes"],
        &["rm", "fix-1234"],
        &["prune", "--yes"],
        &["queue"],
        &["wait", "fix-1234"],
        &["attention"],
        &["answer", "fix-1234", "wait"],
    ] {
        let (output, out, err) = mosaic(args);
        assert_eq!(output.status.code(), Some(5), "{args:?}: {err}");
        assert!(err.contains("mosaic serve") && out.is_empty(), "{args:?}: {err}");
    }
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (output, _, err) = mosaic(&["ps", "--url", &format!("http://{free}")]);
    assert_eq!(output.status.code(), Some(5), "{err}");
}

#[test]
fn what_the_build_lacks_stops_the_server_by_name() {
    let dir = tempfile::tempdir().unwrap();
    for (name, value) in [("SANDBOX_ENABLED", "true"), ("MOSAIC_SANDBOX", "docker")] {
        let (output, _, err) = parts(mosaic_with(dir.path(), &[(name, value)], &["serve"]));
        assert_eq!(output.status.code(), Some(2), "{err}");
        assert!(err.contains(name) && err.contains("unset"), "{err}");
    }
    let (output, _, err) = parts(mosaic_with(dir.path(), &[("SANDBOX_ENABLED", "true")], &["config"]));
    assert_eq!(output.status.code(), Some(2), "{err}");
}

#[test]
fn a_valkey_server_that_nobody_runs_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let env =
        [("VALKEY_HOST", "localhost"), ("VALKEY_PORT", free.as_str()), ("MOSAIC_VALKEY_PASSWORD", "canary")];
    let (output, _, err) = parts(mosaic_with(dir.path(), &env, &["serve"]));
    assert_eq!(output.status.code(), Some(1), "{err}");
    let wanted = format!(
        "cannot reach the store at localhost:{free} (connection refused); start it, or unset VALKEY_HOST and VALKEY_PORT for the embedded store"
    );
    assert!(err.contains(&wanted) && !err.contains("canary"), "{err}");
    let (_, out, err) = parts(mosaic_with(dir.path(), &env, &["doctor"]));
    assert!(out.contains("D-VALKEY-1") && out.contains(&format!("localhost:{free}")), "{out}{err}");
    assert!(!out.contains("canary"), "{out}");
}

#[test]
fn settings_are_shown_without_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let env = [("CLAUDE_API_KEY", "sk-canary"), ("MOSAIC_SLOTS", "7"), ("MOSAIC_SLOT", "7")];
    for args in [&["config"][..], &["config", "--json"]] {
        let (output, out, err) = parts(mosaic_with(dir.path(), &env, args));
        assert!(output.status.success(), "{err}");
        assert!(!out.contains("canary") && !err.contains("canary") && out.contains("MOSAIC_SLOTS"), "{out}");
        assert!(
            out.contains("did you mean MOSAIC_SLOTS?") || err.contains("did you mean MOSAIC_SLOTS?"),
            "{out}{err}"
        );
    }
    let (_, out, _) = mosaic(&["config", "--markdown"]);
    assert!(out.starts_with("| variable |") && out.contains("| `VALKEY_HOST` |"), "{out}");
}

#[test]
fn completions_are_made_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (output, out, err) = mosaic(&["completions", shell]);
        assert!(output.status.success() && out.contains("kill-all"), "{shell}: {err}");
    }
}

#[test]
fn an_agent_is_refused_what_is_wide() {
    let dir = tempfile::tempdir().unwrap();
    for args in [
        &["kill-all", "--yes"][..],
        &["token", "--show"],
        &["queue", "pause"],
        &["rm", "x", "--discard=x"],
        &["rm", "x"],
        &["prune", "--yes"],
        &["prune", "--force=1"],
        &["killswitch", "engage", "--yes"],
        &["killswitch", "release"],
        &["answer", "x", "wait"],
        &["nodes", "cordon", "x"],
        &["nodes", "drain", "x"],
    ] {
        let (output, _, err) = parts(mosaic_with(
            dir.path(),
            &[("MOSAIC_AGENT_ID", "7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a")],
            args,
        ));
        assert_eq!(output.status.code(), Some(4), "{args:?}: {err}");
    }
}

const JSON: &str = "application/json";
const DONE: &str = agent!(
    r#""agentId":"7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a","name":"fix-7d0c","taskId":"US-1","status":"failed","phase":"settled","endReason":"gates_failed","error":"coverage \u001b[31mlow""#
);
const LIST: &str = concat!(
    r#"{"items":["#,
    agent!(
        r#""agentId":"7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a","name":"fix-7d0c","taskId":"US-1","status":"failed","phase":"settled","endReason":"gates_failed""#
    ),
    ",",
    agent!(r#""agentId":"7d0c0000-4a52-4d0e-9a55-0d7c9f2f3f9a","name":"fix-two-7d0c","taskId":"US-2""#),
    r#"],"nextCursor":null}"#
);
const PAGE: &str = r#"{"items":[{"n":1,"at":"2026-11-22T10:00:00.000Z","attempt":1,"kind":"text","text":"hello \u001b]0;x\u0007"}],"nextCursor":null}"#;

#[test]
fn a_server_is_found_called_with_its_token_and_read() {
    let dir = tempfile::tempdir().unwrap();
    let told = answering(
        dir.path(),
        &[
            ("GET /v1/agents/7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a/transcript", 200, JSON, PAGE),
            (
                "GET /v1/agents/7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a/gates",
                200,
                JSON,
                r#"{"agentId":"","taskId":"","profile":"standard","verdict":null,"phase":"settled","fixRound":0,"maxFixRounds":2,"plan":null,"report":{"commit":"","verdict":"incomplete","results":[]},"findings":[]}"#,
            ),
            ("GET /v1/agents/7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a", 200, JSON, DONE),
            ("GET /v1/agents?", 200, JSON, LIST),
            ("GET /health", 200, JSON, "{}"),
            (
                "POST /agents/kill-all",
                200,
                JSON,
                r#"{"message":"x","total":2,"killed":1,"failed":1,"errors":["fix-two: not confirmed"],"queued":0,"verified":false,"recorded":"durable","barrier":0,"receipts":[]}"#,
            ),
            (
                "POST /agents/spawn",
                409,
                "application/problem+json",
                r#"{"code":"task_active","detail":"US-1 is being worked on","hint":"wait for it"}"#,
            ),
        ],
    );
    let run = |args: &[&str]| parts(mosaic_with(dir.path(), &[], args));
    let (output, out, _) = run(&["ps", "-a"]);
    assert!(
        output.status.success() && out.starts_with("agentId\tname\t") && out.contains("\tfix-7d0c\tUS-1\t"),
        "{out}"
    );
    assert!(told.recv().unwrap().to_lowercase().contains("authorization: bearer t0ken"));
    let (output, _, err) = run(&["status", "7d0c"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err.contains("fix-two-7d0c") && err.contains("fix-7d0c  US-1"), "{err}");
    let (output, out, err) = run(&["logs", "fix-7d0c"]);
    assert!(output.status.success() && err.contains("reading fix-7d0c"), "{err}");
    assert_eq!(out, "10:00:00  agent     hello \\x1b]0;x\\x07\n");
    let (output, out, _) = run(&["gates", "fix-7d0c"]);
    assert_eq!(output.status.code(), Some(11), "{out}");
    let (output, out, _) = run(&["wait", "fix-7d0c"]);
    assert_eq!(output.status.code(), Some(11), "{out}");
    let (output, _, err) = run(&["wait", "fix-two", "--timeout", "0"]);
    assert_eq!(output.status.code(), Some(8), "{err}");
    let (output, _, err) = run(&["logs", "nobody-here"]);
    assert_eq!(output.status.code(), Some(3), "{err}");
    let (output, _, err) = run(&["kill-all"]);
    assert_eq!(output.status.code(), Some(2), "asks, but there is no terminal: {err}");
    let (output, _, err) = run(&["kill-all", "--yes=5"]);
    assert_eq!(output.status.code(), Some(2), "{err}");
    let (output, out, _) = run(&["kill-all", "--yes=2"]);
    assert_eq!(output.status.code(), Some(7), "{out}");
    let (output, _, err) =
        run(&["spawn", "x", "--repo", "https://git.example.com/r.git", "--branch", "main"]);
    assert_eq!(output.status.code(), Some(6), "{err}");
    assert!(err.contains("US-1 is being worked on\n  wait for it"), "{err}");
}

#[test]
fn json_is_what_the_server_sent_and_a_missing_field_is_named() {
    const NEWER: &str = agent!(
        r#""name":"fix-7d0c","agentId":"7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a","newer":{"a":[1.5,null]},"status":"dreaming""#
    );
    let dir = tempfile::tempdir().unwrap();
    let _told = answering(
        dir.path(),
        &[
            ("GET /v1/agents/7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a", 200, JSON, NEWER),
            ("GET /v1/queue", 200, JSON, r#"{"paused":false,"pause":null}"#),
        ],
    );
    let run = |args: &[&str]| parts(mosaic_with(dir.path(), &[], args));
    let (output, out, err) = run(&["status", "--json", "7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a"]);
    assert!(output.status.success(), "{err}");
    let sent: serde_json::Value = serde_json::from_str(NEWER).unwrap();
    assert_eq!(out, format!("{sent}\n"));
    let (output, out, err) = run(&["queue"]);
    assert_eq!((output.status.code(), out.as_str()), (Some(1), ""), "{err}");
    assert!(err.contains("GET /v1/queue") && err.contains("missing field `"), "{err}");
}

#[test]
fn a_file_of_tasks_goes_on_after_a_bad_line() {
    let dir = tempfile::tempdir().unwrap();
    let _told = answering(dir.path(), &[("POST /agents/spawn", 201, JSON, SPAWNED)]);
    std::fs::write(dir.path().join("tasks.jsonl"), "{\"taskId\":\"a\"}\n\nnot json\n{\"taskId\":\"b\"}")
        .unwrap();
    let (output, out, err) = parts(mosaic_with(dir.path(), &[], &["spawn", "-f", "tasks.jsonl", "-q"]));
    assert_eq!(output.status.code(), Some(7), "{err}");
    assert_eq!(out.lines().count(), 2, "{out}");
    assert!(err.contains("line 3: error: is no JSON"), "{err}");
}

#[test]
fn following_ends_with_the_agent_and_shows_every_entry_once() {
    const RUNNING: &str = concat!(
        r#"{"items":["#,
        agent!(r#""agentId":"7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a","name":"fix-7d0c","taskId":"US-1""#),
        r#"]}"#
    );
    let dir = tempfile::tempdir().unwrap();
    let _told = answering(
        dir.path(),
        &[
            ("GET /v1/agents?", 200, JSON, RUNNING),
            (
                "GET /v1/agents/7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a/transcript?after=0 ",
                200,
                "text/event-stream",
                "id: 1\ndata: {\"n\":1,\"at\":\"\",\"attempt\":1,\"kind\":\"text\",\"text\":\"one\"}\n\n: hb\n\n",
            ),
            (
                "GET /v1/agents/7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a/transcript?after=",
                200,
                JSON,
                r#"{"items":[{"n":1,"at":"","attempt":1,"kind":"text","text":"one"},{"n":2,"at":"","attempt":1,"kind":"text","text":"two"}],"nextCursor":null}"#,
            ),
            ("GET /v1/agents/7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a?wait", 200, JSON, DONE),
        ],
    );
    let (output, out, err) = parts(mosaic_with(dir.path(), &[], &["logs", "-f", "--json", "fix-7d0c"]));
    assert!(output.status.success(), "{err}");
    assert_eq!(out.lines().count(), 2, "{out}");
}

#[test]
fn doctor_reports_with_ids() {
    let dir = tempfile::tempdir().unwrap();
    let (output, out, err) =
        parts(mosaic_with(dir.path(), &[("MOSAIC_RUNTIME", "demo")], &["doctor", "--json"]));
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    let ids: Vec<&str> =
        report["findings"].as_array().unwrap().iter().filter_map(|f| f["id"].as_str()).collect();
    assert!(ids.contains(&"D-SERVER-1"), "{out}{err}");
    assert_eq!(output.status.success(), report["failed"] == 0, "{out}");
}

#[test]
fn run_without_a_repository_or_commit_says_what_to_do() {
    let (output, _, err) = mosaic(&["run", "x"]);
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(err.contains("no git repository here"), "{err}");
    let dir = tempfile::tempdir().unwrap();
    assert!(Command::new("git").args(["init", "-q"]).current_dir(dir.path()).status().unwrap().success());
    let (output, _, err) = parts(mosaic_with(dir.path(), &[], &["run", "x"]));
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(err.contains("no commit yet"), "{err}");
}

/// Makes a repository with one commit on `main` and one file that is not committed.
fn repository(dir: &Path) {
    let git = |args: &[&str]| {
        let status = Command::new("git")
            .args(["-c", "user.name=x", "-c", "user.email=x@example.com"])
            .args(args)
            .current_dir(dir)
            .status();
        assert!(status.unwrap().success(), "{args:?}");
    };
    git(&["init", "-q", "-b", "main"]);
    git(&["commit", "-q", "--allow-empty", "-m", "first"]);
    std::fs::write(dir.join("loose.txt"), "x").unwrap();
}

/// Runs `mosaic run` in a fresh repository against these replies; returns what it printed and the first request.
fn run_here(replies: &'static [Reply]) -> (Output, String, String, Vec<String>) {
    let (state, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    repository(work.path());
    let told = answering(state.path(), replies);
    let output = command(state.path()).args(["run", "fix it"]).current_dir(work.path()).output().unwrap();
    let (output, out, err) = parts(output);
    (output, out, err, told.try_iter().collect())
}

#[test]
fn run_works_on_the_repository_it_is_typed_in_and_ends_as_its_agent() {
    let (output, out, err, requests) = run_here(&[
        ("GET /health ", 200, JSON, "{}"),
        ("POST /agents/spawn", 201, JSON, SPAWNED),
        ("GET /v1/agents/7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a/transcript", 200, JSON, PAGE),
        ("GET /v1/agents/7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a?wait", 200, JSON, DONE),
    ]);
    assert_eq!(output.status.code(), Some(11), "{err}");
    assert!(err.contains("not included: loose.txt") && err.contains("agent     hello"), "{err}");
    assert!(out.starts_with("fix-7d0c  failed · gates_failed") && !out.contains('\u{1b}'), "{out}");
    let spawn = requests.iter().find(|r| r.starts_with("POST /agents/spawn")).unwrap();
    assert!(spawn.contains("\"branch\":\"main\"") && spawn.contains("\"workItems\":[\"fix it\"]"), "{spawn}");
}

#[test]
fn a_server_that_takes_no_local_repository_is_explained() {
    let (output, _, err, _) = run_here(&[
        ("GET /health ", 200, JSON, "{}"),
        (
            "POST /agents/spawn",
            403,
            "application/problem+json",
            r#"{"code":"policy_denied","detail":"local repositories are off"}"#,
        ),
    ]);
    assert_eq!(output.status.code(), Some(4), "{err}");
    assert!(err.contains("MOSAIC_ALLOW_LOCAL_REPOSITORIES=true"), "{err}");
}

#[test]
fn ctrl_c_leaves_the_agent_at_work_and_says_so() {
    let (state, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    repository(work.path());
    let told = answering(
        state.path(),
        &[
            ("GET /health ", 200, JSON, "{}"),
            ("POST /agents/spawn", 201, JSON, SPAWNED),
            ("GET /v1/agents/7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a/transcript", 200, JSON, PAGE),
            (
                "GET /v1/agents/7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a?wait",
                200,
                JSON,
                agent!(r#""agentId":"7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a""#),
            ),
        ],
    );
    let mut command = command(state.path());
    command.args(["run", "fix it"]).current_dir(work.path());
    let child =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    // The handler stands before the agent is followed.
    let following = |request: &String| request.contains("?wait");
    let limit = std::time::Duration::from_secs(30);
    while !following(&told.recv_timeout(limit).unwrap()) {}
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let (output, out, err) = parts(child.wait_with_output().unwrap());
    assert_eq!(output.status.code(), Some(130), "{err}");
    assert!(out.is_empty() && err.contains("the agent goes on: mosaic logs -f fix-7d0c"), "{err}");
}
