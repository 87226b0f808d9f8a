//! Faults of the configuration, always with the variable's name and never with a secret's value.

use thiserror::Error;

/// Why the configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum ConfigError {
    /// A value is wrong.
    #[error("{name}: {shape} is not usable; allowed: {allowed}")]
    Value {
        /// The variable.
        name: String,
        /// Description of the value, never a secret's value itself.
        shape: String,
        /// Values that are allowed.
        allowed: String,
    },
    /// A contract variable asks for what this build does not have.
    #[error("{name} is set, but this build has no {capability}")]
    Missing {
        /// The variable.
        name: String,
        /// Capability that the variable asks for.
        capability: String,
        /// Remedy: what to unset or set instead.
        fix: String,
    },
    /// The file of a `NAME_FILE` cannot be read.
    #[error("{name}: the file cannot be read: {why}")]
    File {
        /// The variable, with `_FILE`.
        name: String,
        /// The operating system's words.
        why: String,
    },
    /// Two values do not go together.
    #[error("{what}")]
    Together {
        /// Description of the conflict.
        what: String,
        /// Remedy, for people.
        fix: String,
    },
}

impl ConfigError {
    /// Says of a wrong value in which line of a file it stands; nothing where it is a variable's own.
    #[must_use]
    pub(super) fn at(self, place: &str) -> Self {
        match self {
            Self::Value { name, shape, allowed } if !place.starts_with(&name) => {
                Self::Value { name: format!("{name} ({place})"), shape, allowed }
            }
            other => other,
        }
    }

    /// Returns what to do.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { fix, .. } | Self::Together { fix, .. } => Some(fix.clone()),
            Self::Value { .. } => Some("all variables: mosaic config".to_owned()),
            Self::File { .. } => None,
        }
    }
}
