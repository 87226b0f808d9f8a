//! JUnit XML: how many tests ran and which failed. An exit code of 0 with a report of no tests, of failed tests or
//! of half a document is not a pass.

use mosaic_core::domain::gates::Finding;
use mosaic_core::domain::outcome::cut;
use mosaic_core::limits;

use super::xml::{Reader, Token, attribute, unescape};

/// Longest part of a failure's text that becomes a finding's message, in bytes.
const MESSAGE_BYTES: usize = 2048;

/// The content of a report.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tests {
    /// Test cases that passed.
    pub passed: u64,
    /// Test cases that failed or broke; at least what any suite claims.
    pub failed: u64,
    /// Test cases that were not run.
    pub skipped: u64,
    /// The failed ones, at most [`limits::FINDINGS`].
    pub findings: Vec<Finding>,
}

impl Tests {
    /// Returns one line for people.
    pub(super) fn summary(&self) -> String {
        match self.failed {
            0 => format!("{} passed, {} skipped", self.passed, self.skipped),
            failed => format!("{failed} failed, {} passed, {} skipped", self.passed, self.skipped),
        }
    }
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

/// Reads a report; `source` names the gate in its findings. Errors with a fragment when it is not a whole JUnit
/// document.
pub(super) fn parse(source: &str, bytes: &[u8]) -> Result<Tests, String> {
    let text = String::from_utf8_lossy(bytes);
    let mut reader = Reader::new(&text);
    let mut tests = Tests::default();
    let (mut claimed, mut suites) = (0, 0u64);
    let mut case: Option<Case> = None;
    while let Some(token) = reader.next()? {
        match token {
            Token::Open { name: "testsuite" | "testsuites", attributes } => {
                suites += 1;
                let count = |name| {
                    attribute(attributes, name).and_then(|n| n.trim().parse::<u64>().ok()).unwrap_or(0)
                };
                claimed = claimed.max(count("failures").saturating_add(count("errors")));
            }
            Token::Open { name: "testcase", attributes } => case = Some(start(attributes)),
            Token::Open { name, attributes } => {
                if let Some(case) = &mut case {
                    inner(case, name, attributes);
                }
            }
            Token::Close("testcase") => {
                if let Some(case) = case.take() {
                    finish(&mut tests, source, case);
                }
            }
            Token::Close("failure" | "error") => {
                if let Some(case) = &mut case {
                    case.inside = false;
                }
            }
            Token::Close(_) => {}
            Token::Text(text) => append(case.as_mut(), &unescape_some(text)),
            Token::Cdata(text) => append(case.as_mut(), text),
        }
    }
    if suites == 0 {
        return Err("is no JUnit document (no <testsuite>)".to_owned());
    }
    tests.failed = tests.failed.max(claimed);
    Ok(tests)
}

fn start(attributes: &str) -> Case {
    let get = |name| attribute(attributes, name).filter(|value| !value.trim().is_empty());
    let name = get("name").unwrap_or_else(|| "unnamed test".to_owned());
    let name = match get("classname") {
        Some(class) if !name.starts_with(&class) => format!("{class} {name}"),
        _ => name,
    };
    Case {
        name: cut(name, 512),
        path: get("file").filter(|path| super::report_file::check(path).is_ok()),
        line: get("line").and_then(|line| line.parse().ok()),
        skipped: get("status")
            .is_some_and(|status| matches!(status.as_str(), "notrun" | "skipped" | "disabled")),
        ..Case::default()
    }
}

fn inner(case: &mut Case, name: &str, attributes: &str) {
    match name {
        "failure" | "error" => {
            case.failed = true;
            case.inside = true;
            if case.message.is_empty() {
                case.message = attribute(attributes, "message").unwrap_or_default();
            }
        }
        "skipped" => case.skipped = true,
        _ => {}
    }
}

/// Resolves the entities of as much text as a message can hold.
fn unescape_some(text: &str) -> String {
    let mut end = text.len().min(2 * MESSAGE_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    unescape(&text[..end])
}

fn append(case: Option<&mut Case>, text: &str) {
    if let Some(case) = case.filter(|case| case.inside && case.body.len() < MESSAGE_BYTES) {
        case.body.extend(text.chars().take(MESSAGE_BYTES));
    }
}

fn finish(tests: &mut Tests, source: &str, case: Case) {
    if !case.failed {
        match case.skipped {
            true => tests.skipped += 1,
            false => tests.passed += 1,
        }
        return;
    }
    tests.failed += 1;
    if tests.findings.len() < limits::FINDINGS {
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
        tests.findings.push(Finding {
            source: source.to_owned(),
            path: case.path,
            line: case.line,
            message,
            secret: None,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Tests, String> {
        parse("tests", text.as_bytes())
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
        assert_eq!(tests.findings[0].message, "calc divides: 1 < 2 & \"x\"\ntests/calc.py:9: AssertionError");
        assert_eq!(
            (tests.findings[0].path.as_deref(), tests.findings[0].line),
            (Some("tests/calc.py"), Some(7))
        );
        assert_eq!(tests.findings[1].message, "breaks: boom <here>");
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
        assert!(parse("tests", &[0xff, 0xfe, b'<', 0, b't', 0]).is_err());
    }

    #[test]
    fn hostile_values_are_inert() {
        let text = format!(
            r#"<testsuite><testcase name="{}" file="../../etc/passwd" line="-1"><failure message="&bogus; &#xD800; &#99999999999;">{}</failure></testcase></testsuite>"#,
            "n".repeat(100_000),
            "y".repeat(1_000_000)
        );
        let tests = read(&text).unwrap();
        assert_eq!((tests.findings[0].path.as_deref(), tests.findings[0].line), (None, None));
        assert!(tests.findings[0].message.len() <= MESSAGE_BYTES);
    }
}
