//! Signs of success or failure of agents, reported to the breakers, and the turns of breakers, reported to the log.

use serde_json::json;

use crate::domain::blame::Part;
use crate::domain::breaker::{Sign, Turned};
use crate::domain::ids::AgentId;
use crate::domain::journal::Fact;
use crate::orchestrator::Orchestrator;

impl Orchestrator {
    /// Tells the breakers what happened to an agent, and the log when one of them turned.
    pub(crate) async fn took_sign(&self, agent: AgentId, part: &Part, sign: Sign) {
        if *part == Part::Machine {
            return;
        }
        let Some((turned, why)) = self.monitor.breakers.sign(agent, part, sign, self.elapsed()) else {
            return;
        };
        let (kind, pause) = match turned {
            Turned::Opened(pause) => ("breaker.opened", Some(pause.as_secs())),
            Turned::Closed => ("breaker.closed", None),
        };
        let why = self.ports.scanner.mask(&why);
        tracing::warn!(part = part.words(), why, "{kind}");
        let mut data = json!(part);
        data["node"] = json!(self.settings.node);
        data["pauseSeconds"] = json!(pause);
        data["error"] = json!(Some(why).filter(|why| !why.is_empty()));
        let fact = Fact { kind: kind.to_owned(), agent: None, task: None, at: self.now(), data };
        if let Err(e) = self.ports.store.log(vec![fact]).await {
            tracing::warn!(error = %e, "a breaker's turn could not be logged");
        }
        self.wake.notify_one();
    }
}
