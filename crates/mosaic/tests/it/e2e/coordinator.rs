//! A server whose gates are judged elsewhere: by `mosaic coordinator` in a process of its own, and by stubs.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mosaic_testkit::git_fixture::Fixture;
use mosaic_testkit::program::{Access, Program};
use mosaic_testkit::stub_coordinator::{Reply, StubCoordinator};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::support::{Home, Http, Marker, PATIENCE, Server, body, fixture_with_gates, script, until};

/// `mosaic coordinator` with a directory of its own.
struct Coordinator {
    home: Home,
    program: Program,
    access: Access,
}

impl Coordinator {
    fn start(env: &[(&str, &str)]) -> Self {
        Self::start_in(Home::new(), env)
    }

    fn start_in(home: Home, env: &[(&str, &str)]) -> Self {
        let mut command = home.mosaic(&["coordinator"]);
        command.env("MOSAIC_COORDINATOR_PORT", "0").env("MOSAIC_KILL_GRACE_MS", "500");
        command.envs(env.iter().copied()).stdout(Stdio::null());
        command.stderr(std::fs::File::create(home.path().join("coordinator.log")).unwrap());
        let mut program = Program::start(command, &home.data().join("coordinator")).unwrap();
        let access = program.listens_by(Instant::now() + PATIENCE);
        let log = || std::fs::read_to_string(home.path().join("coordinator.log")).unwrap_or_default();
        let access = access.unwrap_or_else(|| panic!("the coordinator does not listen: {}", log()));
        Self { home, program, access }
    }

    /// Starts a server that asks it.
    fn serve<'h>(&self, home: &'h Home, command: &str) -> Server<'h> {
        home.serve(&[
            ("MOSAIC_COMMAND", command),
            ("COORDINATOR_URL", &self.access.url),
            ("MOSAIC_COORDINATOR_TOKEN", &self.access.token),
        ])
    }

    fn http(&self) -> Http {
        Http::new(&self.access.url, Some(&self.access.token))
    }

    fn port(&self) -> String {
        self.access.url.rsplit(':').next().unwrap().to_owned()
    }
}

fn custom(repository: &str, task: &str, gates: &[&str]) -> Value {
    let mut asked = body(repository, task);
    asked["gateProfile"] = json!("custom");
    asked["gates"] = json!(gates);
    asked
}

/// The agent writes a file, whatever it is told. No two tasks make the same tree, whose verdict would be remembered.
const WRITES: &str = "sh -c 'cat > /dev/null; echo made for $MOSAIC_TASK_ID > made.txt'";

/// Everything of a judgement that must not depend on where it was made: per gate its result and its log.
fn judgement(server: &Server<'_>, agent: &Value) -> Vec<(Value, String)> {
    let id = agent["agentId"].as_str().unwrap();
    let gates = server.http.get(&format!("/v1/agents/{id}/gates")).expect(200);
    let report = &gates["report"];
    let mut all = vec![(json!([report["verdict"], gates["plan"]["definedBy"]]), String::new())];
    for result in report["results"].as_array().unwrap() {
        let mut result = result.clone();
        result.as_object_mut().unwrap().remove("durationMs");
        let name = result["name"].as_str().unwrap().to_owned();
        let log = server.http.get(&format!("/v1/agents/{id}/gates/{name}/log"));
        all.push((result, log.text));
    }
    all
}

#[test]
fn verdicts_findings_and_logs_of_a_coordinator_are_those_of_local_gates() {
    let fixture = fixture_with_gates(
        "passes = 'test -e made.txt && echo all well'\n\
         fails = 'echo \"made.txt:1:2: error: not like this\"; exit 1'\n\
         hangs = { run = 'sleep 600', timeout = '1s' }",
    );
    let stories: [&[&str]; 4] =
        [&["passes"], &["passes", "fails"], &["passes", "hangs"], &["passes", "nowhere"]];
    let told = |server: &Server<'_>| {
        let tell = |(n, gates): (usize, &&[&str])| {
            let asked = custom(&fixture.url(), &format!("T-{n}"), gates);
            let ended = server.ended(&server.spawn(&asked));
            let end = json!([ended["status"], ended["endReason"], ended["fixRound"]]);
            (end, judgement(server, &ended))
        };
        stories.iter().enumerate().map(tell).collect::<Vec<_>>()
    };
    let home = Home::new();
    let local = told(&home.serve(&[("MOSAIC_COMMAND", WRITES)]));
    assert_eq!((&local[0].0[1], &local[1].0[0]), (&json!("done"), &json!("failed")), "{local:#?}");
    assert!(local[1].1[2].1.contains("not like this"), "{local:#?}");
    // Without permission the coordinator cannot reach the repository, and gets whole bundles.
    for allowed in ["true", "false"] {
        let coordinator = Coordinator::start(&[("MOSAIC_ALLOW_LOCAL_REPOSITORIES", allowed)]);
        let home = Home::new();
        let elsewhere = told(&coordinator.serve(&home, WRITES));
        assert_eq!(elsewhere, local, "local repositories allowed there: {allowed}");
        let state = coordinator.home.data().join("coordinator");
        let left = |part: &str| std::fs::read_dir(state.join(part)).map_or(0, |entries| entries.count());
        until("the checks to be cleaned up", || {
            (left("agents") == 0 && left("bundles") == 0 && left("transcripts") == 0).then_some(())
        });
    }
}

