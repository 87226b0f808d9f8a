//! Repositories in a tree, submodules among them: their files are in the commit or kept beside it, and no link is published
//! to a commit that nobody has.

use std::fs;

use mosaic_core::domain::ids::CommitId;
use mosaic_core::domain::outcome::FailureKind;
use mosaic_core::ports::repositories::{Commits, Kept, Received, TreeRequest};

use super::look::{content, files, head};
use crate::git::world::World;

fn no_links(world: &World, commit: &CommitId) {
    let listed = world.store_git(&["ls-tree", "-r", commit.as_str()]);
    assert!(!listed.contains("160000"), "a link to nowhere: {listed}");
}

/// Makes a repository in the tree, as a scaffolder does.
fn nested(world: &World, request: &TreeRequest, commits: bool) {
    world.fixture.run(&world.tree(request), &["init", "-q", "app"]);
    world.write(request, "app/main.py", "print(1)\n");
    if commits {
        let app = world.tree(request).join("app");
        world.fixture.run(&app, &["add", "-A"]);
        world.fixture.run(&app, &["commit", "-qm", "scaffold"]);
    }
    world.write(request, "app/extra.py", "more\n");
}

#[tokio::test]
async fn the_files_of_a_repository_in_the_tree_are_in_the_commit() {
    let world = World::new();
    for commits in [true, false] {
        let request = world.agent().await;
        nested(&world, &request, commits);
        let received = world.received(&request).await.unwrap();
        let listed = files(&world, &received).await;
        assert!(listed.contains(&"app/main.py".to_owned()) && listed.contains(&"app/extra.py".to_owned()));
        no_links(&world, head(&received));
        assert!(received.warnings.iter().any(|w| w.contains("app/.git")), "{:?}", received.warnings);
        // Its history comes back beside what was published.
        let kept = head(&received).clone();
        let restored = world.restore(&request, None, Some(kept)).await.unwrap();
        assert_eq!(fs::read_to_string(restored.path.join("app/main.py")).unwrap(), "print(1)\n");
        assert!(restored.path.join("app/.git-salvaged/HEAD").is_file());
    }
}

#[tokio::test]
async fn a_link_that_the_agent_committed_itself_gives_way_to_the_files() {
    let world = World::new();
    let request = world.agent().await;
    nested(&world, &request, true);
    world.agent_git(&request, &["add", "app"]);
    world.agent_git(&request, &["commit", "-qm", "with a link"]);
    assert!(world.agent_git(&request, &["ls-tree", "HEAD", "app"]).starts_with("160000"));
    let received = world.received(&request).await.unwrap();
    no_links(&world, head(&received));
    assert_eq!(content(&world, &received, "app/main.py").await.as_deref(), Some("print(1)\n"));
}

#[tokio::test]
async fn another_working_tree_inside_the_tree_is_kept_beside_and_not_published() {
    let world = World::new();
    let request = world.agent().await;
    world.agent_git(&request, &["worktree", "add", "-q", ".claude/worktrees/a1", "-b", "side"]);
    world.write(&request, ".claude/worktrees/a1/new.txt", "half done\n");
    world.write(&request, "a.txt", "x\n");
    let received = world.received(&request).await.unwrap();
    let listed = files(&world, &received).await;
    assert!(listed.iter().all(|path| !path.starts_with(".claude/")), "{listed:?}");
    no_links(&world, head(&received));
    assert!(received.warnings.iter().any(|w| w.contains(".claude/worktrees/a1")), "{:?}", received.warnings);
    let restored = world.restore(&request, None, Some(head(&received).clone())).await.unwrap();
    let kept = restored.path.join(".claude/worktrees/a1/new.txt");
    assert_eq!(fs::read_to_string(kept).unwrap(), "half done\n");
}

/// A base with a submodule, and a request for a tree with it checked out.
async fn with_submodule(world: &World) -> TreeRequest {
    let sub = world.fixture.path().join("sub");
    world.fixture.run(world.fixture.path(), &["init", "-q", "sub"]);
    fs::write(sub.join("lib.txt"), "lib\n").expect("written");
    world.fixture.run(&sub, &["add", "-A"]);
    world.fixture.run(&sub, &["commit", "-qm", "lib"]);
    let at = world.fixture.run(&sub, &["rev-parse", "HEAD"]).trim().to_owned();
    let modules = "[submodule \"sub\"]\n\tpath = sub\n\turl = ../sub\n";
    world.fixture.commit_on("main", &[(".gitmodules", modules)]);
    let work = world.fixture.path().join("work");
    for args in [
        &["update-index", "--add", "--cacheinfo", &format!("160000,{at},sub")][..],
        &["commit", "-qm", "with a submodule"],
        &["push", "-q", "origin", "main"],
    ] {
        world.fixture.run(&work, args);
    }
    let request = world.agent().await;
    let tree = world.tree(&request);
    assert!(world.agent_git(&request, &["ls-tree", "HEAD", "sub"]).starts_with("160000"));
    assert!(tree.join("sub/lib.txt").is_file(), "it is filled");
    request
}

