//! The end of a limit as people write it: a day and a time of day, in any of the usual orders, with or without a year, a
//! weekday or a zone. A zone that is not known makes the time unknown; none at all is UTC, which agents have.

use mosaic_core::domain::quota::Reset;

use super::zones;

/// Phrases after which the time stands, in the order in which they are tried.
const STARTS: [&str; 9] =
    ["resets", "reset at", "reset on", "reset", "until", "access on", "access at", "again", "retry-after"];
/// Words between the phrase and the time that say nothing.
const FILLERS: [&str; 8] = ["at", "on", "about", "around", "approximately", "in", "after", "the"];
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
/// The first of January 1970 was a Thursday.
const WEEKDAYS: [&str; 7] = ["thu", "fri", "sat", "sun", "mon", "tue", "wed"];
/// Words that are looked at.
const WORDS: usize = 12;

/// Reads `resets 3pm (Europe/Berlin)`, `resets at 3:30 AM`, `resets Dec 3, 2026, 9am (UTC)`, `until 2026-12-03 15:00`,
/// `resets on Monday at 9am`, `Retry-After: Mon, 30 Nov 2026 10:57:00 GMT`.
pub(super) fn read(text: &str) -> Option<Reset> {
    let lower = text.to_ascii_lowercase();
    STARTS.iter().find_map(|start| {
        let at = lower.find(start)? + start.len();
        moment(&lower[at..], &text[at..])
    })
}

fn moment(lower: &str, original: &str) -> Option<Reset> {
    let offset = match original.split_once('(').and_then(|(_, zone)| zone.split_once(')')) {
        Some((zone, _)) => zones::offset(zone.trim())?,
        None => 0,
    };
    let words = lower
        .split(|c: char| c.is_whitespace() || matches!(c, ',' | '(' | '"' | '=' | ';'))
        .map(|word| word.trim_matches(|c: char| matches!(c, ':' | '.' | ')')))
        .filter(|word| !word.is_empty() && !FILLERS.contains(word));
    let words: Vec<&str> = words.take(WORDS).collect();
    let mut date = Date::default();
    let mut time = None;
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let next = words.get(at + 1).copied().unwrap_or_default();
        if let Some((minute, used)) = minute_of_day(word, next) {
            time = Some(minute);
            at += used;
        } else if date.take(word, offset) {
            at += 1;
        } else {
            break;
        }
        if time.is_some() && date.is_known() {
            break;
        }
    }
    let days = date.days(offset);
    match (days, time) {
        (None, None) => None,
        // A month without its day, say, is no date.
        (None, Some(_)) if !date.is_empty() => None,
        (None, Some(minute)) => {
            let utc = (i64::from(minute) - offset / 60).rem_euclid(24 * 60);
            u16::try_from(utc).ok().map(Reset::Minute)
        }
        (Some(days), minute) => zones::moment_of(days, minute.unwrap_or(0), offset).map(Reset::At),
    }
}

/// The parts of a date, as far as they were read.
#[derive(Default)]
struct Date {
    month: Option<i64>,
    day: Option<i64>,
    year: Option<i64>,
    /// Days since 1970, when a word by itself says so.
    days: Option<i64>,
    weekday: Option<i64>,
}

impl Date {
    /// Takes a word; false when it is no part of a date.
    fn take(&mut self, word: &str, offset: i64) -> bool {
        let letters = word.len() >= 3 && word.bytes().all(|byte| byte.is_ascii_lowercase());
        let begins = |name: &&str| letters && word.starts_with(*name);
        let place = |names: &[&str]| names.iter().position(begins).and_then(|at| i64::try_from(at).ok());
        let number = word.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let ordinal = matches!(&word[number.len()..], "" | "st" | "nd" | "rd" | "th");
        if word == "today" || word == "tomorrow" {
            self.days = Some(zones::today(offset) + i64::from(word == "tomorrow"));
        } else if let Some(month) = place(&MONTHS) {
            self.month = Some(month + 1);
        } else if let Some(weekday) = place(&WEEKDAYS) {
            self.weekday = Some(weekday);
        } else if let Some((year, month, day)) = iso(word) {
            (self.year, self.month, self.day) = (Some(year), Some(month), Some(day));
        } else {
            match number.parse::<i64>() {
                Ok(day) if ordinal && (1..=31).contains(&day) && self.day.is_none() => self.day = Some(day),
                Ok(year) if number == word && (2000..2200).contains(&year) => self.year = Some(year),
                _ => return false,
            }
        }
        true
    }

