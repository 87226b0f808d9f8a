//! Orders to stop, and their receipts.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::agents::{Publication, StatusView};
use crate::words::{LeaseFate, Recorded, SalvageState, Status, TreeFate};

/// Fate of the work of a killed agent that was not received before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SalvageFate {
    /// State of the work.
    pub state: SalvageState,
    /// Its ref in the server's bare repository.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Its commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// Receipt of a kill: what was found and verified.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct KillReceipt {
    /// Processes before; left out while it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes_before: Option<u32>,
    /// Processes after; 0 is the promise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes_after: Option<u32>,
    /// The last measure that was needed: `none`, `interrupt`, `term`, `kill`, `sweep`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rung: Option<String>,
    /// Milliseconds until no process was left, verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
    /// Confinement of the processes: `cgroup`, `pid namespace` or `subreaper`; empty when there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confinement: Option<String>,
    /// Milliseconds of these after the grace was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub past_grace_ms: Option<u64>,
    /// The container that is left; `none`.
    pub container: String,
    /// Fate of the lease.
    pub lease: LeaseFate,
    /// Fate of the working tree.
    pub worktree: TreeFate,
    /// Fate of work that was not received before.
    pub salvage: SalvageFate,
    /// Knowledge of its commit on the remote.
    pub publication: Publication,
}

/// Answer to a kill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Killed {
    /// The agent.
    #[serde(flatten)]
    pub agent: StatusView,
    /// Nothing of it is alive.
    pub verified: bool,
    /// It had ended before.
    pub already_terminal: bool,
    /// The receipt.
    pub receipt: Option<KillReceipt>,
    /// The other node that holds it, while its end is not confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Time of that node's last heartbeat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_at: Option<String>,
    /// Time at which its lease ends; it stops itself before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_expires_at: Option<String>,
}

/// Receipt of one agent among many.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AgentReceipt {
    /// The agent.
    pub agent_id: String,
    /// Its name.
    pub name: String,
    /// Its status.
    pub status: Status,
    /// Nothing of it is alive.
    pub verified: bool,
    /// The receipt.
    #[serde(flatten)]
    pub receipt: KillReceipt,
}

/// An agent whose end another node has not confirmed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Unconfirmed {
    /// The agent.
    pub agent_id: String,
    /// Its name.
    pub name: String,
    /// The node that holds it.
    pub node: String,
    /// Time of that node's last heartbeat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_at: Option<String>,
    /// Time at which its lease ends; it stops itself before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_expires_at: Option<String>,
}

/// Result of a kill-all or of engaging the kill switch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct KillAll {
    /// Agents that it was about.
    pub total: u64,
    /// Agents that ended.
    pub killed: u64,
    /// Agents whose end was not confirmed in time.
    pub failed: u64,
    /// One line per agent that was not confirmed, and per thing that could not be looked at.
    pub errors: Vec<String>,
    /// Of a kill-all: ended agents that had not started. Of the switch: agents that wait for its release.
    pub queued: u64,
    /// Nothing of any of them is alive.
    pub verified: bool,
    /// Place where the order is written down.
    pub recorded: Recorded,
    /// The last sequence number that the newest kill-all covers.
    pub barrier: u64,
    /// Receipts, at most 100.
    pub receipts: Vec<AgentReceipt>,
    /// Agents whose end other nodes have not confirmed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unconfirmed: Vec<Unconfirmed>,
    /// One sentence, as the contract has it; of a kill-all only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The newest kill-all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct LastKillAll {
    /// The last sequence number that it covers; null until the store has placed it.
    pub seq: Option<u64>,
    /// Origin of the order.
    pub by: String,
    /// Reason, when one was given.
    pub reason: Option<String>,
    /// Time of the order.
    pub at: String,
}

/// Answer of `GET /v1/killswitch`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct KillSwitch {
    /// Dispatch is stopped.
    pub engaged: bool,
    /// Origin of the order.
    pub by: Option<String>,
    /// Reason, when one was given.
    pub reason: Option<String>,
    /// Time of the order.
    pub since: Option<String>,
    /// Place where the order is written down.
    pub recorded: Recorded,
    /// The file `STOP` that must be removed before a release, when it is there.
    pub stop_file: Option<String>,
    /// Number of agents that run on the node that was asked.
    pub running: usize,
    /// The newest kill-all.
    pub last_kill_all: Option<LastKillAll>,
}

/// Answer to engaging the kill switch.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SwitchEngaged {
    /// The switch.
    #[serde(flatten)]
    pub switch: KillSwitch,
    /// Fate of the agents that ran.
    #[serde(flatten)]
    pub report: KillAll,
}

impl<'de> Deserialize<'de> for SwitchEngaged {
    // Both parts have the field `recorded`, of which serde gives only the first one its value.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let answer = Value::deserialize(deserializer)?;
        let switch = KillSwitch::deserialize(&answer).map_err(D::Error::custom)?;
        let report = KillAll::deserialize(&answer).map_err(D::Error::custom)?;
        Ok(Self { switch, report })
    }
}

/// Answer to releasing the kill switch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SwitchReleased {
    /// The switch.
    #[serde(flatten)]
    pub switch: KillSwitch,
    /// It was engaged before.
    pub was_engaged: bool,
}

#[cfg(test)]
mod tests {
    use super::{KillAll, KillSwitch, SwitchEngaged};
    use crate::words::Recorded;

    #[test]
    fn what_engaging_answers_is_read_whole() {
        let switch = KillSwitch {
            engaged: true,
            by: Some("alice".to_owned()),
            reason: None,
            since: None,
            recorded: Recorded::Durable,
            stop_file: None,
            running: 0,
            last_kill_all: None,
        };
        let report = KillAll {
            total: 1,
            killed: 1,
            failed: 0,
            errors: Vec::new(),
            queued: 2,
            verified: true,
            recorded: Recorded::Durable,
            barrier: 0,
            receipts: Vec::new(),
            unconfirmed: Vec::new(),
            message: None,
        };
        let engaged = SwitchEngaged { switch, report };
        let sent = serde_json::to_string(&engaged).expect("it can be written");
        assert_eq!(serde_json::from_str::<SwitchEngaged>(&sent).expect("it can be read"), engaged);
    }
}
