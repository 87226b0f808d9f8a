//! The one table of environment variables: name, type, default, meaning, how a value is read and how the
//! effective one is shown. The lists of README and `mosaic config` are printed from it.

use std::time::Duration;

use super::parsers as p;
use super::valkey::{self, built as valkey};
use super::{Auth, Config, Containment, LogFormat, Secret, Trust};

/// Seconds of a day.
const DAY: u64 = 24 * 3600;

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

const CONTAINMENTS: [(&str, Containment); 3] = [
    ("auto", Containment::Auto),
    ("pid-namespace", Containment::PidNamespace),
    ("subreaper", Containment::Subreaper),
];

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
    /// Reads a value into the configuration.
    pub(crate) apply: fn(&mut Config, &str) -> Result<(), Outcome>,
    /// Shows the effective value; `None` when there is none.
    pub(crate) show: fn(&Config) -> Option<String>,
}

/// Returns the row of a variable.
pub(crate) fn find(name: &str) -> Option<&'static Variable> {
    VARIABLES.iter().find(|row| row.name == name)
}

const fn ours(
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
        apply: |_, _| Ok(()),
        show: |_| None,
    }
}

const fn contract(
    name: &'static str,
    kind: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Variable {
    Variable { contract: true, ..ours(name, kind, default, meaning) }
}

impl Variable {
    const fn secret(self, reveal: fn(&Config) -> Option<&Secret>) -> Self {
        Self { secret: true, reveal, ..self }
    }

    const fn read(
        self,
        apply: fn(&mut Config, &str) -> Result<(), Outcome>,
        show: fn(&Config) -> Option<String>,
    ) -> Self {
        Self { apply, show, ..self }
    }
}

fn path(path: &Option<std::path::PathBuf>) -> Option<String> {
    path.as_ref().map(|p| p.display().to_string())
}

fn secret(value: &Option<Secret>) -> Option<String> {
    value.as_ref().map(|v| format!("{v:?}"))
}

fn no_coordinator(_: &mut Config, _: &str) -> Result<(), Outcome> {
    Err(Outcome::Missing {
        capability: "gates over a coordinator",
        fix: "unset COORDINATOR_URL to start with local gates",
    })
}

fn sandbox_enabled(_: &mut Config, value: &str) -> Result<(), Outcome> {
    if p::flag(value)? {
        return Err(Outcome::Missing {
            capability: "Docker sandbox",
            fix: "unset SANDBOX_ENABLED, or set SANDBOX_ENABLED=false, to run agents without a sandbox",
        });
    }
    Ok(())
}

fn sandbox(_: &mut Config, value: &str) -> Result<(), Outcome> {
    if p::choice(value, &[("none", false), ("bubblewrap", true), ("docker", true)])? {
        return Err(Outcome::Missing {
            capability: "sandbox of that kind",
            fix: "unset MOSAIC_SANDBOX, or set MOSAIC_SANDBOX=none, to run agents without a sandbox",
        });
    }
    Ok(())
}

/// Every variable, the contract's first.
pub(crate) const VARIABLES: &[Variable] = &[
    contract("ORCHESTRATOR_PORT", "0–65535", "3001", "port of the HTTP server; 0 takes any free one").read(
        |c, v| p::number(v, 0..=65_535).map(|n| c.port = u16::try_from(n).expect("the range was checked")),
        |c| Some(c.port.to_string()),
    ),
    contract("CLAUDE_API_KEY", "text", "—", "Anthropic API key that is handed to Claude Code")
        .secret(|c| c.claude_api_key.as_ref())
        .read(|c, v| p::secret(v).map(|s| c.claude_api_key = Some(s)), |c| secret(&c.claude_api_key)),
    contract(
        "VALKEY_HOST",
        "host name or IP address, or `host:port,host:port`",
        "localhost when VALKEY_PORT is set",
        "selects the Valkey store, which many nodes share; several addresses are servers of one Valkey Cluster; a build without the feature `valkey` does not start with it",
    )
    .read(|c, v| valkey(|| valkey::hosts(v)).map(|x| c.valkey.hosts = x), |c| valkey::shown(&c.valkey.hosts)),
    contract(
        "VALKEY_PORT",
        "1–65535",
        "6379 when VALKEY_HOST is set",
        "selects the Valkey store; a build without the feature `valkey` does not start with it",
    )
    .read(
        |c, v| valkey(|| valkey::port(v)).map(|x| c.valkey.port = Some(x)),
        |c| c.valkey.port.map(|port| port.to_string()),
    ),
    contract("COORDINATOR_URL", "URL", "—", "where gates are run; not in this build: stops the start")
        .read(no_coordinator, |_| None),
    contract(
        "SANDBOX_ENABLED",
        "true, false",
        "false",
        "Docker sandbox for agents; not in this build: true stops the start",
    )
    .read(sandbox_enabled, |_| Some("false".to_owned())),
    ours(
        "MOSAIC_CONFIG",
        "file",
        "`/etc/mosaic/mosaic.toml`, then `mosaic/mosaic.toml` in `$XDG_CONFIG_HOME`",
        "the operator's file of settings in TOML, below the environment; see docs/configuration.md",
    )
    .read(
        |_, _| Ok(()),
        |c| {
            let read: Vec<String> = c.operator_files.iter().map(|path| path.display().to_string()).collect();
            (!read.is_empty()).then(|| read.join(", "))
        },
    ),
    ours(
        "MOSAIC_DATA_DIR",
        "directory",
        "$XDG_STATE_HOME/mosaic, else ~/.local/state/mosaic",
        "where all state is kept; its file `token` is the API token",
    )
    .read(|c, v| p::path(v).map(|x| c.data_dir = x), |c| Some(c.data_dir.display().to_string())),
    ours("MOSAIC_BIND", "IP address", "127.0.0.1", "address the HTTP server listens on").read(
        |c, v| {
            let address = v
                .trim()
                .parse()
                .map_err(|_| Outcome::Wrong("an IP address such as 127.0.0.1 or ::1".to_owned()))?;
            c.bind = address;
            Ok(())
        },
        |c| Some(c.bind.to_string()),
    ),
    ours(
        "ORCHESTRATOR_AUTH",
        "token, off",
        "token",
        "whether callers need the token; off is allowed on loopback only",
    )
    .read(
        |c, v| p::choice(v, &[("token", Auth::Token), ("off", Auth::Off)]).map(|x| c.auth = x),
        |c| Some(if c.auth == Auth::Token { "token" } else { "off" }.to_owned()),
    ),
    ours(
        "MOSAIC_ALLOWED_HOSTS",
        "host names, by commas",
        "—",
        "names in the Host header that are answered, besides IP addresses and localhost",
    )
    .read(
        |c, v| p::hosts(v).map(|x| c.allowed_hosts = x),
        |c| (!c.allowed_hosts.is_empty()).then(|| c.allowed_hosts.join(",")),
    ),
    ours(
        "MOSAIC_ALLOW_LOCAL_REPOSITORIES",
        "true, false",
        "false",
        "repositories may be local paths, and be on this machine or its link (loopback, 169.254.0.0/16, fe80::/10) over any protocol",
    )
    .read(
        |c, v| p::flag(v).map(|x| c.allow_local_repositories = x),
        |c| Some(c.allow_local_repositories.to_string()),
    ),
    ours("MOSAIC_RUNTIME", "claude, command, demo", "claude", "kind of agent when a spawn names none").read(
        |c, v| {
            p::choice(v, &[("claude", "claude"), ("command", "command"), ("demo", "demo")])
                .map(|x| c.runtime = x.to_owned())
        },
        |c| Some(c.runtime.clone()),
    ),
    ours("MOSAIC_CLAUDE_BIN", "file", "`claude` in PATH", "the Claude Code program")
        .read(|c, v| p::path(v).map(|x| c.claude_bin = Some(x)), |c| path(&c.claude_bin)),
    ours(
        "MOSAIC_CLAUDE_LOGIN",
        "directory",
        "—",
        "Claude Code's configuration directory (such as ~/.claude) whose login is passed on to agents; one that they renew is brought back",
    )
    .read(|c, v| p::path(v).map(|x| c.claude_login = Some(x)), |c| path(&c.claude_login)),
    ours(
        "MOSAIC_COMMAND",
        "command line",
        "—",
        "program of the `command` runtime: prompt on standard input, working directory the agent's tree",
    )
    .read(|c, v| p::line(v, 8192).map(|x| c.command = Some(x)), |c| c.command.clone()),
    ours("MOSAIC_MODEL_UPSTREAM", "URL", "Anthropic's API", "where model calls go")
        .read(|c, v| p::address(v).map(|x| c.model_upstream = Some(x)), |c| c.model_upstream.clone()),
    ours(
        "MOSAIC_SLOTS",
        "1–1000",
        "half of the processors, at least 2",
        "agents that run at once on this node",
    )
    .read(
        |c, v| p::number(v, 1..=1000).map(|n| c.slots = usize::try_from(n).expect("the range was checked")),
        |c| Some(c.slots.to_string()),
    ),
    ours(
        "MOSAIC_REPOSITORY_SLOTS",
        "1–1000",
        "as many as there are slots",
        "agents of one repository that run at once on this node; those beyond it wait at their place, and other nodes may take them",
    )
    .read(
        |c, v| {
            p::number(v, 1..=1000)
                .map(|n| c.repository_slots = Some(usize::try_from(n).expect("the range was checked")))
        },
        |c| c.repository_slots.map(|slots| slots.to_string()),
    ),
    ours(
        "MOSAIC_REPOSITORY_FLEET_SLOTS",
        "1–100000",
        "no bound",
        "agents of one repository that run at once on all nodes together, the same on each node; those beyond it wait at their place",
    )
    .read(
        |c, v| {
            p::number(v, 1..=100_000)
                .map(|n| c.repository_fleet_slots = Some(usize::try_from(n).expect("the range was checked")))
        },
        |c| c.repository_fleet_slots.map(|slots| slots.to_string()),
    ),
    ours(
        "MOSAIC_AGENT_PROCESSES",
        "16–1000000",
        "1024",
        "processes that one agent may have at once before it is ended as a fork bomb; where the kernel counts, it allows four times as many processes and threads",
    )
    .read(
        |c, v| {
            let most = p::number(v, 16..=1_000_000)?;
            c.agent_processes = u32::try_from(most).expect("the range was checked");
            Ok(())
        },
        |c| Some(c.agent_processes.to_string()),
    ),
    ours(
        "MOSAIC_SANDBOX",
        "none, bubblewrap, docker",
        "none",
        "confinement of agents; this build has `none` only, another stops the start",
    )
    .read(sandbox, |_| Some("none".to_owned())),
    ours(
        "MOSAIC_SUBMODULES",
        "auto, off",
        "auto",
        "auto: submodules that the base commit declares are checked out for agents and gates; what cannot be had, or off, is a \
         warning at the start",
    )
    .read(
        |c, v| p::choice(v, &[("auto", true), ("off", false)]).map(|x| c.submodules = x),
        |c| Some(if c.submodules { "auto" } else { "off" }.to_owned()),
    ),
    ours(
        "MOSAIC_AGENT_ENV",
        "names, by commas",
        "proxies, certificate authorities, toolchains",
        "further variables of the server's environment that agents and gates get, each as NAME; -NAME takes a default away. \
         Never the server's own settings and secrets",
    )
    .read(
        |c, v| p::agent_env(v).map(|x| c.agent_env = x),
        |c| {
            let without = c.agent_env.without.iter().map(|name| format!("-{name}"));
            let all: Vec<String> = c.agent_env.names.iter().cloned().chain(without).collect();
            (!all.is_empty()).then(|| all.join(","))
        },
    ),
    ours(
        "MOSAIC_KILL_GRACE_MS",
        "0–600000",
        "5000",
        "milliseconds between asking an agent to end and forcing it",
    )
    .read(
        |c, v| p::millis(v, 0..=600_000).map(|x| c.kill_grace = x),
        |c| Some(c.kill_grace.as_millis().to_string()),
    ),
    ours(
        "MOSAIC_CONFINEMENT",
        "auto, pid-namespace, subreaper",
        "auto",
        "old name of MOSAIC_CONTAINMENT, which counts when both are set",
    )
    .read(|c, v| p::choice(v, &CONTAINMENTS).map(|x| c.containment = x), |_| None),
    ours(
        "MOSAIC_CONTAINMENT",
        "auto, pid-namespace, subreaper",
        "auto",
        "what holds an agent's processes together: the best that the host offers (a cgroup first), or no better than this",
    )
    .read(
        |c, v| p::choice(v, &CONTAINMENTS).map(|x| c.containment = x),
        |c| CONTAINMENTS.iter().find(|(_, x)| *x == c.containment).map(|(word, _)| (*word).to_owned()),
    ),
    ours(
        "MOSAIC_STALL_MS",
        "1000–86400000",
        "600000",
        "milliseconds of silence after which an agent is ended whatever its processes do; it is noticed, nudged and \
         interrupted at parts of it",
    )
    .read(
        |c, v| p::millis(v, 1000..=86_400_000).map(|x| c.stall = x),
        |c| Some(c.stall.as_millis().to_string()),
    ),
    ours(
        "MOSAIC_MEMORY_FLOOR_BYTES",
        "0–1152921504606846976",
        "268435456",
        "available memory below which no agent is started; 0 is no floor",
    )
    .read(|c, v| p::number(v, 0..=1 << 60).map(|x| c.memory_floor = x), |c| Some(c.memory_floor.to_string())),
    ours(
        "MOSAIC_LOAD_CEILING",
        "0–1000",
        "0",
        "load average per core above which agents are started one at a time only; 0 is no ceiling",
    )
    .read(|c, v| p::fraction(v, 1000.0).map(|x| c.load_ceiling = x), |c| Some(c.load_ceiling.to_string())),
    ours(
        "MOSAIC_DRAIN_MS",
        "0–86400000",
        "30000",
        "milliseconds that running agents get when the server is told to stop and they cannot outlive it (first process of a container)",
    )
    .read(
        |c, v| p::millis(v, 0..=86_400_000).map(|x| c.drain = x),
        |c| Some(c.drain.as_millis().to_string()),
    ),
    ours("MOSAIC_KEEP_AUDIT_DAYS", "1–36500", "365", "days for which records of the audit log are kept at least")
        .read(
            |c, v| p::number(v, 1..=36_500).map(|n| c.keep_audit = Duration::from_secs(n * DAY)),
            |c| Some((c.keep_audit.as_secs() / DAY).to_string()),
        ),
    ours(
        "MOSAIC_TRUST",
        "all, ask",
        "all for serve, ask for run",
        "whose gate commands are run: every base commit's, or those a person said yes to",
    )
    .read(
        |c, v| p::choice(v, &[("all", Trust::All), ("ask", Trust::Ask)]).map(|x| c.trust = Some(x)),
        |c| c.trust.map(|t| if t == Trust::All { "all" } else { "ask" }.to_owned()),
    ),
    ours("MOSAIC_BRANCH_PREFIX", "branch name part", "mosaic", "first part of the branches of agents")
        .read(|c, v| p::branch_prefix(v).map(|x| c.branch_prefix = x), |c| Some(c.branch_prefix.clone())),
    ours(
        "MOSAIC_GIT_CREDENTIALS_FILE",
        "file",
        "—",
        "lines as of git-credential-store; each is used for its own host only",
    )
    .read(|c, v| p::path(v).map(|x| c.git_credentials_file = Some(x)), |c| path(&c.git_credentials_file)),
    ours("MOSAIC_GIT_TOKEN", "text", "—", "token for git over https, sent to MOSAIC_GIT_TOKEN_HOST only")
        .secret(|c| c.git_token.as_ref())
        .read(|c, v| p::secret(v).map(|s| c.git_token = Some(s)), |c| secret(&c.git_token)),
    ours("MOSAIC_GIT_TOKEN_HOST", "host name", "—", "the host that MOSAIC_GIT_TOKEN is for")
        .read(|c, v| p::host(v).map(|x| c.git_token_host = Some(x)), |c| c.git_token_host.clone()),
    ours("MOSAIC_GIT_NAME", "text", "the operator's user.name, else Mosaic Agent", "author of commits")
        .read(|c, v| p::line(v, 256).map(|x| c.git_name = Some(x)), |c| c.git_name.clone()),
    ours(
        "MOSAIC_GIT_EMAIL",
        "text",
        "the operator's user.email, else agent@mosaic.invalid",
        "mail address of the author",
    )
    .read(|c, v| p::line(v, 256).map(|x| c.git_email = Some(x)), |c| c.git_email.clone()),
    ours(
        "MOSAIC_SKILLS",
        "hint, require",
        "hint",
        "a skill that is not found is a hint and a warning, or a failure",
    )
    .read(
        |c, v| p::choice(v, &[("hint", false), ("require", true)]).map(|x| c.require_skills = x),
        |c| Some(if c.require_skills { "require" } else { "hint" }.to_owned()),
    ),
    ours("MOSAIC_SKILLS_DIR", "directory", "—", "the operator's skills: one folder with a SKILL.md each")
        .read(|c, v| p::path(v).map(|x| c.skills_dir = Some(x)), |c| path(&c.skills_dir)),
    ours(
        "MOSAIC_ALLOW_INCOMPLETE",
        "strict",
        "—",
        "strict: a strict profile with undefined gates runs all the same, with verdict incomplete",
    )
    .read(
        |c, v| p::choice(v, &[("strict", true)]).map(|x| c.allow_incomplete_strict = x),
        |c| c.allow_incomplete_strict.then(|| "strict".to_owned()),
    ),
    ours("MOSAIC_NODE", "name", "the host name", "name of this node in records")
        .read(|c, v| p::word(v).map(|x| c.node = x), |c| Some(c.node.clone())),
    ours(
        "MOSAIC_NODE_URL",
        "URL",
        "—",
        "where other nodes of the fleet reach this node's API; needs an address that MOSAIC_BIND listens on",
    )
    .read(|c, v| p::address(v).map(|x| c.node_url = Some(x)), |c| c.node_url.clone()),
    ours("MOSAIC_NODE_LABELS", "name=value, by commas", "—", "what `mosaic nodes` says of this node").read(
        |c, v| p::labels(v).map(|x| c.node_labels = x),
        |c| {
            let pairs: Vec<String> = c.node_labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
            (!pairs.is_empty()).then(|| pairs.join(","))
        },
    ),
    ours(
        "MOSAIC_LEASE_MS",
        "3000–3600000",
        "120000",
        "milliseconds for which a node that the Valkey store does not hear of keeps its agents; its own supervisors stop \
         them before that",
    )
    .read(|c, v| p::millis(v, 3000..=3_600_000).map(|x| c.lease = x), |c| Some(c.lease.as_millis().to_string())),
    ours(
        "MOSAIC_VALKEY_PREFIX",
        "text",
        "—",
        "goes before every key in Valkey; with a hash tag, such as `{mosaic}`, a Valkey Cluster can be used",
    )
    .read(
        |c, v| valkey(|| valkey::prefix(v)).map(|x| c.valkey.prefix = x),
        |c| (!c.valkey.prefix.is_empty()).then(|| c.valkey.prefix.clone()),
    ),
    ours("MOSAIC_VALKEY_USERNAME", "text", "—", "user that the Valkey server knows").read(
        |c, v| valkey(|| p::line(v, 256)).map(|x| c.valkey.username = Some(x)),
        |c| c.valkey.username.clone(),
    ),
    ours("MOSAIC_VALKEY_PASSWORD", "text", "—", "password of that user, or of the server").secret(|c| c.valkey.password.as_ref()).read(
        |c, v| valkey(|| p::secret(v)).map(|x| c.valkey.password = Some(x)),
        |c| secret(&c.valkey.password),
    ),
    ours("MOSAIC_VALKEY_DB", "0–65535", "0", "number of the database in the Valkey server").read(
        |c, v| valkey(|| p::number(v, 0..=65_535)).map(|x| c.valkey.database = x),
        |c| Some(c.valkey.database.to_string()),
    ),
    ours(
        "MOSAIC_VALKEY_TLS",
        "true, false",
        "false",
        "whether the Valkey server, and its Sentinels, are spoken to over TLS",
    )
    .read(|c, v| valkey(|| p::flag(v)).map(|x| c.valkey.tls = x), |c| Some(c.valkey.tls.to_string())),
    ours(
        "MOSAIC_VALKEY_CA_FILE",
        "file",
        "the system's authorities",
        "certificates (PEM) of the only authorities that may vouch for the Valkey server",
    )
    .read(|c, v| valkey(|| p::path(v)).map(|x| c.valkey.ca_file = Some(x)), |c| path(&c.valkey.ca_file)),
    ours(
        "MOSAIC_VALKEY_SENTINELS",
        "host:port, by commas",
        "—",
        "selects the Valkey store: the Sentinels that know where its server is, instead of VALKEY_HOST and VALKEY_PORT",
    )
    .read(
        |c, v| valkey(|| valkey::sentinels(v)).map(|x| c.valkey.sentinels = x),
        |c| {
            let all: Vec<String> = c.valkey.sentinels.iter().map(|(h, p)| format!("{h}:{p}")).collect();
            (!all.is_empty()).then(|| all.join(","))
        },
    ),
    ours("MOSAIC_VALKEY_SENTINEL_MASTER", "name", "mymaster", "name of the server in the Sentinels").read(
        |c, v| valkey(|| p::line(v, 256)).map(|x| c.valkey.sentinel_master = x),
        |c| Some(c.valkey.sentinel_master.clone()),
    ),
    ours(
        "MOSAIC_VALKEY_LOG_ENTRIES",
        "1000–100000000",
        "100000",
        "about how many events the Valkey store keeps for replay, at some hundred bytes each; a node keeps to its own value",
    )
    .read(
        |c, v| valkey(|| p::number(v, 1000..=100_000_000)).map(|x| c.valkey.log_entries = x),
        |c| Some(c.valkey.log_entries.to_string()),
    ),
    ours(
        "MOSAIC_VALKEY_QUEUE_EVENTS",
        "100–100000000",
        "what the queue says, or 10000",
        "about how many events BullMQ's stream of the queue keeps; the last node that starts with it decides for all",
    )
    .read(
        |c, v| valkey(|| p::number(v, 100..=100_000_000)).map(|x| c.valkey.queue_events = Some(x)),
        |c| c.valkey.queue_events.map(|events| events.to_string()),
    ),
    ours(
        "MOSAIC_VALKEY_ACCEPT_RISK",
        "true, false",
        "false",
        "starts on a Valkey server that may lose what it was given: no append-only file, an evicting policy, a replica, replicas or Sentinels without `min-replicas-to-write`; and goes on when every replica is lost",
    )
    .read(
        |c, v| valkey(|| p::flag(v)).map(|x| c.valkey.accept_risk = x),
        |c| Some(c.valkey.accept_risk.to_string()),
    ),
    ours("MOSAIC_URL", "URL", "`server.json` in the data directory", "where the commands find the server")
        .read(|c, v| p::address(v).map(|x| c.url = Some(x)), |c| c.url.clone()),
    ours(
        "MOSAIC_TOKEN",
        "text",
        "the file `token` in the data directory",
        "token the commands call the server with, and that the server takes besides the one in its data directory; the same on all nodes of a fleet",
    )
    .secret(|c| c.token.as_ref())
    .read(|c, v| p::secret(v).map(|s| c.token = Some(s)), |c| secret(&c.token)),
    ours(
        "MOSAIC_KEEP_DAYS",
        "1–36500",
        "30",
        "days that transcripts and logs of ended agents are kept after they were last written",
    )
    .read(
        |c, v| p::days(v).map(|x| c.retention.transcripts = x),
        |c| Some((c.retention.transcripts.as_secs() / 86_400).to_string()),
    ),
    ours(
        "MOSAIC_KEEP_RECORDS_DAYS",
        "1–36500",
        "90",
        "days that records of ended agents and events are kept; unmerged work is kept for ever",
    )
    .read(
        |c, v| p::days(v).map(|x| c.retention.records = x),
        |c| Some((c.retention.records.as_secs() / 86_400).to_string()),
    ),
    ours(
        "MOSAIC_ARCHIVE_AFTER_MS",
        "0–86400000",
        "30000",
        "in a fleet, milliseconds after its end for which the whole record of an agent stays in Valkey; then it moves to the archive on the disk of its node",
    )
    .read(
        |c, v| p::millis(v, 0..=86_400_000).map(|x| c.retention.whole = x),
        |c| Some(c.retention.whole.as_millis().to_string()),
    ),
    ours(
        "MOSAIC_KEEP_ARCHIVE_BYTES",
        "0–9223372036854775807",
        "21474836480",
        "in a fleet, bytes that the archive on this node's disk may take; the oldest records go, unmerged work never",
    )
    .read(
        |c, v| p::number(v, 0..=i64::MAX.unsigned_abs()).map(|x| c.retention.archive = x),
        |c| Some(c.retention.archive.to_string()),
    ),
    ours(
        "MOSAIC_KEEP_BYTES",
        "0–9223372036854775807",
        "10737418240",
        "bytes that all transcripts and logs may take; those of ended agents go, oldest first",
    )
    .read(
        |c, v| p::number(v, 0..=i64::MAX.unsigned_abs()).map(|x| c.retention.bytes = x),
        |c| Some(c.retention.bytes.to_string()),
    ),
    ours(
        "MOSAIC_DISK_FLOOR_BYTES",
        "0–9223372036854775807",
        "268435456",
        "free bytes in the data directory below which nothing new is started",
    )
    .read(
        |c, v| p::number(v, 0..=i64::MAX.unsigned_abs()).map(|x| c.retention.disk_floor = x),
        |c| Some(c.retention.disk_floor.to_string()),
    ),
    ours("MOSAIC_LOG", "error, warn, info, debug, trace", "info", "least level of the server's log").read(
        |c, v| {
            let all = [
                ("error", "error"),
                ("warn", "warn"),
                ("info", "info"),
                ("debug", "debug"),
                ("trace", "trace"),
            ];
            p::choice(v, &all).map(|x| c.log = x.to_owned())
        },
        |c| Some(c.log.clone()),
    ),
    ours(
        "MOSAIC_LOG_FORMAT",
        "auto, text, json",
        "auto",
        "form of the server's log; auto is text on a terminal, else JSON",
    )
    .read(
        |c, v| {
            p::choice(v, &[("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)])
                .map(|x| c.log_format = x)
        },
        |c| {
            let word = match c.log_format {
                LogFormat::Auto => "auto",
                LogFormat::Text => "text",
                LogFormat::Json => "json",
            };
            Some(word.to_owned())
        },
    ),
    ours("MOSAIC_ASCII", "true, false", "false", "the commands print ASCII symbols only")
        .read(|c, v| p::flag(v).map(|x| c.ascii = x), |c| Some(c.ascii.to_string())),
];

/// Returns the table in Markdown, as README has it.
pub(crate) fn markdown() -> String {
    let mut out = String::from("| variable | values | default | meaning |\n|---|---|---|---|\n");
    for row in VARIABLES {
        let default = if row.default == "—" { "—".to_owned() } else { row.default.to_owned() };
        let kept = if row.contract { " (contract)" } else { "" };
        out.push_str(&format!("| `{}` | {} | {default} | {}{kept} |\n", row.name, row.kind, row.meaning));
    }
    out
}
