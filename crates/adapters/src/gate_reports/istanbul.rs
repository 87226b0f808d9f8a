//! istanbul's `coverage-summary.json` (`json-summary` of c8, nyc, jest and vitest) and `coverage-final.json`.
//!
//! The summary has numbers only, so that nothing is known about single lines; statements in it are no lines and are not read.

use std::collections::BTreeMap;

use mosaic_core::limits;
use serde::Deserialize;
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};

use super::coverage::{Coverage, LineCollector};
use super::json::{self, Fields};
use super::malformed::Malformed;

/// Reads a report.
pub(super) fn parse(bytes: &[u8]) -> Result<Coverage, Malformed> {
    let mut report = Report::default();
    json::document(bytes, &mut report)?;
    match report.files {
        0 => Err(Malformed::NotOfFormat("istanbul report (no file with \"lines\" or \"statementMap\")")),
        _ => report.lines.finish(),
    }
}

#[derive(Default)]
struct Report {
    lines: LineCollector,
    files: usize,
}

/// One file in either of the two forms.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    /// Of the summary.
    lines: Option<Summary>,
    /// Of the full report: places of the statements by their numbers.
    statement_map: Option<Statements>,
    /// Number of runs of each.
    s: Option<Counts>,
}

#[derive(Deserialize)]
struct Summary {
    total: u64,
    covered: u64,
}

/// First line of each statement.
#[derive(Default)]
struct Statements(BTreeMap<u32, u32>);

#[derive(Default)]
struct Counts(BTreeMap<u32, f64>);

#[derive(Deserialize)]
struct Place {
    start: Position,
}

#[derive(Deserialize)]
struct Position {
    line: Option<u32>,
}

/// Bounded maps from the numbers of statements.
macro_rules! by_number {
    ($map:ident, $value:ty, $of:expr) => {
        impl<'de> Deserialize<'de> for $map {
            fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
                struct Reader;
                impl<'de> Visitor<'de> for Reader {
                    type Value = $map;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object by the numbers of statements")
                    }
                    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<$map, M::Error> {
                        let mut found = $map::default();
                        while let Some((key, value)) = map.next_entry::<u32, $value>()? {
                            found.0.insert(key, $of(value));
                            if found.0.len() > limits::COVERAGE_LINES {
                                let most = limits::COVERAGE_LINES;
                                return Err(Error::custom(Malformed::TooMuch { most, of: "statements" }));
                            }
                        }
                        Ok(found)
                    }
                }
                reader.deserialize_map(Reader)
            }
        }
    };
}

by_number!(Statements, Place, |place: Place| place.start.line.unwrap_or(0));
by_number!(Counts, f64, |count| count);

impl Fields for Report {
    fn field<'de, M: MapAccess<'de>>(&mut self, path: &str, map: &mut M) -> Result<(), M::Error> {
        // The totals repeat the files, and could be set to anything.
        if path == "total" {
            return map.next_value::<IgnoredAny>().map(drop);
        }
        let file: File = map.next_value()?;
        match (file.lines, file.statement_map.zip(file.s)) {
            (_, Some((statements, counts))) => {
                for (number, line) in statements.0 {
                    let ran = counts.0.get(&number).is_some_and(|count| *count > 0.0);
                    self.lines.line(path, line, ran).map_err(Error::custom)?;
                }
            }
            (Some(summary), None) => {
                self.lines.summary(path, summary.total, summary.covered).map_err(Error::custom)?;
            }
            (None, None) => {
                return Err(Error::custom("a file has neither \"lines\" nor \"statementMap\" with \"s\""));
            }
        }
        self.files += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_counts_the_lines_of_its_files() {
        let text = r#"{"total": {"lines": {"total": 99, "covered": 99, "skipped": 0, "pct": 100}},
            "/tree/src/a.js": {"lines": {"total": 4, "covered": 3, "skipped": 0, "pct": 75}, "statements": {"total": 9, "covered": 9}},
            "/tree/src/b.js": {"lines": {"total": 0, "covered": 0, "skipped": 0, "pct": "Unknown"}}}"#;
        let coverage = parse(text.as_bytes()).unwrap();
        assert_eq!((coverage.hit, coverage.total), (3, 4));
        assert!(coverage.files[0].lines.is_empty());
    }

    #[test]
    fn a_line_of_the_full_report_ran_when_any_statement_that_begins_there_did() {
        let text = r#"{"/tree/a.js": {"path": "/tree/a.js", "statementMap": {"0": {"start": {"line": 1, "column": 0}, "end": {"line": 4, "column": 1}},
            "1": {"start": {"line": 2, "column": 2}, "end": {"line": 2, "column": 9}}, "2": {"start": {"line": 2, "column": 11}, "end": {"line": 2, "column": 19}},
            "3": {"start": {"line": 3, "column": 2}, "end": {"line": 3, "column": 9}}}, "fnMap": {}, "branchMap": {}, "s": {"0": 1, "1": 0, "2": 3, "3": 0}, "f": {}, "b": {}}}"#;
        let coverage = parse(text.as_bytes()).unwrap();
        assert_eq!((coverage.hit, coverage.total), (2, 3));
    }

    #[test]
    fn what_says_nothing_is_an_error() {
        for bad in [
            "{}",
            "{\"total\": {\"lines\": {\"total\": 1, \"covered\": 1}}}",
            "{\"a\": {\"statements\": {\"total\": 1, \"covered\": 1}}}",
            "{\"a\": {\"lines\": {\"total\": 1, \"covered\": 2}}}",
            "[]",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
