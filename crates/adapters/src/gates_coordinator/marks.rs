//! Results of single gates in an answer. Their form is not part of the contract, so that the usual ones are understood: a list of
//! objects with a name and a word or a yes-or-no, or an object by name.

use mosaic_core::domain::gates::GateOutcome;
use serde_json::{Map, Value};

/// Fields that name a gate.
const NAMES: [&str; 3] = ["name", "gate", "id"];
/// Fields that hold a word.
const WORDS: [&str; 6] = ["outcome", "status", "result", "verdict", "conclusion", "state"];
/// Fields that hold a yes or no.
const FLAGS: [&str; 6] = ["passed", "approved", "success", "ok", "pass", "passing"];

/// Words of an answer about one gate.
#[derive(Debug)]
pub(super) struct Marked<'a> {
    /// Name of the gate.
    pub(super) name: &'a str,
    /// Its outcome; `None` when nothing that is said is understood.
    pub(super) outcome: Option<GateOutcome>,
    /// Everything that is said.
    pub(super) value: &'a Value,
}

impl Marked<'_> {
    /// Tells whether the gate did not let the commit through.
    pub(super) fn is_red(&self) -> bool {
        use GateOutcome as O;
        matches!(self.outcome, Some(O::Fail | O::Error | O::Flaky))
    }
}

/// Reads the results of an answer.
pub(super) fn of(results: &Value) -> Vec<Marked<'_>> {
    match results {
        Value::Array(list) => list.iter().filter_map(element).collect(),
        Value::Object(by_name) => {
            by_name.iter().map(|(name, value)| Marked { name, outcome: outcome(value), value }).collect()
        }
        _ => Vec::new(),
    }
}

fn element(value: &Value) -> Option<Marked<'_>> {
    let fields = value.as_object()?;
    let name = NAMES.iter().find_map(|field| fields.get(*field)?.as_str()).unwrap_or("an unnamed gate");
    Some(Marked { name, outcome: outcome(value), value })
}

/// Returns the worst of what is said.
fn outcome(value: &Value) -> Option<GateOutcome> {
    match value {
        Value::Bool(flag) => Some(of_flag(*flag)),
        Value::String(text) => of_word(text),
        Value::Object(fields) => worst(said(fields)),
        _ => None,
    }
}

fn said(fields: &Map<String, Value>) -> impl Iterator<Item = GateOutcome> {
    let words = WORDS.iter().filter_map(|field| of_word(fields.get(*field)?.as_str()?));
    let flags = FLAGS.iter().filter_map(|field| Some(of_flag(fields.get(*field)?.as_bool()?)));
    words.chain(flags)
}

fn worst(outcomes: impl Iterator<Item = GateOutcome>) -> Option<GateOutcome> {
    use GateOutcome as O;
    let rank = |outcome: &GateOutcome| match outcome {
        O::Error => 4,
        O::Fail => 3,
        O::Flaky => 2,
        O::Skip => 1,
        O::Pass => 0,
    };
    outcomes.max_by_key(rank)
}

fn of_flag(flag: bool) -> GateOutcome {
    if flag { GateOutcome::Pass } else { GateOutcome::Fail }
}

fn of_word(word: &str) -> Option<GateOutcome> {
    use GateOutcome as O;
    Some(match word.to_ascii_lowercase().as_str() {
        "pass" | "passed" | "ok" | "success" | "succeeded" | "approved" | "green" => O::Pass,
        "fail" | "failed" | "failure" | "rejected" | "denied" | "red" | "blocked" => O::Fail,
        "error" | "errored" | "timeout" | "timed_out" | "cancelled" | "canceled" | "crashed" => O::Error,
        "flaky" => O::Flaky,
        "skip" | "skipped" | "undefined" | "not_run" | "notrun" | "incomplete" => O::Skip,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_usual_forms_are_understood_and_the_worst_word_counts() {
        use GateOutcome as O;
        let list = json!([
            {"gate": "lint", "passed": true},
            {"name": "tests", "status": "FAILED"},
            {"name": "both", "passed": true, "outcome": "error"},
            {"name": "odd", "score": 3},
        ]);
        let found: Vec<_> = of(&list).iter().map(|one| (one.name.to_owned(), one.outcome)).collect();
        let wanted =
            [("lint", Some(O::Pass)), ("tests", Some(O::Fail)), ("both", Some(O::Error)), ("odd", None)];
        assert_eq!(found, wanted.map(|(name, outcome)| (name.to_owned(), outcome)));
        let by_name = json!({"lint": true, "tests": "skipped", "coverage": 91.5, "build": {"ok": false}});
        let outcomes: Vec<_> = of(&by_name).iter().map(|one| one.outcome).collect();
        assert_eq!(outcomes.iter().filter(|one| one.is_none()).count(), 1);
        assert!(outcomes.contains(&Some(O::Skip)) && outcomes.contains(&Some(O::Fail)));
        assert!(of(&json!(null)).is_empty() && of(&json!("all well")).is_empty());
    }
}
