//! Which keys each chunk of a store's tracks holds something of, read from the chunks themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use kogia::format::chain::{Directory, DirectoryEntry, Room};
use kogia::format::chunk::{self, CHUNK_BYTES, ChunkKind, ChunkPlace, HEADER_BYTES};
use kogia::format::meta::StoreMeta;
use kogia::format::record::{Put, Record, Space, Value};
use kogia::format::track_header::TrackHeader;
use kogia::{Seq, StoreId, TrackId};

use crate::sample;

/// A chunk of a track.
pub type Place = (TrackId, u32);

/// What is lost with a chunk.
#[derive(Clone, Default, Debug)]
pub struct Held {
    /// Bytes at the chunk's front that count; all others may be anything.
    pub covered: usize,
    /// Keys whose present value has bytes here.
    pub values: BTreeSet<String>,
    /// Keys of which a put or delete is recorded here.
    pub records: BTreeSet<String>,
    /// Keys of whose present value a segment is recorded here.
    pub segments: BTreeSet<String>,
    /// The first chunk of the chain.
    pub chain: u32,
    /// Whether `META` or a later track's header says that this was synced.
    pub marked: bool,
    /// Whether one of them, or a later chain of the track, says so.
    pub witnessed: bool,
}

/// Where everything in a store's tracks is.
pub struct Chart {
    pub chunks: BTreeMap<Place, Held>,
}

/// Collects what the directories say.
#[derive(Default)]
struct Reading {
    chunks: BTreeMap<Place, Held>,
    /// The newest put or delete of each key.
    newest: BTreeMap<String, Written>,
    /// Where each segment is recorded, and where its bytes are.
    segments: BTreeMap<Seq, (Place, Vec<Place>)>,
}

struct Written {
    seq: Seq,
    places: Vec<Place>,
    segments: Vec<Seq>,
}

impl Chart {
    pub fn of(root: &Path) -> Self {
        let mut reading = Reading::default();
        for path in sample::tracks(root) {
            reading.track(&path);
        }
        let meta = StoreMeta::decode(&fs::read(sample::home(root).join("META")).unwrap()).unwrap();
        let active = meta.disks.iter().filter_map(|disk| disk.active);
        active.for_each(|(track, end)| reading.mark(track, end));
        let Reading { mut chunks, newest, segments } = reading;
        for (key, put) in newest {
            let mut hold = |place: &Place, pick: fn(&mut Held) -> &mut BTreeSet<String>| {
                pick(chunks.get_mut(place).expect("it was read")).insert(key.clone());
            };
            put.places.iter().for_each(|place| hold(place, |held| &mut held.values));
            for (recorded, places) in put.segments.iter().map(|seq| &segments[seq]) {
                hold(recorded, |held| &mut held.segments);
                places.iter().for_each(|place| hold(place, |held| &mut held.values));
            }
        }
        Chart { chunks }
    }
}

impl Reading {
    fn track(&mut self, path: &Path) {
        let bytes = fs::read(path).unwrap();
        let (store, track) = names(path);
        let open = |chunk: u32| {
            let place = ChunkPlace { store, track, chunk };
            chunk::open(&bytes[chunk as usize * CHUNK_BYTES..], place).ok()
        };
        let mut start = 0;
        for chunk in 0..(bytes.len() / CHUNK_BYTES) as u32 {
            // What does not verify was punched out.
            let Some((header, payload)) = open(chunk) else { continue };
            start = if header.first { chunk } else { start };
            let held = self.held(track, chunk);
            (held.covered, held.chain) = (HEADER_BYTES + payload.len(), start);
            if header.kind == ChunkKind::TrackHeader {
                let chunk = &bytes[..CHUNK_BYTES];
                let before = TrackHeader::from_chunk(chunk, store, track).unwrap().predecessor;
                before.into_iter().for_each(|(track, end)| self.mark(track, end));
            }
            if header.kind != ChunkKind::Directory {
                continue;
            }
            let mut directory = Directory::decode(payload).unwrap().into_owned();
            let rest = chunk + 1..chunk + 1 + directory.rest_chunks();
            rest.clone().for_each(|chunk| directory.push_rest(open(chunk).unwrap().1));
            self.synced(track, directory.synced);
            let recorded: Vec<Place> = (chunk..rest.end).map(|chunk| (track, chunk)).collect();
            for entry in directory.entries() {
                self.entry(&entry.unwrap(), (track, start), &recorded);
            }
        }
    }

    fn entry(&mut self, entry: &DirectoryEntry<'_>, chain: Place, recorded: &[Place]) {
        let len = match entry.room {
            Room::None => 0,
            Room::Packed(len) | Room::Owned(len) => len,
        };
        let first = chain.1 + entry.spot.chunk;
        let chunks = chunk::chunks_for(u64::from(entry.spot.offset) + u64::from(len));
        let chunks = if len == 0 { 0 } else { chunks as u32 };
        let places = (first..first + chunks).map(|chunk| (chain.0, chunk)).collect();
        let (key, segments) = match &entry.record {
            Record::Segment { .. } => {
                self.segments.insert(entry.seq, (recorded[0], places));
                return;
            }
            Record::Put(Put { space: Space::Object, key, value, .. }) => match value {
                Value::Segments(list) => (key, list.0.iter().map(|s| s.seq).collect()),
                Value::Inline | Value::Compressed(_) => (key, Vec::new()),
            },
            Record::Delete { space: Space::Object, key } => (key, Vec::new()),
            _ => return,
        };
        let key = String::from_utf8(key.to_vec()).expect("the sample's keys are text");
        for &(track, chunk) in recorded {
            self.held(track, chunk).records.insert(key.clone());
        }
        if self.newest.get(&key).is_none_or(|newest| newest.seq < entry.seq) {
            self.newest.insert(key, Written { seq: entry.seq, places, segments });
        }
    }

    fn mark(&mut self, track: TrackId, end: u32) {
        (0..end).for_each(|chunk| self.held(track, chunk).marked = true);
        self.synced(track, end);
    }

    fn synced(&mut self, track: TrackId, end: u32) {
        (0..end).for_each(|chunk| self.held(track, chunk).witnessed = true);
    }

    fn held(&mut self, track: TrackId, chunk: u32) -> &mut Held {
        self.chunks.entry((track, chunk)).or_default()
    }
}

/// The store and the track that a track's file is named after.
pub fn names(path: &Path) -> (StoreId, TrackId) {
    let folder = path.parent().unwrap().file_name().unwrap().to_str().unwrap();
    let file = path.file_name().unwrap().to_str().unwrap();
    (StoreId::parse(folder).unwrap(), TrackId::from_file_name(file).unwrap())
}
