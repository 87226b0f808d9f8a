//! Reading of settings: the environment first, then the operator's file, each value by its row of the table.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use super::error::ConfigError;
use super::operator_file::OperatorFile;
use super::outcome::Outcome;
use super::row::Variable;
use super::runtimes::RUNTIMES;
use super::settings::{Config, default_data_dir, no_home};
use super::table::{find, variables};
use super::value_file;
use super::values::Lookup;

/// Longest content of a `NAME_FILE`, in bytes: a key or a token, never a document.
const VALUE_FILE_BYTES: u64 = 64 * 1024;

impl Config {
    /// Reads the configuration out of an environment. Errors with the first variable that cannot be used, in the
    /// table's order; [`Config::faults`] has all of them.
    pub(crate) fn from_env(env: Lookup<'_>) -> Result<Self, ConfigError> {
        let (config, mut faults) = Self::faults(env);
        if faults.is_empty() { Ok(config) } else { Err(faults.remove(0)) }
    }

    /// Reads the configuration and returns it with everything that is wrong; what is wrong keeps its default.
    pub(crate) fn faults(env: Lookup<'_>) -> (Self, Vec<ConfigError>) {
        let mut config = Self::defaults(default_data_dir(env).unwrap_or_default());
        let (file, mut faults) = OperatorFile::load(env);
        for row in variables() {
            match setting(row, env, &file) {
                Ok(None) => {}
                Ok(Some((value, from))) => match apply(row, &mut config, &value) {
                    Ok(()) => {
                        config.origins.insert(row.name, from);
                    }
                    Err(e) => faults.push(e.at(&from)),
                },
                Err(e) => faults.push(e),
            }
        }
        (config.operator_files, config.unread_files) = (file.read, file.unread);
        faults.extend(config.together());
        faults.extend(config.missing_for_runtime());
        (config, faults)
    }

    /// Says what the runtime of agents that name none cannot do without, when that is not set.
    fn missing_for_runtime(&self) -> Option<ConfigError> {
        let needed = RUNTIMES.iter().find(|row| row.name == self.runtime)?.needed.as_ref()?;
        let is_set = find(needed.variable).is_some_and(|row| (row.show)(self).is_some());
        let what = format!("MOSAIC_RUNTIME={} needs {}", self.runtime, needed.what);
        (!is_set).then(|| ConfigError::Together { what, fix: needed.fix.to_owned() })
    }
}

/// Finds the data directory alone, for the commands that only look for a server's files.
pub(crate) fn data_dir(env: Lookup<'_>) -> Result<PathBuf, ConfigError> {
    let row = find("MOSAIC_DATA_DIR").expect("the table has it");
    let mut config = Config::defaults(PathBuf::new());
    match read_value(row, env)? {
        Some((value, _)) => {
            apply(row, &mut config, &value)?;
            Ok(config.data_dir)
        }
        None => default_data_dir(env).ok_or_else(no_home),
    }
}

/// Finds the node's name alone, for the commands that record what they do by themselves.
pub(crate) fn node(env: Lookup<'_>) -> Result<String, ConfigError> {
    let row = find("MOSAIC_NODE").expect("the table has it");
    let mut config = Config::defaults(PathBuf::new());
    if let Some((value, _)) = read_value(row, env)? {
        apply(row, &mut config, &value)?;
    }
    Ok(config.node)
}

/// Reads one setting by itself, for a command that needs no other. Errors when the operator's file as a whole cannot be used: a
/// command must not look for a server in another place than the operator said. What is wrong with other settings of it, and a file
/// with a value that this user may not read, is for the start of the server to say.
pub(crate) fn read_value(row: &Variable, env: Lookup<'_>) -> Result<Option<(String, String)>, ConfigError> {
    if let Some(found) = variable(row, env)? {
        return Ok(Some(found));
    }
    let file = OperatorFile::load(env).0;
    if let Some(fault) = file.unusable {
        return Err(fault);
    }
    match setting(row, env, &file) {
        Err(ConfigError::File { .. }) => Ok(None),
        found => found,
    }
}

/// Reads a setting from the environment, or else from the operator's file; returns the value and where it came from.
fn setting(
    row: &Variable,
    env: Lookup<'_>,
    file: &OperatorFile,
) -> Result<Option<(String, String)>, ConfigError> {
    let (found, entry) = (variable(row, env)?, file.get(row.name));
    let (None, Some(entry)) = (&found, entry) else { return Ok(found) };
    if !entry.in_file {
        return Ok((!entry.value.is_empty()).then(|| (entry.value.clone(), entry.place.clone())));
    }
    let name = format!("{} ({})", entry.place, row.name);
    let text =
        read_file(&entry.value.clone().into()).map_err(|e| ConfigError::File { name, why: e.to_string() })?;
    Ok((!text.is_empty()).then(|| (text, entry.place.clone())))
}

/// Reads a variable or its `NAME_FILE`; returns the value and the name it came from. An empty value counts as not
/// set, as with most container tools; both at once is a fault.
fn variable(row: &Variable, env: Lookup<'_>) -> Result<Option<(String, String)>, ConfigError> {
    let file_name = format!("{}_FILE", row.name);
    let set = |name: &str| env(name).filter(|v| !v.is_empty());
    match (set(row.name), set(&file_name)) {
        (Some(_), Some(_)) => Err(ConfigError::Together {
            what: format!("{} and {file_name} are both set", row.name),
            fix: format!("unset one of them: unset {file_name}"),
        }),
        (Some(value), None) => match value.into_string() {
            Ok(text) => Ok(Some((text, row.name.to_owned()))),
            Err(_) => Err(ConfigError::Value {
                name: row.name.to_owned(),
                shape: "a value that is not UTF-8".to_owned(),
                allowed: row.kind.to_owned(),
            }),
        },
        (None, Some(path)) => {
            let text = read_file(&path)
                .map_err(|e| ConfigError::File { name: file_name.clone(), why: e.to_string() })?;
            Ok((!text.is_empty()).then_some((text, file_name)))
        }
        (None, None) => Ok(None),
    }
}

fn read_file(path: &OsString) -> io::Result<String> {
    let mut text = value_file::read(path.as_ref(), VALUE_FILE_BYTES)?;
    text.truncate(text.trim_end_matches(['\n', '\r']).len());
    Ok(text)
}

fn apply(row: &Variable, config: &mut Config, value: &str) -> Result<(), ConfigError> {
    match (row.apply)(config, value) {
        Ok(()) => Ok(()),
        Err(Outcome::Wrong(allowed)) => {
            let shape = if row.secret {
                format!("a secret of {} bytes", value.len())
            } else {
                format!("\"{}\"", crate::sanitize::cut(&crate::sanitize::line(value), 80))
            };
            Err(ConfigError::Value { name: row.name.to_owned(), shape, allowed })
        }
        Err(Outcome::Missing { capability, fix }) => Err(ConfigError::Missing {
            name: row.name.to_owned(),
            capability: capability.to_owned(),
            fix: fix.to_owned(),
        }),
    }
}
