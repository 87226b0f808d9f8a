//! Every way a task's life can go, with plain programs as agents.

use std::path::Path;

use mosaic_testkit::git_fixture::Fixture;
use serde_json::{Value, json};

use super::support::{Home, body, fixture_with_gates, script};

/// A body with some fields changed.
pub(super) fn with(mut body: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_worker_that_changes_nothing_fails_and_a_reviewer_answers() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let server = home.serve(&[("MOSAIC_COMMAND", "sh -c 'cat >/dev/null; echo looks good to me'")]);
    let worker = server.life(&body(&fixture.url(), "W-1"), "failed", "no_changes");
    assert!(text(&worker["error"]).contains("without changing anything"), "{worker:#}");
    for kind in ["reviewer", "tester"] {
        let asked = with(body(&fixture.url(), "R-1"), json!({"agentType": kind, "gateProfile": "minimal"}));
        let done = server.life(&asked, "completed", "no_changes");
        assert_eq!(done["result"], "looks good to me", "{done:#}");
    }
    assert_eq!(fixture.branches(), ["main"], "something was pushed");

    let id = text(&worker["agentId"]);
    let again = server.http.post(&format!("/v1/agents/{id}/retry"), None);
    assert!(again.headers.contains_key("location"));
    let again = again.expect(201);
    assert_eq!(again["previousAgentId"], json!(id));
    let again = server.ended(&text(&again["agentId"]));
    assert_ne!(again["agentId"], json!(id));
    assert_eq!((&again["previousAgentId"], &again["attempt"]), (&json!(id), &json!(1)));
}

#[test]
fn a_crash_is_tried_again_after_a_while_and_counted() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let seen = home.path().join("seen");
    let agent = format!(
        "grep -q hopeless && {{ echo 'no hope left' >&2; exit 3; }}\nif [ -e '{0}' ]; then echo x > x.txt; else touch '{0}'; exit 3; fi\n",
        seen.display()
    );
    let line = script(home.path(), "agent.sh", &agent);
    let server = home.serve(&[("MOSAIC_COMMAND", &line), ("MOSAIC_SLOTS", "2")]);
    let retried = |task: &str, item: &str| {
        let mut asked = with(body(&fixture.url(), task), json!({"maxRetries": 1}));
        asked["context"]["workItems"] = json!([item]);
        server.spawn(&asked)
    };
    let (hopeless, lucky) = (retried("T-1", "hopeless"), retried("T-2", "lucky"));
    let waiting = server.phase(&hopeless, "backoff");
    assert_eq!(waiting["status"], "running", "{waiting:#}");
    assert!(
        waiting["notBefore"].is_string() && waiting["lastFailure"].to_string().contains("status 3"),
        "{waiting:#}"
    );
    let hopeless = server.ended(&hopeless);
    assert_eq!((&hopeless["status"], &hopeless["endReason"]), (&json!("failed"), &json!("agent_error")));
    assert_eq!(hopeless["attempt"], 2);
    let error = text(&hopeless["error"]);
    assert!(
        error.contains("exit status 3") && error.contains("no hope left") && error.contains("attempt 2 of 2"),
        "{error}"
    );
    let lucky = server.ended(&lucky);
    assert_eq!((&lucky["status"], &lucky["attempt"]), (&json!("completed"), &json!(2)), "{lucky:#}");
}

#[test]
fn what_cannot_be_checked_out_fails_with_its_reason() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let server = home.serve(&[]);
    let mut asked = body(&fixture.url(), "T-1");
    asked["context"]["branch"] = json!("no-such-branch");
    let failed = server.life(&asked, "failed", "setup_failed");
    assert!(text(&failed["error"]).contains("no-such-branch"), "{failed:#}");
    let nowhere = fixture.path().join("nowhere.git");
    let failed = server.life(&body(nowhere.to_str().unwrap(), "T-2"), "failed", "setup_failed");
    assert!(text(&failed["error"]).contains("nowhere.git"), "{failed:#}");
    // Nobody listens on this port: it was free a moment ago, and 1 is reserved.
    let failed = server.life(&body("http://127.0.0.1:1/x.git", "T-3"), "failed", "setup_failed");
    assert!(text(&failed["error"]).contains("127.0.0.1"), "{failed:#}");
    let missing = server.http.post("/agents/spawn?validate=remote", Some(&asked)).expect(422);
    assert_eq!(missing["code"], "branch_not_found");
    assert_eq!(fixture.branches(), ["main"]);
}

