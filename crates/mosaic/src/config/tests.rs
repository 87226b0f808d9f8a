//! Values right and wrong, from an environment made for the test.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;

use super::*;

fn read(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::from_env(&lookup(pairs))
}

fn lookup(pairs: &[(&str, &str)]) -> impl Fn(&str) -> Option<OsString> {
    let mut map: BTreeMap<String, OsString> = BTreeMap::new();
    map.insert("HOME".to_owned(), "/home/op".into());
    map.extend(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).into())));
    move |name| map.get(name).cloned()
}

fn fault(name: &str, value: &str) -> String {
    let error = read(&[(name, value)]).expect_err("the value was taken");
    crate::problem::Problem::Config(error).render()
}

#[test]
fn defaults_are_those_of_the_contract() {
    let config = read(&[]).unwrap();
    assert_eq!(
        (config.port, config.bind.to_string().as_str(), config.auth),
        (3001, "127.0.0.1", Auth::Token)
    );
    assert_eq!(config.data_dir, PathBuf::from("/home/op/.local/state/mosaic"));
    assert_eq!((config.kill_grace.as_millis(), config.drain.as_millis()), (5000, 30_000));
    assert!(config.slots >= 2 && config.origins.is_empty());
    let config = read(&[("XDG_STATE_HOME", "/state")]).unwrap();
    assert_eq!(config.data_dir, PathBuf::from("/state/mosaic"));
    assert!(Config::from_env(&|_| None).is_err(), "no home, no directory");
}

#[test]
fn a_wrong_value_is_named_with_what_is_allowed() {
    assert_eq!(
        fault("ORCHESTRATOR_PORT", "65536"),
        "error: ORCHESTRATOR_PORT: \"65536\" is not usable; allowed: a whole number from 0 to 65535\n  all variables: mosaic config\n"
    );
    assert!(fault("ORCHESTRATOR_AUTH", "of").contains("allowed: token, off (did you mean off?)"));
    assert!(fault("MOSAIC_RUNTIME", "cluade").contains("did you mean claude?"));
    for (name, value) in [
        ("MOSAIC_BIND", "localhost"),
        ("MOSAIC_SLOTS", "0"),
        ("MOSAIC_SLOTS", "many"),
        ("MOSAIC_KILL_GRACE_MS", "-1"),
        ("MOSAIC_BRANCH_PREFIX", "-x"),
        ("MOSAIC_BRANCH_PREFIX", "a..b"),
        ("MOSAIC_MODEL_UPSTREAM", "ftp://x"),
        ("MOSAIC_MODEL_UPSTREAM", "http://user:pw@x"),
        ("MOSAIC_GIT_NAME", "a\nb"),
        ("MOSAIC_ALLOWED_HOSTS", "a b"),
        ("MOSAIC_TRUST", "never"),
        ("MOSAIC_LOG", "loud"),
        ("MOSAIC_ALLOW_LOCAL_REPOSITORIES", "perhaps"),
    ] {
        assert!(fault(name, value).starts_with(&format!("error: {name}: ")), "{name}={value}");
    }
}

#[test]
fn a_secret_is_never_shown() {
    let text = fault("CLAUDE_API_KEY", "sk-ant canary");
    assert!(!text.contains("canary") && text.contains("a secret of 13 bytes"), "{text}");
    let config = read(&[("CLAUDE_API_KEY", "sk-canary"), ("MOSAIC_TOKEN", "canary")]).unwrap();
    assert_eq!(config.claude_api_key.as_ref().map(Secret::expose), Some("sk-canary"));
    let shown: String = variables().filter_map(|row| (row.show)(&config)).collect();
    assert!(!shown.contains("canary") && !format!("{config:?}").contains("canary"));
}

#[test]
fn what_this_build_lacks_stops_the_start_by_name() {
    for (name, value) in
        [("SANDBOX_ENABLED", "true"), ("MOSAIC_SANDBOX", "docker"), ("MOSAIC_SANDBOX", "bubblewrap")]
    {
        let text = fault(name, value);
        assert!(
            text.contains(&format!("{name} is set, but this build has no")) && text.contains("unset"),
            "{text}"
        );
    }
    let config =
        read(&[("SANDBOX_ENABLED", "false"), ("MOSAIC_SANDBOX", "none"), ("VALKEY_HOST", "")]).unwrap();
    assert!(!config.valkey.chosen(), "an empty value counts as not set");
}

#[cfg(not(feature = "valkey"))]
#[test]
fn a_build_without_the_valkey_store_does_not_start_with_one() {
    for (name, value) in [("VALKEY_HOST", "localhost"), ("VALKEY_PORT", "6379"), ("MOSAIC_VALKEY_DB", "1")] {
        let text = fault(name, value);
        assert!(text.contains(&format!("{name} is set, but this build has no Valkey store")), "{text}");
        assert!(text.contains("unset VALKEY_HOST"), "{text}");
    }
}

