//! `--range`: a part of an object, written as in HTTP.

use std::ops::Range;
use std::str::FromStr;

use crate::failure::Failure;
use crate::quantity;

/// A range of bytes, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ByteRange {
    /// `A-B`: from the byte at A to the byte at B.
    Between(u64, u64),
    /// `A-`: from the byte at A on.
    From(u64),
    /// `-N`: the last N bytes.
    Last(u64),
}

impl ByteRange {
    /// The offsets that are meant in an object of `len` bytes; the end is cut to the length. As in
    /// HTTP, a range that begins behind the last byte is refused, and one of the last bytes is not,
    /// even where there are none.
    pub fn within(self, len: u64) -> Result<Range<u64>, Failure> {
        let (range, is_met) = match self {
            ByteRange::Between(first, last) => {
                (first..len.min(last.saturating_add(1)), first < len)
            }
            ByteRange::From(first) => (first..len, first < len),
            ByteRange::Last(count) => (len.saturating_sub(count)..len, count > 0),
        };
        if !is_met {
            let bytes = quantity::count(len, "byte");
            let what = format!("--range has no byte of the object, which has {bytes}");
            return Err(Failure::Usage(what));
        }
        Ok(range)
    }
}

impl FromStr for ByteRange {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORMS: &str = "A-B (both included), A- (from A on) or -N (the last N bytes)";
        let number = |text: &str| text.parse::<u64>().map_err(|_| FORMS);
        match text.split_once('-').ok_or(FORMS)? {
            ("", count) => Ok(ByteRange::Last(number(count)?)),
            (first, "") => Ok(ByteRange::From(number(first)?)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                if first <= last { Ok(ByteRange::Between(first, last)) } else { Err(FORMS) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(text: &str, len: u64) -> Option<Range<u64>> {
        text.parse::<ByteRange>().ok()?.within(len).ok()
    }

    #[test]
    fn both_ends_are_included_and_cut_to_the_length() {
        assert_eq!(within("0-0", 10), Some(0..1));
        assert_eq!(within("2-5", 10), Some(2..6));
        assert_eq!(within("2-99", 10), Some(2..10));
        assert_eq!(within("0-18446744073709551615", 10), Some(0..10));
        assert_eq!(within("4-", 10), Some(4..10));
        assert_eq!(within("-3", 10), Some(7..10));
        assert_eq!(within("-30", 10), Some(0..10));
        assert_eq!(within("9-", 10), Some(9..10));
        assert_eq!(within("-3", 0), Some(0..0));
    }

    #[test]
    fn ranges_that_mean_nothing_are_refused() {
        for (range, len) in [("11-", 10), ("10-", 10), ("10-12", 10), ("-0", 10), ("0-", 0)] {
            assert_eq!(within(range, len), None, "{range} of {len}");
        }
        for wrong in ["", "-", "5", "5-2", "a-b", "1-2-3", "--3"] {
            assert!(wrong.parse::<ByteRange>().is_err(), "{wrong}");
        }
    }
}
