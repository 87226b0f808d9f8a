//! The configuration: the operator's file, under environment variables (each also as `NAME_FILE`), under the flags of `serve`. The
//! variables stand in one table, `config/table.rs`; this file turns it and an environment into a [`Config`]. A
//! wrong value stops the start by name, and nothing is ignored in silence.

mod error;
pub(crate) mod operator_file;
mod parsers;
pub(crate) mod table;
pub(crate) mod valkey;
mod value_file;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use mosaic_core::domain::retention::Retention;
use mosaic_core::domain::spec::closest;
use mosaic_core::limits;

pub(crate) use error::ConfigError;
use operator_file::OperatorFile;
use table::{Outcome, VARIABLES, Variable};
pub(crate) use valkey::ValkeyConfig;

/// Longest content of a `NAME_FILE`, in bytes: a key or a token, never a document.
const VALUE_FILE_BYTES: u64 = 64 * 1024;

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

/// Everything that can be configured, with its effective value.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// `ORCHESTRATOR_PORT`.
    pub(crate) port: u16,
    /// `CLAUDE_API_KEY`.
    pub(crate) claude_api_key: Option<Secret>,
    /// `MOSAIC_DATA_DIR`, absolute.
    pub(crate) data_dir: PathBuf,
    /// `MOSAIC_BIND`.
    pub(crate) bind: IpAddr,
    /// `ORCHESTRATOR_AUTH`.
    pub(crate) auth: Auth,
    /// `MOSAIC_ALLOWED_HOSTS`, lower-case, besides IP addresses and localhost.
    pub(crate) allowed_hosts: Vec<String>,
    /// `MOSAIC_ALLOW_LOCAL_REPOSITORIES`.
    pub(crate) allow_local_repositories: bool,
    /// `MOSAIC_RUNTIME`: `claude`, `command` or `demo`.
    pub(crate) runtime: String,
    /// `MOSAIC_CLAUDE_BIN`.
    pub(crate) claude_bin: Option<PathBuf>,
    /// `MOSAIC_CLAUDE_LOGIN`: Claude's configuration directory whose login is passed on.
    pub(crate) claude_login: Option<PathBuf>,
    /// `MOSAIC_COMMAND`.
    pub(crate) command: Option<String>,
    /// `MOSAIC_MODEL_UPSTREAM`.
    pub(crate) model_upstream: Option<String>,
    /// `MOSAIC_SLOTS`, at least 1.
    pub(crate) slots: usize,
    pub(crate) repository_slots: Option<usize>,
    /// `MOSAIC_REPOSITORY_FLEET_SLOTS`.
    pub(crate) repository_fleet_slots: Option<usize>,
    /// `MOSAIC_SUBMODULES=auto`.
    pub(crate) submodules: bool,
    /// `MOSAIC_AGENT_ENV`.
    pub(crate) agent_env: AgentEnv,
    /// `MOSAIC_AGENT_PROCESSES`.
    pub(crate) agent_processes: u32,
    /// `MOSAIC_KILL_GRACE_MS`.
    pub(crate) kill_grace: Duration,
    /// Mechanism that holds an agent's processes together.
    pub(crate) containment: Containment,
    /// `MOSAIC_STALL_MS`.
    pub(crate) stall: Duration,
    /// `MOSAIC_MEMORY_FLOOR_BYTES`; 0 is no floor.
    pub(crate) memory_floor: u64,
    /// `MOSAIC_LOAD_CEILING`, per core; 0 is no ceiling.
    pub(crate) load_ceiling: f64,
    /// `MOSAIC_DRAIN_MS`.
    pub(crate) drain: Duration,
    /// `MOSAIC_KEEP_AUDIT_DAYS`.
    pub(crate) keep_audit: Duration,
    /// `MOSAIC_TRUST`; `None` means `all` for `serve` and `ask` for `run`.
    pub(crate) trust: Option<Trust>,
    /// `MOSAIC_BRANCH_PREFIX`.
    pub(crate) branch_prefix: String,
    /// `MOSAIC_GIT_CREDENTIALS_FILE`.
    pub(crate) git_credentials_file: Option<PathBuf>,
    /// `MOSAIC_GIT_TOKEN`; goes to `git_token_host` only.
    pub(crate) git_token: Option<Secret>,
    /// `MOSAIC_GIT_TOKEN_HOST`.
    pub(crate) git_token_host: Option<String>,
    /// `MOSAIC_GIT_NAME`.
    pub(crate) git_name: Option<String>,
    /// `MOSAIC_GIT_EMAIL`.
    pub(crate) git_email: Option<String>,
    /// `MOSAIC_SKILLS=require`.
    pub(crate) require_skills: bool,
    /// `MOSAIC_SKILLS_DIR`.
    pub(crate) skills_dir: Option<PathBuf>,
    /// `MOSAIC_ALLOW_INCOMPLETE=strict`.
    pub(crate) allow_incomplete_strict: bool,
    /// `MOSAIC_NODE`.
    pub(crate) node: String,
    /// `VALKEY_HOST`, `VALKEY_PORT` and `MOSAIC_VALKEY_*`.
    pub(crate) valkey: ValkeyConfig,
    /// `MOSAIC_LEASE_MS`.
    pub(crate) lease: Duration,
    /// `MOSAIC_NODE_URL`.
    pub(crate) node_url: Option<String>,
    /// `MOSAIC_NODE_LABELS`.
    pub(crate) node_labels: BTreeMap<String, String>,
    /// `MOSAIC_URL`, for the commands that call a server.
    pub(crate) url: Option<String>,
    /// `MOSAIC_TOKEN`, for the commands that call a server.
    pub(crate) token: Option<Secret>,
    /// `MOSAIC_KEEP_DAYS`, `MOSAIC_KEEP_RECORDS_DAYS`, `MOSAIC_KEEP_BYTES`, `MOSAIC_DISK_FLOOR_BYTES`.
    pub(crate) retention: Retention,
    /// `MOSAIC_LOG`: `error`, `warn`, `info`, `debug` or `trace`.
    pub(crate) log: String,
    /// `MOSAIC_LOG_FORMAT`.
    pub(crate) log_format: LogFormat,
    /// `MOSAIC_ASCII`.
    pub(crate) ascii: bool,
    /// The operator's files that were read, the one that counts more last.
    pub(crate) operator_files: Vec<PathBuf>,
    /// Operator's files that are there and that this user may not read.
    pub(crate) unread_files: Vec<PathBuf>,
    /// Where each value that is not a default came from, by variable: the variable itself, its `_FILE`, or line of a file.
    pub(crate) origins: BTreeMap<&'static str, String>,
}

