//! Faults of a gate that are not the work's: the base is red in the same way, or this machine cannot judge it at all.

use serde::{Deserialize, Serialize};

use super::{GateOutcome, GateReport, GateResult};
use crate::domain::outcome::EndReason;

/// Cause of a red result other than the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateFault {
    /// The base commit is red in the same way.
    Base,
    /// The base commit cannot be judged either: something is missing on this machine or in the gate's definition.
    Machine,
}

impl GateFault {
    /// Returns a warning about a result of which this is the cause, for people.
    pub fn warning(self, result: &GateResult) -> String {
        let (name, summary) = (&result.name, &result.summary);
        match self {
            Self::Base => {
                format!("gate {name} is red on the base already: {summary}; mend it on the base branch")
            }
            Self::Machine => format!(
                "gate {name} cannot be judged on the base either: {summary}; mend its definition or this machine"
            ),
        }
    }
}

impl GateReport {
    /// Returns warnings about gates that are red through no fault of the work.
    pub fn fault_warnings(&self) -> Vec<String> {
        self.results.iter().filter_map(|result| Some(result.fault?.warning(result))).collect()
    }

    /// Returns the reason with which the agent ends, when nothing that is red lies on its work: then there is nothing that it
    /// could repair.
    pub fn blameless_end(&self) -> Option<EndReason> {
        let is_red = |result: &&GateResult| !matches!(result.outcome, GateOutcome::Pass | GateOutcome::Skip);
        let faults: Option<Vec<GateFault>> =
            self.results.iter().filter(is_red).map(|result| result.fault).collect();
        let faults = faults.filter(|faults| !faults.is_empty())?;
        Some(match faults.contains(&GateFault::Machine) {
            true => EndReason::SetupFailed,
            false => EndReason::GatesFailed,
        })
    }
}
