//! The part that owns the standing orders, as this process has them in memory. Nothing in this file waits for a disk or the store.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, watch};

use crate::clocks::Clocks;
use crate::domain::ids::{AgentId, NodeId, Timestamp};
use crate::domain::orders::{Barrier, KillOrder, Latch, StandingOrders};
use crate::driver::{AgentHandle, Drivers};
use crate::ports::Ports;
use crate::ports::clock::Chance;
use crate::ports::orders::OrderFiles;
use crate::ports::scanner::SecretScanner;
use crate::ports::store::Store;

/// Drivers that were given an order, by their agents.
pub(crate) type Ordered = BTreeMap<AgentId, Arc<AgentHandle>>;

/// The standing orders: knowledge of this process about them, and where they are written down.
pub(crate) struct Orders {
    /// This node.
    pub(super) node: NodeId,
    pub(super) chance: Arc<dyn Chance>,
    pub(super) store: Arc<dyn Store>,
    pub(super) files: Arc<dyn OrderFiles>,
    /// Hides secrets in the reasons of orders that were left in files.
    pub(super) scanner: Arc<dyn SecretScanner>,
    pub(super) clocks: Arc<Clocks>,
    pub(super) drivers: Arc<Drivers>,
    /// The dispatcher sleeps until this is notified.
    pub(super) wake: Arc<Notify>,
    pub(super) standing: Mutex<OrdersState>,
    /// The highest place in the order of admissions that anybody was told.
    pub(super) admitted: AtomicU64,
    /// Held while files and store are looked at: one look at a time.
    pub(super) looking: tokio::sync::Mutex<()>,
    /// Held while the latch is written or taken over from the files, so that a release and a look do not cross. Nothing
    /// that may hang is waited for without a deadline meanwhile: an engagement waits for it.
    pub(super) writing: tokio::sync::Mutex<()>,
    /// True once the orders that an earlier server left were read.
    pub(super) known: AtomicBool,
    /// Queued agents may be left that the barrier ends.
    pub(super) unswept: AtomicBool,
    pub(super) early: Mutex<Early>,
    /// Wide kills whose agents are not all verified empty yet.
    pub(super) rushing: watch::Sender<usize>,
    /// Others may have changed the store since it was read last.
    pub(super) stirred: AtomicBool,
    /// The kill switch is engaged, for those who wait for a change.
    pub(super) engaged: watch::Sender<bool>,
}

/// Lets what agents left be kept only afterwards, until it is dropped: while many are killed, stopping goes first.
pub(crate) struct Rush<'a>(&'a Orders);

impl Drop for Rush<'_> {
    fn drop(&mut self) {
        self.0.rushing.send_modify(|rushing| *rushing -= 1);
    }
}

/// Agents that the barrier ended at the moment a slot took them, noted while a kill-all counts.
#[derive(Default)]
pub(super) struct Early {
    counting: usize,
    ended: BTreeSet<AgentId>,
}

/// Notes such agents until it is dropped.
pub(crate) struct Counting<'a>(&'a Orders);

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        let mut early = self.0.early();
        early.counting -= 1;
        if early.counting == 0 {
            early.ended.clear();
        }
    }
}

#[derive(Default)]
pub(super) struct OrdersState {
    pub(super) orders: StandingOrders,
    /// Counts engagements, so that a release undoes only those that it saw.
    pub(super) engagements: u64,
    /// Counts releases, so that a look takes over no latch that was released after it had read the files.
    pub(super) releases: u64,
    /// Why it is not known what the files order. Nothing is dispatched then, and nothing ends.
    pub(super) unread: Option<String>,
    pub(super) stop_file: bool,
    /// The latch is written down nowhere.
    pub(super) memory_only: bool,
    /// True while the latch could not be written everywhere; the write is tried again. The same holds for the barrier.
    pub(super) latch_unwritten: bool,
    pub(super) barrier_unwritten: bool,
    pub(super) kills: HashMap<AgentId, KillOrder>,
    /// Orders about single agents that stand in the store, whoever gave them.
    pub(super) stored_kills: BTreeMap<AgentId, KillOrder>,
    /// The latch as the store had it last.
    pub(super) stored_latch: Option<Latch>,
    /// When the store was read last, by this node's clock.
    pub(super) read_at: Option<Duration>,
    /// A barrier in the files that was found at the start beyond every place that the store gave: it is of another store's
    /// life, and what that one had is all it covers.
    pub(super) foreign: Option<Barrier>,
}

impl OrdersState {
    pub(super) fn kill(&self, agent: AgentId) -> Option<&KillOrder> {
        self.kills.get(&agent).or_else(|| self.stored_kills.get(&agent))
    }
}

impl Orders {
    pub(crate) fn new(
        node: NodeId,
        ports: &Ports,
        clocks: Arc<Clocks>,
        drivers: Arc<Drivers>,
        wake: Arc<Notify>,
    ) -> Self {
        Self {
            node,
            chance: Arc::clone(&ports.chance),
            store: Arc::clone(&ports.store),
            files: Arc::clone(&ports.orders),
            scanner: Arc::clone(&ports.scanner),
            clocks,
            drivers,
            wake,
            standing: Mutex::default(),
            admitted: AtomicU64::new(0),
            looking: tokio::sync::Mutex::new(()),
            writing: tokio::sync::Mutex::new(()),
            known: AtomicBool::new(false),
            unswept: AtomicBool::new(false),
            early: Mutex::default(),
            rushing: watch::Sender::new(0),
            stirred: AtomicBool::new(false),
            engaged: watch::Sender::new(false),
        }
    }

