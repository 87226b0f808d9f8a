//! Tags of a remote in its bare repository. They come along with the commits that a fetch brings, are looked for again now
//! and then while the base does not move, and are handed to trees and to gates: versions are told by them.

use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use mosaic_core::domain::ids::{BranchName, CommitId};
use mosaic_core::domain::outcome::Failure;
use mosaic_core::domain::repository::RepositoryUrl;
use mosaic_core::limits;

use super::fetch::Tags;
use super::last_fetch::LastFetch;
use crate::git::command::Input;
use crate::git::ref_files;
use crate::git::repositories::GitRepositories;

/// Tags in files of their own from which on they are packed.
const LOOSE_TAGS: usize = 32;

impl GitRepositories {
    /// Looks for tags that were made on commits which are there already. A fetch that brings the base brings them along, so
    /// this is for a base that does not move; whatever goes wrong costs nobody more than a newer version's name.
    pub(crate) async fn look_for_tags(
        &self,
        url: &RepositoryUrl,
        dir: &Path,
        branch: &BranchName,
        seen: &CommitId,
    ) {
        let lock = self.repository_lock(dir);
        // While another task fetches, it brings the tags along.
        let Ok(mut last) = lock.try_lock() else { return };
        if last.values().any(|fetch| fetch.began.elapsed() < limits::TAGS_AGE) {
            return;
        }
        let began = Instant::now();
        last.insert(branch.to_string(), LastFetch { began, tip: seen.clone() });
        let refspec = format!("+refs/heads/{branch}:refs/heads/{branch}");
        let looked = async {
            let view = self.view(dir).map_err(|e| e.to_string())?;
            let done = self.fetch_refspec(url, dir, &view, &refspec, Tags::Follow).await;
            let done = done.map_err(|failure| failure.message)?;
            if done.status.success() { Ok(()) } else { Err(done.stderr) }
        };
        let looked = tokio::time::timeout(limits::TAGS_LOOK, looked).await;
        if let Err(why) = looked.unwrap_or_else(|_| Err("the remote takes too long".to_owned())) {
            tracing::debug!(why, "new tags of a repository could not be looked for");
        }
        if let Err(e) = self.pack_tags(dir).await {
            tracing::debug!(why = e.message, "new tags of a repository could not be packed");
        }
    }

    /// Packs tags that a fetch wrote one file each: what every later call reads is one file again.
    pub(crate) async fn pack_tags(&self, dir: &Path) -> Result<(), Failure> {
        let loose = std::fs::read_dir(dir.join("refs/tags")).map_or(0, |all| all.take(LOOSE_TAGS).count());
        if loose < LOOSE_TAGS {
            return Ok(());
        }
        let call = self.git.local(dir).args(["pack-refs"]);
        let done = call.run(Input::Nothing, 0).await?;
        if !done.status.success() {
            tracing::warn!(stderr = done.stderr, "the tags of a bare repository cannot be packed");
        }
        Ok(())
    }

    /// Returns the newest tags that a commit descends from, as lines of a list of packed refs: `git describe` and what is
    /// built on it tell versions by them.
    pub(crate) async fn tags(&self, dir: &Path, commit: &CommitId) -> Result<Arc<String>, Failure> {
        if !ref_files::has_tags(dir) {
            return Ok(Arc::default());
        }
        let question =
            (dir.to_owned(), commit.to_string(), format!("tags at {}", written(dir)), limits::TAGS);
        if let Some(known) = self.tag_lists.recall(&question) {
            return Ok(known);
        }
        let call = self.git.local(dir).args([
            "for-each-ref",
            &format!("--merged={commit}"),
            "--sort=-creatordate",
            &format!("--count={}", limits::TAGS),
            "--format=%(objectname) %(refname)%(if)%(*objectname)%(then)%0a^%(*objectname)%(end)",
            "refs/tags",
        ]);
        let done = call.run(Input::Nothing, limits::LISTING_BYTES).await?;
        // Without tags a version is not known, which is what a gate then says; a list that was cut has no whole last line.
        if !done.status.success() || done.cut {
            tracing::warn!(stderr = done.stderr, "the tags of a commit cannot be listed");
            return Ok(Arc::default());
        }
        let lines = in_order(&done.text());
        let bytes = lines.len();
        Ok(self.tag_lists.keep(question, lines, bytes))
    }
}

/// Returns the moments at which the places of the tags were last written.
fn written(dir: &Path) -> String {
    let at = |name| {
        let meta = std::fs::metadata(dir.join(name)).and_then(|meta| meta.modified());
        meta.unwrap_or(SystemTime::UNIX_EPOCH).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    };
    format!("{:?} {:?}", at("refs/tags"), at("packed-refs"))
}

/// Puts the lines into the order of the names, as packed refs stand, each with what it points to.
fn in_order(text: &str) -> String {
    let mut entries: Vec<(&str, String)> = Vec::new();
    for line in text.lines() {
        match (line.starts_with('^'), entries.last_mut()) {
            (true, Some((_, entry))) => entry.push_str(&format!("{line}\n")),
            _ => entries.push((line.split_once(' ').map_or("", |(_, name)| name), format!("{line}\n"))),
        }
    }
    entries.sort();
    entries.into_iter().map(|(_, entry)| entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_stand_in_the_order_of_their_names_with_what_they_point_to() {
        let text = "3 refs/tags/v2\n^4\n1 refs/tags/v1\n2 refs/tags/v10\n^5\n";
        assert_eq!(in_order(text), "1 refs/tags/v1\n2 refs/tags/v10\n^5\n3 refs/tags/v2\n^4\n");
    }
}
