//! A reader of a JSON body that collects every fault with a pointer to its field.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::domain::characters::hidden_in;
use crate::domain::ids::{InvalidName, Word};

/// One fault of a request: where, a stable code, and what to say to a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// JSON pointer to the field (RFC 6901).
    pub pointer: String,
    /// `required`, `type`, `invalid`, `unknown`, `range`, `transport`.
    pub code: String,
    /// Description of the fault, as a lower-case fragment.
    pub message: String,
}

/// Collects the faults of one body while it is taken apart field by field.
pub(crate) struct Reader<'a> {
    at: String,
    fields: &'a Map<String, Value>,
    pub(crate) errors: Vec<FieldError>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(at: &str, fields: &'a Map<String, Value>, known: &[&str]) -> Self {
        let mut reader = Self { at: at.to_owned(), fields, errors: Vec::new() };
        for key in fields.keys().filter(|key| !known.contains(&key.as_str())) {
            let shown: String = key.chars().take(64).flat_map(char::escape_default).collect();
            let hint = match closest(key, known) {
                Some(near) => format!("unknown field \"{shown}\" (did you mean \"{near}\"?)"),
                None => format!("unknown field \"{shown}\"; known are: {}", known.join(", ")),
            };
            reader.fault(&escape_pointer(key), "unknown", hint);
        }
        reader
    }

    pub(crate) fn fault(&mut self, field: &str, code: &str, message: impl Into<String>) {
        let pointer = format!("{}/{field}", self.at);
        self.errors.push(FieldError { pointer, code: code.to_owned(), message: message.into() });
    }

    /// Returns the field's value; `null` counts as absent.
    pub(crate) fn get(&self, field: &str) -> Option<&'a Value> {
        self.fields.get(field).filter(|v| !v.is_null())
    }

    pub(crate) fn text(&mut self, field: &str, required: bool) -> Option<&'a str> {
        match self.get(field) {
            Some(Value::String(text)) => Some(text),
            Some(_) => {
                self.fault(field, "type", "must be a string");
                None
            }
            None => {
                if required {
                    self.fault(field, "required", "is required");
                }
                None
            }
        }
    }

    pub(crate) fn name<T: std::str::FromStr<Err = InvalidName>>(
        &mut self,
        field: &str,
        required: bool,
    ) -> Option<T> {
        let text = self.text(field, required)?;
        match text.parse() {
            Ok(name) => Some(name),
            Err(e) => {
                self.fault(field, "invalid", e.to_string());
                None
            }
        }
    }

    /// Reads a word out of a closed list.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        field: &str,
        required: bool,
        all: &[T],
        word: fn(T) -> &'static str,
    ) -> Option<T> {
        let text = self.text(field, required)?;
        let found = all.iter().copied().find(|&one| word(one) == text);
        if found.is_none() {
            let words: Vec<&str> = all.iter().map(|&one| word(one)).collect();
            let near = closest(text, &words).map_or(String::new(), |near| format!(" (did you mean {near}?)"));
            self.fault(field, "invalid", format!("must be one of {}{near}", words.join(", ")));
        }
        found
    }

    pub(crate) fn number(&mut self, field: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let value = self.get(field)?;
        match value.as_u64() {
            Some(n) if range.contains(&n) => Some(n),
            _ => {
                let text = format!("must be a whole number from {} to {}", range.start(), range.end());
                self.fault(field, if value.is_number() { "range" } else { "type" }, text);
                None
            }
        }
    }

    pub(crate) fn object(&mut self, field: &str, required: bool) -> Option<&'a Map<String, Value>> {
        match self.get(field) {
            Some(Value::Object(map)) => Some(map),
            Some(_) => {
                self.fault(field, "type", "must be an object");
                None
            }
            None => {
                if required {
                    self.fault(field, "required", "is required");
                }
                None
            }
        }
    }

    pub(crate) fn list(&mut self, field: &str, most: usize) -> Option<Vec<&'a str>> {
        let Some(value) = self.get(field) else { return Some(Vec::new()) };
        let Some(items) = value.as_array() else {
            self.fault(field, "type", "must be a list of strings");
            return None;
        };
        if items.len() > most {
            self.fault(field, "range", format!("must have at most {most} entries"));
            return None;
        }
        let mut out = Vec::new();
        for (i, item) in items.iter().enumerate() {
            match item.as_str() {
                Some(text) => out.push(text),
                None => self.fault(&format!("{field}/{i}"), "type", "must be a string"),
            }
        }
        Some(out)
    }

    pub(crate) fn words(&mut self, field: &str, most: usize) -> Vec<Word> {
        let mut out = Vec::new();
        for (i, text) in self.list(field, most).unwrap_or_default().into_iter().enumerate() {
            match text.parse::<Word>() {
                Ok(word) => out.push(word),
                Err(e) => self.fault(&format!("{field}/{i}"), "invalid", e.to_string()),
            }
        }
        out
    }
}

pub(crate) fn escape_pointer(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Returns the known word nearest to what was typed, when it is near enough to be meant.
pub fn closest<'a>(typed: &str, known: &[&'a str]) -> Option<&'a str> {
    if typed.len() > 64 {
        return None;
    }
    let typed = typed.to_lowercase();
    let near = |word: &&'a str| (strsim::damerau_levenshtein(&typed, &word.to_lowercase()), *word);
    known
        .iter()
        .map(near)
        .min()
        .filter(|(distance, word)| *distance <= 1 + word.len() / 4)
        .map(|(_, word)| word)
}

/// Faults of a text that goes to an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum ProseError {
    #[error("must not be empty")]
    Empty,
    #[error("is longer than {0} bytes")]
    TooLong(usize),
    #[error("must not contain control or invisible formatting characters")]
    Hidden,
}

/// Text that goes to an agent may have line breaks and tabs, but no other control characters.
pub(crate) fn check_prose(text: &str, most: usize) -> Result<(), ProseError> {
    if text.trim().is_empty() {
        return Err(ProseError::Empty);
    }
    if text.len() > most {
        return Err(ProseError::TooLong(most));
    }
    if hidden_in(text).any(|(c, hidden)| hidden && !matches!(c, '\n' | '\r' | '\t')) {
        return Err(ProseError::Hidden);
    }
    Ok(())
}
