//! Texts that callers give: requests, keys, names and reasons. They end up in records, events, the audit log, prompts and on
//! branches, where no value that the server keeps secret may stand. One rule for all of them: a request that holds such a value
//! is refused in words that do not repeat it, and in the reason of an order the value is hidden, since an order to
//! stop is never refused because of its reason.

use serde::Serialize;
use serde_json::Value;

use crate::domain::orders::{Barrier, KillOrder, Latch};
use crate::domain::spec::FieldError;
use crate::orchestrator::Orchestrator;
use crate::ports::orders::Filed;
use crate::ports::scanner::SecretScanner;

impl Orchestrator {
    /// Finds the texts of a request that hold a value which the server keeps secret; `at` is the pointer of the request itself.
    /// Every text is looked at wherever it stands, so that a new field needs no line here.
    pub fn known_values_in<T: Serialize>(&self, at: &str, request: &T) -> Vec<FieldError> {
        known_values_in(&*self.ports.scanner, at, request)
    }

    /// Returns a text that must be taken as it comes, such as the reason of an order, with every secret in it hidden.
    pub fn hide(&self, text: String) -> String {
        self.ports.scanner.mask(&text)
    }

    /// Tells whether a text holds a value that the server keeps secret.
    pub fn holds_known_value(&self, text: &str) -> bool {
        holds(&*self.ports.scanner, text)
    }

    /// Hides secrets in the answer to a request that was refused before it could be looked through: faults quote names.
    pub(crate) fn hide_in_faults(&self, errors: Vec<FieldError>) -> Vec<FieldError> {
        let hidden = |fault: FieldError| FieldError {
            pointer: self.hide(fault.pointer),
            message: self.hide(fault.message),
            ..fault
        };
        errors.into_iter().map(hidden).collect()
    }
}

/// Finds the texts of a request that hold a value which the scanner knows as secret; see [`Orchestrator::known_values_in`].
pub(crate) fn known_values_in<T: Serialize>(
    scanner: &dyn SecretScanner,
    at: &str,
    request: &T,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    match serde_json::to_value(request) {
        Ok(value) => look(scanner, at, &value, &mut errors),
        // Cannot happen with what came as JSON; what cannot be looked at is not taken.
        Err(_) => errors.push(fault(at, "cannot be looked through for values that this server keeps secret")),
    }
    errors.dedup();
    errors
}

/// Hides secrets in orders that the command line left: it knows fewer values than the server.
pub(crate) fn hide_in_orders(scanner: &dyn SecretScanner, mut filed: Filed) -> Filed {
    let barrier = filed.orders.barrier.as_mut().map(|Barrier { reason, .. }| reason);
    let latch = filed.orders.latch.as_mut().map(|Latch { reason, .. }| reason);
    let kills = filed.kills.iter_mut().map(|KillOrder { reason, .. }| reason);
    for text in barrier.into_iter().chain(latch).chain(kills).flatten() {
        *text = scanner.mask(text);
    }
    filed
}

fn holds(scanner: &dyn SecretScanner, text: &str) -> bool {
    scanner.scan(None, text).iter().any(|found| found.known)
}

fn fault(pointer: &str, message: &str) -> FieldError {
    FieldError { pointer: pointer.to_owned(), code: "invalid".to_owned(), message: message.to_owned() }
}

/// Looks through a value. A field whose name holds a known value is told by the object around it, and so is one whose name and
/// value hold it together, as a label does that is shown as `name=value`.
fn look(scanner: &dyn SecretScanner, at: &str, value: &Value, errors: &mut Vec<FieldError>) {
    const HELD: &str = "holds a value that this server keeps secret, and what is asked for is recorded, shown and given to agents; \
                        name the secret instead of repeating it, and let the agent read it from a variable (MOSAIC_AGENT_ENV)";
    match value {
        Value::String(text) if holds(scanner, text) => errors.push(fault(at, HELD)),
        Value::Array(items) => {
            let before = errors.len();
            for (n, item) in items.iter().enumerate() {
                look(scanner, &format!("{at}/{n}"), item, errors);
            }
            // Lists are shown in one line: a value cut into their items is read there as a whole.
            let texts: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            if errors.len() == before && texts.len() > 1 && holds(scanner, &texts.join("\n")) {
                errors.push(fault(at, HELD));
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                let pair = field.as_str().map_or_else(|| name.clone(), |text| format!("{name}={text}"));
                let inside = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
                if holds(scanner, name) {
                    errors.push(fault(at, HELD));
                } else if field.as_str().is_none_or(|text| holds(scanner, text)) {
                    look(scanner, &inside, field, errors);
                } else if holds(scanner, &pair) {
                    errors.push(fault(at, HELD));
                }
            }
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ports::scanner::Secret;

    /// Knows one value.
    struct Knows(&'static str);

    impl SecretScanner for Knows {
        fn scan(&self, _: Option<&str>, text: &str) -> Vec<Secret> {
            let text = text.replace('\n', "");
            let start = text.find(self.0);
            let secret = |start: usize| Secret {
                rule: "known".to_owned(),
                line: 1,
                masked: "[X]".to_owned(),
                span: (start, start + self.0.len()),
                pieces: Vec::new(),
                known: true,
            };
            start.map(secret).into_iter().collect()
        }
    }

    #[test]
    fn every_text_of_a_request_is_looked_at_and_named_without_being_repeated() {
        let request = json!({
            "plain": "nothing", "n": 5, "deep": [{"a": "x"}, {"a/b": "the SECRET here"}],
            "labels": {"mySECRET": "v", "half": "v"}, "joined": {"SEC": "x"}, "cut": ["SEC", "RET"],
        });
        let mut errors = Vec::new();
        look(&Knows("SECRET"), "", &request, &mut errors);
        let pointers: Vec<&str> = errors.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/cut", "/deep/1/a~1b", "/labels"]);
        assert!(errors.iter().all(|fault| !fault.message.contains("SECRET")));
        let mut errors = Vec::new();
        look(&Knows("SEC=x"), "", &request, &mut errors);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].pointer, "/joined");
    }
}
