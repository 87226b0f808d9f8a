//! Standing orders in the state directory: `orders/barrier.json`, `orders/latch.json` and `orders/kill-<agent>.json`, one
//! small file per order, and beside the directory the operator's last resort, an empty file `STOP`. A server writes them
//! and reads them; the command line leaves them while no server answers, so [`OrdersDir`] works without one.
//!
//! A file is written aside, synced and renamed, so it is there whole or not at all. A latch that cannot be read counts
//! as engaged; a barrier or kill order that cannot be read is logged.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use mosaic_core::domain::ids::{AgentId, Timestamp};
use mosaic_core::domain::orders::{Barrier, KillOrder, Latch, StandingOrders};
use mosaic_core::limits;
use mosaic_core::ports::orders::{Filed, OrderFiles};
use rustix::fs::{FlockOperation, flock};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The version of the files' format.
const VERSION: u32 = 1;
/// Name of the operator's last resort.
const STOP: &str = "STOP";
const BARRIER: &str = "barrier.json";
const LATCH: &str = "latch.json";
/// How long a writer waits for another process that writes, and how often it tries: renaming takes microseconds, and
/// one that hangs must not hold up an order.
const TURN: Duration = Duration::from_millis(500);
const TURN_STEP: Duration = Duration::from_millis(5);

/// A file with its version.
#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u32,
    #[serde(flatten)]
    order: T,
}

/// The orders of one data directory. Every call is one small read or write and blocks until that is done.
#[derive(Debug)]
pub struct OrdersDir {
    data: PathBuf,
    dir: PathBuf,
    writing: Mutex<()>,
}

impl OrdersDir {
    /// Names the orders of this data directory; makes nothing.
    pub fn new(data: &Path) -> Self {
        Self { data: data.to_owned(), dir: data.join("orders"), writing: Mutex::new(()) }
    }

    /// Returns where the file `STOP` is looked for.
    pub fn stop_path(&self) -> PathBuf {
        self.data.join(STOP)
    }

    /// Tells whether anything of that name is there, a broken link included: who cannot say no means yes.
    pub fn stop_file(&self) -> bool {
        fs::symlink_metadata(self.stop_path()).is_ok()
    }

    /// Reads everything.
    pub fn read(&self) -> Filed {
        let stop = self.stop_file();
        let barrier = self.order::<Barrier>(BARRIER).unwrap_or_else(|why| {
            tracing::error!(why, "the file of the newest kill-all cannot be read; the store's copy stands");
            None
        });
        let latch = self.order::<Latch>(LATCH).unwrap_or_else(|why| {
            let reason = Some(format!("{} cannot be read: {why}", self.dir.join(LATCH).display()));
            Some(Latch { by: "the state directory".to_owned(), reason, at: Timestamp(0) })
        });
        Filed {
            orders: StandingOrders { barrier, latch, ..StandingOrders::default() },
            stop,
            kills: self.kills(),
        }
    }

