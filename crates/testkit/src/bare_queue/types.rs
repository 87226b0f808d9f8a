//! Jobs of the bare queue as callers give and get them, and its errors.

use mosaic_core::domain::ids::Timestamp;
use thiserror::Error;

/// Why the queue did not do what was asked.
#[derive(Debug, Error)]
pub enum QueueError {
    /// The server refused, or the connection is gone.
    #[error("the server of the queue failed")]
    Server(#[from] redis::RedisError),
    /// The round trip that this call shared with others failed.
    #[error("the round trip that this call shared failed: {0}")]
    Shared(String),
    /// The caller that made the shared round trip gave up.
    #[error("the call was given up together with another; it may have been carried out")]
    GivenUp,
    /// The script answered something else than was asked.
    #[error("the queue's script answered something else than was asked")]
    Odd,
    /// The server does not answer.
    #[error("the server does not answer")]
    Silent,
}

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
