//! Everything that lies in a tree when its agent ends is in the commit, kept beside it, or named: whatever git itself
//! would have left out, taken for something else, or waited for.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::git::world::World;
use mosaic_core::domain::ids::CommitId;
use mosaic_core::domain::outcome::FailureKind;
use mosaic_core::ports::repositories::{
    Commits, Intake, Kept, KeptWork, Publisher, Received, TreeRequest, Trees,
};

pub(super) fn head(received: &Received) -> &CommitId {
    match &received.kept {
        Kept::Commits { head } => head,
        other => panic!("expected commits: {other:?}"),
    }
}

pub(super) async fn files(world: &World, received: &Received) -> Vec<String> {
    world.git.list_files(&world.url, head(received), "").await.expect("listed")
}

pub(super) async fn content(world: &World, received: &Received, path: &str) -> Option<String> {
    let bytes = world.git.read_file(&world.url, head(received), path, 1 << 20).await.expect("read");
    bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

#[tokio::test]
async fn a_git_directory_that_cannot_be_read_is_kept_as_it_is() {
    let world = World::new();
    let request = world.agent().await;
    let tree = world.tree(&request);
    fs::remove_dir_all(tree.join(".git")).unwrap();
    // One that this version of git may not know either.
    world.fixture.run(&tree, &["init", "-q"]);
    world.fixture.run(&tree, &["commit", "-q", "--allow-empty", "-m", "only here"]);
    fs::write(tree.join(".git/HEAD"), "ref: refs/heads/.invalid\n").unwrap();
    world.write(&request, "work.txt", "x\n");
    let received = world.received(&request).await.unwrap();
    assert!(received.warnings.iter().any(|w| w.contains("tree.git")), "{:?}", received.warnings);
    world.git.remove(request.agent).await.unwrap();
    let kept = world.data().join("beside").join(request.agent.to_string()).join("tree.git");
    assert!(kept.join("objects").is_dir() && kept.join("refs").is_dir());
}

#[tokio::test]
async fn what_git_was_told_not_to_look_at_is_looked_at() {
    let world = World::new();
    world.fixture.commit_on("main", &[("docs/a.md", "a\n"), ("README.md", "x\n"), ("src/lib.txt", "one\n")]);
    let stories: &[(&str, &[&[&str]])] = &[
        ("sparse", &[&["sparse-checkout", "set", "docs"]]),
        ("sparse index", &[&["sparse-checkout", "set", "--cone", "--sparse-index", "docs"]]),
        ("split index", &[&["update-index", "--split-index"]]),
        ("skip-worktree", &[&["update-index", "--skip-worktree", "README.md"]]),
        ("assume-unchanged", &[&["update-index", "--assume-unchanged", "README.md"]]),
        ("everything ignored", &[&["config", "core.excludesFile", "/dev/stdin"]]),
    ];
    for (story, orders) in stories {
        let request = world.agent().await;
        orders.iter().for_each(|args| drop(world.agent_git(&request, args)));
        if *story == "everything ignored" {
            let file = world.fixture.path().join("all");
            fs::write(&file, "*\n").unwrap();
            world.agent_git(&request, &["config", "core.excludesFile", &file.display().to_string()]);
        }
        world.write(&request, "src/new.txt", "precious\n");
        world.write(&request, "README.md", "changed\n");
        let received = world.received(&request).await.unwrap();
        assert_eq!(content(&world, &received, "src/new.txt").await.as_deref(), Some("precious\n"), "{story}");
        assert_eq!(content(&world, &received, "README.md").await.as_deref(), Some("changed\n"), "{story}");
        // What a sparse checkout left out is not removed.
        assert_eq!(content(&world, &received, "src/lib.txt").await.as_deref(), Some("one\n"), "{story}");
    }
}

#[tokio::test]
async fn a_file_whose_times_were_set_back_is_read_all_the_same() {
    let world = World::new();
    let request = world.agent().await;
    let path = world.tree(&request).join("README.md");
    let meta = fs::metadata(&path).unwrap();
    let text = fs::read_to_string(&path).unwrap().to_uppercase();
    world.agent_git(&request, &["config", "core.trustctime", "false"]);
    world.agent_git(&request, &["config", "core.checkStat", "minimal"]);
    fs::write(&path, &text).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(meta.modified().unwrap()).unwrap();
    let index = world.tree(&request).join(".git/index");
    let later = SystemTime::now() + Duration::from_secs(10);
    fs::File::options().write(true).open(&index).unwrap().set_modified(later).unwrap();
    assert_eq!(world.agent_git(&request, &["status", "--porcelain"]), "", "git does not see it");
    let received = world.received(&request).await.unwrap();
    assert_eq!(content(&world, &received, "README.md").await, Some(text));
}

#[tokio::test]
async fn pipes_under_names_that_git_opens_hold_up_nothing() {
    let world = World::new();
    let names = [
        ".git/HEAD",
        ".git/config",
        ".git/index",
        ".git/packed-refs",
        ".git/FETCH_HEAD",
        ".git/MERGE_HEAD",
        ".git/info/exclude",
        ".git/info/attributes",
        ".git/objects/info/alternates",
        ".git/objects/pack/pack-0000000000000000000000000000000000000000.idx",
        ".git/refs/heads/pipe",
        ".gitignore",
        ".gitattributes",
        ".gitmodules",
        "nested/.git",
        "nested/.git/HEAD",
    ];
    for name in names {
        let request = world.agent().await;
        world.write(&request, "work.txt", "x\n");
        let path = world.tree(&request).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&path);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let began = SystemTime::now();
        let received = world.received(&request).await.unwrap_or_else(|e| panic!("{name}: {}", e.message));
        assert_eq!(content(&world, &received, "work.txt").await.as_deref(), Some("x\n"), "{name}");
        let saved = world.salvage(&request).await.unwrap_or_else(|e| panic!("{name}: {}", e.message));
        assert!(saved.is_some(), "{name}");
        assert!(began.elapsed().unwrap() < Duration::from_secs(60), "{name} was waited for");
    }
}

