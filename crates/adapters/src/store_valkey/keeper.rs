//! Keeps the connection up: one task that dials, watches, and dials again with growing pauses. While the server is away
//! it sleeps between attempts, and nothing else runs for it.

use std::sync::Arc;
use std::time::Duration;

use mosaic_core::limits;
use mosaic_core::ports::store::StoreError;
use redis::Value;
use redis::aio::MultiplexedConnection;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::dial::{Address, Dialled, Dialler, SharedDialler, reach_words};
use super::failure::{Fault, words};
use super::honest::{self, Glance};
use super::link::{Live, Standing, backoff};
use super::replicas::Replicas;

/// A report from a call about its connection.
#[derive(Debug)]
enum Order {
    /// It is of no use.
    GiveUp { generation: u64, why: String },
    /// Our keys are elsewhere.
    GoTo { generation: u64, address: Address },
}

/// Where calls say what they found out. What does not fit is found out again.
#[derive(Clone)]
pub(super) struct Orders(mpsc::Sender<Order>);

/// The keeper's end of it.
pub(super) struct Taken(mpsc::Receiver<Order>);

/// Makes both ends.
pub(super) fn orders() -> (Orders, Taken) {
    let (send, take) = mpsc::channel(16);
    (Orders(send), Taken(take))
}

impl Orders {
    /// Says that a connection is of no use.
    pub(super) fn give_up(&self, generation: u64, why: &str) {
        let _ = self.0.try_send(Order::GiveUp { generation, why: why.to_owned() });
    }

    /// Says where our keys are.
    pub(super) fn go_to(&self, generation: u64, address: Address) {
        let _ = self.0.try_send(Order::GoTo { generation, address });
    }
}

/// Connects for the first time: one attempt for each server that was named, but a server that reads its files is waited for.
pub(super) async fn first(dialler: &SharedDialler) -> Result<(Live, Dialled), StoreError> {
    let deadline = Instant::now() + limits::LINK_LOADING;
    let mut tried = 0;
    loop {
        let address = dialler.locate().await.map_err(StoreError::Unavailable)?;
        match open(dialler, &address, 1).await {
            Ok(opened) => return Ok(opened),
            Err(why) if why.contains("reading its files") && Instant::now() < deadline => {
                tokio::time::sleep(limits::LINK_BACKOFF_CAP).await;
            }
            // Another one of those that were named may be there.
            Err(_) if tried + 1 < dialler.servers.count() => tried += 1,
            Err(why) => return Err(StoreError::Unavailable(why)),
        }
    }
}

/// Opens a connection and follows the cluster to the slot of our keys.
async fn open(dialler: &Dialler, address: &Address, generation: u64) -> Result<(Live, Dialled), String> {
    let mut address = address.clone();
    for _ in 0..limits::LINK_REDIRECTS {
        let dialled = dialler.dial(&address, &dialler.options.name).await?;
        learn(dialler, &dialled.connection, &address).await;
        match settled(dialler, &dialled).await {
            Ok(glance) => {
                let connection = dialled.connection.clone();
                let replicas = Arc::new(Replicas::new(glance.replicas, Arc::clone(&dialler.quorum)));
                let flags = glance.flags;
                let live = Live { connection, generation, since: Instant::now(), address, flags, replicas };
                return Ok((live, dialled));
            }
            Err((Fault::Moved(host, port), _)) => {
                // An empty host stands for the one that was asked.
                address = (if host.is_empty() { address.0 } else { host }, port);
            }
            Err((_, why)) => return Err(reach_words(&address, &why)),
        }
    }
    Err(reach_words(&address, "the cluster sends us on and on"))
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
async fn settled(dialler: &Dialler, dialled: &Dialled) -> Result<Glance, (Fault, String)> {
    let work = async {
        let mut connection = dialled.connection.clone();
        if dialler.options.one_slot() {
            let mut probe = redis::cmd("EXISTS");
            probe.arg(format!("{}:orchestrator:orders", dialler.options.prefix));
            let probed = probe.query_async::<Value>(&mut connection).await;
            probed.map_err(|e| (Fault::of(&e), words(&e)))?;
        }
        let glance = honest::glance(&connection).await.map_err(|why| (Fault::Broken, why))?;
        if dialler.options.sentinels.is_some() && glance.replica {
            return Err((Fault::Elsewhere, "it is a replica; the Sentinels name it all the same".to_owned()));
        }
        Ok(glance)
    };
    match tokio::time::timeout(limits::LINK_CONNECT, work).await {
        Ok(done) => done,
        Err(_) => Err((Fault::Broken, format!("no answer within {} s", limits::LINK_CONNECT.as_secs()))),
    }
}

/// Keeps a connection up until this task is ended.
pub(super) async fn keep(
    dialler: SharedDialler,
    first: (Live, Dialled),
    tell: watch::Sender<Standing>,
    mut orders: Taken,
) {
    let mut current = Some(first);
    let mut generation = 1;
    let mut target: Option<Address> = None;
    let mut failures = 0;
    loop {
        if let Some((live, mut dialled)) = current.take() {
            let began = live.since;
            let lost = lost(&dialler, &live, &mut dialled, &mut orders).await;
            target = lost.target;
            let words = format!("the store at {}:{} was lost: {}", live.address.0, live.address.1, lost.why);
            tracing::warn!(
                store.host = live.address.0,
                store.port = live.address.1,
                why = lost.why,
                "the store was lost"
            );
            tell.send_replace(Standing::Down { why: words.into(), since: Instant::now() });
            // A connection that is lost as soon as it stands is no success.
            if began.elapsed() >= limits::LINK_BACKOFF_CAP {
                failures = 0;
            }
        }
        tokio::time::sleep(jittered(backoff(failures))).await;
        failures = failures.saturating_add(1);
        generation += 1;
        let opened = match target.take() {
            Some(address) => open(&dialler, &address, generation).await,
            None => match dialler.locate().await {
                Ok(address) => open(&dialler, &address, generation).await,
                Err(why) => Err(why),
            },
        };
        match opened {
            Ok((live, dialled)) => {
                tracing::info!(store.host = live.address.0, store.port = live.address.1, "the store is back");
                tell.send_replace(Standing::Up(live.clone()));
                current = Some((live, dialled));
            }
            Err(words) => {
                tell.send_if_modified(|standing| match standing {
                    Standing::Down { why, .. } if **why != *words => {
                        tracing::warn!(why = words, "the store does not come back yet");
                        *why = words.into();
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
async fn lost(dialler: &Dialler, live: &Live, dialled: &mut Dialled, orders: &mut Taken) -> Lost {
    loop {
        tokio::select! {
            _ = &mut dialled.driver => return Lost { why: "the connection was closed".to_owned(), target: None },
            order = orders.0.recv() => match order {
                Some(Order::GiveUp { generation, why }) if generation == live.generation => {
                    return Lost { why, target: None };
                }
                Some(Order::GoTo { generation, address }) if generation == live.generation => {
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
