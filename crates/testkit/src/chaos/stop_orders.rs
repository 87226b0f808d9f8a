//! Orders to stop in the fleet's storm: each is given while the store is away or on a node that is cut off, and judged once
//! everything is well again. What it covers may live on until then where nobody could tell it, and for a grace and a
//! margin afterwards; a moment later nothing of it may be alive.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mosaic_api::{AgentView, Page};
use serde_json::json;

use super::Outcome;
use super::api::Api;
use super::dice::Dice;
use super::testbed::Testbed;

/// The grace of the servers here, and the margin for orders to reach every node of a busy machine.
pub(super) const GRACE: Duration = Duration::from_millis(100);
/// See [`GRACE`].
pub(super) const MARGIN: Duration = Duration::from_secs(10);

/// Kinds of orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    One,
    All,
    Switch,
}

/// An order that was given and is not judged yet.
pub(super) struct StopOrder {
    kind: Kind,
    node: String,
    /// The agents that it covers; everybody when there are none.
    agents: BTreeSet<String>,
    /// When everything was well again.
    well: Option<Instant>,
}

/// Outcome of a look at an order.
pub(super) enum Look {
    /// It is not over yet.
    Wait,
    /// Nothing that it covers is alive.
    Kept,
    /// Something is alive too late.
    Broken(String),
}

impl StopOrder {
    /// Gives an order on a node. `running` are the agents that the node ran a moment ago. Errors with what the node
    /// answered when it did not take the order; nothing when there is nobody to kill.
    pub(super) fn give(api: &Api, node: &str, running: &[String], dice: &mut Dice) -> Outcome<Option<Self>> {
        let kind = match dice.below(3) {
            0 => Kind::One,
            1 => Kind::All,
            _ => Kind::Switch,
        };
        let first = running.first().filter(|_| kind == Kind::One);
        let path = match kind {
            Kind::One => match first {
                Some(agent) => format!("/agents/{agent}/kill"),
                None => return Ok(None),
            },
            Kind::All => "/agents/kill-all".to_owned(),
            Kind::Switch => "/v1/killswitch/engage".to_owned(),
        };
        let answer = api.send("POST", &path, None, Some(&json!({"reason": "storm"})))?;
        if !matches!(answer.status, 200 | 202) {
            return Err(format!("{node} answered {path} with {answer}"));
        }
        let agents = first.into_iter().cloned().collect();
        Ok(Some(Self { kind, node: node.to_owned(), agents, well: None }))
    }

    /// Names it.
    pub(super) fn name(&self) -> String {
        let what = match self.kind {
            Kind::One => "kill",
            Kind::All => "kill-all",
            Kind::Switch => "the kill switch",
        };
        format!("{what}, given on {}", self.node)
    }

    /// Looks whether anything that it covers is alive. `well` says whether nothing is wrong with any node or the store.
    pub(super) fn look(&mut self, place: &Testbed, well: bool) -> Look {
        if !well {
            // With every new trouble the grace begins anew: an order cannot reach a node that is cut off again.
            self.well = None;
            return Look::Wait;
        }
        let since = *self.well.get_or_insert_with(Instant::now);
        let alive = place.alive();
        let left: Vec<&String> =
            alive.iter().filter(|agent| self.agents.is_empty() || self.agents.contains(*agent)).collect();
        match (left.is_empty(), since.elapsed() > GRACE + MARGIN) {
            (true, _) => Look::Kept,
            (false, false) => Look::Wait,
            (false, true) => Look::Broken(format!("{} was given, and these live: {left:?}", self.name())),
        }
    }

    /// Lets things go on afterwards; false when it has to be asked again.
    pub(super) fn lift(&self, api: &Api) -> bool {
        let release = || api.send("POST", "/v1/killswitch/release", None, Some(&json!({})));
        self.kind != Kind::Switch || release().is_ok_and(|answer| answer.status == 200)
    }
}

/// Returns the agents that a node runs, by what a node that is well says.
pub(super) fn running_on(api: &Api, node: &str) -> Vec<String> {
    let working: Outcome<Page<AgentView>> = api.get("/v1/agents?phase=working&limit=100");
    let Ok(page) = working else { return Vec::new() };
    let here = page.items.into_iter().filter(|agent| agent.node.as_deref() == Some(node));
    here.map(|agent| agent.status.agent_id).collect()
}
