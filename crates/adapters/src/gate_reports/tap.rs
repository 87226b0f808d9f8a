//! The Test Anything Protocol, versions 13 and 14: numbered points with a plan, subtests indented by four, diagnostics. Lines
//! that are none of it are passed over, as the protocol says.

use super::lines;
use super::malformed::Malformed;
use super::results::{CaseOutcome, Collector, FailedTest, Names, Tests};

/// Deepest subtest that is read as one.
const DEPTH: usize = 32;

/// Reads what one or more programs printed.
pub(super) fn parse(bytes: &[u8]) -> Result<Tests, Malformed> {
    read(bytes).map(|read| read.tests)
}

/// Content of a stream, with the comments that runners sum up in.
pub(super) struct TapContent {
    pub(super) tests: Tests,
    /// The last `# pass N`, `# fail N` and so on.
    pub(super) sums: Vec<(String, u64)>,
}

/// Reads a stream with its sums.
pub(super) fn read(bytes: &[u8]) -> Result<TapContent, Malformed> {
    let mut reader = TapReader {
        collector: Collector::new(Names::Ids),
        levels: vec![Level::default()],
        documents: 0,
        told: None,
        in_stack: false,
        sums: Vec::new(),
        points: 0,
    };
    for line in lines::of(bytes) {
        reader.line(&line)?;
    }
    reader.finish()
}

struct TapReader {
    collector: Collector,
    /// The open levels: the first is the program's own, each further one a subtest in the one before.
    levels: Vec<Level>,
    /// Number of the program whose points are read.
    documents: u64,
    /// The failed point whose diagnostics are being read.
    told: Option<(CaseOutcome, FailedTest)>,
    /// Its stack is being read.
    in_stack: bool,
    sums: Vec<(String, u64)>,
    points: u64,
}

#[derive(Default)]
struct Level {
    name: String,
    plan: Option<u64>,
    /// The plan came after points, so that no more may follow.
    closed: bool,
    points: u64,
    /// The highest number so far.
    number: u64,
    /// Failed points of it, and of all below it.
    failed: u64,
}

/// A test point.
struct Point<'a> {
    ok: bool,
    number: Option<u64>,
    name: &'a str,
    directive: Option<Directive>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Directive {
    Skip,
    Todo,
}

impl TapReader {
    fn line(&mut self, line: &str) -> Result<(), Malformed> {
        let text = line.trim_start_matches(' ');
        let depth = (line.len() - text.len()) / 4;
        if let Some(reason) = text.strip_prefix("Bail out!") {
            self.settle()?;
            self.collector.tests.fault(format!("it bailed out: {}", reason.trim()));
        } else if text.starts_with("TAP version ") {
            self.settle()?;
            if depth == 0 && self.started() {
                self.next_document();
            }
        } else if let Some(plan) = plan(text).filter(|_| depth < DEPTH) {
            self.settle()?;
            self.plan(depth, plan);
        } else if let Some(point) = point(text).filter(|_| depth < DEPTH) {
            self.settle()?;
            self.point(depth, &point)?;
        } else if let Some(name) = text.strip_prefix("# Subtest") {
            self.settle()?;
            let name = name.trim_start_matches(':').trim();
            // The comment stands before its subtest, indented as it or as its point.
            if let Some(level) = self.levels.get_mut(depth + 1) {
                level.name = name.to_owned();
            }
        } else if let Some((word, count)) = sum(text).filter(|_| depth == 0) {
            self.settle()?;
            self.sums.retain(|(known, _)| *known != word);
            if self.sums.len() < 16 {
                self.sums.push((word, count));
            }
        } else if let Some((_, test)) = self.told.as_mut().filter(|_| !self.in_stack) {
            // A stack is longer than all that a person needs, and its last part of a diagnostic.
            self.in_stack = text.starts_with("stack:");
            diagnose(test, text);
        }
        Ok(())
    }

    fn started(&self) -> bool {
        self.levels.len() > 1
            || self.levels.first().is_some_and(|level| level.points > 0 || level.plan.is_some())
    }

    fn next_document(&mut self) {
        self.close(0);
        self.documents += 1;
        self.levels = vec![Level::default()];
    }

    /// Opens the levels down to a depth. One that nothing opened in between has no name.
    fn open(&mut self, depth: usize) {
        while self.levels.len() > depth + 1 {
            self.close(self.levels.len() - 1);
            self.levels.pop();
        }
        while self.levels.len() < depth + 1 {
            self.levels.push(Level::default());
        }
    }

