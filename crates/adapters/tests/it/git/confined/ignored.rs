//! Files that ignore rules leave out although the base does not: the commit obeys the rules, and nothing is gone without a word.

use std::fs;

use crate::git::world::World;
use mosaic_core::domain::agent::Salvaged;
use mosaic_core::domain::ids::CommitId;
use mosaic_core::ports::repositories::{Commits, Kept, KeptWork, Received, TreeRequest, Trees};

/// Paths of a commit.
async fn files(world: &World, commit: &CommitId) -> Vec<String> {
    world.git.list_files(&world.url, commit, "").await.expect("it is listed")
}

async fn saved(world: &World, request: &TreeRequest) -> Salvaged {
    world
        .git
        .salvaged(&world.url, request.agent)
        .await
        .expect("it can be read")
        .expect("something is kept beside the commit")
}

/// Restores what was kept beside, and returns the tree.
async fn restored(world: &World, request: &TreeRequest, received: &Received) -> std::path::PathBuf {
    let head = match &received.kept {
        Kept::Commits { head } => Some(head.clone()),
        _ => None,
    };
    let saved = saved(world, request).await;
    world.restore(request, Some(saved), head).await.expect("it is restored").path
}

#[tokio::test]
async fn what_a_new_rule_hides_is_named_and_comes_back() {
    for committed in [true, false] {
        let world = World::new();
        let request = world.agent().await;
        world.write(&request, ".gitignore", "ignored/\n*.tmp\nresults/\n");
        world.write(&request, "results/deep/table.csv", "1,2,3\n");
        world.write(&request, "results/x.tmp", "the base ignores it\n");
        world.write(&request, "ignored/cache", "the base ignores it\n");
        world.write(&request, "src/.gitignore", "*.log\n");
        world.write(&request, "src/run.log", "log\n");
        if committed {
            world.agent_git(&request, &["add", "-A"]);
            world.agent_git(&request, &["-c", "user.name=a", "-c", "user.email=a@e", "commit", "-qm", "x"]);
        }
        let received = world.received(&request).await.unwrap();
        let Kept::Commits { head } = &received.kept else { panic!("{received:?}") };
        let published = files(&world, head).await;
        assert!(
            !published.iter().any(|file| file.contains("results") || file.contains(".log")),
            "{published:?}"
        );
        let told = received.warnings.join("\n");
        let rules = "left out by ignore rules that the base does not have";
        assert!(told.contains(&format!("results ({rules}: 1 file, 6 bytes; kept")), "{told}");
        assert!(told.contains(&format!("src/run.log ({rules}: 1 file, 4 bytes; kept")), "{told}");
        assert!(told.contains("mosaic restore"), "{told}");
        assert!(!told.contains("cache") && !told.contains("x.tmp"), "{told}");
        let tree = restored(&world, &request, &received).await;
        assert_eq!(fs::read_to_string(tree.join("results/deep/table.csv")).unwrap(), "1,2,3\n");
        assert_eq!(fs::read_to_string(tree.join("src/run.log")).unwrap(), "log\n");
        assert!(!tree.join("ignored").exists() && !tree.join("results/x.tmp").exists());
        world.git.remove(request.agent).await.expect("nothing is only in the tree");
    }
}

#[tokio::test]
async fn a_rule_that_hides_everything_and_itself_loses_nothing() {
    let world = World::new();
    let request = world.agent().await;
    world.write(&request, ".gitignore", "*\n");
    world.write(&request, "w.txt", "work\n");
    world.write(&request, "out/.gitignore", "*\n");
    world.write(&request, "out/report.html", "<p>\n");
    let received = world.received(&request).await.unwrap();
    let told = received.warnings.join("\n");
    assert!(told.contains("w.txt (left out") && told.contains("out (left out"), "{told}");
    let tree = restored(&world, &request, &received).await;
    assert_eq!(fs::read_to_string(tree.join("w.txt")).unwrap(), "work\n");
    assert_eq!(fs::read_to_string(tree.join("out/report.html")).unwrap(), "<p>\n");
}

#[tokio::test]
async fn a_directory_that_ignores_itself_is_not_without_a_word_when_nothing_else_changed() {
    let world = World::new();
    let request = world.agent().await;
    world.write(&request, "out/.gitignore", "*\n");
    world.write(&request, "out/report.html", "<p>\n");
    let received = world.received(&request).await.unwrap();
    assert_eq!(received.kept, Kept::Nothing);
    assert!(received.warnings.join("\n").contains("out (left out by ignore rules"), "{received:?}");
    let tree = restored(&world, &request, &received).await;
    assert_eq!(fs::read_to_string(tree.join("out/report.html")).unwrap(), "<p>\n");
}

