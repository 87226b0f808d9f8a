//! Trees of ended agents come back byte for byte: stories about the odd states a tree can be in, and random
//! trees against real git.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::git::world::{World, branch_main};
use mosaic_core::domain::agent::Salvaged;
use mosaic_core::ports::repositories::{KeptWork, Publisher, Restored, TreeRequest, Trees};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Everything in a tree but `.git`: path → kind, permissions and content.
fn picture(root: &Path) -> BTreeMap<Vec<u8>, (char, u32, Vec<u8>)> {
    fn look(root: &Path, at: &Path, all: &mut BTreeMap<Vec<u8>, (char, u32, Vec<u8>)>) {
        for entry in fs::read_dir(at).expect("a directory") {
            let path = entry.expect("readable").path();
            if path.file_name() == Some(OsStr::new(".git")) {
                continue;
            }
            let meta = fs::symlink_metadata(&path).expect("there");
            let name = path.strip_prefix(root).expect("below").as_os_str().as_bytes().to_vec();
            let mode = meta.mode() & 0o777;
            if meta.is_symlink() {
                let target = fs::read_link(&path).expect("a link").as_os_str().as_bytes().to_vec();
                all.insert(name, ('l', 0, target));
            } else if meta.is_dir() {
                all.insert(name, ('d', mode, Vec::new()));
                look(root, &path, all);
            } else {
                all.insert(name, ('f', mode, fs::read(&path).expect("a file")));
            }
        }
    }
    let mut all = BTreeMap::new();
    look(root, root, &mut all);
    all
}

