//! Use of an agent's budget.

use serde::{Deserialize, Serialize};

/// Budget that an agent's runs have used up, as far as it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spent {
    /// US dollars.
    #[serde(default)]
    pub usd: f64,
    /// Model turns.
    #[serde(default)]
    pub turns: u32,
}

impl Spent {
    /// Tells whether nothing was used up.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Returns both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { usd: self.usd + other.usd, turns: self.turns.saturating_add(other.turns) }
    }
}
