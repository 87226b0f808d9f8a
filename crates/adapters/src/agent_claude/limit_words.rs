//! Limits of the model service in words: whether a text is about one, and when it says that it ends. Services and versions
//! of the program word this in many ways; what is not understood is no time at all.

use mosaic_core::domain::ids::Timestamp;
use mosaic_core::domain::quota::Reset;
use serde_json::Value;

use super::limit_dates;

/// Tells whether a text says that a limit on use was reached.
pub(super) fn is_limit(text: &str) -> bool {
    const LIMITS: [&str; 10] = [
        "usage limit",
        "spend limit",
        "spending limit",
        "session limit",
        "weekly limit",
        "5-hour limit",
        "opus limit",
        "sonnet limit",
        "rate limit",
        "rate_limit",
    ];
    let lower = text.to_lowercase();
    let reached = ["reached", "hit your", "exceeded", "resets", "rate limit", "rate_limit", "limit|"];
    (LIMITS.iter().any(|limit| lower.contains(limit)) && reached.iter().any(|word| lower.contains(word)))
        || (lower.contains("hit your") && lower.contains("limit"))
        || lower.contains("too many requests")
        || lower.contains("regain access")
}

/// Returns when the limit ends that a text tells of.
pub(super) fn reset(text: &str) -> Option<Reset> {
    let lower = text.to_lowercase();
    epoch(&lower).or_else(|| rfc3339(text)).or_else(|| after(&lower)).or_else(|| limit_dates::read(text))
}

/// Reads a time as a field of a line gives it: a number since 1970, whole or not, its digits as text, or RFC 3339.
pub(super) fn time_of(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Number(number) => {
            let seconds = number.as_f64().filter(|seconds| (0.0..1e15).contains(seconds))?;
            // Whole numbers stay exact; a part of a second belongs to a number of seconds.
            number.as_u64().and_then(epoch_time).or_else(|| epoch_time((seconds * 1000.0) as u64))
        }
        Value::String(text) => match text.trim().parse::<f64>() {
            Ok(number) => time_of(&Value::from(number)),
            Err(_) => moment(text.trim()),
        },
        _ => None,
    }
}

