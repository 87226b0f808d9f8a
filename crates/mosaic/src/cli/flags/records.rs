//! Flags of the commands about the audit log, the configuration and the token.

use clap::{Args, Subcommand};

/// Flags of `audit`.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct AuditArgs {
    /// Subcommand; lists the newest records when left out.
    #[command(subcommand)]
    pub(crate) action: Option<AuditAction>,
    /// Which records.
    #[command(flatten)]
    pub(crate) filter: AuditFilter,
}

/// Which records of the audit log are listed.
#[derive(Debug, Clone, Args)]
pub(crate) struct AuditFilter {
    /// Only of this actor, such as operator, agent or mosaic
    #[arg(long, value_name = "WHO")]
    pub(crate) actor: Option<String>,
    /// Only this action, such as kill, rm or config
    #[arg(long, value_name = "WHAT")]
    pub(crate) action: Option<String>,
    /// Only since then: 2h, 7d or 2026-11-22T10:04:09Z
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// At most this many, the newest
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
    pub(crate) limit: usize,
}

impl Default for AuditFilter {
    fn default() -> Self {
        Self { actor: None, action: None, since: None, limit: 50 }
    }
}

/// Commands about the audit log.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum AuditAction {
    /// List the newest records (the default)
    #[command(
        visible_alias = "ls",
        after_help = "Examples:\n  mosaic audit list --action kill --since 7d\n  mosaic audit list --json"
    )]
    List(AuditFilter),
    /// Check that no record was changed, removed, added or moved; exit code 1 and the first bad one when it was
    #[command(after_help = "Examples:\n  mosaic audit verify\n  mosaic audit verify --json")]
    Verify,
    /// Print number and hash of the newest record, to be kept where this machine cannot write
    #[command(after_help = "Examples:\n  mosaic audit head\n  mosaic audit head --json")]
    Head,
    /// Print every record as it stands in the files, one JSON object per line
    #[command(
        after_help = "Examples:\n  mosaic audit export > audit.jsonl\n  mosaic audit export | jq .actor"
    )]
    Export,
}

/// Flags of `config`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConfigArgs {
    /// Print the table of README
    #[arg(long, conflicts_with = "json")]
    pub(crate) markdown: bool,
}

/// Flags of `token`.
#[derive(Debug, Clone, Args)]
pub(crate) struct TokenArgs {
    /// Print the token itself
    #[arg(long)]
    pub(crate) show: bool,
}

/// Flags of `completions`.
#[derive(Debug, Clone, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}
