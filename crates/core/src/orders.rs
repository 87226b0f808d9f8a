//! Standing orders in force: barrier and latch act in this process's memory the moment they are given, and reach every
//! live driver at once. Writing them down comes after, in the state directory and the store at the same time; neither
//! can hold up a kill. What an earlier server or the command line left is read before anything is dispatched, and the
//! files again before every round.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::json;
use thiserror::Error;
use tokio::sync::watch;

use crate::domain::agent::Agent;
use crate::domain::ids::{AgentId, Timestamp};
use crate::domain::journal::Fact;
use crate::domain::lifecycle::{Event, KillCause};
use crate::domain::orders::{Barrier, KillOrder, Latch, StandingOrders, Verdict};
use crate::engine::Stop;
use crate::kill::Order;
use crate::limits;
use crate::orchestrator::Orchestrator;
use crate::ports::orders::Filed;
use crate::ports::store::{OrderChange, Query, StoreError};

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
}

/// What this process knows of the standing orders.
pub(crate) struct Orders {
    standing: Mutex<Standing>,
    /// The highest place in the order of admissions that anybody was told.
    admitted: AtomicU64,
    /// Held while the latch is written or files are taken over, so that a release and a look do not cross.
    writing: tokio::sync::Mutex<()>,
    /// What an earlier server left has been read.
    known: AtomicBool,
    /// Queued agents may be left that the barrier ends.
    unswept: AtomicBool,
    early: Mutex<Early>,
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
    stop_file: bool,
    unrecorded: bool,
    kills: HashMap<AgentId, KillOrder>,
}

impl Orders {
    pub(crate) fn new() -> Self {
        Self {
            standing: Mutex::default(),
            admitted: AtomicU64::new(0),
            writing: tokio::sync::Mutex::new(()),
            known: AtomicBool::new(false),
            unswept: AtomicBool::new(false),
            early: Mutex::default(),
        }
    }

    fn early(&self) -> MutexGuard<'_, Early> {
        self.early.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Returns the orders about single agents that were left and not carried out yet.
    pub(crate) fn left_kills(&self) -> Vec<KillOrder> {
        self.standing().kills.values().cloned().collect()
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the place of an agent whose spawn is about to be acknowledged.
    pub(crate) fn admitted(&self, seq: u64) {
        self.admitted.fetch_max(seq, Ordering::SeqCst);
    }

    /// Tells whether anything may be dispatched now.
    pub(crate) fn may_dispatch(&self) -> bool {
        self.known.load(Ordering::SeqCst) && self.latch().is_none()
    }

    pub(crate) fn latch(&self) -> Option<Latch> {
        self.standing().orders.latch.clone()
    }

    /// Raises the barrier in memory to everything that was acknowledged. From here on nothing before it starts.
    pub(crate) fn raise(&self, by: &str, reason: Option<String>, at: Timestamp) -> Barrier {
        // Under the lock, so that no driver asks between the two.
        let mut standing = self.standing();
        let seq = Some(self.admitted.load(Ordering::SeqCst));
        let barrier = Barrier { seq, before: Timestamp(0), by: by.to_owned(), reason, at };
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
        standing.orders.latch.get_or_insert(latch).clone()
    }
}

impl Orchestrator {
    /// Returns the kill switch as it is.
    pub fn switch_state(&self) -> SwitchState {
        let standing = self.orders.standing();
        SwitchState {
            latch: standing.orders.latch.clone(),
            stop_file: standing.stop_file.then(|| self.ports.orders.stop_path()),
            recorded: if standing.unrecorded { Recorded::Memory } else { Recorded::Durable },
            barrier: standing.orders.barrier.clone(),
        }
    }

    /// Returns what the standing orders do with an agent that was just taken; nothing when it may run.
    pub(crate) fn standing_event(&self, agent: &Agent, seq: u64) -> Option<Event> {
        let standing = self.orders.standing();
        let event = match standing.kills.get(&agent.id) {
            Some(kill) => Some(Event::Kill { cause: KillCause::Operator, note: kill.note() }),
            None => standing.orders.event(agent, seq),
        };
        if matches!(event, Some(Event::Kill { .. })) {
            self.orders.note_early(agent.id);
        }
        event
    }

    /// Gives every live driver the order that stands for its agent; returns those that there was one for.
    pub(crate) fn order_live(&self) -> BTreeSet<AgentId> {
        let mut ordered = BTreeSet::new();
        let standing = self.orders.standing();
        for (id, driver) in self.live().iter() {
            let order = match (standing.kills.get(id), standing.orders.verdict(driver.seq, driver.spawned_at)) {
                (Some(kill), _) => Order::Kill(KillCause::Operator, kill.note()),
                (None, Verdict::End { cause, note }) => Order::Kill(cause, note),
                (None, Verdict::Hold) => {
                    let note = standing.orders.latch.as_ref().map(Latch::note).unwrap_or_default();
                    Order::Kill(KillCause::KillAll, note)
                }
                (None, Verdict::Run) => continue,
            };
            driver.give(order);
            ordered.insert(*id);
        }
        ordered
    }

