//! lcov: which lines ran. Counted from the line records themselves, over all files, in whole numbers; a cut-off or
//! empty report is an error, so that coverage is never read from a report that says nothing.

use std::collections::BTreeMap;
use std::path::Path;

use mosaic_core::domain::gates::Finding;
use mosaic_core::limits;

use super::malformed::Malformed;
use super::path;

/// Ranges of lines named per file; the rest is counted.
const RANGES: usize = 8;

/// The content of a report about one file.
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
    files: Vec<FileCoverage>,
}

#[derive(Debug, PartialEq, Eq)]
struct FileCoverage {
    path: String,
    hit: u64,
    total: u64,
    missed: Vec<u32>,
}

/// Reads a report. Errors with a fragment that names the line.
pub(super) fn parse(bytes: &[u8]) -> Result<Coverage, Malformed> {
    let mut files: BTreeMap<String, Lines> = BTreeMap::new();
    let mut current: Option<(String, Lines)> = None;
    let mut count = 0;
    for (index, line) in bytes.split(|b| *b == b'\n').enumerate() {
        let line = String::from_utf8_lossy(line);
        let line = line.trim();
        let fault = |fault: &'static str| Err(Malformed::NoLcov { line: index + 1, fault });
        if line.is_empty() {
            continue;
        }
        if line == "end_of_record" {
            let Some((path, lines)) = current.take() else { return fault("end_of_record without SF") };
            merge(files.entry(path).or_default(), lines);
            if files.len() > limits::COVERAGE_FILES {
                return Err(Malformed::TooMuch { most: limits::COVERAGE_FILES, of: "files" });
            }
            continue;
        }
        let Some((tag, value)) = line.split_once(':') else { return fault("no record") };
        match (tag, &mut current) {
            ("SF", None) => current = Some((value.to_owned(), Lines::default())),
            ("SF", Some(_)) => return fault("SF before end_of_record"),
            ("DA" | "LF" | "LH", None) => return fault("line record outside a file"),
            ("DA", Some((_, lines))) => match line_record(value) {
                Some(record) => lines.seen.push(record),
                None => return fault("bad DA record"),
            },
            ("LF", Some((_, lines))) => match value.parse() {
                Ok(found) => lines.summary.0 = found,
                Err(_) => return fault("bad LF record"),
            },
            ("LH", Some((_, lines))) => match value.parse() {
                Ok(hit) => lines.summary.1 = hit,
                Err(_) => return fault("bad LH record"),
            },
            (tag, _) if tag.len() <= 16 && tag.bytes().all(|b| b.is_ascii_uppercase()) => {}
            _ => return fault("unknown record"),
        }
        count += usize::from(tag == "DA");
        if count > limits::COVERAGE_LINES {
            return Err(Malformed::TooMuch { most: limits::COVERAGE_LINES, of: "line records" });
        }
    }
    match current {
        Some((path, _)) => Err(Malformed::CutOff(format!("the record of {path}"))),
        None => total(files),
    }
}

/// Reads `line,count[,checksum]`. A count may be written as a real number; anything not above 0 is not a hit.
fn line_record(value: &str) -> Option<(u32, bool)> {
    let mut parts = value.split(',');
    let line = parts.next()?.trim().parse().ok().filter(|line| *line > 0)?;
    // Some tools write counts as real numbers. NaN is neither above nor below 0, so that it would be a miss in one comparison
    // and a hit in another.
    let count: f64 = parts.next()?.trim().parse().ok().filter(|count: &f64| count.is_finite())?;
    Some((line, count > 0.0))
}

fn merge(into: &mut Lines, mut more: Lines) {
    into.seen.append(&mut more.seen);
    into.summary.0 = into.summary.0.max(more.summary.0);
    into.summary.1 = into.summary.1.max(more.summary.1);
}

fn total(files: BTreeMap<String, Lines>) -> Result<Coverage, Malformed> {
    let mut coverage = Coverage { hit: 0, total: 0, files: Vec::new() };
    for (path, mut lines) in files {
        // Hits sort last within a line, and the last entry of a line decides: any test that ran it counts.
        lines.seen.sort_unstable();
        let mut missed = Vec::new();
        let (mut hit, mut all) = (0, 0);
        for (at, (line, ran)) in lines.seen.iter().enumerate() {
            if lines.seen.get(at + 1).is_some_and(|(next, _)| next == line) {
                continue;
            }
            all += 1;
            hit += u64::from(*ran);
            if !ran {
                missed.push(*line);
            }
        }
        // Line records win over the summary, which a report can state at will: only where there is none the summary counts.
        if lines.seen.is_empty() {
            (all, hit) = lines.summary;
        }
        // A report that claims more hits than lines was written by hand, and a percentage above a hundred would pass every
        // floor.
        if hit > all {
            return Err(Malformed::Contradiction { hit, all, path });
        }
        coverage.hit = coverage.hit.saturating_add(hit);
        coverage.total = coverage.total.saturating_add(all);
        coverage.files.push(FileCoverage { path, hit, total: all, missed });
    }
    match coverage.total {
        0 => Err(Malformed::Empty),
        _ => Ok(coverage),
    }
}

impl Coverage {
    /// Tells whether at least this many percent of the lines ran.
    pub(crate) fn reaches(&self, min: f64) -> bool {
        self.hit as f64 * 100.0 >= min * self.total as f64
    }

    /// Returns one line for people. The percentage is rounded down, so that 84.96 never reads as 85.
    pub(crate) fn summary(&self, min: f64) -> String {
        let tenths = u128::from(self.hit) * 1000 / u128::from(self.total.max(1));
        let percent = format!("{}.{}%", tenths / 10, tenths % 10);
        match self.reaches(min) {
            true => format!("{percent} (floor {min}%)"),
            false => format!("{percent} < {min}%"),
        }
    }

