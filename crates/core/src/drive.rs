//! The loop that drives one agent: performs effects and feeds what happened back into the lifecycle.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::domain::agent::{Agent, Ending, State};
use crate::domain::breaker;
use crate::domain::gates::Verdict;
use crate::domain::ids::AgentId;
use crate::domain::journal::LogRecord;
use crate::domain::lifecycle::{self, Effect, Event};
use crate::domain::outcome::Outcome;
use crate::domain::spent::Spent;
use crate::domain::stop::StopCause;
use crate::driver::{AgentHandle, Entry, Order, Taken};
use crate::limits;
use crate::monitor;
use crate::orchestrator::Orchestrator;
use crate::ports::store::{Lease, StoreError};
use crate::steps;
use crate::steps::context::{StepContext, StepState};

/// Registers a driver, so that orders reach it from this moment on, and lets it run.
pub(crate) fn start(o: &Arc<Orchestrator>, drivers: &mut JoinSet<()>, taken: Taken, entry: Entry) {
    let Taken { lease, record, asked } = taken;
    let driver = AgentHandle::of(&record, &lease, o.fleet.holds_until(asked));
    let id = lease.agent;
    // Before the task is spawned: an order that is given between the two must find the driver, and the task may not
    // run for a while.
    o.live().insert(id, Arc::clone(&driver));
    // Another node may have admitted it: an order to stop reaches up to here, too, although the store does not say so.
    o.orders.admitted(driver.seq);
    let o = Arc::clone(o);
    drivers.spawn(async move {
        // Taken off the books by its drop, so that a panic in a step frees the slot and lets the recovery find the
        // agent.
        let registered = Registered { o: &o, id, driver: &driver };
        let mut step_state = StepState::default();
        let ended = Box::pin(drive(&o, &lease, &driver, record.agent, entry, &mut step_state)).await;
        if let Err(e) = ended {
            lost(&o, id, &driver, &e).await;
        }
        drop(registered);
    });
}

/// Ends what runs here of an agent that cannot be driven on: either somebody else runs it now, or nobody can write what
/// it does. Only when it was adopted on this very node its processes are the new holder's, and are left alone.
async fn lost(o: &Orchestrator, id: AgentId, driver: &Arc<AgentHandle>, why: &StoreError) {
    if matches!(why, StoreError::Fenced(_)) {
        // A fenced write says that the lease is somebody else's. When the holder is this very node, its processes
        // have a new driver here, and killing them would end work that goes on.
        let holder = o.ports.store.get(id).await.ok().and_then(|record| record.node);
        if holder.as_ref() == Some(&o.settings.node) {
            return tracing::warn!(agent.id = %id, "agent was adopted on this node; this driver stops");
        }
    }
    tracing::warn!(agent.id = %id, error = %why, "agent cannot be driven on; ending what runs here");
    if let Err(e) = o.stop_jobs(id, Duration::ZERO).await {
        tracing::error!(agent.id = %id, error = %e, "processes of a lost agent could not be stopped");
    }
    if o.is_fleet() && matches!(why, StoreError::Fenced(_)) {
        // Another driver of the same agent may have been registered by now; what it works on must not be moved away
        // under it.
        let is_driven = || o.live().get(&id).is_some_and(|other| !Arc::ptr_eq(other, driver));
        Box::pin(o.keep_moved(id, is_driven)).await;
    }
}

/// Prepares an agent from the queue: what an earlier attempt of it left here while another node had it is kept first,
/// and what only another node has is left behind. Returns the event that comes first.
async fn placed(o: &Orchestrator, agent: &mut Agent, facts: &mut Vec<LogRecord>) -> Event {
    if !o.is_fleet() {
        return Event::Leased;
    }
    // The caretaker may just be keeping the tree of an earlier attempt. A checkout into the same directory meanwhile
    // would mix two attempts.
    o.fleet.kept(agent.id).await;
    if agent.runs > 0
        && o.is_elsewhere(agent.node.as_ref())
        && let Err(why) = Box::pin(o.keep_moved_now(agent.id)).await
    {
        let until = o.now().plus(limits::MOVED_AGENT_RETRY);
        // A failure here is no failure of the attempt: the agent waits, and the work that lies here is tried to be
        // kept again first.
        return Event::PutOff {
            until,
            why: format!("what an earlier attempt left here is kept first: {why}"),
            credential: None,
        };
    }
    let event = Event::Placed { node: o.settings.node.clone() };
    if let Ok(step) = lifecycle::next(agent, event, o.decide_now()) {
        *agent = step.agent;
        facts.extend(step.facts);
    }
    Event::Leased
}

