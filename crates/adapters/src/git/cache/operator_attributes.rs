//! Attribute files of the operator: of this machine, of the operator's account, and of the operator's own clone when that is
//! the repository. No commit has them, and in the operator's hands git obeys them: what they put behind a filter is no
//! more to be published as plain bytes than what a commit puts there.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use mosaic_core::domain::repository::RepositoryUrl;
use mosaic_core::limits;

use super::attributes;
use crate::git::errors::GitError;
use crate::git::local_path::local_form;
use crate::git::repositories::GitRepositories;
use crate::git::{errors, private_files};
use crate::{bounded_file, disk};

/// Attribute files of the operator that name a filter, as copies to ask git with.
#[derive(Debug, Default)]
pub(crate) struct OperatorAttributes {
    /// Those of machine and account, and of the clone after them: weaker than those of a commit.
    pub(crate) all: Option<Copy>,
    /// Those of the clone alone: stronger than those of a commit.
    pub(crate) own: Option<Copy>,
    /// Files that are there and cannot be read, each with the reason. Git says so and goes on without them.
    unreadable: Vec<(PathBuf, std::io::Error)>,
}

impl OperatorAttributes {
    /// Tells whether none of them names a filter.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_none()
    }
}

/// A file that is removed with the value.
#[derive(Debug)]
pub(crate) struct Copy(PathBuf);

impl Copy {
    fn new(dir: &Path, text: &[u8]) -> std::io::Result<Self> {
        bounded_file::put_aside_unless_directory(dir)?;
        private_files::private_dir(dir)?;
        let copy = Self(dir.join(uuid::Uuid::new_v4().simple().to_string()));
        std::fs::write(&copy.0, text)?;
        Ok(copy)
    }