#[test]
fn an_agent_repairs_what_a_coordinator_found() {
    let fixture = fixture_with_gates(
        "tests = 'grep -q right made.txt || { echo \"made.txt:1: wrong word\"; exit 1; }'",
    );
    let (coordinator, home) = (Coordinator::start(&[]), Home::new());
    let agent = "if grep -q 'wrong word'; then echo right > made.txt; else echo wrong > made.txt; fi\n";
    let server = coordinator.serve(&home, &script(home.path(), "agent.sh", agent));
    let mut asked = custom(&fixture.url(), "T-1", &["tests"]);
    asked["maxFixRounds"] = json!(1);
    let done = server.life(&asked, "completed", "done");
    assert_eq!((&done["fixRound"], &done["verdict"]), (&json!(1), &json!("passed")), "{done:#}");
    let said = server.cli(&["gates", done["agentId"].as_str().unwrap()]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("tests"), "{said}");
}

/// Ends the sleeps of a gate, whoever runs it.
fn wake(marker: &Marker) {
    for line in marker.alive() {
        let pid: i32 = line.split(':').next().unwrap().parse().unwrap();
        // One that has ended meanwhile is awake.
        let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM);
    }
}

#[test]
fn a_coordinator_that_is_killed_in_the_middle_of_a_check_is_asked_again_and_never_passes_by_that() {
    let (home, marker) = (Home::new(), Marker::new());
    let fixture = fixture_with_gates(&format!("tests = 'sleep {marker}; true'"));
    let mut coordinator = Coordinator::start(&[]);
    let server = coordinator.serve(&home, WRITES);
    let mut asked = custom(&fixture.url(), "T-1", &["tests"]);
    asked["maxRetries"] = json!(5);
    asked["backoff"] = json!({"type": "fixed", "delay": 200});
    let id = server.spawn(&asked);
    until("the gate", || (!marker.alive().is_empty()).then_some(()));
    coordinator.program.kill_9();
    server.phase(&id, "backoff");
    assert_eq!(fixture.branches(), ["main"], "a dead coordinator opened the gate");
    let port = coordinator.port();
    let Coordinator { home: state, .. } = coordinator;
    let left = marker.alive();
    let _coordinator = Coordinator::start_in(state, &[("MOSAIC_COORDINATOR_PORT", &port)]);
    let again = until("the gate once more", || Some(marker.alive()).filter(|alive| !alive.is_empty()));
    let both: Vec<_> = again.iter().filter(|line| left.contains(line)).collect();
    assert!(both.is_empty(), "what the killed one left running is ended at the start: {both:?}");
    wake(&marker);
    let done = server.ended(&id);
    assert_eq!((&done["status"], &done["endReason"]), (&json!("completed"), &json!("done")), "{done:#}");
    assert_eq!(done["fixRound"], 0, "the agent paid for it: {done:#}");
    assert_eq!(server.http.logged("agent.running", &id).len(), 1);
}

#[test]
fn a_kill_during_a_check_ends_agent_and_check_promptly() {
    let (home, marker) = (Home::new(), Marker::new());
    let fixture = fixture_with_gates(&format!("tests = 'sleep {marker}'"));
    let coordinator = Coordinator::start(&[]);
    let server = coordinator.serve(&home, WRITES);
    let id = server.spawn(&custom(&fixture.url(), "T-1", &["tests"]));
    until("the gate", || (!marker.alive().is_empty()).then_some(()));
    let began = Instant::now();
    server.kill(&id);
    let ended = server.ended(&id);
    assert_eq!(ended["status"], "killed", "{ended:#}");
    assert!(began.elapsed() < Duration::from_secs(5), "the kill waited for the coordinator");
    until("the end of the check", || marker.alive().is_empty().then_some(()));
    assert_eq!(fixture.branches(), ["main"]);
}