    /// Writes the barrier into the state directory and the store at the same time. The store puts it after everything
    /// that it has admitted by then, which may be more than this process has acknowledged; then the barrier rises.
    /// Says whether the store answered, too.
    pub(crate) async fn record_barrier(&self, barrier: &Barrier) -> (Recorded, Result<(), String>) {
        let asked = Barrier { seq: None, ..barrier.clone() };
        let store = async {
            let stored = self.timely(self.ports.store.set_orders(OrderChange::Raise(asked), Vec::new())).await;
            let raised = stored.and_then(|stored| stored.map_err(|e| e.to_string()));
            raised.map(|orders| {
                if let Some(raised) = orders.barrier {
                    self.orders.standing().orders.raise(raised);
                    self.order_live();
                }
            })
        };
        let file = async {
            let written = self.timely(self.ports.orders.write_barrier(barrier)).await;
            written.and_then(|written| written.map_err(|e| e.to_string()))
        };
        let (store, file) = tokio::join!(store, file);
        (weigh("kill-all", &store, &file), store)
    }

    /// Stops dispatch in memory and orders what runs to end; returns the latch that stands now, and what was ordered.
    pub(crate) fn latch_now(&self, by: &str, reason: Option<String>) -> (Latch, BTreeSet<AgentId>) {
        let latch = self.orders.engage(Latch { by: by.to_owned(), reason, at: self.now() });
        (latch, self.order_live())
    }

    /// Writes the latch into the state directory and the store at the same time.
    pub(crate) async fn record_latch(&self, latch: &Latch) -> Recorded {
        let _writing = self.orders.writing.lock().await;
        self.write_latch(latch).await
    }

    async fn write_latch(&self, latch: &Latch) -> Recorded {
        let data = json!({"by": &latch.by, "reason": &latch.reason});
        let facts = vec![self.switch_fact("killswitch.engaged", data)];
        let store = async {
            let stored = self.timely(self.ports.store.set_orders(OrderChange::Engage(latch.clone()), facts));
            let stored = stored.await.and_then(|stored| stored.map_err(|e| e.to_string()));
            // Who engaged it first stands, also when that was before this server knew.
            stored.map(|orders| self.orders.standing().orders.take_latch(orders.latch))
        };
        let file = async {
            let written = self.timely(self.ports.orders.write_latch(Some(latch))).await;
            written.and_then(|written| written.map_err(|e| e.to_string()))
        };
        let (store, file) = tokio::join!(store, file);
        let recorded = weigh("kill switch", &store, &file);
        self.orders.standing().unrecorded = recorded == Recorded::Memory;
        recorded
    }

    fn switch_fact(&self, kind: &str, data: serde_json::Value) -> Fact {
        Fact { kind: kind.to_owned(), agent: None, task: None, at: self.now(), data }
    }

    /// Waits for a write at most [`limits::ORDER_RECORD`].
    pub(crate) async fn timely<T>(&self, write: impl Future<Output = T>) -> Result<T, String> {
        tokio::select! {
            done = write => Ok(done),
            () = self.ports.clock.sleep(limits::ORDER_RECORD) => {
                Err(format!("not written within {} s", limits::ORDER_RECORD.as_secs()))
            }
        }
    }

    /// Releases the kill switch: first where it is written down, then in memory, so that it is never half released.
    /// Returns whether it was engaged. Errors leave it engaged.
    pub async fn release(&self, by: &str) -> Result<bool, ReleaseError> {
        let _writing = self.orders.writing.lock().await;
        let (seen, engaged) = {
            let standing = self.orders.standing();
            (standing.engagements, standing.orders.latch.is_some())
        };
        if self.ports.orders.read().await.stop {
            return Err(ReleaseError::StopFile(self.ports.orders.stop_path()));
        }
        let facts = vec![self.switch_fact("killswitch.released", json!({"by": by}))];
        self.ports.store.set_orders(OrderChange::Release, facts).await?;
        self.ports.orders.write_latch(None).await?;
        {
            let mut standing = self.orders.standing();
            standing.stop_file = false;
            if standing.engagements == seen {
                standing.orders.latch = None;
                standing.unrecorded = false;
            }
        }
        self.wake.notify_one();
        Ok(engaged)
    }

