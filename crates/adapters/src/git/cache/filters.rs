//! Paths that go through a git filter (`filter=` in `.gitattributes`: git-crypt, git-lfs, any clean filter). No filter runs
//! here, so a changed path of that kind would be published as it lies in the tree. Attributes are read from commits, by git
//! itself and out of an index that holds nothing but `.gitattributes` files, and from the operator's own files: nothing of
//! any tree acts.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;

use mosaic_core::domain::gates::FilteredPath;
use mosaic_core::domain::ids::CommitId;
use mosaic_core::domain::outcome::FailureKind;
use mosaic_core::domain::repository::RepositoryUrl;
use mosaic_core::limits;
use mosaic_core::ports::repositories::FilterUse;
use tokio::io::BufReader;

use super::attributes;
use super::new_entries::NewEntry;
use super::operator_attributes::{Copy, OperatorAttributes};
use crate::git::command::Input;
use crate::git::errors::GitError;
use crate::git::output::{field, next_object};
use crate::git::repositories::GitRepositories;
use crate::git::{errors, private_files};

/// Name of the files that attributes are read from.
const ATTRIBUTES: &[u8] = b".gitattributes";

/// A file of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
struct File {
    object: String,
    path: Vec<u8>,
}

/// The filter of each path that has one.
type Filters = BTreeMap<Vec<u8>, String>;

impl GitRepositories {
    /// Lists what the new commits put at paths that have a filter in the base, the head or a
    /// commit in between. An object that stands
    /// behind the same filter in the base already may be moved.
    pub(crate) async fn filtered_now(
        &self,
        url: &RepositoryUrl,
        base: &CommitId,
        head: &CommitId,
    ) -> Result<Vec<FilteredPath>, GitError> {
        let operator = self.operator_attributes(url).await?;
        let of_base = self.attributes(url, base, &operator).await?;
        let mut all = vec![of_base.clone(), self.attributes(url, head, &operator).await?];
        let new = self.new_entries(url, base, head).await?;
        // An agent could remove the filter in one commit, change the file in the next and put the filter back in the last;
        // each commit counts by its own attributes.
        for commit in between(&new, head)? {
            all.push(self.attributes(url, &commit, &operator).await?);
        }
        // Without any in a commit the operator's files still count.
        all.retain(|files| !files.is_empty() || !operator.is_empty());
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let changed: Vec<File> = new
            .into_iter()
            // Links and submodules go through no filter.
            .filter(|entry| entry.mode.starts_with("100"))
            .map(|entry| File { object: entry.object, path: entry.path })
            .collect();
        let paths: Vec<Vec<u8>> = changed.iter().map(|file| file.path.clone()).collect();
        let mut filters = Filters::new();
        for attributes in &all {
            filters.extend(self.filters_of(url, attributes, &operator, &paths).await?);
        }
        let suspects: Vec<(&File, &String)> =
            changed.iter().filter_map(|file| Some((file, filters.get(&file.path)?))).collect();
        if suspects.is_empty() {
            return Ok(Vec::new());
        }
        let objects: HashSet<String> = suspects.iter().map(|(file, _)| file.object.clone()).collect();
        let known = self.behind_filters(url, base, (&of_base, &operator), &objects).await?;
        let is_new = |(file, filter): &(&File, &String)| {
            !known.get(&file.object).is_some_and(|filters| filters.contains(*filter))
        };
        let name = |file: &File| errors::plain(&String::from_utf8_lossy(&file.path));
        let named: BTreeMap<String, String> =
            suspects.into_iter().filter(is_new).map(|(file, filter)| (name(file), filter.clone())).collect();
        Ok(named.into_iter().map(|(path, filter)| FilteredPath { path, filter }).collect())
    }

    /// Says which filters the files of a commit go through.
    pub(crate) async fn filters_now(
        &self,
        url: &RepositoryUrl,
        commit: &CommitId,
    ) -> Result<Vec<FilterUse>, GitError> {
        let operator = self.operator_attributes(url).await?;
        let attributes = self.attributes(url, commit, &operator).await?;
        if attributes.is_empty() && operator.is_empty() {
            return Ok(Vec::new());
        }
        let paths =
            self.files(url, commit, |_| true).await?.into_iter().map(|file| file.path).collect::<Vec<_>>();
        let mut uses: BTreeMap<String, FilterUse> = BTreeMap::new();
        for (path, filter) in self.filters_of(url, &attributes, &operator, &paths).await? {
            let example = || errors::plain(&String::from_utf8_lossy(&path));
            let known = uses.entry(filter.clone());
            known.or_insert_with(|| FilterUse { filter, paths: 0, example: example() }).paths += 1;
        }
        Ok(uses.into_values().collect())
    }

