//! The author of commits that agents and gates make in repositories that name none: a test that commits in a scratch
//! repository must not fail because a new home knows nobody. It is git's weakest setting, so that every other one wins.

use std::io;
use std::path::Path;

use crate::git::config_value;
use crate::private_place::PrivatePlace;

/// Name and mail address of an author.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name.
    pub name: String,
    /// The mail address.
    pub email: String,
}

impl Identity {
    /// Writes it into the home directory, unless something has the file's name already.
    pub(crate) fn write(&self, home: &Path) -> io::Result<()> {
        if home.join(".gitconfig").symlink_metadata().is_ok() {
            return Ok(());
        }
        let (name, email) = (config_value(&self.name), config_value(&self.email));
        let text = format!("[user]\n\tname = {name}\n\temail = {email}\n");
        PrivatePlace::open(&home.canonicalize()?)?.replace(".gitconfig", text.as_bytes())
    }
}
