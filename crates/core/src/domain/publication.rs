//! Knowledge about an agent's branch on the remote. A push can be broken off in the middle, and its remote can say one
//! thing and do another; so "pushed" counts only once the remote has shown the commit.

use serde::{Deserialize, Serialize};

use super::ids::CommitId;

/// Knowledge about the agent's commit on the remote.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "camelCase")]
pub enum Publication {
    /// No push was begun.
    #[default]
    None,
    /// A push was begun, and the remote has not shown since then that it has the commit, nor that it never will.
    MayBeThere {
        /// The commit.
        commit: CommitId,
    },
    /// The remote showed the commit on the agent's branch, or on the base branch.
    There {
        /// The commit.
        commit: CommitId,
    },
    /// The remote does not have the commit, and no push that could still arrive is under way.
    NotThere {
        /// The commit.
        commit: CommitId,
    },
}

impl Publication {
    /// Tells whether a push was begun of which the end is not known.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::MayBeThere { .. })
    }

    /// Returns the commit that it is about.
    pub fn commit(&self) -> Option<&CommitId> {
        match self {
            Self::None => None,
            Self::MayBeThere { commit } | Self::There { commit } | Self::NotThere { commit } => Some(commit),
        }
    }

    /// Records the answer of a remote that was asked. Without an answer, nothing changes.
    #[must_use]
    pub fn after(self, look: &RemoteLook) -> Self {
        match (look, self) {
            (RemoteLook::Shows(commit), _) => Self::There { commit: commit.clone() },
            (RemoteLook::Absent, Self::MayBeThere { commit }) => Self::NotThere { commit },
            (_, same) => same,
        }
    }
}

/// The answer of a remote about commits that were pushed to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteLook {
    /// It was not asked, did not answer, or a push may still be arriving there.
    Unknown,
    /// It has this commit.
    Shows(CommitId),
    /// It has none of them.
    Absent,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_of_the_remote_changes_what_is_known() {
        let commit = |digit: &str| digit.repeat(40).parse::<CommitId>().unwrap();
        let open = Publication::MayBeThere { commit: commit("a") };
        assert_eq!(open.clone().after(&RemoteLook::Unknown), open);
        assert_eq!(open.clone().after(&RemoteLook::Absent), Publication::NotThere { commit: commit("a") });
        let shown = open.after(&RemoteLook::Shows(commit("b")));
        assert_eq!(shown, Publication::There { commit: commit("b") });
        assert_eq!(shown.clone().after(&RemoteLook::Absent), shown, "shown once is shown");
        assert_eq!(Publication::None.after(&RemoteLook::Absent), Publication::None);
        assert_eq!(serde_json::to_string(&Publication::None).unwrap(), r#"{"state":"none"}"#);
    }
}
