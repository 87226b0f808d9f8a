//! A small client: JSON in and out, every answer with a deadline.

use std::io::BufReader;

use mosaic_api::SseReader;
use serde_json::Value;
use ureq::http::{HeaderMap, Method, Request};

use super::PATIENCE;

/// Largest answer and largest event, in bytes.
const ANSWER_BYTES: u64 = 256 * 1024 * 1024;

/// Calls one server.
#[derive(Clone)]
pub(crate) struct Http {
    agent: ureq::Agent,
    url: String,
    token: Option<String>,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) body: Value,
}

impl Http {
    pub(crate) fn new(url: &str, token: Option<&str>) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None);
        let agent = config.timeout_global(Some(PATIENCE * 2)).build().into();
        Self { agent, url: url.to_owned(), token: token.map(str::to_owned) }
    }

    pub(crate) fn anonymous(&self) -> Self {
        Self { token: None, ..self.clone() }
    }

    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Reply {
        self.try_send(method, path, body).unwrap_or_else(|e| panic!("{path}: no answer: {e}"))
    }

    fn try_send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Reply, ureq::Error> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = match body {
            Some(body) => {
                let request = request.header("content-type", "application/json").body(body.to_string());
                self.agent.run(request.unwrap())
            }
            None => self.agent.run(request.body(()).unwrap()),
        };
        let mut response = response?;
        let text = response.body_mut().with_config().limit(ANSWER_BYTES).read_to_string()?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Reply { status: response.status().as_u16(), headers: response.headers().clone(), text, body })
    }

    /// Reads the event log after an event, up to the newest one there is: its number, and the kind and the agent of each.
    pub(crate) fn log(&self, after: u64) -> (u64, Vec<(String, String)>) {
        let newest = self.listen("", |_| true).last().expect("a new reader is told where the log is").0;
        if newest <= after {
            return (newest, Vec::new());
        }
        let read = self.listen(&format!("?after={after}"), |number| number >= newest);
        let agent = |event: &Value| event["data"]["agentId"].as_str().unwrap_or_default().to_owned();
        (newest, read.into_iter().map(|(_, kind, event)| (kind, agent(&event))).collect())
    }

    /// Returns the data of every event of a kind that was logged of an agent.
    pub(crate) fn logged(&self, kind: &str, agent: &str) -> Vec<Value> {
        // The stream has no end, so the number at which to stop reading is asked for first.
        let newest = self.listen("", |_| true).last().expect("a new reader is told where the log is").0;
        let read = self.listen("?after=0", |number| number >= newest).into_iter();
        let of_kind = read.filter(|(_, found, _)| found == kind).map(|(_, _, event)| event["data"].clone());
        of_kind.filter(|data| data["agentId"] == agent).collect()
    }

    /// Listens to events until one has a number that is enough.
    fn listen(&self, query: &str, enough: impl Fn(u64) -> bool) -> Vec<(u64, String, Value)> {
        let token = self.token.as_deref().unwrap_or_default();
        let request = Request::get(format!("{}/v1/events{query}", self.url))
            .header("authorization", format!("Bearer {token}"))
            .header("accept", "text/event-stream");
        let mut response = self.agent.run(request.body(()).unwrap()).unwrap();
        let mut all = Vec::new();
        for event in SseReader::new(BufReader::new(response.body_mut().as_reader()), ANSWER_BYTES) {
            let event = event.unwrap();
            let number = event.id.parse().unwrap();
            let data: Value = serde_json::from_str(&event.data).unwrap();
            all.push((number, event.event, data));
            if enough(number) {
                return all;
            }
        }
        panic!("the event stream ended after {}", all.len());
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, None)
    }

    pub(crate) fn post(&self, path: &str, body: Option<&Value>) -> Reply {
        self.send(Method::POST, path, body)
    }

    /// Reads from a server that may be gone.
    pub(crate) fn try_get(&self, path: &str) -> Result<Reply, ureq::Error> {
        self.try_send(Method::GET, path, None)
    }

    /// Posts to a server that may be gone.
    pub(crate) fn try_post(&self, path: &str, body: &Value) -> Result<Reply, ureq::Error> {
        self.try_send(Method::POST, path, Some(body))
    }

    pub(crate) fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, None)
    }
}

impl Reply {
    /// Returns the body of an answer with this status; fails with the whole answer otherwise.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.body
    }
}