    pub(crate) fn path(&self) -> String {
        self.0.to_string_lossy().into_owned()
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // One that stays is small.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Names those of these attribute files of the operator that are there and cannot be read, each with the reason.
pub fn unreadable_attributes(files: &[PathBuf]) -> Vec<(PathBuf, std::io::Error)> {
    let mut unreadable = Vec::new();
    for file in files {
        if let Err(e) = append(&mut Vec::new(), file, &mut unreadable) {
            unreadable.push((file.clone(), e));
        }
    }
    unreadable
}

impl GitRepositories {
    /// Says which attribute files of the operator cannot be read for a repository, to be told when an agent's tree is made.
    pub(crate) async fn attribute_warnings(&self, url: &RepositoryUrl) -> Result<Vec<String>, GitError> {
        let read = self.operator_attributes(url).await?;
        let named = read.unreadable.iter().map(|(file, why)| {
            let file = errors::plain(&file.to_string_lossy());
            format!(
                "an attribute file of the operator cannot be read ({file}: {why}): what it puts behind a git filter is not known \
                 and would be published as plain bytes. Let the server's user read it (mosaic doctor)"
            )
        });
        Ok(named.collect())
    }

    /// Reads the operator's attribute files that are in force for a repository.
    pub(crate) async fn operator_attributes(
        &self,
        url: &RepositoryUrl,
    ) -> Result<OperatorAttributes, GitError> {
        let clone = url.local_path().map(|path| local_form(Path::new(path)));
        let (shared, dir) = (self.attribute_sources.clone(), self.layout.data.join("git/attributes"));
        let read = disk::run(move || copies(&shared, clone.as_deref(), &dir)).await;
        let failed = |e| errors::io("reading the operator's attribute files", e);
        let read = read.map_err(failed)?.map_err(failed)?;
        for (file, why) in &read.unreadable {
            // Once for each file: every gating reads them again.
            if self.unreadable_attributes.lock().insert(file.clone()) {
                tracing::warn!(file = %file.display(), error = %why, "attribute file of the operator cannot be read, and filters that it names are not known; let the server's user read it");
            }
        }
        Ok(read)
    }
}

/// Copies the files that are there; nothing when none of them can name a filter.
fn copies(shared: &[PathBuf], clone: Option<&Path>, dir: &Path) -> std::io::Result<OperatorAttributes> {
    let (mut all, mut unreadable) = (Vec::new(), Vec::new());
    for file in shared {
        append(&mut all, file, &mut unreadable)?;
    }
    let mut own = Vec::new();
    if let Some(clone) = clone {
        append(&mut own, &common_dir(clone).join("info/attributes"), &mut unreadable)?;
        all.extend_from_slice(&own);
    }
    let copy = |text: &[u8]| match text.windows(6).any(|word| word == b"filter") {
        true => Copy::new(dir, text).map(Some),
        false => Ok(None),
    };
    Ok(OperatorAttributes { all: copy(&all)?, own: copy(&own)?, unreadable })
}

/// Appends a file as git reads it, with a line's end. One that cannot be read is passed over, as git does.
fn append(
    text: &mut Vec<u8>,
    file: &Path,
    unreadable: &mut Vec<(PathBuf, std::io::Error)>,
) -> std::io::Result<()> {
    let read = match bounded_file::read_linked(file, limits::LISTING_BYTES as u64) {
        Ok(read) => read,
        // Git reads one that is larger than this: without it what is behind a filter would not be known.
        Err(e) if e.kind() == ErrorKind::FileTooLarge => {
            return Err(std::io::Error::new(e.kind(), format!("{}: {e}", file.display())));
        }
        Err(e) => {
            // What is not there or no file is none.
            let is_there = std::fs::metadata(file).map_or_else(|e| !is_absent(&e), |found| found.is_file());
            unreadable.extend(is_there.then(|| (file.to_owned(), e)));
            return Ok(());
        }
    };
    text.extend(attributes::rewritten(&read).unwrap_or(read));
    text.push(b'\n');
    Ok(())
}

fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Returns the git directory of an operator's clone, for a working tree beside it the one that it shares.
fn common_dir(clone: &Path) -> PathBuf {
    let inner = clone.join(".git");
    if inner.is_dir() {
        return inner;
    }
    let line = |file: &Path| bounded_file::read_linked_text(file, limits::LISTING_BYTES as u64).ok();
    let Some(text) = line(&inner) else { return clone.to_owned() };
    let git_dir = clone.join(text.trim().trim_start_matches("gitdir:").trim());
    match line(&git_dir.join("commondir")) {
        Some(common) => git_dir.join(common.trim()),
        None => git_dir,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_of_a_clone_and_of_a_working_tree_beside_it_is_the_same() {
        let place = tempfile::tempdir().unwrap();
        let at = |path: &str| place.path().join(path);
        std::fs::create_dir_all(at("clone/.git/worktrees/side")).unwrap();
        std::fs::create_dir_all(at("side")).unwrap();
        std::fs::write(at("clone/.git/worktrees/side/commondir"), "../..\n").unwrap();
        let line = format!("gitdir: {}\n", at("clone/.git/worktrees/side").display());
        std::fs::write(at("side/.git"), line).unwrap();
        let side = common_dir(&at("side")).canonicalize().unwrap();
        assert_eq!(side, common_dir(&at("clone")).canonicalize().unwrap());
        assert_eq!(common_dir(&at("bare.git")), at("bare.git"));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_passed_over_as_git_does_and_named() {
        let place = tempfile::tempdir().unwrap();
        let sealed = place.path().join("sealed");
        std::fs::write(&sealed, "*.sec filter=crypt").unwrap();
        // Reading it fails whoever asks, root too.
        let (broken, looped) = (place.path().join("broken"), place.path().join("looped"));
        std::os::unix::fs::symlink("/proc/self/mem", &broken).unwrap();
        std::os::unix::fs::symlink(&looped, &looped).unwrap();
        let git = |file: &Path| {
            let setting = format!("core.attributesFile={}", file.display());
            let args = ["-c", &setting, "check-attr", "filter", "--", "x"];
            let asked =
                std::process::Command::new("git").args(args).current_dir(place.path()).output().unwrap();
            (asked.status.success(), String::from_utf8_lossy(&asked.stdout).into_owned())
        };
        std::process::Command::new("git").args(["init", "-q"]).current_dir(place.path()).status().unwrap();
        for file in [&broken, &looped] {
            assert_eq!(git(file), (true, "x: filter: unspecified\n".to_owned()), "git goes on without it");
        }
        let missing = [place.path().join("missing"), sealed.join("below-a-file"), place.path().to_owned()];
        let files = [&missing[..], &[broken.clone(), looped.clone(), sealed]].concat();
        let found = copies(&files, None, &place.path().join("copies")).unwrap();
        let names: Vec<&PathBuf> = found.unreadable.iter().map(|(file, _)| file).collect();
        assert_eq!(names, [&broken, &looped]);
        let text = std::fs::read_to_string(found.all.as_ref().unwrap().path()).unwrap();
        assert_eq!(text, "*.sec filter=crypt\n", "the others count");
    }

    #[test]
    fn only_files_that_name_a_filter_are_copied_and_the_copies_go() {
        let place = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            std::fs::write(place.path().join(name), text).unwrap();
            place.path().join(name)
        };
        let (plain, sealed) = (file("plain", "*.c diff=c"), file("sealed", "*.sec filter=crypt"));
        let copy = place.path().join("copies");
        assert!(copies(&[plain.clone(), place.path().join("missing")], None, &copy).unwrap().is_empty());
        let found = copies(&[plain, sealed], None, &copy).unwrap();
        let text = std::fs::read_to_string(found.all.as_ref().unwrap().path()).unwrap();
        assert_eq!((text.as_str(), found.own.is_none()), ("*.c diff=c\n*.sec filter=crypt\n", true));
        drop(found);
        assert_eq!(std::fs::read_dir(copy).unwrap().count(), 0);
    }
}
