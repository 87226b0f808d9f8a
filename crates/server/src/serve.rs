//! The listening side: one task per connection, each with deadlines, all joined before the end.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use mosaic_core::limits;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};
use tower::ServiceExt;

use crate::connection_pool::{ConnectionLimits, HeldBody, Pool, PooledConnection};
use crate::reserved_connections::{Lane, ReservedConnection};

/// Pause after a connection could not be taken, above all when descriptors have run out.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves until `shutdown` is ready; then takes no more connections, lets running answers end for at most
/// [`limits::HTTP_GRACE`], and drops what is left, event streams above all.
///
/// Slow clients cost a descriptor and no more: the head of a request must arrive within [`limits::HEADER_READ`],
/// its body within [`limits::BODY_READ`], and an answer must be taken, be it slowly, within [`limits::WRITE_STALL`].
/// When all connections are open, one without a request makes way for the next; when each is busy, some more are taken
/// for orders to stop.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    most: ConnectionLimits,
    shutdown: impl Future,
) -> io::Result<()> {
    let listener_limits = ListenerLimits { open: most.open, reserved: most.reserved, lane: Lane::Reserve };
    take(listener, router, listener_limits, shutdown).await
}

/// Serves the control socket in the same way: orders to stop, on connections of its own.
pub async fn serve_control(
    listener: UnixListener,
    router: Router,
    most: ConnectionLimits,
    shutdown: impl Future,
) -> io::Result<()> {
    let listener_limits = ListenerLimits { open: 0, reserved: most.control, lane: Lane::Control };
    take(listener, router, listener_limits, shutdown).await
}

/// Numbers of connections that are taken.
struct ListenerLimits {
    /// For everything.
    open: usize,
    /// For orders to stop, besides.
    reserved: usize,
    /// Kind of the latter, which decides what is answered on them.
    lane: Lane,
}

/// Something that connections come from.
trait Listener {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Waits for the next one; also says where it comes from, when that is a machine.
    async fn next(&self) -> io::Result<(Self::Stream, Option<IpAddr>)>;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<(TcpStream, Option<IpAddr>)> {
        let (stream, from) = self.accept().await?;
        // Only fails when the other side has gone already, which is its own affair and found out soon.
        let _ = stream.set_nodelay(true);
        Ok((stream, Some(from.ip())))
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<(UnixStream, Option<IpAddr>)> {
        self.accept().await.map(|(stream, _)| (stream, None))
    }
}

async fn take<D: Listener>(
    listener: D,
    router: Router,
    listener_limits: ListenerLimits,
    shutdown: impl Future,
) -> io::Result<()> {
    let mut shutdown = pin!(shutdown);
    let stop = watch::Sender::new(false);
    let pool = Pool::new(listener_limits.open);
    let mut reserved = ReservedConnections { most: listener_limits.reserved, taken: VecDeque::new() };
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = &mut shutdown => break,
            // Tasks that have ended are collected here; the set would otherwise grow with every connection that ever
            // was.
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = async {
                // No connection is accepted before there is a place for it. Those that wait in the backlog of the
                // kernel cost no descriptor.
                reserved.vacant(&pool).await;
                listener.next().await
            } => accepted,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(e) => {
                tracing::warn!(error = %e, "a connection could not be taken");
                // Descriptors that idle callers hold are what others need now, orders to stop above all.
                pool.make_way();
                if timeout(ACCEPT_AGAIN, &mut shutdown).await.is_ok() {
                    break;
                }
                continue;
            }
        };
        match pool.take(from, Instant::now()) {
            Some(held) => {
                let id = held.id();
                let held = Arc::new(Connection::Pooled(held));
                let task = connections.spawn(connection(stream, router.clone(), held, stop.subscribe()));
                pool.runs(id, task);
            }
            None => {
                let reservation = ReservedConnection::new(listener_limits.lane);
                let held = Arc::new(Connection::Reserved(reservation.clone()));
                let task = connections.spawn(connection(stream, router.clone(), held, stop.subscribe()));
                reserved.fill(reservation, task);
            }
        }
    }
    // Closed before the grace begins: a client that connects now is refused at once, and is not left in the backlog of
    // a server that ends.
    drop(listener);
    stop.send_replace(true);
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(limits::HTTP_GRACE, all).await.is_err() {
        connections.shutdown().await;
    }
    Ok(())
}

