//! Everything that can be configured, with its defaults and the values that must fit each other.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use mosaic_adapters::gates_local::CacheBounds;
use mosaic_adapters::uid_range::UidRange;
use mosaic_core::domain::retention::Retention;
use mosaic_core::limits;

use super::coordinator::CoordinatorConfig;
use super::error::ConfigError;
use super::runtimes;
use super::valkey::ValkeyConfig;
use super::values::{
    AgentEnv, Auth, Containment, GateIsolation, LogFormat, Lookup, Secret, Trust, directory,
};

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
    /// Separation of judged code from what judges it.
    pub(crate) gate_isolation: GateIsolation,
    /// `MOSAIC_GATE_PATHS`.
    pub(crate) gate_paths: Vec<PathBuf>,
    /// Users that jobs may get.
    pub(crate) uid_range: UidRange,
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
    /// `COORDINATOR_URL` and `MOSAIC_COORDINATOR_*`.
    pub(crate) coordinator: CoordinatorConfig,
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
    /// `MOSAIC_GATE_CACHE_BYTES`, `MOSAIC_GATE_CACHE_DAYS`.
    pub(crate) gate_cache: CacheBounds,
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
pub(super) fn default_data_dir(env: Lookup<'_>) -> Option<PathBuf> {
    Some(directory(env, "XDG_STATE_HOME", ".local/state")?.join("mosaic"))
}

/// Returns the fault of a user who has no place for the state.
pub(super) fn no_home() -> ConfigError {
    ConfigError::Together {
        what: "there is no place for the state: neither HOME nor XDG_STATE_HOME is set".to_owned(),
        fix: "set MOSAIC_DATA_DIR to a directory".to_owned(),
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
            runtime: runtimes::DEFAULT.to_owned(),
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
            gate_isolation: GateIsolation::Auto,
            gate_paths: Vec::new(),
            uid_range: UidRange::default(),
            kill_grace: limits::KILL_GRACE,
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
            coordinator: CoordinatorConfig::default(),
            lease: Duration::from_secs(120),
            node_url: None,
            node_labels: BTreeMap::new(),
            url: None,
            token: None,
            retention: Retention::default(),
            gate_cache: CacheBounds::default(),
            log: "info".to_owned(),
            log_format: LogFormat::Auto,
            ascii: false,
            operator_files: Vec::new(),
            unread_files: Vec::new(),
            origins: BTreeMap::new(),
        }
    }

    /// Looks at values that must fit each other.
    pub(super) fn together(&self) -> Vec<ConfigError> {
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
        faults.extend(self.valkey.together());
        faults.extend(self.coordinator.together());
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
