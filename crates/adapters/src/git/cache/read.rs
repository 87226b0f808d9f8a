//! Reading commits from the bare repository: files and listings. Objects only; no filter, no program of any repository.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use mosaic_core::domain::ids::CommitId;
use mosaic_core::domain::outcome::FailureKind;
use mosaic_core::domain::repository::RepositoryUrl;
use mosaic_core::limits;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

use crate::git::command::Input;
use crate::git::errors::GitError;
use crate::git::repositories::GitRepositories;
use crate::git::{errors, private_files};

/// Most upstream commits on which new work stands directly that are looked at.
const UPSTREAM_EDGE: usize = 100;

impl GitRepositories {
    pub(crate) async fn read_file_now(
        &self,
        url: &RepositoryUrl,
        commit: &CommitId,
        path: &str,
        most: usize,
    ) -> Result<Option<Vec<u8>>, GitError> {
        if !is_tracked_path(path) {
            return Ok(None);
        }
        let question = (self.layout.bare_repository(url), commit.to_string(), path.to_owned(), most);
        if let Some(known) = self.contents.recall(&question) {
            return Ok((*known).clone());
        }
        let bytes = self.read_blob(url, commit, path, most).await?;
        let size = bytes.as_ref().map_or(0, Vec::len);
        Ok((*self.contents.keep(question, bytes, size)).clone())
    }

    /// Reads the first bytes of a file without remembering them.
    pub(crate) async fn read_blob(
        &self,
        url: &RepositoryUrl,
        commit: &CommitId,
        path: &str,
        most: usize,
    ) -> Result<Option<Vec<u8>>, GitError> {
        let call = self.git.local(&self.layout.bare_repository(url)).args(["cat-file", "--batch", "-z"]);
        let ask = format!("{commit}:{path}\0").into_bytes();
        let read = |out| async move {
            let mut out = BufReader::new(out);
            let answered = !out.fill_buf().await?.is_empty();
            let Some(size) = blob_header(&mut out).await? else { return Ok((answered, None)) };
            let mut bytes = Vec::new();
            out.take(size.min(most as u64)).read_to_end(&mut bytes).await?;
            Ok((answered, Some(bytes)))
        };
        let (done, (answered, bytes)) = call.stream(Input::Bytes(ask), read).await?;
        if !answered {
            done.success("reading a file of the repository")?;
        }
        Ok(bytes)
    }

    pub(crate) async fn list_files_now(
        &self,
        url: &RepositoryUrl,
        commit: &CommitId,
        below: &str,
    ) -> Result<Vec<String>, GitError> {
        let question = (self.layout.bare_repository(url), commit.to_string(), below.to_owned(), 0);
        if let Some(known) = self.listings.recall(&question) {
            return Ok((*known).clone());
        }
        let entries = self.entries(url, commit, below).await?;
        let paths: Vec<String> = entries.into_iter().map(|entry| entry.path).collect();
        let size = paths.iter().map(String::len).sum();
        Ok((*self.listings.keep(question, paths, size)).clone())
    }

    pub(crate) async fn export_now(
        &self,
        url: &RepositoryUrl,
        commit: &CommitId,
        directory: &str,
        into: &Path,
    ) -> Result<(), GitError> {
        let io = |e: std::io::Error| errors::io("writing files of the repository", e);
        let prefix = format!("{}/", directory.trim_end_matches('/'));
        let files: Vec<Entry> =
            self.entries(url, commit, directory).await?.into_iter().filter(Entry::is_file).collect();
        private_files::private_dir(into).map_err(io)?;
        let ask: String = files.iter().map(|f| format!("{}\n", f.object)).collect();
        let call = self.git.local(&self.layout.bare_repository(url)).args(["cat-file", "--batch"]);
        let write = |out| async move {
            let mut out = BufReader::new(out);
            for file in &files {
                let size = blob_header(&mut out)
                    .await?
                    .ok_or_else(|| std::io::Error::other("an object is missing"))?;
                let relative = if directory.is_empty() {
                    Some(file.path.as_str())
                } else {
                    file.path.strip_prefix(&prefix)
                };
                let target = relative.filter(|path| is_tracked_path(path)).map(|path| into.join(path));
                copy_blob(&mut out, size, target.as_deref(), file.is_executable()).await?;
            }
            Ok(())
        };
        let (done, ()) = call.stream(Input::Bytes(ask.into_bytes()), write).await?;
        done.success("writing files of the repository").map(drop)
    }

