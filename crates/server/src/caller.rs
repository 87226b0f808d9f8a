//! The caller of a request, as authentication found it; audit entries name it.

use axum::http::{HeaderMap, HeaderName};
use mosaic_core::Orchestrator;
use mosaic_core::domain::audit::{Action, AuditEntry};
use mosaic_core::domain::ids::{AgentId, NodeId};

use crate::shell::RequestId;

/// The name of the person at the command line, as that says; proves nothing.
pub(crate) const USER: HeaderName = HeaderName::from_static("x-mosaic-user");

/// The caller of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Any client, because authentication is off, with the name that it gave.
    Anyone(Option<String>),
    /// A client with the operator's token, with the name that the command line gave.
    Operator(Option<String>),
    /// Another node that passed a request on, with the name that its own caller gave.
    Peer(NodeId, Option<String>),
    /// An agent that has not ended.
    Agent(AgentId),
}

impl Caller {
    /// Starts an audit entry of this caller, now.
    pub(crate) fn audit_entry(
        &self,
        orchestrator: &Orchestrator,
        action: Action,
        request: &RequestId,
    ) -> AuditEntry {
        let named = |who: &str, name: &Option<String>| {
            name.as_ref().map_or_else(|| who.to_owned(), |name| format!("{who}/{name}"))
        };
        let actor = match self {
            Self::Anyone(name) => named("anyone", name),
            Self::Operator(name) => named("operator", name),
            Self::Peer(node, name) => named(&format!("node/{node}"), name),
            Self::Agent(id) => format!("agent/{id}"),
        };
        // Records name the actor, too, not only the audit log.
        AuditEntry::new(action, &orchestrator.hide(actor), orchestrator.now()).request(&request.0)
    }

    /// Returns the name that a person or program gave.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Anyone(name) | Self::Operator(name) | Self::Peer(_, name) => name.as_deref(),
            Self::Agent(_) => None,
        }
    }
}

/// Returns the name that the command line gave, when it can do no harm in a log.
pub(crate) fn user(headers: &HeaderMap) -> Option<String> {
    let name = headers.get(USER)?.to_str().ok()?;
    let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'@');
    ((1..=64).contains(&name.len()) && name.bytes().all(ok)).then(|| name.to_owned())
}
