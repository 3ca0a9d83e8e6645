//! One track of a queue: its file.

use std::io::{ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::chunk::{CHUNK_BYTES, ChunkPlace};
use crate::format::items::ItemsChunk;
use crate::format::queue::{self, QueueTrack, RewrittenEnd};
use crate::format::{Fault, StoreId, TrackId};
use crate::io::{self, File, Io, OpenMode};

/// An open track.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) queue: StoreId,
    pub(super) id: TrackId,
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn File>,
    /// The rewrite that wrote it, if one did, and where it ends.
    pub(super) rewritten: Option<RewrittenEnd>,
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
        Ok(Track { queue: header.queue, id: header.track, path, file, rewritten: None })
    }

    /// Opens a track as the rewrite of this number wrote it, 0 for none; `None` if it is not there.
    pub(super) fn open(
        io: &dyn Io,
        dir: &Path,
        queue: StoreId,
        (id, rewrite): (TrackId, u32),
        mode: OpenMode,
    ) -> Result<Option<Self>> {
        let path = dir.join(queue::track_file_name(id, rewrite));
        let file = match io.open(&path, mode) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("open the track", &path, e)),
        };
        let mut track = Track { queue, id, path, file, rewritten: None };
        if rewrite != 0 {
            let header = track.header()?.map_err(|fault| track.fault(0, fault))?;
            if header.rewritten.is_none_or(|of| of.rewrite != rewrite) {
                let why = format!("rewrite {rewrite} did not write it");
                return Err(track.fault(0, Fault::Invalid { what: "queue's track header", why }));
            }
            track.rewritten = header.rewritten;
        }
        Ok(Some(track))
    }

    /// Reads and decodes chunk 0.
    pub(super) fn header(&self) -> Result<Result<QueueTrack, Fault>> {
        let mut chunk = vec![0; CHUNK_BYTES];
        match io::read_exact_at(&*self.file, &mut chunk, 0) {
            Ok(()) => Ok(QueueTrack::from_chunk(&chunk, self.queue, self.id)),
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => {
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

    /// Checks chunk `chunk`, whose bytes these are.
    pub(super) fn items<'a>(&self, chunk: u32, bytes: &'a [u8]) -> Result<ItemsChunk<'a>, Fault> {
        let items = ItemsChunk::open(bytes, self.place(chunk))?;
        let rewrite = self.rewritten.map_or(0, |of| of.rewrite);
        if items.rewrite != rewrite {
            let why = format!("a chunk of rewrite {} in one of {rewrite}", items.rewrite);
            return Err(Fault::Invalid { what: "items", why });
        }
        Ok(items)
    }

    pub(super) fn io_error(&self, doing: &'static str, e: std::io::Error) -> Error {
        Error::io(doing, &self.path, e)
    }

    pub(super) fn fault(&self, chunk: u32, fault: Fault) -> Error {
        Error::chunk(&self.path, self.id, chunk, fault)
    }
}

/// The files of tracks in a directory: each track, and the rewrite that wrote the file, 0 for none.
pub(super) fn files(io: &dyn Io, dir: &Path) -> Result<Vec<(TrackId, u32)>> {
    let names = io.list(dir).map_err(|e| Error::io("list the queue", dir, e))?;
    let mut files: Vec<_> = names.iter().filter_map(|n| queue::track_of_file_name(n)).collect();
    files.sort_unstable();
    Ok(files)
}

/// The tracks in a directory, in order, whoever wrote them.
pub(super) fn list(io: &dyn Io, dir: &Path) -> Result<Vec<TrackId>> {
    let mut tracks: Vec<_> = files(io, dir)?.into_iter().map(|(track, _)| track).collect();
    tracks.dedup();
    Ok(tracks)
}
