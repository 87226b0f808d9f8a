//! A repository in which thousands of agents ran: their refs are packed, found as before, and no call to the remote looks
//! at them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use mosaic_core::domain::ids::AgentId;
use mosaic_core::limits;
use mosaic_core::ports::fleet::Hold;
use mosaic_core::ports::repositories::{Commits, KeptWork, Publisher, Pushed};

use mosaic_core::domain::outcome::FailureKind;
use mosaic_testkit::git_http_server::{GitHttpServer, Mood};

use crate::git::world::{World, branch, branch_main};

/// Leaves the head of one more agent, written this long ago.
fn leave(store: &Path, agent: AgentId, text: &str, ago: Duration) -> std::io::Result<()> {
    let dir = store.join("refs/agents").join(agent.to_string());
    fs::create_dir_all(&dir)?;
    let file = fs::File::create(dir.join("head"))?;
    std::io::Write::write_all(&mut &file, text.as_bytes())?;
    file.set_modified(SystemTime::now() - ago)
}

fn agents() -> Vec<AgentId> {
    (0..limits::LOOSE_REFS + 10).map(|n| AgentId(uuid::Uuid::from_u128(n as u128 + 1))).collect()
}

#[tokio::test]
async fn refs_of_many_agents_are_packed_and_found_as_before() {
    let world = World::new();
    let request = world.agent().await;
    world.write(&request, "a.txt", "a\n");
    let head = world.keep_commits(&request).await;
    let (store, all) = (world.store(), agents());
    for agent in &all {
        leave(&store, *agent, &format!("{head}\n"), limits::LOOSE_REF_AGE * 2).unwrap();
    }
    let listed = || {
        let text = world.store_git(&["for-each-ref", "--format=%(refname) %(objectname)"]);
        text.lines().map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let before = listed();
    assert_eq!(before.len(), all.len() + 2, "those, the new one, and main");
    assert_eq!(world.git.tidy(&[]).await.unwrap(), None, "objects are left alone while there are trees");
    assert_eq!(listed(), before);
    let left: Vec<_> = fs::read_dir(store.join("refs/agents")).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "only the young one has files still");
    let packed = fs::read_to_string(store.join("packed-refs")).unwrap();
    assert_eq!(packed.matches("/head\n").count(), all.len());
    assert!(!store.join("packed-refs.lock").exists());
    let name = world.git.cache_of(&world.url);
    let own = world.git.unmerged(&name, all[7], std::slice::from_ref(&request.base), 5).await.unwrap();
    assert_eq!(own[0].commit, head);
    world.git.forget(&name, all[7]).await.unwrap();
    assert!(world.git.unmerged(&name, all[7], &[], 5).await.unwrap().is_empty());
    assert_eq!(listed().len(), before.len() - 1);
    assert_eq!(world.git.kept_refs().await.unwrap().len(), all.len());
    world.store_git(&["fsck", "--strict"]);
}

#[tokio::test]
async fn neither_fetch_nor_push_reads_the_refs_of_agents() {
    let world = World::new();
    let request = world.agent().await;
    world.write(&request, "a.txt", "a\n");
    let head = world.keep_commits(&request).await;
    // A ref to an object that is not there: a git that looks at it fails.
    let agent = AgentId(uuid::Uuid::from_u128(1));
    leave(&world.store(), agent, &format!("{}\n", "7".repeat(40)), Duration::ZERO).unwrap();
    let store = world.store();
    assert!(world.fixture.try_run(&store, &["rev-list", "-1", "--all"]).is_none());
    let newest = world.fixture.commit_on("main", &[("b.txt", "b\n")]);
    let seen = world.git.fetch(&world.url, &branch_main(), &request.branch).await.unwrap();
    assert_eq!(seen.base.as_str(), newest);
    assert_eq!(world.fixture.run(&store, &["rev-parse", "refs/heads/main"]), newest);
    let pushed = world.git.push(&world.url, &head, &request.branch, None, &Hold::forever()).await.unwrap();
    assert_eq!(pushed, Pushed::Done);
    assert!(world.git.stat(&world.url, &request.base, &head).await.is_ok());
    assert!(world.git.filtered(&world.url, &request.base, &head).await.is_ok());
    let left = fs::read_dir(world.data().join("git/views")).unwrap().count();
    assert_eq!(left, 0, "what calls see is gone with them");
}

#[tokio::test]
async fn tips_are_exact_over_every_transport_also_with_longer_object_names() {
    for format in ["sha1", "sha256"] {
        let world = World::new();
        let remote = world.fixture.path().join("other.git");
        let path = remote.to_str().unwrap();
        let init = ["init", "-q", "--bare", "--initial-branch=main", "--object-format", format, path];
        world.fixture.run(world.fixture.path(), &init);
        let tree = world.fixture.run(&remote, &["mktree"]);
        let commit = |text: &str| world.fixture.run(&remote, &["commit-tree", &tree, "-m", text]);
        let (one, two) = (commit("one"), commit("two"));
        for (name, tip) in [("main", &one), ("main-2", &two), ("mosaic/t/a", &two), ("mosaic/t/ab", &one)] {
            world.fixture.run(&remote, &["update-ref", &format!("refs/heads/{name}"), tip]);
        }
        let server = GitHttpServer::start(world.fixture.path(), Mood::Honest);
        for address in [path.to_owned(), server.url("other.git")] {
            let url = address.parse().unwrap();
            let seen = world.git.fetch(&url, &branch_main(), &branch("mosaic/t/a")).await.unwrap();
            assert_eq!(
                (seen.base.as_str(), seen.tip.unwrap().as_str()),
                (one.as_str(), two.as_str()),
                "{url}"
            );
            let seen = world.git.fetch(&url, &branch_main(), &branch("mosaic/t")).await.unwrap();
            assert_eq!(seen.tip, None, "{url}");
            let missing = world.git.fetch(&url, &branch("mai"), &branch("x")).await.unwrap_err();
            assert_eq!(missing.kind, FailureKind::MissingBranch, "{}", missing.message);
        }
    }
}
