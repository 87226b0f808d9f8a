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

/// Flags of `trust`.
#[derive(Debug, Clone, Args)]
pub(crate) struct TrustArgs {
    /// Trust without a question
    #[arg(long)]
    pub(crate) yes: bool,
}
