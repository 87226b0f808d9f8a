//! Spawn requests of callers. [`SpawnSpec::parse`] turns the JSON body of a spawn into a value that is right by
//! construction, and names every fault at once, each with a pointer to the field (RFC 6901).

mod allowed_secrets;
mod choices;
mod parse;
mod reader;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::choices::{AgentType, GateProfile, Priority};
pub use self::reader::{FieldError, closest};
use super::ids::{BranchName, TaskId, Word};
use super::repository::RepositoryUrl;
use super::retry::Backoff;
use super::secrets::AllowedSecret;
use super::spent::Spent;
use crate::limits;

/// Caps on what an agent may spend.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// US dollars, above 0. Passed to runtimes that report cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd: Option<f64>,
    /// Model turns, at least 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turns: Option<u32>,
}

/// Reasons why no further run fits a budget.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum BudgetSpent {
    /// Too little is left of the US dollars.
    #[error("${used:.2} of its ${cap:.2} are used up, and ${left:.2} are not enough for another run")]
    Usd {
        /// Dollars that earlier runs used.
        used: f64,
        /// Dollars that all runs may use.
        cap: f64,
        /// Dollars that are left.
        left: f64,
    },
    /// No turn is left.
    #[error("all of its {cap} turns are used up")]
    Turns {
        /// Turns that all runs may use.
        cap: u32,
    },
}

impl Budget {
    /// Returns what is left for the next run after this was used up, or why nothing worth a run is: less than a tenth of
    /// a cap on dollars would end the run within its first calls, and its work with it.
    pub fn less(self, spent: Spent) -> Result<Self, BudgetSpent> {
        let micros = |usd: f64| (usd * 1e6).round();
        let usd = self.usd.map(|cap| (cap - spent.usd).max(0.0));
        if let (Some(cap), Some(left)) = (self.usd, usd)
            && spent.usd > 0.0
            && micros(left) * limits::BUDGET_PART <= micros(cap)
        {
            return Err(BudgetSpent::Usd { used: spent.usd, cap, left });
        }
        let turns = self.turns.map(|cap| cap.saturating_sub(spent.turns));
        if let (Some(cap), Some(0)) = (self.turns, turns) {
            return Err(BudgetSpent::Turns { cap });
        }
        // The last digits of sums of dollars are noise.
        Ok(Self { usd: usd.map(|left| micros(left) / 1e6), turns })
    }
}

/// Where the work is and what it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Context {
    /// The repository the agent works in.
    pub repository: RepositoryUrl,
    /// The base branch.
    pub branch: BranchName,
    /// Ids or texts, at least one.
    pub work_items: Vec<String>,
    /// Names of skills to make visible to the agent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skills: Vec<Word>,
    /// Free text for the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
}

/// A spawn request that was looked at in every field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpawnSpec {
    /// The caller's name for the work.
    pub task_id: TaskId,
    /// Purpose of the agent.
    pub agent_type: AgentType,
    /// Which gates judge it; the type's default when the caller named none.
    pub gate_profile: GateProfile,
    /// The list of a `custom` profile; empty otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<Word>,
    /// Repository, branch, work.
    pub context: Context,
    /// 1 runs first.
    #[serde(default)]
    pub priority: Priority,
    /// Automatic retries after the first attempt.
    pub max_retries: u32,
    /// The pauses before them; the usual ones when not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// Largest number of fix rounds: of times that findings go back to the agent.
    pub max_fix_rounds: u32,
    /// Seconds one attempt may take from its launch on.
    pub timeout_seconds: u64,
    /// The runtime asked for; the node's default when not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Word>,
    /// The model asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Caps on spending.
    #[serde(default)]
    pub budget: Budget,
    /// Free labels for filtering.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<Word, String>,
    /// Labels that the node must have on which it runs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_labels: BTreeMap<Word, String>,
    /// Findings of the secret scan that the operator allows, each with a reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_secrets: Vec<AllowedSecret>,
}
