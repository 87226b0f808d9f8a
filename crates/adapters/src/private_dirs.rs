//! Private directories of agents, which every sandbox gives: home, configuration, temporary files, and an environment built
//! from empty that names them. A judgement gets directories that did not exist while the agent ran: the agent had its own home
//! to itself and may have left settings there that turn a gate's programs off (`~/.cargo/config.toml`, `~/.npmrc`,
//! `~/.gitconfig`).

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mosaic_core::domain::ids::AgentId;
use mosaic_core::ports::sandbox::{Purpose, SandboxError, SandboxHandle};
use uuid::Uuid;

use crate::fence;
use crate::git_identity::Identity;
use crate::private_place::{ASIDE, PrivatePlace, normal};
use crate::short_dirs::ShortDirs;
use crate::trash::Trash;

/// The directories that are an agent's own, below `<data>/agents/<agent>/`. Temporary files lie in [`ShortDirs`]; `tmp`
/// is what an earlier version made.
const PRIVATE: [&str; 3] = ["home", "tmp", "config"];

/// Beginning of the names of staging directories, beside the private ones.
const STAGING: &str = "staging-";

/// Beginning of the names of the directories of judgements. The name tells no program that it is judged.
const JUDGING: &str = "place-";
/// Beginning of the names of directories for one harvest.
const HARVESTING: &str = "harvest-home-";

/// Makes the private directories of the agents of one data directory.
#[derive(Debug)]
pub struct PrivateDirs {
    data: PathBuf,
    path: String,
    trash: Arc<Trash>,
    short: Arc<ShortDirs>,
    /// Variables of the server's environment that agents get.
    passed: Vec<(String, String)>,
    identity: Option<Identity>,
}

impl PrivateDirs {
    /// Takes the data directory, the `PATH` that agents get, and the trash of the same data directory.
    pub fn new(data_dir: impl Into<PathBuf>, path_env: impl Into<String>, trash: Arc<Trash>) -> Self {
        let data = data_dir.into();
        let short = Arc::new(ShortDirs::new(data.clone(), Arc::clone(&trash)));
        Self { data, path: path_env.into(), trash, short, passed: Vec::new(), identity: None }
    }

    /// Uses these short directories, which others use too.
    #[must_use]
    pub fn with_short_dirs(self, short: Arc<ShortDirs>) -> Self {
        Self { short, ..self }
    }

    /// Hands these variables to agents. Their names are not checked here.
    #[must_use]
    pub fn passing(self, variables: Vec<(String, String)>) -> Self {
        Self { passed: variables, ..self }
    }

    /// Names the author of commits in repositories that say nothing about it.
    #[must_use]
    pub fn with_identity(self, identity: Identity) -> Self {
        Self { identity: Some(identity), ..self }
    }

    /// Makes the directories for a purpose: the agent's own, where they are not there yet, or new ones for a judgement or a harvest.
    ///
    /// # Errors
    /// When one cannot be made, or something else has its name.
    pub fn prepare(&self, agent: AgentId, purpose: Purpose) -> Result<SandboxHandle, SandboxError> {
        let (agents, of_agent) = (self.data.join("agents"), self.own(agent));
        let own = match purpose {
            Purpose::Agent => of_agent,
            // New for a harvest, too: whatever an agent made of its own directories keeps nobody from receiving its work.
            Purpose::Harvest | Purpose::Gate => {
                let start = if purpose == Purpose::Gate { JUDGING } else { HARVESTING };
                let name = format!("{start}{}", &Uuid::new_v4().simple().to_string()[..8]);
                make_private(&of_agent).map_err(|e| failure("make", &of_agent, e))?;
                let own = of_agent.join(name);
                make_new(&own).map_err(|e| failure("make", &own, e))?;
                own
            }
        };
        let [home, _, config] = PRIVATE.map(|name| own.join(name));
        for directory in [&home, &config] {
            make_private(directory).map_err(|e| failure("make", directory, e))?;
        }
        // The fence is for the tree, too: it keeps git out of a repository that the data directory lies in.
        fence::raise(&agents).map_err(|e| failure("fence", &own, e))?;
        let tmp = match purpose {
            Purpose::Agent => self.short.of(agent),
            Purpose::Harvest | Purpose::Gate => self.short.fresh(agent),
        };
        let tmp = tmp.map_err(|e| failure("make a temporary directory for", &own, e))?;
        if let Some(identity) = &self.identity {
            identity.write(&home).map_err(|e| failure("write to", &home, e))?;
        }
        let env = self.env(agent, &home, &tmp);
        Ok(SandboxHandle { agent, purpose, own, home, tmp, config_inside: config.clone(), config, env })
    }