/// An agent that changes the first line of the README while somebody else does the same on the remote, and resolves
/// the conflict when it is told to.
fn conflicting(home: &Home, fixture: &Fixture, second: &str) -> String {
    let agent = format!(
        "if grep -qi conflict; then {second}; exit 0; fi\n\
         echo '# mine' > README.md\n\
         cd '{}' && echo '# theirs' > README.md && git -c user.name=T -c user.email=t@example.com commit -qam theirs && git push -q origin main\n",
        fixture.path().join("work").display()
    );
    script(home.path(), "agent.sh", &agent)
}

#[test]
fn a_conflict_goes_back_to_the_agent_and_then_fails_with_the_files() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let line = conflicting(&home, &fixture, "echo more > more.txt");
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let asked = with(body(&fixture.url(), "T-1"), json!({"maxFixRounds": 1}));
    let failed = server.life(&asked, "failed", "conflict");
    assert!(text(&failed["error"]).contains("README.md"), "{failed:#}");
    assert_eq!((&failed["fixRound"], &failed["attempt"]), (&json!(1), &json!(1)), "{failed:#}");
    assert!(
        failed["headCommit"].is_string() && failed["pushedCommit"].is_null(),
        "the work is not kept: {failed:#}"
    );
    assert_eq!(fixture.branches(), ["main"]);
}

#[test]
fn a_conflict_can_be_resolved_by_the_agent() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let merge = "git fetch -q origin main && git merge -q -X ours --no-edit FETCH_HEAD";
    let line = conflicting(&home, &fixture, merge);
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let asked = with(body(&fixture.url(), "T-1"), json!({"maxFixRounds": 1}));
    let done = server.life(&asked, "completed", "done");
    assert_eq!(done["fixRound"], 1);
    let branch = text(&done["branch"]);
    assert_eq!(fixture.read_branch_file(&branch, "README.md").as_deref(), Some("# mine\n"));
    assert!(fixture.try_run(&fixture.remote(), &["merge-base", "--is-ancestor", "main", &branch]).is_some());
}

#[test]
fn undefined_gates_stop_a_strict_profile_before_the_agent_starts() {
    let (home, fixture) = (Home::new(), fixture_with_gates("tests = \"true\""));
    let started = home.path().join("started");
    let line = script(home.path(), "agent.sh", &format!("touch '{}'\necho x > x.txt\n", started.display()));
    let asked = with(body(&fixture.url(), "T-1"), json!({"gateProfile": "strict"}));
    {
        let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
        let failed = server.life(&asked, "failed", "gates_undefined");
        let error = text(&failed["error"]);
        for gate in ["typecheck", "lint", "coverage", "build", "integration"] {
            assert!(error.contains(gate), "{gate} is not named: {error}");
        }
        assert!(!started.exists() && failed["startedAt"].is_null(), "the agent was started: {failed:#}");
    }
    let server = home.serve(&[("MOSAIC_COMMAND", &line), ("MOSAIC_ALLOW_INCOMPLETE", "strict")]);
    let done = server.life(&asked, "completed", "done");
    assert_eq!(done["verdict"], "incomplete", "{done:#}");
    assert!(started.exists());
}

#[test]
fn a_standard_profile_without_definitions_is_incomplete_and_says_so() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let server = home.serve(&[("MOSAIC_COMMAND", "sh -c 'echo x > x.txt'")]);
    let done = server.life(&body(&fixture.url(), "T-1"), "completed", "done");
    let id = text(&done["agentId"]);
    assert_eq!(done["verdict"], "incomplete");
    for answer in
        [server.http.get(&format!("/agents/{id}/status")), server.http.get(&format!("/v1/agents/{id}"))]
    {
        let answer = answer.expect(200);
        let warnings = answer["warnings"].to_string();
        assert!(warnings.contains("typecheck, lint, tests, coverage"), "{answer:#}");
    }
    assert!(fixture.tip(&text(&done["branch"])).is_some());
}

#[test]
fn failing_gates_go_back_with_their_findings_and_what_passes_is_pushed() {
    let gates = "tests = \"test -e fixed.txt || { echo 'src/lib.txt:2: wrong word'; exit 1; }\"";
    let (home, fixture) = (Home::new(), fixture_with_gates(gates));
    let told = home.path().join("told");
    let agent = format!(
        "cat > '{0}'\nif grep -q 'wrong word' '{0}'; then echo ok > fixed.txt; else echo x > x.txt; fi\n",
        told.display()
    );
    let line = script(home.path(), "agent.sh", &agent);
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let gated = |task: &str, rounds: u32| {
        with(body(&fixture.url(), task), json!({"agentType": "tester", "maxFixRounds": rounds}))
    };
    let done = server.life(&gated("T-1", 2), "completed", "done");
    assert_eq!((&done["verdict"], &done["fixRound"]), (&json!("passed"), &json!(1)), "{done:#}");
    assert_eq!(fixture.tip(&text(&done["branch"])), done["headCommit"].as_str().map(str::to_owned));
    let failed = server.life(&gated("T-2", 0), "failed", "gates_failed");
    assert!(text(&failed["error"]).contains("tests"), "{failed:#}");
    assert_eq!(fixture.tip(&text(&failed["branch"])), None);
    let gates = server.http.get(&format!("/v1/agents/{}/gates", text(&failed["agentId"]))).expect(200);
    assert!(gates.to_string().contains("wrong word"), "{gates:#}");
}

