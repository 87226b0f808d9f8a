//! Limits of the model service in words: whether a text is about one, and when it says that it ends. Services and versions
//! of the program word this in many ways; what is not understood is no time at all.

use mosaic_core::domain::ids::Timestamp;
use mosaic_core::domain::quota::Reset;

use super::zones;

/// Tells whether a text says that a limit on use was reached.
pub(super) fn is_limit(text: &str) -> bool {
    const LIMITS: [&str; 8] = [
        "usage limit",
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
}

/// Returns when the limit ends that a text tells of.
pub(super) fn reset(text: &str) -> Option<Reset> {
    let lower = text.to_lowercase();
    epoch(&lower).or_else(|| rfc3339(text)).or_else(|| after(&lower)).or_else(|| clock(text, &lower))
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
    words.filter(|word| word.contains('T')).find_map(|word| {
        let word = word.trim_end_matches('.');
        Timestamp::from_rfc3339(word).ok().map(Reset::At)
    })
}

/// Reads `retry-after: 3600`, `try again in 2 hours 5 minutes`, `resets in 3h 20m`.
fn after(text: &str) -> Option<Reset> {
    const STARTS: [&str; 8] = [
        "retry-after",
        "retry after",
        "retry_after",
        "try again in",
        "resets in",
        "reset in",
        "retry in",
        "available in",
    ];
    let (start, at) = STARTS.iter().find_map(|start| Some((*start, text.find(start)?)))?;
    let rest =
        text[at + start.len()..].trim_start_matches(|c: char| c.is_whitespace() || ":=\"'".contains(c));
    let mut seconds: Option<f64> = None;
    let mut rest = rest;
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

/// Reads `resets 3pm (Europe/Berlin)`, `resets at 3:30 AM`, `resets Dec 3, 9am (UTC)`. A zone that is not known makes the
/// time unknown; none at all is UTC, which agents have.
fn clock(text: &str, lower: &str) -> Option<Reset> {
    let at = ["resets", "reset at"].iter().find_map(|start| Some(lower.find(start)? + start.len()))?;
    // Lower-case text has the same length where this is ASCII, and nothing else is understood.
    let (rest, original) = (lower.get(at..)?, text.get(at..)?);
    let offset = match original.split_once('(').and_then(|(_, zone)| zone.split_once(')')) {
        Some((zone, _)) => zones::offset(zone.trim())?,
        None => 0,
    };
    let words: Vec<&str> = rest
        .split(|c: char| c.is_whitespace() || c == ',' || c == '(')
        .filter(|word| !word.is_empty() && !matches!(*word, "at" | "on"))
        .take(5)
        .collect();
    let day =
        words.first().and_then(|word| month(word)).zip(words.get(1).and_then(|word| word.parse::<u8>().ok()));
    let times = if day.is_some() { words.get(2..)? } else { &words[..] };
    let minute = minute_of_day(times)?;
    match day {
        Some((month, day)) => zones::next_date(month, day, minute, offset).map(Reset::At),
        None => {
            let utc = (i64::from(minute) - offset / 60).rem_euclid(24 * 60);
            u16::try_from(utc).ok().map(Reset::Minute)
        }
    }
}

fn month(word: &str) -> Option<u8> {
    const MONTHS: [&str; 12] =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let at = MONTHS.iter().position(|name| word.starts_with(name))?;
    u8::try_from(at + 1).ok()
}

/// Reads `3pm`, `3:30 pm`, `15:00`.
fn minute_of_day(words: &[&str]) -> Option<u16> {
    let first = words.first()?;
    let end = first.find(|c: char| !(c.is_ascii_digit() || c == ':')).unwrap_or(first.len());
    let (hours, minutes) = first[..end].split_once(':').unwrap_or((&first[..end], "0"));
    let (hours, minutes) = (hours.parse::<u16>().ok()?, minutes.parse::<u16>().ok()?);
    let half = if end < first.len() { &first[end..] } else { words.get(1).copied().unwrap_or_default() };
    let half = half.trim_end_matches(|c: char| !c.is_ascii_alphabetic());
    let hours = match half {
        "am" if (1..=12).contains(&hours) => hours % 12,
        "pm" if (1..=12).contains(&hours) => hours % 12 + 12,
        "am" | "pm" => return None,
        // A bare number of hours is no time of day.
        _ if first[..end].contains(':') => hours,
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
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
