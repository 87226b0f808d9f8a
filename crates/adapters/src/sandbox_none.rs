//! No sandbox: private directories and an environment built from empty. What runs may read whatever the server's
//! user may read; only supervision and gates stand between it and the result.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use mosaic_core::domain::ids::AgentId;
use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::ports::sandbox::{Confinement, Sandbox};

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

/// Confines nothing but names.
#[derive(Debug)]
pub struct NoSandbox {
    data: PathBuf,
    path: String,
    trash: Arc<Trash>,
    short: Arc<ShortDirs>,
    /// Variables of the server's environment that agents get.
    passed: Vec<(String, String)>,
    identity: Option<Identity>,
}

impl NoSandbox {
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

    /// Makes the agent's private directories and returns home, temporary and configuration directory.
    fn make(&self, agent: AgentId) -> Result<[PathBuf; 3], Failure> {
        let place = self.own(agent);
        let [home, _, config] = PRIVATE.map(|name| place.join(name));
        for directory in [&home, &config] {
            make_private(directory).map_err(|e| failure("make", directory, &e))?;
        }
        // The fence is for the tree, too: it keeps git out of a repository that the data directory lies in.
        fence::raise(&self.data.join("agents")).map_err(|e| failure("fence", &place, &e))?;
        let tmp = self.short.of(agent).map_err(|e| failure("make a temporary directory for", &place, &e))?;
        if let Some(identity) = &self.identity {
            identity.write(&home).map_err(|e| failure("write to", &home, &e))?;
        }
        Ok([home, tmp, config])
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

#[async_trait]
impl Sandbox for NoSandbox {
    fn name(&self) -> &'static str {
        "none"
    }

    async fn confine(&self, agent: AgentId) -> Result<Confinement, Failure> {
        let [home, tmp, config] = self.make(agent)?;
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let variables = [
            ("PATH", self.path.clone()),
            ("HOME", text(&home)),
            ("TMPDIR", text(&tmp)),
            ("LANG", "C.UTF-8".to_owned()),
            ("TERM", "dumb".to_owned()),
            ("GIT_CEILING_DIRECTORIES", self.ceilings(agent, &tmp)),
        ];
        // Language and terminal are only defaults; the rest is the sandbox's to say.
        let fixed =
            |name: &str| !matches!(name, "LANG" | "TERM") && variables.iter().any(|(own, _)| *own == name);
        let passed: Vec<_> = self.passed.iter().filter(|(name, _)| !fixed(name)).cloned().collect();
        let given = |name: &str| passed.iter().any(|(known, _)| known == name);
        let ours = variables.into_iter().filter(|(name, _)| !given(name));
        let mut env: Vec<_> = ours.map(|(name, value)| (name.to_owned(), value)).collect();
        env.extend(passed);
        Ok(Confinement { home, config, env, wrap: Vec::new() })
    }

    async fn staging(&self, agent: AgentId) -> Result<PathBuf, Failure> {
        self.stage(agent).map_err(|e| failure("make a directory in", &self.own(agent), &e))
    }

    async fn place(&self, agent: AgentId, source: &Path, relative: &str) -> Result<(), Failure> {
        self.put(agent, source, Path::new(relative)).map_err(|e| {
            let what = format!("place {} as {relative} in", source.display());
            failure(&what, &self.own(agent), &e)
        })
    }

    async fn release(&self, agent: AgentId) -> Result<(), Failure> {
        let own = self.own(agent);
        // First, because the agent's directory is what says that there may be short ones.
        self.short.release(agent).map_err(|e| failure("remove temporary directories of", &own, &e))?;
        // Half-made files of a server that was killed, too: nobody makes anything here any more.
        let wanted =
            |name: &str| PRIVATE.contains(&name) || name.starts_with(STAGING) || name.starts_with(ASIDE);
        self.trash.discard_in(&own, wanted).map_err(|e| failure("remove", &own, &e))
    }
}

/// Makes a directory for its owner only; one that exists is kept, anything else of that name is refused.
fn make_private(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    if directory.symlink_metadata()?.is_dir() { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) }
}