    fn plan(&mut self, depth: usize, count: u64) {
        self.open(depth);
        let level = self.levels.last().expect("one is always open");
        // The next program of several that print one after the other.
        if depth == 0 && level.plan.is_some() {
            self.next_document();
        }
        let level = self.levels.last_mut().expect("one is always open");
        match level.plan {
            Some(_) => self.collector.tests.fault("a subtest has two plans"),
            None => (level.plan, level.closed) = (Some(count), level.points > 0),
        }
    }

    fn point(&mut self, depth: usize, point: &Point<'_>) -> Result<(), Malformed> {
        self.points += 1;
        // A point closes the subtest that stands before it, and is its result.
        let inner = (self.levels.len() > depth + 1).then(|| {
            while self.levels.len() > depth + 2 {
                self.close(self.levels.len() - 1);
                self.levels.pop();
            }
            self.close(depth + 1);
            self.levels.pop().unwrap_or_default()
        });
        self.open(depth);
        // A stream may continue with the next program, whose first point is number 1 again.
        let level = self.levels.last().expect("one is always open");
        if depth == 0 && level.closed && point.number.is_none_or(|number| number == 1) {
            self.next_document();
        }
        let group = self
            .levels
            .iter()
            .map(|level| level.name.as_str())
            .filter(|name| !name.is_empty())
            .collect::<Vec<_>>()
            .join(" > ");
        let level = self.levels.last_mut().expect("one is always open");
        level.points += 1;
        let number = point.number.unwrap_or(level.number + 1);
        if number <= level.number {
            self.collector
                .tests
                .fault(format!("the test point {number} is reported more than once or out of order"));
        }
        level.number = level.number.max(number);
        let failed =
            !point.ok && point.directive != Some(Directive::Todo) && point.directive != Some(Directive::Skip);
        let inside = inner.as_ref().map_or(0, |inner| inner.failed);
        level.failed += inside;
        // The point of a subtest sums up its own points: these are the results.
        if inner.as_ref().is_some_and(|inner| inner.points > 0) && (!failed || inside > 0) {
            if point.ok && inside > 0 && point.directive.is_none() {
                self.collector.tests.fault(format!(
                    "the subtest `{}` is ok although {inside} of its tests failed",
                    point.name
                ));
            }
            return Ok(());
        }
        level.failed += u64::from(failed);
        let outcome = match (failed, point.directive) {
            (true, _) => CaseOutcome::Failed,
            (false, Some(_)) => CaseOutcome::Skipped,
            (false, None) => CaseOutcome::Passed,
        };
        let name = if point.name.is_empty() { format!("test {number}") } else { point.name.to_owned() };
        self.told = Some((outcome, FailedTest { group, name, ..FailedTest::default() }));
        Ok(())
    }

    /// Counts the point whose diagnostics have ended.
    fn settle(&mut self) -> Result<(), Malformed> {
        self.in_stack = false;
        let Some((outcome, mut test)) = self.told.take() else { return Ok(()) };
        if test.message.is_empty() {
            test.message.push_str("not ok");
        }
        // Points are told apart by their numbers; their descriptions may be the same.
        let scope = format!("{} {}", self.documents, self.points);
        self.collector.add(&scope, outcome, test)
    }

    /// Checks a level that has ended against its plan.
    fn close(&mut self, depth: usize) {
        let Some(level) = self.levels.get(depth) else { return };
        let what = if depth == 0 { "it".to_owned() } else { format!("the subtest `{}`", level.name) };
        let fault = match level.plan {
            Some(plan) if plan != level.points => {
                format!("{what} plans {plan} tests and has {}", level.points)
            }
            Some(plan) if level.number > plan => {
                format!("{what} plans {plan} tests and numbers one {}", level.number)
            }
            None if level.points > 0 => format!("{what} has no plan, so it may have been cut off"),
            _ => return,
        };
        self.collector.tests.fault(fault);
    }

    fn finish(mut self) -> Result<TapContent, Malformed> {
        self.settle()?;
        while self.levels.len() > 1 {
            // A subtest whose own point is missing.
            self.collector.tests.fault("a subtest has no result");
            self.close(self.levels.len() - 1);
            self.levels.pop();
        }
        self.close(0);
        let planned = self.levels.first().is_some_and(|level| level.plan.is_some());
        match self.points == 0 && !planned && self.collector.tests.faults.is_empty() {
            true => Err(Malformed::NotOfFormat("TAP stream (no plan and no test point)")),
            false => Ok(TapContent { tests: self.collector.tests, sums: self.sums }),
        }
    }
}

