//! The event stream: everything that is logged, in order, from any point on, in one envelope (CloudEvents 1.0).
//!
//! A reader gets a `snapshot` first, or goes on exactly after the event it names. Nothing is buffered per reader:
//! the log is read page by page as the reader takes it. When the named event is not in this log, or what follows
//! it is gone, the reader is told to start over (`reset`, then `snapshot`).

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::stream;
use mosaic_api::{EventReset, EventSnapshot};
use mosaic_core::domain::agent::Status;
use mosaic_core::domain::ids::{AgentId, TaskId};
use mosaic_core::domain::journal::{Entry, cloud_event};
use mosaic_core::limits;
use mosaic_core::ports::store::{Query, StoreError};
use tokio::sync::watch;

use crate::context::Context;
use crate::negotiate::choose;
use crate::params::{ParamReader, Params};
use crate::problem::Problem;
use crate::sse::{HeartbeatTimer, RETRY, event, heartbeat, heartbeat_timer, respond, resume_after};
use crate::view::{self, Shown};

/// Entries read at once.
const PAGE: usize = 100;
/// Time until a store that did not answer is asked again, and how often in a row before the stream ends.
const ASK_AGAIN: Duration = Duration::from_secs(1);
const TRIES: u32 = 30;

/// Which events a reader wants. Empty parts do not filter.
#[derive(Default)]
struct Filter {
    agent: Option<AgentId>,
    task: Option<TaskId>,
    kinds: Vec<String>,
}

impl Filter {
    fn read(r: &mut ParamReader<'_>) -> Self {
        let agent = r.parsed("agent", str::parse::<AgentId>);
        let task = r.parsed("task", str::parse::<TaskId>);
        let kinds: Vec<String> = r.words("types").into_iter().map(str::to_owned).collect();
        let ok = |b: u8| b.is_ascii_lowercase() || matches!(b, b'.' | b'_' | b'*');
        if kinds.len() > 50 || kinds.iter().any(|kind| kind.len() > 64 || !kind.bytes().all(ok)) {
            r.fault("types", "invalid", "must be kinds such as agent.completed or agent.*");
        }
        Self { agent, task, kinds }
    }

    fn wants(&self, entry: &Entry) -> bool {
        let fact = &entry.fact;
        let kind_fits = |wanted: &String| match wanted.strip_suffix('*') {
            Some(start) => fact.kind().starts_with(start),
            None => fact.kind() == wanted,
        };
        (self.agent.is_none() || self.agent == fact.agent)
            && (self.task.is_none() || self.task == fact.task)
            && (self.kinds.is_empty() || self.kinds.iter().any(kind_fits))
    }
}

/// Position of a reader in the stream.
enum StreamPosition {
    /// It needs the state first.
    Fresh,
    /// It named the last event it has; not checked yet.
    Resuming(u64),
    /// It has everything up to this event.
    After(u64),
}

struct Reader {
    context: Context,
    filter: Filter,
    newest: watch::Receiver<u64>,
    position: StreamPosition,
    greeted: bool,
    failures: u32,
    heartbeat: HeartbeatTimer,
}

/// `GET /v1/events`.
pub(crate) async fn stream(
    State(context): State<Context>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    choose(&headers, &["text/event-stream"])?;
    let mut r = params.reader(&["after", "agent", "task", "types"]);
    let position = resume_after(&headers, &mut r).map_or(StreamPosition::Fresh, StreamPosition::Resuming);
    let filter = Filter::read(&mut r);
    r.finish()?;
    let newest = context.orchestrator.ports().store.newest();
    let first = heartbeat_timer(&context);
    let reader = Reader { context, filter, newest, position, greeted: false, failures: 0, heartbeat: first };
    Ok(respond(stream::unfold(reader, |mut reader| async move {
        let chunk = reader.next().await?;
        reader.heartbeat = heartbeat_timer(&reader.context);
        Some((Ok::<_, Infallible>(chunk), reader))
    })))
}

