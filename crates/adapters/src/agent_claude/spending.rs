//! Budget that a run has used up: results say it exactly; what came after the last one is estimated from the tokens that the
//! model's messages name, so that a run which dies without a result is not free.

use mosaic_core::domain::spent::Spent;
use mosaic_core::limits;
use serde_json::Value;

use super::lines::{self, text};

/// Sums of one run.
#[derive(Debug, Default)]
pub(super) struct Spending {
    /// Sum of the results so far.
    told: Spent,
    /// Since the last result: model turns, tokens of input, of cached input and of output.
    turns: u32,
    input: u64,
    cached: u64,
    output: u64,
    /// The message whose lines come now: each of its blocks is a line with the same usage.
    message: String,
}

impl Spending {
    /// Takes a line of a message of the model.
    pub(super) fn message(&mut self, line: &Value) {
        let Some(usage) = line.pointer("/message/usage").filter(|usage| usage.is_object()) else { return };
        let count = |key: &str| usage.get(key).and_then(Value::as_u64).unwrap_or(0);
        let id = text(line, "/message/id");
        if id.is_empty() || id != self.message {
            id.clone_into(&mut self.message);
            let input = count("input_tokens").saturating_add(count("cache_creation_input_tokens"));
            self.input = self.input.saturating_add(input);
            self.cached = self.cached.saturating_add(count("cache_read_input_tokens"));
            self.turns = self.turns.saturating_add(u32::from(!lines::is_of_subagent(line)));
        }
        // The usage is the one from before the first word, so its output is none.
        let written = line.pointer("/message/content").map_or(0, |content| content.to_string().len());
        self.output = self.output.saturating_add((written / limits::TOKEN_BYTES) as u64);
    }

    /// Takes a result; `cost` is what it adds, when it says so.
    pub(super) fn result(&mut self, line: &Value, cost: Option<f64>) {
        let turns = line.get("num_turns").and_then(Value::as_u64);
        let turns = turns.map_or(self.turns, |turns| u32::try_from(turns).unwrap_or(u32::MAX));
        let usd = cost.unwrap_or_else(|| self.estimate());
        let told = self.told.and(Spent { usd, turns });
        *self = Self { told, ..Self::default() };
    }

    /// Returns what the run has used up so far.
    pub(super) fn spent(&self) -> Spent {
        self.told.and(Spent { usd: self.estimate(), turns: self.turns })
    }

    fn estimate(&self) -> f64 {
        let at = |tokens: u64, usd: f64| tokens as f64 * usd / 1e6;
        at(self.input, limits::UNTOLD_INPUT_USD)
            + at(self.cached, limits::UNTOLD_CACHED_USD)
            + at(self.output, limits::UNTOLD_OUTPUT_USD)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(id: &str, input: u64) -> Value {
        json!({"type": "assistant", "message": {"id": id, "usage": {"input_tokens": input, "output_tokens": 1},
            "content": [{"type": "text", "text": "x"}]}})
    }

    #[test]
    fn what_no_result_told_is_estimated_once_per_message() {
        let mut spending = Spending::default();
        for _ in 0..3 {
            spending.message(&message("a", 1_000_000));
        }
        let seen = spending.spent();
        assert!(seen.turns == 1 && (5.0..5.01).contains(&seen.usd), "{seen:?}");
        spending.result(&json!({"num_turns": 2}), Some(1.5));
        assert_eq!(spending.spent(), Spent { usd: 1.5, turns: 2 });
        spending.message(&message("b", 200_000));
        let seen = spending.spent();
        assert!(seen.turns == 3 && (2.5..2.51).contains(&seen.usd), "{seen:?}");
        spending.result(&json!({}), None);
        assert_eq!(spending.spent().turns, 3);
        assert!((2.5..2.51).contains(&spending.spent().usd), "a result without a cost is not free");
    }

    #[test]
    fn lines_without_usage_cost_nothing() {
        let mut spending = Spending::default();
        spending.message(&json!({"message": {"content": "long text"}}));
        spending.message(&json!({"message": {"usage": 7}}));
        assert!(spending.spent().is_nothing());
    }
}
