//! Configuration of the Valkey store: the server to use, and the connection to it.

use std::path::PathBuf;

use super::error::ConfigError;
use super::outcome::Outcome;
use super::parsers as p;
use super::parsers::Read;
use super::values::Secret;

/// The port of a Valkey server when none is named.
const PORT: u16 = 6379;
/// The port of a Sentinel when none is named.
const SENTINEL_PORT: u16 = 26379;
/// Longest prefix of keys, in bytes: it stands in every key.
const PREFIX_BYTES: usize = 64;
/// Most servers of one cluster that are named: the others are learned from them.
const SERVERS: usize = 16;
/// Most Sentinels of one server.
const SENTINELS: usize = 16;

/// The variables that name the Valkey server.
#[derive(Debug, Clone)]
pub(crate) struct ValkeyConfig {
    /// `VALKEY_HOST`.
    pub(crate) hosts: Vec<(String, Option<u16>)>,
    /// `VALKEY_PORT`.
    pub(crate) port: Option<u16>,
    /// `MOSAIC_VALKEY_PREFIX`.
    pub(crate) prefix: String,
    /// `MOSAIC_VALKEY_USERNAME`.
    pub(crate) username: Option<String>,
    /// `MOSAIC_VALKEY_PASSWORD`.
    pub(crate) password: Option<Secret>,
    /// `MOSAIC_VALKEY_DB`.
    pub(crate) database: u64,
    /// `MOSAIC_VALKEY_TLS`.
    pub(crate) tls: bool,
    /// `MOSAIC_VALKEY_CA_FILE`.
    pub(crate) ca_file: Option<PathBuf>,
    /// `MOSAIC_VALKEY_SENTINELS`.
    pub(crate) sentinels: Vec<(String, u16)>,
    /// `MOSAIC_VALKEY_SENTINEL_MASTER`.
    pub(crate) sentinel_master: String,
    /// `MOSAIC_VALKEY_ACCEPT_RISK`.
    pub(crate) accept_risk: bool,
    /// `MOSAIC_VALKEY_LOG_ENTRIES`.
    pub(crate) log_entries: u64,
    /// `MOSAIC_VALKEY_QUEUE_EVENTS`.
    pub(crate) queue_events: Option<u64>,
}

impl Default for ValkeyConfig {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            port: None,
            prefix: String::new(),
            username: None,
            password: None,
            database: 0,
            tls: false,
            ca_file: None,
            sentinels: Vec::new(),
            sentinel_master: "mymaster".to_owned(),
            accept_risk: false,
            log_entries: mosaic_core::limits::LOG_ENTRIES,
            queue_events: None,
        }
    }
}

impl ValkeyConfig {
    /// Tells whether the Valkey store was chosen.
    pub(crate) fn chosen(&self) -> bool {
        !self.hosts.is_empty() || self.port.is_some() || !self.sentinels.is_empty()
    }

    /// Returns the addresses of the server, or of several of its cluster; what Sentinels say stands above them.
    pub(crate) fn addresses(&self) -> Vec<(String, u16)> {
        let usual = self.port.unwrap_or(PORT);
        if self.hosts.is_empty() {
            return vec![("localhost".to_owned(), usual)];
        }
        self.hosts.iter().map(|(host, port)| (host.clone(), port.unwrap_or(usual))).collect()
    }

    /// Returns the store in a few words, for people.
    pub(crate) fn message(&self) -> String {
        if self.sentinels.is_empty() {
            let all: Vec<String> =
                self.addresses().iter().map(|(host, port)| format!("{host}:{port}")).collect();
            return format!("Valkey {}", all.join(", "));
        }
        let all: Vec<String> = self.sentinels.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        format!("Valkey \"{}\" of Sentinel {}", self.sentinel_master, all.join(", "))
    }

    /// Looks at values that must fit each other.
    pub(super) fn together(&self) -> Vec<ConfigError> {
        let mut faults = Vec::new();
        let mut fault = |wrong: bool, what: &str, fix: &str| {
            if wrong {
                faults.push(ConfigError::Together { what: what.to_owned(), fix: fix.to_owned() });
            }
        };
        fault(
            !self.chosen() && self.says_something(),
            "MOSAIC_VALKEY_… is set, but no Valkey server is named",
            "set VALKEY_HOST, or unset what begins with MOSAIC_VALKEY_ for the embedded store",
        );
        fault(
            self.ca_file.is_some() && !self.tls,
            "MOSAIC_VALKEY_CA_FILE is set, but MOSAIC_VALKEY_TLS is not true: nothing would be encrypted",
            "set MOSAIC_VALKEY_TLS=true, or unset MOSAIC_VALKEY_CA_FILE",
        );
        fault(
            self.username.is_some() && self.password.is_none(),
            "MOSAIC_VALKEY_USERNAME needs a password",
            "set MOSAIC_VALKEY_PASSWORD or MOSAIC_VALKEY_PASSWORD_FILE",
        );
        fault(
            !self.sentinels.is_empty() && (!self.hosts.is_empty() || self.port.is_some()),
            "MOSAIC_VALKEY_SENTINELS and VALKEY_HOST or VALKEY_PORT are both set: the Sentinels name the server",
            "unset VALKEY_HOST and VALKEY_PORT, or MOSAIC_VALKEY_SENTINELS",
        );
        faults
    }

