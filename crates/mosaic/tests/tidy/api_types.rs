//! Answers of the server are read as types of `mosaic-api`: no field's name stands as a text in the command line's source, so that
//! a field that is renamed or gone does not compile.

use crate::{code, sources};

/// Files that are allowed: samples of answers for tests, and tests in files of their own. `trust.rs` reads TOML.
const EXCEPT: [&str; 3] = ["/samples.rs", "tests.rs", "/trust.rs"];

/// Tells whether a line reads a field by its name: `x["field"]`, `x.get("field")` or `x.pointer("/field")`.
fn reads_a_field(line: &str) -> bool {
    let indexes = line.match_indices("[\"").any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ')' | ']'))
    });
    // The client's own `get` takes a path, and headers have names of HTTP.
    let gets = line.contains(".get(\"") && !line.contains(".get(\"/") && !line.contains("headers().get(");
    indexes || gets || line.contains(".pointer(")
}

#[test]
fn the_command_line_reads_answers_as_types_of_the_api() {
    let mut faults = Vec::new();
    for (name, text) in sources("crates/mosaic/src") {
        if EXCEPT.iter().any(|end| name.ends_with(end)) {
            continue;
        }
        for (number, line) in code(&text).filter(|(_, line)| reads_a_field(line)) {
            faults.push(format!("{name}:{number}: {}", line.trim()));
        }
    }
    assert!(faults.is_empty(), "an answer is read as a type of mosaic-api:\n{}", faults.join("\n"));
}

#[test]
fn every_way_to_read_a_field_by_its_name_is_seen() {
    for line in
        [r#"body["status"]"#, r#"a()["b"]"#, r#"x["a"]["b"]"#, r#"v.get("a")"#, r#"v.pointer("/a/b")"#]
    {
        assert!(reads_a_field(line), "{line}");
    }
    for line in [
        r#"let list = ["a", "b"];"#,
        "map.get(name)",
        r#"client.get("/v1/queue")"#,
        r#"headers().get("etag")"#,
    ] {
        assert!(!reads_a_field(line), "{line}");
    }
}
