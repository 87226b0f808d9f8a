//! Notifications of changes that others may have made: a channel on which our own nodes notify each other, and the queue's
//! marker, by which BullMQ's producers wake workers. This node waits for the marker under a worker's name, so that a client
//! that lists the workers of the queue sees it.
//!
//! Whoever takes the marker takes it from all others that wait, so it is told on over the channel.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use mosaic_core::limits;
use redis::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::link::{Link, Live, Standing, backoff};

/// The queue's name as BullMQ writes it in names of connections: `orchestrator-tasks` in base64.
const QUEUE: &str = "b3JjaGVzdHJhdG9yLXRhc2tz";
/// Longest wait for the marker, in seconds, so that a connection that is dead is noticed.
const BLOCK_SECONDS: u64 = 10;
/// Least time between two markers: a queue that is worked through makes thousands of them.
const MARKERS: Duration = Duration::from_millis(10);

/// The sources of notifications: the connection, the channel and the marker.
pub(super) struct Ears {
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

/// Tells when there is something new, until it is dropped.
pub(super) struct Stir {
    told: watch::Receiver<u64>,
    _tasks: JoinSet<()>,
}

impl Stir {
    /// Begins to listen.
    pub(super) fn listen(ears: Ears) -> Self {
        let (tell, told) = watch::channel(0);
        let (ears, tell) = (Arc::new(ears), Arc::new(tell));
        let mut tasks = JoinSet::new();
        tasks.spawn(channel(Arc::clone(&ears), Arc::clone(&tell)));
        tasks.spawn(marker(ears, tell));
        Self { told, _tasks: tasks }
    }

    /// Returns a receiver that changes when there may be something new.
    pub(super) fn told(&self) -> watch::Receiver<u64> {
        self.told.clone()
    }
}

fn stir(tell: &watch::Sender<u64>) {
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

async fn channel(ears: Arc<Ears>, tell: Arc<watch::Sender<u64>>) {
    let channels = [ears.channel.clone()];
    let mut failures = 0;
    while let Some(live) = there(&ears.link).await {
        if let Ok(listening) = ears.link.dialler().listen(&live.address, &channels).await {
            failures = 0;
            // Whatever was said while nobody listened.
            stir(&tell);
            let (mut sink, mut heard) = listening.split();
            loop {
                match timeout(limits::LINK_ANSWER, heard.next()).await {
                    Ok(Some(_)) => stir(&tell),
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

async fn marker(ears: Arc<Ears>, tell: Arc<watch::Sender<u64>>) {
    let before = if ears.prefix.is_empty() { String::new() } else { format!("{}:", ears.prefix) };
    let name = format!("{before}bull:{QUEUE}:w:{}", ears.node);
    let mut failures = 0;
    while let Some(live) = there(&ears.link).await {
        if let Ok(dialled) = ears.link.dialler().dial(&live.address, &name).await {
            failures = 0;
            let mut connection = dialled.connection.clone();
            let mut last = Instant::now();
            loop {
                let mut pop = redis::cmd("BZPOPMIN");
                pop.arg(&ears.marker).arg(BLOCK_SECONDS);
                let most = Duration::from_secs(BLOCK_SECONDS) + limits::LINK_ANSWER;
                match timeout(most, pop.query_async::<Value>(&mut connection)).await {
                    Ok(Ok(Value::Nil)) => {}
                    Ok(Ok(_)) => {
                        stir(&tell);
                        let mut tell_others = redis::cmd("PUBLISH");
                        tell_others.arg(&ears.channel).arg("queue");
                        // Those that do not hear of it look for themselves after a second.
                        drop(ears.link.query::<Value>(tell_others).await);
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