    /// Reads what stands before the first dispatch; waits while the store does not answer, unless told to stop.
    pub(crate) async fn learn_orders(&self, stop: &mut watch::Receiver<Stop>) {
        while *stop.borrow() == Stop::No && !self.look_at_orders().await {
            tokio::select! {
                () = self.ports.clock.sleep(limits::STORE_RETRY) => {}
                changed = stop.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Looks at the files, and once at the store, and puts into force what is new. Returns whether the orders are known;
    /// until then nothing may be dispatched.
    pub(crate) async fn look_at_orders(&self) -> bool {
        let Ok(_writing) = self.orders.writing.try_lock() else {
            return self.orders.known.load(Ordering::SeqCst);
        };
        if !self.orders.known.load(Ordering::SeqCst)
            && let Err(e) = self.read_stored().await
        {
            tracing::warn!(error = %e, "standing orders could not be read; nothing is dispatched until they are");
            return false;
        }
        let filed = self.ports.orders.read().await;
        self.adopt_kills(filed.kills.clone());
        if let Some(barrier) = filed.orders.barrier.clone() {
            self.adopt_barrier(barrier).await;
        }
        self.adopt_latch(&filed).await;
        self.orders.known.store(true, Ordering::SeqCst);
        self.carry_out_kills().await;
        if self.orders.unswept.load(Ordering::SeqCst)
            && let Err(e) = self.sweep_barrier(&self.orders.barrier_note()).await
        {
            tracing::warn!(error = %e, "queued agents could not be ended yet; none of them starts");
        }
        true
    }

    /// Reads the store's copy and the highest place that was given.
    async fn read_stored(&self) -> Result<(), StoreError> {
        let stored = self.ports.store.orders().await?;
        let newest = self.ports.store.list(Query { limit: 1, ..Query::default() }).await?;
        self.orders.admitted(newest.first().map_or(0, |record| record.seq));
        self.orders.unswept.store(stored.barrier.is_some(), Ordering::SeqCst);
        let mut standing = self.orders.standing();
        standing.orders.take_latch(stored.latch.clone());
        standing.orders.merge(stored);
        drop(standing);
        Ok(())
    }

    fn adopt_kills(&self, kills: Vec<KillOrder>) {
        let mut standing = self.orders.standing();
        let new = kills.iter().any(|kill| !standing.kills.contains_key(&kill.agent));
        standing.kills = kills.into_iter().map(|kill| (kill.agent, kill)).collect();
        drop(standing);
        if new {
            self.order_live();
        }
    }

    /// Puts a barrier from the file into force. A place that nobody was given yet comes from another store's life, so it
    /// ends at what is there; one given by time becomes a place, so that a clock that is set back ends nothing new.
    async fn adopt_barrier(&self, mut barrier: Barrier) {
        let highest = self.orders.admitted.load(Ordering::SeqCst);
        barrier.seq = barrier.seq.map(|seq| seq.min(highest));
        if !self.reaches_further(&barrier) {
            return;
        }
        {
            let mut standing = self.orders.standing();
            standing.orders.raise(barrier.clone());
            self.orders.not_swept();
        }
        self.order_live();
        if barrier.before.0 == 0 {
            return;
        }
        let until = Some(Timestamp(barrier.before.0 + 1));
        match self.ports.store.list(Query { until, limit: 1, ..Query::default() }).await {
            Ok(newest) => {
                let place = newest.first().map_or(0, |record| record.seq);
                barrier.seq = Some(barrier.seq.unwrap_or(0).max(place));
                self.pin(barrier).await;
            }
            Err(e) => tracing::warn!(error = %e, "kill-all was left by time only; it is taken as it is"),
        }
    }

    fn reaches_further(&self, barrier: &Barrier) -> bool {
        let mut merged = self.orders.standing().orders.clone();
        merged.raise(barrier.clone());
        merged != self.orders.standing().orders
    }

    /// Writes down the place of a barrier that was given by time, and forgets the time.
    async fn pin(&self, barrier: Barrier) {
        let pinned = Barrier { before: Timestamp(0), at: barrier.at.max(barrier.before), ..barrier };
        let stored = self.timely(self.ports.store.set_orders(OrderChange::Raise(pinned.clone()), Vec::new()));
        match stored.await {
            Ok(Ok(_)) => {
                self.orders.standing().orders.raise_placed(pinned.clone());
                if let Err(e) = self.ports.orders.write_barrier(&pinned).await {
                    tracing::warn!(error = %e, "kill-all could not be written into the state directory yet");
                }
            }
            Ok(Err(e)) => tracing::warn!(error = %e, "kill-all could not be written into the store yet"),
            Err(why) => tracing::warn!(why, "kill-all could not be written into the store yet"),
        }
    }

    /// Puts a latch from the files into force, and writes down one that is only in memory.
    async fn adopt_latch(&self, filed: &Filed) {
        let stop = filed.stop.then(|| Latch {
            by: format!("the file {}", self.ports.orders.stop_path()),
            reason: None,
            at: self.now(),
        });
        let (new, unrecorded) = {
            let mut standing = self.orders.standing();
            standing.stop_file = filed.stop;
            let found = filed.orders.latch.clone().or(stop);
            let new = found.filter(|_| standing.orders.latch.is_none());
            let unrecorded = standing.orders.latch.clone().filter(|_| standing.unrecorded);
            (new, unrecorded)
        };
        if let Some(latch) = &new {
            tracing::warn!(by = latch.by, "dispatch is stopped: the kill switch was engaged in the state directory");
            self.orders.engage(latch.clone());
            self.order_live();
        }
        if let Some(latch) = new.or(unrecorded) {
            self.write_latch(&latch).await;
        }
    }
}

/// Either copy is enough; each that failed is logged.
fn weigh(what: &str, store: &Result<(), String>, file: &Result<(), String>) -> Recorded {
    for (place, result) in [("store", store), ("state directory", file)] {
        if let Err(why) = result {
            tracing::error!(why, place, "{what} is in force, but could not be written down");
        }
    }
    if store.is_ok() || file.is_ok() { Recorded::Durable } else { Recorded::Memory }
}
