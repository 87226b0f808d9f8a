//! JUnit XML: how many tests ran and which failed. An exit code of 0 with a report of no tests, of failed tests or
//! of half a document is not a pass.

use super::lines;
use super::malformed::Malformed;
use super::path;
use super::results::{CaseOutcome, Collector, FailedTest, MESSAGE_BYTES, Names, Tests};
use super::xml::{self, Element, Handler};

/// Reads a report. Errors when it is not a whole JUnit document.
pub(super) fn parse(bytes: &[u8]) -> Result<Tests, Malformed> {
    read(bytes, Names::Ids).map(|(tests, _)| tests)
}

/// Reads a report of a runner whose suites say how many cases they have, so that one without all of them is cut.
pub(super) fn parse_counted(bytes: &[u8], names: Names) -> Result<Tests, Malformed> {
    let (mut tests, claims) = read(bytes, names)?;
    let listed = tests.ran().saturating_add(tests.skipped);
    if names == Names::Ids && claims.tests > listed {
        tests.fault(format!("its suites have {} tests and it lists {listed}", claims.tests));
    }
    Ok(tests)
}

fn read(bytes: &[u8], names: Names) -> Result<(Tests, Claims), Malformed> {
    let mut reader = JunitReader::new(names);
    xml::read(bytes, &mut reader)?;
    if reader.suites == 0 {
        return Err(Malformed::NotOfFormat("JUnit document (no <testsuite>)"));
    }
    if let Some(fault) = reader.fault {
        return Err(fault);
    }
    let mut tests = reader.collector.tests;
    // A suite counts what broke outside its test cases, such as a fixture; no case of its own shows it.
    tests.failed = tests.failed.saturating_add(reader.outside).max(reader.claimed.failed);
    Ok((tests, reader.claimed))
}

/// Numbers that suites give of themselves.
#[derive(Default, Clone, Copy)]
struct Claims {
    /// Most failures that any suite claims.
    failed: u64,
    /// Most cases that any suite claims.
    tests: u64,
}

struct JunitReader {
    collector: Collector,
    /// Number of suites.
    suites: u64,
    claimed: Claims,
    /// Failures that stand in no test case.
    outside: u64,
    /// The names of the suites that are being read: they tell apart cases of one name.
    path: Vec<String>,
    /// The cases that are being read, each inside the one before: some runners nest a test that another one calls.
    cases: Vec<Case>,
    /// A thing that no runner writes and that could hide a failure.
    fault: Option<Malformed>,
}

/// A test case that is being read.
#[derive(Default)]
struct Case {
    test: FailedTest,
    /// False when the report gives it no name, so that it can be no repetition.
    named: bool,
    failed: bool,
    /// It failed at an earlier try: the runner tried it again.
    retried: bool,
    skipped: bool,
    message: String,
    body: String,
    inside: bool,
}

/// Returns how many tests failed in a suite as it says itself.
fn claimed(suite: &Element<'_>) -> Result<Claims, Malformed> {
    let mut claims = Claims::default();
    for name in ["failures", "errors"] {
        let count = suite.get(name).map(str::trim).filter(|count| !count.is_empty()).unwrap_or("0");
        let count: u64 = count
            .parse()
            .map_err(|_| Malformed::Document("has a suite whose number of failures is no number"))?;
        claims.failed = claims.failed.saturating_add(count);
    }
    claims.tests = suite.get("tests").and_then(|count| count.trim().parse().ok()).unwrap_or(0);
    Ok(claims)
}

impl JunitReader {
    fn new(names: Names) -> Self {
        Self {
            collector: Collector::new(names),
            suites: 0,
            claimed: Claims::default(),
            outside: 0,
            path: Vec::new(),
            cases: Vec::new(),
            fault: None,
        }
    }

    fn suite(&mut self, element: &Element<'_>) {
        self.suites += 1;
        let name = [element.get("package"), element.get("name")].map(Option::unwrap_or_default).join("\n");
        self.path.push(name.chars().take(MESSAGE_BYTES).collect());
        match claimed(element) {
            Ok(claims) => {
                self.claimed.failed = self.claimed.failed.max(claims.failed);
                self.claimed.tests = self.claimed.tests.max(claims.tests);
            }
            Err(fault) => self.fault = Some(fault),
        }
    }

