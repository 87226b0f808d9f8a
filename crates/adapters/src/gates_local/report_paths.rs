//! Paths that reports name, as paths of the repository: absolute ones of the checkout, those below a module's name, those
//! below a source directory that the report leaves out.

use std::path::{Path, PathBuf};

use crate::gate_reports::check_path;

/// Most names before a path that are tried off, such as those of a Go module.
const PREFIXES: usize = 16;

/// The directories that a checkout has been seen at.
#[derive(Debug, Clone)]
pub(super) struct ReportPaths {
    roots: Vec<PathBuf>,
}

impl ReportPaths {
    /// Takes the checkout on this machine, and its path as the gate's commands see it.
    pub(super) fn of(checkout: &Path, inside: &Path) -> Self {
        Self { roots: vec![checkout.to_owned(), inside.to_owned()] }
    }

    /// Returns the path within the repository of a file that a report names, or `None` when it is none of its own.
    pub(super) fn plain(&self, told: &str) -> Option<String> {
        let path = Path::new(told);
        let relative = match path.is_absolute() {
            true => self.roots.iter().find_map(|root| path.strip_prefix(root).ok())?,
            false => path,
        };
        let relative = relative.to_str()?.trim_start_matches("./");
        check_path(relative).is_ok().then(|| relative.to_owned())
    }

    /// Returns the path of a file that exists in the checkout: also that of a name with a module's in front.
    pub(super) fn existing(&self, told: &str) -> Option<String> {
        let plain = self.plain(told)?;
        let exists =
            |path: &str| self.roots[0].join(path).symlink_metadata().is_ok_and(|meta| meta.is_file());
        if exists(&plain) || Path::new(told).is_absolute() {
            return Some(plain);
        }
        let cut =
            plain.match_indices('/').take(PREFIXES).map(|(at, _)| &plain[at + 1..]).find(|path| exists(path));
        Some(cut.map_or_else(|| plain.clone(), str::to_owned))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_checkout_of_modules_and_of_elsewhere() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join("pkg")).unwrap();
        std::fs::write(home.path().join("pkg/a.go"), "").unwrap();
        let paths = ReportPaths::of(home.path(), Path::new("/neutral"));
        let absolute = home.path().join("pkg/a.go");
        for (told, wanted) in [
            (absolute.to_str().unwrap(), Some("pkg/a.go")),
            ("/neutral/src/b.c", Some("src/b.c")),
            ("./pkg/a.go", Some("pkg/a.go")),
            ("example.org/calc/pkg/a.go", Some("pkg/a.go")),
            ("gone.go", Some("gone.go")),
            ("/etc/passwd", None),
            ("../../etc/passwd", None),
        ] {
            assert_eq!(paths.existing(told).as_deref(), wanted, "{told}");
        }
    }
}
