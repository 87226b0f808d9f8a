//! Transcripts as append-only files per agent beside the store: large, written often, and never queried by
//! content, so they are no rows.
//!
//! Layout: `<dir>/<agent id>/entries.jsonl` (one [`Line`] as JSON per line), `run-<n>.log` (raw output),
//! `<name>.log` (other logs), `dropped` (how many entries did not fit). Always true: numbers go on after a
//! restart, a line torn by a crash is cut away before the next one is written, and neither memory nor a file
//! grows without bound.

mod book;
mod shelf_space;
mod watchers;

use std::collections::HashMap;
use std::fs::DirBuilder;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use book::Book;
use mosaic_core::domain::ids::{AgentId, Timestamp};
use mosaic_core::limits;
use mosaic_core::ports::runtime::AgentEvent;
use mosaic_core::ports::transcripts::{Checkpoint, Line, Shelved, TranscriptCursor, Transcripts};
use parking_lot::Mutex;
use tokio::sync::watch;
use watchers::Watchers;

use crate::bounded_file;
use crate::disk::Lane;
use crate::private_place::open_unheld;

/// The transcripts in one directory.
pub struct FileTranscripts {
    shelf: Arc<Shelf>,
}

/// State that appends and reads share; its methods block.
struct Shelf {
    dir: PathBuf,
    quota: u64,
    books: Mutex<HashMap<AgentId, Arc<Mutex<Book>>>>,
    lanes: Mutex<HashMap<AgentId, Lane>>,
    /// For looks at all folders.
    all: Lane,
    watchers: Watchers,
}

impl FileTranscripts {
    /// Keeps transcripts in this directory; it is made when the first one is written.
    pub fn new(dir: PathBuf) -> Self {
        Self::limited(dir, limits::TRANSCRIPT_BYTES)
    }

    /// Keeps transcripts with another bound than [`limits::TRANSCRIPT_BYTES`] on the entries of one agent.
    pub fn limited(dir: PathBuf, quota: u64) -> Self {
        let shelf = Shelf {
            dir,
            quota,
            books: Mutex::default(),
            lanes: Mutex::default(),
            all: Lane::default(),
            watchers: Watchers::default(),
        };
        Self { shelf: Arc::new(shelf) }
    }

    /// Reads or writes an agent's folder, which the disk may keep: one call after the other for each agent.
    async fn of<T: Send + 'static>(
        &self,
        agent: AgentId,
        work: impl FnOnce(&Shelf) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (shelf, lane) = (Arc::clone(&self.shelf), self.shelf.lane(agent));
        lane.run(limits::TRANSCRIPT_ANSWER, move || work(&shelf)).await?
    }
}

impl Shelf {
    fn folder(&self, agent: AgentId) -> PathBuf {
        self.dir.join(agent.to_string())
    }

    /// Returns the lane of an agent's folder; those of agents that nobody asks about are forgotten.
    fn lane(&self, agent: AgentId) -> Lane {
        let mut lanes = self.lanes.lock();
        if lanes.len() >= limits::OPEN_TRANSCRIPTS {
            lanes.retain(|_, lane| lane.is_used());
        }
        lanes.entry(agent).or_insert_with(|| Lane::queued(1)).clone()
    }

    /// Returns what is known of an agent's entries; reads the file when nothing is.
    fn book(&self, agent: AgentId) -> Arc<Mutex<Book>> {
        let mut books = self.books.lock();
        if !books.contains_key(&agent) && books.len() >= limits::OPEN_TRANSCRIPTS {
            // Whichever is in nobody's hands may go: it is read again from its file.
            let idle = books.iter().find(|(_, book)| Arc::strong_count(book) == 1).map(|(agent, _)| *agent);
            if let Some(agent) = idle {
                books.remove(&agent);
            }
        }
        Arc::clone(books.entry(agent).or_default())
    }

