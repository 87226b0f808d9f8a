//! The store that a fleet shares is away: killed, stopped, full. New work is refused with a time to come back, what runs
//! goes on, its results are kept until the store returns, and nothing spins meanwhile.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use mosaic_testkit::git_fixture::Fixture;
use mosaic_testkit::valkey_server::ValkeyServer;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::support::{Home, Server, body, script, until};

/// An agent that beats a hundred times a second until it is let go, and counts its starts.
struct Beating {
    dir: PathBuf,
    line: String,
}

impl Beating {
    fn new(home: &Home) -> Self {
        let dir = home.path().join("beating");
        std::fs::create_dir_all(&dir).unwrap();
        let text = "cat > /dev/null\necho \"$MOSAIC_AGENT_ID\" >> DIR/starts\necho begun > begun.txt\n\
             while [ ! -e DIR/go ]; do echo >> DIR/beats; sleep 0.01; done\necho \"$MOSAIC_AGENT_ID\" >> DIR/ends\n";
        let line = script(&dir, "agent.sh", &text.replace("DIR", &dir.display().to_string()));
        Self { dir, line }
    }

    fn lines(&self, file: &str) -> usize {
        std::fs::read_to_string(self.dir.join(file)).unwrap_or_default().lines().count()
    }

    fn go(&self) {
        std::fs::write(self.dir.join("go"), "").unwrap();
    }

    /// Waits until the agents have lived on for so many beats.
    fn live_on(&self, beats: usize) {
        let before = self.lines("beats");
        until("more beats", || (self.lines("beats") >= before + beats).then_some(()));
    }

    fn serve<'h>(&self, home: &'h Home, store: &ValkeyServer) -> Server<'h> {
        let port = store.port().to_string();
        home.serve(&[("VALKEY_PORT", &port), ("MOSAIC_COMMAND", &self.line), ("MOSAIC_SLOTS", "4")])
    }

    /// Spawns agents and waits until they run.
    fn start(&self, server: &Server<'_>, fixture: &Fixture, count: usize) -> Vec<String> {
        let ids: Vec<String> =
            (0..count).map(|n| server.spawn(&body(&fixture.url(), &format!("T-{n}")))).collect();
        until("the agents", || (self.lines("starts") == count).then_some(()));
        for id in &ids {
            server.phase(id, "working");
        }
        ids
    }

    /// Checks that every agent completed in the one attempt that it had.
    fn all_completed_once(&self, server: &Server<'_>, fixture: &Fixture, ids: &[String]) {
        for id in ids {
            let agent = server.ended(id);
            let how = (&agent["status"], &agent["attempt"]);
            assert_eq!(how, (&json!("completed"), &json!(1)), "{agent:#}\n{}", server.log());
            let branch = agent["branch"].as_str().unwrap();
            assert_eq!(fixture.read_branch_file(branch, "begun.txt").as_deref(), Some("begun\n"), "{branch}");
        }
        // A spawn that got no answer may have been taken all the same, as the answer says; it ran as an agent of its own.
        let starts = std::fs::read_to_string(self.dir.join("starts")).unwrap();
        for id in ids {
            let times = starts.lines().filter(|line| line == id).count();
            assert_eq!(times, 1, "{id} ran {times} times\n{}", server.log());
        }
    }
}

/// Processor time of a process so far, in ticks of the kernel.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Does something and returns the share of one processor that the server used meanwhile.
fn share_of_a_processor(server: &Server<'_>, meanwhile: impl FnOnce()) -> f64 {
    let (before, began) = (ticks(server.pid()), Instant::now());
    meanwhile();
    let used = (ticks(server.pid()) - before) as f64 / rustix::param::clock_ticks_per_second() as f64;
    used / began.elapsed().as_secs_f64()
}

/// Spawns while that cannot be; returns what was answered.
#[track_caller]
fn refused(server: &Server<'_>, fixture: &Fixture) -> Value {
    let began = Instant::now();
    let reply = server.http.post("/agents/spawn", Some(&body(&fixture.url(), "T-refused")));
    assert_eq!(reply.status, 503, "{}", reply.text);
    let again = reply.headers.get("retry-after").expect("it says when to come back").to_str().unwrap();
    assert!((1..=60).contains(&again.parse::<u64>().unwrap()), "{again}");
    assert!(began.elapsed() < Duration::from_secs(15), "the answer took {:?}", began.elapsed());
    reply.body
}

