//! The command line: every command, flag, help text and example. What a command does is in `commands/`.

mod flags;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use flags::*;

use crate::color::ColorChoice;
use crate::exit;

/// The commands by group, as the help shows them. A test compares it with the real list.
const GROUPS: &str = "\
Start:
  serve        Run the server in the foreground
  coordinator  Judge commits for other orchestrators, in the foreground
  demo         Watch scripted agents do real work, without a model or a key
  drain        Take the server out of service once what runs has ended
  doctor       Check this machine: tools, logins, disk, server

Work:
  run          Do one task on the repository you are in, and wait for it
  spawn        Hand one task, or a file of tasks, to the server
  attention    List the decisions that agents need of you
  answer       Answer such a decision
  wait         Wait until agents have ended
  retry        Do an ended agent's task again with a new agent

See:
  ps           List agents
  status       Show one agent, or the state of the server
  logs         Show what an agent says and does
  diff         Show what an agent changed
  gates        Show what the quality gates found
  queue        Show, pause and resume the queue; take work out of it
  nodes        List the nodes of the fleet; take one out of service
  audit        Show who did what, and check that nobody changed the record of it

Stop:
  kill         Kill one agent; its work is kept
  kill-all     Kill every agent; their work is kept
  restore      Bring back what an ended agent left, uncommitted work included
  rm           Remove ended agents with everything that is left of them
  prune        Remove agents that ended long ago
  killswitch   Stop everything and let nothing start until it is released
  freeze       Stop agents where they are, without losing anything
  thaw         Resume frozen agents
  drill        Prove on this machine that a kill leaves nothing alive

Plumbing:
  config       Show every setting with its value and where it comes from
  trust        Trust the gate commands of the repository you are in
  token        Show where the API token is
  completions  Print completions for a shell";

/// Starts coding agents, each in a working tree of its own, judges what they made, and pushes it.
#[derive(Debug, Parser)]
#[command(
    name = "mosaic",
    version,
    about = "Gives tasks to coding agents, each in a working tree of its own, judges what they made, and pushes it.",
    help_template = "{about}\n\nUsage: {usage}\n\n{before-help}Options:\n{options}{after-help}",
    before_help = GROUPS,
    after_help = root_help(),
    disable_help_subcommand = false,
    max_term_width = 120
)]
pub(crate) struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub(crate) global: Global,
    /// Subcommand.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

