//! Arguments and answers of scripts: arguments in the order in which the script takes them, answers that are checked
//! before they are believed.

use mosaic_core::ports::store::StoreError;
use redis::Value;

/// The arguments of a script.
#[derive(Default)]
pub(super) struct Args(Vec<Vec<u8>>);

impl Args {
    /// Adds a text.
    pub(super) fn text(mut self, text: &str) -> Self {
        self.0.push(text.as_bytes().to_vec());
        self
    }

    /// Adds a long text without copying it.
    pub(super) fn long(mut self, text: String) -> Self {
        self.0.push(text.into_bytes());
        self
    }

    /// Adds bytes that need not be text.
    pub(super) fn bytes_of(mut self, bytes: Vec<u8>) -> Self {
        self.0.push(bytes);
        self
    }

    /// Adds a number.
    pub(super) fn number(self, number: u64) -> Self {
        self.long(number.to_string())
    }

    /// Adds a yes or no.
    pub(super) fn flag(self, yes: bool) -> Self {
        self.text(if yes { "1" } else { "0" })
    }

    /// Adds what was put together elsewhere.
    pub(super) fn all(mut self, more: Self) -> Self {
        self.0.extend(more.0);
        self
    }

    /// Returns how many bytes these are.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }

    /// Returns them as they are sent.
    pub(super) fn done(self) -> Vec<Vec<u8>> {
        self.0
    }
}

/// Returns the refusal of an answer that makes no sense.
pub(super) fn strange(what: &str) -> StoreError {
    StoreError::Unavailable(format!(
        "the store's answer to {what} makes no sense; is another program using its keys?"
    ))
}

/// Takes an answer apart that is a list.
pub(super) fn list(value: Value, what: &str) -> Result<Vec<Value>, StoreError> {
    match value {
        Value::Array(values) => Ok(values),
        _ => Err(strange(what)),
    }
}

/// Reads a text; nothing when the value is none.
pub(super) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

/// Reads a number; 0 when the value is none.
pub(super) fn number(value: &Value) -> u64 {
    match value {
        Value::Int(n) => u64::try_from(*n).unwrap_or(0),
        other => text(other).and_then(|text| text.parse().ok()).unwrap_or(0),
    }
}
