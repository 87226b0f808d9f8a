//! Reconnection: one task dials, watches the connection, and dials again with growing pauses. While the server is away the task
//! sleeps between attempts, and nothing else runs for it.

use std::sync::Arc;
use std::time::Duration;

use mosaic_core::limits;
use mosaic_core::ports::store::StoreError;
use redis::Value;
use redis::aio::MultiplexedConnection;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::address::Address;
use super::dial::{Dialled, Dialler, SharedDialler};
use super::dial_error::{Cause, DialError};
use super::failure::Fault;
use super::live::{Live, Standing, backoff};
use super::preflight::{self, RoleInfo};
use super::replicas::Replicas;

/// A report from a call about its connection.
#[derive(Debug)]
enum Report {
    /// It is of no use.
    GiveUp { generation: u64, why: String },
    /// Our keys are elsewhere.
    GoTo { generation: u64, address: Address },
}

/// The end of the line on which calls report what they found out. A report that does not fit is found out again.
#[derive(Clone)]
pub(super) struct Reports(mpsc::Sender<Report>);

/// The end of the line at which reports arrive.
pub(super) struct Received(mpsc::Receiver<Report>);

/// Makes both ends.
pub(super) fn reports() -> (Reports, Received) {
    let (send, take) = mpsc::channel(16);
    (Reports(send), Received(take))
}

impl Reports {
    /// Says that a connection is of no use.
    pub(super) fn give_up(&self, generation: u64, why: &str) {
        // A full line is no loss: the reports in it are about the same connection.
        let _ = self.0.try_send(Report::GiveUp { generation, why: why.to_owned() });
    }

    /// Says where our keys are.
    pub(super) fn go_to(&self, generation: u64, address: Address) {
        let _ = self.0.try_send(Report::GoTo { generation, address });
    }
}

/// Connects for the first time: one attempt for each server that was named, but a server that reads its files is waited for.
pub(super) async fn connect_first(dialler: &SharedDialler) -> Result<(Live, Dialled), StoreError> {
    let deadline = Instant::now() + limits::LINK_LOADING;
    let mut tried = 0;
    loop {
        let address = dialler.locate().await?;
        match open(dialler, &address, 1).await {
            Ok(opened) => return Ok(opened),
            Err(e) if e.is_loading() && Instant::now() < deadline => {
                tokio::time::sleep(limits::LINK_BACKOFF_CAP).await;
            }
            // Another one of those that were named may be there.
            Err(_) if tried + 1 < dialler.servers.count() => tried += 1,
            Err(e) => return Err(e.into()),
        }
    }
}

/// Opens a connection and follows the cluster to the slot of our keys.
async fn open(dialler: &Dialler, address: &Address, generation: u64) -> Result<(Live, Dialled), DialError> {
    let mut address = address.clone();
    // Servers of a cluster that do not agree about a slot yet may refer the connection to each other without end.
    for _ in 0..limits::LINK_REDIRECTS {
        let dialled = dialler.dial(&address, &dialler.options.name).await?;
        learn(dialler, &dialled.connection, &address).await;
        match settled(dialler, &dialled).await {
            Ok(role) => {
                let connection = dialled.connection.clone();
                let replicas = Arc::new(Replicas::new(role.replicas, Arc::clone(&dialler.quorum)));
                let flags = role.flags;
                let live = Live { connection, generation, since: Instant::now(), address, flags, replicas };
                return Ok((live, dialled));
            }
            Err(cause) => match moved(&cause) {
                // An empty host stands for the one that was asked.
                Some((host, port)) => address = (if host.is_empty() { address.0 } else { host }, port),
                None => return Err(cause.at(&address)),
            },
        }
    }
    Err(Cause::Redirects.at(&address))
}

/// Returns the server to which a slot of the cluster was moved, when that is the cause.
fn moved(cause: &Cause) -> Option<Address> {
    let Cause::Server(error) = cause else { return None };
    match Fault::of(error) {
        Fault::Moved(host, port) => Some((host, port)),
        _ => None,
    }
}

/// Asks one of a cluster for the others; a server that is none says no.
async fn learn(dialler: &Dialler, connection: &MultiplexedConnection, address: &Address) {
    if !dialler.options.one_slot() {
        return;
    }
    let mut slots = redis::cmd("CLUSTER");
    slots.arg("SLOTS");
    let mut connection = connection.clone();
    let answer = slots.query_async::<Value>(&mut connection);
    if let Ok(Ok(answer)) = tokio::time::timeout(limits::LINK_CONNECT, answer).await {
        dialler.servers.learn(&answer, address);
    }
}

/// Asks again and again for the servers of the cluster, which may change.
async fn learning(dialler: &Dialler, live: &Live) {
    loop {
        tokio::time::sleep(limits::CLUSTER_LOOK).await;
        learn(dialler, &live.connection, &live.address).await;
    }
}

