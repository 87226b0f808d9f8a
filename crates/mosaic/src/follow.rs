//! Following agents until they end: the transcript as a stream of entries, the end by long polling. Two threads
//! read, one shows; a broken stream is opened again where it stopped.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use mosaic_api::{AgentView, Page};

use crate::client::{Client, escape};
use crate::interrupt::Interrupts;
use crate::problem::Problem;
use crate::sanitize;
use crate::sent::Agent;
use crate::session::say;
use crate::transcript::{self, Entry};
use crate::view::{AgentStatus, now, span, time};

/// Entries that may wait to be shown; then the reader waits.
const BUFFER: usize = 256;
/// Entries of one page of a transcript; the server gives no more.
const PAGE: usize = 200;
/// Longest wait of one request for the agent's end; after it, the command says what the agent waits for.
const LOOK: Duration = Duration::from_secs(5);
/// Most retries in a row of a broken stream or poll.
const TRIES: u32 = 5;
/// Pause before trying again.
const PAUSE: Duration = Duration::from_millis(500);

/// Report of a reader thread.
pub(crate) enum FollowEvent {
    /// A new entry.
    Entry(Entry),
    /// The agent has ended.
    Ended(Agent),
    /// The agent has not ended, as it was read last.
    Goes(Agent),
    /// The server is lost.
    Lost(Problem),
    /// There was Ctrl-C, SIGTERM or SIGHUP.
    Interrupted,
}

/// Outcome of following an agent.
pub(crate) enum Followed {
    /// The agent has ended.
    Ended(Agent),
    /// There was Ctrl-C, SIGTERM or SIGHUP.
    Interrupted,
}

/// Reads the pages of a transcript after a number, up to its present end.
pub(crate) fn pages(
    client: &Client,
    id: &str,
    mut after: u64,
    each: &mut dyn FnMut(&Entry) -> Result<(), Problem>,
) -> Result<u64, Problem> {
    loop {
        let path = format!("/v1/agents/{}/transcript?after={after}&limit={PAGE}", escape(id));
        let page = client.get::<Page<Entry>>(&path)?;
        let before = after;
        for entry in &page.items {
            if entry.n > after {
                after = entry.n;
                each(entry)?;
            }
        }
        // A page that brings nothing new is the end, whatever its cursor says.
        if after == before || page.next_cursor.is_none() {
            return Ok(after);
        }
    }
}

/// Waits on the server's side for the end of an agent, at most this long; returns its object either way.
pub(crate) fn long_poll(client: &Client, id: &str, most: Duration) -> Result<Agent, Problem> {
    let seconds = most.as_secs().clamp(1, 50);
    client.get(&format!("/v1/agents/{}?wait={seconds}s&until=terminal", escape(id)))
}

/// Says until when and why an agent waits for a limit of the model service, its own or another agent's.
fn waits(agent: &AgentView) -> Option<String> {
    let until = agent.not_before.as_deref().and_then(time)?;
    let why = sanitize::line(agent.delayed_because.as_deref()?);
    let at = until.to_rfc3339();
    let at = at.get(..16).unwrap_or(&at).replace('T', " ");
    Some(format!("waits until {at} UTC (in {}): {why}", span(until.since(now()))))
}

/// Polls until the agent has ended. A passing fault is tried again.
fn watch_end(client: &Client, id: &str, tell: &SyncSender<FollowEvent>) {
    let mut faults = 0;
    loop {
        let asked = Instant::now();
        match long_poll(client, id, LOOK) {
            Ok(agent) if agent.status.is_final() => {
                let _ = tell.send(FollowEvent::Ended(agent));
                return;
            }
            // A server that does not wait must not be asked without pause.
            Ok(agent) => {
                faults = 0;
                if tell.send(FollowEvent::Goes(agent)).is_err() {
                    return;
                }
                std::thread::sleep(PAUSE.saturating_sub(asked.elapsed()));
            }
            Err(Problem::Unreachable { .. }) if faults < TRIES => {
                faults += 1;
                std::thread::sleep(PAUSE * faults);
            }
            Err(problem) => {
                let _ = tell.send(FollowEvent::Lost(problem));
                return;
            }
        }
    }
}

/// Reads the stream and opens it again where it stopped, until nobody listens. A server without streams is no
/// fault: the end is watched elsewhere and the rest is then read by pages.
fn watch_entries(client: &Client, id: &str, mut after: u64, tell: &SyncSender<FollowEvent>) {
    let mut silent = 0;
    let mut heard = true;
    while silent < TRIES && heard {
        let before = after;
        let path = format!("/v1/agents/{}/transcript?after={after}", escape(id));
        let outcome = client.events(&path, |kind, data| {
            let Some(entry) = transcript::streamed(kind, data) else { return true };
            if entry.n > after {
                after = entry.n;
                heard = tell.send(FollowEvent::Entry(entry)).is_ok();
            }
            heard
        });
        // Asking again does not change such an answer. The pages that `show` reads bring the entries then.
        if matches!(outcome, Err(Problem::Api(_) | Problem::Other(_))) {
            return;
        }
        silent = if after > before { 0 } else { silent + 1 };
        std::thread::sleep(PAUSE);
    }
}

/// Follows one agent until it ends: every entry after `after` is given to `each`, in order and once.
pub(crate) fn follow(
    client: &Client,
    id: &str,
    after: u64,
    interrupts: Option<&Interrupts>,
    each: &mut dyn FnMut(&Entry) -> Result<(), Problem>,
) -> Result<Followed, Problem> {
    let (tell, told) = sync_channel(BUFFER);
    if let Some(interrupts) = interrupts {
        let tell = tell.clone();
        interrupts.tell(move || tell.send(FollowEvent::Interrupted).is_ok());
    }
    // The threads end by themselves: the watcher with the agent, the reader when its messages are refused. They
    // are not joined, since a reader may sit in a silent stream; nothing of theirs outlives the process.
    let (a, b) = (client.clone(), client.clone());
    let (id_a, id_b) = (id.to_owned(), id.to_owned());
    let tell_a = tell.clone();
    std::thread::spawn(move || watch_end(&a, &id_a, &tell_a));
    std::thread::spawn(move || watch_entries(&b, &id_b, after, &tell));
    show(client, id, after, &told, each)
}

fn show(
    client: &Client,
    id: &str,
    mut after: u64,
    told: &Receiver<FollowEvent>,
    each: &mut dyn FnMut(&Entry) -> Result<(), Problem>,
) -> Result<Followed, Problem> {
    let mut waited = None;
    loop {
        match told.recv_timeout(Duration::from_secs(2)) {
            Ok(FollowEvent::Entry(entry)) => {
                if entry.n > after {
                    after = entry.n;
                    each(&entry)?;
                }
            }
            Ok(FollowEvent::Ended(agent)) => {
                // The end comes over another connection than the entries and may be ahead of them.
                pages(client, id, after, each)?;
                return Ok(Followed::Ended(agent));
            }
            Ok(FollowEvent::Goes(agent)) => {
                let now = waits(&agent);
                if let Some(text) = now.as_ref().filter(|_| now != waited) {
                    say(text);
                }
                waited = now;
            }
            Ok(FollowEvent::Interrupted) => return Ok(Followed::Interrupted),
            Ok(FollowEvent::Lost(problem)) => return Err(problem),
            // The stream may be broken or missing: pages bring what it did not.
            Err(RecvTimeoutError::Timeout) => after = pages(client, id, after, each)?,
            Err(RecvTimeoutError::Disconnected) => {
                let agent = client.get(&format!("/v1/agents/{}", escape(id)))?;
                return Ok(Followed::Ended(agent));
            }
        }
    }
}
