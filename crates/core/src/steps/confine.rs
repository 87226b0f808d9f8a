//! Step 4, confine: the sandbox around the tree, with the agent's private directories.

use super::context::{StepContext, StepState};
use crate::domain::lifecycle::Event;
use crate::domain::outcome::Failure;

pub(super) async fn run(context: &StepContext<'_>, step_state: &mut StepState) -> Result<Event, Failure> {
    context.sandbox(step_state).await?;
    Ok(Event::Confined)
}
