//! Files that an ended agent leaves on disk and that no commit and no salvage holds as it is: files beside its tree, in its own
//! directory, and repositories that it made in its tree. They are moved to `<data>/beside/<agent>/` at its end and stay
//! there until its record goes.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use mosaic_core::domain::ids::AgentId;
use mosaic_core::limits;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::set_aside;
use crate::bounded_file;
use crate::git::bundle_spec::LeftReport;
use crate::git::handles::{self, open_directory};
use crate::git::layout::{Layout, TREE_GIT};
use crate::git::repositories::GitRepositories;
use crate::git::{errors, private_files, ref_files, ref_names};
use crate::private_place::read_plain;

/// The note beside a tree that names the repositories in it.
pub(crate) const REPOSITORIES: &str = "tree-repositories";
/// The name in the note of the tree's own git directory.
const OWN: &str = ".git";
/// Most names of one kind that are tried before a move is given up.
const TRIES: usize = 100;

/// Tells whether a data directory holds work of an ended agent that is not on its branch: for whoever wants to remove it.
pub fn holds_work(data: &Path, agent: AgentId) -> bool {
    let there = |path: &Path| fs::symlink_metadata(path).is_ok();
    let layout = Layout { data: data.to_owned() };
    let repositories = fs::read_dir(data.join("repos")).into_iter().flatten().flatten();
    there(&layout.beside(agent))
        || there(&layout.agent(agent))
        || repositories
            .into_iter()
            .any(|s| ref_files::read_ref(&s.path(), &ref_names::salvage(agent)).is_some())
}

impl GitRepositories {
    /// Moves everything that is left in the agent's directory out of it, once what is ours is gone; returns the names.
    pub(crate) fn keep_beside_now(&self, agent: AgentId) -> io::Result<Vec<String>> {
        let own = match open_directory(&self.layout.agent(agent)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            own => own?,
        };
        let mut names = Vec::new();
        for entry in fs::read_dir(self.layout.agent(agent))? {
            let name = entry?.file_name();
            if !set_aside::is_of_set_aside(&name) && !name.as_bytes().starts_with(b"harvest-") {
                self.move_beside(agent, &own, &name)?;
                names.push(errors::plain(&name.to_string_lossy()));
            }
        }
        // One that still holds a tree stays.
        let _ = fs::remove_dir(self.layout.agent(agent));
        names.sort();
        names.truncate(limits::NAMED_LEFT);
        Ok(names)
    }

    /// Notes which repositories lie in the tree, and whether its own is to be kept as one of them.
    pub(crate) fn note_repositories(&self, agent: AgentId, left: &LeftReport) -> io::Result<()> {
        let own = left.git_dir.then_some(OWN);
        let paths: Vec<&str> = left.repositories.iter().map(String::as_str).chain(own).collect();
        if paths.is_empty() {
            return Ok(());
        }
        let text = serde_json::to_vec(&paths).map_err(io::Error::other)?;
        private_files::write_atomic(&self.layout.agent(agent).join(REPOSITORIES), &text)
    }

    /// Moves the repositories that were noted out of the tree, which is about to go.
    pub(crate) fn keep_repositories(&self, agent: AgentId) -> io::Result<()> {
        let note = self.layout.agent(agent).join(REPOSITORIES);
        let Ok(text) = read_plain(&note, limits::MARKER_BYTES) else { return Ok(()) };
        let paths: Vec<String> = serde_json::from_slice(&text).unwrap_or_default();
        for path in paths.iter().take(limits::NAMED_LEFT + 1) {
            if path == OWN {
                let tree = open_directory(&self.layout.tree(agent))?;
                self.move_beside_as(agent, &tree, OsStr::new(OWN), OsStr::new(TREE_GIT))?;
                continue;
            }
            let parts: Vec<&str> = path.split('/').collect();
            let (Some((last, above)), true) = (parts.split_last(), parts.iter().all(|p| is_plain(p))) else {
                continue;
            };
            let mut dir = open_directory(&self.layout.tree(agent))?;
            for part in above {
                dir = handles::enter(&dir, part.as_bytes())?;
            }
            self.move_beside(agent, &dir, OsStr::new(last))?;
        }
        match fs::remove_file(note) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    fn move_beside(&self, agent: AgentId, from: &OwnedFd, name: &OsStr) -> io::Result<()> {
        self.move_beside_as(agent, from, name, name)
    }

    /// Renames one entry to the first free name; one that is gone was moved before.
    fn move_beside_as(&self, agent: AgentId, from: &OwnedFd, name: &OsStr, new: &OsStr) -> io::Result<()> {
        let place = self.layout.beside(agent);
        private_files::private_dir(&place)?;
        for n in 0..TRIES {
            let mut to = place.join(new).into_os_string();
            if n > 0 {
                to.push(format!("-{n}"));
            }
            match renameat_with(from, name, CWD, &to, RenameFlags::NOREPLACE) {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                Err(Errno::EXIST) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(io::Error::other(format!("{} holds too many things of the same name", place.display())))
    }

    /// Deletes what was kept beside; returns how many bytes that were.
    pub(crate) fn discard_beside(&self, agent: AgentId) -> io::Result<u64> {
        let place = self.layout.beside(agent);
        let bytes = bytes_below(&place);
        self.trash.discard(&place)?;
        // The last one takes the common directory along.
        let _ = fs::remove_dir(self.layout.all_beside());
        Ok(bytes)
    }

    /// Returns how many bytes are kept beside.
    pub(crate) fn beside_bytes_now(&self, agent: AgentId) -> u64 {
        bytes_below(&self.layout.beside(agent))
    }

    /// Lists the agents of which something is kept beside.
    pub(crate) fn kept_beside(&self) -> Vec<AgentId> {
        bounded_file::agents(&self.layout.all_beside()).map(|(agents, _)| agents).unwrap_or_default()
    }
}

fn is_plain(part: &str) -> bool {
    !part.is_empty() && part != "." && part != ".." && part != ".git"
}

/// Adds up what lies below a directory, links as themselves, as far as [`limits::WALKER_FILES`] entries.
fn bytes_below(place: &Path) -> u64 {
    let (mut total, mut seen) = (0u64, 0usize);
    let mut left = vec![place.to_owned()];
    while let Some(path) = left.pop() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            seen += 1;
            match meta.is_dir() {
                true if seen < limits::WALKER_FILES => left.push(entry.path()),
                true => {}
                false => total = total.saturating_add(meta.len()),
            }
        }
    }
    total
}
