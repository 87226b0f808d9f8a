//! Standing orders in force: barrier and latch act in this process's memory the moment they are given, and reach every
//! live driver at once. Writing them down comes after, in the state directory and the store at the same time; neither
//! can hold up a kill. What an earlier server or the command line left is read before anything is dispatched, and the
//! files again before every round.

mod look;
mod record;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use serde_json::json;
use thiserror::Error;
use tokio::sync::watch;

use crate::domain::agent::Agent;
use crate::domain::ids::{AgentId, Timestamp};
use crate::domain::lifecycle::{Event, KillCause};
use crate::domain::orders::{Barrier, KillOrder, Latch, StandingOrders, Verdict};
use crate::kill::{Driver, Order};
use crate::orchestrator::Orchestrator;
use crate::ports::orders::StopFile;
use crate::ports::store::{OrderChange, StoreError};

/// Where an order is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recorded {
    /// In the state directory or the store: it outlives this process.
    Durable,
    /// In this process only: every write failed or took too long. Writing it is tried again.
    Memory,
}

/// The kill switch as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SwitchState {
    /// Who engaged it, why and when, while it is.
    pub latch: Option<Latch>,
    /// The file `STOP` that must be removed before a release, when it is there.
    pub stop_file: Option<String>,
    /// Where that is written down.
    pub recorded: Recorded,
    /// The newest kill-all.
    pub barrier: Option<Barrier>,
}

