//! What tells that a file was stored already: kept as the attributes of its object.
//!
//! Example: `watched size=4096 mtime=1700000000.123456789 inode=42 read=1700000000500`.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// File systems whose times have no fractions of a second may count in twos.
const COARSE_MS: i64 = 2000;
/// Others count in ticks of the kernel's clock.
const FINE_MS: i64 = 50;

/// A file as it was when it was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    size: u64,
    modified: (i64, i64),
    inode: u64,
}

impl Mark {
    /// The mark of a file.
    pub fn of(found: &Metadata) -> Self {
        let modified = (found.mtime(), found.mtime_nsec());
        Mark { size: found.size(), modified, inode: found.ino() }
    }

    /// When the file was last written to, in milliseconds since 1970.
    pub fn modified_ms(&self) -> i64 {
        self.modified.0.saturating_mul(1000).saturating_add(self.modified.1 / 1_000_000)
    }

    /// The attributes of the object of a file that was read from `read_ms` on.
    pub fn attributes(&self, read_ms: i64) -> Vec<u8> {
        format!("{}read={read_ms}", self.text()).into_bytes()
    }

    /// Whether the attributes are of this very file as it is: its mark is the same, and it had not
    /// been written to for so long when it was read that a later write shows in its time.
    pub fn is_in(&self, attributes: &[u8]) -> bool {
        let read_ms = std::str::from_utf8(attributes)
            .ok()
            .and_then(|text| text.strip_prefix(&self.text())?.strip_prefix("read="))
            .and_then(|read_ms| read_ms.parse::<i64>().ok());
        let grain_ms = if self.modified.1 == 0 { COARSE_MS } else { FINE_MS };
        read_ms.is_some_and(|read_ms| self.modified_ms().saturating_add(grain_ms) < read_ms)
    }

    fn text(&self) -> String {
        let Mark { size, modified: (seconds, nanos), inode } = self;
        format!("watched size={size} mtime={seconds}.{nanos:09} inode={inode} ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_trusted_if_it_is_the_same_and_was_old_enough() {
        let mark = Mark { size: 4096, modified: (1_700_000_000, 123_456_789), inode: 42 };
        let attributes = mark.attributes(1_700_000_000_500);
        let text = "watched size=4096 mtime=1700000000.123456789 inode=42 read=1700000000500";
        assert_eq!(attributes, text.as_bytes());
        assert!(mark.is_in(&attributes));
        assert!(!Mark { size: 4097, ..mark }.is_in(&attributes));
        assert!(!Mark { inode: 4, ..mark }.is_in(&attributes));
        assert!(!Mark { modified: (1_700_000_000, 123_456_790), ..mark }.is_in(&attributes));
        assert!(!mark.is_in(&mark.attributes(1_700_000_000_173)));
        assert!(mark.is_in(&mark.attributes(1_700_000_000_174)));
        let coarse = Mark { modified: (1_700_000_000, 0), ..mark };
        assert!(!coarse.is_in(&coarse.attributes(1_700_000_002_000)));
        assert!(coarse.is_in(&coarse.attributes(1_700_000_002_001)));
        for strange in [&b""[..], b"watched", b"\xff", &attributes[..attributes.len() - 14]] {
            assert!(!mark.is_in(strange));
        }
    }
}
