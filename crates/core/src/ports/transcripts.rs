//! Transcripts: append-only files per agent beside the store. The raw output is written by the shim; the readable
//! entries are written by whoever supervises the agent.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::runtime::AgentEvent;
use crate::domain::ids::{AgentId, Timestamp};

/// One readable entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// Its number in the transcript, from 1, without gaps.
    pub n: u64,
    /// When it was seen.
    pub at: Timestamp,
    /// Which attempt it belongs to.
    pub attempt: u32,
    /// The event; secrets are masked.
    #[serde(flatten)]
    pub event: AgentEvent,
}

/// Transcript cursor in a run's raw output: the transcript covers everything up to a byte, and so many entries of what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TranscriptCursor {
    /// Bytes of the run's standard output from its start.
    pub bytes: u64,
    /// Entries about what comes after these bytes: a crash tore the last append.
    pub entries: u64,
}

/// Checkpoint in a run's raw output: an append tells everything up to here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The run, from 1.
    pub run: u32,
    /// Bytes of its standard output from its start.
    pub bytes: u64,
}

/// Files that are kept of one agent on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shelved {
    /// The agent.
    pub agent: AgentId,
    /// Bytes of all its files.
    pub bytes: u64,
    /// When something was last written.
    pub touched: Timestamp,
}

/// Reads and writes transcripts. Files are bounded by [`crate::limits::TRANSCRIPT_BYTES`]; what comes after a
/// full transcript is counted and dropped with a marker.
#[async_trait]
pub trait Transcripts: Send + Sync {
    /// Appends entries; numbers them. The checkpoint says how much of the run's output is told once all of them are there.
    /// Errors with the operating system's words; nothing else is affected.
    async fn append(
        &self,
        agent: AgentId,
        at: Timestamp,
        attempt: u32,
        checkpoint: Checkpoint,
        events: Vec<AgentEvent>,
    ) -> std::io::Result<()>;

    /// Returns the cursor in a run's output, from the checkpoints that reached the file; of a run that a later one followed,
    /// at least that.
    async fn cursor(&self, agent: AgentId, run: u32) -> std::io::Result<TranscriptCursor>;

    /// Reads entries after this number, at most `limit`. An unknown agent has none.
    async fn read(&self, agent: AgentId, after: u64, limit: usize) -> std::io::Result<Vec<Line>>;

    /// Returns a receiver that changes whenever entries were appended to this agent's transcript.
    fn watch(&self, agent: AgentId) -> watch::Receiver<u64>;

    /// Returns the file for the raw output of one run of the agent (from 1). Its directory is made by whoever writes it.
    fn raw(&self, agent: AgentId, run: u32) -> PathBuf;

    /// Returns the raw output files that exist, oldest first.
    async fn raw_files(&self, agent: AgentId) -> std::io::Result<Vec<PathBuf>>;

    /// Reads a piece of one of the agent's files, from this byte on and at most so many bytes; nothing at its end. Errors with
    /// `NotFound` when there is none, and for what is no regular file.
    async fn piece(&self, agent: AgentId, file: &Path, from: u64, most: usize) -> std::io::Result<Vec<u8>>;

    /// Returns the file for a named log of the agent (a gate's). Its directory is made by whoever writes it.
    fn log(&self, agent: AgentId, name: &str) -> PathBuf;

    /// Lists what is kept of every agent.
    async fn shelved(&self) -> std::io::Result<Vec<Shelved>>;

    /// Returns how many bytes are kept of one agent.
    async fn size(&self, agent: AgentId) -> std::io::Result<u64>;

    /// Takes everything away that is kept of an agent that writes no more: entries, raw output, logs. Idempotent; returns
    /// the bytes that were freed.
    async fn discard(&self, agent: AgentId) -> std::io::Result<u64>;
}
