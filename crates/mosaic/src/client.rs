//! The API as the commands call it: JSON over http, with deadlines everywhere and bounded answers. Error answers
//! become [`Problem::Api`]; a server that is not there becomes [`Problem::Unreachable`], and so does a program that
//! cannot prove that it is the server: a token goes to nothing else, and no answer of it is believed.

use std::io::{BufReader, Read};
use std::time::Duration;

use mosaic_api::{Readiness, ReceivedProblem, SseReader};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::{Method, Response};
use ureq::{Agent, Body};

use crate::config::Secret;
use crate::control::{self, Control};
use crate::locate::ServerLocation;
use crate::problem::{ApiProblem, Problem};
use crate::proof::Challenge;
use crate::sent::Sent;

/// Longest time until the connection stands.
const CONNECT: Duration = Duration::from_secs(2);
/// Longest time for an ordinary answer; the server lets an answer wait for at most 50 seconds.
const ANSWER: Duration = Duration::from_secs(70);
/// Longest time for kill-all: every agent gets its grace.
const KILL_ANSWER: Duration = Duration::from_secs(660);
/// Longest silence of a stream; the server sends a heartbeat every 15 seconds.
const STREAM_SILENCE: Duration = Duration::from_secs(60);
/// Largest JSON answer, in bytes.
const ANSWER_BYTES: u64 = 64 * 1024 * 1024;
/// Largest event of a stream, in bytes.
const EVENT_BYTES: u64 = 1024 * 1024;
/// Largest answer to a challenge, in bytes: a handful of proofs.
const HELLO_BYTES: u64 = 16 * 1024;

/// Says who sits at the command line.
const USER: &str = "x-mosaic-user";

/// Calls one server.
#[derive(Clone)]
pub(crate) struct Client {
    agent: Agent,
    url: String,
    token: Option<Secret>,
    /// The port that the server's proof must name.
    port: Option<u16>,
    /// Tried before the address; see [`Client::over`].
    control: Option<Control>,
}

/// An answer that is no error.
pub(crate) struct ApiAnswer {
    /// HTTP status.
    pub(crate) status: u16,
    /// The body; null when there is none.
    json: Value,
    /// The request that it answers, for messages.
    request: String,
}

impl ApiAnswer {
    /// Reads the body as a type of the API.
    pub(crate) fn read<T: DeserializeOwned>(self) -> Result<Sent<T>, Problem> {
        Sent::read(self.json).map_err(|e| {
            let what = format!(
                "the answer to {} is not as this version of the program expects it; use the program of the server's version",
                self.request
            );
            Problem::Other(anyhow::Error::new(e).context(what))
        })
    }
}

impl Client {
    /// Makes a client; nothing is sent yet.
    pub(crate) fn new(place: &ServerLocation) -> Self {
        // A redirect would lead to an address that has proved nothing, and a proxy of the environment would see the
        // token.
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_connect(Some(CONNECT))
            .timeout_resolve(Some(CONNECT))
            .timeout_per_write(Some(CONNECT * 5))
            .timeout_per_read(Some(STREAM_SILENCE))
            .user_agent(concat!("mosaic/", env!("CARGO_PKG_VERSION")))
            .build();
        Self {
            agent: config.new_agent(),
            url: place.url.clone(),
            token: place.token.clone(),
            port: place.port,
            control: None,
        }
    }

    /// Goes over the control socket where that answers at all; the server's address is the other way.
    pub(crate) fn over(self, control: Option<Control>) -> Self {
        Self { control, ..self }
    }

