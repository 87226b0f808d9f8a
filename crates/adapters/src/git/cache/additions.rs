//! Everything that commits add, streamed for the secret scan: one `git log -p`, read line by line with bounded
//! memory. Hunks are counted, so that no content can pass for a header.

use mosaic_core::domain::ids::CommitId;
use mosaic_core::domain::outcome::FailureKind;
use mosaic_core::domain::repository::RepositoryUrl;
use mosaic_core::limits;
use mosaic_core::ports::repositories::{Added, AddedPart};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use crate::git::command::Input;
use crate::git::errors::GitError;
use crate::git::repositories::GitRepositories;

/// A diff that hides nothing: binary files as text, no programs, no renames, no context.
const DIFF: &[&str] = &[
    "-p",
    "-U0",
    "--text",
    "--no-ext-diff",
    "--no-textconv",
    "--no-renames",
    "--no-color",
    "--no-indent-heuristic",
    "--src-prefix=a/",
    "--dst-prefix=b/",
    "--submodule=short",
    "--root",
];

impl GitRepositories {
    pub(crate) async fn additions_now(
        &self,
        url: &RepositoryUrl,
        base: &CommitId,
        head: &CommitId,
        into: mpsc::Sender<Added>,
    ) -> Result<(), GitError> {
        let dir = self.layout.bare_repository(url);
        // A commit in between is published with its parents, so that each is read and not only the difference between base
        // and head. A merge is compared with the merge that git would make: what a person wrote while resolving is new, the
        // two sides are not.
        let log = self.git.local(&dir).args([
            "log",
            "--reverse",
            "--topo-order",
            "--remerge-diff",
            "--no-notes",
            "--encoding=UTF-8",
        ]);
        let log = log.args(["--format=format:%x00%H %P%x00%an <%ae> %cn <%ce>%n%B%x00"]).args(DIFF);
        // What the agent merged from upstream is not new: the bare repository's branches are only ever tips of the remote.
        let log = log.args(["--not", "--branches", "--not"]);
        let log = log.args(["--end-of-options", &format!("{base}..{head}")]);
        let (done, (octopuses, open)) =
            log.stream(Input::Nothing, |out| pump(out, None, into.clone())).await?;
        if !open {
            return Ok(());
        }
        done.success("reading the new commits")?;
        // A merge of more than two is not re-merged by git; all that it brings over its first parent is shown.
        if !self.stored_commits(&dir, base, head, &into).await? {
            return Ok(());
        }
        for (commit, first) in octopuses {
            let call = self.git.local(&dir).args(["diff-tree"]).args(DIFF);
            let call = call.args(["--end-of-options", first.as_str(), commit.as_str()]);
            let (done, (_, open)) =
                call.stream(Input::Nothing, |out| pump(out, Some(commit.clone()), into.clone())).await?;
            if !open {
                return Ok(());
            }
            done.success("reading a merge of several branches")?;
        }
        Ok(())
    }
}

/// Longest list of new commits that is read, ids or objects, in bytes.
const COMMITS: usize = 64 * 1024 * 1024;

impl GitRepositories {
    /// Hands over the new commits as they are stored. `git log` decodes a commit by the encoding that the commit itself names,
    /// and a commit may have any header, or no message at all; what is pushed are the stored bytes.
    /// Tells whether somebody still listens.
    async fn stored_commits(
        &self,
        dir: &std::path::Path,
        base: &CommitId,
        head: &CommitId,
        into: &mpsc::Sender<Added>,
    ) -> Result<bool, GitError> {
        let why = "the new commits are too many or too long to be scanned";
        let too_long = || GitError::refused(FailureKind::BadInput, why);
        let call = self.git.local(dir).args(["rev-list", "--not", "--branches", "--not"]);
        let call = call.args(["--end-of-options", &format!("{base}..{head}")]);
        let listed = call.run(Input::Nothing, COMMITS).await?;
        // A scan of a part would let the rest pass, so that too much is refused as a whole.
        if listed.cut {
            return Err(too_long());
        }
        let ids = listed.success("listing the new commits")?.stdout;
        if ids.is_empty() {
            return Ok(true);
        }
        let call = self.git.local(dir).args(["cat-file", "--batch", "--buffer"]);
        let stored = call.run(Input::Bytes(ids), COMMITS).await?;
        if stored.cut {
            return Err(too_long());
        }
        let stored = stored.success("reading the new commits as they are stored")?.stdout;
        let mut rest = stored.as_slice();
        while let Some((added, after)) = stored_commit(rest) {
            if into.send(added).await.is_err() {
                return Ok(false);
            }
            rest = after;
        }
        // Never pushed unseen.
        let unread = "git's list of stored commits could not be understood";
        rest.is_empty().then_some(true).ok_or_else(|| GitError::refused(FailureKind::Internal, unread))
    }
}

