//! The API of a server that may die at any moment: every call has a connection and a deadline of its own.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mosaic_api::{AgentView, Code, Event, EventEnvelope, Page, ProblemBody, SseBlock, SseEvent};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Outcome, while_};
use crate::connection::Connection;

/// Longest wait for one answer: a kill may use its grace and ten seconds more.
const ANSWER: Duration = Duration::from_secs(45);

/// Where a server answers.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
}

/// One entry of the event log.
#[derive(Debug, Clone)]
pub(crate) struct Logged {
    pub(crate) seq: u64,
    pub(crate) event: Event,
    agent: Option<String>,
}

impl Logged {
    /// Returns the agent it is about, or nothing.
    pub(crate) fn agent(&self) -> &str {
        self.agent.as_deref().unwrap_or_default()
    }
}

/// An answer, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    text: String,
}

impl Answer {
    /// Tells whether what was asked for was done, or begun.
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Reads the answer of a success.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Outcome<T> {
        match self.is_success() {
            true => serde_json::from_str(&self.text).map_err(while_(&self.text)),
            false => Err(format!("the answer was {self}")),
        }
    }

    /// Returns what is wrong, when the server says so.
    pub(crate) fn problem(&self) -> Option<ProblemBody> {
        serde_json::from_str(&self.text).ok().filter(|_| !self.is_success())
    }

    /// Tells whether it is a refusal with this code.
    pub(crate) fn is_refused(&self, status: u16, code: Code) -> bool {
        self.status == status && self.problem().is_some_and(|problem| problem.code == code.as_str())
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.text)
    }
}

impl Api {
    fn connection(&self) -> Outcome<Connection> {
        Connection::open(self.address, &self.token, ANSWER).map_err(while_("connecting"))
    }

    /// Sends a request; an error means that no whole answer came.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: Option<&Value>,
    ) -> Outcome<Answer> {
        let key = key.map(|key| format!("Idempotency-Key: {key}\r\n")).unwrap_or_default();
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut connection = self.connection()?;
        let (status, answer) = connection.send(method, path, &key, &body).map_err(while_(path))?;
        let text = String::from_utf8(answer.to_owned()).map_err(while_(path))?;
        Ok(Answer { status, text })
    }

    /// Reads a resource that exists.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Outcome<T> {
        let answer = self.send("GET", path, None, None)?;
        answer.read().map_err(while_(path))
    }

    /// Reads every agent.
    pub(crate) fn agents(&self) -> Outcome<Vec<AgentView>> {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page: Page<AgentView> = self.get(&format!("/v1/agents?limit=100{cursor}"))?;
            found.extend(page.items);
            match page.next_cursor {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(found),
            }
        }
    }

    /// Follows the event log from its first entry until `enough` says so; false when the time is over before or the
    /// server is gone.
    pub(crate) fn follow(&self, until: Instant, enough: impl FnMut(&Logged) -> bool) -> Outcome<bool> {
        self.listen("?after=0", until, enough)
    }

    /// Reads the whole event log, as it is now: the first event of a new reader says how far it goes.
    pub(crate) fn events(&self) -> Outcome<Vec<Logged>> {
        let until = Instant::now() + ANSWER;
        let mut newest = None;
        self.listen("", until, |event| {
            newest = Some(event.seq);
            true
        })?;
        let newest = newest.ok_or("the event stream does not begin")?;
        let mut all = Vec::new();
        let whole = newest == 0
            || self.listen("?after=0", until, |event| {
                all.push(event.clone());
                event.seq >= newest
            })?;
        if whole { Ok(all) } else { Err(format!("the event log ends after {} of {newest}", all.len())) }
    }

    fn listen(&self, query: &str, until: Instant, mut enough: impl FnMut(&Logged) -> bool) -> Outcome<bool> {
        let silence = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let mut events = self
            .connection()?
            .events(&format!("/v1/events{query}"), silence)
            .map_err(while_("event stream"))?;
        while Instant::now() <= until {
            match events.next_block() {
                // It has no envelope: the log was pruned, and what follows begins anew.
                Ok(SseBlock::Event(SseEvent { event, .. })) if event == "reset" => {}
                Ok(SseBlock::Event(SseEvent { id, data, .. })) => {
                    let seq = id.parse().map_err(while_("event id"))?;
                    let envelope: EventEnvelope = serde_json::from_str(&data).map_err(while_("event"))?;
                    let event = envelope.event();
                    if enough(&Logged { seq, event, agent: envelope.data.agent_id }) {
                        return Ok(true);
                    }
                }
                Ok(SseBlock::Nothing) => {}
                Ok(SseBlock::End) | Err(_) => break,
            }
        }
        Ok(false)
    }
}
