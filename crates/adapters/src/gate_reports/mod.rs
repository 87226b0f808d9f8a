//! Formats of gate reports: one pure parser each, in a file of its own, and one table of them.
//!
//! Always true: a parser reads bytes and nothing else, its memory and depth are bounded, and a report that is cut off
//! or empty, or in which something could hide a failure, is an error, never a good result.

mod clover;
mod cobertura;
mod coverage;
mod coverage_py;
mod go_cover;
mod go_test;
mod istanbul;
mod jacoco;
mod jest;
mod json;
mod junit;
mod lcov;
mod libtest;
mod lines;
mod llvm_cov;
mod malformed;
mod mocha;
mod nextest;
mod node_test;
mod path;
mod pytest;
mod results;
mod tap;
mod trx;
mod unittest;
mod xml;

pub(crate) use coverage::{Coverage, FileCoverage, reaches, summary as share, tenths};
pub(crate) use malformed::Malformed;
pub(crate) use path::check as check_path;
pub(crate) use results::{FailedTest, Tests};

/// The content of a report, in the form that gates are judged by.
pub(crate) enum Report {
    /// Results of tests.
    Tests(Tests),
    /// Lines that ran.
    Coverage(Coverage),
}

/// The kind of content that a format has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Results of tests.
    Tests,
    /// Lines that ran, of which a gate may ask for a least share.
    Coverage,
}

/// A format of reports.
pub(crate) struct ReportFormat {
    /// Its name in `.mosaic/config.toml`.
    pub(crate) name: &'static str,
    /// The kind of its content.
    pub(crate) content: Content,
    /// Its parser.
    pub(crate) parse: Parse,
}

/// Every format. What each reads, and how its tool writes it, is told in `docs/gates-formats.md`.
pub(crate) static FORMATS: &[ReportFormat] = &[
    tests("junit", |bytes| junit::parse(bytes).map(Report::Tests)),
    tests("libtest", |bytes| libtest::parse(bytes).map(Report::Tests)),
    tests("nextest", |bytes| nextest::parse(bytes).map(Report::Tests)),
    tests("pytest", |bytes| pytest::parse(bytes).map(Report::Tests)),
    tests("unittest", |bytes| unittest::parse(bytes).map(Report::Tests)),
    tests("vitest", |bytes| jest::parse(bytes).map(Report::Tests)),
    tests("jest", |bytes| jest::parse(bytes).map(Report::Tests)),
    tests("mocha", |bytes| mocha::parse(bytes).map(Report::Tests)),
    tests("node-test", |bytes| node_test::parse(bytes).map(Report::Tests)),
    tests("go-test", |bytes| go_test::parse(bytes).map(Report::Tests)),
    tests("tap", |bytes| tap::parse(bytes).map(Report::Tests)),
    tests("trx", |bytes| trx::parse(bytes).map(Report::Tests)),
    coverage("lcov", |bytes| lcov::parse(bytes).map(Report::Coverage)),
    coverage("cobertura", |bytes| cobertura::parse(bytes).map(Report::Coverage)),
    coverage("jacoco", |bytes| jacoco::parse(bytes).map(Report::Coverage)),
    coverage("clover", |bytes| clover::parse(bytes).map(Report::Coverage)),
    coverage("coverage-py", |bytes| coverage_py::parse(bytes).map(Report::Coverage)),
    coverage("istanbul", |bytes| istanbul::parse(bytes).map(Report::Coverage)),
    coverage("llvm-cov", |bytes| llvm_cov::parse(bytes).map(Report::Coverage)),
    coverage("go-cover", |bytes| go_cover::parse(bytes).map(Report::Coverage)),
];

type Parse = fn(&[u8]) -> Result<Report, Malformed>;

const fn tests(name: &'static str, parse: Parse) -> ReportFormat {
    ReportFormat { name, content: Content::Tests, parse }
}

const fn coverage(name: &'static str, parse: Parse) -> ReportFormat {
    ReportFormat { name, content: Content::Coverage, parse }
}

/// Returns the format of a name, `None` when this build does not read it.
pub(crate) fn format(name: &str) -> Option<&'static ReportFormat> {
    FORMATS.iter().find(|format| format.name == name)
}

#[cfg(test)]
#[path = "hostile_tests.rs"]
mod tests;
