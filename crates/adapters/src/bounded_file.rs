//! Reading what others can replace: an agent, or whoever may write the data directory. Everything that is read there goes
//! through here. A name is opened without waiting and without following a link, only a regular file is read and only
//! so many bytes of it, a directory is listed up to so many entries. Disks that do not answer are for [`crate::disk`].

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use mosaic_core::domain::ids::AgentId;
use mosaic_core::limits;
use rustix::fs::{CWD, Mode, OFlags, openat};

/// Flags of every opening here: nothing is waited for, and nothing is inherited.
const CALM: OFlags = OFlags::NONBLOCK.union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

/// Opens a regular file for reading. Anything else of that name, a link included, is refused without being waited for.
pub fn open(path: &Path) -> io::Result<File> {
    // Opening a pipe for reading waits for a writer, and only the opened file can be asked for its kind
    // without a race. So it is opened without waiting and looked at afterwards.
    regular(openat(CWD, path, OFlags::RDONLY | OFlags::NOFOLLOW | CALM, Mode::empty())?.into())
}

/// Opens a file of our own for writing, made for its owner only when it is missing. Anything else
/// that has the name, a link included, is refused without being waited for.
pub fn open_own(path: &Path) -> io::Result<File> {
    own(path, OFlags::empty())
}

/// Opens a file of our own for appending, as [`open_own`] does.
pub fn append_own(path: &Path) -> io::Result<File> {
    own(path, OFlags::APPEND)
}

fn own(path: &Path, more: OFlags) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | CALM | more;
    regular(openat(CWD, path, flags, Mode::RUSR | Mode::WUSR)?.into())
}

/// Moves what has a name of ours beside it, for whoever wants to know.
pub(crate) fn put_aside(path: &Path) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".planted-{}", uuid::Uuid::new_v4().simple()));
    std::fs::rename(path, path.with_file_name(name))
}

/// Gives a name free when what has it is no plain file, a link included.
pub(crate) fn put_aside_unless_plain(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(found) if !found.is_file() => put_aside(path),
        Ok(_) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

/// Gives the name of a directory of ours free when what has it is none, a link included.
pub(crate) fn put_aside_unless_directory(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(found) if !found.is_dir() => {
            tracing::warn!(path = %path.display(), "what stood in the place of a directory of ours was none and is put aside");
            put_aside(path)
        }
        Ok(_) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

/// Opens a regular file that may be named by a link, as those are that an operator configures. Anything else is refused
/// without being waited for.
pub fn open_linked(path: &Path) -> io::Result<File> {
    regular(openat(CWD, path, OFlags::RDONLY | CALM, Mode::empty())?.into())
}

fn regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no regular file")) }
}

/// Reads a regular file as a whole. Errors with `FileTooLarge` when it has more than `most` bytes.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    whole(open(path)?, most)
}

/// Reads a regular file as [`read`] does, as text. Errors with `InvalidData` when it is not UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    text(read(path, most)?)
}

/// Reads a regular file that may be named by a link, as a whole.
pub fn read_linked(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    whole(open_linked(path)?, most)
}

/// Reads a regular file that may be named by a link, as text.
pub fn read_linked_text(path: &Path, most: u64) -> io::Result<String> {
    text(whole(open_linked(path)?, most)?)
}

fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

fn whole(file: File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file that is too long from one that just fits. Its length, asked for
    // beforehand, may be another by the time it is read.
    let length = file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if length as u64 > most {
        let why = format!("it has more than {most} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(bytes)
}

/// Reads the first `most` bytes of a regular file, which may have more.
pub fn read_prefix(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a directory. Anything else of that name, a link included, is refused without being waited for.
pub fn open_dir(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | CALM;
    Ok(File::from(openat(CWD, path, flags, Mode::empty())?))
}

/// Opens a directory that may be named by a link.
pub fn open_dir_linked(path: &Path) -> io::Result<File> {
    Ok(File::from(openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | CALM, Mode::empty())?))
}

/// Names in a directory, and whether it has more of them than were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// The names that were read, in no order.
    pub names: Vec<OsString>,
    /// There are more.
    pub more: bool,
}

/// Lists at most so many names of a directory; none when it does not exist.
pub fn names(path: &Path, most: usize) -> io::Result<Names> {
    use std::os::unix::ffi::OsStringExt as _;
    let dir = match open_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Names::default()),
        opened => opened?,
    };
    let mut listed = Names::default();
    for entry in rustix::fs::Dir::new(dir)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name == b"." || name == b".." {
            continue;
        }
        if listed.names.len() == most {
            listed.more = true;
            break;
        }
        listed.names.push(OsString::from_vec(name));
    }
    Ok(listed)
}

