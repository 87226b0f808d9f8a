//! The list of changed files: complete, or an error.

use std::io::Write;
use std::process::{Command, Stdio};

use mosaic_core::domain::ids::CommitId;
use mosaic_core::domain::outcome::FailureKind;
use mosaic_core::ports::repositories::Commits;

use super::super::world::World;

/// Makes a commit on top of another in the server's bare repository from commands of `git fast-import`.
fn import(world: &World, base: &CommitId, commands: &[u8]) -> CommitId {
    let mut git = Command::new("git")
        .args(["fast-import", "--quiet", "--done"])
        .current_dir(world.store())
        .stdin(Stdio::piped())
        .spawn()
        .expect("git starts");
    let mut stdin = git.stdin.take().expect("piped");
    let head =
        format!("commit refs/mosaic/test\ncommitter A <a@example.invalid> 1 +0000\ndata 1\nx\nfrom {base}\n");
    stdin.write_all(head.as_bytes()).expect("git reads");
    stdin.write_all(commands).expect("git reads");
    stdin.write_all(b"\ndone\n").expect("git reads");
    drop(stdin);
    assert!(git.wait().expect("git ends").success());
    world.store_git(&["rev-parse", "refs/mosaic/test"]).trim().parse().expect("a commit")
}

#[tokio::test]
async fn a_renamed_file_changes_both_its_names() {
    let world = World::new();
    let base = world.agent().await.base;
    let head = import(&world, &base, b"R src/lib.txt src/renamed.txt\n");
    let files = world.git.stat(&world.url, &base, &head).await.expect("listed");
    let changed: Vec<&[u8]> = files.iter().flat_map(|file| file.changed_paths()).collect();
    assert_eq!(changed, [b"src/lib.txt".as_slice(), b"src/renamed.txt"]);
}

#[tokio::test]
async fn a_list_of_changed_files_that_is_too_long_is_an_error_and_never_a_part_of_it() {
    let world = World::new();
    let base = world.agent().await.base;
    // Few objects, but a path of almost four thousand bytes per file, which the list has twice.
    let deep = format!("{}/", "d".repeat(250)).repeat(15);
    let mut commands = Vec::new();
    for n in 0..9000 {
        write!(commands, "M 644 inline {deep}{n}\ndata 0\n").expect("into memory");
    }
    let head = import(&world, &base, &commands);
    let failure = world.git.stat(&world.url, &base, &head).await.expect_err("too long");
    assert_eq!(failure.kind, FailureKind::BadInput, "{}", failure.message);
    assert!(failure.message.contains("too many files to list"), "{}", failure.message);
}
