//! The one place where audit entries enter the audit log. A deletion or an override is recorded before it is done, with
//! [`Orchestrator::audit`]; a stop never waits for its entry, which [`Orchestrator::audit_soon`] records.

use crate::domain::access::AgentAccess;
use crate::domain::audit::{Action, Deed, Head, MOSAIC};
use crate::domain::ids::AgentId;
use crate::orchestrator::Orchestrator;
use crate::ports::audit::AuditError;

impl Orchestrator {
    /// Records a deed; it is durable when this returns. For what must not be done unrecorded: deletions, overrides.
    pub async fn audit(&self, deed: Deed) -> Result<Head, AuditError> {
        self.ports.audit.append(self.masked(deed)).await
    }

    /// Records a deed as soon as the disk lets it, and never waits. For stops, and for what has happened already.
    pub fn audit_soon(&self, deed: Deed) {
        self.ports.audit.note(self.masked(deed));
    }

    /// Starts a deed of the orchestrator's own, now.
    pub fn own_deed(&self, action: Action) -> Deed {
        Deed::new(action, MOSAIC, self.now())
    }

    /// Reasons and results may quote what people, agents and repositories said, and actors and requests are named by callers.
    fn masked(&self, mut deed: Deed) -> Deed {
        let said = [&mut deed.reason, &mut deed.result, &mut deed.subject, &mut deed.request];
        for text in said.into_iter().flatten().chain([&mut deed.actor]) {
            *text = self.ports.scanner.mask(text);
        }
        deed
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
