//! Host and Origin: a page in somebody's browser must not be able to call the server, neither under a name of its
//! own that resolves to this machine (DNS rebinding) nor across origins. Checked on every route, before the token.

use std::net::{IpAddr, Ipv6Addr};

use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use mosaic_api::Code;

use crate::context::Context;
use crate::problem::Problem;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A host with an optional port, taken apart; the name is lower-case without a dot at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Authority {
    host: String,
    port: Option<u16>,
}

impl Authority {
    /// Reads `name`, `name:port`, `1.2.3.4:port` and `[::1]:port`. Nothing else, above all no user part.
    fn parse(text: &str) -> Option<Self> {
        let (host, rest) = match text.strip_prefix('[') {
            Some(v6) => {
                let (address, rest) = v6.split_once(']')?;
                (address.parse::<Ipv6Addr>().ok()?.to_string(), rest)
            }
            None => {
                let end = text.find(':').unwrap_or(text.len());
                let (name, rest) = text.split_at(end);
                let name = name.strip_suffix('.').unwrap_or(name);
                let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
                let label = |part: &str| !part.is_empty() && part.bytes().all(ok);
                if name.len() > 253 || !name.split('.').all(label) {
                    return None;
                }
                (name.to_ascii_lowercase(), rest)
            }
        };
        let port = match rest.strip_prefix(':') {
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                Some(digits.parse().ok().filter(|p| *p > 0)?)
            }
            None if rest.is_empty() => None,
            _ => return None,
        };
        Some(Self { host, port })
    }

    /// Tells whether it may name this server.
    fn is_allowed(&self, configured: &[String]) -> bool {
        // DNS rebinding needs a name: a page whose host is an address came from the server at that address. Names below
        // localhost cannot be registered by others (RFC 6761).
        self.host.parse::<IpAddr>().is_ok()
            || self.host == "localhost"
            || self.host.ends_with(".localhost")
            || configured.iter().any(|name| name.trim_end_matches('.').eq_ignore_ascii_case(&self.host))
    }
}

fn single_value<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| ()),
        _ => Err(()),
    }
}

fn check_host(headers: &HeaderMap, uri: &Uri, configured: &[String]) -> Result<Authority, Problem> {
    let refuse = |what: &str| {
        Problem::new(Code::HostNotAllowed, what)
            .hint("call the server by IP address or as localhost, or add the name to MOSAIC_ALLOWED_HOSTS")
    };
    let host =
        single_value(headers, &HOST).map_err(|()| refuse("the Host header is not one readable value"))?;
    let host = host.ok_or_else(|| refuse("there is no Host header"))?;
    let host = Authority::parse(host).filter(|host| host.is_allowed(configured));
    let host = host.ok_or_else(|| refuse("the server does not answer under this Host"))?;
    // A request line with a whole URL names the host a second time; both must be ours.
    if let Some(target) = uri.authority()
        && Authority::parse(target.as_str()).is_none_or(|target| target != host)
    {
        return Err(refuse("the request line names another host than the Host header"));
    }
    Ok(host)
}

fn same_origin(origin: &str, host: &Authority, public_url: Option<&str>) -> bool {
    if public_url.is_some_and(|url| url.eq_ignore_ascii_case(origin)) {
        return true;
    }
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let default = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return false,
    };
    Authority::parse(authority).is_some_and(|from| {
        from.host == host.host && from.port.unwrap_or(default) == host.port.unwrap_or(default)
    })
}

fn check_origin(request: &Request, host: &Authority, public_url: Option<&str>) -> Result<(), Problem> {
    let headers = request.headers();
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    // Without CORS headers a page of another origin reads no answer, so safe requests do no harm. A stream would hold a
    // connection all the same.
    let wants_stream = headers
        .get_all(ACCEPT)
        .iter()
        .any(|value| value.to_str().is_ok_and(|v| v.to_ascii_lowercase().contains("text/event-stream")));
    if is_safe && !wants_stream && request.uri().path() != "/v1/events" {
        return Ok(());
    }
    let refused =
        Err(Problem::new(Code::OriginNotAllowed, "the request comes from a page of another origin")
            .hint("call the API from the page's own server, not from the browser"));
    match single_value(headers, &ORIGIN) {
        Err(()) => refused,
        Ok(Some(origin)) if !same_origin(origin, host, public_url) => refused,
        Ok(Some(_)) => Ok(()),
        // Browsers that leave out Origin still say where a request comes from.
        Ok(None) => match headers.get(FETCH_SITE).map(|v| v.as_bytes()) {
            None | Some(b"same-origin" | b"none") => Ok(()),
            Some(_) => refused,
        },
    }
}

/// The door in front of everything.
pub(crate) async fn check(State(context): State<Context>, request: Request, next: Next) -> Response {
    let options = &context.options;
    let checked = check_host(request.headers(), request.uri(), &options.allowed_hosts)
        .and_then(|host| check_origin(&request, &host, options.public_url.as_deref()));
    match checked {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}
