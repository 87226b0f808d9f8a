//! Standing orders in the state directory: `orders/barrier.json`, `orders/latch.json` and `orders/kill-<agent>.json`, one
//! small file per order, and beside the directory the operator's last resort, an empty file `STOP`. A server writes them
//! and reads them; the command line leaves them while no server answers, so [`OrdersDir`] works without one.
//!
//! A file is written aside, synced and renamed, so it is there whole or not at all. A latch that was read and makes no
//! sense counts as engaged; a barrier or kill order of that kind is logged. What cannot be read, for want of descriptors,
//! because of the disk, or because no file has the name, is unknown and no order: see [`Filed::unread`]. A write puts
//! aside whatever has the name.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use mosaic_core::domain::ids::{AgentId, Timestamp};
use mosaic_core::domain::orders::{Barrier, KillOrder, Latch, StandingOrders};
use mosaic_core::limits;
use mosaic_core::ports::orders::{Filed, OrderFiles, StopFile};
use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::bounded_file::{self, put_aside};
use crate::disk::Lane;
use crate::durable_write::{WholeFile, where_it_can_be};

/// The version of the files' format.
const VERSION: u32 = 1;
/// Name of the operator's last resort.
const STOP: &str = "STOP";
/// Name of the directory.
const ORDERS: &str = "orders";
const BARRIER: &str = "barrier.json";
const LATCH: &str = "latch.json";
/// Longest wait of a writer for another process that writes, and the time between its attempts: renaming takes microseconds,
/// and a process that hangs must not hold up an order.
const TURN: Duration = Duration::from_millis(500);
const TURN_STEP: Duration = Duration::from_millis(5);

/// A file with its version.
#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u32,
    #[serde(flatten)]
    order: T,
}

/// Why an order is not known.
enum Unread {
    /// Its file was read and makes no sense.
    Damaged(String),
    /// It could not be read.
    Unknown(String),
}

