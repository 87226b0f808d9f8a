//! Locks that a killed git leaves: healed, in agents' trees and in stores, and a live one is never touched.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::git::world::{World, branch, branch_main};
use mosaic_adapters::git::{GitOptions, GitRepositories};
use mosaic_core::ports::repositories::{Publisher, Trees};

/// Returns the number of times that real gits are killed: `MOSAIC_TEST_LOCKS`, or 8.
fn rounds() -> u64 {
    std::env::var("MOSAIC_TEST_LOCKS").ok().and_then(|n| n.parse().ok()).unwrap_or(8)
}

/// Names of locks that git makes, in a store or in a tree's git directory.
const LOCKS: &[&str] = &[
    "index.lock",
    "HEAD.lock",
    "packed-refs.lock",
    "config.lock",
    "shallow.lock",
    "refs/heads/main.lock",
    "refs/heads/deep/er/branch.lock",
    "refs/agents/7d0c6c1e/head.lock",
    "refs/remotes/origin/main.lock",
    "objects/info/commit-graph.lock",
];

fn plant(git_dir: &Path, lock: &str) {
    let path = git_dir.join(lock);
    fs::create_dir_all(path.parent().expect("a parent")).expect("made");
    fs::write(path, "").expect("planted");
}

fn locks(git_dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut dirs = vec![git_dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).expect("readable").flatten() {
            let path = entry.path();
            match entry.file_type().expect("known").is_dir() {
                true => dirs.push(path),
                false if path.extension().is_some_and(|e| e == "lock") => all.push(path),
                false => {}
            }
        }
    }
    all
}

/// A real git that has locked a ref of the store and waits for us.
struct Holder {
    child: Child,
    lock: PathBuf,
}

