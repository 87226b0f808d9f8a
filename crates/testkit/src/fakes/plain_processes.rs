//! Jobs without a supervisor: the program runs as a child of the test, in a process group of its own. Enough for
//! tests of what jobs are used for; what outlives its process group is not found, so it never stands in for the
//! real thing in tests about stopping.

use std::collections::HashMap;
use std::io::Write;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mosaic_core::domain::ids::{AgentId, Word};
use mosaic_core::ports::processes::{
    Adopted, Exit, Job, JobEvent, JobSpec, ProcessError, Processes, Stdin, StopReceipt, Usage,
};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::Instant;

/// Most bytes that are kept of a job's standard error, the newest ones.
const STDERR_TAIL: usize = 8 * 1024;
/// Far away for a test: the deadline of a job without a limit.
const NO_LIMIT: Duration = Duration::from_secs(3600);

type Groups = Arc<Mutex<HashMap<AgentId, Vec<Pid>>>>;

/// Runs jobs directly.
#[derive(Default)]
pub struct PlainProcesses {
    groups: Groups,
    /// Since when an agent's jobs stand still.
    frozen: Mutex<HashMap<AgentId, Instant>>,
    /// Every job that was asked for, in order.
    started: Mutex<Vec<JobSpec>>,
}

impl PlainProcesses {
    /// Makes one without jobs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends a signal to all groups of an agent and returns how many took it.
    fn signal(&self, agent: AgentId, signal: Signal) -> u32 {
        let groups = self.groups.lock();
        let groups = groups.get(&agent).into_iter().flatten();
        u32::try_from(groups.filter(|group| kill_process_group(**group, signal).is_ok()).count())
            .unwrap_or(u32::MAX)
    }

    /// Returns every job that was asked for, in order.
    pub fn started(&self) -> Vec<JobSpec> {
        self.started.lock().clone()
    }
}

struct PlainJob {
    child: Child,
    group: Pid,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    tail: Vec<u8>,
    output: std::fs::File,
    kept: u64,
    limit: u64,
    bytes: u64,
    deadline: Instant,
    timed_out: bool,
    ended: Option<std::process::ExitStatus>,
}

/// A job that could not be started and says so.
struct NotStarted(Option<String>);

#[async_trait]
impl Processes for PlainProcesses {
    async fn start(&self, spec: JobSpec) -> Result<Box<dyn Job>, ProcessError> {
        self.started.lock().push(spec.clone());
        if let Some(above) = spec.output.parent() {
            std::fs::create_dir_all(above)?;
        }
        let output = std::fs::OpenOptions::new().append(true).create(true).open(&spec.output)?;
        let (program, arguments) =
            spec.command.split_first().ok_or_else(|| not_started(&spec, "no command"))?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(spec.env.iter().cloned()).current_dir(&spec.cwd);
        command.process_group(0).kill_on_drop(true).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(if spec.stdin == Stdin::Null { Stdio::null() } else { Stdio::piped() });
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return Ok(Box::new(NotStarted(Some(error.to_string())))),
        };
        let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let group = id.ok_or_else(|| not_started(&spec, "it ended before it had an id"))?;
        self.groups.lock().entry(spec.agent).or_default().push(group);
        let mut stdin = child.stdin.take();
        if let (Stdin::Text(text), Some(mut pipe)) =
            (&spec.stdin, stdin.take_if(|_| matches!(spec.stdin, Stdin::Text(_))))
        {
            pipe.write_all(text.as_bytes()).await?;
        }
        if let (Stdin::Open { first }, Some(pipe)) = (&spec.stdin, &mut stdin) {
            pipe.write_all(first.as_bytes()).await?;
        }
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let deadline = Instant::now() + spec.time_limit.unwrap_or(NO_LIMIT);
        let (tail, limit) = (Vec::new(), spec.output_limit);
        let (kept, bytes, timed_out, ended) = (0, 0, false, None);
        Ok(Box::new(PlainJob {
            child,
            group,
            stdin,
            stdout,
            stderr,
            tail,
            output,
            kept,
            limit,
            bytes,
            deadline,
            timed_out,
            ended,
        }))
    }

    async fn adopt(&self, _: AgentId, _: &Word) -> Result<Option<Adopted>, ProcessError> {
        // A child of the test does not outlive it.
        Ok(None)
    }

    async fn stop(&self, agent: AgentId, _grace: Duration) -> Result<StopReceipt, ProcessError> {
        let groups = self.groups.lock().remove(&agent).unwrap_or_default();
        self.frozen.lock().remove(&agent);
        let live = groups.iter().filter(|group| kill_process_group(**group, Signal::KILL).is_ok()).count();
        let processes_before = u32::try_from(live).unwrap_or(u32::MAX);
        Ok(StopReceipt { processes_before, rung: "kill".to_owned(), ..StopReceipt::default() })
    }

    async fn freeze(&self, agent: AgentId) -> Result<u32, ProcessError> {
        let count = self.signal(agent, Signal::STOP);
        if count > 0 {
            self.frozen.lock().entry(agent).or_insert_with(Instant::now);
        }
        Ok(count)
    }

    async fn thaw(&self, agent: AgentId) -> Result<u32, ProcessError> {
        self.frozen.lock().remove(&agent);
        Ok(self.signal(agent, Signal::CONT))
    }

    async fn frozen_for(&self, agent: AgentId) -> Result<Option<Duration>, ProcessError> {
        Ok(self.frozen.lock().get(&agent).map(Instant::elapsed))
    }

    async fn usage(&self, _agent: AgentId) -> Result<Usage, ProcessError> {
        Ok(Usage::default())
    }

    async fn unfinished(&self) -> Result<Vec<AgentId>, ProcessError> {
        let mut groups = self.groups.lock();
        // A group without a process has ended; one whose leader was not reaped yet is seen as live.
        groups.retain(|_, groups| groups.iter().any(|group| test_kill_process_group(*group).is_ok()));
        Ok(groups.keys().copied().collect())
    }

    async fn forget(&self, agent: AgentId) -> Result<(), ProcessError> {
        self.groups.lock().remove(&agent);
        Ok(())
    }
    async fn grouped(&self) -> Result<Vec<AgentId>, ProcessError> {
        Ok(Vec::new())
    }
}

