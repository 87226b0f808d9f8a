//! The one thread that writes. It takes what waits, runs each request inside a savepoint of one transaction,
//! commits once and then answers all of them: a sync to disk costs the same for one write as for fifty.

use std::path::PathBuf;
use std::sync::Arc;

use mosaic_core::limits::{STORE_ANSWER, STORE_BATCH, STORE_WAITING_WRITES};
use mosaic_core::ports::store::{Safety, StoreError};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

use crate::data_dir::DirLock;
use crate::disk::LastWrites;

use super::failure::{Fault, message};
use super::tally::Tally;

/// Values that the writer knows without asking the file. They go back to their old state when a write is undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Books {
    /// The newest number in the event log.
    pub(super) newest: u64,
    /// The sums.
    pub(super) tally: Tally,
    /// Where a look under conditions goes on that found nothing near the front of the queue.
    pub(super) look_from: u64,
}

/// The open transaction, for the request whose turn it is.
pub(super) struct Writing<'c> {
    /// The connection; a transaction is open on it.
    pub(super) conn: &'c Connection,
    /// The values that the request keeps up to date.
    pub(super) books: Books,
}

/// A request with its way back to the caller.
trait Job: Send {
    fn safety(&self) -> Safety;
    fn run(&mut self, writing: &mut Writing<'_>);
    /// Answers the caller; `undone` is why the transaction was not committed.
    fn answer(self: Box<Self>, undone: Option<&rusqlite::Error>, path: &std::path::Path);
}

struct Work<T, F> {
    safety: Safety,
    work: Option<F>,
    result: Option<Result<T, Fault>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Work<T, F>
where
    T: Send,
    F: FnOnce(&mut Writing<'_>) -> Result<T, Fault> + Send,
{
    fn safety(&self) -> Safety {
        self.safety
    }

    fn run(&mut self, writing: &mut Writing<'_>) {
        if let Some(work) = self.work.take() {
            self.result = Some(savepoint(writing, work));
        }
    }

    fn answer(self: Box<Self>, undone: Option<&rusqlite::Error>, path: &std::path::Path) {
        let answer = match (self.result, undone) {
            (Some(Err(Fault::Sql(e))), _) => Err(message(&e, path)),
            (_, Some(e)) => Err(message(e, path)),
            (Some(result), None) => result.map_err(|fault| fault.into_store_error(path)),
            (None, None) => Err(StoreError::Unavailable("the write was not tried".to_owned())),
        };
        // Nobody waits any more when the caller was cancelled; the write stands all the same.
        let _ = self.reply.send(answer);
    }
}

/// Runs one request so that a fault of SQLite undoes this request alone.
fn savepoint<T>(
    writing: &mut Writing<'_>,
    work: impl FnOnce(&mut Writing<'_>) -> Result<T, Fault>,
) -> Result<T, Fault> {
    // The books are what this process remembers of the tables. They must go back together with the savepoint,
    // or the next request would count what was undone.
    let before = writing.books;
    writing.conn.prepare_cached("SAVEPOINT request")?.execute([])?;
    let result = work(writing);
    if let Err(Fault::Sql(_)) = &result {
        writing.books = before;
        // A full disk makes SQLite roll back by itself; then there is no savepoint any more.
        if !writing.conn.is_autocommit() {
            writing.conn.prepare_cached("ROLLBACK TO request")?.execute([])?;
        }
    }
    if !writing.conn.is_autocommit() {
        writing.conn.prepare_cached("RELEASE request")?.execute([])?;
    }
    result
}

/// The handle on the writer thread. Dropping it lets the thread finish what waits, and waits for that as long as a disk that
/// works needs.
pub(super) struct Writer {
    jobs: Option<mpsc::Sender<Box<dyn Job>>>,
    newest: watch::Receiver<u64>,
    thread: Option<LastWrites>,
    path: PathBuf,
}

impl Writer {
    /// Starts the thread on this connection. It holds the lock as long as it runs.
    pub(super) fn start(conn: Connection, path: PathBuf, lock: Option<Arc<DirLock>>) -> Result<Self, Fault> {
        let newest: i64 = conn.query_row("SELECT coalesce(max(seq), 0) FROM events", [], |row| row.get(0))?;
        let books = Books { newest: newest.unsigned_abs(), tally: Tally::load(&conn)?, look_from: 0 };
        let (jobs, inbox) = mpsc::channel(STORE_WAITING_WRITES);
        let (announce, newest) = watch::channel(books.newest);
        let mut desk = Desk { conn, books, announce, path: path.clone(), safety: Safety::Power };
        let serve = move || {
            desk.serve(inbox);
            drop((desk, lock));
        };
        let thread = LastWrites::start("store-writer", serve)
            .map_err(|e| StoreError::Unavailable(format!("cannot start the store's thread: {e}")))?;
        Ok(Self { jobs: Some(jobs), newest, thread: Some(thread), path })
    }

    /// Returns a receiver of the newest number in the event log.
    pub(super) fn newest(&self) -> watch::Receiver<u64> {
        let mut newest = self.newest.clone();
        newest.mark_unchanged();
        newest
    }

    /// Runs a request on the writer thread; returns once it survives the loss of power.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Writing<'_>) -> Result<T, Fault> + Send + 'static,
    {
        self.write_safely(Safety::Power, work).await
    }

    /// Runs a request on the writer thread; returns once it survives what it must.
    pub(super) async fn write_safely<T, F>(&self, safety: Safety, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Writing<'_>) -> Result<T, Fault> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Work { safety, work: Some(work), result: None, reply });
        let stopped =
            || StoreError::Unavailable("the store's writer has stopped; restart the server".to_owned());
        let run = async {
            let jobs = self.jobs.as_ref().ok_or_else(stopped)?;
            jobs.send(job).await.map_err(|_| stopped())?;
            answer.await.map_err(|_| stopped())?
        };
        // The thread cannot be interrupted inside a system call on a disk that hangs. The caller is let go
        // instead, with an answer that does not claim to know.
        match tokio::time::timeout(STORE_ANSWER, run).await {
            Ok(answer) => answer,
            Err(_) => Err(StoreError::Unavailable(format!(
                "{} did not confirm a write within {} s, which may still happen; is its disk stuck?",
                self.path.display(),
                STORE_ANSWER.as_secs()
            ))),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // The thread ends when no request can come any more, so the last sender must be gone before the wait for it
        // begins.
        self.jobs.take();
        if let Some(thread) = self.thread.take() {
            thread.wait("the store");
        }
    }
}

/// The thread's own side.
struct Desk {
    conn: Connection,
    books: Books,
    announce: watch::Sender<u64>,
    path: PathBuf,
    /// The failure that a commit survives with the connection's present settings.
    safety: Safety,
}

impl Desk {
    fn serve(&mut self, mut inbox: mpsc::Receiver<Box<dyn Job>>) {
        while let Some(first) = inbox.blocking_recv() {
            let mut batch = vec![first];
            // What waits already shares one commit, because the sync of the disk is what a write costs.
            // Nothing is waited for: a single write is not delayed for the chance that another one comes.
            while batch.len() < STORE_BATCH {
                match inbox.try_recv() {
                    Ok(job) => batch.push(job),
                    Err(_) => break,
                }
            }
            let undone = self.transact(&mut batch).err();
            let newest = self.books.newest;
            // Readers are told before the callers are answered, so that a caller who has its answer never
            // finds the newest number older than its own entry.
            self.announce.send_if_modified(|seen| std::mem::replace(seen, newest) != newest);
            for job in batch {
                job.answer(undone.as_ref(), &self.path);
            }
        }
    }

    /// Runs the batch in one transaction. On an error nothing of it was written.
    fn transact(&mut self, batch: &mut [Box<dyn Job>]) -> rusqlite::Result<()> {
        self.be_as_safe_as(batch)?;
        // Taking the right to write at the beginning makes a conflict show here, where nothing was done yet.
        // A transaction that begins as a reader can fail at its first write, in the middle of the batch.
        self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let mut writing = Writing { conn: &self.conn, books: self.books };
        for job in batch.iter_mut() {
            job.run(&mut writing);
            // Some errors, a full disk among them, make SQLite end the whole transaction by itself. Going on
            // would commit each of the following requests alone, without those before.
            if self.conn.is_autocommit() {
                return Err(rolled_back());
            }
        }
        let books = writing.books;
        match self.finish(books) {
            Ok(()) => {
                self.books = books;
                Ok(())
            }
            Err(e) => {
                if !self.conn.is_autocommit() {
                    self.conn.execute_batch("ROLLBACK")?;
                }
                Err(e)
            }
        }
    }

    /// Syncs the write-ahead log at the commit only when one of the batch needs it. A later sync covers every earlier
    /// commit, as the log is one file that only grows between checkpoints, and a checkpoint syncs it first.
    fn be_as_safe_as(&mut self, batch: &[Box<dyn Job>]) -> rusqlite::Result<()> {
        let power = batch.iter().any(|job| job.safety() == Safety::Power);
        let wanted = if power { Safety::Power } else { Safety::Process };
        if wanted != self.safety {
            self.conn.pragma_update(None, "synchronous", if power { "FULL" } else { "NORMAL" })?;
            self.safety = wanted;
        }
        Ok(())
    }

    fn finish(&self, books: Books) -> rusqlite::Result<()> {
        if books.tally != self.books.tally {
            books.tally.store(&self.conn)?;
        }
        self.conn.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }
}

fn rolled_back() -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT);
    rusqlite::Error::SqliteFailure(
        code,
        Some("another write of the same moment failed and undid this one".to_owned()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store_sqlite::{files, journal, schema};
    use mosaic_core::domain::ids::Timestamp;
    use mosaic_core::domain::journal::LogRecord;
    use serde_json::json;

    fn fact(text: String) -> LogRecord {
        LogRecord::stored("x", None, None, Timestamp(1), json!({ "text": text }))
    }

    fn writer(dir: &std::path::Path, pages: Option<u32>) -> Writer {
        let path = files::database(dir).unwrap();
        let conn = files::connect_writer(&path).unwrap();
        schema::migrate(&conn).unwrap();
        if let Some(pages) = pages {
            let got: u32 =
                conn.pragma_update_and_check(None, "max_page_count", pages, |row| row.get(0)).unwrap();
            assert_eq!(got, pages);
        }
        Writer::start(conn, path, None).unwrap()
    }

    async fn logged(writer: &Writer) -> u64 {
        let count = |w: &mut Writing<'_>| {
            Ok(w.conn.query_row("SELECT count(*) FROM events", [], |row| row.get(0))?)
        };
        let count: i64 = writer.write(count).await.unwrap();
        count.unsigned_abs()
    }

    #[tokio::test]
    async fn a_full_disk_refuses_writes_and_the_writer_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let writer = std::sync::Arc::new(writer(dir.path(), Some(60)));
        let (mut written, mut refused) = (0, 0);
        for _ in 0..20 {
            let mut callers = tokio::task::JoinSet::new();
            for _ in 0..8 {
                let writer = writer.clone();
                callers
                    .spawn(async move { writer.write(|w| journal::append(w, fact("x".repeat(3000)))).await });
            }
            for answer in callers.join_all().await {
                match answer {
                    Ok(()) => written += 1,
                    Err(StoreError::Unavailable(_)) => refused += 1,
                    Err(other) => panic!("{other:?}"),
                }
            }
        }
        assert!(written > 10 && refused > 10, "{written} written, {refused} refused");
        assert_eq!(logged(&writer).await, written, "what was refused was not written, the rest was");
        assert_eq!(*writer.newest().borrow(), written, "and the numbers have no gap");
        writer.write(|w| Ok(w.conn.execute("DELETE FROM events WHERE seq < 10", [])?)).await.unwrap();
        writer.write(|w| journal::append(w, fact("small".to_owned()))).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_write_that_fails_half_way_undoes_itself_alone() {
        let dir = tempfile::tempdir().unwrap();
        let writer = std::sync::Arc::new(writer(dir.path(), None));
        let mut callers = tokio::task::JoinSet::new();
        for n in 0..200 {
            let writer = writer.clone();
            callers.spawn(async move {
                let answer = writer.write(move |w| {
                    journal::append(w, fact(n.to_string()))?;
                    if n % 3 == 0 {
                        w.conn.execute("INSERT INTO events SELECT * FROM events LIMIT 1", [])?;
                    }
                    Ok(())
                });
                answer.await.is_ok()
            });
        }
        let written = callers.join_all().await.into_iter().filter(|ok| *ok).count() as u64;
        assert_eq!(written, 133);
        assert_eq!(logged(&writer).await, 133);
        assert_eq!(*writer.newest().borrow(), 133);
    }

    #[tokio::test]
    async fn what_waits_is_finished_before_the_thread_ends() {
        let dir = tempfile::tempdir().unwrap();
        let one = writer(dir.path(), None);
        for n in 0..10 {
            // The caller goes away as soon as its request waits.
            let mut call = Box::pin(one.write(move |w| journal::append(w, fact(n.to_string()))));
            let _ = std::future::poll_fn(|cx| std::task::Poll::Ready(call.as_mut().poll(cx))).await;
        }
        drop(one);
        assert_eq!(logged(&writer(dir.path(), None)).await, 10);
    }
}
