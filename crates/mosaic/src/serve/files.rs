//! Files that a server keeps in its data directory for the command line: the server's address, and the token.

use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use anyhow::Context as _;
use mosaic_adapters::bounded_file::read_linked_text;
use mosaic_adapters::data_dir::{is_held_by, process_start};
use mosaic_adapters::durable_write::durable_write;
use mosaic_core::domain::ids::Timestamp;
use mosaic_core::limits;
use serde::{Deserialize, Serialize};

use crate::small_file::read_small;

/// The file that a running server writes into its data directory, so that the command line finds the server.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServerFile {
    /// Where it answers.
    pub(crate) url: String,
    /// Its process.
    pub(crate) pid: u32,
    /// When that process began, in clock ticks since boot; a file of an earlier version has none and does not count.
    #[serde(default)]
    pub(crate) process_start: u64,
    /// Since when.
    pub(crate) started_at: String,
    /// The program's version.
    pub(crate) version: String,
    /// It serves one `mosaic run` and ends with it: it can be asked and told to kill, but takes nothing new.
    #[serde(default)]
    pub(crate) run: bool,
    /// Callers need a token.
    #[serde(default = "yes")]
    pub(crate) wants_token: bool,
    /// Its own data directory, below the one where the file lies; empty when it is the same.
    #[serde(default)]
    pub(crate) below: PathBuf,
}

fn yes() -> bool {
    true
}

impl ServerFile {
    /// Returns where the file is.
    pub(crate) fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("server.json")
    }

    /// Describes a server in this process.
    pub(crate) fn of_this_process(url: &str, at: Timestamp, wants_token: bool) -> Self {
        let pid = std::process::id();
        Self {
            url: url.to_owned(),
            pid,
            process_start: process_start(pid).unwrap_or_default(),
            started_at: at.to_rfc3339(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            run: false,
            wants_token,
            below: PathBuf::new(),
        }
    }

    /// Reads the file, when there is one that can be read. Its server may be gone.
    pub(crate) fn read(data_dir: &Path) -> Option<Self> {
        serde_json::from_str(&read_small(&Self::path(data_dir)).ok()?).ok()
    }

    /// Reads the file of a server that runs: the very process that it names holds the lock of its data directory.
    pub(crate) fn of_running(data_dir: &Path) -> Option<Self> {
        Self::read(data_dir).filter(|file| file.runs(data_dir))
    }

    fn runs(&self, data_dir: &Path) -> bool {
        // A planted file could otherwise name the directory of another server, whose lock would then vouch for this
        // address.
        let inside = self.below.components().all(|part| matches!(part, Component::Normal(_)));
        inside && is_held_by(&data_dir.join(&self.below), self.pid, self.process_start)
    }

    /// Writes the file, whole or not at all.
    pub(crate) fn write(&self, data_dir: &Path) -> anyhow::Result<()> {
        let path = Self::path(data_dir);
        let text = serde_json::to_vec_pretty(self).context("the server file cannot be made")?;
        durable_write(&path, &text).with_context(|| format!("{} cannot be written", path.display()))
    }
}

/// Shortest token that is used, in bytes: 64 bits in hexadecimal digits. A shorter one could be guessed.
const SHORTEST_TOKEN: usize = 16;

/// Where the token of a data directory lies that had one of its own before it joined a fleet.
pub(super) const TOKEN_BEFORE: &str = "token.before";

/// Tells whether a text can be a token.
pub(super) fn is_token(text: &str) -> bool {
    text.len() >= SHORTEST_TOKEN
}

/// Makes the file `token` say the fleet's; another one that was there is kept beside it.
pub(super) fn join_token(data_dir: &Path, fleets: &str) -> anyhow::Result<()> {
    let (path, before) = (data_dir.join("token"), data_dir.join(TOKEN_BEFORE));
    let found = read_linked_text(&path, limits::SETTING_FILE_BYTES).unwrap_or_default();
    let found = found.trim();
    if found == fleets {
        return Ok(());
    }
    if is_token(found) {
        tracing::warn!(file = %before.display(), "the token of this data directory gives way to the fleet's; it is taken as well as long as this file is there");
        // Written first: after a crash in between the old token stands in both files, and its clients are still let in.
        durable_write(&before, format!("{found}\n").as_bytes())
            .with_context(|| format!("{} cannot be written", before.display()))?;
    }
    durable_write(&path, format!("{fleets}\n").as_bytes())
        .with_context(|| format!("the token file {} cannot be written", path.display()))
}

