//! The root directory of an isolation, built from empty: the system read-only, devices without danger, a process table of its
//! own, and the directories that the specification names. Names in it are those of an ordinary machine.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
use rustix::process::pivot_root;
use rustix::thread::UnshareFlags;

use super::enter::unshare;
use super::mounts::{During as _, bind, empty, protect};
use super::spec::{Bind, Spec};

/// Directories of the system. Homes, data of services and temporary files are not among them.
const SYSTEM: [&str; 12] =
    ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "opt", "nix", "gnu", "snap"];
/// Devices that every program may use.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Where the shell is that nothing inside can read.
const SHELL: &str = "run/sh";
/// Directories that the command may write to besides those that are bound for it.
const WRITABLE: [&str; 2] = ["/dev", "/proc"];

/// Builds the root directory and enters it. Returns the path of the shell in it.
pub(super) fn build(spec: &Spec) -> io::Result<PathBuf> {
    unshare(UnshareFlags::NEWNS)?;
    // Nothing that is mounted here may show on the rest of the machine.
    let own = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", own).during("separate the mounts of", Path::new("/"))?;
    rustix::system::sethostname(b"localhost")?;
    let root = &spec.root;
    empty(root, "size=64m,mode=755")?;
    system(root, spec)?;
    devices(&root.join("dev"))?;
    processes(root)?;
    account(root, spec)?;
    name_service(root)?;
    for own in &spec.binds {
        visible(root, own, &spec.hidden)?;
    }
    plain_directories(root)?;
    shell(&root.join(SHELL))?;
    let writable = spec.binds.iter().filter(|own| own.writable).map(|own| own.target.clone());
    let writable: Vec<PathBuf> = writable.chain(WRITABLE.map(PathBuf::from)).collect();
    protect(root, &writable)?;
    enter(root)?;
    Ok(Path::new("/").join(SHELL))
}

fn system(root: &Path, spec: &Spec) -> io::Result<()> {
    for name in SYSTEM {
        let source = Path::new("/").join(name);
        match source.symlink_metadata() {
            Ok(meta) if meta.is_symlink() => symlink(fs::read_link(&source)?, root.join(name))?,
            Ok(meta) if meta.is_dir() => {
                let own = Bind { target: source.clone(), source, writable: false };
                visible(root, &own, &spec.hidden)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Makes a path visible, and what is hidden below it empty.
fn visible(root: &Path, own: &Bind, hidden: &[PathBuf]) -> io::Result<()> {
    let target = root.join(own.target.strip_prefix("/").unwrap_or(&own.target));
    bind(&own.source, &target)?;
    // A directory that is meant to be visible may lie in one that is not.
    for (hidden, inside) in
        hidden.iter().filter_map(|path| Some((path, path.strip_prefix(&own.source).ok()?)))
    {
        if target.join(inside).is_dir() && !own.writable {
            empty(&target.join(inside), "size=4k,mode=755").during("hide", hidden)?;
        }
    }
    Ok(())
}

fn devices(dev: &Path) -> io::Result<()> {
    empty(dev, "size=64k,mode=755")?;
    for name in DEVICES {
        let source = Path::new("/dev").join(name);
        if source.exists() {
            bind(&source, &dev.join(name))?;
        }
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        symlink(target, dev.join(name))?;
    }
    empty(&dev.join("shm"), "size=50%,mode=1777")?;
    fs::create_dir_all(dev.join("pts"))?;
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    // Without terminals most programs run all the same.
    let _ = mount("devpts", dev.join("pts"), "devpts", flags, c"newinstance,ptmxmode=0666,mode=620");
    Ok(())
}

/// Mounts the process table of the namespace, in which a process sees only what it could trace: neither the first process nor
/// the shell.
fn processes(root: &Path) -> io::Result<()> {
    let proc = root.join("proc");
    fs::create_dir_all(&proc)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", &proc, "proc", flags, c"hidepid=2").during("mount", &proc)?;
    // The C library counts processors there. The rest of /sys names devices and control groups of this machine.
    let cpus = Path::new("/sys/devices/system");
    if cpus.is_dir() { bind(cpus, &root.join("sys/devices/system")) } else { Ok(()) }
}

/// Gives the user and the group a name, where the system has none for them: programs ask for it.
fn account(root: &Path, spec: &Spec) -> io::Result<()> {
    let kept = root.join("run");
    fs::create_dir_all(&kept)?;
    let lines = [
        ("passwd", spec.uid, format!("user:x:{}:{}::/home/user:/bin/sh\n", spec.uid, spec.gid)),
        ("group", spec.gid, format!("user:x:{}:\n", spec.gid)),
    ];
    for (name, id, line) in lines {
        let of_system = Path::new("/etc").join(name);
        let text = fs::read_to_string(&of_system).unwrap_or_default();
        let is_known = text.lines().any(|line| line.split(':').nth(2) == Some(&id.to_string()));
        if is_known || !root.join("etc").join(name).exists() {
            continue;
        }
        let own = kept.join(name);
        fs::write(&own, text.trim_end().to_owned() + "\n" + &line)?;
        bind(&own, &root.join("etc").join(name))?;
    }
    Ok(())
}

/// Makes the file visible that `/etc/resolv.conf` leads to, which systems keep with the state of a service.
fn name_service(root: &Path) -> io::Result<()> {
    let Ok(file) = fs::canonicalize("/etc/resolv.conf") else { return Ok(()) };
    let target = root.join(file.strip_prefix("/").unwrap_or(&file));
    if target.exists() { Ok(()) } else { bind(&file, &target) }
}

/// Makes the directories that programs expect and nothing has made yet.
fn plain_directories(root: &Path) -> io::Result<()> {
    for name in ["home", "mnt", "run", "srv", "tmp", "var", "root"] {
        fs::create_dir_all(root.join(name))?;
    }
    let temporary = root.join("var/tmp");
    if temporary.symlink_metadata().is_err() {
        symlink("/tmp", temporary)?;
    }
    Ok(())
}

/// Copies the shell. A process whose program its user cannot read is closed to all tracers of that user, so that nothing which
/// the command starts reaches into the process whose end is the result.
fn shell(copy: &Path) -> io::Result<()> {
    let shell = fs::canonicalize("/bin/sh")?;
    fs::copy(&shell, copy).during("copy", &shell)?;
    fs::set_permissions(copy, Permissions::from_mode(0o111))
}

/// Makes the directory the root of this namespace and lets go of the former one.
fn enter(root: &Path) -> io::Result<()> {
    std::env::set_current_dir(root)?;
    pivot_root(".", ".").during("enter", root)?;
    unmount(".", UnmountFlags::DETACH).during("leave the former root of", root)?;
    std::env::set_current_dir("/")
}
