//! Agents outlive their server: killed, stopped or replaced by another build, the next one goes on with them.

use std::path::{Path, PathBuf};

use mosaic_testkit::git_fixture::Fixture;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::support::{
    Home, Marker, Server, body, claude_stand_in, fixture_with_gates, in_environment, rounds, script,
    spawn_claude, until,
};

/// An agent that says numbers until it is let go, writes down that it was started, and leaves a file behind.
struct Counting {
    dir: PathBuf,
    line: String,
}

impl Counting {
    fn new(home: &Home) -> Self {
        let dir = home.path().join("counting");
        std::fs::create_dir_all(&dir).unwrap();
        let text = "cat > /dev/null\necho \"$MOSAIC_AGENT_ID\" >> DIR/starts\necho begun > begun.txt\nn=0\n\
             while [ ! -e DIR/go ]; do n=$((n + 1)); echo \"line $n\"; sleep 0.005; done\necho $n > count.txt\n";
        let line = script(&dir, "agent.sh", &text.replace("DIR", &dir.display().to_string()));
        Self { dir, line }
    }

    fn env(&self) -> [(&str, &str); 2] {
        [("MOSAIC_COMMAND", self.line.as_str()), ("MOSAIC_SLOTS", "8")]
    }

    fn starts(&self) -> usize {
        std::fs::read_to_string(self.dir.join("starts")).unwrap_or_default().lines().count()
    }

    fn go(&self) {
        std::fs::write(self.dir.join("go"), "").unwrap();
    }
}

/// Everything the agent said, in the order of the transcript.
fn printed_lines(server: &Server<'_>, id: &str) -> Vec<String> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let page =
            server.http.get(&format!("/v1/agents/{id}/transcript?after={after}&limit=200")).expect(200);
        let items = page["items"].as_array().unwrap();
        let Some(last) = items.last() else { return all };
        after = last["n"].as_u64().unwrap();
        all.extend(
            items
                .iter()
                .filter(|item| item["kind"] == "output")
                .map(|item| item["text"].as_str().unwrap().to_owned()),
        );
    }
}

fn completed_once(agent: &Value, server: &Server<'_>) {
    let how = (&agent["status"], &agent["attempt"], &agent["fixRound"]);
    assert_eq!(how, (&json!("completed"), &json!(1), &json!(0)), "{agent:#}\n{}", server.log());
}

#[test]
fn a_killed_server_is_followed_by_one_that_goes_on_reading_without_gap_or_duplicate() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let agents = Counting::new(&home);
    let mut server = home.serve(&agents.env());
    let ids: Vec<String> = (0..4).map(|n| server.spawn(&body(&fixture.url(), &format!("T-{n}")))).collect();
    for _ in 0..4 {
        // Every server reads some lines before it is killed: a gap or a duplicate would stand where one server follows
        // another.
        for id in &ids {
            let before = printed_lines(&server, id).len();
            until("more lines", || (printed_lines(&server, id).len() > before + 20).then_some(()));
        }
        server.signal(Signal::KILL);
        server.wait_end();
        drop(server);
        server = home.serve(&agents.env());
    }
    agents.go();
    for id in &ids {
        let agent = server.ended(id);
        completed_once(&agent, &server);
        let count = fixture.read_branch_file(agent["branch"].as_str().unwrap(), "count.txt").unwrap();
        let wanted: Vec<String> = (1..=count.trim().parse().unwrap()).map(|n| format!("line {n}")).collect();
        assert_eq!(printed_lines(&server, id), wanted, "{}", server.log());
    }
    assert_eq!(agents.starts(), ids.len(), "an agent was started again");
}

#[test]
fn a_stopped_server_leaves_its_agents_to_the_next_one_which_can_kill_them() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let agents = Counting::new(&home);
    let mut server = home.serve(&agents.env());
    let (first, second) =
        (server.spawn(&body(&fixture.url(), "T-1")), server.spawn(&body(&fixture.url(), "T-2")));
    until("the agents", || (agents.starts() == 2).then_some(()));
    server.phase(&first, "working");
    server.phase(&second, "working");
    server.signal(Signal::TERM);
    assert_eq!(server.wait_end().code(), Some(0), "{}", server.log());
    assert!(server.log().contains("2 agents run on"), "{}", server.log());
    assert!(!home.data().join("server.json").exists());
    drop(server);
    assert!(
        !in_environment(&format!("MOSAIC_AGENT_ID={first}")).is_empty(),
        "an agent ended with its server"
    );

    let server = home.serve(&agents.env());
    until("more lines", || (printed_lines(&server, &first).len() > 20).then_some(()));
    let killed = server.kill(&first);
    assert_eq!((&killed["status"], &killed["verified"]), (&json!("killed"), &json!(true)), "{killed:#}");
    assert_eq!(in_environment(&format!("MOSAIC_AGENT_ID={first}")), Vec::<String>::new());
    agents.go();
    completed_once(&server.ended(&second), &server);
    assert_eq!(agents.starts(), 2, "an agent was started again");
}

