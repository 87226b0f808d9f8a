//! Flags by which `gates` shows judgements.

use clap::Args;

use super::GatesCommand;

/// Flags of `gates`.
#[derive(Debug, Clone, Default, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct GatesArgs {
    /// Subcommand.
    #[command(subcommand)]
    pub(crate) command: Option<GatesCommand>,
    /// Name, id, start of one (4 characters or more), or @last; without one: the history of gates
    #[arg(value_name = "AGENT")]
    pub(crate) agent: Option<String>,
    /// Print the log of this gate
    #[arg(long, value_name = "GATE", requires = "agent")]
    pub(crate) log: Option<String>,
    /// Only the last N lines of that log
    #[arg(long, value_name = "N", requires = "log", conflicts_with = "follow")]
    pub(crate) tail: Option<usize>,
    /// Show what the gates write, until the running or next judgement is over
    #[arg(short, long, requires = "agent")]
    pub(crate) follow: bool,
    /// Write the results as JUnit XML; - for standard output
    #[arg(long, value_name = "FILE", requires = "agent", conflicts_with_all = ["log", "json"])]
    pub(crate) junit: Option<String>,
    /// Write the findings as SARIF 2.1.0; - for standard output
    #[arg(long, value_name = "FILE", requires = "agent", conflicts_with_all = ["log", "json"])]
    pub(crate) sarif: Option<String>,
    /// Print annotations of GitHub Actions instead of a table
    #[arg(long, requires = "agent", conflicts_with_all = ["log", "json"])]
    pub(crate) github: bool,
    /// History: only this repository
    #[arg(long, value_name = "URL", conflicts_with = "agent")]
    pub(crate) repo: Option<String>,
    /// History: only this gate
    #[arg(long, value_name = "GATE", conflicts_with = "agent")]
    pub(crate) gate: Option<String>,
    /// History: only since this time, or so long ago, such as 7d
    #[arg(long, value_name = "TIME", conflicts_with = "agent")]
    pub(crate) since: Option<String>,
}
