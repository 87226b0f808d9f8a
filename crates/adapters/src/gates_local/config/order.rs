//! Names in definitions: gates that a gate needs, and variables of the operator's environment that it gets.

use std::collections::BTreeSet;

use mosaic_core::domain::ids::Word;
use mosaic_core::domain::spec::GateProfile;
use mosaic_core::limits;
use toml::Spanned;
use toml::de::DeValue;

use super::{ConfigError, Reader, shown};

/// Variables that each gate has for itself.
const OF_THE_GATE: [&str; 4] = ["HOME", "PATH", "TMPDIR", "PWD"];

impl Reader<'_> {
    /// Reads the names of gates.
    pub(super) fn needs(
        &mut self,
        gate: &Word,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<Vec<Word>, ConfigError> {
        let at = value.span().start;
        let mut needs = Vec::new();
        for entry in self.list("needs", value)? {
            needs.push(self.name(self.string("needs", entry)?, entry.span().start)?);
        }
        // They are checked once the whole file was read: a gate may stand below the one that needs it.
        self.needs.push((gate.clone(), needs.clone(), at));
        Ok(needs)
    }

    /// Reads the names of variables.
    pub(super) fn variables(&self, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, ConfigError> {
        let mut names = Vec::new();
        for entry in self.list("env", value)? {
            let name = self.string("env", entry)?;
            let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            if name.is_empty() || !name.bytes().all(is_part) || name.starts_with(|c: char| c.is_ascii_digit())
            {
                let fault = format!(
                    "`{}` is no name of a variable; only names are given here, not values",
                    shown(name)
                );
                return self.fault(entry.span().start, fault);
            }
            // They would tell the judged code that it is judged.
            if name.starts_with("MOSAIC_") {
                return self.fault(
                    entry.span().start,
                    format!("variables of Mosaic are not passed to gates: {name}"),
                );
            }
            if OF_THE_GATE.contains(&name) {
                let fault = format!("a gate has a {name} of its own; the operator's is not passed to it");
                return self.fault(entry.span().start, fault);
            }
            names.push(name.to_owned());
        }
        Ok(names)
    }

    fn list<'v>(
        &self,
        key: &str,
        value: &'v Spanned<DeValue<'_>>,
    ) -> Result<&'v [Spanned<DeValue<'v>>], ConfigError> {
        match value.get_ref() {
            DeValue::Array(list) if list.len() <= limits::GATES => Ok(&list[..]),
            DeValue::Array(_) => {
                self.fault(value.span().start, format!("`{key}` has more than {} names", limits::GATES))
            }
            _ => self.fault(value.span().start, format!("`{key}` must be a list of names")),
        }
    }

    /// Refuses needs that name no gate or lead in a circle.
    pub(super) fn check_needs(&self) -> Result<(), ConfigError> {
        let contract = GateProfile::Strict.gates();
        for (gate, needs, at) in &self.needs {
            for need in needs {
                // A gate of the contract may be defined by detection.
                if !self.config.gates.contains_key(need) && !contract.contains(&need.as_str()) {
                    let known: Vec<&str> =
                        self.config.gates.keys().map(Word::as_str).chain(contract.iter().copied()).collect();
                    return self.unknown(*at, "gate", need.as_str(), &known);
                }
            }
            if self.is_in_circle(gate) {
                return self.fault(*at, format!("gate `{gate}` needs itself, directly or through others"));
            }
        }
        Ok(())
    }

    /// Tells whether a gate is among those that it needs, directly or through others.
    fn is_in_circle(&self, gate: &Word) -> bool {
        let needs = |gate: &Word| self.config.gates.get(gate).map_or(&[][..], |gate| &gate.needs);
        let mut left: Vec<&Word> = needs(gate).iter().collect();
        let mut seen: BTreeSet<&Word> = BTreeSet::new();
        while let Some(need) = left.pop() {
            if need == gate {
                return true;
            }
            if seen.insert(need) {
                left.extend(needs(need));
            }
        }
        false
    }
}
