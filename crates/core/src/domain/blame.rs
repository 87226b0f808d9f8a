//! Blame: on whom a failure lies (the node, its surroundings, the task itself), and which part of the node's work it is
//! about. A failure of the node is no attempt of the task's and holds up nobody else; a task's own failure says nothing about
//! other tasks. Pure.

use serde::{Deserialize, Serialize};

use super::agent::{Agent, State};
use super::outcome::{Failure, FailureKind};

/// The part of a node's work that a failure, or a success, is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "part", rename_all = "snake_case")]
pub enum Part {
    /// Fetching from this repository.
    Fetch {
        /// The repository.
        repository: String,
    },
    /// Pushing to this repository.
    Push {
        /// The repository.
        repository: String,
    },
    /// Running agents of this runtime: its program, its credential, its model service.
    Run {
        /// The runtime.
        runtime: String,
    },
    /// Everything: trees, confinement, supervisors, the disk.
    Machine,
}

impl Part {
    /// Returns the repository that it is about, when it is about one.
    pub fn repository(&self) -> Option<&str> {
        match self {
            Self::Fetch { repository } | Self::Push { repository } => Some(repository),
            Self::Run { .. } | Self::Machine => None,
        }
    }

    /// Returns the runtime that it is about, when it is about one.
    pub fn runtime(&self) -> Option<&str> {
        match self {
            Self::Run { runtime } => Some(runtime),
            Self::Fetch { .. } | Self::Push { .. } | Self::Machine => None,
        }
    }

    /// Returns it in a few words, for people.
    pub fn message(&self) -> String {
        match self {
            Self::Fetch { repository } => format!("fetching from {repository}"),
            Self::Push { repository } => format!("pushing to {repository}"),
            Self::Run { runtime } => format!("running {runtime}"),
            Self::Machine => "this machine".to_owned(),
        }
    }
}

/// On whom a failure lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blame {
    /// The node: elsewhere the same task may well succeed.
    Node(Part),
    /// The node's surroundings (network, model service): every node may meet the same, and it may pass.
    Surroundings(Part),
    /// The task.
    Task,
}

/// Says on whom the failure of an agent lies that is in this state; `default_runtime` is what it runs when it names none.
pub fn blame(agent: &Agent, failure: &Failure, default_runtime: &str) -> Blame {
    use FailureKind as K;
    let repository = || agent.spec.context.repository.to_string();
    let runtime = || {
        let name = agent.spec.runtime.as_ref().map_or(default_runtime, |name| name.as_str());
        Part::Run { runtime: name.to_owned() }
    };
    // A limit that says when it ends holds up its credential, and is waited for.
    if failure.reset.is_some() {
        return Blame::Task;
    }
    let kind = failure.kind;
    match &agent.state {
        _ if kind == K::Disk => Blame::Node(Part::Machine),
        State::Checkout { .. } => match kind {
            // A node without the right credentials is often told that there is no such repository.
            K::RemoteAuth | K::MissingRepository => Blame::Node(Part::Fetch { repository: repository() }),
            K::Network | K::RemoteBusy => Blame::Surroundings(Part::Fetch { repository: repository() }),
            K::Internal => Blame::Node(Part::Machine),
            _ => Blame::Task,
        },
        State::Confining { .. } => match kind {
            K::Stopped | K::Setup => Blame::Task,
            _ => Blame::Node(Part::Machine),
        },
        State::Launching { .. } | State::Working => match kind {
            K::ProgramMissing | K::Auth | K::Billing => Blame::Node(runtime()),
            K::Network | K::RateLimited | K::ModelServer => Blame::Surroundings(runtime()),
            // Of a program that runs, its supervisor may have been ended by the program itself.
            K::Internal if matches!(agent.state, State::Launching { .. }) => Blame::Node(Part::Machine),
            _ => Blame::Task,
        },
        State::Publishing { .. } => match kind {
            K::RemoteAuth => Blame::Node(Part::Push { repository: repository() }),
            K::Network | K::RemoteBusy => Blame::Surroundings(Part::Push { repository: repository() }),
            _ => Blame::Task,
        },
        _ => Blame::Task,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::agent::Turn;
    use crate::domain::ids::{AgentId, CommitId, Timestamp};
    use crate::domain::spec::SpawnSpec;
    use serde_json::json;

    fn agent(state: State) -> Agent {
        let body = json!({"taskId": "T", "agentType": "worker",
            "context": {"repository": "https://h/r.git", "branch": "main", "workItems": ["x"]}});
        let spec = SpawnSpec::parse(&body).expect("the body is well");
        let id = AgentId(uuid::Uuid::from_u128(1));
        Agent { state, ..Agent::admitted(id, spec, "mosaic", None, Timestamp(1)) }
    }

    fn states() -> Vec<State> {
        let head: CommitId = "c".repeat(40).parse().expect("a commit");
        vec![
            State::Checkout { turn: Turn::First },
            State::Confining { turn: Turn::First },
            State::Launching { turn: Turn::First },
            State::Working,
            State::Committing { text: String::new() },
            State::Gating { head: head.clone() },
            State::Publishing { head },
        ]
    }

    fn of(state: &State, kind: FailureKind) -> Blame {
        blame(&agent(state.clone()), &Failure::new(kind, "x"), "wanted")
    }

    #[test]
    fn what_an_agent_does_is_never_laid_on_its_node() {
        use FailureKind as K;
        let own = [
            K::Crash,
            K::NoResult,
            K::Stalled,
            K::Timeout,
            K::Budget,
            K::Denied,
            K::Unpublishable,
            K::Stopped,
        ];
        for state in states().iter().filter(|state| !matches!(state, State::Confining { .. })) {
            for kind in own {
                assert_eq!(of(state, kind), Blame::Task, "{kind:?} in {state:?}");
            }
        }
        for kind in [K::MissingBranch, K::GatesUndefined, K::BadInput] {
            assert_eq!(of(&states()[0], kind), Blame::Task, "{kind:?}");
        }
        assert_eq!(of(&State::Working, K::Internal), Blame::Task, "an agent can end its own supervisor");
    }

    #[test]
    fn what_is_missing_on_the_node_is_laid_on_the_part_that_lacks_it() {
        use FailureKind as K;
        let repository = || "https://h/r.git".to_owned();
        let run = Part::Run { runtime: "wanted".to_owned() };
        let states = states();
        let cases = [
            (0, K::RemoteAuth, Blame::Node(Part::Fetch { repository: repository() })),
            (0, K::MissingRepository, Blame::Node(Part::Fetch { repository: repository() })),
            (0, K::Network, Blame::Surroundings(Part::Fetch { repository: repository() })),
            (0, K::Internal, Blame::Node(Part::Machine)),
            (1, K::Internal, Blame::Node(Part::Machine)),
            (2, K::ProgramMissing, Blame::Node(run.clone())),
            (2, K::Internal, Blame::Node(Part::Machine)),
            (3, K::ProgramMissing, Blame::Node(run.clone())),
            (3, K::Auth, Blame::Node(run.clone())),
            (3, K::ModelServer, Blame::Surroundings(run)),
            (5, K::Disk, Blame::Node(Part::Machine)),
            (6, K::RemoteAuth, Blame::Node(Part::Push { repository: repository() })),
            (6, K::Network, Blame::Surroundings(Part::Push { repository: repository() })),
        ];
        for (state, kind, wanted) in cases {
            assert_eq!(of(&states[state], kind), wanted, "{kind:?} in {:?}", states[state]);
        }
    }
}
