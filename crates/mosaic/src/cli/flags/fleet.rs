//! Flags of the commands about the queue and the nodes.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::values::parse_time;

/// Flags of `queue`.
#[derive(Debug, Clone, Args)]
pub(crate) struct QueueArgs {
    /// Subcommand; shows the state when left out.
    #[command(subcommand)]
    pub(crate) action: Option<QueueAction>,
}

/// Commands about the queue.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum QueueAction {
    /// Show what waits (the default)
    #[command(
        visible_alias = "ls",
        after_help = "Examples:\n  mosaic queue list\n  mosaic queue list --json"
    )]
    List,
    /// Start nothing new; running agents go on
    #[command(
        after_help = "Examples:\n  mosaic queue pause\n  mosaic queue pause --reason \"release freeze\""
    )]
    Pause {
        /// Why, for the record
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Start waiting work again
    #[command(after_help = "Examples:\n  mosaic queue resume\n  mosaic queue resume --json")]
    Resume,
    /// Take waiting work of a task out of the queue
    #[command(after_help = "Examples:\n  mosaic queue rm US-021\n  mosaic queue rm US-021 --json")]
    Rm {
        /// Task id
        #[arg(value_name = "TASK")]
        task: String,
    },
    /// Take everything that waits out of this store, into a file for another one
    #[command(
        after_help = "Examples:\n  mosaic drain && mosaic queue export queue.ndjson\n  mosaic queue export --embedded queue.ndjson\n  mosaic queue export --dry-run\n\nWhat was exported ends here as killed and runs where the file is imported. An export that was broken off is finished by the same command."
    )]
    Export {
        /// The file; standard output when left out
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// Take the embedded store of the data directory, whatever VALKEY_HOST says; no server may use the directory
        #[arg(long)]
        embedded: bool,
        /// Only say what would be exported
        #[arg(long)]
        dry_run: bool,
    },
    /// Admit what an export took out of another store; what is there already is left as it is
    #[command(
        after_help = "Examples:\n  VALKEY_HOST=valkey mosaic queue import queue.ndjson\n  mosaic queue import --dry-run queue.ndjson\n\nMay be repeated: an agent keeps its id and is admitted once."
    )]
    Import {
        /// The file, or - for standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Only read the file and say what is in it
        #[arg(long)]
        dry_run: bool,
    },
}

/// Flags of `nodes`.
#[derive(Debug, Clone, Args)]
pub(crate) struct NodesArgs {
    /// Subcommand; lists the nodes when left out.
    #[command(subcommand)]
    pub(crate) action: Option<NodesAction>,
}

/// Commands about a node.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum NodesAction {
    /// List them (the default)
    #[command(
        visible_alias = "ls",
        after_help = "Examples:\n  mosaic nodes list\n  mosaic nodes list --json"
    )]
    List,
    /// Start nothing new there; what runs goes on
    #[command(
        after_help = "Examples:\n  mosaic nodes cordon build-2\n  mosaic nodes cordon build-2 --reason \"bad disk\""
    )]
    Cordon(NodeArgs),
    /// Start work there again
    #[command(
        after_help = "Examples:\n  mosaic nodes uncordon build-2\n  mosaic nodes uncordon build-2 --json"
    )]
    Uncordon(NodeArgs),
    /// Start nothing new there, and end its server once what runs there has ended
    #[command(
        after_help = "Examples:\n  mosaic nodes drain build-2\n  mosaic nodes drain build-2 --wait=30m --reason \"new kernel\""
    )]
    Drain(NodeDrainArgs),
    /// Take a node that is gone off the list
    #[command(
        name = "rm",
        after_help = "Examples:\n  mosaic nodes rm build-2\n  mosaic nodes rm build-2 --lost --reason \"the disk is gone\""
    )]
    Remove(NodeRemoveArgs),
}

/// Flags of `nodes drain`.
#[derive(Debug, Clone, Args)]
pub(crate) struct NodeDrainArgs {
    /// The node.
    #[command(flatten)]
    pub(crate) one: NodeArgs,
    /// Wait until its server has ended, at most TIME; the drain itself goes on
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, value_parser = parse_time)]
    pub(crate) wait: Option<Option<std::time::Duration>>,
}

/// Flags of `nodes rm`.
#[derive(Debug, Clone, Args)]
pub(crate) struct NodeRemoveArgs {
    /// The node.
    #[command(flatten)]
    pub(crate) one: NodeArgs,
    /// It never comes back: give up the work that only it had, so that others may remove the records
    #[arg(long)]
    pub(crate) lost: bool,
}

/// One node.
#[derive(Debug, Clone, Args)]
pub(crate) struct NodeArgs {
    /// Name of the node
    #[arg(value_name = "NODE")]
    pub(crate) node: String,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}
