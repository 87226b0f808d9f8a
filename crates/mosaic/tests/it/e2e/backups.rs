//! Backup and restore of Valkey as `docs/fleet.md` describes them: a copy is taken while nodes work, it is put back after more has
//! happened, and the nodes tell truthfully what became of everything, without running anything twice at once.

use std::path::{Path, PathBuf};

use mosaic_testkit::git_fixture::Fixture;
use mosaic_testkit::valkey_server::ValkeyServer;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::support::{Home, Server, body, script, until};

/// Says that it started, and whether another one of its task is alive; works until it is let go.
const AGENT: &str = "cat > /dev/null\necho $MOSAIC_TASK_ID >> DIR/starts\n\
     for pid in $(cat DIR/pids-$MOSAIC_TASK_ID 2> /dev/null); do\n\
     kill -0 $pid 2> /dev/null && echo $MOSAIC_TASK_ID >> DIR/twice\ndone\n\
     echo $$ >> DIR/pids-$MOSAIC_TASK_ID\n\
     while [ ! -e DIR/go-$MOSAIC_TASK_ID ]; do sleep 0.05; done\necho $MOSAIC_TASK_ID > made\n";

/// Tells whether a program of the task's agent runs.
fn is_alive(dir: &Path, task: &str) -> bool {
    let pids = std::fs::read_to_string(dir.join(format!("pids-{task}"))).unwrap_or_default();
    pids.lines().any(|pid| {
        let line = std::fs::read(Path::new("/proc").join(pid).join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("agent.sh")
    })
}

fn starts(dir: &Path, task: &str) -> usize {
    let all = std::fs::read_to_string(dir.join("starts")).unwrap_or_default();
    all.lines().filter(|line| *line == task).count()
}

fn started(dir: &Path, task: &str) {
    until(&format!("{task} to start"), || (starts(dir, task) > 0).then_some(()));
}

fn go(dir: &Path, task: &str) {
    std::fs::write(dir.join(format!("go-{task}")), "").unwrap();
}

fn info_is(store: &ValkeyServer, line: &str) {
    until(line, || store.ask_all("INFO persistence").unwrap().lines().any(|one| one == line).then_some(()));
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// Copies the append-only files of a server that works, as the documentation says.
fn copy_append_only(store: &ValkeyServer, to: &Path) {
    // A rewrite during the copy would delete files that the copied manifest names.
    assert_eq!(store.ask("CONFIG SET auto-aof-rewrite-percentage 0").unwrap(), "+OK");
    info_is(store, "aof_rewrite_in_progress:0");
    copy_dir(&store.dir().join("appendonlydir"), to);
}

/// The world at the time of the backup, and what happened afterwards.
struct Story {
    done: String,
    running: String,
    waiting: String,
    late: String,
}

/// Runs a story around a backup; `backup` is called in its middle.
fn tell(server: &Server<'_>, fixture: &Fixture, dir: &Path, backup: impl FnOnce()) -> Story {
    let spawn = |task: &str| server.spawn(&body(&fixture.url(), task));
    go(dir, "T-done");
    let done = spawn("T-done");
    assert_eq!(server.ended(&done)["status"], "completed");
    let running = spawn("T-running");
    started(dir, "T-running");
    let waiting = spawn("T-waiting");
    backup();
    go(dir, "T-running");
    assert_eq!(server.ended(&running)["status"], "completed", "{}", server.log());
    go(dir, "T-waiting");
    assert_eq!(server.ended(&waiting)["status"], "completed");
    let late = spawn("T-late");
    started(dir, "T-late");
    Story { done, running, waiting, late }
}

fn settings(port: &str, line: &str) -> Vec<(&'static str, String)> {
    vec![
        ("VALKEY_HOST", "127.0.0.1".to_owned()),
        ("VALKEY_PORT", port.to_owned()),
        ("MOSAIC_NODE", "n1".to_owned()),
        ("MOSAIC_SLOTS", "1".to_owned()),
        ("MOSAIC_CONTAINMENT", "subreaper".to_owned()),
        ("MOSAIC_LEASE_MS", "6000".to_owned()),
        ("MOSAIC_COMMAND", line.to_owned()),
    ]
}

/// Looks at what the nodes make of a store that went back in time.
fn all_is_told(
    server: &Server<'_>,
    fixture: &Fixture,
    dir: &Path,
    story: &Story,
    tips: &[(String, Option<String>)],
) {
    assert_eq!(server.agent(&story.done)["status"], "completed");
    for id in [&story.running, &story.waiting] {
        let ended = server.ended(id);
        assert!(ended["status"] == "completed" || ended["error"].is_string(), "{ended:#}");
    }
    until("what has no record to end", || (!is_alive(dir, "T-late")).then_some(()));
    server.http.get(&format!("/v1/agents/{}", story.late)).expect(404);
    assert_eq!(starts(dir, "T-done"), 1, "it ran again");
    assert!(!dir.join("twice").exists(), "two were alive at once");
    let waited = server.agent(&story.waiting);
    for (branch, tip) in tips.iter().filter(|(branch, tip)| fixture.tip(branch) != *tip) {
        assert_eq!(waited["branch"], branch.as_str(), "another branch moved: {waited:#}");
        what_was_replaced_is_kept(server, fixture, &waited, tip.as_deref().unwrap());
    }
    // The queue is in order: new work runs.
    go(dir, "T-new");
    let new = server.spawn(&body(&fixture.url(), "T-new"));
    assert_eq!(server.ended(&new)["status"], "completed", "{}", server.log());
}

/// A task ran again, as its record is older than its branch; somebody had gone on from that branch meanwhile. The record says which
/// commit was replaced and where it is kept, it is restored as a branch, and nothing removes it unasked.
fn what_was_replaced_is_kept(server: &Server<'_>, fixture: &Fixture, waited: &Value, tip: &str) {
    let (id, said) = (waited["agentId"].as_str().unwrap(), waited["warnings"].to_string());
    assert!(said.contains("earlier one was forgotten") && said.contains(tip), "{said}");
    assert!(said.contains(&format!("refs/agents/{id}/replaced/")), "{said}");
    let output = server.cli(&["restore", id, "--json"]);
    assert!(output.status.success(), "{output:?}");
    let restored: Value = serde_json::from_slice(&output.stdout).unwrap();
    let place = PathBuf::from(restored["path"].as_str().unwrap());
    let kept = fixture.run(&place, &["for-each-ref", "--format=%(objectname)", "refs/heads/replaced"]);
    assert_eq!(kept, tip);
    assert_eq!(fixture.run(&place, &["show", &format!("{tip}:by-a-person")]), "more");
    let pruned = server.http.post("/v1/prune", Some(&json!({"olderThan": "0ms"}))).expect(200);
    let stays = pruned["unmerged"].as_array().unwrap().iter().any(|one| one["agentId"] == id);
    assert!(stays, "its work was not looked at: {pruned:#}");
}

/// Commits on top of a branch of the remote, as a person does who looked at it.
fn go_on_from(fixture: &Fixture, place: &Path, branch: &str) {
    fixture.run(place, &["clone", "--quiet", "--branch", branch, &fixture.url(), "person"]);
    let clone = place.join("person");
    std::fs::write(clone.join("by-a-person"), "more").unwrap();
    fixture.run(&clone, &["add", "by-a-person"]);
    fixture.run(&clone, &["commit", "--quiet", "--message", "more"]);
    fixture.run(&clone, &["push", "--quiet", "origin", branch]);
}

fn branches(fixture: &Fixture) -> Vec<String> {
    fixture.branches().into_iter().filter(|branch| branch != "main").collect()
}

fn around(
    options: &[&str],
    backup: impl FnOnce(&ValkeyServer, &Path),
    restore: impl FnOnce(&mut ValkeyServer, &Path),
) {
    let Some(mut store) = ValkeyServer::start_with(options) else { return };
    let (home, fixture) = (Home::new(), Fixture::new());
    let place = tempfile::tempdir().unwrap();
    let (dir, saved): (&Path, PathBuf) = (place.path(), place.path().join("saved"));
    let line = script(home.path(), "agent.sh", &AGENT.replace("DIR", &dir.display().to_string()));
    let env = settings(&store.port().to_string(), &line);
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut server = home.serve(&env);
    let story = tell(&server, &fixture, dir, || backup(&store, &saved));
    let branch = server.agent(&story.waiting)["branch"].as_str().unwrap().to_owned();
    go_on_from(&fixture, dir, &branch);
    // The server dies, its agent lives on under its supervisor.
    server.signal(Signal::KILL);
    server.wait_end();
    assert!(is_alive(dir, "T-late"));
    let tips: Vec<(String, Option<String>)> =
        branches(&fixture).into_iter().map(|branch| (branch.clone(), fixture.tip(&branch))).collect();
    assert_eq!(tips.len(), 3, "{:?}", fixture.branches());
    store.kill();
    restore(&mut store, &saved);
    let server = home.serve(&env);
    all_is_told(&server, &fixture, dir, &story, &tips);
    let of_waiting = tips.iter().find(|(name, _)| *name == branch).unwrap();
    assert_ne!(fixture.tip(&branch), of_waiting.1, "it did not run again");
    assert_eq!(store.ask("EXISTS orchestrator:quarantine").unwrap(), ":0");
}

#[test]
fn a_copy_of_the_append_only_files_is_put_back_and_the_nodes_go_on() {
    around(&[], copy_append_only, |store, saved| {
        let files = store.dir().join("appendonlydir");
        std::fs::remove_dir_all(&files).unwrap();
        copy_dir(saved, &files);
        store.restart();
    });
}

#[test]
fn a_snapshot_is_put_back_before_the_append_only_file_is_switched_on_again() {
    let take = |store: &ValkeyServer, saved: &Path| {
        assert_eq!(store.ask("BGSAVE").unwrap(), "+Background saving started");
        info_is(store, "rdb_bgsave_in_progress:0");
        std::fs::create_dir_all(saved).unwrap();
        std::fs::copy(store.dir().join("dump.rdb"), saved.join("dump.rdb")).unwrap();
    };
    // A server with an append-only file reads no snapshot: it would start empty.
    around(&[], take, |store, saved| {
        std::fs::remove_dir_all(store.dir().join("appendonlydir")).unwrap();
        std::fs::copy(saved.join("dump.rdb"), store.dir().join("dump.rdb")).unwrap();
        store.restart_with(&["--appendonly", "no"]);
        // The switch starts a rewrite in the background, and only its end has the data of the snapshot in the new file.
        assert_eq!(store.ask("CONFIG SET appendonly yes").unwrap(), "+OK");
        info_is(store, "aof_rewrite_in_progress:0");
        info_is(store, "aof_rewrite_scheduled:0");
    });
}
