//! Choices of a spawn request: type, gate profile, priority.

use serde::{Deserialize, Serialize};

use crate::domain::ids::InvalidName;

/// Purpose of an agent. Decides the default gate profile and what "nothing changed" means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentType {
    /// Makes a change; without one it has failed.
    Worker,
    /// Reads and reports; a change is optional.
    Reviewer,
    /// Writes or runs tests; a change is optional.
    Tester,
}

impl AgentType {
    /// All types, in the contract's order.
    pub const ALL: [Self; 3] = [Self::Worker, Self::Reviewer, Self::Tester];

    /// Returns the contract's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Reviewer => "reviewer",
            Self::Tester => "tester",
        }
    }

    /// Returns the profile used when the caller names none.
    pub fn default_profile(self) -> GateProfile {
        match self {
            Self::Worker => GateProfile::Standard,
            Self::Reviewer => GateProfile::Strict,
            Self::Tester => GateProfile::Minimal,
        }
    }
}

/// Which gates judge the work. The lists are in [`GateProfile::gates`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateProfile {
    /// Everything, and a gate without definition fails the agent.
    Strict,
    /// The four that most changes need.
    Standard,
    /// Tests only.
    Minimal,
    /// The caller's own list.
    Custom,
}

impl GateProfile {
    /// All profiles, in the contract's order.
    pub const ALL: [Self; 4] = [Self::Strict, Self::Standard, Self::Minimal, Self::Custom];

    /// Returns the contract's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Standard => "standard",
            Self::Minimal => "minimal",
            Self::Custom => "custom",
        }
    }

    /// Returns the profile's gates in running order (the contract's table); empty for `custom`.
    pub fn gates(self) -> &'static [&'static str] {
        match self {
            Self::Strict => &["typecheck", "lint", "tests", "coverage", "build", "integration", "ai-review"],
            Self::Standard => &["typecheck", "lint", "tests", "coverage"],
            Self::Minimal => &["tests"],
            Self::Custom => &[],
        }
    }
}

/// Urgency of work: 1 (first) to 10 (last), 5 when not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Priority(u8);

impl Priority {
    /// Returns the number, 1–10.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self(5)
    }
}

impl TryFrom<u64> for Priority {
    type Error = InvalidName;
    fn try_from(n: u64) -> Result<Self, InvalidName> {
        match u8::try_from(n) {
            Ok(n @ 1..=10) => Ok(Self(n)),
            _ => Err(InvalidName("must be a whole number from 1 (runs first) to 10".to_owned())),
        }
    }
}

impl From<Priority> for u64 {
    fn from(p: Priority) -> u64 {
        u64::from(p.0)
    }
}
