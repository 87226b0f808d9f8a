//! A tree of which something is not what the server made: another directory in its place, something mounted over or in it,
//! and what lies there and cannot be taken. None of it is published, and nothing is deleted for it.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use mosaic_testkit::require::have;

use crate::git::world::World;
use mosaic_core::domain::outcome::FailureKind;
use mosaic_core::ports::repositories::{Commits, DiffForm, Intake, Kept, Received, TreeRequest, Trees};

/// Runs the harvest with something mounted at a path below the agent's directory.
async fn received_under_mount(world: &World, request: &TreeRequest, at: &str) -> Result<Received, String> {
    let job = world.git.harvest(request).await.expect("prepared");
    let foreign = world.fixture.path().join("foreign");
    fs::create_dir_all(&foreign).expect("made");
    fs::write(foreign.join("private.txt"), "private\n").expect("written");
    let place = world.tree(request).with_file_name(at);
    let script = "mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(&foreign).arg(&place).args(&job.command);
    let out = command.current_dir(world.fixture.path()).output().expect("it starts");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    world.git.receive(request, &job.outbox).await.map_err(|e| e.message)
}

/// Tells whether mounts can be made here.
fn can_mount() -> bool {
    let probe = ["--mount", "mount", "-t", "tmpfs", "none", "/mnt"];
    let works = Command::new("unshare").args(probe).output().is_ok_and(|out| out.status.success());
    have("mounts", works, "root and the programs unshare and mount")
}

#[tokio::test]
async fn what_is_mounted_over_a_tree_is_not_published() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let request = world.agent().await;
    world.write(&request, "work.txt", "x\n");
    let refused = received_under_mount(&world, &request, "tree").await.unwrap_err();
    assert!(refused.contains("put in its place"), "{refused}");
}

#[tokio::test]
async fn what_is_mounted_in_a_tree_is_not_published_and_deletes_nothing() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let request = world.agent().await;
    world.write(&request, "work.txt", "x\n");
    let received = received_under_mount(&world, &request, "tree/src").await.unwrap();
    let Kept::Commits { head } = &received.kept else { panic!("{received:?}") };
    let files = world.git.list_files(&world.url, head, "").await.unwrap();
    assert!(files.contains(&"src/lib.txt".to_owned()), "{files:?}");
    assert!(!files.iter().any(|file| file.contains("private")), "{files:?}");
    assert!(
        received.warnings.iter().any(|w| w.contains("src (another file system")),
        "{:?}",
        received.warnings
    );
}

#[tokio::test]
async fn another_directory_in_the_place_of_a_tree_is_not_published() {
    let world = World::new();
    let request = world.agent().await;
    let tree = world.tree(&request);
    fs::rename(&tree, tree.with_file_name("moved")).unwrap();
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("y"), "y\n").unwrap();
    let outbox = {
        let job = world.git.harvest(&request).await.unwrap();
        world.run_job(&request, &job);
        job.outbox
    };
    let refused = world.git.receive(&request, &outbox).await.unwrap_err();
    assert!(refused.message.contains("put in its place"), "{}", refused.message);
    assert_eq!(refused.kind, FailureKind::Internal);
}

#[tokio::test]
async fn a_file_that_is_too_large_is_named_at_once_and_neither_taken_nor_deleted() {
    let world = World::new();
    let request = world.agent().await;
    world.write(&request, "work.txt", "x\n");
    for name in ["core", "README.md"] {
        let file = fs::File::create(world.tree(&request).join(name)).unwrap();
        file.set_len(1 << 40).unwrap();
    }
    let begun = Instant::now();
    let received = world.received(&request).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(60), "it was read");
    let Kept::Commits { head } = &received.kept else { panic!("{received:?}") };
    let changed = world.git.stat(&world.url, &request.base, head).await.unwrap();
    let changed: Vec<_> = changed.iter().map(|f| String::from_utf8_lossy(&f.path).into_owned()).collect();
    assert_eq!(changed, ["work.txt"]);
    let told = received.warnings.join("\n");
    assert!(told.contains("core (it is too large") && told.contains("README.md (it is too large"), "{told}");
    let saved = world.salvage(&request).await;
    assert!(saved.is_ok() && begun.elapsed() < Duration::from_secs(60), "{saved:?}");
    // It is nowhere else.
    let left = world.git.remove(request.agent).await.unwrap_err();
    assert!(left.message.contains("unreceived-"), "{}", left.message);
}

