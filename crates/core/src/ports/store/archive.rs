//! Records on their way into the archive of a node.

use super::records::Versioned;

/// A record on its way to an archive.
#[derive(Debug, Clone, PartialEq)]
pub struct Moving {
    /// The whole record, of an agent that has ended.
    pub record: Versioned,
    /// Lines about its life that the store has besides the record, oldest first.
    pub history: Vec<String>,
}
