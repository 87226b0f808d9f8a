//! One command of one gate: started as a job, its output drained always, its end waited for with a deadline.

use std::io;
use std::time::Duration;

use mosaic_core::domain::gate_log;
use mosaic_core::domain::gates::GateDefinition;
use mosaic_core::domain::ids::InvalidName;
use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::limits;
use mosaic_core::ports::processes::{Exit, Job, JobEvent, JobSpec, ProcessError, Stdin};
use mosaic_core::ports::sandbox::Command;

use super::captured_output::CapturedOutput;
use super::judging::Judging;
use super::log_window::LogWindow;
use super::options::GateOptions;
use super::place::GatePlace;
use crate::isolation::{Isolated, Outcome};
use crate::process::JOB_VARIABLES;

/// The end of a command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// With this exit code.
    Code(i32),
    /// In a way that judges nothing, in words for people.
    Unjudged(String),
}

/// Reasons why a gate's job cannot be prepared.
#[derive(Debug, thiserror::Error)]
enum PrepareError {
    /// The supervisor does not take its name.
    #[error("could not be run: the job's name {0}")]
    Name(#[source] InvalidName),
    /// Its isolation cannot be written down.
    #[error("could not be isolated: {0}")]
    Isolation(#[source] io::Error),
}

/// Returns the name of the log of a gate's first or second run.
pub(super) fn log_name(round: u32, gate: &GateDefinition, attempt: u32) -> String {
    let name = gate_log::name(round, &gate.name);
    if attempt == 1 { name } else { format!("{name}-again") }
}

/// Returns the name of a gate's job. A judgement that a lost server left unfinished is repeated in the same round, and
/// a job's name is used once; the checkout is new each time.
fn job_name(judging: &Judging, gate: &GateDefinition, attempt: u32) -> String {
    let checkout = judging.checkout.file_name().unwrap_or_default().to_string_lossy();
    let again = if attempt == 1 { "" } else { "-again" };
    let mut name = format!("gate-{}-{}{again}", checkout.trim_start_matches("judge-"), gate.name);
    if name.len() > limits::JOB_NAME_BYTES {
        // Two long names may begin alike.
        let tail = uuid::Uuid::new_v4().simple().to_string();
        name.truncate(limits::JOB_NAME_BYTES - tail.len());
        name.push_str(&tail);
    }
    name
}

/// A job of a gate, ready to be started.
struct Prepared {
    spec: JobSpec,
    isolated: Option<Isolated>,
}

/// Runs a gate's command and returns how it ended with what it printed. A supervisor that fails says nothing about the
/// commit, so it is a failure of this attempt and not of the gate.
pub(super) async fn run(
    options: &GateOptions,
    judging: &Judging,
    place: &GatePlace,
    gate: &GateDefinition,
    command: &str,
    attempt: u32,
    output: &mut CapturedOutput,
) -> Result<(Ended, String), Failure> {
    let mut window = LogWindow::default();
    let ended = match prepare(options, judging, place, gate, command, attempt) {
        Ok(Prepared { mut spec, isolated }) => {
            spec.output_limit = output.limit();
            let mut job = options.processes.start(spec).await.map_err(|why| failed(gate, &why))?;
            watch(options, gate, job.as_mut(), isolated.as_ref(), &mut window, output).await?
        }
        Err(why) => Ended::Unjudged(why.to_string()),
    };
    Ok((ended, window.text()))
}

fn failed(gate: &GateDefinition, why: &ProcessError) -> Failure {
    Failure::new(FailureKind::Internal, format!("the gate {} could not be run: {why}", gate.name))
}

fn prepare(
    options: &GateOptions,
    judging: &Judging,
    place: &GatePlace,
    gate: &GateDefinition,
    command: &str,
    attempt: u32,
) -> Result<Prepared, PrepareError> {
    let output = options.transcripts.log(judging.agent, &log_name(judging.round, gate, attempt));
    let name = job_name(judging, gate, attempt);
    // The command is an argument of its own: nothing in it can end the script around it. The supervisor's marks go, because nothing
    // may tell the command that it is judged.
    let script = format!("unset {}; exec 2>&1; eval \"$1\"", JOB_VARIABLES.join(" "));
    let shell = ["sh", "-c", &script, "sh", command].map(str::to_owned);
    let env = gate.env.iter().filter_map(|name| Some((name.clone(), (options.variable)(name)?))).collect();
    let command = Command { argv: shell.to_vec(), env, cwd: place.tree.clone() };
    let command = place.command(options, command);
    let isolated = match judging.is_isolated() {
        true => Some(place.isolated(options, command.clone()).map_err(PrepareError::Isolation)?),
        false => None,
    };
    let command = isolated.as_ref().map_or(command, |isolated| isolated.command.clone());
    let spec = JobSpec {
        agent: judging.agent,
        name: name.parse().map_err(PrepareError::Name)?,
        command: command.argv,
        env: command.env,
        cwd: command.cwd,
        stdin: Stdin::Null,
        output,
        output_limit: limits::GATE_LOG_BYTES,
        interrupt: None,
        time_limit: Some(time_limit(gate)),
        memo: None,
    };
    Ok(Prepared { spec, isolated })
}

fn time_limit(gate: &GateDefinition) -> Duration {
    Duration::from_millis(gate.timeout_ms).min(limits::GATE_LONGEST)
}

/// Follows a job to its end. The supervisor keeps the gate's own limit; the wait here ends a little later, so that
/// a supervisor that died cannot hold the judgement.
async fn watch(
    options: &GateOptions,
    gate: &GateDefinition,
    job: &mut dyn Job,
    isolated: Option<&Isolated>,
    window: &mut LogWindow,
    output: &mut CapturedOutput,
) -> Result<Ended, Failure> {
    let deadline = options.clock.sleep(time_limit(gate) + limits::GATE_MARGIN);
    tokio::pin!(deadline);
    loop {
        let event = tokio::select! {
            event = job.next() => event.map_err(|why| failed(gate, &why))?,
            () = &mut deadline => {
                return Ok(Ended::Unjudged("its supervisor did not report the end in time".to_owned()));
            }
        };
        match event {
            JobEvent::Output(bytes) => {
                output.push(&bytes);
                window.push(&bytes);
            }
            JobEvent::Gap(bytes) => {
                output.lose();
                window.gap(bytes);
            }
            // An order to stop everything must not become a verdict: the commit would count as failed and cost a fix round.
            JobEvent::Exited(exit) if exit.stopped => {
                let why = "the file STOP in the data directory ended everything that ran";
                return Err(Failure::new(FailureKind::Stopped, why));
            }
            JobEvent::Exited(exit) => return Ok(ended(gate, exit, isolated)),
        }
    }
}

fn ended(gate: &GateDefinition, exit: Exit, isolated: Option<&Isolated>) -> Ended {
    if let Some(why) = exit.start_error {
        return Ended::Unjudged(format!("could not be started: {why}"));
    }
    if exit.timed_out {
        let limit = humantime::format_duration(time_limit(gate));
        return Ended::Unjudged(format!("timed out after {limit}"));
    }
    if let Some(why) = exit.ended_by {
        return Ended::Unjudged(format!("was ended: {why}"));
    }
    if exit.output_bytes > limits::GATE_OUTPUT_BYTES {
        let (printed, most) = (exit.output_bytes, limits::GATE_OUTPUT_BYTES);
        return Ended::Unjudged(format!(
            "printed {printed} bytes, more than the {most} that a gate may print"
        ));
    }
    // Where nothing is isolated, what is about to end by itself cannot be told from a daemon; both are ended.
    let Some(isolated) = isolated else { return by_status(exit.code, exit.signal) };
    // The job's own status is that of a helper. It counts for nothing: only what the part outside wrote down does.
    match isolated.outcome() {
        None => Ended::Unjudged("what isolated it was ended from outside".to_owned()),
        Some(Outcome { fault: Some(why), .. }) => Ended::Unjudged(format!("could not be isolated: {why}")),
        Some(Outcome { disk_full: true, .. }) => {
            Ended::Unjudged("was ended: it filled the disk; free some space, or let it write less".to_owned())
        }
        Some(Outcome { suspended: true, .. }) => Ended::Unjudged(
            "was ended: a process of it stopped its shell, so that its end says nothing".to_owned(),
        ),
        Some(outcome) => left_running(outcome.leaked, by_status(outcome.code, outcome.signal)),
    }
}

/// Takes a success back when processes outlived the command: what they were about to do is not known.
fn left_running(processes: u32, ended: Ended) -> Ended {
    if processes == 0 || ended != Ended::Code(0) {
        return ended;
    }
    Ended::Unjudged(format!(
        "left processes running ({processes}), which were ended; let the command wait for what it starts, or end it"
    ))
}

fn by_status(code: Option<i32>, signal: Option<i32>) -> Ended {
    match (code, signal) {
        // The shell's own codes: the program was not found or could not be run, which is a fault of the machine or the base
        // and no judgement of the work.
        (Some(126), _) => Ended::Unjudged("command cannot be executed (exit 126)".to_owned()),
        (Some(127), _) => Ended::Unjudged("command not found (exit 127)".to_owned()),
        (Some(code), _) => Ended::Code(code),
        (None, Some(signal)) => Ended::Unjudged(format!("ended by signal {signal}")),
        (None, None) => Ended::Unjudged("ended without an exit code".to_owned()),
    }
}