    /// Sends a request over the control socket; `None` when nobody is there.
    fn over_control(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        limit: Duration,
    ) -> Option<Result<(u16, Vec<u8>), Problem>> {
        let stream = self.control.as_ref()?.connect().ok()?;
        let mut headers = vec![("accept".to_owned(), "application/json".to_owned())];
        headers.extend(
            self.token.as_ref().map(|t| ("authorization".to_owned(), format!("Bearer {}", t.expose()))),
        );
        headers.extend(user().map(|name| (USER.to_owned(), name)));
        headers.extend(body.map(|_| ("content-type".to_owned(), "application/json".to_owned())));
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = control::Request { method: method.as_str(), target: path, headers, body };
        Some(control::ask(stream, &request, limit, ANSWER_BYTES).map_err(|e| Problem::Unreachable {
            what: format!("the server does not answer on its control socket: {e}"),
            hint: Some("look at its log; \"mosaic doctor\" says whether it lives".to_owned()),
        }))
    }

    /// Returns the server's address.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    fn send(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        body: Option<&Value>,
        extra: &[(&str, &str)],
        limit: Option<Duration>,
    ) -> Result<Response<Body>, Problem> {
        if let Some(token) = &self.token {
            // A stream has no limit of its own, but the proof before it is an ordinary answer.
            self.prove(token, limit.map_or(CONNECT * 5, |limit| limit.min(CONNECT * 5)))?;
        }
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("accept", accept);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {}", token.expose()));
        }
        if let Some(name) = user() {
            request = request.header(USER, name);
        }
        for (name, value) in extra {
            request = request.header(*name, *value);
        }
        let text = body.map(Value::to_string);
        if text.is_some() {
            request = request.header("content-type", "application/json");
        }
        // Sent with an empty body, a request without one still says `content-length: 0`.
        let request = request
            .body(text.unwrap_or_default())
            .map_err(|e| Problem::Other(anyhow::anyhow!("the request cannot be made: {e}")))?;
        let request = self
            .agent
            .configure_request(request)
            .timeout_global(limit)
            .timeout_per_read(limit.or(Some(STREAM_SILENCE)))
            .build();
        self.agent.run(request).map_err(|e| self.unreachable(&e))
    }

    /// Makes sure that the server at the address knows the token, before that is sent. Asked anew for every request: between
    /// two of them the server may have ended and its port been taken.
    fn prove(&self, token: &Secret, limit: Duration) -> Result<(), Problem> {
        let challenge = Challenge::new(token.expose())?;
        let request = ureq::http::Request::get(format!("{}{}", self.url, challenge.target()))
            .header("accept", "application/json")
            .body(String::new())
            .map_err(|e| Problem::Other(anyhow::anyhow!("the request cannot be made: {e}")))?;
        let request = self.agent.configure_request(request).timeout_global(Some(limit)).build();
        let response = self.agent.run(request).map_err(|e| self.unreachable(&e))?;
        let mut answer = Vec::new();
        let mut reader = response.into_body().into_reader().take(HELLO_BYTES);
        reader.read_to_end(&mut answer).map_err(|e| self.broken(&e))?;
        if challenge.is_met(&answer, self.port) {
            return Ok(());
        }
        let what = format!(
            "what answers at {} does not prove that it is the server of this token; the token was not sent",
            self.url
        );
        let hint = "if it is a mosaic server: it may have another token (--token-file), want none (ORCHESTRATOR_AUTH=off; then unset the token), or be of an earlier version (start it again)";
        Err(Problem::Unreachable { what, hint: Some(hint.to_owned()) })
    }

    fn unreachable(&self, error: &ureq::Error) -> Problem {
        Problem::Unreachable {
            what: format!("the server {} does not answer: {error}", self.url),
            hint: Some("is it running? start one with: mosaic serve".to_owned()),
        }
    }

    fn json(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        extra: &[(&str, &str)],
        limit: Duration,
    ) -> Result<ApiAnswer, Problem> {
        let named = method.clone();
        let (status, bytes) = match self.over_control(&method, path, body, limit) {
            Some(answered) => answered?,
            None => {
                let response = self.send(method, path, "application/json", body, extra, Some(limit))?;
                let status = response.status().as_u16();
                let mut bytes = Vec::new();
                let mut reader = response.into_body().into_reader().take(ANSWER_BYTES + 1);
                reader.read_to_end(&mut bytes).map_err(|e| self.broken(&e))?;
                (status, bytes)
            }
        };
        if bytes.len() as u64 > ANSWER_BYTES {
            return Err(Problem::Other(anyhow::anyhow!(
                "the server's answer is larger than {ANSWER_BYTES} bytes"
            )));
        }
        if status >= 300 {
            return Err(Problem::Api(problem_of(status, &bytes)));
        }
        let request = format!("{named} {}", path.split('?').next().unwrap_or(path));
        if bytes.is_empty() {
            return Ok(ApiAnswer { status, json: Value::Null, request });
        }
        let json =
            serde_json::from_slice(&bytes).map_err(|e| {
                Problem::Other(anyhow::Error::new(e).context(format!(
                    "{} answered something that is no JSON; is it a mosaic server?",
                    self.url
                )))
            })?;
        Ok(ApiAnswer { status, json, request })
    }

    fn broken(&self, error: &std::io::Error) -> Problem {
        Problem::Unreachable { what: format!("the connection to {} broke: {error}", self.url), hint: None }
    }

    /// Reads a resource.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Sent<T>, Problem> {
        self.json(Method::GET, path, None, &[], ANSWER)?.read()
    }

    /// Sends an order.
    pub(crate) fn post(&self, path: &str, body: &impl Serialize) -> Result<ApiAnswer, Problem> {
        self.json(Method::POST, path, Some(&json_of(body)?), &[], ANSWER)
    }

    /// Sends an order with an idempotency key.
    pub(crate) fn post_once(
        &self,
        path: &str,
        body: &impl Serialize,
        key: &str,
    ) -> Result<ApiAnswer, Problem> {
        self.json(Method::POST, path, Some(&json_of(body)?), &[("idempotency-key", key)], ANSWER)
    }

    /// Sends an order that stops many agents; waits longer than for other answers.
    pub(crate) fn post_stop<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Sent<T>, Problem> {
        self.json(Method::POST, path, Some(&json_of(body)?), &[], KILL_ANSWER)?.read()
    }

    /// Removes a resource.
    pub(crate) fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<Sent<T>, Problem> {
        self.json(Method::DELETE, path, None, &[], ANSWER)?.read()
    }

    /// Reads readiness: the body also when it says no.
    pub(crate) fn ready(&self) -> Result<(bool, Sent<Readiness>), Problem> {
        let response =
            self.send(Method::GET, "/health/ready", "application/json", None, &[], Some(CONNECT * 5))?;
        let ready = response.status().as_u16() == 200;
        let mut bytes = Vec::new();
        response
            .into_body()
            .into_reader()
            .take(ANSWER_BYTES)
            .read_to_end(&mut bytes)
            .map_err(|e| self.broken(&e))?;
        let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let answer = ApiAnswer { status: 0, json, request: "GET /health/ready".to_owned() };
        Ok((ready, answer.read()?))
    }

    /// Tells whether the server answers within this time: one that hangs takes connections and says nothing. A program that
    /// cannot prove that it is the server does not count.
    pub(crate) fn answers_within(&self, time: Duration) -> bool {
        if let Some(answered) = self.over_control(&Method::GET, "/health", None, time) {
            return answered.is_ok_and(|(status, _)| status < 300);
        }
        self.send(Method::GET, "/health", "application/json", None, &[], Some(time))
            .is_ok_and(|answer| answer.status().is_success())
    }

    /// Tells whether a server answers at all.
    pub(crate) fn answers(&self) -> bool {
        self.answers_within(CONNECT * 2)
    }

    /// Opens a stream of text in this form and returns its reader. It ends with an error when it is silent for
    /// too long.
    pub(crate) fn stream(&self, path: &str, accept: &str) -> Result<Box<dyn Read + Send>, Problem> {
        let response = self.send(Method::GET, path, accept, None, &[], None)?;
        let status = response.status().as_u16();
        let form =
            response.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
        let mut reader = response.into_body().into_reader();
        if status >= 300 {
            let mut bytes = Vec::new();
            reader.by_ref().take(ANSWER_BYTES).read_to_end(&mut bytes).map_err(|e| self.broken(&e))?;
            return Err(Problem::Api(problem_of(status, &bytes)));
        }
        if !form.starts_with(accept) {
            let shown = crate::sanitize::line(&form);
            return Err(Problem::Other(anyhow::anyhow!("the server answered {shown} instead of {accept}")));
        }
        Ok(Box::new(reader))
    }

    /// Reads the last bytes of a text; nothing when there is none.
    pub(crate) fn end_of(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>, Problem> {
        let range = format!("bytes=-{most}");
        let response =
            self.send(Method::GET, path, "text/plain", None, &[("range", &range)], Some(ANSWER))?;
        let status = response.status().as_u16();
        let (mut bytes, reader) = (Vec::new(), response.into_body().into_reader());
        reader.take(ANSWER_BYTES).read_to_end(&mut bytes).map_err(|e| self.broken(&e))?;
        match status {
            // A server that knows no ranges answers all of it.
            200 | 206 => {
                bytes.drain(..bytes.len().saturating_sub(most));
                Ok(Some(bytes))
            }
            404 | 416 => Ok(None),
            status => Err(Problem::Api(problem_of(status, &bytes))),
        }
    }

    /// Opens a stream of server-sent events.
    pub(crate) fn event_reader(
        &self,
        path: &str,
    ) -> Result<SseReader<BufReader<Box<dyn Read + Send>>>, Problem> {
        Ok(SseReader::new(BufReader::new(self.stream(path, "text/event-stream")?), EVENT_BYTES))
    }

    /// Reads server-sent events until the stream ends or `each` returns false: of each its kind and its data. Every entry
    /// carries its own number. What is no JSON is left out.
    pub(crate) fn events(
        &self,
        path: &str,
        mut each: impl FnMut(&str, Value) -> bool,
    ) -> Result<(), Problem> {
        for event in self.event_reader(path)? {
            let event = event.map_err(|e| self.broken(&e))?;
            if let Ok(data) = serde_json::from_str(&event.data)
                && !each(&event.event, data)
            {
                break;
            }
        }
        Ok(())
    }
}

