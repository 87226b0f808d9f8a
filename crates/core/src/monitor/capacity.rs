//! The newest answer of the machine to whether it has capacity for one more agent.

use std::time::Duration;

use parking_lot::Mutex;

use crate::domain::capacity::HostLoad;

/// The machine's newest answer, and the decision that followed from it.
#[derive(Default)]
pub(crate) struct Capacity(pub(crate) Mutex<Asked>);

#[derive(Default, Clone)]
pub(crate) struct Asked {
    pub(crate) at: Option<Duration>,
    pub(crate) host_load: HostLoad,
    /// Why the disk takes nothing more.
    pub(crate) disk: Option<String>,
    /// The newest decision: the reason why nothing new starts, if there is one.
    pub(crate) refusal: Option<String>,
    /// It was logged that the machine or its clock holds dispatch.
    pub(crate) announced: bool,
}
