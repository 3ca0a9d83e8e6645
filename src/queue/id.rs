//! Names of items.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::format::TrackId;

/// The name of an item, and its place: the track in the upper half, the position in it in the lower.
///
/// Ids of a queue increase strictly, and are not contiguous. An id is never given out twice, not
/// even if its item was lost in a crash.
///
/// ```
/// use kogia::queue::Id;
///
/// let id: Id = "3.4122".parse()?;
/// assert_eq!((id.track().0, id.position(), id.to_string()), (3, 4122, "3.4122".into()));
/// assert_eq!(id, Id((3 << 32) + 4122));
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Id(pub u64);

impl Id {
    pub(super) fn new(track: TrackId, position: u32) -> Self {
        Id(u64::from(track.0) << 32 | u64::from(position))
    }

    /// The track in which the item lies.
    #[must_use]
    pub fn track(self) -> TrackId {
        TrackId((self.0 >> 32) as u32)
    }

    /// Where the item's frame begins in the track, in bytes.
    #[must_use]
    pub fn position(self) -> u32 {
        self.0 as u32
    }

    /// The least id behind this one: streaming from there begins with the item behind this one's.
    #[must_use]
    pub fn after(self) -> Self {
        Id(self.0.saturating_add(1))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.track().0, self.position())
    }
}

impl FromStr for Id {
    type Err = Error;

    /// Reads what is printed, or the number as a whole.
    fn from_str(text: &str) -> Result<Self, Error> {
        let id = match text.split_once('.') {
            Some((track, position)) => track
                .parse()
                .ok()
                .zip(position.parse().ok())
                .map(|(track, position)| Id::new(TrackId(track), position)),
            None => text.parse().ok().map(Id),
        };
        id.ok_or_else(|| Error::invalid(format!("'{text}' is no id: one looks like 3.4122")))
    }
}
