//! Paths that go through a git filter: what the repository keeps encrypted or elsewhere is told apart by the attributes of
//! the base and of the head, and by nothing that an agent can change in between.

use mosaic_core::domain::ids::CommitId;
use mosaic_core::ports::repositories::{Commits, Publisher, TreeRequest, Trees};

use crate::git::world::World;

const ATTRIBUTES: &str =
    "[attr]sealed filter=git-crypt diff=git-crypt\n*.sec filter=git-crypt\nvault/** sealed\n";

/// A repository whose `.sec` files and `vault/` are behind a filter, with content that counts as encrypted.
fn world() -> World {
    let world = World::new();
    world.fixture.commit_on(
        "main",
        &[
            (".gitattributes", ATTRIBUTES),
            ("a.sec", "\u{1}sealed a\n"),
            ("vault/b.txt", "\u{1}sealed b\n"),
            ("nested/.gitattributes", "*.dat filter=lfs\nplain.dat -filter\n"),
            ("nested/c.dat", "version https://git-lfs.github.com/spec/v1\n"),
            ("nested/plain.dat", "plain\n"),
        ],
    );
    world
}

async fn refused(world: &World, request: &TreeRequest, head: &CommitId) -> Vec<(String, String)> {
    let found = world.git.filtered(&world.url, &request.base, head).await.expect("the attributes are read");
    found.into_iter().map(|one| (one.path, one.filter)).collect()
}

fn named(paths: &[(&str, &str)]) -> Vec<(String, String)> {
    paths.iter().map(|(path, filter)| ((*path).to_owned(), (*filter).to_owned())).collect()
}

fn commit_all(world: &World, request: &TreeRequest) {
    world.agent_git(request, &["add", "-A"]);
    world.agent_git(request, &["commit", "-qm", "step"]);
}

#[tokio::test]
async fn changes_behind_filters_are_named_by_attribute_macro_and_nested_file() {
    let world = world();
    let request = world.agent().await;
    for path in ["a.sec", "vault/b.txt", "nested/c.dat", "nested/plain.dat", "README.md", "new \"ü\".sec"] {
        world.write(&request, path, "in the clear\n");
    }
    let head = world.keep_commits(&request).await;
    assert_eq!(
        refused(&world, &request, &head).await,
        named(&[
            ("a.sec", "git-crypt"),
            ("nested/c.dat", "lfs"),
            ("new \"ü\".sec", "git-crypt"),
            ("vault/b.txt", "git-crypt"),
        ])
    );
    let uses = world.git.filters(&world.url, &request.base).await.unwrap();
    let uses: Vec<_> =
        uses.iter().map(|one| (one.filter.as_str(), one.paths, one.example.as_str())).collect();
    assert_eq!(uses, [("git-crypt", 2, "a.sec"), ("lfs", 1, "nested/c.dat")]);
}

#[tokio::test]
async fn an_attribute_that_the_change_itself_takes_away_counts() {
    let world = world();
    let request = world.agent().await;
    world.write(&request, ".gitattributes", "vault/** sealed\n");
    world.write(&request, "a.sec", "in the clear\n");
    let head = world.keep_commits(&request).await;
    assert_eq!(refused(&world, &request, &head).await, named(&[("a.sec", "git-crypt")]));
}

#[tokio::test]
async fn content_that_only_a_commit_in_between_had_counts() {
    let world = world();
    let request = world.agent().await;
    let sealed = std::fs::read_to_string(world.tree(&request).join("a.sec")).unwrap();
    world.write(&request, "a.sec", "in the clear\n");
    commit_all(&world, &request);
    world.write(&request, "a.sec", &sealed);
    world.write(&request, "README.md", "done\n");
    let head = world.keep_commits(&request).await;
    assert_eq!(refused(&world, &request, &head).await, named(&[("a.sec", "git-crypt")]));
}

#[tokio::test]
async fn one_object_at_two_paths_is_found_at_the_filtered_one() {
    let world = world();
    let request = world.agent().await;
    world.write(&request, "a-first.txt", "in the clear\n");
    world.write(&request, "z.sec", "in the clear\n");
    // Content of the base that was never behind the filter does not count as encrypted either.
    std::fs::copy(world.tree(&request).join("README.md"), world.tree(&request).join("y.sec")).unwrap();
    let head = world.keep_commits(&request).await;
    assert_eq!(
        refused(&world, &request, &head).await,
        named(&[("y.sec", "git-crypt"), ("z.sec", "git-crypt")])
    );
}

