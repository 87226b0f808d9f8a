//! The engine: the dispatcher that fills slots, and one driver per agent that performs effects and feeds what
//! happened back into the lifecycle.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::caretaker;
use crate::domain::agent::{Agent, Spent, State};
use crate::domain::breaker;
use crate::domain::gates::Verdict;
use crate::domain::ids::AgentId;
use crate::domain::journal::Fact;
use crate::domain::lifecycle::{self, Effect, Event};
use crate::domain::outcome::Outcome;
use crate::fleet;
use crate::freeze;
use crate::kill::{Driver, Order};
use crate::life::{self, Hands, Scene, lease};
use crate::limits;
use crate::monitor;
use crate::orchestrator::Orchestrator;
use crate::ports::store::{Lease, StoreError, Versioned};
use crate::recovery;

/// How a running engine is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Not at all.
    No,
    /// Take nothing new and leave the agents to the next server: their programs run on under their supervisors, other
    /// steps get this long to come to their end.
    Leave(Duration),
    /// Take nothing new; wait this long for what runs, then give it back to the queue.
    Drain(Duration),
    /// Give everything back to the queue at once.
    Now,
}

/// How a driver comes to its agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// From the queue.
    Leased,
    /// From a server that is gone.
    TakenOver,
}

/// Runs the dispatcher until told to stop and everything has been given back or finished. First takes over what an
/// earlier server left behind; see [`crate::recovery`].
pub async fn run(orchestrator: Arc<Orchestrator>, stop: watch::Receiver<Stop>) {
    orchestrator.catch_up_with_log().await;
    let ordered = stop.clone();
    tokio::select! {
        () = dispatch(&orchestrator, stop) => {}
        () = monitor::run(&orchestrator) => {}
        () = fleet::beats(&orchestrator) => {}
        () = fleet::watch(&orchestrator) => {}
    }
    let drained = matches!(*ordered.borrow(), Stop::Drain(_));
    orchestrator.leave_fleet(drained).await;
}

async fn dispatch(o: &Arc<Orchestrator>, mut stop: watch::Receiver<Stop>) {
    let mut drivers = JoinSet::new();
    fleet::joined(o, &mut stop).await;
    o.learn_orders(&mut stop).await;
    while *stop.borrow() == Stop::No && !recovery::take_over(o, &mut drivers).await {
        tokio::select! {
            () = o.ports.clock.sleep(limits::STORE_RETRY) => {}
            changed = stop.changed() => if changed.is_err() { break },
        }
    }
    if *stop.borrow() == Stop::No {
        o.recall_quotas().await;
        recovery::stop_strays(o).await;
    }
    o.look_before_taking().await;
    let mut care = JoinSet::new();
    care.spawn(caretaker::run(Arc::clone(o), stop.clone()));
    care.spawn(caretaker::archive::run(Arc::clone(o), stop.clone()));
    let mut looked = o.elapsed();
    let (mut stirred, mut others) = (o.ports.store.stirred(), true);
    while *stop.borrow() == Stop::No {
        if o.elapsed().saturating_sub(looked) >= recovery::period(o) {
            recovery::take_over(o, &mut drivers).await;
            recovery::take_lapsed(o).await;
            o.recall_quotas().await;
            looked = o.elapsed();
        }
        if o.look_at_orders().await {
            if o.take_up_interventions().await {
                o.wake.notify_one();
            }
            fill_slots(o, &mut drivers, &stop).await;
        }
        let pause = until_next(o).await;
        tokio::select! {
            () = o.wake.notified() => {}
            () = o.ports.clock.sleep(pause) => {}
            changed = stirred.changed(), if others => {
                others = changed.is_ok();
                o.orders.stir();
            }
            Some(ended) = drivers.join_next() => note_panic(ended),
            changed = stop.changed() => if changed.is_err() { break },
        }
    }
    o.draining.store(true, Ordering::SeqCst);
    wind_up(o, &mut drivers, &mut stop).await;
    care.shutdown().await;
}

