//! The open tracks of a store, bounded in number.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use super::TrackFile;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{StoreId, TrackId};
use crate::io::Io;

/// Tracks kept open at most; those in use elsewhere stay open with their users.
const MAX_OPEN: usize = 256;

/// Where each track of a store is, and those that are open.
#[derive(Debug)]
pub(crate) struct TrackFiles {
    io: Arc<dyn Io>,
    store: StoreId,
    map_tracks: bool,
    /// Lock: taken alone, never across I/O but an open.
    tracks: RwLock<Tracks>,
}

#[derive(Debug, Default)]
struct Tracks {
    places: HashMap<TrackId, Known>,
    open: HashMap<TrackId, Arc<TrackFile>>,
}

#[derive(Debug, Clone)]
struct Known {
    dir: Arc<PathBuf>,
    sealed: Option<u32>,
}

impl TrackFiles {
    pub(crate) fn new(io: Arc<dyn Io>, store: StoreId, map_tracks: bool) -> Self {
        TrackFiles { io, store, map_tracks, tracks: RwLock::default() }
    }

    /// Makes a track known that lies in `dir`.
    pub(crate) fn add(&self, id: TrackId, dir: &Arc<PathBuf>) {
        let known = Known { dir: dir.clone(), sealed: None };
        self.tracks.write().expect("no panic holds it").places.insert(id, known);
    }

    /// Makes a track known that its writer has open.
    pub(crate) fn add_open(&self, track: &Arc<TrackFile>, dir: &Arc<PathBuf>) {
        self.add(track.id, dir);
        if self.map_tracks {
            track.map_growing();
        }
        self.tracks.write().expect("no panic holds it").open.insert(track.id, track.clone());
    }

    /// Says that nothing will be appended behind chunk `end` of a track.
    pub(crate) fn seal(&self, id: TrackId, end: u32) {
        let mut tracks = self.tracks.write().expect("no panic holds it");
        if let Some(known) = tracks.places.get_mut(&id) {
            known.sealed = Some(end);
        }
        if let (Some(track), true) = (tracks.open.get(&id), self.map_tracks) {
            track.seal(end);
        }
    }

    /// Forgets a track that was unlinked; who has it open may go on reading.
    pub(crate) fn forget(&self, id: TrackId) {
        let mut tracks = self.tracks.write().expect("no panic holds it");
        tracks.places.remove(&id);
        tracks.open.remove(&id);
    }

    /// The open track.
    pub(crate) fn get(&self, id: TrackId) -> Result<Arc<TrackFile>> {
        if let Some(track) = self.tracks.read().expect("no panic holds it").open.get(&id) {
            track.touch();
            return Ok(track.clone());
        }
        let known = self.tracks.read().expect("no panic holds it").places.get(&id).cloned();
        let Some(Known { dir, sealed }) = known else {
            let what = "the index names the track, but there is no such file";
            return Err(Error::new(ErrorKind::Corruption, what).with_track(id));
        };
        let track = Arc::new(TrackFile::open(&*self.io, &dir, self.store, id)?);
        match sealed {
            Some(end) if self.map_tracks => track.seal(end),
            None if self.map_tracks => track.map_growing(),
            _ => {}
        }
        let mut tracks = self.tracks.write().expect("no panic holds it");
        tracks.evict();
        Ok(tracks.open.entry(id).or_insert(track).clone())
    }
}

impl Tracks {
    /// Closes tracks that were not used since the last call, where there are too many.
    fn evict(&mut self) {
        if self.open.len() >= MAX_OPEN {
            self.open.retain(|_, track| track.take_used() || Arc::strong_count(track) > 1);
        }
        if self.open.len() >= MAX_OPEN {
            let idle = self.open.iter().find(|(_, track)| Arc::strong_count(track) == 1);
            if let Some(id) = idle.map(|(id, _)| *id) {
                self.open.remove(&id);
            }
        }
    }
}
