//! The git directory of a checkout that is judged: what gates ask git there is answered about the judged commit, and
//! nothing they do with it reaches the repository's store.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use mosaic_core::ports::repositories::Trees;

use crate::git::world::World;

fn git(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new("git");
    command.args(args).current_dir(dir).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", "/nonexistent");
    command.output().expect("git starts")
}

fn said(dir: &Path, args: &[&str]) -> String {
    let out = git(dir, args);
    assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

/// Every file below a directory with its content.
fn files(dir: &Path) -> BTreeSet<(String, Vec<u8>)> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(dir).expect("readable").flatten() {
        if entry.file_type().expect("known").is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found
                .insert((entry.path().display().to_string(), std::fs::read(entry.path()).expect("readable")));
        }
    }
    found
}

#[tokio::test]
async fn a_gate_asks_git_about_the_judged_commit() {
    let world = World::new();
    let work = world.fixture.path().join("work");
    world.fixture.run(&work, &["tag", "-m", "first", "v1.2.0"]);
    world.fixture.run(&work, &["tag", "light"]);
    world.fixture.run(&work, &["push", "-q", "origin", "v1.2.0", "light"]);
    let request = world.agent().await;
    world.write(&request, "new.txt", "new\n");
    let head = world.keep_commits(&request).await;
    let dir = world.judging(&request, &head, "a").await.unwrap().path;
    assert_eq!(said(&dir, &["rev-parse", "HEAD"]), head.as_str());
    assert_eq!(said(&dir, &["log", "-1", "--format=%s"]), "Mosaic: work left uncommitted");
    assert_eq!(said(&dir, &["status", "--porcelain"]), "");
    assert!(git(&dir, &["diff", "--exit-code"]).status.success());
    assert!(said(&dir, &["ls-files"]).lines().any(|file| file == "new.txt"));
    assert_eq!(said(&dir, &["describe"]), format!("v1.2.0-1-g{}", head.short()));
    assert_eq!(said(&dir, &["tag", "--merged"]), "light\nv1.2.0");
    assert_eq!(said(&dir, &["diff", "--name-only", "origin/main...HEAD"]), "new.txt");
    assert_eq!(said(&dir, &["remote"]), "");
    std::fs::write(dir.join("new.txt"), "changed\n").unwrap();
    assert_eq!(git(&dir, &["diff", "--exit-code", "--quiet"]).status.code(), Some(1));
}

#[tokio::test]
async fn setuptools_scm_tells_the_version_of_the_judged_commit() {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = std::env::split_paths(&path).map(|dir| dir.join("setuptools-scm")).find(|p| p.is_file());
    let how = "pip install setuptools-scm into a virtual environment, and put its bin into PATH";
    if !mosaic_testkit::require::have("setuptools-scm", program.is_some(), how) {
        return;
    }
    let world = World::new();
    world.fixture.commit_on("main", &[("pyproject.toml", "[project]\nname = 'x'\n[tool.setuptools_scm]\n")]);
    let work = world.fixture.path().join("work");
    world.fixture.run(&work, &["tag", "-m", "first", "v1.2.0"]);
    world.fixture.run(&work, &["push", "-q", "origin", "v1.2.0"]);
    let request = world.agent().await;
    world.write(&request, "new.txt", "new\n");
    let head = world.keep_commits(&request).await;
    let dir = world.judging(&request, &head, "a").await.unwrap().path;
    let mut command = Command::new(program.expect("it was found"));
    command.current_dir(&dir).env_clear().env("PATH", path).env("HOME", "/nonexistent");
    let out = command.output().expect("it starts");
    let version = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    let local = version.strip_prefix("1.2.1.dev1+g");
    assert!(
        local.is_some_and(|hash| hash.len() >= 7 && head.as_str().starts_with(hash)),
        "{version}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
}

#[tokio::test]
async fn what_a_gate_does_with_git_stays_in_its_checkout() {
    let world = World::new();
    let request = world.agent().await;
    world.write(&request, "new.txt", "new\n");
    let head = world.keep_commits(&request).await;
    let before = files(&world.store());
    let dir = world.judging(&request, &head, "a").await.unwrap().path;
    std::fs::write(dir.join("more.txt"), "more\n").unwrap();
    said(&dir, &["add", "-A"]);
    said(&dir, &["commit", "-qm", "of the gate"]);
    said(&dir, &["branch", "mine"]);
    said(&dir, &["tag", "v9"]);
    said(&dir, &["gc", "--quiet", "--prune=now"]);
    said(&dir, &["reset", "-q", "--hard", "HEAD~2"]);
    assert!(files(&world.store()) == before, "the store was written to");
    let again = world.judging(&request, &head, "b").await.unwrap().path;
    assert_eq!(said(&again, &["rev-parse", "HEAD"]), head.as_str());
    assert_eq!(said(&again, &["tag"]), "");
}

#[tokio::test]
async fn a_tag_that_cannot_be_kept_does_not_cost_the_branch() {
    let world = World::new();
    let work = world.fixture.path().join("work");
    let (run, remote) = (|args: &[&str]| world.fixture.run(&work, args), world.fixture.remote());
    run(&["tag", "v1"]);
    run(&["push", "-q", "origin", "v1"]);
    world.agent().await;
    world.fixture.run(&remote, &["tag", "-d", "v1"]);
    run(&["tag", "-d", "v1"]);
    world.fixture.commit_on("main", &[("later.txt", "later")]);
    run(&["fetch", "-q", "origin"]);
    run(&["tag", "v1/a", "origin/main"]);
    run(&["push", "-q", "origin", "v1/a"]);
    let request = world.agent().await;
    assert!(world.tree(&request).join("later.txt").exists());
}

#[tokio::test]
async fn a_gatekeeper_elsewhere_gets_exactly_the_judged_commit() {
    let world = World::new();
    let request = world.agent().await;
    world.write(&request, "new.txt", "new\n");
    let head = world.keep_commits(&request).await;
    let bundle = world.judging_bundle(&request, &head, "a").await.unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let origin = world.fixture.path().join("work");
    said(elsewhere.path(), &["clone", "-q", origin.to_str().unwrap(), "."]);
    said(elsewhere.path(), &["fetch", "-q", bundle.to_str().unwrap(), "HEAD"]);
    assert_eq!(said(elsewhere.path(), &["rev-parse", "FETCH_HEAD"]), head.as_str());
    assert_eq!(said(elsewhere.path(), &["show", "FETCH_HEAD:new.txt"]), "new");
    // Asked again, as after a restart in the middle, it is made again.
    assert_eq!(world.judging_bundle(&request, &head, "a").await.unwrap(), bundle);
    world.git.remove(request.agent).await.unwrap();
    assert!(!bundle.exists());
}

#[tokio::test]
async fn a_quote_in_the_path_of_the_data_directory_breaks_no_clone() {
    let world = World::below("da\"ta");
    let request = world.agent().await;
    world.write(&request, "new.txt", "new\n");
    world.agent_git(&request, &["add", "-A"]);
    world.agent_git(&request, &["commit", "-qm", "new"]);
    let head = world.keep_commits(&request).await;
    let copy = world.fixture.path().join("copy");
    for (number, dir) in
        [world.tree(&request), world.judging(&request, &head, "a").await.unwrap().path].iter().enumerate()
    {
        let copy = copy.with_extension(number.to_string());
        said(dir, &["clone", "-q", ".", copy.to_str().unwrap()]);
        assert_eq!(said(&copy, &["rev-parse", "HEAD"]), head.as_str());
        said(&copy, &["fsck", "--connectivity-only"]);
    }
}
