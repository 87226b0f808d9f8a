//! Work of earlier attempts: the reports of this node about what it keeps, and the list that people see. The record says
//! where work was left, each node says what it found there.

use crate::cleanup_error::CleanupError;
use crate::domain::facts::{Fact, WorkReported};
use crate::domain::ids::{AgentId, NodeId};
use crate::domain::journal::LogRecord;
use crate::domain::kept_work::{KeptWork, WorkReport, WorkState};
use crate::limits;
use crate::orchestrator::Orchestrator;
use crate::ports::store::{StoreError, Versioned};

impl Orchestrator {
    /// Lists the work of an agent's attempts, oldest first, with what nodes reported of it. While the store does not
    /// answer, the record alone is told.
    pub async fn kept_work(&self, record: &Versioned) -> Vec<KeptWork> {
        let agent = &record.agent;
        let mut all = agent.left_work();
        if !all.is_empty() {
            let reports = self.ports.fleet.work_reports(agent.id).await.unwrap_or_default();
            all.iter_mut().for_each(|work| work.hear(&reports));
        }
        all.extend(agent.last_work(record.home.as_ref().unwrap_or(&self.settings.node)));
        let lost = self.fleet.lost_nodes();
        for work in all.iter_mut().filter(|work| work.is_unsafe() && lost.contains(&work.node)) {
            work.state = WorkState::Lost;
        }
        all
    }

    /// Lists what earlier attempts left on other nodes and is nowhere else.
    pub(crate) async fn unsafe_elsewhere(&self, record: &Versioned) -> Vec<KeptWork> {
        if record.agent.left.is_empty() {
            return Vec::new();
        }
        let mut all = self.kept_work(record).await;
        all.retain(|work| work.earlier && work.is_unsafe() && work.node != self.settings.node);
        all
    }

    /// Tells whether a person declared the node lost for good, by the store.
    pub(crate) async fn is_lost_for_good(&self, node: &NodeId) -> Result<bool, StoreError> {
        Ok(self.ports.fleet.lost_nodes().await?.iter().any(|lost| lost.node == *node))
    }

    /// Reports what this node keeps of an agent that another node has now. Nothing is reported of an agent without a
    /// record. Idempotent.
    pub(crate) async fn report_work(&self, id: AgentId) -> Result<(), CleanupError> {
        if !self.is_fleet() {
            return Ok(());
        }
        let record = match self.ports.store.get(id).await {
            Ok(record) => record,
            Err(StoreError::NotFound(_) | StoreError::Pruned { .. }) => return Ok(()),
            Err(e) => return Err(CleanupError::Record(e)),
        };
        let agent = &record.agent;
        let (git, safe) = (&self.ports.kept_work, agent.work.base.iter().cloned().collect::<Vec<_>>());
        let store = git.cache_of(&agent.spec.context.repository);
        let refs = git.refs_of(&store, id, limits::REPORTED_REFS).await?;
        let unmerged = git.unmerged(&store, id, &safe, 1).await?;
        let state = match (refs.is_empty(), unmerged.is_empty()) {
            (true, _) => WorkState::Nothing,
            (false, true) => WorkState::Published,
            (false, false) => WorkState::Kept,
        };
        let report = WorkReport { node: self.settings.node.clone(), run: agent.runs, state, refs };
        let (node, refs) = (report.node.clone(), report.refs.clone());
        let reported = Fact::AgentWorkReported(WorkReported { node, state: report.state, refs });
        let facts = vec![LogRecord::about(agent, &reported, self.now())];
        let reported = self.ports.fleet.report_work(id, &report, facts).await;
        reported.map_err(CleanupError::Report)
    }
}
