//! Taking an agent's trees away: renamed at once, deleted in the background. A tree with work that could not be received stays.

use mosaic_core::domain::ids::AgentId;
use mosaic_core::domain::outcome::FailureKind;

use super::{left_beside, set_aside};
use crate::git::errors;
use crate::git::errors::GitError;
use crate::git::repositories::GitRepositories;
use crate::given_outputs;

impl GitRepositories {
    pub(crate) fn remove_now(&self, agent: AgentId) -> Result<(), GitError> {
        let ours = |name: &str| {
            name == "tree"
                || name == "tree.json"
                || name.starts_with("tree.index")
                || name == "tree.tags"
                || name == given_outputs::NAME
                || name.starts_with("harvest-")
                || name.starts_with("snapshot-")
                || name.starts_with("judge-")
        };
        self.spare(agent).map_err(|e| errors::io("setting the agent's tree aside", e))?;
        self.keep_repositories(agent)
            .map_err(|e| errors::io("keeping the repositories in the agent's tree", e))?;
        self.trash
            .discard_in(&self.layout.agent(agent), ours)
            .map_err(|e| errors::io("taking the agent's trees away", e))?;
        let aside = self.set_aside_trees(agent);
        if aside.is_empty() {
            return Ok(());
        }
        let names = aside.join(", ");
        let why = format!(
            "work that could not be received is in agents/{agent}/: {names}; look at it, then remove it by hand"
        );
        Err(GitError::refused(FailureKind::Internal, why))
    }

    pub(crate) fn abandon_now(&self, agent: AgentId) -> Result<u64, GitError> {
        let aside = self.set_aside_trees(agent);
        let given_up = |name: &str| {
            aside.iter().any(|one| one == name)
                || set_aside::is_of_set_aside(name.as_ref())
                || name == left_beside::REPOSITORIES
        };
        let failed = |e: std::io::Error| errors::io("taking the agent's set-aside trees away", e);
        self.trash.discard_in(&self.layout.agent(agent), given_up).map_err(failed)?;
        self.remove_now(agent)?;
        self.discard_beside(agent).map_err(failed)
    }
}