    fn is_empty(&self) -> bool {
        self.month.is_none()
            && self.day.is_none()
            && self.year.is_none()
            && self.days.is_none()
            && self.weekday.is_none()
    }

    fn is_known(&self) -> bool {
        self.days.is_some() || self.weekday.is_some() || (self.month.is_some() && self.day.is_some())
    }

    /// Returns the date as days since 1970.
    fn days(&self, offset: i64) -> Option<i64> {
        if let (Some(month), Some(day)) = (self.month, self.day) {
            return match self.year {
                Some(year) => Some(zones::days(year, month, day)),
                None => Some(zones::next_date(month, day, offset)),
            };
        }
        let today = zones::today(offset);
        self.days.or_else(|| Some(today + (self.weekday? - today).rem_euclid(7)))
    }
}

/// Reads `2026-12-03`.
fn iso(word: &str) -> Option<(i64, i64, i64)> {
    let mut parts = word.split('-').map(|part| part.parse::<i64>().ok());
    let date = (parts.next()??, parts.next()??, parts.next()??);
    let fits = (2000..2200).contains(&date.0) && (1..=12).contains(&date.1) && (1..=31).contains(&date.2);
    (fits && parts.next().is_none()).then_some(date)
}

/// Reads `3pm`, `3:30 pm`, `15:00`, `15:00:30`; tells how many words that were.
fn minute_of_day(word: &str, next: &str) -> Option<(u16, usize)> {
    let end = word.find(|c: char| !(c.is_ascii_digit() || c == ':')).unwrap_or(word.len());
    let (hours, minutes) = word[..end].split_once(':').unwrap_or((&word[..end], "0"));
    let minutes = minutes.split(':').next().unwrap_or_default();
    let (hours, minutes) = (hours.parse::<u16>().ok()?, minutes.parse::<u16>().ok()?);
    let is_half = |half: &str| matches!(half, "am" | "pm" | "a.m" | "p.m");
    let (half, used) = match &word[end..] {
        "" if is_half(next) => (next, 2),
        "" => ("", 1),
        own if is_half(own) => (own, 1),
        _ => return None,
    };
    let hours = match half.as_bytes().first() {
        Some(b'a') if (1..=12).contains(&hours) => hours % 12,
        Some(b'p') if (1..=12).contains(&hours) => hours % 12 + 12,
        // A bare number of hours is no time of day.
        None if word.contains(':') => hours,
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some((hours * 60 + minutes, used))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_at(text: &str, expected: &str) {
        let Some(Reset::At(at)) = read(text) else { panic!("not read: {text}") };
        assert!(at.to_rfc3339().starts_with(expected), "{text}: {}", at.to_rfc3339());
    }

    #[test]
    fn dates_are_read_in_every_usual_order() {
        let expected = "2031-12-03T10:57:00";
        for text in [
            "resets Dec 3, 2031, 10:57am (UTC)",
            "resets 3 Dec 2031, 10:57am",
            "Your limit will reset on December 3rd, 2031 at 10:57 AM.",
            "until 2031-12-03 10:57:00 UTC",
            "You will regain access on 2031-12-03 at 10:57 UTC.",
            "Retry-After: Wed, 03 Dec 2031 10:57:00 GMT",
            "resets Dec 3, 2031, 11:57am (Africa/Lagos)",
        ] {
            if text.contains("Lagos") && zones::offset("Africa/Lagos").is_none() {
                continue;
            }
            assert_at(text, expected);
        }
        assert_at("You will regain access on 2031-12-03", "2031-12-03T00:00:00");
        for text in
            ["resets Dec", "resets Dec, 10:57am", "resets 3pm (Nowhere/Land)", "until the end", "again"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn days_by_name_are_the_next_ones() {
        let day = |days: i64| zones::moment_of(days, 9 * 60, 0).unwrap().to_rfc3339();
        let today = zones::today(0);
        assert_at("resets today at 9am (UTC)", &day(today));
        assert_at("resets tomorrow at 9am", &day(today + 1));
        for (at, name) in WEEKDAYS.iter().enumerate() {
            let ahead = (at as i64 - today).rem_euclid(7);
            assert_at(&format!("resets on {name} at 9am (UTC)"), &day(today + ahead));
        }
        assert_at("resets Monday 9am", &day(today + (4 - today).rem_euclid(7)));
    }
}
