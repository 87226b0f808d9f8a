//! How the demo talks to its own server: as every other program does, over the public API.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::serve::LocalServer;

/// Longest time for one answer; a kill takes its grace.
const ANSWER: Duration = Duration::from_secs(30);
/// Longest time for the whole play.
const PLAY: Duration = Duration::from_secs(180);

/// A small client of one server.
pub(super) struct Stage {
    agent: ureq::Agent,
    url: String,
    bearer: Option<String>,
}

impl Stage {
    pub(super) fn new(server: &LocalServer) -> Self {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
        let bearer = Some(server.token()).filter(|token| !token.is_empty()).map(|token| format!("Bearer {token}"));
        Self { agent, url: server.url().to_owned(), bearer }
    }

    pub(super) fn get(&self, path: &str) -> anyhow::Result<Value> {
        let mut request = self.agent.get(format!("{}{path}", self.url)).config().timeout_global(Some(ANSWER)).build();
        if let Some(bearer) = &self.bearer {
            request = request.header("authorization", bearer);
        }
        answer(path, request.call())
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let mut request = self.agent.post(format!("{}{path}", self.url)).config().timeout_global(Some(ANSWER)).build();
        if let Some(bearer) = &self.bearer {
            request = request.header("authorization", bearer);
        }
        answer(path, request.send_json(body))
    }

    /// Reads events from the first one on until the listener says that it has heard enough.
    pub(super) fn events(&self, mut listen: impl FnMut(&str, &Value) -> anyhow::Result<bool>) -> anyhow::Result<()> {
        let mut request = self.agent.get(format!("{}/v1/events?after=0", self.url)).config().timeout_global(Some(PLAY)).build();
        if let Some(bearer) = &self.bearer {
            request = request.header("authorization", bearer);
        }
        let mut response = request.header("accept", "text/event-stream").call().context("the event stream cannot be read")?;
        let mut kind = String::new();
        for line in BufReader::new(response.body_mut().as_reader()).lines() {
            let line = line.context("the event stream broke off")?;
            if let Some(name) = line.strip_prefix("event: ") {
                name.clone_into(&mut kind);
            } else if let Some(data) = line.strip_prefix("data: ") {
                let event: Value = serde_json::from_str(data).context("an event is not JSON")?;
                if !listen(&kind, &event["data"])? {
                    return Ok(());
                }
            }
        }
        bail!("the event stream ended before the play did")
    }
}

fn answer(path: &str, response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> anyhow::Result<Value> {
    let mut response = response.with_context(|| format!("{path}: the server does not answer"))?;
    let body: Value = response.body_mut().read_json().with_context(|| format!("{path}: the answer is not JSON"))?;
    if !response.status().is_success() {
        bail!("{path}: {}", body["detail"].as_str().unwrap_or("refused"));
    }
    Ok(body)
}
