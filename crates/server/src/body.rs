//! Request bodies: JSON only, bounded in size and time, with the position of a syntax error.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use futures_util::StreamExt;
use mosaic_api::Code;
use mosaic_core::Orchestrator;
use mosaic_core::domain::ids::is_unprintable;
use mosaic_core::domain::spec::{FieldError, closest};
use mosaic_core::limits;
use serde_json::Value;

use crate::context::Context;
use crate::problem::Problem;
use crate::strict_json::Strict;

/// A body that must be there.
pub(crate) struct Json(pub(crate) Value);

/// A body that may be left out.
pub(crate) struct OptionalJson(Option<Value>);

impl FromRequest<Context> for Json {
    type Rejection = Problem;

    async fn from_request(request: Request, context: &Context) -> Result<Self, Problem> {
        let (headers, bytes) = read(request, context).await?;
        check_type(&headers)?;
        parse(&bytes).map(Self)
    }
}

impl FromRequest<Context> for OptionalJson {
    type Rejection = Problem;

    async fn from_request(request: Request, context: &Context) -> Result<Self, Problem> {
        let (headers, bytes) = read(request, context).await?;
        Self::parse(&headers, &bytes)
    }
}

impl OptionalJson {
    /// Reads a body that was received already.
    pub(crate) fn parse(headers: &HeaderMap, bytes: &[u8]) -> Result<Self, Problem> {
        if bytes.is_empty() {
            return Ok(Self(None));
        }
        check_type(headers)?;
        parse(bytes).map(Some).map(Self)
    }

    /// Reads an object; nothing is an empty one.
    pub(crate) fn object(self) -> Result<serde_json::Map<String, Value>, Problem> {
        match self.0 {
            None | Some(Value::Null) => Ok(serde_json::Map::new()),
            Some(Value::Object(fields)) => Ok(fields),
            Some(_) => Err(Problem::field("", "the body must be a JSON object")),
        }
    }

    /// Takes one field out of an object, for a route that knows more than a reason.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.as_mut()?.as_object_mut()?.remove(name)
    }

    /// Reads `{"reason": "…"}`, the only thing that an order may say. Secrets in it are hidden: no order fails because of its
    /// reason.
    pub(crate) fn reason(self, o: &Orchestrator) -> Result<Option<String>, Problem> {
        let mut errors = Vec::new();
        let mut fault = |pointer: String, code: &str, message: String| {
            errors.push(FieldError { pointer, code: code.to_owned(), message });
        };
        let mut reason = None;
        match self.0 {
            None | Some(Value::Null) => {}
            Some(Value::Object(fields)) => {
                for (key, value) in fields {
                    match (key.as_str(), value) {
                        ("reason", Value::Null) => {}
                        ("reason", Value::String(text)) if text.len() > limits::REASON_BYTES => {
                            fault(
                                "/reason".to_owned(),
                                "range",
                                format!("is longer than {} bytes", limits::REASON_BYTES),
                            );
                        }
                        ("reason", Value::String(text)) if text.chars().any(is_unprintable) => {
                            fault(
                                "/reason".to_owned(),
                                "invalid",
                                "must not contain control characters".to_owned(),
                            );
                        }
                        ("reason", Value::String(text)) => {
                            reason =
                                Some(text).filter(|text| !text.trim().is_empty()).map(|text| o.hide(text));
                        }
                        ("reason", _) => fault("/reason".to_owned(), "type", "must be a string".to_owned()),
                        (other, _) => fault(pointer(other), "unknown", unknown(other, "field", &["reason"])),
                    }
                }
            }
            Some(_) => fault(String::new(), "type", "the body must be a JSON object".to_owned()),
        }
        if errors.is_empty() { Ok(reason) } else { Err(Problem::invalid(errors)) }
    }
}

fn pointer(key: &str) -> String {
    format!("/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// Says that a name is unknown, and which one may be meant.
pub(crate) fn unknown(name: &str, what: &str, known: &[&str]) -> String {
    let shown: String = name.chars().take(64).flat_map(char::escape_default).collect();
    match closest(name, known) {
        Some(near) => format!("unknown {what} \"{shown}\" (did you mean \"{near}\"?)"),
        None if known.is_empty() => format!("unknown {what} \"{shown}\"; there are none here"),
        None => format!("unknown {what} \"{shown}\"; known are: {}", known.join(", ")),
    }
}

fn too_large(most: usize) -> Problem {
    let problem = Problem::new(Code::PayloadTooLarge, format!("the body is larger than {most} bytes"));
    match most {
        limits::BODY_BYTES => problem.hint("put long texts into a work item file of the repository"),
        _ => problem,
    }
}

/// Reads a body to its end, within bounds.
pub(crate) async fn read(request: Request, context: &Context) -> Result<(HeaderMap, Vec<u8>), Problem> {
    read_within(request, context, limits::BODY_BYTES).await
}

/// Reads a body of JSON that may have at most so many bytes.
pub(crate) async fn json_within(request: Request, context: &Context, most: usize) -> Result<Value, Problem> {
    let (headers, bytes) = read_within(request, context, most).await?;
    check_type(&headers)?;
    parse(&bytes)
}

async fn read_within(
    request: Request,
    context: &Context,
    most: usize,
) -> Result<(HeaderMap, Vec<u8>), Problem> {
    let (parts, body) = request.into_parts();
    let announced =
        parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > most as u64) {
        return Err(too_large(most));
    }
    let late = context.orchestrator.ports().clock.sleep(limits::BODY_READ);
    tokio::select! {
        bytes = collect(body, most) => Ok((parts.headers, bytes?)),
        () = late => {
            let text = format!("the body did not arrive within {} s", limits::BODY_READ.as_secs());
            Err(Problem::new(Code::RequestTimeout, text))
        }
    }
}

async fn collect(body: Body, most: usize) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk =
            chunk.map_err(|e| Problem::new(Code::InvalidJson, format!("the body could not be read: {e}")))?;
        // A body in chunks announces no length, so only the bytes that have come say how long it is.
        if bytes.len() + chunk.len() > most {
            return Err(too_large(most));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let sent = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let mut parts = sent.split(';').map(|part| part.trim().to_ascii_lowercase());
    let name = parts.next().unwrap_or_default();
    let is_json = name == "application/json" || (name.starts_with("application/") && name.ends_with("+json"));
    let is_utf8 = parts.all(|part| match part.strip_prefix("charset=") {
        Some(charset) => matches!(charset.trim_matches('"'), "utf-8" | "utf8"),
        None => true,
    });
    if is_json && is_utf8 {
        return Ok(());
    }
    let text = if sent.is_empty() {
        "the body has no Content-Type"
    } else {
        "the body's Content-Type is not JSON in UTF-8"
    };
    Err(Problem::new(Code::UnsupportedMediaType, text).hint("send \"Content-Type: application/json\""))
}

/// Parses a body. A field that an object names twice is refused: which of the two counts differs from reader to reader, so
/// that one before this server may have judged the other.
fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    serde_json::from_slice(bytes).map(|Strict(value)| value).map_err(|e| {
        Problem::new(Code::InvalidJson, format!("the body is not valid JSON: {e}"))
            .with("line", e.line() as u64)
            .with("column", e.column() as u64)
    })
}
