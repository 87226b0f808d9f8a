//! The invariants of absence from ARCHITECTURE.md, as checks over the source. Each names the file and line that
//! breaks it.

mod api_types;
mod fault_matrix;
mod git_walls;
mod glossary;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace exists")
}

/// Returns the source files below a folder, with paths relative to the workspace.
fn sources(below: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(below)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder is readable") {
            let path = entry.expect("the entry is readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(root()).expect("it lies below").display().to_string();
                found.push((name, fs::read_to_string(&path).expect("source is UTF-8")));
            }
        }
    }
    assert!(!found.is_empty(), "no source below {below}: the check would pass by looking at nothing");
    found
}

/// Returns a source's lines up to its test module, without comments, with their numbers.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = text.find("\n#[cfg(test)]\nmod ").unwrap_or(text.len());
    text[..end]
        .lines()
        .enumerate()
        .map(|(i, line)| (i + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Fails when any code line below a folder has one of the words, except in the named files.
fn absent(below: &str, words: &[&str], except: &[&str], why: &str) {
    let mut faults = Vec::new();
    for (name, text) in sources(below) {
        if except.iter().any(|file| name.ends_with(file)) {
            continue;
        }
        for (number, line) in code(&text) {
            for word in words.iter().filter(|word| line.contains(**word)) {
                faults.push(format!("{name}:{number}: \"{word}\": {}", line.trim()));
            }
        }
    }
    assert!(faults.is_empty(), "{why}\n{}", faults.join("\n"));
}

#[test]
fn no_summary_of_documentation_begins_with_a_question_word() {
    // Help texts of the command line are documentation comments, too, and read as lines of a list.
    let except = "crates/mosaic/src/cli";
    let words = ["What", "Who", "Whoever", "Whether", "How"];
    let mut faults = Vec::new();
    for (name, text) in sources("crates").into_iter().filter(|(name, _)| !name.starts_with(except)) {
        let mut before = "";
        for (number, line) in text.lines().map(str::trim_start).enumerate() {
            let is_first = |mark: &str| line.starts_with(mark) && !before.starts_with(mark.trim_end());
            let first = is_first("/// ") || is_first("//! ");
            let word = line.get(4..).unwrap_or_default().split([' ', ',', ':']).next().unwrap_or_default();
            if first && words.contains(&word) {
                faults.push(format!("{name}:{}: {line}", number + 1));
            }
            before = line;
        }
    }
    assert!(faults.is_empty(), "a summary begins with a noun or a verb:\n{}", faults.join("\n"));
}

#[test]
fn the_domain_knows_no_clock_no_await_no_io() {
    let words = [
        "async ",
        ".await",
        "std::fs",
        "std::net::Tcp",
        "std::net::Udp",
        "std::process",
        "std::env",
        "::now()",
        "tokio::",
        "std::thread",
    ];
    absent("crates/core/src/domain", &words, &[], "the domain is values and pure functions");
}

#[test]
fn the_core_names_no_backend() {
    let words = [
        "sqlite",
        "rusqlite",
        "valkey",
        "redis",
        "docker",
        "bubblewrap",
        "bwrap",
        "agent_claude",
        "axum",
        "mosaic_adapters",
        "mosaic_server",
    ];
    absent("crates/core/src", &words, &[], "backends are named in adapters and wire.rs only");
}

#[test]
fn the_server_names_no_adapter() {
    absent(
        "crates/server/src",
        &["mosaic_adapters", "rusqlite", "tokio::process", "std::process"],
        &[],
        "the server is HTTP only",
    );
    let manifest = fs::read_to_string(root().join("crates/server/Cargo.toml")).expect("the manifest exists");
    let dependencies = manifest.split("[dev-dependencies]").next().unwrap_or_default();
    assert!(!dependencies.contains("mosaic-adapters"), "the server depends on an adapter");
}

/// Returns the word after a mark, for each line of code that begins with it.
fn named<'t>(text: &'t str, mark: &str) -> Vec<&'t str> {
    let names = code(text).filter_map(|(_, line)| line.trim_start().strip_prefix(mark));
    names.filter_map(|rest| rest.split(|c: char| !c.is_alphanumeric()).next()).collect()
}

