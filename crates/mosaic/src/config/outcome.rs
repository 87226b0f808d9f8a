//! Outcome of reading a value.

/// Why a value was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is wrong; what is allowed.
    Wrong(String),
    /// It asks for something that this build does not have.
    Missing {
        /// Capability that the value asks for.
        capability: &'static str,
        /// Remedy, for people.
        fix: &'static str,
    },
}
