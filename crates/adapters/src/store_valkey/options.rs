//! Settings of the shared store and of the way to its server. The password is never shown.

use std::path::PathBuf;
use std::time::Duration;

use mosaic_core::limits;

/// Options of the shared store.
#[derive(Debug, Clone)]
pub struct ValkeyOptions {
    /// Where the server is.
    pub link: LinkOptions,
    /// The name of this node, as it stands in the events that it publishes.
    pub source: String,
    /// Time for which a lease holds after it was granted or extended.
    pub term: Duration,
    /// Most entries that may wait.
    pub queue_entries: u64,
    /// About how many facts the log keeps.
    pub log_entries: u64,
    /// About how many events the queue's stream keeps; what was set before, or what BullMQ takes, when not said.
    pub queue_events: Option<u64>,
    /// By which clock what is due is decided.
    pub time: TimeSource,
}

/// A clock to decide by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeSource {
    /// The server's, so that no node's clock matters.
    #[default]
    Server,
    /// The caller's: for the conformance suite, whose times are made up.
    Caller,
}

impl Default for ValkeyOptions {
    fn default() -> Self {
        Self {
            link: LinkOptions::default(),
            source: "fleet".to_owned(),
            term: Duration::from_secs(120),
            queue_entries: limits::QUEUE_ENTRIES,
            log_entries: limits::LOG_ENTRIES,
            queue_events: None,
            time: TimeSource::default(),
        }
    }
}

/// The authorities that may vouch for a server over TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// A file of certificates (PEM), the only authorities then; none for those of the system.
    pub ca_file: Option<PathBuf>,
}

/// The Sentinels of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentinels {
    /// Where they are.
    pub addresses: Vec<(String, u16)>,
    /// The name that they give to the server.
    pub master: String,
}

/// Which server, and how it is spoken to.
#[derive(Clone)]
pub struct LinkOptions {
    /// Host name or IP address; unused with Sentinels.
    pub host: String,
    /// Port; unused with Sentinels.
    pub port: u16,
    /// Further servers of the same cluster, asked when that one is away.
    pub others: Vec<(String, u16)>,
    /// Goes before every key, without the colon; may be empty, may have a hash tag.
    pub prefix: String,
    /// The user, when not the default one.
    pub username: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// Number of the database; 0 with Cluster.
    pub database: i64,
    /// TLS, when it is spoken.
    pub tls: Option<Tls>,
    /// The Sentinels that know where the server is.
    pub sentinels: Option<Sentinels>,
    /// Uses a server that may lose what it was given.
    pub accept_risk: bool,
    /// The name of this connection in the server's list of clients: the node's name.
    pub name: String,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self {
            host: "localhost".to_owned(),
            port: 6379,
            others: Vec::new(),
            prefix: String::new(),
            username: None,
            password: None,
            database: 0,
            tls: None,
            sentinels: None,
            accept_risk: false,
            name: String::new(),
        }
    }
}

impl std::fmt::Debug for LinkOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            host,
            port,
            others,
            prefix,
            username,
            password,
            database,
            tls,
            sentinels,
            accept_risk,
            name,
        } = self;
        f.debug_struct("LinkOptions")
            .field("host", host)
            .field("port", port)
            .field("others", others)
            .field("prefix", prefix)
            .field("username", username)
            .field("password", &password.as_ref().map(|_| "[set]"))
            .field("database", database)
            .field("tls", tls)
            .field("sentinels", sentinels)
            .field("accept_risk", accept_risk)
            .field("name", name)
            .finish()
    }
}

impl LinkOptions {
    /// Tells whether every key is in one slot of a cluster.
    pub(super) fn one_slot(&self) -> bool {
        self.prefix.find('{').is_some_and(|open| self.prefix[open + 1..].find('}').is_some_and(|n| n > 0))
    }
}
