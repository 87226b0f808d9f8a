//! Readers of configuration values. Each returns the value or what is allowed instead.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use mosaic_core::limits;

use super::outcome::Outcome;
use super::values::{AgentEnv, Secret};

/// The result of reading a value.
pub(super) type Read<T> = Result<T, Outcome>;

fn wrong<T>(allowed: impl Into<String>) -> Read<T> {
    Err(Outcome::Wrong(allowed.into()))
}

/// Reads a whole number in a range.
pub(super) fn number(value: &str, range: std::ops::RangeInclusive<u64>) -> Read<u64> {
    match value.trim().parse() {
        Ok(n) if range.contains(&n) => Ok(n),
        _ => wrong(format!("a whole number from {} to {}", range.start(), range.end())),
    }
}

/// Reads milliseconds in a range.
pub(super) fn millis(value: &str, range: std::ops::RangeInclusive<u64>) -> Read<Duration> {
    number(value, range).map(Duration::from_millis)
}

/// Reads a number from 0 to the most, which may have a fraction.
pub(super) fn fraction(value: &str, most: f64) -> Read<f64> {
    match value.trim().parse::<f64>() {
        Ok(n) if (0.0..=most).contains(&n) => Ok(n),
        _ => wrong(format!("a number from 0 to {most}, such as 1.5")),
    }
}

/// Reads a number of days, at least one and at most a hundred years.
pub(super) fn days(value: &str) -> Read<Duration> {
    number(value, 1..=36_500).map(|days| Duration::from_secs(days * 86_400))
}

/// Reads a yes or no.
pub(super) fn flag(value: &str) -> Read<bool> {
    match value.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => wrong("true, false"),
    }
}

/// Reads a word out of a list.
pub(super) fn choice<T: Copy>(value: &str, all: &[(&str, T)]) -> Read<T> {
    let typed = value.trim();
    if let Some((_, found)) = all.iter().find(|(word, _)| *word == typed) {
        return Ok(*found);
    }
    let words: Vec<&str> = all.iter().map(|(word, _)| *word).collect();
    let near = mosaic_core::domain::spec::closest(typed, &words);
    wrong(format!("{}{}", words.join(", "), near.map_or(String::new(), |n| format!(" (did you mean {n}?)"))))
}

/// Reads a path and makes it absolute, relative to the working directory.
pub(super) fn path(value: &str) -> Read<PathBuf> {
    std::path::absolute(value).or_else(|_| wrong("a path"))
}

/// Reads a list of absolute paths.
pub(super) fn paths(value: &str) -> Read<Vec<PathBuf>> {
    let all: Vec<PathBuf> =
        std::env::split_paths(value).filter(|path| !path.as_os_str().is_empty()).collect();
    match all.iter().all(|path| path.is_absolute()) {
        true => Ok(all),
        false => wrong("absolute paths, separated by colons"),
    }
}

/// Reads one line of text without control characters.
pub(super) fn line(value: &str, most: usize) -> Read<String> {
    let text = value.trim();
    let bad =
        text.is_empty() || text.len() > most || text.chars().any(mosaic_core::domain::ids::is_unprintable);
    if bad {
        wrong(format!("one line of at most {most} bytes without control characters"))
    } else {
        Ok(text.to_owned())
    }
}

/// Reads a host name, without scheme, port or user.
pub(super) fn host(value: &str) -> Read<String> {
    let text = value.trim().to_ascii_lowercase();
    let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if text.is_empty() || text.starts_with(['-', '.']) || !text.bytes().all(ok) {
        return wrong("a host name such as git.example.com");
    }
    Ok(text)
}

/// Reads host names separated by commas.
pub(super) fn hosts(value: &str) -> Read<Vec<String>> {
    value.split(',').map(str::trim).filter(|one| !one.is_empty()).map(host).collect()
}

/// Reads an http or https address without user, query and fragment.
pub(super) fn address(value: &str) -> Read<String> {
    let text = value.trim().trim_end_matches('/');
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let fine = rest.is_some_and(|rest| {
        !rest.is_empty()
            && !rest.starts_with('/')
            && !rest.contains(['@', '?', '#'])
            && rest.bytes().all(|b| b.is_ascii_graphic())
    });
    if fine {
        Ok(text.to_owned())
    } else {
        wrong("an address such as http://127.0.0.1:3001, without user, query or fragment")
    }
}

/// Reads a secret: one line of printable characters.
pub(super) fn secret(value: &str) -> Read<Secret> {
    let text = value.trim();
    if text.is_empty() || text.bytes().any(|b| !b.is_ascii_graphic()) {
        return wrong("one line of printable ASCII characters without spaces");
    }
    Ok(Secret::new(text.to_owned()))
}

/// Reads a name made of letters, digits, dots, dashes and underscores.
pub(super) fn word(value: &str) -> Read<String> {
    match value.trim().parse::<mosaic_core::domain::ids::Word>() {
        Ok(word) => Ok(String::from(word)),
        Err(e) => wrong(format!("a name that {e}")),
    }
}

/// Reads labels: names with values, separated by commas.
pub(super) fn labels(value: &str) -> Read<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    for pair in value.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let Some((name, text)) = pair.split_once('=') else {
            return wrong("labels such as zone=north,disk=ssd");
        };
        labels.insert(word(name)?, line(text, limits::LABEL_BYTES)?);
    }
    if labels.len() > limits::LABELS {
        return wrong(format!("at most {} labels", limits::LABELS));
    }
    Ok(labels)
}

/// Most names of variables for agents, and the longest of them: a list that somebody wrote by hand.
const NAMES: usize = 64;
const NAME_BYTES: usize = 128;

/// Reads names of variables; one with a dash before it is removed from the defaults.
pub(super) fn agent_env(value: &str) -> Read<AgentEnv> {
    let mut read = AgentEnv::default();
    for word in value.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let (list, name) = match word.strip_prefix('-') {
            Some(name) => (&mut read.without, name),
            None => (&mut read.names, word),
        };
        let is_name = name.len() <= NAME_BYTES
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if name.is_empty() || !is_name {
            return wrong(
                "names of variables by commas, such as NPM_TOKEN,CARGO_HOME; names only, no values",
            );
        }
        if let Some(why) = crate::agent_env::refused(name).filter(|_| !word.starts_with('-')) {
            return wrong(format!("names of other variables: {name} is never passed on, because {why}"));
        }
        list.push(name.to_owned());
    }
    if read.names.len() + read.without.len() > NAMES {
        return wrong(format!("at most {NAMES} names"));
    }
    Ok(read)
}

/// Reads the first part of branch names.
pub(super) fn branch_prefix(value: &str) -> Read<String> {
    let text = value.trim();
    let sample = format!("{text}/task/00000000");
    if text.len() <= 100 && sample.parse::<mosaic_core::domain::ids::BranchName>().is_ok() {
        return Ok(text.to_owned());
    }
    wrong("the first part of a git branch name, at most 100 bytes, such as mosaic")
}
