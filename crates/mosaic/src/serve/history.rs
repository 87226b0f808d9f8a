//! Audit entries of a server's start: that it started, which settings and tokens differ from those of the start before,
//! and that a token was made. Values never stand in the log or in the file this compares with: keyed digests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mosaic_adapters::bounded_file::{read, read_linked};
use mosaic_adapters::durable_write::durable_write;
use mosaic_core::Orchestrator;
use mosaic_core::domain::access::AgentSecret;
use mosaic_core::domain::audit::Action;
use mosaic_core::limits;
use mosaic_core::ports::audit::AuditError;

use crate::config::Config;
use crate::config::table::variables;

/// The setting that names the file of credentials; what stands in the file counts as well.
const CREDENTIALS: &str = "MOSAIC_GIT_CREDENTIALS_FILE";
/// Name under which the API token's digest is kept.
const TOKEN: &str = "token";

/// Name under which the digest of the secret behind agents' tokens is kept.
const AGENT_SECRET: &str = "agent-secret";

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("audit/config.json")
}

/// Returns the digest of every setting's effective value, of the secret ones too, and of what stands in the file of
/// credentials. That the file of a secret was read is part of it: the value is.
fn digests(config: &Config, token: Option<&str>, secret: &AgentSecret) -> BTreeMap<String, String> {
    let value = |row: &crate::config::row::Variable| match row.name {
        // What the commands call a server with is no setting of the server.
        "MOSAIC_TOKEN" | "MOSAIC_URL" => None,
        _ if row.secret => (row.reveal)(config).map(|secret| secret.expose().to_owned()),
        CREDENTIALS => config.git_credentials_file.as_ref().map(|file| {
            format!("{}\n{}", file.display(), crate::small_file::read_small(file).unwrap_or_default())
        }),
        _ => (row.show)(config),
    };
    let settings = variables().filter_map(|row| Some((row.name.to_owned(), value(row)?)));
    let token = token.map(|token| (TOKEN.to_owned(), token.to_owned()));
    // Keyed by that very secret, so that its name alone says whether it is the same.
    let agents = [(AGENT_SECRET.to_owned(), String::new())];
    settings
        .chain(token)
        .chain(agents)
        .map(|(name, value)| {
            let digest = digest(secret, &name, &value);
            (name, digest)
        })
        .collect()
}

fn digest(secret: &AgentSecret, name: &str, value: &str) -> String {
    secret.digest(&format!("{name}={value}"))
}

/// Moves digests that an earlier version wrote under the old name of a setting to its name of today. Digests are keyed by the
/// name, too, so the old one is compared with today's value under the old name: an upgrade alone changes no setting.
fn under_new_names(before: &mut BTreeMap<String, String>, config: &Config, secret: &AgentSecret) {
    for row in variables() {
        let Some(old_digest) = row.old_name.and_then(|old| before.remove(old)) else { continue };
        let (Some(old), Some(value)) = (row.old_name, (row.show)(config)) else { continue };
        if old_digest == digest(secret, old, &value) {
            before.entry(row.name.to_owned()).or_insert_with(|| digest(secret, row.name, &value));
        }
    }
}

/// Returns the names that are not the same in both.
fn changed(before: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Vec<String> {
    let mut names: Vec<String> = before.keys().chain(now.keys()).cloned().collect();
    names.sort();
    names.dedup();
    names.retain(|name| before.get(name) != now.get(name));
    names
}

/// Names the secret settings whose values the newest server of this data directory had and this configuration does not. Of
/// the file of credentials only that there is one counts: what stands in it now is read by whoever looks for it.
pub(crate) fn other_secrets(config: &Config) -> Vec<String> {
    let dir = &config.data_dir;
    let Some(before) = newest(dir) else { return Vec::new() };
    let secret = read_linked(&dir.join(AGENT_SECRET), limits::SETTING_FILE_BYTES).ok();
    let secret = secret.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()).map(AgentSecret::new);
    // Without the key no digest can be compared, so that every secret setting counts as another one.
    let now = secret.map(|secret| digests(config, None, &secret)).unwrap_or_default();
    let is_other = |name: &str| match name {
        CREDENTIALS => before.contains_key(name) && config.git_credentials_file.is_none(),
        _ => before.contains_key(name) && before.get(name) != now.get(name),
    };
    let secrets = variables().filter(|row| row.secret).map(|row| row.name).chain([CREDENTIALS]);
    secrets.filter(|name| is_other(name)).map(str::to_owned).collect()
}

/// Returns the digests of the newest start, when they can be read.
fn newest(data_dir: &Path) -> Option<BTreeMap<String, String>> {
    serde_json::from_slice(&read(&path(data_dir), limits::SETTING_FILE_BYTES).ok()?).ok()
}

fn write(data_dir: &Path, digests: &BTreeMap<String, String>) -> std::io::Result<()> {
    durable_write(&path(data_dir), &serde_json::to_vec_pretty(digests)?)
}