    async fn entries(
        &self,
        url: &RepositoryUrl,
        commit: &CommitId,
        below: &str,
    ) -> Result<Vec<Entry>, GitError> {
        let below = below.trim_end_matches('/');
        let mut call = self.git.local(&self.layout.bare_repository(url)).args([
            "ls-tree",
            "-r",
            "-z",
            "--full-tree",
            "--end-of-options",
            commit.as_str(),
        ]);
        if !below.is_empty() {
            // Such a path names nothing in a commit, and git would answer with an error where the list is only empty.
            if !is_tracked_path(below) {
                return Ok(Vec::new());
            }
            call = call.args([format!("{below}/")]);
        }
        let done = call
            .run(Input::Nothing, limits::LISTING_BYTES)
            .await?
            .success("listing the files of a commit")?;
        if done.cut {
            return Err(GitError::refused(
                FailureKind::BadInput,
                "the repository has too many files to list",
            ));
        }
        Ok(done.stdout.split(|b| *b == 0).filter_map(Entry::parse).collect())
    }

    /// Returns what a diff starts from: the newest upstream commit that the agent merged, or the base. Where several of
    /// them stand side by side it is the base, too.
    pub(crate) async fn upstream(
        &self,
        url: &RepositoryUrl,
        base: &CommitId,
        head: &CommitId,
    ) -> Result<CommitId, GitError> {
        let dir = self.layout.bare_repository(url);
        let call = self.git.local(&dir).args(["rev-list", "--boundary", "--not", "--branches", "--not"]);
        let call = call.args(["--end-of-options", head.as_str(), &format!("^{base}")]);
        let listed = call.run(Input::Nothing, limits::LISTING_BYTES).await?.success("looking for merges")?;
        let text = listed.text();
        let edge: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix('-')).collect();
        // A diff against the base is never wrong, it only shows more. So every doubt ends there.
        if listed.cut || edge.len() > UPSTREAM_EDGE || edge.iter().all(|commit| *commit == base.as_str()) {
            return Ok(base.clone());
        }
        let call =
            self.git.local(&dir).args(["merge-base", "--independent", "--end-of-options", base.as_str()]);
        let newest = call.args(&edge).run(Input::Nothing, limits::LISTING_BYTES).await?;
        let newest = newest.success("looking for the newest merge")?.text();
        let mut newest = newest.lines().map(str::parse);
        Ok(match (newest.next(), newest.next()) {
            (Some(Ok(only)), None) => only,
            _ => base.clone(),
        })
    }
}

/// One line of `ls-tree`.
struct Entry {
    mode: String,
    object: String,
    path: String,
}

impl Entry {
    fn parse(line: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(line);
        let (head, path) = text.split_once('\t')?;
        let mut words = head.split(' ');
        let (mode, _, object) = (words.next()?, words.next()?, words.next()?);
        Some(Self { mode: mode.to_owned(), object: object.to_owned(), path: path.to_owned() })
    }

    fn is_file(&self) -> bool {
        self.mode.starts_with("100")
    }

    fn is_executable(&self) -> bool {
        self.mode == "100755"
    }
}

/// Tells whether a path can be that of a tracked file and is safe to join to a directory.
pub(super) fn is_tracked_path(path: &str) -> bool {
    let bad =
        |part: &str| part.is_empty() || part == "." || part == ".." || part.eq_ignore_ascii_case(".git");
    !path.contains('\0') && !path.split('/').any(bad)
}

/// Reads the header that `cat-file --batch` writes before a blob: its size, or `None` for anything else.
async fn blob_header(out: &mut (impl AsyncBufReadExt + Unpin)) -> std::io::Result<Option<u64>> {
    let mut line = Vec::new();
    out.take(8192).read_until(b'\n', &mut line).await?;
    let text = String::from_utf8_lossy(&line);
    let mut words = text.trim_end().rsplit(' ');
    let size = words.next().and_then(|size| size.parse().ok());
    Ok(size.filter(|_| words.next() == Some("blob")))
}

async fn copy_blob(
    out: &mut (impl AsyncRead + Unpin),
    size: u64,
    target: Option<&Path>,
    executable: bool,
) -> std::io::Result<()> {
    let mut file = match target {
        Some(path) => {
            fs::create_dir_all(path.parent().unwrap_or(path))?;
            let mode = if executable { 0o755 } else { 0o644 };
            Some(fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?)
        }
        None => None,
    };
    // The blob is followed by one newline.
    let mut left = size;
    let mut chunk = vec![0u8; 64 * 1024];
    while left > 0 {
        let most = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let n = out.read(&mut chunk[..most]).await?;
        if n == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(file) = &mut file {
            file.write_all(&chunk[..n])?;
        }
        left -= n as u64;
    }
    out.read_u8().await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listing_lines_are_read() {
        let entry = Entry::parse(b"100755 blob abc\tx y").unwrap();
        assert!(entry.is_file() && entry.is_executable() && entry.path == "x y");
        assert!(!Entry::parse(b"120000 blob abc\tlink").unwrap().is_file());
    }

    #[test]
    fn paths_that_leave_are_not_tracked_paths() {
        for bad in ["", "/etc/passwd", "a/../b", "./a", "a//b", ".git/config", "x/.GIT/y", "a\0b"] {
            assert!(!is_tracked_path(bad), "{bad:?}");
        }
        assert!(is_tracked_path("a/b c.md"));
    }
}