#[test]
fn the_end_of_a_coordinator_leaves_nothing_of_a_check_running() {
    let (home, marker) = (Home::new(), Marker::new());
    let fixture = fixture_with_gates(&format!("tests = 'sleep {marker}'"));
    let mut coordinator = Coordinator::start(&[("MOSAIC_DRAIN_MS", "100")]);
    let server = coordinator.serve(&home, WRITES);
    server.spawn(&custom(&fixture.url(), "T-1", &["tests"]));
    until("the gate", || (!marker.alive().is_empty()).then_some(()));
    coordinator.program.signal(Signal::TERM);
    let ended = coordinator.program.wait_by(Instant::now() + PATIENCE).expect("it ends");
    assert!(ended.success() && marker.alive().is_empty(), "{ended:?} {:?}", marker.alive());
    assert!(!coordinator.home.data().join("coordinator/server.json").exists());
}

#[test]
fn a_coordinator_of_the_contract_alone_opens_the_gate_and_a_faulty_one_does_not() {
    let fixture = fixture_with_gates("tests = 'exit 7'");
    let stub = StubCoordinator::start(|_, asked| match asked.task_id.as_str() {
        "T-good" => Reply::approval(),
        "T-bad" => {
            Reply::Json(r#"{"approved": false, "gate": "tests", "message": "1 test failed"}"#.to_owned())
        }
        _ => Reply::Json("<html>".to_owned()),
    });
    let home = Home::new();
    let server = home.serve(&[("MOSAIC_COMMAND", WRITES), ("COORDINATOR_URL", &stub.url())]);
    let asked = |task: &str| {
        let mut asked = custom(&fixture.url(), task, &["tests"]);
        asked["maxFixRounds"] = json!(2);
        asked
    };
    let good = server.life(&asked("T-good"), "completed", "done");
    assert_eq!(good["verdict"], "passed", "{good:#}");
    let branches = fixture.branches().len();
    let faulty = server.life(&asked("T-garbage"), "failed", "setup_failed");
    assert_eq!((&faulty["fixRound"], &faulty["verdict"]), (&json!(0), &Value::Null), "{faulty:#}");
    let error = faulty["error"].as_str().unwrap();
    assert!(error.contains("gave no verdict") && error.contains("the work is kept"), "{error}");
    let bad = server.life(&asked("T-bad"), "failed", "gates_failed");
    assert_eq!(bad["fixRound"], 2, "{bad:#}");
    assert_eq!(fixture.branches().len(), branches, "something was pushed");
}

#[test]
fn readiness_and_doctor_say_that_a_coordinator_is_away_and_only_strict_work_makes_it_a_fault() {
    let fixture = fixture_with_gates("tests = 'true'");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}");
    let (home, marker) = (Home::new(), Marker::new());
    let agent = format!("sh -c 'cat > /dev/null; sleep {marker}'");
    let env = [
        ("MOSAIC_COMMAND", agent.as_str()),
        ("COORDINATOR_URL", url.as_str()),
        ("MOSAIC_ALLOW_INCOMPLETE", "strict"),
    ];
    let server = home.serve(&env);
    let ready = server.http.get("/health/ready").expect(200);
    assert_eq!(ready["checks"]["coordinator"]["status"], "warn", "{ready:#}");
    let detail = ready["checks"]["coordinator"]["detail"].as_str().unwrap();
    assert!(detail.contains(&url) && detail.contains("cannot be connected to"), "{detail}");
    let anonymous = server.http.anonymous().get("/health/ready").expect(200);
    assert!(!anonymous.to_string().contains(&url), "{anonymous:#}");
    let mut strict = body(&fixture.url(), "T-1");
    strict["gateProfile"] = json!("strict");
    let id = server.spawn(&strict);
    until("the agent", || (!marker.alive().is_empty()).then_some(()));
    let ready = server.http.get("/health/ready").expect(503);
    assert_eq!(ready["failing"], json!(["coordinator"]), "{ready:#}");
    server.kill(&id);
    server.ended(&id);
    server.http.get("/health/ready").expect(200);
    let doctor = home.run(&env, &["doctor"]);
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(said.contains("D-COORDINATOR-1") && said.contains(&url), "{said}");
    let doctor = home.run(&[], &["doctor"]);
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(said.contains("coordinator not configured (local gates used)"), "{said}");
}