#[test]
fn work_items_and_skills_reach_the_agent() {
    let (home, fixture) = (Home::new(), Fixture::new());
    fixture.commit_on(
        "main",
        &[
            (".mosaic/work-items/US-7.md", "As a user I want a purple button."),
            ("docs/stories/BUG-9-crash.md", "It crashes on Tuesdays."),
            (".claude/skills/typing/SKILL.md", "---\nname: typing\n---\nUse types."),
            ("AGENTS.md", "Speak in rhymes."),
        ],
    );
    let operators = home.path().join("skills/ours");
    std::fs::create_dir_all(&operators).unwrap();
    std::fs::write(operators.join("SKILL.md"), "Ours.").unwrap();
    let told = home.path().join("told");
    let line = format!("sh -c 'cat > {}; echo x > x.txt'", told.display());
    let skills = home.path().join("skills");
    let env = [("MOSAIC_COMMAND", line.as_str()), ("MOSAIC_SKILLS_DIR", skills.to_str().unwrap())];
    let mut asked = body(&fixture.url(), "T-1");
    asked["context"] = json!({
        "repository": fixture.url(), "branch": "main", "workItems": ["US-7", "BUG-9", "paint it red"],
        "skills": ["typing", "ours", "juggling"], "instructions": "Hurry slowly.",
    });
    {
        let server = home.serve(&env);
        let done = server.life(&asked, "completed", "done");
        let told = std::fs::read_to_string(&told).unwrap();
        for part in [
            "purple button",
            "on Tuesdays",
            "paint it red",
            "typing",
            "ours",
            "juggling",
            "Hurry slowly",
            "Speak in rhymes",
        ] {
            assert!(told.contains(part), "{part:?} is not in the prompt:\n{told}");
        }
        let warnings = done["warnings"].to_string();
        assert!(warnings.contains("juggling") && !warnings.contains("typing"), "{warnings}");
    }
    std::fs::remove_file(&told).unwrap();
    let mut env = env.to_vec();
    env.push(("MOSAIC_SKILLS", "require"));
    let server = home.serve(&env);
    let failed = server.life(&asked, "failed", "setup_failed");
    assert!(text(&failed["error"]).contains("juggling") && !told.exists(), "{failed:#}");
}

#[test]
fn the_environment_of_an_agent_is_built_from_empty() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let seen = home.path().join("env");
    let line = format!("sh -c 'env -0 > {}; pwd > here.txt'", seen.display());
    let server = home.serve(&[
        ("MOSAIC_COMMAND", &line),
        ("CLAUDE_API_KEY", "sk-ant-for-nobody"),
        ("MOSAIC_GIT_TOKEN", "gittoken-for-nobody"),
        ("MOSAIC_GIT_TOKEN_HOST", "example.com"),
        ("PRIVATE_THING", "private"),
    ]);
    let done = server.life(&body(&fixture.url(), "T-1"), "completed", "done");
    let seen = std::fs::read_to_string(&seen).unwrap();
    let entries: Vec<(&str, &str)> = seen.split('\0').filter_map(|entry| entry.split_once('=')).collect();
    let of = |name: &str| entries.iter().find(|(n, _)| *n == name).map_or("", |(_, value)| value);
    assert_eq!(of("MOSAIC_AGENT_ID"), done["agentId"]);
    assert_eq!(of("MOSAIC_TASK_ID"), "T-1");
    assert_eq!(of("MOSAIC_BASE"), done["baseCommit"]);
    let here = fixture.read_branch_file(&text(&done["branch"]), "here.txt").unwrap();
    assert_eq!(of("MOSAIC_WORKTREE"), here.trim());
    assert!(Path::new(of("HOME")).starts_with(home.data()), "HOME is {}", of("HOME"));
    for word in ["for-nobody", "private", "server.log"] {
        assert!(!seen.contains(word), "{word} is in the agent's environment: {entries:#?}");
    }
    let names: Vec<&str> = entries.iter().map(|(name, _)| *name).collect();
    for name in ["MOSAIC_DATA_DIR", "MOSAIC_TOKEN", "MOSAIC_COMMAND", "ORCHESTRATOR_PORT"] {
        assert!(!names.contains(&name), "{name} was passed on");
    }
}
