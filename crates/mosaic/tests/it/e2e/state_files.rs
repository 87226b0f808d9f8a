//! Damaged state files: whatever is cut off where, the server starts, says what it set aside, and takes work. It never
//! stops at the same place again and again.

use std::path::{Path, PathBuf};

use mosaic_testkit::git_fixture::Fixture;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::support::{Home, Marker, body, in_environment, script, until};

/// Offsets at which a file is cut: every boundary that means something, and this many spread over the rest.
fn cuts(length: usize, spread: usize) -> Vec<usize> {
    let mut cuts: Vec<usize> =
        [0, 1, 15, 16, 99, 100, 4095, 4096, 4097].into_iter().filter(|at| *at < length).collect();
    cuts.extend((1..=spread).map(|n| length * n / (spread + 1)));
    cuts.push(length.saturating_sub(1));
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

/// Returns the number of cuts that are spread over the database; a long run asks for more.
fn spread() -> usize {
    std::env::var("MOSAIC_TEST_CUTS").ok().and_then(|n| n.parse().ok()).unwrap_or(6)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy(&path, &target);
        } else if kind.is_file() {
            std::fs::copy(path, target).unwrap();
        }
    }
}

/// Makes a data directory with a finished agent in it.
fn lived() -> (Home, Fixture, String) {
    let (home, fixture) = (Home::new(), Fixture::new());
    let server = home.serve(&[("MOSAIC_COMMAND", "sh -c 'echo x > x.txt'")]);
    let done = server.life(&body(&fixture.url(), "T-1"), "completed", "done");
    let id = done["agentId"].as_str().unwrap().to_owned();
    drop(server);
    (home, fixture, id)
}

/// Starts a server on a copy of a data directory in which one file is cut; returns what it says about the agent.
fn start_cut(home: &Home, file: &str, cut: usize, id: &str) -> (u16, Home) {
    let copied = Home::new();
    copy(&home.data(), &copied.data());
    let path = copied.data().join(file);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..cut]).unwrap();
    let server = copied.serve(&[]);
    let ready = server.http.get("/health/ready");
    assert_eq!(ready.status, 200, "{file} cut at {cut}: {}", ready.text);
    let status = server.http.get(&format!("/v1/agents/{id}")).status;
    drop(server);
    (status, copied)
}

#[test]
fn a_store_that_is_cut_off_is_set_aside_and_the_server_starts() {
    let (home, fixture, id) = lived();
    let whole = std::fs::read(home.data().join("mosaic.db")).unwrap();
    let all = cuts(whole.len(), spread());
    for cut in &all {
        let (status, copied) = start_cut(&home, "mosaic.db", *cut, &id);
        let aside: Vec<_> =
            std::fs::read_dir(copied.data().join("quarantine")).into_iter().flatten().flatten().collect();
        assert_eq!((status, aside.len()), (404, 1), "cut at {cut}");
        let kept = std::fs::read(aside[0].path().join("mosaic.db")).unwrap();
        assert_eq!(kept, &whole[..*cut], "what was damaged is kept as it was");
        // The next start has nothing to set aside, and work goes on.
        if *cut == all[all.len() / 2] {
            let server = copied.serve(&[("MOSAIC_COMMAND", "sh -c 'echo y > y.txt'")]);
            server.life(&body(&fixture.url(), "T-2"), "completed", "done");
            let doctor = String::from_utf8(server.cli(&["doctor"]).stdout).unwrap();
            assert!(doctor.contains("D-DATA-2"), "{doctor}");
            assert_eq!(std::fs::read_dir(copied.data().join("quarantine")).unwrap().count(), 1);
        }
    }
    eprintln!("starts {}/{}", all.len(), all.len());
}

#[test]
fn small_files_that_are_cut_off_are_made_anew() {
    let (home, _, id) = lived();
    std::fs::write(
        home.data().join("server.json"),
        r#"{"url":"http://127.0.0.1:1","pid":1,"startedAt":"x","version":"0"}"#,
    )
    .unwrap();
    std::fs::write(home.data().join("trusted"), "0123456789abcdef\n").unwrap();
    let mut starts = 0;
    for file in ["token", "server.json", "trusted", "lock"] {
        let length = std::fs::read(home.data().join(file)).unwrap().len();
        for cut in cuts(length, 2).into_iter().filter(|cut| *cut < length.max(1)) {
            let (status, copied) = start_cut(&home, file, cut, &id);
            assert_eq!(status, 200, "{file} cut at {cut}");
            let token = std::fs::read_to_string(copied.data().join("token")).unwrap();
            assert!(token.trim().len() >= 16, "a token that can be guessed: {file} cut at {cut}");
            starts += 1;
        }
    }
    eprintln!("starts {starts}/{starts}");
}

