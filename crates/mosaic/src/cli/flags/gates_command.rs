//! Subcommands of `gates`, which need neither an agent nor a server.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::GateChoice;

/// Subcommand of `gates`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum GatesCommand {
    /// Show the gates that a directory's files define, where each comes from, and what is missing
    #[command(
        after_help = "Examples:\n  mosaic gates explain\n  mosaic gates explain ../project --profile strict --json"
    )]
    Explain(GatesExplainArgs),
    /// Write the detected gates into .mosaic/config.toml for review
    #[command(after_help = "Examples:\n  mosaic gates init\n\nAn existing file is never changed.")]
    Init(GatesInitArgs),
    /// Try the gates on a commit of the repository you are in, without an agent; exit code 11 unless they pass
    #[command(
        after_help = "Examples:\n  mosaic gates run\n  mosaic gates run --profile strict HEAD~1\n\nThe definitions are those of the commit. A verdict that is known is shown at once."
    )]
    Run(GatesRunArgs),
}

/// Flags of `gates explain`.
#[derive(Debug, Clone, Args)]
pub(crate) struct GatesExplainArgs {
    /// Directory of the project
    #[arg(value_name = "PATH", default_value = ".")]
    pub(crate) path: PathBuf,
    /// Profile of gates
    #[arg(long, value_enum, default_value = "standard", value_name = "PROFILE")]
    pub(crate) profile: GateChoice,
}

/// Flags of `gates init`.
#[derive(Debug, Clone, Args)]
pub(crate) struct GatesInitArgs {
    /// Directory of the project
    #[arg(value_name = "PATH", default_value = ".")]
    pub(crate) path: PathBuf,
}

/// Flags of `gates run`.
#[derive(Debug, Clone, Args)]
pub(crate) struct GatesRunArgs {
    /// Profile of gates
    #[arg(long, value_enum, default_value = "standard", value_name = "PROFILE")]
    pub(crate) profile: GateChoice,
    /// Gates by name, by commas; means --profile custom
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) gates: Vec<String>,
    /// Set up and judge anew, whatever is known
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Commit
    #[arg(value_name = "COMMIT", default_value = "HEAD")]
    pub(crate) commit: String,
}

/// Flags of `trust`.
#[derive(Debug, Clone, Args)]
pub(crate) struct TrustArgs {
    /// Trust without a question
    #[arg(long)]
    pub(crate) yes: bool,
}
