//! `node --test`: its TAP stream, or the text of its reporter `spec`. Both end with the numbers of the run.

use mosaic_core::limits;

use super::lines;
use super::malformed::Malformed;
use super::results::{FailedTest, Tests, bounded};
use super::tap;

/// Reads what the runner printed.
pub(super) fn parse(bytes: &[u8]) -> Result<Tests, Malformed> {
    let is_spec = lines::of(bytes).any(|line| line.starts_with("ℹ tests "));
    if is_spec { spec(bytes) } else { from_tap(bytes) }
}

fn from_tap(bytes: &[u8]) -> Result<Tests, Malformed> {
    let content = tap::read(bytes)?;
    let mut tests = content.tests;
    let sum = |word: &str| content.sums.iter().find(|(known, _)| known == word).map(|(_, count)| *count);
    let Some((pass, fail)) = sum("pass").zip(sum("fail")) else {
        tests.fault("it has no numbers at its end, so the runner was ended from within");
        return Ok(tests);
    };
    let fail = fail.saturating_add(sum("cancelled").unwrap_or(0));
    // The runner counts a test with subtests as one, too, so that its numbers are at least those of the points.
    if pass < tests.passed && tests.failed <= fail {
        tests.fault(format!("it has {} passed tests and sums up {pass}", tests.passed));
    }
    tests.failed = tests.failed.max(fail);
    Ok(tests)
}

fn spec(bytes: &[u8]) -> Result<Tests, Malformed> {
    let mut reader = SpecReader::default();
    for line in lines::of(bytes) {
        reader.line(&line);
    }
    reader.settle();
    Ok(reader.tests)
}

#[derive(Default)]
struct SpecReader {
    tests: Tests,
    /// Failed tests are told once more after the numbers, with their places.
    place: Option<(String, u64)>,
    told: Option<FailedTest>,
    listing: bool,
}

impl SpecReader {
    fn line(&mut self, line: &str) {
        if let Some((word, count)) = line.strip_prefix("ℹ ").and_then(|rest| rest.split_once(' ')) {
            if let Some((count, _)) = lines::number(count.trim()) {
                let tests = &mut self.tests;
                let into = match word {
                    "pass" => &mut tests.passed,
                    "fail" | "cancelled" => &mut tests.failed,
                    "skipped" | "todo" => &mut tests.skipped,
                    _ => return,
                };
                *into = into.saturating_add(count);
            }
        } else if line.starts_with("✖ failing tests:") {
            self.listing = true;
        } else if let Some(place) =
            line.strip_prefix("test at ").filter(|_| self.listing).and_then(lines::place)
        {
            self.settle();
            self.place = Some(place);
        } else if let Some(name) = line.trim_start().strip_prefix("✖ ").filter(|_| self.listing) {
            self.settle();
            let name = name.rsplit_once(" (").map_or(name, |(name, _)| name);
            let (path, line) = self.place.take().unzip();
            self.told = Some(FailedTest { name: name.to_owned(), path, line, ..FailedTest::default() });
        } else if let Some(test) = &mut self.told
            && !line.trim_start().starts_with("at ")
            && !line.trim().is_empty()
        {
            lines::append(&mut test.message, line.strip_prefix("  ").unwrap_or(line));
        }
    }

    fn settle(&mut self) {
        if let Some(test) = self.told.take()
            && self.tests.failures.len() < limits::FINDINGS
        {
            self.tests.failures.push(bounded(test));
        }
    }
}