/// Returns half of the machine's processors, at least 2: agents wait for their model most of the time, and the
/// other half is for the gates.
fn default_slots() -> usize {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    (cores / 2).max(2)
}

fn default_node() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if host.parse::<mosaic_core::domain::ids::Word>().is_ok() { host } else { "local".to_owned() }
}

/// Returns the data directory when `MOSAIC_DATA_DIR` is not set.
fn default_data_dir(env: Lookup<'_>) -> Option<PathBuf> {
    Some(directory(env, "XDG_STATE_HOME", ".local/state")?.join("mosaic"))
}

/// Returns a base directory of the user: that of the variable, else the one below `HOME`. Relative ones do not count.
fn directory(env: Lookup<'_>, name: &str, below_home: &str) -> Option<PathBuf> {
    let absolute = |name: &str| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(name).or_else(|| Some(absolute("HOME")?.join(below_home)))
}

/// Finds the data directory alone, for the commands that only look for a server's files.
pub(crate) fn data_dir(env: Lookup<'_>) -> Result<PathBuf, ConfigError> {
    let row = table::find("MOSAIC_DATA_DIR").expect("the table has it");
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
    let row = table::find("MOSAIC_NODE").expect("the table has it");
    let mut config = Config::defaults(PathBuf::new());
    if let Some((value, _)) = read_value(row, env)? {
        apply(row, &mut config, &value)?;
    }
    Ok(config.node)
}

