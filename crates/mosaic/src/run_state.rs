//! The state of one `mosaic run` that serves by itself: a data directory of its own below the common one, so that
//! it neither runs nor recovers what belongs to others. What is worth keeping is moved out at the end; when
//! something went wrong all of it stays and is named. See docs/adr/0006-run-has-its-own-state.md.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use mosaic_core::domain::ids::{AgentId, TaskId};
use mosaic_core::ports::store::StoreError;

use crate::serve::{self, ServerFile, blocking, private_dir};
use crate::session::say;
use crate::wire;

/// Most bytes of the task's name in the directory's.
const NAME_BYTES: usize = 24;

/// A directory for one run.
pub(crate) struct RunState {
    common: PathBuf,
    path: PathBuf,
}

impl RunState {
    /// Makes the directory, after stopping what runs that ended suddenly left running.
    pub(crate) fn make(common: &Path, task: &str) -> anyhow::Result<Self> {
        let runs = common.join("run");
        private_dir(&runs)?;
        stop_left(&runs);
        let mut random = [0u8; 4];
        getrandom::fill(&mut random).map_err(|e| anyhow::anyhow!("the system gives no random bytes: {e}"))?;
        let slug = task.parse::<TaskId>().map_or_else(|_| "task".to_owned(), |task| task.slug());
        let name = slug.get(..NAME_BYTES).unwrap_or(&slug).trim_end_matches('-');
        let path = runs.join(format!("{name}-{:08x}", u32::from_be_bytes(random)));
        private_dir(&path)?;
        // One token for all: who may ask the common server may ask this one.
        serve::token(common)?;
        std::fs::copy(common.join("token"), path.join("token")).context("the token cannot be shared")?;
        Ok(Self { common: common.to_owned(), path })
    }

    /// Returns the data directory of this run.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the server of this run known in the common data directory while it lives, so that it can be watched
    /// and killed from elsewhere. A run that is known there already stays so.
    pub(crate) fn announce(&self) -> anyhow::Result<()> {
        let Some(own) = ServerFile::read(&self.path) else { return Ok(()) };
        let known = ServerFile::of_running(&self.common);
        if known.is_some_and(|known| known.run && known.pid != own.pid) {
            return Ok(());
        }
        let below = self.path.strip_prefix(&self.common).unwrap_or(&self.path).to_owned();
        ServerFile { run: true, below, ..own }.write(&self.common)
    }

    /// Takes back what [`Self::announce`] said, unless another server has said something since.
    fn conceal(&self) {
        let is_own = |file: &ServerFile| file.run && file.pid == std::process::id();
        if ServerFile::read(&self.common).as_ref().is_some_and(is_own) {
            // A file that stays names a server that does not answer, which every command can tell.
            let _ = std::fs::remove_file(ServerFile::path(&self.common));
        }
    }

    /// Ends it. With the id of an agent that ended well and left nothing besides its branch, its transcript is kept and the
    /// rest removed; else all of it stays. Says where things are either way.
    pub(crate) fn leave(self, done: Option<&str>) {
        self.conceal();
        // What is not on the branch is nowhere else.
        let done = done.filter(|agent| !wire::holds_work(&self.path, agent));
        let place = match done {
            Some(agent) => self.keep_transcript(agent).map(|kept| format!("transcript  {}", kept.display())),
            None => Ok(self.kept()),
        };
        match place {
            Ok(text) => say(&text),
            Err(e) => say(&format!("warning: {e:#}\n{}", self.kept())),
        }
    }

    /// Ends a trial of gates: its logs are kept and the rest removed. Says where they are.
    pub(crate) fn leave_quietly(&self, trial: AgentId) {
        let id = trial.to_string();
        match self.keep_transcript(&id) {
            Ok(kept) if kept.is_dir() => say(&format!("logs  {}", kept.display())),
            // A known verdict leaves none.
            Ok(_) => {}
            Err(e) => say(&format!("warning: {e:#}\n{}", self.kept())),
        }
    }

    fn kept(&self) -> String {
        let path = self.path.display();
        format!(
            "kept: {path}\n  transcripts in {path}/transcripts; look at all of it with: mosaic serve --data-dir '{path}'"
        )
    }

    fn keep_transcript(&self, agent: &str) -> anyhow::Result<PathBuf> {
        // A supervisor that still runs would write into the directory while that is deleted under it.
        blocking(wire::stop_left(&self.path))?;
        let to = self.common.join("transcripts");
        private_dir(&to)?;
        let (from, to) = (self.path.join("transcripts").join(agent), to.join(agent));
        match std::fs::rename(&from, &to) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(anyhow::Error::new(e).context(format!("{} cannot be moved", from.display())));
            }
            // An agent that never said anything has no transcript.
            _ => {}
        }
        std::fs::remove_dir_all(&self.path)
            .with_context(|| format!("{} cannot be removed", self.path.display()))?;
        Ok(to)
    }
}

/// Stops what earlier runs left running; a run that goes on holds its directory and is left alone. Their
/// directories stay: they may hold work.
fn stop_left(runs: &Path) {
    let Ok(entries) = std::fs::read_dir(runs) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        match blocking(wire::stop_left(&path)) {
            Ok(0) => {}
            Ok(_) => say(&format!("note: stopped what an earlier run left running in {}", path.display())),
            Err(e) if matches!(e.downcast_ref(), Some(StoreError::InUse(_))) => {}
            Err(e) => say(&format!("warning: {}: {e:#}", path.display())),
        }
    }
}