fn failure(what: &str, directory: &Path, error: &io::Error) -> Failure {
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let kind = if full { FailureKind::Disk } else { FailureKind::Internal };
    Failure::new(kind, format!("cannot {what} the agent's directory {}: {error}", directory.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn private_directories_are_kept_until_they_are_released() {
        let place = tempfile::tempdir().unwrap();
        let trash = Arc::new(Trash::new(place.path()));
        let sandbox = NoSandbox::new(place.path(), "/usr/bin:/bin", Arc::clone(&trash));
        let agent = AgentId(uuid::Uuid::new_v4());
        let first = sandbox.confine(agent).await.unwrap();
        std::fs::write(first.config.join("session"), "x").unwrap();
        assert_eq!(sandbox.confine(agent).await.unwrap(), first);
        assert!(first.config.join("session").exists());
        assert_eq!(first.home.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        let names: Vec<&str> = first.env.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["PATH", "HOME", "TMPDIR", "LANG", "TERM", "GIT_CEILING_DIRECTORIES"]);
        let half_made = first.config.with_file_name(format!("{ASIDE}0"));
        std::fs::write(&half_made, "of a server that was killed").unwrap();
        sandbox.release(agent).await.unwrap();
        sandbox.release(agent).await.unwrap();
        assert!(!first.home.exists() && !first.config.exists() && !half_made.exists());
        trash.idle().await;
        assert_eq!(std::fs::read_dir(place.path().join("trash")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn what_is_passed_on_replaces_defaults_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let trash = Arc::new(Trash::new(place.path()));
        let passed = [("LANG", "de_DE.UTF-8"), ("HOME", "/root"), ("PROXY", "p")];
        let passed = passed.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let sandbox = NoSandbox::new(place.path(), "/bin", trash).passing(passed);
        let made = sandbox.confine(AgentId(uuid::Uuid::new_v4())).await.unwrap();
        let all = |name: &str| {
            made.env.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect::<Vec<_>>()
        };
        assert_eq!((all("LANG"), all("PROXY")), (vec!["de_DE.UTF-8"], vec!["p"]));
        assert_eq!(all("HOME"), [made.home.to_str().unwrap()]);
    }

    #[tokio::test]
    async fn a_skill_lands_in_the_agents_directory_whatever_was_planted() {
        let place = tempfile::tempdir().unwrap();
        let data = place.path().join("data");
        let outside = place.path().join("outside");
        let skill = place.path().join("skill");
        std::fs::create_dir_all(outside.join("review")).unwrap();
        std::fs::write(outside.join("review/precious"), "keep").unwrap();
        std::fs::create_dir_all(skill.join("sub")).unwrap();
        std::fs::write(skill.join("sub/SKILL.md"), "new").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", skill.join("link")).unwrap();
        std::fs::create_dir(&data).unwrap();
        let trash = Arc::new(Trash::new(&data));
        let sandbox = NoSandbox::new(&data, "/bin", Arc::clone(&trash));
        let agent = AgentId(uuid::Uuid::new_v4());
        let config = sandbox.confine(agent).await.unwrap().config;
        let untouched = || {
            let names: Vec<_> =
                std::fs::read_dir(&outside).unwrap().map(|e| e.unwrap().file_name()).collect();
            assert_eq!(names, ["review"]);
            assert_eq!(std::fs::read_dir(outside.join("review")).unwrap().count(), 1);
        };
        for planted in ["skills", "skills/review"] {
            let staged = sandbox.staging(agent).await.unwrap();
            std::fs::write(staged.join("SKILL.md"), "staged").unwrap();
            trash.discard(&config.join(planted)).unwrap();
            std::os::unix::fs::symlink(&outside, config.join(planted)).unwrap();
            sandbox.place(agent, &staged, "skills/review").await.unwrap();
            untouched();
            assert_eq!(std::fs::read_to_string(config.join("skills/review/SKILL.md")).unwrap(), "staged");
            assert!(!staged.exists());
            sandbox.place(agent, &skill, "skills/review").await.unwrap();
            let names: Vec<_> = std::fs::read_dir(config.join("skills/review"))
                .unwrap()
                .map(|e| e.unwrap().file_name())
                .collect();
            assert_eq!(names, ["sub"]);
        }
        assert!(sandbox.place(agent, &skill, "../home/x").await.is_err());
        std::fs::rename(&config, config.with_file_name("away")).unwrap();
        std::os::unix::fs::symlink(&outside, &config).unwrap();
        assert!(sandbox.place(agent, &skill, "skills/review").await.is_err());
        untouched();
        sandbox.staging(agent).await.unwrap();
        std::fs::remove_dir_all(config.with_file_name("away")).unwrap();
        sandbox.release(agent).await.unwrap();
        assert_eq!(std::fs::read_dir(config.parent().unwrap()).unwrap().count(), 0);
    }
}
