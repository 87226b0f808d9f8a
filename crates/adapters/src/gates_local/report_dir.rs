//! The directory that a gate writes its reports into: `{reports}` in its command and in the paths of its reports.
//!
//! It is made for one run of one gate, outside of the checkout, with a name that nobody can foresee, and read by the handle
//! that was opened when it was made: whatever the judged code puts in its place is not read.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mosaic_core::domain::gates::GateDefinition;
use rustix::fs::{AtFlags, Mode, OFlags};

/// The part of a command, or of a report's path, that stands for the directory.
pub(super) const TEMPLATE: &str = "{reports}";

/// A directory for the reports of one run.
#[derive(Debug, Clone)]
pub(super) struct ReportDir {
    /// Its path, as the gate's commands see it.
    path: PathBuf,
    handle: Arc<OwnedFd>,
}

/// Tells whether a gate writes or reads reports by the template.
pub(super) fn wanted(gate: &GateDefinition) -> bool {
    gate.run.as_deref().is_some_and(|run| run.contains(TEMPLATE))
        || gate.reports.iter().any(|report| inner(&report.path).is_some())
}

/// Returns the path of a report within the directory; `None` when it is one in the checkout.
pub(super) fn inner(path: &str) -> Option<&str> {
    path.strip_prefix(TEMPLATE)?.strip_prefix('/')
}

impl ReportDir {
    /// Makes the directory inside a gate's private one, which its commands can write to. It belongs to the owner of that one.
    pub(super) fn create(private: &Path, inside: &Path) -> io::Result<Self> {
        // The name says nothing about a judgement, and is not to be guessed by what runs before it is made.
        let name = uuid::Uuid::new_v4().simple().to_string();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let parent = rustix::fs::open(private, flags, Mode::empty())?;
        rustix::fs::mkdirat(&parent, name.as_str(), Mode::RWXU)?;
        let handle = rustix::fs::openat(&parent, name.as_str(), flags, Mode::empty())?;
        let (owner, own) = (rustix::fs::fstat(&parent)?, rustix::fs::fstat(&handle)?);
        // A gate may run as another user than the server: then the private directory is that user's.
        if (owner.st_uid, owner.st_gid) != (own.st_uid, own.st_gid) {
            let (uid, gid) =
                (rustix::fs::Uid::from_raw(owner.st_uid), rustix::fs::Gid::from_raw(owner.st_gid));
            rustix::fs::chownat(&handle, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
        }
        Ok(Self { path: inside.join(name), handle: Arc::new(handle) })
    }

    /// Returns a command with the template replaced by the directory, quoted for a shell where its path needs that.
    pub(super) fn command(&self, run: &str) -> String {
        let path = self.path.to_string_lossy();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_');
        match path.chars().all(plain) {
            // Without quotes it can stand inside quotes of the command's own.
            true => run.replace(TEMPLATE, &path),
            false => run.replace(TEMPLATE, &format!("'{}'", path.replace('\'', "'\\''"))),
        }
    }

    /// Tells whether something has this name in it.
    pub(super) fn has(&self, inner: &str) -> bool {
        rustix::fs::statat(&self.handle, inner, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Returns the handle that it is read by.
    pub(super) fn handle(&self) -> &OwnedFd {
        &self.handle
    }
}

#[cfg(test)]
mod tests {
    use super::super::report_file;
    use super::*;

    #[test]
    fn each_directory_is_new_and_commands_name_it() {
        let home = tempfile::tempdir().unwrap();
        let [a, b] = [0, 1].map(|_| ReportDir::create(home.path(), home.path()).unwrap());
        assert_ne!(a.path, b.path);
        let command = a.command("t --junit={reports}/j.xml --cov \"{reports}/l\"");
        let path = a.path.to_str().unwrap();
        assert_eq!(command, format!("t --junit={path}/j.xml --cov \"{path}/l\""));
        let spaced = home.path().join("it's a place");
        std::fs::create_dir(&spaced).unwrap();
        let odd = ReportDir::create(&spaced, &spaced).unwrap();
        let made = std::process::Command::new("sh").args(["-c", &odd.command("touch {reports}/x")]).status();
        assert!(made.unwrap().success() && odd.path.join("x").exists());
    }

    #[test]
    fn what_is_put_in_its_place_is_not_read() {
        let home = tempfile::tempdir().unwrap();
        let directory = ReportDir::create(home.path(), home.path()).unwrap();
        std::fs::write(directory.path.join("j.xml"), "written").unwrap();
        std::fs::rename(&directory.path, home.path().join("moved")).unwrap();
        std::fs::create_dir(&directory.path).unwrap();
        std::fs::write(directory.path.join("j.xml"), "forged").unwrap();
        let read = report_file::read_in(directory.handle(), "j.xml", report_file::Since::ever()).unwrap();
        assert_eq!(read, b"written");
    }
}