/// Ends the drivers as ordered, and joins them.
async fn wind_up(o: &Arc<Orchestrator>, drivers: &mut JoinSet<()>, stop: &mut watch::Receiver<Stop>) {
    let ordered = *stop.borrow_and_update();
    if let Stop::Drain(patience) = ordered {
        let deadline = o.ports.clock.sleep(patience);
        tokio::pin!(deadline);
        let (mut stirred, mut others) = (o.ports.store.stirred(), true);
        while !drivers.is_empty() {
            // A drain may take hours, and what runs until then is killed like everything else.
            o.look_at_orders().await;
            tokio::select! {
                Some(ended) = drivers.join_next() => note_panic(ended),
                () = &mut deadline => break,
                () = o.ports.clock.sleep(limits::ORDER_LOOK) => {}
                changed = stirred.changed(), if others => {
                    others = changed.is_ok();
                    o.orders.stir();
                }
                changed = stop.changed() => if changed.is_err() || !matches!(*stop.borrow(), Stop::Drain(_)) { break },
            }
        }
    }
    let ordered = *stop.borrow_and_update();
    match ordered {
        Stop::Leave(patience) => leave(o, drivers, stop, patience).await,
        Stop::No | Stop::Drain(_) | Stop::Now => give_back(o, drivers, stop).await,
    }
}

/// Lets go of the agents. What is in the middle of a step after this time is as it is after a crash.
async fn leave(
    o: &Arc<Orchestrator>,
    drivers: &mut JoinSet<()>,
    stop: &mut watch::Receiver<Stop>,
    patience: Duration,
) {
    o.beat_once_more().await;
    o.leaving.send_replace(true);
    let mut deadline = o.ports.clock.sleep(patience);
    while !drivers.is_empty() {
        tokio::select! {
            Some(ended) = drivers.join_next() => note_panic(ended),
            () = &mut deadline => break,
            Ok(()) = stop.changed() => match *stop.borrow_and_update() {
                Stop::Leave(patience) => deadline = o.ports.clock.sleep(patience),
                Stop::No | Stop::Drain(_) | Stop::Now => {}
            },
        }
    }
    drivers.shutdown().await;
}

/// Orders the drivers to give back what they hold.
///
/// Giving back has a deadline too, and a second order ends it at once: what is left then is taken over by the next
/// server, whose records and directories are as they are after a crash.
async fn give_back(o: &Arc<Orchestrator>, drivers: &mut JoinSet<()>, stop: &mut watch::Receiver<Stop>) {
    if *stop.borrow() == Stop::Now {
        o.hurry.send_replace(true);
    }
    for driver in o.live().values() {
        driver.give(Order::Interrupt);
    }
    let mut deadline = o.ports.clock.sleep(o.settings.kill_grace + limits::GIVING_BACK);
    while !drivers.is_empty() {
        tokio::select! {
            Some(ended) = drivers.join_next() => note_panic(ended),
            () = &mut deadline => break,
            _ = stop.wait_for(|order| *order == Stop::Now), if !*o.hurry.borrow() => {
                o.hurry.send_replace(true);
                deadline = o.ports.clock.sleep(limits::GIVING_BACK_NOW);
            }
        }
    }
    if !drivers.is_empty() {
        tracing::warn!(
            agents = drivers.len(),
            "agents that could not be given back in time are left to the next server"
        );
        drivers.shutdown().await;
    }
}

fn note_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(e) = ended {
        tracing::error!(error = %e, "a driver broke; its agent is taken over in a moment");
    }
}

async fn fill_slots(o: &Arc<Orchestrator>, drivers: &mut JoinSet<()>, stop: &watch::Receiver<Stop>) {
    let may = || o.orders.may_dispatch() && o.cordoned().is_none();
    while o.running() < o.settings.slots && *stop.borrow() == Stop::No && may() {
        if !o.taking_again().is_zero() || o.gives_way().await {
            return;
        }
        let taken = lease::take(o).await;
        let agent = taken.as_ref().map(|taken| taken.lease.agent);
        if let Some(taken) = taken {
            start(o, drivers, taken, Entry::Leased);
        }
        o.gave_way(agent).await;
        if agent.is_none() {
            return;
        }
    }
}

/// Returns how long to sleep when nothing happens.
async fn until_next(o: &Orchestrator) -> Duration {
    let pace = o.taking_again().max(o.giving_way());
    if !pace.is_zero() {
        return pace.min(limits::DISPATCH_PERIOD);
    }
    match o.ports.store.next_due().await {
        Ok(Some(due)) if o.running() < o.settings.slots => {
            due.since(o.now()).clamp(Duration::from_millis(1), limits::DISPATCH_PERIOD)
        }
        _ => limits::DISPATCH_PERIOD,
    }
}

