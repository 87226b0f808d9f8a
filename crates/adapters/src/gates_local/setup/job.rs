//! One run of a setup: a job of ours on a fresh checkout, under the confinement of gates, followed to its end.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mosaic_core::domain::gates::SetupDefinition;
use mosaic_core::domain::key_lines::KeyLines;
use mosaic_core::domain::outcome::{Failure, cut};
use mosaic_core::limits;
use mosaic_core::ports::gatekeeper::CommitSource;
use mosaic_core::ports::processes::{Exit, Job, JobEvent, JobSpec, Stdin};
use mosaic_core::ports::sandbox::{Command, Mount, Policy, Purpose, SandboxHandle};

use super::error::SetupError;
use super::{Side, Wanted, blocking, output};
use crate::gates_local::cache::{Entry, EntryNote, GateCache, Kind, paths_holding};
use crate::gates_local::log_window::LogWindow;
use crate::gates_local::options::GateOptions;

/// Directories in a home that package managers fill and find again, without settings or credentials.
const HOME_OUTPUTS: &[&str] = &[".cargo/registry", ".cargo/git", "go/pkg/mod", ".m2/repository"];
/// Lines of the log's end that stand in the failure.
const TAIL_LINES: usize = 20;

/// A setup that ended well: the places where it made something.
pub(super) struct Made {
    checkout: PathBuf,
    place: SandboxHandle,
}

/// Returns the longest time of a setup.
pub(super) fn time_limit(setup: &SetupDefinition) -> Duration {
    Duration::from_millis(setup.timeout_ms).min(limits::GATE_LONGEST)
}

/// Runs the setup on a fresh checkout of the base.
pub(super) async fn run(
    options: &GateOptions,
    wanted: &Wanted<'_>,
    base: &dyn CommitSource,
) -> Result<Made, Failure> {
    let checkout = base.checkout().await?.path;
    let policy = Policy::of_gates().with(Mount::writable(&checkout));
    let place = options.sandbox.prepare(wanted.agent, Purpose::Gate, &policy).await?;
    let made = Made { checkout, place };
    match follow(options, wanted, &made).await {
        Ok(()) => Ok(made),
        Err(why) => {
            made.remove(options).await;
            Err(why.into())
        }
    }
}

async fn follow(options: &GateOptions, wanted: &Wanted<'_>, made: &Made) -> Result<(), SetupError> {
    let log = format!("setup-{}", wanted.round);
    let unknown = |why: &dyn std::fmt::Display| SetupError::NotRun(why.to_string());
    tracing::info!(agent.id = %wanted.agent, setup.command = wanted.setup.run, "setup begins");
    let mut job =
        options.processes.start(spec(options, wanted, made, &log)).await.map_err(|e| unknown(&e))?;
    let mut window = LogWindow::default();
    let exit = tokio::select! {
        exit = until_exit(job.as_mut(), &mut window) => exit?,
        // The supervisor keeps the limit itself; one that died must not hold the agent.
        () = options.clock.sleep(time_limit(wanted.setup) + limits::GATE_MARGIN) => {
            return Err(unknown(&"its supervisor did not report the end in time"));
        }
    };
    let Some(how) = fault(&exit, wanted.setup)? else { return Ok(()) };
    // What was left out may be the middle of a key.
    let text = options.scanner.mask(&KeyLines::default().hide(&window.text()));
    let command = options.scanner.mask(&wanted.setup.run);
    tracing::warn!(agent.id = %wanted.agent, setup.end = how, "setup failed");
    Err(SetupError::Failed { command, how, log, tail: tail(&text) })
}

