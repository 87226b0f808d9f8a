//! The state of an agent's work, from the base commit to the push or the salvage.

use serde::{Deserialize, Serialize};

use crate::domain::gates::{FilteredPath, Finding, GatePlan, GateReport};
use crate::domain::ids::{CommitId, Timestamp};
use crate::domain::publication::Publication;

/// State of the agent's work so far. Survives attempts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Work {
    /// The base commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<CommitId>,
    /// The remote tip of the agent's own branch as recorded at checkout; `None` when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_tip: Option<CommitId>,
    /// The newest commit of the agent that the server's bare repository holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<CommitId>,
    /// The kept commit still waits to be judged or pushed: if an interruption comes now, the agent need not run again.
    #[serde(default)]
    pub unjudged: bool,
    /// The tree may hold work that was not received into the store yet.
    #[serde(default)]
    pub dirty: bool,
    /// Leftovers that could not be cleaned up yet, and the reason; the cleanup is tried again until they are gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleanup_pending: Option<String>,
    /// When the running program times out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// Milliseconds that the attempt's next program may run; the whole `timeoutSeconds` when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_left_ms: Option<u64>,
    /// Findings that are not repaired yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// Judged commits that were about to be pushed, oldest first: the remote may have taken any of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offered: Vec<CommitId>,
    /// The commit that was pushed, by the word of the remote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed: Option<CommitId>,
    /// Knowledge about its commit on the remote.
    #[serde(default)]
    pub publication: Publication,
    /// The runtime's session, for resuming.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The gate plan by which it will be judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Box<GatePlan>>,
    /// The newest judgement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<GateReport>,
    /// Changed paths for whose git filters the work was not published.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filtered: Vec<FilteredPath>,
    /// The agent's last text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// Work that was salvaged under a ref of its own when the agent ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salvage: Option<Salvaged>,
    /// The salvage holds what lay beside the received commits (other branches, stashes): `kept` is at least as new.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub salvage_beside: bool,
}

impl Work {
    /// Tells whether an attempt on record pushed this commit, or was about to.
    pub fn pushed_itself(&self, commit: &CommitId) -> bool {
        let known = [self.pushed.as_ref(), self.publication.commit()];
        self.offered.contains(commit) || known.into_iter().flatten().any(|one| one == commit)
    }
}

/// Work that nobody had received when the agent was ended, kept in the server's bare repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Salvaged {
    /// The ref in the server's bare repository that holds it.
    pub reference: String,
    /// The commit: its tree is the working tree as it was, its parents are HEAD, the index and what else there was.
    pub commit: CommitId,
}
