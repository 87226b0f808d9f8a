//! Links and mounts planted in a tree: whatever points out of it, nothing outside is lost when it is removed. Each
//! shape has canaries outside. What needs mounts runs in a mount namespace of its own, where nobody else sees them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mosaic_adapters::trash::Trash;
use mosaic_testkit::require;

/// A data directory with a tree to remove, and canaries outside of it.
struct World {
    place: tempfile::TempDir,
    trash: Trash,
}

impl World {
    fn new() -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let root = place.path();
        for dir in ["data/agents/a/tree/sub", "outside/deep/deeper"] {
            fs::create_dir_all(root.join(dir)).expect("made");
        }
        for file in ["data/agents/a/tree/file", "data/agents/a/tree/sub/file", "outside/canary"] {
            fs::write(root.join(file), "alive").expect("written");
        }
        fs::write(root.join("outside/deep/deeper/canary"), "alive").expect("written");
        // Permissions that deleting would widen.
        fs::set_permissions(root.join("outside/deep"), fs::Permissions::from_mode(0o555)).expect("set");
        let trash = Trash::new(root.join("data"));
        Self { place, trash }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.place.path().join(below)
    }

    fn tree(&self) -> PathBuf {
        self.path("data/agents/a/tree")
    }

    fn canaries(&self, shape: &str) {
        for file in ["outside/canary", "outside/deep/deeper/canary"] {
            let text = fs::read_to_string(self.path(file));
            assert_eq!(text.ok().as_deref(), Some("alive"), "{shape}: {file} is lost");
        }
        let mode = |file: &str| fs::metadata(self.path(file)).expect("there").mode() & 0o7777;
        assert_eq!(mode("outside/deep"), 0o555, "{shape}: permissions outside were changed");
        assert_eq!(mode("outside/deep/deeper"), 0o755, "{shape}");
    }

    fn in_trash(&self) -> usize {
        fs::read_dir(self.path("data/trash")).map_or(0, Iterator::count)
    }

    /// Removes the tree and checks that nothing of it is left and nothing else is gone.
    async fn removed(&self, shape: &str) {
        self.trash.discard(&self.tree()).unwrap_or_else(|e| panic!("{shape}: {e}"));
        assert!(fs::symlink_metadata(self.tree()).is_err(), "{shape}: it is still in its place");
        self.trash.idle().await;
        self.canaries(shape);
        assert_eq!((self.trash.stuck(), self.in_trash()), (Vec::new(), 0), "{shape}");
    }

    /// Removes the tree as far as it goes; the rest is visible, blocks nothing, and goes once it can.
    async fn stuck_until(&self, shape: &str, free: impl FnOnce(&Path)) {
        self.trash.discard(&self.tree()).unwrap_or_else(|e| panic!("{shape}: {e}"));
        assert!(fs::symlink_metadata(self.tree()).is_err(), "{shape}: its name is not free");
        self.trash.idle().await;
        self.canaries(shape);
        let stuck = self.trash.stuck();
        assert_eq!(stuck.len(), 1, "{shape}: {stuck:?}");
        assert!(!stuck[0].reason.is_empty() && stuck[0].attempts == 1, "{shape}: {stuck:?}");
        assert!(!stuck[0].path.join("file").exists(), "{shape}: what could be deleted was not");
        // Others are deleted meanwhile.
        fs::create_dir(self.tree()).expect("the name is free");
        self.trash.discard(&self.tree()).expect("another one");
        self.trash.idle().await;
        assert_eq!(self.in_trash(), 1, "{shape}");
        free(&stuck[0].path);
        self.trash.retry_stuck();
        self.trash.idle().await;
        self.canaries(shape);
        assert_eq!((self.trash.stuck(), self.in_trash()), (Vec::new(), 0), "{shape}");
    }
}

fn run(program: &str, args: &[&Path]) {
    let out = Command::new(program).args(args).output().expect("it starts");
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

fn bind(from: &Path, to: &Path) {
    run("mount", &[Path::new("--bind"), from, to]);
}

fn unmount(at: &Path) {
    run("umount", &[at]);
}

#[tokio::test]
async fn links_of_every_kind_are_removed_as_links() {
    let world = World::new();
    symlink(world.path("outside"), world.tree().join("to-dir")).unwrap();
    world.removed("a link to a directory").await;

    let world = World::new();
    symlink(world.path("outside/canary"), world.tree().join("sub/to-file")).unwrap();
    world.removed("a link to a file").await;

    let world = World::new();
    symlink(world.path("outside/deep"), world.tree().join("one")).unwrap();
    symlink("one", world.tree().join("two")).unwrap();
    symlink("../two", world.tree().join("sub/three")).unwrap();
    symlink("loop", world.tree().join("loop")).unwrap();
    world.removed("a chain of links").await;

    let world = World::new();
    fs::hard_link(world.path("outside/canary"), world.tree().join("hard")).unwrap();
    world.removed("a hard link").await;
    assert_eq!(fs::metadata(world.path("outside/canary")).unwrap().nlink(), 1);

    let world = World::new();
    let held = fs::File::open(world.path("outside")).unwrap();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&held);
    for target in [
        format!("/proc/self/fd/{fd}"),
        format!("/proc/{}/fd/{fd}", std::process::id()),
        "/proc/self/cwd".to_owned(),
        "/proc/self/root".to_owned(),
    ] {
        let name = target.replace('/', "-");
        symlink(target, world.tree().join(name)).unwrap();
    }
    world.removed("links through /proc").await;
}

