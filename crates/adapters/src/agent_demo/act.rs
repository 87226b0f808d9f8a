//! The demo agent at work: one thread reads what it is told, the main one carries out the steps and listens between
//! and during them, so that an interrupt is obeyed at once.

use std::io::{self, BufRead, Read as _, Write};
use std::os::unix::process::CommandExt as _;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use mosaic_core::limits;
use serde_json::{Value, json};
use thiserror::Error;

use super::script::{self, DemoStep};
use super::speech::Speech;

/// Interval at which an endless step shows that it lives.
const TICK: Duration = Duration::from_millis(500);

/// One run of the demo agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemoRun {
    /// The tree it works in.
    pub tree: PathBuf,
    /// Where it keeps how many user messages each session has had.
    pub state: PathBuf,
    /// The session.
    pub session: String,
    /// The story, which names the script.
    pub story: String,
}

/// Reasons why the arguments of the demo agent cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DemoArgumentError {
    /// An option is missing, or has no value; its names.
    #[error("{} needs a value", .0.join(" or "))]
    NoValue(&'static [&'static str]),
    /// The value names no session.
    #[error("{0:?} is no session id")]
    NoSession(String),
}

impl DemoRun {
    /// Reads the arguments `--story NAME --state DIR (--session-id ID | --resume ID)`.
    pub fn from_args(args: &[String], tree: PathBuf) -> Result<Self, DemoArgumentError> {
        let value = |names: &'static [&'static str]| {
            let at = args.iter().position(|arg| names.contains(&arg.as_str()));
            let value = at.and_then(|at| args.get(at + 1)).filter(|value| !value.is_empty());
            value.cloned().ok_or(DemoArgumentError::NoValue(names))
        };
        let session = value(&["--session-id", "--resume"])?;
        if !session.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            return Err(DemoArgumentError::NoSession(session));
        }
        Ok(Self { tree, state: value(&["--state"])?.into(), session, story: value(&["--story"])? })
    }

    /// Counts one more user message of the session; returns how many there were before.
    fn next_turn(&self) -> io::Result<usize> {
        let dir = self.state.join("demo-sessions");
        std::fs::create_dir_all(&dir)?;
        let file = dir.join(&self.session);
        let before =
            std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        std::fs::write(&file, format!("{}\n", before + 1))?;
        Ok(before)
    }
}

/// An input of the working thread.
enum Input {
    Initialize(String),
    Interrupt(String),
    User,
    Closed,
    Ran(io::Result<Ran>),
}

/// The result of a command.
struct Ran {
    ok: bool,
    output: String,
}

/// Why a turn did not reach its end.
enum Halt {
    Interrupted,
    Failed(String),
    Io(io::Error),
}

impl From<io::Error> for Halt {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Talks until the input is closed; returns the exit status: 0, or 1 when the last turn failed.
pub fn converse<R: BufRead + Send + 'static, W: Write>(run: &DemoRun, input: R, output: W) -> u8 {
    let (sender, inbox) = channel();
    let to_self = sender.clone();
    let reader = std::thread::spawn(move || read_input(input, &sender));
    let mut agent = Agent {
        run,
        speech: Speech::new(output, run.session.clone()),
        inbox,
        to_self,
        waiting: 0,
        closed: false,
    };
    let result = agent.serve();
    if agent.closed {
        // It has said that it is done, so this does not block.
        let _ = reader.join();
    }
    match result {
        Ok(true) => 0,
        // Nobody reads us any more: nothing is left to say.
        Ok(false) | Err(_) => 1,
    }
}

/// Passes on what is understood of each line. A line longer than the limit is cut and then not understood.
fn read_input(mut input: impl BufRead, inbox: &Sender<Input>) {
    let mut line = Vec::new();
    loop {
        line.clear();
        let limit = limits::LINE_BYTES as u64;
        if !matches!(input.by_ref().take(limit).read_until(b'\n', &mut line), Ok(1..)) {
            // The receiver may be gone; then nobody needs to know.
            let _ = inbox.send(Input::Closed);
            return;
        }
        let line: Value = serde_json::from_slice(&line).unwrap_or(Value::Null);
        let id = line["request_id"].as_str().unwrap_or_default().to_owned();
        let message = match (line["type"].as_str(), line["request"]["subtype"].as_str()) {
            (Some("user"), _) => Input::User,
            (Some("control_request"), Some("interrupt")) => Input::Interrupt(id),
            (Some("control_request"), _) => Input::Initialize(id),
            _ => continue,
        };
        if inbox.send(message).is_err() {
            return;
        }
    }
}

struct Agent<'a, W: Write> {
    run: &'a DemoRun,
    speech: Speech<W>,
    inbox: Receiver<Input>,
    /// Held so that the inbox never counts as closed; commands answer through it.
    to_self: Sender<Input>,
    waiting: u32,
    closed: bool,
}

