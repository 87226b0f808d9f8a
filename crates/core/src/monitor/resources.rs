//! Resources that the agents of this node use, as callers read them.

use crate::domain::ids::{AgentId, Timestamp};
use crate::domain::stall::Stage;
use crate::monitor::Monitor;
use crate::monitor::vitals::Resources;

impl Monitor {
    /// Returns what is known about the use of resources of an agent that this node drives.
    pub(crate) fn resources(&self, agent: AgentId) -> Resources {
        let nothing = Resources {
            live: false,
            phase: None,
            in_phase: None,
            last_event: None,
            last_output: None,
            stall: Stage::None,
            samples: Vec::new(),
        };
        self.known(agent).map_or(nothing, |vitals| vitals.resources(self.clocks.elapsed()))
    }

    /// Returns when an agent that this node drives gave its last sign of life.
    pub(crate) fn last_event(&self, agent: AgentId) -> Option<Timestamp> {
        let vitals = self.known(agent)?;
        vitals.last_event()
    }
}
