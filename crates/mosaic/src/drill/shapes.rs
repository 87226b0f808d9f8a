//! The throw-away agents of a drill: programs that try to get away, each in one way. Whatever they start has the drill's
//! mark as an argument, so that survivors are found by looking, and ends by itself after [`LIFE`], so that not even a
//! drill that was killed leaves anything behind for long.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};

/// The hidden subcommand.
pub(crate) const SUBCOMMAND: &str = "drill-agent";

/// Longest life of anything that a drill starts.
const LIFE: Duration = Duration::from_secs(120);
/// Processes that an agent starts besides itself.
pub(super) const CHILDREN: usize = 5;
/// Time after which a process of a hydra starts the next one and ends.
const HYDRA: Duration = Duration::from_millis(5);

/// A way of getting away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Its word, part of the task's name.
    pub(super) name: &'static str,
    /// Description of its behaviour, for people.
    pub(super) what: &'static str,
    /// Number of its processes that one look is sure to find.
    pub(super) seen: usize,
}

/// All of them.
pub(super) const SHAPES: [Shape; 6] = [
    Shape { name: "plain", what: "ignores SIGTERM", seen: CHILDREN + 1 },
    Shape { name: "setsid", what: "leaves the session", seen: CHILDREN + 1 },
    Shape { name: "fork", what: "leaves the session and its parents", seen: CHILDREN + 1 },
    Shape { name: "scrub", what: "the same with an empty environment", seen: CHILDREN + 1 },
    Shape { name: "hydra", what: "every process starts the next and ends, every 5 ms", seen: 2 },
    Shape { name: "stdout", what: "ends when asked, its children keep its output open", seen: CHILDREN + 1 },
];

/// Returns the name of the task of an agent, by which it knows its shape.
pub(super) fn task(shape: Shape, n: u64) -> String {
    format!("drill-{}-{n}", shape.name)
}

/// Runs the hidden subcommand: `drill-agent MARK` as an agent's program, with more words as one of its children.
pub(crate) fn drill_agent_main(args: &[String]) -> ExitCode {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        [mark] => root(mark),
        ["stay", until, ..] => stay(until),
        ["branch", "setsid", until, mark] => detach().and_then(|()| become_(&["stay", until, mark])),
        ["branch", how @ ("fork" | "scrub"), until, mark] => {
            detach().and_then(|()| start(&["branch", "setsid", until, mark], *how == "scrub", false))
        }
        ["hydra", until, mark] => hydra(until, mark),
        _ => Err(anyhow::anyhow!("usage: mosaic {SUBCOMMAND} MARK (started by mosaic drill only)")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{SUBCOMMAND}: {e:#}");
            ExitCode::FAILURE
        }
    }
}

/// The agent itself: starts its children and stays.
fn root(mark: &str) -> anyhow::Result<()> {
    let mut prompt = Vec::new();
    std::io::stdin().read_to_end(&mut prompt)?;
    let task = std::env::var("MOSAIC_TASK_ID").unwrap_or_default();
    let shape = task.split('-').nth(1).unwrap_or_default().to_owned();
    let until = (now() + LIFE.as_secs()).to_string();
    let mark = format!("{mark}-{task}");
    for _ in 0..CHILDREN {
        match shape.as_str() {
            "plain" => start(&["stay", &until, &mark], false, true)?,
            "setsid" => start(&["branch", "setsid", &until, &mark], false, true)?,
            "fork" => start(&["branch", "fork", &until, &mark], false, true)?,
            "scrub" => start(&["branch", "scrub", &until, &mark], true, true)?,
            "hydra" => start(&["hydra", &until, &mark], false, true)?,
            "stdout" => talkative(&until, &mark)?,
            other => bail!("there is no shape \"{other}\""),
        }
    }
    println!("up");
    std::io::stdout().flush()?;
    if shape == "stdout" {
        return become_(&["stay", &until, &mark]);
    }
    Err(deaf(&["stay", &until, &mark]).exec()).context("the shell cannot be started")
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn is_over(until: &str) -> bool {
    until.parse::<u64>().is_ok_and(|until| now() >= until)
}

fn stay(until: &str) -> anyhow::Result<()> {
    while !is_over(until) {
        std::thread::sleep(Duration::from_millis(500));
    }
    Ok(())
}

fn again(words: &[&str]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg(SUBCOMMAND).args(words);
    command
}

/// Returns a command of this program that ignores SIGTERM, as does whatever it starts: the shell's `trap ''` is inherited.
fn deaf(words: &[&str]) -> Command {
    let own = std::env::current_exe().unwrap_or_default();
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "trap '' TERM; exec \"$0\" \"$@\""]).arg(own).arg(SUBCOMMAND).args(words);
    shell
}

/// Starts a process and does not wait for it.
fn start(words: &[&str], scrubbed: bool, is_deaf: bool) -> anyhow::Result<()> {
    let mut command = if is_deaf { deaf(words) } else { again(words) };
    if scrubbed {
        command.env_clear();
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map(drop).context("a process cannot be started")
}

/// Starts a process that holds the agent's output open.
fn talkative(until: &str, mark: &str) -> anyhow::Result<()> {
    deaf(&["stay", until, mark]).stdin(Stdio::null()).spawn().map(drop).context("a process cannot be started")
}

fn become_(words: &[&str]) -> anyhow::Result<()> {
    Err(again(words).exec()).context("the program cannot be started again")
}

fn detach() -> anyhow::Result<()> {
    rustix::process::setsid().map(drop).context("the session cannot be left")
}

fn hydra(until: &str, mark: &str) -> anyhow::Result<()> {
    std::thread::sleep(HYDRA);
    if is_over(until) { Ok(()) } else { start(&["hydra", until, mark], false, false) }
}
