//! A Lua script with its digest, by which the server knows it.

use std::sync::OnceLock;

use sha1_smol::Sha1;

/// One script.
pub(super) struct Script {
    text: &'static str,
    sha: OnceLock<String>,
}

impl Script {
    /// Names a text.
    pub(super) const fn new(text: &'static str) -> Self {
        Self { text, sha: OnceLock::new() }
    }

    /// Returns the text.
    pub(super) fn text(&self) -> &'static str {
        self.text
    }

    /// Returns the digest in hexadecimal.
    pub(super) fn sha(&self) -> &str {
        self.sha.get_or_init(|| Sha1::from(self.text).digest().to_string())
    }
}