#[test]
fn what_ended_while_no_server_ran_is_settled_from_its_files() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let agents = Counting::new(&home);
    let mut server = home.serve(&agents.env());
    let id = server.spawn(&body(&fixture.url(), "T-1"));
    until("the agent", || (agents.starts() == 1).then_some(()));
    server.phase(&id, "working");
    server.signal(Signal::KILL);
    server.wait_end();
    agents.go();
    // Waited for before the next server starts, which must have nothing but the files to tell it of the end.
    let mark = format!("MOSAIC_AGENT_ID={id}");
    until("the agent's end", || in_environment(&mark).is_empty().then_some(()));
    drop(server);
    let server = home.serve(&agents.env());
    let agent = server.ended(&id);
    completed_once(&agent, &server);
    let count = fixture.read_branch_file(agent["branch"].as_str().unwrap(), "count.txt").unwrap();
    assert_eq!(printed_lines(&server, &id).last(), Some(&format!("line {}", count.trim())));
    assert_eq!(agents.starts(), 1);
}

/// A stand-in for Claude Code that writes down the messages it gets, asks a question if there is one, and is silent.
fn silent_claude(home: &Home, question: &str) -> String {
    let path = |name: &str| home.path().join(name).display().to_string();
    let turn = format!(
        "printf '%s\\n' \"$line\" >> '{}'\n{}\nuntil [ -e '{}' ]; do sleep 0.05; done\necho x > x.txt\n{}",
        path("messages"),
        question.replace("MESSAGES", &path("messages")),
        path("go"),
        r#"echo '{"type":"result","subtype":"success","is_error":false,"stop_reason":"end_turn","result":"ok"}'"#
    );
    claude_stand_in(home.path(), &turn)
}

/// Kills the server after the agent got so many messages, lets the next one take it over, and returns all messages.
fn messages_over_a_kill(question: &str, count: usize) -> Vec<String> {
    let (home, fixture) = (Home::new(), fixture_with_gates("tests = 'true'"));
    let program = silent_claude(&home, question);
    let env = [("MOSAIC_CLAUDE_BIN", program.as_str()), ("CLAUDE_API_KEY", "dummy-key-of-a-test")];
    let messages = || std::fs::read_to_string(home.path().join("messages")).unwrap_or_default();
    let mut server = home.serve(&env);
    let id = spawn_claude(&server, &fixture, "T-1", &json!({}));
    until("the messages", || (messages().lines().count() == count).then_some(()));
    server.signal(Signal::KILL);
    server.wait_end();
    drop(server);
    let server = home.serve(&env);
    until("adoption", || (server.agent(&id)["phase"] == "working").then_some(()));
    // The program reads everything that is said to it until the end of its input, which follows its result.
    std::fs::write(home.path().join("go"), "").unwrap();
    completed_once(&server.ended(&id), &server);
    messages().lines().map(str::to_owned).collect()
}

#[test]
fn a_prompt_is_said_once_although_its_server_was_killed_before_the_agent_said_a_word() {
    let messages = messages_over_a_kill("", 1);
    assert!(messages.len() == 1 && messages[0].contains("do it"), "{messages:#?}");
}

#[test]
fn a_question_that_stands_in_no_transcript_is_answered_once() {
    let question = r#"echo '{"type":"control_request","request_id":"ask","request":{"subtype":"can_use_tool","tool_name":"Bash","input":{"command":"make"},"tool_use_id":"t1"}}'
read -r answer; printf '%s\n' "$answer" >> 'MESSAGES'"#;
    let messages = messages_over_a_kill(question, 2);
    assert!(messages.len() == 2 && messages[1].contains("\"ask\""), "{messages:#?}");
}

/// The files that say who supervises the jobs of an agent.
fn shim_files(home: &Home, id: &str) -> Vec<PathBuf> {
    let runs = home.data().join("agents").join(id).join("runs");
    let jobs = std::fs::read_dir(runs).unwrap().flatten();
    jobs.map(|job| job.path().join("shim.json")).filter(|file| file.exists()).collect()
}

