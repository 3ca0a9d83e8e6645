//! Sizes and times as people type and read them.

use std::time::{Duration, UNIX_EPOCH};

const UNITS: [(&str, u64); 8] = [
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("k", 1000),
    ("m", 1_000_000),
    ("g", 1_000_000_000),
    ("b", 1),
    ("", 1),
];

/// The last millisecond that four digits of a year can show.
const LAST_SHOWN_MS: u64 = 253_402_300_799_999;

/// Reads a number of bytes: `500000`, `64KiB`, `20M`, `1GiB`; at least 1.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let unit = unit.to_ascii_lowercase();
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    digits
        .parse::<u64>()
        .ok()
        .zip(factor)
        .and_then(|(count, factor)| count.checked_mul(factor))
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "a number of bytes, for example 500000, 64KiB, 20M or 1GiB".into())
}

/// Reads a share of a whole: `5%`, `0.05`; 0 to 1.
pub fn parse_share(text: &str) -> Result<f64, String> {
    let share = match text.strip_suffix('%') {
        Some(percent) => percent.parse::<f64>().map(|percent| percent / 100.0),
        None => text.parse(),
    };
    share
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "a share, for example 5% or 0.05".into())
}

/// Reads a length of time: `7d`, `36h`, `90s`, `1h 30m`; at least 1 ms.
pub fn parse_age(text: &str) -> Result<Duration, String> {
    let age = humantime::parse_duration(text).ok().filter(|age| age.as_millis() > 0);
    age.ok_or_else(|| "a length of time, for example 7d, 36h or 90s".into())
}

/// Reads a moment, in milliseconds since 1970: RFC 3339, of which the time zone may be missing
/// (then it is UTC), or the bare number.
pub fn parse_moment(text: &str) -> Result<u64, String> {
    let moment = || humantime::parse_rfc3339_weak(text).ok()?.duration_since(UNIX_EPOCH).ok();
    let unix_ms = || u64::try_from(moment()?.as_millis()).ok();
    text.parse().ok().or_else(unix_ms).ok_or_else(|| {
        "a moment, for example 2026-12-24T18:00:00Z, or milliseconds since 1970".into()
    })
}

/// A moment in UTC, or its bare milliseconds where the year has more than four digits.
pub fn utc(unix_ms: u64) -> String {
    if unix_ms > LAST_SHOWN_MS {
        return format!("{unix_ms} ms");
    }
    let moment = UNIX_EPOCH + Duration::from_millis(unix_ms);
    humantime::format_rfc3339_seconds(moment).to_string()
}

/// A number and what it counts: `1 file`, `2 files`.
pub fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// A duration with two decimals.
pub fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_decimal_and_binary_units() {
        assert_eq!(parse_bytes("500"), Ok(500));
        assert_eq!(parse_bytes("64KiB"), Ok(65_536));
        assert_eq!(parse_bytes("20M"), Ok(20_000_000));
        for wrong in ["", "0", "x", "5 M", "-1", "1Q", "99999999999GiB"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn shares_are_fractions_or_percent() {
        assert_eq!(["5%", "0.05", "0", "100%"].map(parse_share), [0.05, 0.05, 0.0, 1.0].map(Ok));
        for wrong in ["", "%", "5", "101%", "-1%", "NaN", "5 %"] {
            assert!(parse_share(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ages_and_moments_are_read_as_people_write_them() {
        assert_eq!(parse_age("7d"), Ok(Duration::from_secs(604_800)));
        assert_eq!(parse_age("1h 30m"), Ok(Duration::from_secs(5400)));
        assert!(["", "0s", "5", "soon", "-1d"].iter().all(|wrong| parse_age(wrong).is_err()));
        assert_eq!(parse_moment("1970-01-01T00:00:01.5Z"), Ok(1500));
        assert_eq!(parse_moment("2026-12-24 18:00:00"), Ok(1_798_135_200_000));
        assert_eq!(parse_moment("1798135200000"), Ok(1_798_135_200_000));
        let wrong = ["", "x", "2026-13-01", "1969-12-31T23:59:59Z"];
        assert!(wrong.iter().all(|wrong| parse_moment(wrong).is_err()));
    }

    #[test]
    fn one_is_singular() {
        assert_eq!([0, 1, 2].map(|n| count(n, "file")), ["0 files", "1 file", "2 files"]);
    }

    #[test]
    fn moments_of_any_age_are_shown() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(LAST_SHOWN_MS), "9999-12-31T23:59:59Z");
        assert_eq!(utc(u64::MAX), "18446744073709551615 ms");
    }
}
