//! Status and phase: projections of an agent's state for people and programs.

use serde::{Deserialize, Serialize};

/// The contract's five words. A terminal one never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Admitted, never run yet.
    Spawning,
    /// Ran at least once; backoff and later attempts included.
    Running,
    /// Ended well.
    Completed,
    /// Ended badly.
    Failed,
    /// Was ended by an order.
    Killed,
}

impl Status {
    /// All words, in the contract's order.
    pub const ALL: [Self; 5] = [Self::Spawning, Self::Running, Self::Completed, Self::Failed, Self::Killed];

    /// Returns the contract's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Spawning => "spawning",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Killed => "killed",
        }
    }

    /// Tells whether nothing can follow.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Killed)
    }
}

/// Where an agent is inside its life. A closed list on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are the documentation")]
pub enum Phase {
    Queued,
    Checkout,
    Starting,
    Working,
    Waiting,
    Committing,
    Gating,
    Publishing,
    Backoff,
    Killing,
    Settled,
}

impl Phase {
    /// Returns the word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Checkout => "checkout",
            Self::Starting => "starting",
            Self::Working => "working",
            Self::Waiting => "waiting",
            Self::Committing => "committing",
            Self::Gating => "gating",
            Self::Publishing => "publishing",
            Self::Backoff => "backoff",
            Self::Killing => "killing",
            Self::Settled => "settled",
        }
    }
}
