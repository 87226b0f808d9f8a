//! Errors on the wire: the only file that maps errors to HTTP status. A [`Problem`] travels inside the response's
//! extensions until `shell` writes it as RFC 9457 `application/problem+json`, with the request's id.

use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use mosaic_api::{Code, ProblemBody};
use mosaic_core::domain::agent::Agent;
use mosaic_core::domain::ids::AgentId;
use mosaic_core::domain::orders::Latch;
use mosaic_core::domain::outcome::{Failure, FailureKind, cut};
use mosaic_core::domain::spec::FieldError;
use mosaic_core::freeze::FreezeError;
use mosaic_core::orchestrator::{RetryError, SpawnError};
use mosaic_core::orders::ReleaseError;
use mosaic_core::ports::audit::AuditError;
use mosaic_core::ports::store::StoreError;
use mosaic_core::removal::RemoveError;
use mosaic_core::removal::prune::PruneError;
use mosaic_core::restore::RestoreError;
use serde_json::{Map, Value};

use crate::view::Shown;

/// An error answer before it is written.
#[derive(Debug, Clone)]
pub(crate) struct Problem(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    code: Code,
    detail: String,
    hint: Option<String>,
    errors: Vec<FieldError>,
    extra: Map<String, Value>,
    headers: Vec<(HeaderName, String)>,
}

impl Problem {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        let detail = cut(detail.into(), mosaic_core::limits::ERROR_BYTES);
        let (hint, errors, extra, headers) = (None, Vec::new(), Map::new(), Vec::new());
        Self(Box::new(Inner { code, detail, hint, errors, extra, headers }))
    }

    pub(crate) fn hint(mut self, text: impl Into<String>) -> Self {
        self.0.hint = Some(text.into());
        self
    }

    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.extra.insert(key.to_owned(), value.into());
        self
    }

    /// Adds a member that is a type of the API.
    fn with_view(self, key: &str, view: &impl serde::Serialize) -> Self {
        self.with(key, serde_json::to_value(view).unwrap_or_default())
    }

    pub(crate) fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.0.headers.push((name, value.into()));
        self
    }

    /// Faulty fields, all of them at once.
    pub(crate) fn invalid(errors: Vec<FieldError>) -> Self {
        let mut shown: Vec<String> =
            errors.iter().take(3).map(|e| format!("{} {}", e.pointer, e.message)).collect();
        if errors.len() > 3 {
            shown.push(format!("and {} more, see errors", errors.len() - 3));
        }
        let mut problem = Self::new(Code::ValidationFailed, shown.join("; "));
        problem.0.errors = errors;
        problem
    }

    /// One faulty field.
    pub(crate) fn field(pointer: &str, message: impl Into<String>) -> Self {
        let (pointer, code, message) = (pointer.to_owned(), "invalid".to_owned(), message.into());
        Self::invalid(vec![FieldError { pointer, code, message }])
    }

    pub(crate) fn unauthenticated(presented: bool) -> Self {
        let (detail, challenge) = match presented {
            true => ("the token is not valid here", "Bearer realm=\"mosaic\", error=\"invalid_token\""),
            false => ("no token was sent", "Bearer realm=\"mosaic\""),
        };
        Self::new(Code::Unauthenticated, detail)
            .hint("send \"Authorization: Bearer <token>\"; \"mosaic token\" prints the token of this machine's server")
            .header(WWW_AUTHENTICATE, challenge)
    }

    pub(crate) fn method_not_allowed(method: &str, allow: &str) -> Self {
        let method = cut(method.to_owned(), 32);
        Self::new(Code::MethodNotAllowed, format!("{method} is not allowed here; allowed: {allow}"))
            .header(ALLOW, allow)
    }

    /// The task is being worked on; `active` is the agent's record when it could be read.
    pub(crate) fn task_active(agent: AgentId, active: Option<&Agent>) -> Self {
        let detail = match active {
            Some(a) => format!(
                "{} ({}) is being worked on by {} since {}",
                a.spec.task_id,
                a.spec.agent_type.as_str(),
                a.name,
                a.spawned_at
            ),
            None => format!("the task is being worked on by agent {agent}"),
        };
        let message = active.map_or("has an active agent".to_owned(), |a| {
            format!("has an active {}", a.spec.agent_type.as_str())
        });
        let mut problem = Self::new(Code::TaskActive, detail)
            .hint(format!("GET /v1/agents/{agent}, or spawn with a new taskId, or kill it first"))
            .with("agentId", agent.to_string());
        problem.0.errors =
            vec![FieldError { pointer: "/taskId".to_owned(), code: "active".to_owned(), message }];
        problem
    }

    /// Nothing starts until the kill switch is released.
    fn dispatch_stopped(latch: &Latch) -> Self {
        let why = latch.reason.as_deref().map_or(String::new(), |reason| format!(": {reason}"));
        let detail =
            format!("dispatch was stopped by {} at {}{why}; nothing was written", latch.by, latch.at);
        Self::new(Code::DispatchStopped, detail)
            .hint("once that is settled: mosaic killswitch release, or POST /v1/killswitch/release")
            .with("by", latch.by.as_str())
            .with("reason", latch.reason.clone())
            .with("since", latch.at.to_rfc3339())
    }

    /// A fault of ours that a person must look for in the log, under the request's id.
    pub(crate) fn internal() -> Self {
        Self::new(Code::Internal, "the request could not be answered because of a fault in the server")
            .hint("look for the request id in the server's log, and please report it")
    }

    /// Writes the body of RFC 9457, with `statusCode` and `message` as NestJS clients expect them.
    pub(crate) fn body(&self, request: &str, base: &str) -> ProblemBody {
        let inner = &self.0;
        let (word, status, title, retry) = inner.code.row();
        let error = |e: &FieldError| mosaic_api::FieldError {
            pointer: e.pointer.clone(),
            code: e.code.clone(),
            message: e.message.clone(),
        };
        ProblemBody {
            extra: inner.extra.clone(),
            kind: format!("{base}/problems/{word}"),
            title: title.to_owned(),
            status,
            detail: inner.detail.clone(),
            instance: format!("/requests/{request}"),
            code: word.to_owned(),
            retryable: retry.is_some(),
            errors: inner.errors.iter().map(error).collect(),
            status_code: status,
            message: inner.detail.clone(),
            request_id: request.to_owned(),
            hint: inner.hint.clone(),
        }
    }
}