#[test]
fn values_that_do_not_go_together_are_refused() {
    assert!(read(&[("ORCHESTRATOR_AUTH", "off")]).is_ok());
    assert!(read(&[("ORCHESTRATOR_AUTH", "off"), ("MOSAIC_BIND", "0.0.0.0")]).is_err());
    assert!(read(&[("MOSAIC_GIT_TOKEN", "t")]).is_err());
    assert!(read(&[("MOSAIC_GIT_TOKEN", "t"), ("MOSAIC_GIT_TOKEN_HOST", "git.example.com")]).is_ok());
    assert!(read(&[("MOSAIC_RUNTIME", "command")]).is_err());
    assert!(read(&[("MOSAIC_NODE_LABELS", "zone=north, disk=ssd")]).is_ok());
    assert!(read(&[("MOSAIC_NODE_LABELS", "zone")]).is_err());
    for millis in ["2999", "3600001"] {
        assert!(read(&[("MOSAIC_LEASE_MS", millis)]).is_err());
    }
}

#[test]
fn every_variable_may_come_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    std::fs::write(&file, "sk-from-file\n").unwrap();
    let path = file.to_str().unwrap();
    let config = read(&[("CLAUDE_API_KEY_FILE", path)]).unwrap();
    assert_eq!(config.claude_api_key.as_ref().map(Secret::expose), Some("sk-from-file"));
    assert_eq!(config.origins["CLAUDE_API_KEY"], "CLAUDE_API_KEY_FILE");
    assert!(read(&[("CLAUDE_API_KEY_FILE", path), ("CLAUDE_API_KEY", "x")]).is_err(), "both at once");
    let missing = read(&[("MOSAIC_TOKEN_FILE", "/nowhere/at/all")]).unwrap_err();
    assert!(missing.to_string().starts_with("MOSAIC_TOKEN_FILE: the file cannot be read"), "{missing}");
    let config = read(&[("MOSAIC_GIT_CREDENTIALS_FILE", path)]).unwrap();
    assert_eq!(config.git_credentials_file.as_deref(), Some(file.as_path()));
}

#[test]
fn unknown_names_warn_with_a_guess() {
    let names = [
        "MOSAIC_SLOT",
        "MOSAIC_AGENT_ID",
        "MOSAIC_TOKEN_FILE",
        "MOSAIC_BASE",
        "PATH",
        "MOSAIC_XYZZY",
        "MOSAIC_SLOTS",
    ];
    let warnings = unknown_names(names.iter().map(|n| (*n).to_owned()));
    assert_eq!(
        warnings,
        [
            "MOSAIC_SLOT is not a variable of mosaic and has no effect (did you mean MOSAIC_SLOTS?)",
            "MOSAIC_XYZZY is not a variable of mosaic and has no effect",
        ]
    );
}

#[test]
fn the_table_is_whole() {
    let mut names: Vec<&str> = variables().map(|row| row.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), variables().count(), "a name stands twice");
    assert!(variables().all(|row| !row.meaning.is_empty() && !row.since.is_empty()));
    assert_eq!(variables().filter(|row| row.contract).count(), 6);
}

#[test]
fn the_readme_has_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
    let readme = std::fs::read_to_string(path).expect("README.md is there");
    let (_, rest) = readme.split_once("<!-- config table -->").expect("the table's start mark");
    let (table, _) = rest.split_once("<!-- /config table -->").expect("the table's end mark");
    if std::env::var_os("MOSAIC_WRITE_DOCS").is_some() {
        std::fs::write(path, readme.replace(table, &format!("\n{}", table::markdown())))
            .expect("README.md can be written");
        return;
    }
    let rows = |text: &str| text.trim().lines().map(str::to_owned).collect::<BTreeSet<String>>();
    let (there, made) = (rows(table), rows(&table::markdown()));
    let (old, new): (Vec<_>, Vec<_>) = (there.difference(&made).collect(), made.difference(&there).collect());
    assert!(
        table.trim() == table::markdown().trim(),
        "README.md has the rows {old:#?} instead of {new:#?}; `just snapshots` writes the table anew"
    );
}

#[test]
fn a_token_is_not_sent_to_a_coordinator_in_the_clear() {
    let url = |url: &'static str| ("COORDINATOR_URL", url);
    let token = ("MOSAIC_COORDINATOR_TOKEN", "canary-canary-canary");
    for near in ["http://127.0.0.1:8000", "http://localhost:8000", "https://gates.example.com"] {
        assert!(read(&[url(near), token]).is_ok(), "{near}");
    }
    let far = url("http://coordinator:8000");
    assert!(read(&[far]).is_ok(), "the contract's address works as it did");
    let refused = read(&[far, token]).unwrap_err().to_string();
    assert!(refused.contains("MOSAIC_COORDINATOR_TOKEN") && refused.contains("COORDINATOR_URL"), "{refused}");
    assert!(!refused.contains("canary"));
    assert!(read(&[far, token, ("MOSAIC_COORDINATOR_INSECURE", "true")]).is_ok());
    assert!(fault("COORDINATOR_URL", "gates.example.com").contains("an http or https address"));
    assert!(fault("COORDINATOR_URL", "http://user:secret@x").starts_with("error: COORDINATOR_URL: "));
    assert!(read(&[("MOSAIC_COORDINATOR_AUTH", "off"), ("MOSAIC_COORDINATOR_BIND", "0.0.0.0")]).is_err());
}
