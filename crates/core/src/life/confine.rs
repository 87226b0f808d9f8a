//! Step 4, confine: the sandbox around the tree, with the agent's private directories.

use super::{Hands, Scene};
use crate::domain::lifecycle::Event;
use crate::domain::outcome::Failure;

pub(super) async fn run(scene: &Scene<'_>, hands: &mut Hands) -> Result<Event, Failure> {
    scene.confinement(hands).await?;
    Ok(Event::Confined)
}