fn json_of(body: &impl Serialize) -> Result<Value, Problem> {
    let failed = |e| Problem::Other(anyhow::Error::new(e).context("the request cannot be made"));
    serde_json::to_value(body).map_err(failed)
}

/// Returns who sits at this command line, as the environment says, when that can stand in a header. For the audit log,
/// which knows that it is only said.
pub(crate) fn user() -> Option<String> {
    let name = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).ok()?;
    let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'@');
    ((1..=64).contains(&name.len()) && name.bytes().all(ok)).then_some(name)
}

/// Reads an error answer, whoever sent it.
fn problem_of(status: u16, bytes: &[u8]) -> ApiProblem {
    let read: ReceivedProblem = serde_json::from_slice(bytes).unwrap_or_default();
    let detail = read.detail.or(read.message).or(read.title);
    ApiProblem {
        status,
        code: read.code.unwrap_or_default(),
        detail: detail.unwrap_or_else(|| format!("the server answered {status}")),
        hint: read.hint,
        fields: read.errors.into_iter().map(|field| (field.pointer, field.message)).collect(),
    }
}

/// Escapes a value for a path or a query.
pub(crate) fn escape(value: &str) -> String {
    let mut out = String::new();
    for b in value.bytes() {
        if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_answers_are_read_tolerantly() {
        let body = br#"{"code":"task_active","detail":"is worked on","hint":"wait","errors":[{"pointer":"/taskId","message":"active"}]}"#;
        let problem = problem_of(409, body);
        assert_eq!((problem.code.as_str(), problem.detail.as_str()), ("task_active", "is worked on"));
        assert_eq!(problem.fields, [("/taskId".to_owned(), "active".to_owned())]);
        assert_eq!(problem_of(502, b"<html>").detail, "the server answered 502");
    }

    #[test]
    fn values_in_addresses_are_escaped() {
        assert_eq!(escape("a/b c&ü"), "a%2Fb%20c%26%C3%BC");
    }
}
