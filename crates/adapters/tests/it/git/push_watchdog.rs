//! Pushes under a lease: a remote that hangs, a server that says nothing any more. What talks to the remote is dead
//! before the lease is over, with everything it started.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::git::world::World;
use crate::programs::example;
use mosaic_adapters::clock_system::SystemClock;
use mosaic_adapters::git::{GitOptions, GitRepositories};
use mosaic_core::ports::clock::Clock;
use mosaic_core::ports::fleet::Hold;
use mosaic_core::ports::repositories::{Publisher, Pushed};
use tokio::sync::watch;

/// Longest wait of a test for anything.
const DEADLINE: Duration = Duration::from_secs(30);

fn now() -> Duration {
    SystemClock.elapsed()
}

/// Lists the processes whose command line has this mark.
fn marked(mark: &str) -> Vec<i32> {
    let has = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.windows(mark.len()).any(|part| part == mark.as_bytes())
    };
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(has).collect()
}

/// Waits until at least so many live; none is exactly none.
fn await_marked(mark: &str, count: usize) {
    let begun = Instant::now();
    while marked(mark).len() < count || (count == 0 && !marked(mark).is_empty()) {
        assert!(begun.elapsed() < DEADLINE, "{:?} instead of {count}", marked(mark));
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The same for the two of a hanging hook, while the push goes on.
async fn both_up(mark: &str) {
    let up = async {
        while marked(mark).len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, up).await.expect("the hook runs");
}

/// A time to sleep that nobody else sleeps: it names who does.
fn mark() -> String {
    format!("1{}.5", uuid::Uuid::new_v4().as_u128() % 1_000_000_000)
}

/// A world whose remote hangs in a hook that left its session.
fn hanging() -> (World, GitRepositories, String) {
    let (world, mark) = (World::new(), mark());
    let hook = world.fixture.remote().join("hooks/pre-receive");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, format!("#!/bin/sh\nsetsid sleep {mark} &\nsleep {mark}\n")).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let mut options = GitOptions::new(world.fixture.path().join("data"), example("shim"));
    options.allow_local = true;
    let git = GitRepositories::new(options).unwrap();
    (world, git, mark)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_that_hangs_is_dead_at_the_end_of_its_hold() {
    let (world, git, mark) = hanging();
    let request = world.agent().await;
    world.write(&request, "a.txt", "a\n");
    let head = world.keep_commits(&request).await;
    let until = now() + Duration::from_secs(2);
    let (mover, moved) = watch::channel(Some(until));
    let hold = Hold::of(moved);
    let push = git.push(&world.url, &head, &request.branch, None, &hold);
    let later = until + Duration::from_secs(1);
    let watch = async {
        both_up(&mark).await;
        mover.send_replace(Some(later));
    };
    let (pushed, ()) = tokio::time::timeout(DEADLINE, async { tokio::join!(push, watch) }).await.unwrap();
    let ended = now();
    assert!(pushed.is_err(), "{pushed:?}");
    assert!(
        ended >= later && ended < later + Duration::from_secs(1),
        "{:?} late",
        ended.saturating_sub(later)
    );
    assert_eq!(marked(&mark), [0; 0], "also what left its session");
    assert_eq!(world.fixture.branches(), ["main"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_that_nobody_waits_for_any_more_is_dead_at_once() {
    let (world, git, mark) = hanging();
    let request = world.agent().await;
    world.write(&request, "a.txt", "a\n");
    let head = world.keep_commits(&request).await;
    let (_mover, moved) = watch::channel(Some(now() + Duration::from_secs(3600)));
    let hold = Hold::of(moved);
    tokio::select! {
        pushed = git.push(&world.url, &head, &request.branch, None, &hold) => panic!("{pushed:?}"),
        () = both_up(&mark) => {}
    }
    tokio::task::block_in_place(|| await_marked(&mark, 0));
}

#[tokio::test]
async fn a_push_that_works_says_so_through_its_fuse() {
    let world = World::new();
    let mut options = GitOptions::new(world.fixture.path().join("data"), example("shim"));
    options.allow_local = true;
    let git = GitRepositories::new(options).unwrap();
    let request = world.agent().await;
    world.write(&request, "a.txt", "a\n");
    let head = world.keep_commits(&request).await;
    let (_mover, moved) = watch::channel(Some(now() + DEADLINE));
    let hold = Hold::of(moved);
    for _ in 0..5 {
        let pushed = git.push(&world.url, &head, &request.branch, None, &hold).await.unwrap();
        assert_eq!(pushed, Pushed::Done);
    }
    let (_mover, over) = watch::channel(Some(now()));
    let refused = git.push(&world.url, &head, &request.branch, None, &Hold::of(over)).await.unwrap_err();
    assert!(refused.message.contains("lease"), "{refused:?}");
}

fn fuse(until: Duration, mark: &str) -> Child {
    let mut fuse = Command::new(example("shim"));
    fuse.arg("fuse").arg(until.as_millis().to_string());
    fuse.args(["sh", "-c", &format!("setsid sleep {mark} & sleep {mark}")]);
    fuse.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_server_that_stands_still_holds_no_fuse_up_and_a_dead_one_lets_it_burn() {
    // One that stands still keeps the pipe open and says nothing.
    let mark = mark();
    let until = now() + Duration::from_secs(1);
    let mut still = fuse(until, &mark);
    let pipe = still.stdin.take();
    await_marked(&mark, 3);
    let status = still.wait().unwrap();
    let late = now().saturating_sub(until);
    println!("a fuse burnt {late:?} after its deadline");
    assert_eq!((status.code(), marked(&mark)), (Some(75), vec![]));
    assert!(now() >= until && late < Duration::from_millis(700), "{late:?}");
    drop(pipe);
    let mut dead = fuse(now() + Duration::from_secs(3600), &mark);
    let pipe = dead.stdin.take();
    await_marked(&mark, 3);
    drop(pipe);
    assert_eq!((dead.wait().unwrap().code(), marked(&mark)), (Some(75), vec![]));
}