/// Answers a readiness question with "not now". Its body is not a problem: it names every check.
pub(crate) fn not_ready(body: impl IntoResponse) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "5")], body).into_response()
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (_, status, _, retry) = self.0.code.row();
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        for (name, value) in &self.0.headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for Problem {
    fn from(e: StoreError) -> Self {
        let detail = e.to_string();
        match e {
            StoreError::NotFound(_) => {
                Self::new(Code::AgentNotFound, detail).hint("GET /v1/agents lists what there is")
            }
            StoreError::Pruned { agent, at, .. } => Self::new(Code::AgentPruned, detail)
                .hint("its record is gone for good; GET /v1/events shows its removal as agent.removed")
                .with("agentId", agent.to_string())
                .with("removedAt", at.to_rfc3339()),
            StoreError::TaskActive { agent } => Self::task_active(agent, None),
            StoreError::IdempotencyMismatch => {
                Self::new(Code::IdempotencyMismatch, "this Idempotency-Key came with another request before")
                    .hint("use a new key for a new request")
            }
            StoreError::QueueFull(_) => {
                Self::new(Code::QueueFull, detail).hint("wait, or remove waiting work")
            }
            StoreError::Fenced(_) | StoreError::Conflict(_) => {
                Self::new(Code::Conflict, detail).hint("try again")
            }
            StoreError::Quarantined(_) => {
                Self::new(Code::RecordDamaged, detail).hint("\"mosaic doctor\" lists damaged records")
            }
            StoreError::ArchiveAway { node, .. } => Self::new(Code::NodeUnreachable, detail)
                .hint(format!(
                    "mosaic nodes shows which nodes are alive; until {node} is, only the short form of what ended there is known"
                ))
                .with("node", node.as_str()),
            StoreError::NotSafe(_) => {
                tracing::warn!(error = %e, "the store could lose what a request asks for");
                Self::new(Code::StoreNotSafe, detail)
                    .hint("it may have been done all the same; try again with an Idempotency-Key, then it is never done twice")
            }
            StoreError::Unavailable(_)
            | StoreError::Unusable(_)
            | StoreError::Damaged(_)
            | StoreError::InUse(_) => {
                tracing::warn!(error = %e, "the store did not answer a request");
                Self::new(Code::StoreUnavailable, detail)
                    .hint("it may have been done all the same; try again with an Idempotency-Key, then it is never done twice")
            }
        }
    }
}