/// Reads one object of `cat-file --batch`; returns its text without the ids of its tree and parents, and what follows it.
fn stored_commit(listed: &[u8]) -> Option<(Added, &[u8])> {
    let end = listed.iter().position(|byte| *byte == b'\n')?;
    let mut words = std::str::from_utf8(&listed[..end]).ok()?.split(' ');
    let commit = words.next()?.parse::<CommitId>().ok()?;
    let size: usize = words.nth(1)?.parse().ok()?;
    let object = listed[end + 1..].get(..size)?;
    let after = listed[end + 1 + size..].strip_prefix(b"\n")?;
    let is_id = |line: &[u8]| {
        // Ids are forty hexadecimal digits, in which the scan would see keys; they say nothing that an author wrote.
        let id = line.strip_prefix(b"tree ").or_else(|| line.strip_prefix(b"parent "));
        id.is_some_and(|id| id.iter().all(u8::is_ascii_hexdigit))
    };
    let lines: Vec<&[u8]> = object.split(|byte| *byte == b'\n').skip_while(|line| is_id(line)).collect();
    let text = String::from_utf8_lossy(&lines.join(&b'\n')).into_owned();
    Some((Added { commit, path: None, line: 1, text, part: AddedPart::Message }, after))
}

/// Reads the stream to its end, or until nobody listens; returns the merges of more than two (with their first
/// parent) and whether somebody still listens.
async fn pump(
    mut out: impl tokio::io::AsyncRead + Unpin,
    commit: Option<CommitId>,
    into: mpsc::Sender<Added>,
) -> std::io::Result<(Vec<(CommitId, CommitId)>, bool)> {
    let mut parser = Parser::new(commit);
    let mut chunk = vec![0u8; 64 * 1024];
    loop {
        let n = out.read(&mut chunk).await?;
        if n == 0 {
            parser.end();
        } else {
            parser.feed(&chunk[..n]);
        }
        for added in std::mem::take(&mut parser.ready) {
            if into.send(added).await.is_err() {
                return Ok((Vec::new(), false));
            }
        }
        if n == 0 {
            return Ok((parser.octopuses, true));
        }
    }
}

enum State {
    /// Between hunks: headers of files.
    Headers,
    /// The id and parents of a commit, up to a NUL.
    Ids,
    /// The message of a commit, up to a NUL.
    Message,
    /// In a hunk, with this many removed and added lines still to come.
    Hunk { removed: u64, added: u64 },
}

struct Parser {
    state: State,
    commit: Option<CommitId>,
    path: Option<String>,
    /// The line (or the part of it) that is not complete yet.
    line: Vec<u8>,
    /// The rest of the current line belongs to an addition that was already handed over in part.
    continued: bool,
    text: Vec<u8>,
    first: u64,
    next: u64,
    ready: Vec<Added>,
    octopuses: Vec<(CommitId, CommitId)>,
    /// The path in the last `diff --git` line, until it is known whether the file is new.
    named: Option<String>,
}

impl Parser {
    fn new(commit: Option<CommitId>) -> Self {
        let (line, text, ready, octopuses) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (state, path, continued) = (State::Headers, None, false);
        Self { state, commit, path, line, continued, text, first: 1, next: 1, ready, octopuses, named: None }
    }

    fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let end = match self.state {
                State::Ids | State::Message => 0,
                // A NUL at the start of a line between hunks can only be the mark that the format above writes: content
                // stands in hunks, whose lines are counted.
                State::Headers if self.line.is_empty() && rest[0] == 0 => {
                    self.flush();
                    self.state = State::Ids;
                    rest = &rest[1..];
                    continue;
                }
                _ => b'\n',
            };
            let (part, complete) = match rest.iter().position(|b| *b == end) {
                Some(at) => (&rest[..at], true),
                None => (rest, false),
            };
            // A line has no bound of its own: a minified file is one line of many megabytes.
            let room = limits::ADDED_BYTES.saturating_sub(self.line.len());
            let taken = part.len().min(room);
            self.line.extend_from_slice(&part[..taken]);
            rest = &rest[taken..];
            if taken < part.len() {
                self.long_line();
            } else if complete {
                rest = &rest[1..];
                self.line_ended();
            }
        }
    }

    fn end(&mut self) {
        if !self.line.is_empty() {
            self.line_ended();
        }
        self.flush();
    }

    /// A line fills the buffer: what it adds is handed over, and the line goes on.
    fn long_line(&mut self) {
        match self.state {
            State::Hunk { .. } if self.continued || self.line.first() == Some(&b'+') => {
                let from = usize::from(!self.continued);
                self.flush();
                self.first = self.next;
                self.text = self.line.split_off(from);
                self.flush();
                self.continued = true;
            }
            State::Message => {
                let line = std::mem::take(&mut self.line);
                self.message(line);
            }
            // A removed line or a header: only its first byte tells what it is.
            _ => self.line.truncate(1),
        }
        if self.continued {
            self.line.clear();
        }
    }

    fn line_ended(&mut self) {
        let line = std::mem::take(&mut self.line);
        match self.state {
            State::Ids => self.ids(&line),
            State::Message => {
                self.message(line);
                self.state = State::Headers;
            }
            State::Headers => self.header(&line),
            State::Hunk { removed, added } => self.content(&line, removed, added),
        }
    }

    fn ids(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let mut ids = text.split(' ').filter_map(|id| id.parse::<CommitId>().ok());
        self.commit = ids.next();
        let first = ids.next();
        if let (Some(commit), Some(first)) = (&self.commit, first)
            && ids.count() >= 2
        {
            self.octopuses.push((commit.clone(), first));
        }
        self.path = None;
        self.first = 1;
        self.state = State::Message;
    }

    fn header(&mut self, line: &[u8]) {
        // Only between hunks this is a header. Inside of one the same text is an added line of `++ `, which the counters of
        // the hunk tell apart.
        if let Some(name) = line.strip_prefix(b"+++ ") {
            self.flush();
            self.path = Some(path_of(name));
        } else if let Some(names) = line.strip_prefix(b"diff --git ") {
            self.flush();
            self.path = None;
            self.named = new_name(names);
        } else if line.starts_with(b"new file mode ") {
            let (name, commit) = (self.named.take(), self.commit.clone());
            if let Some((name, commit)) = name.zip(commit) {
                let (path, text) = (Some(name.clone()), name);
                self.ready.push(Added { commit, path, line: 1, text, part: AddedPart::Name });
            }
        } else if let Some((removed, start, added)) = hunk(line) {
            self.flush();
            (self.first, self.next) = (start, start);
            if removed + added > 0 {
                self.state = State::Hunk { removed, added };
            }
        }
    }

    fn content(&mut self, line: &[u8], mut removed: u64, mut added: u64) {
        if self.continued || line.first() == Some(&b'+') {
            let text = if self.continued { line } else { &line[1..] };
            if self.text.len() + text.len() > limits::ADDED_BYTES {
                self.flush();
                self.first = self.next;
            }
            self.text.extend_from_slice(text);
            self.text.push(b'\n');
            self.next += 1;
            self.continued = false;
            added = added.saturating_sub(1);
        } else if line.first() == Some(&b'-') {
            removed = removed.saturating_sub(1);
        }
        self.state = match (removed, added) {
            (0, 0) => State::Headers,
            _ => State::Hunk { removed, added },
        };
    }

    fn flush(&mut self) {
        let text = std::mem::take(&mut self.text);
        self.hand_over(text, AddedPart::Content);
        self.first = self.next;
    }

    fn message(&mut self, text: Vec<u8>) {
        self.path = None;
        self.hand_over(text, AddedPart::Message);
    }

    fn hand_over(&mut self, mut text: Vec<u8>, part: AddedPart) {
        if text.last() == Some(&b'\n') {
            text.pop();
        }
        if let Some(commit) = self.commit.clone().filter(|_| !text.is_empty()) {
            let text = String::from_utf8_lossy(&text).into_owned();
            self.ready.push(Added { commit, path: self.path.clone(), line: self.first, text, part });
        }
    }
}

/// Reads `@@ -a,b +c,d @@`: (b, c, d). Combined diffs never occur here.
fn hunk(line: &[u8]) -> Option<(u64, u64, u64)> {
    let text = line.strip_prefix(b"@@ -")?;
    let text = std::str::from_utf8(&text[..text.len().min(80)])
        .unwrap_or_else(|e| std::str::from_utf8(&text[..e.valid_up_to()]).expect("up to there it is valid"));
    let (ranges, _) = text.split_once(" @@")?;
    let (old, new) = ranges.split_once(" +")?;
    let count = |range: &str| range.split_once(',').map_or(Some(1), |(_, n)| n.parse().ok());
    let start = new.split(',').next()?.parse().ok()?;
    Some((count(old)?, start, count(new)?))
}

/// The path of a `+++` line: without the prefix, unquoted.
fn path_of(name: &[u8]) -> String {
    let name = name.strip_suffix(b"\t").unwrap_or(name);
    let bytes = match name.strip_prefix(b"\"").and_then(|n| n.strip_suffix(b"\"")) {
        Some(quoted) => unquote(quoted),
        None => name.to_vec(),
    };
    let bytes = bytes.strip_prefix(b"b/").unwrap_or(&bytes);
    String::from_utf8_lossy(bytes).into_owned()
}