/// Looks whether the server is the one for our keys.
async fn settled(dialler: &Dialler, dialled: &Dialled) -> Result<RoleInfo, Cause> {
    let work = async {
        let mut connection = dialled.connection.clone();
        if dialler.options.one_slot() {
            let mut probe = redis::cmd("EXISTS");
            // Any command with one of our keys makes a cluster say where the slot is, and this one changes
            // nothing.
            probe.arg(format!("{}:orchestrator:orders", dialler.options.prefix));
            probe.query_async::<Value>(&mut connection).await?;
        }
        let role = preflight::role_info(&connection).await?;
        // During a failover the Sentinels may name the old primary, which is a replica by then or soon will
        // be. Writing there would be refused at best.
        if dialler.options.sentinels.is_some() && role.replica {
            return Err(Cause::Replica);
        }
        Ok(role)
    };
    let done = tokio::time::timeout(limits::LINK_CONNECT, work).await;
    done.unwrap_or_else(|_| Err(Cause::Silent(limits::LINK_CONNECT)))
}

/// Keeps a connection up until this task is ended.
pub(super) async fn keep_up(
    dialler: SharedDialler,
    first: (Live, Dialled),
    tell: watch::Sender<Standing>,
    mut reports: Received,
) {
    let mut current = Some(first);
    let mut generation = 1;
    let mut target: Option<Address> = None;
    let mut failures = 0;
    loop {
        // The first round watches the connection that the start made; every later one begins without any, because calls must see
        // `Down` before this task waits: they would use a dead connection for the whole backoff otherwise.
        if let Some((live, mut dialled)) = current.take() {
            let began = live.since;
            let lost = lost(&dialler, &live, &mut dialled, &mut reports).await;
            target = lost.target;
            let message =
                format!("the store at {}:{} was lost: {}", live.address.0, live.address.1, lost.why);
            tracing::warn!(
                store.host = live.address.0,
                store.port = live.address.1,
                why = lost.why,
                "the store was lost"
            );
            tell.send_replace(Standing::Down { why: message.into(), since: Instant::now() });
            // A connection that is lost as soon as it stands is no success.
            if began.elapsed() >= limits::LINK_BACKOFF_CAP {
                failures = 0;
            }
        }
        tokio::time::sleep(jittered(backoff(failures))).await;
        failures = failures.saturating_add(1);
        // Reports about an older connection may still be on their way. The number tells them from reports about the next one.
        generation += 1;
        let opened = match target.take() {
            Some(address) => open(&dialler, &address, generation).await,
            None => match dialler.locate().await {
                Ok(address) => open(&dialler, &address, generation).await,
                Err(e) => Err(e),
            },
        };
        match opened {
            Ok((live, dialled)) => {
                tracing::info!(store.host = live.address.0, store.port = live.address.1, "the store is back");
                tell.send_replace(Standing::Up(live.clone()));
                current = Some((live, dialled));
            }
            Err(e) => {
                let message = e.to_string();
                // The moment of the loss stays: calls wait for a connection only a short while after it.
                tell.send_if_modified(|standing| match standing {
                    Standing::Down { why, .. } if **why != *message => {
                        tracing::warn!(why = message, "the store does not come back yet");
                        *why = message.into();
                        true
                    }
                    _ => false,
                });
            }
        }
    }
}

/// Why a connection is given up, and where to go instead when that is known.
struct Lost {
    why: String,
    target: Option<Address>,
}

/// Watches a connection until it is lost.
async fn lost(dialler: &Dialler, live: &Live, dialled: &mut Dialled, reports: &mut Received) -> Lost {
    loop {
        tokio::select! {
            _ = &mut dialled.driver => return Lost { why: "the connection was closed".to_owned(), target: None },
            report = reports.0.recv() => match report {
                Some(Report::GiveUp { generation, why }) if generation == live.generation => {
                    return Lost { why, target: None };
                }
                Some(Report::GoTo { generation, address }) if generation == live.generation => {
                    let host = if address.0.is_empty() { live.address.0.clone() } else { address.0 };
                    return Lost { why: "its keys are elsewhere".to_owned(), target: Some((host, address.1)) };
                }
                Some(_) => {}
                // Nobody is left who could use the connection.
                None => std::future::pending().await,
            },
            () = learning(dialler, live) => {}
            address = elsewhere(dialler, &live.address) => {
                return Lost { why: "the Sentinels name another server".to_owned(), target: Some(address) };
            }
        }
    }
}

/// Asks the Sentinels now and then until they name another server; never ends without Sentinels.
async fn elsewhere(dialler: &Dialler, here: &Address) -> Address {
    if dialler.options.sentinels.is_none() {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(limits::SENTINEL_PERIOD).await;
        if let Ok(address) = dialler.locate().await
            && address != *here
        {
            return address;
        }
    }
}

/// Between half of it and all of it, so that many nodes do not come back at the same moment.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [0u8; 1];
    let part = getrandom::fill(&mut byte).map_or(255, |()| u32::from(byte[0]));
    pause / 2 + pause / 2 * part / 255
}
