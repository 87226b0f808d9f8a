//! The meaning of git's messages: each stderr becomes a failure with a kind that decides about a retry and a text that
//! says what to do, without secrets and without control characters.

use std::io;
use std::process::ExitStatus;
use std::sync::LazyLock;

use mosaic_core::domain::ids::is_unprintable;
use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::domain::repository::RepositoryUrl;
use regex::Regex;
use thiserror::Error;

use super::messages;
use crate::error_causes::log_causes;

static USERINFO: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"://[^/\s'@]*@").expect("the pattern is a constant that a test compiles"));

/// Texts that must not be shown.
#[derive(Default, Clone)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    pub(super) fn of(texts: impl IntoIterator<Item = String>) -> Self {
        let mut texts: Vec<String> = texts.into_iter().filter(|t| t.len() > 2).collect();
        texts.sort_by_key(|t| std::cmp::Reverse(t.len()));
        Self(texts)
    }

    /// Removes secrets, the user part of URLs and control characters other than newlines.
    pub(super) fn clean(&self, text: &str) -> String {
        let mut out: String = text.chars().filter(|c| *c == '\n' || !is_unprintable(*c)).collect();
        for secret in &self.0 {
            out = out.replace(secret.as_str(), "…");
        }
        USERINFO.replace_all(&out, "://").trim().to_owned()
    }
}

/// A text from outside, made fit for one line of an error.
pub(super) fn plain(text: &str) -> String {
    Secrets::default().clean(text)
}

/// Why git, or a file of ours that git works with, did not do what was asked. Its text is free of secrets and says what to
/// do where somebody can.
#[derive(Debug, Error)]
pub(crate) enum GitError {
    /// The git program could not be started.
    #[error("the git program could not be started: {0}{hint}", hint = hint(.0))]
    NotStarted(#[source] io::Error),
    /// A file, a directory or a pipe could not be read or written.
    #[error("{what} failed: {source}")]
    Io {
        /// The step that needed it.
        what: String,
        /// The cause.
        source: io::Error,
    },
    /// A local call failed.
    #[error("{what} failed ({status}): {said}")]
    Local {
        /// The step that called.
        what: String,
        /// Its exit status.
        status: ExitStatus,
        /// Its complaints, or that there were none.
        said: String,
    },
    /// A call to the remote failed.
    #[error("{message}")]
    Remote {
        /// Meaning of git's complaints.
        kind: FailureKind,
        /// Those complaints, and what to do.
        message: String,
    },
    /// A call took longer than it may.
    #[error("{}", late_message(*is_remote, *seconds))]
    Late {
        /// It talked to a remote.
        is_remote: bool,
        /// The time that it had.
        seconds: f32,
    },
    /// The repository, the tree or the policy does not allow what was asked.
    #[error("{message}")]
    Refused {
        /// Meaning of that for the agent.
        kind: FailureKind,
        /// The reason, and what to do.
        message: String,
    },
}

impl GitError {
    /// Refuses what was asked, in words.
    pub(super) fn refused(kind: FailureKind, message: impl Into<String>) -> Self {
        Self::Refused { kind, message: message.into() }
    }

    /// Returns the kind, which decides about a retry.
    pub(crate) fn kind(&self) -> FailureKind {
        match self {
            Self::Io { source, .. } if is_full(source) => FailureKind::Disk,
            Self::Local { said, .. } if messages::is_disk_full(said) => FailureKind::Disk,
            Self::NotStarted(_) | Self::Io { .. } | Self::Local { .. } => FailureKind::Internal,
            Self::Late { is_remote: true, .. } => FailureKind::Network,
            Self::Late { is_remote: false, .. } => FailureKind::Internal,
            Self::Remote { kind, .. } | Self::Refused { kind, .. } => *kind,
        }
    }

