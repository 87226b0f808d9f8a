//! The one thread that writes a chain: takes what waits, makes it durable together, answers. Rotation and retention
//! are done between two batches.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use mosaic_core::domain::audit::{Action, AuditEntry, Head, HeadFile, MOSAIC, Record};
use mosaic_core::domain::ids::Timestamp;
use mosaic_core::limits;
use mosaic_core::ports::audit::AuditError;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::files::Chain;
use super::reader::{Piece, lines};
use super::taken;

/// An audit entry on its way.
pub(super) struct Waiting {
    pub(super) entry: AuditEntry,
    /// The way to the caller that waits for the result; none for a note.
    pub(super) answer: Option<oneshot::Sender<Result<Head, AuditError>>>,
}

/// State that the writing thread shares with its callers.
#[derive(Debug)]
pub(super) struct Shared {
    /// The newest durable record.
    pub(super) head: Mutex<Head>,
    /// Audit entries that could not be recorded and were not yet spoken of in a record.
    pub(super) lost: AtomicU64,
}

/// A chain that is open for writing.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) chain: Chain,
    pub(super) file: File,
    /// Length of the file up to the last whole record.
    pub(super) size: u64,
    /// Half a record of ours may stand behind it, because a write failed.
    pub(super) dirty: bool,
    pub(super) end: HeadFile,
    /// Least time for which records are kept.
    pub(super) keep: Duration,
    pub(super) shared: Arc<Shared>,
    /// Held as long as this writes.
    pub(super) _lock: File,
}

pub(super) fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

