//! Flags of the commands that look at agents.

use clap::Args;

use super::values::{parse_label, parse_time};

/// Flags of `ps`.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PsArgs {
    /// Show ended agents too
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Only agents that need you, failed, or have warnings
    #[arg(long)]
    pub(crate) problems: bool,
    /// Only agents with this status; may be repeated
    #[arg(long, value_parser = ["spawning", "running", "completed", "failed", "killed"])]
    pub(crate) status: Vec<String>,
    /// Only agents with this label
    #[arg(short = 'l', long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    pub(crate) label: Option<(String, String)>,
    /// Only agents of this repository
    #[arg(long, value_name = "URL")]
    pub(crate) repo: Option<String>,
    /// Most agents to show
    #[arg(short = 'n', long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    /// Print ids only
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Names one agent.
#[derive(Debug, Clone, Args)]
pub(crate) struct OneAgent {
    /// Name, id, start of one (4 characters or more), or @last
    #[arg(value_name = "AGENT")]
    pub(crate) agent: String,
}

/// Flags of `status`.
#[derive(Debug, Clone, Args)]
pub(crate) struct StatusArgs {
    /// Name, id, start of one (4 characters or more), or @last; without one: the server
    #[arg(value_name = "AGENT")]
    pub(crate) agent: Option<String>,
}

/// Flags of `logs`.
#[derive(Debug, Clone, Args)]
pub(crate) struct LogsArgs {
    /// The agent.
    #[command(flatten)]
    pub(crate) one: OneAgent,
    /// Continue until the agent has ended
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only the last N entries
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) last: Option<usize>,
    /// Only these kinds, by commas: text, thinking, tool, toolResult, output, notice, denied, usage
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    pub(crate) kind: Vec<String>,
    /// The agent's own output as it came, control characters escaped on a terminal
    #[arg(long, conflicts_with_all = ["follow", "last", "kind", "json"])]
    pub(crate) raw: bool,
}

/// Flags of `diff`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DiffArgs {
    /// The agent.
    #[command(flatten)]
    pub(crate) one: OneAgent,
    /// Only which files and how many lines
    #[arg(long)]
    pub(crate) stat: bool,
    /// Only the names of the files
    #[arg(long, conflicts_with = "stat")]
    pub(crate) name_only: bool,
}

/// Flags of `wait`.
#[derive(Debug, Clone, Args)]
pub(crate) struct WaitArgs {
    /// Names, ids, starts of them, or @last
    #[arg(value_name = "AGENT", required = true)]
    pub(crate) agents: Vec<String>,
    /// Until all have ended (the default)
    #[arg(long, conflicts_with = "any")]
    pub(crate) all: bool,
    /// Until one has ended
    #[arg(long)]
    pub(crate) any: bool,
    /// Longest time, such as 90s, 30m, 2h
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) timeout: Option<std::time::Duration>,
}
