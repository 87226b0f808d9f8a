//! Targets of a Makefile or justfile.

use mosaic_core::domain::gates::ReportSpec;

use super::project::{Project, has_word};
use super::{Ecosystem, report};

const MAKEFILES: &[&str] = &["GNUmakefile", "makefile", "Makefile"];
const JUSTFILES: &[&str] = &["justfile", "Justfile"];
/// Gates and the targets that define them, the first that exists.
const TARGETS: &[(&str, &[&str])] = &[
    ("typecheck", &["typecheck", "type-check", "types", "typing"]),
    ("lint", &["lint"]),
    ("tests", &["test", "tests", "check"]),
    ("coverage", &["coverage", "cov"]),
    ("build", &["build", "all"]),
    ("integration", &["integration", "test-integration", "integration-test", "e2e", "test-e2e"]),
];
/// Most scripts of a test target that are looked at.
const SCRIPTS: usize = 4;
/// Reports that coverage tools write, by the end of the path in a recipe.
const COVERAGE_REPORTS: &[(&str, &str)] = &[
    (".info", "lcov"),
    (".lcov", "lcov"),
    ("cobertura.xml", "cobertura"),
    ("coverage.xml", "cobertura"),
    ("clover.xml", "clover"),
    ("jacoco.xml", "jacoco"),
];

/// One target with its recipe.
struct Target<'a> {
    name: &'a str,
    recipe: String,
}

pub(super) fn detect(project: &Project) -> Option<Ecosystem> {
    let (file, tool) = build_file(project)?;
    let targets = targets(project.text(file));
    let mut found = Ecosystem::of(file);
    for (gate, names) in TARGETS {
        let target = names.iter().find_map(|name| targets.iter().find(|target| target.name == *name));
        let Some(target) = target else {
            found.lacks(gate, format!("add a target `{}` to {file}", names[0]));
            continue;
        };
        let reason = format!("{file} target {}", target.name);
        let made = found.add(gate, format!("{tool} {}", target.name), reason);
        made.reports = match *gate {
            "tests" | "integration" if prints_tap(project, target) => vec![report("tap", "-")],
            "coverage" => coverage_report(&target.recipe).into_iter().collect(),
            _ => Vec::new(),
        };
    }
    Some(found)
}

fn build_file(project: &Project) -> Option<(&'static str, &'static str)> {
    let make = project.first(MAKEFILES).map(|file| (file, "make"));
    make.or_else(|| project.first(JUSTFILES).map(|file| (file, "just")))
}

/// Reads the targets: lines that begin with a name and a colon, and the lines below that are indented.
fn targets(text: &str) -> Vec<Target<'_>> {
    let mut found: Vec<Target<'_>> = Vec::new();
    for line in text.lines() {
        if line.starts_with([' ', '\t']) {
            if let Some(target) = found.last_mut() {
                target.recipe.push_str(line.trim());
                target.recipe.push('\n');
            }
            continue;
        }
        let Some((head, rest)) = line.split_once(':') else { continue };
        // `name := value` is a variable, `.PHONY: …` a remark.
        if rest.starts_with('=') || head.starts_with(['.', '#', '@']) || is_assignment(head) {
            continue;
        }
        let Some(name) = head.split_whitespace().next() else { continue };
        found.push(Target { name, recipe: String::new() });
    }
    found
}

/// Tells whether what stands before a colon assigns a variable. A recipe of just may have parameters with defaults.
fn is_assignment(head: &str) -> bool {
    let mut words = head.split_whitespace();
    let is_name = words.next().is_some_and(|name| !name.contains('='));
    !is_name || words.next().is_some_and(|word| word.starts_with(['=', '?', '+', '!']))
}

/// Returns scripts of the commit that the test target's recipe names.
pub(super) fn scripts(project: &Project) -> Vec<String> {
    let Some((file, _)) = build_file(project) else { return Vec::new() };
    let recipes = targets(project.text(file));
    let tests = recipes.iter().filter(|target| ["test", "tests", "check"].contains(&target.name));
    let words = tests.flat_map(|target| target.recipe.split_whitespace());
    let paths = words.map(|word| word.trim_start_matches(['@', '-']).trim_start_matches("./"));
    paths.filter(|path| project.has(path)).take(SCRIPTS).map(str::to_owned).collect()
}

/// Tells whether a target's tests print TAP: by its recipe, or by the scripts that it runs.
fn prints_tap(project: &Project, target: &Target<'_>) -> bool {
    let is_tap = |text: &str| {
        text.contains("TAP version")
            || text.contains("--tap")
            || text.contains("\"1..")
            || text.contains("'1..")
    };
    let verbose_prove = has_word(&target.recipe, "prove") && target.recipe.contains(" -v");
    let words =
        target.recipe.split_whitespace().map(|word| word.trim_start_matches('@').trim_start_matches("./"));
    verbose_prove || is_tap(&target.recipe) || words.into_iter().any(|word| is_tap(project.text(word)))
}

fn coverage_report(recipe: &str) -> Option<ReportSpec> {
    let words = recipe.split(|c: char| c.is_whitespace() || "='\"".contains(c));
    let paths: Vec<&str> = words.filter(|word| !word.contains('$')).collect();
    COVERAGE_REPORTS.iter().find_map(|(end, format)| {
        let path = paths.iter().rev().find(|path| path.ends_with(end))?;
        Some(report(format, path.trim_start_matches("./")))
    })
}
