//! Lines that ran, in the form that gates are judged by: collected file by file and line by line, counted over all files in
//! whole numbers.
//!
//! Always true: a line that several records name counts once, and ran when any of them says so; and a report without a line
//! that could run is an error, so that coverage is never read from a report that says nothing.

use std::collections::BTreeMap;

use mosaic_core::limits;

use super::malformed::Malformed;

/// Ranges of lines named per file; the rest is counted.
const RANGES: usize = 8;

/// Records about one file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Lines {
    /// Line and whether it ran, as they came; a line may come more than once.
    seen: Vec<(u32, bool)>,
    /// Lines found and hit by summary only, for reports without line records.
    summary: (u64, u64),
}

/// The content of a report.
#[derive(Debug, PartialEq)]
pub(crate) struct Coverage {
    /// Lines that ran.
    pub(crate) hit: u64,
    /// Lines that could run.
    pub(crate) total: u64,
    /// The files, by their paths.
    pub(crate) files: Vec<FileCoverage>,
}

/// The lines of one file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FileCoverage {
    /// Path as the report has it.
    pub(crate) path: String,
    /// Lines that ran.
    pub(crate) hit: u64,
    /// Lines that could run.
    pub(crate) total: u64,
    /// Each line that could run, in order, and whether it ran. Empty where the report has only numbers.
    pub(crate) lines: Vec<(u32, bool)>,
}

/// Collects line records.
#[derive(Debug, Default)]
pub(super) struct LineCollector {
    files: BTreeMap<String, Lines>,
    records: usize,
}

impl LineCollector {
    /// Adds a line that could run.
    pub(super) fn line(&mut self, path: &str, line: u32, ran: bool) -> Result<(), Malformed> {
        self.records += 1;
        if self.records > limits::COVERAGE_LINES {
            return Err(Malformed::TooMuch { most: limits::COVERAGE_LINES, of: "line records" });
        }
        // Line 0 names no line; some tools write it for code that they made themselves.
        if line > 0 {
            self.file(path)?.seen.push((line, ran));
        }
        Ok(())
    }

    /// Adds the numbers of a file, which count where no line of it is named.
    pub(super) fn summary(&mut self, path: &str, total: u64, hit: u64) -> Result<(), Malformed> {
        let summary = &mut self.file(path)?.summary;
        *summary = (summary.0.max(total), summary.1.max(hit));
        Ok(())
    }

    fn file(&mut self, path: &str) -> Result<&mut Lines, Malformed> {
        // Looked up before it is inserted: a report names a file once for each of its lines.
        if !self.files.contains_key(path) {
            if self.files.len() >= limits::COVERAGE_FILES {
                return Err(Malformed::TooMuch { most: limits::COVERAGE_FILES, of: "files" });
            }
            self.files.insert(path.to_owned(), Lines::default());
        }
        Ok(self.files.get_mut(path).expect("it was inserted above"))
    }

    /// Counts. Errors when no line could run, or more lines ran than could.
    pub(super) fn finish(self) -> Result<Coverage, Malformed> {
        let mut coverage = Coverage { hit: 0, total: 0, files: Vec::new() };
        for (path, lines) in self.files {
            let file = counted(path, lines);
            // A report that claims more hits than lines was written by hand, and a percentage above a hundred would pass every
            // floor.
            if file.hit > file.total {
                return Err(Malformed::Contradiction { hit: file.hit, all: file.total, path: file.path });
            }
            coverage.hit = coverage.hit.saturating_add(file.hit);
            coverage.total = coverage.total.saturating_add(file.total);
            coverage.files.push(file);
        }
        match coverage.total {
            0 => Err(Malformed::Empty),
            _ => Ok(coverage),
        }
    }
}

fn counted(path: String, mut records: Lines) -> FileCoverage {
    // Hits sort last within a line, and the last entry of a line decides: any test that ran it counts.
    records.seen.sort_unstable();
    let mut lines: Vec<(u32, bool)> = Vec::new();
    for (line, ran) in records.seen {
        match lines.last_mut() {
            Some((last, known)) if *last == line => *known = ran,
            _ => lines.push((line, ran)),
        }
    }
    // Line records win over the summary, which a report can state at will: only where there is none the summary counts.
    let (total, hit) = match lines.is_empty() {
        true => records.summary,
        false => (lines.len() as u64, lines.iter().filter(|(_, ran)| *ran).count() as u64),
    };
    FileCoverage { path, hit, total, lines }
}