/// Lists the types of the adapters that implement a port.
fn adapters() -> BTreeSet<String> {
    let ports = sources("crates/core/src/ports");
    let ports: Vec<String> = ports
        .iter()
        .flat_map(|(_, text)| named(text, "pub trait "))
        .map(|port| format!("impl {port} for "))
        .collect();
    let sources = sources("crates/adapters/src");
    let found = sources.iter().flat_map(|(_, text)| ports.iter().flat_map(|port| named(text, port)));
    found.map(str::to_owned).collect()
}

#[test]
fn only_wire_chooses_adapters() {
    let adapters = adapters();
    let known = ["NoSandbox", "SqliteStore", "ValkeyStore", "ClaudeRuntime", "GitRepositories", "OffThread"];
    assert!(known.iter().all(|name| adapters.contains(*name)), "adapters are overlooked: {adapters:?}");
    // Hidden subcommands enter an adapter's own program; trust and doctor use pure functions of theirs.
    let words: Vec<&str> = adapters.iter().map(String::as_str).collect();
    let wire =
        ["wire.rs", "wire/gates.rs", "wire/git.rs", "wire/known.rs", "wire/runtimes.rs", "wire/store.rs"];
    absent("crates/mosaic/src", &words, &wire, "adapters are chosen in wire.rs only");
}

#[test]
fn only_the_lifecycle_makes_a_state() {
    let words = ["State::Settled {", "State::Unwinding {", "State::Working;", "State::Gating { head:"];
    let readers = ["domain/agent.rs"];
    let mut faults = Vec::new();
    for (name, text) in sources("crates/core/src") {
        if name.contains("domain/lifecycle") || readers.iter().any(|file| name.ends_with(file)) {
            continue;
        }
        for (number, line) in code(&text) {
            // Reading a state is a pattern: in a match arm, an `if let`, a `let … else` or `matches!`.
            let pattern = line.contains("=>") || line.contains("let ") || line.contains("matches!");
            if words.iter().any(|word| line.contains(word)) && !pattern {
                faults.push(format!("{name}:{number}: {}", line.trim()));
            }
        }
    }
    assert!(faults.is_empty(), "a state is made outside domain/lifecycle:\n{}", faults.join("\n"));
}

#[test]
fn only_unwind_gives_back() {
    let words = [".sandbox.release(", ".trees.remove(", ".trees.abandon(", ".processes.forget("];
    // What is left of agents without a record, or whose record is to go, is deleted by removal and by the caretaker.
    let allowed = [
        "steps/unwind.rs",
        "removal.rs",
        "caretaker/orphans.rs",
        "caretaker/cgroups.rs",
        "coordinator/cleanup.rs",
    ];
    absent("crates/core/src", &words, &allowed, "a release happens in unwind.rs");
}

#[test]
fn no_git_of_the_server_reads_every_ref() {
    // A bare repository has refs of every agent that ever ran: `--glob` reads all of them, `--branches` the branches only.
    let words = ["\"--glob=", "\"--all\""];
    absent("crates/adapters/src/git", &words, &[], "the cost of a task grows with the agents before it");
}

#[test]
fn only_one_file_maps_errors_to_http_status() {
    let words = [
        "StatusCode::BAD_REQUEST",
        "StatusCode::NOT_FOUND",
        "StatusCode::CONFLICT",
        "StatusCode::INTERNAL_SERVER_ERROR",
        "StatusCode::SERVICE_UNAVAILABLE",
        "StatusCode::UNPROCESSABLE_ENTITY",
    ];
    absent("crates/server/src", &words, &["problem.rs"], "errors become a status in problem.rs");
}

#[test]
fn nothing_in_core_sleeps_except_through_the_clock() {
    absent(
        "crates/core/src",
        &["tokio::time", "thread::sleep", "Instant::now", "SystemTime::now"],
        &[],
        "time comes in through the Clock port",
    );
}

