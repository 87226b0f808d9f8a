//! Step 6, supervise: the agent's lines become events in the transcript and replies to the agent; deadline, silence
//! and a process that lives on after its result are dealt with.

mod conclude;
mod lines;
mod messages;
mod record;
mod timers;

use std::sync::Arc;

use self::lines::Lines;
use self::messages::nudge;
use self::timers::{Closing, Timers};
use super::context::{Running, StepContext, StepState, supervisor_failed};
use super::tend::Lent;
use crate::domain::key_lines::KeyLines;
use crate::domain::lifecycle::Event;
use crate::domain::outcome::{Failure, FailureKind};
use crate::domain::stall::{Signals, Stage, Stall, summary};
use crate::domain::stop::{StopCause, StopReceipt};
use crate::limits;
use crate::monitor::vitals::{Hearing, Vitals};
use crate::ports::processes::{Exit, Job, JobEvent, ProcessError};
use crate::ports::runtime::{AgentEvent, Dialogue, Pending, Reaction};
use crate::ports::transcripts::TranscriptCursor;

/// Why the supervisor ends a run that did not end by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alarm {
    Deadline,
    Silence(Signals),
    AfterResult,
}

pub(super) async fn run(context: &StepContext<'_>, step_state: &mut StepState) -> Result<Event, Failure> {
    let Some(Running { job, dialogue, opening, runtime, credential, cursor, ours }) =
        step_state.running.take()
    else {
        return Err(Failure::new(FailureKind::Internal, "the running program is not known to this server"));
    };
    let lent = Lent::find(context, step_state, runtime, opening.lent).await;
    let supervisor = Supervisor {
        context,
        credential,
        lent,
        job,
        dialogue,
        vitals: context.orchestrator.monitor.vitals(context.agent.id),
        stall: Stall::new(context.orchestrator.settings.stall),
        interrupted: false,
        cursor,
        ours,
        read: 0,
        line_end: 0,
        lines: Lines::default(),
        entries: Vec::new(),
        room: limits::ENTRIES_BYTES,
        warnings: Vec::new(),
        keys: KeyLines::default(),
        turn_over: false,
        gave_up: false,
    };
    supervisor.follow().await
}

struct Supervisor<'a> {
    context: &'a StepContext<'a>,
    /// Mark of the credential that the run was started with.
    credential: Option<String>,
    /// Credentials that the run was lent, looked after while it runs.
    lent: Option<Lent>,
    job: Box<dyn Job>,
    dialogue: Box<dyn Dialogue>,
    /// Where what is heard is noted.
    vitals: Arc<Vitals>,
    /// Stage of the response to its silence.
    stall: Stall,
    /// Its turn was interrupted for its silence.
    interrupted: bool,
    /// Part of this run's output that an earlier server put into the transcript. Its lines are read again for the
    /// conversation's sake, but neither recorded nor answered twice.
    cursor: TranscriptCursor,
    ours: bool,
    /// Bytes of output that were read.
    read: u64,
    /// Where in the output the line ends that is being dealt with.
    line_end: u64,
    lines: Lines,
    /// Events since the transcript was last written.
    entries: Vec<AgentEvent>,
    /// Bytes that this run may still add to the transcript.
    room: u64,
    warnings: Vec<String>,
    /// Private keys that are shown line by line.
    keys: KeyLines,
    turn_over: bool,
    gave_up: bool,
}

