//! Transcript of an agent: a page of entries, the same live, or the raw output as its program wrote it, but
//! for secrets.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use mosaic_api::{TranscriptEnd, TranscriptPage};
use mosaic_core::domain::ids::AgentId;
use mosaic_core::limits;
use mosaic_core::ports::scanner::SecretScanner;
use mosaic_core::ports::transcripts::Line;
use serde_json::Value;
use tokio::sync::watch;

use crate::context::Context;
use crate::mask::{self, stream_files};
use crate::negotiate::choose;
use crate::params::{Id, ParamReader, Params};
use crate::problem::Problem;
use crate::sse::{HeartbeatTimer, RETRY, event, heartbeat, heartbeat_timer, respond, resume_after};
use crate::view::Shown;

const JSON: &str = "application/json";
const LIVE: &str = "text/event-stream";
const RAW: &str = "application/x-ndjson";

/// Entries read at once.
const PAGE: usize = 200;
/// Pages looked through for one answer, so that a filter that fits nothing ends with a cursor.
const PAGES: usize = 25;
/// Time between two looks at whether the agent has ended, while others cause events.
const LOOK: Duration = Duration::from_millis(100);

const KINDS: &[&str] =
    &["started", "text", "thinking", "tool", "toolResult", "denied", "apiRetry", "usage", "output", "notice"];

/// Which entries are wanted.
struct Filter {
    kinds: Vec<String>,
    thinking: bool,
}

impl Filter {
    fn read(r: &mut ParamReader<'_>) -> Self {
        let kinds = r.words("kinds");
        if let Some(strange) = kinds.iter().find(|kind| !KINDS.contains(kind)) {
            r.fault("kinds", "invalid", crate::body::unknown(strange, "kind", KINDS));
        }
        Self {
            kinds: kinds.into_iter().map(str::to_owned).collect(),
            thinking: r.switch("thinking").unwrap_or(true),
        }
    }

    /// Returns the entry as it goes out, when it is wanted. It was masked when it was written; what became known since is now.
    fn view(&self, scanner: &dyn SecretScanner, line: &Line) -> Option<(String, Value)> {
        let mut value = serde_json::to_value(line).ok()?;
        let kind = value["kind"].as_str()?.to_owned();
        mask::texts(scanner, &mut value);
        value["at"] = Value::String(line.at.to_rfc3339());
        let wanted = self.kinds.is_empty() || self.kinds.contains(&kind);
        (wanted && (self.thinking || kind != "thinking")).then_some((kind, value))
    }
}

/// `GET /v1/agents/{id}/transcript`.
pub(crate) async fn read(
    State(context): State<Context>,
    Id(id): Id,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let format = choose(&headers, &[JSON, LIVE, RAW])?;
    let mut r = params.reader(&["after", "limit", "kinds", "thinking"]);
    let limit = r.number("limit", 1..=limits::HTTP_PAGE as u64).map_or(100, |n| n as usize);
    let after = resume_after(&headers, &mut r).unwrap_or(0);
    let filter = Filter::read(&mut r);
    r.finish()?;
    // Who does not exist has no transcript.
    context.orchestrator.glance(id).await?;
    match format {
        LIVE => Ok(live(context, id, after, filter)),
        RAW => {
            let ports = context.orchestrator.ports();
            let files = ports.transcripts.raw_files(id).await?;
            Ok(([(CONTENT_TYPE, RAW)], stream_files(ports, id, files)).into_response())
        }
        _ => page(&context, id, after, limit, &filter).await,
    }
}

/// A page of entries after a number. `nextCursor` goes into `after` of the next request; it is null at the end.
async fn page(
    context: &Context,
    id: AgentId,
    mut after: u64,
    limit: usize,
    filter: &Filter,
) -> Result<Response, Problem> {
    let ports = context.orchestrator.ports();
    let transcripts = &ports.transcripts;
    let mut items = Vec::new();
    let mut more = true;
    for _ in 0..PAGES {
        let lines = transcripts.read(id, after, PAGE).await?;
        more = lines.len() == PAGE;
        for line in &lines {
            if items.len() == limit {
                more = true;
                break;
            }
            after = line.n;
            items.extend(filter.view(&*ports.scanner, line).map(|(_, value)| value));
        }
        if !more || items.len() == limit {
            break;
        }
    }
    let next_cursor = more.then(|| after.to_string());
    Ok(Answer(TranscriptPage { items, next_cursor }).into_response())
}

struct Tail {
    context: Context,
    id: AgentId,
    after: u64,
    filter: Filter,
    appended: watch::Receiver<u64>,
    newest: watch::Receiver<u64>,
    state: TailState,
    heartbeat: HeartbeatTimer,
}

#[derive(PartialEq)]
enum TailState {
    New,
    Reading,
    Over,
}

/// Entries as they are written, until the agent has ended: then an event `end`, and the stream closes.
fn live(context: Context, id: AgentId, after: u64, filter: Filter) -> Response {
    let ports = context.orchestrator.ports();
    let (appended, newest) = (ports.transcripts.watch(id), ports.store.newest());
    let first = heartbeat_timer(&context);
    let tail = Tail { context, id, after, filter, appended, newest, state: TailState::New, heartbeat: first };
    respond(stream::unfold(tail, |mut tail| async move {
        let chunk = tail.next().await?;
        tail.heartbeat = heartbeat_timer(&tail.context);
        Some((Ok::<_, Infallible>(chunk), tail))
    }))
}

impl Tail {
    async fn next(&mut self) -> Option<String> {
        match self.state {
            TailState::Over => return None,
            TailState::New => {
                self.state = TailState::Reading;
                return Some(RETRY.to_owned());
            }
            TailState::Reading => {}
        }
        let orchestrator = self.context.orchestrator.clone();
        let ports = orchestrator.ports();
        loop {
            // Marked as seen before the read, so that a line that is written during it wakes the wait below.
            self.appended.borrow_and_update();
            self.newest.borrow_and_update();
            // Asked before the read: what was written before the end is then in what is read after it.
            let ended = match ports.store.glance(self.id).await {
                Ok(record) => Some(record.agent).filter(mosaic_core::domain::agent::Agent::is_terminal),
                Err(e) => return self.give_up(&e),
            };
            let lines = match ports.transcripts.read(self.id, self.after, PAGE).await {
                Ok(lines) => lines,
                Err(e) => return self.give_up(&e),
            };
            if let Some(last) = lines.last() {
                self.after = last.n;
                let seen =
                    lines.iter().filter_map(|line| Some((line.n, self.filter.view(&*ports.scanner, line)?)));
                let chunk: String = seen.map(|(n, (kind, value))| event(n, &kind, &value)).collect();
                return Some(if chunk.is_empty() { heartbeat(self.after) } else { chunk });
            }
            if let Some(agent) = ended {
                self.state = TailState::Over;
                let (status, end_reason) =
                    (agent.status().shown(), agent.end().map(|end| end.reason.shown()));
                let data = TranscriptEnd { status, end_reason };
                return Some(event(self.after, "end", &data));
            }
            tokio::select! {
                Ok(()) = self.appended.changed() => {}
                Ok(()) = self.newest.changed() => ports.clock.sleep(LOOK).await,
                () = &mut self.heartbeat => return Some(heartbeat(self.after)),
            }
        }
    }

    /// Ends the stream; the reader comes back by itself and goes on where it was.
    fn give_up(&mut self, e: &dyn std::error::Error) -> Option<String> {
        tracing::warn!(agent.id = %self.id, error = %e, "a live transcript could not be read");
        self.state = TailState::Over;
        Some(": the transcript cannot be read now, come back\n\n".to_owned())
    }
}
