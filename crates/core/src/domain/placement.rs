//! Placement: which entries of the queue a node takes, and which it leaves to others without moving or delaying them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::agent::Agent;
use super::ids::AgentId;
use super::spec::SpawnSpec;

/// Conditions under which a node takes an entry. The default takes everything that asks for no label.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Labels of the node: an entry that asks for others is left.
    pub labels: BTreeMap<String, String>,
    /// Repositories of which nothing is taken now.
    pub repositories: BTreeSet<String>,
    /// Runtimes of which nothing is taken now.
    pub runtimes: BTreeSet<String>,
    /// Agents that are not taken now.
    pub agents: BTreeSet<AgentId>,
    /// Most agents of one repository that may be under a lease at once, on all nodes together; no bound without it. The store
    /// counts them in the step in which it takes an entry.
    pub repository_leases: Option<usize>,
}

impl Conditions {
    /// Tells whether this entry may be taken, as far as the entry alone says; [`Self::repository_leases`] is the store's.
    pub fn allow(&self, agent: &Agent) -> bool {
        let spec = &agent.spec;
        !self.repositories.contains(spec.context.repository.as_str())
            && !spec.runtime.as_ref().is_some_and(|name| self.runtimes.contains(name.as_str()))
            && !self.agents.contains(&agent.id)
            && missing_labels(spec, &self.labels).next().is_none()
    }

    /// Tells whether nothing is refused, and there is no label to compare.
    pub fn are_plain(&self) -> bool {
        *self == Self::default()
    }
}

/// Lists the labels that a task asks of its node and that are not among these.
pub fn missing_labels<'a>(
    spec: &'a SpawnSpec,
    labels: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let wanted = spec.node_labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    wanted.filter(|(name, value)| labels.get(*name).is_none_or(|has| has != value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Timestamp;
    use serde_json::json;

    fn agent(labels: &serde_json::Value) -> Agent {
        let body = json!({
            "taskId": "T-1", "agentType": "worker", "runtime": "wanted", "nodeLabels": labels,
            "context": {"repository": "https://git.example.com/r.git", "branch": "main", "workItems": ["x"]}
        });
        let spec = SpawnSpec::parse(&body).expect("the body is well");
        Agent::admitted(AgentId(uuid::Uuid::from_u128(7)), spec, "mosaic", None, Timestamp(1))
    }

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn each_condition_refuses_what_it_names_and_nothing_else() {
        let one = agent(&json!({}));
        assert!(Conditions::default().are_plain() && Conditions::default().allow(&one));
        let repositories =
            |name: &str| Conditions { repositories: [name.to_owned()].into(), ..Conditions::default() };
        let runtimes =
            |name: &str| Conditions { runtimes: [name.to_owned()].into(), ..Conditions::default() };
        let agents =
            |n| Conditions { agents: [AgentId(uuid::Uuid::from_u128(n))].into(), ..Conditions::default() };
        for (refusing, allowing) in [
            (repositories("https://git.example.com/r.git"), repositories("https://git.example.com/s.git")),
            (runtimes("wanted"), runtimes("other")),
            (agents(7), agents(8)),
        ] {
            assert!(!refusing.allow(&one) && !refusing.are_plain(), "{refusing:?}");
            assert!(allowing.allow(&one), "{allowing:?}");
        }
    }

    #[test]
    fn every_label_that_is_asked_for_must_be_there_with_its_value() {
        let picky = agent(&json!({"gpu": "a100", "zone": "eu"}));
        for (has, taken) in [
            (labels(&[("gpu", "a100"), ("zone", "eu"), ("more", "x")]), true),
            (labels(&[("gpu", "a100")]), false),
            (labels(&[("gpu", "h100"), ("zone", "eu")]), false),
            (labels(&[]), false),
        ] {
            let conditions = Conditions { labels: has, ..Conditions::default() };
            assert_eq!(conditions.allow(&picky), taken, "{conditions:?}");
        }
        assert_eq!(
            missing_labels(&picky.spec, &labels(&[("zone", "eu")])).collect::<Vec<_>>(),
            [("gpu", "a100")]
        );
    }
}