/// Waits until the server is ready again, by itself.
fn ready(server: &Server<'_>) {
    until("the server to be ready", || (server.http.get("/health/ready").status == 200).then_some(()));
}

#[test]
fn a_store_killed_for_five_seconds_loses_no_result_and_nothing_runs_twice() {
    let Some(mut store) = ValkeyServer::start() else { return };
    let (home, fixture) = (Home::new(), Fixture::new());
    let agents = Beating::new(&home);
    let server = agents.serve(&home, &store);
    let ids = agents.start(&server, &fixture, 3);
    store.kill();
    let answer = refused(&server, &fixture);
    let words = answer["detail"].as_str().unwrap();
    assert!(words.contains(&format!(":{}", store.port())), "{words}");
    assert_eq!(server.http.get("/health").status, 200);
    let ready_now = server.http.get("/health/ready");
    assert!(ready_now.status == 503 && ready_now.text.contains("store"), "{}", ready_now.text);
    // Measured over beats of the agents and not over time, which shows as well that they live on without the store.
    let share = share_of_a_processor(&server, || agents.live_on(1500));
    assert!(share < 0.15, "the server used {share:.2} of a processor while its store was away");
    println!("share of a processor while the store was away: {share:.3}");
    store.restart();
    ready(&server);
    agents.go();
    agents.all_completed_once(&server, &fixture, &ids);
    let last = server.spawn(&body(&fixture.url(), "T-last"));
    assert_eq!(server.ended(&last)["status"], "completed");
}

#[test]
fn what_ends_while_the_store_is_away_is_written_when_it_returns() {
    let Some(mut store) = ValkeyServer::start() else { return };
    let (home, fixture) = (Home::new(), Fixture::new());
    let agents = Beating::new(&home);
    let server = agents.serve(&home, &store);
    let ids = agents.start(&server, &fixture, 2);
    store.kill();
    agents.go();
    until("the agents' programs to end", || (agents.lines("ends") == 2).then_some(()));
    refused(&server, &fixture);
    store.restart();
    ready(&server);
    agents.all_completed_once(&server, &fixture, &ids);
}

#[test]
fn a_store_that_stands_still_is_waited_for() {
    let Some(store) = ValkeyServer::start() else { return };
    let (home, fixture) = (Home::new(), Fixture::new());
    let agents = Beating::new(&home);
    let server = agents.serve(&home, &store);
    let ids = agents.start(&server, &fixture, 2);
    store.pause();
    refused(&server, &fixture);
    agents.go();
    until("the agents' programs to end", || (agents.lines("ends") == 2).then_some(()));
    let began = Instant::now();
    refused(&server, &fixture);
    assert!(began.elapsed() < Duration::from_secs(5), "the second refusal took {:?}", began.elapsed());
    store.resume();
    ready(&server);
    agents.all_completed_once(&server, &fixture, &ids);
}

#[test]
fn a_store_without_memory_takes_nothing_new_but_records_what_runs() {
    let Some(store) = ValkeyServer::start() else { return };
    let (home, fixture) = (Home::new(), Fixture::new());
    let agents = Beating::new(&home);
    let server = agents.serve(&home, &store);
    let ids = agents.start(&server, &fixture, 2);
    // The store has more than that in use, so from now on it refuses every command that is not allowed without memory.
    assert_eq!(store.ask("CONFIG SET maxmemory 1mb").unwrap(), "+OK");
    let answer = refused(&server, &fixture);
    assert!(answer["detail"].as_str().unwrap().contains("memory"), "{answer}");
    agents.go();
    agents.all_completed_once(&server, &fixture, &ids);
    assert_eq!(store.ask("CONFIG SET maxmemory 0").unwrap(), "+OK");
    let last = server.spawn(&body(&fixture.url(), "T-last"));
    assert_eq!(server.ended(&last)["status"], "completed");
}

