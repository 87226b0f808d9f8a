//! The engine: the dispatcher that fills slots, one driver per agent ([`crate::drive`]), and how all of them stop.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::caretaker;
use crate::drive;
use crate::driver::{Entry, Order};
use crate::fleet;
use crate::limits;
use crate::monitor;
use crate::orchestrator::Orchestrator;
use crate::recovery;
use crate::steps::lease;
use crate::stop::Stop;

/// Runs the dispatcher until told to stop and everything has been released or finished. First adopts what an
/// earlier server left behind; see [`crate::recovery`].
pub async fn run(orchestrator: Arc<Orchestrator>, stop: watch::Receiver<Stop>) {
    orchestrator.clocks.catch_up_with_log(&*orchestrator.ports.store).await;
    let ordered = stop.clone();
    tokio::select! {
        () = dispatch(&orchestrator, stop) => {}
        () = monitor::sampler::run(&orchestrator.monitor) => {}
        () = fleet::heartbeat_loop(&orchestrator.fleet) => {}
        () = fleet::health::watch(&orchestrator.fleet) => {}
    }
    let drained = matches!(*ordered.borrow(), Stop::Drain(_));
    orchestrator.fleet.leave_fleet(drained).await;
}

async fn dispatch(o: &Arc<Orchestrator>, mut stop: watch::Receiver<Stop>) {
    let mut drivers = JoinSet::new();
    // The order of these steps is what makes a start safe: a node takes nothing before its name is its own, nothing
    // before it knows what may not run, and what an earlier server left is supervised again before anything new
    // competes for its slot.
    fleet::joined(&o.fleet, &mut stop).await;
    o.orders.learn(&mut stop).await;
    while *stop.borrow() == Stop::No && !recovery::take_over(o, &mut drivers).await {
        tokio::select! {
            () = o.ports.clock.sleep(limits::STORE_RETRY) => {}
            changed = stop.changed() => if changed.is_err() { break },
        }
    }
    if *stop.borrow() == Stop::No {
        o.monitor.recall_quotas(o.cordoned().is_none()).await;
        // After the adoption, because only then everything that is still alive and has no driver is certain to belong
        // to nobody.
        recovery::stop_strays(o).await;
    }
    o.fleet.look_before_taking().await;
    let mut care = JoinSet::new();
    care.spawn(caretaker::run(Arc::clone(&o.caretaker), Arc::<Orchestrator>::clone(o), stop.clone()));
    care.spawn(caretaker::archive::run(Arc::clone(&o.caretaker), stop.clone()));
    let mut looked = o.elapsed();
    let (mut changes, mut others) = (o.ports.external_queue.changes(), true);
    while *stop.borrow() == Stop::No {
        // A driver that panicked and a node that vanished leave agents that nobody supervises; both are found by
        // looking, since a node that is gone tells nobody.
        if o.elapsed().saturating_sub(looked) >= recovery::period(o) {
            recovery::take_over(o, &mut drivers).await;
            recovery::take_lapsed(o).await;
            o.monitor.recall_quotas(o.cordoned().is_none()).await;
            looked = o.elapsed();
        }
        // Orders are looked for before each round and not only when they are announced: the state directory is
        // written by the command line, too, while this server hangs, and nothing may start that such an order covers.
        if o.orders.look().await {
            if o.take_up_external_changes().await {
                o.wake.notify_one();
            }
            fill_slots(o, &mut drivers, &stop).await;
        }
        let pause = until_next(o).await;
        tokio::select! {
            () = o.wake.notified() => {}
            () = o.ports.clock.sleep(pause) => {}
            changed = changes.changed(), if others => {
                others = changed.is_ok();
                // A change in the store may be an order of another node, so the next look reads the store and does
                // not wait for its period.
                o.orders.stir();
            }
            Some(ended) = drivers.join_next() => note_panic(ended),
            changed = stop.changed() => if changed.is_err() { break },
        }
    }
    // From here on admissions are refused. It is set before the drivers end, so that no caller is told that its task
    // was accepted by a server that will not run it.
    o.shutdown.refuse_new();
    wind_up(o, &mut drivers, &mut stop).await;
    // The caretaker began to end with the order to stop. It is joined last, because a pass may still hold the store.
    care.shutdown().await;
}

