//! Commands that serve by themselves, ended by signals: whatever the way, nothing of theirs goes on.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mosaic_testkit::git_fixture::Fixture;
use mosaic_testkit::program;
use rustix::process::{Pid, Signal, kill_process};

/// Longest wait for anything: far more than a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn mosaic(home: &Path, args: &[&str]) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_mosaic"));
    let mut command = program::command(program, home, &home.join("data"));
    command.args(args).env("MOSAIC_KILL_GRACE_MS", "500").current_dir(home);
    command.stdout(Stdio::null()).stderr(std::fs::File::create(home.join("err")).unwrap());
    command
}

fn stderr_of(home: &Path) -> String {
    std::fs::read_to_string(home.join("err")).unwrap()
}

/// Returns the processes whose environment names a worktree below this directory: agents and what they started.
fn agents(below: &Path) -> Vec<String> {
    let mark = format!("MOSAIC_WORKTREE={}", below.canonicalize().unwrap().display());
    let of = |entry: std::fs::DirEntry| {
        let environment = std::fs::read(entry.path().join("environ")).ok()?;
        let carries = environment.windows(mark.len()).any(|part| part == mark.as_bytes());
        carries.then(|| entry.file_name().to_string_lossy().into_owned())
    };
    std::fs::read_dir("/proc").unwrap().flatten().filter_map(of).collect()
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), signal).unwrap();
}

fn kept(home: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(home.join("data/run")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_demo_ends_as_it_is_told() {
    let home = tempfile::tempdir().unwrap();
    let mut demo = mosaic(home.path(), &["demo"]).spawn().unwrap();
    let ended = until("the demo to end", || demo.try_wait().unwrap());
    assert!(ended.success(), "{}", stderr_of(home.path()));
}

#[test]
fn an_interrupted_demo_leaves_nothing_running() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let mut demo = mosaic(home, &["demo"]).spawn().unwrap();
    until("the demo's agents", || {
        (home.join("data/demo/state").exists() && !agents(home).is_empty()).then_some(())
    });
    signal(&demo, Signal::INT);
    let ended = until("the demo to end", || demo.try_wait().unwrap());
    assert_eq!((ended.code(), agents(home)), (Some(130), Vec::new()), "{}", stderr_of(home));
    let mode = std::fs::metadata(home.join("data")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn removing_a_killed_demo_stops_what_it_left() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let mut demo = mosaic(home, &["demo"]).spawn().unwrap();
    until("the demo's agents", || {
        (home.join("data/demo/state").exists() && !agents(home).is_empty()).then_some(())
    });
    let refused = mosaic(home, &["demo", "--remove"]).status().unwrap();
    assert!(!refused.success() && stderr_of(home).contains("in use"), "{}", stderr_of(home));
    signal(&demo, Signal::KILL);
    demo.wait().unwrap();
    assert!(!agents(home).is_empty(), "agents outlive the demo");
    let removed = mosaic(home, &["demo", "--remove"]).status().unwrap();
    assert!(removed.success(), "{}", stderr_of(home));
    assert_eq!(agents(home), Vec::<String>::new());
    assert!(!home.join("data/demo").exists());
}

#[test]
fn a_run_told_to_end_kills_its_agent_and_keeps_its_state() {
    let (home, fixture) = (tempfile::tempdir().unwrap(), Fixture::new());
    let home = home.path();
    for order in [Signal::TERM, Signal::HUP] {
        let mut command = mosaic(home, &["run", "sleep"]);
        command.env("MOSAIC_RUNTIME", "command").env("MOSAIC_COMMAND", "sleep 600");
        let mut run = command.current_dir(fixture.path().join("work")).spawn().unwrap();
        until("the agent", || (!agents(home).is_empty()).then_some(()));
        signal(&run, order);
        let ended = until("the run to end", || run.try_wait().unwrap());
        assert_eq!((ended.code(), agents(home)), (Some(130), Vec::new()), "{}", stderr_of(home));
        assert!(
            kept(home).iter().any(|path| stderr_of(home).contains(path.to_str().unwrap())),
            "{}",
            stderr_of(home)
        );
    }
}

#[test]
fn a_run_that_ends_well_leaves_its_transcript_and_stops_what_a_killed_one_left() {
    let (home, fixture) = (tempfile::tempdir().unwrap(), Fixture::new());
    let home = home.path();
    let run = |line: &str| {
        let mut command = mosaic(home, &["run", "write"]);
        command.env("MOSAIC_RUNTIME", "command").env("MOSAIC_COMMAND", line);
        command.current_dir(fixture.path().join("work"));
        command
    };
    let mut killed = run("sleep 600").spawn().unwrap();
    until("the agent", || (!agents(home).is_empty()).then_some(()));
    let of_killed = kept(home);
    signal(&killed, Signal::KILL);
    killed.wait().unwrap();
    assert!(!agents(home).is_empty(), "agents outlive the run");
    let done = run("sh -c 'echo said; echo x > x.txt'").status().unwrap();
    assert!(done.success(), "{}", stderr_of(home));
    assert_eq!((agents(home), kept(home)), (Vec::new(), of_killed), "{}", stderr_of(home));
    let transcripts: Vec<_> = std::fs::read_dir(home.join("data/transcripts")).unwrap().collect();
    assert_eq!(transcripts.len(), 1);
    assert!(transcripts[0].as_ref().unwrap().path().join("entries.jsonl").is_file());
}

#[test]
fn a_run_is_killed_from_elsewhere_and_takes_nothing_from_there() {
    let (home, fixture) = (tempfile::tempdir().unwrap(), Fixture::new());
    let home = home.path();
    let mut command = mosaic(home, &["run", "sleep"]);
    command.env("MOSAIC_RUNTIME", "command").env("MOSAIC_COMMAND", "sleep 600");
    let mut run = command.current_dir(fixture.path().join("work")).spawn().unwrap();
    until("the agent", || (!agents(home).is_empty()).then_some(()));
    let elsewhere = tempfile::tempdir().unwrap();
    let order = |args: &[&str]| {
        let mut command = mosaic(elsewhere.path(), args);
        command.env("MOSAIC_DATA_DIR", home.join("data")).status().unwrap().success()
    };
    assert!(!order(&["spawn", "--repo", "https://git.example.com/r.git", "--branch", "main", "other"]));
    assert!(order(&["kill-all", "--yes"]), "{}", stderr_of(elsewhere.path()));
    let ended = until("the run to end", || run.try_wait().unwrap());
    assert_eq!((ended.code(), agents(home)), (Some(12), Vec::new()), "{}", stderr_of(home));
    assert!(!home.join("data/server.json").exists());
}
