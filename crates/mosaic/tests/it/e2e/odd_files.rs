//! Something else than a file, or a file without an end, at the place of each state file when the server starts: it starts, or
//! says at once which one is in its way. Nothing is waited for.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use super::support::{Home, Http, until};

/// Plants something at a path where nothing is.
type Plant = (&'static str, fn(&Path));

const PLANTS: [Plant; 6] = [
    ("a pipe", |path| {
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    }),
    ("a link to endless bytes", |path| symlink("/dev/zero", path).unwrap()),
    ("a link to itself", |path| symlink(path, path).unwrap()),
    ("a socket", |path| drop(UnixListener::bind(path).unwrap())),
    ("a full directory", |path| std::fs::create_dir_all(path.join("full/of/things")).unwrap()),
    ("a long file", |path| std::fs::File::create(path).unwrap().set_len(1 << 40).unwrap()),
];

const PLACES: [&str; 24] = [
    "mosaic.db",
    "mosaic.db-wal",
    "mosaic.db-shm",
    "lock",
    "token",
    "agent-secret",
    "server.json",
    "store",
    "git",
    "control.sock",
    "instance",
    "reserve",
    "settings.json",
    "STOP",
    "orders",
    "orders/latch.json",
    "orders/barrier.json",
    "audit",
    "transcripts",
    "agents",
    "repos",
    "run",
    "trash",
    "beside",
];

/// Starts a server; returns what it said when it did not start.
fn start(home: &Home, case: &str) -> Option<String> {
    let mut command = home.mosaic(&["serve"]);
    command.env("ORCHESTRATOR_PORT", "0").env("ORCHESTRATOR_AUTH", "off");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let listens = || {
        let file = home.data().join("server.json");
        let text = file.symlink_metadata().ok().filter(|meta| meta.is_file() && meta.len() < 65_536);
        let text = text.and_then(|_| std::fs::read(file).ok())?;
        let url = serde_json::from_slice::<Value>(&text).ok()?["url"].as_str()?.to_owned();
        Http::new(&url, None).try_get("/health").ok().filter(|answer| answer.status == 200)
    };
    let ended = until(&format!("a start or a refusal with {case}"), || match child.try_wait().unwrap() {
        Some(_) => Some(true),
        None => listens().map(|_| false),
    });
    if !ended {
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }
    let out = child.wait_with_output().unwrap();
    ended.then(|| String::from_utf8_lossy(&out.stderr).into_owned())
}

/// `MOSAIC_TEST_PLANTS` runs every shape at every place.
#[test]
fn whatever_lies_at_the_place_of_a_state_file_the_server_starts_or_names_it() {
    let all = std::env::var_os("MOSAIC_TEST_PLANTS").is_some();
    let (mut starts, mut refusals) = (0, Vec::new());
    for (row, place) in PLACES.into_iter().enumerate() {
        for (column, (what, plant)) in PLANTS.into_iter().enumerate() {
            // Two of each, a pipe always: it is what holds up whoever opens it.
            if !all && column != 0 && column != 1 + row % (PLANTS.len() - 1) {
                continue;
            }
            let (home, case) = (Home::new(), format!("{what} at {place}"));
            let path = home.data().join(place);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            plant(&path);
            match start(&home, &case) {
                None => starts += 1,
                Some(said) => {
                    // What the store keeps beside its file is opened by the store's own library, which names that file.
                    let named = place.trim_end_matches("-wal").trim_end_matches("-shm");
                    assert!(said.contains(named) || said.contains("data directory"), "{case}: {said}");
                    // A long file at the store's place is set aside or refused by the store itself.
                    let told = column == PLANTS.len() - 1 || said.contains("move it away and start again");
                    assert!(told, "{case}: {said}");
                    refusals.push(case);
                }
            }
        }
    }
    eprintln!("{starts} starts, {} refusals: {}", refusals.len(), refusals.join(", "));
    assert!(starts > refusals.len(), "{starts} starts, refused: {}", refusals.join(", "));
}
