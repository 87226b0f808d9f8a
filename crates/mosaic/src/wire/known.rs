//! The values of the configuration that must not leave the server: each secret setting, looked for from the start on.

use std::sync::Arc;

use mosaic_adapters::secret_scan::KnownSecrets;

use crate::config::Config;
use crate::config::table::VARIABLES;

/// Registers every secret setting.
pub(super) fn of_settings(config: &Config) -> Arc<KnownSecrets> {
    let known = Arc::new(KnownSecrets::default());
    for row in VARIABLES.iter().filter(|row| row.secret) {
        if let Some(secret) = (row.reveal)(config) {
            learn(&known, row.name, secret.expose().as_bytes());
        }
    }
    known
}

/// Registers one value; says so when it is too weak to be looked for.
pub(crate) fn learn(known: &KnownSecrets, name: &str, value: &[u8]) {
    if let Err(why) = known.register(name, value) {
        tracing::warn!(
            "{name} is not looked for in what agents push and in what is shown: {why}; choose a longer one"
        );
    }
}
