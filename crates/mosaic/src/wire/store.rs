//! Which store: the embedded one in the data directory, or the Valkey server that was named. The data directory is
//! this server's alone either way. Belongs to `wire.rs`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use mosaic_adapters::data_dir::{self, DirLock};
use mosaic_adapters::fleet_sole::SoleNode;
use mosaic_adapters::orders_files::OrdersDir;
use mosaic_adapters::store_sqlite::SqliteStore;
use mosaic_core::ports::external_queue::{ExternalQueue, NoExternalQueue};
use mosaic_core::ports::fleet::Fleet;
use mosaic_core::ports::store::{Store, StoreError};

use crate::config::Config;

/// A store with the fleet that shares it.
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) fleet: Arc<dyn Fleet>,
    pub(super) external_queue: Arc<dyn ExternalQueue>,
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
    // The new store counts admissions from the start again. The barrier of the damaged one would end what is new in it.
    if let Some(place) = &set_aside {
        let aside = OrdersDir::new(data).set_barrier_aside(place);
        aside.context("the barrier of a store that was set aside cannot be moved to it")?;
    }
    Ok(Opened {
        store: Arc::new(store),
        fleet: Arc::new(SoleNode::new()),
        external_queue: Arc::new(NoExternalQueue),
        set_aside,
        lock: None,
    })
}

/// Notes which store this directory's server uses. After another one the barrier of the newest kill-all is moved away: its
/// place is one in the order of admissions of that other store, and would end what is new in this one. Warns of unfinished
/// work in an embedded store that is not used.
pub(super) async fn settle(config: &Config, opened: &Opened) -> anyhow::Result<()> {
    let data = &config.data_dir;
    let secret = opened.fleet.peer_secret().await.context("the key of the store's nodes cannot be read")?;
    // The store makes the key, so its digest tells one store from another.
    let kind = secret.map_or_else(|| EMBEDDED.to_owned(), |secret| format!("valkey {}", digest(&secret)));
    let before = data_dir::store_of(data);
    // Earlier versions noted nothing.
    let moved = before.is_none() && config.valkey.chosen() && data.join("mosaic.db").exists();
    if moved || before.is_some_and(|before| before != kind) {
        let place = data.join("quarantine").join("barrier-of-another-store");
        std::fs::create_dir_all(&place).context("the barrier of another store cannot be moved away")?;
        let aside = OrdersDir::new(data).set_barrier_aside(&place);
        aside.context("the barrier of another store cannot be moved away")?;
    }
    // Only now: a start that is broken off before this does all of it again, and one after it finds no barrier.
    data_dir::note_store(data, &kind).context("the data directory's note of its store cannot be written")?;
    if let Some(text) = left_behind(config) {
        tracing::warn!("{text}");
        crate::session::say(&format!("warning: {text}"));
    }
    Ok(())
}

/// Content of the note in a data directory while the embedded store is used.
const EMBEDDED: &str = "embedded";

/// Tells whether the newest server of the directory used another store than the embedded one.
pub(crate) fn uses_valkey(data: &Path) -> bool {
    data_dir::store_of(data).is_some_and(|store| store != EMBEDDED)
}

fn digest(secret: &str) -> String {
    use sha2::{Digest, Sha256};
    let hash = Sha256::digest(secret.as_bytes());
    base16ct::lower::encode_string(&hash[..8])
}

/// Says what lies unfinished in an embedded store that is not used, and what to do.
pub(crate) fn left_behind(config: &Config) -> Option<String> {
    if !config.valkey.chosen() {
        return None;
    }
    let file = config.data_dir.join("mosaic.db");
    match SqliteStore::unfinished(&config.data_dir) {
        Ok(0) => None,
        Ok(count) => Some(format!(
            "{count} unfinished tasks lie in the embedded store {}, which is not used while VALKEY_HOST is set; move what \
             waits: mosaic queue export --embedded queue.ndjson && mosaic queue import queue.ndjson",
            file.display()
        )),
        Err(e) => {
            Some(format!("the embedded store {} is not used, and cannot be looked into: {e}", file.display()))
        }
    }
}

/// Opens a store to move work, beside whatever server uses it.
pub(crate) async fn open_beside(config: &Config) -> anyhow::Result<Opened> {
    if config.valkey.chosen() {
        return valkey_beside(config).await;
    }
    let (data, fleet) = (&config.data_dir, Arc::new(SoleNode::new()));
    let (lock, store) = match DirLock::take(data) {
        Ok(lock) => (Some(lock), SqliteStore::open_beside(data)?),
        // The server has the directory, but not this store.
        Err(StoreError::InUse(_)) if uses_valkey(data) => (None, SqliteStore::open_beside(data)?),
        Err(e) => return Err(e.into()),
    };
    Ok(Opened {
        store: Arc::new(store),
        fleet,
        external_queue: Arc::new(NoExternalQueue),
        set_aside: None,
        lock,
    })
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
    use mosaic_core::domain::ids::NodeId;
    use mosaic_server::HttpArchives;
    let lock = DirLock::take(&config.data_dir)?;
    let shared = connect(config).await?;
    // A damaged archive is told in the log; what lies in it is known by its short forms until a copy is put back.
    let (archive, _) = SqliteStore::open_or_set_aside(&config.data_dir.join(ARCHIVE))?;
    let node: NodeId = config.node.parse().context("MOSAIC_NODE is not a usable name")?;
    let peers = Arc::new(HttpArchives::new(shared.clone(), node.clone()));
    let store = Arc::new(ArchivedStore::new(shared.clone(), Arc::new(archive), peers, node));
    Ok(Opened { store, fleet: shared.clone(), external_queue: shared, set_aside: None, lock: Some(lock) })
}

