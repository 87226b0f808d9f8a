//! Asking a remote for the tips of a few branches. `git ls-remote` makes a server list every ref that it has, which is most
//! of its time where there are thousands; version 2 of the protocol lets a client say how the names begin that it wants,
//! which git itself does only when it fetches. So the request is written here, and git carries it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

use mosaic_core::domain::ids::{BranchName, CommitId};
use mosaic_core::domain::repository::{RepositoryUrl, Transport};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::ChildStdout;

use crate::git::command::Input;
use crate::git::errors::GitError;
use crate::git::repositories::GitRepositories;
use crate::git::{errors, messages};

/// Answer of a remote about a few branches.
#[derive(Debug, Default)]
pub(crate) struct Tips {
    /// Tips of those that it has, by their full names.
    pub(crate) by_name: BTreeMap<String, CommitId>,
    /// Number of refs that it listed: all whose names begin like one that was asked for.
    pub(crate) listed: usize,
}

impl Tips {
    /// Returns the tip of a branch that was asked for, when the remote has it.
    pub(crate) fn of(&self, branch: &BranchName) -> Option<&CommitId> {
        self.by_name.get(&format!("refs/heads/{branch}"))
    }
}

/// Longest line that git's helper answers with.
const LINE_BYTES: u64 = 1024;
/// Beginning of the packet that says how objects are named.
const FORMAT: &[u8] = b"object-format=";
/// Most packets that say what a server can do.
const CAPABILITIES: usize = 100;

/// One packet of the protocol.
enum Packet {
    Line(Vec<u8>),
    /// The end of a list, or a mark in it.
    Mark,
}

impl GitRepositories {
    /// Asks a remote for these refs alone; none when it must be asked in another way.
    pub(crate) async fn listed(
        &self,
        url: &RepositoryUrl,
        names: &[String],
    ) -> Result<Option<Tips>, GitError> {
        match url.transport() {
            Transport::Local => self.listed_locally(url, names).await,
            Transport::Https => self.listed_by("remote-https", url, names).await,
            Transport::LoopbackHttp => self.listed_by("remote-http", url, names).await,
            Transport::Ssh => Ok(None),
        }
    }

    async fn listed_locally(&self, url: &RepositoryUrl, names: &[String]) -> Result<Option<Tips>, GitError> {
        let Some(path) = url.local_path() else { return Ok(None) };
        let mut call = self.git.network(&self.layout.nowhere(), url)?;
        call.env("GIT_PROTOCOL", "version=2");
        let call = call.args(["upload-pack", "--stateless-rpc", path]);
        let read = |out| async move { tips(&mut BufReader::new(out), names).await };
        let asked = call.stream(Input::Bytes(request(names, None)), read).await;
        // What is wrong with it is told by the ordinary way.
        Ok(asked.ok().filter(|(done, _)| done.status.success()).and_then(|(_, tips)| tips))
    }

    /// Asks by git's own program for an address of this kind.
    async fn listed_by(
        &self,
        helper: &str,
        url: &RepositoryUrl,
        names: &[String],
    ) -> Result<Option<Tips>, GitError> {
        let unmade = |e: io::Error| errors::io("asking the remote", e);
        let (stdin, mut to) = io::pipe().map_err(unmade)?;
        to.write_all(b"stateless-connect git-upload-pack\n").map_err(unmade)?;
        let call = self.git.network(&self.layout.nowhere(), url)?.args([helper, url.as_str(), url.as_str()]);
        let read = |out| converse(out, to, names);
        let (done, tips) = call.stream(Input::File(OwnedFd::from(stdin).into()), read).await?;
        if !done.status.success() && !messages::has_no_such_command(&done.stderr) {
            return Err(errors::remote("reading the remote", url, done.status, &done.stderr));
        }
        Ok(tips.filter(|_| done.status.success()))
    }
}

/// Talks to the helper to its end.
async fn converse(out: ChildStdout, mut to: io::PipeWriter, names: &[String]) -> io::Result<Option<Tips>> {
    let mut out = BufReader::new(out);
    let tips = connected(&mut out, &mut to, names).await;
    drop(to);
    // It still says that the answer is over, and must not find that nobody listens.
    tokio::io::copy(&mut out, &mut tokio::io::sink()).await?;
    tips
}

