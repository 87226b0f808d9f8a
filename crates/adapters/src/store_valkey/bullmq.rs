//! The bare queue in BullMQ's layout, for producers and workers of any queue of the same server: what the orchestrator's own
//! queue is made of, without agents, records and events of ours. The official clients work on the same queue beside it.
//!
//! Calls that wait together share a round trip. Flows are finished (a parent is told of its child), not made; retries are
//! the caller's decision.

use std::time::Duration;

use mosaic_core::domain::ids::Timestamp;
use mosaic_core::limits;
use mosaic_core::ports::store::StoreError;
use redis::Value;

use super::dial::Dialled;
use super::failure::words;
use super::link::Link;
use super::options::LinkOptions;
use super::scripts::{LEAN_ADD, LEAN_TURN};
use super::together::Together;

/// A job to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// Its id; a number is given when there is none. Not a number, without `:`.
    pub id: Option<String>,
    /// Its name.
    pub name: String,
    /// Its data, as JSON.
    pub data: String,
    /// Its options, a JSON object in BullMQ's words; priority and delay stand there and here.
    pub options: String,
    /// 0 is served first, then 1 and so on, at most 2²¹ − 1.
    pub priority: u32,
    /// Milliseconds until it may start.
    pub delay: u64,
    /// When it is added.
    pub at: Timestamp,
}

/// A job that a worker holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its data, as JSON.
    pub data: String,
    /// Its options, as JSON.
    pub options: String,
    /// Attempts that were made before.
    pub attempts: u64,
    /// Why it must be failed without being run, when it must.
    pub doomed: Option<String>,
}

/// The end of a job that a worker holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The job.
    pub id: String,
    /// The return value as JSON, or the reason and the stack (a JSON array of strings).
    pub result: Result<String, (String, String)>,
    /// The part of it that is kept.
    pub keep: Keep,
}

/// The part of an ended job that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Everything.
    All,
    /// As much as its own options say (`removeOnComplete`, `removeOnFail`).
    AsItsOptionsSay,
    /// Nothing.
    None,
}

/// The result of ending a job, and the next job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turned {
    /// The end was not written: the job is gone, or held by somebody else, or its children are not done. BullMQ's number.
    pub refused: Option<i64>,
    /// The next job.
    pub next: Option<Taken>,
    /// When the next delayed job is due, when there is one.
    pub due: Option<Timestamp>,
}

struct Turn {
    ended: Option<Ended>,
    token: String,
    wants: bool,
    lock_ms: u64,
    at: Timestamp,
}

/// One queue.
pub struct Queue {
    link: Link,
    /// The prefix of its keys.
    keys: [String; 1],
    adds: Together<NewJob, String>,
    turns: Together<Turn, Turned>,
}

impl Queue {
    /// Connects. The queue's keys begin with the options' prefix, `bull` and its name.
    ///
    /// Errors as the store's connection: `Unavailable`, `Unusable`.
    pub async fn connect(options: &LinkOptions, name: &str) -> Result<Self, StoreError> {
        let before = if options.prefix.is_empty() { String::new() } else { format!("{}:", options.prefix) };
        Ok(Self {
            link: Link::connect(options).await?,
            keys: [format!("{before}bull:{name}:")],
            adds: Together::new(limits::LEAN_BATCH, limits::LEAN_TRIPS),
            turns: Together::new(limits::LEAN_BATCH, limits::LEAN_TRIPS),
        })
    }

    /// Adds a job; returns its id. One that exists already stays as it is.
    pub async fn add(&self, job: NewJob) -> Result<String, StoreError> {
        self.adds.call(job, |jobs| self.send_adds(jobs)).await
    }

    /// Adds jobs in one step; returns their ids in the same order.
    pub async fn add_bulk(&self, jobs: Vec<NewJob>) -> Result<Vec<String>, StoreError> {
        let mut ids = Vec::with_capacity(jobs.len());
        let mut jobs = jobs.into_iter();
        loop {
            let batch: Vec<NewJob> = jobs.by_ref().take(limits::LEAN_BULK).collect();
            if batch.is_empty() {
                return Ok(ids);
            }
            ids.extend(self.send_adds(batch).await?);
        }
    }

    /// Takes the next job under a lock of this length, when there is one.
    pub async fn take(&self, token: &str, lock_ms: u64, at: Timestamp) -> Result<Turned, StoreError> {
        let turn = Turn { ended: None, token: token.to_owned(), wants: true, lock_ms, at };
        self.turns.call(turn, |turns| self.send_turns(turns)).await
    }

    /// Writes the end of a job that is held under this token, and takes the next one.
    pub async fn finish_and_take(
        &self,
        ended: Ended,
        token: &str,
        lock_ms: u64,
        at: Timestamp,
    ) -> Result<Turned, StoreError> {
        let turn = Turn { ended: Some(ended), token: token.to_owned(), wants: true, lock_ms, at };
        self.turns.call(turn, |turns| self.send_turns(turns)).await
    }

