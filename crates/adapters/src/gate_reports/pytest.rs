//! Printed output of pytest: the numbers of its last line, the tests of its short summary, and the places of its tracebacks.
//!
//! Its JUnit report is read by the same name. A session without its last line was ended from within.

use std::collections::HashMap;

use mosaic_core::limits;

use super::junit;
use super::lines;
use super::malformed::Malformed;
use super::results::{FailedTest, Names, Tests, bounded};

/// Reads a JUnit report or the printed lines.
pub(super) fn parse(bytes: &[u8]) -> Result<Tests, Malformed> {
    let start = bytes.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(0);
    match bytes[start..].starts_with(b"<") {
        // Its plugin for retries writes each try as a case of its own.
        true => junit::parse_counted(bytes, Names::Tries),
        false => PytestReader::default().read(bytes),
    }
}

#[derive(Default)]
struct PytestReader {
    tests: Tests,
    /// Sessions that began, and last lines.
    begun: u64,
    ended: u64,
    /// Tests that the open session collected and did not deselect.
    selected: Option<u64>,
    /// Title of the traceback that is being read.
    section: Option<String>,
    /// Places and messages of tracebacks, by their titles.
    told: HashMap<String, FailedTest>,
    /// Ids of tests that were run again.
    rerun: Vec<String>,
}

/// Numbers of a last line.
#[derive(Default, Debug)]
struct Sums {
    failed: u64,
    errors: u64,
    passed: u64,
    skipped: u64,
    rerun: u64,
    /// It ran nothing and only listed the tests.
    collected: u64,
}

impl PytestReader {
    fn read(mut self, bytes: &[u8]) -> Result<Tests, Malformed> {
        for line in lines::of(bytes) {
            self.line(&line);
        }
        if self.begun == 0 && self.ended == 0 {
            return Err(Malformed::NotOfFormat(
                "output of pytest (no session and no last line with its numbers)",
            ));
        }
        if self.begun > self.ended {
            self.tests.fault("a session has no last line with its numbers, so it was ended from within");
        }
        Ok(self.tests)
    }

    fn line(&mut self, line: &str) {
        let bare = line.trim_matches(|c| c == '=' || c == ' ');
        if line.starts_with("===") && bare == "test session starts" {
            (self.begun, self.selected) = (self.begun + 1, None);
        } else if let Some(rest) = line.trim_start_matches("collecting ... ").strip_prefix("collected ") {
            self.selected = selected(rest);
        } else if let Some(sums) = sums(bare) {
            self.end(&sums);
        } else if line.starts_with("!!!") && (line.contains("stopping after") || line.contains("Interrupted"))
        {
            self.tests.stopped_early = Some("pytest left tests out after the first that failed");
        } else if line.starts_with("___") && line.trim_end().ends_with("___") {
            let title = line.trim_matches(|c| c == '_' || c == ' ');
            let title = title
                .rsplit_once(" of ")
                .filter(|_| title.starts_with("ERROR at"))
                .map_or(title, |(_, test)| test);
            self.section = (self.told.len() < limits::FINDINGS).then(|| title.to_owned());
        } else if line.starts_with("===") {
            self.section = None;
        } else if let Some((word, rest)) = summary_entry(line) {
            self.entry(word, rest);
        } else if let Some(title) = self.section.clone() {
            self.trace(title, line);
        }
        self.flaky_plugin(line);
    }

    /// Takes a line of a traceback: what is marked with E, and the last place.
    fn trace(&mut self, title: String, line: &str) {
        let test = self.told.entry(title).or_default();
        if let Some(error) = line.strip_prefix("E  ") {
            lines::append(&mut test.message, error.trim());
        } else if let Some((path, line)) = line.rsplit_once(": ").and_then(|(place, _)| lines::place(place))
            && path.ends_with(".py")
            && !path.contains(' ')
        {
            (test.path, test.line) = (Some(path), Some(line));
        }
    }

    /// Takes a line of the short summary.
    fn entry(&mut self, word: &str, rest: &str) {
        let (id, message) = split_id(rest);
        if word == "RERUN" {
            if self.rerun.len() < limits::FINDINGS && !self.rerun.iter().any(|known| known == id) {
                self.rerun.push(id.to_owned());
            }
            return;
        }
        let (path, name) = id.split_once("::").unwrap_or((id, ""));
        let told = self.told.get(&name.replace("::", ".")).cloned().unwrap_or_default();
        let told_message = if told.message.is_empty() { message.to_owned() } else { told.message };
        let failed = FailedTest {
            group: String::new(),
            name: id.to_owned(),
            path: told.path.or_else(|| path.ends_with(".py").then(|| path.to_owned())),
            line: told.line,
            message: if told_message.is_empty() { "failed".to_owned() } else { told_message },
        };
        if self.tests.failures.len() < limits::FINDINGS {
            self.tests.failures.push(bounded(failed));
        }
    }

