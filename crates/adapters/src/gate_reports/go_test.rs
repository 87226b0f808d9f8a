//! `go test -json`: one event a line. Each package and each test that began must have an end; a package that was not built
//! has failed, whatever else stands there.

use std::collections::{BTreeSet, HashMap};

use mosaic_core::limits;
use serde::Deserialize;

use super::lines;
use super::malformed::Malformed;
use super::results::{CaseOutcome, Collector, FailedTest, Names, Tests};

/// Most bytes of output that are kept for all tests that have no result yet.
const KEPT_BYTES: usize = 16 * 1024 * 1024;
/// Longest name of a package or a test: each subtest repeats the names of all around it.
const NAME_BYTES: usize = 4096;
/// Most tests around a subtest.
const SUBTEST_DEPTH: usize = 32;

/// Reads events, among which other lines may stand: the go command itself prints to the other stream.
pub(super) fn parse(bytes: &[u8]) -> Result<Tests, Malformed> {
    let mut reader = GoReader {
        collector: Collector::new(Names::Titles),
        packages: HashMap::new(),
        tests: HashMap::new(),
        kept: 0,
        events: 0,
    };
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match line.starts_with(b"{").then(|| serde_json::from_slice::<Event>(line).ok()).flatten() {
            Some(event) => reader.event(event)?,
            None => reader.line(line),
        }
    }
    reader.finish()
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    action: String,
    #[serde(default)]
    package: String,
    #[serde(default)]
    test: String,
    #[serde(default)]
    output: String,
    #[serde(default)]
    import_path: String,
    #[serde(default)]
    failed_build: String,
}

struct GoReader {
    collector: Collector,
    packages: HashMap<String, Package>,
    tests: HashMap<(String, String), Test>,
    kept: usize,
    events: u64,
}

#[derive(Default)]
struct Package {
    ended: bool,
    /// Tests that began and have no result yet.
    open: BTreeSet<String>,
    /// Number of its failed tests.
    failures: u64,
    output: String,
}

/// A test of which an event was seen.
#[derive(Default)]
struct Test {
    output: String,
    ended: bool,
    failed_inside: bool,
}

impl GoReader {
    fn event(&mut self, event: Event) -> Result<(), Malformed> {
        self.events += 1;
        if self.tests.len() > limits::REPORT_TESTS || self.packages.len() > limits::REPORT_TESTS {
            return Err(Malformed::TooMuch { most: limits::REPORT_TESTS, of: "tests" });
        }
        if event.test.len() > NAME_BYTES
            || event.package.len() > NAME_BYTES
            || event.import_path.len() > NAME_BYTES
        {
            return Err(Malformed::TooMuch { most: NAME_BYTES, of: "bytes in one name" });
        }
        match event.action.as_str() {
            "build-output" => self.output(&event.import_path, "", &event.output),
            "build-fail" => self.fails_to_build(&event.import_path),
            _ if event.package.is_empty() => {}
            "output" => self.output(&event.package, &event.test, &event.output),
            "start" => _ = self.packages.entry(event.package).or_default(),
            "run" => {
                let package = self.packages.entry(event.package.clone()).or_default();
                package.open.insert(event.test.clone());
                self.tests.entry((event.package, event.test)).or_default().failed_inside = false;
            }
            "pass" | "fail" | "skip" if event.test.is_empty() => self.package_ends(event)?,
            "pass" | "fail" | "skip" => self.test_ends(event)?,
            _ => {}
        }
        Ok(())
    }

    fn output(&mut self, package: &str, test: &str, text: &str) {
        if self.kept > KEPT_BYTES || frame(text) {
            return;
        }
        let of_package = self.packages.entry(package.to_owned()).or_default();
        let into = match test.is_empty() {
            true => &mut of_package.output,
            false => &mut self.tests.entry((package.to_owned(), test.to_owned())).or_default().output,
        };
        let before = into.len();
        lines::append(into, text.trim_end());
        self.kept += into.len() - before;
    }

    fn test_ends(&mut self, event: Event) -> Result<(), Malformed> {
        let key = (event.package, event.test);
        let (package, name) = &key;
        let was_open = self.packages.entry(package.clone()).or_default().open.remove(name);
        let test = self.tests.entry(key.clone()).or_default();
        if test.ended && !was_open {
            let fault = format!(
                "the test `{package} {name}` has a second result without a second run, so the report is forged"
            );
            self.collector.tests.fault(fault);
        }
        test.ended = true;
        let output = std::mem::take(&mut test.output);
        self.kept -= output.len().min(self.kept);
        let outcome = match event.action.as_str() {
            "pass" => CaseOutcome::Passed,
            "skip" => CaseOutcome::Skipped,
            _ => CaseOutcome::Failed,
        };
        let inside = test.failed_inside;
        if outcome == CaseOutcome::Failed {
            self.packages.entry(package.clone()).or_default().failures += 1;
            for (at, _) in name.match_indices('/').take(SUBTEST_DEPTH) {
                self.tests.entry((package.clone(), name[..at].to_owned())).or_default().failed_inside = true;
            }
            // A test fails with its subtests: these are the failures.
            if inside {
                return Ok(());
            }
        }
        self.collector.add("", outcome, failure(package, name, &output))
    }

