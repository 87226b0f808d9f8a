//! The shape that all lists have, as a client reads them.

use serde::Deserialize;

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    /// Its items.
    pub items: Vec<T>,
    /// Cursor of the next page; null at the end.
    pub next_cursor: Option<String>,
}
