//! `--range`: a part of an object, written as in HTTP.

use std::ops::Range;
use std::str::FromStr;

use crate::failure::Failure;

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
    /// The offsets that are meant in an object of `len` bytes; the end is cut to the length.
    pub fn within(self, len: u64) -> Result<Range<u64>, Failure> {
        let range = match self {
            ByteRange::Between(first, last) => first..len.min(last.saturating_add(1)),
            ByteRange::From(first) => first..len,
            ByteRange::Last(count) => len.saturating_sub(count)..len,
        };
        if range.start > len {
            let start = range.start;
            return Err(Failure::Usage(format!(
                "--range begins at byte {start}, but the object has {len} bytes"
            )));
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
        assert_eq!(within("10-", 10), Some(10..10));
    }

    #[test]
    fn ranges_that_mean_nothing_are_refused() {
        assert_eq!(within("11-", 10), None);
        for wrong in ["", "-", "5", "5-2", "a-b", "1-2-3", "--3"] {
            assert!(wrong.parse::<ByteRange>().is_err(), "{wrong}");
        }
    }
}
