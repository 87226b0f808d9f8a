//! The newest answer of the machine to whether it has capacity for one more agent.

use std::time::Duration;

use crate::domain::capacity::HostLoad;

/// The machine's newest answer.
#[derive(Default, Clone)]
pub(super) struct MachineAnswer {
    pub(super) at: Option<Duration>,
    pub(super) host_load: HostLoad,
    /// Why the disk takes nothing more.
    pub(super) disk: Option<String>,
    /// The newest decision: the reason why nothing new starts, if there is one.
    pub(super) refusal: Option<String>,
    /// It was logged that something holds dispatch.
    pub(super) announced: bool,
}