fn git(at: &Path, args: &[&str]) -> Vec<u8> {
    let out = Command::new("git")
        .args(args)
        .current_dir(at)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("HOME", "/nonexistent")
        .output()
        .expect("git starts");
    assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

/// The index with all its stages, and what git thinks of the tree.
fn index(at: &Path) -> (Vec<u8>, Vec<u8>) {
    // What is ignored is not kept.
    let status = git(at, &["-c", "core.quotePath=false", "status", "--porcelain", "-z", "-uall"]);
    (git(at, &["ls-files", "-s", "-z"]), status)
}

/// Salvages, takes the tree away, restores, and compares everything.
async fn round_trip(world: &World, request: &TreeRequest) -> (Salvaged, Restored) {
    let tree = world.tree(request);
    let expected = picture(&tree);
    let index_before = index(&tree);
    let head = Command::new("git").args(["rev-parse", "HEAD"]).current_dir(&tree).output().expect("git");
    let head = String::from_utf8_lossy(&head.stdout).trim().to_owned();
    let saved = world.salvage(request).await.expect("salvaged").expect("there is something");
    assert_eq!(saved.reference, format!("refs/mosaic/salvage/{}", request.agent));
    assert_eq!(world.store_git(&["rev-parse", &saved.reference]), saved.commit.as_str());
    let found = world.git.salvaged(&world.url, request.agent).await.expect("read");
    assert_eq!(found.as_ref(), Some(&saved));
    world.git.remove(request.agent).await.expect("removed");
    let restored = world.restore(request, Some(saved.clone()), None).await.expect("something is kept");
    let (before, after) = (expected, picture(&restored.path));
    for (path, what) in &before {
        let name = String::from_utf8_lossy(path);
        assert_eq!(after.get(path).map(|w| (w.0, w.1)), Some((what.0, what.1)), "{name}");
        assert!(after.get(path) == Some(what), "{name} has other content");
    }
    assert_eq!(before.len(), after.len(), "there is more than there was");
    assert_eq!(index(&restored.path), index_before, "the index is another one");
    if restored.head.is_some() {
        assert_eq!(restored.head.as_ref().map(ToString::to_string), Some(head));
    }
    assert_eq!(
        String::from_utf8_lossy(&git(&restored.path, &["symbolic-ref", "HEAD"])).trim(),
        format!("refs/heads/{}", request.branch)
    );
    assert!(!restored.path.join(".git/objects/info/alternates").exists(), "it depends on the store");
    git(&restored.path, &["fsck", "--full", "--strict", "--no-dangling"]);
    (saved, restored)
}

fn write(tree: &Path, name: &[u8], bytes: &[u8], mode: u32) -> PathBuf {
    let path = tree.join(OsStr::from_bytes(name));
    fs::create_dir_all(path.parent().expect("a parent")).expect("made");
    fs::write(&path, bytes).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
    path
}

#[tokio::test]
async fn everything_that_is_not_committed_comes_back() {
    let world = World::new();
    let request = world.agent().await;
    let tree = world.tree(&request);
    write(&tree, b"committed.txt", b"committed\n", 0o644);
    world.agent_git(&request, &["add", "-A"]);
    world.agent_git(&request, &["commit", "-qm", "first"]);
    write(&tree, b"src/lib.txt", b"staged\n", 0o644);
    world.agent_git(&request, &["add", "-A"]);
    write(&tree, b"src/lib.txt", b"not staged\n", 0o644);
    fs::remove_file(tree.join("README.md")).unwrap();
    write(&tree, b"bin/tool", b"\x7fELF\0\0\r\n\xff", 0o755);
    write(&tree, b"private.key", b"x", 0o600);
    write(&tree, b"odd \n\t\"name\" \xff\xfe.txt", b"odd", 0o640);
    write(&tree, "\u{e4}/\u{1f980}.txt".as_bytes(), b"crab", 0o644);
    write(&tree, b"crlf.txt", b"a\r\nb\nc\r", 0o644);
    write(&tree, b".gitattributes", b"*.txt text eol=lf\n*.key filter=missing ident\n", 0o644);
    write(&tree, b"announced.txt", b"announced", 0o644);
    world.agent_git(&request, &["add", "-N", "announced.txt"]);
    symlink("/etc/passwd", tree.join("link")).unwrap();
    symlink("nowhere", tree.join("dangling")).unwrap();
    symlink("src", tree.join("to-dir")).unwrap();
    fs::create_dir_all(tree.join("empty/deeper")).unwrap();
    fs::set_permissions(tree.join("empty"), fs::Permissions::from_mode(0o750)).unwrap();
    write(&tree, b"locked/away", b"x", 0o000);
    fs::set_permissions(tree.join("locked"), fs::Permissions::from_mode(0o500)).unwrap();
    let before = index(&tree);
    let (saved, restored) = round_trip(&world, &request).await;
    assert_eq!(index(&restored.path), before);
    let text = world.store_git(&["log", "-1", "--format=%B", saved.commit.as_str()]);
    assert!(text.contains("Mosaic-Agent"), "{text}");
}

#[tokio::test]
async fn what_is_ignored_is_left_and_a_clean_tree_leaves_nothing() {
    let world = World::new();
    let request = world.agent().await;
    let tree = world.tree(&request);
    assert_eq!(world.salvage(&request).await.unwrap(), None);
    write(&tree, b"ignored/secret.bin", b"x", 0o644);
    write(&tree, b"x.tmp", b"x", 0o644);
    assert_eq!(world.salvage(&request).await.unwrap(), None, "only ignored files");
    assert!(world.restore(&request, None, None).await.is_none(), "nothing is kept");
    write(&tree, b"work.txt", b"x", 0o644);
    let saved = world.salvage(&request).await.unwrap().unwrap();
    let files = world.store_git(&["ls-tree", "-r", "--name-only", saved.commit.as_str()]);
    assert!(files.contains("work.txt") && !files.contains("ignored/") && !files.contains("x.tmp"), "{files}");
}

#[tokio::test]
async fn an_unfinished_rebase_is_kept_with_its_conflicts_and_commits() {
    let world = World::new();
    let request = world.agent().await;
    let tree = world.tree(&request);
    write(&tree, b"src/lib.txt", b"mine\n", 0o644);
    world.agent_git(&request, &["commit", "-qam", "mine"]);
    write(&tree, b"later.txt", b"later\n", 0o644);
    world.agent_git(&request, &["add", "-A"]);
    world.agent_git(&request, &["commit", "-qm", "not replayed yet"]);
    let tip = world.agent_git(&request, &["rev-parse", "HEAD"]);
    world.fixture.commit_on("main", &[("src/lib.txt", "theirs\n")]);
    world.git.fetch(&world.url, &branch_main(), &request.branch).await.unwrap();
    world.agent_git(&request, &["fetch", "-q", "origin"]);
    assert!(world.fixture.try_run(&tree, &["rebase", "-q", "origin/main"]).is_none(), "it must conflict");
    write(&tree, b"src/lib.txt", b"half resolved\n<<<<<<< still here\n", 0o644);
    let unmerged = git(&tree, &["ls-files", "-u", "-z"]);
    assert!(!unmerged.is_empty());
    let (_, restored) = round_trip(&world, &request).await;
    assert_eq!(git(&restored.path, &["ls-files", "-u", "-z"]), unmerged);
    let branches =
        String::from_utf8(git(&restored.path, &["for-each-ref", "--format=%(objectname)"])).unwrap();
    assert!(branches.contains(&tip), "the commits that were not replayed yet are gone: {branches}");
    assert!(!restored.path.join(".git/rebase-merge").exists(), "a plan of the agent's would be obeyed");
}

#[tokio::test]
async fn merges_branches_and_stashes_come_along() {
    let world = World::new();
    let request = world.agent().await;
    let tree = world.tree(&request);
    world.agent_git(&request, &["checkout", "-q", "-b", "side"]);
    write(&tree, b"side.txt", b"side\n", 0o644);
    world.agent_git(&request, &["add", "-A"]);
    world.agent_git(&request, &["commit", "-qm", "side"]);
    let side = world.agent_git(&request, &["rev-parse", "HEAD"]);
    world.agent_git(&request, &["checkout", "-q", request.branch.as_str()]);
    write(&tree, b"src/lib.txt", b"to be stashed\n", 0o644);
    world.agent_git(&request, &["stash", "push", "-q", "-m", "older"]);
    write(&tree, b"README.md", b"stashed too\n", 0o644);
    world.agent_git(&request, &["stash", "push", "-q", "-m", "newer"]);
    world.agent_git(&request, &["merge", "-q", "--no-ff", "--no-commit", "side"]);
    write(&tree, b"side.txt", b"changed in the merge\n", 0o644);
    let (_, restored) = round_trip(&world, &request).await;
    assert_eq!(git(&restored.path, &["rev-parse", "side"]), format!("{side}\n").as_bytes());
    assert_eq!(fs::read_to_string(restored.path.join(".git/MERGE_HEAD")).unwrap().trim(), side);
    let stashes = String::from_utf8(git(&restored.path, &["stash", "list"])).unwrap();
    let (newer, older) = (stashes.find("newer"), stashes.find("older"));
    assert!(newer.is_some() && newer < older, "{stashes}");
    assert_eq!(git(&restored.path, &["show", "stash@{1}:src/lib.txt"]), b"to be stashed\n");
}

#[tokio::test]
async fn a_branch_without_commits_and_a_detached_head_come_back() {
    let world = World::new();
    let request = world.agent().await;
    world.agent_git(&request, &["checkout", "-q", "--orphan", "fresh"]);
    world.agent_git(&request, &["rm", "-rfq", "--cached", "."]);
    write(&world.tree(&request), b"only.txt", b"only", 0o644);
    world.agent_git(&request, &["add", "only.txt"]);
    let (_, restored) = round_trip(&world, &request).await;
    assert_eq!(restored.head, None, "there was no commit to be at");

    let request = world.agent().await;
    world.agent_git(&request, &["checkout", "-q", "--detach"]);
    world.agent_git(&request, &["commit", "-q", "--allow-empty", "-m", "detached"]);
    write(&world.tree(&request), b"x.txt", b"x", 0o644);
    let (_, restored) = round_trip(&world, &request).await;
    assert_eq!(git(&restored.path, &["log", "-1", "--format=%s"]), b"detached\n");
}

#[tokio::test]
async fn a_nested_repository_comes_back_under_a_name_that_git_does_not_obey() {
    let world = World::new();
    let request = world.agent().await;
    let tree = world.tree(&request);
    world.fixture.run(&tree, &["init", "-q", "vendor/nested"]);
    let nested = tree.join("vendor/nested");
    write(&nested, b"a.txt", b"committed", 0o644);
    world.fixture.run(&nested, &["add", "-A"]);
    world.fixture.run(&nested, &["commit", "-qm", "nested work"]);
    write(&nested, b"b.txt", b"not committed", 0o755);
    world.fixture.run(&nested, &["config", "core.fsmonitor", "/nonexistent/planted"]);
    let saved = world.salvage(&request).await.unwrap().unwrap();
    let restored = world.restore(&request, Some(saved), None).await.unwrap();
    let back = restored.path.join("vendor/nested");
    assert_eq!(fs::read(back.join("b.txt")).unwrap(), b"not committed");
    assert!(!back.join(".git").exists());
    fs::rename(back.join(".git-salvaged"), back.join(".git")).unwrap();
    assert_eq!(git(&back, &["-c", "core.fsmonitor=false", "log", "--format=%s"]), b"nested work\n");
    let status = git(&back, &["-c", "core.fsmonitor=false", "status", "--porcelain"]);
    assert_eq!(status, b"?? b.txt\n");
}

#[tokio::test]
async fn names_that_git_refuses_come_back_too() {
    let world = World::new();
    let request = world.agent().await;
    let tree = world.tree(&request);
    write(&tree, b".GIT/config", b"[core]\n", 0o644);
    write(&tree, b"git~1", b"x", 0o644);
    write(&tree, b".gitmodules", b"[submodule \"../../x\"]\n\turl = -u./evil\n\tpath = -x\n", 0o644);
    write(&tree, b"sub/.gitattributes/file", b"x", 0o644);
    symlink(".git/config", tree.join("sub-link")).unwrap();
    world.agent_git(&request, &["add", "sub"]);
    round_trip(&world, &request).await;
}

#[tokio::test]
async fn a_tree_that_cannot_be_asked_is_taken_as_files() {
    let world = World::new();
    let request = world.agent().await;
    let tree = world.tree(&request);
    write(&tree, b"work.txt", b"work\n", 0o755);
    fs::remove_dir_all(tree.join(".git")).unwrap();
    let saved = world.salvage(&request).await.unwrap().unwrap();
    let restored = world.restore(&request, Some(saved), None).await.unwrap();
    assert_eq!(restored.head.as_ref(), Some(&request.base));
    assert_eq!(fs::read(restored.path.join("work.txt")).unwrap(), b"work\n");
    assert_eq!(git(&restored.path, &["status", "--porcelain"]), b"?? work.txt\n");

    let request = world.agent().await;
    write(&world.tree(&request), b"work.txt", b"work\n", 0o644);
    write(&world.tree(&request), b".git/index", b"not an index", 0o644);
    let saved = world.salvage(&request).await.unwrap().unwrap();
    let restored = world.restore(&request, Some(saved), None).await.unwrap();
    assert_eq!(fs::read(restored.path.join("work.txt")).unwrap(), b"work\n");
}

#[tokio::test]
async fn a_second_copy_gets_a_name_of_its_own_and_received_work_comes_back_as_a_branch() {
    let world = World::new();
    let request = world.agent().await;
    world.write(&request, "work.txt", "work\n");
    let head = world.keep_commits(&request).await;
    let first = world.restore(&request, None, Some(head.clone())).await.unwrap();
    let second = world.restore(&request, None, Some(head.clone())).await.unwrap();
    assert!(first.path.ends_with("restored/task-0e31-1") && second.path.ends_with("task-0e31-2"));
    assert_eq!((first.head, first.salvage), (Some(head), None));
    assert_eq!(git(&second.path, &["status", "--porcelain"]), b"");
    assert_eq!(
        git(&second.path, &["rev-parse", "--abbrev-ref", "HEAD"]),
        format!("{}\n", request.branch).as_bytes()
    );
    assert_eq!(fs::read(second.path.join("work.txt")).unwrap(), b"work\n");
    let names = fs::read_dir(world.data().join("restored")).unwrap().count();
    assert_eq!(names, 2, "nothing half made stays");
}

#[tokio::test]
async fn work_that_was_not_received_is_set_aside_and_not_removed() {
    let world = World::new();
    let mut request = world.agent().await;
    world.write(&request, "work.txt", "work\n");
    let home = world.data().join("agents").join(request.agent.to_string());
    fs::remove_file(home.join("tree.json")).unwrap();
    (request.reuse, request.unreceived) = (true, true);
    assert!(!world.git.make_tree(&request).await.unwrap().reused);
    let aside = fs::read_dir(&home).unwrap().flatten().map(|e| e.path());
    let aside: Vec<_> = aside.filter(|p| p.to_string_lossy().contains("unreceived-")).collect();
    assert_eq!(fs::read_to_string(aside[0].join("work.txt")).unwrap(), "work\n");
    let left = world.git.remove(request.agent).await.unwrap_err();
    assert!(left.message.contains("unreceived-"), "{}", left.message);
    assert!(!world.tree(&request).exists() && aside[0].exists());
}

#[tokio::test]
async fn a_salvage_with_a_forged_description_writes_nothing_outside() {
    let world = World::new();
    let request = world.agent().await;
    world.write(&request, "work.txt", "work\n");
    let saved = world.salvage(&request).await.unwrap().unwrap();
    // As an agent could have made it: the same commit with a description that leads elsewhere.
    let store = world.store();
    let outside = world.fixture.path().join("outside");
    let blob = world.store_git(&["rev-parse", &format!("{}:work.txt", saved.commit)]);
    for path in ["../../../outside", "/outside", ".git/hooks/post-checkout", "link/x"] {
        let state = serde_json::json!({"version": 1, "head": request.base.as_str(), "branches": [{"name": "../x", "commit": request.base.as_str()}],
            "extra": [{"path": "link", "mode": 0o120000, "link": true}, {"path": path, "mode": 0o755}]});
        fs::write(world.fixture.path().join("state.json"), state.to_string()).unwrap();
        let text = world.fixture.path().join("state.json").display().to_string();
        let object = world.store_git(&["hash-object", "-w", &text]);
        let extra = world.fixture.path().join("forged-index");
        let run = |args: &[&str]| {
            let mut command = Command::new("git");
            command.args(args).env("GIT_DIR", &store).env("GIT_INDEX_FILE", &extra);
            for who in ["AUTHOR", "COMMITTER"] {
                command.env(format!("GIT_{who}_NAME"), "x").env(format!("GIT_{who}_EMAIL"), "x@example.com");
            }
            let out = command.output().unwrap();
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            String::from_utf8_lossy(&out.stdout).trim().to_owned()
        };
        let target = world.fixture.path().join("target");
        fs::write(&target, world.fixture.path().display().to_string()).unwrap();
        let link = run(&["hash-object", "-w", &target.display().to_string()]);
        let _ = fs::remove_file(&extra);
        for (place, object) in [("state.json", &object), ("extra/000/0", &link), ("extra/000/1", &blob)] {
            run(&["update-index", "--add", "--cacheinfo", &format!("100644,{object},{place}")]);
        }
        let tree = run(&["write-tree"]);
        let described = run(&["commit-tree", &tree, "-m", "x"]);
        let own = format!("{}^{{tree}}", saved.commit);
        let message = format!("x\n\nMosaic-State: {described}");
        let forged =
            run(&["commit-tree", &own, "-p", request.base.as_str(), "-p", &described, "-m", &message]);
        run(&["update-ref", &saved.reference, &forged]);
        let refused = world.try_restore(&request, Some(saved.clone()), None).await;
        assert!(refused.is_err(), "{path}: {refused:?}");
        world.git.idle().await;
        assert!(!outside.exists(), "{path}");
    }
}

/// One step of a random agent in its tree.
#[derive(Debug, Clone)]
enum Act {
    Write(Vec<u8>, Vec<u8>, u32),
    Link(Vec<u8>, Vec<u8>),
    Remove(Vec<u8>),
    Stage,
    StageOne(Vec<u8>),
    Commit,
    Announce(Vec<u8>),
    Unstage(Vec<u8>),
}

fn any_path() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        4 => "[a-c]".prop_map(String::into_bytes),
        1 => Just(b"with space".to_vec()),
        1 => Just(b"new\nline".to_vec()),
        1 => Just("\u{fc}\u{1f980}".as_bytes().to_vec()),
        1 => Just(b"\xff\x80raw".to_vec()),
        1 => Just(b"\"quoted\\\"".to_vec()),
        1 => Just(b"-dash".to_vec()),
        1 => Just(b".Git".to_vec()),
    ];
    let settings = proptest::option::weighted(0.05, Just(b".gitattributes".to_vec()));
    (proptest::collection::vec(part, 1..4), settings)
        .prop_map(|(parts, last)| parts.into_iter().chain(last).collect::<Vec<_>>().join(&b'/'))
}

