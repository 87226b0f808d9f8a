//! Submodules of a fresh checkout: each is written from a bare repository of its own, whose objects it shares, as the
//! repository itself does. git's own `submodule`, which obeys the tree it runs in, is never used. What cannot be had is a
//! warning that names it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mosaic_core::domain::ids::CommitId;
use mosaic_core::domain::outcome::FailureKind;
use mosaic_core::domain::repository::RepositoryUrl;
use mosaic_core::limits;

use crate::git::cache::submodules::{Superproject, Wanted, warning};
use crate::git::command::Input;
use crate::git::config_text::config_value;
use crate::git::errors::GitError;
use crate::git::repositories::GitRepositories;
use crate::git::{bare_repository, errors, gitmodules};

/// Says what a checkout is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    /// An agent, who may fetch from the bare repository.
    Agent,
    /// Gates, which have no remote at all.
    Gates,
}

impl GitRepositories {
    /// Fills the submodules of a fresh checkout and returns warnings about those that stay empty.
    pub(crate) async fn fill_submodules(
        &self,
        repository: &RepositoryUrl,
        (base, commit): (&CommitId, &CommitId),
        tree: &Path,
        purpose: For,
    ) -> Result<Vec<String>, GitError> {
        let mut warnings = Vec::new();
        let mut open = vec![self.superproject(repository, base, commit, tree).await?];
        let mut filled = 0;
        while let Some(project) = open.pop() {
            let (wanted, faults) = self.wanted(&project).await?;
            warnings.extend(faults.into_iter().map(|fault| warning(&project.prefix, &fault)));
            if !self.submodules {
                warnings.extend(switched_off(&wanted));
                continue;
            }
            for one in wanted {
                filled += 1;
                let path = one.declared.path.clone();
                // A repository can declare submodules that declare each other, each time under another path.
                if filled > limits::SUBMODULES {
                    warnings
                        .push(format!("more than {} submodules; the others stay empty", limits::SUBMODULES));
                    return Ok(warnings);
                }
                match self.fill(&project, one, purpose).await {
                    Ok(inner) if inner.depth <= limits::SUBMODULE_DEPTH => open.push(inner),
                    Ok(_) => warnings.push(warning(
                        &project.prefix,
                        &format!("{path}: what lies in it is nested too deep"),
                    )),
                    // Everything else is the submodule's own fault and a warning, because many repositories work without
                    // theirs. A full disk would fail the agent later with a worse message.
                    Err(e) if e.kind() == FailureKind::Disk => return Err(e),
                    Err(e) => warnings.push(warning(&project.prefix, &format!("{path}: {e}"))),
                }
            }
        }
        warnings.truncate(limits::FINDINGS);
        Ok(warnings)
    }

    async fn fill(
        &self,
        project: &Superproject,
        one: Wanted,
        purpose: For,
    ) -> Result<Superproject, GitError> {
        let sources = self.sources(project, &one.declared)?;
        let mut last = GitError::refused(FailureKind::MissingRepository, "it has no address");
        let mut source = None;
        for url in sources {
            match self.bring_pin(&url, &one).await {
                Ok(()) => {
                    source = Some(url);
                    break;
                }
                Err(e) => last = e,
            }
        }
        let Some(source) = source else { return Err(last) };
        self.check_out(project, &one, &source, purpose).await
    }

    /// Writes the submodule's git directory and files.
    async fn check_out(
        &self,
        project: &Superproject,
        one: &Wanted,
        source: &RepositoryUrl,
        purpose: For,
    ) -> Result<Superproject, GitError> {
        let io = |e: io::Error| errors::io("checking out a submodule", e);
        let shared = self.layout.bare_repository(source);
        let tree = project.tree.join(&one.declared.path);
        let git_dir = project.git_dir.join("modules").join(&one.declared.name);
        self.write_module(project, one, &shared, (&tree, &git_dir), purpose).map_err(io)?;
        let call = self.git.local(&git_dir).work_tree(&tree, None);
        let done = call.args(["read-tree", "--reset", "-u", one.pin.as_str()]).run(Input::Nothing, 0).await?;
        done.success("checking out a submodule")?;
        let nested =
            project.addresses.iter().filter_map(|base| gitmodules::address(base, &one.declared.url).ok());
        Ok(Superproject {
            repository: source.clone(),
            addresses: nested.collect(),
            clones: project.clones.as_ref().map(|clones| clones.join(&one.declared.name).join("modules")),
            base: one.pin.clone(),
            commit: one.pin.clone(),
            tree,
            git_dir,
            prefix: format!("{}{}/", project.prefix, one.declared.path),
            depth: project.depth + 1,
        })
    }

    fn write_module(
        &self,
        project: &Superproject,
        one: &Wanted,
        shared: &Path,
        (tree, git_dir): (&Path, &Path),
        purpose: For,
    ) -> io::Result<()> {
        let origin = match purpose {
            For::Gates => String::new(),
            For::Agent => format!(
                "[remote \"origin\"]\n\turl = {}\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n\tpushurl = disabled://mosaic-pushes-no-submodule\n",
                config_value(&shared.to_string_lossy())
            ),
        };
        let config = format!(
            "\tworktree = {}\n[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n{}{origin}",
            config_value(&relative(git_dir, tree).to_string_lossy()),
            self.author_config(),
        );
        let config = if bare_repository::is_sha256(&one.pin) { format!("[core]\n{config}") } else { config };
        bare_repository::skeleton(git_dir, false, bare_repository::is_sha256(&one.pin), &config)?;
        bare_repository::share_objects(git_dir, &[&shared.join("objects")])?;
        fs::write(git_dir.join("HEAD"), format!("{}\n", one.pin))?;
        match fs::create_dir(tree) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && fs::symlink_metadata(tree)?.is_dir() => {}
            made => made?,
        }
        fs::write(tree.join(".git"), format!("gitdir: {}\n", relative(tree, git_dir).display()))?;
        let url = match purpose {
            For::Gates => String::new(),
            For::Agent => format!("\turl = {}\n", config_value(&shared.to_string_lossy())),
        };
        let section = format!("[submodule {}]\n\tactive = true\n{url}", config_value(&one.declared.name));
        let mut known = fs::OpenOptions::new().append(true).open(project.git_dir.join("config"))?;
        io::Write::write_all(&mut known, section.as_bytes())
    }
}

fn switched_off(wanted: &[Wanted]) -> Option<String> {
    let names: Vec<&str> = wanted.iter().map(|one| one.declared.path.as_str()).collect();
    (!names.is_empty())
        .then(|| format!("submodules stay empty, because MOSAIC_SUBMODULES=off: {}", names.join(", ")))
}

/// Returns the way from one directory to another below the same tree.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let common = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(common).map(|_| PathBuf::from(".."));
    up.chain(to.components().skip(common).map(|part| PathBuf::from(part.as_os_str()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_from_one_directory_to_another() {
        let way =
            |from: &str, to: &str| relative(Path::new(from), Path::new(to)).to_string_lossy().into_owned();
        assert_eq!(way("/t/a/lib", "/t/.git/modules/a/lib"), "../../.git/modules/a/lib");
        assert_eq!(way("/t/.git/modules/x", "/t/lib"), "../../../lib");
    }
}
