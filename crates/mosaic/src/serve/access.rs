//! Ways into a server besides its port, and their secrets: the secret that agents' tokens are derived from, and the
//! control socket, on which orders to stop get through whatever happens on the network.

use std::fs::{self, File, Permissions};
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use mosaic_adapters::bounded_file::{read_linked, read_linked_text};
use mosaic_adapters::durable_write::durable_write;
use mosaic_core::domain::access::{AgentSecret, fleet_token, token_digest};
use mosaic_core::limits;
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use tokio::net::UnixListener;

use super::files::{self, random};
use crate::config::{Auth, Config, Secret};

/// Reads the secret of the data directory, made at the first start: 256 random bits, readable by the owner only.
pub(crate) fn agent_secret(data_dir: &Path) -> anyhow::Result<AgentSecret> {
    let path = data_dir.join("agent-secret");
    let found = match read_linked(&path, limits::SETTING_FILE_BYTES) {
        Ok(bytes) => <[u8; 32]>::try_from(bytes).ok(),
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        // An unreadable secret is not a missing one. A new secret would turn away the tokens of agents that outlived
        // the last server.
        Err(e) => return Err(anyhow::Error::new(e).context(format!("{} cannot be read", path.display()))),
    };
    if let Some(secret) = found {
        fs::set_permissions(&path, Permissions::from_mode(0o600))
            .with_context(|| format!("{} cannot be made private", path.display()))?;
        return Ok(AgentSecret::new(secret));
    }
    let secret = random()?;
    durable_write(&path, &secret).with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(AgentSecret::new(secret))
}

/// Tokens that a server takes. The first one is told to the command line and to whoever asks with `mosaic token`.
#[derive(Debug, Default)]
pub(super) struct Tokens(Vec<Secret>);

impl Tokens {
    /// Finds them: the one that is given (`MOSAIC_TOKEN`) and the data directory's own. In a fleet without a given one the
    /// file `token` has the fleet's, which every node derives from the key in the store; one that was there before lies in
    /// `token.before` and is taken as long as it lies there.
    pub(super) fn find(config: &Config, peer_key: Option<&str>) -> anyhow::Result<Self> {
        if config.auth == Auth::Off {
            return Ok(Self::default());
        }
        let dir = &config.data_dir;
        let own = match (&config.token, peer_key) {
            (None, Some(key)) => {
                files::join_token(dir, &fleet_token(key))?;
                files::token(dir)?
            }
            _ => files::token(dir)?,
        };
        let before = read_linked_text(&dir.join(files::TOKEN_BEFORE), limits::SETTING_FILE_BYTES).ok();
        let before = before.map(|text| text.trim().to_owned()).filter(|text| files::is_token(text));
        if let Some(given) = &config.token {
            let why = "MOSAIC_TOKEN is too short to be the token of a server: give it 16 bytes or more";
            anyhow::ensure!(files::is_token(given.expose()), why);
        }
        let given = config.token.iter().cloned();
        let mut all: Vec<Secret> = given.chain([Secret::new(own)]).chain(before.map(Secret::new)).collect();
        all.dedup_by(|one, other| one.expose() == other.expose());
        Ok(Self(all))
    }

    /// Returns the first.
    pub(super) fn first(&self) -> Option<&str> {
        self.0.first().map(Secret::expose)
    }

    /// Returns all of them.
    pub(super) fn each(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(Secret::expose)
    }

    /// Returns who may call.
    pub(super) fn auth(&self) -> mosaic_server::Auth {
        match self.0.is_empty() {
            true => mosaic_server::Auth::Off,
            false => mosaic_server::Auth::Tokens(self.each().map(|t| token_digest(t.as_bytes())).collect()),
        }
    }
}

/// Closes this process's memory, environment and descriptors to every program of the same user: agents without a sandbox are
/// such programs, and the tokens are in here. Nobody dumps it either. Programs that this one starts are as open as ever.
pub(super) fn close_memory() {
    if let Err(e) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(error = %e, "this process could not be closed to others of the same user");
    }
}

/// Raises the soft limit of open files up to the hard one, as far as connections and agents can make use of it. What the
/// system does not allow is left as it is. Returns the limit before, when it was raised: programs that count on it get
/// it again.
pub(super) fn more_descriptors() -> Option<u64> {
    let limits = getrlimit(Resource::Nofile);
    let wanted = limits
        .maximum
        .map_or(mosaic_core::limits::DESCRIPTORS, |most| most.min(mosaic_core::limits::DESCRIPTORS));
    let before = limits.current.filter(|now| *now < wanted)?;
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limits }) {
        Ok(()) => Some(before),
        Err(e) => {
            tracing::warn!(error = %e, "the limit of open files could not be raised");
            None
        }
    }
}

/// Returns how many files this process may have open.
pub(super) fn descriptors() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(mosaic_core::limits::DESCRIPTORS)
}

/// Returns where the control socket is.
pub(crate) fn control_path(data_dir: &Path) -> PathBuf {
    data_dir.join("control.sock")
}

/// Makes the control socket, for the owner only; one of an earlier server is replaced.
pub(super) fn control(data_dir: &Path) -> std::io::Result<UnixListener> {
    // A socket's path is short by nature, a data directory's may not be: it is reached through its descriptor.
    let dir = File::open(data_dir)?;
    let name = "control.sock.new";
    let real = data_dir.join(name);
    match fs::remove_file(&real) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()))?;
    fs::set_permissions(&real, Permissions::from_mode(0o600))?;
    // Nobody sees it before it is private.
    fs::rename(&real, control_path(data_dir))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_made_once_and_kept_private() {
        let dir = tempfile::tempdir().unwrap();
        let id = "7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a".parse().unwrap();
        let first = agent_secret(dir.path()).unwrap().token(id);
        let path = dir.path().join("agent-secret");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert_eq!((agent_secret(dir.path()).unwrap().token(id), mode()), (first.clone(), 0o600));
        fs::write(&path, "cut").unwrap();
        assert_ne!(agent_secret(dir.path()).unwrap().token(id), first);
    }

    #[tokio::test]
    async fn the_control_socket_is_private_and_replaces_an_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir
            .path()
            .join("a-directory-with-a-name-that-is-far-too-long-for-the-path-of-a-socket")
            .join("x".repeat(100));
        fs::create_dir_all(&deep).unwrap();
        let first = control(&deep).unwrap();
        drop(first);
        let _second = control(&deep).unwrap();
        assert_eq!(fs::metadata(control_path(&deep)).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
