//! An agent that misbehaves in one chosen way, for tests of supervision: `fake-agent <behaviour> [arguments]`.
//! Whatever it starts carries the same last argument, so that a test finds survivors by their command lines.

use std::io::{BufRead, Read, Write};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

const USAGE: &str = "usage: fake-agent <behaviour> [arguments]
  exit CODE | sleep MARK | echo | flood BYTES | line BYTES | garbage | grow MARK | stderr BYTES
  ignore-term MARK | interruptible MARK | leak MARK
  tree term|setsid|double-setsid|scrub|hydra COUNT MARK | bomb COUNT MARK";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["exit", code] => return ExitCode::from(code.parse().unwrap_or(2)),
        ["sleep", ..] => sleep_for_ever(),
        ["echo"] => echo(),
        ["flood", bytes] => flood(number(bytes)),
        ["line", bytes] => one_line(number(bytes)),
        ["garbage"] => std::io::stdout().write_all(b"a\0b\xff\xfe\xc3(\n\x1b[31mred\n"),
        ["grow", ..] => grow(),
        ["stderr", bytes] => std::io::stderr().write_all("é".repeat(number(bytes) / 2).as_bytes()),
        ["ignore-term", mark] => deaf(&["up-and-sleep", mark]),
        ["interruptible", ..] => interruptible(),
        ["leak", mark] => leak(mark),
        ["tree", shape, count, mark] => tree(shape, number(count), mark),
        ["bomb", count, mark] => bomb(number(count), mark),
        ["up-and-sleep", ..] => say("up").and_then(|()| sleep_for_ever()),
        ["setsid-leaf", mark] => detach().and_then(|()| run(&["sleep", mark])),
        ["twice-leaf", mark] => detach().and_then(|()| start(&["setsid-leaf", mark], false)),
        ["scrubbed-leaf", mark] => detach().and_then(|()| start(&["setsid-leaf", mark], true)),
        ["hydra", mark] => hydra(mark),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(64);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("fake-agent: {e}");
            ExitCode::from(70)
        }
    }
}

fn number(text: &str) -> usize {
    text.parse().unwrap_or(0)
}

fn say(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{line}")?;
    out.flush()
}

fn sleep_for_ever() -> std::io::Result<()> {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// Makes this program's own command line.
fn again(words: &[&str]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args(words);
    command
}

/// Starts itself and does not wait.
fn start(words: &[&str], scrubbed: bool) -> std::io::Result<()> {
    let mut command = again(words);
    if scrubbed {
        command.env_clear();
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map(drop)
}

/// Becomes another behaviour.
fn run(words: &[&str]) -> std::io::Result<()> {
    Err(std::os::unix::process::CommandExt::exec(&mut again(words)))
}

/// Leaves the session.
fn detach() -> std::io::Result<()> {
    rustix::process::setsid().map(drop).map_err(Into::into)
}

/// Becomes another behaviour that ignores SIGTERM; the shell's `trap ''` is inherited.
fn deaf(words: &[&str]) -> std::io::Result<()> {
    let own = std::env::current_exe()?;
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "trap '' TERM; exec \"$0\" \"$@\""]).arg(own).args(words);
    Err(std::os::unix::process::CommandExt::exec(&mut shell))
}

/// Copies lines from input to output and ends with the input.
fn echo() -> std::io::Result<()> {
    for line in std::io::stdin().lock().lines() {
        say(&line?)?;
    }
    say("end of input")
}

/// Writes this many bytes as fast as it can, in lines, and then a result line.
fn flood(bytes: usize) -> std::io::Result<()> {
    let block = format!("{}\n", "f".repeat(127)).repeat(512);
    let mut out = std::io::stdout().lock();
    for _ in 0..bytes.div_ceil(block.len()) {
        out.write_all(block.as_bytes())?;
    }
    out.write_all(b"the result\n")
}

/// Writes one line of this many bytes, and then a result line.
fn one_line(bytes: usize) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    std::io::copy(&mut std::io::repeat(b'l').take(bytes as u64), &mut out)?;
    out.write_all(b"\nthe result\n")
}

/// Writes a numbered line whenever it is sent one.
fn grow() -> std::io::Result<()> {
    for (n, line) in std::io::stdin().lock().lines().enumerate() {
        line?;
        say(&format!("line {n}"))?;
    }
    Ok(())
}

/// Ends well when it is asked on its input, ignores everything else.
fn interruptible() -> std::io::Result<()> {
    say("up")?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    say(&format!("asked to {}", line.trim()))
}

/// Leaves a process behind that keeps the standard output open.
fn leak(mark: &str) -> std::io::Result<()> {
    again(&["sleep", mark]).stdin(Stdio::null()).spawn()?;
    say("left one behind")
}

/// Starts processes that try to get away in one way, says `up`, and sleeps.
fn tree(shape: &str, count: usize, mark: &str) -> std::io::Result<()> {
    for _ in 0..count {
        match shape {
            "term" => start(&["ignore-term", mark], false)?,
            "setsid" => start(&["setsid-leaf", mark], false)?,
            "double-setsid" => start(&["twice-leaf", mark], false)?,
            "scrub" => start(&["scrubbed-leaf", mark], true)?,
            "hydra" => start(&["hydra", mark], false)?,
            other => return Err(std::io::Error::other(format!("no shape {other}"))),
        }
    }
    // It says so once it is deaf: a stop may come at the next moment.
    deaf(&["up-and-sleep", mark])
}

/// Starts itself anew every 5 ms and ends: nobody who reads a process list is fast enough.
fn hydra(mark: &str) -> std::io::Result<()> {
    std::thread::sleep(Duration::from_millis(5));
    start(&["hydra", mark], false)
}

/// Starts so many processes, each a little later than the one before.
fn bomb(count: usize, mark: &str) -> std::io::Result<()> {
    for _ in 0..count {
        start(&["sleep", mark], false)?;
    }
    say("up")?;
    sleep_for_ever()
}
