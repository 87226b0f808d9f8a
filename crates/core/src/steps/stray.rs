//! Keeping a tree whose record is lost: the same way as for every other, with a record that stands in.

use serde_json::json;

use super::commit;
use super::context::StepContext;
use crate::domain::agent::Agent;
use crate::domain::ids::Epoch;
use crate::domain::outcome::{Failure, FailureKind};
use crate::domain::spec::SpawnSpec;
use crate::driver::AgentHandle;
use crate::orchestrator::Orchestrator;
use crate::ports::repositories::TreeRequest;
use crate::ports::store::Versioned;

/// Receives what is in the tree into the server's bare repository; says what it was.
pub(crate) async fn keep_stray(o: &Orchestrator, tree: TreeRequest) -> Result<String, Failure> {
    let body = json!({
        "taskId": &tree.task, "agentType": "worker",
        "context": {"repository": &tree.repository, "branch": &tree.base_branch, "workItems": ["its record is lost"]},
    });
    let unreadable =
        |_| Failure::new(FailureKind::Internal, "what the tree was made from cannot be used again");
    let spec = SpawnSpec::parse(&body).map_err(unreadable)?;
    let mut agent = Agent::admitted(tree.agent, spec, &o.settings.branch_prefix, None, o.now());
    agent.branch = tree.branch;
    agent.work.base = Some(tree.base);
    agent.work.dirty = true;
    let record =
        Versioned { agent, version: 0, seq: 0, epoch: Epoch(0), node: None, home: None, short: None };
    let driver = AgentHandle::new(&record);
    let context = StepContext { orchestrator: o, agent: &record.agent, driver: &driver };
    let saved = commit::salvage(&context).await?;
    Ok(saved.map_or_else(|| "nothing was changed".to_owned(), |saved| saved.reference))
}