impl Holder {
    fn start(store: &Path, env: &[(&str, &str)]) -> Self {
        let mut command = Command::new("git");
        command.args(["update-ref", "--stdin"]).env("GIT_DIR", store).envs(env.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("git starts");
        let name = "refs/heads/held";
        let tip = fs::read_to_string(store.join("refs/heads/main")).expect("there is main");
        let mut stdin = child.stdin.take().expect("piped");
        write!(stdin, "start\nupdate {name} {}\nprepare\n", tip.trim()).expect("it reads");
        let mut said = BufReader::new(child.stdout.take().expect("piped")).lines();
        let prepared = said.by_ref().map_while(Result::ok).any(|line| line.contains("prepare: ok"));
        assert!(prepared, "it did not lock");
        child.stdin = Some(stdin);
        let lock = store.join(format!("{name}.lock"));
        assert!(lock.exists(), "it holds no lock");
        Self { child, lock }
    }

    fn signal(&self, name: &str) {
        let done = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(done.expect("kill runs").success());
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn forty_planted_locks_are_healed() {
    let world = World::new();
    let mut request = world.agent().await;
    request.reuse = true;
    let (store, dot) = (world.store(), world.tree(&request).join(".git"));
    let mut healed = 0;
    for round in 0..2 {
        for lock in LOCKS {
            plant(&dot, lock);
            assert!(world.git.make_tree(&request).await.unwrap().reused);
            assert_eq!(locks(&dot), Vec::<PathBuf>::new(), "{lock} in the tree, round {round}");
            healed += 1;
        }
        for lock in LOCKS {
            plant(&store, lock);
        }
        plant(&store, ".new-7f");
        plant(&store, "refs/agents/7d0c6c1e/.new-7f");
        assert_eq!(
            world.git.remove_stale_locks(&world.url).await.ok(),
            Some(LOCKS.len() + 2),
            "round {round}"
        );
        assert_eq!(locks(&store), Vec::<PathBuf>::new());
        assert!(!store.join(".new-7f").exists() && !store.join("refs/agents/7d0c6c1e/.new-7f").exists());
        healed += LOCKS.len();
    }
    assert_eq!(healed, 40);
    plant(&store, "refs/heads/main.lock");
    let newest = world.fixture.commit_on("main", &[("x", "1")]);
    let seen = world.git.fetch(&world.url, &branch_main(), &request.branch).await.unwrap();
    assert_eq!(seen.base.as_str(), newest, "a fetch heals what stands in its way");
}

#[tokio::test]
async fn a_killed_git_add_does_not_stop_the_next_one() {
    let world = World::new();
    let mut request = world.agent().await;
    request.reuse = true;
    let tree = world.tree(&request);
    // Incompressible, so that adding it takes longer than the killer waits.
    let mut state = 1u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    })
    .take(24 * 1024 * 1024)
    .collect();
    fs::write(tree.join("large.bin"), noise).unwrap();
    let (mut stale, mut healed) = (0, 0);
    for round in 0..rounds() {
        let mut add = Command::new("git").args(["add", "-A"]).current_dir(&tree).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_millis(10 + round * 80 / rounds());
        while Instant::now() < deadline {
            std::thread::yield_now();
        }
        add.kill().unwrap();
        add.wait().unwrap();
        let locked = tree.join(".git/index.lock").exists();
        stale += u64::from(locked);
        assert!(world.git.make_tree(&request).await.unwrap().reused);
        healed += u64::from(locked && locks(&tree.join(".git")).is_empty());
    }
    assert_eq!(healed, stale);
    assert!(stale > 0, "no add was killed while it held the lock");
    eprintln!("{healed} of {stale} stale locks of {} killed adds healed", rounds());
    fs::remove_file(tree.join("large.bin")).unwrap();
    plant(&tree.join(".git"), "index.lock");
    world.write(&request, "work.txt", "work\n");
    assert!(world.salvage(&request).await.unwrap().is_some(), "a stale lock keeps no work from being kept");
}

#[tokio::test]
async fn a_live_lock_is_never_touched() {
    let world = World::new();
    world.agent().await;
    let store = world.store();
    plant(&store, "packed-refs.lock");
    let held = Holder::start(&store, &[]);
    fs::remove_file(store.join("packed-refs.lock")).unwrap();
    let why = world.git.remove_stale_locks(&world.url).await.unwrap_err().to_string();
    assert!(why.contains("git") && held.lock.exists(), "{why}");
    held.signal("-STOP");
    assert!(
        world.git.remove_stale_locks(&world.url).await.is_err() && held.lock.exists(),
        "a stopped one is alive"
    );
    held.signal("-CONT");
    let lock = held.lock.clone();
    drop(held);
    assert!(lock.exists(), "a killed git leaves its lock");
    assert_eq!(world.git.remove_stale_locks(&world.url).await.ok(), Some(1));

    // Anything at all that has the file open holds it.
    let lock = store.join("HEAD.lock");
    let mut other = Command::new("sh");
    other.args(["-c", "exec 9>HEAD.lock; cd /; echo open; exec sleep 600"]).current_dir(&store);
    let mut other = other.stdout(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(other.stdout.take().unwrap()).lines().next();
    assert_eq!(said.unwrap().unwrap(), "open");
    let why = world.git.remove_stale_locks(&world.url).await.unwrap_err().to_string();
    assert!(why.contains("open") && lock.exists(), "{why}");
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(world.git.remove_stale_locks(&world.url).await.ok(), Some(1));
}

#[tokio::test]
async fn a_git_of_a_killed_server_is_ended_before_its_lock_is_judged() {
    let world = World::new();
    world.agent().await;
    let store = world.store();
    let mut server = Command::new("true").spawn().unwrap();
    let gone = format!("{}.1", server.id());
    server.wait().unwrap();
    let place = store.display().to_string();
    let mut left = Holder::start(&store, &[("MOSAIC_GIT_STORE", &place), ("MOSAIC_GIT_OWNER", &gone)]);
    let mut options = GitOptions::new(world.data(), crate::programs::example("shim"));
    options.allow_local = true;
    let next = GitRepositories::new(options).unwrap();
    next.fetch(&world.url, &branch_main(), &branch("mosaic/x/1")).await.unwrap();
    assert!(!left.child.wait().unwrap().success(), "it was not ended");
    assert_eq!(locks(&store), Vec::<PathBuf>::new());

    // One of a server that is alive is left alone: this process is.
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let start = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap();
    let me = format!("{}.{start}", std::process::id());
    let held = Holder::start(&store, &[("MOSAIC_GIT_STORE", &place), ("MOSAIC_GIT_OWNER", &me)]);
    assert!(world.git.remove_stale_locks(&world.url).await.is_err());
    assert!(held.lock.exists());
}