    fn finish(&mut self, case: Case) {
        // A case that is both failed and skipped has failed: runners mark a test skipped whose fixture broke.
        let outcome = match (case.failed, case.retried, case.skipped) {
            (true, _, _) => CaseOutcome::Failed,
            (false, true, _) => CaseOutcome::Flaky,
            (false, false, true) => CaseOutcome::Skipped,
            (false, false, false) => CaseOutcome::Passed,
        };
        let scope = match case.named {
            true => self.path.join("\n"),
            false => format!("unnamed {}", self.collector.cases()),
        };
        let message = told(&case.message, &case.body);
        let (path, line) = match case.test.path.is_some() {
            true => (case.test.path, case.test.line),
            false => place(&message).unzip(),
        };
        let test = FailedTest { message, path, line, ..case.test };
        if let Err(fault) = self.collector.add(&scope, outcome, test) {
            self.fault.get_or_insert(fault);
        }
    }
}

impl Handler for JunitReader {
    fn open(&mut self, element: &Element<'_>) {
        match (element.name, self.cases.last_mut()) {
            ("testsuite" | "testsuites", _) => self.suite(element),
            ("testcase", _) => self.cases.push(Case::of(element)),
            (_, Some(case)) => case.inner(element),
            ("failure" | "error", None) => self.outside = self.outside.saturating_add(1),
            (_, None) => {}
        }
    }