#[tokio::test]
async fn a_submodule_as_it_was_is_nothing_to_tell_of() {
    let world = World::new();
    let request = with_submodule(&world).await;
    assert_eq!(world.received(&request).await.unwrap(), Received::from(Kept::Nothing));
    world.write(&request, "work.txt", "x\n");
    let received = world.received(&request).await.unwrap();
    assert_eq!(received.warnings, Vec::<String>::new());
    let changed = world.git.stat(&world.url, &request.base, head(&received)).await.unwrap();
    assert_eq!(changed.iter().map(|f| String::from_utf8_lossy(&f.path)).collect::<Vec<_>>(), ["work.txt"]);
}

#[tokio::test]
async fn a_submodule_commit_that_no_remote_has_is_refused_and_kept() {
    let world = World::new();
    let request = with_submodule(&world).await;
    let sub = world.tree(&request).join("sub");
    world.write(&request, "sub/lib.txt", "changed\n");
    world.fixture.run(&sub, &["commit", "-qam", "only here"]);
    world.agent_git(&request, &["commit", "-qam", "names it"]);
    let refused = world.received(&request).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Unpublishable, "{}", refused.message);
    assert!(refused.message.contains("sub (commit "), "{}", refused.message);
    // The agent ends, and its tree is kept.
    let saved = world.salvage(&request).await.unwrap().expect("something");
    let restored = world.restore(&request, Some(saved), None).await.unwrap();
    let back = restored.path.join("sub");
    assert_eq!(fs::read_to_string(back.join("lib.txt")).unwrap(), "changed\n");
    fs::rename(back.join(".git-salvaged"), back.join(".git")).unwrap();
    let args = ["--git-dir=.git", "--work-tree=.", "log", "--format=%s"];
    assert!(world.fixture.run(&back, &args).contains("only here"));
}

#[tokio::test]
async fn what_a_submodule_holds_uncommitted_is_kept_beside() {
    let world = World::new();
    let request = with_submodule(&world).await;
    world.write(&request, "sub/new.txt", "half done\n");
    world.write(&request, "work.txt", "x\n");
    let received = world.received(&request).await.unwrap();
    assert!(received.warnings.iter().any(|w| w.contains("sub (a submodule")), "{:?}", received.warnings);
    let restored = world.restore(&request, None, Some(head(&received).clone())).await.unwrap();
    assert_eq!(fs::read_to_string(restored.path.join("sub/new.txt")).unwrap(), "half done\n");
}

/// The listing of the commit that was received, of a world with several repositories.
fn listed(world: &World, request: &TreeRequest, received: &Received) -> String {
    world.agent_git(request, &["ls-tree", "-r", head(received).as_str()])
}

#[tokio::test]
async fn a_submodule_that_was_turned_into_files_is_files() {
    for committed in [true, false] {
        let world = World::new();
        let request = with_submodule(&world).await;
        world.agent_git(&request, &["rm", "-q", "sub"]);
        world.write(&request, "sub/vendored.c", "vendored\n");
        if committed {
            world.agent_git(&request, &["add", "-A"]);
            world.agent_git(&request, &["commit", "-qm", "vendored"]);
        }
        let received = world.received(&request).await.unwrap();
        let listing = listed(&world, &request, &received);
        assert!(!listing.contains("160000"), "{listing}");
        assert_eq!(content(&world, &received, "sub/vendored.c").await.as_deref(), Some("vendored\n"));
        assert_eq!(received.warnings, Vec::<String>::new(), "{committed}");
        if committed {
            assert_eq!(world.agent_git(&request, &["rev-parse", "HEAD"]), head(&received).as_str());
        }
    }
}

#[tokio::test]
async fn a_submodule_that_was_taken_out_of_the_commits_stays_out() {
    let world = World::new();
    let request = with_submodule(&world).await;
    world.agent_git(&request, &["rm", "-q", "--cached", "sub"]);
    world.agent_git(&request, &["commit", "-qm", "dropped"]);
    let received = world.received(&request).await.unwrap();
    assert_eq!(world.agent_git(&request, &["rev-parse", "HEAD"]), head(&received).as_str());
    assert_eq!(received.warnings, Vec::<String>::new());
    // What it held beyond its commit is kept all the same.
    world.write(&request, "sub/new.txt", "half done\n");
    let received = world.received(&request).await.unwrap();
    assert!(
        !listed(&world, &request, &received).contains("\tsub"),
        "{}",
        listed(&world, &request, &received)
    );
    assert!(received.warnings.iter().any(|w| w.contains("sub (a submodule")), "{:?}", received.warnings);
    let restored = world.restore(&request, None, Some(head(&received).clone())).await.unwrap();
    assert_eq!(fs::read_to_string(restored.path.join("sub/new.txt")).unwrap(), "half done\n");
}

