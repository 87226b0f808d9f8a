//! Trees that must not go although another one is to take their place: they hold work that could not be received.

use std::fs;
use std::io;

use mosaic_core::domain::ids::AgentId;

use crate::git::private_files;
use crate::git::repositories::GitRepositories;

/// Beginning of the names of trees whose work could not be received.
const SET_ASIDE: &str = "unreceived-";
/// Says that a tree holds something that could not be received, though its HEAD was.
const NOT_KEPT: &str = "tree-not-kept";

/// Tells whether an entry of an agent's directory is about a tree that was set aside.
pub(crate) fn is_of_set_aside(name: &std::ffi::OsStr) -> bool {
    name == NOT_KEPT || name.to_string_lossy().starts_with(SET_ASIDE)
}

impl GitRepositories {
    /// Keeps a tree whose work nobody received out of the way of the next one.
    pub(crate) fn set_aside(&self, agent: AgentId) -> io::Result<()> {
        let tree = self.layout.tree(agent);
        if fs::symlink_metadata(&tree).is_err() {
            return self.mark_tree(agent, true);
        }
        let name = format!("{SET_ASIDE}{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
        tracing::warn!(agent.id = %agent, name, "a tree with work that could not be received is set aside");
        fs::rename(tree, self.layout.agent(agent).join(name))?;
        self.mark_tree(agent, true)
    }

    /// Writes down whether everything in the tree is kept; else it must not go, although its HEAD was received.
    pub(crate) fn mark_tree(&self, agent: AgentId, kept: bool) -> io::Result<()> {
        // A file beside the tree and not a field of the record: whoever removes trees may know nothing of the record.
        let mark = self.layout.agent(agent).join(NOT_KEPT);
        if !kept {
            return private_files::write_atomic(&mark, b"");
        }
        match fs::remove_file(mark) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// Sets a tree aside that must not go; every other is left where it is.
    pub(crate) fn spare(&self, agent: AgentId) -> io::Result<()> {
        match self.layout.agent(agent).join(NOT_KEPT).exists() {
            true => self.set_aside(agent),
            false => Ok(()),
        }
    }

    /// Lists trees of the agent that were set aside.
    pub(crate) fn set_aside_trees(&self, agent: AgentId) -> Vec<String> {
        let entries = fs::read_dir(self.layout.agent(agent)).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| name.starts_with(SET_ASIDE)).collect()
    }
}
