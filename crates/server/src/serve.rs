//! The listening side: one task per connection, each with deadlines, all joined before the end.

use std::collections::VecDeque;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use mosaic_core::limits;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};
use tower::ServiceExt;

use crate::lane::{Lane, Seat};

/// Pause after a connection could not be taken, above all when descriptors have run out.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves until `shutdown` is ready; then takes no more connections, lets running answers end for at most
/// [`limits::HTTP_GRACE`], and drops what is left, event streams above all.
///
/// Slow clients cost a descriptor and no more: the head of a request must arrive within [`limits::HEADER_READ`],
/// its body within [`limits::BODY_READ`], and an answer must be taken, be it slowly, within [`limits::WRITE_STALL`].
/// When [`limits::CONNECTIONS`] are open, [`limits::STOP_CONNECTIONS`] more are taken for orders to stop.
pub async fn serve(listener: TcpListener, router: Router, shutdown: impl Future) -> io::Result<()> {
    let floor = Floor { room: limits::CONNECTIONS, seats: limits::STOP_CONNECTIONS, lane: Lane::Reserve };
    take(listener, router, floor, shutdown).await
}

/// Serves the control socket in the same way: orders to stop, on [`limits::CONTROL_CONNECTIONS`] of its own.
pub async fn serve_control(listener: UnixListener, router: Router, shutdown: impl Future) -> io::Result<()> {
    let floor = Floor { room: 0, seats: limits::CONTROL_CONNECTIONS, lane: Lane::Control };
    take(listener, router, floor, shutdown).await
}

/// How many connections are taken.
struct Floor {
    /// For everything.
    room: usize,
    /// For orders to stop, besides.
    seats: usize,
    /// What is answered on those.
    lane: Lane,
}

/// Something that connections come from.
trait Door {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    async fn next(&self) -> io::Result<Self::Stream>;
}

impl Door for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        let (stream, _) = self.accept().await?;
        // Only fails when the other side has gone already, which is its own affair and found out soon.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }
}

impl Door for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

async fn take<D: Door>(door: D, router: Router, floor: Floor, shutdown: impl Future) -> io::Result<()> {
    let mut shutdown = pin!(shutdown);
    let stop = watch::Sender::new(false);
    let room = Arc::new(Semaphore::new(floor.room));
    let mut seats = Seats { most: floor.seats, taken: VecDeque::new() };
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = &mut shutdown => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = async {
                seats.vacant(&room).await;
                door.next().await
            } => accepted,
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(e) => {
                tracing::warn!(error = %e, "a connection could not be taken");
                if timeout(ACCEPT_AGAIN, &mut shutdown).await.is_ok() {
                    break;
                }
                continue;
            }
        };
        match Arc::clone(&room).try_acquire_owned() {
            Ok(permit) => {
                let connection = connection(stream, router.clone(), None, stop.subscribe());
                connections.spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            Err(_) => {
                let seat = Seat::new(floor.lane);
                let connection = connection(stream, router.clone(), Some(seat.clone()), stop.subscribe());
                seats.fill(seat, connections.spawn(connection));
            }
        }
    }
    drop(door);
    stop.send_replace(true);
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(limits::HTTP_GRACE, all).await.is_err() {
        connections.shutdown().await;
    }
    Ok(())
}

/// The connections kept for orders to stop, oldest first.
struct Seats {
    most: usize,
    taken: VecDeque<(Instant, Seat, AbortHandle)>,
}

impl Seats {
    /// Waits until one more could be taken: there is room, a seat is free, or somebody who has said nothing yet can
    /// make way.
    async fn vacant(&mut self, room: &Semaphore) {
        while room.available_permits() == 0 {
            self.taken.retain(|(_, _, connection)| !connection.is_finished());
            let idle = self.taken.iter().filter(|(_, seat, _)| !seat.is_settled());
            let oldest = idle.map(|(since, _, _)| *since + limits::STOP_HEAD_START).min();
            if self.taken.len() < self.most || oldest.is_some_and(|until| until <= Instant::now()) {
                return;
            }
            // Whoever ends meanwhile wakes the loop that waits here.
            sleep_until(oldest.unwrap_or_else(|| Instant::now() + ACCEPT_AGAIN)).await;
        }
    }

    /// Takes one more; the one that has said nothing for longest makes way when all are taken.
    fn fill(&mut self, seat: Seat, connection: AbortHandle) {
        if self.taken.len() >= self.most
            && let Some(place) = self.taken.iter().position(|(_, seat, _)| !seat.is_settled())
            && let Some((_, _, idle)) = self.taken.remove(place)
        {
            idle.abort();
        }
        self.taken.push_back((Instant::now(), seat, connection));
    }
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    router: Router,
    seat: Option<Seat>,
    mut stop: watch::Receiver<bool>,
) {
    let mut builder = hyper::server::conn::http1::Builder::new();
    let patience = if seat.is_some() { limits::STOP_HEADER_READ } else { limits::HEADER_READ };
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_buf_size(limits::HEADER_BYTES)
        .keep_alive(seat.is_none());
    let service = TowerToHyperService::new(router.map_request(move |request: Request<Incoming>| {
        let mut request = request.map(axum::body::Body::new);
        if let Some(seat) = &seat {
            request.extensions_mut().insert(seat.clone());
        }
        request
    }));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(Patient::new(stream)), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
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
struct Patient<S> {
    stream: S,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
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

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
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