fn any_act() -> impl Strategy<Value = Act> {
    let content = prop_oneof![
        2 => proptest::collection::vec(any::<u8>(), 0..200),
        1 => Just(b"a\r\nb\r\n".to_vec()),
        1 => Just(b"* text=auto eol=crlf ident\n$Id$\n".to_vec()),
        1 => Just(vec![0u8; 100_000]),
    ];
    let mode = proptest::sample::select(vec![0o644, 0o755, 0o600, 0o700, 0o444, 0o640]);
    prop_oneof![
        6 => (any_path(), content, mode).prop_map(|(p, c, m)| Act::Write(p, c, m)),
        1 => (any_path(), any_path()).prop_map(|(p, t)| Act::Link(p, t)),
        2 => any_path().prop_map(Act::Remove),
        1 => Just(Act::Stage),
        2 => any_path().prop_map(Act::StageOne),
        1 => Just(Act::Commit),
        1 => any_path().prop_map(Act::Announce),
        1 => any_path().prop_map(Act::Unstage),
    ]
}

/// Does it as far as it can be done: paths clash, and git refuses some.
fn act(world: &World, tree: &Path, act: &Act) {
    let at = |path: &Vec<u8>| tree.join(OsStr::from_bytes(path));
    // A link on the way would lead out of the picture.
    let through_link =
        |path: &Vec<u8>| at(path).ancestors().skip(1).take_while(|p| *p != tree).any(|p| p.is_symlink());
    let run = |args: &[&OsStr]| {
        let mut command = Command::new("git");
        command
            .args(args)
            .current_dir(tree)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("HOME", world.fixture.path());
        let _ = command.output().expect("git starts");
    };
    match act {
        Act::Write(path, content, mode) if !through_link(path) => {
            let _ = fs::create_dir_all(at(path).parent().expect("a parent"));
            if !at(path).is_symlink() && !at(path).is_dir() && at(path).parent().is_some_and(Path::is_dir) {
                let _ = fs::remove_file(at(path));
                fs::write(at(path), content).expect("written");
                fs::set_permissions(at(path), fs::Permissions::from_mode(*mode)).expect("set");
            }
        }
        Act::Link(path, target) if !through_link(path) => {
            let _ = symlink(OsStr::from_bytes(target), at(path));
        }
        Act::Remove(path) if !through_link(path) => {
            let _ = fs::remove_file(at(path)).or_else(|_| fs::remove_dir_all(at(path)));
        }
        Act::Write(..) | Act::Link(..) | Act::Remove(_) => {}
        Act::Stage => run(&["add", "-A", "--ignore-errors"].map(OsStr::new)),
        Act::StageOne(path) => run(&[OsStr::new("add"), OsStr::new("--"), OsStr::from_bytes(path)]),
        Act::Commit => run(&["commit", "-qm", "random"].map(OsStr::new)),
        Act::Announce(path) => {
            run(&[OsStr::new("add"), OsStr::new("-N"), OsStr::new("--"), OsStr::from_bytes(path)])
        }
        Act::Unstage(path) => run(&[
            OsStr::new("rm"),
            OsStr::new("-q"),
            OsStr::new("--cached"),
            OsStr::new("--"),
            OsStr::from_bytes(path),
        ]),
    }
}

/// `MOSAIC_TEST_TREES` says how many trees; a few by default.
#[test]
fn random_trees_come_back_byte_for_byte() {
    let cases = std::env::var("MOSAIC_TEST_TREES").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 60, ..Config::default() };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let world = World::new();
    let acts = proptest::collection::vec(any_act(), 1..40);
    let outcome = TestRunner::new(config).run(&acts, |acts| {
        runtime.block_on(async {
            let request = world.agent().await;
            let tree = world.tree(&request);
            acts.iter().for_each(|one| act(&world, &tree, one));
            write(&tree, b"always.txt", b"so that there is something", 0o644);
            round_trip(&world, &request).await;
        });
        Ok(())
    });
    outcome.unwrap_or_else(|e| panic!("{e}"));
}