fn root_help() -> String {
    format!("Examples:\n  mosaic demo\n  mosaic run \"add a test for the parser\"\n\n{}", exit::HELP)
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Common options")]
pub(crate) struct Global {
    /// Print JSON for programs
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// When to colour
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "WHEN")]
    pub(crate) color: ColorChoice,
    /// Address of the server; default: MOSAIC_URL, else the server of the data directory
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// File with the API token; default: MOSAIC_TOKEN, else the data directory's
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Directory of all state; default: MOSAIC_DATA_DIR
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// Subcommand.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server in the foreground
    #[command(
        after_help = "Examples:\n  mosaic serve\n  ORCHESTRATOR_PORT=8080 MOSAIC_SLOTS=8 mosaic serve\n\nSettings are environment variables: mosaic config"
    )]
    Serve(ServeArgs),
    /// Judge commits for other orchestrators, in the foreground
    #[command(
        after_help = "Examples:\n  mosaic coordinator\n  MOSAIC_COORDINATOR_SLOTS=8 mosaic coordinator --port 8443\n\nOrchestrators ask it with COORDINATOR_URL and MOSAIC_COORDINATOR_TOKEN; its own token is in the file\ncoordinator/token below the data directory."
    )]
    Coordinator(CoordinatorArgs),
    /// Watch scripted agents do real work, without a model or a key
    #[command(after_help = "Examples:\n  mosaic demo\n  mosaic demo --remove")]
    Demo(DemoArgs),
    /// Do one task on the repository you are in, and wait for it
    #[command(
        after_help = "Examples:\n  mosaic run \"add a test for the parser\"\n  mosaic run \"fix the flaky test\" --gate strict --push\n\nThe base is the committed HEAD; uncommitted changes are not included. Exit codes: 10 agent failed, 11 gates not passed,\n12 killed, 13 budget reached, 130 interrupted."
    )]
    Run(RunArgs),
    /// Hand one task, or a file of tasks, to the server
    #[command(
        after_help = "Examples:\n  mosaic spawn \"fix divide by zero\" --gate standard --budget '$2' --priority 3\n  mosaic spawn --task US-001 --repo https://git.example.com/repo.git --branch main --item US-001 -q\n\nA file of tasks has one spawn body (JSON) per line: mosaic spawn -f tasks.jsonl, or: cat tasks.jsonl | mosaic spawn -"
    )]
    Spawn(SpawnArgs),
    /// List agents
    #[command(
        after_help = "Examples:\n  mosaic ps\n  mosaic ps -a -l team=web --json\n\nPiped, the list is one flat table with tabs and ISO times."
    )]
    Ps(PsArgs),
    /// List the decisions that agents need of you
    #[command(after_help = "Examples:\n  mosaic attention\n  mosaic attention --json")]
    Attention,
    /// Answer such a decision
    #[command(
        after_help = "Examples:\n  mosaic answer fix-divide-7d0c wait\n  mosaic answer fix-divide-7d0c kill --reason \"it loops\"\n\nAn answer that comes too late is refused with the reason (exit code 6)."
    )]
    Answer(AnswerArgs),
    /// Show one agent, or the state of the server
    #[command(after_help = "Examples:\n  mosaic status fix-divide\n  mosaic status --json")]
    Status(StatusArgs),
    /// Show what an agent says and does
    #[command(
        after_help = "Examples:\n  mosaic logs -f fix-divide\n  mosaic logs @last -n 50 --kind tool,text"
    )]
    Logs(LogsArgs),
    /// Show what an agent changed
    #[command(after_help = "Examples:\n  mosaic diff fix-divide\n  mosaic diff @last --stat")]
    Diff(DiffArgs),
    /// Show what the quality gates found; exit code 11 unless they passed
    #[command(
        after_help = "Examples:\n  mosaic gates fix-divide\n  mosaic gates fix-divide --log tests\n  mosaic gates -f @last\n  mosaic gates --since 7d\n  mosaic gates explain\n\nThe exit code of --log and of the history is 0."
    )]
    Gates(GatesArgs),
    /// Trust the gate commands of the repository you are in, as they are in the commit of HEAD
    #[command(
        after_help = "Examples:\n  mosaic trust\n  mosaic trust --yes\n\nTrust is given to the exact definitions, written down or detected, and to the scripts that they run by name: a change\nof one is a new question."
    )]
    Trust(TrustArgs),
    /// Wait until agents have ended
    #[command(
        after_help = "Examples:\n  mosaic wait fix-divide docs-tidy --timeout 30m\n  mosaic wait --any 7d0c6c1e 51cc0d4e && notify-send done\n\nExit codes: 8 the time ran out, 10 agent failed, 11 gates not passed, 12 killed, 13 budget reached."
    )]
    Wait(WaitArgs),
    /// Kill one agent; its work is kept
    #[command(
        visible_alias = "stop",
        after_help = "Examples:\n  mosaic kill perf-parse --reason looping\n  mosaic kill @last"
    )]
    Kill(KillArgs),
    /// Kill every agent, queued ones included; their work is kept
    #[command(
        after_help = "Examples:\n  mosaic kill-all\n  mosaic kill-all --yes=5\n\nWhat is spawned afterwards runs as usual. Exit code 7 when some could not be killed."
    )]
    KillAll(KillAllArgs),
    /// Remove ended agents with everything that is left of them: record, transcripts, logs, kept commits
    #[command(
        after_help = "Examples:\n  mosaic rm fix-divide docs-tidy\n  mosaic rm perf-parse --discard=perf-parse-0e31\n\nAn agent whose work is kept nowhere else is refused, and the commits that would die are named; with --discard its\nname must be typed. Exit code 6 when an agent was refused, 7 when only some were removed."
    )]
    Rm(RmArgs),
    /// Remove agents that ended long ago; those whose work is kept nowhere else stay
    #[command(
        after_help = "Examples:\n  mosaic prune --dry-run\n  mosaic prune --older-than 7d --yes\n\nWith --force the work of agents that was never pushed goes too, and their number must be typed."
    )]
    Prune(PruneArgs),
    /// Stop everything and let nothing start until it is released; what waits keeps its place
    #[command(
        after_help = "Examples:\n  mosaic killswitch\n  mosaic killswitch engage --reason \"release freeze\"\n  mosaic killswitch release\n\nThe switch survives restarts of the server. Exit code 7 when some could not be killed."
    )]
    Killswitch(KillswitchArgs),
    /// Stop agents where they are, until they are thawed; nothing is lost
    #[command(
        after_help = "Examples:\n  mosaic freeze fix-divide --reason \"looks odd\"\n  mosaic freeze --all\n\nTheir time limits do not run meanwhile. A kill works on a frozen agent too. Exit code 7 when some could not be frozen."
    )]
    Freeze(FreezeArgs),
    /// Resume frozen agents
    #[command(after_help = "Examples:\n  mosaic thaw fix-divide\n  mosaic thaw --all")]
    Thaw(FreezeArgs),
    /// Prove on this machine that a kill leaves nothing alive: throw-away agents in every escape shape
    #[command(
        after_help = "Examples:\n  mosaic drill\n  mosaic drill --agents 3 --json\n\nIt has a server and a state directory of its own and touches nothing else. Exit code 1 when anything survived."
    )]
    Drill(DrillArgs),
    /// Do an ended agent's task again with a new agent
    #[command(after_help = "Examples:\n  mosaic retry fix-divide\n  mosaic retry @last -q")]
    Retry(RetryArgs),
    /// Bring back what an ended agent left, uncommitted work included, as a repository of its own
    #[command(
        after_help = "Examples:\n  mosaic restore perf-parse\n  cd \"$(mosaic restore @last -q)\" && git status\n\nThe copy is on the server's machine, below its data directory, and is yours: nothing changes or removes it."
    )]
    Restore(RestoreArgs),
    /// Show, pause and resume the queue; take work out of it. Priority 1 runs first
    #[command(
        after_help = "Examples:\n  mosaic queue\n  mosaic queue pause --reason \"release freeze\"\n\nPriority goes from 1 (runs first) to 10."
    )]
    Queue(QueueArgs),
    /// List the nodes of the fleet; take one out of service, or back into it
    #[command(
        after_help = "Examples:\n  mosaic nodes\n  mosaic nodes drain build-2 --reason \"new kernel\"\n\nA cordoned node takes nothing new. A drained one also ends its server once nothing runs there."
    )]
    Nodes(NodesArgs),
    /// Show who did what, and check that nobody changed the record of it
    #[command(
        after_help = "Examples:\n  mosaic audit --action kill --since 7d\n  mosaic audit verify\n\nWorks without a server, from the data directory. Exit code 1 when verify finds a record that was changed."
    )]
    Audit(AuditArgs),
    /// Take the server out of service once what runs has ended
    #[command(
        after_help = "Examples:\n  mosaic drain\n  mosaic drain --timeout 30m\n\nWithout it, a server that is stopped leaves its agents running for the next one."
    )]
    Drain(DrainArgs),
    /// Check this machine: tools, logins, disk, server; exit code 1 when something is broken
    #[command(after_help = "Examples:\n  mosaic doctor\n  mosaic doctor --json")]
    Doctor,
    /// Show every setting with its value and where it comes from
    #[command(after_help = "Examples:\n  mosaic config\n  mosaic config --markdown")]
    Config(ConfigArgs),
    /// Show where the API token is
    #[command(
        after_help = "Examples:\n  mosaic token\n  curl -H \"Authorization: Bearer $(mosaic token --show)\" http://127.0.0.1:3001/v1/agents"
    )]
    Token(TokenArgs),
    /// Print completions for a shell
    #[command(
        after_help = "Examples:\n  mosaic completions bash > ~/.local/share/bash-completion/completions/mosaic\n  mosaic completions zsh > ~/.zfunc/_mosaic"
    )]
    Completions(CompletionsArgs),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_groups_name_every_command_and_every_command_has_two_examples() {
        for sub in Cli::command().get_subcommands() {
            let name = sub.get_name();
            let line = GROUPS.lines().find(|l| l.split_whitespace().next() == Some(name));
            assert!(line.is_some(), "{name} is in no group");
            let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples = help.lines().filter(|l| l.starts_with("  ") && l.contains("mosaic")).count();
            assert!(examples >= 2, "{name} has {examples} examples");
        }
    }
}
