//! One command of one gate: started as a job, its output drained always, its end waited for with a deadline.

use std::time::Duration;

use mosaic_core::domain::gates::GateDefinition;
use mosaic_core::domain::ids::InvalidName;
use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::limits;
use mosaic_core::ports::processes::{Exit, Job, JobEvent, JobSpec, ProcessError, Stdin};
use mosaic_core::ports::sandbox::Command;

use super::judging_home::Judging;
use super::log_window::LogWindow;
use super::options::GateOptions;

/// The end of a command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// With this exit code.
    Code(i32),
    /// In a way that judges nothing, in words for people.
    Unjudged(String),
}

/// A gate whose job has no name that the supervisor takes.
#[derive(Debug, thiserror::Error)]
#[error("could not be run: the job's name {0}")]
struct JobNameError(#[source] InvalidName);

/// Returns the name of a gate's log.
pub(super) fn name(round: u32, gate: &GateDefinition) -> String {
    format!("gate-{round}-{}", gate.name)
}

/// Returns the name of a gate's job. A judgement that a lost server left unfinished is repeated in the same round, and
/// a job's name is used once; the checkout is new each time.
fn job_name(request: &Judging, gate: &GateDefinition) -> String {
    let checkout = request.checkout.file_name().unwrap_or_default().to_string_lossy();
    let mut name = format!("gate-{}-{}", checkout.trim_start_matches("judge-"), gate.name);
    if name.len() > limits::JOB_NAME_BYTES {
        // Two long names may begin alike.
        let tail = uuid::Uuid::new_v4().simple().to_string();
        name.truncate(limits::JOB_NAME_BYTES - tail.len());
        name.push_str(&tail);
    }
    name
}

/// Runs a gate's command and returns how it ended with what it printed. A supervisor that fails says nothing about the
/// commit, so it is a failure of this attempt and not of the gate.
pub(super) async fn run(
    options: &GateOptions,
    request: &Judging,
    gate: &GateDefinition,
    command: &str,
) -> Result<(Ended, String), Failure> {
    let mut window = LogWindow::default();
    let failed = |why| failed(gate, &why);
    let ended = match spec(options, request, gate, command) {
        Ok(spec) => {
            let mut job = options.processes.start(spec).await.map_err(failed)?;
            watch(options, gate, job.as_mut(), &mut window).await?
        }
        Err(why) => Ended::Unjudged(why.to_string()),
    };
    Ok((ended, window.text()))
}

fn failed(gate: &GateDefinition, why: &ProcessError) -> Failure {
    Failure::new(FailureKind::Internal, format!("the gate {} could not be run: {why}", gate.name))
}

fn spec(
    options: &GateOptions,
    request: &Judging,
    gate: &GateDefinition,
    command: &str,
) -> Result<JobSpec, JobNameError> {
    let output = options.transcripts.log(request.agent, &name(request.round, gate));
    let name = job_name(request, gate);
    // The command is an argument of its own: nothing in it can end the script around it.
    let shell = ["sh", "-c", "exec 2>&1; eval \"$1\"", "sh", command].map(str::to_owned);
    let ours =
        [("CI", "true"), ("MOSAIC_GATE", gate.name.as_str()), ("MOSAIC_COMMIT", request.commit.as_str())];
    let env = ours.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    let command = Command { argv: shell.to_vec(), env, cwd: request.checkout.clone() };
    let command = options.sandbox.command(&request.place, command);
    Ok(JobSpec {
        agent: request.agent,
        name: name.parse().map_err(JobNameError)?,
        command: command.argv,
        env: command.env,
        cwd: command.cwd,
        stdin: Stdin::Null,
        output,
        output_limit: limits::GATE_LOG_BYTES,
        interrupt: None,
        time_limit: Some(time_limit(gate)),
        memo: None,
    })
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
    window: &mut LogWindow,
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
            JobEvent::Output(bytes) => window.push(&bytes),
            JobEvent::Gap(bytes) => window.gap(bytes),
            // An order to stop everything must not become a verdict: the commit would count as failed and cost a fix round.
            JobEvent::Exited(exit) if exit.stopped => {
                let why = "the file STOP in the data directory ended everything that ran";
                return Err(Failure::new(FailureKind::Stopped, why));
            }
            JobEvent::Exited(exit) => return Ok(ended(gate, exit)),
        }
    }
}

fn ended(gate: &GateDefinition, exit: Exit) -> Ended {
    if let Some(why) = exit.start_error {
        return Ended::Unjudged(format!("could not be started: {why}"));
    }
    if exit.timed_out {
        let limit = humantime::format_duration(time_limit(gate));
        return Ended::Unjudged(format!("timed out after {limit}"));
    }
    match (exit.code, exit.signal) {
        // The shell's own codes: the program was not found or could not be run, which is a fault of the machine or the base
        // and no judgement of the work.
        (Some(126), _) => Ended::Unjudged("command cannot be executed (exit 126)".to_owned()),
        (Some(127), _) => Ended::Unjudged("command not found (exit 127)".to_owned()),
        (Some(code), _) => Ended::Code(code),
        (None, Some(signal)) => Ended::Unjudged(format!("ended by signal {signal}")),
        (None, None) => Ended::Unjudged("ended without an exit code".to_owned()),
    }
}
