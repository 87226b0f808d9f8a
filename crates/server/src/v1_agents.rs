//! Agents under `/v1`: the list with its filters, one agent with everything (and waiting for it), the manual retry.

use std::time::Duration;

use axum::Extension;
use axum::Json as Answer;
use axum::extract::State;
use axum::http::header::{ETAG, LINK};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use mosaic_api::AgentList;
use mosaic_api::Code;
use mosaic_core::domain::agent::{Agent, Phase, Status};
use mosaic_core::domain::audit::Action;
use mosaic_core::domain::ids::{AgentId, TaskId, Word};
use mosaic_core::domain::repository::RepositoryUrl;
use mosaic_core::domain::secrets::AllowedSecret;
use mosaic_core::domain::spec::AgentType;
use mosaic_core::limits;
use mosaic_core::orchestrator::RetryError;
use mosaic_core::ports::store::{Query, Versioned};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::agents::{created, idempotency, refused};
use crate::body::OptionalJson;
use crate::caller::Caller;
use crate::context::Context;
use crate::params::{Id, ParamReader, Params};
use crate::problem::Problem;
use crate::shell::RequestId;
use crate::tags::is_known;
use crate::view::{self, Shown};

const FILTERS: &[&str] = &[
    "status", "phase", "type", "repo", "branch", "taskId", "label", "q", "idPrefix", "since", "until",
    "dead", "limit", "cursor",
];

const PHASES: [Phase; 11] = [
    Phase::Queued,
    Phase::Checkout,
    Phase::Starting,
    Phase::Working,
    Phase::Waiting,
    Phase::Committing,
    Phase::Gating,
    Phase::Publishing,
    Phase::Backoff,
    Phase::Killing,
    Phase::Settled,
];

/// Longest text that is searched for, in characters.
const SEARCH_CHARS: usize = 200;