#[test]
fn a_log_of_the_store_that_is_cut_off_loses_its_end_at_most() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let id = {
        let server = home.serve(&[]);
        server.http.post("/v1/queue/pause", None).expect(200);
        let id = server.spawn(&body(&fixture.url(), "T-1"));
        for n in 2..20 {
            server.spawn(&body(&fixture.url(), &format!("T-{n}")));
        }
        server.signal(rustix::process::Signal::KILL);
        id
    };
    let length = std::fs::read(home.data().join("mosaic.db-wal")).unwrap().len();
    for cut in cuts(length, spread()) {
        let (status, copied) = start_cut(&home, "mosaic.db-wal", cut, &id);
        assert!([200, 404].contains(&status), "cut at {cut}: {status}");
        assert!(!copied.data().join("quarantine").exists(), "cut at {cut}: a shorter log is no damage");
    }
    let (status, _) = start_cut(&home, "mosaic.db-wal", length - 1, &id);
    assert_eq!(status, 200, "what was acknowledged first is there");
}

/// Every file below a directory, relative to it, but those that are no data.
fn files(dir: &Path, below: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir.join(below)).unwrap().flatten() {
        let (kind, path) = (entry.file_type().unwrap(), below.join(entry.file_name()));
        if kind.is_dir() {
            all.extend(files(dir, &path));
        } else if kind.is_file() {
            all.push(path);
        }
    }
    all
}

/// Whatever else there is: what a power failure leaves of an agent at work, its job, orders, secrets, and the audit log.
/// `MOSAIC_TEST_CUTS` says at how many places each file is cut.
#[test]
fn whatever_file_is_cut_off_the_server_starts_and_the_agent_comes_to_an_end() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let line = script(home.path(), "agent.sh", &format!("cat > /dev/null\necho x > x.txt\nsleep {marker}\n"));
    let id = {
        let mut server = home.serve(&[("MOSAIC_COMMAND", &line)]);
        server.http.post("/v1/killswitch/engage", Some(&json!({"reason": "test"}))).expect(200);
        server.http.post("/v1/killswitch/release", Some(&json!({}))).expect(200);
        server.http.post("/agents/kill-all", None).expect(200);
        let id = server.spawn(&body(&fixture.url(), "T-1"));
        until("the agent", || (!marker.alive().is_empty()).then_some(()));
        server.phase(&id, "working");
        server.signal(Signal::KILL);
        server.wait_end();
        id
    };
    // The shim first: it would write down how the agent ended.
    let shim = home.data().join("agents").join(&id).join("runs/run-1/shim.json");
    let shim: serde_json::Value = serde_json::from_slice(&std::fs::read(shim).unwrap()).unwrap();
    let shim = i32::try_from(shim["shim"]["pid"].as_i64().unwrap()).unwrap();
    kill_process(Pid::from_raw(shim).unwrap(), Signal::KILL).unwrap();
    for process in in_environment(&format!("MOSAIC_AGENT_ID={id}")) {
        let pid = process.split(':').next().unwrap().parse().unwrap();
        // One that ended by itself meanwhile is as gone.
        let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
    }
    let all = files(&home.data(), Path::new(""));
    let tree = Path::new("agents").join(&id).join("tree");
    let skipped = |path: &Path| {
        // The store has tests of its own; what an agent or git keeps is not read at the start.
        path.starts_with(&tree)
            || path.starts_with("repos")
            || path.to_string_lossy().starts_with("mosaic.db")
    };
    let (mut starts, mut stuck) = (0_usize, Vec::new());
    for file in all.iter().filter(|path| !skipped(path)) {
        let length = std::fs::read(home.data().join(file)).unwrap().len();
        let mut cuts = vec![0, length / 2];
        cuts.extend(
            (1..=spread())
                .filter(|_| std::env::var_os("MOSAIC_TEST_CUTS").is_some())
                .map(|n| length * n / (spread() + 1)),
        );
        cuts.sort_unstable();
        cuts.dedup();
        for cut in cuts.into_iter().filter(|cut| *cut < length.max(1)) {
            let copied = Home::new();
            copy(&home.data(), &copied.data());
            let bytes = std::fs::read(copied.data().join(file)).unwrap();
            std::fs::write(copied.data().join(file), &bytes[..cut]).unwrap();
            let server = copied.serve(&[("MOSAIC_COMMAND", "sh -c 'echo y > y.txt'")]);
            let ready = server.http.get("/health/ready");
            starts += 1;
            if ready.status != 200 || ready.body["dispatch"] != "running" {
                stuck.push(format!("{} cut at {cut} of {length}: {}", file.display(), ready.text));
                continue;
            }
            server.ended(&id);
        }
    }
    println!("starts {}/{starts}", starts - stuck.len());
    assert!(starts > 20, "the files are not where they are looked for: {all:?}");
    assert!(stuck.is_empty(), "nothing is dispatched:\n{}", stuck.join("\n"));
}
