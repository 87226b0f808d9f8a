//! What replicas have of what was written: with asynchronous replication alone, a failover forgets writes that somebody
//! was told of.
//!
//! One `WAIT` serves every write that was answered before it, so many callers share one.

use std::sync::atomic::{AtomicU64, Ordering};

use mosaic_core::limits;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::honest;
use super::link::Live;

/// How the last `WAIT` came out, for the writes up to this ticket.
#[derive(Debug, Default)]
struct Round {
    upto: u64,
    fault: Option<String>,
    /// When the server was last asked how many replicas it has.
    asked: Option<Instant>,
}

/// The replicas of the server at the end of one connection.
#[derive(Debug)]
pub(super) struct Replicas {
    connected: AtomicU64,
    tickets: AtomicU64,
    round: Mutex<Round>,
}

impl Replicas {
    /// Begins with what the server said when the connection was made.
    pub(super) fn new(connected: u64) -> Self {
        let round = Round { asked: Some(Instant::now()), ..Round::default() };
        Self { connected: AtomicU64::new(connected), tickets: AtomicU64::new(0), round: Mutex::new(round) }
    }

    /// Returns once a replica has everything that was answered on this connection before the call; at once where there
    /// are no replicas. The error is for people.
    pub(super) async fn confirm(&self, live: &Live) -> Result<(), String> {
        let ticket = self.tickets.fetch_add(1, Ordering::SeqCst) + 1;
        let mut round = self.round.lock().await;
        if round.upto >= ticket {
            return round.fault.clone().map_or(Ok(()), Err);
        }
        if round.asked.is_none_or(|asked| asked.elapsed() >= limits::REPLICAS_PERIOD) {
            let info = timeout(limits::LINK_ANSWER, honest::replication(&live.connection)).await;
            let info = info.map_err(|_| "it does not say how many replicas it has".to_owned())?;
            self.connected.store(info.replicas, Ordering::SeqCst);
            round.asked = Some(Instant::now());
        }
        if self.connected.load(Ordering::SeqCst) == 0 {
            return Ok(());
        }
        // Whoever drew a ticket by now had its answer by now.
        let upto = self.tickets.load(Ordering::SeqCst);
        round.fault = wait(live).await.err();
        round.upto = upto;
        if round.fault.is_some() {
            round.asked = None;
        }
        round.fault.clone().map_or(Ok(()), Err)
    }
}

async fn wait(live: &Live) -> Result<(), String> {
    let mut command = redis::cmd("WAIT");
    let millis = u64::try_from(limits::REPLICA_ANSWER.as_millis()).unwrap_or(u64::MAX);
    command.arg(1).arg(millis);
    let mut connection = live.connection.clone();
    match timeout(limits::LINK_ANSWER, command.query_async::<u64>(&mut connection)).await {
        Ok(Ok(0)) => {
            Err(format!("no replica confirmed the write within {millis} ms; it may be lost in a failover"))
        }
        Ok(Ok(_)) => Ok(()),
        Ok(Err(e)) => Err(super::failure::words(&e)),
        Err(_) => Err("it does not say what its replicas have".to_owned()),
    }
}
