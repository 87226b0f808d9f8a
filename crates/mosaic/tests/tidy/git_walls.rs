//! The walls inside the git adapter: what runs inside an agent's confinement, the server's side, and the trees that the server
//! makes are kept apart.

use super::{code, sources};

/// Folder of the git adapter.
const GIT: &str = "crates/adapters/src/git";

/// Returns every path that a source names below the adapter, as far as the first word after `crate::git::`; lists of imports
/// are taken apart.
fn named(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in code(text) {
        if let Some((_, list)) = &mut open {
            list.push_str(line.trim());
        } else if line.contains("git::{") {
            open = Some((number, line[line.find("git::{").unwrap_or_default() + 6..].to_owned()));
        } else {
            let words = line.split("crate::git::").skip(1);
            found.extend(words.map(|rest| (number, first_word(rest))));
        }
        if let Some((number, list)) = open.take_if(|(_, list)| list.ends_with("};")) {
            found.extend(
                list.split(',')
                    .map(|item| (number, first_word(item.trim())))
                    .filter(|(_, word)| !word.is_empty()),
            );
        }
    }
    found
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Fails when a source below a folder names one of these modules of the adapter.
fn imports_none(folder: &str, modules: &[&str], why: &str) {
    let mut faults = Vec::new();
    for (name, text) in sources(&format!("{GIT}/{folder}")) {
        let named = named(&text).into_iter().filter(|(_, module)| modules.contains(&module.as_str()));
        faults.extend(named.map(|(number, module)| format!("{name}:{number}: {module}")));
    }
    assert!(faults.is_empty(), "{why}\n{}", faults.join("\n"));
}

#[test]
fn lists_of_imports_are_taken_apart() {
    let text =
        "use crate::git::errors;\nuse crate::git::{\n    bare_repository, cache,\n    tree::marker,\n};\n";
    let words: Vec<String> = named(text).into_iter().map(|(_, word)| word).collect();
    assert_eq!(words, ["errors", "bare_repository", "cache", "tree"]);
}

#[test]
fn neither_side_of_the_confinement_imports_the_other() {
    let server = ["cache", "tree", "repositories", "port", "command", "credentials"];
    imports_none(
        "confined",
        &server,
        "the program inside an agent's confinement uses nothing of the server's side",
    );
    let why = "the server's side knows of a confinement only what `bundle_spec` describes";
    imports_none("cache", &["confined"], why);
    imports_none("tree", &["confined"], why);
}

#[test]
fn what_both_sides_share_imports_neither() {
    let sides = ["confined::", "cache::", "tree::", "GitRepositories"];
    // The adapter, its port and the list of modules put the sides together.
    let whole = ["git/mod.rs", "git/port.rs", "git/repositories.rs"];
    let folders = ["/confined/", "/cache/", "/tree/", "/port/"];
    let mut faults = Vec::new();
    for (name, text) in sources(GIT) {
        let has_side = folders.iter().any(|folder| name.contains(folder));
        if has_side || whole.iter().any(|file| name.ends_with(file)) {
            continue;
        }
        for (number, line) in code(&text) {
            let words = sides.iter().filter(|word| line.contains(**word));
            faults.extend(words.map(|word| format!("{name}:{number}: \"{word}\": {}", line.trim())));
        }
    }
    assert!(faults.is_empty(), "a shared module uses one of the sides:\n{}", faults.join("\n"));
}

#[test]
fn no_git_of_the_server_has_a_working_tree_but_one_that_it_makes() {
    // `confined` works in trees of its own, inside the agent's confinement; `tree` writes trees that no agent has had yet.
    let words = ["GIT_WORK_TREE", "--work-tree", ".work_tree("];
    let mut faults = Vec::new();
    for (name, text) in sources(GIT) {
        // The list of variables that are taken from a caller's environment, and the one place that sets it.
        let sets = name.ends_with("git/environment.rs") || name.ends_with("git/command.rs");
        if sets || name.contains("/confined/") || name.contains("/tree/") {
            continue;
        }
        for (number, line) in code(&text) {
            for word in words.iter().filter(|word| line.contains(**word)) {
                faults.push(format!("{name}:{number}: \"{word}\": {}", line.trim()));
            }
        }
    }
    assert!(
        faults.is_empty(),
        "git is given a working tree outside confined/ and tree/:\n{}",
        faults.join("\n")
    );
}