#[cfg(feature = "valkey")]
async fn connect(config: &Config) -> anyhow::Result<Arc<mosaic_adapters::store_valkey::ValkeyStore>> {
    use mosaic_adapters::store_valkey::{ValkeyOptions, ValkeyStore};
    use mosaic_core::limits;
    let options = ValkeyOptions {
        link: link(config),
        source: config.node.clone(),
        term: config.lease,
        queue_entries: limits::QUEUE_ENTRIES,
        log_entries: config.valkey.log_entries,
        queue_events: config.valkey.queue_events,
        ..ValkeyOptions::default()
    };
    Ok(Arc::new(ValkeyStore::connect(options).await.map_err(advised)?))
}

/// Returns the options of the connection to the configured Valkey server.
#[cfg(feature = "valkey")]
fn link(config: &Config) -> mosaic_adapters::store_valkey::LinkOptions {
    use mosaic_adapters::store_valkey::{LinkOptions, Sentinels, Tls};
    let valkey = &config.valkey;
    let mut addresses = valkey.addresses();
    let (host, port) = addresses.remove(0);
    LinkOptions {
        host,
        port,
        others: addresses,
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

#[cfg(feature = "valkey")]
async fn valkey_beside(config: &Config) -> anyhow::Result<Opened> {
    let store = connect(config).await?;
    Ok(Opened {
        store: store.clone(),
        fleet: store.clone(),
        external_queue: store,
        set_aside: None,
        lock: None,
    })
}

#[cfg(not(feature = "valkey"))]
async fn valkey_beside(config: &Config) -> anyhow::Result<Opened> {
    valkey(config).await
}

#[cfg(not(feature = "valkey"))]
async fn valkey(_: &Config) -> anyhow::Result<Opened> {
    anyhow::bail!("this build has no Valkey store; unset VALKEY_HOST and VALKEY_PORT for the embedded store")
}

/// One observation about the configured Valkey server.
#[derive(Debug)]
#[cfg_attr(not(feature = "valkey"), expect(dead_code, reason = "a build without that store sees none"))]
pub(crate) enum StoreObservation {
    /// All that is as it should be, in one line.
    Fine(String),
    /// Something that could not be seen, or should be better.
    Remark(String),
    /// It may lose what it acknowledged.
    Risk {
        /// The setting and its value.
        what: String,
        /// Consequence of the setting.
        consequence: &'static str,
        /// Remedy, for people.
        fix: &'static str,
        /// The operator accepted it.
        accepted: bool,
    },
    /// Its user lacks rights.
    Rights {
        /// The user, and the rules that are missing.
        what: String,
        /// The command that adds them.
        fix: String,
    },
    /// This machine's clock is too far from its own.
    WrongClock(String),
    /// It cannot be used at all.
    Impossible(String),
}

/// Looks at the server that was named.
#[cfg(feature = "valkey")]
pub(crate) async fn look(config: &Config) -> anyhow::Result<Vec<StoreObservation>> {
    use mosaic_core::clocks::ClockOffset;
    let options = link(config);
    let looks = mosaic_adapters::store_valkey::inspect(&options).await?;
    let mut seen = vec![StoreObservation::Fine(format!("{}: {looks}", config.valkey.message()))];
    seen.extend(looks.impossible(&options).map(StoreObservation::Impossible));
    let accepted = options.accept_risk;
    let risks = looks.risks().into_iter();
    seen.extend(risks.map(|r| StoreObservation::Risk {
        what: r.what,
        consequence: r.consequence,
        fix: r.fix,
        accepted,
    }));
    let offset = looks.clock_offset_ms.map(|offset_ms| ClockOffset { offset_ms, error_ms: 0 });
    seen.extend(
        offset
            .filter(|offset| offset.is_too_far())
            .map(|offset| StoreObservation::WrongClock(offset.message())),
    );
    seen.push(rights(looks.rights.as_ref()));
    seen.extend(looks.remarks().into_iter().map(StoreObservation::Remark));
    Ok(seen)
}

/// Tells what the store's user may do.
#[cfg(feature = "valkey")]
fn rights(rights: Option<&mosaic_adapters::store_valkey::Rights>) -> StoreObservation {
    let Some(rights) = rights else {
        return StoreObservation::Remark(
            "what its user may do could not be looked at (that takes Valkey, or Redis 7.0, and the right to EVAL)"
                .to_owned(),
        );
    };
    if !rights.missing.is_empty() {
        let what = format!("user {} lacks {}", rights.user, rights.missing.join(" "));
        return StoreObservation::Rights { what, fix: rights.fix() };
    }
    let unseen = match rights.optional.is_empty() {
        true => String::new(),
        false => format!(" ({} is missing, which shows more of the server)", rights.optional.join(" ")),
    };
    StoreObservation::Fine(format!(
        "user {} has all rights that are needed{unseen}; the least are: {}",
        rights.user,
        rights.least()
    ))
}

#[cfg(not(feature = "valkey"))]
pub(crate) async fn look(_: &Config) -> anyhow::Result<Vec<StoreObservation>> {
    anyhow::bail!("this build has no Valkey store")
}