#[tokio::test]
async fn a_submodule_that_was_moved_is_one_at_its_new_place_for_gates_too() {
    let world = World::new();
    let request = with_submodule(&world).await;
    world.agent_git(&request, &["mv", "sub", "third"]);
    world.agent_git(&request, &["commit", "-qm", "moved"]);
    let received = world.received(&request).await.unwrap();
    assert_eq!(world.agent_git(&request, &["rev-parse", "HEAD"]), head(&received).as_str());
    assert!(
        listed(&world, &request, &received).contains("160000"),
        "{}",
        listed(&world, &request, &received)
    );
    assert_eq!(received.warnings, Vec::<String>::new());
    let judged = world.judging(&request, head(&received), "a").await.unwrap();
    assert_eq!(fs::read_to_string(judged.path.join("third/lib.txt")).unwrap(), "lib\n");
}

#[tokio::test]
async fn a_submodule_that_the_base_does_not_know_is_refused_and_kept() {
    let world = World::new();
    let request = world.agent().await;
    nested(&world, &request, true);
    let modules = "[submodule \"app\"]\n\tpath = app\n\turl = https://host.invalid/app\n";
    world.write(&request, ".gitmodules", modules);
    world.agent_git(&request, &["add", "app", ".gitmodules"]);
    world.agent_git(&request, &["commit", "-qm", "a new submodule"]);
    let refused = world.received(&request).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Unpublishable, "{}", refused.message);
    assert!(refused.message.contains("app (commit "), "{}", refused.message);
    let saved = world.salvage(&request).await.unwrap().expect("something");
    let restored = world.restore(&request, Some(saved), None).await.unwrap();
    assert_eq!(fs::read_to_string(restored.path.join("app/extra.py")).unwrap(), "more\n");
}

#[tokio::test]
async fn a_branch_in_a_submodule_is_kept_although_its_files_are_as_they_were() {
    let world = World::new();
    let request = with_submodule(&world).await;
    let sub = world.tree(&request).join("sub");
    world.fixture.run(&sub, &["checkout", "-q", "-b", "feature"]);
    world.fixture.run(&sub, &["commit", "-q", "--allow-empty", "-m", "only here"]);
    world.fixture.run(&sub, &["checkout", "-q", "--detach", "HEAD~1"]);
    world.write(&request, "work.txt", "x\n");
    let received = world.received(&request).await.unwrap();
    assert!(received.warnings.iter().any(|w| w.contains("sub (a submodule")), "{:?}", received.warnings);
    let restored = world.restore(&request, None, Some(head(&received).clone())).await.unwrap();
    assert!(restored.path.join("sub/.git-salvaged").is_dir());
}

#[tokio::test]
async fn a_link_in_a_commit_in_between_is_not_published_either() {
    let world = World::new();
    let request = world.agent().await;
    nested(&world, &request, true);
    world.agent_git(&request, &["add", "app"]);
    world.agent_git(&request, &["commit", "-qm", "with a link"]);
    world.agent_git(&request, &["rm", "-q", "--cached", "app"]);
    world.write(&request, "work.txt", "x\n");
    world.agent_git(&request, &["add", "work.txt"]);
    world.agent_git(&request, &["commit", "-qm", "without"]);
    let own = world.agent_git(&request, &["rev-parse", "HEAD"]);
    let received = world.received(&request).await.unwrap();
    let range = format!("{}..{}", request.base, head(&received));
    let history = world.store_git(&["log", "--raw", &range]);
    assert!(!history.contains("160000"), "{history}");
    assert_eq!(content(&world, &received, "work.txt").await.as_deref(), Some("x\n"));
    assert!(received.warnings.iter().any(|w| w.contains("app, which nobody")), "{:?}", received.warnings);
    let restored = world.restore(&request, None, Some(head(&received).clone())).await.unwrap();
    let all = world.fixture.run(&restored.path, &["log", "--all", "--format=%H"]);
    assert!(all.contains(&own), "its own commits are kept");
}

#[tokio::test]
async fn a_submodule_commit_in_between_that_no_remote_has_is_refused() {
    let world = World::new();
    let request = with_submodule(&world).await;
    let sub = world.tree(&request).join("sub");
    let base = world.fixture.run(&sub, &["rev-parse", "HEAD"]).trim().to_owned();
    world.fixture.run(&sub, &["commit", "-q", "--allow-empty", "-m", "only here"]);
    world.agent_git(&request, &["commit", "-qam", "names it"]);
    world.fixture.run(&sub, &["checkout", "-q", "--detach", &base]);
    world.write(&request, "work.txt", "x\n");
    world.agent_git(&request, &["add", "-A"]);
    world.agent_git(&request, &["commit", "-qm", "names the old one again"]);
    let refused = world.received(&request).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Unpublishable, "{}", refused.message);
}
