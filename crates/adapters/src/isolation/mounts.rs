//! Mounts of an isolation: binds, empty directories, and what may not be written to afterwards.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, mount, mount_bind_recursive, mount_remount};

/// Names the step that failed in an error of the kernel, which says only why.
pub(super) trait During<T> {
    /// Adds the step and its path.
    fn during(self, step: &str, path: &Path) -> io::Result<T>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, step: &str, path: &Path) -> io::Result<T> {
        self.map_err(|e| {
            let error: io::Error = e.into();
            io::Error::new(error.kind(), format!("cannot {step} {}: {error}", path.display()))
        })
    }
}

/// Mounts an empty directory of its own. It lies in memory, so it is small.
pub(super) fn empty(target: &Path, options: &str) -> io::Result<()> {
    fs::create_dir_all(target).during("make", target)?;
    let options = std::ffi::CString::new(options).map_err(io::Error::other)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", target, "tmpfs", flags, options.as_c_str()).during("mount an empty directory at", target)
}

/// Makes a path of this machine visible, with what is mounted below it.
pub(super) fn bind(source: &Path, target: &Path) -> io::Result<()> {
    let meta = fs::metadata(source).during("look at", source)?;
    if meta.is_dir() {
        fs::create_dir_all(target).during("make", target)?;
    } else {
        fs::create_dir_all(target.parent().unwrap_or(target)).during("make the directory of", target)?;
        if target.symlink_metadata().is_err() {
            fs::write(target, "").during("make", target)?;
        }
    }
    mount_bind_recursive(source, target).during("bind", source)
}

/// Makes every mount below the root read-only, but for these.
pub(super) fn protect(root: &Path, writable: &[PathBuf]) -> io::Result<()> {
    let table = fs::read("/proc/self/mountinfo")?;
    let mounts = table.split(|b| *b == b'\n').filter_map(parse);
    for (path, flags) in mounts {
        let Ok(inside) = path.strip_prefix(root) else { continue };
        let inside = Path::new("/").join(inside);
        if writable.iter().any(|own| inside.starts_with(own)) {
            continue;
        }
        // The flags that a mount has are kept: in a user namespace the kernel refuses to drop one.
        let flags = flags | MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID;
        mount_remount(&path, flags, c"").during("make read-only", &path)?;
    }
    Ok(())
}

/// Reads path and flags out of one line of the mount table.
fn parse(line: &[u8]) -> Option<(PathBuf, MountFlags)> {
    let mut fields = line.split(|b| *b == b' ');
    let path = unescape(fields.nth(4)?);
    let options = std::str::from_utf8(fields.next()?).ok()?;
    let flag = |word: &str| match word {
        "nosuid" => MountFlags::NOSUID,
        "nodev" => MountFlags::NODEV,
        "noexec" => MountFlags::NOEXEC,
        "noatime" => MountFlags::NOATIME,
        "nodiratime" => MountFlags::NODIRATIME,
        "relatime" => MountFlags::RELATIME,
        _ => MountFlags::empty(),
    };
    Some((path, options.split(',').map(flag).fold(MountFlags::empty(), MountFlags::union)))
}

/// Undoes the kernel's escapes: space, tab, line break and backslash as three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let (mut bytes, mut rest) = (Vec::with_capacity(field.len()), field);
    while let Some((first, more)) = rest.split_first() {
        let code =
            more.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &more[3..];
            }
            None => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_mount_table_gives_path_and_flags() {
        let line = br"36 35 98:0 /a /mnt/with\040space rw,nosuid,noatime shared:1 - ext4 /dev/vda rw";
        let (path, flags) = parse(line).unwrap();
        assert_eq!(path, Path::new("/mnt/with space"));
        assert_eq!(flags, MountFlags::NOSUID | MountFlags::NOATIME);
        assert!(parse(b"").is_none());
    }
}