/// The connections kept for orders to stop, oldest first.
struct ReservedConnections {
    most: usize,
    taken: VecDeque<(Instant, ReservedConnection, AbortHandle)>,
}

impl ReservedConnections {
    /// Waits until one more could be taken: the pool has a free one, a reserved one is free, or a client that has said nothing yet can
    /// make way.
    async fn vacant(&mut self, pool: &Pool) {
        while !pool.has_room(Instant::now()) {
            self.taken.retain(|(_, _, connection)| !connection.is_finished());
            let idle = self.taken.iter().filter(|(_, reservation, _)| !reservation.is_settled());
            let oldest = idle.map(|(since, _, _)| *since + limits::STOP_HEAD_START).min();
            if self.taken.len() < self.most || oldest.is_some_and(|until| until <= Instant::now()) {
                return;
            }
            // Whoever ends meanwhile wakes the loop that waits here.
            let again = Instant::now() + ACCEPT_AGAIN;
            sleep_until(oldest.map_or(again, |oldest| oldest.min(again))).await;
        }
    }

    /// Takes one more; the one that has said nothing for longest makes way when all are taken.
    fn fill(&mut self, reservation: ReservedConnection, connection: AbortHandle) {
        if self.taken.len() >= self.most
            && let Some(index) = self.taken.iter().position(|(_, reservation, _)| !reservation.is_settled())
            && let Some((_, _, idle)) = self.taken.remove(index)
        {
            idle.abort();
        }
        self.taken.push_back((Instant::now(), reservation, connection));
    }
}

/// A connection: one of the pool, or one of those kept for orders to stop.
enum Connection {
    Pooled(PooledConnection),
    Reserved(ReservedConnection),
}

/// Answers one request; on a pooled connection it counts as under way until its answer is sent.
async fn answer(
    held: &Connection,
    router: Router,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    let mut request = request.map(Body::new);
    match held {
        Connection::Reserved(reservation) => {
            request.extensions_mut().insert(reservation.clone());
            router.oneshot(request).await
        }
        Connection::Pooled(connection) => {
            let visit = connection.begin();
            request.extensions_mut().insert(visit.clone());
            let mut response = router.oneshot(request).await?;
            if turns_away(response.status()) {
                // Whoever may not call gets one answer a connection: a thousand requests sent ahead cost nothing then.
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response.map(|body| Body::new(HeldBody::new(body, visit))))
        }
    }
}

/// Tells whether an answer says that the caller or the name it called is not let in.
fn turns_away(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::MISDIRECTED_REQUEST)
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    router: Router,
    held: Arc<Connection>,
    mut stop: watch::Receiver<bool>,
) {
    let mut builder = hyper::server::conn::http1::Builder::new();
    let reserved = matches!(*held, Connection::Reserved(_));
    let head_deadline = if reserved { limits::STOP_HEADER_READ } else { limits::HEADER_READ };
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(head_deadline)
        .max_buf_size(limits::HEADER_BYTES)
        .keep_alive(!reserved);
    let service = service_fn(move |request| {
        let (held, router) = (Arc::clone(&held), router.clone());
        async move { answer(&held, router, request).await }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(WriteTimeout::new(stream)), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        // The value that `wait_for` returns holds the lock of the channel, and the sender would wait for it.
        () = async { drop(stop.wait_for(|stop| *stop).await) } => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(e) = ended {
        tracing::debug!(error = %e, "a connection ended early");
    }
}

/// A connection whose writes fail once the other side has taken nothing for [`limits::WRITE_STALL`].
struct WriteTimeout<S> {
    stream: S,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> WriteTimeout<S> {
    fn new(stream: S) -> Self {
        Self { stream, stalled: None }
    }

    /// Passes on what a write came to; while nothing is taken, the deadline runs.
    fn watch<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let deadline = self.stalled.get_or_insert_with(|| Box::pin(sleep(limits::WRITE_STALL)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing of its answer")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.watch(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
