//! The life of an agent as one pure function: [`next`] turns (record, event, now) into (record, effect, facts).
//! The sequence of steps lives only here; a step performs one effect and returns one event.

mod decision;
mod ends;
mod event;
mod judgement;
mod moved;
mod node_fault;
mod quota;
mod run;
mod states;
mod stops;

use thiserror::Error;

use super::agent::{Agent, State};
use super::journal::LogRecord;

use decision::Decision;
pub use decision::Now;
pub use event::{Elsewhere, Event, KillCause, Salvage};
pub(crate) use judgement::learn;
pub(crate) use stops::note_stop;

/// The next action for an agent; one per state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it waits in the queue.
    Wait,
    /// Step 3.
    Checkout,
    /// Step 4.
    Confine,
    /// Step 5.
    Launch,
    /// Step 6.
    Supervise,
    /// Step 7.
    Commit,
    /// Step 8.
    Gate,
    /// Step 9.
    Publish,
    /// Release everything.
    Unwind,
    /// Nothing: it has ended.
    Rest,
}

/// The result of a decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The new record.
    pub agent: Agent,
    /// The next action.
    pub effect: Effect,
    /// Facts to log.
    pub facts: Vec<LogRecord>,
}

/// An event that cannot happen in the state. The record stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{event} cannot happen to an agent that is {state}")]
pub struct Illegal {
    /// The state's name.
    pub state: &'static str,
    /// The event's name.
    pub event: &'static str,
}

/// Returns the state's name, as the transition table prints it.
pub fn state_name(state: &State) -> &'static str {
    match state {
        State::Queued { .. } => "Queued",
        State::Checkout { .. } => "Checkout",
        State::Confining { .. } => "Confining",
        State::Launching { .. } => "Launching",
        State::Working => "Working",
        State::Committing { .. } => "Committing",
        State::Gating { .. } => "Gating",
        State::Publishing { .. } => "Publishing",
        State::Unwinding { .. } => "Unwinding",
        State::Settled { .. } => "Settled",
    }
}

/// Returns what must be done in a state.
pub fn effect(state: &State) -> Effect {
    match state {
        State::Queued { .. } => Effect::Wait,
        State::Checkout { .. } => Effect::Checkout,
        State::Confining { .. } => Effect::Confine,
        State::Launching { .. } => Effect::Launch,
        State::Working => Effect::Supervise,
        State::Committing { .. } => Effect::Commit,
        State::Gating { .. } => Effect::Gate,
        State::Publishing { .. } => Effect::Publish,
        State::Unwinding { .. } => Effect::Unwind,
        State::Settled { .. } => Effect::Rest,
    }
}

/// Decides what follows. Errors when the event cannot happen in the state; then nothing changes.
pub fn next(agent: &Agent, event: Event, now: Now) -> Result<Step, Illegal> {
    let mut decision = Decision { agent: agent.clone(), now, facts: Vec::new() };
    let illegal = Illegal { state: state_name(&agent.state), event: event.name() };
    let state = decision.decide(event).ok_or(illegal)?;
    decision.enter(state, agent);
    let effect = effect(&decision.agent.state);
    Ok(Step { agent: decision.agent, effect, facts: decision.facts })
}
