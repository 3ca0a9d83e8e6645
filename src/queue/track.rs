//! One track of a queue: its file.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::chunk::{CHUNK_BYTES, ChunkPlace};
use crate::format::queue::QueueTrack;
use crate::format::{Fault, StoreId, TrackId};
use crate::io::{self, File, Io, OpenMode};

/// An open track.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) queue: StoreId,
    pub(super) id: TrackId,
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn File>,
}

impl Track {
    /// Creates the file with its header, and makes both durable.
    pub(super) fn create(io: &dyn Io, dir: &Path, header: &QueueTrack) -> Result<Self> {
        let path = dir.join(header.track.file_name());
        let fail = |e| Error::io("create the track", &path, e);
        let file = io.open(&path, OpenMode::CreateNew).map_err(fail)?;
        step!("queue.track-created");
        let chunk = header.to_chunk();
        let written = io::write_all_at(&*file, &mut [IoSlice::new(&chunk)], 0)
            .and_then(|()| file.sync_data())
            .inspect(|()| step!("queue.header-synced"))
            // Before any item lies in it: a power cut must not take the track away with items that
            // were acknowledged.
            .and_then(|()| io.sync_dir(dir));
        if let Err(e) = written {
            // Best effort: a track with nothing but a header is no harm, and is removed or gone on
            // with at the next opening.
            let _ = io.remove(&path);
            return Err(fail(e));
        }
        Ok(Track { queue: header.queue, id: header.track, path, file })
    }

    pub(super) fn open(
        io: &dyn Io,
        dir: &Path,
        queue: StoreId,
        id: TrackId,
        mode: OpenMode,
    ) -> std::io::Result<Self> {
        let path = dir.join(id.file_name());
        let file = io.open(&path, mode)?;
        Ok(Track { queue, id, path, file })
    }

    /// Reads and decodes chunk 0.
    pub(super) fn header(&self) -> Result<Result<QueueTrack, Fault>> {
        let mut chunk = vec![0; CHUNK_BYTES];
        match io::read_exact_at(&*self.file, &mut chunk, 0) {
            Ok(()) => Ok(QueueTrack::from_chunk(&chunk, self.queue, self.id)),
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                Ok(Err(Fault::Short { what: "track", needed: CHUNK_BYTES, found: 0 }))
            }
            Err(e) => Err(self.io_error("read the track's header", e)),
        }
    }

    pub(super) fn len(&self) -> Result<u64> {
        self.file.len().map_err(|e| self.io_error("measure the track", e))
    }

    pub(super) fn place(&self, chunk: u32) -> ChunkPlace {
        ChunkPlace { store: self.queue, track: self.id, chunk }
    }

    pub(super) fn io_error(&self, doing: &'static str, e: std::io::Error) -> Error {
        Error::io(doing, &self.path, e)
    }

    pub(super) fn fault(&self, chunk: u32, fault: Fault) -> Error {
        Error::chunk(&self.path, self.id, chunk, fault)
    }
}

/// The tracks in a directory, in order.
pub(super) fn list(io: &dyn Io, dir: &Path) -> Result<Vec<TrackId>> {
    let names = io.list(dir).map_err(|e| Error::io("list the queue", dir, e))?;
    Ok(names.iter().filter_map(|name| TrackId::from_file_name(name)).collect())
}
