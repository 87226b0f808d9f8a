//! Tags of the remote in an agent's tree: `git describe` tells a version by them. Those that an agent makes stay its own.

use std::path::Path;

use mosaic_adapters::git::{GitOptions, GitRepositories};
use mosaic_core::ports::fleet::Hold;
use mosaic_core::ports::repositories::{Intake, Publisher, Pushed, TreeRequest, Trees};

use crate::git::world::World;

/// Tags the remote's main as a release and, on a branch beside it, something else.
fn tagged(world: &World) {
    let work = world.fixture.path().join("work");
    let run = |args: &[&str]| world.fixture.run(&work, args);
    run(&["tag", "-m", "first release", "v1.2.0"]);
    run(&["tag", "light-1"]);
    run(&["push", "-q", "origin", "v1.2.0", "light-1"]);
    world.fixture.commit_on("beside", &[("other.txt", "other")]);
    run(&["tag", "-m", "not an ancestor", "v9.9.9"]);
    run(&["push", "-q", "origin", "v9.9.9"]);
    run(&["checkout", "-q", "main"]);
}

fn loose_and_packed_tags(git_dir: &Path) -> String {
    let packed = std::fs::read_to_string(git_dir.join("packed-refs")).unwrap_or_default();
    let loose = std::fs::read_dir(git_dir.join("refs/tags")).into_iter().flatten().flatten();
    let loose: String = loose.map(|entry| entry.file_name().into_string().unwrap() + "\n").collect();
    packed.lines().filter(|line| line.contains(" refs/tags/")).collect::<String>() + &loose
}

#[tokio::test]
async fn an_agent_tells_versions_by_the_tags_of_its_base() {
    let world = World::new();
    tagged(&world);
    let request = world.agent().await;
    assert_eq!(world.agent_git(&request, &["describe"]), "v1.2.0");
    world.agent_git(&request, &["commit", "-q", "--allow-empty", "-m", "next"]);
    let described = world.agent_git(&request, &["describe", "--tags", "--long", "--match", "*[0-9]*"]);
    assert!(described.starts_with("v1.2.0-1-g"), "{described}");
    assert_eq!(world.agent_git(&request, &["tag"]), "light-1\nv1.2.0");
    assert_eq!(world.agent_git(&request, &["tag", "-n1", "-l", "v*"]), "v1.2.0          first release");
    assert_eq!(world.agent_git(&request, &["fsck", "--connectivity-only"]), "");
}

#[tokio::test]
async fn tags_that_a_tree_was_given_are_no_work_and_those_that_an_agent_makes_are_never_published() {
    let world = World::new();
    tagged(&world);
    let request = world.agent().await;
    let before = loose_and_packed_tags(&world.store());
    world.write(&request, "new.txt", "new");
    let received = world.received(&request).await.unwrap();
    assert!(received.beside.is_empty() && received.warnings.is_empty(), "{received:?}");
    let salvages = world.store_git(&["for-each-ref", "--format=%(refname)", "refs/mosaic", "refs/agents"]);
    assert_eq!(salvages, format!("refs/agents/{}/head", request.agent), "the given tags were kept as work");

    world.agent_git(&request, &["add", "-A"]);
    world.agent_git(&request, &["commit", "-qm", "work"]);
    world.agent_git(&request, &["tag", "-m", "mine", "v2.0.0"]);
    world.agent_git(&request, &["tag", "-f", "light-1"]);
    world.agent_git(&request, &["pack-refs", "--all"]);
    let head = world.keep_commits(&request).await;
    let pushed = world.git.push(&world.url, &head, &request.branch, None, &Hold::forever()).await.unwrap();
    assert_eq!(pushed, Pushed::Done);
    let salvage = world.git.salvage(&request).await.unwrap();
    world.run_job(&request, &salvage);
    world.git.receive_salvage(&request, &salvage.outbox).await.unwrap();
    assert_eq!(loose_and_packed_tags(&world.store()), before, "a tag of an agent became one of the store");
    let remote = world.fixture.run(&world.fixture.remote(), &["tag"]);
    assert_eq!(remote, "light-1\nv1.2.0\nv9.9.9", "a tag of an agent was published");
    let base = world.fixture.run(&world.fixture.remote(), &["rev-parse", "light-1^{commit}"]);
    assert_eq!(base, request.base.as_str(), "a tag was moved");
}

#[tokio::test]
async fn a_tag_on_a_base_that_does_not_move_is_found_by_the_next_server() {
    let world = World::new();
    let request = world.agent().await;
    assert_eq!(world.agent_git(&request, &["tag"]), "");
    tagged(&world);
    let mut options = GitOptions::new(world.data(), crate::programs::example("shim"));
    options.allow_local = true;
    let next = GitRepositories::new(options).unwrap();
    let state = next.fetch(&world.url, &request.base_branch, &request.branch).await.unwrap();
    assert_eq!(state.base, request.base, "the base moved");
    let again = TreeRequest { reuse: false, ..request };
    next.make_tree(&again).await.unwrap();
    assert_eq!(world.agent_git(&again, &["describe", "--tags"]), "v1.2.0");
}