/// Ends the drivers as ordered, and joins them.
async fn wind_up(o: &Arc<Orchestrator>, drivers: &mut JoinSet<()>, stop: &mut watch::Receiver<Stop>) {
    let ordered = *stop.borrow_and_update();
    if let Stop::Drain(patience) = ordered {
        let deadline = o.ports.clock.sleep(patience);
        tokio::pin!(deadline);
        let (mut changes, mut others) = (o.ports.external_queue.changes(), true);
        while !drivers.is_empty() {
            // A drain may take hours, and what runs until then is killed like everything else.
            o.orders.look().await;
            tokio::select! {
                Some(ended) = drivers.join_next() => note_panic(ended),
                () = &mut deadline => break,
                () = o.ports.clock.sleep(limits::ORDER_LOOK) => {}
                changed = changes.changed(), if others => {
                    others = changed.is_ok();
                    o.orders.stir();
                }
                changed = stop.changed() => if changed.is_err() || !matches!(*stop.borrow(), Stop::Drain(_)) { break },
            }
        }
    }
    // The order may have become a more urgent one while the drain waited.
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
    // The supervisors kill what they watch when the lease ends. The next server needs the whole term to start and to
    // adopt them.
    o.fleet.final_heartbeat().await;
    o.shutdown.leaving.send_replace(true);
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
    // What did not come to its end is dropped in the middle of a step. That is safe, because every step has to
    // survive a crash at the same place.
    drivers.shutdown().await;
}

/// Orders the drivers to release what they hold.
///
/// A release has a deadline too, and a second order ends it at once: what is left then is adopted by the next
/// server, whose records and directories are as they are after a crash.
async fn give_back(o: &Arc<Orchestrator>, drivers: &mut JoinSet<()>, stop: &mut watch::Receiver<Stop>) {
    if *stop.borrow() == Stop::Now {
        o.shutdown.hurry.send_replace(true);
    }
    for driver in o.live().values() {
        driver.give(Order::Interrupt);
    }
    let mut deadline = o.ports.clock.sleep(o.settings.kill_grace + limits::GIVING_BACK);
    while !drivers.is_empty() {
        tokio::select! {
            Some(ended) = drivers.join_next() => note_panic(ended),
            () = &mut deadline => break,
            _ = stop.wait_for(|order| *order == Stop::Now), if !*o.shutdown.hurry.borrow() => {
                o.shutdown.hurry.send_replace(true);
                deadline = o.ports.clock.sleep(limits::GIVING_BACK_NOW);
            }
        }
    }
    if !drivers.is_empty() {
        tracing::warn!(
            agents = drivers.len(),
            "agents that could not be released in time are left to the next server"
        );
        drivers.shutdown().await;
    }
}

fn note_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(e) = ended {
        tracing::error!(error = %e, "a driver broke; its agent is adopted in a moment");
    }
}

async fn fill_slots(o: &Arc<Orchestrator>, drivers: &mut JoinSet<()>, stop: &watch::Receiver<Stop>) {
    // Everything is asked again for each slot: an order to stop, a full disk or a lost clock may come between two
    // agents.
    while o.running() < o.settings.slots && *stop.borrow() == Stop::No && o.may_take().await {
        if !o.fleet.taking_again().is_zero() || o.fleet.gives_way(|| o.conditions()).await {
            return;
        }
        let taken = lease::take(o).await;
        let agent = taken.as_ref().map(|taken| taken.lease.agent);
        if let Some(taken) = taken {
            drive::start(o, drivers, taken, Entry::Leased);
        }
        // What was taken shows whether another node used the moment that it was given: moments in vain are counted,
        // and their sum is bounded.
        o.fleet.gave_way(agent).await;
        if agent.is_none() {
            return;
        }
    }
    o.fleet.forget_moment_given();
}

/// Returns how long to sleep when nothing happens.
async fn until_next(o: &Orchestrator) -> Duration {
    let pace = o.fleet.taking_again().max(o.fleet.giving_way());
    if !pace.is_zero() {
        return pace.min(limits::DISPATCH_PERIOD);
    }
    match o.ports.store.next_due().await {
        // A time that is due wakes nothing while all slots are taken: a driver that ends wakes the loop itself.
        Ok(Some(due)) if o.running() < o.settings.slots => {
            due.since(o.now()).clamp(Duration::from_millis(1), limits::DISPATCH_PERIOD)
        }
        _ => limits::DISPATCH_PERIOD,
    }
}
