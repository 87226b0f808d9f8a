//! Writing a restored tree: raw content from the bare repository into a fresh directory, part by part through handles so that
//! no link in it is ever followed, whatever the description claims. Permissions are set last.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, fchmod, mkdirat, openat, symlinkat};
use rustix::io::Errno;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// Longest target of a symbolic link.
const LINK_BYTES: u64 = 4096;
/// Permission bits of a directory for which no others are recorded.
const DIRECTORY_MODE: u32 = 0o755;

const OPEN: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// One file or link to write.
pub(crate) struct Item {
    pub(crate) object: String,
    pub(crate) path: Vec<u8>,
    /// Permission bits; those that give away rights of the owner (setuid and the like) are not set.
    pub(crate) mode: u32,
    pub(crate) link: bool,
}

/// The directory that is written into.
pub(crate) struct Place {
    root: OwnedFd,
    /// The directory written to last: files come in order.
    last: Option<(Vec<u8>, OwnedFd)>,
    modes: BTreeMap<Vec<u8>, u32>,
}

impl Place {
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        Ok(Self { root: openat(CWD, root, OPEN, Mode::empty())?, last: None, modes: BTreeMap::new() })
    }

    /// Writes the blobs that `cat-file --batch` hands out for these items, in order.
    pub(crate) async fn write_all(
        &mut self,
        items: &[Item],
        out: &mut (impl AsyncBufRead + Unpin),
    ) -> io::Result<()> {
        for item in items {
            let mut line = Vec::new();
            (&mut *out).take(256).read_until(b'\n', &mut line).await?;
            let text = String::from_utf8_lossy(&line).into_owned();
            let words: Vec<&str> = text.trim_end().split(' ').collect();
            let size: u64 = match words.as_slice() {
                [_, "blob", size] => size.parse().map_err(io::Error::other)?,
                _ => return Err(io::Error::other(format!("an object is missing: {}", item.object))),
            };
            self.write(item, size, out).await?;
            out.read_u8().await?;
        }
        Ok(())
    }

    async fn write(
        &mut self,
        item: &Item,
        size: u64,
        out: &mut (impl AsyncBufRead + Unpin),
    ) -> io::Result<()> {
        let (above, name) = split(&item.path)?;
        let at = self.directory(above)?;
        if item.link {
            if size > LINK_BYTES {
                return Err(io::Error::other("the target of a link is too long"));
            }
            let mut target = Vec::new();
            (&mut *out).take(size).read_to_end(&mut target).await?;
            return Ok(symlinkat(OsStr::from_bytes(&target), at, OsStr::from_bytes(name))?);
        }
        // A tree can have one name twice, first as a link and then as a file. `EXCL` and `NOFOLLOW` keep the second from
        // being written through the first.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(at, OsStr::from_bytes(name), flags, Mode::RUSR | Mode::WUSR)?;
        let mut file = File::from(file);
        let mut left = size;
        while left > 0 {
            let chunk = out.fill_buf().await?;
            let n = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            file.write_all(&chunk[..n])?;
            out.consume(n);
            left -= n as u64;
        }
        // After the content, because a file may be read-only; by handle and not by `open`, whose mode the umask would change.
        Ok(fchmod(&file, Mode::from_raw_mode(item.mode & 0o777))?)
    }

    /// Makes a directory and those above it; they get their permissions at the end.
    pub(crate) fn directory(&mut self, path: &[u8]) -> io::Result<&OwnedFd> {
        if self.last.as_ref().is_none_or(|(known, _)| known != path) {
            let fd = self.walk(path, true)?;
            self.last = Some((path.to_vec(), fd));
        }
        Ok(self.last.as_ref().map_or(&self.root, |(_, fd)| fd))
    }

    fn walk(&mut self, path: &[u8], make: bool) -> io::Result<OwnedFd> {
        let mut at = self.root.try_clone()?;
        let mut end = 0;
        for part in path.split(|b| *b == b'/').filter(|_| !path.is_empty()) {
            let name = OsStr::from_bytes(checked(part)?);
            end += part.len();
            if make {
                match mkdirat(&at, name, Mode::RWXU) {
                    Ok(()) => drop(self.modes.insert(path[..end].to_vec(), DIRECTORY_MODE)),
                    Err(Errno::EXIST) => {}
                    Err(e) => return Err(e.into()),
                }
            }
            // Opened without following links: a link that was restored a moment ago must not lead the next file out of the
            // tree.
            at = openat(&at, name, OPEN, Mode::empty())?;
            end += 1;
        }
        Ok(at)
    }

    /// Says which permissions a file or directory gets in the end.
    pub(crate) fn mode(&mut self, path: &[u8], mode: u32) {
        if let Some(known) = self.modes.get_mut(path) {
            *known = mode;
        }
    }

    /// Sets the permissions of directories, deepest first, so that none keeps us out.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.last = None;
        for (path, mode) in std::mem::take(&mut self.modes).into_iter().rev() {
            let fd = self.walk(&path, false)?;
            fchmod(&fd, Mode::from_raw_mode(mode & 0o777))?;
        }
        Ok(())
    }
}

fn split(path: &[u8]) -> io::Result<(&[u8], &[u8])> {
    if path.first() == Some(&b'/') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a salvaged tree has an absolute path"));
    }
    let at = path.iter().rposition(|b| *b == b'/');
    let (above, name) = at.map_or((&path[..0], path), |at| (&path[..at], &path[at + 1..]));
    Ok((above, checked(name)?))
}

/// Nothing that leads up or elsewhere, and nothing that git would take for a repository.
fn checked(part: &[u8]) -> io::Result<&[u8]> {
    let bad = part.is_empty() || part == b"." || part == b".." || part.contains(&0) || part == b".git";
    match bad {
        true => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a salvaged tree has a path that leads elsewhere",
        )),
        false => Ok(part),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn item(path: &[u8], link: bool) -> Item {
        Item { object: "x".to_owned(), path: path.to_vec(), mode: 0o4755, link }
    }

    async fn write(place: &mut Place, item: &Item, content: &[u8]) -> io::Result<()> {
        let text = [format!("x blob {}\n", content.len()).as_bytes(), content, b"\n"].concat();
        place.write_all(std::slice::from_ref(item), &mut &text[..]).await
    }

    #[tokio::test]
    async fn nothing_is_written_outside_or_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
        std::fs::create_dir(&root).unwrap();
        std::fs::create_dir(&outside).unwrap();
        symlink(&outside, root.join("planted")).unwrap();
        let mut place = Place::open(&root).unwrap();
        for bad in [&b"../x"[..], b"/x", b"planted/x", b".git/config", b"a/../../x", b"a//b", b""] {
            assert!(
                write(&mut place, &item(bad, false), b"x").await.is_err(),
                "{}",
                String::from_utf8_lossy(bad)
            );
        }
        write(&mut place, &item(b"sub/link", true), b"../../outside").await.unwrap();
        assert!(write(&mut place, &item(b"sub/link/x", false), b"x").await.is_err());
        write(&mut place, &item(b"sub/\xff\n", false), b"bytes").await.unwrap();
        place.mode(b"sub", 0o500);
        place.finish().unwrap();
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
        let file = root.join("sub").join(OsStr::from_bytes(b"\xff\n"));
        assert_eq!(std::fs::read(&file).unwrap(), b"bytes");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&file), mode(&root.join("sub"))), (0o755, 0o500));
    }
}
