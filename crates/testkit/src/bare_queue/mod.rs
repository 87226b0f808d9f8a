//! The bare queue in BullMQ's layout: what the orchestrator's own queue is made of, without agents, records and events of ours.
//! The benchmarks and the tests of the layout drive it beside the official clients; the product does not contain it.
//!
//! It runs the product's own fragments of Lua (`queue`, `parents`, `job_retention`), so what it shows of the layout holds for the
//! store. Calls that wait together share a round trip. Flows are finished (a parent is told of its child), not made; retries are
//! the caller's decision.

mod calls;
mod script;
mod types;

use std::time::Duration;

use mosaic_core::domain::ids::Timestamp;
use mosaic_core::limits::LINK_ANSWER;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Value};

use calls::SharedTrips;
use script::{Args, BARE_ADD, BARE_FINISH_AND_TAKE, Script, Turn, list, text, turned};

pub use types::{Ended, Keep, NewJob, QueueError, Taken, Turned};

/// Most calls that share a round trip: a script keeps the server from everybody else as long as it runs.
const BATCH: usize = 64;
/// Round trips of one kind under way at once: while the server works on one, the next is put together. More would be
/// emptier, and what a call costs the server by itself is more than what a job costs it.
const TRIPS: usize = 2;
/// Most jobs that one script adds: 7 arguments each, and a script may unpack some thousands.
const BULK: usize = 500;

/// One queue.
pub struct Queue {
    client: redis::Client,
    connection: MultiplexedConnection,
    /// The prefix of its keys.
    keys: String,
    adds: SharedTrips<NewJob, String>,
    turns: SharedTrips<Turn, Turned>,
}

impl Queue {
    /// Connects to a server on this machine. The queue's keys begin with the prefix, `bull` and its name.
    pub async fn connect(port: u16, prefix: &str, name: &str) -> Result<Self, QueueError> {
        let before = if prefix.is_empty() { String::new() } else { format!("{prefix}:") };
        let client = redis::Client::open(("127.0.0.1", port))?;
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(LINK_ANSWER));
        Ok(Self {
            connection: client.get_multiplexed_async_connection_with_config(&config).await?,
            client,
            keys: format!("{before}bull:{name}:"),
            adds: SharedTrips::new(BATCH, TRIPS),
            turns: SharedTrips::new(BATCH, TRIPS),
        })
    }

    /// Adds a job; returns its id. One that exists already stays as it is.
    pub async fn add(&self, job: NewJob) -> Result<String, QueueError> {
        self.adds.call(job, |jobs| self.send_adds(jobs)).await
    }

    /// Adds jobs in one step; returns their ids in the same order.
    pub async fn add_bulk(&self, jobs: Vec<NewJob>) -> Result<Vec<String>, QueueError> {
        let mut ids = Vec::with_capacity(jobs.len());
        let mut jobs = jobs.into_iter();
        loop {
            let batch: Vec<NewJob> = jobs.by_ref().take(BULK).collect();
            if batch.is_empty() {
                return Ok(ids);
            }
            ids.extend(self.send_adds(batch).await?);
        }
    }

    /// Takes the next job under a lock of this length, when there is one.
    pub async fn take(&self, token: &str, lock_ms: u64, at: Timestamp) -> Result<Turned, QueueError> {
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
    ) -> Result<Turned, QueueError> {
        let turn = Turn { ended: Some(ended), token: token.to_owned(), wants: true, lock_ms, at };
        self.turns.call(turn, |turns| self.send_turns(turns)).await
    }

    /// Writes the end of a job that is held under this token.
    pub async fn finish(&self, ended: Ended, token: &str, at: Timestamp) -> Result<Turned, QueueError> {
        let turn = Turn { ended: Some(ended), token: token.to_owned(), wants: false, lock_ms: 0, at };
        self.turns.call(turn, |turns| self.send_turns(turns)).await
    }

    /// Opens a second connection on which a worker waits for something to do. The server lists it under this name.
    pub async fn waiter(&self, name: &str) -> Result<Waiter, QueueError> {
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        redis::cmd("CLIENT").arg("SETNAME").arg(name).exec_async(&mut connection).await?;
        Ok(Waiter { connection, marker: format!("{}marker", self.keys) })
    }

    async fn eval(&self, script: &'static Script, args: Args) -> Result<Vec<Value>, QueueError> {
        list(script.run(&self.connection, &self.keys, args).await?).ok_or(QueueError::Odd)
    }

    async fn send_adds(&self, jobs: Vec<NewJob>) -> Result<Vec<String>, QueueError> {
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
        let answer = self.eval(&BARE_ADD, args).await?;
        answer.into_iter().map(|id| text(id).ok_or(QueueError::Odd)).collect()
    }

    async fn send_turns(&self, turns: Vec<Turn>) -> Result<Vec<Turned>, QueueError> {
        let at = turns.first().map_or(0, |turn| turn.at.0);
        let mut args = Args::with_capacity(2 + 9 * turns.len());
        args.number(at);
        args.number(turns.len() as u64);
        for turn in turns {
            args.turn(turn);
        }
        let mut answers = self.eval(&BARE_FINISH_AND_TAKE, args).await?;
        let due = answers.pop().and_then(text).and_then(|due| due.parse().ok()).filter(|due| *due > 0);
        answers.into_iter().map(|answer| turned(answer, due.map(Timestamp)).ok_or(QueueError::Odd)).collect()
    }
}

/// A connection on which a worker waits for something to do.
pub struct Waiter {
    connection: MultiplexedConnection,
    marker: String,
}

impl Waiter {
    /// Waits until there may be something to do, at most so long. Spurious wakes are possible.
    pub async fn wait(&mut self, patience: Duration) -> Result<(), QueueError> {
        let mut blocking = redis::cmd("BZPOPMIN");
        blocking.arg(&self.marker).arg(patience.as_secs_f64());
        let waited = blocking.query_async::<Value>(&mut self.connection);
        match tokio::time::timeout(patience + LINK_ANSWER, waited).await {
            Ok(answer) => answer.map(drop).map_err(QueueError::from),
            Err(_) => Err(QueueError::Silent),
        }
    }
}
