//! Notifications of changes that others may have made: a channel on which our own nodes notify each other, and the queue's
//! marker, by which BullMQ's producers wake workers. This node waits for the marker under a worker's name, so that a client
//! that lists the workers of the queue sees it.
//!
//! A node that takes the marker takes it from all others that wait, so it passes the notification on over the channel.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use mosaic_core::limits;
use redis::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::connection::Link;
use super::live::{Live, Standing, backoff};

/// The queue's name as BullMQ writes it in names of connections: `orchestrator-tasks` in base64.
const QUEUE: &str = "b3JjaGVzdHJhdG9yLXRhc2tz";
/// Longest wait for the marker, in seconds, so that a connection that is dead is noticed.
const BLOCK_SECONDS: u64 = 10;
/// Least time between two markers: a queue that is worked through makes thousands of them.
const MARKERS: Duration = Duration::from_millis(10);

/// The sources of notifications: the connection, the channel and the marker.
pub(super) struct Subscriptions {
    pub(super) link: Arc<Link>,
    /// The channel's name.
    pub(super) channel: String,
    /// The marker's key.
    pub(super) marker: String,
    /// The prefix of keys.
    pub(super) prefix: String,
    /// This node's name.
    pub(super) node: String,
}

/// The feed of notifications, until it is dropped.
pub(super) struct ChangeFeed {
    changes: watch::Receiver<u64>,
    _tasks: JoinSet<()>,
}

impl ChangeFeed {
    /// Begins to listen.
    pub(super) fn listen(subscriptions: Subscriptions) -> Self {
        let (tell, changes) = watch::channel(0);
        let (subscriptions, tell) = (Arc::new(subscriptions), Arc::new(tell));
        let mut tasks = JoinSet::new();
        tasks.spawn(channel(Arc::clone(&subscriptions), Arc::clone(&tell)));
        tasks.spawn(marker(subscriptions, tell));
        Self { changes, _tasks: tasks }
    }

    /// Returns a receiver that changes when there may be something new.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }
}

fn announce(tell: &watch::Sender<u64>) {
    tell.send_modify(|count| *count = count.wrapping_add(1));
}

/// Waits until the store is there.
async fn there(link: &Link) -> Option<Live> {
    let mut standing = link.standing();
    let up = standing.wait_for(|now| matches!(now, Standing::Up(_))).await.ok()?;
    match &*up {
        Standing::Up(live) => Some(live.clone()),
        Standing::Down { .. } => None,
    }
}

async fn channel(subscriptions: Arc<Subscriptions>, tell: Arc<watch::Sender<u64>>) {
    let channels = [subscriptions.channel.clone()];
    let mut failures = 0;
    while let Some(live) = there(&subscriptions.link).await {
        if let Ok(listening) = subscriptions.link.dialler().listen(&live.address, &channels).await {
            failures = 0;
            // Whatever was said while nobody listened.
            announce(&tell);
            let (mut sink, mut heard) = listening.split();
            loop {
                // A subscription that hears nothing looks the same whether the queue is quiet or the network
                // is gone. The ping tells the two apart.
                match timeout(limits::LINK_ANSWER, heard.next()).await {
                    Ok(Some(_)) => announce(&tell),
                    Ok(None) => break,
                    Err(_) => match timeout(limits::LINK_ANSWER, sink.ping::<Value>()).await {
                        Ok(Ok(_)) => {}
                        _ => break,
                    },
                }
            }
        }
        tokio::time::sleep(backoff(failures)).await;
        failures += 1;
    }
}

async fn marker(subscriptions: Arc<Subscriptions>, tell: Arc<watch::Sender<u64>>) {
    let before =
        if subscriptions.prefix.is_empty() { String::new() } else { format!("{}:", subscriptions.prefix) };
    let name = format!("{before}bull:{QUEUE}:w:{}", subscriptions.node);
    let mut failures = 0;
    while let Some(live) = there(&subscriptions.link).await {
        // A call that blocks would hold up every other call on a shared connection, so the marker has one of its own.
        if let Ok(dialled) = subscriptions.link.dialler().dial(&live.address, &name).await {
            failures = 0;
            let mut connection = dialled.connection.clone();
            let mut last = Instant::now();
            loop {
                let mut pop = redis::cmd("BZPOPMIN");
                // BullMQ puts one marker for all workers, and taking it away is how it is read. So whoever
                // gets it tells the other nodes over the channel.
                pop.arg(&subscriptions.marker).arg(BLOCK_SECONDS);
                // The server ends the wait by itself after `BLOCK_SECONDS`. Silence for longer than that means a dead
                // connection and not a quiet queue.
                let most = Duration::from_secs(BLOCK_SECONDS) + limits::LINK_ANSWER;
                match timeout(most, pop.query_async::<Value>(&mut connection)).await {
                    Ok(Ok(Value::Nil)) => {}
                    Ok(Ok(_)) => {
                        announce(&tell);
                        let mut tell_others = redis::cmd("PUBLISH");
                        tell_others.arg(&subscriptions.channel).arg("queue");
                        // Those that do not hear of it look for themselves after a second.
                        drop(subscriptions.link.query::<Value>(tell_others).await);
                        tokio::time::sleep_until(last + MARKERS).await;
                        last = Instant::now();
                    }
                    _ => break,
                }
            }
        }
        tokio::time::sleep(backoff(failures)).await;
        failures += 1;
    }
}
