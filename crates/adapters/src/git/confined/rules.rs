//! Which paths the tree's own rules leave out. git is asked, but never shown the agent's tree: the files that hold
//! rules are copied into a tree made here, where `git check-ignore` reads them as it goes from directory to directory.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use mosaic_core::limits;

use super::program::Git;
use crate::git::handles;

/// Bytes of questions put at once, which fit into a pipe while it is empty.
const BATCH: usize = 16 * 1024;
/// Longest path that git is asked about, in bytes.
const LONGEST: usize = 4000;

/// A path in the tree's root. git keeps the rules of the directory that it was asked about last, and would not read those
/// that are placed in it only afterwards; this question makes it leave that directory.
const ROOT: &[u8] = b"./.\x01\0";

/// The rules of one tree.
pub(super) struct Rules {
    git: Git,
    /// The tree made here: directories with files of rules.
    pub(super) tree: PathBuf,
    asked: Option<Asked>,
    /// A file of attributes was found.
    pub(super) has_attributes: bool,
    /// Paths of the files with ignore rules.
    pub(super) ignore_files: Vec<Vec<u8>>,
}

/// Verdict of the rules on a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It belongs to the commit.
    In,
    /// The tree's rules leave it out.
    Out,
    /// A rule leaves it out that stands in the agent's own git directory, which nobody else ever sees.
    Hidden,
}

/// A git that answers.
struct Asked {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Rules {
    /// Rules in a tree of this name, which is made in the git directory.
    pub(super) fn new(git: &Git, name: &str) -> io::Result<Self> {
        let tree = git.dir.join(name);
        fs::create_dir(&tree)?;
        Ok(Self { git: git.clone(), tree, asked: None, has_attributes: false, ignore_files: Vec::new() })
    }

    /// Copies the rules that stand in a directory, before anything in it is asked about.
    pub(super) fn enter(&mut self, dir: &OwnedFd, below: &[u8]) -> io::Result<()> {
        for name in [".gitignore", ".gitattributes"] {
            // What is no plain file git would not obey either.
            let Ok(text) = handles::read_plain(dir, name.as_bytes(), limits::RULES_BYTES) else { continue };
            let path = [below, name.as_bytes()].concat();
            self.place(&path, |at| fs::write(at, &text))?;
            match name {
                ".gitattributes" => self.has_attributes = true,
                _ => self.ignore_files.push(path),
            }
        }
        Ok(())
    }

    /// Makes something in the tree made here; a path too long for it has no rules.
    pub(super) fn place(&self, path: &[u8], make: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
        if path.len() > LONGEST / 2 {
            return Ok(());
        }
        let at = self.tree.join(std::ffi::OsStr::from_bytes(path));
        fs::create_dir_all(at.parent().unwrap_or(&self.tree))?;
        make(&at)
    }

    /// Returns where a file of rules was copied to.
    pub(super) fn placed(&self, path: &[u8]) -> Option<PathBuf> {
        (path.len() <= LONGEST / 2).then(|| self.tree.join(std::ffi::OsStr::from_bytes(path)))
    }

    /// Tells of each path whether it is left out; directories end with a slash. What cannot be asked is not left out.
    pub(super) fn leave_out(&mut self, paths: &[Vec<u8>]) -> Vec<Verdict> {
        let mut verdicts = Vec::with_capacity(paths.len());
        let mut batch = Vec::new();
        let mut asked = 0;
        for path in paths {
            if path.len() > LONGEST {
                self.settle(&mut batch, &mut asked, &mut verdicts);
                verdicts.push(Verdict::In);
                continue;
            }
            if batch.len() + path.len() + 3 + ROOT.len() > BATCH {
                self.settle(&mut batch, &mut asked, &mut verdicts);
            }
            batch.extend_from_slice(b"./");
            batch.extend_from_slice(path);
            batch.push(0);
            asked += 1;
        }
        self.settle(&mut batch, &mut asked, &mut verdicts);
        verdicts
    }

    fn settle(&mut self, batch: &mut Vec<u8>, asked: &mut usize, verdicts: &mut Vec<Verdict>) {
        if *asked > 0 {
            let answers = self.ask(batch, *asked).unwrap_or_else(|why| {
                eprintln!("the ignore rules could not be asked: {why}");
                self.asked = None;
                // A path about which nothing is known belongs to the commit: too much in it is seen, too little is lost.
                vec![Verdict::In; *asked]
            });
            verdicts.extend(answers);
        }
        batch.clear();
        *asked = 0;
    }

    fn ask(&mut self, batch: &[u8], count: usize) -> io::Result<Vec<Verdict>> {
        if self.asked.is_none() {
            self.asked = Some(Asked::start(&self.git, &self.tree)?);
        }
        let asked = self.asked.as_mut().expect("it was just started");
        asked.stdin.write_all(batch)?;
        asked.stdin.write_all(ROOT)?;
        asked.stdin.flush()?;
        // git answers each question as it reads it and flushes at the end of a batch; a batch is smaller than a pipe, so that
        // neither side waits for the other.
        let answers = (0..count).map(|_| asked.answer()).collect();
        asked.answer()?;
        answers
    }
}

impl Asked {
    fn start(git: &Git, tree: &Path) -> io::Result<Self> {
        let mut command = git.command(["check-ignore", "-z", "-v", "-n", "--stdin", "--no-index"]);
        // It refuses to be told that paths are no patterns; what begins with a dot is none.
        command.env_remove("GIT_LITERAL_PATHSPECS").env("GIT_WORK_TREE", tree).current_dir(tree);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take().expect("stdin was piped");
        let stdout = BufReader::new(child.stdout.take().expect("stdout was piped"));
        Ok(Self { child, stdin, stdout })
    }

    /// Reads one answer: the file of the rule, its line, the rule, the path. A rule that begins with `!` takes in.
    fn answer(&mut self) -> io::Result<Verdict> {
        let mut fields: [Vec<u8>; 4] = Default::default();
        for field in &mut fields {
            if self.stdout.read_until(0, field)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        // Each ends with its zero byte.
        let [source, _, rule, _] = fields;
        Ok(match source.as_slice() {
            [] | [_] => Verdict::In,
            _ if rule.starts_with(b"!") => Verdict::In,
            source if source.ends_with(b"info/exclude\0") => Verdict::Hidden,
            _ => Verdict::Out,
        })
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        // It only reads questions; it is of no use any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
