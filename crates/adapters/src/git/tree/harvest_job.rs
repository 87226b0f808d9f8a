//! The server's part in a harvest: it writes down what the program inside the agent's confinement is to do.

use std::io;

use mosaic_core::ports::repositories::{HarvestJob, TreeRequest};

use super::make_tree;
use crate::git::bundle_spec::{Purpose, Spec};
use crate::git::errors::GitError;
use crate::git::repositories::GitRepositories;
use crate::git::{errors, private_files};
use crate::given_outputs;

impl GitRepositories {
    pub(crate) async fn prepare_harvest(
        &self,
        request: &TreeRequest,
        purpose: Purpose,
    ) -> Result<HarvestJob, GitError> {
        self.has_tree(request)?;
        let io = |e: io::Error| errors::io("preparing the harvest", e);
        let kind = if purpose == Purpose::Snapshot { "snapshot-" } else { "harvest-" };
        self.trash
            .discard_in(&self.layout.agent(request.agent), |name| name.starts_with(kind))
            .map_err(io)?;
        // A directory of its own each time: a harvest that was broken off may still be running and write into its own.
        let id = uuid::Uuid::new_v4().simple().to_string();
        let dir = self.layout.agent(request.agent).join(format!("{kind}{}", &id[..8]));
        let outbox = dir.join("outbox");
        private_files::private_dir(&outbox).map_err(io)?;
        let (git, path) = self.git.program();
        let spec = Spec {
            tree: self.layout.tree(request.agent),
            inode: self.tree_inode(request.agent),
            outbox: outbox.clone(),
            shared: self.layout.bare_repository(&request.repository).join("objects"),
            base: request.base.to_string(),
            branch: request.branch.to_string(),
            checked_out: self.layout.checked_out(request.agent),
            given_tags: self.layout.given_tags(request.agent),
            outputs: given_outputs::read(&self.layout.agent(request.agent)),
            trailers: make_tree::trailers(&request.task, &request.agent.to_string()),
            author: self.author.clone(),
            git,
            path,
            purpose,
            // Found out on this side, once per base: inside the confinement every harvest would have to walk all trees for
            // it.
            rewrite: self.has_duplicates(&request.repository, &request.base).await?,
        };
        let path = dir.join("spec.json");
        let text = serde_json::to_vec(&spec)
            .map_err(|e| errors::io("preparing the harvest", io::Error::other(e)))?;
        private_files::write_atomic(&path, &text).map_err(io)?;
        let command = vec![
            self.self_exe.to_string_lossy().into_owned(),
            "harvest".to_owned(),
            path.to_string_lossy().into_owned(),
        ];
        Ok(HarvestJob { command, env: Vec::new(), outbox })
    }
}
