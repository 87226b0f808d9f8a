//! The life of a task: ten steps, one file each, and the one way out. A step performs one effect and returns one
//! event; the sequence is decided in [`crate::domain::lifecycle`].

pub(crate) mod admit;
pub(crate) mod base_files;
mod briefing;
mod checkout;
mod commit;
mod confine;
pub(crate) mod context;
pub(crate) mod freeze;
mod gate;
mod harvest_job;
pub(crate) mod judged_commit;
mod launch;
pub(crate) mod lease;
pub(crate) mod live;
mod publish;
mod remote_look;
pub(crate) mod resume;
mod secrets;
pub(crate) mod settle;
pub(crate) mod stray;
mod supervise;
mod tend;
pub mod unwind;

pub(crate) use gate::changed_lines;

use crate::domain::lifecycle::{Effect, Event, Step};
use crate::domain::outcome::{Failure, FailureKind, Outcome};
use crate::driver::{AgentHandle, Order};
use crate::orchestrator::Orchestrator;
use crate::ports::store::{Lease, StoreError};
use crate::steps::context::{StepContext, StepState, is_kill};

/// Makes a decision durable. A kill does not wait for the store: whether it is what was decided or arrives while the
/// decision is being written, the agent's processes are stopped meanwhile.
pub(crate) async fn persist_decision(
    o: &Orchestrator,
    lease: &Lease,
    driver: &AgentHandle,
    step: &Step,
    step_state: &mut StepState,
) -> Result<(), StoreError> {
    // Shown before it is written: a kill is answered from this copy while the store is away.
    driver.seen().agent = step.agent.clone();
    let recording = settle::record(o, lease, step);
    tokio::pin!(recording);
    let context = StepContext { orchestrator: o, agent: &step.agent, driver };
    if is_kill(&step.agent.state) {
        let (recorded, ()) = tokio::join!(recording, unwind::begin(&context, step_state));
        step_state.stopped = true;
        return recorded;
    }
    let mut orders = driver.order.subscribe();
    tokio::select! {
        biased;
        recorded = &mut recording => return recorded,
        // Errors never: the driver holds the sender.
        _ = orders.wait_for(|order| matches!(order, Some(Order::Kill(..)))) => {}
    }
    // Nothing of it runs after this decision, so there is nothing to stop. The kill finds the agent queued or ended.
    if matches!(step.effect, Effect::Wait | Effect::Rest) {
        return recording.await;
    }
    let (recorded, ()) = tokio::join!(recording, unwind::begin(&context, step_state));
    recorded
}

/// Performs the effect that the agent's state asks for and returns what happened.
pub(crate) async fn perform(effect: Effect, context: StepContext<'_>, step_state: &mut StepState) -> Event {
    let result = match effect {
        Effect::Checkout => checkout::run(&context, step_state).await,
        Effect::Confine => confine::run(&context, step_state).await,
        Effect::Launch => launch::run(&context, step_state).await,
        Effect::Supervise => supervise::run(&context, step_state).await,
        Effect::Commit => commit::run(&context, step_state).await,
        Effect::Gate => gate::run(&context, step_state).await,
        Effect::Publish => match publish::run(&context, step_state).await {
            Err(_) if context.driver.has_lapsed(&context.orchestrator.clocks) => Ok(Event::Interrupted),
            pushed => pushed,
        },
        Effect::Unwind => return unwind::run(&context, step_state).await,
        Effect::Wait | Effect::Rest => unreachable!("a driver ends with its agent's last effect"),
    };
    // Words of a failure may quote what an agent or a repository said.
    let event = result
        .unwrap_or_else(|f| Event::Failed(f.reworded(|text| context.orchestrator.ports.scanner.mask(&text))));
    match event {
        Event::Failed(f) => Event::Failed(or_full_disk(&context, f).await),
        Event::TurnEnded { outcome: Outcome::Failed(f), session, warnings, left } => {
            let outcome = Outcome::Failed(or_full_disk(&context, f).await);
            Event::TurnEnded { outcome, session, warnings, left }
        }
        event => event,
    }
}

/// A program that fails while the disk is full fails for that reason, whatever it says; trying again would not help.
async fn or_full_disk(context: &StepContext<'_>, failure: Failure) -> Failure {
    if !failure.kind.is_retryable() {
        return failure;
    }
    // What the host does not say is no reason.
    let free = context.orchestrator.ports.host.free_bytes().await;
    match context.orchestrator.monitor.disk_capacity().await {
        Err(why) if free.is_ok() => {
            Failure::new(FailureKind::Disk, format!("{why}; what failed: {}", failure.message))
        }
        _ => failure,
    }
}