/// Why the kill switch stays engaged.
#[derive(Debug, Error)]
pub enum ReleaseError {
    /// The last resort is still in place.
    #[error("the file {0} is still there; remove it, then release again")]
    StopFile(String),
    /// The release could not be written into the store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The release could not be written into the state directory.
    #[error("the state directory still says that dispatch is stopped: {0}")]
    Files(#[from] std::io::Error),
    /// A part of it did not come to its end in time.
    #[error("the kill switch stays engaged, because {part} did not answer: {why}; release again")]
    Late {
        /// The state directory or the store.
        part: &'static str,
        /// For how long it was waited for.
        why: String,
    },
    /// It is not known whether the last resort is in place.
    #[error("the kill switch stays engaged: {0}; mend that, then release again")]
    Unread(String),
}

/// Drivers that were given an order, by their agents.
pub(crate) type Ordered = BTreeMap<AgentId, Arc<Driver>>;

/// What this process knows of the standing orders.
pub(crate) struct Orders {
    standing: Mutex<Standing>,
    /// The highest place in the order of admissions that anybody was told.
    admitted: AtomicU64,
    /// Held while files and store are looked at: one look at a time.
    looking: tokio::sync::Mutex<()>,
    /// Held while the latch is written or taken over from the files, so that a release and a look do not cross. Nothing
    /// that may hang is waited for without a deadline meanwhile: an engagement waits for it.
    writing: tokio::sync::Mutex<()>,
    /// What an earlier server left has been read.
    known: AtomicBool,
    /// Queued agents may be left that the barrier ends.
    unswept: AtomicBool,
    early: Mutex<Early>,
    /// Wide kills whose agents are not all verified empty yet.
    rushing: watch::Sender<usize>,
    /// Others may have changed the store since it was read last.
    stirred: AtomicBool,
    /// The kill switch is engaged, for those who wait for a change.
    engaged: watch::Sender<bool>,
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
struct Early {
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
struct Standing {
    orders: StandingOrders,
    /// Counts engagements, so that a release undoes only those that it saw.
    engagements: u64,
    /// Counts releases, so that a look takes over no latch that was released after it had read the files.
    releases: u64,
    /// Why it is not known what the files order. Nothing is dispatched then, and nothing ends.
    unread: Option<String>,
    stop_file: bool,
    /// The latch is written down nowhere.
    memory_only: bool,
    /// What could not be written everywhere yet, and is tried again.
    latch_unwritten: bool,
    barrier_unwritten: bool,
    kills: HashMap<AgentId, KillOrder>,
    /// Orders about single agents that stand in the store, whoever gave them.
    stored_kills: BTreeMap<AgentId, KillOrder>,
    /// The latch as the store had it last.
    stored_latch: Option<Latch>,
    /// When the store was read last, by this node's clock.
    read_at: Option<Duration>,
    /// A barrier in the files that was found at the start beyond every place that the store gave: it is of another store's
    /// life, and what that one had is all it covers.
    foreign: Option<Barrier>,
}

impl Standing {
    fn kill(&self, agent: AgentId) -> Option<&KillOrder> {
        self.kills.get(&agent).or_else(|| self.stored_kills.get(&agent))
    }
}

impl Orders {
    pub(crate) fn new() -> Self {
        Self {
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
    fn announce_latch(&self) {
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
    fn stirred(&self) -> bool {
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

    fn early(&self) -> MutexGuard<'_, Early> {
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
        standing.stored_kills = kills.into_iter().map(|kill| (kill.agent, kill)).collect();
        new
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock()
    }

    /// Notes the place of an agent whose spawn is about to be acknowledged.
    pub(crate) fn admitted(&self, seq: u64) {
        self.admitted.fetch_max(seq, Ordering::SeqCst);
    }

    /// Tells whether anything may be dispatched now.
    pub(crate) fn may_dispatch(&self) -> bool {
        self.known.load(Ordering::SeqCst) && self.latch().is_none() && self.unread().is_none()
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

    fn barrier_note(&self) -> String {
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

    fn engage(&self, latch: Latch) -> Latch {
        let mut standing = self.standing();
        standing.engagements += 1;
        let latch = standing.orders.latch.get_or_insert(latch).clone();
        drop(standing);
        self.announce_latch();
        latch
    }
}

impl Orchestrator {
    /// Returns the kill switch as it is.
    pub fn switch_state(&self) -> SwitchState {
        let standing = self.orders.standing();
        SwitchState {
            latch: standing.orders.latch.clone(),
            stop_file: standing.stop_file.then(|| self.ports.orders.stop_path()),
            recorded: if standing.memory_only { Recorded::Memory } else { Recorded::Durable },
            barrier: standing.orders.barrier.clone(),
        }
    }

    /// Returns what the standing orders do with an agent that was just taken; nothing when it may run.
    pub(crate) fn standing_event(&self, agent: &Agent, seq: u64) -> Option<Event> {
        let standing = self.orders.standing();
        let event = match standing.kill(agent.id) {
            Some(kill) => Some(Event::Kill { cause: KillCause::Operator, note: kill.note() }),
            None => standing.orders.event(agent, seq),
        };
        if matches!(event, Some(Event::Kill { .. })) {
            self.orders.note_early(agent.id);
        }
        event
    }

    /// Gives every live driver the order that stands for its agent; returns those that there was one for.
    pub(crate) fn order_live(&self) -> Ordered {
        let mut ordered = Ordered::new();
        let standing = self.orders.standing();
        for (id, driver) in self.live().iter() {
            let order = match (standing.kill(*id), standing.orders.verdict(driver.seq, driver.spawned_at)) {
                (Some(kill), _) => Order::Kill(KillCause::Operator, kill.note()),
                (None, Verdict::End { cause, note }) => Order::Kill(cause, note),
                (None, Verdict::Hold) => {
                    let note = standing.orders.latch.as_ref().map(Latch::note).unwrap_or_default();
                    Order::Kill(KillCause::KillAll, note)
                }
                (None, Verdict::Run) => continue,
            };
            driver.give(order);
            ordered.insert(*id, Arc::clone(driver));
        }
        ordered
    }
    /// Stops dispatch in memory and orders what runs to end; returns the latch that stands now, and what was ordered.
    pub(crate) fn latch_now(&self, by: &str, reason: Option<String>) -> (Latch, Ordered) {
        let latch = self.orders.engage(Latch { by: by.to_owned(), reason, at: self.now() });
        (latch, self.order_live())
    }

    /// Releases the kill switch: first where it is written down, then in memory, so that it is never half released.
    /// Returns whether it was engaged. Errors leave it engaged.
    pub async fn release(&self, by: &str) -> Result<bool, ReleaseError> {
        let late = |part| move |why| ReleaseError::Late { part, why };
        let (files, store) = ("the state directory", "the store");
        let _writing = self.timely(self.orders.writing.lock()).await.map_err(late(files))?;
        let (seen, engaged) = {
            let standing = self.orders.standing();
            (standing.engagements, standing.orders.latch.is_some())
        };
        let filed = self.timely(self.ports.orders.read()).await.map_err(late(files))?;
        match filed.stop {
            StopFile::Absent => {}
            StopFile::There => return Err(ReleaseError::StopFile(self.ports.orders.stop_path())),
            StopFile::Unknown(why) => return Err(ReleaseError::Unread(why)),
        }
        let facts = vec![self.switch_fact("killswitch.released", json!({"by": by}))];
        let released = self.timely(self.ports.store.set_orders(OrderChange::Release, facts)).await;
        released.map_err(late(store))??;
        self.timely(self.ports.orders.write_latch(None)).await.map_err(late(files))??;
        {
            let mut standing = self.orders.standing();
            standing.stop_file = false;
            standing.releases += 1;
            standing.stored_latch = None;
            if standing.engagements == seen {
                standing.orders.latch = None;
                (standing.latch_unwritten, standing.memory_only) = (false, false);
            }
        }
        self.orders.announce_latch();
        self.wake.notify_one();
        Ok(engaged)
    }
}
