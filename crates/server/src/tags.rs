//! Entity tags: whether a caller knows already what it asks for.

use axum::http::HeaderMap;
use axum::http::header::IF_NONE_MATCH;

/// Tells whether the caller has what this tag stands for. Tags are compared weakly.
pub(crate) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let bare = tag.trim_start_matches("W/");
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    known.flat_map(|v| v.split(',')).map(str::trim).any(|t| t == "*" || t.trim_start_matches("W/") == bare)
}