fn spec(options: &GateOptions, wanted: &Wanted<'_>, made: &Made, log: &str) -> JobSpec {
    // The command is an argument of its own: nothing in it can end the script around it.
    let shell = ["sh", "-c", "exec 2>&1; eval \"$1\"", "sh", &wanted.setup.run].map(str::to_owned);
    let command = Command { argv: shell.to_vec(), env: Vec::new(), cwd: made.checkout.clone() };
    let command = options.sandbox.command(&made.place, command);
    // A name is used once, and a lost server may have begun the same setup.
    let name = format!("setup-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
    JobSpec {
        agent: wanted.agent,
        name: name.parse().expect("it is made of letters, digits and a dash"),
        command: command.argv,
        env: command.env,
        cwd: command.cwd,
        stdin: Stdin::Null,
        output: options.transcripts.log(wanted.agent, log),
        output_limit: limits::GATE_LOG_BYTES,
        interrupt: None,
        time_limit: Some(time_limit(wanted.setup)),
        memo: None,
    }
}

async fn until_exit(job: &mut dyn Job, window: &mut LogWindow) -> Result<Exit, SetupError> {
    loop {
        match job.next().await.map_err(|e| SetupError::NotRun(e.to_string()))? {
            JobEvent::Output(bytes) => window.push(&bytes),
            JobEvent::Gap(bytes) => window.gap(bytes),
            JobEvent::Exited(exit) => return Ok(exit),
        }
    }
}

/// Says how a setup failed; nothing when it did not.
fn fault(exit: &Exit, setup: &SetupDefinition) -> Result<Option<String>, SetupError> {
    if exit.stopped {
        return Err(SetupError::Stopped);
    }
    if exit.lapsed {
        return Err(SetupError::NotRun("the lease on its agent ran out".to_owned()));
    }
    if let Some(why) = &exit.start_error {
        return Ok(Some(format!("could not be started: {why}")));
    }
    if exit.timed_out {
        return Ok(Some(format!("took longer than {}", humantime::format_duration(time_limit(setup)))));
    }
    Ok(match (exit.code, exit.signal) {
        (Some(0), _) => None,
        (Some(127), _) => Some("needs a program that was not found (exit 127)".to_owned()),
        (Some(code), _) => Some(format!("failed (exit {code})")),
        (None, Some(signal)) => Some(format!("was ended by signal {signal}")),
        (None, None) => Some("ended without an exit code".to_owned()),
    })
}

/// Returns the end of a log, each line on its own.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    let shown: Vec<String> = lines[from..].iter().map(|line| cut((*line).to_owned(), 200)).collect();
    if shown.is_empty() { String::new() } else { format!(":\n{}", shown.join("\n")) }
}

impl Made {
    /// Moves what the setup made into the cache.
    pub(super) async fn keep(
        &self,
        cache: &Arc<GateCache>,
        key: &str,
        setup: &SetupDefinition,
    ) -> Result<Entry, SetupError> {
        let (cache, key, setup) = (Arc::clone(cache), key.to_owned(), setup.clone());
        let (checkout, home) = (self.checkout.clone(), self.place.home.clone());
        blocking(move || {
            let staged = cache.stage(Kind::Setup)?;
            let kept = collect(&staged, &setup, [(Side::Tree, &checkout), (Side::Home, &home)])
                .and_then(|note| cache.keep(Kind::Setup, &key, &staged, note));
            kept.inspect_err(|_| {
                // The first error is the one to report; what stays is removed by a later eviction.
                let _ = cache.discard(&staged);
            })
        })
        .await
    }

    /// Removes the checkout and the place. What stays is removed with the agent.
    pub(super) async fn remove(&self, options: &GateOptions) {
        let checkout = options.trash.discard(&self.checkout).map_err(|e| e.to_string());
        let place = options.sandbox.discard(&self.place).await.map_err(|e| e.to_string());
        for error in [checkout, place].into_iter().filter_map(Result::err) {
            tracing::warn!(path = %self.checkout.display(), error, "a directory of a setup stays until its agent is cleaned up");
        }
    }
}

/// Moves the outputs into a staged entry, and says what the entry holds.
fn collect(staged: &Path, setup: &SetupDefinition, sides: [(Side, &PathBuf); 2]) -> io::Result<EntryNote> {
    let named = setup.outputs.iter().filter_map(|path| output(path));
    let usual = HOME_OUTPUTS.iter().map(|path| (Side::Home, PathBuf::from(path)));
    for (side, path) in named.chain(usual) {
        let Some((_, root)) = sides.iter().find(|(one, _)| *one == side) else { continue };
        let from = root.join(&path);
        // A link on the way would lead out of the checkout; one at the end is kept as a link.
        if !leads_straight(root, &path) || from.symlink_metadata().is_err() {
            continue;
        }
        let to = staged.join(side.name()).join(&path);
        fs::create_dir_all(to.parent().unwrap_or(staged))?;
        // Another output may lie in this one, and was moved with it.
        if to.symlink_metadata().is_err() {
            fs::rename(&from, &to).or_else(|_| {
                let nothing = crate::gates_local::cache::Moves::new(&[], &[]);
                crate::gates_local::cache::copy_into(&from, &to, Path::new(""), &nothing)
            })?;
        }
    }
    let roots: Vec<&Path> = sides.iter().map(|(_, root)| root.as_path()).collect();
    let (bytes, holding) = paths_holding(staged, &roots)?;
    let made_in = sides.iter().map(|(side, root)| (side.name().to_owned(), PathBuf::clone(root))).collect();
    Ok(EntryNote { bytes, made_in, holding })
}

/// Tells whether every directory above a path is one.
pub(super) fn leads_straight(root: &Path, path: &Path) -> bool {
    let mut at = root.to_owned();
    let parts: Vec<&OsStr> = path.iter().collect();
    let above = parts.len().saturating_sub(1);
    parts.iter().take(above).all(|part| {
        at.push(part);
        at.symlink_metadata().is_ok_and(|meta| meta.is_dir())
    })
}
