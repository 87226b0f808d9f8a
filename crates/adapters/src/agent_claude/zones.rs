//! Time zones by name, as the system's own table has them: how far a zone is from UTC now. Read-only and bounded; a name
//! that is not there is unknown. The format is RFC 8536, with the rule of its footer for times after the table's end.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mosaic_core::domain::ids::Timestamp;
use mosaic_core::limits;

use crate::private_place::open_unheld;

const TABLE: &str = "/usr/share/zoneinfo";

/// Returns how many seconds a zone is ahead of UTC now.
pub(super) fn offset(zone: &str) -> Option<i64> {
    if matches!(zone, "UTC" | "GMT" | "Z") {
        return Some(0);
    }
    let is_name = !zone.is_empty()
        && zone.len() <= 64
        && zone.split('/').all(|part| !part.is_empty() && !part.starts_with('.'))
        && zone.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_+-".contains(&b));
    if !is_name {
        return None;
    }
    let mut bytes = Vec::new();
    let file = open_unheld(&Path::new(TABLE).join(zone)).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    std::io::Read::read_to_end(&mut std::io::Read::take(file, limits::ZONE_BYTES), &mut bytes).ok()?;
    offset_in(&bytes, now().as_secs().try_into().ok()?)
}

/// Returns the next day that has this date, as days since 1970. One of yesterday is one that has just passed, not one of next year.
pub(super) fn next_date(month: i64, day: i64, offset: i64) -> i64 {
    let today = today(offset);
    let this_year = days(year_of(today * 86_400), month, day);
    if this_year >= today - 1 { this_year } else { days(year_of(today * 86_400) + 1, month, day) }
}

/// Returns which day it is now where clocks are `offset` seconds ahead of UTC, as days since 1970.
pub(super) fn today(offset: i64) -> i64 {
    (i64::try_from(now().as_secs()).unwrap_or(i64::MAX / 2) + offset).div_euclid(86_400)
}

/// Returns the time of a day and a minute of it where clocks are `offset` seconds ahead of UTC.
pub(super) fn moment_of(days: i64, minute: u16, offset: i64) -> Option<Timestamp> {
    let seconds = days.checked_mul(86_400)? + i64::from(minute) * 60 - offset;
    u64::try_from(seconds).ok()?.checked_mul(1000).map(Timestamp)
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A block of a table: where its parts begin.
struct Block<'a> {
    times: Vec<i64>,
    kinds: &'a [u8],
    types: &'a [u8],
    rest: &'a [u8],
}

fn block(bytes: &[u8], size: usize) -> Option<Block<'_>> {
    if !bytes.starts_with(b"TZif") {
        return None;
    }
    let count = |n: usize| -> Option<usize> {
        let at = 20 + n * 4;
        usize::try_from(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?)).ok()
    };
    let (utc, std, leap, time, kind, chars) =
        (count(0)?, count(1)?, count(2)?, count(3)?, count(4)?, count(5)?);
    let mut rest = bytes.get(44..)?;
    let mut take = |length: usize| -> Option<&[u8]> {
        let (part, after) = rest.split_at_checked(length)?;
        rest = after;
        Some(part)
    };
    let times = take(time.checked_mul(size)?)?;
    let kinds = take(time)?;
    let types = take(kind.checked_mul(6)?)?;
    take(chars)?;
    take(leap.checked_mul(size + 4)?)?;
    take(std)?;
    take(utc)?;
    let times = times.chunks_exact(size).map(|bytes| {
        let number = bytes.iter().fold(0_i64, |n, byte| n << 8 | i64::from(*byte));
        if size == 4 { i64::from(number as i32) } else { number }
    });
    Some(Block { times: times.collect(), kinds, types, rest })
}

fn offset_in(bytes: &[u8], now: i64) -> Option<i64> {
    let first = block(bytes, 4)?;
    let table = if bytes.get(4) == Some(&0) { first } else { block(first.rest, 8)? };
    let offset_of = |kind: u8| {
        let at = usize::from(kind) * 6;
        Some(i64::from(i32::from_be_bytes(table.types.get(at..at + 4)?.try_into().ok()?)))
    };
    let past = table.times.partition_point(|time| *time <= now);
    if past < table.times.len() || table.rest.len() < 3 {
        return offset_of(past.checked_sub(1).map_or(Some(0), |at| table.kinds.get(at).copied())?);
    }
    let footer = std::str::from_utf8(table.rest).ok()?.trim_matches('\n');
    rule(footer, now)
}

