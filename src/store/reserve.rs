//! Room in the store's home that is kept for the day when the file system is full.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::io::{Io, OpenMode};

const RESERVE_FILE: &str = "reserve";

/// The file `reserve`: it is removed when a delete or a checkpoint finds no room, and made again
/// when there is.
#[derive(Debug)]
pub(crate) struct Reserve {
    io: Arc<dyn Io>,
    home: PathBuf,
    bytes: u64,
    there: Mutex<bool>,
}

impl Reserve {
    /// The reserve in `home`, as an earlier opening has left it. On a full file system it is released:
    /// opening writes, too.
    pub(crate) fn find(io: Arc<dyn Io>, home: &Path, bytes: u64) -> Self {
        let there = io.exists(&home.join(RESERVE_FILE)).unwrap_or(false);
        let reserve = Reserve { io, home: home.to_owned(), bytes, there: Mutex::new(there) };
        let available = || reserve.io.available_space(home).unwrap_or(u64::MAX);
        if available() < bytes.saturating_mul(4) {
            // Best effort: where it fails, it will be known from what is written.
            let _ = reserve.io.settle_space(home);
        }
        if available() < bytes {
            reserve.release();
        }
        reserve
    }

    /// Makes the file, where there is none and plenty of room.
    pub(crate) fn keep(&self) {
        let mut there = self.there.lock().expect("no panic holds it");
        if *there || self.bytes == 0 {
            return;
        }
        let plenty = self.bytes.saturating_mul(4);
        *there = match self.io.available_space(&self.home) {
            Ok(available) if available >= plenty => self.make().is_ok(),
            // On a file system as full as that, the room that is left is the reserve.
            _ => false,
        };
    }

    /// Gives the room back.
    pub(crate) fn release(&self) {
        let mut there = self.there.lock().expect("no panic holds it");
        if !*there {
            return;
        }
        let before = self.io.available_space(&self.home).unwrap_or(0);
        // Best effort: xfs frees the blocks of a file that is made shorter at once, and those of one
        // that is removed when it comes to it.
        let _ = self.io.open(&self.path(), OpenMode::ReadWrite).and_then(|file| file.set_len(0));
        if self.io.remove(&self.path()).is_ok() {
            *there = false;
            step!("reserve.removed");
            tracing::warn!(home = %self.home.display(), "the file system is full; the reserve is used");
            self.await_room(before + self.bytes / 2);
        }
    }

    /// Waits until the file system says that it has the room: xfs and btrfs free the blocks of a removed
    /// file later, and until then whoever asks is refused.
    fn await_room(&self, bytes: u64) {
        const PATIENCE: Duration = Duration::from_millis(20);
        // Best effort: it hurries them.
        let _ = self.io.sync_dir(&self.home).and_then(|()| self.io.settle_space(&self.home));
        for _ in 0..50 {
            if self.io.available_space(&self.home).is_ok_and(|available| available >= bytes) {
                return;
            }
            std::thread::sleep(PATIENCE);
        }
    }

    fn make(&self) -> std::io::Result<()> {
        let path = self.path();
        let file = match self.io.open(&path, OpenMode::CreateNew) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                self.io.open(&path, OpenMode::ReadWrite)
            }
            opened => opened,
        }?;
        if file.len()? == self.bytes {
            return Ok(());
        }
        file.set_len(0)?;
        file.allocate(self.bytes)
    }

    fn path(&self) -> PathBuf {
        self.home.join(RESERVE_FILE)
    }
}
