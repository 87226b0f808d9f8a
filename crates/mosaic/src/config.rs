//! The configuration: the operator's file, under environment variables (each also as `NAME_FILE`), under the flags of `serve`. The
//! variables stand in one table, `config/table.rs`; this file turns it and an environment into a [`Config`]. A
//! wrong value stops the start by name, and nothing is ignored in silence.

pub(crate) mod coordinator;
mod error;
pub(crate) mod operator_file;
mod outcome;
mod parsers;
mod reading;
pub(crate) mod row;
pub(crate) mod runtimes;
mod settings;
pub(crate) mod table;
pub(crate) mod valkey;
mod value_file;
mod values;

use mosaic_core::domain::spec::closest;

pub(crate) use error::ConfigError;
pub(crate) use reading::{data_dir, node, read_value};
pub(crate) use settings::Config;
use table::variables;
pub(crate) use values::{
    AgentEnv, Auth, Containment, GateIsolation, LogFormat, Lookup, Secret, Trust, real_env,
};

/// Names that are ours but no configuration: what agents find in their environment, and switches of tests.
const KNOWN_BESIDES: [&str; 7] = [
    "MOSAIC_AGENT_ID",
    "MOSAIC_API",
    "MOSAIC_API_TOKEN",
    "MOSAIC_BASE",
    "MOSAIC_TASK_ID",
    "MOSAIC_TEST_REQUIRE",
    "MOSAIC_WORKTREE",
];

/// Returns one warning per `MOSAIC_*` or `ORCHESTRATOR_*` name that no table knows.
pub(crate) fn unknown_names(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let known: Vec<&str> = variables().map(|row| row.name).collect();
    let mut warnings = Vec::new();
    for name in names {
        let ours = name.starts_with("MOSAIC_") || name.starts_with("ORCHESTRATOR_");
        let base = name.strip_suffix("_FILE").unwrap_or(&name);
        let found =
            known.contains(&name.as_str()) || known.contains(&base) || KNOWN_BESIDES.contains(&name.as_str());
        if ours && !found {
            let near =
                closest(&name, &known).map_or(String::new(), |near| format!(" (did you mean {near}?)"));
            warnings.push(format!(
                "{} is not a variable of mosaic and has no effect{near}",
                crate::sanitize::line(&name)
            ));
        }
    }
    warnings.sort();
    warnings
}

#[cfg(test)]
#[path = "config/tests.rs"]
mod tests;

#[cfg(all(test, feature = "valkey"))]
#[path = "config/valkey_tests.rs"]
mod valkey_tests;