/// Reads `1..4`, which may have a reason behind it.
fn plan(text: &str) -> Option<u64> {
    let (count, rest) = lines::number(text.strip_prefix("1..")?)?;
    (rest.is_empty() || rest.trim_start().starts_with('#') || rest.trim().is_empty()).then_some(count)
}

/// Reads `not ok 2 - divides # TODO later`.
fn point(text: &str) -> Option<Point<'_>> {
    let (ok, rest) = match (text.strip_prefix("not ok"), text.strip_prefix("ok")) {
        (Some(rest), _) => (false, rest),
        (None, Some(rest)) => (true, rest),
        (None, None) => return None,
    };
    if !rest.is_empty() && !rest.starts_with([' ', '\t']) {
        return None;
    }
    let rest = rest.trim_start();
    let (number, rest) = match lines::number(rest) {
        Some((number, after)) if after.is_empty() || after.starts_with([' ', '\t']) => {
            (Some(number), after.trim_start())
        }
        _ => (None, rest),
    };
    let rest = rest.strip_prefix("- ").or(rest.strip_prefix('-')).unwrap_or(rest);
    let (name, directive) = directive(rest);
    // `{` opens a subtest in another dialect.
    Some(Point { ok, number, name: name.trim().trim_end_matches(" {"), directive })
}

/// Parts a description from its directive; a mark with a backslash before it is part of the description.
fn directive(text: &str) -> (&str, Option<Directive>) {
    for (at, _) in text.match_indices('#').take(64) {
        if text[..at].ends_with('\\') {
            continue;
        }
        let word = text[at + 1..].trim_start();
        let is =
            |wanted: &str| word.get(..wanted.len()).is_some_and(|start| start.eq_ignore_ascii_case(wanted));
        if is("skip") {
            return (&text[..at], Some(Directive::Skip));
        }
        if is("todo") {
            return (&text[..at], Some(Directive::Todo));
        }
    }
    (text, None)
}

/// Reads `# pass 3`.
fn sum(text: &str) -> Option<(String, u64)> {
    let (word, count) = text.strip_prefix("# ")?.trim().split_once(' ')?;
    let known = matches!(
        word,
        "tests" | "pass" | "fail" | "cancelled" | "skipped" | "skip" | "todo" | "suites" | "ok"
    );
    Some((word.to_owned(), lines::number(count.trim()).filter(|(_, rest)| known && rest.is_empty())?.0))
}

/// Takes a line of diagnostics: YAML of a runner, or comments such as those of Perl's Test::More.
fn diagnose(test: &mut FailedTest, text: &str) {
    let text = text.trim_start_matches('#').trim();
    if matches!(text, "" | "---" | "..." | "error: |-" | "message: |-") {
        return;
    }
    let value = |key: &str| text.strip_prefix(key).map(|value| value.trim().trim_matches(['\'', '"']));
    if let Some((path, line)) = value("location:").or(value("at:")).and_then(lines::place) {
        (test.path, test.line) = (Some(path), Some(line));
    } else if let Some((path, line)) = text.strip_prefix("at ").and_then(|rest| rest.split_once(" line ")) {
        (test.path, test.line) = (Some(path.to_owned()), lines::number(line).map(|(line, _)| line));
    } else if text.starts_with("at ") || text.starts_with("Error:") {
        // The stack of a runner in JavaScript; its own `at:` has the place.
    } else if let Some(path) = value("file:") {
        test.path.get_or_insert_with(|| path.to_owned());
    } else if let Some(line) = value("line:").and_then(|line| line.parse().ok()) {
        test.line.get_or_insert(line);
    } else if let Some(message) = value("message:")
        .or(value("error:"))
        .filter(|message| !matches!(*message, "" | "|-" | "|" | ">-" | "|+"))
    {
        lines::append(&mut test.message, message);
    } else if !["duration_ms:", "type:", "operator:", "stack:", "severity:", "failureType:", "code:", "name:"]
        .iter()
        .any(|key| text.starts_with(key))
    {
        lines::append(&mut test.message, text);
    }
}

#[cfg(test)]
#[path = "tap_tests.rs"]
mod tests;