/// Refusal of an action that must not be done unrecorded: it was not done.
impl From<AuditError> for Problem {
    fn from(e: AuditError) -> Self {
        tracing::error!(error = %e, "the audit log did not take or give what a request wanted");
        Self::new(Code::AuditUnavailable, e.to_string())
            .hint("nothing was done; look for the cause in the server's log, above all at the disk")
    }
}

impl From<SpawnError> for Problem {
    fn from(e: SpawnError) -> Self {
        match e {
            SpawnError::Invalid(errors) => Self::invalid(errors),
            SpawnError::Denied(why) => Self::new(Code::PolicyDenied, why),
            SpawnError::Unsatisfiable(why) => Self::new(Code::Unsatisfiable, why),
            SpawnError::ShuttingDown => {
                Self::new(Code::ShuttingDown, "the server is shutting down; nothing was written")
                    .hint("try again once it is back")
            }
            SpawnError::Stopped(latch) => Self::dispatch_stopped(&latch),
            SpawnError::DiskLow(why) => {
                Self::new(Code::DiskLow, why).hint("free some space; nothing was written")
            }
            SpawnError::Store(e) => e.into(),
        }
    }
}

impl From<FreezeError> for Problem {
    fn from(e: FreezeError) -> Self {
        match e {
            FreezeError::NotRunning { id, .. } => Self::new(Code::Conflict, e.to_string())
                .hint(format!("GET /v1/agents/{id} says what it does"))
                .with("agentId", id.to_string()),
            FreezeError::Processes(id, _) => {
                tracing::warn!(agent.id = %id, error = %e, "an agent was not frozen or thawed");
                Self::new(Code::Conflict, e.to_string()).hint(format!("POST /v1/agents/{id}/kill ends it"))
            }
            FreezeError::Store(e) => e.into(),
        }
    }
}

impl From<RetryError> for Problem {
    fn from(e: RetryError) -> Self {
        match e {
            RetryError::StillActive(id) => Self::new(Code::AgentActive, e.to_string())
                .hint(format!("wait for it, or POST /v1/agents/{id}/kill first"))
                .with("agentId", id.to_string()),
            RetryError::Spawn(e) => e.into(),
        }
    }
}

impl From<RestoreError> for Problem {
    fn from(e: RestoreError) -> Self {
        let text = e.to_string();
        match e {
            RestoreError::StillActive(id) => Self::new(Code::AgentActive, text)
                .hint(format!("wait for it, or POST /v1/agents/{id}/kill first"))
                .with("agentId", id.to_string()),
            RestoreError::Nothing(_) => {
                Self::new(Code::NothingToRestore, text).hint("POST /v1/agents/{id}/retry does the task again")
            }
            RestoreError::NoSuchWork { agent, .. } => Self::new(Code::NothingToRestore, text)
                .hint(format!("GET /v1/agents/{agent} lists them as keptWork")),
            RestoreError::LostForGood { node, .. } => {
                Self::new(Code::NothingToRestore, text).with("node", node.as_str())
            }
            RestoreError::Pending { .. } => Self::new(Code::SalvagePending, text)
                .hint("its tree is still where it was; it is tried again by itself, or look into the tree"),
            RestoreError::DiskLow(_) => Self::new(Code::DiskLow, text).hint("free some space"),
            RestoreError::Git(failure) => failure.into(),
            RestoreError::Store(e) => e.into(),
        }
    }
}