impl Writer {
    /// Writes what comes until nobody can send any more.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Waiting>) {
        while let Some(first) = queue.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < limits::AUDIT_BATCH
                && let Ok(next) = queue.try_recv()
            {
                batch.push(next);
            }
            self.batch(batch);
        }
    }

    fn batch(&mut self, batch: Vec<Waiting>) {
        // Whoever gave up waiting was told that nothing was recorded, and did nothing.
        let batch: Vec<Waiting> = batch
            .into_iter()
            .filter(|w| !w.answer.as_ref().is_some_and(oneshot::Sender::is_closed))
            .collect();
        let lost = self.shared.lost.swap(0, Ordering::SeqCst);
        let apology = (lost > 0).then(|| {
            AuditEntry::new(Action::AuditLost, MOSAIC, now())
                .result(format!("{lost} entries could not be recorded; the server's log has them"))
        });
        let entries = apology.into_iter().chain(batch.iter().map(|w| w.entry.clone())).collect();
        let written = self.append(entries);
        if let Err(e) = &written {
            self.shared.lost.fetch_add(lost, Ordering::SeqCst);
            for waiting in batch.iter().filter(|w| w.answer.is_none()) {
                self.shared.lost.fetch_add(1, Ordering::SeqCst);
                lose(&waiting.entry, &e.to_string());
            }
        }
        // The apology, if there was one, is nobody's.
        let own = |heads: Vec<Head>| heads[heads.len() - batch.len()..].to_vec();
        let written = written.map(own).map_err(|e| AuditError::Unavailable(e.to_string()));
        for (i, answer) in batch.into_iter().enumerate().filter_map(|(i, w)| Some((i, w.answer?))) {
            // A caller that has gone needs no answer.
            let _ = answer.send(written.as_ref().map(|heads| heads[i]).map_err(Clone::clone));
        }
        if let Err(e) = self.rotate() {
            tracing::warn!(error = %e, "the audit log could not begin a new file; trying again with the next record");
        }
    }

    /// Makes audit entries durable in this order; returns the end that each of them made. On an error none is recorded.
    pub(super) fn append(&mut self, entries: Vec<AuditEntry>) -> io::Result<Vec<Head>> {
        let mut head = self.end.head;
        let mut heads = Vec::with_capacity(entries.len());
        let mut text = String::new();
        self.same_file(&mut text)?;
        let mut taken = self.end.taken;
        for entry in entries {
            taken = taken.max(taken::number(&entry).unwrap_or(0));
            let record = Record::seal(head, entry);
            head = record.head();
            heads.push(head);
            text.push_str(&record.line());
            text.push('\n');
        }
        self.chain.write_head(&HeadFile { pending: Some(head), ..self.end })?;
        // The announcement must not come after what it announces, not even when the power fails.
        self.chain.sync_dir()?;
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        if let Err(e) = written {
            // Nothing of it may stay: the next record would stand behind half a line.
            self.dirty = self.file.set_len(self.size).is_err();
            self.chain.write_head(&self.end)?;
            return Err(e);
        }
        self.size += text.len() as u64;
        self.end = HeadFile { head, pending: None, taken, ..self.end };
        if let Err(e) = self.chain.write_head(&self.end) {
            // The records are durable, and the announcement before them says so.
            tracing::warn!(error = %e, "the second copy of the audit log's end could not be written");
        }
        *self.shared.head.lock() = head;
        Ok(heads)
    }

    /// Sees to it that what is written stands in the file of this name, on a line of its own. What others did to the
    /// file stays for the check to find.
    fn same_file(&mut self, text: &mut String) -> io::Result<()> {
        let open = self.file.metadata()?;
        let named = fs::metadata(self.chain.active());
        if !named.is_ok_and(|named| (named.dev(), named.ino()) == (open.dev(), open.ino())) {
            tracing::error!(
                chain = self.chain.name(),
                "the audit log's file was deleted while it was in use"
            );
            self.file = self.chain.append()?;
            self.size = self.file.metadata()?.len();
            self.dirty = false;
        } else if self.dirty {
            self.file.set_len(self.size)?;
            self.dirty = false;
        } else if open.len() != self.size {
            tracing::error!(chain = self.chain.name(), "somebody else wrote into the audit log");
            self.size = open.len();
            text.push('\n');
        }
        Ok(())
    }

    /// Begins a new file when this one is full, and then lets go what is older than it must be.
    pub(super) fn rotate(&mut self) -> io::Result<()> {
        if self.size < limits::AUDIT_FILE_BYTES {
            return Ok(());
        }
        let first = first_record(&self.chain.active())?;
        if let Some(first) = first {
            fs::rename(self.chain.active(), self.chain.full(first.n))?;
        }
        self.file = self.chain.append()?;
        self.size = 0;
        self.trim(now())
    }

    /// Deletes files whose newest record is older than records are kept. The last of their records becomes the
    /// anchor, and a record says so before they go.
    pub(super) fn trim(&mut self, now: Timestamp) -> io::Result<()> {
        let full = self.chain.full_files()?;
        let mut anchor = None;
        let mut go = Vec::new();
        for (_, path) in full {
            let Some(last) = last_record(&path)? else { break };
            if now.since(last.entry.at) < self.keep {
                break;
            }
            // Files behind an anchor that is written already were left by a crash of an earlier trim, which has its
            // record. They only have to go.
            if last.n > self.end.anchor.n {
                anchor = Some(last.head());
            }
            go.push(path);
        }
        if let Some(anchor) = anchor {
            let entry = AuditEntry::new(Action::AuditTrimmed, MOSAIC, now)
                .subject(format!("records {} to {}", self.end.anchor.n + 1, anchor.n))
                .reason(Some("older than MOSAIC_KEEP_AUDIT_DAYS"))
                .result(format!("the chain goes on behind {}", anchor.hash));
            // The record is durable before the anchor moves, and the anchor before the files go. A crash in between
            // leaves files too many and never a chain whose beginning is missing.
            self.append(vec![entry])?;
            self.end.anchor = anchor;
            self.chain.write_head(&self.end)?;
        }
        go.iter().try_for_each(fs::remove_file)
    }
}

/// Says in the server's log what the audit log could not take.
pub(super) fn lose(entry: &AuditEntry, why: &str) {
    tracing::error!(
        audit.actor = entry.actor,
        audit.action = entry.action,
        audit.subject = entry.subject.as_deref().unwrap_or(""),
        audit.result = entry.result.as_deref().unwrap_or(""),
        why,
        "an audit entry could not be recorded in the audit log"
    );
}

fn records(path: &Path) -> io::Result<impl Iterator<Item = io::Result<Record>>> {
    Ok(lines(path)?.filter_map(|piece| match piece {
        Ok(Piece::Whole(line)) => Record::read(&line).ok().map(Ok),
        Ok(Piece::Torn(_)) => None,
        Err(e) => Some(Err(e)),
    }))
}

fn first_record(path: &Path) -> io::Result<Option<Record>> {
    records(path)?.next().transpose()
}

fn last_record(path: &Path) -> io::Result<Option<Record>> {
    records(path)?.last().transpose()
}
