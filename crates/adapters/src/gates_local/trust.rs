//! Trust: whether a repository's commands may be run. It is given to the exact content of its definitions, so that a changed
//! command, written down or detected, is a new question.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use mosaic_core::limits;
use sha2::{Digest, Sha256};

use crate::bounded_file;

/// Which repositories' commands are run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// All: whoever may spawn agents vouches for the base commit.
    All,
    /// Those whose definitions have their digest in this file, one per line; `#` starts a comment. A file
    /// that is missing trusts nothing.
    Known(PathBuf),
}

impl Trust {
    /// Tells whether the definitions of this digest may be run. Errors when the list exists and cannot be read.
    pub(super) fn allows(&self, digest: &str) -> io::Result<bool> {
        match self {
            Self::All => Ok(true),
            Self::Known(file) => lists(file, digest),
        }
    }
}

/// Returns the digest that stands for a configuration: SHA-256 of its bytes in lower-case hexadecimal.
pub fn config_digest(bytes: impl AsRef<[u8]>) -> String {
    base16ct::lower::encode_string(&Sha256::digest(bytes.as_ref()))
}

/// Trusts a configuration from now on: adds its digest to the list, which is made with its directory when it is
/// missing (readable by its owner only). Does nothing when the digest is listed. Errors with the operating
/// system's words, or `InvalidInput` when the text is no digest.
pub fn trust(file: &Path, digest: &str) -> io::Result<()> {
    // The list is a file of lines: a digest with a line break in it would trust something else.
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if digest.len() != 64 || !digest.bytes().all(hex) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a SHA-256 digest in lower-case hexadecimal",
        ));
    }
    if lists(file, digest)? {
        return Ok(());
    }
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut list = fs::OpenOptions::new().append(true).create(true).mode(0o600).open(file)?;
    // One write, line break first: neither an earlier line without its end nor another writer can spoil it.
    list.write_all(format!("\n{digest}\n").as_bytes())?;
    list.sync_all()
}

fn lists(file: &Path, digest: &str) -> io::Result<bool> {
    let list = match bounded_file::open_linked(file) {
        Ok(list) => list,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    list.take(limits::TRUST_FILE_BYTES).read_to_string(&mut text)?;
    let first_word = |line: &str| line.split('#').next().unwrap_or_default().trim() == digest;
    Ok(text.lines().any(first_word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_is_given_to_exact_content() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("state/trusted");
        let known = Trust::Known(file.clone());
        assert!(!known.allows(&config_digest(b"[gates]\n")).unwrap());
        trust(&file, &config_digest(b"[gates]\n")).unwrap();
        trust(&file, &config_digest(b"[gates]\n")).unwrap();
        assert!(known.allows(&config_digest(b"[gates]\n")).unwrap());
        assert!(!known.allows(&config_digest(b"[gates]\n\n")).unwrap());
        assert_eq!(fs::read_to_string(&file).unwrap().lines().filter(|l| !l.is_empty()).count(), 1);
        assert!(trust(&file, "*").is_err());
    }

    #[test]
    fn a_line_without_its_end_and_comments_do_no_harm() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("trusted");
        let (a, b) = (config_digest(b"a"), config_digest(b"b"));
        fs::write(&file, format!("# mine\n{a} # project a")).unwrap();
        trust(&file, &b).unwrap();
        for digest in [a, b] {
            assert!(Trust::Known(file.clone()).allows(&digest).unwrap());
        }
    }

    #[test]
    fn a_list_that_cannot_be_read_is_an_error() {
        let home = tempfile::tempdir().unwrap();
        assert!(Trust::Known(home.path().to_owned()).allows(&config_digest(b"a")).is_err());
    }
}
