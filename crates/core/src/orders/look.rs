//! Learning of standing orders: what an earlier server or the command line left is read before anything is dispatched,
//! and the files again before every round. A store that other nodes write to is read again and again as well.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;

use crate::caller_texts;
use crate::clocks::NotInTime;
use crate::domain::ids::Timestamp;
use crate::domain::orders::{Barrier, Latch, StandingOrders};
use crate::limits;
use crate::orders::standing::Orders;
use crate::ports::orders::{Filed, StopFile};
use crate::ports::store::{OrderChange, Query, StoreError};
use crate::stop::Stop;

impl Orders {
    /// Learns what stands, unless that is known already: for whoever answers callers before the engine runs. A store that
    /// does not answer leaves it unknown; then nothing is dispatched.
    pub(crate) async fn know(&self) {
        if !self.known.load(Ordering::SeqCst) {
            self.look().await;
        }
    }

    /// Reads what stands before the first dispatch; waits while the store does not answer, unless told to stop.
    pub(crate) async fn learn(&self, stop: &mut watch::Receiver<Stop>) {
        while *stop.borrow() == Stop::No && !self.look().await {
            tokio::select! {
                () = self.clocks.sleep(limits::STORE_RETRY) => {}
                changed = stop.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Looks at the files, and once at the store, and puts into force what is new. Returns whether the orders are known;
    /// until then nothing may be dispatched.
    pub(crate) async fn look(&self) -> bool {
        // The next round looks again, and the dispatcher must not wait behind a state directory that hangs.
        let Ok(_looking) = self.looking.try_lock() else {
            return self.known.load(Ordering::SeqCst);
        };
        self.look_in_turn().await
    }

    /// The same for who must not go on before it is done: somebody else's look may have begun too early.
    pub(crate) async fn catch_up(&self) {
        let _looking = self.looking.lock().await;
        self.look_in_turn().await;
    }

    async fn look_in_turn(&self) -> bool {
        // The store is read in full only until it was read once: from then on this process knows every change of its
        // own, and those of other nodes come by the reads below.
        if !self.known.load(Ordering::SeqCst)
            && let Err(e) = self.read_stored().await
        {
            tracing::warn!(error = %e, "standing orders could not be read; nothing is dispatched until they are");
            return false;
        }
        self.read_again().await;
        // Counted before the files are read. A release that comes between the read and the adoption would otherwise
        // be undone by the old content of a file.
        let releases = self.standing().releases;
        let filed = self.read_files().await;
        self.note_unread(filed.unread.clone());
        self.adopt_kills(&filed);
        if let Some(barrier) = filed.orders.barrier.clone() {
            self.adopt_barrier(barrier).await;
        }
        self.adopt_latch(&filed, releases).await;
        let unwritten = {
            let standing = self.standing();
            standing.orders.barrier.clone().filter(|_| standing.barrier_unwritten)
        };
        match unwritten {
            Some(barrier) if barrier.before.0 > 0 => self.place(barrier).await,
            Some(barrier) => drop(self.write_barrier(barrier.clone(), &barrier).await),
            None => {}
        }
        // Only now: as long as this is false nothing is dispatched, so that no agent slips through between the start
        // and the first orders.
        self.known.store(true, Ordering::SeqCst);
        self.carry_out_kills().await;
        if self.unswept.load(Ordering::SeqCst)
            && let Err(e) = self.sweep_barrier(&self.barrier_note()).await
        {
            tracing::warn!(error = %e, "queued agents could not be ended yet; none of them starts");
        }
        true
    }

    /// Reads the files; a state directory that does not answer in time leaves everything in it unknown.
    async fn read_files(&self) -> Filed {
        let late = |why: NotInTime| {
            let why = format!("the state directory does not answer: {why}");
            Filed { stop: StopFile::Unknown(why.clone()), unread: Some(why), ..Filed::default() }
        };
        caller_texts::hide_in_orders(
            &*self.scanner,
            self.clocks.timely(self.files.read()).await.unwrap_or_else(late),
        )
    }

    /// Notes whether it is known what the files order. Who cannot read holds dispatch and ends nothing: an order that
    /// might be there is none.
    fn note_unread(&self, unread: Option<String>) {
        let before = std::mem::replace(&mut self.standing().unread, unread.clone());
        match (before, unread) {
            (None, Some(why)) => {
                tracing::error!(why, "standing orders cannot be read; nothing is dispatched until they are");
            }
            (Some(_), None) => tracing::info!("standing orders can be read again"),
            _ => {}
        }
    }

    /// Reads the store's copy and the highest place that was given.
    async fn read_stored(&self) -> Result<(), StoreError> {
        let stored = self.store.orders().await?;
        let newest = self.store.list(Query { limit: 1, ..Query::default() }).await?;
        self.admitted(newest.first().map_or(0, |record| record.seq));
        // An earlier server may have died in the middle of its sweep, so the queue is swept once more at a
        // start whenever a barrier stands.
        self.unswept.store(stored.barrier.is_some(), Ordering::SeqCst);
        let mut standing = self.standing();
        standing.orders.take_latch(stored.latch.clone());
        standing.stored_latch.clone_from(&stored.latch);
        let kills = stored.kills.clone();
        standing.orders.merge(stored);
        drop(standing);
        self.take_kills(kills);
        Ok(())
    }

    /// Learns what other nodes ordered since the last look.
    async fn read_again(&self) {
        let now = self.clocks.elapsed();
        let is_due = |at: Option<Duration>| at.is_none_or(|at| now.saturating_sub(at) >= limits::ORDER_LOOK);
        // `stirred` resets itself and is asked first: a read because the period is over answers it, too.
        if !self.clocks.is_shared() || !(self.stirred() || is_due(self.standing().read_at)) {
            return;
        }
        match self.clocks.timely(self.store.orders()).await {
            Ok(Ok(stored)) => {
                self.standing().read_at = Some(now);
                self.adopt_stored(stored).await;
            }
            Ok(Err(e)) => tracing::debug!(error = %e, "standing orders could not be read again yet"),
            Err(why) => tracing::debug!(%why, "standing orders could not be read again yet"),
        }
    }

    async fn adopt_stored(&self, stored: StandingOrders) {
        // Kills are replaced and not merged: one that the store does not have any more was carried out by the node
        // that runs the agent.
        let mut new = self.take_kills(stored.kills);
        let released = {
            let mut standing = self.standing();
            if let Some(barrier) = stored.barrier {
                let before = standing.orders.barrier.clone();
                standing.orders.raise(barrier);
                // Who raised it ends what waits; this is for when that one is lost meanwhile.
                if standing.orders.barrier != before {
                    new = true;
                    self.not_swept();
                }
            }
            // A latch that was in the store and is not any more was released by another node.
            let known = std::mem::replace(&mut standing.stored_latch, stored.latch.clone());
            let gone = stored.latch.is_none() && known.is_some() && standing.orders.latch == known;
            let released = gone && !standing.latch_unwritten && !standing.stop_file;
            match stored.latch {
                Some(latch) if standing.orders.latch.is_none() => {
                    tracing::warn!(by = latch.by, "dispatch is stopped: the kill switch was engaged");
                    standing.engagements += 1;
                    standing.orders.latch = Some(latch);
                    new = true;
                }
                None if released => standing.orders.latch = None,
                _ => {}
            }
            released
        };
        self.announce_latch();
        if released {
            tracing::warn!("dispatch goes on: the kill switch was released");
            self.standing().releases += 1;
            if let Err(e) = self.in_time(self.files.write_latch(None)).await {
                tracing::warn!(error = %e, "the state directory still says that dispatch is stopped");
            }
        }
        if new {
            self.order_live();
        }
    }

    fn adopt_kills(&self, filed: &Filed) {
        let mut standing = self.standing();
        let new = filed.kills.iter().any(|kill| !standing.kills.contains_key(&kill.agent));
        // A directory that could not be read in full does not prove that an order is gone, so what is known
        // from it stays.
        if filed.unread.is_none() {
            standing.kills.clear();
        }
        standing.kills.extend(filed.kills.iter().map(|kill| (kill.agent, kill.clone())));
        drop(standing);
        if new {
            self.order_live();
        }
    }

    /// Puts a barrier from the file into force. A place that nobody was given yet comes from another store's life, so it
    /// ends at what is there; one given by time becomes a place, so that a clock that is set back ends nothing new.
    async fn adopt_barrier(&self, mut barrier: Barrier) {
        // A file may be older than the store beside it: a backup was restored, or another store was configured. A
        // barrier from there must not end what this store admits tomorrow.
        let highest = self.admitted.load(Ordering::SeqCst);
        {
            let mut standing = self.standing();
            if standing.foreign.as_ref() == Some(&barrier) {
                return;
            }
            if !self.known.load(Ordering::SeqCst) && barrier.seq.is_some_and(|seq| seq > highest) {
                standing.foreign = Some(barrier.clone());
            }
        }
        // Cut to what is there: the numbers above are free, and the next spawns will get them.
        barrier.seq = barrier.seq.map(|seq| seq.min(highest));
        if !self.reaches_further(&barrier) {
            return;
        }
        {
            let mut standing = self.standing();
            standing.orders.raise(barrier.clone());
            self.not_swept();
        }
        self.order_live();
        if barrier.before.0 > 0 {
            self.place(barrier).await;
        }
    }

    /// Gives a barrier that covers by time the sequence number that it stands for, everywhere.
    async fn place(&self, mut barrier: Barrier) {
        // Records are listed newest first, so the first one before that time has the highest number that the order
        // covers.
        let until = Some(Timestamp(barrier.before.0 + 1));
        match self.store.list(Query { until, limit: 1, ..Query::default() }).await {
            Ok(newest) => {
                let place = newest.first().map_or(0, |record| record.seq);
                barrier.seq = Some(barrier.seq.unwrap_or(0).max(place));
                self.pin(barrier).await;
            }
            Err(e) => tracing::warn!(error = %e, "kill-all was left by time only; it is taken as it is"),
        }
    }

    fn reaches_further(&self, barrier: &Barrier) -> bool {
        let mut merged = self.standing().orders.clone();
        merged.raise(barrier.clone());
        merged != self.standing().orders
    }

    /// Writes down the place of a barrier that was given by time, and forgets the time.
    async fn pin(&self, barrier: Barrier) {
        // A time is only good until the clock is set back; then it would end agents that were spawned after the
        // order. A number cannot move.
        let pinned = Barrier { before: Timestamp(0), at: barrier.at.max(barrier.before), ..barrier };
        let stored =
            self.clocks.timely(self.store.set_orders(OrderChange::Raise(pinned.clone()), Vec::new()));
        match stored.await {
            Ok(Ok(_)) => {
                {
                    let mut standing = self.standing();
                    standing.orders.raise_placed(pinned.clone());
                    standing.barrier_unwritten = false;
                }
                self.order_live();
                if let Err(e) = self.in_time(self.files.write_barrier(&pinned)).await {
                    tracing::warn!(error = %e, "kill-all could not be written into the state directory yet");
                }
            }
            Ok(Err(e)) => tracing::warn!(error = %e, "kill-all could not be written into the store yet"),
            Err(why) => tracing::warn!(%why, "kill-all could not be written into the store yet"),
        }
    }

    /// Puts a latch from the files into force, and writes down one that is not written everywhere yet. `releases` counts
    /// those before the files were read: what was released since then does not come back.
    async fn adopt_latch(&self, filed: &Filed, releases: u64) {
        // A write that hangs holds this lock. The dispatcher must not wait behind it, and the next look tries again.
        let Ok(_writing) = self.clocks.timely(self.writing.lock()).await else { return };
        let stop = (filed.stop == StopFile::There).then(|| Latch {
            by: format!("the file {}", self.files.stop_path()),
            reason: None,
            at: self.clocks.now(),
        });
        let (new, unwritten) = {
            let mut standing = self.standing();
            // It was released while the files were read. What they said then does not count any more.
            if standing.releases != releases {
                return;
            }
            standing.stop_file = match filed.stop {
                StopFile::Absent => false,
                StopFile::There => true,
                StopFile::Unknown(_) => standing.stop_file,
            };
            let found = filed.orders.latch.clone().or(stop);
            let new = found.filter(|_| standing.orders.latch.is_none());
            let unwritten = standing.orders.latch.clone().filter(|_| standing.latch_unwritten);
            (new, unwritten)
        };
        if let Some(latch) = &new {
            tracing::warn!(
                by = latch.by,
                "dispatch is stopped: the kill switch was engaged in the state directory"
            );
            self.engage(latch.clone());
            self.order_live();
        }
        if let Some(latch) = new.or(unwritten) {
            self.write_latch(&latch).await;
        }
    }
}
