//! `docs/faults.md` promises; each promise names its tests. What it names must be there, or the table is a story.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The rows that must stand in the table.
const ROWS: [&str; 56] = [
    "F1", "F2", "F3", "F4", "F5", "F6", "F9", "F10", "F13", "F14", "F15", "F16", "F17", "F18", "F19", "F20",
    "F22", "F23", "F24", "F25", "F26", "F27", "F28", "F31", "F32", "F33", "F34", "F35", "F40", "F41", "F50",
    "F51", "F52", "F53", "F54", "F55", "F56", "F57", "F58", "F59", "F60", "F61", "F62", "F63", "F64", "F65",
    "F66", "F67", "F70", "F71", "F72", "F73", "F76", "F81", "F82", "F83",
];

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the workspace exists")
}

/// Returns what stands between backticks.
fn spans(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Returns the rows as number, tests, and how more of them is run.
fn rows(docs: &str) -> Vec<(String, String, String)> {
    let rows = docs.lines().filter(|line| line.starts_with("| F"));
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 5, "not five cells: {line}");
        (cells[0].to_owned(), cells[3].to_owned(), cells[4].to_owned())
    })
    .collect()
}

/// Tells whether a source has a test of this name.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let starts = [format!("fn {name}("), format!("async fn {name}(")];
    let at = lines.iter().position(|line| starts.iter().any(|start| line.starts_with(start.as_str())));
    at.is_some_and(|at| {
        let above =
            lines[..at].iter().rev().take_while(|line| line.starts_with('#') || line.starts_with("//"));
        above.into_iter().any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    })
}

fn sources(folder: &Path, all: &mut String) {
    for entry in fs::read_dir(folder).expect("the folder is readable").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("fault_matrix.rs") {
            all.push_str(&fs::read_to_string(&path).expect("source is UTF-8"));
        }
    }
}

#[test]
fn every_promise_names_tests_that_exist() {
    let docs = fs::read_to_string(crates().join("../docs/faults.md")).expect("it exists");
    let rows = rows(&docs);
    let found: BTreeSet<&str> = rows.iter().map(|(number, ..)| number.as_str()).collect();
    let wanted: BTreeSet<&str> = ROWS.into_iter().collect();
    assert_eq!(found, wanted, "the rows of the table");
    for (number, tests, _) in &rows {
        let tests = spans(tests);
        assert!(!tests.is_empty(), "{number} names no test");
        for test in tests {
            let (file, name) =
                test.split_once("::").unwrap_or_else(|| panic!("{number}: no test in `{test}`"));
            let source = fs::read_to_string(crates().join(file));
            let source = source.unwrap_or_else(|e| panic!("{number} names crates/{file}: {e}"));
            assert!(has_test(&source, name), "{number}: crates/{file} has no test {name}");
        }
    }
}

#[test]
fn every_variable_that_asks_for_more_is_read_somewhere() {
    let docs = fs::read_to_string(crates().join("../docs/faults.md")).expect("it exists");
    let mut all = String::new();
    sources(&crates(), &mut all);
    let named = spans(&docs).into_iter().filter_map(|span| span.split('=').next());
    let named: Vec<&str> = named.filter(|name| name.starts_with("MOSAIC_")).collect();
    assert!(named.len() > 5, "the variables are not where they are looked for");
    for name in named {
        assert!(all.contains(&format!("\"{name}\"")), "docs/faults.md names {name}, which nothing reads");
    }
}
