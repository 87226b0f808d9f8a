//! Which store: the embedded one in the data directory, or the Valkey server that was named. The data directory is
//! this server's alone either way. Belongs to `wire.rs`.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use mosaic_adapters::data_dir::DirLock;
use mosaic_adapters::fleet_sole::SoleNode;
use mosaic_adapters::orders_files::OrdersDir;
use mosaic_adapters::store_sqlite::SqliteStore;
use mosaic_core::ports::fleet::Fleet;
use mosaic_core::ports::store::Store;

use crate::config::Config;

/// A store with the fleet that shares it.
pub(super) struct Opened {
    pub(super) store: Arc<dyn Store>,
    pub(super) fleet: Arc<dyn Fleet>,
    /// Where the damaged store lies that was found, if one was.
    pub(super) set_aside: Option<PathBuf>,
    /// Held as long as the server runs, where the store does not hold it itself.
    pub(super) lock: Option<DirLock>,
}

/// Opens the store that the configuration names.
pub(super) async fn open(config: &Config) -> anyhow::Result<Opened> {
    if config.valkey.chosen() {
        return valkey(config).await;
    }
    let data = &config.data_dir;
    let (store, set_aside) = SqliteStore::open_or_set_aside(data)?;
    if let Some(place) = &set_aside {
        let aside = OrdersDir::new(data).set_barrier_aside(place);
        aside.context("the barrier of a store that was set aside cannot be moved to it")?;
    }
    Ok(Opened { store: Arc::new(store), fleet: Arc::new(SoleNode::new()), set_aside, lock: None })
}

/// Says what to do when the server that was named cannot be reached.
#[cfg(feature = "valkey")]
fn advised(error: mosaic_core::ports::store::StoreError) -> anyhow::Error {
    use mosaic_core::ports::store::StoreError;
    match error {
        StoreError::Unavailable(why) => {
            anyhow::anyhow!("{why}; start it, or unset VALKEY_HOST and VALKEY_PORT for the embedded store")
        }
        StoreError::Unusable(why) => anyhow::anyhow!(why),
        other => other.into(),
    }
}

/// The directory of this node's archive below the data directory.
#[cfg(feature = "valkey")]
const ARCHIVE: &str = "archive";

#[cfg(feature = "valkey")]
async fn valkey(config: &Config) -> anyhow::Result<Opened> {
    use mosaic_adapters::store_archived::ArchivedStore;
    use mosaic_adapters::store_valkey::{ValkeyOptions, ValkeyStore};
    use mosaic_core::domain::ids::NodeId;
    use mosaic_core::limits;
    use mosaic_server::HttpArchives;
    let lock = DirLock::take(&config.data_dir)?;
    let options = ValkeyOptions {
        link: link(config),
        source: config.node.clone(),
        term: config.lease,
        queue_entries: limits::QUEUE_ENTRIES,
        log_entries: config.valkey.log_entries,
        queue_events: config.valkey.queue_events,
        ..ValkeyOptions::default()
    };
    let shared = Arc::new(ValkeyStore::connect(options).await.map_err(advised)?);
    // A damaged archive is told in the log; what lies in it is known by its short forms until a copy is put back.
    let (archive, _) = SqliteStore::open_or_set_aside(&config.data_dir.join(ARCHIVE))?;
    let node: NodeId = config.node.parse().context("MOSAIC_NODE is not a usable name")?;
    let peers = Arc::new(HttpArchives::new(shared.clone(), node.clone()));
    let store = Arc::new(ArchivedStore::new(shared.clone(), Arc::new(archive), peers, node));
    Ok(Opened { store, fleet: shared, set_aside: None, lock: Some(lock) })
}

/// How the server that was named is reached.
#[cfg(feature = "valkey")]
fn link(config: &Config) -> mosaic_adapters::store_valkey::LinkOptions {
    use mosaic_adapters::store_valkey::{LinkOptions, Sentinels, Tls};
    let valkey = &config.valkey;
    let (host, port) = valkey.address();
    LinkOptions {
        host,
        port,
        prefix: valkey.prefix.clone(),
        username: valkey.username.clone(),
        password: valkey.password.as_ref().map(|password| password.expose().to_owned()),
        database: i64::try_from(valkey.database).unwrap_or(i64::MAX),
        tls: valkey.tls.then(|| Tls { ca_file: valkey.ca_file.clone() }),
        sentinels: (!valkey.sentinels.is_empty()).then(|| Sentinels {
            addresses: valkey.sentinels.clone(),
            master: valkey.sentinel_master.clone(),
        }),
        accept_risk: valkey.accept_risk,
        name: config.node.clone(),
    }
}

#[cfg(not(feature = "valkey"))]
async fn valkey(_: &Config) -> anyhow::Result<Opened> {
    anyhow::bail!("this build has no Valkey store; unset VALKEY_HOST and VALKEY_PORT for the embedded store")
}

/// What is seen of a server that was named.
#[derive(Debug)]
#[cfg_attr(not(feature = "valkey"), expect(dead_code, reason = "a build without that store sees none"))]
pub(crate) enum Seen {
    /// All that is as it should be, in one line.
    Fine(String),
    /// What could not be seen, or should be better.
    Remark(String),
    /// It may lose what it acknowledged.
    Risk {
        /// The setting and its value.
        what: String,
        /// What comes of it.
        consequence: &'static str,
        /// What to do.
        fix: &'static str,
        /// The operator accepted it.
        accepted: bool,
    },
    /// This machine's clock is too far from its own.
    WrongClock(String),
    /// It cannot be used at all.
    Impossible(String),
}

/// Looks at the server that was named. The error is for people.
#[cfg(feature = "valkey")]
pub(crate) async fn look(config: &Config) -> Result<Vec<Seen>, String> {
    use mosaic_core::clocks::ClockOffset;
    let options = link(config);
    let looks = mosaic_adapters::store_valkey::look_at(&options).await?;
    let mut seen = vec![Seen::Fine(format!("{}: {looks}", config.valkey.words()))];
    seen.extend(looks.impossible(&options).map(Seen::Impossible));
    let accepted = options.accept_risk;
    let risks = looks.risks().into_iter();
    seen.extend(risks.map(|r| Seen::Risk { what: r.what, consequence: r.consequence, fix: r.fix, accepted }));
    let offset = looks.clock_offset_ms.map(|offset_ms| ClockOffset { offset_ms, error_ms: 0 });
    seen.extend(offset.filter(|offset| offset.is_too_far()).map(|offset| Seen::WrongClock(offset.words())));
    seen.extend(looks.remarks().into_iter().map(Seen::Remark));
    Ok(seen)
}

#[cfg(not(feature = "valkey"))]
pub(crate) async fn look(_: &Config) -> Result<Vec<Seen>, String> {
    Err("this build has no Valkey store".to_owned())
}
