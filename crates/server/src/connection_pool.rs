//! The connections on which everything is answered. There are only so many, so none is held for nothing and no caller
//! holds all of them: when all are taken, one on which no request is under way makes way for the next, and each caller
//! has a share of the requests that are answered at once. What orders to stop need is kept apart; see [`crate::reserved_connections`].

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use mosaic_core::domain::ids::{AgentId, NodeId};
use mosaic_core::limits;
use parking_lot::{Mutex, MutexGuard};
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Number of connections and requests that a server takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections for everything.
    pub open: usize,
    /// Connections for orders to stop, besides.
    pub reserved: usize,
    /// Connections on the control socket.
    pub control: usize,
}

impl ConnectionLimits {
    /// Divides the descriptors that this process may have: store, git and agents need some whatever callers do.
    pub fn of(descriptors: u64, slots: usize) -> Self {
        let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
        let part = (descriptors / limits::SMALL_SHARE).max(2);
        let (reserved, control) = (limits::STOP_CONNECTIONS.min(part), limits::CONTROL_CONNECTIONS.min(part));
        let kept = limits::OWN_DESCRIPTORS + limits::SLOT_DESCRIPTORS * slots + reserved + control;
        // Many slots may claim all descriptors. An eighth stays for callers, because a server that no operator reaches
        // cannot be helped.
        let open = descriptors.saturating_sub(kept).max(descriptors / 8).min(limits::CONNECTIONS);
        Self { open, reserved, control }
    }
}

/// Whose share a request counts against.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    /// An agent, by its own token.
    Agent(AgentId),
    /// All agents together.
    Agents,
    /// The operator's token.
    Operator,
    /// Another node.
    Node(NodeId),
    /// Callers without a token, by their address.
    Address(Option<IpAddr>),
}

/// All open connections but those kept for orders to stop.
#[derive(Debug, Clone)]
pub(crate) struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    open: HashMap<u64, Entry>,
    /// Requests under way, by those who asked.
    held: HashMap<Holder, usize>,
}

#[derive(Debug)]
struct Entry {
    peer: Option<IpAddr>,
    /// Since when no request is under way; none while one is.
    idle: Option<Instant>,
    /// A request on it came from somebody who may call.
    known: bool,
    /// Ends it; none until its task runs.
    task: Option<AbortHandle>,
}

