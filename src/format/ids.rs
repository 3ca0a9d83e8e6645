//! The names of things: store, disk, track, and the seq that orders everything.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// The id written as 32 hexadecimal digits, or `None` for any other text.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                let digits = text.as_bytes();
                if digits.len() != 32 {
                    return None;
                }
                let mut id = [0; 16];
                for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
                    let nibble = |d: u8| (d as char).to_digit(16).map(|v| v as u8);
                    *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
                }
                Some(Self(id))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    };
}

random_id! {
    /// A store's identity: 16 random bytes, given at creation.
    ///
    /// ```
    /// use kogia::StoreId;
    ///
    /// let id = StoreId(*b"0123456789abcdef");
    /// assert_eq!(id.to_string(), "30313233343536373839616263646566");
    /// assert_eq!(StoreId::parse(&id.to_string()), Some(id));
    /// ```
    StoreId
}
random_id! {
    /// A disk's identity: 16 random bytes, given when its directory was first used.
    ///
    /// ```
    /// use kogia::DiskId;
    ///
    /// let id = DiskId::parse("30313233343536373839616263646566").expect("32 digits");
    /// assert_eq!(id, DiskId(*b"0123456789abcdef"));
    /// ```
    DiskId
}

/// A track's number: unique in its store, never used twice.
///
/// Numbers begin at 1; 0 is none.
///
/// ```
/// use kogia::TrackId;
///
/// assert_eq!(TrackId(12).file_name(), "0000000012.track");
/// assert_eq!(TrackId::from_file_name("0000000012.track"), Some(TrackId(12)));
/// ```
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize,
)]
pub struct TrackId(pub u32);

impl TrackId {
    /// The track's file name: ten digits and `.track`.
    #[must_use]
    pub fn file_name(self) -> String {
        format!("{:010}.track", self.0)
    }

    /// The track that a file name means, or `None` for any other file.
    #[must_use]
    pub fn from_file_name(name: &str) -> Option<Self> {
        let digits = name.strip_suffix(".track")?;
        let well_formed = digits.len() == 10 && digits.bytes().all(|b| b.is_ascii_digit());
        well_formed.then(|| digits.parse().ok().map(TrackId)).flatten()
    }
}

impl fmt::Display for TrackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}", self.0)
    }
}

/// The store-wide order of records and chains: the opening's number (24 bits), then a counter
/// (40 bits), so that no seq is ever given out twice, whatever was lost (invariant I7).
///
/// ```
/// use kogia::Seq;
///
/// let seq = Seq(Seq::first_of(2).0 + 1);
/// assert_eq!((seq.opening(), seq.to_string()), (2, "2.1".to_owned()));
/// assert!(seq < Seq::first_of(3));
/// ```
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize,
)]
pub struct Seq(pub u64);

impl Seq {
    /// Bits of the counter below the opening's number.
    pub const COUNTER_BITS: u32 = 40;
    /// Openings that can be told apart.
    pub const MAX_OPENING: u32 = (1 << (64 - Self::COUNTER_BITS)) - 1;

    /// The seq before all that `opening` gives out.
    #[must_use]
    pub fn first_of(opening: u32) -> Self {
        Seq(u64::from(opening) << Self::COUNTER_BITS)
    }

    /// The opening that gave this seq out.
    #[must_use]
    pub fn opening(self) -> u32 {
        (self.0 >> Self::COUNTER_BITS) as u32
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.opening(), self.0 & ((1 << Self::COUNTER_BITS) - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn track_names_round_trip_and_reject_others() {
        assert_eq!(TrackId(12).file_name(), "0000000012.track");
        assert_eq!(TrackId::from_file_name("0000000012.track"), Some(TrackId(12)));
        assert_eq!(TrackId::from_file_name("4294967295.track"), Some(TrackId(u32::MAX)));
        for other in ["12.track", "4294967296.track", "000000001x.track", "0000000012.trac", "é"] {
            assert_eq!(TrackId::from_file_name(other), None, "{other}");
        }
    }

    #[test]
    fn random_ids_parse_what_they_print() {
        let id = StoreId(*b"0123456789abcdef");
        assert_eq!(StoreId::parse(&id.to_string()), Some(id));
        assert_eq!(StoreId::parse("0g"), None);
        assert_eq!(StoreId::parse(&"é".repeat(16)), None);
    }

    #[test]
    fn a_seq_of_a_later_opening_is_greater_than_all_of_an_earlier_one() {
        let last_of_one = Seq(Seq::first_of(2).0 - 1);
        assert_eq!((last_of_one.opening(), Seq::first_of(2).opening()), (1, 2));
    }
}
