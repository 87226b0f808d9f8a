//! Findings in the words of other programs: what compilers, linters and test runners print, read line by line.
//! What no reader knows becomes one finding with the end of the log, so that an agent always has something to act
//! on.

use std::path::Path;
use std::sync::LazyLock;

use mosaic_core::domain::gates::Finding;
use mosaic_core::domain::outcome::cut;
use mosaic_core::limits;
use regex::{Captures, Regex};

use crate::gate_reports::check_path;

/// Longest line that is read; findings of real tools are far shorter.
const LINE: usize = 4096;
/// Longest message of one finding, in bytes.
const MESSAGE: usize = 2048;
/// Lines of a log's end that stand for a log nobody understands.
const TAIL_LINES: usize = 20;

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is constant and tested")
}

macro_rules! patterns {
    ($($name:ident = $text:literal;)*) => { $(static $name: LazyLock<Regex> = LazyLock::new(|| pattern($text));)* };
}

patterns! {
    // error[E0308]: mismatched types
    RUST_HEAD = r"^(error|warning)(?:\[[A-Za-z0-9:_]+\])?: (.+)$";
    //   --> src/lib.rs:3:5
    RUST_PLACE = r"^ *--> ([^ ].*?):([0-9]+):[0-9]+$";
    // thread 'tests::adds' panicked at src/lib.rs:9:5:
    RUST_PANIC = r"^thread '(.+)' (?:\([0-9]+\) )?panicked at (.+?):([0-9]+):[0-9]+:$";
    // src/a.ts(3,5): error TS2322: Type …
    TSC = r"^([^ (][^(]*)\(([0-9]+),[0-9]+\): (error|warning)(.*)$";
    // src/a.ts:3:5 - error TS2322: Type …
    TSC_PRETTY = r"^([^ :][^:]*):([0-9]+):[0-9]+ - (error|warning)(.*)$";
    //   12:5  error  'x' is not defined  no-undef
    ESLINT = r"^ +([0-9]+):[0-9]+ +(error|warning) +(.+)$";
    // ::error file=src/a.c,line=3::message
    GITHUB = r"^::(error|warning) ?([^:]*(?::[^:]+)*?)::(.*)$";
    // FAILED tests/test_a.py::test_b - AssertionError: …
    PYTEST = r"^(?:FAILED|ERROR) ([^ :]+\.py)(?:::([^ ]+))?(?: - (.*))?$";
    // a.c:3:5: error: …   a.go:3:5: …   a.py:3: AssertionError
    PLACE = r"^([^ :][^ :]*\.[A-Za-z0-9_+]+|[^ :]*[Mm]akefile):([0-9]+):(?:([0-9]+):)? ?(.+)$";
}

/// Findings in a log: errors, or warnings when there is no error.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The findings, at most [`limits::FINDINGS`].
    pub findings: Vec<Finding>,
    /// Number of all findings in the log.
    pub count: usize,
}

struct Reader<'a> {
    source: &'a str,
    checkout: &'a Path,
    errors: Found,
    warnings: Found,
    /// Severity and message of a rustc diagnostic whose place is still to come.
    head: Option<(bool, String)>,
    /// A panic whose message is on the next line.
    panic: Option<(String, String, String)>,
    /// The file that eslint's next lines are about.
    file: Option<String>,
}

/// Reads a log that is not empty of terminal escapes any more. `checkout` is taken off absolute paths.
pub(super) fn parse(source: &str, log: &str, checkout: &Path) -> Found {
    let (errors, warnings) = Default::default();
    let mut reader = Reader { source, checkout, errors, warnings, head: None, panic: None, file: None };
    for line in log.lines().filter(|line| line.len() <= LINE) {
        reader.line(line);
    }
    if reader.errors.count > 0 { reader.errors } else { reader.warnings }
}

/// Returns the end of a log as one finding, when the log has any text.
pub(super) fn tail(source: &str, log: &str) -> Option<Finding> {
    let lines: Vec<&str> =
        log.lines().rev().filter(|line| !line.trim().is_empty()).take(TAIL_LINES).collect();
    let lines: Vec<String> = lines.into_iter().rev().map(|line| cut(line.to_owned(), MESSAGE / 8)).collect();
    let message = cut(lines.join("\n"), 2 * MESSAGE);
    (!message.is_empty()).then(|| Finding {
        source: source.to_owned(),
        path: None,
        line: None,
        message,
        secret: None,
    })
}