impl Supervisor<'_> {
    async fn follow(mut self) -> Result<Event, Failure> {
        self.hears(Hearing::Begins);
        let mut timers = Timers::start(self.context, self.ours).await;
        let (exit, alarm) = self.until_exit(&mut timers).await?;
        // A program that ended well and left nothing was not stopped, whatever its supervisor had begun.
        let stopped = |receipt: &&StopReceipt| receipt.processes_before > 0 || exit.code != Some(0);
        let by_supervisor = exit.receipt.as_ref().filter(|_| alarm.is_none() && !self.gave_up);
        if let Some(receipt) = by_supervisor.filter(stopped) {
            self.context.driver.note_stop(StopCause::Supervisor, receipt);
        }
        // The last line of a program need not end in a newline, and its result may stand there.
        if let Some(rest) = self.lines.take_rest() {
            self.line_end = self.read;
            let reaction = self.dialogue.line(&rest);
            self.react(reaction).await;
            self.write_entries().await;
        }
        self.tend().await;
        self.vitals.spends(self.dialogue.spent());
        if exit.lapsed && alarm.is_none() {
            return Ok(Event::Interrupted);
        }
        let left = self.context.agent.work.deadline.map(|_| timers.left());
        Ok(self.conclude(&exit, alarm, left))
    }

    /// Follows the program until it has ended, by itself or because an alarm says that it must.
    async fn until_exit(&mut self, timers: &mut Timers<'_>) -> Result<(Exit, Option<Alarm>), Failure> {
        loop {
            timers.wait_after_result(self.closing());
            let is_ending = timers.closing == Closing::AfterResult;
            tokio::select! {
                event = self.job.next() => match event.map_err(|e| supervisor_failed(&e))? {
                    JobEvent::Output(bytes) => self.read(&bytes).await,
                    JobEvent::Gap(bytes) => self.skipped(bytes).await,
                    JobEvent::Exited(exit) => return Ok((exit, None)),
                },
                thawed = timers.freeze.turned(|| timers.clock.elapsed()) => if let Some(frozen) = thawed {
                    timers.thaw(frozen);
                    self.hears(Hearing::Begins);
                },
                // After the last result the work is done: the deadline must not make a timeout of it while
                // the program is slow to leave.
                () = &mut timers.deadline, if !is_ending && !timers.freeze.holds() => {
                    return Ok((self.end(StopCause::Deadline).await, Some(Alarm::Deadline)));
                }
                () = &mut timers.wait, if timers.closing != Closing::No && !timers.freeze.holds() => {
                    if is_ending {
                        return Ok((self.end(StopCause::AfterResult).await, Some(Alarm::AfterResult)));
                    }
                    // The turn that was announced does not begin: the result that is there was the last.
                    self.close().await;
                }
                () = &mut timers.tend => {
                    self.tend().await;
                    timers.tend = timers.clock.sleep(limits::TEND_PERIOD);
                }
                // While a turn is awaited that was announced, that wait is the bound: by then nobody is to be asked or ended for
                // a silence which is the supervisor's own patience.
                () = &mut timers.look, if timers.closing == Closing::No && !timers.freeze.holds() => {
                    timers.look = timers.clock.sleep(timers.pause);
                    if let Some(alarm) = self.look().await {
                        return Ok((self.end(StopCause::Silence).await, Some(alarm)));
                    }
                }
            }
            if self.gave_up {
                return Ok((self.end(StopCause::Conversation).await, None));
            }
        }
    }

    /// Notes a sign of life.
    fn hears(&self, sign: Hearing<'_>) {
        self.vitals.hear(self.context.orchestrator.monitor.moment(), sign);
    }

    /// Looks after what the run was lent.
    async fn tend(&mut self) {
        let Some(lent) = &mut self.lent else { return };
        if let Some(text) = lent.look(self.context).await {
            // Ours, not the agent's: no output stands for it.
            self.entries.push(AgentEvent::Notice { text });
            self.write_entries().await;
        }
    }

    /// Returns what supervision waits for after a result.
    fn closing(&self) -> Closing {
        match self.dialogue.pending() {
            _ if self.turn_over => Closing::AfterResult,
            Pending::Turn => Closing::FollowUp,
            Pending::Nothing | Pending::Tasks(_) => Closing::No,
        }
    }

    /// Lets the program end: nothing more is said to it.
    async fn close(&mut self) {
        if !self.turn_over {
            self.turn_over = true;
            // Fails only when the program is gone already.
            let _ = self.job.close_stdin().await;
        }
    }

    /// Looks whether the agent goes on, and answers its silence one stage further when it is time.
    async fn look(&mut self) -> Option<Alarm> {
        let (o, now) = (self.context.orchestrator, self.context.orchestrator.elapsed());
        let signals = self.vitals.signals(now, o.settings.stall / 10);
        let stage = self.stall.observe(now, &signals)?;
        let said = summary(stage, &signals);
        tracing::info!(agent.id = %self.context.agent.id, stage = stage.as_str(), "{said}");
        let line = match stage {
            Stage::Nudge => self.dialogue.nudge(&nudge(&signals, &self.dialogue.pending())),
            Stage::Interrupt => self.dialogue.interrupt(),
            Stage::None | Stage::Notice | Stage::Kill => None,
        };
        // A runtime that takes no interrupt was not interrupted, so what its turn says of its end stays true.
        self.interrupted |= stage == Stage::Interrupt && line.is_some();
        if let Some(line) = line {
            self.say(&line).await;
        }
        if stage == Stage::Kill {
            return Some(Alarm::Silence(signals));
        }
        // Ours, not the agent's: no output stands for it.
        self.entries.push(AgentEvent::Notice { text: said });
        self.write_entries().await;
        self.vitals.stage().send_replace(stage);
        None
    }

    /// Stops the run down the ladder, whose first rung is the protocol's own interrupt. A stop that fails is repeated
    /// when everything is released; why the run had to end stays the reason.
    async fn end(&mut self, cause: StopCause) -> Exit {
        let (o, agent) = (self.context.orchestrator, self.context.agent.id);
        match o.ports.processes.stop(agent, o.settings.kill_grace).await {
            Ok(mut receipt) => {
                // One that is left is stopped again at the end, before anything is released.
                receipt.container = o.stop_sandbox(agent).await;
                self.context.driver.note_stop(cause, &receipt);
            }
            Err(e) => {
                tracing::warn!(agent.id = %agent, error = %e, "the agent's program could not be stopped at once");
                return ended_by_force();
            }
        }
        loop {
            // Output from before the stop is still to be read: it belongs in the transcript and may hold the result.
            match self.job.next().await {
                Ok(JobEvent::Output(bytes)) => self.read(&bytes).await,
                Ok(JobEvent::Gap(bytes)) => self.skipped(bytes).await,
                Ok(JobEvent::Exited(exit)) => return exit,
                Err(_) => return ended_by_force(),
            }
        }
    }

    async fn say(&mut self, line: &str) {
        if let Err(e) = self.job.write(line.as_bytes()).await {
            self.not_taken(&e);
        }
    }

    /// Notes a message that the job did not take: a program that is gone or reads nothing shows by its exit or its silence.
    fn not_taken(&self, error: &ProcessError) {
        tracing::debug!(agent.id = %self.context.agent.id, %error, "agent did not take a line");
    }

    async fn read(&mut self, bytes: &[u8]) {
        self.hears(Hearing::Output);
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|&b| b == b'\n') {
            self.read += at as u64 + 1;
            self.line_end = self.read;
            if let Some(line) = self.lines.finish(&rest[..at]) {
                let reaction = self.dialogue.line(&line);
                self.react(reaction).await;
            }
            rest = &rest[at + 1..];
        }
        self.read += rest.len() as u64;
        self.lines.push(rest);
        self.write_entries().await;
        // Output that is there already makes nobody wait: without this a flood would keep its thread to itself.
        tokio::task::yield_now().await;
    }

    async fn skipped(&mut self, bytes: u64) {
        // The line that is under way lost its middle. Put together with what follows it would be one that the
        // program never wrote.
        self.lines.drop_current();
        self.read += bytes;
        self.line_end = self.read;
        let text = format!("{bytes} bytes of output were not read: the transcript is full");
        self.react(Reaction { events: vec![AgentEvent::Notice { text }], ..Reaction::default() }).await;
        self.write_entries().await;
    }

    async fn react(&mut self, reaction: Reaction) {
        // Said before it is told, so that nothing is left unanswered. What an earlier server said without telling it, the
        // prompt as well, is known to the job's supervisor, which takes one answer per line.
        let replies = if self.is_told() { String::new() } else { reaction.replies.concat() };
        if !replies.is_empty()
            && let Err(e) = self.job.answer(self.line_end, replies.as_bytes()).await
        {
            self.not_taken(&e);
        }
        for event in reaction.events {
            self.hears(Hearing::Event(&event));
            self.keep(event);
        }
        if reaction.turn_over {
            self.close().await;
        }
        self.hears(Hearing::Background(matches!(self.dialogue.pending(), Pending::Tasks(_))));
        // What an earlier server heard already stands in the record, as a whole.
        if !self.is_told() {
            self.vitals.spends(self.dialogue.spent());
        }
        self.gave_up |= reaction.give_up;
    }
}

/// The exit of a program that was ended without a supervisor that could tell how.
fn ended_by_force() -> Exit {
    Exit {
        code: None,
        signal: Some(9),
        timed_out: false,
        leaked: 0,
        output_bytes: 0,
        stderr_tail: String::new(),
        ..Exit::default()
    }
}
