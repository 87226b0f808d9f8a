//! JUnit XML: how many tests ran and which failed. An exit code of 0 with a report of no tests, of failed tests or
//! of half a document is not a pass.

use mosaic_core::domain::outcome::cut;
use mosaic_core::limits;

use super::malformed::Malformed;
use super::path;
use super::xml::{self, Element, Handler};

/// Longest part of a failure's text that becomes a message, in bytes.
const MESSAGE_BYTES: usize = 2048;

/// The content of a report.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tests {
    /// Test cases that passed.
    pub(crate) passed: u64,
    /// Test cases that failed or broke; at least what any suite claims.
    pub(crate) failed: u64,
    /// Test cases that were not run.
    pub(crate) skipped: u64,
    /// The failed ones, at most [`limits::FINDINGS`].
    pub(crate) failures: Vec<FailedTest>,
}

/// A test that failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FailedTest {
    /// File in the repository, when the report names one.
    pub(crate) path: Option<String>,
    /// Line number from 1, when the report names one.
    pub(crate) line: Option<u64>,
    /// The test's name and its message.
    pub(crate) message: String,
}

impl Tests {
    /// Returns one line for people.
    pub(crate) fn summary(&self) -> String {
        match self.failed {
            0 => format!("{} passed, {} skipped", self.passed, self.skipped),
            failed => format!("{failed} failed, {} passed, {} skipped", self.passed, self.skipped),
        }
    }
}

/// Reads a report. Errors when it is not a whole JUnit document.
pub(super) fn parse(bytes: &[u8]) -> Result<Tests, Malformed> {
    let mut reader = JunitReader::default();
    xml::read(bytes, &mut reader)?;
    if reader.suites == 0 {
        return Err(Malformed::NoJunit);
    }
    if let Some(fault) = reader.fault {
        return Err(Malformed::Document(fault));
    }
    // A suite counts what broke outside its test cases, such as a fixture; no case of its own shows it.
    reader.tests.failed = reader.tests.failed.saturating_add(reader.outside).max(reader.claimed);
    Ok(reader.tests)
}

#[derive(Default)]
struct JunitReader {
    tests: Tests,
    /// Number of suites.
    suites: u64,
    /// Most failures that any suite claims.
    claimed: u64,
    /// Failures that stand in no test case.
    outside: u64,
    /// The cases that are being read, each inside the one before: some runners nest a test that another one calls.
    cases: Vec<Case>,
    /// A thing that no runner writes and that could hide a failure.
    fault: Option<&'static str>,
}

/// A test case that is being read.
#[derive(Default)]
struct Case {
    name: String,
    path: Option<String>,
    line: Option<u64>,
    failed: bool,
    skipped: bool,
    message: String,
    body: String,
    inside: bool,
}