fn not_started(spec: &JobSpec, why: &str) -> ProcessError {
    ProcessError::NotStarted { job: spec.name.to_string(), why: why.to_owned() }
}

/// Reads what there is from a pipe; a pipe that is gone is never ready.
async fn read(pipe: &mut Option<impl AsyncReadExt + Unpin>) -> std::io::Result<Vec<u8>> {
    match pipe {
        Some(open) => {
            let mut bytes = vec![0; 64 * 1024];
            let length = open.read(&mut bytes).await?;
            bytes.truncate(length);
            Ok(bytes)
        }
        None => std::future::pending().await,
    }
}

impl PlainJob {
    fn keep(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.bytes += bytes.len() as u64;
        let room = usize::try_from(self.limit - self.kept).unwrap_or(usize::MAX).min(bytes.len());
        self.kept += room as u64;
        self.output.write_all(&bytes[..room])
    }

    fn exit(&self) -> Exit {
        use std::os::unix::process::ExitStatusExt;
        Exit {
            code: self.ended.and_then(|status| status.code()).filter(|_| !self.timed_out),
            signal: self.ended.and_then(|status| status.signal()),
            timed_out: self.timed_out,
            leaked: 0,
            output_bytes: self.bytes,
            stderr_tail: String::from_utf8_lossy(&self.tail).into_owned(),
            ..Exit::default()
        }
    }
}

#[async_trait]
impl Job for PlainJob {
    async fn next(&mut self) -> Result<JobEvent, ProcessError> {
        loop {
            // The end is told only once both pipes are empty. Told at the death of the program, it would come before
            // the last of its output.
            let drained = self.stdout.is_none() && self.stderr.is_none();
            tokio::select! {
                bytes = read(&mut self.stdout) => {
                    let bytes = bytes?;
                    if !bytes.is_empty() {
                        self.keep(&bytes)?;
                        return Ok(JobEvent::Output(bytes));
                    }
                    self.stdout = None;
                }
                bytes = read(&mut self.stderr) => {
                    let bytes = bytes?;
                    if bytes.is_empty() {
                        self.stderr = None;
                    }
                    self.tail.extend(bytes);
                    let over = self.tail.len().saturating_sub(STDERR_TAIL);
                    self.tail.drain(..over);
                }
                status = self.child.wait(), if self.ended.is_none() => {
                    self.ended = Some(status?);
                    // What the main process left behind ends with it; a group that is gone is what is wanted.
                    let _ = kill_process_group(self.group, Signal::KILL);
                }
                () = tokio::time::sleep_until(self.deadline), if self.ended.is_none() && !self.timed_out => {
                    self.timed_out = true;
                    kill_process_group(self.group, Signal::KILL).map_err(std::io::Error::from)?;
                }
                () = std::future::ready(()), if drained && self.ended.is_some() => {
                    return Ok(JobEvent::Exited(self.exit()));
                }
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), ProcessError> {
        match &mut self.stdin {
            Some(pipe) => Ok(pipe.write_all(bytes).await?),
            None => Err(ProcessError::Io(std::io::ErrorKind::BrokenPipe.into())),
        }
    }

    async fn answer(&mut self, _line_end: u64, bytes: &[u8]) -> Result<(), ProcessError> {
        self.write(bytes).await
    }

    async fn close_stdin(&mut self) -> Result<(), ProcessError> {
        self.stdin = None;
        Ok(())
    }
}

#[async_trait]
impl Job for NotStarted {
    async fn next(&mut self) -> Result<JobEvent, ProcessError> {
        let start_error = self.0.take();
        Ok(JobEvent::Exited(Exit { start_error, ..Exit::default() }))
    }

    async fn write(&mut self, _bytes: &[u8]) -> Result<(), ProcessError> {
        Err(ProcessError::Io(std::io::ErrorKind::BrokenPipe.into()))
    }

    async fn answer(&mut self, _line_end: u64, bytes: &[u8]) -> Result<(), ProcessError> {
        self.write(bytes).await
    }

    async fn close_stdin(&mut self) -> Result<(), ProcessError> {
        Ok(())
    }
}
