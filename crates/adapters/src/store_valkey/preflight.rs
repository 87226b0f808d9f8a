//! The preflight: a server that forgets what it acknowledged is refused, by the name of the setting, unless the
//! operator accepted the risk. What a managed server does not let us see is said.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use mosaic_core::limits;
use mosaic_core::ports::store::StoreError;
use redis::RedisError;
use redis::aio::MultiplexedConnection;
use tokio::time::timeout;

use super::address::Address;
use super::ask::ask;
use super::dial::Dialler;
use super::dial_error::DialError;
use super::failure::{Fault, message};
use super::keys::Names;
use super::options::LinkOptions;
use super::rights::{self, Rights};

/// Oldest version with what the scripts need (`ZRANGE … BYSCORE`, `GETEX`, `XAUTOCLAIM`; 2021).
const OLDEST: (u32, u32) = (6, 2);
/// First version whose scripts may say that they run although the memory is full.
const RECOMMENDED: (u32, u32) = (7, 0);
/// The variable by which an operator accepts the risk.
const ACCEPT: &str = "MOSAIC_VALKEY_ACCEPT_RISK";

/// Facts about a server that every connection needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RoleInfo {
    /// It is a replica.
    pub(super) replica: bool,
    /// Number of connected replicas.
    pub(super) replicas: u64,
    /// Its scripts may say in their first line what they do.
    pub(super) flags: bool,
}

/// Facts that a server states about itself; `None` where it states nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerInfo {
    /// `Valkey` or `Redis`.
    pub product: String,
    /// Its version, whole.
    pub version: String,
    /// True when it is one of a cluster.
    pub cluster: bool,
    /// `master` or `slave`, as it says.
    pub role: Option<String>,
    /// Number of connected replicas.
    pub replicas: u64,
    /// True when it refuses writes while too few replicas follow it (`min-replicas-to-write`).
    pub guarded: bool,
    /// True when Sentinels may replace it.
    pub watched: bool,
    /// True when it writes an append-only file.
    pub append_only: Option<bool>,
    /// When that is made durable: `always`, `everysec` or `no`.
    pub fsync: Option<String>,
    /// Its policy for a full memory (`maxmemory-policy`).
    pub policy: Option<String>,
    /// The most memory that it takes, in bytes; 0 is all.
    pub max_memory: Option<u64>,
    /// The memory that it has taken, in bytes.
    pub used_memory: Option<u64>,
    /// Milliseconds by which this machine's wall clock is ahead of its, within half a round trip.
    pub clock_offset_ms: Option<i64>,
    /// Rights that its user lacks; nothing where that could not be looked at.
    pub rights: Option<Rights>,
}

/// A setting of a server that is a risk, with its consequence and its remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Risk {
    /// The setting and its value.
    pub what: String,
    /// The consequence.
    pub consequence: &'static str,
    /// The remedy.
    pub fix: &'static str,
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// Reads the role of a server; one that refuses to say counts as one without replicas.
pub(super) async fn role_info(connection: &MultiplexedConnection) -> Result<RoleInfo, RedisError> {
    let info = match ask::<String>(connection, &redis::cmd("INFO")).await {
        Ok(info) => info,
        Err(e) if Fault::of(&e) == Fault::Refused => String::new(),
        Err(e) => return Err(e),
    };
    let version = field(&info, "valkey_version").or_else(|| field(&info, "redis_version"));
    Ok(RoleInfo {
        replica: field(&info, "role") == Some("slave"),
        replicas: field(&info, "connected_slaves").and_then(|n| n.parse().ok()).unwrap_or(0),
        flags: version.and_then(parsed).is_none_or(|version| version >= RECOMMENDED),
    })
}