    fn close(&mut self, name: &str) {
        match (name, self.cases.last_mut()) {
            ("testsuite" | "testsuites", _) => drop(self.path.pop()),
            ("testcase", _) => {
                if let Some(case) = self.cases.pop() {
                    self.finish(case);
                }
            }
            (told, Some(case)) if failure(told) || retry(told) => case.inside = false,
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

fn failure(element: &str) -> bool {
    matches!(element, "failure" | "error")
}

/// Tells whether an element is a failed try before another one: surefire and nextest write them, and a reader that does not
/// know them takes such a case for one that passed.
fn retry(element: &str) -> bool {
    matches!(element, "flakyFailure" | "flakyError" | "rerunFailure" | "rerunError")
}

impl Case {
    fn of(element: &Element<'_>) -> Self {
        let get = |name| element.get(name).filter(|value| !value.trim().is_empty());
        let test = FailedTest {
            group: get("classname").unwrap_or_default().to_owned(),
            name: get("name").unwrap_or("unnamed test").to_owned(),
            path: get("file").filter(|path| path::check(path).is_ok()).map(str::to_owned),
            line: get("line").and_then(|line| line.parse().ok()),
            message: String::new(),
        };
        Self {
            test,
            named: get("name").is_some(),
            // GoogleTest has no element for a test that it did not run; it says so in this attribute.
            skipped: get("status").is_some_and(|status| matches!(status, "notrun" | "skipped" | "disabled")),
            ..Self::default()
        }
    }

    fn inner(&mut self, element: &Element<'_>) {
        match element.name {
            name if failure(name) || retry(name) => {
                // The failure that decided is told, and not the tries before it.
                if failure(name) && !self.failed {
                    self.message.clear();
                    self.body.clear();
                }
                self.failed |= failure(name);
                self.retried |= retry(name);
                self.inside = failure(name) || !self.failed;
                if self.inside && self.message.is_empty() {
                    self.message =
                        element.get("message").unwrap_or_default().chars().take(MESSAGE_BYTES).collect();
                }
            }
            "skipped" => self.skipped = true,
            _ => {}
        }
    }
}

/// Finds the place of a failure in what it says: that of a panic, or the last one at the start of a line.
fn place(message: &str) -> Option<(String, u64)> {
    let of_line = |line: &str| {
        let place = match line.split_once(" panicked at ") {
            Some((_, place)) => place,
            None => line.split_once(": ").map(|(place, _)| place).filter(|place| !place.contains(' '))?,
        };
        lines::place(place).filter(|(path, _)| path.contains('.'))
    };
    let panic = message.lines().find(|line| line.contains(" panicked at ")).and_then(of_line);
    panic.or_else(|| message.lines().rev().find_map(of_line))
}

/// Returns what a failure says, its message and its text put together.
fn told(message: &str, body: &str) -> String {
    match (message.trim(), body.trim()) {
        ("", "") => "failed".to_owned(),
        ("", body) => body.to_owned(),
        (message, "") => message.to_owned(),
        (message, body) if body.contains(message) => body.to_owned(),
        (message, body) => format!("{message}\n{body}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Tests, Malformed> {
        parse(text.as_bytes())
    }

    fn told(test: &FailedTest) -> String {
        format!("{}: {}", test.id(), test.message)
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
        assert_eq!(told(&tests.failures[0]), "calc divides: 1 < 2 & \"x\"\ntests/calc.py:9: AssertionError");
        assert_eq!(
            (tests.failures[0].path.as_deref(), tests.failures[0].line),
            (Some("tests/calc.py"), Some(7))
        );
        assert_eq!(place(&tests.failures[0].message), Some(("tests/calc.py".to_owned(), 9)));
        assert_eq!(told(&tests.failures[1]), "breaks: boom <here>");
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
        assert_eq!(told(&tests.failures[0]), "a > b A: 1 < 2 &! &bogus; & co");
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

    #[test]
    fn a_failure_that_a_retry_hid_is_flaky() {
        let tests = read(
            r#"<testsuites><testsuite name="calc" tests="4" failures="1" errors="0">
            <testcase classname="calc" name="first"/>
            <testcase classname="calc" name="second"><flakyFailure message="try 1" type="t">boom<system-out>x</system-out></flakyFailure></testcase>
            <testcase classname="calc" name="third"><flakyError message="try 1"/></testcase>
            <testcase classname="calc" name="fourth"><failure message="at last"/><rerunFailure message="again"/></testcase>
            <testcase classname="calc" name="fifth"><rerunError message="again"/></testcase>
            </testsuite></testsuites>"#,
        )
        .expect("it is read");
        assert_eq!((tests.passed, tests.failed, tests.flaky), (1, 1, 3));
        let flaky: Vec<_> = tests.flakes.iter().map(FailedTest::id).collect();
        assert_eq!(flaky, ["calc second", "calc third", "calc fifth"]);
        assert_eq!(told(&tests.failures[0]), "calc fourth: at last");
        assert_eq!(tests.summary(), "1 failed, 1 passed, 0 skipped, 3 flaky");
    }

    #[test]
    fn a_test_that_is_reported_twice_is_a_fault() {
        let twice = r#"<testsuite name="s"><testcase classname="a" name="t"/><testcase classname="a" name="t"/></testsuite>"#;
        let tests = read(twice).expect("it is read");
        assert_eq!((tests.passed, tests.faults.len()), (1, 1));
        let suites = format!("<testsuites>{twice}{twice}</testsuites>");
        assert!(!read(&suites).expect("it is read").faults.is_empty());
        // Two suites may have tests of one name, and cases without a name repeat nothing.
        let honest = r#"<testsuites><testsuite name="a"><testcase name="t"/></testsuite><testsuite name="b"><testcase name="t"/><testcase/><testcase/></testsuite></testsuites>"#;
        let tests = read(honest).expect("it is read");
        assert_eq!((tests.passed, tests.faults.len()), (4, 0));
    }

    #[test]
    fn a_suite_that_lists_fewer_tests_than_it_has_is_cut() {
        let cut = br#"<testsuites tests="3"><testsuite name="a" tests="3"><testcase name="t"/></testsuite></testsuites>"#;
        assert!(
            parse_counted(cut, Names::Ids).expect("it is read").faults[0]
                .contains("have 3 tests and it lists 1")
        );
        // Catch2 counts assertions there, so the general format does not ask.
        assert!(parse(cut).expect("it is read").faults.is_empty());
    }
}
