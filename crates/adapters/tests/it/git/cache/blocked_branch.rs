//! Branches that are made on the remote where an agent's branch needs a directory, after the remote was looked at.

use mosaic_core::domain::outcome::FailureKind;
use mosaic_core::limits;
use mosaic_core::ports::fleet::Hold;
use mosaic_core::ports::repositories::{Publisher, Pushed};
use mosaic_testkit::git_http_server::{GitHttpServer, Mood};

use crate::git::world::{World, branch, branch_main};

/// Makes or removes a branch of the remote.
fn remote_branch(world: &World, name: &str, there: bool) {
    let name = format!("refs/heads/{name}");
    let set = ["update-ref", &name, "refs/heads/main"];
    let removed = ["update-ref", "-d", &name];
    world.fixture.run(&world.fixture.remote(), if there { &set } else { &removed });
}

#[tokio::test]
async fn a_branch_named_like_the_prefix_is_seen_at_every_start_while_agents_have_few_branches() {
    let world = World::new();
    let server = GitHttpServer::start(world.fixture.path(), Mood::Honest);
    let remote = world.fixture.remote();
    let name = remote.file_name().unwrap().to_str().unwrap();
    for address in [world.fixture.url(), server.url(name)] {
        let url = address.parse().unwrap();
        let start = async || world.git.fetch(&url, &branch_main(), &branch("mosaic/t/1")).await;
        start().await.unwrap();
        remote_branch(&world, "mosaic", true);
        let refused = start().await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::BadInput, "{}", refused.message);
        assert!(refused.message.contains("has a branch mosaic,"), "{}", refused.message);
        remote_branch(&world, "mosaic", false);
        start().await.unwrap();
    }
}

#[tokio::test]
async fn a_branch_that_is_made_after_the_start_is_named_when_the_push_is_refused() {
    for (made, way_out) in [("mosaic", "MOSAIC_BRANCH_PREFIX"), ("mosaic/task", "another id")] {
        let world = World::new();
        let request = world.agent().await;
        world.write(&request, "a.txt", "a\n");
        let head = world.keep_commits(&request).await;
        world.git.fetch(&world.url, &branch_main(), &request.branch).await.unwrap();
        remote_branch(&world, made, true);
        let push = async || world.git.push(&world.url, &head, &request.branch, None, &Hold::forever()).await;
        let Pushed::Refused(why) = push().await.unwrap() else { panic!("{made} is in the way") };
        assert!(why.contains(&format!("has a branch {made},")) && why.contains(way_out), "{why}");
        remote_branch(&world, made, false);
        assert_eq!(push().await.unwrap(), Pushed::Done);
    }
}

#[tokio::test]
async fn with_many_branches_a_refused_push_makes_the_next_start_look_again() {
    let world = World::new();
    let request = world.agent().await;
    world.write(&request, "a.txt", "a\n");
    let head = world.keep_commits(&request).await;
    let remote = world.fixture.remote();
    let tip = world.fixture.tip("main").unwrap();
    let lines: String = (0..limits::PREFIX_BRANCHES + 1)
        .fold(String::new(), |all, n| all + &format!("{tip} refs/heads/mosaic/many/{n:04}\n"));
    let packed = format!("# pack-refs with: peeled fully-peeled sorted \n{tip} refs/heads/main\n{lines}");
    let before = std::fs::read_to_string(remote.join("packed-refs")).ok();
    std::fs::write(remote.join("packed-refs"), packed).unwrap();
    let start = async || world.git.fetch(&world.url, &branch_main(), &branch("mosaic/t/1")).await;
    start().await.unwrap();
    // All of them go, and a branch comes that is in the way.
    match before {
        Some(text) => std::fs::write(remote.join("packed-refs"), text).unwrap(),
        None => std::fs::remove_file(remote.join("packed-refs")).unwrap(),
    }
    remote_branch(&world, "mosaic", true);
    start().await.expect("so many are not listed at every start");
    let pushed = world.git.push(&world.url, &head, &request.branch, None, &Hold::forever()).await.unwrap();
    assert!(matches!(pushed, Pushed::Refused(_)), "{pushed:?}");
    assert!(start().await.unwrap_err().message.contains("has a branch mosaic,"));
}