fn no_home() -> ConfigError {
    ConfigError::Together {
        what: "there is no place for the state: neither HOME nor XDG_STATE_HOME is set".to_owned(),
        fix: "set MOSAIC_DATA_DIR to a directory".to_owned(),
    }
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
    let text = read_file(&entry.value.clone().into()).map_err(|why| ConfigError::File { name, why })?;
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
            let text = read_file(&path).map_err(|why| ConfigError::File { name: file_name.clone(), why })?;
            Ok((!text.is_empty()).then_some((text, file_name)))
        }
        (None, None) => Ok(None),
    }
}

fn read_file(path: &OsString) -> Result<String, String> {
    let mut text = value_file::read(path.as_ref(), VALUE_FILE_BYTES).map_err(|e| e.to_string())?;
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
                format!("\"{}\"", crate::plain::cut(&crate::plain::line(value), 80))
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

impl Config {
    /// The defaults, with this data directory.
    pub(crate) fn defaults(data_dir: PathBuf) -> Self {
        Self {
            port: 3001,
            claude_api_key: None,
            data_dir,
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            auth: Auth::Token,
            allowed_hosts: Vec::new(),
            allow_local_repositories: false,
            runtime: "claude".to_owned(),
            claude_bin: None,
            claude_login: None,
            command: None,
            model_upstream: None,
            slots: default_slots(),
            repository_slots: None,
            repository_fleet_slots: None,
            submodules: true,
            agent_env: AgentEnv::default(),
            agent_processes: mosaic_core::limits::JOB_PROCESSES,
            kill_grace: Duration::from_millis(5000),
            containment: Containment::Auto,
            stall: limits::STALL,
            memory_floor: limits::MEMORY_FLOOR_BYTES,
            load_ceiling: 0.0,
            drain: Duration::from_millis(30_000),
            keep_audit: Duration::from_secs(365 * 24 * 3600),
            trust: None,
            branch_prefix: "mosaic".to_owned(),
            git_credentials_file: None,
            git_token: None,
            git_token_host: None,
            git_name: None,
            git_email: None,
            require_skills: false,
            skills_dir: None,
            allow_incomplete_strict: false,
            node: default_node(),
            valkey: ValkeyConfig::default(),
            lease: Duration::from_secs(120),
            node_url: None,
            node_labels: BTreeMap::new(),
            url: None,
            token: None,
            retention: Retention::default(),
            log: "info".to_owned(),
            log_format: LogFormat::Auto,
            ascii: false,
            operator_files: Vec::new(),
            unread_files: Vec::new(),
            origins: BTreeMap::new(),
        }
    }

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
        for row in VARIABLES {
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
        (config, faults)
    }

    /// Looks at values that must fit each other.
    fn together(&self) -> Vec<ConfigError> {
        let mut faults = Vec::new();
        let mut fault = |wrong: bool, what: &str, fix: &str| {
            if wrong {
                faults.push(ConfigError::Together { what: what.to_owned(), fix: fix.to_owned() });
            }
        };
        fault(
            self.auth == Auth::Off && !self.bind.is_loopback(),
            "ORCHESTRATOR_AUTH=off is only allowed on loopback, but MOSAIC_BIND is not a loopback address",
            "unset ORCHESTRATOR_AUTH, or set MOSAIC_BIND=127.0.0.1",
        );
        fault(
            self.git_token.is_some() != self.git_token_host.is_some(),
            "MOSAIC_GIT_TOKEN and MOSAIC_GIT_TOKEN_HOST belong together: a token is only ever sent to its host",
            "set both, or neither",
        );
        fault(
            self.runtime == "command" && self.command.is_none(),
            "MOSAIC_RUNTIME=command needs a program to run",
            "set MOSAIC_COMMAND to its command line",
        );
        faults.extend(self.valkey.together());
        if self.data_dir.as_os_str().is_empty() {
            faults.push(no_home());
        }
        faults
    }
}

impl Config {
    /// Returns one warning per operator's file that this user may not read: its settings do not count here.
    pub(crate) fn unread_warnings(&self) -> Vec<String> {
        let unread = self.unread_files.iter();
        unread
            .map(|path| {
                format!("the operator's file {} may not be read by this user and is left out", path.display())
            })
            .collect()
    }
}

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
    let known: Vec<&str> = VARIABLES.iter().map(|row| row.name).collect();
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
                crate::plain::line(&name)
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
