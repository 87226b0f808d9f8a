//! The vocabulary: words that `docs/glossary.md` replaces do not come back, in names, comments, messages or documents.

use std::fs;

use crate::{root, sources};

/// Reads the last column of the glossary: each replaced word with the word that stands for it now.
fn replaced() -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join("docs/glossary.md")).expect("the glossary is readable");
    let rows = text.lines().filter(|line| line.starts_with("| ")).skip(1);
    rows.flat_map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [word, _, old] = cells.as_slice() else { panic!("a row of the glossary has three cells: {row}") };
        let words = old.split(',').map(str::trim).filter(|old| !old.is_empty());
        words.map(|old| (old.to_owned(), (*word).to_owned())).collect::<Vec<_>>()
    })
    .collect()
}

/// Returns the documents that describe the present; decisions in `docs/adr` stay as they were written.
fn documents() -> Vec<(String, String)> {
    let mut names: Vec<String> =
        ["README.md", "ARCHITECTURE.md", "SECURITY.md", "CONTRIBUTING.md"].map(str::to_owned).into();
    for folder in ["docs", "docs/how-to"] {
        for entry in fs::read_dir(root().join(folder)).expect("the folder is readable") {
            let name = entry.expect("the entry is readable").file_name().to_string_lossy().into_owned();
            if name.ends_with(".md") && name != "glossary.md" {
                names.push(format!("{folder}/{name}"));
            }
        }
    }
    let read = |name: String| {
        let text = fs::read_to_string(root().join(&name)).expect("the document is readable");
        (name, text)
    };
    names.into_iter().map(read).collect()
}

/// Tells whether a line in lower case has a word by itself, not as a part of a longer one.
fn has(line: &str, word: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    line.match_indices(word).any(|(at, _)| {
        !is_part(line[..at].chars().next_back()) && !is_part(line[at + word.len()..].chars().next())
    })
}

#[test]
fn no_word_that_the_glossary_replaces_is_used() {
    let words = replaced();
    assert!(words.len() >= 15, "the glossary names few replaced words: {words:?}");
    let mut faults = Vec::new();
    for (name, text) in sources("crates").into_iter().chain(documents()) {
        for (number, line) in text.lines().enumerate() {
            let lower = line.to_lowercase();
            for (old, word) in words.iter().filter(|(old, _)| has(&lower, old)) {
                faults.push(format!("{name}:{}: \"{old}\" is \"{word}\": {}", number + 1, line.trim()));
            }
        }
    }
    assert!(faults.is_empty(), "see docs/glossary.md\n{}", faults.join("\n"));
}

#[test]
fn a_word_inside_another_one_is_none() {
    assert!(has("a lane.", "lane") && has("lanes, lane", "lane"));
    assert!(!has("planes", "lane"));
}