fn read_filters(r: &mut ParamReader<'_>) -> Query {
    let types = r.choices("type", &AgentType::ALL, AgentType::as_str);
    if types.len() > 1 {
        r.fault("type", "invalid", "takes one type");
    }
    let label = match r.text("label").map(|text| (text, text.split_once('='))) {
        None => None,
        Some((_, Some((key, value)))) if key.parse::<Word>().is_ok() => {
            Some((key.to_owned(), value.to_owned()))
        }
        Some(_) => {
            r.fault("label", "invalid", "must be name=value");
            None
        }
    };
    let text = r.text("q").map(str::to_owned);
    if text.as_ref().is_some_and(|text| text.chars().count() > SEARCH_CHARS) {
        r.fault("q", "range", format!("has more than {SEARCH_CHARS} characters"));
    }
    let id_prefix = r.text("idPrefix").map(str::to_ascii_lowercase);
    if id_prefix
        .as_ref()
        .is_some_and(|p| p.len() > 36 || !p.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'))
    {
        r.fault("idPrefix", "invalid", "must be the beginning of an agent id");
    }
    Query {
        status: r.choices("status", &Status::ALL, Status::as_str),
        phase: r.choices("phase", &PHASES, Phase::as_str),
        agent_type: types.first().copied(),
        repository: r.parsed("repo", |text| text.parse::<RepositoryUrl>()).map(String::from),
        branch: r
            .parsed("branch", |text| text.parse::<mosaic_core::domain::ids::BranchName>())
            .map(String::from),
        task: r.parsed("taskId", |text| text.parse::<TaskId>()).map(String::from),
        label,
        text,
        id_prefix,
        since: r.time("since"),
        until: r.time("until"),
        dead: r.switch("dead").unwrap_or(false),
        before_seq: None,
        limit: 0,
    }
}

/// The filters' mark, so that a cursor cannot be used with others.
fn mark(query: &Query) -> String {
    let filters = Query { before_seq: None, limit: 0, ..query.clone() };
    base16ct::lower::encode_string(&Sha256::digest(format!("{filters:?}"))[..8])
}

fn read_cursor(text: &str, query: &Query) -> Result<u64, Problem> {
    let malformed = || Problem::field("/query/cursor", "is no cursor of this server");
    let (seq, bound_to) = text.split_once('-').ok_or_else(malformed)?;
    let is_hex =
        |part: &str| !part.is_empty() && part.len() <= 16 && part.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_hex(seq) || !is_hex(bound_to) {
        return Err(malformed());
    }
    if bound_to != mark(query) {
        return Err(Problem::new(Code::CursorMismatch, "the cursor belongs to a list with other filters")
            .hint("start again without the cursor"));
    }
    // Stores count in signed numbers.
    u64::from_str_radix(seq, 16).map(|seq| seq.min(i64::MAX as u64)).map_err(|_| malformed())
}

/// `GET /v1/agents`: newest first.
pub(crate) async fn list(
    State(context): State<Context>,
    uri: Uri,
    params: Params,
) -> Result<Response, Problem> {
    let mut r = params.reader(FILTERS);
    let mut query = read_filters(&mut r);
    let limit = r.number("limit", 1..=limits::HTTP_PAGE as u64).map_or(50, |n| n as usize);
    let cursor = r.text("cursor");
    r.finish()?;
    query.before_seq = cursor.map(|text| read_cursor(text, &query)).transpose()?;
    query.limit = limit + 1;
    let bound_to = mark(&query);
    let mut records = context.orchestrator.list(query).await?;
    let more = records.len() > limit;
    records.truncate(limit);
    let records = context.orchestrator.ports().store.whole(records).await?;
    let next = records.last().filter(|_| more).map(|last| format!("{:x}-{bound_to}", last.seq));
    let o = &context.orchestrator;
    let mut items = Vec::new();
    for record in &records {
        let (id, work) = (record.agent.id, o.kept_work(record).await);
        let mut item = view::with_kept(view::brief(record), &record.agent, &work);
        (item.status.frozen, item.last_event_at) = (o.is_frozen(id), o.last_event(id).shown());
        item.status.archive = view::archive_fault(o, record);
        items.push(item);
    }
    let mut response = Answer(AgentList { items, next_cursor: next.clone() }).into_response();
    if let Some(next) = next {
        let kept = uri
            .query()
            .unwrap_or("")
            .split('&')
            .filter(|pair| !pair.is_empty() && !pair.starts_with("cursor="));
        let query: Vec<&str> = kept.collect();
        let link = format!(
            "<{}?{}>; rel=\"next\"",
            uri.path(),
            [query, vec![&format!("cursor={next}")]].concat().join("&")
        );
        if let Ok(link) = link.parse() {
            response.headers_mut().insert(LINK, link);
        }
    }
    Ok(response)
}

/// Condition that a blocking query waits for.
enum Until {
    Terminal,
    Attention,
    Status(Status),
}

impl Until {
    fn read(r: &mut ParamReader<'_>) -> Self {
        match r.text("until") {
            None | Some("terminal") => return Self::Terminal,
            Some("attention") => return Self::Attention,
            Some(text) => {
                let status = text.strip_prefix("status:");
                if let Some(status) =
                    status.and_then(|word| Status::ALL.into_iter().find(|s| s.as_str() == word))
                {
                    return Self::Status(status);
                }
            }
        }
        r.fault("until", "invalid", "must be terminal, attention or status: and one of the five words");
        Self::Terminal
    }

    /// A terminal agent ends every wait: nothing can follow.
    fn is_met(&self, agent: &Agent) -> bool {
        agent.is_terminal()
            || match self {
                Self::Terminal => false,
                Self::Attention => !agent.attention.is_empty(),
                Self::Status(status) => agent.status() == *status,
            }
    }
}

/// Agents whose events come in a burst are looked at once per this time, not once per event.
const SETTLE: Duration = Duration::from_millis(10);

/// Reads the agent until what is waited for is so, or time is over. Returns whether time is over.
async fn wait_for(
    context: &Context,
    id: AgentId,
    until: &Until,
    time: Duration,
) -> Result<(Versioned, bool), Problem> {
    let ports = context.orchestrator.ports();
    let mut newest = ports.store.newest();
    let mut late = ports.clock.sleep(time);
    loop {
        // Marked as seen before the record is read: a change between the two ends the wait below at once.
        newest.borrow_and_update();
        let record = context.orchestrator.glance(id).await?;
        if until.is_met(&record.agent) || time.is_zero() {
            return Ok((record, false));
        }
        tokio::select! {
            changed = newest.changed() => {
                if changed.is_err() {
                    return Ok((record, true));
                }
                ports.clock.sleep(SETTLE).await;
            }
            () = &mut late => return Ok((context.orchestrator.glance(id).await?, true)),
        }
    }
}

/// `GET /v1/agents/{id}`, also as a blocking query: `?wait=50s&until=terminal`.
pub(crate) async fn show(
    State(context): State<Context>,
    Id(id): Id,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut r = params.reader(&["wait", "until"]);
    let time = r.duration("wait", limits::LONGEST_WAIT).unwrap_or_default();
    let until = Until::read(&mut r);
    r.finish()?;
    let (record, waited) = wait_for(&context, id, &until, time).await?;
    let position = context.orchestrator.ports().store.position(id).await?;
    // The place in the queue changes without the record, so it is part of the tag; the tag is weak for the rest.
    // So does what is frozen.
    let frozen = context.orchestrator.is_frozen(id);
    let cold = if frozen { "-frozen" } else { "" };
    // And what nodes report of its work.
    let work = context.orchestrator.kept_work(&record).await;
    let left = work.iter().filter(|work| work.earlier).map(|work| format!("-{:?}", work.state));
    let mut left: String = left.collect();
    let archive = view::archive_fault(&context.orchestrator, &record);
    left.push_str(archive.as_deref().unwrap_or_default());
    let tag = match position {
        Some(position) => format!("W/\"{}-{position}{cold}{left}\"", record.version),
        None => format!("W/\"{}{cold}{left}\"", record.version),
    };
    if is_known(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
    }
    let heard = context.orchestrator.last_event(id);
    let mut view = view::with_kept(view::full(&record, position), &record.agent, &work);
    (view.status.frozen, view.last_event_at, view.waited) = (frozen, heard.shown(), waited);
    view.status.archive = archive;
    Ok(([(ETAG, tag)], Answer(view)).into_response())
}

/// `POST /v1/agents/{id}/retry`: a new agent with the same specification, which names its predecessor.
pub(crate) async fn retry(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Extension(request): Extension<RequestId>,
    Id(id): Id,
    uri: Uri,
    headers: HeaderMap,
    mut body: OptionalJson,
) -> Result<Response, Problem> {
    let allowed = body.take("allowedSecrets");
    let allowed = AllowedSecret::list("/allowedSecrets", allowed.as_ref()).map_err(Problem::invalid)?;
    let (o, reason) = (&context.orchestrator, body.reason(&context.orchestrator)?);
    let idempotency = idempotency(&headers, uri.path(), &fingerprinted(&reason, &allowed)?)?;
    o.audit(caller.audit_entry(o, Action::Retry, &request).subject(id).reason(reason.as_deref())).await?;
    if !allowed.is_empty() {
        check_seen(&o.agent(id).await?.agent, &allowed)?;
    }
    for one in &allowed {
        let entry =
            caller.audit_entry(o, Action::SecretAllow, &request).subject(id).reason(Some(&one.reason));
        o.audit(entry.result(format!("fingerprint {}", one.fingerprint.as_str()))).await?;
    }
    match context.orchestrator.retry(id, allowed, idempotency).await {
        Ok(spawned) => created(&context.orchestrator, &spawned).await,
        Err(RetryError::Spawn(e)) => Err(refused(&context.orchestrator, e).await),
        Err(e) => Err(e.into()),
    }
}

/// Returns the part of a retry that an idempotency key stands for.
fn fingerprinted(reason: &Option<String>, allowed: &[AllowedSecret]) -> Result<Value, Problem> {
    serde_json::to_value((reason, allowed)).map_err(|_| Problem::internal())
}

/// Errors when something is allowed that was never found: a mistyped fingerprint would allow nothing, and nobody would know.
fn check_seen(agent: &Agent, allowed: &[AllowedSecret]) -> Result<(), Problem> {
    let seen = |fingerprint| {
        let found = agent.work.findings.iter().filter_map(|finding| finding.secret.as_ref());
        found.map(|secret| &secret.fingerprint).any(|known| known == fingerprint)
    };
    match allowed.iter().position(|one| !seen(&one.fingerprint)) {
        Some(n) => Err(Problem::field(
            &format!("/allowedSecrets/{n}/fingerprint"),
            "is none of this agent's findings; GET its gates to see them",
        )),
        None => Ok(()),
    }
}
