//! An agent that ends by itself loses nothing either: what lies in its tree beside the commits of its HEAD is kept by
//! the harvest of the commit step.

use std::fs;
use std::path::Path;

use crate::git::world::{World, branch_main};
use mosaic_core::ports::repositories::{Commits, Intake, Kept, KeptWork, Publisher, TreeRequest, Trees};

/// Commits one file on a new branch and goes back; returns the commit.
fn precious(world: &World, request: &TreeRequest) -> String {
    world.agent_git(request, &["checkout", "-q", "-b", "feature"]);
    world.write(request, "precious.txt", "precious\n");
    world.agent_git(request, &["add", "-A"]);
    world.agent_git(request, &["commit", "-qm", "precious"]);
    let commit = world.agent_git(request, &["rev-parse", "HEAD"]);
    world.agent_git(request, &["checkout", "-q", request.branch.as_str()]);
    commit
}

fn stash(world: &World, request: &TreeRequest) {
    world.write(request, "README.md", "stashed\n");
    world.agent_git(request, &["stash", "push", "-q", "-m", "for later"]);
}

fn ask(world: &World, at: &Path, args: &[&str]) -> String {
    world.fixture.run(at, args).trim().to_owned()
}

async fn saved(world: &World, request: &TreeRequest) -> bool {
    world.git.salvaged(&world.url, request.agent).await.expect("read").is_some()
}

#[tokio::test]
async fn a_branch_beside_an_unchanged_head_is_kept_and_restored() {
    let world = World::new();
    let request = world.agent().await;
    let commit = precious(&world, &request);
    assert_eq!(world.keep(&request).await.unwrap(), Kept::Nothing);
    world.git.remove(request.agent).await.unwrap();
    // The record knows nothing: the ref does.
    let restored = world.restore(&request, None, None).await.expect("it is kept");
    assert!(restored.salvage.is_some());
    assert_eq!(ask(&world, &restored.path, &["rev-parse", "feature"]), commit);
    assert_eq!(restored.head.as_ref(), Some(&request.base));
    assert_eq!(ask(&world, &restored.path, &["status", "--porcelain"]), "");
    let store = world.git.cache_of(&world.url);
    let lost =
        world.git.unmerged(&store, request.agent, std::slice::from_ref(&request.base), 9).await.unwrap();
    assert!(lost.iter().any(|one| one.commit.as_str() == commit), "it may be removed unasked: {lost:?}");
}

#[tokio::test]
async fn a_branch_and_a_stash_beside_received_commits_are_kept_and_restored() {
    let world = World::new();
    let request = world.agent().await;
    let commit = precious(&world, &request);
    stash(&world, &request);
    world.write(&request, "work.txt", "work\n");
    let head = world.keep_commits(&request).await;
    world.git.remove(request.agent).await.unwrap();
    let restored = world.restore(&request, None, Some(head.clone())).await.unwrap();
    assert_eq!(restored.head.as_ref(), Some(&head));
    assert_eq!(fs::read_to_string(restored.path.join("work.txt")).unwrap(), "work\n");
    assert_eq!(ask(&world, &restored.path, &["status", "--porcelain"]), "");
    assert_eq!(ask(&world, &restored.path, &["rev-parse", "feature"]), commit);
    assert!(ask(&world, &restored.path, &["stash", "list"]).contains("for later"));
    assert_eq!(ask(&world, &restored.path, &["show", "stash@{0}:README.md"]), "stashed");
    // A pushed HEAD makes the rest no safer.
    let store = world.git.cache_of(&world.url);
    let lost = world.git.unmerged(&store, request.agent, &[request.base.clone(), head], 9).await.unwrap();
    assert!(lost.iter().any(|one| one.commit.as_str() == commit), "{lost:?}");
}

#[tokio::test]
async fn heads_of_other_worktrees_and_tags_are_kept() {
    let world = World::new();
    let request = world.agent().await;
    let at = world.fixture.path().join("other");
    world.agent_git(&request, &["worktree", "add", "-q", "--detach", &at.display().to_string()]);
    let commit = |name: &str| {
        world.fixture.run(&at, &["commit", "-q", "--allow-empty", "-m", name]);
        world.fixture.run(&at, &["rev-parse", "HEAD"]).trim().to_owned()
    };
    let tagged = commit("tagged");
    world.fixture.run(&at, &["tag", "-a", "-m", "a tag of its own", "v1"]);
    world.fixture.run(&at, &["checkout", "-q", "--detach", "HEAD~1"]);
    let detached = commit("detached");
    assert_eq!(world.keep(&request).await.unwrap(), Kept::Nothing);
    world.git.remove(request.agent).await.unwrap();
    let restored = world.restore(&request, None, None).await.expect("they are kept");
    let all = ask(&world, &restored.path, &["for-each-ref", "--format=%(objectname)", "refs/heads"]);
    assert!(all.contains(&tagged) && all.contains(&detached), "{all}");
}

#[tokio::test]
async fn what_head_has_anyway_is_not_kept_beside() {
    let world = World::new();
    let request = world.agent().await;
    world.write(&request, "work.txt", "work\n");
    let outbox = world.run_harvest(&request).await;
    assert!(!outbox.join("aside-bundle").exists());
    world.git.receive(&request, &outbox).await.unwrap();
    let merged = precious(&world, &request);
    world.agent_git(&request, &["merge", "-q", "--ff-only", "feature"]);
    world.write(&request, "more.txt", "more\n");
    let outbox = world.run_harvest(&request).await;
    assert!(!outbox.join("aside-bundle").exists(), "{merged} is part of HEAD");
    world.git.receive(&request, &outbox).await.unwrap();
    assert!(!saved(&world, &request).await);
}

