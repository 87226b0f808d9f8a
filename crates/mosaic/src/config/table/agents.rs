//! Agents: what runs, how many, within which bounds.

use std::time::Duration;

use mosaic_adapters::uid_range::UidRangeError;

use crate::config::outcome::Outcome;
use crate::config::parsers as p;
use crate::config::row::{Variable, ours, path};
use crate::config::runtimes::{self, RUNTIMES};
use crate::config::settings::Config;
use crate::config::values::{Containment, GateIsolation, Trust};

/// Seconds of a day.
const DAY: u64 = 24 * 3600;

const CONTAINMENTS: [(&str, Containment); 3] = [
    ("auto", Containment::Auto),
    ("pid-namespace", Containment::PidNamespace),
    ("subreaper", Containment::Subreaper),
];

fn sandbox(_: &mut Config, value: &str) -> Result<(), Outcome> {
    if p::choice(value, &[("none", false), ("bubblewrap", true), ("docker", true)])? {
        return Err(Outcome::Missing {
            capability: "sandbox of that kind",
            fix: "unset MOSAIC_SANDBOX, or set MOSAIC_SANDBOX=none, to run agents without a sandbox",
        });
    }
    Ok(())
}

/// The rows, in the order in which they are shown.
pub(super) const ROWS: &[Variable] = &[
    ours("MOSAIC_RUNTIME", runtimes::NAMES, runtimes::DEFAULT, "kind of agent when a spawn names none").read(
        |c, v| p::choice(v, &RUNTIMES.map(|row| (row.name, row.name))).map(|x| c.runtime = x.to_owned()),
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
        "MOSAIC_GATE_ISOLATION",
        "auto, off",
        "auto",
        "auto: gates run as another user (as root) or in namespaces, and see neither the data directory nor homes; where that is \
         refused, or off, a report says `weak`",
    )
    .read(
        |c, v| {
            p::choice(v, &[("auto", GateIsolation::Auto), ("off", GateIsolation::Off)]).map(|x| c.gate_isolation = x)
        },
        |c| Some(if c.gate_isolation == GateIsolation::Auto { "auto" } else { "off" }.to_owned()),
    ),
    ours(
        "MOSAIC_GATE_PATHS",
        "paths, by colons",
        "—",
        "further paths of this machine that isolated gates see, read-only; the system, the programs in PATH and the toolchains \
         that MOSAIC_AGENT_ENV names are seen anyway",
    )
    .read(
        |c, v| p::paths(v).map(|x| c.gate_paths = x),
        |c| {
            let all: Vec<String> = c.gate_paths.iter().map(|path| path.display().to_string()).collect();
            (!all.is_empty()).then(|| all.join(":"))
        },
    ),
    ours(
        "MOSAIC_UID_RANGE",
        "two numbers from 1000 on, as 200000-265535",
        "200000-265535",
        "users that nobody else on this machine has: as root each isolated gate runs as one of its own",
    )
    .read(
        |c, v| v.parse().map(|x| c.uid_range = x).map_err(|e: UidRangeError| Outcome::Wrong(e.to_string())),
        |c| Some(c.uid_range.to_string()),
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
    .formerly("MOSAIC_CONFINEMENT")
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
];