/// Registers a driver, so that orders reach it from this moment on, and lets it run.
pub(crate) fn start(o: &Arc<Orchestrator>, drivers: &mut JoinSet<()>, taken: Taken, entry: Entry) {
    let Taken { lease, record, asked } = taken;
    let driver = Driver::of(&record, &lease, o.holds_until(asked));
    let id = lease.agent;
    o.live().insert(id, Arc::clone(&driver));
    // Another node may have admitted it: an order to stop reaches up to here, too, although the store does not say so.
    o.orders.admitted(driver.seq);
    let o = Arc::clone(o);
    drivers.spawn(async move {
        let registered = Registered { o: &o, id, driver: &driver };
        let mut hands = Hands::default();
        let ended = Box::pin(drive(&o, &lease, &driver, record.agent, entry, &mut hands)).await;
        if let Err(e) = ended {
            lost(&o, id, &driver, &e).await;
        }
        drop(registered);
    });
}

/// Ends what runs here of an agent that cannot be driven on: either somebody else runs it now, or nobody can write what
/// it does. Only when it was taken over on this very node its processes are the new holder's, and are left alone.
async fn lost(o: &Orchestrator, id: AgentId, driver: &Arc<Driver>, why: &StoreError) {
    if matches!(why, StoreError::Fenced(_)) {
        let holder = o.ports.store.get(id).await.ok().and_then(|record| record.node);
        if holder.as_ref() == Some(&o.settings.node) {
            return tracing::warn!(agent.id = %id, "agent was taken over on this node; what it does here is over");
        }
    }
    tracing::warn!(agent.id = %id, error = %why, "agent cannot be driven on; ending what runs here");
    if let Err(e) = o.ports.processes.stop(id, Duration::ZERO).await {
        tracing::error!(agent.id = %id, error = %e, "processes of a lost agent could not be stopped");
    }
    if o.is_fleet() && matches!(why, StoreError::Fenced(_)) {
        let is_driven = || o.live().get(&id).is_some_and(|other| !Arc::ptr_eq(other, driver));
        Box::pin(caretaker::former::keep(o, id, is_driven)).await;
    }
}

/// What a slot is to be filled with.
pub(crate) struct Taken {
    /// The right to drive it.
    pub(crate) lease: Lease,
    /// The record as it was taken.
    pub(crate) record: Versioned,
    /// When the store was asked, by this node's clock: the lease began later.
    pub(crate) asked: Duration,
}

/// Prepares an agent from the queue: what an earlier attempt of it left here while another node had it is kept first,
/// and what only another node has is left behind. Returns the event that comes first.
async fn placed(o: &Orchestrator, agent: &mut Agent, facts: &mut Vec<Fact>) -> Event {
    if !o.is_fleet() {
        return Event::Leased;
    }
    o.fleet.kept(agent.id).await;
    if agent.runs > 0
        && o.is_elsewhere(agent.node.as_ref())
        && let Err(why) = Box::pin(caretaker::former::keep_now(o, agent.id)).await
    {
        let until = o.now().plus(limits::FORMER_RETRY);
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
    driver: &'a Driver,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        let mut live = self.o.live();
        // The same agent may have a new driver already: it was queued again and a slot took it at once.
        if live.get(&self.id).is_some_and(|driver| std::ptr::eq(Arc::as_ptr(driver), self.driver)) {
            live.remove(&self.id);
            self.o.monitor.forget(self.id);
        }
        drop(live);
        self.o.monitor.leaves(self.id, self.o.elapsed());
        self.driver.done.send_replace(true);
        self.o.wake.notify_one();
    }
}

