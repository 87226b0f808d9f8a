//! The live log of a gate: whole lines as they are written, from the beginning of the running or next judgement to its end.

use std::convert::Infallible;
use std::path::PathBuf;

use axum::response::Response;
use futures_util::stream;
use mosaic_api::{GateOutcome, GateOutput, GateOutputEnd};
use mosaic_core::domain::agent::Agent;
use mosaic_core::domain::gate_log;
use mosaic_core::domain::ids::{AgentId, Word};
use mosaic_core::limits;
use tokio::sync::watch;

use crate::context::Context;
use crate::gate_log::missing;
use crate::mask::{Pass, Sieve};
use crate::problem::Problem;
use crate::sse::{HeartbeatTimer, RETRY, event, heartbeat, heartbeat_timer, respond};
use crate::view::Shown;

/// Bytes of a log read at once.
const CHUNK: usize = 64 * 1024;

/// A log that is being read.
struct Open {
    file: PathBuf,
    /// Bytes of the file that were read.
    from: u64,
    sieve: Sieve,
}

/// State of the judgement, as the agent's record shows it.
enum Judgement {
    /// None is under way; the next one is waited for.
    Awaited,
    /// The gate writes this log, or will.
    Running(String),
    /// It is over, with this log and this outcome of the gate.
    Over(Option<String>, Option<GateOutcome>),
}

/// Bits of an event's id that count bytes; those above are the round of the judgement, so that a reader who comes back is never
/// given the log of a later one. A log has far fewer bytes ([`limits::GATE_LOG_BYTES`]).
const BYTES: u32 = 40;

struct Tail {
    context: Context,
    id: AgentId,
    gate: Word,
    /// Round of the judgement that is followed, once one was seen at work.
    followed: Option<u32>,
    /// Bytes of the text that the reader has already.
    skip: u64,
    /// Bytes of the text so far.
    sent: u64,
    open: Option<Open>,
    greeted: bool,
    is_over: bool,
    newest: watch::Receiver<u64>,
    heartbeat: HeartbeatTimer,
}

/// Follows the log of one gate; `after` is the id of the last event that the reader has.
pub(crate) async fn live(context: Context, id: AgentId, gate: Word, after: u64) -> Result<Response, Problem> {
    let record = context.orchestrator.agent(id).await?;
    let agent = &record.agent;
    let is_known = gate_log::planned(agent, &gate) || gate_log::result(agent, &gate).is_some();
    if agent.work.plan.is_some() && !is_known {
        return Err(missing(id, &gate));
    }
    let newest = context.orchestrator.ports().store.newest();
    let first = heartbeat_timer(&context);
    let tail = Tail {
        context,
        id,
        gate,
        followed: u32::try_from(after >> BYTES).ok().filter(|round| *round > 0),
        skip: after & ((1 << BYTES) - 1),
        sent: 0,
        open: None,
        greeted: false,
        is_over: false,
        newest,
        heartbeat: first,
    };
    Ok(respond(stream::unfold(tail, |mut tail| async move {
        let chunk = tail.next().await?;
        tail.heartbeat = heartbeat_timer(&tail.context);
        Some((Ok::<_, Infallible>(chunk), tail))
    })))
}