/// Waits until the helper is connected, asks, and reads the answer; none when the server knows no version 2.
async fn connected(
    out: &mut (impl AsyncBufRead + Unpin),
    to: &mut io::PipeWriter,
    names: &[String],
) -> io::Result<Option<Tips>> {
    let mut line = Vec::new();
    (&mut *out).take(LINE_BYTES).read_until(b'\n', &mut line).await?;
    // The helper answers with an empty line once it is connected and with `fallback` when it cannot be.
    if line != b"\n" {
        return Ok(None);
    }
    let mut format = None;
    for n in 0..CAPABILITIES {
        match packet(out).await? {
            Some(Packet::Line(line)) if n == 0 && line.trim_ascii_end() != b"version 2" => return Ok(None),
            Some(Packet::Line(line)) if line.starts_with(FORMAT) => {
                format = Some(String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
            }
            Some(Packet::Line(_)) => {}
            Some(Packet::Mark) => break,
            None => return Ok(None),
        }
    }
    // It fits into the pipe, which is empty.
    to.write_all(&request(names, format.as_deref()))?;
    tips(out, names).await
}

/// Writes the request for refs whose names begin with these, in the server's own format of object names.
fn request(names: &[String], format: Option<&str>) -> Vec<u8> {
    let line = |text: &str| format!("{:04x}{text}\n", text.len() + 5);
    let mut all = line("command=ls-refs") + &line("agent=mosaic");
    all.extend(format.map(line));
    all.push_str("0001");
    all.extend(names.iter().map(|name| line(&format!("ref-prefix {name}"))));
    all.push_str("0000");
    all.into_bytes()
}

/// Reads the answer and keeps exactly these names; none when it is no answer.
async fn tips(out: &mut (impl AsyncBufRead + Unpin), names: &[String]) -> io::Result<Option<Tips>> {
    let mut tips = Tips::default();
    loop {
        let line = match packet(out).await? {
            Some(Packet::Line(line)) => line,
            Some(Packet::Mark) => return Ok(Some(tips)),
            None => return Ok(None),
        };
        let line = String::from_utf8_lossy(&line).into_owned();
        let mut words = line.trim_end().split(' ');
        let (Some(Ok(commit)), Some(name)) = (words.next().map(str::parse), words.next()) else {
            return Ok(None);
        };
        tips.listed += 1;
        if names.iter().any(|wanted| wanted == name) {
            tips.by_name.insert(name.to_owned(), commit);
        }
    }
}

/// Reads a packet; none when the stream ends or is something else.
async fn packet(out: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Packet>> {
    let mut length = [0; 4];
    match out.read_exact(&mut length).await {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    };
    let length = std::str::from_utf8(&length).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
    let Some(length) = length else { return Ok(None) };
    let Some(length) = length.checked_sub(4) else { return Ok(Some(Packet::Mark)) };
    let mut line = vec![0; length];
    out.read_exact(&mut line).await?;
    Ok(Some(Packet::Line(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn exactly_the_names_that_were_asked_for_are_read() {
        let names = ["refs/heads/a".to_owned()];
        let (one, two) = ("1".repeat(40), "2".repeat(40));
        let line = |text: String| format!("{:04x}{text}", text.len() + 4);
        let answer = line(format!("{two} refs/heads/ab\n")) + &line(format!("{one} refs/heads/a\n")) + "0000";
        let read = tips(&mut answer.as_bytes(), &names).await.unwrap().unwrap();
        assert_eq!((read.by_name.len(), read.listed), (1, 2));
        assert_eq!(read.of(&"a".parse().unwrap()).unwrap().as_str(), one);
        for bad in [&answer[..answer.len() - 4], "", "zzzz", "000dERR hello0000"] {
            assert!(tips(&mut bad.as_bytes(), &names).await.unwrap().is_none(), "{bad}");
        }
        assert!(tips(&mut &answer.as_bytes()[..20], &names).await.is_err(), "it is cut off in a line");
    }

    #[test]
    fn a_request_is_in_packets() {
        let request = String::from_utf8(request(&["refs/heads/a".to_owned()], None)).unwrap();
        assert_eq!(request, "0014command=ls-refs\n0011agent=mosaic\n0001001cref-prefix refs/heads/a\n0000");
    }

    #[test]
    fn a_server_lists_no_ref_that_was_not_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let git = |args: &[&str]| {
            let out = std::process::Command::new("git").args(args).current_dir(dir.path()).output().unwrap();
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        };
        git(&["init", "-q", "-b", "main"]);
        git(&["-c", "user.name=a", "-c", "user.email=a@e", "commit", "-q", "--allow-empty", "-m", "x"]);
        git(&["branch", "other"]);
        let path = dir.path().join("request");
        std::fs::write(&path, super::request(&["refs/heads/main".to_owned()], None)).unwrap();
        let mut command = std::process::Command::new("git");
        command.args(["upload-pack", "--stateless-rpc", "."]).current_dir(dir.path());
        command.env("GIT_PROTOCOL", "version=2").stdin(std::fs::File::open(&path).unwrap());
        let listed = String::from_utf8(command.output().unwrap().stdout).unwrap();
        assert!(listed.contains("refs/heads/main") && !listed.contains("other"), "{listed}");
    }
}