#[tokio::test]
async fn what_the_agents_own_exclude_file_hides_is_named_and_stays() {
    let world = World::new();
    let request = world.agent().await;
    world.write(&request, "work.txt", "x\n");
    world.write(&request, "notes/hidden.md", "y\n");
    world.write(&request, ".git/info/exclude", "/notes\n");
    let received = world.received(&request).await.unwrap();
    let Kept::Commits { head } = &received.kept else { panic!("{received:?}") };
    let changed = world.git.stat(&world.url, &request.base, head).await.unwrap();
    assert_eq!(changed.len(), 1, "{changed:?}");
    let told = received.warnings.join("\n");
    assert!(told.contains("notes (hidden by the agent's own .git/info/exclude"), "{told}");
    // It is nowhere else.
    let left = world.git.remove(request.agent).await.unwrap_err();
    assert!(left.message.contains("unreceived-"), "{}", left.message);
}

#[tokio::test]
async fn a_file_in_the_place_of_a_directory_of_gits_is_put_aside() {
    let world = World::new();
    let views = world.data().join("git/views");
    let attributes = world.data().join("git/attributes");
    fs::write(&views, "planted\n").unwrap();
    fs::write(&attributes, "planted\n").unwrap();
    // Fetches into a view of the store.
    world.fixture.commit_on("main", &[(".gitattributes", "*.bin filter=none\n"), ("a.bin", "a\n")]);
    let request = world.agent().await;
    world.write(&request, "work.txt", "x\n");
    let head = world.keep_commits(&request).await;
    assert!(world.git.filtered(&world.url, &request.base, &head).await.unwrap().is_empty());
    let names = fs::read_dir(world.data().join("git")).unwrap().flatten();
    let names: Vec<_> = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    for place in ["views", "attributes"] {
        let aside = format!("{place}.planted-");
        assert!(names.iter().any(|name| name.starts_with(&aside)), "{names:?}");
    }
}

#[tokio::test]
async fn attributes_planted_in_the_store_and_in_homes_change_nothing_of_the_work() {
    let world = World::new();
    world.agent().await;
    let poison = "* filter=planted binary text=auto eol=crlf\n";
    fs::write(world.store().join("info/attributes"), poison).unwrap();
    let homes = [world.fixture.path().to_owned(), world.data().join("git/home")];
    for home in homes {
        fs::create_dir_all(home.join(".config/git")).unwrap();
        fs::create_dir_all(home.join("git")).unwrap();
        fs::write(home.join(".config/git/attributes"), poison).unwrap();
        fs::write(home.join("git/attributes"), poison).unwrap();
        let config = "[core]\n\tautocrlf = true\n[filter \"planted\"]\n\tclean = tr a-z A-Z\n\tsmudge = tr a-z A-Z\n\trequired = true\n";
        fs::write(home.join(".gitconfig"), config).unwrap();
    }
    let request = world.agent().await;
    let lib = world.tree(&request).join("src/lib.txt");
    assert_eq!(fs::read_to_string(lib).unwrap(), "one\ntwo\nthree\n");
    world.write(&request, "work.txt", "mixed\r\nlines\n");
    let saved = world.salvage(&request).await.unwrap().unwrap();
    let head = world.keep_commits(&request).await;
    for commit in [&saved.commit, &head] {
        let text = world.git.read_file(&world.url, commit, "work.txt", 100).await.unwrap().unwrap();
        assert_eq!(text, b"mixed\r\nlines\n");
    }
    let (diff, _) =
        world.git.diff(&world.url, &request.base, &head, DiffForm::Readable, 10_000).await.unwrap();
    assert!(String::from_utf8_lossy(&diff).contains("+mixed"), "{}", String::from_utf8_lossy(&diff));
    assert!(world.git.filtered(&world.url, &request.base, &head).await.unwrap().is_empty());
}
