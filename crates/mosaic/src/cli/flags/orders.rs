//! Flags of orders to agents.

use clap::{Args, Subcommand, ValueEnum};

use super::look::OneAgent;
use super::values::parse_time;

/// Flags of `drain`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DrainArgs {
    /// Longest time to wait, such as 90s, 30m, 2h; the drain itself goes on
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) timeout: Option<std::time::Duration>,
    /// Wait until the server has ended, which is what happens anyway, at most TIME
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, value_parser = parse_time, conflicts_with = "timeout")]
    pub(crate) wait: Option<Option<std::time::Duration>>,
}

/// Flags of `kill`.
#[derive(Debug, Clone, Args)]
pub(crate) struct KillArgs {
    /// The agent.
    #[command(flatten)]
    pub(crate) one: OneAgent,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// Flags of `kill-all`.
#[derive(Debug, Clone, Args)]
pub(crate) struct KillAllArgs {
    /// Do not ask; with a number, only if that many agents are there
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true)]
    pub(crate) yes: Option<Option<u64>>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Only list what would be killed
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Flags of `freeze` and `thaw`.
#[derive(Debug, Clone, Args)]
pub(crate) struct FreezeArgs {
    /// Names, ids, starts of them, or @last
    #[arg(value_name = "AGENT", required_unless_present = "all")]
    pub(crate) agents: Vec<String>,
    /// Every agent that runs
    #[arg(long, conflicts_with = "agents")]
    pub(crate) all: bool,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// Flags of `drill`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DrillArgs {
    /// Agents of each escape shape
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u64).range(1..=20))]
    pub(crate) agents: u64,
}

/// Flags of `rm`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RmArgs {
    /// Names, ids, starts of them (4 characters or more), or @last
    #[arg(value_name = "AGENT", required = true)]
    pub(crate) agents: Vec<String>,
    /// Give up work that is kept nowhere else; the agent's name must be typed, or given here
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true)]
    pub(crate) discard: Option<Option<String>>,
}

/// Flags of `prune`.
#[derive(Debug, Clone, Args)]
pub(crate) struct PruneArgs {
    /// Only agents that ended longer ago than this, such as 30d, 12h
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = parse_time)]
    pub(crate) older_than: std::time::Duration,
    /// Only say what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask; with a number, only if that many agents would go
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true)]
    pub(crate) yes: Option<Option<u64>>,
    /// Give up work that is kept nowhere else; the number of such agents must be typed, or given here
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true)]
    pub(crate) force: Option<Option<u64>>,
}

/// An answer to a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AnswerChoice {
    /// Its silence counts from now on
    Wait,
    /// It ends
    Kill,
}

impl From<AnswerChoice> for mosaic_api::AttentionAnswer {
    fn from(choice: AnswerChoice) -> Self {
        match choice {
            AnswerChoice::Wait => Self::Wait,
            AnswerChoice::Kill => Self::Kill,
        }
    }
}

/// Flags of `answer`.
#[derive(Debug, Clone, Args)]
pub(crate) struct AnswerArgs {
    /// Name or id of the agent, or the id of the decision as `mosaic attention` lists it
    #[arg(value_name = "AGENT")]
    pub(crate) decision: String,
    /// The answer
    #[arg(value_enum, value_name = "ANSWER")]
    pub(crate) answer: AnswerChoice,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// Flags of `killswitch`.
#[derive(Debug, Clone, Args)]
pub(crate) struct KillswitchArgs {
    /// Subcommand; shows the state when left out.
    #[command(subcommand)]
    pub(crate) action: Option<SwitchAction>,
}

/// Commands about the kill switch.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum SwitchAction {
    /// Show whether dispatch is stopped, by whom and why (the default)
    #[command(after_help = "Examples:\n  mosaic killswitch status\n  mosaic killswitch status --json")]
    Status,
    /// Kill what runs and start nothing; what waits keeps its place
    #[command(
        after_help = "Examples:\n  mosaic killswitch engage\n  mosaic killswitch engage --yes --reason \"release freeze\""
    )]
    Engage {
        /// Do not ask; with a number, only if that many agents run
        #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true)]
        yes: Option<Option<u64>>,
        /// Why, for the record
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Let what waits start again
    #[command(after_help = "Examples:\n  mosaic killswitch release\n  mosaic killswitch release --json")]
    Release,
}

/// Flags of `retry`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RetryArgs {
    /// The agent.
    #[command(flatten)]
    pub(crate) one: OneAgent,
    /// Print the new id only
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// A finding of the secret scan that is no secret, by its fingerprint (see `mosaic gates`); again for more
    #[arg(long, value_name = "FINGERPRINT", requires = "reason")]
    pub(crate) allow_secret: Vec<String>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// Flags of `restore`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RestoreArgs {
    /// The agent.
    #[command(flatten)]
    pub(crate) one: OneAgent,
    /// Print the directory only
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// The work of this attempt; one that ended with its node comes before the last
    #[arg(long, value_name = "N", conflicts_with = "run")]
    pub(crate) attempt: Option<u32>,
    /// The work of this run, as mosaic status shows it
    #[arg(long, value_name = "N")]
    pub(crate) run: Option<u32>,
}
