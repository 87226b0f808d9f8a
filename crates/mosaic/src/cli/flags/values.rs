//! Readers of the values of flags.

use std::time::Duration;

use thiserror::Error;

/// Reason why the value of a flag cannot be used.
#[derive(Debug, Error)]
pub(crate) enum FlagError {
    /// It is no span of time.
    #[error("{0}; write it as 90s, 30m or 2h")]
    Time(#[from] humantime::DurationError),
    /// It is no cap.
    #[error("write it as '$2' (dollars) or 40turns")]
    Cap,
    /// It is no label.
    #[error("write it as KEY=VALUE")]
    Label,
}

/// A cap on spending.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Cap {
    /// US dollars.
    Usd(f64),
    /// Model turns.
    Turns(u32),
}

/// Reads a span of time; a bare number is seconds.
pub(super) fn parse_time(text: &str) -> Result<Duration, FlagError> {
    match text.parse::<u64>() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => Ok(humantime::parse_duration(text)?),
    }
}

/// Reads a cap: dollars or turns, more than none.
pub(super) fn parse_cap(text: &str) -> Result<Cap, FlagError> {
    if let Some(turns) = text.strip_suffix("turns").or_else(|| text.strip_suffix("turn")) {
        return turns.trim().parse().ok().filter(|&n| n > 0).map(Cap::Turns).ok_or(FlagError::Cap);
    }
    let figure = text.trim_start_matches('$').trim_end_matches("usd");
    let figure = figure.trim().parse().ok().filter(|n: &f64| n.is_finite() && *n > 0.0);
    figure.map(Cap::Usd).ok_or(FlagError::Cap)
}

/// Reads a label: a key that is not empty, and a value.
pub(super) fn parse_label(text: &str) -> Result<(String, String), FlagError> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(FlagError::Label),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_times_and_labels_are_read() {
        assert_eq!(parse_cap("$2").ok(), Some(Cap::Usd(2.0)));
        assert_eq!(parse_cap("0.5usd").ok(), Some(Cap::Usd(0.5)));
        assert_eq!(parse_cap("40turns").ok(), Some(Cap::Turns(40)));
        assert!(parse_cap("-1").is_err() && parse_cap("0turns").is_err() && parse_cap("inf").is_err());
        assert_eq!(parse_time("90").ok(), Some(Duration::from_secs(90)));
        assert_eq!(parse_time("2h").ok(), Some(Duration::from_secs(7200)));
        assert!(parse_time("soon").is_err());
        assert_eq!(parse_label("a=b=c").ok(), Some(("a".to_owned(), "b=c".to_owned())));
        assert!(parse_label("ab").is_err() && parse_label("=b").is_err());
    }
}
