//! The pages about routes and audit entries say everything that there is, and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use mosaic_core::domain::audit::Action;
use mosaic_server::{Code, routes};

pub(crate) fn page(name: &str) -> String {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    fs::read_to_string(docs).expect("the page is there")
}

/// Returns the words between backticks.
pub(crate) fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Returns the cells of the rows of the table that has this title.
pub(crate) fn rows<'t>(page: &'t str, title: &str) -> Vec<Vec<&'t str>> {
    let lines = page.lines().skip_while(|line| !line.starts_with(title)).skip(2);
    let cells = |line: &'t str| line.trim_matches('|').split(" | ").map(str::trim).collect();
    lines.take_while(|line| line.starts_with('|')).map(cells).collect()
}

pub(crate) fn same(what: &str, documented: BTreeSet<String>, there: BTreeSet<String>) {
    let missing: Vec<_> = there.difference(&documented).collect();
    let made_up: Vec<_> = documented.difference(&there).collect();
    assert!(
        missing.is_empty() && made_up.is_empty(),
        "{what}: undocumented {missing:?}, made up {made_up:?}"
    );
}

#[test]
fn every_route_is_documented_with_its_method() {
    let page = page("http.md");
    let mut documented = BTreeSet::new();
    for row in rows(&page, "| method, path |") {
        for route in row[0].split(", ") {
            documented.insert(route.replace('`', ""));
        }
    }
    same(
        "routes in docs/http.md",
        documented,
        routes().iter().map(|r| format!("{} {}", r.method, r.path)).collect(),
    );
}

#[test]
fn every_code_is_documented_beside_its_status() {
    let page = page("http.md");
    let mut documented = BTreeSet::new();
    for row in rows(&page, "| status | codes |") {
        let statuses: Vec<&str> = row[0].split(", ").collect();
        let groups: Vec<&str> = row[1].split(" · ").collect();
        assert!(statuses.len() == groups.len() || statuses.len() == 1, "{row:?}");
        for (n, group) in groups.iter().enumerate() {
            let status = statuses.get(n).unwrap_or(&statuses[0]);
            // What stands in parentheses are members of the answer.
            let codes = group.split('(').enumerate().map(|(n, part)| match n {
                0 => part,
                _ => part.split_once(')').map_or("", |(_, rest)| rest),
            });
            documented.extend(codes.flat_map(quoted).map(|code| format!("{status} {code}")));
        }
    }
    same(
        "codes in docs/http.md",
        documented,
        Code::ALL.iter().map(|c| format!("{} {}", c.status(), c.as_str())).collect(),
    );
}

#[test]
fn every_audit_entry_is_documented() {
    let page = page("audit.md");
    let fields = rows(&page, "| field |");
    let actions = fields.iter().find(|row| row[0] == "`action`").expect("the row about actions");
    let documented = quoted(actions[1]).map(str::to_owned).collect();
    same("actions in docs/audit.md", documented, Action::ALL.iter().map(|a| a.as_str().to_owned()).collect());
}
