//! Findings of `doctor` about the operator's own attribute files of git.

use std::path::Path;

use super::finding::{Finding, Level, finding};
use crate::sanitize;

/// Names the files that are there and cannot be read: filters that they name are not known.
pub(super) fn look(home: Option<&Path>) -> Vec<Finding> {
    let unreadable = crate::wire::git::unreadable_attribute_files(home);
    let named = unreadable.into_iter().map(|(file, why)| {
        finding(
            Level::Warn,
            "Tools",
            "D-GIT-2",
            sanitize::line(&format!("the attribute file {} cannot be read: {why}", file.display())),
            consequence(&why),
            "let the user that runs the server read it, or remove it",
        )
    });
    named.collect()
}

/// Says what becomes of agents' work: git passes an unreadable file over, and a file of this size ends what reads it.
fn consequence(why: &std::io::Error) -> &'static str {
    if why.kind() == std::io::ErrorKind::FileTooLarge {
        "agents fail when their changes are looked at for git filters"
    } else {
        "what it puts behind a git filter would be pushed as plain bytes"
    }
}