impl Pool {
    /// Makes one for so many connections.
    pub(crate) fn new(most: usize) -> Self {
        Self(Arc::new(Shared { most, state: Mutex::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }

    /// Tells whether one more could be taken now.
    pub(crate) fn has_room(&self, now: Instant) -> bool {
        let state = self.state();
        state.open.len() < self.0.most || state.idle(now).is_some()
    }

    /// Ends one on which nothing is under way, when there is one.
    pub(crate) fn make_way(&self) {
        let mut state = self.state();
        if let Some(idle) = state.idle(Instant::now()) {
            state.end(idle);
        }
    }

    /// Takes one more; one on which nothing is under way makes way when all are taken. `None` when every one is busy.
    pub(crate) fn take(&self, peer: Option<IpAddr>, now: Instant) -> Option<PooledConnection> {
        let mut state = self.state();
        if state.open.len() >= self.0.most {
            let idle = state.idle(now)?;
            state.end(idle);
        }
        let id = state.next;
        state.next += 1;
        state.open.insert(id, Entry { peer, idle: Some(now), known: false, task: None });
        Some(PooledConnection { pool: self.clone(), id })
    }
}

impl State {
    fn end(&mut self, id: u64) {
        // The entry goes at once, because an abort takes effect later and the place is needed now. No number is used
        // twice, so the drop of the aborted connection removes no other entry.
        if let Some(task) = self.open.remove(&id).and_then(|entry| entry.task) {
            task.abort();
        }
    }

    /// Finds the connection that is missed least: one whose caller is not known before one whose caller is, and of
    /// these the one that has been idle for longest. One that was just opened has a moment to say what it wants.
    fn idle(&self, now: Instant) -> Option<u64> {
        let idle = self.open.iter().filter_map(|(id, entry)| Some((entry.known, entry.idle?, *id)));
        let rested = |since: Instant| now.saturating_duration_since(since) >= IDLE_HEAD_START;
        idle.filter(|(_, since, _)| rested(*since)).min().map(|(_, _, id)| id)
    }
}

/// Time for which a connection without a request is safe from making way for another one.
const IDLE_HEAD_START: Duration = limits::STOP_HEAD_START;

/// One connection's place in the pool, until it is dropped.
#[derive(Debug)]
pub(crate) struct PooledConnection {
    pool: Pool,
    id: u64,
}

impl PooledConnection {
    /// Returns what its task must keep: with that the place is released.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// A request begins: the connection is busy until what is returned and all clones of it are dropped.
    pub(crate) fn begin(&self) -> Visit {
        let mut state = self.pool.state();
        let entry = state.open.get_mut(&self.id);
        let peer = entry.and_then(|entry| {
            entry.idle = None;
            entry.peer
        });
        drop(state);
        let charged = Mutex::new(Vec::new());
        Visit(Arc::new(Under { pool: self.pool.clone(), id: self.id, peer, charged }))
    }
}

impl Pool {
    /// Notes how a connection is ended that makes way.
    pub(crate) fn runs(&self, id: u64, task: AbortHandle) {
        // A task that has ended already has removed its entry. One that was inserted anew here would be a place that is
        // never released.
        if let Some(entry) = self.state().open.get_mut(&id) {
            entry.task = Some(task);
        }
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        self.pool.state().open.remove(&self.id);
    }
}

/// A request under way, its answer included.
#[derive(Debug, Clone)]
pub(crate) struct Visit(Arc<Under>);

#[derive(Debug)]
struct Under {
    pool: Pool,
    id: u64,
    peer: Option<IpAddr>,
    charged: Mutex<Vec<Holder>>,
}

impl Visit {
    /// Returns where it comes from.
    pub(crate) fn peer(&self) -> Option<IpAddr> {
        self.0.peer
    }

    /// Notes that its caller may call, and counts it against the caller's share; false when that is used up.
    pub(crate) fn charge(&self, holder: Holder) -> bool {
        let most = self.0.pool.0.most;
        let share = |holder: &Holder| match holder {
            Holder::Agent(_) => limits::AGENT_REQUESTS.min(most / 8).max(1),
            Holder::Agents => (most / 2).max(1),
            Holder::Operator | Holder::Node(_) | Holder::Address(_) => (most - most / 4).max(1),
        };
        let mut wanted = vec![holder];
        if matches!(wanted[0], Holder::Agent(_)) {
            wanted.push(Holder::Agents);
        }
        let mut state = self.0.pool.state();
        // Also for a caller that is refused below: it may call, so its connection makes way later than that of a
        // stranger.
        if let Some(entry) = state.open.get_mut(&self.0.id) {
            entry.known = true;
        }
        let has = |state: &State, holder: &Holder| state.held.get(holder).copied().unwrap_or(0);
        // All shares are looked at before one of them is counted, so that a refusal leaves no count behind.
        if wanted.iter().any(|holder| has(&state, holder) >= share(holder)) {
            return false;
        }
        for holder in &wanted {
            *state.held.entry(holder.clone()).or_default() += 1;
        }
        drop(state);
        self.0.charged.lock().extend(wanted);
        true
    }
}

impl Drop for Under {
    fn drop(&mut self) {
        let charged = std::mem::take(&mut *self.charged.lock());
        let mut state = self.pool.state();
        if let Some(entry) = state.open.get_mut(&self.id) {
            entry.idle = Some(Instant::now());
        }
        for holder in charged {
            if let Some(count) = state.held.get_mut(&holder) {
                *count -= 1;
                if *count == 0 {
                    state.held.remove(&holder);
                }
            }
        }
    }
}

/// A body that keeps a request under way until it is sent or dropped.
pub(crate) struct HeldBody {
    body: Body,
    _visit: Visit,
}

impl HeldBody {
    pub(crate) fn new(body: Body, visit: Visit) -> Self {
        Self { body, _visit: visit }
    }
}

impl HttpBody for HeldBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        HttpBody::size_hint(&self.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_get_what_the_server_itself_does_not_need() {
        let of = |descriptors, slots| {
            let limits = ConnectionLimits::of(descriptors, slots);
            (limits.open, limits.reserved, limits.control)
        };
        assert_eq!(of(65_536, 4), (900, 32, 16));
        let (open, reserved, control) = of(1024, 30);
        assert!(open + reserved + control + 30 * 8 < 1024 - 90 && open > 400, "{open}");
        let (open, reserved, control) = of(64, 4);
        assert!(open >= 8 && open + reserved + control <= 16, "{open} {reserved} {control}");
    }

    #[test]
    fn idle_ones_make_way_strangers_first_and_busy_ones_do_not() {
        let (pool, now) = (Pool::new(2), Instant::now());
        let (one, other) = (pool.take(None, now).unwrap(), pool.take(None, now).unwrap());
        assert!(!pool.has_room(now) && pool.take(None, now).is_none(), "nobody has had a moment yet");
        let busy = one.begin();
        assert!(busy.charge(Holder::Operator));
        let now = now + IDLE_HEAD_START;
        let third = pool.take(None, now).expect("the idle one makes way");
        assert!(!pool.state().open.contains_key(&other.id()));
        drop((busy, other));
        let now = now + 2 * IDLE_HEAD_START;
        // Both are idle now; the operator's stays.
        let _fourth = pool.take(None, now).unwrap();
        let open = |id: u64| pool.state().open.contains_key(&id);
        assert_eq!((open(one.id()), open(third.id())), (true, false));
    }

    #[test]
    fn every_caller_has_a_share_and_gives_it_back() {
        let pool = Pool::new(64);
        let connections: Vec<_> = (0..64).map(|_| pool.take(None, Instant::now()).unwrap()).collect();
        let agent = |n: u128| Holder::Agent(AgentId(uuid::Uuid::from_u128(n)));
        let visits: Vec<Visit> = connections.iter().map(PooledConnection::begin).collect();
        let taken = visits.iter().filter(|visit| visit.charge(agent(1))).count();
        assert_eq!(taken, limits::AGENT_REQUESTS);
        let all =
            (2..40).map(|n| visits.iter().filter(|visit| visit.charge(agent(n))).count()).sum::<usize>();
        assert_eq!(all + taken, 32, "agents together");
        assert_eq!(visits.iter().filter(|visit| visit.charge(Holder::Operator)).count(), 48);
        drop(visits);
        assert!(pool.state().held.is_empty());
        assert!(connections[0].begin().charge(agent(1)));
    }
}
