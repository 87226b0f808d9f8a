//! Local repositories under one name.

use std::path::{Path, PathBuf};

/// The path of a local repository in one form, so that `x`, `x/` and `x/.git` are the same.
pub(super) fn local_form(path: &Path) -> PathBuf {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    match path.file_name() {
        Some(name) if name == ".git" => path.parent().unwrap_or(&path).to_owned(),
        _ => path,
    }
}
