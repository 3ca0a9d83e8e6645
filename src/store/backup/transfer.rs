//! One file into a backup: shared where that can be, copied with its holes where not.

use std::io::{ErrorKind, IoSlice};
use std::path::Path;

use super::{BackupReport, LinkMode};
use crate::error::{Error, Result};
use crate::io::{self, File, Io, OpenMode};

/// Bytes that are read and written at once.
const BLOCK_BYTES: usize = 1 << 20;

/// How files get into a backup.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transfer {
    mode: LinkMode,
    /// Whether what the mode asks for has to be possible.
    is_strict: bool,
}

/// A file on its way into a backup.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'a> {
    pub(super) from: &'a Path,
    pub(super) to: &'a Path,
    /// Bytes that belong to the backup; the file may be longer.
    pub(super) len: u64,
    /// Whether neither side will change the file as long as it has two names.
    pub(super) may_link: bool,
}

impl Transfer {
    pub(super) fn strict(mode: LinkMode) -> Self {
        Transfer { mode, is_strict: mode != LinkMode::Auto }
    }

    /// Copies what can't be had as the mode says.
    pub(super) fn lenient(mode: LinkMode) -> Self {
        Transfer { mode, is_strict: false }
    }

    /// Brings the first `len` bytes over, durable but for the name. `on_bytes` is called with what
    /// has been passed over, and ends it with its error.
    pub(super) fn bring(
        self,
        io: &dyn Io,
        item: Item<'_>,
        report: &mut BackupReport,
        on_bytes: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        let fail = |doing| move |e| Error::io(doing, item.to, e);
        if self.reflinks() && self.tried(reflink(io, item)).map_err(fail("reflink"))? {
            report.reflinked_bytes += item.len;
            return on_bytes(item.len);
        }
        let is_whole = || is_whole(io, item).map_err(|e| Error::io("measure", item.from, e));
        if self.links()
            && item.may_link
            && is_whole()?
            && self.tried(io.hard_link(item.from, item.to)).map_err(fail("link"))?
        {
            report.linked_bytes += item.len;
            return on_bytes(item.len);
        }
        report.copied_bytes += copy(io, item, on_bytes)?;
        Ok(())
    }

    fn reflinks(self) -> bool {
        matches!(self.mode, LinkMode::Auto | LinkMode::Reflink)
    }

    fn links(self) -> bool {
        matches!(self.mode, LinkMode::Auto | LinkMode::HardLink)
    }

    /// Whether it was done; an error only where copying instead is no answer.
    fn tried(self, outcome: std::io::Result<()>) -> std::io::Result<bool> {
        match outcome {
            Ok(()) => Ok(true),
            Err(e) if !self.is_strict && cannot(&e) => Ok(false),
            Err(e) => Err(e),
        }
    }
}

/// Whether the file system does not offer what was asked for.
pub(super) fn cannot(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::CrossesDevices)
}

fn reflink(io: &dyn Io, item: Item<'_>) -> std::io::Result<()> {
    io.reflink(item.from, item.to)?;
    let file = io.open(item.to, OpenMode::ReadWrite)?;
    if file.len()? != item.len {
        file.set_len(item.len)?;
    }
    file.sync_data()
}

/// Whether the file has no more bytes than belong to the backup.
fn is_whole(io: &dyn Io, item: Item<'_>) -> std::io::Result<bool> {
    Ok(io.open(item.from, OpenMode::Read)?.len()? == item.len)
}

/// Copies the bytes that are no hole; gives how many those were.
fn copy(io: &dyn Io, item: Item<'_>, on_bytes: &mut dyn FnMut(u64) -> Result<()>) -> Result<u64> {
    let fail = |e| Error::io("copy to", item.to, e);
    let from = io.open(item.from, OpenMode::Read).map_err(fail)?;
    let to = io.open(item.to, OpenMode::CreateNew).map_err(fail)?;
    let mut block = Vec::new();
    let (mut at, mut copied) = (0, 0);
    while let Some(data) = from.next_data(at).map_err(fail)?
        && data.start < item.len
    {
        on_bytes(data.start - at)?;
        at = data.start;
        let end = data.end.min(item.len);
        while at < end {
            let bytes = (end - at).min(BLOCK_BYTES as u64);
            copy_block(&*from, &*to, at, bytes as usize, &mut block).map_err(fail)?;
            at += bytes;
            copied += bytes;
            on_bytes(bytes)?;
        }
    }
    on_bytes(item.len - at)?;
    to.set_len(item.len).and_then(|()| to.sync_data()).map_err(fail)?;
    Ok(copied)
}

fn copy_block(
    from: &dyn File,
    to: &dyn File,
    at: u64,
    bytes: usize,
    block: &mut Vec<u8>,
) -> std::io::Result<()> {
    block.resize(bytes, 0);
    io::read_exact_at(from, block, at)?;
    io::write_all_at(to, &mut [IoSlice::new(block)], at)
}