#[tokio::test]
async fn the_salvage_of_an_ended_agent_holds_what_its_own_rules_hide() {
    let world = World::new();
    let request = world.agent().await;
    world.write(&request, ".gitignore", "results/\n");
    world.write(&request, "results/a", "a\n");
    std::os::unix::fs::symlink("a", world.tree(&request).join("results/link")).unwrap();
    let saved = world.salvage(&request).await.unwrap().expect("it holds something");
    let kept = files(&world, &saved.commit).await;
    assert!(kept.contains(&"results/a".to_owned()) && kept.contains(&"results/link".to_owned()), "{kept:?}");
    let tree = world.restore(&request, Some(saved), None).await.unwrap().path;
    assert_eq!(fs::read_to_string(tree.join("results/link")).unwrap(), "a\n");
}

#[tokio::test]
async fn installed_packages_and_caches_are_counted_and_not_copied() {
    let world = World::new();
    let request = world.agent().await;
    world.write(&request, ".gitignore", "ignored/\n*.tmp\nnode_modules/\nbuild/\n");
    for n in 0..300 {
        world.write(&request, &format!("node_modules/p{n}/index.js"), "module\n");
    }
    world.write(&request, "build/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n");
    world.write(&request, "build/x.o", "object\n");
    let received = world.received(&request).await.unwrap();
    let told = received.warnings.join("\n");
    assert!(told.contains("node_modules (left out by ignore rules that the base does not have: 300 files, 2100 bytes; not kept"), "{told}");
    assert!(told.contains("build (left out"), "{told}");
    assert_eq!(world.git.salvaged(&world.url, request.agent).await.unwrap(), None);
    world.git.remove(request.agent).await.expect("the tree goes");
}

#[tokio::test]
async fn what_is_too_much_for_a_salvage_is_named_with_its_size_and_stays() {
    let world = World::new();
    let request = world.agent().await;
    world.write(&request, ".gitignore", "data/\nsmall/\n");
    world.write(&request, "small/a", "a\n");
    world.write(&request, "data/a", "a\n");
    fs::File::create(world.tree(&request).join("data/huge")).unwrap().set_len(1 << 40).unwrap();
    let received = world.received(&request).await.unwrap();
    let told = received.warnings.join("\n");
    assert!(told.contains("data (left out") && told.contains("2 files, 1048576 MiB; too much"), "{told}");
    assert!(told.contains("set aside and not removed") && told.contains("mosaic restore"), "{told}");
    let tree = restored(&world, &request, &received).await;
    assert!(tree.join("small/a").exists());
    let left = world.git.remove(request.agent).await.unwrap_err();
    assert!(left.message.contains("unreceived-"), "{}", left.message);
}

#[tokio::test]
async fn rules_in_a_directory_that_git_was_asked_about_are_obeyed() {
    let world = World::new();
    let request = world.agent().await;
    world.write(&request, "src/new.txt", "x\n");
    world.write(&request, "pkg/deep/.gitignore", "*.o\n");
    world.write(&request, "pkg/deep/a.o", "object\n");
    world.write(&request, "pkg/deep/a.c", "source\n");
    let received = world.received(&request).await.unwrap();
    let Kept::Commits { head } = &received.kept else { panic!("{received:?}") };
    let published = files(&world, head).await;
    assert!(published.contains(&"pkg/deep/a.c".to_owned()), "{published:?}");
    assert!(!published.contains(&"pkg/deep/a.o".to_owned()), "{published:?}");
}

#[tokio::test]
async fn what_is_taken_out_of_the_branch_by_a_rule_is_deleted_there_and_no_loss() {
    let world = World::new();
    let request = world.agent().await;
    world.agent_git(&request, &["rm", "-q", "--cached", "src/lib.txt"]);
    world.write(&request, ".gitignore", "ignored/\n*.tmp\nlib.txt\n");
    let received = world.received(&request).await.unwrap();
    let Kept::Commits { head } = &received.kept else { panic!("{received:?}") };
    let published = files(&world, head).await;
    assert!(!published.contains(&"src/lib.txt".to_owned()), "{published:?}");
}
