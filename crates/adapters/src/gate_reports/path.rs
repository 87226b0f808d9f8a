//! Paths of reports, and of files that reports name.

/// Tells whether a path names a file of the repository by plain components only. Errors with a fragment.
pub(crate) fn check(path: &str) -> Result<(), &'static str> {
    if path.is_empty() || path.len() > 1024 {
        return Err("must have 1 to 1024 bytes");
    }
    if path.starts_with('/') {
        return Err("must be relative to the repository");
    }
    if path.contains('\0') || path.split('/').any(|part| part == "..") {
        return Err("must stay inside the repository");
    }
    if path.split('/').any(|part| part.is_empty() || part == ".") {
        return Err("must not have empty parts or \".\"");
    }
    if path.split('/').any(|part| part.eq_ignore_ascii_case(".git")) {
        return Err("must not name .git");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        for good in ["junit.xml", "coverage/lcov.info", "a/b/c.xml", "..a/b"] {
            assert!(check(good).is_ok(), "{good}");
        }
        let long = "x".repeat(1025);
        for bad in ["", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a/", "a\0b", ".git/x", &long] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