/// Records the start. Errors when the log takes nothing: a server that cannot record does not start.
pub(super) async fn started(
    o: &Orchestrator,
    config: &Config,
    token: Option<&str>,
    secret: &AgentSecret,
) -> Result<(), AuditError> {
    let version = env!("CARGO_PKG_VERSION");
    let start = o.system_entry(Action::ServerStart).subject(&config.node);
    o.audit(start.result(format!("version {version}, pid {}", std::process::id()))).await?;
    let now = digests(config, token, secret);
    let mut before = newest(&config.data_dir);
    if let Some(before) = &mut before {
        under_new_names(before, config, secret);
    }
    let mut names = changed(before.as_ref().unwrap_or(&BTreeMap::new()), &now);
    if before.is_some() && names.iter().any(|name| name == AGENT_SECRET) {
        // The digests are keyed by it, so all of them are others now.
        names.clear();
        let what = "the secret of the agents' tokens is another one than at the last start; whether settings changed cannot be told";
        o.audit(o.system_entry(Action::Token).subject(AGENT_SECRET).result(what)).await?;
    }
    let token_changed = names.iter().position(|name| name == TOKEN).map(|at| names.remove(at)).is_some();
    if token_changed {
        let had = before.as_ref().is_some_and(|before| before.contains_key(TOKEN));
        let word = match (had, token) {
            (false, _) => "the API token was made, or is new to this log",
            (true, Some(_)) => "the API token is another one than at the last start",
            (true, None) => "the API wants no token any more",
        };
        o.audit(o.system_entry(Action::Token).subject("operator").result(word)).await?;
    }
    let all: Vec<&str> = now.values().map(String::as_str).collect();
    let digest = secret.digest(&all.join("\n"));
    let what = match (&before, names.is_empty()) {
        (None, _) => "first start with this log".to_owned(),
        (Some(_), true) => "nothing changed since the last start".to_owned(),
        (Some(_), false) => format!("changed since the last start: {}", names.join(", ")),
    };
    o.audit(
        o.system_entry(Action::Config)
            .subject(&config.node)
            .result(format!("{what}; digest {}", &digest[..16])),
    )
    .await?;
    // Written after the entries. A crash in between names a change once more at the next start; the other order would
    // lose it.
    if let Err(e) = write(&config.data_dir, &now) {
        tracing::warn!(error = %e, "the digests of the settings could not be kept; the next start calls all of them new");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn changes_are_named_and_no_value_is_kept() {
        let secret = AgentSecret::new([7; 32]);
        let mut config = Config::defaults(PathBuf::from("/data"));
        config.claude_api_key = Some(Secret::new("canary-key".to_owned()));
        let first = digests(&config, Some("canary-token"), &secret);
        assert_eq!(changed(&first, &first), Vec::<String>::new());
        config.slots += 1;
        config.claude_api_key = Some(Secret::new("canary-other".to_owned()));
        config.command = Some("canary-program".to_owned());
        let second = digests(&config, None, &secret);
        assert_eq!(changed(&first, &second), ["CLAUDE_API_KEY", "MOSAIC_COMMAND", "MOSAIC_SLOTS", "token"]);
        let text = serde_json::to_string(&[first, second]).unwrap();
        assert!(!text.contains("canary"), "{text}");
    }

    #[test]
    fn a_setting_that_got_another_name_and_kept_its_value_has_not_changed() {
        let secret = AgentSecret::new([7; 32]);
        let config = Config::defaults(PathBuf::from("/data"));
        let now = digests(&config, None, &secret);
        // As a version wrote it that knew the old name only.
        let written = |value: &str| {
            let mut before = now.clone();
            before.remove("MOSAIC_CONTAINMENT").expect("the setting has a value");
            let name = "MOSAIC_CONFINEMENT";
            before.insert(name.to_owned(), digest(&secret, name, value));
            under_new_names(&mut before, &config, &secret);
            before
        };
        assert_eq!(changed(&written("auto"), &now), Vec::<String>::new());
        assert_eq!(changed(&written("subreaper"), &now), ["MOSAIC_CONTAINMENT"]);
    }

    /// A configuration in which one secret setting has this value.
    fn with(row: &crate::config::row::Variable, value: &str) -> Config {
        let mut config = Config::defaults(PathBuf::from("/data"));
        (row.apply)(&mut config, value).unwrap();
        config
    }

    #[test]
    fn every_secret_setting_is_named_when_it_changes_and_never_its_value() {
        let secret = AgentSecret::new([7; 32]);
        let rows = variables().filter(|row| row.secret && row.name != "MOSAIC_TOKEN");
        for row in rows {
            let [one, two] = ["canary-one-0123456789", "canary-two-0123456789"]
                .map(|v| digests(&with(row, v), None, &secret));
            assert_eq!(changed(&one, &two), [row.name], "a changed {} goes unseen", row.name);
            let none = digests(&Config::defaults(PathBuf::from("/data")), None, &secret);
            assert_eq!(changed(&none, &one), [row.name]);
            assert!(!serde_json::to_string(&[one, two]).unwrap().contains("canary"));
        }
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::defaults(PathBuf::from("/data"));
        config.git_credentials_file = Some(dir.path().join("credentials"));
        std::fs::write(dir.path().join("credentials"), "https://u:canary-a@git.example.com").unwrap();
        let first = digests(&config, None, &secret);
        std::fs::write(dir.path().join("credentials"), "https://u:canary-b@git.example.com").unwrap();
        let second = digests(&config, None, &secret);
        assert_eq!(changed(&first, &second), [CREDENTIALS]);
        let text = serde_json::to_string(&[first, second]).unwrap();
        assert!(!text.contains("canary"), "{text}");
    }
}