    /// Lists the `.gitattributes` files of a commit; none when none of them can name a filter.
    async fn attributes(
        &self,
        url: &RepositoryUrl,
        commit: &CommitId,
        operator: &OperatorAttributes,
    ) -> Result<Vec<File>, GitError> {
        // The operator's files may define a macro that a commit's files use.
        let any = !operator.is_empty();
        let question =
            (self.layout.bare_repository(url), commit.to_string(), String::new(), usize::from(any));
        if let Some(known) = self.attribute_files.recall(&question) {
            return Ok(known
                .iter()
                .map(|(object, path)| File { object: object.clone(), path: path.clone() })
                .collect());
        }
        let is_attributes = |path: &[u8]| path.rsplit(|byte| *byte == b'/').next() == Some(ATTRIBUTES);
        let files = self.files(url, commit, is_attributes).await?;
        let (files, is_rewritten) = self.as_git_reads_them(url, files, any).await?;
        if is_rewritten {
            // Objects of our own making, which no ref keeps.
            return Ok(files);
        }
        let size = files.iter().map(|file| file.path.len() + file.object.len()).sum();
        let memory = files.iter().map(|file| (file.object.clone(), file.path.clone())).collect();
        self.attribute_files.keep(question, memory, size);
        Ok(files)
    }

