//! The shared store: its connection, its queue, its batches.

use std::time::Duration;

/// Most changes of external clients that are taken up in one round.
pub const EXTERNAL_CHANGES: usize = 200;
/// Longest wait for an answer of a store that other machines share, and for its socket to be sure that nobody is there.
pub const LINK_ANSWER: Duration = Duration::from_secs(5);
/// Longest time for connecting to such a store, greetings included.
pub const LINK_CONNECT: Duration = Duration::from_secs(3);
/// Time after the loss of such a store for which calls still wait for it to come back, before they are refused at once.
pub const LINK_REACH: Duration = Duration::from_secs(1);
/// Longest wait of a server that starts for such a store to read its files.
pub const LINK_LOADING: Duration = Duration::from_secs(60);
/// First pause before such a store is dialled again; doubled each time.
pub const LINK_BACKOFF: Duration = Duration::from_millis(50);
/// Longest such pause.
pub const LINK_BACKOFF_CAP: Duration = Duration::from_secs(2);
/// Servers of a cluster that are remembered; the largest clusters that are run have a thousand.
pub const CLUSTER_SERVERS: usize = 1000;
/// Time between two queries of a cluster for its servers.
pub const CLUSTER_LOOK: Duration = Duration::from_secs(30);
/// Most servers that one call tries in turn while such a store refers it from one to the next.
pub const LINK_REDIRECTS: u32 = 3;
/// Longest wait for a replica to say that it has a write.
pub const REPLICA_ANSWER: Duration = Duration::from_secs(1);
/// Time for which a store that has fewer replicas than it had acknowledges nothing: a failover that replaces it has come to
/// its end by then, with the usual settings of Sentinels (down after 30 s is theirs, and a primary that they reach is
/// demoted at once).
pub const REPLICA_GRACE: Duration = Duration::from_secs(30);
/// Shortest time between two queries of a server that is written to for the number of its replicas.
pub const REPLICAS_PERIOD: Duration = Duration::from_secs(1);
/// Longest wait for one Sentinel's answer.
pub const SENTINEL_ANSWER: Duration = Duration::from_millis(500);
/// Time between two queries of the Sentinels for the address of the store.
pub const SENTINEL_PERIOD: Duration = Duration::from_secs(1);
/// Facts that a shared store keeps in its log: some days of a busy fleet, at some hundred bytes each.
pub const LOG_ENTRIES: u64 = 100_000;
/// Lines of one job's log that the queue keeps: a life with every retry.
pub const JOB_LOG_LINES: usize = 1000;
/// Longest line of a job's log, in bytes.
pub const JOB_LOG_LINE_BYTES: usize = 1024;
/// Entries that are passed over in one look for work, because the node does not take them now or they are not ours to take
/// yet: a look costs some milliseconds then. A look that finds nothing among them goes on behind them the next time, so that
/// nothing at the front keeps what waits behind it for good.
pub const QUEUE_SKIPPED: usize = 1000;
/// Classes of priority that are looked at for one lease: ours are eleven, other producers may use more.
pub const QUEUE_CLASSES: usize = 64;
/// Most writes that go to a shared store in one call: it serves nobody else meanwhile, for some milliseconds.
pub const STORE_SHARED_BATCH: usize = 128;
/// Most bytes of records that go to a shared store in one call.
pub const STORE_BATCH_BYTES: usize = 1024 * 1024;
/// Time after which a listener that received no message looks for itself.
pub const STORE_LOOK: Duration = Duration::from_secs(2);
/// Pause before a listener that lost its connection tries again.
pub const STORE_LISTEN_AGAIN: Duration = Duration::from_millis(200);
/// Most tries to write an order while other nodes change the orders.
pub const ORDER_TRIES: usize = 100;
/// Events of the queue that one look for external changes reads.
pub const QUEUE_EVENTS_READ: usize = 1000;
/// Entries of each list that one look for external changes goes through: what no event told is found all the same.
pub const QUEUE_PART: usize = 300;
/// Least time between two such looks, over all nodes.
pub const QUEUE_TURN: Duration = Duration::from_millis(900);
/// Time between two searches for jobs that another worker holds without a lock: the value that BullMQ itself uses.
pub const QUEUE_STALLED: Duration = Duration::from_secs(30);
/// Records in one page when waiting work is listed for another store: in one answer, and a record may have 1 MiB.
pub const TRANSFER_PAGE: usize = 50;
/// Most bytes of entries in one request of an import: a body may have 1 MiB, and each entry goes whole.
pub const TRANSFER_BYTES: usize = 512 * 1024;
/// Longest line of an exported queue: a spawn has 1 MiB at most, and its record what happened since.
pub const TRANSFER_LINE_BYTES: u64 = 8 * 1024 * 1024;
/// Most jobs that one look for external changes decides about.
pub const QUEUE_LOOK: usize = 1000;