#[tokio::test]
async fn what_cannot_be_kept_is_named() {
    let world = World::new();
    let request = world.agent().await;
    let tree = world.tree(&request);
    world.write(&request, "work.txt", "x\n");
    let _listener = UnixListener::bind(tree.join("s")).unwrap();
    assert!(Command::new("mkfifo").arg(tree.join("p")).status().unwrap().success());
    fs::create_dir_all(tree.join("ignored")).unwrap();
    assert!(Command::new("mkfifo").arg(tree.join("ignored/p")).status().unwrap().success());
    let received = world.received(&request).await.unwrap();
    let told = received.warnings.join("\n");
    assert!(told.contains("s (a socket)") && told.contains("p (a pipe)"), "{told}");
    assert!(!told.contains("ignored"), "{told}");
    assert_eq!(files(&world, &received).await.iter().filter(|path| path.as_str() == "work.txt").count(), 1);
}

#[tokio::test]
async fn a_path_that_no_working_tree_can_hold_is_kept_and_named() {
    let world = World::new();
    let request = world.agent().await;
    world.write(&request, "work.txt", "x\n");
    let script = "import os\nfor i in range(100):\n  os.mkdir('d' * 50); os.chdir('d' * 50)\nopen('leaf', 'w').write('deep')\n";
    let made = Command::new("python3").args(["-c", script]).current_dir(world.tree(&request)).status();
    assert!(made.unwrap().success());
    let received = world.received(&request).await.unwrap();
    assert!(received.warnings.iter().any(|w| w.contains("too long")), "{:?}", received.warnings);
    let saved = world.git.salvaged(&world.url, request.agent).await.unwrap().expect("it is kept");
    let listed = world.store_git(&["log", "--format=%H", "--all", "-1", "--grep", "what a salvaged tree is"]);
    let held = world.store_git(&["cat-file", "blob", &format!("{}:extra/000/0", listed.trim())]);
    assert_eq!(held, "deep", "{saved:?}");
    world.git.remove(request.agent).await.unwrap();
    world.git.idle().await;
    assert!(!world.tree(&request).exists());
}