    fn kills(&self) -> Vec<KillOrder> {
        let Ok(entries) = fs::read_dir(&self.dir) else { return Vec::new() };
        let agent = |name: &str| name.strip_prefix("kill-")?.strip_suffix(".json")?.parse::<AgentId>().ok();
        let named = entries.flatten().filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some((agent(&name)?, name))
        });
        let read = |(agent, name): (AgentId, String)| match self.order::<KillOrder>(&name) {
            Ok(order) => order.filter(|order| order.agent == agent),
            Err(why) => {
                // The name says whom, and that is all that is needed.
                tracing::error!(why, agent.id = %agent, "a kill order cannot be read; it is carried out all the same");
                let reason = Some(format!("the order could not be read: {why}"));
                Some(KillOrder { agent, by: "the state directory".to_owned(), reason, at: Timestamp(0) })
            }
        };
        named.take(limits::ORDER_FILES).filter_map(read).collect()
    }

    /// Moves the barrier into a directory, for a store that begins anew: its place is one in the order of admissions of the
    /// store that is gone, and would end what is new. The latch stays, whatever store there is.
    pub fn set_barrier_aside(&self, into: &Path) -> io::Result<()> {
        let _turn = self.turn()?;
        match fs::rename(self.dir.join(BARRIER), into.join(BARRIER)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// Raises the barrier; what stands there is merged. A barrier with a place that was ordered at or after a time that
    /// stands there takes the place of that time.
    pub fn write_barrier(&self, barrier: &Barrier) -> io::Result<()> {
        let _turn = self.turn()?;
        let there = self.order::<Barrier>(BARRIER).unwrap_or_default();
        let mut orders = StandingOrders { barrier: there, ..StandingOrders::default() };
        match barrier.seq {
            Some(_) => orders.raise_placed(barrier.clone()),
            None => orders.raise(barrier.clone()),
        }
        let merged = orders.barrier.as_ref().unwrap_or(barrier);
        self.write(BARRIER, merged)
    }

    /// Engages the latch (one that stands stays) or takes it away.
    pub fn write_latch(&self, latch: Option<&Latch>) -> io::Result<()> {
        let _turn = self.turn()?;
        match latch {
            Some(_) if matches!(self.order::<Latch>(LATCH), Ok(Some(_))) => Ok(()),
            Some(latch) => self.write(LATCH, latch),
            None => self.remove(LATCH),
        }
    }

    /// Leaves an order to end one agent, for the server that comes next.
    pub fn write_kill(&self, kill: &KillOrder) -> io::Result<()> {
        let _turn = self.turn()?;
        self.write(&kill_name(kill.agent), kill)
    }

    /// Removes the order to end one agent.
    pub fn forget_kill(&self, agent: AgentId) -> io::Result<()> {
        self.remove(&kill_name(agent))
    }

    /// Reads one file; `None` when there is none.
    fn order<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, String> {
        let file = match File::open(self.dir.join(name)) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e.to_string()),
        };
        let mut bytes = Vec::new();
        let length =
            file.take(limits::ORDER_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
        if length as u64 > limits::ORDER_FILE_BYTES {
            return Err(format!("it has more than {} bytes", limits::ORDER_FILE_BYTES));
        }
        let read: Versioned<T> = serde_json::from_slice(&bytes).map_err(|e| e.to_string())?;
        if read.version != VERSION {
            return Err(format!("it has version {}, and this program knows {VERSION}", read.version));
        }
        Ok(Some(read.order))
    }

    fn write<T: Serialize>(&self, name: &str, order: &T) -> io::Result<()> {
        let text = serde_json::to_vec(&Versioned { version: VERSION, order })?;
        let aside = self.dir.join(format!(".{name}.{}", uuid::Uuid::new_v4().simple()));
        let write = || {
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(&aside)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&aside, self.dir.join(name))?;
            File::open(&self.dir)?.sync_all()
        };
        write().inspect_err(|_| {
            // The first error is the one to report.
            let _ = fs::remove_file(&aside);
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.dir.join(name)) {
            Ok(()) => File::open(&self.dir)?.sync_all(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Makes the directory when missing and waits for the turn to write, among the threads of this process and the
    /// processes of this machine.
    fn turn(&self) -> io::Result<(std::sync::MutexGuard<'_, ()>, File)> {
        let turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        match fs::DirBuilder::new().mode(0o700).create(&self.dir) {
            Ok(()) => File::open(&self.data)?.sync_all()?,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
        let dir = File::open(&self.dir)?;
        let patience = Instant::now() + TURN;
        while flock(&dir, FlockOperation::NonBlockingLockExclusive).is_err() && Instant::now() < patience {
            std::thread::sleep(TURN_STEP);
        }
        Ok((turn, dir))
    }
}

fn kill_name(agent: AgentId) -> String {
    format!("kill-{agent}.json")
}

/// The orders of one data directory as the port of a server; nothing blocks the caller's thread.
#[derive(Debug, Clone)]
pub struct FileOrders(Arc<OrdersDir>);

impl FileOrders {
    /// Names the orders of this data directory.
    pub fn new(data: &Path) -> Self {
        Self(Arc::new(OrdersDir::new(data)))
    }

    async fn blocking<T, F>(&self, work: F) -> io::Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&OrdersDir) -> T + Send + 'static,
    {
        let dir = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || work(&dir)).await.map_err(io::Error::other)
    }
}

#[async_trait]
impl OrderFiles for FileOrders {
    async fn read(&self) -> Filed {
        match self.blocking(OrdersDir::read).await {
            Ok(filed) => filed,
            Err(e) => {
                tracing::error!(error = %e, "standing orders could not be read from the state directory");
                Filed::default()
            }
        }
    }

    async fn write_barrier(&self, barrier: &Barrier) -> io::Result<()> {
        let barrier = barrier.clone();
        self.blocking(move |dir| dir.write_barrier(&barrier)).await?
    }

    async fn write_latch(&self, latch: Option<&Latch>) -> io::Result<()> {
        let latch = latch.cloned();
        self.blocking(move |dir| dir.write_latch(latch.as_ref())).await?
    }

    async fn forget_kill(&self, agent: AgentId) -> io::Result<()> {
        self.blocking(move |dir| dir.forget_kill(agent)).await?
    }

    fn stop_path(&self) -> String {
        self.0.stop_path().display().to_string()
    }
}