impl Tail {
    /// Returns what to send next; `None` ends the stream.
    async fn next(&mut self) -> Option<String> {
        if self.is_over {
            return None;
        }
        if !self.greeted {
            self.greeted = true;
            return Some(RETRY.to_owned());
        }
        loop {
            // Marked as seen before the record is read, so that a change during the read wakes the wait below.
            self.newest.borrow_and_update();
            let record = match self.context.orchestrator.agent(self.id).await {
                Ok(record) => record,
                Err(e) => return self.give_up(&e),
            };
            // The record is read before the log: what the gate wrote before its end is then in what is read after it.
            let (log, end) = match self.judgement(&record.agent) {
                Judgement::Awaited => (None, None),
                Judgement::Running(log) => (Some(log), None),
                Judgement::Over(log, outcome) => (log, Some(outcome)),
            };
            match self.read(log, end.is_some()).await {
                Ok(Some(chunk)) => return Some(chunk),
                Ok(None) => {}
                Err(e) => return self.give_up(&e),
            }
            if let Some(outcome) = end {
                self.is_over = true;
                let end = GateOutputEnd { gate: self.gate.to_string(), outcome };
                return Some(event(self.place(), "end", &end));
            }
            let (is_running, clock) = (self.followed.is_some(), &self.context.orchestrator.ports().clock);
            tokio::select! {
                Ok(()) = self.newest.changed(), if !is_running => {}
                // The shim that writes the log tells nobody.
                () = clock.sleep(limits::LOG_LOOK), if is_running => {}
                () = &mut self.heartbeat => return Some(heartbeat(self.place())),
            }
        }
    }

    /// Returns the id of the newest event.
    fn place(&self) -> u64 {
        (u64::from(self.followed.unwrap_or(0)) << BYTES) | self.sent
    }

    /// Decides which log is followed. A judgement that was seen at work is over when the record shows it no more, also when
    /// the next one has begun meanwhile.
    fn judgement(&mut self, agent: &Agent) -> Judgement {
        let result = gate_log::result(agent, &self.gate);
        match (gate_log::running(agent, &self.gate), self.followed) {
            (Some(log), None) => {
                self.followed = Some(gate_log::round(agent));
                Judgement::Running(log)
            }
            (Some(log), Some(round)) if round == gate_log::round(agent) => Judgement::Running(log),
            (_, Some(round)) => {
                let log = gate_log::name(round, &self.gate);
                let of_it = result.filter(|result| result.log.as_ref().is_none_or(|name| *name == log));
                Judgement::Over(Some(log), of_it.map(|result| result.outcome.shown()))
            }
            (None, None) if agent.is_terminal() => {
                Judgement::Over(result.and_then(|one| one.log.clone()), result.map(|one| one.outcome.shown()))
            }
            (None, None) => Judgement::Awaited,
        }
    }

    /// Reads what the log has that was not sent yet; nothing when that is nothing now.
    async fn read(&mut self, log: Option<String>, is_over: bool) -> std::io::Result<Option<String>> {
        let Some(name) = log else { return Ok(None) };
        let ports = self.context.orchestrator.ports();
        let open = self.open.get_or_insert_with(|| Open {
            file: ports.transcripts.log(self.id, &name),
            from: 0,
            sieve: Sieve::new(ports.scanner.clone()),
        });
        loop {
            let piece = match ports.transcripts.piece(self.id, &open.file, open.from, CHUNK).await {
                // The gate has not begun, or its verdict was known and nothing ran.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                piece => piece?,
            };
            let at_end = piece.is_empty();
            open.from += piece.len() as u64;
            open.sieve.push(&piece);
            let text = open.sieve.pass(if at_end && is_over { Pass::All } else { Pass::Lines });
            let known = self.skip.saturating_sub(self.sent);
            self.sent += text.len() as u64;
            let fresh = text.get(usize::try_from(known).unwrap_or(usize::MAX)..).unwrap_or_default();
            if !fresh.is_empty() {
                let text = String::from_utf8_lossy(fresh).into_owned();
                let output = GateOutput { gate: self.gate.to_string(), text };
                return Ok(Some(event(self.place(), "output", &output)));
            }
            if at_end {
                return Ok(None);
            }
        }
    }

    /// Ends the stream; the reader comes back by itself and goes on where it was.
    fn give_up(&mut self, e: &dyn std::error::Error) -> Option<String> {
        tracing::warn!(agent.id = %self.id, error = %e, "a live log of a gate could not be read");
        self.is_over = true;
        Some(": the log cannot be read now, come back\n\n".to_owned())
    }
}
