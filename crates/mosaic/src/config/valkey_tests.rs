//! Which Valkey server is chosen, and what is refused.

use std::ffi::OsString;

use super::{Config, ConfigError};

fn read(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::from_env(&|name| {
        let found = pairs.iter().find(|(k, _)| *k == name).map(|(_, v)| OsString::from(v));
        found.or_else(|| (name == "HOME").then(|| "/home/op".into()))
    })
}

#[test]
fn host_or_port_or_sentinels_choose_the_valkey_store() {
    assert!(!read(&[]).unwrap().valkey.chosen());
    for (pairs, address) in [
        (&[("VALKEY_HOST", "cache")][..], ("cache", 6379)),
        (&[("VALKEY_PORT", "7000")][..], ("localhost", 7000)),
        (&[("VALKEY_HOST", "[::1]"), ("VALKEY_PORT", "7000")][..], ("::1", 7000)),
    ] {
        let valkey = read(pairs).unwrap().valkey;
        assert!(valkey.chosen());
        assert_eq!(valkey.addresses(), [(address.0.to_owned(), address.1)]);
    }
    let pairs = [("VALKEY_HOST", "v1, v2:7001,[::1]:1"), ("VALKEY_PORT", "7000")];
    let valkey = read(&pairs).unwrap().valkey;
    assert_eq!(valkey.addresses(), [("v1".to_owned(), 7000), ("v2".to_owned(), 7001), ("::1".to_owned(), 1)]);
    assert_eq!(valkey.message(), "Valkey v1:7000, v2:7001, ::1:1");
    let valkey = read(&[("MOSAIC_VALKEY_SENTINELS", "s1, s2:26380,[::1]:1")]).unwrap().valkey;
    let all = [("s1".to_owned(), 26379), ("s2".to_owned(), 26380), ("::1".to_owned(), 1)];
    assert!(valkey.chosen() && valkey.sentinels == all);
    assert_eq!(valkey.message(), "Valkey \"mymaster\" of Sentinel s1:26379, s2:26380, ::1:1");
}

#[test]
fn what_would_be_ignored_is_refused() {
    for pairs in [
        &[("MOSAIC_VALKEY_DB", "1")][..],
        &[("MOSAIC_VALKEY_PREFIX", "{m}")][..],
        &[("MOSAIC_VALKEY_ACCEPT_RISK", "true")][..],
        &[("VALKEY_HOST", "h"), ("MOSAIC_VALKEY_CA_FILE", "/ca.pem")][..],
        &[("VALKEY_HOST", "h"), ("MOSAIC_VALKEY_USERNAME", "u")][..],
        &[("VALKEY_HOST", "h"), ("MOSAIC_VALKEY_SENTINELS", "s")][..],
    ] {
        assert!(matches!(read(pairs), Err(ConfigError::Together { .. })), "{pairs:?}");
    }
    for (name, value) in [
        ("VALKEY_HOST", "redis://h"),
        ("VALKEY_PORT", "0"),
        ("MOSAIC_VALKEY_PREFIX", "{m"),
        ("MOSAIC_VALKEY_PREFIX", "{}"),
        ("MOSAIC_VALKEY_PREFIX", "a b"),
        ("MOSAIC_VALKEY_SENTINELS", "s:0"),
        ("MOSAIC_VALKEY_TLS", "maybe"),
    ] {
        assert!(matches!(read(&[(name, value)]), Err(ConfigError::Value { .. })), "{name}={value}");
    }
}

#[test]
fn the_password_is_never_shown() {
    let config = read(&[("VALKEY_HOST", "h"), ("MOSAIC_VALKEY_PASSWORD", "canary")]).unwrap();
    assert_eq!(config.valkey.password.as_ref().unwrap().expose(), "canary");
    assert!(!format!("{config:?}").contains("canary"));
}