/// Reads the token of the data directory, made at the first start: 256 random bits, readable by the owner only. One that
/// is damaged is replaced.
pub(crate) fn token(data_dir: &Path) -> anyhow::Result<String> {
    let path = data_dir.join("token");
    match read_linked_text(&path, limits::SETTING_FILE_BYTES) {
        Ok(text) if is_token(text.trim()) => {
            tighten(&path)
                .with_context(|| format!("the token file {} cannot be made private", path.display()))?;
            return Ok(text.trim().to_owned());
        }
        Ok(text) if text.trim().is_empty() => {}
        Ok(_) => {
            tracing::warn!(file = %path.display(), "the token was cut off or is too short; a new one is made")
        }
        Err(e) if e.kind() == ErrorKind::InvalidData => {
            tracing::warn!(file = %path.display(), "the token is damaged; a new one is made");
        }
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        // Any other error may pass, and clients hold the token that cannot be read now. Only one that is certain to be
        // useless is replaced.
        Err(e) => {
            return Err(
                anyhow::Error::new(e).context(format!("the token file {} cannot be read", path.display()))
            );
        }
    }
    let text: String = base16ct::lower::encode_string(&random()?);
    durable_write(&path, format!("{text}\n").as_bytes())
        .with_context(|| format!("the token file {} cannot be written", path.display()))?;
    Ok(text)
}

/// Returns what tells this data directory from every other, made at the first start that needs it.
pub(super) fn instance(data_dir: &Path) -> anyhow::Result<String> {
    let path = data_dir.join("instance");
    match read_linked_text(&path, limits::SETTING_FILE_BYTES) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Err(e) if e.kind() != ErrorKind::NotFound && e.kind() != ErrorKind::InvalidData => {
            return Err(anyhow::Error::new(e).context(format!("{} cannot be read", path.display())));
        }
        _ => {}
    }
    let text: String = base16ct::lower::encode_string(&random()?[..16]);
    durable_write(&path, text.as_bytes()).with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(text)
}

/// Returns the device and inode of the identity of this data directory: a copy of the directory has another one.
pub(super) fn place_of_instance(data_dir: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    let file = std::fs::symlink_metadata(data_dir.join("instance")).ok()?;
    Some(format!("{:x}-{:x}", file.dev(), file.ino()))
}

/// Returns 256 random bits.
pub(super) fn random() -> anyhow::Result<[u8; 32]> {
    let mut random = [0u8; 32];
    getrandom::fill(&mut random).map_err(|e| anyhow::anyhow!("the system gives no random bytes: {e}"))?;
    Ok(random)
}

/// Revokes what others than the owner may do with a file.
fn tighten(path: &Path) -> std::io::Result<()> {
    let mode = std::fs::metadata(path)?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    tracing::warn!(file = %path.display(), "others could read the token; if anybody may have, remove the file and start again");
    std::fs::set_permissions(path, Permissions::from_mode(0o600))
}

/// Makes a directory that only its owner may enter, with those above it. One that exists stays as it is.
pub(crate) fn private_dir(path: &Path) -> anyhow::Result<()> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("the directory {} cannot be made", path.display()))
}

/// Says in the data directory where the server is; the file is replaced in one step.
pub(super) fn announce(data_dir: &Path, url: &str, at: Timestamp, wants_token: bool) -> anyhow::Result<()> {
    ServerFile::of_this_process(url, at, wants_token).write(data_dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_kept_private() {
        let dir = tempfile::tempdir().unwrap();
        let first = token(dir.path()).unwrap();
        let path = dir.path().join("token");
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!((first.len(), mode()), (64, 0o600));
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert_eq!((token(dir.path()).unwrap(), mode()), (first, 0o600));
    }
}