/// Reads the first two numbers of a version.
fn parsed(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Reads what a server states about itself.
pub(super) async fn server_info(connection: &MultiplexedConnection) -> Result<ServerInfo, RedisError> {
    let info: String = ask(connection, &redis::cmd("INFO")).await?;
    let number = |name| field(&info, name).and_then(|n| n.parse().ok());
    let valkey = field(&info, "valkey_version");
    let mut server = ServerInfo {
        product: if valkey.is_some() { "Valkey" } else { "Redis" }.to_owned(),
        version: valkey.or_else(|| field(&info, "redis_version")).unwrap_or_default().to_owned(),
        cluster: field(&info, "cluster_enabled") == Some("1"),
        role: field(&info, "role").map(str::to_owned),
        replicas: number("connected_slaves").unwrap_or(0),
        // The line is there only while the setting is above 0.
        guarded: field(&info, "min_slaves_good_slaves").is_some(),
        watched: false,
        append_only: field(&info, "aof_enabled").map(|on| on == "1"),
        fsync: None,
        policy: field(&info, "maxmemory_policy").map(str::to_owned),
        max_memory: number("maxmemory"),
        used_memory: number("used_memory"),
        clock_offset_ms: clock_offset(connection).await,
        rights: None,
    };
    // Managed servers forbid CONFIG; what INFO says is enough but for this.
    let fsync: Result<Vec<String>, _> =
        ask(connection, redis::cmd("CONFIG").arg("GET").arg("appendfsync")).await;
    server.fsync = fsync.ok().and_then(|pair| pair.into_iter().nth(1));
    Ok(server)
}

async fn clock_offset(connection: &MultiplexedConnection) -> Option<i64> {
    let (before, begun) = (SystemTime::now(), Instant::now());
    let (seconds, micros): (i64, i64) = ask(connection, &redis::cmd("TIME")).await.ok()?;
    let middle = before + begun.elapsed() / 2;
    let own = i64::try_from(middle.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()?;
    Some(own - seconds * 1000 - micros / 1000)
}

impl std::fmt::Display for ServerInfo {
    /// In one line: product, version, persistence, policy, role, memory.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.product, self.version)?;
        match (self.append_only, &self.fsync) {
            (Some(true), Some(fsync)) => write!(f, ", append-only file synced {fsync}")?,
            (Some(true), None) => write!(f, ", append-only file")?,
            (Some(false), _) => write!(f, ", no append-only file")?,
            (None, _) => {}
        }
        if let Some(policy) = &self.policy {
            write!(f, ", {policy}")?;
        }
        match (self.role.as_deref(), self.replicas) {
            (Some("master"), 0) => write!(f, ", no replica")?,
            (Some("master"), 1) => write!(f, ", 1 replica")?,
            (Some("master"), n) => write!(f, ", {n} replicas")?,
            (Some("slave"), _) => write!(f, ", a replica")?,
            _ => {}
        }
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        match (self.used_memory, self.max_memory) {
            (Some(used), Some(0) | None) => write!(f, ", {:.1} MiB of memory", mib(used)),
            (Some(used), Some(most)) => write!(f, ", {:.1} of {:.1} MiB of memory", mib(used), mib(most)),
            (None, _) => Ok(()),
        }
    }
}

impl ServerInfo {
    /// Returns what no acceptance of a risk can mend.
    pub fn impossible(&self, options: &LinkOptions) -> Option<String> {
        if let Some(version) = parsed(&self.version).filter(|version| *version < OLDEST) {
            let (major, minor) = version;
            return Some(format!(
                "it is {} {major}.{minor}, and at least {}.{} is needed; install a newer one",
                self.product, OLDEST.0, OLDEST.1
            ));
        }
        if self.cluster && !options.one_slot() {
            return Some(
                "it is one of a cluster, and keys without a hash tag lie on different servers of it; set \
                 MOSAIC_VALKEY_PREFIX to one, such as {mosaic}"
                    .to_owned(),
            );
        }
        if !self.cluster && !options.others.is_empty() {
            return Some(
                "several servers are named, and it is not one of a cluster; name one in VALKEY_HOST, or its Sentinels in \
                 MOSAIC_VALKEY_SENTINELS"
                    .to_owned(),
            );
        }
        (self.cluster && options.database != 0)
            .then(|| "it is one of a cluster, which has database 0 only; unset MOSAIC_VALKEY_DB".to_owned())
    }

    /// Returns why this server may lose what it acknowledged.
    pub fn risks(&self) -> Vec<Risk> {
        let mut risks = Vec::new();
        if self.role.as_deref() == Some("slave") {
            risks.push(Risk {
                what: "role is slave: it is a replica".to_owned(),
                consequence: "it takes no writes, or loses them with the next synchronisation",
                fix: "set VALKEY_HOST and VALKEY_PORT to the primary, or name the Sentinels: MOSAIC_VALKEY_SENTINELS",
            });
        }
        if self.append_only == Some(false) {
            risks.push(Risk {
                what: "appendonly is no".to_owned(),
                consequence: "what it acknowledged is gone when its process ends",
                fix: "CONFIG SET appendonly yes, and the line \"appendonly yes\" in its configuration file",
            });
        }
        if let Some(policy) = self.policy.as_deref().filter(|policy| *policy != "noeviction") {
            risks.push(Risk {
                what: format!("maxmemory-policy is {policy}"),
                consequence: "it deletes tasks when its memory is full",
                fix: "CONFIG SET maxmemory-policy noeviction, and the line \"maxmemory-policy noeviction\" in its configuration file",
            });
        }
        if self.append_only == Some(true) && self.fsync.as_deref() == Some("no") {
            risks.push(Risk {
                what: "appendfsync is no".to_owned(),
                consequence: "the loss of power takes back what it acknowledged half a minute ago",
                fix: "CONFIG SET appendfsync everysec, and the line \"appendfsync everysec\" in its configuration file",
            });
        }
        if self.role.as_deref() == Some("master") && (self.replicas > 0 || self.watched) && !self.guarded {
            risks.push(Risk {
                what: "min-replicas-to-write is 0".to_owned(),
                consequence: "a failover takes back what it acknowledged while it had lost its replicas",
                fix: "CONFIG SET min-replicas-to-write 1 on it and its replicas, and the line \"min-replicas-to-write 1\" in their configuration files",
            });
        }
        risks
    }

    /// Returns what could not be seen, and what should be better.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        let mut unseen = Vec::new();
        if self.append_only.is_none() {
            unseen.push("appendonly");
        }
        if self.fsync.is_none() && self.append_only != Some(false) {
            unseen.push("appendfsync");
        }
        if self.policy.is_none() {
            unseen.push("maxmemory-policy");
        }
        if self.role.is_none() {
            unseen.push("role");
        }
        if !unseen.is_empty() {
            remarks.push(format!("it does not let us see {}; that was not checked", unseen.join(", ")));
        }
        match parsed(&self.version) {
            None => remarks.push("it does not say its version; at least 6.2 is needed".to_owned()),
            Some(version) if version < RECOMMENDED => remarks.push(format!(
                "it is {} {}; from 7.0 on, what runs is also recorded when its memory is full",
                self.product, self.version
            )),
            Some(_) => {}
        }
        remarks
    }
}