impl From<RemoveError> for Problem {
    fn from(e: RemoveError) -> Self {
        let detail = e.to_string();
        match e {
            RemoveError::Elsewhere { node, .. } => Self::new(Code::NodeUnreachable, detail)
                .hint(format!(
                    "try again once that node is back; if it never will be, mosaic nodes rm {node} --lost gives up what only \
                     it had"
                ))
                .with("node", node.as_str()),
            RemoveError::StillActive(id) => Self::new(Code::AgentActive, detail)
                .hint(format!("wait for it, or POST /v1/agents/{id}/kill first"))
                .with("agentId", id.to_string()),
            RemoveError::Unmerged(lost) => {
                let lost = *lost;
                Self::new(Code::UnmergedWork, detail)
                    .hint(format!(
                        "push or restore it first, or give its work up with ?discard={}",
                        lost.name
                    ))
                    .with("agentId", lost.agent_id.to_string())
                    .with("name", lost.name)
                    .with_view("commits", &lost.commits.shown())
                    .with("more", lost.more)
                    .with("tree", lost.tree)
                    .with_view("elsewhere", &lost.elsewhere.shown())
            }
            RemoveError::WrongName(_) => Self::field("/query/discard", detail),
            RemoveError::Git(failure) => failure.into(),
            RemoveError::Store(e) => e.into(),
        }
    }
}

impl From<PruneError> for Problem {
    fn from(e: PruneError) -> Self {
        match e {
            PruneError::Count { there, .. } => Self::new(Code::UnmergedWork, e.to_string())
                .hint("look again with \"dryRun\": true and give the number that it says")
                .with("unmergedAgents", there),
            PruneError::Store(e) => e.into(),
        }
    }
}

impl From<ReleaseError> for Problem {
    fn from(e: ReleaseError) -> Self {
        let detail = e.to_string();
        match e {
            ReleaseError::StopFile(path) => Self::new(Code::DispatchStopped, detail)
                .hint(format!("remove {path} on the server's machine, then release again")),
            ReleaseError::Store(e) => e.into(),
            ReleaseError::Files(_) | ReleaseError::Late { .. } | ReleaseError::Unread(_) => {
                tracing::warn!(error = %detail, "the kill switch could not be released");
                Self::new(Code::StoreUnavailable, detail).hint("dispatch stays stopped; try again")
            }
        }
    }
}

/// A question about kept work that git could not answer.
impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        tracing::warn!(error = %failure.message, "git did not answer a request");
        Self::new(Code::GitFailed, failure.message)
    }
}

impl Problem {
    /// Makes the problem of a spawn whose remote was to be looked at first and failed.
    pub(crate) fn remote(failure: Failure) -> Self {
        let code = match failure.kind {
            FailureKind::MissingBranch => Code::BranchNotFound,
            FailureKind::Internal | FailureKind::Disk => Code::GitFailed,
            _ => Code::RepositoryUnreachable,
        };
        Self::new(code, failure.message)
    }
}

/// A transcript or log that could not be read.
impl From<std::io::Error> for Problem {
    fn from(e: std::io::Error) -> Self {
        tracing::warn!(error = %e, "a file of the state directory could not be read");
        if e.kind() == std::io::ErrorKind::TimedOut {
            return Self::new(Code::StoreUnavailable, format!("the state directory does not answer: {e}"));
        }
        Self::internal()
    }
}
