//! One row of the table of settings, and what rows are made with.

use super::outcome::Outcome;
use super::settings::Config;
use super::values::Secret;

/// One variable.
pub(crate) struct Variable {
    /// Its name.
    pub(crate) name: &'static str,
    /// Form of its values, for people.
    pub(crate) kind: &'static str,
    /// The value when it is not set, for people.
    pub(crate) default: &'static str,
    /// Effect of the variable, for people.
    pub(crate) meaning: &'static str,
    /// Its value is never shown.
    pub(crate) secret: bool,
    /// Reaches the value that is never shown, for what must know it: the look for known values, and the digest by which the
    /// audit log tells that it changed.
    pub(crate) reveal: fn(&Config) -> Option<&Secret>,
    /// It belongs to the contract kept from the NestJS orchestrator.
    pub(crate) contract: bool,
    /// The first version that knows it.
    pub(crate) since: &'static str,
    /// The name that it had before; values under that name are still read, by a row of their own.
    pub(crate) old_name: Option<&'static str>,
    /// Reads a value into the configuration.
    pub(crate) apply: fn(&mut Config, &str) -> Result<(), Outcome>,
    /// Shows the effective value; `None` when there is none.
    pub(crate) show: fn(&Config) -> Option<String>,
}

/// Makes the row of a setting of ours.
pub(super) const fn ours(
    name: &'static str,
    kind: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Variable {
    Variable {
        name,
        kind,
        default,
        meaning,
        secret: false,
        reveal: |_| None,
        contract: false,
        since: "0.1.0",
        old_name: None,
        apply: |_, _| Ok(()),
        show: |_| None,
    }
}

/// Makes the row of a setting that is kept from the NestJS orchestrator.
pub(super) const fn contract(
    name: &'static str,
    kind: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Variable {
    Variable { contract: true, ..ours(name, kind, default, meaning) }
}

impl Variable {
    pub(super) const fn secret(self, reveal: fn(&Config) -> Option<&Secret>) -> Self {
        Self { secret: true, reveal, ..self }
    }

    pub(super) const fn formerly(self, old_name: &'static str) -> Self {
        Self { old_name: Some(old_name), ..self }
    }

    pub(super) const fn read(
        self,
        apply: fn(&mut Config, &str) -> Result<(), Outcome>,
        show: fn(&Config) -> Option<String>,
    ) -> Self {
        Self { apply, show, ..self }
    }
}

pub(super) fn path(path: &Option<std::path::PathBuf>) -> Option<String> {
    path.as_ref().map(|p| p.display().to_string())
}

pub(super) fn secret(value: &Option<Secret>) -> Option<String> {
    value.as_ref().map(|v| format!("{v:?}"))
}
