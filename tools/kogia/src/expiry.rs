//! How long what a command stores is kept, as typed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use kogia::RetentionRule;

use crate::escaped::Escaped;
use crate::failure::Failure;
use crate::quantity;

/// When an object is gone.
#[derive(Args)]
pub struct Expiry {
    /// Gone so long after it was stored, for example 7d, 36h or '1h 30m'
    #[arg(long, value_name = "AGE", value_parser = quantity::parse_age)]
    expires_in: Option<Duration>,
    /// Gone at this moment, which is to come: RFC 3339, for example 2026-12-24T18:00:00Z, or
    /// milliseconds since 1970
    #[arg(long, value_name = "WHEN", value_parser = parse_moment_to_come)]
    #[arg(conflicts_with = "expires_in")]
    expires_at: Option<u64>,
}

impl Expiry {
    /// The moment for what is stored now, in milliseconds since 1970. Fails where that has come
    /// since the command began: what is stored would be gone, and its file may be removed.
    pub fn of_now(&self) -> Result<Option<u64>, Failure> {
        if let Some(at) = self.expires_at {
            let what = |why| Failure::Usage(format!("--expires-at: {why}"));
            return check_to_come(at).map(Some).map_err(what);
        }
        Ok(self.expires_in.map(|age| millis(since_1970().saturating_add(age))))
    }
}

fn parse_moment_to_come(text: &str) -> Result<u64, String> {
    quantity::parse_moment(text).and_then(check_to_come)
}

fn check_to_come(at_ms: u64) -> Result<u64, String> {
    if at_ms > millis(since_1970()) {
        return Ok(at_ms);
    }
    Err(format!(
        "that is {}, which is past; a number is milliseconds since 1970, not seconds",
        quantity::utc(at_ms)
    ))
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn millis(age: Duration) -> u64 {
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
}

/// Reads a rule: a prefix, a colon, and `age=` or `bytes=` or both.
pub fn parse_rule(text: &str) -> Result<RetentionRule, String> {
    const FORM: &str = "PREFIX:age=AGE,bytes=BYTES with one of the two or both, for example \
                        cam1/:age=7d,bytes=500GiB";
    let (prefix, limits) = text.rsplit_once(':').ok_or(FORM)?;
    let prefix = Escaped::parse(prefix.as_bytes()).map_err(|error| error.to_string())?;
    let (mut age, mut bytes) = (None, None);
    for limit in limits.split(',') {
        match limit.split_once('=').ok_or(FORM)? {
            ("age", text) if age.is_none() => age = Some(quantity::parse_age(text)?),
            ("bytes", text) if bytes.is_none() => bytes = Some(quantity::parse_bytes(text)?),
            _ => return Err(FORM.into()),
        }
    }
    let rule = RetentionRule::new(prefix.0);
    let rule = age.into_iter().fold(rule, RetentionRule::max_age);
    Ok(bytes.into_iter().fold(rule, RetentionRule::max_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_has_a_prefix_and_at_least_one_limit() {
        let rule = |prefix: &str| RetentionRule::new(prefix);
        let week = Duration::from_secs(7 * 24 * 3600);
        assert_eq!(parse_rule("cam:1/:age=7d"), Ok(rule("cam:1/").max_age(week)));
        assert_eq!(parse_rule(":bytes=1GiB"), Ok(rule("").max_bytes(1 << 30)));
        let both = rule("a\0").max_age(week).max_bytes(5);
        assert_eq!(parse_rule(r"a\x00:bytes=5,age=7days"), Ok(both));
        for wrong in ["", "a", "a:", "a:7d", "a:age=", "a:age=0s", "a:age=1d,age=2d", "a:size=5"] {
            assert!(parse_rule(wrong).is_err(), "{wrong}");
        }
    }
}
