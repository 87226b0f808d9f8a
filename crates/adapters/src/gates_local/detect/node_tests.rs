//! Tests and coverage of Node projects: vitest, jest, mocha, node:test, c8. Where the runner is known it is called itself, with
//! a report; one run serves both gates where its coverage tool is there.

use super::node::{Manager, Package};
use super::project::{Project, has_word};
use super::{Ecosystem, report};

/// The text that npm writes into a new package.json.
const PLACEHOLDER: &str = "no test specified";
const COVERAGE: &str = "{reports}/coverage";
const LCOV: &str = "{reports}/coverage/lcov.info";

pub(super) fn add(project: &Project, package: &Package, manager: &Manager, found: &mut Ecosystem) {
    let script = package.scripts.get("test").map_or("", String::as_str);
    let script = if script.contains(PLACEHOLDER) { "" } else { script };
    let runs = |runner: &str| has_word(script, runner) || (script.is_empty() && package.depends_on(runner));
    if runs("vitest") {
        vitest(package, manager, found);
    } else if runs("jest") {
        jest(manager, found);
    } else if runs("mocha") {
        mocha(package, manager, found);
    } else if is_node_test(script) {
        node_test(package, found, script, "package.json scripts.test");
    } else if script.is_empty() && project.paths().any(is_node_test_file) {
        node_test(package, found, "node --test", "files named *.test.js");
    } else if !script.is_empty() {
        other(package, manager, found, script);
    } else {
        found.lacks("tests", "add a script `test` to package.json");
        found.lacks("coverage", "add a script `test` to package.json");
    }
}

fn is_node_test(script: &str) -> bool {
    script.split_whitespace().any(|word| word == "--test")
        && (has_word(script, "node") || has_word(script, "tsx"))
}

fn is_node_test_file(path: &str) -> bool {
    let ends = [".test.js", ".test.mjs", ".test.cjs", "-test.js", "_test.js"];
    !path.starts_with("node_modules/") && ends.iter().any(|end| path.ends_with(end))
}

fn vitest(package: &Package, manager: &Manager, found: &mut Ecosystem) {
    let mut run = format!(
        "{} vitest run --retry=0 --reporter=default --reporter=json --outputFile.json={{reports}}/vitest.json",
        manager.exec
    );
    let measures =
        ["@vitest/coverage-v8", "@vitest/coverage-istanbul"].into_iter().find(|p| package.depends_on(p));
    if measures.is_some() {
        let reports = format!("--coverage.reporter=lcovonly --coverage.reportsDirectory={COVERAGE}");
        run.push_str(&format!(" --coverage.enabled {reports} --coverage.reportOnFailure"));
    }
    found.add("tests", run, "package.json (vitest)").reports =
        vec![report("vitest", "{reports}/vitest.json")];
    match measures {
        Some(tool) => {
            found.add_reader("coverage", report("lcov", LCOV), format!("package.json devDependencies.{tool}"))
        }
        None => found.lacks("coverage", "add @vitest/coverage-v8 to devDependencies"),
    }
}

fn jest(manager: &Manager, found: &mut Ecosystem) {
    let run = format!(
        "{} jest --ci --json --outputFile={{reports}}/jest.json --coverage --coverageReporters=lcovonly --coverageDirectory={COVERAGE}",
        manager.exec
    );
    found.add("tests", run, "package.json (jest)").reports = vec![report("jest", "{reports}/jest.json")];
    found.add_reader("coverage", report("lcov", LCOV), "package.json (jest)");
}

fn mocha(package: &Package, manager: &Manager, found: &mut Ecosystem) {
    let exec = manager.exec;
    let mocha = "mocha --retries 0 --reporter json --reporter-option output={reports}/mocha.json";
    let measured = measured_by(package);
    let run = match measured {
        Some(tool) => format!("{exec} {tool} {} {mocha}", reporter_flags(tool)),
        None => format!("{exec} {mocha}"),
    };
    found.add("tests", run, "package.json (mocha)").reports = vec![report("mocha", "{reports}/mocha.json")];
    match measured {
        Some(tool) => {
            found.add_reader("coverage", report("lcov", LCOV), format!("package.json devDependencies.{tool}"))
        }
        None => found.lacks("coverage", "add c8 to devDependencies"),
    }
}

/// Runs node:test with a report for the gate beside what people read.
fn node_test(package: &Package, found: &mut Ecosystem, script: &str, reason: &str) {
    let script = without_measuring(script);
    let junit = "--test-reporter=spec --test-reporter-destination=stdout \
                 --test-reporter=junit --test-reporter-destination={reports}/node.xml";
    let (run, coverage) = match measured_by(package) {
        Some(tool) => {
            let script = with_flags(&script, junit);
            (format!("{tool} {} {script}", reporter_flags(tool)), LCOV)
        }
        None => {
            // The runner measures itself (Node 20.11 and newer), its own test files left out.
            let own = "--experimental-test-coverage --test-reporter=lcov --test-reporter-destination={reports}/lcov.info";
            (with_flags(&script, &format!("{junit} {own}")), "{reports}/lcov.info")
        }
    };
    let command = format!("PATH=\"$PWD/node_modules/.bin:$PATH\"; {run}");
    found.add("tests", command, reason).reports = vec![report("junit", "{reports}/node.xml")];
    found.add_reader("coverage", report("lcov", coverage), reason);
}

fn with_flags(script: &str, flags: &str) -> String {
    script.replacen("--test", &format!("--test {flags}"), 1)
}

/// Returns a script without the coverage tool at its start.
fn without_measuring(script: &str) -> String {
    let words: Vec<&str> = script.split_whitespace().collect();
    match words.first() {
        Some(&("c8" | "nyc")) => {
            let is_program = |word: &&str| ["node", "tsx"].contains(word);
            let begin = words.iter().position(is_program).unwrap_or(0);
            words[begin..].join(" ")
        }
        _ => script.to_owned(),
    }
}

fn measured_by(package: &Package) -> Option<&'static str> {
    ["c8", "nyc"].into_iter().find(|tool| package.depends_on(tool))
}

fn reporter_flags(tool: &str) -> String {
    let directory = if tool == "c8" { "--reports-dir" } else { "--report-dir" };
    format!("--reporter=lcovonly {directory}={COVERAGE} --temp-directory={{reports}}/raw")
}

/// Runs a script of a runner that is not known; TAP is read where a runner prints it.
fn other(package: &Package, manager: &Manager, found: &mut Ecosystem, script: &str) {
    let reason = "package.json scripts.test";
    let made = found.add("tests", format!("{} test", manager.run), reason);
    if ["tape", "tap"].iter().any(|runner| script.split_whitespace().next() == Some(runner)) {
        made.reports = vec![report("tap", "-")];
    }
    match measured_by(package) {
        Some(tool) => {
            let run = format!("{} {tool} {} {} test", manager.exec, reporter_flags(tool), manager.run);
            found.add("coverage", run, format!("package.json devDependencies.{tool}")).reports =
                vec![report("lcov", LCOV)];
        }
        None => found.lacks("coverage", "add c8 to devDependencies"),
    }
}