#[tokio::test]
async fn a_swapped_parent_is_refused() {
    let world = World::new();
    fs::create_dir_all(world.path("outside/tree")).unwrap();
    fs::write(world.path("outside/tree/canary"), "alive").unwrap();
    fs::rename(world.path("data/agents/a"), world.path("data/agents/away")).unwrap();
    symlink(world.path("outside"), world.path("data/agents/a")).unwrap();
    assert!(world.trash.discard(&world.tree()).is_err());
    world.trash.idle().await;
    world.canaries("a swapped parent");
    assert!(world.path("outside/tree/canary").exists());
}

/// Something of the agent is alive after all and swaps directories against links while they are deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_swapped_during_the_deletion_is_not_followed() {
    let world = World::new();
    for i in 0..200 {
        fs::create_dir_all(world.tree().join(format!("d{i}/x/y"))).unwrap();
    }
    // A handle finds the tree again wherever it is moved.
    let tree = fs::File::open(world.tree()).unwrap();
    let here = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&tree)));
    let (stop, outside) = (Arc::new(AtomicBool::new(false)), world.path("outside"));
    let swapper = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            let mut swaps = 0;
            while !stop.load(Ordering::SeqCst) {
                for i in 0..200 {
                    let (dir, away) = (here.join(format!("d{i}")), here.join(format!("away{i}")));
                    if fs::rename(&dir, &away).is_ok() && symlink(&outside, &dir).is_ok() {
                        swaps += 1;
                        let _ = fs::remove_file(&dir);
                        let _ = fs::rename(&away, &dir);
                    }
                }
            }
            swaps
        }
    });
    world.trash.discard(&world.tree()).unwrap();
    world.trash.idle().await;
    stop.store(true, Ordering::SeqCst);
    let swaps = swapper.join().unwrap();
    world.canaries("swapped during the deletion");
    world.trash.retry_stuck();
    world.trash.idle().await;
    assert_eq!((world.trash.stuck(), world.in_trash()), (Vec::new(), 0), "after {swaps} swaps");
}

#[tokio::test]
async fn a_directory_without_rights_is_removed() {
    let world = World::new();
    fs::set_permissions(world.tree().join("sub"), fs::Permissions::from_mode(0o000)).unwrap();
    world.removed("a directory of mode 000").await;
}

/// Runs this test again in a mount namespace of its own. Returns true inside.
fn inside(test: &str) -> bool {
    const INSIDE: &str = "MOSAIC_TEST_MOUNTS";
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let way = [&["-m"][..], &["-rm"]].into_iter().find(|way| {
        Command::new("unshare").args(*way).arg("true").output().is_ok_and(|o| o.status.success())
    });
    if !require::have("mounts", way.is_some(), "the right to unshare a mount namespace") {
        return false;
    }
    let me = std::env::current_exe().expect("a test has a path");
    let mut command = Command::new("unshare");
    command.args(way.unwrap_or_default()).args(["--propagation", "private"]).arg(me);
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(INSIDE, "1");
    let out = command.output().expect("unshare starts");
    let text = [out.stdout.as_slice(), out.stderr.as_slice()].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(out.status.success() && text.contains("1 passed"), "{text}");
    false
}

#[tokio::test]
async fn mounts_are_not_entered_and_what_they_hold_stays() {
    if !inside("trash::mounts_are_not_entered_and_what_they_hold_stays") {
        return;
    }
    let world = World::new();
    let at = world.tree().join("sub/mounted");
    fs::create_dir(&at).unwrap();
    bind(&world.path("outside"), &at);
    world.stuck_until("a bind mount of a directory", |gone| unmount(&gone.join("sub/mounted"))).await;

    let world = World::new();
    bind(&world.path("outside/canary"), &world.tree().join("sub/file"));
    world.stuck_until("a bind mount of a file", |gone| unmount(&gone.join("sub/file"))).await;

    let world = World::new();
    let at = world.tree().join("sub/tmpfs");
    fs::create_dir(&at).unwrap();
    run("mount", &[Path::new("-t"), Path::new("tmpfs"), Path::new("tmpfs"), &at]);
    fs::write(at.join("canary"), "alive").unwrap();
    world
        .stuck_until("a tmpfs", |gone| {
            assert_eq!(fs::read_to_string(gone.join("sub/tmpfs/canary")).unwrap(), "alive");
            unmount(&gone.join("sub/tmpfs"));
        })
        .await;

    let world = World::new();
    let at = world.tree().join("sub/all");
    fs::create_dir(&at).unwrap();
    run("mount", &[Path::new("--rbind"), world.place.path(), &at]);
    world
        .stuck_until("a mount of what it lies in", |gone| {
            run("umount", &[Path::new("-R"), &gone.join("sub/all")])
        })
        .await;

    let world = World::new();
    bind(&world.path("outside"), &world.tree());
    let refused = world.trash.discard(&world.tree()).expect_err("it is busy");
    assert!(refused.to_string().contains("mounted"), "{refused}");
    world.canaries("the tree is a mount point");
    unmount(&world.tree());
    world.removed("the tree was a mount point").await;
}

#[tokio::test]
async fn what_the_file_system_protects_is_tried_again_by_itself() {
    if !inside("trash::what_the_file_system_protects_is_tried_again_by_itself") {
        return;
    }
    let world = World::new();
    // A read-only mount of a directory of the tree onto itself refuses like an immutable file.
    let at = world.tree().join("sub");
    bind(&at, &at);
    run("mount", &[Path::new("-o"), Path::new("remount,bind,ro"), &at]);
    world.trash.discard(&world.tree()).unwrap();
    world.trash.idle().await;
    let stuck = world.trash.stuck();
    assert_eq!(stuck.len(), 1, "{stuck:?}");
    unmount(&stuck[0].path.join("sub"));
    let gone = async {
        while world.in_trash() > 0 || !world.trash.stuck().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.expect("it is tried again without being told");
    world.canaries("protected");
}