    /// Returns the environment, built from empty.
    fn env(&self, agent: AgentId, home: &Path, tmp: &Path) -> Vec<(String, String)> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let variables = [
            ("PATH", self.path.clone()),
            ("HOME", text(home)),
            ("TMPDIR", text(tmp)),
            ("LANG", "C.UTF-8".to_owned()),
            ("TERM", "dumb".to_owned()),
            ("GIT_CEILING_DIRECTORIES", self.ceilings(agent, tmp)),
        ];
        // Language and terminal are only defaults; the rest is the sandbox's to say.
        let fixed =
            |name: &str| !matches!(name, "LANG" | "TERM") && variables.iter().any(|(own, _)| *own == name);
        let passed: Vec<_> = self.passed.iter().filter(|(name, _)| !fixed(name)).cloned().collect();
        let given = |name: &str| passed.iter().any(|(known, _)| known == name);
        let ours = variables.into_iter().filter(|(name, _)| !given(name));
        let mut env: Vec<_> = ours.map(|(name, value)| (name.to_owned(), value)).collect();
        env.extend(passed);
        env
    }

    /// Removes the directories of a judgement or a harvest; the agent's own stay. Idempotent.
    ///
    /// # Errors
    /// When one cannot be moved out of its place.
    pub fn discard(&self, handle: &SandboxHandle) -> Result<(), SandboxError> {
        if handle.purpose == Purpose::Agent {
            return Ok(());
        }
        let own = self.trash.discard(&handle.own);
        let tmp = self.short.discard(&handle.tmp);
        own.and(tmp).map_err(|e| failure("remove", &handle.own, e))
    }

    /// Makes an empty directory that no agent has ever seen.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn staging(&self, agent: AgentId) -> Result<PathBuf, SandboxError> {
        self.stage(agent).map_err(|e| failure("make a directory in", &self.own(agent), e))
    }

    /// Puts a directory into the agent's configuration directory.
    ///
    /// # Errors
    /// When the path leads elsewhere, or the directory cannot be copied or moved.
    pub fn place(&self, agent: AgentId, source: &Path, relative: &str) -> Result<(), SandboxError> {
        self.put(agent, source, Path::new(relative)).map_err(|e| {
            let action = format!("place {} as {relative} in", source.display());
            failure(&action, &self.own(agent), e)
        })
    }

    /// Lists the agents that have private directories.
    ///
    /// # Errors
    /// When the agents' directories cannot be listed.
    pub fn leftovers(&self) -> Result<Vec<AgentId>, SandboxError> {
        let agents = self.data.join("agents");
        let entries = match std::fs::read_dir(&agents) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|e| failure("list", &agents, e))?,
        };
        let named = entries.flatten().filter_map(|entry| {
            let agent: AgentId = entry.file_name().to_str()?.parse().ok()?;
            let has = PRIVATE.iter().any(|name| entry.path().join(name).symlink_metadata().is_ok());
            has.then_some(agent)
        });
        Ok(named.collect())
    }

    /// Removes every private directory of an agent. Idempotent.
    ///
    /// # Errors
    /// When one cannot be moved out of its place.
    pub fn release(&self, agent: AgentId) -> Result<(), SandboxError> {
        let own = self.own(agent);
        // First, because the agent's directory is what says that there may be short ones.
        self.short.release(agent).map_err(|e| failure("remove temporary directories of", &own, e))?;
        // Half-made files of a server that was killed go too: nothing is made here any more.
        let wanted = |name: &str| {
            let made = [STAGING, ASIDE, JUDGING, HARVESTING].iter().any(|start| name.starts_with(start));
            made || PRIVATE.contains(&name)
        };
        self.trash.discard_in(&own, wanted).map_err(|e| failure("remove", &own, e))
    }

    /// Returns where git must not look for a repository from: whatever lies above is not the agent's. Paths with a colon
    /// cannot stand in such a list; the fence holds for them.
    fn ceilings(&self, agent: AgentId, tmp: &Path) -> String {
        let agents = self.data.join("agents");
        let all = [Some(agents.as_path()), Some(&self.own(agent)), tmp.parent()]
            .into_iter()
            .flatten()
            .map(|path| path.to_string_lossy().into_owned())
            .filter(|path| !path.contains(':'))
            .collect::<Vec<_>>();
        all.join(":")
    }

    fn own(&self, agent: AgentId) -> PathBuf {
        self.data.join("agents").join(agent.to_string())
    }

    /// Makes a staging directory.
    fn stage(&self, agent: AgentId) -> io::Result<PathBuf> {
        let path = self.own(agent).join(format!("{STAGING}{}", uuid::Uuid::new_v4().simple()));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(path)
    }

    /// Opens a directory of the agent; below the data directory no part of the way may be a link.
    fn open(&self, path: &Path) -> io::Result<PrivatePlace> {
        let inside = path.strip_prefix(&self.data).map_err(io::Error::other)?;
        PrivatePlace::open(&self.data.canonicalize()?)?.walk(inside)
    }

    /// Moves a staged directory to its place. What the agent put in the way goes to the trash, as it is.
    fn move_in(&self, agent: AgentId, staged: &Path, relative: &Path) -> io::Result<()> {
        let (mut path, own) = (self.own(agent).join("config"), self.own(agent));
        let mut at = self.open(&path)?;
        let parts: Vec<_> =
            relative.components().map(|part| normal(relative, part)).collect::<io::Result<_>>()?;
        let (last, above) = parts.split_last().ok_or(io::ErrorKind::InvalidInput)?;
        for part in above {
            path.push(part);
            at = match at.make(part) {
                Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
                    self.trash.discard(&path)?;
                    at.make(part)?
                }
                next => next?,
            };
        }
        // An agent that puts something there again before the next line makes the rename fail. Nothing of ours is ever
        // written through what it planted.
        self.trash.discard(&path.join(last))?;
        at.take(&self.open(&own)?, staged.file_name().unwrap_or_default(), last)
    }

    fn put(&self, agent: AgentId, source: &Path, relative: &Path) -> io::Result<()> {
        let ours = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with(STAGING);
        if source.parent() == Some(&self.own(agent)) && source.file_name().is_some_and(ours) {
            return self.move_in(agent, source, relative);
        }
        let staged = self.stage(agent)?;
        let done = self
            .open(&staged)
            .and_then(|place| place.copy(source))
            .and_then(|()| self.move_in(agent, &staged, relative));
        done.inspect_err(|_| {
            // It goes away with the confinement anyway.
            let _ = self.trash.discard(&staged);
        })
    }
}

/// Makes a directory for its owner only; one that exists is kept, anything else of that name is refused.
fn make_private(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    if directory.symlink_metadata()?.is_dir() { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) }
}

/// Makes a directory for its owner only. One that exists is refused: the agent may have made it.
fn make_new(directory: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(directory)
}

fn failure(action: &str, directory: &Path, source: io::Error) -> SandboxError {
    SandboxError::Directory { action: action.to_owned(), directory: directory.to_owned(), source }
}

#[cfg(test)]
#[path = "private_dirs_tests.rs"]
mod tests;