impl Reader {
    /// Returns what to send next; `None` ends the stream.
    async fn next(&mut self) -> Option<String> {
        if !self.greeted {
            self.greeted = true;
            return Some(RETRY.to_owned());
        }
        loop {
            match self.step().await {
                Ok(Some(chunk)) => {
                    self.failures = 0;
                    return Some(chunk);
                }
                Ok(None) => self.failures = 0,
                Err(e) => {
                    self.failures += 1;
                    tracing::debug!(error = %e, "an event stream could not read the log");
                    if self.failures > TRIES {
                        return None;
                    }
                    self.context.orchestrator.ports().clock.sleep(ASK_AGAIN).await;
                    return Some(": the store does not answer, trying again\n\n".to_owned());
                }
            }
        }
    }

    /// Does one step; `None` when it brought nothing to send.
    async fn step(&mut self) -> Result<Option<String>, StoreError> {
        // Marked as seen before the log is read, so that an event that is logged during the read wakes the next wait.
        let newest = *self.newest.borrow_and_update();
        let after = match self.position {
            StreamPosition::Fresh => return self.snapshot(newest).await.map(Some),
            StreamPosition::Resuming(after) if after > newest => {
                return self.start_over(newest).await.map(Some);
            }
            StreamPosition::Resuming(after) | StreamPosition::After(after) => after,
        };
        self.position = StreamPosition::After(after);
        let entries = self.context.orchestrator.ports().store.entries(after, PAGE).await?;
        let Some((first, last)) = entries.first().zip(entries.last()) else {
            return Ok(self.wait(after).await);
        };
        // Entries that retention removed leave a gap here, and the reader must not take what comes behind it for the
        // next event.
        if first.seq != after + 1 {
            return self.start_over(newest).await.map(Some);
        }
        let last = last.seq;
        let source = &self.context.orchestrator.settings().node;
        let wanted = entries.iter().filter(|entry| self.filter.wants(entry));
        let chunk: String = wanted
            .map(|entry| event(entry.seq, entry.fact.kind(), &entry.envelope(source.as_str())))
            .collect();
        self.position = StreamPosition::After(last);
        if chunk.is_empty() && entries.len() < PAGE {
            return Ok(None);
        }
        Ok(Some(if chunk.is_empty() { heartbeat(last) } else { chunk }))
    }

    /// Waits for more, at most until the next heartbeat is due.
    async fn wait(&mut self, after: u64) -> Option<String> {
        tokio::select! {
            Ok(()) = self.newest.changed() => None,
            () = &mut self.heartbeat => Some(heartbeat(after)),
        }
    }

    async fn start_over(&mut self, newest: u64) -> Result<String, StoreError> {
        let snapshot = self.snapshot(newest).await?;
        let reason = "the named event is not in this log, or what follows it is gone".to_owned();
        let why = EventReset { reason };
        Ok(format!("{}{snapshot}", event(newest, "reset", &why)))
    }

    /// Describes the state as of the newest event: counts, and what has not ended. Read after `newest`, so that an
    /// event may come again that it already shows, and none is left out.
    async fn snapshot(&mut self, newest: u64) -> Result<String, StoreError> {
        let orchestrator = &self.context.orchestrator;
        let (store, now) = (&orchestrator.ports().store, orchestrator.now());
        let query = Query {
            status: vec![Status::Spawning, Status::Running],
            task: self.filter.task.as_ref().map(ToString::to_string),
            id_prefix: self.filter.agent.map(|id| id.to_string()),
            limit: limits::SNAPSHOT_AGENTS + 1,
            ..Query::default()
        };
        let mut records = store.list(query).await?;
        let truncated = records.len() > limits::SNAPSHOT_AGENTS;
        records.truncate(limits::SNAPSHOT_AGENTS);
        let agents = records.iter().map(view::brief).collect();
        let pause = store.pause().await?.shown();
        let counts = store.counts(now).await?;
        let (counts, paused) = (counts.shown(), pause.is_some());
        let data = EventSnapshot { counts, paused, pause, agents, truncated };
        let data = serde_json::to_value(data).unwrap_or_default();
        let node = orchestrator.settings().node.as_str();
        let cloud = cloud_event(node, newest, "snapshot", "orchestrator", now, data);
        self.position = StreamPosition::After(newest);
        Ok(event(newest, "snapshot", &cloud))
    }
}