impl<W: Write> Agent<'_, W> {
    /// Takes user messages one after the other. Returns whether the last turn succeeded.
    fn serve(&mut self) -> io::Result<bool> {
        let mut ok = true;
        loop {
            if self.waiting > 0 {
                self.waiting -= 1;
                ok = self.turn()?;
                continue;
            }
            if self.closed {
                return Ok(ok);
            }
            let message = self.inbox.recv().expect("a sender is held here");
            self.note(message)?;
        }
    }

    /// Notes what came in; returns true for an interrupt.
    fn note(&mut self, message: Input) -> io::Result<bool> {
        match message {
            Input::Initialize(id) => self.speech.acknowledge(&id)?,
            Input::User => self.waiting += 1,
            Input::Closed => self.closed = true,
            Input::Ran(_) => {}
            Input::Interrupt(id) => {
                self.speech.acknowledge(&id)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn turn(&mut self) -> io::Result<bool> {
        self.speech.init()?;
        match self.steps() {
            Ok(text) => self.speech.success(&text).map(|()| true),
            Err(Halt::Interrupted) => self.speech.failure("interrupted", "aborted_tools").map(|()| false),
            Err(Halt::Failed(why)) => self.speech.failure(&why, "script_error").map(|()| false),
            Err(Halt::Io(error)) => Err(error),
        }
    }

    /// Carries out the steps that belong to this user message; returns the last text.
    fn steps(&mut self) -> Result<String, Halt> {
        if !script::is_demo_repository(&self.run.tree) {
            return Err(Halt::Failed(script::refusal()));
        }
        let script =
            script::load(&self.run.tree, &self.run.story).map_err(|e| Halt::Failed(e.to_string()))?;
        let turn =
            self.run.next_turn().map_err(|error| Halt::Failed(format!("cannot count turns: {error}")))?;
        let Some(steps) = script.turns.get(turn) else {
            let text = "The script has nothing more for me to do.";
            self.speech.say(text)?;
            return Ok(text.to_owned());
        };
        let mut last = "Done.".to_owned();
        for step in steps {
            self.pause(Duration::ZERO)?;
            match step {
                DemoStep::Say(text) => {
                    self.speech.say(text)?;
                    last.clone_from(text);
                }
                DemoStep::Write { path, content } => self.write(path, content)?,
                DemoStep::Run(line) => self.shell(line, &["sh", "-c", line])?,
                DemoStep::Commit(message) => self.commit(message)?,
                DemoStep::WaitMs(ms) => self.pause(Duration::from_millis(*ms))?,
                DemoStep::Loop(true) => self.tick()?,
                DemoStep::Loop(false) => {}
            }
        }
        Ok(last)
    }

    /// Lets time pass, or ends at once when interrupted.
    fn pause(&mut self, time: Duration) -> Result<(), Halt> {
        let until = Instant::now() + time;
        loop {
            match self.inbox.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(message) => {
                    if self.note(message)? {
                        return Err(Halt::Interrupted);
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => unreachable!("a sender is held here"),
            }
        }
    }

    fn tick(&mut self) -> Result<(), Halt> {
        for n in 1u64.. {
            self.speech.say(&format!("tick {n}"))?;
            self.pause(TICK)?;
        }
        Ok(())
    }

    fn write(&mut self, path: &str, content: &str) -> Result<(), Halt> {
        let call = self.speech.call("Write", json!({"file_path": path, "content": content}))?;
        let done = write_in(&self.run.tree, path, content);
        let text = done.as_ref().map_or_else(
            |error| format!("{path} was not written: {error}"),
            |()| format!("{path} was written"),
        );
        Ok(self.speech.answered(&call, done.is_ok(), &text)?)
    }

    /// Commits everything, under the configured identity or one of our own.
    fn commit(&mut self, message: &str) -> Result<(), Halt> {
        let line = r#"git add -A && if git config user.email >/dev/null
then git commit -q -m "$1" --trailer "Mosaic-Demo: scripted"
else git -c user.name="Mosaic Demo" -c user.email=demo@mosaic.invalid commit -q -m "$1" --trailer "Mosaic-Demo: scripted"
fi && git log --oneline -1"#;
        self.shell(&format!("git commit -am '{message}'"), &["sh", "-c", line, "sh", message])
    }

    /// Runs a program in a process group of its own and shows it as a Bash call.
    fn shell(&mut self, shown: &str, words: &[&str]) -> Result<(), Halt> {
        let call = self.speech.call("Bash", json!({"command": shown}))?;
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(&self.run.tree).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child =
            command.spawn().map_err(|error| Halt::Failed(format!("sh could not be started: {error}")))?;
        let group = rustix::process::Pid::from_child(&child);
        let inbox = self.to_self.clone();
        let waiter = std::thread::spawn(move || inbox.send(Input::Ran(finish(child))).is_ok());
        let mut interrupted = false;
        let ran = loop {
            match self.inbox.recv().expect("a sender is held here") {
                Input::Ran(ran) => break ran,
                message => {
                    if self.note(message)? {
                        interrupted = true;
                        // It may have ended by itself in this moment.
                        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
                    }
                }
            }
        };
        // It has just sent its last message.
        let _ = waiter.join();
        let ran = ran.unwrap_or_else(|error| Ran { ok: false, output: error.to_string() });
        self.speech.answered(&call, ran.ok, &ran.output)?;
        if interrupted { Err(Halt::Interrupted) } else { Ok(()) }
    }
}

/// Waits for a command and takes a bounded part of its output.
fn finish(mut child: std::process::Child) -> io::Result<Ran> {
    let stderr = child.stderr.take().expect("it was piped");
    let errors = std::thread::spawn(move || bounded(stderr));
    let mut output = bounded(child.stdout.take().expect("it was piped"));
    let status = child.wait()?;
    output.push_str(&errors.join().unwrap_or_default());
    if !status.success() {
        output.push_str(&format!("({status})"));
    }
    Ok(Ran { ok: status.success(), output: output.trim_end().to_owned() })
}

/// Reads to the end and keeps the beginning.
fn bounded(mut from: impl io::Read) -> String {
    let mut kept = Vec::new();
    // What cannot be read is missing in what is shown, nothing else.
    let _ = from.by_ref().take(limits::ENTRY_BYTES as u64 / 2).read_to_end(&mut kept);
    let _ = io::copy(&mut from, &mut io::sink());
    String::from_utf8_lossy(&kept).into_owned()
}

/// Writes below the tree only.
fn write_in(tree: &Path, path: &str, content: &str) -> io::Result<()> {
    if !Path::new(path).components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a plain path in the tree"));
    }
    let path = tree.join(path);
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    std::fs::write(path, content)
}
