//! `[[quarantine]]`: tests whose changing results are tolerated, each with an owner, a reason and a last day.

use mosaic_core::domain::gates::Quarantined;
use mosaic_core::domain::ids::Timestamp;
use mosaic_core::limits;
use toml::Spanned;
use toml::de::DeValue;

use super::{ConfigError, Reader, line_of};

const FIELDS: &[&str] = &["test", "owner", "reason", "expires"];

/// One entry with its line.
#[derive(Debug, Clone)]
pub(in crate::gates_local) struct Entry {
    line: usize,
    test: Quarantined,
}

impl Reader<'_> {
    pub(super) fn quarantine(&mut self, value: &Spanned<DeValue<'_>>) -> Result<(), ConfigError> {
        let DeValue::Array(list) = value.get_ref() else {
            return self.fault(value.span().start, "`quarantine` must be a list of tables: [[quarantine]]");
        };
        if list.len() > limits::QUARANTINED {
            return self
                .fault(value.span().start, format!("more than {} quarantined tests", limits::QUARANTINED));
        }
        for entry in list {
            let entry = self.quarantined(entry)?;
            self.config.quarantine.push(entry);
        }
        Ok(())
    }

    fn quarantined(&self, entry: &Spanned<DeValue<'_>>) -> Result<Entry, ConfigError> {
        let start = entry.span().start;
        let DeValue::Table(fields) = entry.get_ref() else {
            return self.fault(start, "a quarantined test must be a table: [[quarantine]]");
        };
        let mut texts = [const { String::new() }; 4];
        for (key, value) in fields {
            let name = key.get_ref().as_ref();
            let Some(field) = FIELDS.iter().position(|field| *field == name) else {
                return self.unknown(key.span().start, "key", name, FIELDS);
            };
            texts[field] = self.string(name, value)?.trim().to_owned();
        }
        if let Some(empty) = texts.iter().position(String::is_empty) {
            return self.fault(start, format!("a quarantined test needs `{}`", FIELDS[empty]));
        }
        let [test, owner, reason, expires] = texts;
        if day(&expires).is_none() {
            return self.fault(
                start,
                format!("`expires` must be a day such as 2026-12-31, not `{}`", super::shown(&expires)),
            );
        }
        Ok(Entry { line: line_of(self.text, start), test: Quarantined { test, owner, reason, expires } })
    }
}

/// Returns the tests that are tolerated today. One that is expired is a warning and counts again; one that would be
/// tolerated for too long is a fault.
pub(in crate::gates_local) fn valid(
    entries: Vec<Entry>,
    now: Timestamp,
    warnings: &mut Vec<String>,
) -> Result<Vec<Quarantined>, ConfigError> {
    let mut valid = Vec::new();
    for Entry { line, test } in entries {
        let Some(last) = day(&test.expires) else { continue };
        if last > now.plus(limits::QUARANTINE_LONGEST) {
            let days = limits::QUARANTINE_LONGEST.as_secs() / 86_400;
            let fault = format!("`expires` = {} is more than {days} days ahead", test.expires);
            return Err(ConfigError::Fault { line, fault });
        }
        if last.plus(std::time::Duration::from_secs(86_400)) <= now {
            let Quarantined { test, owner, expires, .. } = &test;
            warnings.push(format!(
                "the quarantine of `{test}` expired on {expires}, so it counts again; ask {owner}"
            ));
            continue;
        }
        valid.push(test);
    }
    Ok(valid)
}

/// Returns the beginning of a day in UTC.
fn day(text: &str) -> Option<Timestamp> {
    let is_day = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    Timestamp::from_rfc3339(&format!("{text}T00:00:00Z")).ok().filter(|_| is_day)
}