    fn package_ends(&mut self, event: Event) -> Result<(), Malformed> {
        // A test that began and has no end was ended with its package: by a panic, a time-out or os.Exit.
        let package = self.packages.entry(event.package.clone()).or_default();
        let open = std::mem::take(&mut package.open);
        package.failures += open.len() as u64;
        let printed = package.output.clone();
        for name in open {
            let test = self.tests.entry((event.package.clone(), name.clone())).or_default();
            let output =
                if test.output.is_empty() { printed.clone() } else { std::mem::take(&mut test.output) };
            let mut case = failure(&event.package, &name, &output);
            case.message = format!("has no end\n{}", case.message);
            self.collector.add("", CaseOutcome::Failed, case)?;
        }
        let failed = event.action == "fail";
        let package = self.packages.entry(event.package.clone()).or_default();
        package.ended = true;
        if failed && package.failures == 0 {
            let told = match event.failed_build.is_empty() {
                true => std::mem::take(&mut package.output),
                false => self
                    .packages
                    .get(&event.failed_build)
                    .map(|build| build.output.clone())
                    .unwrap_or_default(),
            };
            let mut case = failure(&event.package, "(package)", &told);
            if case.message == "failed" && !event.failed_build.is_empty() {
                case.message = format!("{} was not built", event.failed_build);
            }
            self.collector.add("", CaseOutcome::Failed, case)?;
        }
        Ok(())
    }

    fn fails_to_build(&mut self, import_path: &str) {
        self.collector.tests.fault(format!("{import_path} was not built"));
        // It has no end of its own; the package that needed it has.
        self.packages.entry(import_path.to_owned()).or_default().ended = true;
    }

    /// Reads a line that is no event: older versions say so where a package was not built.
    fn line(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(&line[..line.len().min(4096)]);
        if line.starts_with("FAIL") && (line.contains("[build failed]") || line.contains("[setup failed]")) {
            self.collector.tests.fault(line.trim().to_owned());
        }
    }

    fn finish(mut self) -> Result<Tests, Malformed> {
        if self.events == 0 {
            return Err(Malformed::NotOfFormat("output of go test -json (no event)"));
        }
        let built = |name: &str| !name.contains(" [");
        let mut cut: Vec<&String> = self
            .packages
            .iter()
            .filter(|(name, package)| !package.ended && built(name))
            .map(|(name, _)| name)
            .collect();
        cut.sort();
        for name in cut {
            self.collector
                .tests
                .fault(format!("the package {name} has no end, so it was not tested to the end"));
        }
        Ok(self.collector.tests)
    }
}

/// Tells whether a line of output is of the go command and not of the test.
fn frame(text: &str) -> bool {
    let text = text.trim_start();
    [
        "=== RUN",
        "=== PAUSE",
        "=== CONT",
        "=== NAME",
        "--- PASS",
        "--- FAIL",
        "--- SKIP",
        "PASS\n",
        "FAIL\n",
        "FAIL\t",
        "ok  \t",
        "exit status ",
    ]
    .iter()
    .any(|start| text.starts_with(start))
}

fn failure(package: &str, name: &str, output: &str) -> FailedTest {
    let message = if output.trim().is_empty() { "failed".to_owned() } else { unindented(output) };
    // Tests name their file without its directory, which is the package's.
    let place = output.lines().find_map(|line| {
        let (path, number) = go_place(line.trim_start())?;
        // Frames of the library stand above the test's own.
        if ["/src/testing/", "/src/runtime/", "/src/os/"].iter().any(|library| path.contains(library)) {
            return None;
        }
        Some((if path.contains('/') { path } else { format!("{package}/{path}") }, number))
    });
    let (path, line) = place.unzip();
    FailedTest { group: package.to_owned(), name: name.to_owned(), path, line, message }
}

/// Reads `calc_test.go:9: want 1` and `/tree/calc.go:5 +0x1d`.
fn go_place(line: &str) -> Option<(String, u64)> {
    let at = line.find(".go:")? + ".go".len();
    let path = &line[..at];
    let (number, _) = lines::number(&line[at + 1..])?;
    (!path.contains(' ')).then(|| (path.trim_start_matches("./").to_owned(), number))
}

fn unindented(text: &str) -> String {
    text.lines().map(|line| line.strip_prefix("    ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
#[path = "go_test_tests.rs"]
mod tests;
