//! Failpoints around sandbox, transcripts and the files of standing orders.

use std::path::{Path, PathBuf};

use mosaic_core::domain::ids::{AgentId, Timestamp};
use mosaic_core::domain::orders::{Barrier, Latch};
use mosaic_core::ports::orders::{Filed, OrderFiles};
use mosaic_core::ports::runtime::AgentEvent;
use mosaic_core::ports::sandbox::{
    Capabilities, Command, Policy, Probe, Purpose, Sandbox, SandboxError, SandboxHandle, Stopped,
};
use mosaic_core::ports::transcripts::{Checkpoint, Line, Shelved, TranscriptCursor, Transcripts};
use tokio::sync::watch;

pub(super) use super::wrap::Breakable;
use super::wrap::wrap;

wrap! { Sandbox as "sandbox" {
    plain name() -> &'static str;
    plain capabilities() -> Capabilities;
    own [] {
        /// Asked by `doctor` and the start, never by the life of a task.
        async fn probe(&self) -> Result<Probe, SandboxError> {
            self.inner.probe().await
        }
    }
    last prepare(agent: AgentId, purpose: Purpose, policy: &Policy) -> Result<SandboxHandle, SandboxError>;
    plain command(handle: &SandboxHandle, command: Command) -> Command;
    last discard(handle: &SandboxHandle) -> Result<(), SandboxError>;
    last staging(agent: AgentId) -> Result<PathBuf, SandboxError>;
    first place(agent: AgentId, source: &Path, relative: &str) -> Result<(), SandboxError>;
    last stop(agent: AgentId) -> Result<Stopped, SandboxError>;
    last leftovers() -> Result<Vec<AgentId>, SandboxError>;
    last release(agent: AgentId) -> Result<(), SandboxError>;
} }

wrap! { Transcripts as "transcripts" {
    last append(agent: AgentId, at: Timestamp, attempt: u32, checkpoint: Checkpoint, events: Vec<AgentEvent>) -> std::io::Result<()>;
    last cursor(agent: AgentId, run: u32) -> std::io::Result<TranscriptCursor>;
    last read(agent: AgentId, after: u64, limit: usize) -> std::io::Result<Vec<Line>>;
    plain watch(agent: AgentId) -> watch::Receiver<u64>;
    sure raw(agent: AgentId, run: u32) -> PathBuf;
    last raw_files(agent: AgentId) -> std::io::Result<Vec<PathBuf>>;
    last piece(agent: AgentId, file: &Path, from: u64, most: usize) -> std::io::Result<Vec<u8>>;
    sure log(agent: AgentId, name: &str) -> PathBuf;
    last shelved() -> std::io::Result<Vec<Shelved>>;
    last size(agent: AgentId) -> std::io::Result<u64>;
    last discard(agent: AgentId) -> std::io::Result<u64>;
} }

wrap! { OrderFiles as "orders" {
    own ["orders.read"] {
        async fn read(&self) -> Filed {
            self.plan.act("orders.read", self.inner.read()).await
        }
    }
    last write_barrier(barrier: &Barrier) -> std::io::Result<()>;
    last write_latch(latch: Option<&Latch>) -> std::io::Result<()>;
    last forget_kill(agent: AgentId) -> std::io::Result<()>;
    plain stop_path() -> String;
} }
