//! The audit log: pages of it, all of it as lines, and the check of the whole.

use axum::Json as Answer;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use mosaic_api::{AuditHead, AuditPage, AuditVerified, BrokenChain};
use mosaic_core::domain::audit::{Head, Record};
use mosaic_core::limits;
use mosaic_core::ports::audit::Wanted;
use serde_json::Value;

use crate::context::Context;
use crate::negotiate;
use crate::params::Params;
use crate::problem::Problem;
use crate::view::Shown;

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

/// A record as it stands in the log, which is already in the form of the wire.
fn view(record: &Record) -> Value {
    serde_json::from_str(&record.line()).unwrap_or(Value::Null)
}

impl Shown for Head {
    type View = AuditHead;

    fn shown(&self) -> AuditHead {
        AuditHead { hash: self.hash.to_string(), n: self.n }
    }
}

/// `GET /v1/audit`: by Accept a JSON page or, as NDJSON, everything that is wanted, in the form of the file.
pub(crate) async fn list(
    State(context): State<Context>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, Problem> {
    let form = negotiate::choose(&headers, &[JSON, LINES])?;
    let mut r = params.reader(&["after", "limit", "actor", "action", "since"]);
    let wanted = Wanted {
        after: r.number("after", 0..=u64::MAX).unwrap_or(0),
        limit: r.number("limit", 1..=limits::HTTP_PAGE as u64).map_or(50, |n| n as usize),
        actor: r.text("actor").map(str::to_owned),
        action: r.text("action").map(str::to_owned),
        since: r.time("since"),
    };
    let whole = r.text("limit").is_none();
    r.finish()?;
    if form == LINES {
        let left = if whole { usize::MAX } else { wanted.limit };
        return Ok(lines(&context, Wanted { limit: limits::HTTP_PAGE, ..wanted }, left));
    }
    let audit = &context.orchestrator.ports().audit;
    let page = audit.read(wanted).await?;
    let head = audit.head();
    let records = page.records.iter().map(view).collect();
    Ok(Answer(AuditPage { records, next: page.next, head: head.shown() }).into_response())
}

/// Streams records as lines, a page at a time, as the reader takes them.
fn lines(context: &Context, wanted: Wanted, left: usize) -> Response {
    let audit = context.orchestrator.ports().audit.clone();
    let state = (audit, Some(wanted), left);
    let chunks = stream::try_unfold(state, |(audit, wanted, left)| async move {
        let Some(wanted) = wanted.filter(|_| left > 0) else { return Ok(None) };
        let page = audit.read(Wanted { limit: wanted.limit.min(left), ..wanted.clone() }).await;
        let page = page.map_err(std::io::Error::other)?;
        let text: String = page.records.iter().map(|record| format!("{}\n", record.line())).collect();
        let next = page.next.map(|after| Wanted { after, ..wanted });
        Ok::<_, std::io::Error>(Some((text, (audit, next, left - page.records.len()))))
    });
    ([(CONTENT_TYPE, LINES)], Body::from_stream(chunks)).into_response()
}

/// `GET /v1/audit/verify`: checks the whole log. A broken one is an answer, not an error.
pub(crate) async fn verify(State(context): State<Context>, params: Params) -> Result<Response, Problem> {
    params.reader(&[]).finish()?;
    let verified = context.orchestrator.ports().audit.verify().await?;
    let broken = verified.broken.map(|broken| BrokenChain { n: broken.n, why: broken.why });
    let answer = AuditVerified {
        chain: verified.chain,
        head: verified.head.shown(),
        first: verified.first,
        ok: broken.is_none(),
        broken,
        remarks: verified.remarks,
    };
    Ok(Answer(answer).into_response())
}