#[tokio::test]
async fn a_tree_on_another_base_takes_nothing_away_and_a_later_salvage_replaces_nothing() {
    let world = World::new();
    let mut request = world.agent().await;
    let commit = precious(&world, &request);
    stash(&world, &request);
    assert_eq!(world.keep(&request).await.unwrap(), Kept::Nothing);
    // It goes back into the queue, and meanwhile the base has moved.
    world.fixture.commit_on("main", &[("new.txt", "new\n")]);
    let main = branch_main();
    let base = world.git.fetch(&world.url, &main, &request.branch).await.unwrap().base;
    (request.base, request.start, request.reuse) = (base.clone(), base, true);
    assert!(!world.git.make_tree(&request).await.unwrap().reused);
    world.write(&request, "second.txt", "second\n");
    let last = world.salvage(&request).await.unwrap().expect("something");
    world.git.remove(request.agent).await.unwrap();
    let restored = world.restore(&request, Some(last), None).await.unwrap();
    assert_eq!(fs::read_to_string(restored.path.join("second.txt")).unwrap(), "second\n");
    let all = ask(&world, &restored.path, &["log", "--all", "--format=%H %s"]);
    assert!(all.contains(&commit) && all.contains("for later"), "{all}");
}

#[tokio::test]
async fn a_salvage_that_is_repeated_is_kept_once() {
    let world = World::new();
    let request = world.agent().await;
    precious(&world, &request);
    let first = world.salvage(&request).await.unwrap().unwrap();
    // The clock goes on, and with it the name of the commit.
    let begun = std::time::Instant::now();
    while world.salvage(&request).await.unwrap().unwrap() == first {
        assert!(begun.elapsed().as_secs() < 60, "its time stands still");
    }
    let of_agent = format!("refs/agents/{}", request.agent);
    assert_eq!(world.store_git(&["for-each-ref", &of_agent]).trim(), "");
}

#[tokio::test]
async fn a_tree_of_which_the_rest_cannot_be_kept_stays() {
    let world = World::new();
    let request = world.agent().await;
    precious(&world, &request);
    world.write(&request, "work.txt", "work\n");
    let outbox = world.run_harvest(&request).await;
    fs::write(outbox.join("aside-bundle"), "it could not be made\n").unwrap();
    let received = world.git.receive(&request, &outbox).await.unwrap();
    assert!(matches!(received.kept, Kept::Commits { .. }));
    let left = world.git.remove(request.agent).await.unwrap_err();
    assert!(left.message.contains("unreceived-"), "{}", left.message);
    let home = world.data().join("agents").join(request.agent.to_string());
    let aside = fs::read_dir(&home).unwrap().flatten().map(|e| e.path());
    let aside = aside.filter(|p| p.to_string_lossy().contains("unreceived-")).count();
    assert_eq!(aside, 1);
}

#[tokio::test]
async fn a_commit_step_that_ends_a_rebase_keeps_it_beside() {
    let world = World::new();
    let request = world.agent().await;
    let tree = world.tree(&request);
    world.write(&request, "src/lib.txt", "mine\n");
    world.agent_git(&request, &["commit", "-qam", "mine"]);
    world.fixture.commit_on("main", &[("src/lib.txt", "theirs\n")]);
    world.git.fetch(&world.url, &branch_main(), &request.branch).await.unwrap();
    world.agent_git(&request, &["fetch", "-q", "origin"]);
    assert!(world.fixture.try_run(&tree, &["rebase", "-q", "origin/main"]).is_none());
    world.write(&request, "src/lib.txt", "resolved by hand\n");
    world.keep_commits(&request).await;
    let saved = world.git.salvaged(&world.url, request.agent).await.unwrap().unwrap();
    let text = world.store_git(&["cat-file", "blob", &format!("{}:src/lib.txt", saved.commit)]);
    assert_eq!(text, "resolved by hand");
}

#[tokio::test]
async fn the_warning_about_a_rebase_under_way_is_true() {
    let world = World::new();
    let request = world.agent().await;
    let identity = ["-c", "user.name=a", "-c", "user.email=a@e"];
    for name in ["one", "two"] {
        world.write(&request, name, "x\n");
        world.agent_git(&request, &["add", "-A"]);
        world.agent_git(&request, &[&identity[..], &["commit", "-qm", name]].concat());
    }
    let edit = ["-c", "sequence.editor=sed -i s/^pick/edit/", "rebase", "-q", "-i", "HEAD~2"];
    world.agent_git(&request, &[&identity[..], &edit].concat());
    world.write(&request, "README.md", "edited in the middle\n");
    let received = world.received(&request).await.unwrap();
    let told = received.warnings.join("\n");
    assert!(told.contains("a rebase was under way") && told.contains("README.md, two"), "{told}");
    assert_eq!(received.beside, [""; 0], "its own branch is what is published");
    let Kept::Commits { head } = &received.kept else { panic!("{received:?}") };
    let published = world.git.list_files(&world.url, head, "").await.unwrap();
    assert!(published.contains(&"two".to_owned()), "{published:?}");
}