fn read(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

/// `MOSAIC_BOOTS` says how often.
#[test]
fn after_another_boot_the_attempt_is_repeated_once_with_the_work_kept() {
    for _ in 0..rounds("MOSAIC_BOOTS", 1) {
        let (home, fixture) = (Home::new(), Fixture::new());
        let agents = Counting::new(&home);
        let mut server = home.serve(&agents.env());
        let id = server.spawn(&body(&fixture.url(), "T-1"));
        until("the agent", || (agents.starts() == 1).then_some(()));
        server.phase(&id, "working");
        server.signal(Signal::KILL);
        server.wait_end();
        drop(server);
        // What a power failure does: everything is gone at once, and the boot has another name afterwards.
        for file in shim_files(&home, &id) {
            let mut record = read(&file);
            let shim = i32::try_from(record["shim"]["pid"].as_i64().unwrap()).unwrap();
            kill_process(Pid::from_raw(shim).unwrap(), Signal::KILL).unwrap();
            record["bootId"] = json!("the boot before");
            std::fs::write(&file, record.to_string()).unwrap();
        }
        for process in in_environment(&format!("MOSAIC_AGENT_ID={id}")) {
            let pid = process.split(':').next().unwrap().parse().unwrap();
            // One that ended by itself meanwhile is as gone.
            let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
        }
        agents.go();
        let server = home.serve(&agents.env());
        let agent = server.ended(&id);
        completed_once(&agent, &server);
        assert_eq!(agents.starts(), 2);
        let branch = agent["branch"].as_str().unwrap();
        assert_eq!(fixture.read_branch_file(branch, "begun.txt").as_deref(), Some("begun\n"));
    }
}

/// `MOSAIC_BUILD_BEFORE` names a program that was built from an older version; without it a copy stands for one.
#[test]
fn another_build_takes_over_what_the_one_before_started() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let agents = Counting::new(&home);
    let old = home.path().join("mosaic-before");
    let before = std::env::var_os("MOSAIC_BUILD_BEFORE").map(PathBuf::from);
    let build = before.unwrap_or_else(|| env!("CARGO_BIN_EXE_mosaic").into());
    std::fs::copy(build, &old).unwrap();
    let mut server = home.serve_with(&old, &agents.env());
    let id = server.spawn(&body(&fixture.url(), "T-1"));
    until("the agent", || (agents.starts() == 1).then_some(()));
    server.phase(&id, "working");
    server.signal(Signal::TERM);
    assert_eq!(server.wait_end().code(), Some(0), "{}", server.log());
    drop(server);
    // An upgrade does the same: the supervisors run on from a program that has no name any more.
    std::fs::remove_file(&old).unwrap();
    let server = home.serve(&agents.env());
    let before = printed_lines(&server, &id).len();
    until("more lines", || (printed_lines(&server, &id).len() > before + 20).then_some(()));
    agents.go();
    completed_once(&server.ended(&id), &server);
    assert_eq!(agents.starts(), 1);
}

#[test]
fn a_supervisor_lost_together_with_its_server_costs_an_attempt() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let line = script(home.path(), "agent.sh", &format!("cat > /dev/null\nsleep {marker}\n"));
    let env = [("MOSAIC_COMMAND", line.as_str())];
    let mut server = home.serve(&env);
    let id = server.spawn(&body(&fixture.url(), "T-1"));
    until("the agent", || (!marker.alive().is_empty()).then_some(()));
    server.phase(&id, "working");
    server.signal(Signal::KILL);
    server.wait_end();
    drop(server);
    for file in shim_files(&home, &id) {
        let shim = i32::try_from(read(&file)["shim"]["pid"].as_i64().unwrap()).unwrap();
        kill_process(Pid::from_raw(shim).unwrap(), Signal::KILL).unwrap();
    }
    let server = home.serve(&env);
    let agent = server.ended(&id);
    assert_eq!(
        (&agent["status"], &agent["endReason"]),
        (&json!("failed"), &json!("agent_error")),
        "{agent:#}"
    );
    assert!(agent["error"].as_str().unwrap().contains("supervisor"), "{agent:#}");
    assert_eq!(marker.alive(), Vec::<String>::new());
}

#[test]
fn a_drain_waits_for_what_runs_and_leaves_the_queue_to_the_next_server() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let agents = Counting::new(&home);
    let env = [("MOSAIC_COMMAND", agents.line.as_str()), ("MOSAIC_SLOTS", "1")];
    let mut server = home.serve(&env);
    let running = server.spawn(&body(&fixture.url(), "T-1"));
    until("the agent", || (agents.starts() == 1).then_some(()));
    let waiting = server.spawn(&body(&fixture.url(), "T-2"));
    // The agent waits for a file that is not there yet, so this drain is certain to run into its time.
    let late = server.cli(&["drain", "--timeout", "1s"]);
    assert_eq!(late.status.code(), Some(8), "{}", String::from_utf8_lossy(&late.stderr));
    let ready = server.http.get("/health/ready");
    assert_eq!((ready.status, &ready.body["failing"]), (503, &json!(["dispatcher"])), "{}", ready.text);
    assert_eq!(server.http.get("/health").expect(200)["status"], "draining");
    let refused = server.http.post("/agents/spawn", Some(&body(&fixture.url(), "T-3"))).expect(503);
    assert_eq!(refused["code"], "shutting_down");
    assert_eq!(server.agent(&running)["status"], "running");
    agents.go();
    let drained = server.cli(&["drain"]);
    assert_eq!(drained.status.code(), Some(0), "{}", String::from_utf8_lossy(&drained.stderr));
    assert_eq!(server.wait_end().code(), Some(0), "{}", server.log());
    assert!(!home.data().join("server.json").exists());
    drop(server);
    let server = home.serve(&env);
    completed_once(&server.agent(&running), &server);
    completed_once(&server.ended(&waiting), &server);
}
