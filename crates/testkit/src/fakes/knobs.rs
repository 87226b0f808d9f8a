//! Controls of a test over a world of fakes besides its agents' behaviour: the wall clock, what processes use, the
//! machine's capacity, what agents say and what they are told.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use mosaic_core::domain::capacity::HostLoad;
use mosaic_core::domain::ids::{AgentId, Timestamp};
use mosaic_core::domain::outcome::Failure;
use mosaic_core::ports::processes::{StopReceipt, Usage};
use parking_lot::Mutex;
use tokio::sync::watch;

/// The knobs of one world.
pub struct Knobs {
    /// Milliseconds by which the wall clock is wrong.
    jump: AtomicI64,
    usage: Mutex<Usage>,
    host_load: Mutex<HostLoad>,
    told: Mutex<Vec<(AgentId, String)>>,
    /// Failures of the parts that are broken, by node and part.
    broken: Mutex<HashMap<(String, Broken), Failure>>,
    /// Receipt that supervisors write into the exits of their programs.
    receipt: Mutex<Option<StopReceipt>>,
    pub(crate) speech: watch::Sender<u64>,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            jump: AtomicI64::new(0),
            usage: Mutex::default(),
            host_load: Mutex::default(),
            told: Mutex::default(),
            broken: Mutex::default(),
            receipt: Mutex::default(),
            speech: watch::Sender::new(0),
        }
    }
}

/// A part of a node's work that a test may break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Broken {
    /// Fetching from any repository.
    Fetch,
    /// Pushing to any repository.
    Push,
    /// The runtime's program: it is neither found nor started.
    Program,
    /// The confinement.
    Sandbox,
    /// One gate that every plan has then, and every commit fails.
    Gate,
    /// The end of what the confinement keeps running.
    SandboxStop,
}

impl Knobs {
    /// Breaks a part of a node's work, or mends it.
    pub fn breaks(&self, node: &str, part: Broken, failure: Option<Failure>) {
        let key = (node.to_owned(), part);
        match failure {
            Some(failure) => self.broken.lock().insert(key, failure),
            None => self.broken.lock().remove(&key),
        };
    }

    pub(crate) fn works(&self, node: &str, part: Broken) -> Result<(), Failure> {
        self.broken.lock().get(&(node.to_owned(), part)).cloned().map_or(Ok(()), Err)
    }

    /// Lets supervisors say that they stopped this many processes when a program ends from now on.
    pub fn stopped_by_supervisors(&self, processes: u32) {
        let receipt =
            StopReceipt { processes_before: processes, rung: "kill".to_owned(), ..StopReceipt::default() };
        *self.receipt.lock() = Some(receipt);
    }

    pub(crate) fn receipt(&self) -> Option<StopReceipt> {
        self.receipt.lock().clone()
    }

    /// Sets the wall clock forward or back, counted from the true time.
    pub fn jump(&self, milliseconds: i64) {
        self.jump.store(milliseconds, Ordering::SeqCst);
    }

    /// Sets what every agent's processes use.
    pub fn set_usage(&self, usage: Usage) {
        *self.usage.lock() = usage;
    }

    /// Sets what the machine has.
    pub fn set_host_load(&self, host_load: HostLoad) {
        *self.host_load.lock() = host_load;
    }

    /// Lets every running program say a line.
    pub fn speak(&self) {
        self.speech.send_modify(|lines| *lines += 1);
    }

    /// Returns what agents were told, in order.
    pub fn told(&self) -> Vec<(AgentId, String)> {
        self.told.lock().clone()
    }

    pub(crate) fn tell(&self, agent: AgentId, bytes: &[u8]) {
        self.told.lock().push((agent, String::from_utf8_lossy(bytes).into_owned()));
    }

    pub(crate) fn usage(&self) -> Usage {
        *self.usage.lock()
    }

    pub(crate) fn host_load(&self) -> HostLoad {
        *self.host_load.lock()
    }

    pub(crate) fn wall(&self) -> Timestamp {
        Timestamp(wall().0.saturating_add_signed(self.jump.load(Ordering::SeqCst)))
    }
}

/// When this process began, by both clocks.
static BEGINNING: LazyLock<(Instant, SystemTime)> = LazyLock::new(|| (Instant::now(), SystemTime::now()));

/// The true time, which stands still where the runtime's clock is paused, and jumps where it does.
pub fn wall() -> Timestamp {
    Timestamp::from(BEGINNING.1).plus(elapsed())
}

/// Monotonic time of the test's process.
pub fn elapsed() -> Duration {
    tokio::time::Instant::now().into_std().saturating_duration_since(BEGINNING.0)
}