    fn says_something(&self) -> bool {
        let plain = Self::default();
        self.prefix != plain.prefix
            || self.username.is_some()
            || self.password.is_some()
            || self.database != 0
            || self.tls
            || self.ca_file.is_some()
            || self.sentinel_master != plain.sentinel_master
            || self.accept_risk
    }
}

/// Reads a value where the build has the Valkey store.
pub(super) fn built<T>(read: impl FnOnce() -> Read<T>) -> Read<T> {
    if cfg!(feature = "valkey") {
        return read();
    }
    Err(Outcome::Missing {
        capability: "Valkey store",
        fix: "unset VALKEY_HOST, VALKEY_PORT and MOSAIC_VALKEY_… to start on the embedded store",
    })
}

/// Reads a port.
pub(super) fn port(value: &str) -> Read<u16> {
    p::number(value, 1..=65_535).map(|n| u16::try_from(n).expect("the range was checked"))
}

/// Reads the name or the address of a host.
pub(super) fn host(value: &str) -> Read<String> {
    let text = value.trim().trim_start_matches('[').trim_end_matches(']');
    if text.parse::<std::net::IpAddr>().is_ok() { Ok(text.to_owned()) } else { p::host(value) }
}

/// Reads the server, or several of one cluster, separated by commas; each with its port, or without.
pub(super) fn hosts(value: &str) -> Read<Vec<(String, Option<u16>)>> {
    let one = |text: &str| match text.rsplit_once(':') {
        Some((name, number)) if !name.contains(':') || name.ends_with(']') => {
            Ok((host(name)?, Some(port(number)?)))
        }
        _ => Ok((host(text)?, None)),
    };
    let all: Vec<_> =
        value.split(',').map(str::trim).filter(|text| !text.is_empty()).map(one).collect::<Read<_>>()?;
    if all.is_empty() || all.len() > SERVERS {
        return Err(Outcome::Wrong(format!(
            "a host, or 1 to {SERVERS} addresses of one cluster such as v1:6379,v2:6379"
        )));
    }
    Ok(all)
}

/// Returns the hosts as they are written.
pub(super) fn shown(hosts: &[(String, Option<u16>)]) -> Option<String> {
    let one = |(host, port): &(String, Option<u16>)| match port {
        Some(port) if host.contains(':') => format!("[{host}]:{port}"),
        Some(port) => format!("{host}:{port}"),
        None => host.clone(),
    };
    (!hosts.is_empty()).then(|| hosts.iter().map(one).collect::<Vec<_>>().join(","))
}

/// Reads what goes before every key. A hash tag is whole and not empty.
pub(super) fn prefix(value: &str) -> Read<String> {
    let text = value.trim().trim_end_matches(':');
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"{}-_.:".contains(&b);
    let tag = match (text.find('{'), text.find('}')) {
        (None, None) => true,
        (Some(open), Some(close)) => close > open + 1 && text.matches(['{', '}']).count() == 2,
        _ => false,
    };
    if text.is_empty() || text.len() > PREFIX_BYTES || !text.bytes().all(fits) || !tag {
        return Err(Outcome::Wrong(format!(
            "letters, digits, - _ . : and at most one hash tag, such as {{mosaic}}, at most {PREFIX_BYTES} bytes"
        )));
    }
    Ok(text.to_owned())
}

/// Reads addresses of Sentinels separated by commas.
pub(super) fn sentinels(value: &str) -> Read<Vec<(String, u16)>> {
    let one = |text: &str| match text.rsplit_once(':') {
        Some((name, number)) if !name.contains(':') || name.ends_with(']') => {
            Ok((host(name)?, port(number)?))
        }
        _ => Ok((host(text)?, SENTINEL_PORT)),
    };
    let all: Vec<(String, u16)> =
        value.split(',').map(str::trim).filter(|text| !text.is_empty()).map(one).collect::<Read<_>>()?;
    if all.is_empty() || all.len() > SENTINELS {
        return Err(Outcome::Wrong(format!("1 to {SENTINELS} addresses such as s1:26379,s2:26379")));
    }
    Ok(all)
}