    /// Tells those who wait whether the kill switch is engaged now.
    pub(super) fn announce_latch(&self) {
        let now = self.latch().is_some();
        self.engaged.send_if_modified(|known| std::mem::replace(known, now) != now);
    }

    /// Waits until the kill switch is engaged.
    pub(crate) async fn engaged(&self) {
        // Errors never: the sender is ours.
        let _ = self.engaged.subscribe().wait_for(|engaged| *engaged).await;
    }

    /// Returns what changes whenever the kill switch does.
    pub(crate) fn watch_latch(&self) -> watch::Receiver<bool> {
        self.engaged.subscribe()
    }

    /// Notes that others may have changed the store.
    pub(crate) fn stir(&self) {
        self.stirred.store(true, Ordering::SeqCst);
    }

    /// Tells whether others may have changed it since this was asked last.
    pub(super) fn stirred(&self) -> bool {
        self.stirred.swap(false, Ordering::SeqCst)
    }

    /// A wide kill begins.
    pub(crate) fn rush(&self) -> Rush<'_> {
        self.rushing.send_modify(|rushing| *rushing += 1);
        Rush(self)
    }

    /// Waits until no wide kill goes on.
    pub(crate) async fn no_rush(&self) {
        // Errors never: the sender is ours.
        let _ = self.rushing.subscribe().wait_for(|rushing| *rushing == 0).await;
    }

    pub(super) fn early(&self) -> MutexGuard<'_, Early> {
        self.early.lock()
    }

    /// Notes from now on which agents end at the moment a slot takes them.
    pub(crate) fn count_early(&self) -> Counting<'_> {
        self.early().counting += 1;
        Counting(self)
    }

    /// Notes one, while anybody counts.
    pub(crate) fn note_early(&self, id: AgentId) {
        let mut early = self.early();
        if early.counting > 0 {
            early.ended.insert(id);
        }
    }

    /// Returns those that were noted.
    pub(crate) fn ended_early(&self) -> BTreeSet<AgentId> {
        self.early().ended.clone()
    }

    /// Returns the orders about single agents that were left and not carried out yet; true for those in the store.
    pub(crate) fn left_kills(&self) -> Vec<(KillOrder, bool)> {
        let standing = self.standing();
        let filed = standing.kills.values().map(|kill| (kill.clone(), false));
        filed.chain(standing.stored_kills.values().map(|kill| (kill.clone(), true))).collect()
    }

    /// Takes over which single agents the store says must end; tells whether one is new.
    pub(crate) fn take_kills(&self, kills: Vec<KillOrder>) -> bool {
        let mut standing = self.standing();
        let new = kills.iter().any(|kill| !standing.stored_kills.contains_key(&kill.agent));
        // The whole list and not only what is new, so that an order that another node carried out goes here, too.
        standing.stored_kills = kills.into_iter().map(|kill| (kill.agent, kill)).collect();
        new
    }

    pub(super) fn standing(&self) -> MutexGuard<'_, OrdersState> {
        self.standing.lock()
    }

    /// Notes the place of an agent whose spawn is about to be acknowledged.
    pub(crate) fn admitted(&self, seq: u64) {
        self.admitted.fetch_max(seq, Ordering::SeqCst);
    }

    /// Tells whether the orders that an earlier server left were read.
    pub(crate) fn are_known(&self) -> bool {
        self.known.load(Ordering::SeqCst)
    }

    /// Returns why it is not known what the state directory orders, when that is so.
    pub(crate) fn unread(&self) -> Option<String> {
        self.standing().unread.clone()
    }

    pub(crate) fn latch(&self) -> Option<Latch> {
        self.standing().orders.latch.clone()
    }

    /// Raises the barrier in memory to everything that was acknowledged. From here on nothing before it starts. Where other
    /// nodes admit agents, too, it covers by time as well until the store has given it a sequence number.
    pub(crate) fn raise(&self, by: &str, reason: Option<String>, at: Timestamp, shared: bool) -> Barrier {
        // Under the lock, so that no driver asks between the two.
        let mut standing = self.standing();
        // What was acknowledged and not what was written: a spawn whose answer is still under way may end or not, but
        // one that a caller knows of must be covered.
        let seq = Some(self.admitted.load(Ordering::SeqCst));
        let before = if shared { at } else { Timestamp(0) };
        let barrier = Barrier { seq, before, by: by.to_owned(), reason, at };
        standing.orders.raise(barrier.clone());
        barrier
    }

    /// Returns how far the barrier reaches: the last place that it covers.
    pub(crate) fn barrier_seq(&self) -> u64 {
        self.standing().orders.barrier.as_ref().and_then(|barrier| barrier.seq).unwrap_or(0)
    }

    pub(super) fn barrier_note(&self) -> String {
        self.standing().orders.barrier.as_ref().map(Barrier::note).unwrap_or_default()
    }

    /// No queued agent is left that the barrier ends.
    pub(crate) fn swept(&self) {
        self.unswept.store(false, Ordering::SeqCst);
    }

    /// Some may be left: the engine ends them as soon as the store answers.
    pub(crate) fn not_swept(&self) {
        self.unswept.store(true, Ordering::SeqCst);
    }

    pub(super) fn engage(&self, latch: Latch) -> Latch {
        let mut standing = self.standing();
        standing.engagements += 1;
        // The first one stays: people look for who stopped everything, and whoever engages it once more has stopped
        // nothing.
        let latch = standing.orders.latch.get_or_insert(latch).clone();
        drop(standing);
        self.announce_latch();
        latch
    }
}
