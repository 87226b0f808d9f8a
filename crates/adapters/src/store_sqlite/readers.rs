//! Reading beside the writer: a few connections, each used by one blocking task at a time.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mosaic_core::limits::{STORE_ANSWER, STORE_READERS};
use mosaic_core::ports::store::StoreError;
use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::failure::Fault;
use super::files;
use crate::data_dir::DirLock;

/// The read connections.
pub(super) struct Readers {
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
    path: PathBuf,
    // A read that outlives the store still keeps other servers away from the directory.
    _lock: Option<Arc<DirLock>>,
}

impl Readers {
    /// Opens the connections.
    pub(super) fn open(path: &Path, lock: Option<Arc<DirLock>>) -> Result<Self, Fault> {
        let idle = (0..STORE_READERS).map(|_| files::connect_reader(path)).collect::<Result<Vec<_>, _>>()?;
        let permits = Arc::new(Semaphore::new(idle.len()));
        Ok(Self { idle: Mutex::new(idle), permits, path: path.to_owned(), _lock: lock })
    }

    /// Runs a read in one snapshot of the store, on a thread where it may block.
    pub(super) async fn read<T, F>(self: &Arc<Self>, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        let run = async {
            let closed = |_| StoreError::Unavailable("the store is closed".to_owned());
            let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(closed)?;
            let this = Arc::clone(self);
            let task = tokio::task::spawn_blocking(move || {
                // The permit ends with the read and not with its caller. A caller that gave up on a disk that hangs
                // leaves its connection in use, and the next one must not open another beside it.
                let _permit = permit;
                this.on_connection(work)
            });
            task.await
                .map_err(|e| StoreError::Unavailable(format!("a read of the store ended early: {e}")))?
        };
        match tokio::time::timeout(STORE_ANSWER, run).await {
            Ok(answer) => answer,
            Err(_) => Err(StoreError::Unavailable(format!(
                "{} was not read within {} s; is its disk stuck?",
                self.path.display(),
                STORE_ANSWER.as_secs()
            ))),
        }
    }

    fn on_connection<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, StoreError> {
        let idle = self.idle.lock().pop();
        // A connection is missing only after a read panicked; a new one takes its place.
        let conn = match idle {
            Some(conn) => conn,
            None => files::connect_reader(&self.path).map_err(|e| e.into_store_error(&self.path))?,
        };
        let snapshot = || {
            let tx = conn.unchecked_transaction()?;
            let found = work(&tx)?;
            tx.commit()?;
            Ok(found)
        };
        let answer = snapshot().map_err(|fault: Fault| fault.into_store_error(&self.path));
        self.idle.lock().push(conn);
        answer
    }
}