/// Takes what the program has used up into the record before what happened to it is decided, whatever that is.
fn count_spent(o: &Orchestrator, agent: &mut Agent) {
    if !matches!(agent.state, State::Working) {
        return;
    }
    // Taken out: the next run begins at nothing.
    let spent = o.monitor.vitals(agent.id).spent().send_replace(Spent::default());
    if spent.is_nothing() {
        return;
    }
    if let Ok(step) = lifecycle::next(agent, Event::Spent(spent), o.decide_now()) {
        *agent = step.agent;
    }
}

/// Takes the driver off the books however it ends, a panic included.
struct Registered<'a> {
    o: &'a Orchestrator,
    id: AgentId,
    driver: &'a AgentHandle,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        // Held until the vitals are forgotten: a new driver of the same agent that registers in between would lose
        // its own.
        let mut live = self.o.live();
        // The same agent may have a new driver already: it was queued again and a slot took it at once.
        if live.get(&self.id).is_some_and(|driver| std::ptr::eq(Arc::as_ptr(driver), self.driver)) {
            live.remove(&self.id);
            self.o.monitor.forget(self.id);
        }
        drop(live);
        // A half-open breaker waits for the result of one agent. If that agent ends without one, the breaker lets the
        // next one through.
        self.o.monitor.breakers.leaves(self.id, self.o.elapsed());
        self.driver.done.send_replace(true);
        self.o.wake.notify_one();
    }
}

/// Drives one agent until it waits in the queue again, has ended, or is left to the next server.
async fn drive(
    o: &Orchestrator,
    lease: &Lease,
    driver: &AgentHandle,
    mut agent: Agent,
    entry: Entry,
    step_state: &mut StepState,
) -> Result<(), StoreError> {
    let mut drive = Drive::new(o, lease, driver);
    // A supervisor outlives its server and knows only the end of the lease that it was told last, which may be that
    // of the server before.
    if o.is_fleet() || entry == Entry::TakenOver {
        o.fleet.tell_supervisors(agent.id, driver.held_until()).await;
    }
    let mut event = drive.first_event(&mut agent, entry, step_state).await;
    // Only the first decision can find an agent at its end without an unwind of this driver; every later end comes
    // from one.
    let mut fresh = true;
    loop {
        drive.decide(&mut agent, event, step_state).await?;
        let effect = lifecycle::effect(&agent.state);
        if fresh && effect == Effect::Rest && agent.attempt > 0 {
            // It ended at the moment a slot took it, and an earlier attempt may have left a tree.
            o.clean_up(agent.id).await;
        }
        if matches!(effect, Effect::Wait | Effect::Rest) || *drive.leaving.borrow() {
            return Ok(());
        }
        fresh = false;
        let Some(happened) = Box::pin(drive.perform(effect, &mut agent, step_state)).await? else {
            return Ok(());
        };
        // What happened is not decided upon as it came: a kill of the command line and the end of a lease both look
        // like a failure of the program.
        let believed = drive.after_orders(happened).await;
        event = o.fleet.weigh(&agent, believed).await;
    }
}

/// One agent's drive: the channels on which a step is broken off, and the facts that wait for the next decision.
struct Drive<'a> {
    o: &'a Orchestrator,
    lease: &'a Lease,
    driver: &'a AgentHandle,
    /// Orders to end the agent.
    orders: watch::Receiver<Option<Order>>,
    /// The server lets go of its agents.
    leaving: watch::Receiver<bool>,
    /// The lease was lost.
    lost: watch::Receiver<bool>,
    facts: Vec<LogRecord>,
}