#[test]
fn what_waits_is_run_and_archived_while_the_store_has_no_memory_as_that_makes_room() {
    let Some(store) = ValkeyServer::start() else { return };
    let (home, fixture) = (Home::new(), Fixture::new());
    let line = script(home.path(), "short.sh", "cat > /dev/null\necho $MOSAIC_TASK_ID > made\n");
    let port = store.port().to_string();
    let server = home.serve(&[
        ("VALKEY_HOST", "127.0.0.1"),
        ("VALKEY_PORT", &port),
        ("MOSAIC_NODE", "n1"),
        ("MOSAIC_SLOTS", "2"),
        ("MOSAIC_ARCHIVE_AFTER_MS", "0"),
        ("MOSAIC_COMMAND", &line),
    ]);
    server.http.post("/v1/queue/pause", Some(&json!({}))).expect(200);
    let ids: Vec<String> = (0..4).map(|n| server.spawn(&body(&fixture.url(), &format!("T-{n}")))).collect();
    assert_eq!(store.ask("CONFIG SET maxmemory 1mb").unwrap(), "+OK");
    refused(&server, &fixture);
    server.http.post("/v1/queue/resume", Some(&json!({}))).expect(200);
    for id in &ids {
        let ended = server.ended(id);
        assert_eq!((&ended["status"], &ended["attempt"]), (&json!("completed"), &json!(1)), "{ended:#}");
        until("its record to be archived", || {
            let kept = store.ask_all(&format!("GET orchestrator:agent:{id}")).unwrap();
            kept.contains("\n{\"agentId\":").then_some(())
        });
    }
    let ready = server.http.get("/health/ready");
    assert!(ready.status == 503 && ready.text.contains("memory is full"), "{}", ready.text);
}

#[test]
fn a_node_starts_on_a_store_without_memory_and_has_its_agents_back() {
    let Some(store) = ValkeyServer::start() else { return };
    let (home, fixture) = (Home::new(), Fixture::new());
    let agents = Beating::new(&home);
    let mut server = agents.serve(&home, &store);
    let ids = agents.start(&server, &fixture, 2);
    server.signal(Signal::KILL);
    server.wait_end();
    assert_eq!(store.ask("CONFIG SET maxmemory 1mb").unwrap(), "+OK");
    // A store that has seen none of our scripts and no key of the nodes is no different.
    for command in ["SCRIPT FLUSH", "DEL orchestrator:peer-secret"] {
        store.ask(command).unwrap();
    }
    let server = agents.serve(&home, &store);
    let answer = refused(&server, &fixture);
    assert!(answer["detail"].as_str().unwrap().contains("memory"), "{answer}");
    let ready_now = server.http.get("/health/ready");
    assert!(ready_now.status == 503 && ready_now.text.contains("memory is full"), "{}", ready_now.text);
    agents.live_on(20);
    agents.go();
    agents.all_completed_once(&server, &fixture, &ids);
    assert_eq!(store.ask("CONFIG SET maxmemory 0").unwrap(), "+OK");
    ready(&server);
    let last = server.spawn(&body(&fixture.url(), "T-last"));
    assert_eq!(server.ended(&last)["status"], "completed");
}

#[test]
fn a_server_that_forgets_is_refused_by_the_name_of_the_setting() {
    let home = Home::new();
    for (options, setting, fix) in [
        (&["--appendonly", "no"][..], "appendonly is no", "CONFIG SET appendonly yes"),
        (
            &["--maxmemory", "1gb", "--maxmemory-policy", "allkeys-lru"][..],
            "maxmemory-policy is allkeys-lru",
            "CONFIG SET maxmemory-policy noeviction",
        ),
        (&["--replicaof", "127.0.0.1", "1"][..], "role is slave", "VALKEY_HOST"),
    ] {
        let Some(store) = ValkeyServer::start_with(options) else { return };
        let port = store.port().to_string();
        let env = [("VALKEY_PORT", port.as_str()), ("ORCHESTRATOR_PORT", "0")];
        let output = home.run(&env, &["serve"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        for words in [setting, fix, "MOSAIC_VALKEY_ACCEPT_RISK=true", &port] {
            assert!(said.contains(words), "{words}: {said}");
        }
        assert!(!home.data().join("server.json").exists(), "{setting} did not stop the start");
    }
    let Some(store) = ValkeyServer::start_with(&["--appendonly", "no"]) else { return };
    let port = store.port().to_string();
    let server = home.serve(&[("VALKEY_PORT", &port), ("MOSAIC_VALKEY_ACCEPT_RISK", "true")]);
    server.until_logged("appendonly is no");
}
