//! Flags of the commands that give work, and of those that start a server.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::values::{Cap, parse_cap, parse_label, parse_time};
use crate::config::runtimes;

/// Flags of `serve`; each stands over its variable.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ServeArgs {
    /// Port (ORCHESTRATOR_PORT)
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// Address to listen on (MOSAIC_BIND)
    #[arg(long, value_name = "IP")]
    pub(crate) bind: Option<String>,
    /// Agents at once (MOSAIC_SLOTS)
    #[arg(long, value_name = "N")]
    pub(crate) slots: Option<u32>,
}

/// Flags of `coordinator`; each stands over its variable.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct CoordinatorArgs {
    /// Port (MOSAIC_COORDINATOR_PORT)
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// Address to listen on (MOSAIC_COORDINATOR_BIND)
    #[arg(long, value_name = "IP")]
    pub(crate) bind: Option<String>,
    /// Checks at once (MOSAIC_COORDINATOR_SLOTS)
    #[arg(long, value_name = "N")]
    pub(crate) slots: Option<u32>,
}

/// Flags of `demo`.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct DemoArgs {
    /// Delete what the last demo left, and do nothing else
    #[arg(long)]
    pub(crate) remove: bool,
}

/// Purpose of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TypeChoice {
    /// Makes a change
    Worker,
    /// Reads and reports
    Reviewer,
    /// Writes or runs tests
    Tester,
}

/// Which gates judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GateChoice {
    /// Typecheck, lint, tests, coverage 85 %, build, integration, AI review
    Strict,
    /// Typecheck, lint, tests, coverage 85 %
    Standard,
    /// Tests
    Minimal,
    /// The list of --gates
    Custom,
}

/// Options of a task; the same for `spawn` and `run`.
#[derive(Debug, Clone, Args)]
pub(crate) struct TaskArgs {
    /// Task id; default: made from the text
    #[arg(long, value_name = "ID")]
    pub(crate) task: Option<String>,
    /// Purpose of the agent
    #[arg(long = "type", value_enum, default_value = "worker", value_name = "TYPE")]
    pub(crate) agent_type: TypeChoice,
    /// Profile of gates; default: the type's
    #[arg(long, value_enum, value_name = "PROFILE")]
    pub(crate) gate: Option<GateChoice>,
    /// Gates by name, by commas; means --gate custom
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) gates: Vec<String>,
    /// Repository: https, ssh, user@host:path
    #[arg(long, value_name = "URL")]
    pub(crate) repo: Option<String>,
    /// Base branch
    #[arg(long)]
    pub(crate) branch: Option<String>,
    /// A work item: an id that the repository knows, or text; may be repeated
    #[arg(long = "item", value_name = "ITEM")]
    pub(crate) items: Vec<String>,
    /// A skill by name; may be repeated
    #[arg(long = "skill", value_name = "NAME")]
    pub(crate) skills: Vec<String>,
    /// More text for the agent
    #[arg(long, value_name = "TEXT")]
    pub(crate) instructions: Option<String>,
    /// 1 (runs first) to 10
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=10))]
    pub(crate) priority: Option<u8>,
    /// Longest time of an attempt, such as 90s, 30m, 2h
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) timeout: Option<std::time::Duration>,
    /// Automatic retries after the first attempt
    #[arg(long, value_name = "N")]
    pub(crate) max_retries: Option<u32>,
    /// Kind of agent
    #[arg(long, value_name = "NAME", help = format!("Kind of agent: {}", runtimes::NAMES))]
    pub(crate) runtime: Option<String>,
    /// Model
    #[arg(long, value_name = "NAME")]
    pub(crate) model: Option<String>,
    /// Cap on spending: '$2' (dollars) or 40turns; may be repeated
    #[arg(long, value_name = "CAP", value_parser = parse_cap)]
    pub(crate) budget: Vec<Cap>,
    /// Label for finding it again; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    pub(crate) labels: Vec<(String, String)>,
    /// Label that the node must have on which it runs; may be repeated
    #[arg(long = "node-label", value_name = "KEY=VALUE", value_parser = parse_label)]
    pub(crate) node_labels: Vec<(String, String)>,
    /// Makes repeating this very request harmless
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
}

/// Flags of `spawn`.
#[derive(Debug, Clone, Args)]
pub(crate) struct SpawnArgs {
    /// Work item: one sentence about the task; - reads a file of tasks from standard input
    pub(crate) text: Option<String>,
    /// Options of the task.
    #[command(flatten)]
    pub(crate) task: TaskArgs,
    /// File of tasks: one spawn body (JSON) per line; - is standard input
    #[arg(short = 'f', long = "file", value_name = "FILE", conflicts_with = "text")]
    pub(crate) file: Option<PathBuf>,
    /// Print ids only
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Flags of `run`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunArgs {
    /// Work item: one sentence about the task
    pub(crate) text: Option<String>,
    /// Options of the task.
    #[command(flatten)]
    pub(crate) task: TaskArgs,
    /// Afterwards push the agent's branch to origin, with your own git
    #[arg(long, conflicts_with = "repo")]
    pub(crate) push: bool,
    /// Print no log while it works
    #[arg(short, long)]
    pub(crate) quiet: bool,
}