/// Reads RFC 3339 with `Z` or with an offset.
fn moment(text: &str) -> Option<Timestamp> {
    if let Ok(at) = Timestamp::from_rfc3339(text) {
        return Some(at);
    }
    let (time, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let ahead = if offset.starts_with('+') { 1 } else { -1 };
    let (hours, minutes) = offset.strip_prefix(['+', '-'])?.split_once(':')?;
    let seconds = ahead * (hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60);
    let at = Timestamp::from_rfc3339(&format!("{time}Z")).ok()?;
    at.0.checked_add_signed(-seconds * 1000).map(Timestamp)
}

/// Reads seconds or milliseconds since 1970, as in `usage limit reached|1764500000`.
pub(super) fn epoch_time(number: u64) -> Option<Timestamp> {
    match number {
        1_000_000_000..=99_999_999_999 => Some(Timestamp(number * 1000)),
        1_000_000_000_000..=99_999_999_999_999 => Some(Timestamp(number)),
        _ => None,
    }
}

fn epoch(text: &str) -> Option<Reset> {
    let numbers =
        text.split(|c: char| !c.is_ascii_digit()).filter(|digits| (10..=13).contains(&digits.len()));
    numbers.filter_map(|digits| epoch_time(digits.parse().ok()?)).next().map(Reset::At)
}

fn rfc3339(text: &str) -> Option<Reset> {
    let words = text.split(|c: char| c.is_whitespace() || "()[]\"',;".contains(c));
    words.filter(|word| word.contains('T')).find_map(|word| moment(word.trim_end_matches('.')).map(Reset::At))
}

/// Reads `retry-after: 3600`, `try again in 2 hours 5 minutes`, `resets in 3h 20m`.
fn after(text: &str) -> Option<Reset> {
    const STARTS: [&str; 12] = [
        "retry-after",
        "retry after",
        "retry_after",
        "again in",
        "again after",
        "resets in",
        "reset in",
        "retry in",
        "available in",
        "wait for",
        "please wait",
        "must wait",
    ];
    const FILLERS: [&str; 5] = ["about ", "approximately ", "around ", "another ", "at least "];
    let (start, at) = STARTS.iter().find_map(|start| Some((*start, text.find(start)?)))?;
    let rest =
        text[at + start.len()..].trim_start_matches(|c: char| c.is_whitespace() || ":=\"'".contains(c));
    let mut rest = FILLERS.iter().find_map(|filler| rest.strip_prefix(filler)).unwrap_or(rest);
    let mut seconds: Option<f64> = None;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        rest = rest.strip_prefix("and ").unwrap_or(rest);
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        let Ok(number) = rest[..end].trim_end_matches('.').parse::<f64>() else { break };
        let word = rest[end..].trim_start();
        let length = word.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(word.len());
        let factor = match &word[..length] {
            "ms" | "milliseconds" => 0.001,
            "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
            "h" | "hr" | "hrs" | "hour" | "hours" => 3600.0,
            "d" | "day" | "days" => 86_400.0,
            "" | "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
            _ if seconds.is_none() => 1.0,
            _ => break,
        };
        seconds = Some(seconds.unwrap_or(0.0) + number * factor);
        rest = &word[length..];
    }
    seconds.filter(|s| s.is_finite() && *s >= 0.0).map(|s| Reset::After(s.ceil().min(1e12) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_about_limits_are_told_from_others() {
        for text in [
            "You've hit your session limit · resets 3pm (Europe/Berlin)",
            "You've hit your weekly limit",
            "Claude AI usage limit reached|1764500000",
            "5-hour limit reached ∙ resets 3pm",
            "This request would exceed your account's rate limit. Please try again later.",
            "429 Too Many Requests",
        ] {
            assert!(is_limit(text), "{text}");
        }
        for text in [
            "",
            "context limit reached",
            "done; I raised the limit",
            "the limit of the loop is reached",
            "prompt is too long",
        ] {
            assert!(!is_limit(text), "{text}");
        }
    }

    #[test]
    fn stated_ends_are_read() {
        let at = |ms| Some(Reset::At(Timestamp(ms)));
        let cases = [
            ("Claude AI usage limit reached|1764500000", at(1_764_500_000_000)),
            ("limit reached|1764500000123", at(1_764_500_000_123)),
            ("it resets at 2026-11-30T15:00:00Z.", at(1_796_050_800_000)),
            ("retry-after: 3600", Some(Reset::After(3600))),
            ("\"retry_after\": 12.2", Some(Reset::After(13))),
            ("please try again in 2 hours and 5 minutes", Some(Reset::After(7500))),
            ("resets in 3h 20m", Some(Reset::After(12_000))),
            ("Retry after 90 seconds.", Some(Reset::After(90))),
            ("please try again in about 3 hours", Some(Reset::After(10_800))),
            ("try again after 3 hours", Some(Reset::After(10_800))),
            ("Please wait 180 minutes before trying again", Some(Reset::After(10_800))),
            ("resets 3pm", Some(Reset::Minute(15 * 60))),
            ("resets at 3:30 AM", Some(Reset::Minute(3 * 60 + 30))),
            ("resets 12am (UTC)", Some(Reset::Minute(0))),
            ("resets at 15:45 (UTC) · progress saved", Some(Reset::Minute(15 * 60 + 45))),
            ("resets 3pm (Asia/Kolkata)", Some(Reset::Minute(9 * 60 + 30))),
            ("resets 3pm (Nowhere/Land)", None),
            ("resets 3pm (../../etc/passwd)", None),
            ("resets 13pm", None),
            ("resets 7", None),
            ("resets soon", None),
            ("try again in a while", None),
            ("no time at all 123456789012345678", None),
        ];
        for (text, expected) in cases {
            assert_eq!(reset(text), expected, "{text}");
        }
        for (given, expected) in [
            ("1764500000", Some(1_764_500_000_000)),
            ("1764500000123", Some(1_764_500_000_123)),
            ("1764500000.5", Some(1_764_500_000_500)),
            ("\"1764500000\"", Some(1_764_500_000_000)),
            ("\"2026-11-30T15:00:00Z\"", Some(1_796_050_800_000)),
            ("\"2026-11-30T15:00:00.250Z\"", Some(1_796_050_800_250)),
            ("\"2026-11-30T17:30:00+02:30\"", Some(1_796_050_800_000)),
            ("\"soon\"", None),
            ("7", None),
            ("-1e300", None),
            ("null", None),
            ("\"+é:00é\"", None),
        ] {
            let value = serde_json::from_str(given).unwrap();
            assert_eq!(time_of(&value).map(|at| at.0), expected, "{given}");
        }
        assert!(
            matches!(reset("resets Dec 3, 9am (UTC)"), Some(Reset::At(at)) if at.to_rfc3339().contains("-12-03T09:00:00"))
        );
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*", parts in proptest::collection::vec(proptest::sample::select(vec![
            "resets", " ", "3", ":", "pm", "(", ")", "Europe/Berlin", "dec", "retry-after", "in", "1764500000", "ß", "İ", "T", "Z", "h"]), 0..30)) {
            let _ = (is_limit(&text), reset(&text), reset(&parts.concat()));
        }
    }
}