/// Lists the agents by whose ids entries of a directory are named, none when it does not exist; the directory itself may be
/// named by a link. Tells also whether there are more entries than the [`limits::AGENT_ENTRIES`] that are looked at: then
/// agents may be missing, and whoever needs all of them must say so.
pub fn agents(path: &Path) -> io::Result<(Vec<AgentId>, bool)> {
    let dir = match open_dir_linked(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), false)),
        opened => opened?,
    };
    let mut found = Vec::new();
    for (n, entry) in rustix::fs::Dir::new(dir)?.enumerate() {
        if n == limits::AGENT_ENTRIES {
            tracing::error!(path = %path.display(), "a directory of agents has too many entries; not all were looked at");
            return Ok((found, true));
        }
        found.extend(entry?.file_name().to_str().ok().and_then(|name| name.parse::<AgentId>().ok()));
    }
    Ok((found, false))
}

/// Tells whether an error says that something else than a regular file or directory has the name, which no program of
/// ours puts there.
pub fn is_wrong_kind(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let raw = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(raw, Some(Errno::LOOP | Errno::NOTDIR | Errno::NXIO | Errno::ISDIR))
        || error.raw_os_error().is_none() && error.kind() == io::ErrorKind::Other
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_file_of_our_own_is_made_and_nothing_planted_is_written() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        open_own(&at("new")).unwrap().write_all(b"one").unwrap();
        append_own(&at("new")).unwrap().write_all(b" two").unwrap();
        assert_eq!(std::fs::read(at("new")).unwrap(), b"one two");
        assert_eq!(
            std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(at("new")).unwrap()) & 0o777,
            0o600
        );
        std::os::unix::fs::symlink(at("elsewhere"), at("link")).unwrap();
        std::fs::create_dir(at("directory")).unwrap();
        rustix::fs::mknodat(CWD, at("fifo"), rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        for name in ["link", "directory", "fifo"] {
            assert!(open_own(&at(name)).is_err() && append_own(&at(name)).is_err(), "{name}");
        }
        assert!(!at("elsewhere").exists());
    }

    #[test]
    fn only_a_regular_file_of_bounded_length_is_read_and_nothing_is_waited_for() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        std::fs::write(at("file"), "12345").unwrap();
        assert_eq!(read(&at("file"), 5).unwrap(), b"12345");
        assert_eq!(read(&at("file"), 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read(&at("none"), 4).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(std::process::Command::new("mkfifo").arg(at("fifo")).status().unwrap().success());
        symlink(at("file"), at("link")).unwrap();
        symlink("/dev/zero", at("endless")).unwrap();
        std::fs::create_dir(at("dir")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        for name in ["fifo", "link", "endless", "dir", "socket", "file/below"] {
            let error = read(&at(name), 5).unwrap_err();
            assert!(is_wrong_kind(&error), "{name}: {error:?}");
            assert!(open_dir(&at(name)).is_ok() == (name == "dir"), "{name}");
        }
        assert_eq!(read_linked_text(&at("link"), 5).unwrap(), "12345");
        assert!(read_linked_text(&at("endless"), 5).is_err() && read_linked_text(&at("fifo"), 5).is_err());
    }

    #[test]
    fn a_directory_is_listed_up_to_a_bound() {
        let place = tempfile::tempdir().unwrap();
        for n in 0..5 {
            std::fs::write(place.path().join(n.to_string()), "").unwrap();
        }
        let count = |most| names(place.path(), most).map(|listed| (listed.names.len(), listed.more)).unwrap();
        assert_eq!((count(5), count(4)), ((5, false), (4, true)));
        assert_eq!(names(&place.path().join("none"), 1).unwrap(), Names::default());
        assert!(names(&place.path().join("0"), 1).is_err());
    }
}