impl Unread {
    fn unknown(name: &str, error: &io::Error) -> Self {
        Self::Unknown(format!("{ORDERS}/{name} cannot be read: {error}"))
    }
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
        Self { data: data.to_owned(), dir: data.join(ORDERS), writing: Mutex::new(()) }
    }

    /// Returns where the file `STOP` is looked for.
    pub fn stop_path(&self) -> PathBuf {
        self.data.join(STOP)
    }

    /// Tells whether anything of that name is there, a broken link included.
    pub fn stop_file(&self) -> StopFile {
        match fs::symlink_metadata(self.stop_path()) {
            Ok(_) => StopFile::There,
            Err(e) if e.kind() == io::ErrorKind::NotFound => StopFile::Absent,
            Err(e) => StopFile::Unknown(format!("the file {STOP} cannot be looked for: {e}")),
        }
    }

    /// Reads everything.
    pub fn read(&self) -> Filed {
        let mut filed = Filed { stop: self.stop_file(), ..Filed::default() };
        let mut unread = Vec::new();
        if let StopFile::Unknown(why) = &filed.stop {
            unread.push(why.clone());
        }
        let barrier = self.order::<Barrier>(BARRIER).unwrap_or_else(|e| match e {
            Unread::Damaged(why) => {
                tracing::error!(why, "the file of the newest kill-all is damaged; the store's copy stands");
                None
            }
            Unread::Unknown(why) => {
                unread.push(why);
                None
            }
        });
        let latch = self.order::<Latch>(LATCH).unwrap_or_else(|e| match e {
            Unread::Damaged(why) => {
                // A latch that cannot be read holds all the same: somebody wrote it to stop everything, and
                // starting work by mistake does more harm than waiting for a person.
                let reason = Some(format!("{} makes no sense: {why}", self.dir.join(LATCH).display()));
                Some(Latch { by: "the state directory".to_owned(), reason, at: Timestamp(0) })
            }
            Unread::Unknown(why) => {
                unread.push(why);
                None
            }
        });
        filed.orders = StandingOrders { barrier, latch, ..StandingOrders::default() };
        filed.kills = self.kills(&mut unread);
        // One is enough to act on.
        filed.unread = unread.into_iter().next();
        filed
    }

    fn kills(&self, unread: &mut Vec<String>) -> Vec<KillOrder> {
        let listed = match bounded_file::names(&self.dir, limits::ORDER_ENTRIES) {
            Ok(listed) => listed,
            Err(e) => {
                unread.push(format!("{ORDERS} cannot be listed: {e}"));
                return Vec::new();
            }
        };
        if listed.more {
            unread.push(format!("{ORDERS} has more than {} entries", limits::ORDER_ENTRIES));
        }
        let agent = |name: &str| name.strip_prefix("kill-")?.strip_suffix(".json")?.parse::<AgentId>().ok();
        let named = listed.names.into_iter().filter_map(|name| {
            let name = name.into_string().ok()?;
            Some((agent(&name)?, name))
        });
        let read = |(agent, name): (AgentId, String)| match self.order::<KillOrder>(&name) {
            Ok(order) => order.filter(|order| order.agent == agent),
            Err(Unread::Damaged(why)) => {
                // The name says whom, and that is all that is needed.
                tracing::error!(why, agent.id = %agent, "a kill order is damaged; it is carried out all the same");
                let reason = Some(format!("the order makes no sense: {why}"));
                Some(KillOrder { agent, by: "the state directory".to_owned(), reason, at: Timestamp(0) })
            }
            Err(Unread::Unknown(why)) => {
                unread.push(why);
                None
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
        // A barrier that cannot be read is overwritten: refusing the new one for it would leave agents running that an
        // operator wants ended.
        let there = self.order::<Barrier>(BARRIER).unwrap_or(None);
        let mut orders = StandingOrders { barrier: there, ..StandingOrders::default() };
        match barrier.seq {
            Some(_) => orders.raise_placed(barrier.clone()),
            None => orders.raise(barrier.clone()),
        }
        let merged = orders.barrier.as_ref().unwrap_or(barrier);
        self.write(BARRIER, merged)
    }

    /// Engages the latch (one that stands stays) or removes it.
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
    fn order<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Unread> {
        let bytes = match bounded_file::read(&self.dir.join(name), limits::ORDER_FILE_BYTES) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) if e.kind() == io::ErrorKind::FileTooLarge => return Err(Unread::Damaged(e.to_string())),
            Err(e) => return Err(Unread::unknown(name, &e)),
        };
        let damaged = |e: serde_json::Error| Unread::Damaged(e.to_string());
        let read: Versioned<T> = serde_json::from_slice(&bytes).map_err(damaged)?;
        if read.version != VERSION {
            let why = format!("it has version {}, and this program knows {VERSION}", read.version);
            return Err(Unread::Damaged(why));
        }
        Ok(Some(read.order))
    }

    fn write<T: Serialize>(&self, name: &str, order: &T) -> io::Result<()> {
        let text = serde_json::to_vec(&Versioned { version: VERSION, order })?;
        let aside = self.dir.join(format!(".{name}.{}", uuid::Uuid::new_v4().simple()));
        WholeFile::at(&self.dir.join(name)).through(aside).fill(|file| {
            file.write_all(&text)?;
            // A directory that an agent made in the order's place would refuse the rename, and the order with it.
            put_aside_directory(&self.dir.join(name))
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        put_aside_directory(&self.dir.join(name))?;
        match fs::remove_file(self.dir.join(name)) {
            // Without the sync a loss of power could bring a released latch back, and dispatch would be stopped by an
            // order that was withdrawn.
            Ok(()) => where_it_can_be(bounded_file::open_dir(&self.dir).and_then(|dir| dir.sync_all())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Makes the directory when missing and waits for the turn to write, among the threads of this process and the
    /// processes of this machine.
    fn turn(&self) -> io::Result<(parking_lot::MutexGuard<'_, ()>, File)> {
        let turn = self.writing.lock();
        match fs::symlink_metadata(&self.dir) {
            Ok(found) if !found.is_dir() => put_aside(&self.dir)?,
            _ => {}
        }
        match fs::DirBuilder::new().mode(0o700).create(&self.dir) {
            Ok(()) => where_it_can_be(bounded_file::open_dir(&self.data).and_then(|dir| dir.sync_all()))?,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
        let dir = bounded_file::open_dir(&self.dir)?;
        let patience = Instant::now() + TURN;
        // An order that does not get its turn in time is written all the same. Each file is put in place by a rename
        // and stays whole; at worst two barriers of one moment miss each other.
        while flock(&dir, FlockOperation::NonBlockingLockExclusive).is_err() && Instant::now() < patience {
            std::thread::sleep(TURN_STEP);
        }
        Ok((turn, dir))
    }
}

/// Gives a name free when a directory has it, over which no file can be put.
fn put_aside_directory(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => put_aside(path),
        // Whatever else there is, the call that follows says so.
        _ => Ok(()),
    }
}

fn kill_name(agent: AgentId) -> String {
    format!("kill-{agent}.json")
}

/// The orders of one data directory as the port of a server; neither blocks the caller's thread nor waits for a disk
/// longer than [`limits::ORDER_RECORD`].
#[derive(Debug, Clone)]
pub struct FileOrders {
    dir: Arc<OrdersDir>,
    /// Reads have a lane of their own, so that those which hang leave room for a write.
    reads: Lane,
    writes: Lane,
}

impl FileOrders {
    /// Names the orders of this data directory.
    pub fn new(data: &Path) -> Self {
        Self { dir: Arc::new(OrdersDir::new(data)), reads: Lane::default(), writes: Lane::default() }
    }

    async fn write<F>(&self, work: F) -> io::Result<()>
    where
        F: FnOnce(&OrdersDir) -> io::Result<()> + Send + 'static,
    {
        let dir = Arc::clone(&self.dir);
        self.writes.run(limits::ORDER_RECORD, move || work(&dir)).await?
    }
}

#[async_trait]
impl OrderFiles for FileOrders {
    async fn read(&self) -> Filed {
        let dir = Arc::clone(&self.dir);
        self.reads.run(limits::ORDER_RECORD, move || dir.read()).await.unwrap_or_else(|e| {
            let why = format!("{ORDERS} cannot be read: {e}");
            Filed { stop: StopFile::Unknown(why.clone()), unread: Some(why), ..Filed::default() }
        })
    }

    async fn write_barrier(&self, barrier: &Barrier) -> io::Result<()> {
        let barrier = barrier.clone();
        self.write(move |dir| dir.write_barrier(&barrier)).await
    }

    async fn write_latch(&self, latch: Option<&Latch>) -> io::Result<()> {
        let latch = latch.cloned();
        self.write(move |dir| dir.write_latch(latch.as_ref())).await
    }

    async fn forget_kill(&self, agent: AgentId) -> io::Result<()> {
        self.write(move |dir| dir.forget_kill(agent)).await
    }

    fn stop_path(&self) -> String {
        self.dir.stop_path().display().to_string()
    }
}