/// A check of the tip of `main`, which stands on its parent.
fn check_of_main(fixture: &Fixture, task: &str, attempt: u32) -> Value {
    let commit = |revision: &str| fixture.run(&fixture.remote(), &["rev-parse", revision]).trim().to_owned();
    json!({
        "taskId": task, "agentId": "7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a", "stage": "post-commit",
        "profile": "custom", "gates": ["tests"], "repository": fixture.url(), "branch": "mosaic/t/1",
        "baseCommit": commit("main~1"), "headCommit": commit("main"), "files": ["made.txt"],
        "diffSummary": "1 file changed", "baseBranch": "main", "attempt": attempt,
    })
}

#[test]
fn the_same_check_is_run_once_and_what_does_not_fit_into_the_queue_is_refused() {
    let marker = Marker::new();
    let gate = format!("tests = 'sleep {marker}; echo over'");
    let fixture = fixture_with_gates(&gate);
    fixture.commit_on("main", &[("made.txt", "made\n")]);
    let coordinator = Arc::new(Coordinator::start(&[
        ("MOSAIC_ALLOW_LOCAL_REPOSITORIES", "true"),
        ("MOSAIC_COORDINATOR_SLOTS", "1"),
        ("MOSAIC_COORDINATOR_QUEUE", "0"),
    ]));
    let check = check_of_main(&fixture, "T-1", 1);
    let ask = || {
        let (coordinator, check) = (Arc::clone(&coordinator), check.clone());
        std::thread::spawn(move || coordinator.http().post("/api/quality/check", Some(&check)).expect(200))
    };
    let first = ask();
    until("the gate", || (!marker.alive().is_empty()).then_some(()));
    let second = ask();
    let other = coordinator.http().post("/api/quality/check", Some(&check_of_main(&fixture, "T-2", 1)));
    assert_eq!(other.headers["retry-after"], "5");
    assert_eq!(other.expect(429)["code"], "checks_full");
    assert_eq!(marker.alive().len(), 1, "one check was run twice");
    wake(&marker);
    let (first, second) = (first.join().unwrap(), second.join().unwrap());
    assert_eq!(first, second);
    assert_eq!(first["details"]["headCommit"], check["headCommit"]);
    assert_eq!(first["approved"], true, "{first:#}");
    // Asked once more after its end, it is answered from memory: nobody would wake its gate now.
    assert_eq!(ask().join().unwrap(), first);
}

#[test]
fn a_coordinator_lets_in_who_has_its_token_and_names_every_fault_of_a_check() {
    let coordinator = Coordinator::start(&[("MOSAIC_COORDINATOR_TOKEN", "shared-between-orchestrators")]);
    let http = coordinator.http();
    assert_eq!(http.anonymous().get("/health").status, 200);
    assert_eq!(http.anonymous().get("/openapi.json").expect(200)["info"]["title"], "Mosaic Coordinator");
    let ready = http.get("/health/ready").expect(200);
    assert_eq!(ready["checks"]["checks"]["detail"], "0 run, 0 wait", "{ready:#}");
    for path in ["/api/quality/check", "/api/quality/bundles", "/v1/agents"] {
        http.anonymous().post(path, Some(&json!({}))).expect(401);
    }
    let shared = http.with_token("shared-between-orchestrators");
    assert_eq!(shared.post("/api/quality/check", Some(&json!({}))).expect(400)["code"], "validation_failed");
    assert_eq!(shared.post("/v1/agents", Some(&json!({}))).expect(404)["code"], "route_not_found");
    let mut check = check_of_main(
        &{
            let fixture = fixture_with_gates("tests = 'true'");
            fixture.commit_on("main", &[("made.txt", "made\n")]);
            fixture
        },
        "T-1",
        1,
    );
    let needed = shared.post("/api/quality/check", Some(&check)).expect(409);
    assert_eq!((&needed["code"], &needed["whole"]), (&json!("bundle_needed"), &json!(true)), "{needed:#}");
    check["baseCommit"] = json!("main");
    check["gates"] = json!(["../x"]);
    check["profile"] = json!("lenient");
    let faults = shared.post("/api/quality/check", Some(&check)).expect(400);
    let named: Vec<&str> =
        faults["errors"].as_array().unwrap().iter().filter_map(|one| one["pointer"].as_str()).collect();
    assert_eq!(named, ["/profile", "/gates/0", "/baseCommit"], "{faults:#}");
    let mode = |path: PathBuf| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode(coordinator.home.data().join("coordinator/token")), 0o600);
}
