//! The one place where audit entries enter the audit log. A deletion or an override is recorded before it is done, with
//! [`Orchestrator::audit`]; a stop never waits for its entry, which [`Orchestrator::audit_soon`] records.

use crate::domain::access::AgentAccess;
use crate::domain::audit::{Action, AuditEntry, Head, MOSAIC};
use crate::domain::ids::AgentId;
use crate::orchestrator::Orchestrator;
use crate::ports::audit::AuditError;

impl Orchestrator {
    /// Records an audit entry; it is durable when this returns. For what must not be done unrecorded: deletions, overrides.
    pub async fn audit(&self, entry: AuditEntry) -> Result<Head, AuditError> {
        self.ports.audit.append(self.masked(entry)).await
    }

    /// Records an audit entry as soon as the disk lets it, and never waits. For stops, and for what has happened already.
    pub fn audit_soon(&self, entry: AuditEntry) {
        self.ports.audit.note(self.masked(entry));
    }

    /// Starts an entry for an action of the server itself, now.
    pub fn system_entry(&self, action: Action) -> AuditEntry {
        AuditEntry::new(action, MOSAIC, self.now())
    }

    /// Reasons and results may quote what people, agents and repositories said, and actors and requests are named by callers.
    fn masked(&self, mut entry: AuditEntry) -> AuditEntry {
        let said = [&mut entry.reason, &mut entry.result, &mut entry.subject, &mut entry.request];
        for text in said.into_iter().flatten().chain([&mut entry.actor]) {
            *text = self.ports.scanner.mask(text);
        }
        entry
    }

    /// Says where agents find the API and what their tokens are derived from. Before this nobody has a token; a
    /// second call changes nothing.
    pub fn grant_access(&self, access: AgentAccess) {
        // Already said: agents that run have tokens of the first one.
        let _ = self.access.set(access);
    }

    /// Returns the token of an agent, when agents have tokens here.
    pub fn agent_token(&self, agent: AgentId) -> Option<String> {
        self.access.get().map(|access| access.secret.token(agent))
    }

    /// Returns what an agent's own runs find in their environment, besides what every job of it has: where the API
    /// is and a token that shows the agent itself and can stop nothing.
    pub(crate) fn access_env(&self, agent: AgentId) -> Vec<(String, String)> {
        let Some(access) = self.access.get() else { return Vec::new() };
        vec![
            ("MOSAIC_API".to_owned(), access.url.clone()),
            ("MOSAIC_API_TOKEN".to_owned(), access.secret.token(agent)),
        ]
    }
}
