//! Signs of success or failure of agents, reported to the breakers, and the turns of breakers, reported to the log.

use std::time::Duration;

use crate::domain::blame::Part;
use crate::domain::breaker::{Sign, Turned};
use crate::domain::facts::{BreakerTurned, Fact};
use crate::domain::ids::AgentId;
use crate::domain::journal::LogRecord;
use crate::monitor::Monitor;

impl Monitor {
    /// Tells the breakers what happened to an agent, and the log when one of them turned.
    pub(crate) async fn took_sign(&self, agent: AgentId, part: &Part, sign: Sign) {
        if *part == Part::Machine {
            return;
        }
        let Some((turned, why)) = self.breakers.sign(agent, part, sign, self.clocks.elapsed()) else {
            return;
        };
        let why = self.scanner.mask(&why);
        let turn = |pause: Option<Duration>| BreakerTurned {
            part: part.clone(),
            node: self.node.clone(),
            pause_seconds: pause.map(|pause| pause.as_secs()),
            error: Some(why.clone()).filter(|why| !why.is_empty()),
        };
        let fact = match turned {
            Turned::Opened(pause) => Fact::BreakerOpened(turn(Some(pause))),
            Turned::Closed => Fact::BreakerClosed(turn(None)),
        };
        tracing::warn!(part = part.message(), why, "{}", fact.kind());
        if let Err(e) = self.store.log(vec![LogRecord::new(&fact, self.clocks.now())]).await {
            tracing::warn!(error = %e, "a breaker's turn could not be logged");
        }
        self.wake.notify_one();
    }
}
