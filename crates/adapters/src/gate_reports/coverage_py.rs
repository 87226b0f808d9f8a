//! `coverage json` of coverage.py: executed and missing lines of each file; excluded ones are neither.

use mosaic_core::limits;
use serde::Deserialize;
use serde::de::{Error, MapAccess};

use super::coverage::{Coverage, LineCollector};
use super::json::{self, AtMost, Fields, Object};
use super::malformed::Malformed;

/// Reads a report.
pub(super) fn parse(bytes: &[u8]) -> Result<Coverage, Malformed> {
    let mut report = Report::default();
    json::document(bytes, &mut report)?;
    match report.files {
        true => report.lines.finish(),
        false => Err(Malformed::NotOfFormat("coverage.py report (no \"files\")")),
    }
}

#[derive(Default)]
struct Report {
    lines: LineCollector,
    files: bool,
}

/// The files by their paths.
struct Files<'a>(&'a mut LineCollector);

#[derive(Deserialize)]
struct File {
    executed_lines: AtMost<u32, { limits::COVERAGE_LINES }>,
    missing_lines: AtMost<u32, { limits::COVERAGE_LINES }>,
}

impl Fields for Report {
    fn field<'de, M: MapAccess<'de>>(&mut self, key: &str, map: &mut M) -> Result<(), M::Error> {
        match key {
            "files" => {
                self.files = true;
                map.next_value_seed(Object(&mut Files(&mut self.lines)))
            }
            _ => json::skip(map),
        }
    }
}

impl Fields for Files<'_> {
    fn field<'de, M: MapAccess<'de>>(&mut self, path: &str, map: &mut M) -> Result<(), M::Error> {
        let file: File = map.next_value()?;
        for (lines, ran) in [(file.executed_lines, true), (file.missing_lines, false)] {
            for line in lines.0 {
                self.0.line(path, line, ran).map_err(Error::custom)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r#"{"meta": {"format": 3, "version": "7.6.1", "branch_coverage": false}, "files": {
        "src/calc.py": {"executed_lines": [1, 2, 4], "missing_lines": [5], "excluded_lines": [9, 10],
          "summary": {"covered_lines": 9, "num_statements": 9, "percent_covered": 100.0}, "functions": {}},
        "src/empty.py": {"executed_lines": [], "missing_lines": [], "excluded_lines": []}},
        "totals": {"covered_lines": 9, "num_statements": 9, "percent_covered": 100.0}}"#;

    #[test]
    fn lines_count_and_totals_are_not_believed() {
        let coverage = parse(SAMPLE.as_bytes()).unwrap();
        assert_eq!((coverage.hit, coverage.total), (3, 4));
        assert_eq!(coverage.files[0].told("src/calc.py"), "src/calc.py 3/4 lines: 5 not run");
    }

    #[test]
    fn what_says_nothing_is_an_error() {
        for bad in [
            "{\"totals\": {\"percent_covered\": 100.0}}",
            "{\"files\": {}}",
            "{\"files\": {\"a\": {\"executed_lines\": [1]}}}",
            "{\"files\": {\"a\": {\"executed_lines\": [-1], \"missing_lines\": []}}}",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
