//! One request to a coordinator, on a connection of its own: no redirect is followed, no proxy asked, and an answer is read within its
//! bound. Dropping the future closes the connection, by which the coordinator learns that nobody waits any more.

use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::client::conn::http1;
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, USER_AGENT,
};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use mosaic_core::limits;
use rustix::net::sockopt;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::address::CoordinatorUrl;
use super::tls::{Connector, TlsError};
use crate::disk;

/// Bytes of a file that are read at once.
const PIECE: usize = 256 * 1024;
/// Idle time after which the kernel asks whether the other end is still there, and between its questions: a check may be silent for
/// as long as its gates run.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Reason why there is no answer.
#[derive(Debug, Error)]
pub(super) enum HttpError {
    /// No connection came about.
    #[error("it cannot be connected to: {0}")]
    Connect(#[source] io::Error),
    /// It did not answer in time.
    #[error("it does not answer")]
    Silent,
    /// There is no encrypted connection.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The connection ended, or what came is no HTTP.
    #[error("the connection broke before there was an answer: {0}")]
    Broken(#[from] hyper::Error),
    /// The request cannot be written.
    #[error("the request cannot be made: {0}")]
    Request(#[from] hyper::http::Error),
    /// The answer is larger than is read.
    #[error("its answer has more than {0} bytes")]
    TooLarge(usize),
}

/// Body of a request.
pub(super) enum Outgoing {
    /// JSON.
    Json(Vec<u8>),
    /// The content of a file.
    File(PathBuf),
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: String,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Vec<u8>,
}

/// Sends requests to one coordinator.
pub(super) struct Http {
    url: CoordinatorUrl,
    token: Option<String>,
    connector: OnceCell<Arc<Connector>>,
}

type Body = BoxBody<Bytes, io::Error>;

impl Http {
    pub(super) fn new(url: CoordinatorUrl, token: Option<String>) -> Self {
        Self { url, token, connector: OnceCell::new() }
    }

    /// Posts a body.
    pub(super) async fn post(&self, route: &str, body: Outgoing, most: usize) -> Result<Answer, HttpError> {
        let (kind, body) = match body {
            Outgoing::Json(bytes) => {
                ("application/json", Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed())
            }
            Outgoing::File(path) => ("application/octet-stream", file(path)),
        };
        self.send(Method::POST, route, Some(kind), body, most).await
    }

    /// Reads a route.
    pub(super) async fn get(&self, route: &str, most: usize) -> Result<Answer, HttpError> {
        let nothing = Full::new(Bytes::new()).map_err(|never| match never {}).boxed();
        self.send(Method::GET, route, None, nothing, most).await
    }

    async fn send(
        &self,
        method: Method,
        route: &str,
        kind: Option<&'static str>,
        body: Body,
        most: usize,
    ) -> Result<Answer, HttpError> {
        let mut request = Request::builder()
            .method(method)
            .uri(self.url.target(route))
            .header(HOST, self.url.authority())
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("mosaic/", env!("CARGO_PKG_VERSION")));
        if let Some(kind) = kind {
            request = request.header(CONTENT_TYPE, kind);
        }
        if let Some(token) = &self.token {
            let mut value =
                HeaderValue::from_str(&format!("Bearer {token}")).map_err(hyper::http::Error::from)?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let request = request.body(body)?;
        let connected = timeout(limits::CHECK_CONNECT, self.connect()).await;
        match connected.map_err(|_| HttpError::Silent)?? {
            Stream::Plain(stream) => exchange(stream, request, most).await,
            Stream::Tls(stream) => exchange(*stream, request, most).await,
        }
    }

    async fn connect(&self) -> Result<Stream, HttpError> {
        let address = (self.url.host(), self.url.port());
        let socket = TcpStream::connect(address).await.map_err(HttpError::Connect)?;
        // Neither is worth an error: without them a dead machine is noticed at the deadline.
        let _ = socket.set_nodelay(true);
        let _ = keep_alive(&socket);
        if !self.url.is_tls() {
            return Ok(Stream::Plain(socket));
        }
        let make = || async { Connector::new().map(Arc::new) };
        let connector = self.connector.get_or_try_init(make).await?;
        Ok(Stream::Tls(Box::new(connector.wrap(self.url.host(), socket).await?)))
    }
}

fn keep_alive(socket: &TcpStream) -> rustix::io::Result<()> {
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(socket, KEEPALIVE)
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

/// Sends a request and reads its answer to the end.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    request: Request<Body>,
    most: usize,
) -> Result<Answer, HttpError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // The set ends the connection's task with this future.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let response = sender.send_request(request).await?;
    read(response, most).await
}

async fn read(response: Response<Incoming>, most: usize) -> Result<Answer, HttpError> {
    let text = |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let status = response.status().as_u16();
    let content_type = text(CONTENT_TYPE).unwrap_or_default().to_owned();
    // A date is left out: what it says depends on the clock of another machine.
    let retry_after = text(RETRY_AFTER).and_then(|value| value.trim().parse().ok()).map(Duration::from_secs);
    let announced = text(CONTENT_LENGTH).and_then(|value| value.parse::<usize>().ok());
    if announced.is_some_and(|length| length > most) {
        return Err(HttpError::TooLarge(most));
    }
    let (mut body, mut bytes) = (response.into_body(), Vec::new());
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref() {
            if bytes.len() + data.len() > most {
                return Err(HttpError::TooLarge(most));
            }
            bytes.extend_from_slice(data);
        }
    }
    Ok(Answer { status, content_type, retry_after, body: bytes })
}

/// Streams a file, a piece at a time.
fn file(path: PathBuf) -> Body {
    let pieces = stream::try_unfold((path, None::<std::fs::File>), |(path, opened)| async move {
        let read = disk::run(move || {
            let mut file = match opened {
                Some(file) => file,
                None => std::fs::File::open(&path)?,
            };
            let mut piece = Vec::new();
            file.by_ref().take(PIECE as u64).read_to_end(&mut piece)?;
            Ok::<_, io::Error>((piece, path, file))
        });
        let (piece, path, file) = read.await??;
        let next = (!piece.is_empty()).then(|| (Frame::data(Bytes::from(piece)), (path, Some(file))));
        Ok::<_, io::Error>(next)
    });
    StreamBody::new(Box::pin(pieces)).boxed()
}
