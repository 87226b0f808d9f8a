//! Output of `cargo test` (and of one test binary): text as libtest prints it, of many binaries in one log, or its JSON
//! lines. Each binary lists how many tests it runs, and must have a result of each and an end.

use std::collections::HashMap;

use mosaic_core::limits;
use serde::Deserialize;

use super::lines;
use super::malformed::Malformed;
use super::results::{CaseOutcome, Collector, FailedTest, Names, Tests};

/// Reads what one or more test binaries printed.
pub(super) fn parse(bytes: &[u8]) -> Result<Tests, Malformed> {
    let mut reader = LibtestReader::new();
    for line in lines::of(bytes) {
        match line.starts_with('{').then(|| serde_json::from_str::<Event>(&line).ok()).flatten() {
            Some(event) => reader.event(event)?,
            None => reader.line(&line)?,
        }
    }
    reader.finish()
}

struct LibtestReader {
    collector: Collector,
    /// The binary that the next block belongs to, as cargo names it: its path, which has a hash, and its short name.
    binary: (String, String),
    block: Option<Block>,
    blocks: u64,
    /// The test whose panic or output is being read.
    told: Option<String>,
    /// Failed tests of the block, until its end: their messages may come after their results.
    failed: Vec<FailedTest>,
    /// Places and messages of tests of the block, by their names.
    messages: HashMap<String, FailedTest>,
}

/// One `running N tests` and its results.
struct Block {
    wanted: u64,
    named: u64,
    /// A test whose result comes on a later line, because it printed something.
    open: Option<String>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    event: Option<String>,
    name: Option<String>,
    test_count: Option<u64>,
    stdout: Option<String>,
    message: Option<String>,
    passed: Option<u64>,
    failed: Option<u64>,
    ignored: Option<u64>,
    measured: Option<u64>,
}

/// Numbers of a `test result:` line.
#[derive(Default, Debug, PartialEq)]
struct Sums {
    passed: u64,
    failed: u64,
    ignored: u64,
    measured: u64,
}

impl LibtestReader {
    fn new() -> Self {
        Self {
            collector: Collector::new(Names::Ids),
            binary: Default::default(),
            block: None,
            blocks: 0,
            told: None,
            failed: Vec::new(),
            messages: HashMap::new(),
        }
    }

    fn line(&mut self, line: &str) -> Result<(), Malformed> {
        let trimmed = line.trim();
        if let Some(binary) = binary(trimmed) {
            self.cut("another binary began");
            self.binary = binary;
        } else if let Some(wanted) = running(trimmed) {
            self.begin(wanted);
        } else if let Some(sums) = trimmed.strip_prefix("test result: ").and_then(sums) {
            self.end(&sums)?;
        } else if trimmed.starts_with("error: test failed, to rerun pass") {
            self.collector.tests.stopped_early =
                Some("cargo left out the binaries after the first that failed (run it with --no-fail-fast)");
        } else if trimmed.starts_with("error: ") && trimmed.ends_with(" failed:") {
            // `error: 2 targets failed:` ends a run with --no-fail-fast, which tells each of them as above, too.
            self.collector.tests.stopped_early = None;
        } else if let Some(name) = trimmed
            .strip_prefix("---- ")
            .and_then(|rest| rest.strip_suffix(" stdout ----").or(rest.strip_suffix(" stderr ----")))
        {
            self.told = Some(name.to_owned());
        } else if matches!(trimmed, "failures:" | "successes:" | "stack backtrace:") {
            self.told = None;
        } else if self.told.is_none() || self.closes(trimmed) {
            self.told = None;
            self.result(trimmed)?;
        }
        self.tell(line);
        Ok(())
    }

    fn begin(&mut self, wanted: u64) {
        self.cut("another binary began");
        self.blocks += 1;
        self.block = Some(Block { wanted, named: 0, open: None });
        self.told = None;
    }

    /// Tells whether a line is the result of a test that printed something before it.
    fn closes(&self, line: &str) -> bool {
        self.block.as_ref().is_some_and(|block| block.open.is_some()) && outcome(line).is_some()
    }

