//! Confirmation of writes by replicas: with asynchronous replication alone, a failover forgets writes that a client was
//! told of.
//!
//! One `WAIT` serves every write that was answered before it, so many callers share one. It asks for every replica that the
//! store had ([`super::quorum`]): any of them may become the primary.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mosaic_core::limits;
use redis::RedisError;
use redis::aio::MultiplexedConnection;
use thiserror::Error;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::failure::message;
use super::preflight;
use super::quorum::{Quorum, Short};

/// Reason why a write may be lost in a failover.
#[derive(Debug, Clone, Error)]
pub(super) enum NotConfirmed {
    /// Fewer replicas are connected than the store had.
    #[error(transparent)]
    Fewer(#[from] Short),
    /// Not all replicas confirmed in time.
    #[error(
        "{confirmed} of {needed} replicas confirmed the write within {millis} ms; it may be lost in a failover"
    )]
    TooFew {
        /// Replicas that confirmed.
        confirmed: u64,
        /// Replicas that must.
        needed: u64,
        /// Time that they had.
        millis: u64,
    },
    /// The server refused to answer.
    #[error("{}", message(.0))]
    Server(#[from] RedisError),
    /// The server does not state its role.
    #[error("it does not say how many replicas it has")]
    NoRole,
    /// The server does not answer to `WAIT`.
    #[error("it does not say what its replicas have")]
    Silent,
}

/// Result of the last `WAIT`, for the writes up to this ticket.
#[derive(Debug, Default)]
struct Round {
    upto: u64,
    fault: Option<NotConfirmed>,
}

/// The replicas of the server at the end of one connection.
#[derive(Debug)]
pub(super) struct Replicas {
    quorum: Arc<Quorum>,
    connected: AtomicU64,
    /// Milliseconds after `began` when the server was last asked.
    asked: AtomicU64,
    began: Instant,
    tickets: AtomicU64,
    round: Mutex<Round>,
}

impl Replicas {
    /// Begins with what the server said when the connection was made.
    pub(super) fn new(connected: u64, quorum: Arc<Quorum>) -> Self {
        Self {
            quorum,
            connected: AtomicU64::new(connected),
            asked: AtomicU64::new(0),
            began: Instant::now(),
            tickets: AtomicU64::new(0),
            round: Mutex::default(),
        }
    }

    /// Returns how many there are, when that was asked a moment ago.
    fn known(&self) -> Option<u64> {
        let since =
            self.began.elapsed().saturating_sub(Duration::from_millis(self.asked.load(Ordering::SeqCst)));
        (since < limits::REPLICAS_PERIOD).then(|| self.connected.load(Ordering::SeqCst))
    }

    /// Refuses a write before it is sent, when it is certain that it could not be confirmed.
    pub(super) async fn before(&self, connection: &MultiplexedConnection) -> Result<(), NotConfirmed> {
        // Refusing beforehand leaves nothing behind. Found out afterwards, the write stands on a primary that
        // may be replaced by a replica without it, and nobody can say which of the two happened.
        let connected = self.connected(connection).await?;
        self.quorum.required(connected, Instant::now())?;
        Ok(())
    }

    /// Returns once every replica that counts has everything that was answered on this connection before the call; at once
    /// where the store never had one.
    pub(super) async fn confirm(&self, connection: &MultiplexedConnection) -> Result<(), NotConfirmed> {
        // Both must hold: the server has no replica now, and it lost none of late, whose failover could forget this
        // write. Then `WAIT` would only cost each write a second round trip.
        if self.known() == Some(0) && self.quorum.required(0, Instant::now()) == Ok(0) {
            return Ok(());
        }
        let ticket = self.tickets.fetch_add(1, Ordering::SeqCst) + 1;
        // One call asks while the others wait for the lock, and most of them find that the ticket they drew
        // is covered. `WAIT` blocks the connection for everybody, so there must not be one for each write.
        let mut round = self.round.lock().await;
        if round.upto >= ticket {
            return round.fault.clone().map_or(Ok(()), Err);
        }
        // Whoever drew a ticket by now had its answer by now.
        let upto = self.tickets.load(Ordering::SeqCst);
        round.fault = self.confirm_all(connection).await.err();
        round.upto = upto;
        round.fault.clone().map_or(Ok(()), Err)
    }

    async fn confirm_all(&self, connection: &MultiplexedConnection) -> Result<(), NotConfirmed> {
        let connected = self.connected(connection).await?;
        match self.quorum.required(connected, Instant::now()) {
            Ok(0) => Ok(()),
            Ok(needed) => wait(connection, needed).await.inspect_err(|_| {
                // A replica that left meanwhile is noticed by the next call, not a period later.
                self.connected.store(0, Ordering::SeqCst);
                self.asked.store(0, Ordering::SeqCst);
            }),
            Err(short) => Err(short.into()),
        }
    }

    async fn connected(&self, connection: &MultiplexedConnection) -> Result<u64, NotConfirmed> {
        if let Some(connected) = self.known() {
            return Ok(connected);
        }
        let role = timeout(limits::LINK_ANSWER, preflight::role_info(connection)).await;
        let role = role.map_err(|_| NotConfirmed::NoRole)??;
        self.connected.store(role.replicas, Ordering::SeqCst);
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.asked.store(now, Ordering::SeqCst);
        Ok(role.replicas)
    }
}

async fn wait(connection: &MultiplexedConnection, needed: u64) -> Result<(), NotConfirmed> {
    let mut command = redis::cmd("WAIT");
    let millis = u64::try_from(limits::REPLICA_ANSWER.as_millis()).unwrap_or(u64::MAX);
    command.arg(needed).arg(millis);
    let mut connection = connection.clone();
    // The server ends `WAIT` after the time that it was told. This longer one is for a server that hangs and answers
    // nothing at all.
    match timeout(limits::LINK_ANSWER, command.query_async::<u64>(&mut connection)).await {
        Ok(Ok(confirmed)) if confirmed >= needed => Ok(()),
        Ok(Ok(confirmed)) => Err(NotConfirmed::TooFew { confirmed, needed, millis }),
        Ok(Err(e)) => Err(e.into()),
        Err(_) => Err(NotConfirmed::Silent),
    }
}
