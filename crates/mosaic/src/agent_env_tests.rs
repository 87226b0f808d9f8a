//! Variables of the server's environment that agents get, group by group, and what they never get.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::*;

fn passed_of(env: &[(&str, &str)], wanted: &AgentEnv) -> BTreeMap<String, String> {
    let lookup =
        |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
    passed(wanted, &lookup).into_iter().collect()
}

fn names(map: &BTreeMap<String, String>) -> Vec<&str> {
    map.keys().map(String::as_str).collect()
}

#[test]
fn proxies_are_passed_in_both_spellings_and_never_for_this_machine() {
    let all = AgentEnv::default();
    assert!(passed_of(&[("NO_PROXY", "corp")], &all).contains_key("NO_PROXY"));
    let got = passed_of(&[("https_proxy", "http://p:1"), ("NO_PROXY", "corp, localhost")], &all);
    assert_eq!(names(&got), ["NO_PROXY", "https_proxy", "no_proxy"]);
    assert_eq!(got["no_proxy"], "corp, localhost,127.0.0.1,::1");
    assert_eq!(got["NO_PROXY"], got["no_proxy"]);
    let got = passed_of(&[("ALL_PROXY", "socks5://p:1")], &all);
    assert_eq!(got["no_proxy"], "localhost,127.0.0.1,::1");
}

#[test]
fn authorities_are_passed() {
    let env =
        [("SSL_CERT_FILE", "/a"), ("NODE_EXTRA_CA_CERTS", "/b"), ("GIT_SSL_CAINFO", "/c"), ("SECRET", "x")];
    let got = passed_of(&env, &AgentEnv::default());
    assert_eq!(names(&got), ["GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"]);
}

#[test]
fn toolchains_are_found_in_the_operators_home() {
    let home = tempfile::tempdir().unwrap();
    for dir in [".rustup", ".pyenv", ".config/nvm", ".asdf", ".cargo"] {
        std::fs::create_dir_all(home.path().join(dir)).unwrap();
    }
    std::fs::write(home.path().join(".tool-versions"), "").unwrap();
    let text = home.path().to_str().unwrap();
    let env =
        [("HOME", text), ("PYENV_ROOT", "/opt/pyenv"), ("JAVA_HOME", "/opt/java"), ("CARGO_HOME", "/c")];
    let got = passed_of(&env, &AgentEnv::default());
    let expected = [
        "ASDF_DATA_DIR",
        "ASDF_DEFAULT_TOOL_VERSIONS_FILENAME",
        "ASDF_DIR",
        "JAVA_HOME",
        "NVM_DIR",
        "PYENV_ROOT",
        "RUSTUP_HOME",
    ];
    assert_eq!(names(&got), expected);
    assert_eq!(got["PYENV_ROOT"], "/opt/pyenv", "what the operator says comes first");
    assert_eq!(got["NVM_DIR"], format!("{text}/.config/nvm"));
    assert!(passed_of(&[("HOME", "relative")], &AgentEnv::default()).is_empty());
}

#[test]
fn more_names_are_added_and_defaults_taken_away() {
    let wanted =
        AgentEnv { names: vec!["CARGO_HOME".into(), "UNSET".into()], without: vec!["JAVA_HOME".into()] };
    let got = passed_of(&[("CARGO_HOME", "/c"), ("JAVA_HOME", "/j"), ("GOROOT", "/g")], &wanted);
    assert_eq!(names(&got), ["CARGO_HOME", "GOROOT"]);
}

#[test]
fn secrets_of_the_server_and_what_loads_code_are_refused() {
    for name in [
        "MOSAIC_GIT_TOKEN",
        "CLAUDE_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "VALKEY_PASSWORD",
        "mosaic_token",
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "BASH_ENV",
        "GIT_DIR",
        "GIT_CONFIG_KEY_0",
        "SSH_AUTH_SOCK",
        "HOME",
        "PATH",
    ] {
        assert!(refused(name).is_some(), "{name}");
    }
    for name in ["NPM_TOKEN", "CARGO_HOME", "LANG", "NODE_OPTIONS"] {
        assert_eq!(refused(name), None, "{name}");
    }
    let defaults = PROXIES.iter().chain(AUTHORITIES).chain(TOOLCHAINS.iter().map(|(name, _)| name));
    assert_eq!(defaults.filter(|name| refused(name).is_some()).count(), 0);
}

/// Secrets in the value of one variable.
fn secrets_of(name: &str, value: &str) -> Vec<String> {
    let found = secrets(&[(name.to_owned(), value.to_owned())]);
    found.into_iter().map(|(_, secret)| String::from_utf8(secret).unwrap()).collect()
}

#[test]
fn the_password_of_a_proxy_is_found_as_it_stands_and_decoded() {
    let proxy = |value: &str| secrets_of("https_proxy", value);
    assert_eq!(proxy("http://user:pa:ss@proxy:3128/")[0], "pa:ss");
    assert_eq!(proxy("user:word@proxy"), ["word"]);
    let encoded = ["p%40ss", "%2Fw0rd%25Zx9"].concat();
    let found = proxy(&format!("http://user:{encoded}@proxy:3128"));
    assert!(found.contains(&encoded) && found.contains(&"p@ss/w0rd%Zx9".to_owned()), "{found:?}");
    for none in ["http://proxy:3128", "http://user@proxy", "http://user:@proxy"] {
        assert!(proxy(none).is_empty(), "{none}");
    }
}

#[test]
fn variables_whose_names_say_secret_are_secret_and_paths_and_switches_are_not() {
    let value = ["Zx9qL2vT7", "mBn4Rw8Ky3H"].concat();
    for name in [
        "NPM_TOKEN",
        "DB_PASSWORD",
        "STRIPE_KEY",
        "MY_API_KEY",
        "AWS_SECRET_ACCESS_KEY",
        "PGPASSWORD",
        "npm_config__auth",
    ] {
        assert_eq!(secrets_of(name, &value), [value.as_str()], "{name}");
    }
    for name in ["NPM_TOKEN_FILE", "AWS_ACCESS_KEY_ID", "TOKEN_URL", "PUBLIC_KEY", "JAVA_HOME", "LANG"] {
        assert!(secrets_of(name, &value).is_empty(), "{name}");
    }
    assert!(secrets_of("GOOGLE_APPLICATION_CREDENTIALS", "/etc/passwd").is_empty());
    let in_url = format!("postgres://app:{value}@db.internal/x");
    assert!(secrets_of("DATABASE_URL", &in_url).contains(&value));
}