impl FileCoverage {
    /// Returns the lines that did not run, in order.
    pub(crate) fn missed(&self) -> impl Iterator<Item = u32> {
        self.lines.iter().filter(|(_, ran)| !ran).map(|(line, _)| *line)
    }

    /// Returns one line for people about what did not run; the path is that in the repository, when it is known.
    pub(crate) fn told(&self, shown: &str) -> String {
        let missed: Vec<u32> = self.missed().collect();
        let lines = if missed.is_empty() { String::new() } else { format!(": {} not run", ranges(&missed)) };
        format!("{shown} {}/{} lines{lines}", self.hit, self.total)
    }
}

impl Coverage {
    /// Tells whether at least this many percent of the lines ran.
    pub(crate) fn reaches(&self, min: f64) -> bool {
        reaches(self.hit, self.total, min)
    }

    /// Returns one line for people. The percentage is rounded down, so that 84.96 never reads as 85.
    pub(crate) fn summary(&self, min: f64) -> String {
        summary(self.hit, self.total, min)
    }

    /// Returns the files with lines that did not run, the ones with most of them first.
    pub(crate) fn poor(&self) -> Vec<&FileCoverage> {
        let mut poor: Vec<_> = self.files.iter().filter(|file| file.hit < file.total).collect();
        poor.sort_by_key(|file| std::cmp::Reverse(file.total - file.hit));
        poor
    }
}

/// Tells whether at least this many percent of the lines ran.
pub(crate) fn reaches(hit: u64, total: u64, min: f64) -> bool {
    hit as f64 * 100.0 >= min * total as f64
}

/// Returns the percentage in tenths, rounded down.
pub(crate) fn tenths(hit: u64, total: u64) -> u64 {
    u64::try_from(u128::from(hit) * 1000 / u128::from(total.max(1))).unwrap_or(u64::MAX)
}

/// Returns one line for people about a share and its floor.
pub(crate) fn summary(hit: u64, total: u64, min: f64) -> String {
    let tenths = tenths(hit, total);
    let percent = format!("{}.{}%", tenths / 10, tenths % 10);
    match reaches(hit, total, min) {
        true => format!("{percent} (floor {min}%)"),
        false => format!("{percent} < {min}%"),
    }
}

/// Writes lines as ranges: `6-7, 9`.
pub(crate) fn ranges(lines: &[u32]) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for line in lines {
        match runs.last_mut() {
            Some((_, end)) if end.checked_add(1) == Some(*line) => *end = *line,
            _ => runs.push((*line, *line)),
        }
    }
    let shown =
        runs.iter().take(RANGES).map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") });
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if runs.len() > RANGES {
        text += &format!(" and {} more ranges", runs.len() - RANGES);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_exact_and_never_rounded_up() {
        assert!(reaches(85, 100, 85.0));
        assert_eq!(summary(8496, 10000, 85.0), "84.9% < 85%");
        assert_eq!(summary(100, 100, 85.0), "100.0% (floor 85%)");
    }

    #[test]
    fn a_line_counts_once_and_ran_when_any_record_says_so() {
        let mut lines = LineCollector::default();
        for (line, ran) in [(1, false), (2, false), (1, true), (1, false), (0, true)] {
            lines.line("a", line, ran).unwrap();
        }
        lines.summary("a", 10, 10).unwrap();
        let coverage = lines.finish().unwrap();
        assert_eq!((coverage.hit, coverage.total), (1, 2));
        assert_eq!(coverage.files[0].told("a"), "a 1/2 lines: 2 not run");
    }

    #[test]
    fn what_says_nothing_or_too_much_is_an_error() {
        assert!(matches!(LineCollector::default().finish(), Err(Malformed::Empty)));
        let mut lines = LineCollector::default();
        lines.summary("a", 1, 2).unwrap();
        assert!(matches!(lines.finish(), Err(Malformed::Contradiction { .. })));
    }

    #[test]
    fn many_ranges_are_counted() {
        let lines: Vec<u32> = (0..40).map(|n| n * 2 + 1).collect();
        assert!(ranges(&lines).ends_with("15 and 32 more ranges"));
        assert_eq!(ranges(&[1, 2, 3, 7, u32::MAX]), "1-3, 7, 4294967295");
    }
}
