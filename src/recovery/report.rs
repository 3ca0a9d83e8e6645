//! What opening found and did.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::format::TrackId;

/// What opening a store had to do.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// let store = kogia::Store::open(dir.path())?;
/// let report: &kogia::RecoveryReport = store.recovery();
/// assert!(report.damage.is_empty());
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// Whether the store had been closed cleanly.
    pub clean: bool,
    /// Whether the index was made anew from the tracks.
    pub rebuilt: bool,
    /// Chains that the index did not reflect yet.
    pub replayed_chains: u64,
    /// Records in them.
    pub replayed_records: u64,
    /// Bytes of them.
    pub replayed_bytes: u64,
    /// Ends of tracks that a crash has torn; nothing acknowledged as durable was in them.
    pub torn: Vec<Torn>,
    /// Damage to acknowledged data that was passed over, with `Options::accept_loss`.
    pub damage: Vec<Damage>,
    /// Disks that were not there, with `Options::accept_missing`.
    pub missing: Vec<PathBuf>,
    /// Segments of streams that were never committed, freed.
    pub freed_segments: u64,
    /// How long it took.
    pub duration: Duration,
}

/// A track's torn end, cut off.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let store = kogia::Store::open(dir.path()).unwrap();
/// let torn: &[kogia::Torn] = &store.recovery().torn;
/// assert!(torn.is_empty());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Torn {
    /// The track.
    pub track: TrackId,
    /// Where it ends now, in chunks.
    pub chunk: u32,
    /// Bytes that were cut off.
    pub bytes: u64,
}

/// Damage to acknowledged data.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let store = kogia::Store::open(dir.path()).unwrap();
/// for damage in &store.recovery().damage {
///     eprintln!("{damage}");
/// }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Damage {
    /// The track.
    pub track: TrackId,
    /// The first chunk that is damaged.
    pub chunk: u32,
    /// Chunks that can't be read because of it.
    pub chunks: u32,
    /// What is wrong, and what it may hide.
    pub what: String,
}

impl fmt::Display for Torn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "track {} was torn at chunk {}: {} bytes cut off",
            self.track, self.chunk, self.bytes
        )
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (last, what) = (self.chunk.saturating_add(self.chunks.max(1)) - 1, &self.what);
        write!(f, "track {}, chunks {} to {last}: {what}", self.track, self.chunk)
    }
}