    /// Ends a session.
    fn end(&mut self, sums: &Sums) {
        self.ended += 1;
        self.section = None;
        let tests = &mut self.tests;
        let failed = sums.failed.saturating_add(sums.errors);
        let results = [sums.passed, failed, sums.skipped].into_iter().fold(0, u64::saturating_add);
        if let Some(selected) = self.selected.take().filter(|selected| *selected > results) {
            match failed {
                // Nothing explains that tests have no result.
                0 => tests.fault(format!("{selected} tests were collected and {results} have a result")),
                _ => tests.stopped_early = Some("pytest left tests out after the first that failed"),
            }
        }
        if sums.collected > 0 && results == 0 {
            tests.fault(format!("{} tests were collected and none was run", sums.collected));
        }
        // Of the tests that were run again, those that failed at last are failures.
        let names: Vec<String> = self
            .rerun
            .drain(..)
            .filter(|id| !tests.failures.iter().any(|failure| failure.name == *id))
            .collect();
        let flaky = match (sums.rerun, names.len() as u64) {
            (0, named) => named,
            // Without names only their number is known, in which those that failed at last are contained.
            (rerun, 0) => rerun.saturating_sub(failed),
            (_, named) => named,
        };
        let flaky = flaky.min(sums.passed);
        tests.flaky = tests.flaky.saturating_add(flaky);
        tests.passed = tests.passed.saturating_add(sums.passed - flaky);
        tests.failed = tests.failed.saturating_add(failed);
        tests.skipped = tests.skipped.saturating_add(sums.skipped);
        let flakes = names.into_iter().map(|name| FailedTest {
            name,
            message: "failed, and passed when pytest ran it again".to_owned(),
            ..FailedTest::default()
        });
        tests.flakes.extend(flakes.take(limits::FINDINGS));
    }

    /// Reads the report of the plugin `flaky`: `test_x failed (1 runs remaining out of 2).`
    fn flaky_plugin(&mut self, line: &str) {
        let Some((name, rest)) = line.split_once(" failed (") else { return };
        if rest.contains(" runs remaining out of ") && !name.contains(' ') {
            self.entry("RERUN", name);
        }
    }
}

/// Reads a line of the short summary: `FAILED tests/test_a.py::test_b - assert 1 == 2`.
fn summary_entry(line: &str) -> Option<(&'static str, &str)> {
    for word in ["FAILED", "ERROR", "RERUN"] {
        if let Some(rest) = line.strip_prefix(word).and_then(|rest| rest.strip_prefix(' ')) {
            let id = split_id(rest).0;
            return (id.contains("::") || id.ends_with(".py")).then_some((word, rest));
        }
        // With -v a result stands behind its test: `tests/test_a.py::test_b RERUN [ 50%]`.
        if word == "RERUN"
            && let Some((id, _)) = line.split_once(" RERUN")
            && id.contains("::")
        {
            return Some((word, id));
        }
    }
    None
}

/// Parts a test from its message. A parameter of a test may have the same dash in it, within brackets.
fn split_id(text: &str) -> (&str, &str) {
    let from = text.find('[').and_then(|open| text[open..].find("] - ").map(|close| open + close + 1));
    let at = from.or_else(|| text.find(" - "));
    match at {
        Some(at) => (text[..at].trim(), text[at..].trim_start_matches(" - ").trim()),
        None => (text.trim(), ""),
    }
}

/// Reads what follows `collected`: `5 items / 1 deselected / 4 selected`. `None` when collecting failed.
fn selected(text: &str) -> Option<u64> {
    let (items, _) = lines::number(text)?;
    let part = |word: &str| {
        text.split(" / ").find_map(|part| Some(lines::number(part.trim().strip_suffix(word)?)?.0))
    };
    if part("error").or(part("errors")).is_some() {
        return None;
    }
    Some(part("selected").unwrap_or_else(|| items.saturating_sub(part("deselected").unwrap_or(0))))
}