/// Drives one agent until it waits in the queue again, has ended, or is left to the next server.
async fn drive(
    o: &Orchestrator,
    lease: &Lease,
    driver: &Driver,
    agent: Agent,
    entry: Entry,
    hands: &mut Hands,
) -> Result<(), StoreError> {
    let mut orders = driver.order.subscribe();
    // An order that was given before this line counts as well.
    orders.mark_changed();
    let mut leaving = o.leaving.subscribe();
    let mut agent = agent;
    let mut fresh = true;
    let mut facts = Vec::new();
    let mut lost = driver.lost.subscribe();
    if o.is_fleet() || entry == Entry::TakenOver {
        o.tell_supervisors(agent.id, driver.held_until()).await;
    }
    // The driver is registered: an order that is given after this question finds it.
    let mut event = match (o.standing_event(&agent, driver.seq), entry) {
        (Some(standing), _) => standing,
        (None, Entry::Leased) => placed(o, &mut agent, &mut facts).await,
        (None, Entry::TakenOver) => {
            let scene = Scene { o, agent: &agent, driver };
            tokio::select! {
                biased;
                order = next_order(&mut orders) => order,
                event = life::resume::run(&scene, hands) => event,
            }
        }
    };
    loop {
        let sign = breaker::sign(&agent, &event, o.default_runtime());
        count_spent(o, &mut agent);
        match lifecycle::next(&agent, event, o.decide_now()) {
            Ok(mut step) => {
                facts.append(&mut step.facts);
                step.facts = std::mem::take(&mut facts);
                life::enact(o, lease, driver, &step, hands).await?;
                agent = step.agent;
                o.note_quota(&agent);
                o.monitor.vitals(agent.id).enters(agent.phase(), o.elapsed());
                if let Some((part, sign)) = sign {
                    o.note_sign(&part, &sign);
                    o.took_sign(agent.id, &part, sign).await;
                }
            }
            // An order that came too late: what was decided before goes on.
            Err(illegal) => tracing::debug!(agent.id = %agent.id, %illegal, "event ignored"),
        }
        let effect = lifecycle::effect(&agent.state);
        if fresh && effect == Effect::Rest && agent.attempt > 0 {
            // It ended at the moment a slot took it, and an earlier attempt may have left a tree.
            o.clean_up(agent.id).await;
        }
        if matches!(effect, Effect::Wait | Effect::Rest) || *leaving.borrow() {
            return Ok(());
        }
        fresh = false;
        let at_hand = agent.clone();
        let scene = Scene { o, agent: &at_hand, driver };
        let work = freeze::held(driver, effect, life::perform(effect, scene, hands));
        let instead = match effect {
            Effect::Unwind => None,
            _ => regain(o, driver, &mut orders).await?,
        };
        event = if let Some(instead) = instead {
            drop(work);
            instead
        } else if effect == Effect::Unwind {
            // Giving back is never broken off; an order that came meanwhile finds the agent queued or ended.
            let done = work.await;
            match take(&mut orders) {
                Some(order @ Event::Kill { .. }) if is_requeue(&agent) => order,
                _ => done,
            }
        } else {
            tokio::select! {
                biased;
                order = next_order(&mut orders) => order,
                // Errors never while the driver is borrowed.
                _ = lost.wait_for(|lost| *lost) => return Err(StoreError::Fenced(agent.id)),
                () = driver.lapsed(o) => Event::Interrupted,
                // The program goes on without us.
                _ = leaving.wait_for(|leaving| *leaving), if effect == Effect::Supervise => return Ok(()),
                event = monitor::attended(o, lease, &mut agent, work) => event?,
            }
        };
        event = after_orders(o, driver, &mut orders, event).await;
        event = o.weigh(&agent, event).await;
    }
}

/// Looks for orders before a failure is believed: what ended the program may have been the command line's kill, while
/// this server hung, and its order waits in the state directory.
///
/// What fails after the lease was over fails because its supervisor ended it.
async fn after_orders(
    o: &Orchestrator,
    driver: &Driver,
    orders: &mut watch::Receiver<Option<Order>>,
    event: Event,
) -> Event {
    let failed = match &event {
        Event::TurnEnded { outcome, .. } => matches!(outcome, Outcome::Failed(_)),
        Event::Judged { report, .. } => driver.has_lapsed(o) && report.verdict != Verdict::Passed,
        event => matches!(event, Event::Failed(_)),
    };
    if !failed {
        return event;
    }
    o.catch_up_with_orders().await;
    let kill = take(orders).filter(|order| matches!(order, Event::Kill { .. }));
    kill.unwrap_or(if driver.has_lapsed(o) { Event::Interrupted } else { event })
}

/// Nothing is begun on a lease that is over by this node's clock: the next heartbeat is waited for, and what cannot wait
/// longer goes back to the queue. Returns what happens instead of the step, when something does.
async fn regain(
    o: &Orchestrator,
    driver: &Driver,
    orders: &mut watch::Receiver<Option<Order>>,
) -> Result<Option<Event>, StoreError> {
    if !driver.has_lapsed(o) {
        return Ok(None);
    }
    let held = tokio::select! {
        biased;
        order = next_order(orders) => return Ok(Some(order)),
        held = driver.holds_for(o, limits::LOOK_AGAIN) => held,
    };
    match (held, &driver.lease) {
        (true, _) => Ok(None),
        (false, Some(lease)) if *driver.lost.borrow() => Err(StoreError::Fenced(lease.agent)),
        (false, _) => Ok(Some(Event::Interrupted)),
    }
}

/// A kill that arrives while an agent is being given back to the queue ends it instead; giving back is repeated,
/// which is idempotent.
fn is_requeue(agent: &Agent) -> bool {
    use crate::domain::agent::{Ending, State};
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