/// Reads a rule such as `CET-1CEST,M3.5.0,M10.5.0/3`.
fn rule(footer: &str, now: i64) -> Option<i64> {
    let mut parts = footer.split(',');
    let zone = parts.next()?;
    let (ahead, rest) = named_offset(zone)?;
    if rest.is_empty() {
        return Some(ahead);
    }
    let summer = named_offset(rest).map_or(ahead + 3600, |(offset, _)| offset);
    let (start, end) = (parts.next()?, parts.next()?);
    let year = year_of(now);
    let (start, end) = (moment(start, year)? - ahead, moment(end, year)? - summer);
    let in_summer = if start < end { (start..end).contains(&now) } else { !(end..start).contains(&now) };
    Some(if in_summer { summer } else { ahead })
}

/// Reads a name and its offset, which a rule counts from the zone to UTC; returns what follows.
fn named_offset(text: &str) -> Option<(i64, &str)> {
    let name = match text.strip_prefix('<') {
        Some(quoted) => quoted.find('>')? + 2,
        None => text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len()),
    };
    let rest = text.get(name..)?;
    let end = rest.find(|c: char| !(c.is_ascii_digit() || "+-:".contains(c))).unwrap_or(rest.len());
    Some((-seconds(&rest[..end])?, &rest[end..]))
}

/// Reads `[+-]h[:m[:s]]`.
fn seconds(text: &str) -> Option<i64> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(text) => (-1, text),
        None => (1, text.trim_start_matches('+')),
    };
    let mut factor = 3600;
    let mut sum = 0;
    for part in text.split(':').take(3) {
        sum += part.parse::<i64>().ok().filter(|n| (0..=167).contains(n))? * factor;
        factor /= 60;
    }
    Some(sign * sum)
}

/// Returns when `Mmonth.week.day[/time]` is in a year, in that zone's own seconds.
fn moment(text: &str, year: i64) -> Option<i64> {
    let (date, time) = text.split_once('/').unwrap_or((text, "2"));
    let mut numbers = date.strip_prefix('M')?.split('.').map(|n| n.parse::<i64>().ok());
    let (month, week, day) = (numbers.next()??, numbers.next()??, numbers.next()??);
    if !(1..=12).contains(&month) || !(1..=5).contains(&week) || !(0..=6).contains(&day) {
        return None;
    }
    let first = days(year, month, 1);
    // The first of January 1970 was a Thursday.
    let weekday = (first + 4).rem_euclid(7);
    let mut at = first + (day - weekday).rem_euclid(7) + (week - 1) * 7;
    let next = if month == 12 { days(year + 1, 1, 1) } else { days(year, month + 1, 1) };
    if at >= next {
        at -= 7;
    }
    Some(at * 86_400 + seconds(time)?)
}

/// Returns the days from 1970 to a date.
pub(super) fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn year_of(now: i64) -> i64 {
    let guess = 1970 + now.div_euclid(31_556_952);
    (guess - 1..=guess + 1).rev().find(|year| days(*year, 1, 1) * 86_400 <= now).unwrap_or(guess)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_know_summer() {
        let (winter, summer) = (1_796_013_525, 1_782_900_000);
        for (footer, in_winter, in_summer) in [
            ("CET-1CEST,M3.5.0,M10.5.0/3", 3600, 7200),
            ("EST5EDT,M3.2.0,M11.1.0", -18_000, -14_400),
            ("AEST-10AEDT,M10.1.0,M4.1.0/3", 39_600, 36_000),
            ("<+0530>-5:30", 19_800, 19_800),
            ("UTC0", 0, 0),
        ] {
            assert_eq!(
                (rule(footer, winter), rule(footer, summer)),
                (Some(in_winter), Some(in_summer)),
                "{footer}"
            );
        }
        for odd in ["", "CET", "CET-1CEST", "CET-1CEST,J60,J300", "CET-1CEST,M13.5.0,M10.5.0", "<", "<é"] {
            let _ = rule(odd, winter);
        }
        assert_eq!((year_of(0), year_of(-1), year_of(winter)), (1970, 1969, 2026));
    }

    #[test]
    fn damaged_tables_are_no_zone() {
        for bytes in [&b""[..], b"TZif", b"junk", &[b'T', b'Z', b'i', b'f', b'2', 255, 255, 255, 255]] {
            assert_eq!(offset_in(bytes, 0), None);
        }
        let mut huge = b"TZif2".to_vec();
        huge.resize(44, 0xff);
        assert_eq!(offset_in(&huge, 0), None);
    }

    #[test]
    fn names_that_are_no_names_are_not_looked_for() {
        for name in ["", "..", "../etc/passwd", "/etc/passwd", "a//b", "Europe/.x", "Nowhere/Land"] {
            assert_eq!(offset(name), None, "{name}");
        }
        assert_eq!(offset("UTC"), Some(0));
    }
}