/// Reads a last line: `1 failed, 2 passed, 1 skipped in 0.03s`.
fn sums(text: &str) -> Option<Sums> {
    let (counts, time) = text.rsplit_once(" in ")?;
    let seconds = time.split(' ').next()?.strip_suffix('s')?;
    if seconds.is_empty() || !seconds.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let mut sums = Sums::default();
    if counts == "no tests ran" {
        return Some(sums);
    }
    for part in counts.split(", ").flat_map(|part| part.split('/')) {
        let (count, word) = lines::number(part)?;
        match word.trim() {
            "failed" => sums.failed += count,
            "error" | "errors" => sums.errors += count,
            // A test that passed although it was expected to fail ran, and was not strict about it.
            "passed" | "xpassed" => sums.passed += count,
            "skipped" | "xfailed" => sums.skipped += count,
            "rerun" => sums.rerun += count,
            "test collected" | "tests collected" | "tests collected (1 deselected)" => {
                sums.collected += count
            }
            "deselected" | "warning" | "warnings" => {}
            other if other.starts_with("tests collected") => sums.collected += count,
            "" => sums.collected += count,
            _ => return None,
        }
    }
    Some(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Tests {
        parse(text.as_bytes()).expect("it is read")
    }

    const FAILED: &str = "============================= test session starts ==============================
platform linux -- Python 3.11.7, pytest-8.3.3, pluggy-1.5.0
rootdir: /tree
collected 5 items / 1 deselected / 4 selected

tests/test_a.py .F.s                                                     [100%]

=================================== FAILURES ===================================
_________________________________ TestC.test_bad _______________________________

self = <tests.test_a.TestC object at 0x7f>

    def test_bad(self):
>       assert 1 == 2
E       assert 1 == 2

tests/test_a.py:7: AssertionError
=========================== short test summary info ============================
FAILED tests/test_a.py::TestC::test_bad - assert 1 == 2
============= 1 failed, 2 passed, 1 skipped, 1 deselected in 0.03s =============
";

    #[test]
    fn numbers_tests_and_places_are_read() {
        let tests = read(FAILED);
        assert_eq!((tests.passed, tests.failed, tests.skipped, tests.faults.len()), (2, 1, 1, 0));
        let failed = &tests.failures[0];
        assert_eq!(failed.id(), "tests/test_a.py::TestC::test_bad");
        assert_eq!(
            (failed.path.as_deref(), failed.line, failed.message.as_str()),
            (Some("tests/test_a.py"), Some(7), "assert 1 == 2")
        );
    }

    #[test]
    fn quiet_sessions_and_several_of_them_are_added_up() {
        let tests = read(
            "...                                                                      [100%]\n3 passed in 0.01s\n2 passed, 1 xfailed, 1 xpassed, 2 warnings in 75.20s (0:01:15)\n",
        );
        assert_eq!((tests.passed, tests.skipped, tests.faults.len()), (6, 1, 0));
        assert_eq!(read("no tests ran in 0.00s\n").ran(), 0);
    }

    #[test]
    fn what_only_collects_or_ends_from_within_is_a_fault() {
        let start = "============================= test session starts ==============================\ncollected 3 items\n";
        for (text, wanted) in [
            (format!("{start}\ntests/test_a.py ."), "ended from within"),
            (
                format!(
                    "{start}<Module a.py>\n\n========================= 3 tests collected in 0.01s =========================\n"
                ),
                "none was run",
            ),
            ("a.py::test_a\n\n3 tests collected in 0.01s\n".to_owned(), "none was run"),
            (
                format!("{start}\n========= 1 passed in 0.01s =========\n"),
                "3 tests were collected and 1 have a result",
            ),
        ] {
            let tests = read(&text);
            assert!(tests.faults.iter().any(|fault| fault.contains(wanted)), "{text}: {:?}", tests.faults);
        }
    }

    #[test]
    fn tests_that_pass_when_run_again_are_flaky() {
        let tests = read(
            "collected 2 items\na.py::test_x RERUN [ 50%]\na.py::test_x PASSED [ 50%]\na.py::test_y PASSED [100%]\n=== 2 passed, 1 rerun in 0.10s ===\n",
        );
        assert_eq!((tests.passed, tests.flaky), (1, 1));
        assert_eq!(tests.flakes[0].name, "a.py::test_x");
        let unnamed = read("collected 2 items\n\na.py R..\n=== 2 passed, 1 rerun in 0.10s ===\n");
        assert_eq!((unnamed.passed, unnamed.flaky, unnamed.flakes.len()), (1, 1, 0));
    }

    #[test]
    fn each_try_of_its_junit_report_is_a_case() {
        let tests = read(
            "<testsuites><testsuite name=\"pytest\" tests=\"2\"><testcase classname=\"t\" name=\"a\"/><testcase classname=\"t\" name=\"b\"/><testcase classname=\"t\" name=\"b\"/></testsuite></testsuites>",
        );
        assert_eq!((tests.passed, tests.flaky, tests.faults.len()), (1, 1, 0));
    }

    #[test]
    fn ids_with_dashes_in_their_parameters_stay_whole() {
        assert_eq!(split_id("a.py::t[x - y] - boom - bang"), ("a.py::t[x - y]", "boom - bang"));
        assert_eq!(split_id("a.py::t - boom"), ("a.py::t", "boom"));
        assert_eq!(split_id("a.py::t"), ("a.py::t", ""));
        assert!(parse(b"ok\n").is_err());
    }

    #[test]
    fn an_error_of_collecting_is_a_failure() {
        let tests = read(
            "============================= test session starts ==============================\ncollected 1 item / 1 error\n\n==================================== ERRORS ====================================\n_______________________ ERROR collecting tests/test_b.py _______________________\ntests/test_b.py:1: in <module>\n    import nothing\nE   ModuleNotFoundError: No module named 'nothing'\n=========================== short test summary info ============================\nERROR tests/test_b.py\n!!!!!!!!!!!!!!!!!!!! Interrupted: 1 error during collection !!!!!!!!!!!!!!!!!!!!\n=============================== 1 error in 0.08s ===============================\n",
        );
        assert_eq!((tests.failed, tests.failures[0].name.as_str()), (1, "tests/test_b.py"));
    }
}