/// The new name in a `diff --git` line. Without renames both names are the same, but for their prefixes.
fn new_name(names: &[u8]) -> Option<String> {
    if names.first() == Some(&b'"') {
        let at = names.windows(3).rposition(|part| part == b" \"b")?;
        return Some(path_of(&names[at + 1..]));
    }
    let half = names.len().checked_sub(1)? / 2;
    (names.get(half) == Some(&b' ')).then(|| path_of(&names[half + 1..]))
}

fn unquote(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match bytes.next() {
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'r') => b'\r',
            Some(b'a') => 7,
            Some(b'b') => 8,
            Some(b'v') => 11,
            Some(b'f') => 12,
            Some(first @ b'0'..=b'3') => [bytes.next(), bytes.next()]
                .into_iter()
                .flatten()
                .fold(first - b'0', |n, digit| n.wrapping_mul(8).wrapping_add(digit.wrapping_sub(b'0'))),
            Some(other) => other,
            None => b'\\',
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8], chunk: usize) -> Vec<(Option<String>, u64, String)> {
        let mut parser = Parser::new(None);
        for part in text.chunks(chunk) {
            parser.feed(part);
        }
        parser.end();
        parser.ready.into_iter().map(|a| (a.path, a.line, a.text)).collect()
    }

    fn sample(body: &str) -> Vec<u8> {
        format!("\0{} {}\0me\nsubject\n\0\n{body}", "a".repeat(40), "b".repeat(40)).into_bytes()
    }

    #[test]
    fn headers_inside_content_are_content() {
        let text = sample(
            "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,1 +1,3 @@ fn\n-old\n+++ b/forged\n+\0aa\n+@@ -1 +9 @@\n@@ -9,0 +20 @@\n+last\n\\ No newline at end of file\n",
        );
        for chunk in [1, 3, 4096] {
            let got = all(&text, chunk);
            assert_eq!(got[0], (None, 1, "me\nsubject".to_owned()));
            assert_eq!(got[1], (Some("x".to_owned()), 1, "++ b/forged\n\0aa\n@@ -1 +9 @@".to_owned()));
            assert_eq!(got[2], (Some("x".to_owned()), 20, "last".to_owned()));
            assert_eq!(got.len(), 3);
        }
    }

    #[test]
    fn long_lines_come_in_pieces_and_nothing_is_lost() {
        let long = "y".repeat(2 * limits::ADDED_BYTES + 17);
        let text = sample(&format!("diff --git a/x b/x\n+++ b/x\n@@ -1,1 +1,2 @@\n-{long}\n+{long}\n+z\n"));
        let got = all(&text, 50_000);
        let joined: String = got[1..].iter().map(|(_, _, t)| t.replace('\n', "")).collect();
        assert_eq!(joined, format!("{long}z"));
        assert!(got.iter().all(|(_, _, t)| t.len() <= limits::ADDED_BYTES + 1));
    }

    #[test]
    fn names_of_new_files_are_handed_over_and_those_of_changed_ones_are_not() {
        let text = sample(
            "diff --git a/x y b/x y\nnew file mode 100644\ndiff --git \"a/q\\303\\251\" \"b/q\\303\\251\"\nnew file mode 120000\n\
             diff --git a/old b/old\n--- a/old\n+++ b/old\n@@ -1,1 +1,1 @@\n-a\n+new file mode 1\n",
        );
        let mut parser = Parser::new(None);
        parser.feed(&text);
        parser.end();
        let names = parser.ready.iter().filter(|added| added.part == AddedPart::Name);
        assert_eq!(names.map(|added| added.text.as_str()).collect::<Vec<_>>(), ["x y", "qé"]);
    }

    #[test]
    fn a_stored_commit_is_handed_over_whole_whatever_its_shape() {
        let id = "a".repeat(40);
        let listed = |object: &str| format!("{id} commit {}\n{object}\n", object.len());
        let plain = format!("tree {id}\nparent {id}\nauthor A <a@b> 1 +0000\n\nsubject\n");
        let odd = format!("tree {id}\nauthor A <a@b> 1 +0000\nencoding IBM037\nx-note one\n two\n");
        let all = listed(&plain) + &listed(&odd);
        let (first, rest) = stored_commit(all.as_bytes()).unwrap();
        assert_eq!(first.text, "author A <a@b> 1 +0000\n\nsubject\n");
        let (second, rest) = stored_commit(rest).unwrap();
        assert_eq!(second.text, "author A <a@b> 1 +0000\nencoding IBM037\nx-note one\n two\n");
        assert!(rest.is_empty() && stored_commit(rest).is_none());
        assert!(stored_commit(format!("{id} missing\n").as_bytes()).is_none());
    }

    #[test]
    fn odd_paths_are_unquoted() {
        assert_eq!(path_of(b"\"b/a\\\"b\\303\\251\\n\""), "a\"b\u{e9}\n");
        assert_eq!(path_of(b"b/with space\t"), "with space");
    }
}
