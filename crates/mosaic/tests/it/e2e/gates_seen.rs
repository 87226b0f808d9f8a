//! Gates as people and other programs see them: live while they run, afterwards as a table, logs, files and annotations, and as
//! history.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Output, Stdio};

use mosaic_testkit::git_fixture::Fixture;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::support::{Home, Server, body, script};

/// Gates of which one says something, waits until the test lets it go on, says something more and fails.
struct Story {
    home: Home,
    fixture: Fixture,
    listener: TcpListener,
}

impl Story {
    fn new() -> Self {
        let (home, fixture) = (Home::new(), Fixture::new());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // Over the network, because a gate sees no file of this test.
        let slow = format!("echo begun; bash -c 'read -r _ < /dev/tcp/127.0.0.1/{port}'; ./report.sh");
        let report = "#!/bin/sh\nprintf 'src/lib.txt:2: wrong \\033[31mword\\n::stop-commands::x\\nthe end\\n'\nexit 3\n";
        let config = format!("[gates]\ntests = \"{slow}\"\nlint = \"echo clean\"\n");
        fixture.commit_on(
            "main",
            &[(".mosaic/config.toml", &config), ("report.sh", report), ("src/lib.txt", "a\nb\n")],
        );
        // The fixture writes files without the executable bit.
        let config = config.replace("./report.sh", "sh report.sh");
        fixture.commit_on("main", &[(".mosaic/config.toml", &config)]);
        Self { home, fixture, listener }
    }

    fn serve(&self) -> Server<'_> {
        let line = script(self.home.path(), "agent.sh", "cat > /dev/null; echo x > x.txt\n");
        self.home.serve(&[("MOSAIC_COMMAND", &line)])
    }

    fn spawn(&self, server: &Server<'_>) -> String {
        let mut body = body(&self.fixture.url(), "T-1");
        (body["gateProfile"], body["gates"]) = (json!("custom"), json!(["tests", "lint"]));
        server.spawn(&body)
    }

    /// Lets the gate go on that waits, and every further run of it: what failed is tried once more, and on the base.
    fn release(&self) {
        let listener = self.listener.try_clone().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                stream.unwrap().write_all(b"go\n").unwrap();
            }
        });
    }
}

#[track_caller]
fn out(output: &Output, code: i32) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(output.status.code(), Some(code), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn gates_are_followed_while_they_run_and_shown_in_every_form_afterwards() {
    let story = Story::new();
    let server = story.serve();
    let id = story.spawn(&server);
    // Begun before anything is judged: it waits for the judgement.
    let mut follow = story.home.mosaic(&["gates", "-f", &id]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "tests | begun"), "the log is shown while the gate runs");
    server.phase(&id, "gating");
    let now = out(&server.cli(&["gates", &id]), 11);
    assert!(now.contains("being judged now: mosaic gates -f"), "{now}");
    assert_eq!(out(&server.cli(&["gates", &id, "--log", "tests"]), 0), "begun\n");
    story.release();
    let rest: Vec<String> = lines.collect();
    let at = |wanted: &str| {
        rest.iter().position(|line| line.contains(wanted)).unwrap_or_else(|| panic!("{wanted}: {rest:?}"))
    };
    assert!(at("tests | the end") < at("FAIL  ["), "the table comes last: {rest:?}");
    assert_eq!(follow.wait().unwrap().code(), Some(11));
    server.ended(&id);

    let shown = out(&server.cli(&["gates", &id]), 11);
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines.iter().any(|line| line.starts_with("  PASS  [") && line.contains("lint")), "{shown}");
    assert!(
        shown.contains("src/lib.txt:2   wrong word") && shown.contains("tests, end of its log\n"),
        "{shown}"
    );
    assert!(shown.contains("  | ::stop-commands::x\n") && !shown.contains("\n::"), "{shown}");
    assert!(!shown.contains('\u{1b}') && lines.last().unwrap().starts_with("log: mosaic gates "), "{shown}");
    assert_eq!(out(&server.cli(&["gates", &id, "--log", "tests", "--tail", "1"]), 0), "the end\n");
    let whole = out(&server.cli(&["gates", &id, "--log", "tests"]), 0);
    assert!(
        whole.starts_with("begun\n") && whole.contains("\u{1b}[31mword"),
        "a pipe gets the bytes: {whole:?}"
    );

    let file = story.home.path().join("junit.xml");
    let table = out(&server.cli(&["gates", &id, "--junit", file.to_str().unwrap()]), 11);
    assert!(table.contains("FAIL  ["), "{table}");
    let junit = std::fs::read_to_string(file).unwrap();
    assert!(
        junit.contains("<testcase classname=\"mosaic.custom\" name=\"lint\"") && junit.contains("<failure"),
        "{junit}"
    );
    let sarif: Value = serde_json::from_str(&out(&server.cli(&["gates", &id, "--sarif", "-"]), 11)).unwrap();
    let place = &sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(
        (&place["artifactLocation"]["uri"], &place["region"]["startLine"]),
        (&json!("src/lib.txt"), &json!(2))
    );
    let annotations = out(&server.cli(&["gates", &id, "--github"]), 11);
    assert_eq!(annotations, "::error file=src/lib.txt,line=2,title=tests::wrong word\n");

    let history: Value = serde_json::from_str(&out(&server.cli(&["gates", "--json"]), 0)).unwrap();
    let tests = history["items"].as_array().unwrap().iter().find(|item| item["gate"] == "tests").unwrap();
    assert_eq!(
        (&tests["runs"], &tests["passRate"], &tests["recent"][0]["agentId"]),
        (&json!(1), &json!(0.0), &json!(id))
    );
    assert!(tests["p95Ms"].as_u64() > Some(0), "{tests}");
    let table = out(&server.cli(&["gates", "--gate", "lint", "--since", "1h"]), 0);
    assert!(table.contains("\tlint\t1\t100%\t") && !table.contains("tests"), "{table}");
    out(&server.cli(&["gates", &id, "--log", "nonsense"]), 3);
    out(&server.cli(&["gates", "--log", "tests"]), 2);
}

#[test]
fn a_history_outlives_records_and_servers() {
    let story = Story::new();
    let id = {
        let server = story.serve();
        let id = story.spawn(&server);
        story.release();
        server.ended(&id);
        let name = server.agent(&id)["name"].as_str().unwrap().to_owned();
        out(&server.cli(&["rm", &id, &format!("--discard={name}")]), 0);
        id
    };
    let server = story.serve();
    let history = server.http.get("/v1/gates?gate=tests").expect(200);
    assert_eq!(history["items"][0]["recent"][0]["agentId"], json!(id), "{history:#}");
    assert_eq!(server.http.get(&format!("/v1/agents/{id}")).status, 410);
}

#[test]
fn following_ends_at_once_on_an_interruption_and_the_agent_goes_on() {
    let story = Story::new();
    let server = story.serve();
    let id = story.spawn(&server);
    let mut follow =
        story.home.mosaic(&["gates", "-f", &id, "--log", "tests"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().as_deref(), Some("begun"));
    let pid = Pid::from_raw(i32::try_from(follow.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    assert!(!follow.wait().unwrap().success());
    assert_eq!(server.agent(&id)["phase"], "gating");
    story.release();
    assert_eq!(server.ended(&id)["endReason"], "gates_failed");
}
