//! Values of settings that are more than text and numbers, and the environment that they are read from.

use std::ffi::OsString;
use std::path::PathBuf;

/// Function that looks up a variable of an environment.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Looks up the real environment.
pub(crate) fn real_env(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// A value that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub(crate) fn new(value: String) -> Self {
        Self(value)
    }

    /// Returns the value, for the one place that needs it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[set]")
    }
}

/// Authentication of the API's callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Auth {
    /// Callers need a token.
    Token,
    /// Callers need no token; on loopback only.
    Off,
}

/// Whose gate commands are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Those of every base commit that an authenticated caller names.
    All,
    /// Those that a person said yes to.
    Ask,
}

/// Mechanism that holds an agent's processes together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Containment {
    /// The best that the host offers.
    Auto,
    /// A pid namespace at best.
    PidNamespace,
    /// The supervisor alone.
    Subreaper,
}

/// Separation of judged code from what judges it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GateIsolation {
    /// The best that the machine allows.
    Auto,
    /// None.
    Off,
}

/// Format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// Text.
    Text,
    /// One JSON object per line.
    Json,
}

/// Changes to the variables that agents and gates get of the server's environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AgentEnv {
    /// Further names.
    pub(crate) names: Vec<String>,
    /// Names that are passed by default and are not to be.
    pub(crate) without: Vec<String>,
}

/// Returns a base directory of the user: that of the variable, else the one below `HOME`. Relative ones do not count.
pub(super) fn directory(env: Lookup<'_>, name: &str, below_home: &str) -> Option<PathBuf> {
    let absolute = |name: &str| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(name).or_else(|| Some(absolute("HOME")?.join(below_home)))
}