    /// Lists the regular files of a commit whose paths are wanted.
    async fn files(
        &self,
        url: &RepositoryUrl,
        commit: &CommitId,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<File>, GitError> {
        let call = self.git.local(&self.layout.bare_repository(url)).args([
            "ls-tree",
            "-r",
            "-z",
            "--full-tree",
            "--end-of-options",
        ]);
        let read = |out| async move {
            let (mut out, mut found) = (BufReader::new(out), Vec::new());
            while let Some(entry) = field(&mut out).await? {
                found.extend(listed(&entry).filter(|file| wanted(&file.path)));
            }
            Ok(found)
        };
        let (done, found) = call.args([commit.as_str()]).stream(Input::Nothing, read).await?;
        done.success("listing the files of a commit")?;
        Ok(found)
    }

    /// Returns these files, none when none has the word `filter` in it, unless `any` count: most repositories end the matter there. Of one that git
    /// would read otherwise in a working tree than out of a commit, or in whose answer a filter could not be told from
    /// none, a copy takes the place; tells whether there is any.
    async fn as_git_reads_them(
        &self,
        url: &RepositoryUrl,
        mut files: Vec<File>,
        any: bool,
    ) -> Result<(Vec<File>, bool), GitError> {
        if files.is_empty() {
            return Ok((files, false));
        }
        let ask: String = files.iter().map(|file| format!("{}\n", file.object)).collect();
        let dir = self.layout.bare_repository(url);
        let call = self.git.local(&dir).args(["cat-file", "--batch"]);
        let done = call.run(Input::Bytes(ask.into_bytes()), limits::LISTING_BYTES).await?;
        let done = done.success("reading the attributes of a commit")?;
        // One that is cut off counts as one that names a filter.
        if !any && !done.cut && !done.stdout.windows(6).any(|word| word == b"filter") {
            return Ok((Vec::new(), false));
        }
        let mut is_rewritten = false;
        let mut rest = done.stdout.as_slice();
        for file in &mut files {
            let Some(text) = next_object(&mut rest) else { break };
            let Some(copy) = attributes::rewritten(text) else { continue };
            let call = self.git.local(&dir).args(["hash-object", "-w", "--stdin"]);
            let made = call.run(Input::Bytes(copy), limits::ERROR_BYTES).await?;
            file.object = made.success("reading the attributes of a commit")?.text().trim().to_owned();
            is_rewritten = true;
        }
        Ok((files, is_rewritten))
    }

    /// Asks git for the filters of these paths, by these `.gitattributes` files and the operator's.
    async fn filters_of(
        &self,
        url: &RepositoryUrl,
        attributes: &[File],
        operator: &OperatorAttributes,
        paths: &[Vec<u8>],
    ) -> Result<Filters, GitError> {
        if attributes.is_empty() && operator.is_empty() || paths.is_empty() {
            return Ok(Filters::new());
        }
        let mut found = self.ask_for_filters(url, attributes, operator.all.as_ref(), paths).await?;
        if operator.own.is_some() {
            // A clone's own file is the strongest to git, and no file of a commit takes its word back.
            found.extend(self.ask_for_filters(url, &[], operator.own.as_ref(), paths).await?);
        }
        Ok(found)
    }

    async fn ask_for_filters(
        &self,
        url: &RepositoryUrl,
        attributes: &[File],
        weaker: Option<&Copy>,
        paths: &[Vec<u8>],
    ) -> Result<Filters, GitError> {
        let index = Index::new(self.layout.data.join("git/attributes"))
            .map_err(|e| errors::io("reading the attributes of a commit", e))?;
        let dir = self.layout.bare_repository(url);
        let mut entries = Vec::new();
        for file in attributes {
            entries.extend(format!("100644 {}\t", file.object).into_bytes());
            entries.extend(file.path.iter().chain(&[0]));
        }
        let mut call = self.git.local(&dir).args(["update-index", "-z", "--index-info"]);
        call.env("GIT_INDEX_FILE", &index.0);
        let done = call.run(Input::Bytes(entries), limits::ERROR_BYTES).await?;
        done.success("reading the attributes of a commit")?;
        let mut call = self.git.local(&dir).args(["check-attr", "--cached", "-z", "--stdin", "filter"]);
        if let Some(file) = weaker {
            call.config("core.attributesFile", &file.path());
        }
        call.env("GIT_INDEX_FILE", &index.0);
        let ask: Vec<u8> = paths.iter().flat_map(|path| path.iter().copied().chain([0])).collect();
        let read = |out| async move {
            let (mut out, mut found) = (BufReader::new(out), Filters::new());
            while let Some(path) = field(&mut out).await? {
                let (_, value) = (field(&mut out).await?, field(&mut out).await?.unwrap_or_default());
                if !matches!(value.as_slice(), b"unspecified" | b"unset" | b"") {
                    let value = String::from_utf8_lossy(&value).into_owned();
                    found.insert(path, errors::plain(attributes::filter_name(&value)));
                }
            }
            Ok(found)
        };
        let (done, found) = call.stream(Input::Bytes(ask), read).await?;
        done.success("reading the attributes of a commit")?;
        Ok(found)
    }

    /// Returns, of these objects, those that stand at a path with a filter in the base, and which filters.
    async fn behind_filters(
        &self,
        url: &RepositoryUrl,
        base: &CommitId,
        (attributes, operator): (&[File], &OperatorAttributes),
        objects: &HashSet<String>,
    ) -> Result<HashMap<String, HashSet<String>>, GitError> {
        let mut files = self.files(url, base, |_| true).await?;
        files.retain(|file| objects.contains(&file.object));
        let paths: Vec<Vec<u8>> = files.iter().map(|file| file.path.clone()).collect();
        let filters = self.filters_of(url, attributes, operator, &paths).await?;
        let mut known: HashMap<String, HashSet<String>> = HashMap::new();
        for file in files {
            if let Some(filter) = filters.get(&file.path) {
                known.entry(file.object).or_default().insert(filter.clone());
            }
        }
        Ok(known)
    }
}

/// Lists the commits whose attribute files are neither the base's nor the head's.
fn between(new: &[NewEntry], head: &CommitId) -> Result<Vec<CommitId>, GitError> {
    let is_attributes = |path: &[u8]| path.rsplit(|byte| *byte == b'/').next() == Some(ATTRIBUTES);
    let named = new.iter().filter(|entry| is_attributes(&entry.path)).map(|entry| entry.commit.as_str());
    let commits: BTreeSet<&str> = named.filter(|commit| *commit != head.as_str()).collect();
    if commits.len() > limits::ATTRIBUTE_COMMITS {
        let why = format!(
            "more than {} commits change git attributes, which decide what may be published; make fewer of them",
            limits::ATTRIBUTE_COMMITS
        );
        return Err(GitError::refused(FailureKind::Unpublishable, why));
    }
    Ok(commits.into_iter().filter_map(|commit| commit.parse().ok()).collect())
}

/// An index file that is removed with the value.
struct Index(PathBuf);

impl Index {
    fn new(dir: PathBuf) -> std::io::Result<Self> {
        crate::bounded_file::put_aside_unless_directory(&dir)?;
        private_files::private_dir(&dir)?;
        Ok(Self(dir.join(uuid::Uuid::new_v4().simple().to_string())))
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        // One that stays is a few hundred bytes.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Reads an entry of `ls-tree`; nothing for links and submodules.
fn listed(entry: &[u8]) -> Option<File> {
    let tab = entry.iter().position(|byte| *byte == b'\t')?;
    let head = std::str::from_utf8(&entry[..tab]).ok()?;
    let mut words = head.split(' ');
    let (mode, _, object) = (words.next()?, words.next()?, words.next()?);
    mode.starts_with("100").then(|| File { object: object.to_owned(), path: entry[tab + 1..].to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_a_listing_are_read() {
        let a = "a".repeat(40);
        assert_eq!(listed(format!("100644 blob {a}\ta\tb").as_bytes()).unwrap().path, b"a\tb");
        assert!(listed(format!("160000 commit {a}\tsub").as_bytes()).is_none());
    }
}