impl<'a> Drive<'a> {
    fn new(o: &'a Orchestrator, lease: &'a Lease, driver: &'a AgentHandle) -> Self {
        let mut orders = driver.order.subscribe();
        // An order that was given before this line counts as well.
        orders.mark_changed();
        let (leaving, lost) = (o.shutdown.leaving.subscribe(), driver.lost.subscribe());
        Self { o, lease, driver, orders, leaving, lost, facts: Vec::new() }
    }

    /// Returns the event that comes first. The driver is registered: an order that is given after the standing ones were
    /// looked at finds it.
    async fn first_event(&mut self, agent: &mut Agent, entry: Entry, step_state: &mut StepState) -> Event {
        match (self.o.orders.standing_event(agent, self.driver.seq), entry) {
            (Some(standing), _) => standing,
            (None, Entry::Leased) => placed(self.o, agent, &mut self.facts).await,
            (None, Entry::TakenOver) => {
                let context = StepContext { orchestrator: self.o, agent, driver: self.driver };
                tokio::select! {
                    biased;
                    order = next_order(&mut self.orders) => order,
                    event = steps::resume::run(&context, step_state) => event,
                }
            }
        }
    }

    /// Performs an effect under its guards: the agent is not frozen, its lease holds, no order stands against it, and what
    /// a person should know of it stands in its record. Returns what happened; nothing when the agent is left to the next
    /// server. Errors when the lease was lost.
    async fn perform(
        &mut self,
        effect: Effect,
        agent: &mut Agent,
        step_state: &mut StepState,
    ) -> Result<Option<Event>, StoreError> {
        let (o, driver) = (self.o, self.driver);
        // The step works on a copy: attention that is raised meanwhile is written into the record itself, and the
        // decision that follows starts from that.
        let at_hand = agent.clone();
        let context = StepContext { orchestrator: o, agent: &at_hand, driver };
        let work = steps::freeze::held(driver, effect, steps::perform(effect, context, step_state));
        if effect == Effect::Unwind {
            // A release is never broken off; an order that came meanwhile finds the agent queued or ended.
            let done = work.await;
            let order = take(&mut self.orders).filter(|order| matches!(order, Event::Kill { .. }));
            return Ok(Some(order.filter(|_| is_requeue(agent)).unwrap_or(done)));
        }
        // Asked before the step begins and not only by the guard below: a step that starts on a lease that is over
        // could already have pushed.
        if let Some(instead) = self.regain().await? {
            return Ok(Some(instead));
        }
        tokio::select! {
            // In this order, because several of them can be ready at once: an order of a person outranks a lost
            // lease, and both outrank what the step came to.
            biased;
            order = next_order(&mut self.orders) => Ok(Some(order)),
            // Errors never while the driver is borrowed.
            _ = self.lost.wait_for(|lost| *lost) => Err(StoreError::Fenced(agent.id)),
            () = driver.lapsed(&o.clocks) => Ok(Some(Event::Interrupted)),
            // The program goes on without us.
            _ = self.leaving.wait_for(|leaving| *leaving), if effect == Effect::Supervise => Ok(None),
            event = monitor::attention::attended(&o.monitor, self.lease, agent, work) => event.map(Some),
        }
    }

