//! The log of a gate: as a whole, by range (RFC 9110 §14), or live while the gate runs. Positions in it are those of the text
//! as it goes out, with secrets masked, so that no range shows half of one.

use std::path::PathBuf;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_RANGE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use mosaic_api::Code;
use mosaic_core::domain::gate_log;
use mosaic_core::domain::ids::{AgentId, Word};
use mosaic_core::limits;
use sha2::{Digest, Sha256};

use crate::byte_range::{ByteRange, Window};
use crate::context::Context;
use crate::gate_tail;
use crate::mask::{stream_files, stream_growing};
use crate::negotiate::choose;
use crate::params::{Id, Params, PathNames};
use crate::problem::Problem;
use crate::sse::resume_after;

const PLAIN: &str = "text/plain";
const LIVE: &str = "text/event-stream";

/// A gate's log that exists.
struct Log {
    file: PathBuf,
    /// The gate may still write to it.
    is_growing: bool,
}

/// `GET /v1/agents/{id}/gates/{gate}/log`: what the gate's newest run wrote, secrets masked.
pub(crate) async fn show(
    State(context): State<Context>,
    Id(id): Id,
    path: PathNames,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let gate: Word = path.get("gate")?;
    let format = choose(&headers, &[PLAIN, LIVE])?;
    let mut r = params.reader(&["after"]);
    let after = resume_after(&headers, &mut r).unwrap_or(0);
    r.finish()?;
    if format == LIVE {
        return gate_tail::live(context, id, gate, after).await;
    }
    let log = find(&context, id, &gate).await?;
    match ByteRange::of(&headers) {
        Some(range) => part(&context, id, log, range, &headers).await,
        None => Ok(whole(&context, id, log)),
    }
}

fn head() -> [(axum::http::HeaderName, &'static str); 2] {
    [(CONTENT_TYPE, "text/plain; charset=utf-8"), (ACCEPT_RANGES, "bytes")]
}

fn stream(context: &Context, id: AgentId, log: Log) -> Body {
    let ports = context.orchestrator.ports();
    match log.is_growing {
        true => stream_growing(ports, id, log.file),
        false => stream_files(ports, id, vec![log.file]),
    }
}

fn whole(context: &Context, id: AgentId, log: Log) -> Response {
    (head(), stream(context, id, log)).into_response()
}

/// Answers one range of the log. The whole log is read for it: only then is it known where a masked secret ends and how long
/// the text is; a log has at most [`limits::GATE_LOG_BYTES`].
async fn part(
    context: &Context,
    id: AgentId,
    log: Log,
    range: ByteRange,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let (mut window, mut hash) = (Window::new(range, limits::LOG_RANGE_BYTES), Sha256::new());
    let again = Log { file: log.file.clone(), ..log };
    let is_growing = log.is_growing;
    let mut chunks = stream(context, id, log).into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Problem::internal())?;
        hash.update(&chunk);
        window.push(&chunk);
    }
    let tag = format!("\"{}\"", base16ct::lower::encode_string(&hash.finalize()[..16]));
    // A condition on another text than this one asks for the whole (RFC 9110 §13.1.5).
    if headers.get(IF_RANGE).is_some_and(|wanted| is_growing || wanted.as_bytes() != tag.as_bytes()) {
        return Ok(whole(context, id, again));
    }
    let total = window.total();
    let Some((first, bytes)) = window.take() else {
        return Err(Problem::new(Code::RangeNotSatisfiable, format!("the log has {total} bytes"))
            .hint("ask for a range that begins before its end")
            .header(CONTENT_RANGE, format!("bytes */{total}")));
    };
    // A log that is being written has no length yet, and no tag: the next look finds another text.
    let length = if is_growing { "*".to_owned() } else { total.to_string() };
    let last = first + bytes.len() as u64 - 1;
    let range = format!("bytes {first}-{last}/{length}");
    let response = (StatusCode::PARTIAL_CONTENT, head(), [(CONTENT_RANGE, range)], bytes);
    Ok(if is_growing { response.into_response() } else { ([(ETAG, tag)], response).into_response() })
}

/// Finds the newest log of a gate: the one that it writes now, else the one of the newest report.
async fn find(context: &Context, id: AgentId, gate: &Word) -> Result<Log, Problem> {
    let record = context.orchestrator.agent(id).await?;
    let agent = &record.agent;
    let running = gate_log::running(agent, gate);
    let ended = gate_log::result(agent, gate).and_then(|result| result.log.clone());
    let transcripts = &context.orchestrator.ports().transcripts;
    for (name, is_growing) in
        running.map(|name| (name, true)).into_iter().chain(ended.map(|name| (name, false)))
    {
        let file = transcripts.log(id, &name);
        match transcripts.piece(id, &file, 0, 1).await {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            there => {
                drop(there?);
                return Ok(Log { file, is_growing });
            }
        }
    }
    Err(missing(id, gate))
}

/// Says that a gate has no log.
pub(crate) fn missing(id: AgentId, gate: &Word) -> Problem {
    Problem::new(Code::LogNotFound, format!("there is no log of the gate {gate}"))
        .hint(format!("GET /v1/agents/{id}/gates says which gates ran"))
}