    /// Reads `test NAME ... ok`, of which the second half may come later.
    fn result(&mut self, line: &str) -> Result<(), Malformed> {
        let Some(block) = &mut self.block else { return Ok(()) };
        if let Some((name, rest)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) {
            match outcome(rest) {
                Some(outcome) => return self.named(name.to_owned(), outcome),
                None => block.open = Some(name.to_owned()),
            }
        } else if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ...")) {
            block.open = Some(name.to_owned());
        } else if let (Some(outcome), Some(name)) =
            (outcome(line), block.open.take_if(|_| outcome(line).is_some()))
        {
            return self.named(name, outcome);
        }
        Ok(())
    }

    fn named(&mut self, name: String, outcome: CaseOutcome) -> Result<(), Malformed> {
        let name = name.trim_end_matches(" - should panic").to_owned();
        if let Some(block) = &mut self.block {
            block.named += 1;
            block.open = None;
        }
        let case = FailedTest { group: self.binary.1.clone(), name: name.clone(), ..FailedTest::default() };
        if outcome == CaseOutcome::Failed && self.failed.len() < limits::FINDINGS {
            self.failed.push(case);
            return Ok(());
        }
        self.collector.add(&self.scope(), outcome, case)
    }

    /// Names the binary of a test; where cargo did not say which, each block is one.
    fn scope(&self) -> String {
        match self.binary.0.is_empty() {
            true => self.blocks.to_string(),
            false => self.binary.0.clone(),
        }
    }

    /// Adds a line of a test's output to what is told about it. A panic names its test itself, where nothing is captured.
    fn tell(&mut self, line: &str) {
        let panic = panic(line);
        if let Some((name, _, _)) = &panic {
            let open = self.block.as_ref().and_then(|block| block.open.clone());
            self.told = self.told.take().or(open).or(Some((*name).to_owned()));
        }
        let Some(name) = self.told.clone() else { return };
        if self.messages.len() >= limits::FINDINGS && !self.messages.contains_key(&name) {
            return;
        }
        let test = self.messages.entry(name).or_default();
        match panic {
            Some((_, path, number)) if test.line.is_none() => {
                (test.path, test.line) = (Some(path), Some(number))
            }
            Some(_) => {}
            None if line.starts_with("note: ") => self.told = None,
            None if line.trim().is_empty() || line.starts_with("---- ") => {}
            None => lines::append(&mut test.message, line),
        }
    }

    fn event(&mut self, event: Event) -> Result<(), Malformed> {
        match (event.kind.as_str(), event.event.as_deref()) {
            ("suite", Some("started")) => self.begin(event.test_count.unwrap_or(0)),
            ("suite", Some("ok" | "failed")) => {
                let [passed, failed, ignored, measured] =
                    [event.passed, event.failed, event.ignored, event.measured]
                        .map(Option::unwrap_or_default);
                self.end(&Sums { passed, failed, ignored, measured })?;
            }
            ("test", Some(word @ ("ok" | "failed" | "ignored"))) => {
                let name = event.name.ok_or(Malformed::Document("has a test without a name"))?;
                let outcome = match word {
                    "ok" => CaseOutcome::Passed,
                    "failed" => CaseOutcome::Failed,
                    _ => CaseOutcome::Skipped,
                };
                self.named(name.clone(), outcome)?;
                for text in [event.message, event.stdout].iter().flatten() {
                    self.told = Some(name.clone());
                    text.lines()
                        .take_while(|line| *line != "stack backtrace:")
                        .take(64)
                        .for_each(|line| self.tell(line));
                }
                self.told = None;
            }
            ("bench", _) => self.named(event.name.unwrap_or_default(), CaseOutcome::Passed)?,
            _ => {}
        }
        Ok(())
    }

    /// Ends a binary: its results must be as many as it has announced, and as its sums say.
    fn end(&mut self, sums: &Sums) -> Result<(), Malformed> {
        let Some(block) = self.block.take() else {
            self.collector.tests.fault("a result of a binary that ran nothing stands in it");
            return Ok(());
        };
        self.told = None;
        let summed =
            [sums.passed, sums.failed, sums.ignored, sums.measured].into_iter().fold(0, u64::saturating_add);
        let failures = self.flush()?;
        let name = self.binary.1.clone();
        if summed != block.wanted {
            let wanted = block.wanted;
            self.collector
                .tests
                .fault(format!("the binary `{name}` ran {wanted} tests and sums up {summed}"));
        } else if block.named == 0 {
            self.quiet(sums);
        } else if block.named != block.wanted {
            let (wanted, named) = (block.wanted, block.named);
            self.collector.tests.fault(format!("the binary `{name}` ran {wanted} tests and lists {named}"));
        }
        if failures > sums.failed || (block.named > 0 && failures < sums.failed) {
            self.collector.tests.fault(format!(
                "the binary `{name}` lists {failures} failed tests and sums up {}",
                sums.failed
            ));
        }
        Ok(())
    }

    /// Counts a binary that printed dots only.
    fn quiet(&mut self, sums: &Sums) {
        let tests = &mut self.collector.tests;
        tests.passed = tests.passed.saturating_add(sums.passed).saturating_add(sums.measured);
        tests.failed = tests.failed.saturating_add(sums.failed);
        tests.skipped = tests.skipped.saturating_add(sums.ignored);
    }

    /// Hands the failed tests of the block on; returns their number.
    fn flush(&mut self) -> Result<u64, Malformed> {
        let scope = self.scope();
        let before = self.collector.tests.failed;
        let messages = std::mem::take(&mut self.messages);
        for test in std::mem::take(&mut self.failed) {
            let told = messages.get(&test.name).cloned().unwrap_or_default();
            let message = if told.message.is_empty() { "failed".to_owned() } else { told.message };
            let test = FailedTest { message, path: told.path, line: told.line, ..test };
            self.collector.add(&scope, CaseOutcome::Failed, test)?;
        }
        Ok(self.collector.tests.failed - before)
    }

    /// Notes a binary that has no end.
    fn cut(&mut self, why: &str) {
        if let Some(block) = self.block.take() {
            let name = &self.binary.1;
            let wanted = block.wanted;
            let fault = format!("the binary `{name}` ran {wanted} tests and has no `test result:` ({why})");
            self.collector.tests.fault(fault);
            let _ = self.flush();
        }
    }

    fn finish(mut self) -> Result<Tests, Malformed> {
        self.cut("the output ends");
        match self.blocks {
            0 => Err(Malformed::NotOfFormat("output of cargo test (no \"running … tests\")")),
            _ => Ok(self.collector.tests),
        }
    }
}

