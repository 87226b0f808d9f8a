//! An answer of the contract, read strictly: `{approved, gate, message?, details?, results?}`. What is not one is a fault.

use mosaic_api::CheckRequest;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::fault::CheckFault;
use super::http::Answer;
use super::identity;
use super::marks::{self, Marked};
use mosaic_core::domain::gates::GateOutcome;

/// The words of a coordinator.
#[derive(Debug, Deserialize)]
pub(super) struct Said {
    /// The verdict. Nothing stands for it when it is missing.
    pub(super) approved: bool,
    /// The gate that decided.
    #[serde(default)]
    pub(super) gate: Option<String>,
    /// One line for people.
    #[serde(default)]
    pub(super) message: Option<String>,
    /// Anything more.
    #[serde(default)]
    pub(super) details: Value,
    /// Results by gate.
    #[serde(default)]
    pub(super) results: Value,
    /// Fields that the contract does not have.
    #[serde(flatten)]
    more: Map<String, Value>,
}

impl Said {
    /// Reads an answer and makes sure that it is about what was asked and agrees with itself.
    pub(super) fn read(answer: &Answer, asked: &CheckRequest) -> Result<Self, CheckFault> {
        if !is_json(&answer.content_type) {
            let shown = answer.content_type.chars().filter(|c| !c.is_control()).take(80).collect();
            return Err(CheckFault::ContentType(shown));
        }
        let said: Self = serde_json::from_slice(&answer.body).map_err(CheckFault::NoJson)?;
        for part in [&Value::Object(said.more.clone()), &said.details, &said.results] {
            identity::check(part, asked)?;
        }
        let red = said.marked().into_iter().find(|marked| marked.is_red());
        if let Some(red) = red.filter(|_| said.approved) {
            let outcome = red.outcome.unwrap_or(GateOutcome::Error);
            return Err(CheckFault::Contradiction(format!(
                "it approves, and its result of {} is {outcome:?}",
                red.name.chars().filter(|c| !c.is_control()).take(64).collect::<String>()
            )));
        }
        Ok(said)
    }

    /// Returns the results of single gates.
    pub(super) fn marked(&self) -> Vec<Marked<'_>> {
        marks::of(&self.results)
    }
}

fn is_json(content_type: &str) -> bool {
    let name = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    name == "application/json" || (name.starts_with("application/") && name.ends_with("+json"))
}
