//! Step 6, supervise: the agent's lines become events in the transcript and replies to the agent; deadline, silence
//! and a process that lives on after its result are dealt with.

use std::sync::Arc;
use std::time::Duration;

use super::context::{Running, StepContext, StepState, stopped, supervisor_failed};
use super::tend::Lent;
use crate::domain::key_lines::KeyLines;
use crate::domain::lifecycle::Event;
use crate::domain::outcome::{Failure, FailureKind, Outcome, cut};
use crate::domain::stall::{Signals, Stage, Stall, summary};
use crate::domain::stop::StopCause;
use crate::limits;
use crate::monitor::vitals::{Hearing, Vitals};
use crate::ports::processes::{Exit, Job, JobEvent, ProcessError};
use crate::ports::runtime::{AgentEvent, Dialogue, Pending, Reaction};
use crate::ports::transcripts::{Mark, Told};
use crate::steps::freeze::FreezeTimer;

/// Why the supervisor ends a run that did not end by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alarm {
    Deadline,
    Silence(Signals),
    AfterResult,
}

pub(super) async fn run(context: &StepContext<'_>, step_state: &mut StepState) -> Result<Event, Failure> {
    let Some(Running { job, dialogue, opening, runtime, credential, told, ours }) = step_state.running.take()
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
        told,
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
    told: Told,
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
        self.vitals.hear(self.context.orchestrator.moment(), Hearing::Begins);
        let clock = &self.context.orchestrator.ports.clock;
        let now = self.context.orchestrator.now();
        // However the clock was set meanwhile, nobody gets more than the whole time.
        let most = Duration::from_secs(self.context.agent.spec.timeout_seconds);
        let mut frost = FreezeTimer::look(self.context).await;
        let ends = self.context.agent.work.deadline.map(|at| at.plus(frost.before));
        let mut left = match (self.ours, ends) {
            // Just begun: the wall clock may have jumped since it was written down.
            (true, Some(_)) => self.context.agent.work.time_left_ms.map_or(most, Duration::from_millis),
            (_, ends) => ends.map_or(most, |at| at.since(now).min(most)),
        };
        let (begun, ceiling) = (clock.elapsed(), self.context.orchestrator.settings.stall);
        let mut deadline = clock.sleep(left);
        let pause = (ceiling / 20).clamp(*limits::STALL_LOOK.start(), *limits::STALL_LOOK.end());
        let (mut look, mut tend) = (clock.sleep(pause), clock.sleep(limits::TEND_PERIOD));
        let (mut closing, mut wait) = (Closing::No, clock.sleep(limits::FOLLOW_UP));
        let mut alarm = None;
        let exit = loop {
            let next = self.closing();
            if next != closing {
                closing = next;
                wait = clock.sleep(closing.patience());
            }
            let timing = closing == Closing::AfterResult;
            tokio::select! {
                event = self.job.next() => match event.map_err(|e| supervisor_failed(&e))? {
                    JobEvent::Output(bytes) => self.read(&bytes).await,
                    JobEvent::Gap(bytes) => self.skipped(bytes).await,
                    JobEvent::Exited(exit) => break exit,
                },
                thawed = frost.turned(|| clock.elapsed()) => if let Some(time) = thawed {
                    // Standing still was neither work nor silence.
                    left += time;
                    deadline = clock.sleep(left.saturating_sub(clock.elapsed().saturating_sub(begun)));
                    closing = Closing::No;
                    self.vitals.hear(self.context.orchestrator.moment(), Hearing::Begins);
                },
                () = &mut deadline, if !timing && !frost.holds() => {
                    alarm = Some(Alarm::Deadline);
                    break self.end(StopCause::Deadline).await;
                }
                () = &mut wait, if closing != Closing::No && !frost.holds() => {
                    if timing {
                        alarm = Some(Alarm::AfterResult);
                        break self.end(StopCause::AfterResult).await;
                    }
                    // The turn that was announced does not begin: the result that is there was the last.
                    self.close().await;
                }
                () = &mut tend => {
                    self.tend().await;
                    tend = clock.sleep(limits::TEND_PERIOD);
                }
                () = &mut look, if !timing && !frost.holds() => {
                    look = clock.sleep(pause);
                    alarm = self.look().await;
                    if alarm.is_some() {
                        break self.end(StopCause::Silence).await;
                    }
                }
            }
            if self.gave_up {
                break self.end(StopCause::Conversation).await;
            }
        };
        if let Some(receipt) = exit.receipt.as_ref().filter(|_| alarm.is_none() && !self.gave_up) {
            self.context.driver.note_stop(StopCause::Supervisor, receipt);
        }
        if let Some(rest) = self.lines.take_rest() {
            self.line_end = self.read;
            let reaction = self.dialogue.line(&rest);
            self.react(reaction).await;
            self.write_entries().await;
        }
        self.tend().await;
        self.vitals.spends(self.dialogue.spent());
        // By the timer that ran here: the wall clock may have jumped meanwhile.
        let left = self
            .context
            .agent
            .work
            .deadline
            .map(|_| left.saturating_sub(clock.elapsed().saturating_sub(begun)));
        if exit.lapsed && alarm.is_none() {
            return Ok(Event::Interrupted);
        }
        Ok(self.conclude(&exit, alarm, left))
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

    fn conclude(mut self, exit: &Exit, alarm: Option<Alarm>, left: Option<Duration>) -> Event {
        let outcome = match alarm {
            _ if exit.stopped => Outcome::Failed(stopped()),
            Some(Alarm::Deadline) => {
                let text = format!(
                    "the attempt ran past timeoutSeconds ({} s){}",
                    self.context.agent.spec.timeout_seconds,
                    under_way(&self.dialogue.pending())
                );
                Outcome::Failed(Failure::new(FailureKind::Timeout, text))
            }
            Some(Alarm::Silence(signals)) => {
                Outcome::Failed(Failure::new(FailureKind::Stalled, summary(Stage::Kill, &signals)))
            }
            Some(Alarm::AfterResult) => {
                self.warnings.push("the agent's program lived on after its result and was ended".to_owned());
                self.dialogue.outcome(exit)
            }
            None if exit.ended_by.is_some() => {
                let why = exit.ended_by.as_deref().unwrap_or_default();
                Outcome::Failed(Failure::new(FailureKind::Crash, format!("its supervisor ended it: {why}")))
            }
            None if exit.timed_out => Outcome::Failed(Failure::new(
                FailureKind::Timeout,
                "the attempt ran past its time while no server watched it",
            )),
            None => match &exit.start_error {
                Some(why) => {
                    let text = format!("the agent's program could not be started: {why}");
                    Outcome::Failed(Failure::new(FailureKind::ProgramMissing, text))
                }
                None => self.dialogue.outcome(exit),
            },
        };
        let outcome = match outcome {
            Outcome::Failed(f) if f.reset.is_some() => {
                Outcome::Failed(Failure { credential: self.credential.take(), ..f })
            }
            other => other,
        };
        // What an interrupted turn says of itself is what we did to it.
        let outcome = match outcome {
            Outcome::Failed(f) if self.interrupted && alarm.is_none() => {
                let text = format!("it was interrupted after a long silence: {}", f.message);
                Outcome::Failed(Failure::new(FailureKind::Stalled, text))
            }
            other => other,
        };
        if exit.leaked > 0 {
            self.warnings
                .push(format!("{} processes outlived the agent's program and were ended", exit.leaked));
        }
        let (scanner, keys) = (&self.context.orchestrator.ports.scanner, &self.keys);
        let mask = |text: String| scanner.mask(&keys.hide_again(&text));
        self.warnings.extend(self.dialogue.warnings().into_iter().map(&mask));
        let abandoned = under_way(&self.dialogue.pending());
        if alarm.is_none() && !abandoned.is_empty() {
            self.warnings.push(mask(format!("the agent's program ended by itself{abandoned}")));
        }
        let outcome = match outcome {
            Outcome::Completed { text } => Outcome::Completed { text: mask(cut(text, limits::ENTRY_BYTES)) },
            Outcome::Failed(f) => Outcome::Failed(f.reworded(mask)),
        };
        Event::TurnEnded { outcome, left, session: self.dialogue.session(), warnings: self.warnings }
    }

    /// Stops the run down the ladder, whose first rung is the protocol's own interrupt. A stop that fails is repeated
    /// when everything is given back; why the run had to end stays the reason.
    async fn end(&mut self, cause: StopCause) -> Exit {
        let (o, agent) = (self.context.orchestrator, self.context.agent.id);
        match o.ports.processes.stop(agent, o.settings.kill_grace).await {
            Ok(receipt) => self.context.driver.note_stop(cause, &receipt),
            Err(e) => {
                tracing::warn!(agent.id = %agent, error = %e, "the agent's program could not be stopped at once");
                return ended_by_force();
            }
        }
        loop {
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
        self.vitals.hear(self.context.orchestrator.moment(), Hearing::Output);
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
        self.lines.drop_current();
        self.read += bytes;
        self.line_end = self.read;
        let text = format!("{bytes} bytes of output were not read: the transcript is full");
        self.react(Reaction { events: vec![AgentEvent::Notice { text }], ..Reaction::default() }).await;
        self.write_entries().await;
    }

    /// Keeps an event for the transcript while there is room; the raw output has the rest.
    fn keep(&mut self, event: AgentEvent) {
        if self.room == 0 {
            return;
        }
        let (scanner, keys) = (&self.context.orchestrator.ports.scanner, &mut self.keys);
        let event =
            masked(event, |text| scanner.mask(&cut(keys.hide(&text).into_owned(), limits::ENTRY_BYTES)));
        if let AgentEvent::Denied { tool, reason } = &event {
            self.warnings.push(cut(format!("{tool} was denied: {reason}"), 500));
        }
        self.room = self.room.saturating_sub(limits::ENTRY_OVERHEAD_BYTES + spoken(&event));
        self.tell(event);
        if self.room == 0 {
            let text = "the transcript is full; what follows is in the raw output only".to_owned();
            self.warnings
                .push("the agent said more than a transcript holds; the raw output has the rest".to_owned());
            self.tell(AgentEvent::Notice { text });
        }
    }

    /// Tells whether an earlier server dealt with the current line whole.
    fn is_told(&self) -> bool {
        self.line_end <= self.told.bytes
    }

    /// Puts an event into the transcript unless it stands there.
    fn tell(&mut self, event: AgentEvent) {
        if self.is_told() {
            return;
        }
        match self.told.entries.checked_sub(1) {
            Some(left) => self.told.entries = left,
            None => self.entries.push(event),
        }
    }

    /// Writes what was said, many lines at once.
    async fn write_entries(&mut self) {
        if self.entries.is_empty() {
            return;
        }
        let (o, agent, entries) =
            (self.context.orchestrator, self.context.agent, std::mem::take(&mut self.entries));
        let mark = Mark { run: agent.runs, bytes: self.line_end.max(self.told.bytes) };
        if let Err(e) = o.ports.transcripts.append(agent.id, o.now(), agent.attempt, mark, entries).await {
            tracing::warn!(agent.id = %agent.id, error = %e, "transcript could not be written");
        }
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
            self.vitals.hear(self.context.orchestrator.moment(), Hearing::Event(&event));
            self.keep(event);
        }
        if reaction.turn_over {
            self.close().await;
        }
        self.vitals.hear(
            self.context.orchestrator.moment(),
            Hearing::Background(matches!(self.dialogue.pending(), Pending::Tasks(_))),
        );
        // What an earlier server heard already stands in the record, as a whole.
        if !self.is_told() {
            self.vitals.spends(self.dialogue.spent());
        }
        self.gave_up |= reaction.give_up;
    }
}

