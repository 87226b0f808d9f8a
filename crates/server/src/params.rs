//! Path and query parameters: looked at before use, unknown ones refused with the one that may be meant.

use std::str::FromStr;
use std::time::Duration;

use axum::extract::{FromRequestParts, Query, RawPathParams};
use axum::http::request::Parts;
use mosaic_core::domain::ids::{AgentId, InvalidName, Timestamp};
use mosaic_core::domain::spec::FieldError;

use crate::body::unknown;
use crate::context::Context;
use crate::problem::Problem;

/// The path's parameters, percent-decoded.
pub(crate) struct PathNames(Vec<(String, String)>);

impl FromRequestParts<Context> for PathNames {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, Problem> {
        match RawPathParams::from_request_parts(parts, context).await {
            Ok(raw) => {
                Ok(Self(raw.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
            }
            Err(_) => Err(Problem::field("/path", "the path is not UTF-8")),
        }
    }
}

impl PathNames {
    /// Returns the text of one parameter.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str())
    }

    /// Reads one parameter as what it must be.
    pub(crate) fn get<T: FromStr<Err = InvalidName>>(&self, name: &str) -> Result<T, Problem> {
        self.text(name)
            .parse()
            .map_err(|e: InvalidName| Problem::field(&format!("/path/{name}"), e.to_string()))
    }
}

/// The `{id}` of the path.
pub(crate) struct Id(pub(crate) AgentId);

impl FromRequestParts<Context> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, Problem> {
        PathNames::from_request_parts(parts, context).await?.get("id").map(Self)
    }
}

/// The query's parameters, in the order in which they came.
pub(crate) struct Params(Vec<(String, String)>);

impl FromRequestParts<Context> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Context) -> Result<Self, Problem> {
        match Query::<Vec<(String, String)>>::try_from_uri(&parts.uri) {
            Ok(Query(pairs)) => Ok(Self(pairs)),
            Err(_) => Err(Problem::field("/query", "the query cannot be read")),
        }
    }
}

impl Params {
    /// Starts reading; every parameter that is not in the list is a fault.
    pub(crate) fn reader(&self, known: &[&str]) -> ParamReader<'_> {
        let mut reader = ParamReader { pairs: &self.0, errors: Vec::new() };
        for (name, _) in self.0.iter().filter(|(name, _)| !known.contains(&name.as_str())) {
            reader.fault(name, "unknown", unknown(name, "parameter", known));
        }
        reader
    }
}

/// Collects the faults of a query while it is read.
pub(crate) struct ParamReader<'a> {
    pairs: &'a [(String, String)],
    errors: Vec<FieldError>,
}

impl<'a> ParamReader<'a> {
    pub(crate) fn fault(&mut self, name: &str, code: &str, message: impl Into<String>) {
        let shown: String = name.chars().take(64).flat_map(char::escape_default).collect();
        let pointer = format!("/query/{shown}");
        self.errors.push(FieldError { pointer, code: code.to_owned(), message: message.into() });
    }

    /// Reads a parameter that may be given once. An empty one counts as not given.
    pub(crate) fn text(&mut self, name: &str) -> Option<&'a str> {
        let mut values =
            self.pairs.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let (first, second) = (values.next(), values.next());
        if second.is_some() {
            self.fault(name, "invalid", "is given more than once");
        }
        first.filter(|value| !value.is_empty())
    }

    /// Reads a parameter that is a list: given more than once, or with commas.
    pub(crate) fn words(&self, name: &str) -> Vec<&'a str> {
        let values = self.pairs.iter().filter(|(known, _)| known == name);
        values
            .flat_map(|(_, value)| value.split(','))
            .map(str::trim)
            .filter(|word| !word.is_empty())
            .collect()
    }

    /// Reads a parameter as what it must be.
    pub(crate) fn parsed<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, InvalidName>,
    ) -> Option<T> {
        match parse(self.text(name)?) {
            Ok(value) => Some(value),
            Err(e) => {
                self.fault(name, "invalid", e.to_string());
                None
            }
        }
    }

    /// Reads words out of a closed list.
    pub(crate) fn choices<T: Copy>(&mut self, name: &str, all: &[T], word: fn(T) -> &'static str) -> Vec<T> {
        let mut out = Vec::new();
        for text in self.words(name) {
            match all.iter().copied().find(|&one| word(one) == text) {
                Some(found) => out.push(found),
                None => {
                    let words: Vec<&str> = all.iter().map(|&one| word(one)).collect();
                    self.fault(name, "invalid", unknown(text, "word", &words));
                }
            }
        }
        out
    }

    /// Reads a whole number within bounds.
    pub(crate) fn number(&mut self, name: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let text = self.text(name)?;
        // Digits only: `parse` would take a sign.
        let number = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        let number = number.filter(|n| range.contains(n));
        if number.is_none() {
            self.fault(
                name,
                "range",
                format!("must be a whole number from {} to {}", range.start(), range.end()),
            );
        }
        number
    }

    /// Reads a switch: `1`, `true`, `0`, `false`.
    pub(crate) fn switch(&mut self, name: &str) -> Option<bool> {
        match self.text(name)? {
            "1" | "true" => Some(true),
            "0" | "false" => Some(false),
            _ => {
                self.fault(name, "invalid", "must be 1, true, 0 or false");
                None
            }
        }
    }

    /// Reads an RFC 3339 time.
    pub(crate) fn time(&mut self, name: &str) -> Option<Timestamp> {
        self.parsed(name, Timestamp::from_rfc3339)
    }

    /// Reads a duration such as `50s`, `500ms`, `1m` or a number of seconds, at most `most`.
    pub(crate) fn duration(&mut self, name: &str, most: Duration) -> Option<Duration> {
        let text = self.text(name)?;
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let number = text[..digits].parse::<u64>().ok();
        let millis = number.and_then(|n| match &text[digits..] {
            "ms" => Some(n),
            "" | "s" => n.checked_mul(1000),
            "m" => n.checked_mul(60_000),
            _ => None,
        });
        let found = millis.map(Duration::from_millis).filter(|time| *time <= most);
        if found.is_none() {
            self.fault(name, "range", format!("must be a time such as 30s, at most {} s", most.as_secs()));
        }
        found
    }

    /// Ends reading; every fault at once.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::invalid(self.errors)) }
    }
}
