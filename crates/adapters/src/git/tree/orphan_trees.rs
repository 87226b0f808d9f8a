//! Directories of agents looked at without their records: what is there, and what a tree was made from.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use mosaic_core::domain::ids::AgentId;
use mosaic_core::limits;
use mosaic_core::ports::repositories::{StrayTree, TreeRequest};

use super::marker::Marker;
use crate::bounded_file;
use crate::git::repositories::GitRepositories;
use crate::private_place::read_plain;

impl Marker {
    fn request(&self, agent: AgentId) -> Option<TreeRequest> {
        let base: mosaic_core::domain::ids::CommitId = self.base.parse().ok()?;
        Some(TreeRequest {
            agent,
            task: "of a lost record".to_owned(),
            repository: self.repository.parse().ok()?,
            base_branch: self.base_branch.parse().ok()?,
            branch: self.branch.parse().ok()?,
            start: base.clone(),
            base,
            reuse: true,
            unreceived: true,
        })
    }
}

impl GitRepositories {
    /// Lists the agents that have a directory.
    pub(crate) fn present_now(&self) -> io::Result<Vec<AgentId>> {
        let (agents, _) = bounded_file::agents(&self.layout.data.join("agents"))?;
        Ok(agents.into_iter().collect::<BTreeSet<_>>().into_iter().collect())
    }

    /// Looks at an agent's tree. The marker is written last and is beside the tree, so a tree without one was never
    /// handed over.
    pub(crate) fn stray_tree_now(&self, agent: AgentId) -> io::Result<StrayTree> {
        match fs::symlink_metadata(self.layout.tree(agent)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(StrayTree::None),
            found => found.map(drop)?,
        }
        let text = match read_plain(&self.layout.marker(agent), limits::MARKER_BYTES) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(StrayTree::Unused),
            text => text?,
        };
        let marker: Result<Marker, _> = serde_json::from_slice(&text);
        Ok(match marker.as_ref().ok().and_then(|marker| marker.request(agent)) {
            Some(request) => StrayTree::Handed(Box::new(request)),
            None => {
                let file = self.layout.marker(agent);
                let text = format!("{} does not say what the tree beside it was made from", file.display());
                StrayTree::Unknown(text)
            }
        })
    }
}
