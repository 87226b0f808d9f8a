//! Confirmation of writes by replicas: with asynchronous replication alone, a failover forgets writes that a client was
//! told of.
//!
//! One `WAIT` serves every write that was answered before it, so many callers share one. It asks for every replica that the
//! store had ([`super::quorum`]): any of them may become the primary.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mosaic_core::limits;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::honest;
use super::link::Live;
use super::quorum::Quorum;

/// Result of the last `WAIT`, for the writes up to this ticket.
#[derive(Debug, Default)]
struct Round {
    upto: u64,
    fault: Option<String>,
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

    /// Refuses a write before it is sent, when it is certain that it could not be confirmed. The error is for people.
    pub(super) async fn before(&self, live: &Live) -> Result<(), String> {
        let connected = self.connected(live).await?;
        self.quorum.required(connected, Instant::now()).map(drop).map_err(|short| short.to_string())
    }

    /// Returns once every replica that counts has everything that was answered on this connection before the call; at once
    /// where the store never had one. The error is for people.
    pub(super) async fn confirm(&self, live: &Live) -> Result<(), String> {
        if self.known() == Some(0) && self.quorum.required(0, Instant::now()) == Ok(0) {
            return Ok(());
        }
        let ticket = self.tickets.fetch_add(1, Ordering::SeqCst) + 1;
        let mut round = self.round.lock().await;
        if round.upto >= ticket {
            return round.fault.clone().map_or(Ok(()), Err);
        }
        // Whoever drew a ticket by now had its answer by now.
        let upto = self.tickets.load(Ordering::SeqCst);
        round.fault = self.confirm_all(live).await.err();
        round.upto = upto;
        round.fault.clone().map_or(Ok(()), Err)
    }

    async fn confirm_all(&self, live: &Live) -> Result<(), String> {
        let connected = self.connected(live).await?;
        match self.quorum.required(connected, Instant::now()) {
            Ok(0) => Ok(()),
            Ok(needed) => wait(live, needed).await.inspect_err(|_| {
                // A replica that left meanwhile is noticed by the next call, not a period later.
                self.connected.store(0, Ordering::SeqCst);
                self.asked.store(0, Ordering::SeqCst);
            }),
            Err(short) => Err(short.to_string()),
        }
    }

    async fn connected(&self, live: &Live) -> Result<u64, String> {
        if let Some(connected) = self.known() {
            return Ok(connected);
        }
        let glance = timeout(limits::LINK_ANSWER, honest::glance(&live.connection)).await;
        let glance = glance.unwrap_or_else(|_| Err("it does not say how many replicas it has".to_owned()))?;
        self.connected.store(glance.replicas, Ordering::SeqCst);
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.asked.store(now, Ordering::SeqCst);
        Ok(glance.replicas)
    }
}

async fn wait(live: &Live, needed: u64) -> Result<(), String> {
    let mut command = redis::cmd("WAIT");
    let millis = u64::try_from(limits::REPLICA_ANSWER.as_millis()).unwrap_or(u64::MAX);
    command.arg(needed).arg(millis);
    let mut connection = live.connection.clone();
    match timeout(limits::LINK_ANSWER, command.query_async::<u64>(&mut connection)).await {
        Ok(Ok(confirmed)) if confirmed >= needed => Ok(()),
        Ok(Ok(confirmed)) => Err(format!(
            "{confirmed} of {needed} replicas confirmed the write within {millis} ms; it may be lost in a failover"
        )),
        Ok(Err(e)) => Err(super::failure::words(&e)),
        Err(_) => Err("it does not say what its replicas have".to_owned()),
    }
}