/// Inspects the server that is named, with a connection of its own.
pub async fn inspect(options: &LinkOptions) -> Result<ServerInfo, DialError> {
    let dialler = Dialler::new(options.clone())?;
    let mut tried = 1;
    let dialled = loop {
        let address = dialler.locate().await?;
        match dialler.dial(&address, &options.name).await {
            Ok(dialled) => break dialled,
            Err(_) if tried < dialler.servers.count() => tried += 1,
            Err(why) => return Err(why),
        }
    };
    let seen = timeout(limits::LINK_ANSWER, server_info(&dialled.connection))
        .await
        .map_err(|_| DialError::Silent(limits::LINK_ANSWER))?
        .map_err(DialError::Refused)?;
    let rights = rights_of(&dialled.connection, options).await;
    Ok(ServerInfo { watched: options.sentinels.is_some(), rights, ..seen })
}

async fn rights_of(connection: &MultiplexedConnection, options: &LinkOptions) -> Option<Rights> {
    let names = Names::new(&options.prefix);
    let looked = rights::look(connection, &names, options.username.as_deref());
    timeout(limits::LINK_ANSWER, looked).await.ok().flatten()
}

/// Refuses a server that must not be used; warns of what could not be seen.
pub(super) async fn check(
    connection: &MultiplexedConnection,
    options: &LinkOptions,
    address: &Address,
) -> Result<(), StoreError> {
    let at = format!("{}:{}", address.0, address.1);
    let seen = timeout(limits::LINK_ANSWER, server_info(connection)).await;
    let silent =
        |why: &str| StoreError::Unavailable(format!("the store at {at} does not say what it is: {why}"));
    let seen = seen.map_err(|_| silent("no answer"))?.map_err(|e| silent(&message(&e)))?;
    let server = ServerInfo { watched: options.sentinels.is_some(), ..seen };
    if let Some(why) = server.impossible(options) {
        return Err(StoreError::Unusable(format!("the store at {at} cannot be used: {why}")));
    }
    if let Some(rights) = rights_of(connection, options).await.filter(|rights| !rights.missing.is_empty()) {
        tracing::warn!(
            store.host = address.0,
            store.port = address.1,
            user = rights.user,
            missing = rights.missing.join(" "),
            "the user lacks rights in the store, without which work may stop at any step; add them: {}",
            rights.fix()
        );
    }
    for remark in server.remarks() {
        tracing::warn!(store.host = address.0, store.port = address.1, remark, "about the store");
    }
    let risks = server.risks();
    if options.accept_risk {
        for risk in risks {
            tracing::warn!(
                store.host = address.0,
                store.port = address.1,
                setting = risk.what,
                "{}: accepted by {ACCEPT}",
                risk.consequence
            );
        }
        return Ok(());
    }
    if risks.is_empty() {
        return Ok(());
    }
    let all: Vec<String> =
        risks.iter().map(|risk| format!("{}: {}; {}", risk.what, risk.consequence, risk.fix)).collect();
    Err(StoreError::Unusable(format!(
        "the store at {at} would lose work: {}. To use it all the same: {ACCEPT}=true",
        all.join(". And ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn safe() -> ServerInfo {
        ServerInfo {
            product: "Redis".to_owned(),
            version: "7.0.15".to_owned(),
            role: Some("master".to_owned()),
            append_only: Some(true),
            fsync: Some("everysec".to_owned()),
            policy: Some("noeviction".to_owned()),
            ..ServerInfo::default()
        }
    }

    #[test]
    fn every_risk_names_the_setting_its_value_and_the_fix() {
        assert!(safe().risks().is_empty() && safe().remarks().is_empty());
        assert!(ServerInfo { replicas: 2, watched: true, guarded: true, ..safe() }.risks().is_empty());
        for (server, what, fix) in [
            (
                ServerInfo { append_only: Some(false), ..safe() },
                "appendonly is no",
                "CONFIG SET appendonly yes",
            ),
            (
                ServerInfo { policy: Some("allkeys-lru".to_owned()), ..safe() },
                "maxmemory-policy is allkeys-lru",
                "noeviction",
            ),
            (ServerInfo { role: Some("slave".to_owned()), ..safe() }, "role is slave", "VALKEY_HOST"),
            (ServerInfo { fsync: Some("no".to_owned()), ..safe() }, "appendfsync is no", "everysec"),
            (ServerInfo { replicas: 1, ..safe() }, "min-replicas-to-write is 0", "min-replicas-to-write 1"),
            (ServerInfo { watched: true, ..safe() }, "min-replicas-to-write is 0", "its replicas"),
        ] {
            let risks = server.risks();
            assert!(
                risks.len() == 1 && risks[0].what.contains(what) && risks[0].fix.contains(fix),
                "{risks:?}"
            );
        }
    }

    #[test]
    fn what_cannot_be_seen_is_said() {
        let blind =
            ServerInfo { product: "Redis".to_owned(), version: "7.2.4".to_owned(), ..ServerInfo::default() };
        assert!(blind.risks().is_empty());
        let said = blind.remarks().join(" ");
        for name in ["appendonly", "appendfsync", "maxmemory-policy", "role"] {
            assert!(said.contains(name), "{said}");
        }
    }

    #[test]
    fn old_servers_and_clusters_without_a_hash_tag_are_impossible() {
        let plain = LinkOptions::default();
        let tagged = LinkOptions { prefix: "{m}".to_owned(), ..LinkOptions::default() };
        let old = ServerInfo { version: "6.0.16".to_owned(), ..safe() };
        assert!(old.impossible(&plain).is_some_and(|why| why.contains("6.2")));
        assert!(ServerInfo { version: "6.2.0".to_owned(), ..safe() }.impossible(&plain).is_none());
        let cluster = ServerInfo { cluster: true, ..safe() };
        assert!(cluster.impossible(&plain).is_some_and(|why| why.contains("MOSAIC_VALKEY_PREFIX")));
        assert!(cluster.impossible(&tagged).is_none());
    }
}
