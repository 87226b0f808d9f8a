//! The newest answer of the machine to whether it has capacity for one more agent.

use std::time::Duration;

use parking_lot::Mutex;

use crate::domain::room::Reading;

/// What the machine said last.
#[derive(Default)]
pub(crate) struct Room(pub(super) Mutex<Asked>);

#[derive(Default, Clone)]
pub(super) struct Asked {
    pub(super) at: Option<Duration>,
    pub(super) reading: Reading,
    /// Why the disk takes nothing more.
    pub(super) disk: Option<String>,
    /// What was decided last.
    pub(super) refusal: Option<String>,
}