    /// Writes the end of a job that is held under this token.
    pub async fn finish(&self, ended: Ended, token: &str, at: Timestamp) -> Result<Turned, StoreError> {
        let turn = Turn { ended: Some(ended), token: token.to_owned(), wants: false, lock_ms: 0, at };
        self.turns.call(turn, |turns| self.send_turns(turns)).await
    }

    /// Opens a second connection on which a worker waits for something to do. The server lists it under this name.
    pub async fn waiter(&self, name: &str) -> Result<Waiter, StoreError> {
        let dialler = self.link.dialler();
        let address = dialler.locate().await.map_err(StoreError::Unavailable)?;
        let dialled = dialler.dial(&address, name).await.map_err(StoreError::Unavailable)?;
        Ok(Waiter { dialled, marker: format!("{}marker", self.keys[0]) })
    }

    async fn send_adds(&self, jobs: Vec<NewJob>) -> Result<Vec<String>, StoreError> {
        let mut args = Args::with_capacity(1 + 7 * jobs.len());
        args.number(jobs.len() as u64);
        for job in jobs {
            args.text(job.id.unwrap_or_default());
            args.text(job.name);
            args.text(job.data);
            args.text(job.options);
            args.number(job.at.0);
            args.number(job.delay);
            args.number(u64::from(job.priority));
        }
        let answer = self.link.eval(&LEAN_ADD, &self.keys, args.0).await?;
        list(answer).into_iter().map(|id| text(id).ok_or_else(odd)).collect()
    }

    async fn send_turns(&self, turns: Vec<Turn>) -> Result<Vec<Turned>, StoreError> {
        let at = turns.first().map_or(0, |turn| turn.at.0);
        let mut args = Args::with_capacity(2 + 9 * turns.len());
        args.number(at);
        args.number(turns.len() as u64);
        for turn in turns {
            args.turn(turn);
        }
        let mut answers = list(self.link.eval(&LEAN_TURN, &self.keys, args.0).await?);
        let due = answers.pop().and_then(text).and_then(|due| due.parse().ok()).filter(|due| *due > 0);
        answers.into_iter().map(|answer| turned(answer, due.map(Timestamp)).ok_or_else(odd)).collect()
    }
}

/// Waits for something to do.
pub struct Waiter {
    dialled: Dialled,
    marker: String,
}

impl Waiter {
    /// Waits until there may be something to do, at most so long. Spurious wakes are possible.
    pub async fn wait(&mut self, patience: Duration) -> Result<(), StoreError> {
        let mut blocking = redis::cmd("BZPOPMIN");
        blocking.arg(&self.marker).arg(patience.as_secs_f64());
        let mut connection = self.dialled.connection.clone();
        let waited = tokio::time::timeout(
            patience + limits::LINK_ANSWER,
            blocking.query_async::<Value>(&mut connection),
        );
        match waited.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(e)) => Err(StoreError::Unavailable(words(&e))),
            Err(_) => Err(StoreError::Unavailable("the server does not answer".to_owned())),
        }
    }
}

fn odd() -> StoreError {
    StoreError::Unavailable("the queue's script answered something else than was asked".to_owned())
}

/// The arguments of a script.
struct Args(Vec<Vec<u8>>);

impl Args {
    fn with_capacity(count: usize) -> Self {
        Self(Vec::with_capacity(count))
    }

    fn text(&mut self, text: String) {
        self.0.push(text.into_bytes());
    }

    fn number(&mut self, number: u64) {
        self.0.push(number.to_string().into_bytes());
    }

    fn turn(&mut self, turn: Turn) {
        let Turn { ended, token, wants, lock_ms, at: _ } = turn;
        match ended {
            None => self.number(0),
            Some(Ended { id, result, keep }) => {
                self.number(1);
                self.text(id);
                self.text(token.clone());
                let (outcome, result, stack) = match result {
                    Ok(value) => ("completed", value, String::new()),
                    Err((why, stack)) => ("failed", why, stack),
                };
                self.text(outcome.to_owned());
                self.text(result);
                self.text(stack);
                let keeping = match keep {
                    Keep::All => "all",
                    Keep::AsItsOptionsSay => "options",
                    Keep::None => "none",
                };
                self.text(keeping.to_owned());
            }
        }
        self.text(if wants { token } else { String::new() });
        self.number(lock_ms);
    }
}

fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => Some(
            String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()),
        ),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

fn turned(answer: Value, due: Option<Timestamp>) -> Option<Turned> {
    let mut parts = list(answer).into_iter();
    let Some(Value::Int(code)) = parts.next() else { return None };
    let mut fields = list(parts.next().unwrap_or(Value::Nil)).into_iter().map(text);
    let mut next = || fields.next().flatten();
    let taken = next().map(|id| Taken {
        id,
        name: next().unwrap_or_default(),
        data: next().unwrap_or_default(),
        options: next().unwrap_or_default(),
        attempts: next().and_then(|n| n.parse().ok()).unwrap_or(0),
        doomed: next().filter(|why| !why.is_empty()),
    });
    Some(Turned { refused: (code < 0).then_some(code), next: taken, due })
}
