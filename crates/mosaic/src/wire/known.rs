//! The values of the configuration that must not leave the server: each secret setting, looked for from the start on.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use mosaic_adapters::bounded_file;
use mosaic_adapters::git::Credentials;
use mosaic_adapters::secret_scan::{KnownSecrets, LookedFor, RuleScanner};
use mosaic_core::domain::access::fleet_token;
use mosaic_core::limits;
use mosaic_core::ports::scanner::SecretScanner;

use crate::config::table::variables;
use crate::config::{Config, real_env};

/// Longest token file that is read, in bytes; tokens have 43.
const TOKEN_BYTES: u64 = 4096;

/// Registers every secret setting.
pub(super) fn of_settings(config: &Config) -> Arc<KnownSecrets> {
    let known = Arc::new(KnownSecrets::default());
    for (name, value) in secret_settings(config) {
        learn(&known, name, &value);
    }
    known
}

fn secret_settings(config: &Config) -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    let secrets = variables().filter(|row| row.secret);
    secrets.filter_map(|row| Some((row.name, (row.reveal)(config)?.expose().as_bytes().to_vec())))
}

/// Registers what the command line can know without a server: the secret settings and the API token.
pub(crate) fn of_command_line(config: &Config, data_dir: &Path) -> Arc<KnownSecrets> {
    let known = Arc::new(KnownSecrets::default());
    // Silently: who orders a kill needs no words about a password.
    for (name, value) in secret_settings(config) {
        let _ = known.register(name, &value);
    }
    // Bounded, no link and no pipe: nothing may hold up an order to stop.
    if let Ok(token) = bounded_file::read(&data_dir.join("token"), TOKEN_BYTES) {
        let _ = known.register("API token", &token);
    }
    known
}

/// Registers what a server of this configuration keeps secret, for a command that does a server's work while there is none;
/// `fleet_key` is the key that its nodes show each other. Errors when there is something that cannot be read.
pub(crate) fn of_absent_server(
    config: &Config,
    fleet_key: Option<&str>,
) -> anyhow::Result<Arc<KnownSecrets>> {
    let known = Arc::new(KnownSecrets::default());
    // Silently: the server says at its start which values are too weak to be looked for.
    for (name, value) in secret_settings(config) {
        let _ = known.register(name, &value);
    }
    let passed = crate::agent_env::passed(&config.agent_env, &real_env);
    for (name, value) in crate::agent_env::secrets(&passed) {
        let _ = known.register(&name, &value);
    }
    if let Some(key) = fleet_key {
        let _ = known.register("key of the nodes", key.as_bytes());
        let _ = known.register("API token", fleet_token(key).as_bytes());
    }
    for (file, name) in
        [("token", "API token"), ("token.before", "API token"), ("agent-secret", "agent-secret")]
    {
        let path = config.data_dir.join(file);
        match bounded_file::read_linked(&path, TOKEN_BYTES) {
            Ok(value) if name == "API token" => drop(known.register(name, value.trim_ascii())),
            Ok(value) => drop(known.register(name, &value)),
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e).with_context(|| format!("{} cannot be read", path.display())),
        }
    }
    let credentials = Credentials {
        file: config.git_credentials_file.clone(),
        known: Some(Arc::clone(&known)),
        ..Credentials::default()
    };
    credentials.learn_file().context("the file of MOSAIC_GIT_CREDENTIALS_FILE cannot be read")?;
    super::runtimes::claude(config, "", &known).learn()?;
    Ok(known)
}

/// Makes a scanner that looks for these values too.
pub(crate) fn scanner(known: Arc<KnownSecrets>) -> Arc<dyn SecretScanner> {
    Arc::new(RuleScanner::knowing(known))
}

/// Registers one value; says so when it is too weak to be looked for, or so short that it is looked for as a word only.
pub(crate) fn learn(known: &KnownSecrets, name: &str, value: &[u8]) {
    if let Some(weakness) = weakness(name, value) {
        tracing::warn!("{weakness}; choose a longer one");
    }
    // What is wrong with it was said.
    let _ = known.register(name, value);
}

/// Says what is wrong with a value that is kept secret, when something is.
pub(crate) fn weakness(name: &str, value: &[u8]) -> Option<String> {
    match LookedFor::of(value) {
        Ok(LookedFor::Everywhere) => None,
        Ok(LookedFor::AsWord) => Some(format!(
            "{name} has fewer than {} bytes: in what agents push and in what is shown it is looked for as a whole word only",
            limits::KNOWN_SHORTEST
        )),
        Err(why) => Some(format!("{name} is not looked for in what agents push and in what is shown: {why}")),
    }
}

/// Lists the secret settings that are too weak to be looked for in every form.
pub(crate) fn weak_settings(config: &Config) -> Vec<String> {
    secret_settings(config).filter_map(|(name, value)| weakness(name, &value)).collect()
}
