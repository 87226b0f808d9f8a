//! Options of the git adapter.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mosaic_core::limits;

use super::credentials::Credentials;
use crate::git_identity::Identity;
use crate::trash::Trash;

/// Author of agents' commits when the operator named none.
const AUTHOR: (&str, &str) = ("Mosaic Agent", "agent@mosaic.invalid");

/// Options of the git adapter.
#[derive(Debug, Clone)]
pub struct GitOptions {
    /// The state directory; bare repositories, trees and trash lie below it, on one file system.
    pub data_dir: PathBuf,
    /// This program, for the harvest inside the agent's confinement.
    pub self_exe: PathBuf,
    /// Allow local paths and http on loopback.
    pub allow_local: bool,
    /// Check submodules out.
    pub submodules: bool,
    /// Local repositories allowed even so: the one in which `mosaic run` was typed.
    pub allowed_local_paths: Vec<PathBuf>,
    /// Attribute files of this machine and of the operator's account, the weaker first; they need not be there.
    pub attribute_files: Vec<PathBuf>,
    /// Name of the author of agents' commits.
    pub author_name: Option<String>,
    /// Email of the author of agents' commits.
    pub author_email: Option<String>,
    /// Credentials for remotes.
    pub credentials: Credentials,
    /// Further environment of calls to remotes: proxies, certificate files.
    pub network_env: Vec<(String, String)>,
    /// The ssh program.
    pub ssh_program: String,
    /// The trash of the data directory, when others use it too.
    pub trash: Option<Arc<Trash>>,
    /// Deadline of one call to a remote.
    pub network_deadline: Duration,
    /// Deadline of one local call.
    pub local_deadline: Duration,
}

impl GitOptions {
    /// Returns the options with everything at its default.
    pub fn new(data_dir: impl Into<PathBuf>, self_exe: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            self_exe: self_exe.into(),
            allow_local: false,
            submodules: true,
            allowed_local_paths: Vec::new(),
            attribute_files: Vec::new(),
            author_name: None,
            author_email: None,
            credentials: Credentials::default(),
            network_env: Vec::new(),
            ssh_program: "ssh".to_owned(),
            trash: None,
            network_deadline: limits::GIT_NETWORK,
            local_deadline: limits::GIT_LOCAL,
        }
    }
}

impl GitOptions {
    /// Returns the author of agents' commits.
    pub fn identity(&self) -> Identity {
        Identity {
            name: self.author_name.clone().unwrap_or_else(|| AUTHOR.0.to_owned()),
            email: self.author_email.clone().unwrap_or_else(|| AUTHOR.1.to_owned()),
        }
    }
}
