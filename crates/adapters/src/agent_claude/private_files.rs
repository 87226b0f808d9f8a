//! Files in an agent's private directory. The agent can write there between runs, so a file is never opened in place:
//! a link it planted would lead our bytes, a login among them, anywhere. New file, then rename over the old name.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde_json::Value;

/// Writes a file that only its owner can read, replacing whatever has the name.
pub(super) fn place(dir: &Path, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let temporary = dir.join(format!(".new-{}", uuid::Uuid::new_v4().simple()));
    let write = || {
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        std::fs::rename(&temporary, dir.join(name))
    };
    write().inspect_err(|_| {
        // The first error is the one to report.
        let _ = std::fs::remove_file(&temporary);
    })
}

/// Returns the tokens in a login file: every long string below a key that ends in `Token` or `Key`.
pub(super) fn tokens(login: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    if let Ok(value) = serde_json::from_slice::<Value>(login) {
        collect(&value, &mut found);
    }
    found
}

fn collect(value: &Value, found: &mut Vec<String>) {
    let Value::Object(fields) = value else { return };
    for (key, value) in fields {
        match value {
            Value::String(text) if key.ends_with("Token") || key.ends_with("Key") => found.push(text.clone()),
            other => collect(other, found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planted_link_is_replaced_and_not_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        let outside = dir.path().join("outside");
        std::fs::write(&outside, "untouched").expect("written");
        let config = dir.path().join("config");
        std::fs::create_dir(&config).expect("made");
        std::os::unix::fs::symlink(&outside, config.join("settings.json")).expect("linked");
        place(&config, "settings.json", b"{}").expect("placed");
        assert_eq!(std::fs::read_to_string(&outside).expect("read"), "untouched");
        assert_eq!(std::fs::read_to_string(config.join("settings.json")).expect("read"), "{}");
        assert_eq!(std::fs::read_dir(&config).expect("listed").count(), 1);
    }

    #[test]
    fn tokens_of_a_login_are_found() {
        let login =
            br#"{"claudeAiOauth":{"accessToken":"aaaaaaaaaa","refreshToken":"bbbbbbbbbb","expiresAt":1}}"#;
        assert_eq!(tokens(login), ["aaaaaaaaaa", "bbbbbbbbbb"]);
        assert!(tokens(b"no json").is_empty());
    }
}
