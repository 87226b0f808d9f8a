//! Work of attempts, and where it lies. An attempt that ends with its node, or whose agent moves on, leaves its work in
//! that node's bare repository or tree; the record names it, that node reports what it found, and nobody else decides
//! about it.

use serde::{Deserialize, Serialize};

use super::ids::{AgentId, CommitId, NodeId, Timestamp};

/// Work that an attempt left on the node where it ended, as the agent's record has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeftWork {
    /// The attempt.
    pub attempt: u32,
    /// Its last run; unlike an attempt's, its number never comes again.
    pub run: u32,
    /// The node that has it.
    pub node: NodeId,
    /// When the attempt was over.
    pub at: Timestamp,
    /// The base commit of the attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<CommitId>,
    /// The newest commit that the node's bare repository received of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<CommitId>,
    /// Its tree may hold more than that.
    #[serde(default)]
    pub unreceived: bool,
}

/// A ref in the bare repository of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptRef {
    /// Its full name.
    pub reference: String,
    /// The commit.
    pub commit: CommitId,
}

/// State of an attempt's work. A closed list on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkState {
    /// The node has not said yet what lies there.
    Unreported,
    /// It is kept there, and nowhere else.
    Kept,
    /// A branch of the remote has all of it.
    Published,
    /// There was nothing to keep.
    Nothing,
    /// A person declared the node lost for good, and its work with it.
    Lost,
}

/// Answer of a node to what it keeps of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkReport {
    /// The node.
    pub node: NodeId,
    /// The agent's newest run when it looked.
    pub run: u32,
    /// `kept`, `published` or `nothing`.
    pub state: WorkState,
    /// Refs that the node's bare repository keeps for the agent.
    pub refs: Vec<KeptRef>,
}

/// Work of one attempt, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptWork {
    /// The attempt.
    pub attempt: u32,
    /// Its last run.
    pub run: u32,
    /// The node that has it.
    pub node: NodeId,
    /// When the attempt was over.
    #[serde(serialize_with = "rfc3339")]
    pub at: Timestamp,
    /// State of the work, as far as it is known.
    pub state: WorkState,
    /// The refs that hold it there, as far as they are known.
    pub refs: Vec<KeptRef>,
    /// An earlier attempt left it on that node; else it is the agent's last attempt.
    pub earlier: bool,
}

fn rfc3339<S: serde::Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&at.to_rfc3339())
}

/// Returns the ref of the newest commit that was received of an agent.
pub fn head_ref(agent: AgentId) -> String {
    format!("refs/agents/{agent}/head")
}

/// Returns the ref under which the tree of an agent is salvaged.
pub fn salvage_ref(agent: AgentId) -> String {
    format!("refs/mosaic/salvage/{agent}")
}

impl LeftWork {
    /// Describes it by the record alone.
    pub(super) fn kept(&self, agent: AgentId) -> KeptWork {
        let head = self.received.clone().map(|commit| KeptRef { reference: head_ref(agent), commit });
        KeptWork {
            attempt: self.attempt,
            run: self.run,
            node: self.node.clone(),
            at: self.at,
            state: if self.unreceived { WorkState::Unreported } else { WorkState::Kept },
            refs: head.into_iter().collect(),
            earlier: true,
        }
    }
}

impl KeptWork {
    /// Tells whether it would be lost with that node.
    pub fn is_unsafe(&self) -> bool {
        matches!(self.state, WorkState::Unreported | WorkState::Kept)
    }

    /// Takes over what the node reported since the attempt was over.
    pub fn hear(&mut self, reports: &[WorkReport]) {
        let heard = reports.iter().find(|report| report.node == self.node && report.run >= self.run);
        if let Some(report) = heard {
            self.state = report.state;
            self.refs.clone_from(&report.refs);
        }
    }

    /// Returns a sentence about it, as a warning of its agent; none when there is nothing to look after.
    pub fn sentence(&self, agent: AgentId) -> Option<String> {
        let (attempt, run, node) = (self.attempt, self.run, &self.node);
        let what = format!("attempt {attempt} (run {run}) ended on node {node}");
        let names: Vec<&str> = self.refs.iter().map(|kept| kept.reference.as_str()).collect();
        match self.state {
            WorkState::Nothing | WorkState::Published => None,
            WorkState::Lost => Some(format!("{what}, which was declared lost, and its work with it")),
            WorkState::Kept => {
                let names = names.join(", ");
                Some(format!(
                    "{what}, whose work is kept there under {names}: mosaic restore {agent} --run {run}"
                ))
            }
            WorkState::Unreported => Some(format!(
                "{what}, which has not reported its work yet: what was not pushed stays there, and is under {} once that node \
                 has looked",
                salvage_ref(agent)
            )),
        }
    }
}
