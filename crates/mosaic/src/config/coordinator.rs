//! Settings about a coordinator: where gates are judged, and how `mosaic coordinator` judges them for others.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use mosaic_adapters::gates_coordinator::CoordinatorUrl;

use super::error::ConfigError;
use super::outcome::Outcome;
use super::values::{Auth, Secret};

/// Shortest token of `mosaic coordinator`, in bytes: one of an API has no fewer.
const SHORTEST_TOKEN: usize = 16;

/// Settings about a coordinator.
#[derive(Debug, Clone)]
pub(crate) struct CoordinatorConfig {
    /// `COORDINATOR_URL`.
    pub(crate) url: Option<CoordinatorUrl>,
    /// `MOSAIC_COORDINATOR_TOKEN`.
    pub(crate) token: Option<Secret>,
    /// `MOSAIC_COORDINATOR_INSECURE`.
    pub(crate) insecure: bool,
    /// `MOSAIC_COORDINATOR_TIMEOUT_MS`.
    pub(crate) timeout: Duration,
    /// `MOSAIC_COORDINATOR_PORT`.
    pub(crate) port: u16,
    /// `MOSAIC_COORDINATOR_BIND`.
    pub(crate) bind: IpAddr,
    /// `MOSAIC_COORDINATOR_AUTH`.
    pub(crate) auth: Auth,
    /// `MOSAIC_COORDINATOR_SLOTS`; as many as agents run at once when `None`.
    pub(crate) slots: Option<usize>,
    /// `MOSAIC_COORDINATOR_QUEUE`.
    pub(crate) queue: usize,
}

impl Default for CoordinatorConfig {
    fn default() -> Self {
        Self {
            url: None,
            token: None,
            insecure: false,
            timeout: Duration::from_secs(1800),
            port: 3002,
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            auth: Auth::Token,
            slots: None,
            queue: 64,
        }
    }
}

/// Reads an address.
pub(super) fn url(value: &str) -> Result<CoordinatorUrl, Outcome> {
    value.trim().parse().map_err(|_| {
        Outcome::Wrong(
            "an http or https address without user, query and fragment, such as https://gates.example.com"
                .to_owned(),
        )
    })
}

impl CoordinatorConfig {
    /// Tells whether what is sent to the coordinator can be read, and its answer changed, on the way.
    pub(crate) fn is_exposed(&self) -> bool {
        self.url.as_ref().is_some_and(|url| !url.is_tls() && !url.is_loopback())
    }

    /// Looks at values that must fit each other.
    pub(super) fn together(&self) -> Vec<ConfigError> {
        let mut faults = Vec::new();
        if self.is_exposed() && self.token.is_some() && !self.insecure {
            faults.push(ConfigError::Together {
                what: "MOSAIC_COORDINATOR_TOKEN would be sent in the clear: COORDINATOR_URL is plain http to another machine"
                    .to_owned(),
                fix: "give COORDINATOR_URL an https address, or set MOSAIC_COORDINATOR_INSECURE=true where nobody else is on that network"
                    .to_owned(),
            });
        }
        if self.auth == Auth::Off && !self.bind.is_loopback() {
            faults.push(ConfigError::Together {
                what: "MOSAIC_COORDINATOR_AUTH=off is only allowed on loopback, but MOSAIC_COORDINATOR_BIND is not a loopback address"
                    .to_owned(),
                fix: "unset MOSAIC_COORDINATOR_AUTH, or set MOSAIC_COORDINATOR_BIND=127.0.0.1".to_owned(),
            });
        }
        faults
    }

    /// Tells whether the token is too short for callers of `mosaic coordinator`.
    pub(crate) fn has_short_token(&self) -> bool {
        self.token.as_ref().is_some_and(|token| token.expose().len() < SHORTEST_TOKEN)
    }
}