#[test]
fn production_code_does_not_know_that_it_is_tested() {
    for (name, text) in sources("crates") {
        if !name.contains("/src/") {
            continue;
        }
        let inner = text.lines().enumerate().find(|(i, line)| {
            let next = text.lines().nth(i + 1).unwrap_or_default();
            line.trim() == "#[cfg(test)]"
                && !next.trim_start().starts_with("mod ")
                && !next.contains("#[path")
        });
        assert!(inner.is_none(), "{name}: cfg(test) on something else than a test module");
    }
}

#[test]
fn the_program_that_people_run_has_no_failpoints() {
    let program = fs::read(env!("CARGO_BIN_EXE_mosaic")).expect("the program is built before its tests");
    let has = |word: &[u8]| program.windows(word.len()).any(|part| part == word);
    assert!(has(b"MOSAIC_DATA_DIR"), "the words of the program are not where they are looked for");
    for word in ["MOSAIC_CHAOS", "failpoint at ", "mosaic_testkit"] {
        assert!(!has(word.as_bytes()), "the program has \"{word}\" in it");
    }
    let words = ["mosaic_testkit", "failpoint", "MOSAIC_CHAOS"];
    for crate_ in ["core", "adapters", "server", "mosaic"] {
        let source = format!("crates/{crate_}/src");
        absent(&source, &words, &["src/bin/mosaic-chaos.rs"], "failpoints stand in the chaos program only");
    }
}

#[test]
fn every_module_says_why_it_is_there() {
    for (name, text) in sources("crates") {
        assert!(text.starts_with("//!"), "{name} does not open with `//!`");
    }
}

#[test]
fn architecture_is_short() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("it exists");
    assert!(text.lines().count() <= 150, "ARCHITECTURE.md has more than 150 lines");
}

#[test]
fn documents_name_only_files_that_exist() {
    let mut documents: Vec<String> =
        ["ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"].map(str::to_owned).into();
    for page in fs::read_dir(root().join("docs/how-to")).expect("it exists") {
        let page = page.expect("it is listed").file_name().into_string().expect("names are ASCII");
        documents.push(format!("docs/how-to/{page}"));
    }
    for document in documents {
        let text = fs::read_to_string(root().join(&document)).expect("it exists");
        // A name in angle brackets or with a star stands for several.
        let is_path = |word: &&str| word.starts_with("crates/") && !word.contains(['*', '<']);
        for path in text.split('`').filter(is_path) {
            let is_there = root().join(path.trim_end_matches('/')).exists();
            assert!(is_there, "{document} names {path}, which does not exist");
        }
    }
}

/// Returns the string literals of this text that are kinds of events by their form.
fn kinds_in(text: &str) -> Vec<&str> {
    let families = [
        "agent.",
        "task.",
        "git.",
        "gate.",
        "secret.",
        "filter.",
        "queue.",
        "breaker.",
        "orchestrator.",
        "killswitch.",
        "node.",
    ];
    let is_kind = |word: &&str| {
        let rest = families.iter().find_map(|family| word.strip_prefix(family));
        rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
    };
    let end = text.find("\n#[cfg(test)]\nmod ").unwrap_or(text.len());
    text[..end].split('"').filter(is_kind).collect()
}

#[test]
fn kinds_of_events_stand_in_their_two_lists_only() {
    let lists = ["crates/core/src/domain/facts.rs", "crates/api/src/events.rs"];
    for list in lists {
        let text = fs::read_to_string(root().join(list)).expect("it exists");
        assert!(kinds_in(&text).len() >= 40, "{list} is not the list");
    }
    for dir in ["core", "api", "server", "adapters", "mosaic"] {
        for (name, text) in sources(&format!("crates/{dir}/src")) {
            let kinds = if lists.contains(&name.as_str()) { Vec::new() } else { kinds_in(&text) };
            assert!(kinds.is_empty(), "{name} names {kinds:?}: use the enum Fact, or the API's Event");
        }
    }
}