impl Reader<'_> {
    fn line(&mut self, line: &str) {
        if let Some((path, number, test)) = self.panic.take() {
            self.add(true, &path, &number, &format!("{test} panicked: {line}"));
            return;
        }
        let known = self.rust(line) || self.annotated(line) || self.eslint(line) || self.placed(line);
        if !known && self.looks_like_file(line) {
            self.file = Some(line.to_owned());
        } else if line.is_empty() {
            self.file = None;
        }
    }

    fn rust(&mut self, line: &str) -> bool {
        if let Some(found) = RUST_PANIC.captures(line) {
            self.panic = Some((found[2].to_owned(), found[3].to_owned(), found[1].to_owned()));
        } else if let Some(found) = RUST_HEAD.captures(line) {
            self.head = Some((&found[1] == "error", found[2].to_owned()));
        } else if let Some(found) = RUST_PLACE.captures(line) {
            // Only the first place of a diagnostic is where it is; the others are notes.
            if let Some((error, message)) = self.head.take() {
                self.add(error, &found[1], &found[2], &message);
            }
        } else {
            return false;
        }
        true
    }

    fn annotated(&mut self, line: &str) -> bool {
        let Some(found) = GITHUB.captures(line) else { return false };
        let get = |name: &str| {
            found[2]
                .split(',')
                .find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
                .unwrap_or_default()
        };
        let message = found[3].replace("%0A", "\n").replace("%0D", "").replace("%25", "%");
        self.add(&found[1] == "error", get("file"), get("line"), &message);
        true
    }

    fn eslint(&mut self, line: &str) -> bool {
        let (Some(found), Some(file)) = (ESLINT.captures(line), self.file.clone()) else { return false };
        self.add(&found[2] == "error", &file, &found[1], &words(&found[3]));
        true
    }

    fn placed(&mut self, line: &str) -> bool {
        if let Some(found) = TSC.captures(line).or_else(|| TSC_PRETTY.captures(line)) {
            let message = format!("{}{}", &found[3], &found[4]);
            self.add(&found[3] == "error", &found[1], &found[2], &message);
        } else if let Some(found) = PYTEST.captures(line) {
            let part = |n| found.get(n).map_or("", |m: regex::Match<'_>| m.as_str());
            let message = format!("{} failed: {}", part(2), part(3));
            self.add(true, &found[1], "", message.trim().trim_end_matches(':'));
        } else if let Some(found) = PLACE.captures(line) {
            return self.compiler(&found);
        } else {
            return false;
        }
        true
    }

    /// A line such as gcc's. Its notes belong to an error above and are no findings of their own.
    fn compiler(&mut self, found: &Captures<'_>) -> bool {
        let message = found[4].trim();
        if message.starts_with("note:") || inside(&found[1], self.checkout).is_none() {
            return false;
        }
        self.add(!message.starts_with("warning:"), &found[1], &found[2], message);
        true
    }

    fn looks_like_file(&self, line: &str) -> bool {
        let named = line.rsplit_once('.').is_some_and(|(_, end)| !end.is_empty() && end.len() <= 5);
        named && !line.starts_with(' ') && inside(line, self.checkout).is_some()
    }

    fn add(&mut self, error: bool, path: &str, line: &str, message: &str) {
        let into = if error { &mut self.errors } else { &mut self.warnings };
        let finding = Finding {
            source: self.source.to_owned(),
            path: inside(path, self.checkout),
            line: line.parse().ok().filter(|line| *line > 0),
            message: cut(message.trim().to_owned(), MESSAGE),
            secret: None,
        };
        if finding.message.is_empty() || into.findings.contains(&finding) {
            return;
        }
        into.count += 1;
        if into.findings.len() < limits::FINDINGS {
            into.findings.push(finding);
        }
    }
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the path within the repository, or `None` when it names something else.
fn inside(path: &str, checkout: &Path) -> Option<String> {
    let relative = Path::new(path).strip_prefix(checkout).ok().and_then(Path::to_str).unwrap_or(path);
    let relative = relative.strip_prefix("./").unwrap_or(relative);
    check_path(relative).is_ok().then(|| relative.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a log and returns `path:line message` per finding.
    fn read(log: &str) -> Vec<String> {
        let found = parse("gate", log, Path::new("/tree"));
        let show = |f: &Finding| {
            format!("{}:{} {}", f.path.as_deref().unwrap_or("-"), f.line.unwrap_or(0), f.message)
        };
        found.findings.iter().map(show).collect()
    }

    #[test]
    fn reads_what_tools_print() {
        let samples = [
            (
                "error[E0308]: mismatched types\n  --> src/lib.rs:3:5\n   |\n3  |     x\nnote: here\n  --> src/b.rs:1:1\n",
                "src/lib.rs:3 mismatched types",
            ),
            (
                "thread 'tests::adds' panicked at src/lib.rs:9:5:\nassertion failed: false\n",
                "src/lib.rs:9 tests::adds panicked: assertion failed: false",
            ),
            ("thread 'adds' (4711) panicked at src/lib.rs:9:5:\nno\n", "src/lib.rs:9 adds panicked: no"),
            (
                "src/a.ts(3,5): error TS2322: Type 'a' is not 'b'.\n",
                "src/a.ts:3 error TS2322: Type 'a' is not 'b'.",
            ),
            ("src/a.ts:3:5 - error TS2322: No.\n", "src/a.ts:3 error TS2322: No."),
            (
                "\n/tree/src/a.js\n  12:5  error  'x' is not defined  no-undef\n\n✖ 1 problem\n",
                "src/a.js:12 'x' is not defined no-undef",
            ),
            ("tests/test_a.py:7: AssertionError\n", "tests/test_a.py:7 AssertionError"),
            (
                "FAILED tests/test_a.py::test_b - assert 1 == 2\n",
                "tests/test_a.py:0 test_b failed: assert 1 == 2",
            ),
            ("./calc.go:12:3: undefined: x\n", "calc.go:12 undefined: x"),
            ("    calc_test.go:9: want 1\n", ""),
            (
                "src/a.c:3:5: error: 'x' undeclared\nsrc/a.c:3:5: note: each\n",
                "src/a.c:3 error: 'x' undeclared",
            ),
            ("Makefile:12: *** missing separator.\n", "Makefile:12 *** missing separator."),
            ("::error file=src/a.c,line=3,col=1::bad%0Athing\n", "src/a.c:3 bad\nthing"),
            ("::error::no place\n", "-:0 no place"),
            ("/usr/include/x.h:3:1: error: foreign\n../../x.c:3: error: foreign\n", ""),
            ("10:04:09 all good\nhttp://x.y/z:80: a\nok\n", ""),
        ];
        for (log, want) in samples {
            let wanted: Vec<String> = if want.is_empty() { Vec::new() } else { vec![want.to_owned()] };
            assert_eq!(read(log), wanted, "{log}");
        }
    }

    #[test]
    fn warnings_count_only_without_errors() {
        let log = "a.c:1:1: warning: w\na.c:2:1: error: e\n";
        assert_eq!(read(log), ["a.c:2 error: e"]);
        assert_eq!(read("a.c:1:1: warning: w\n"), ["a.c:1 warning: w"]);
    }

    #[test]
    fn floods_are_counted_and_bounded() {
        let log: String = (1..=500).map(|n| format!("a.c:{n}:1: error: e\n")).collect();
        let found = parse("lint", &log, Path::new("/tree"));
        assert_eq!((found.findings.len(), found.count), (limits::FINDINGS, 500));
        assert!(read(&format!("a.c:1: {}\n", "x".repeat(1 << 20))).is_empty());
    }

    #[test]
    fn the_end_of_an_unknown_log_is_one_finding() {
        let log: String = (1..=100).map(|n| format!("line {n}\n\n")).collect();
        let finding = tail("tests", &log).unwrap();
        assert!(finding.message.starts_with("line 81\n") && finding.message.ends_with("line 100"));
        assert!(tail("tests", " \n").is_none());
    }
}
