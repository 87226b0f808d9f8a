//! The flags of every command, and the readers of their values.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

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

/// Flags of `demo`.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct DemoArgs {
    /// Take away what the last demo left, and do nothing else
    #[arg(long)]
    pub(crate) remove: bool,
}

/// What an agent is for.
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

/// What is wanted; the same for `spawn` and `run`.
#[derive(Debug, Clone, Args)]
pub(crate) struct TaskArgs {
    /// Task id; default: made from the text
    #[arg(long, value_name = "ID")]
    pub(crate) task: Option<String>,
    /// What the agent is for
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
    /// Kind of agent: claude, command, demo
    #[arg(long, value_name = "NAME")]
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
    /// What to do, as a work item; - reads a file of tasks from standard input
    pub(crate) text: Option<String>,
    /// What is wanted.
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
    /// What to do, as a work item
    pub(crate) text: Option<String>,
    /// What is wanted.
    #[command(flatten)]
    pub(crate) task: TaskArgs,
    /// Afterwards push the agent's branch to origin, with your own git
    #[arg(long, conflicts_with = "repo")]
    pub(crate) push: bool,
    /// Print no log while it works
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// A cap on spending.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Cap {
    /// US dollars.
    Usd(f64),
    /// Model turns.
    Turns(u32),
}

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
    /// Go on until the agent has ended
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
    /// What to do with it; shown when left out.
    #[command(subcommand)]
    pub(crate) action: Option<SwitchAction>,
}

/// What to do with the kill switch.
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

/// Flags of `queue`.
#[derive(Debug, Clone, Args)]
pub(crate) struct QueueArgs {
    /// What to do with it; shown when left out.
    #[command(subcommand)]
    pub(crate) action: Option<QueueAction>,
}

/// What to do with the queue.
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
    /// What to do; listed when left out.
    #[command(subcommand)]
    pub(crate) action: Option<NodesAction>,
}

/// What to do with a node.
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

/// Flags of `audit`.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct AuditArgs {
    /// What to do with it; the newest records are listed when left out.
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

/// What to do with the audit log.
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

/// Reads a span of time; a bare number is seconds.
fn parse_time(text: &str) -> Result<std::time::Duration, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(std::time::Duration::from_secs(seconds));
    }
    humantime::parse_duration(text).map_err(|e| format!("{e}; write it as 90s, 30m or 2h"))
}

fn parse_cap(text: &str) -> Result<Cap, String> {
    let wrong = || "write it as '$2' (dollars) or 40turns".to_owned();
    if let Some(turns) = text.strip_suffix("turns").or_else(|| text.strip_suffix("turn")) {
        return turns.trim().parse().ok().filter(|&n| n > 0).map(Cap::Turns).ok_or_else(wrong);
    }
    let figure = text.trim_start_matches('$').trim_end_matches("usd");
    figure.trim().parse().ok().filter(|n: &f64| n.is_finite() && *n > 0.0).map(Cap::Usd).ok_or_else(wrong)
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_times_and_labels_are_read() {
        assert_eq!(parse_cap("$2"), Ok(Cap::Usd(2.0)));
        assert_eq!(parse_cap("0.5usd"), Ok(Cap::Usd(0.5)));
        assert_eq!(parse_cap("40turns"), Ok(Cap::Turns(40)));
        assert!(parse_cap("-1").is_err() && parse_cap("0turns").is_err() && parse_cap("inf").is_err());
        assert_eq!(parse_time("90"), Ok(std::time::Duration::from_secs(90)));
        assert_eq!(parse_time("2h"), Ok(std::time::Duration::from_secs(7200)));
        assert!(parse_time("soon").is_err());
        assert_eq!(parse_label("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(parse_label("ab").is_err() && parse_label("=b").is_err());
    }
}