#[tokio::test]
async fn moved_objects_deletions_links_and_other_files_pass() {
    let world = world();
    let request = world.agent().await;
    world.agent_git(&request, &["mv", "a.sec", "renamed.sec"]);
    world.agent_git(&request, &["rm", "-q", "nested/c.dat"]);
    std::os::unix::fs::symlink("vault", world.tree(&request).join("link.sec")).unwrap();
    world.write(&request, "README.md", "changed\n");
    let head = world.keep_commits(&request).await;
    assert_eq!(refused(&world, &request, &head).await, named(&[]));
}

#[tokio::test]
async fn a_filter_that_an_agent_adds_counts_for_what_it_changes_there_and_for_nothing_else() {
    let world = World::new();
    let request = world.agent().await;
    world.write(&request, ".gitattributes", "*.bin filter=lfs\n");
    world.write(&request, "README.md", "changed\n");
    let head = world.keep_commits(&request).await;
    assert_eq!(refused(&world, &request, &head).await, named(&[]));
    assert!(world.git.filters(&world.url, &request.base).await.unwrap().is_empty());
    world.write(&request, "x.bin", "bytes\n");
    let head = world.keep_commits(&request).await;
    assert_eq!(refused(&world, &request, &head).await, named(&[("x.bin", "lfs")]));
}

#[tokio::test]
async fn what_a_merge_brings_from_upstream_passes_and_how_it_was_resolved_counts() {
    let world = world();
    let request = world.agent().await;
    world.write(&request, "README.md", "mine\n");
    commit_all(&world, &request);
    world.fixture.commit_on("main", &[("a.sec", "\u{1}sealed again\n")]);
    world.git.fetch(&world.url, &"main".parse().unwrap(), &request.branch).await.unwrap();
    world.agent_git(&request, &["fetch", "-q", "origin"]);
    world.agent_git(&request, &["merge", "-q", "--no-edit", "origin/main"]);
    let head = world.keep_commits(&request).await;
    assert_eq!(refused(&world, &request, &head).await, named(&[]));
    world.fixture.commit_on("main", &[("a.sec", "\u{1}sealed once more\n")]);
    world.git.fetch(&world.url, &"main".parse().unwrap(), &request.branch).await.unwrap();
    world.agent_git(&request, &["fetch", "-q", "origin"]);
    world.agent_git(&request, &["merge", "-q", "--no-commit", "--no-ff", "origin/main"]);
    world.write(&request, "a.sec", "resolved in the clear\n");
    let head = world.keep_commits(&request).await;
    assert_eq!(refused(&world, &request, &head).await, named(&[("a.sec", "git-crypt")]));
}

#[tokio::test]
async fn attribute_files_that_git_reads_otherwise_in_a_tree_count_as_there() {
    let world = World::new();
    let files = [
        (".gitattributes", "\u{feff}*.sec filter=crypt\n*.odd filter=unset\n*.none -filter\n"),
        ("a.sec", "x\n"),
    ];
    world.fixture.commit_on("main", &files);
    let request = world.agent().await;
    for path in ["a.sec", "b.odd", "c.none"] {
        world.write(&request, path, "in the clear\n");
    }
    let head = world.keep_commits(&request).await;
    assert_eq!(refused(&world, &request, &head).await, named(&[("a.sec", "crypt"), ("b.odd", "unset")]));
    let uses = world.git.filters(&world.url, &request.base).await.unwrap();
    assert_eq!(uses.iter().map(|one| one.filter.as_str()).collect::<Vec<_>>(), ["crypt"]);
}

#[tokio::test]
async fn attributes_that_only_a_commit_in_between_had_count() {
    let world = World::new();
    let request = world.agent().await;
    world.write(&request, ".gitattributes", "*.sec filter=crypt\n");
    commit_all(&world, &request);
    world.write(&request, "a.sec", "in the clear\n");
    commit_all(&world, &request);
    std::fs::remove_file(world.tree(&request).join(".gitattributes")).unwrap();
    let head = world.keep_commits(&request).await;
    assert_eq!(refused(&world, &request, &head).await, named(&[("a.sec", "crypt")]));
}

#[tokio::test]
async fn an_attribute_file_of_the_operator_that_cannot_be_read_is_a_warning_of_the_tree() {
    let place = tempfile::tempdir().unwrap();
    let broken = place.path().join("attributes");
    // Reading it fails whoever asks, root too.
    std::os::unix::fs::symlink("/proc/self/mem", &broken).unwrap();
    let world = World::with("data", |options| options.attribute_files = vec![broken.clone()]);
    let request = world.agent().await;
    let again = TreeRequest { reuse: false, ..request };
    let warnings = world.git.make_tree(&again).await.unwrap().warnings;
    assert!(warnings.len() == 1 && warnings[0].contains(broken.to_str().unwrap()), "{warnings:?}");
    std::fs::remove_file(&broken).unwrap();
    assert_eq!(world.git.make_tree(&again).await.unwrap().warnings, Vec::<String>::new());
}