    fn append(
        &self,
        agent: AgentId,
        at: Timestamp,
        attempt: u32,
        checkpoint: Checkpoint,
        events: Vec<AgentEvent>,
    ) -> io::Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        let book = self.book(agent);
        let mut book = book.lock();
        let folder = self.folder(agent);
        make_dir(&folder)?;
        book.load(&folder)?;
        let last = book.append(&folder, at, attempt, checkpoint, events, self.quota)?;
        self.watchers.announce(agent, last);
        Ok(())
    }

    fn cursor(&self, agent: AgentId, run: u32) -> io::Result<TranscriptCursor> {
        let book = self.book(agent);
        let mut book = book.lock();
        book.load(&self.folder(agent))?;
        Ok(book.cursor(run))
    }

    fn read(&self, agent: AgentId, after: u64, limit: usize) -> io::Result<Vec<Line>> {
        let folder = self.folder(agent);
        let (start, end, dropped) = {
            let book = self.book(agent);
            let mut book = book.lock();
            book.load(&folder)?;
            (book.seek(after), book.end(), book.dropped())
        };
        let mut file = match open_unheld(&folder.join(book::ENTRIES)) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        file.seek(SeekFrom::Start(start))?;
        let mut input = BufReader::with_capacity(64 * 1024, file.take(end.saturating_sub(start)));
        let (mut lines, mut bytes) = (Vec::new(), Vec::new());
        while lines.len() < limit {
            bytes.clear();
            if input.read_until(b'\n', &mut bytes)? == 0 {
                break;
            }
            // A line that is none was damaged from outside; the others are still worth reading.
            let Ok(mut line) = serde_json::from_slice::<Line>(&bytes) else { continue };
            if line.n <= after {
                continue;
            }
            book::count_dropped(&mut line, dropped);
            lines.push(line);
        }
        Ok(lines)
    }

    fn raw_files(&self, agent: AgentId) -> io::Result<Vec<PathBuf>> {
        let entries = match std::fs::read_dir(self.folder(agent)) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        let mut runs = Vec::new();
        for entry in entries {
            let entry = entry?;
            if let Some(run) = entry.file_name().to_str().and_then(run_number) {
                runs.push((run, entry.path()));
            }
        }
        runs.sort();
        Ok(runs.into_iter().map(|(_, path)| path).collect())
    }
}

#[async_trait]
impl Transcripts for FileTranscripts {
    async fn append(
        &self,
        agent: AgentId,
        at: Timestamp,
        attempt: u32,
        checkpoint: Checkpoint,
        events: Vec<AgentEvent>,
    ) -> io::Result<()> {
        self.of(agent, move |shelf| shelf.append(agent, at, attempt, checkpoint, events)).await
    }

    async fn cursor(&self, agent: AgentId, run: u32) -> io::Result<TranscriptCursor> {
        self.of(agent, move |shelf| shelf.cursor(agent, run)).await
    }

    async fn read(&self, agent: AgentId, after: u64, limit: usize) -> io::Result<Vec<Line>> {
        self.of(agent, move |shelf| shelf.read(agent, after, limit)).await
    }

    fn watch(&self, agent: AgentId) -> watch::Receiver<u64> {
        self.shelf.watchers.watch(agent)
    }

    fn raw(&self, agent: AgentId, run: u32) -> PathBuf {
        self.shelf.folder(agent).join(format!("run-{run}.log"))
    }

    async fn raw_files(&self, agent: AgentId) -> io::Result<Vec<PathBuf>> {
        self.of(agent, move |shelf| shelf.raw_files(agent)).await
    }

    async fn piece(&self, agent: AgentId, file: &Path, from: u64, most: usize) -> io::Result<Vec<u8>> {
        let file = file.to_owned();
        self.of(agent, move |_| {
            let mut opened = bounded_file::open(&file)?;
            opened.seek(SeekFrom::Start(from))?;
            let mut bytes = Vec::new();
            opened.take(most as u64).read_to_end(&mut bytes)?;
            Ok(bytes)
        })
        .await
    }

    fn log(&self, agent: AgentId, name: &str) -> PathBuf {
        self.shelf.folder(agent).join(log_file_name(name))
    }

    async fn shelved(&self) -> io::Result<Vec<Shelved>> {
        let shelf = Arc::clone(&self.shelf);
        self.shelf.all.run(limits::SHELVES_ANSWER, move || shelf_space::shelved(&shelf.dir)).await?
    }

    async fn size(&self, agent: AgentId) -> io::Result<u64> {
        self.of(agent, move |shelf| Ok(shelf_space::measure(&shelf.folder(agent))?.bytes)).await
    }

    async fn discard(&self, agent: AgentId) -> io::Result<u64> {
        self.of(agent, move |shelf| {
            let freed = shelf_space::discard(&shelf.folder(agent))?;
            shelf.books.lock().remove(&agent);
            Ok(freed)
        })
        .await
    }
}

/// Returns a file name for a log that stays in the folder and is never that of raw output.
fn log_file_name(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    let name: String = name.chars().take(128).map(safe).collect();
    let name = format!("{}.log", name.trim_start_matches('.'));
    if name == ".log" || run_number(&name).is_some() {
        format!("log-{}", name.trim_start_matches('.'))
    } else {
        name
    }
}

fn run_number(file_name: &str) -> Option<u32> {
    file_name.strip_prefix("run-")?.strip_suffix(".log")?.parse().ok()
}

/// Makes a directory that only its owner may enter; that it exists already is fine.
fn make_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_names_stay_in_the_folder() {
        let names = [
            ("gate-tests", "gate-tests.log"),
            ("../../x", "_.._x.log"),
            ("run-1", "log-run-1.log"),
            ("..", "log-log"),
            ("a/b\0c", "a_b_c.log"),
            ("run-x", "run-x.log"),
        ];
        for (name, file) in names {
            assert_eq!(log_file_name(name), file);
        }
    }
}
