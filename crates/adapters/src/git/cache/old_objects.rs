//! Objects that the remote has. git's checks complain about much that old importers and old versions of git wrote, and that
//! everybody works with: it is not held against an agent, whose own objects are checked in full.

use std::path::{Path, PathBuf};

use mosaic_core::domain::ids::CommitId;
use mosaic_core::domain::repository::RepositoryUrl;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, BufWriter};

use crate::git::command::Input;
use crate::git::errors;
use crate::git::errors::GitError;
use crate::git::output::field;
use crate::git::repositories::GitRepositories;

/// Which objects are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// Files of the base that git reads as settings: a new tree makes git check them again.
    BaseSettings,
    /// Commits and trees of every branch and tag of the remote, and all files that git reads as settings in them.
    Remote,
}

/// A list of objects that are not checked; the file goes with the value.
pub(crate) struct SkipList {
    file: PathBuf,
    /// Its name in the directory where git is run: git cannot be told of a path with a space.
    pub(crate) name: String,
    is_empty: bool,
}

impl Drop for SkipList {
    fn drop(&mut self) {
        // One that stays costs its size, and nothing reads it.
        let _ = std::fs::remove_file(&self.file);
    }
}

impl GitRepositories {
    /// Lists objects that the remote has; none when there are none of the kind.
    pub(crate) async fn skip_list(
        &self,
        dir: &Path,
        base: &CommitId,
        known: Known,
    ) -> Result<Option<SkipList>, GitError> {
        let name = format!("known-{}", uuid::Uuid::new_v4().simple());
        let file = self.git.place_at_home(&name);
        let mut list = SkipList { file, name, is_empty: true };
        match known {
            Known::BaseSettings => {
                let args = ["ls-tree", "-r", "-z", "--full-tree", base.as_str()];
                self.note(dir, &mut list, &args, (b'\t', 0), is_settings).await?;
            }
            Known::Remote => {
                let all = ["rev-list", "--objects", "--branches", "--tags"];
                // Two walks instead of one: listing every file of a large history takes a multiple of the time, and of files
                // only those matter whose content git checks.
                let no_files = [&all[..], &["--filter=blob:none"]].concat();
                self.note(dir, &mut list, &no_files, (b' ', b'\n'), |_| true).await?;
                self.note(dir, &mut list, &all, (b' ', b'\n'), is_settings).await?;
            }
        }
        Ok((!list.is_empty).then_some(list))
    }

    /// Adds the objects of a listing whose paths are wanted. An object is the last word before the path, which this byte
    /// separates from it; another byte ends the entry.
    async fn note(
        &self,
        dir: &Path,
        list: &mut SkipList,
        args: &[&str],
        (separator, end): (u8, u8),
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<(), GitError> {
        let what = "listing what the remote has";
        let file = tokio::fs::OpenOptions::new().append(true).create(true).open(&list.file).await;
        let mut file = BufWriter::new(file.map_err(|e| errors::io(what, e))?);
        let is_empty = &mut list.is_empty;
        let read = |out| async move {
            let (mut out, mut line) = (BufReader::new(out), Vec::new());
            while out.read_until(end, &mut line).await? > 0 {
                let entry = line.strip_suffix(&[end]).unwrap_or(&line);
                let at = entry.iter().position(|b| *b == separator).unwrap_or(entry.len());
                let object = entry[..at].rsplit(|b| *b == b' ').next().unwrap_or_default();
                if wanted(entry.get(at + 1..).unwrap_or_default()) {
                    file.write_all(object).await?;
                    file.write_all(b"\n").await?;
                    *is_empty = false;
                }
                line.clear();
            }
            file.flush().await
        };
        let (done, ()) = self.git.local(dir).args(args).stream(Input::Nothing, read).await?;
        done.success(what).map(drop)
    }

    /// Tells whether a commit has a tree in which a name stands twice.
    pub(crate) async fn has_duplicates(
        &self,
        url: &RepositoryUrl,
        commit: &CommitId,
    ) -> Result<bool, GitError> {
        let question = (self.layout.bare_repository(url), commit.to_string(), String::new(), 0);
        if let Some(known) = self.duplicates.recall(&question) {
            return Ok(*known);
        }
        let read = |out| async move {
            let (mut out, mut last, mut found) = (BufReader::new(out), Vec::new(), false);
            while let Some(path) = field(&mut out).await? {
                found |= path == last;
                last = path;
            }
            Ok(found)
        };
        let call = self.git.local(&question.0);
        let call = call.args(["ls-tree", "-r", "-t", "-z", "--full-tree", "--name-only", commit.as_str()]);
        let (done, found) = call.stream(Input::Nothing, read).await?;
        done.success("looking for names that stand twice in a tree")?;
        Ok(*self.duplicates.keep(question, found, 1))
    }
}

/// Tells whether git reads a file of this name as settings, which its checks look into.
fn is_settings(path: &[u8]) -> bool {
    let name = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
    [&b".gitmodules"[..], b".gitattributes"].iter().any(|known| name.eq_ignore_ascii_case(known))
}
