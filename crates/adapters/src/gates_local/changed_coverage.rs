//! Coverage of the lines that a commit changes.

use std::collections::HashMap;

use mosaic_core::domain::changed_lines::ChangedLines;

use super::report_paths::ReportPaths;
use crate::gate_reports::{Coverage, FileCoverage};

/// Statement of a report about the changed lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChangedCoverage {
    /// So many of so many changed lines that could run did.
    Known {
        /// Lines that ran.
        hit: u64,
        /// Lines that could run.
        total: u64,
    },
    /// No changed line could run.
    Nothing,
    /// The report has no lines of a file that was changed, only their number.
    Unknown,
}

/// Counts the changed lines that could run and did.
pub(super) fn count(coverage: &Coverage, changed: &[ChangedLines], paths: &ReportPaths) -> ChangedCoverage {
    // By their names without directories, or a commit of many files would be compared with each file of the report.
    let mut files: HashMap<String, Vec<(String, &FileCoverage)>> = HashMap::new();
    for file in &coverage.files {
        if let Some(path) = paths.plain(&file.path) {
            files.entry(name(&path).to_owned()).or_default().push((path, file));
        }
    }
    let (mut hit, mut total) = (0, 0);
    for change in changed {
        let named = files.get(name(&change.path)).map(Vec::as_slice).unwrap_or_default();
        let Some(file) = find(named, &change.path) else { continue };
        if file.lines.is_empty() && file.total > 0 {
            return ChangedCoverage::Unknown;
        }
        for (first, last) in &change.ranges {
            let from = file.lines.partition_point(|(line, _)| u64::from(*line) < *first);
            let on = file.lines[from..].iter().take_while(|(line, _)| u64::from(*line) <= *last);
            for (_, ran) in on {
                total += 1;
                hit += u64::from(*ran);
            }
        }
    }
    if total == 0 { ChangedCoverage::Nothing } else { ChangedCoverage::Known { hit, total } }
}

fn name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// Finds the lines of a file. Where no report's path is the file's own, one of the two ends with the other: Go puts the
/// module in front, JaCoCo leaves the source directory out.
fn find<'a>(files: &[(String, &'a FileCoverage)], path: &str) -> Option<&'a FileCoverage> {
    let ends = |long: &str, short: &str| {
        long.strip_suffix(short).is_some_and(|front| front.ends_with('/')) && !short.is_empty()
    };
    let exact = files.iter().find(|(own, _)| own == path);
    let longer = || files.iter().filter(|(own, _)| ends(own, path)).min_by_key(|(own, _)| own.len());
    let shorter = || files.iter().filter(|(own, _)| ends(path, own)).max_by_key(|(own, _)| own.len());
    exact.or_else(longer).or_else(shorter).map(|(_, file)| *file)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn file(path: &str, lines: &[(u32, bool)]) -> FileCoverage {
        let hit = lines.iter().filter(|(_, ran)| *ran).count() as u64;
        FileCoverage { path: path.to_owned(), hit, total: lines.len() as u64, lines: lines.to_vec() }
    }

    fn counted(files: Vec<FileCoverage>, changed: &[(&str, &[(u64, u64)])]) -> ChangedCoverage {
        let changed: Vec<_> = changed
            .iter()
            .map(|(path, ranges)| ChangedLines { path: (*path).to_owned(), ranges: ranges.to_vec() })
            .collect();
        let paths = ReportPaths::of(Path::new("/tree"), Path::new("/inside"));
        count(&Coverage { hit: 0, total: 0, files }, &changed, &paths)
    }

    #[test]
    fn changed_lines_that_could_run_are_counted() {
        let lines = [(1, true), (3, true), (4, false), (9, true)];
        let known = |hit, total| ChangedCoverage::Known { hit, total };
        assert_eq!(counted(vec![file("/tree/src/a.rs", &lines)], &[("src/a.rs", &[(3, 5)])]), known(1, 2));
        assert_eq!(
            counted(vec![file("/inside/src/a.rs", &lines)], &[("src/a.rs", &[(1, 2), (9, 9)])]),
            known(2, 2)
        );
        assert_eq!(
            counted(vec![file("src/a.rs", &lines)], &[("src/a.rs", &[(5, 8)]), ("README.md", &[(1, 9)])]),
            ChangedCoverage::Nothing
        );
    }

    #[test]
    fn modules_in_front_and_source_directories_left_out_are_matched() {
        let known = |hit, total| ChangedCoverage::Known { hit, total };
        let go = || {
            vec![
                file("example.org/calc/calc.go", &[(1, true)]),
                file("example.org/calc/sub/calc.go", &[(1, false)]),
            ]
        };
        assert_eq!(counted(go(), &[("calc.go", &[(1, 1)])]), known(1, 1));
        assert_eq!(counted(go(), &[("sub/calc.go", &[(1, 1)])]), known(0, 1));
        let java = vec![file("org/calc/Calc.java", &[(1, true)])];
        assert_eq!(counted(java, &[("src/main/java/org/calc/Calc.java", &[(1, 1)])]), known(1, 1));
    }

    #[test]
    fn numbers_without_lines_say_nothing_about_changed_ones() {
        let summary = FileCoverage { hit: 3, total: 4, ..file("a.js", &[]) };
        assert_eq!(counted(vec![summary], &[("a.js", &[(1, 1)])]), ChangedCoverage::Unknown);
    }
}
