//! The audit log in files: one chain per node, written by one thread with group commit, JSON lines that any program
//! can read. See `docs/audit.md`.
//!
//! Order of every batch: the end that will be is announced in the head file, the records are appended and synced, the
//! head file is made to say the same, and only then callers are told. So after any crash the log holds every record
//! that was acknowledged, and what is missing at the end was announced, which tells a crash from a cut.

mod files;
mod opened;
mod reader;
mod taken;
mod writer;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use mosaic_core::domain::audit::{AuditEntry, Head};
use mosaic_core::limits;
use mosaic_core::ports::audit::{Audit, AuditError, Page, Verified, Wanted};
use tokio::sync::{mpsc, oneshot};

use crate::disk::{Lane, LastWrites};
pub use files::Chain;
pub use reader::{read, verify};
use writer::{Shared, Waiting, lose};

/// Time between two attempts to take a lock that is held for moments only.
const LOCK_AGAIN: Duration = Duration::from_millis(20);

fn unavailable(e: io::Error) -> AuditError {
    AuditError::Unavailable(e.to_string())
}

fn in_use(chain: &Chain) -> AuditError {
    AuditError::InUse(chain.name().to_owned())
}

/// A chain that is being written.
pub struct FileAudit {
    chain: Chain,
    queue: Option<mpsc::Sender<Waiting>>,
    shared: Arc<Shared>,
    thread: Option<LastWrites>,
    /// Reads of it, which the disk may keep.
    reads: Lane,
}

impl FileAudit {
    /// Opens the log of a node in a data directory and starts its writer. Records older than `keep` may be deleted,
    /// a file of them at a time. Errors with [`AuditError::InUse`] when another program writes it.
    pub fn open(data_dir: &Path, node: &str, keep: Duration) -> Result<Self, AuditError> {
        let chain = Chain::new(data_dir, node);
        let writer = opened::open(chain.clone(), keep).map_err(unavailable)?.ok_or_else(|| in_use(&chain))?;
        let shared = Arc::clone(&writer.shared);
        let (queue, waiting) = mpsc::channel(limits::AUDIT_WAITING);
        let thread = LastWrites::start("audit", move || writer.run(waiting)).map_err(unavailable)?;
        Ok(Self { chain, queue: Some(queue), shared, thread: Some(thread), reads: Lane::default() })
    }

    async fn looking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, AuditError> {
        self.reads.run(limits::AUDIT_CHECK, work).await.and_then(|read| read).map_err(unavailable)
    }

    fn queue(&self) -> &mpsc::Sender<Waiting> {
        self.queue.as_ref().expect("it is only taken when this is dropped")
    }
}

/// Waits until what was taken is durable, as long as a disk that works needs.
impl Drop for FileAudit {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            thread.wait("the audit log");
        }
    }
}

#[async_trait]
impl Audit for FileAudit {
    async fn append(&self, entry: AuditEntry) -> Result<Head, AuditError> {
        let (tell, told) = oneshot::channel();
        let work = async {
            let gone = || AuditError::Unavailable("its writer has ended".to_owned());
            self.queue().send(Waiting { entry, answer: Some(tell) }).await.map_err(|_| gone())?;
            told.await.map_err(|_| gone())?
        };
        let late = || AuditError::Unavailable("the disk did not answer in time".to_owned());
        tokio::time::timeout(limits::AUDIT_ANSWER, work).await.map_err(|_| late())?
    }

    fn note(&self, entry: AuditEntry) {
        if let Err(e) = self.queue().try_send(Waiting { entry, answer: None }) {
            let why = e.to_string();
            let (mpsc::error::TrySendError::Full(waiting) | mpsc::error::TrySendError::Closed(waiting)) = e;
            self.shared.lost.fetch_add(1, Ordering::SeqCst);
            lose(&waiting.entry, &why);
        }
    }

    async fn read(&self, wanted: Wanted) -> Result<Page, AuditError> {
        let chain = self.chain.clone();
        self.looking(move || reader::read(&chain, &wanted)).await
    }

    async fn verify(&self) -> Result<Verified, AuditError> {
        let (chain, known) = (self.chain.clone(), self.head());
        self.looking(move || reader::verify(&chain, Some(known))).await
    }

    fn head(&self) -> Head {
        *self.shared.head.lock()
    }
}

/// Records audit entries that the command line does by itself while no server answers: into a chain of its own, which the next
/// server takes over. Waits a moment for another command that is just doing the same.
pub fn record_locally(
    data_dir: &Path,
    node: &str,
    keep: Duration,
    entries: Vec<AuditEntry>,
) -> Result<Head, AuditError> {
    let chain = Chain::new(data_dir, node).local();
    let mut waited = Duration::ZERO;
    let mut writer = loop {
        match opened::open(chain.clone(), keep).map_err(unavailable)? {
            Some(writer) => break writer,
            None if waited >= limits::AUDIT_LOCAL_WAIT => return Err(in_use(&chain)),
            None => {
                std::thread::sleep(LOCK_AGAIN);
                waited += LOCK_AGAIN;
            }
        }
    };
    writer.append(entries).map_err(unavailable)?;
    Ok(writer.end.head)
}