    /// Makes the failure that the port hands out. Its text goes into records; what caused it stands in the log only.
    pub(super) fn at_edge(self) -> Failure {
        log_causes("git", &self);
        Failure::new(self.kind(), self.to_string())
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "; install git 2.38 or newer and make sure it is in PATH",
        _ => "",
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn late_message(is_remote: bool, seconds: f32) -> String {
    match is_remote {
        true => format!(
            "the git remote did not finish within {seconds} s and was given up; check that it is reachable"
        ),
        false => format!("git did not finish within {seconds} s and was ended"),
    }
}

/// An input or output error of ours while doing `what`.
pub(super) fn io(what: &str, source: io::Error) -> GitError {
    GitError::Io { what: what.to_owned(), source }
}

/// A local git call that failed.
pub(super) fn local(what: &str, status: ExitStatus, stderr: &str) -> GitError {
    GitError::Local { what: what.to_owned(), status, said: last_lines(stderr) }
}

fn last_lines(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().filter(|l| !l.trim().is_empty()).collect();
    if lines.is_empty() {
        return "git said nothing".to_owned();
    }
    lines[lines.len().saturating_sub(6)..].join("; ")
}

/// A call to the remote that failed.
pub(super) fn remote(what: &str, url: &RepositoryUrl, status: ExitStatus, stderr: &str) -> GitError {
    let kind = messages::kind(stderr);
    let said = last_lines(stderr);
    let place = plain(url.as_str());
    let message = match kind {
        FailureKind::MissingRepository => {
            format!("{what}: there is no git repository at {place}; check the address (git said: {said})")
        }
        FailureKind::RemoteAuth => format!(
            "{what}: {place} refused access; set MOSAIC_GIT_CREDENTIALS_FILE, or MOSAIC_GIT_TOKEN with MOSAIC_GIT_TOKEN_HOST={}, \
             or for ssh a loaded ssh agent and known host key (git said: {said})",
            url.host().unwrap_or("HOST")
        ),
        FailureKind::BadInput if messages::is_redirect(stderr) => {
            format!(
                "{what}: {place} redirects elsewhere, which is not followed; give the final address (git said: {said})"
            )
        }
        FailureKind::BadInput => format!("{what}: {place} may not be used (git said: {said})"),
        FailureKind::Network => format!("{what}: {place} could not be reached (git said: {said})"),
        FailureKind::RemoteBusy => format!("{what}: {place} is busy (git said: {said})"),
        _ => format!("{what}: {place} failed ({status}; git said: {said})"),
    };
    GitError::Remote { kind, message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn git_and_ssh_words_get_their_kind() {
        use FailureKind as K;
        let cases = [
            (
                "fatal: '/x' does not appear to be a git repository\nfatal: Could not read from remote repository.",
                K::MissingRepository,
            ),
            ("fatal: Authentication failed for 'https://h/x/'", K::RemoteAuth),
            ("fatal: could not read Username for 'https://h': terminal prompts disabled", K::RemoteAuth),
            ("fatal: unable to get password from user", K::RemoteAuth),
            (
                "git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.",
                K::RemoteAuth,
            ),
            ("Host key verification failed.\nfatal: Could not read from remote repository.", K::RemoteAuth),
            (
                "remote: Repository not found.\nfatal: repository 'https://h/x/' not found",
                K::MissingRepository,
            ),
            ("fatal: unable to access 'https://h/x/': Could not resolve host: h", K::Network),
            ("fatal: unable to access 'https://h/x/': The requested URL returned error: 503", K::RemoteBusy),
            ("fatal: unable to access 'https://h/x/': The requested URL returned error: 302", K::BadInput),
            ("fatal: write error: No space left on device", K::Disk),
            ("fatal: couldn't find remote ref refs/heads/x", K::MissingBranch),
            ("fatal: something new", K::Internal),
        ];
        let url: RepositoryUrl = "https://h/x".parse().unwrap();
        for (words, kind) in cases {
            assert_eq!(remote("fetch", &url, ExitStatus::from_raw(128 << 8), words).kind(), kind, "{words}");
        }
    }

    #[test]
    fn a_full_disk_is_told_by_its_kind_wherever_it_is_met() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let status = ExitStatus::from_raw(128 << 8);
        let said = "error: one\nfatal: No space left on device\n";
        assert_eq!(io("keeping a ref", full()).kind(), FailureKind::Disk);
        assert_eq!(local("packing", status, said).kind(), FailureKind::Disk);
        let other = io("keeping a ref", io::ErrorKind::PermissionDenied.into());
        assert_eq!(other.kind(), FailureKind::Internal);
        let failure = other.at_edge();
        assert_eq!(failure.message, "keeping a ref failed: permission denied");
    }

    #[test]
    fn user_parts_secrets_and_control_characters_are_removed() {
        let secrets = Secrets::of(["hunter22".to_owned(), String::new()]);
        assert_eq!(secrets.clean("a\u{1b}[31m https://u:p@h/x hunter22\u{202e}\n"), "a[31m https://h/x …");
    }
}