#[tokio::test]
async fn a_tree_replaced_by_a_link_gives_nothing_of_its_target_away() {
    let world = World::new();
    let foreign = world.fixture.path().join("foreign");
    world.fixture.run(world.fixture.path(), &["clone", "-q", &world.fixture.url(), "foreign"]);
    fs::write(foreign.join("private.txt"), "private\n").unwrap();
    let request = world.agent().await;
    let tree = world.tree(&request);
    fs::rename(&tree, tree.with_file_name("elsewhere")).unwrap();
    symlink(&foreign, &tree).unwrap();
    let job = world.git.harvest(&request).await.unwrap();
    run_at(&job.command, &job.outbox);
    let refused = world.git.receive(&request, &job.outbox).await.unwrap_err();
    assert!(refused.message.contains("put in its place"), "{}", refused.message);
    assert!(!world.git.has_tree(request.agent).await.unwrap());
}

fn run_at(command: &[String], at: &Path) {
    let out = Command::new(&command[0]).args(&command[1..]).current_dir(at).output().expect("it starts");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

#[tokio::test]
async fn line_endings_are_converted_as_the_attributes_say() {
    let world = World::new();
    world.fixture.commit_on("main", &[(".gitattributes", "*.txt text\n*.bin -text\n"), ("old.txt", "a\n")]);
    let request = world.agent().await;
    world.write(&request, "new.txt", "a\r\nb\r\n");
    world.write(&request, "new.bin", "a\r\n");
    world.write(&request, "old.txt", "a\r\n");
    let received = world.received(&request).await.unwrap();
    assert_eq!(content(&world, &received, "new.txt").await.as_deref(), Some("a\nb\n"));
    assert_eq!(content(&world, &received, "new.bin").await.as_deref(), Some("a\r\n"));
    let changed = world.git.stat(&world.url, &request.base, head(&received)).await.unwrap();
    assert_eq!(
        changed.iter().map(|f| String::from_utf8_lossy(&f.path)).collect::<Vec<_>>(),
        ["new.bin", "new.txt"]
    );
}

#[tokio::test]
async fn a_snapshot_shows_what_is_in_the_tree_and_changes_nothing_there() {
    let world = World::new();
    let request = world.agent().await;
    let snapshot = async || {
        let job = world.git.snapshot(&request).await.unwrap();
        world.run_job(&request, &job);
        world.git.receive_snapshot(&request, &job.outbox).await.unwrap()
    };
    assert_eq!(snapshot().await, None);
    world.write(&request, "committed.txt", "one\n");
    world.agent_git(&request, &["add", "-A"]);
    world.agent_git(&request, &["commit", "-qm", "one"]);
    world.write(&request, "open.txt", "two\n");
    world.write(&request, ".git/index.lock", "");
    let before = (
        world.agent_git(&request, &["rev-parse", "HEAD"]),
        fs::read(world.tree(&request).join(".git/index")),
    );
    let live = snapshot().await.expect("something was changed");
    let changed = world.git.stat(&world.url, &request.base, &live).await.unwrap();
    assert_eq!(
        changed.iter().map(|f| String::from_utf8_lossy(&f.path)).collect::<Vec<_>>(),
        ["committed.txt", "open.txt"]
    );
    let after = (
        world.agent_git(&request, &["rev-parse", "HEAD"]),
        fs::read(world.tree(&request).join(".git/index")),
    );
    assert_eq!(before.0, after.0);
    assert_eq!(before.1.unwrap(), after.1.unwrap());
    assert!(world.tree(&request).join(".git/index.lock").exists(), "a git of the agent's may hold it");
    let store = world.git.cache_of(&world.url);
    let lost = world.git.unmerged(&store, request.agent, &[], 9).await.unwrap();
    assert!(lost.is_empty(), "it is nobody's work: {lost:?}");
    world.git.forget(&store, request.agent).await.unwrap();
    assert!(
        world
            .fixture
            .try_run(
                &world.store(),
                &["rev-parse", "--verify", "-q", &format!("refs/mosaic/live/{}", request.agent)]
            )
            .is_none()
    );
}

#[tokio::test]
async fn a_tree_that_is_used_again_stands_at_the_commit_that_was_received() {
    let world = World::new();
    let mut request = world.agent().await;
    world.write(&request, "README.md", "mine\n");
    world.write(&request, "new.txt", "new\n");
    let first = head(&world.received(&request).await.unwrap()).clone();
    (request.start, request.reuse) = (first.clone(), true);
    assert!(world.git.make_tree(&request).await.unwrap().reused);
    assert_eq!(world.agent_git(&request, &["rev-parse", "HEAD"]), first.as_str());
    assert_eq!(world.agent_git(&request, &["symbolic-ref", "--short", "HEAD"]), request.branch.as_str());
    assert_eq!(world.agent_git(&request, &["status", "--porcelain"]), "");
    // So that what came from elsewhere can be merged into it.
    world.fixture.commit_on("main", &[("README.md", "theirs\n")]);
    world.git.fetch(&world.url, &crate::git::world::branch_main(), &request.branch).await.unwrap();
    world.agent_git(&request, &["fetch", "-q", "origin"]);
    world.agent_git(&request, &["merge", "-q", "-X", "ours", "--no-edit", "origin/main"]);
    let received = world.received(&request).await.unwrap();
    assert_eq!(content(&world, &received, "README.md").await.as_deref(), Some("mine\n"));
    // A HEAD of the agent's own is never moved.
    let own = world.agent_git(&request, &["rev-parse", "HEAD"]);
    assert!(world.git.make_tree(&request).await.unwrap().reused);
    assert_eq!(world.agent_git(&request, &["rev-parse", "HEAD"]), own);
}

/// Stages other content for README.md than the one in the tree, which stays as it was.
fn stage_only(world: &World, request: &TreeRequest, text: &str) {
    let before = fs::read_to_string(world.tree(request).join("README.md")).expect("it is there");
    world.write(request, "README.md", text);
    world.agent_git(request, &["add", "README.md"]);
    world.write(request, "README.md", &before);
}

#[tokio::test]
async fn what_only_the_index_holds_is_kept_and_named() {
    let world = World::new();
    let request = world.agent().await;
    stage_only(&world, &request, "staged\n");
    world.write(&request, "gone.txt", "gone\n");
    world.agent_git(&request, &["add", "gone.txt"]);
    fs::remove_file(world.tree(&request).join("gone.txt")).unwrap();
    world.write(&request, "work.txt", "x\n");
    let received = world.received(&request).await.unwrap();
    let told = received.warnings.join("\n");
    assert!(told.contains("README.md (staged") && told.contains("gone.txt (staged"), "{told}");
    world.git.remove(request.agent).await.unwrap();
    let restored = world.restore(&request, None, Some(head(&received).clone())).await.unwrap();
    assert_eq!(world.fixture.run(&restored.path, &["show", "salvaged/staged:README.md"]), "staged");
    assert_eq!(world.fixture.run(&restored.path, &["show", "salvaged/staged:gone.txt"]), "gone");
}

#[tokio::test]
async fn work_that_is_staged_only_is_not_taken_for_no_work() {
    let world = World::new();
    let request = world.agent().await;
    stage_only(&world, &request, "staged\n");
    let refused = world.received(&request).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Unpublishable, "{}", refused.message);
    assert!(refused.message.contains("README.md"), "{}", refused.message);
    let saved = world.salvage(&request).await.unwrap().expect("it is kept");
    let restored = world.restore(&request, Some(saved), None).await.unwrap();
    assert_eq!(world.fixture.run(&restored.path, &["diff", "--cached", "--name-only"]), "README.md");
    assert_eq!(world.fixture.run(&restored.path, &["show", ":README.md"]), "staged");
}

#[tokio::test]
async fn what_was_staged_as_it_lies_in_the_tree_is_nothing_to_tell_of() {
    let world = World::new();
    world.fixture.commit_on("main", &[(".gitattributes", "*.txt text\n")]);
    let request = world.agent().await;
    world.write(&request, "README.md", "changed\n");
    world.write(&request, "new.txt", "a\r\n");
    world.agent_git(&request, &["add", "-A"]);
    assert_eq!(world.received(&request).await.unwrap().warnings, Vec::<String>::new());
    assert!(world.git.salvaged(&world.url, request.agent).await.unwrap().is_none());
}