    /// Returns the files with lines that did not run, the ones with most of them first.
    pub(crate) fn findings(&self, source: &str, checkout: &Path) -> Vec<Finding> {
        let mut poor: Vec<_> = self.files.iter().filter(|file| file.hit < file.total).collect();
        poor.sort_by_key(|file| std::cmp::Reverse(file.total - file.hit));
        let finding = |file: &&FileCoverage| {
            let path = inside(&file.path, checkout);
            let shown = path.as_deref().unwrap_or(&file.path);
            let lines = if file.missed.is_empty() {
                String::new()
            } else {
                format!(": {} not run", ranges(&file.missed))
            };
            Finding {
                source: source.to_owned(),
                line: file.missed.first().map(|line| u64::from(*line)),
                message: format!("{shown} {}/{} lines{lines}", file.hit, file.total),
                path,
                secret: None,
            }
        };
        poor.iter().take(limits::FINDINGS).map(finding).collect()
    }
}

/// Returns the path within the repository, or `None` when it names something else.
fn inside(path: &str, checkout: &Path) -> Option<String> {
    // Tools write absolute paths of the checkout that they ran in; any other absolute path is none of the repository.
    let path = Path::new(path);
    let relative = if path.is_absolute() { path.strip_prefix(checkout).ok()? } else { path };
    let relative = relative.to_str()?.trim_start_matches("./");
    path::check(relative).is_ok().then(|| relative.to_owned())
}

/// Writes lines as ranges: `6-7, 9`.
fn ranges(lines: &[u32]) -> String {
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

    const STORY: &str =
        "TN:\nSF:calc.sh\nDA:2,1\nDA:5,3\nDA:6,0\nDA:7,0\nDA:9,1\nLF:5\nLH:3\nend_of_record\n";

    #[test]
    fn counts_lines_over_all_files() {
        let coverage = parse(STORY.as_bytes()).unwrap();
        assert_eq!(coverage.summary(85.0), "60.0% < 85%");
        let findings = coverage.findings("coverage", Path::new("/tree"));
        assert_eq!(findings[0].message, "calc.sh 3/5 lines: 6-7 not run");
        assert_eq!((findings[0].path.as_deref(), findings[0].line), (Some("calc.sh"), Some(6)));
        let both = parse(format!("{STORY}SF:/tree/b.sh\nDA:1,5\nend_of_record\r\n").as_bytes()).unwrap();
        assert_eq!((both.hit, both.total), (4, 6));
    }

    #[test]
    fn records_of_one_file_are_merged_by_line() {
        let text = "SF:a\nDA:1,0\nDA:2,0\nend_of_record\nSF:a\nDA:1,2\nDA:2,0\nend_of_record\n";
        let coverage = parse(text.as_bytes()).unwrap();
        assert_eq!((coverage.hit, coverage.total), (1, 2));
    }

    #[test]
    fn the_floor_is_exact_and_never_rounded_up() {
        let lines = |hit: u32, all: u32| {
            let records: String = (1..=all).map(|n| format!("DA:{n},{}\n", u32::from(n <= hit))).collect();
            parse(format!("SF:a\n{records}end_of_record\n").as_bytes()).unwrap()
        };
        assert!(lines(85, 100).reaches(85.0));
        assert_eq!(lines(8496, 10000).summary(85.0), "84.9% < 85%");
        assert_eq!(lines(100, 100).summary(85.0), "100.0% (floor 85%)");
    }

    #[test]
    fn summaries_count_only_where_there_are_no_lines() {
        let coverage =
            parse(b"SF:a\nLF:10\nLH:9\nend_of_record\nSF:b\nDA:1,0\nLF:10\nLH:10\nend_of_record\n").unwrap();
        assert_eq!((coverage.hit, coverage.total), (9, 11));
    }

    #[test]
    fn what_says_nothing_is_an_error() {
        for bad in [
            "",
            "\n\n",
            "ok",
            "100%",
            "{\"total\": 100}",
            "SF:a\nend_of_record\n",
            "SF:a\nDA:1,1\n",
            "DA:1,1\nend_of_record\n",
            "SF:a\nDA:x,1\nend_of_record\n",
            "SF:a\nDA:1,NaN\nend_of_record\n",
            "SF:a\nDA:0,1\nend_of_record\n",
            "SF:a\nLF:1\nLH:2\nend_of_record\n",
            "SF:a\nSF:b\nend_of_record\n",
            "SF:a\nLF:99999999999999999999\nend_of_record\n",
            "SF:a\nDA:1\nend_of_record\n",
            "\u{0}\u{1}:x\n",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn paths_outside_are_only_words() {
        let text = "SF:../../etc/passwd\nDA:1,0\nend_of_record\nSF:/etc/shadow\nDA:1,0\nend_of_record\nSF:./src/a.c\nDA:1,0\nend_of_record\n";
        let findings = parse(text.as_bytes()).unwrap().findings("coverage", Path::new("/tree"));
        let paths: Vec<_> = findings.iter().filter_map(|f| f.path.as_deref()).collect();
        assert_eq!((findings.len(), paths), (3, vec!["src/a.c"]));
    }

    #[test]
    fn many_ranges_are_counted() {
        let lines: Vec<u32> = (0..40).map(|n| n * 2 + 1).collect();
        assert!(ranges(&lines).ends_with("15 and 32 more ranges"));
        assert_eq!(ranges(&[1, 2, 3, 7, u32::MAX]), "1-3, 7, 4294967295");
    }
}