/// Reads cargo's line about the binary that it runs.
fn binary(line: &str) -> Option<(String, String)> {
    if let Some(name) = line.strip_prefix("Doc-tests ") {
        return Some((line.to_owned(), format!("doc {name}")));
    }
    let path = line.strip_prefix("Running ")?.strip_suffix(')')?.rsplit_once('(')?.1;
    let file = path.rsplit_once('/').map_or(path, |(_, file)| file);
    let name = file.rsplit_once('-').map_or(file, |(name, _)| name);
    Some((path.to_owned(), name.to_owned()))
}

/// Reads `running 3 tests`.
fn running(line: &str) -> Option<u64> {
    let (count, rest) = lines::number(line.strip_prefix("running ")?)?;
    matches!(rest, " test" | " tests").then_some(count)
}

fn outcome(text: &str) -> Option<CaseOutcome> {
    // A time may follow: `ok <0.001s>`.
    match text.split([' ', ',']).next()? {
        "ok" => Some(CaseOutcome::Passed),
        "FAILED" => Some(CaseOutcome::Failed),
        "ignored" => Some(CaseOutcome::Skipped),
        "bench:" => Some(CaseOutcome::Passed),
        _ => None,
    }
}

/// Reads `ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s`.
fn sums(text: &str) -> Option<Sums> {
    let (_, counts) = text.split_once(". ")?;
    let mut sums = Sums::default();
    for part in counts.split("; ") {
        let Some((count, word)) = lines::number(part) else { continue };
        match word.trim() {
            "passed" => sums.passed = count,
            "failed" => sums.failed = count,
            "ignored" => sums.ignored = count,
            "measured" => sums.measured = count,
            _ => {}
        }
    }
    Some(sums)
}

/// Reads `thread 'x' panicked at src/lib.rs:9:5:`: the thread's name, and the place.
fn panic(line: &str) -> Option<(&str, String, u64)> {
    let (thread, place) = line.strip_prefix("thread '")?.split_once(" panicked at ")?;
    let (path, number) = lines::place(place)?;
    Some((thread.split_once('\'')?.0, path, number))
}

#[cfg(test)]
#[path = "libtest_tests.rs"]
mod tests;