/// Stage of the end of a program that has sent its last message, or seems to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    /// It works, or its background tasks do.
    No,
    /// Another turn is about to begin.
    FollowUp,
    /// The last result is there; counts from then on, whatever the program still prints.
    AfterResult,
}

impl Closing {
    fn patience(self) -> Duration {
        match self {
            Self::No | Self::FollowUp => limits::FOLLOW_UP,
            Self::AfterResult => limits::AFTER_RESULT,
        }
    }
}

/// Names the background tasks that an end comes upon.
fn under_way(pending: &Pending) -> String {
    match pending {
        Pending::Tasks(names) => {
            let text = format!("; in the background were still under way: {}", names.join(", "));
            cut(text, limits::ERROR_BYTES / 4)
        }
        Pending::Nothing | Pending::Turn => String::new(),
    }
}

/// Returns the message to a silent agent.
fn nudge(signals: &Signals, pending: &Pending) -> String {
    if let Pending::Tasks(names) = pending {
        return format!(
            "Your background tasks have said nothing for {} seconds: {}. If one hangs, or is a server that you do not need \
             any more, stop it; if you wait for one to end, look at its output and end your turn. A task that you do neither with \
             is ended when your work is judged.",
            signals.silent.as_secs(),
            cut(names.join(", "), limits::ERROR_BYTES / 4)
        );
    }
    format!(
        "You have said nothing for {} seconds. If a command hangs, stop it and go on another way; if you are done, end \
         your turn with a short summary; else say in one line what you are doing.",
        signals.silent.as_secs()
    )
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

/// Returns how many bytes of text an event has.
fn spoken(event: &AgentEvent) -> u64 {
    use AgentEvent as E;
    let text = match event {
        E::Text { text }
        | E::Thinking { text }
        | E::ToolResult { text, .. }
        | E::Output { text }
        | E::Notice { text } => text,
        E::Tool { title, .. } => title,
        E::Denied { reason, .. } => reason,
        E::Started { .. } | E::ApiRetry { .. } | E::Usage { .. } => return 0,
    };
    text.len() as u64
}

/// Masks and cuts the texts of an event.
fn masked(event: AgentEvent, short: impl FnOnce(String) -> String) -> AgentEvent {
    use AgentEvent as E;
    match event {
        E::Text { text } => E::Text { text: short(text) },
        E::Thinking { text } => E::Thinking { text: short(text) },
        E::Tool { id, name, title } => E::Tool { id, name, title: short(title) },
        E::ToolResult { id, ok, text } => E::ToolResult { id, ok, text: short(text) },
        E::Denied { tool, reason } => E::Denied { tool, reason: short(reason) },
        E::Output { text } => E::Output { text: short(text) },
        E::Notice { text } => E::Notice { text: short(text) },
        other @ (E::Started { .. } | E::ApiRetry { .. } | E::Usage { .. }) => other,
    }
}

/// Puts chunks together to lines; a line longer than [`limits::LINE_BYTES`] is dropped.
#[derive(Default)]
struct Lines {
    partial: Vec<u8>,
    too_long: bool,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) {
        if self.too_long || self.partial.len() + bytes.len() > limits::LINE_BYTES {
            self.drop_current();
        } else {
            self.partial.extend_from_slice(bytes);
        }
    }

    fn drop_current(&mut self) {
        self.partial = Vec::new();
        self.too_long = true;
    }

    /// Ends the current line with these bytes; `None` when it was too long.
    fn finish(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.push(bytes);
        let line = std::mem::take(&mut self.partial);
        (!std::mem::take(&mut self.too_long)).then_some(line)
    }

    fn take_rest(&mut self) -> Option<Vec<u8>> {
        (!self.partial.is_empty()).then(|| std::mem::take(&mut self.partial))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_and_endless_ones_dropped() {
        let mut lines = Lines::default();
        lines.push(b"ab");
        assert_eq!(lines.finish(b"c"), Some(b"abc".to_vec()));
        lines.push(&vec![b'x'; limits::LINE_BYTES]);
        lines.push(b"y");
        assert!(lines.partial.is_empty(), "a dropped line holds memory");
        assert_eq!(lines.finish(b"z"), None);
        assert_eq!(lines.finish(b"next"), Some(b"next".to_vec()));
    }
}