    /// Decides about an event and makes the decision durable. An event that came too late changes nothing.
    async fn decide(
        &mut self,
        agent: &mut Agent,
        event: Event,
        step_state: &mut StepState,
    ) -> Result<(), StoreError> {
        let (o, driver, facts) = (self.o, self.driver, &mut self.facts);
        // Read from the record as it was before the decision: the state afterwards does not tell in which step the
        // failure was.
        let sign = breaker::sign(agent, &event, o.default_runtime());
        count_spent(o, agent);
        if let Some((cause, receipt)) = driver.take_stop() {
            // The supervisor does not know who told it to stop: while this server hung it was the command line, whose
            // order is the event by now.
            let ordered = cause == StopCause::Supervisor && matches!(event, Event::Kill { .. });
            let cause = if ordered { StopCause::Order } else { cause };
            facts.extend(lifecycle::note_stop(agent, cause, receipt, o.now()));
        }
        let mut step = match lifecycle::next(agent, event, o.decide_now()) {
            Ok(step) => step,
            Err(illegal) => {
                tracing::debug!(agent.id = %agent.id, %illegal, "event ignored");
                return Ok(());
            }
        };
        facts.append(&mut step.facts);
        step.facts = std::mem::take(facts);
        // A new state counts only once it is durable. When the write fails, the agent goes on from the last decision that
        // is.
        steps::persist_decision(o, self.lease, driver, &step, step_state).await?;
        *agent = step.agent;
        o.monitor.note_quota(agent);
        o.monitor.vitals(agent.id).enters(agent.phase(), o.elapsed());
        if let Some((part, sign)) = sign {
            o.fleet.note_sign(&part, &sign);
            o.monitor.took_sign(agent.id, &part, sign).await;
        }
        Ok(())
    }

    /// Looks for orders before a failure is believed: what ended the program may have been the command line's kill, while
    /// this server hung, and its order waits in the state directory.
    ///
    /// A failure after the end of the lease comes from the supervisor, which ended the program.
    async fn after_orders(&mut self, event: Event) -> Event {
        let (o, driver) = (self.o, self.driver);
        let failed = match &event {
            Event::TurnEnded { outcome, .. } => matches!(outcome, Outcome::Failed(_)),
            Event::Judged { report, .. } => driver.has_lapsed(&o.clocks) && report.verdict != Verdict::Passed,
            event => matches!(event, Event::Failed(_)),
        };
        if !failed {
            return event;
        }
        // A whole look of its own, not the result of one that is under way: that one may have read the files before
        // the order was written.
        o.orders.catch_up().await;
        let kill = take(&mut self.orders).filter(|order| matches!(order, Event::Kill { .. }));
        kill.unwrap_or(if driver.has_lapsed(&o.clocks) { Event::Interrupted } else { event })
    }

    /// Nothing is begun on a lease that is over by this node's clock: the next heartbeat is waited for, and what cannot wait
    /// longer goes back to the queue. Returns what happens instead of the step, when something does.
    async fn regain(&mut self) -> Result<Option<Event>, StoreError> {
        let (o, driver) = (self.o, self.driver);
        if !driver.has_lapsed(&o.clocks) {
            return Ok(None);
        }
        // A heartbeat may renew the lease at any moment, which is far cheaper than to unwind and to start the attempt
        // again elsewhere.
        let held = tokio::select! {
            biased;
            order = next_order(&mut self.orders) => return Ok(Some(order)),
            held = driver.holds_for(&o.clocks, limits::LOOK_AGAIN) => held,
        };
        match (held, &driver.lease) {
            (true, _) => Ok(None),
            (false, Some(lease)) if *driver.lost.borrow() => Err(StoreError::Fenced(lease.agent)),
            (false, _) => Ok(Some(Event::Interrupted)),
        }
    }
}

/// A kill that arrives while an agent is being returned to the queue ends it instead; the release is repeated,
/// which is idempotent.
fn is_requeue(agent: &Agent) -> bool {
    matches!(&agent.state, State::Unwinding { ending: Ending::Requeue { .. } })
}

fn take(orders: &mut watch::Receiver<Option<Order>>) -> Option<Event> {
    orders.borrow_and_update().clone().map(|order| match order {
        Order::Kill(cause, note) => Event::Kill { cause, note },
        Order::Interrupt => Event::Interrupted,
    })
}

async fn next_order(orders: &mut watch::Receiver<Option<Order>>) -> Event {
    loop {
        if orders.changed().await.is_err() {
            // The sender lives as long as the driver, so this is its end.
            std::future::pending::<()>().await;
        }
        if let Some(event) = take(orders) {
            return event;
        }
    }
}