/// Returns how many tests failed in a suite as it says itself.
fn claimed(suite: &Element<'_>) -> Result<u64, &'static str> {
    let mut claimed = 0_u64;
    for name in ["failures", "errors"] {
        let count = suite.get(name).map(str::trim).filter(|count| !count.is_empty()).unwrap_or("0");
        let count: u64 = count.parse().map_err(|_| "has a suite whose number of failures is no number")?;
        claimed = claimed.saturating_add(count);
    }
    Ok(claimed)
}

impl Handler for JunitReader {
    fn open(&mut self, element: &Element<'_>) {
        match (element.name, self.cases.last_mut()) {
            ("testsuite" | "testsuites", _) => {
                self.suites += 1;
                match claimed(element) {
                    Ok(claimed) => self.claimed = self.claimed.max(claimed),
                    Err(fault) => self.fault = Some(fault),
                }
            }
            ("testcase", _) => self.cases.push(Case::of(element)),
            (_, Some(case)) => case.inner(element),
            ("failure" | "error", None) => self.outside = self.outside.saturating_add(1),
            (_, None) => {}
        }
    }

    fn close(&mut self, name: &str) {
        match (name, self.cases.last_mut()) {
            ("testcase", _) => {
                if let Some(case) = self.cases.pop() {
                    finish(&mut self.tests, case);
                }
            }
            ("failure" | "error", Some(case)) => case.inside = false,
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if let Some(case) =
            self.cases.last_mut().filter(|case| case.inside && case.body.len() < MESSAGE_BYTES)
        {
            case.body.extend(text.chars().take(MESSAGE_BYTES));
        }
    }
}

impl Case {
    fn of(element: &Element<'_>) -> Self {
        let get = |name| element.get(name).filter(|value| !value.trim().is_empty());
        let name = get("name").unwrap_or("unnamed test");
        let name = match get("classname") {
            Some(class) if !name.starts_with(class) => format!("{class} {name}"),
            _ => name.to_owned(),
        };
        Self {
            name: cut(name, 512),
            path: get("file").filter(|path| path::check(path).is_ok()).map(str::to_owned),
            line: get("line").and_then(|line| line.parse().ok()),
            // GoogleTest has no element for a test that it did not run; it says so in this attribute.
            skipped: get("status").is_some_and(|status| matches!(status, "notrun" | "skipped" | "disabled")),
            ..Self::default()
        }
    }

    fn inner(&mut self, element: &Element<'_>) {
        match element.name {
            "failure" | "error" => {
                self.failed = true;
                self.inside = true;
                if self.message.is_empty() {
                    self.message = element.get("message").unwrap_or_default().to_owned();
                }
            }
            "skipped" => self.skipped = true,
            _ => {}
        }
    }
}

fn finish(tests: &mut Tests, case: Case) {
    // A case that is both failed and skipped has failed: runners mark a test skipped whose fixture broke.
    if !case.failed {
        match case.skipped {
            true => tests.skipped += 1,
            false => tests.passed += 1,
        }
        return;
    }
    tests.failed += 1;
    if tests.failures.len() < limits::FINDINGS {
        let body = case.body.trim();
        let told = match (case.message.trim(), body) {
            ("", "") => "failed".to_owned(),
            ("", body) => body.to_owned(),
            (message, body) if body.is_empty() || body.contains(message) => {
                if body.is_empty() { message } else { body }.to_owned()
            }
            (message, body) => format!("{message}\n{body}"),
        };
        let message = cut(format!("{}: {told}", case.name), MESSAGE_BYTES);
        tests.failures.push(FailedTest { path: case.path, line: case.line, message });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Tests, Malformed> {
        parse(text.as_bytes())
    }

    #[test]
    fn nothing_that_could_hide_a_failure_is_read_as_green() {
        let nested = r#"<testsuite><testcase name="a"><failure/><testcase name="b"/></testcase></testsuite>"#;
        let tests = read(nested).expect("it is read");
        assert_eq!((tests.failed, tests.passed), (1, 1), "the failure of the outer case is lost");
        for count in ["99999999999999999999", "1.0", "1,234", "-1", "one"] {
            let suite = format!(r#"<testsuite failures="{count}"><testcase name="a"/></testsuite>"#);
            assert!(read(&suite).is_err(), "{count}");
        }
        let outside = r#"<testsuite><testcase name="a"/><error message="the fixture broke"/></testsuite>"#;
        assert_eq!(read(outside).expect("it is read").failed, 1);
        let empty = r#"<testsuite failures="" errors=" 0 "><testcase name="a"/></testsuite>"#;
        assert_eq!(read(empty).expect("it is read").failed, 0);
    }

    #[test]
    fn counts_and_names_failures() {
        let tests = read(
            r#"<?xml version="1.0" encoding="utf-8"?><!-- made by a > runner -->
            <testsuites><testsuite name="a" tests="4" failures="1" errors="1" skipped="1">
            <testcase classname="calc" name="adds"/>
            <testcase classname="calc" name="divides" file="tests/calc.py" line="7">
              <failure message="1 &lt; 2 &#38; &quot;x&quot;">tests/calc.py:9: AssertionError</failure></testcase>
            <testcase name="breaks"><error><![CDATA[boom <here>]]></error></testcase>
            <testcase name="later"><skipped/><system-out>x</system-out></testcase>
            </testsuite></testsuites>"#,
        )
        .unwrap();
        assert_eq!((tests.passed, tests.failed, tests.skipped), (1, 2, 1));
        assert_eq!(tests.summary(), "2 failed, 1 passed, 1 skipped");
        assert_eq!(tests.failures[0].message, "calc divides: 1 < 2 & \"x\"\ntests/calc.py:9: AssertionError");
        assert_eq!(
            (tests.failures[0].path.as_deref(), tests.failures[0].line),
            (Some("tests/calc.py"), Some(7))
        );
        assert_eq!(tests.failures[1].message, "breaks: boom <here>");
    }

    #[test]
    fn a_suites_own_claim_of_failures_counts() {
        let tests = read(r#"<testsuite failures="0" errors="2"><testcase name="a"/></testsuite>"#).unwrap();
        assert_eq!((tests.passed, tests.failed), (1, 2));
    }

    #[test]
    fn half_a_document_and_garbage_are_errors() {
        let deep = "<testsuite>".repeat(100);
        for bad in [
            "",
            "ok",
            "{}",
            "<",
            "<testsuite>",
            "<testsuite",
            "<html></html>",
            "<testsuite></testcase>",
            "<testsuite><testcase name='a'/></testsuite",
            "<testsuite/><testsuite/>",
            "<testsuite/>trailing",
            "<!DOCTYPE a [<!ENTITY x 'y'>]><testsuite/>",
            "<testsuite><![CDATA[",
            "<testsuite><testcase name='a></testsuite>",
            &deep,
            "< testsuite></ testsuite>",
            "\u{0}\u{1}\u{2}",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(parse(&[0xff, 0xfe, b'<', 0, b't', 0]).is_err());
    }

    #[test]
    fn hostile_values_are_inert() {
        let text = format!(
            r#"<testsuite><testcase name="{}" file="../../etc/passwd" line="-1"><failure message="&bogus; &#xD800; &#99999999999;">{}</failure></testcase></testsuite>"#,
            "n".repeat(100_000),
            "y".repeat(1_000_000)
        );
        let tests = read(&text).unwrap();
        assert_eq!((tests.failures[0].path.as_deref(), tests.failures[0].line), (None, None));
        assert!(tests.failures[0].message.len() <= MESSAGE_BYTES);
    }

    #[test]
    fn namespaces_prefixes_and_entities_are_read() {
        let tests = read(
            r#"<j:testsuites xmlns:j="urn:j"><j:testsuite x:errors="7" failures="0">
            <j:testcase name="a &gt; b &#x41;"><j:failure>1 &lt; 2 &amp;&#33; &bogus; & co</j:failure></j:testcase>
            </j:testsuite></j:testsuites>"#,
        )
        .unwrap();
        assert_eq!(tests.failures[0].message, "a > b A: 1 < 2 &! &bogus; & co");
        assert_eq!((tests.failed, tests.passed), (1, 0));
    }

    #[test]
    fn entities_never_expand_and_attributes_are_bounded() {
        let bomb = "<!DOCTYPE b [<!ENTITY a 'xxxxxxxx'><!ENTITY b '&a;&a;&a;&a;'>]><testsuite><testcase name='&b;'/></testsuite>";
        assert!(matches!(read(bomb), Err(Malformed::Document(_))));
        let external = "<!DOCTYPE b SYSTEM 'file:///etc/passwd'><testsuite/>";
        assert!(matches!(read(external), Err(Malformed::Document(_))));
        let many: String = (0..100_000).map(|n| format!(" a{n}='1'")).collect();
        assert!(matches!(read(&format!("<testsuite{many}/>")), Err(Malformed::TooMuch { .. })));
        assert!(matches!(read("<testsuite errors='0' errors='1'/>"), Err(Malformed::Xml(_))));
        assert!(matches!(read(&"<testsuite>".repeat(100)), Err(Malformed::TooDeep)));
    }

    #[test]
    fn a_message_quotes_little_of_the_report_and_nothing_that_a_terminal_obeys() {
        let why = read(&format!("<testsuite></\u{1b}[2J{}>", "x".repeat(100_000))).unwrap_err().to_string();
        assert!(why.len() < 400 && !why.contains('\u{1b}'), "{why}");
    }
}
