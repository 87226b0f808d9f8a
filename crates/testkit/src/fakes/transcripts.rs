//! Transcripts of fakes: ones that keep nothing, and ones in memory beside real raw files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use mosaic_core::domain::ids::{AgentId, Timestamp};
use mosaic_core::ports::runtime::AgentEvent;
use mosaic_core::ports::transcripts::{Checkpoint, Line, Shelved, TranscriptCursor, Transcripts};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::world::Part;

#[async_trait]
impl Transcripts for Part {
    async fn append(
        &self,
        _: AgentId,
        _: Timestamp,
        _: u32,
        _: Checkpoint,
        _: Vec<AgentEvent>,
    ) -> std::io::Result<()> {
        Ok(())
    }
    async fn cursor(&self, _: AgentId, _: u32) -> std::io::Result<TranscriptCursor> {
        Ok(TranscriptCursor::default())
    }
    async fn read(&self, _: AgentId, _: u64, _: usize) -> std::io::Result<Vec<Line>> {
        Ok(Vec::new())
    }
    fn watch(&self, _: AgentId) -> watch::Receiver<u64> {
        watch::Sender::new(0).subscribe()
    }
    fn raw(&self, _: AgentId, _: u32) -> PathBuf {
        PathBuf::from("/nonexistent")
    }
    async fn raw_files(&self, _: AgentId) -> std::io::Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }
    async fn piece(&self, _: AgentId, _: &Path, _: u64, _: usize) -> std::io::Result<Vec<u8>> {
        Err(std::io::ErrorKind::NotFound.into())
    }
    fn log(&self, _: AgentId, _: &str) -> PathBuf {
        PathBuf::from("/nonexistent")
    }
    async fn shelved(&self) -> std::io::Result<Vec<Shelved>> {
        Ok(Vec::new())
    }
    async fn size(&self, _: AgentId) -> std::io::Result<u64> {
        Ok(0)
    }
    async fn discard(&self, _: AgentId) -> std::io::Result<u64> {
        Ok(0)
    }
}

/// Transcripts in memory, raw files in a directory.
pub struct MemoryTranscripts {
    /// Directory of the raw files.
    pub directory: tempfile::TempDir,
    /// Entries by agent.
    pub lines: Mutex<HashMap<AgentId, Vec<Line>>>,
    /// Changes with every append.
    pub newest: watch::Sender<u64>,
    /// Transcript cursors, in bytes, by agent and run.
    cursors: Mutex<HashMap<(AgentId, u32), u64>>,
}

impl Default for MemoryTranscripts {
    fn default() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        Self { directory, lines: Mutex::default(), newest: watch::Sender::new(0), cursors: Mutex::default() }
    }
}

#[async_trait]
impl Transcripts for MemoryTranscripts {
    async fn append(
        &self,
        agent: AgentId,
        at: Timestamp,
        attempt: u32,
        checkpoint: Checkpoint,
        events: Vec<AgentEvent>,
    ) -> std::io::Result<()> {
        let mut all = self.lines.lock();
        let lines = all.entry(agent).or_default();
        for event in events {
            lines.push(Line { n: lines.len() as u64 + 1, at, attempt, event });
        }
        self.cursors.lock().insert((agent, checkpoint.run), checkpoint.bytes);
        self.newest.send_modify(|n| *n += 1);
        Ok(())
    }
    async fn cursor(&self, agent: AgentId, run: u32) -> std::io::Result<TranscriptCursor> {
        let bytes = self.cursors.lock().get(&(agent, run)).copied().unwrap_or_default();
        Ok(TranscriptCursor { bytes, entries: 0 })
    }
    async fn read(&self, agent: AgentId, after: u64, limit: usize) -> std::io::Result<Vec<Line>> {
        let all = self.lines.lock();
        let lines = all.get(&agent).into_iter().flatten().filter(|line| line.n > after);
        Ok(lines.take(limit).cloned().collect())
    }
    fn watch(&self, _: AgentId) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }
    fn raw(&self, agent: AgentId, run: u32) -> PathBuf {
        self.directory.path().join(format!("{agent}-{run}.raw"))
    }
    async fn raw_files(&self, agent: AgentId) -> std::io::Result<Vec<PathBuf>> {
        Ok((1..100).map(|run| self.raw(agent, run)).filter(|path| path.exists()).collect())
    }
    async fn piece(&self, _: AgentId, file: &Path, from: u64, most: usize) -> std::io::Result<Vec<u8>> {
        let bytes = std::fs::read(file)?;
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
        Ok(bytes[from..].iter().take(most).copied().collect())
    }
    fn log(&self, agent: AgentId, name: &str) -> PathBuf {
        self.directory.path().join(format!("{agent}-{name}.log"))
    }
    async fn shelved(&self) -> std::io::Result<Vec<Shelved>> {
        let agents: Vec<AgentId> = self.lines.lock().keys().copied().collect();
        let mut shelved = Vec::new();
        for agent in agents {
            shelved.push(Shelved { agent, bytes: self.size(agent).await?, touched: Timestamp(0) });
        }
        Ok(shelved)
    }
    async fn size(&self, agent: AgentId) -> std::io::Result<u64> {
        let lines = self.lines.lock().get(&agent).cloned().unwrap_or_default();
        let entries: usize =
            lines.iter().map(|line| serde_json::to_vec(line).map_or(0, |bytes| bytes.len())).sum();
        let raw = self.raw_files(agent).await?;
        let raw: u64 = raw.iter().filter_map(|path| path.metadata().ok()).map(|file| file.len()).sum();
        Ok(entries as u64 + raw)
    }
    async fn discard(&self, agent: AgentId) -> std::io::Result<u64> {
        let freed = self.size(agent).await?;
        for path in self.raw_files(agent).await? {
            std::fs::remove_file(path)?;
        }
        self.lines.lock().remove(&agent);
        self.cursors.lock().retain(|(of, _), _| *of != agent);
        Ok(freed)
    }
}
