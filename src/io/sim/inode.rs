//! One simulated file: what the device holds, what readers see, and the changes between them.
//!
//! A change goes to the cache at once and to the list of pending changes; a sync applies that
//! list to the device. A sync that fails takes the writes off the list without applying them:
//! their pages count as clean from then on, as on ext4 and xfs. Nobody will write them again, and
//! readers see them until their pages are dropped. Lengths and holes are metadata, which a
//! journal keeps: they stay pending.

use std::path::PathBuf;
use std::sync::Arc;

use super::content::{Content, SECTOR_BYTES};
use super::crash::Choice;

/// One change to a file.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Write {
        offset: u64,
        bytes: Arc<[u8]>,
    },
    Punch {
        offset: u64,
        len: u64,
    },
    SetLen(u64),
    /// Room for the first bytes.
    Reserve(u64),
}

#[derive(Clone, Debug)]
pub(super) struct Inode {
    /// The name it was created under: says which disk it is on.
    pub(super) path: PathBuf,
    /// What a power cut leaves for sure.
    pub(super) device: Content,
    /// What reads see.
    pub(super) cache: Content,
    /// Changes in `cache` that no sync has made durable, in order.
    pub(super) pending: Vec<Change>,
    /// Open handles: an unlinked file takes room until the last is closed.
    pub(super) handles: usize,
}

impl Change {
    pub(super) fn apply(&self, content: &mut Content) {
        match self {
            Change::Write { offset, bytes } => content.write(*offset, bytes),
            Change::Punch { offset, len } => content.punch(*offset, *len),
            Change::SetLen(len) => content.set_len(*len),
            Change::Reserve(len) => content.reserve(*len),
        }
    }

    /// Applies what of the change falls into one sector.
    pub(super) fn apply_to_sector(&self, sector: u64, into: &mut [u8; SECTOR_BYTES as usize]) {
        let start = sector * SECTOR_BYTES;
        let (offset, end) = self.range();
        let from = offset.clamp(start, start + SECTOR_BYTES);
        let to = end.clamp(from, start + SECTOR_BYTES);
        let target = &mut into[(from - start) as usize..(to - start) as usize];
        match self {
            Change::Write { bytes, .. } if !target.is_empty() => {
                target.copy_from_slice(&bytes[(from - offset) as usize..(to - offset) as usize]);
            }
            Change::Punch { .. } | Change::SetLen(_) => target.fill(0),
            Change::Write { .. } | Change::Reserve(_) => {}
        }
    }

    /// The length after it, of a file that had `len` bytes before.
    pub(super) fn len(&self, len: u64) -> u64 {
        match self {
            Change::Write { bytes, .. } if bytes.is_empty() => len,
            Change::Write { .. } => len.max(self.range().1),
            Change::Punch { .. } => len,
            Change::SetLen(new) => *new,
            Change::Reserve(reserved) => len.max(*reserved),
        }
    }

    /// The bytes that it may change, from and to.
    pub(super) fn range(&self) -> (u64, u64) {
        match self {
            Change::Write { offset, bytes } => (*offset, offset + bytes.len() as u64),
            Change::Punch { offset, len } => (*offset, offset.saturating_add(*len)),
            Change::SetLen(len) => (*len, u64::MAX),
            Change::Reserve(_) => (0, 0),
        }
    }
}

impl Inode {
    pub(super) fn new(path: PathBuf, content: Content) -> Self {
        Inode { path, device: content.clone(), cache: content, pending: Vec::new(), handles: 0 }
    }

    pub(super) fn change(&mut self, change: Change) {
        change.apply(&mut self.cache);
        self.pending.push(change);
    }

    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.device);
        }
    }

    /// Fails a sync: what `survivors` keeps reaches the device, the other writes never will.
    pub(super) fn fail_sync(&mut self, survivors: &mut Choice) {
        self.device = survivors.cut(self);
        self.pending.retain(|change| !matches!(change, Change::Write { .. }));
        let journalled = self.pending.iter().fold(self.device.len(), |len, change| change.len(len));
        if journalled != self.cache.len() {
            self.pending.push(Change::SetLen(self.cache.len()));
        }
    }

    /// Forgets clean pages: what a failed sync lost is no longer seen.
    pub(super) fn drop_cache(&mut self) {
        self.cache = self.device.clone();
        for change in &self.pending {
            change.apply(&mut self.cache);
        }
    }
}
