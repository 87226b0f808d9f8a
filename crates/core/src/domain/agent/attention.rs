//! Decisions that a person is asked for, and the answers they take.

use serde::{Deserialize, Serialize};

use crate::domain::ids::Timestamp;

/// A decision that a person is asked for. The list of kinds is closed; supervision raises `stalled` by itself, runtimes may raise
/// others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attention {
    /// Kind of the decision.
    pub kind: AttentionKind,
    /// One line for people.
    pub summary: String,
    /// Since when.
    pub since: Timestamp,
}

/// The kinds of decisions a person may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words are the documentation")]
pub enum AttentionKind {
    Permission,
    Question,
    Plan,
    GateFailed,
    Stalled,
    Budget,
    Conflict,
    Secret,
    Auth,
    Lost,
    Quota,
}

impl AttentionKind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::Permission,
        Self::Question,
        Self::Plan,
        Self::GateFailed,
        Self::Stalled,
        Self::Budget,
        Self::Conflict,
        Self::Secret,
        Self::Auth,
        Self::Lost,
        Self::Quota,
    ];

    /// Returns the word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Permission => "permission",
            Self::Question => "question",
            Self::Plan => "plan",
            Self::GateFailed => "gate_failed",
            Self::Stalled => "stalled",
            Self::Budget => "budget",
            Self::Conflict => "conflict",
            Self::Secret => "secret",
            Self::Auth => "auth",
            Self::Lost => "lost",
            Self::Quota => "quota",
        }
    }

    /// Returns the answers that a decision of this kind takes.
    pub fn answers(self) -> &'static [AttentionAnswer] {
        match self {
            Self::Stalled => &[AttentionAnswer::Wait, AttentionAnswer::Kill],
            _ => &[AttentionAnswer::Kill],
        }
    }
}

/// An answer to a decision that a person was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttentionAnswer {
    /// The silent agent gets the whole time again.
    Wait,
    /// The agent ends.
    Kill,
}

impl AttentionAnswer {
    /// Every answer.
    pub const ALL: [Self; 2] = [Self::Wait, Self::Kill];

    /// Returns the word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Kill => "kill",
        }
    }
}

/// The last answer that let an agent continue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnsweredAttention {
    /// Kind of the decision.
    pub kind: AttentionKind,
    /// Time since when a person was asked.
    pub since: Timestamp,
    /// The answer.
    pub answer: AttentionAnswer,
    /// Origin of the answer.
    pub by: String,
    /// Time of the answer.
    pub at: Timestamp,
}
