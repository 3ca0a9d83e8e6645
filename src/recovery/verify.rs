//! Reading everything, and checking every checksum and every cross-reference.
//!
//! What is checked, of one moment: every value reads with the checksum of its entry; every segment
//! is owned by the put that names it, and every put's segments are there; no live chunk is in the
//! free list; every record in a track is in the index or was overtaken; every chunk of a track is
//! head, live, free, punched or known to be lost; and all counters agree.

mod prefixes;

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use self::prefixes::Prefixes;
use crate::error::{Error, ErrorKind, Result};
use crate::format::chunk::CHUNK_BYTES;
use crate::format::entry::{self, Entry, Extent, FreeRow, Grave, Place, SegmentRow, TrackRow};
use crate::format::record::{Record, Space};
use crate::format::{Seq, TrackId, checksum};
use crate::index::{Books, Family, RowCursor, View};
use crate::options::{OnStep, Phase, Progress};
use crate::store::{Packed, Shared, Source};
use crate::track::{Bytes, Scanner};

/// Problems that are kept; more are counted in the last one.
const MAX_PROBLEMS: usize = 1000;

/// How to verify.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let store = kogia::Store::open(dir.path()).unwrap();
/// let gently = kogia::VerifyOptions {
///     bytes_per_second: Some(10 << 20),
///     on_progress: Some(Box::new(|progress| {
///         eprintln!("{} bytes", progress.done_bytes);
///         true
///     })),
/// };
/// assert!(store.verify(&gently)?.problems.is_empty());
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Default)]
pub struct VerifyOptions {
    /// Bytes that are read a second at most; default as many as there come.
    pub bytes_per_second: Option<u64>,
    /// Called now and then; where it answers `false`, the check fails with
    /// [`Cancelled`](ErrorKind::Cancelled) before the next MiB is read.
    pub on_progress: Option<Box<OnStep>>,
}

impl fmt::Debug for VerifyOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &mut f.debug_struct("VerifyOptions");
        options.field("bytes_per_second", &self.bytes_per_second).finish_non_exhaustive()
    }
}

/// What verifying found.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let store = kogia::Store::open(dir.path()).unwrap();
/// store.put("key", "value")?;
/// let report: kogia::VerifyReport = store.verify(&Default::default())?;
/// assert_eq!((report.objects, report.bytes, report.problems.len()), (1, 5, 0));
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Objects and parts that were read.
    pub objects: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// Chunks that the tracks account for.
    pub chunks: u64,
    /// Tracks.
    pub tracks: u64,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// Something that is wrong in a store.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let store = kogia::Store::open(dir.path()).unwrap();
/// let problems: Vec<kogia::Problem> = store.verify(&Default::default())?.problems;
/// assert!(problems.is_empty());
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Problem {
    /// Where: a track and chunk, or a part of the index.
    pub place: String,
    /// The object that is affected, where it is known.
    pub key: Option<Vec<u8>>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)?;
        match &self.key {
            Some(key) => write!(f, " (key {})", key.escape_ascii()),
            None => Ok(()),
        }
    }
}

/// Verifies a store as it is when this is called; writes may go on.
pub(crate) fn verify(shared: &Shared, options: &VerifyOptions) -> Result<VerifyReport> {
    let (books, prefixes, pin, view) = {
        // Under the apply lock, so that all are of one moment.
        let books = shared.books();
        let prefixes = shared.index.unwritten_prefixes();
        (books.clone(), prefixes, shared.pins.pin(), shared.index.snapshot())
    };
    let heads = |row: &TrackRow| u64::from(row.head_chunks) * CHUNK_BYTES as u64;
    let total_bytes = books.tracks.values().map(|row| row.live_bytes + heads(row)).sum();
    let mut verifier = Verifier {
        shared,
        options,
        books: &books,
        view: &view,
        counted: BTreeMap::new(),
        state: Counted::default(),
        prefixes: Prefixes::new(prefixes),
        owned_segments: 0,
        done_bytes: 0,
        total_bytes,
        started: Instant::now(),
        report: VerifyReport::default(),
        more_problems: 0,
    };
    verifier.entries(Space::Object)?;
    verifier.end_prefixes()?;
    verifier.entries(Space::Part)?;
    verifier.segments()?;
    verifier.free()?;
    verifier.graves()?;
    verifier.tracks()?;
    verifier.counters();
    drop(pin);
    verifier.finish()
}

/// What was counted of a track, or of all.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counted {
    live_records: u64,
    live_bytes: u64,
    owned_chunks: u64,
    free_chunks: u64,
    punched_chunks: u64,
    graves: u64,
    objects: u64,
    object_bytes: u64,
    parts: u64,
}

struct Verifier<'a> {
    shared: &'a Shared,
    options: &'a VerifyOptions,
    books: &'a Books,
    view: &'a View<'a>,
    counted: BTreeMap<TrackId, Counted>,
    state: Counted,
    prefixes: Prefixes,
    owned_segments: u64,
    /// Bytes read so far, those of directories included.
    done_bytes: u64,
    total_bytes: u64,
    started: Instant,
    report: VerifyReport,
    more_problems: usize,
}

impl Verifier<'_> {
    fn entries(&mut self, space: Space) -> Result<()> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            // Cursors hold memory, and reading values takes long: a new one for each page.
            let page = self.entry_page(space, after.as_deref())?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (key, row) in page {
                match Entry::decode(&row) {
                    Ok(entry) => self.entry(space, &key, entry)?,
                    Err(fault) => self.problem("index", Some(&key), fault.to_string()),
                }
            }
        }
    }

    fn entry_page(&self, space: Space, after: Option<&[u8]>) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        const PAGE: usize = 256;
        let family = if space == Space::Object { Family::Objects } else { Family::Parts };
        let mut cursor = self.view.rows(family);
        cursor.seek(after.unwrap_or_default());
        if after.is_some() && cursor.row()?.is_some_and(|(key, _)| Some(key) == after) {
            cursor.next();
        }
        let mut page = Vec::new();
        while page.len() < PAGE
            && let Some((key, row)) = cursor.row()?
        {
            page.push((key.to_vec(), row.to_vec()));
            cursor.next();
        }
        Ok(page)
    }

    fn entry(&mut self, space: Space, key: &[u8], entry: Entry<'_>) -> Result<()> {
        self.report.objects += 1;
        match space {
            Space::Part => self.state.parts += 1,
            Space::Object => {
                self.state.objects += 1;
                self.state.object_bytes += entry.meta.len;
                self.count_prefixes(key, entry.meta.expires_ms.is_none())?;
            }
        }
        let extent = entry.owned_extent();
        let counted = self.counted.entry(entry.track).or_default();
        counted.live_records += 1;
        counted.live_bytes += entry.inline_bytes();
        counted.owned_chunks += extent.map_or(0, |extent| u64::from(extent.chunks));
        if let Some(extent) = extent {
            self.not_free(extent, Some(key))?;
        }
        if let Place::Segments(list) = &entry.place {
            self.owned_segments += list.0.len() as u64;
            for segment in &list.0 {
                let owner = self.view.segment(segment.seq)?.and_then(|row| row.owner);
                if owner != Some(entry.seq) {
                    let what = format!("segment {} is owned by {owner:?}", segment.seq);
                    self.problem("index, segments", Some(key), what);
                }
            }
        }
        let (len, crc) = (entry.meta.len, entry.meta.crc);
        match Source::of(entry).and_then(|source| self.read(&source)) {
            Ok(read) if read == (len, crc) => {}
            Ok((_, found)) => {
                let what = format!("checksum {crc:08x} expected, {found:08x} found");
                self.problem("value", Some(key), what);
            }
            Err(error) => self.broken(Some(key), &error)?,
        }
        Ok(())
    }

    /// Reads a value; gives its length and checksum.
    fn read(&mut self, source: &Source) -> Result<(u64, u32)> {
        let mut pieces = Vec::new();
        match source {
            Source::Empty => {}
            Source::Inline(track, place) => {
                pieces.push((self.shared.files.get(*track)?, *place));
            }
            Source::Compressed(packed) => return self.read_compressed(packed),
            Source::Segments(list) => {
                for (_, segment) in list {
                    pieces.push(self.shared.segment(self.view, segment)?);
                }
            }
        }
        let (mut len, mut crc) = (0, 0);
        for (track, place) in pieces {
            let mut bytes = Bytes::unmapped(track, place);
            let mut at = 0;
            while at < place.len {
                let slice = bytes.at(at)?;
                crc = checksum::extend(crc, slice);
                at += slice.len() as u64;
                let read = slice.len() as u64;
                self.read_bytes(read)?;
            }
            len += at;
            self.report.bytes += at;
        }
        Ok((len, crc))
    }

    fn read_compressed(&mut self, packed: &Packed) -> Result<(u64, u32)> {
        let track = self.shared.files.get(packed.track)?;
        let frame = Shared::frame_unmapped(&track, packed)?;
        // Fails unless length and checksum are what they should be.
        self.shared.expand(&track, packed, &frame)?;
        self.read_bytes(packed.place.len)?;
        self.report.bytes += packed.place.len;
        Ok((packed.len, packed.crc))
    }

    /// Counts what was read, and waits where that was faster than is allowed.
    fn read_bytes(&mut self, bytes: u64) -> Result<()> {
        const STEP: u64 = 1 << 20;
        let before = self.done_bytes;
        self.done_bytes += bytes;
        if before / STEP == self.done_bytes / STEP {
            return Ok(());
        }
        if let Some(rate) = self.options.bytes_per_second {
            let due = Duration::from_secs_f64(self.done_bytes as f64 / rate.max(1) as f64);
            std::thread::sleep(due.saturating_sub(self.started.elapsed()));
        }
        self.progress()
    }

    fn progress(&self) -> Result<()> {
        let now = Progress {
            phase: Phase::Verify,
            done_bytes: self.done_bytes,
            total_bytes: self.total_bytes,
            records: self.report.objects,
        };
        now.tell(self.options.on_progress.as_deref(), "the check was called off")
    }

    fn segments(&mut self) -> Result<()> {
        let mut owned = 0;
        self.rows(Family::Segments, |this, key, row| {
            entry::parse_seq_key(key)?;
            let row = SegmentRow::decode(row)?;
            owned += u64::from(row.owner.is_some());
            let counted = this.counted.entry(row.track).or_default();
            counted.live_records += u64::from(row.has_record);
            counted.live_bytes += row.len;
            counted.owned_chunks += u64::from(row.extent().chunks);
            if let Err(error) = this.not_free(row.extent(), None) {
                this.problem("index, free", None, error.to_string());
            }
            Ok(())
        })?;
        if owned != self.owned_segments {
            let what = format!("{owned} segments are owned, but puts name {}", self.owned_segments);
            self.problem("index, segments", None, what);
        }
        Ok(())
    }

    /// Checks that an extent that something live refers to is not in the free list.
    fn not_free(&mut self, extent: Extent, key: Option<&[u8]>) -> Result<()> {
        let mut cursor = self.view.rows(Family::Free);
        cursor.seek_back(&entry::free_key(extent.track, extent.chunk + extent.chunks - 1));
        let Some((row_key, row)) = cursor.row()? else { return Ok(()) };
        let decoded = entry::parse_free_key(row_key).and_then(|k| Ok((k, FreeRow::decode(row)?)));
        let overlap = match decoded {
            Ok(((track, chunk), row)) => track == extent.track && chunk + row.chunks > extent.chunk,
            Err(_) => false,
        };
        if overlap {
            let place = format!("track {}, chunk {}", extent.track, extent.chunk);
            self.problem(&place, key, "live chunks are in the free list".into());
        }
        Ok(())
    }

    fn free(&mut self) -> Result<()> {
        let mut end = (TrackId(0), 0);
        self.rows(Family::Free, |this, key, row| {
            let (track, chunk) = entry::parse_free_key(key)?;
            let row = FreeRow::decode(row)?;
            let counted = this.counted.entry(track).or_default();
            if row.punched {
                counted.punched_chunks += u64::from(row.chunks);
            } else {
                counted.free_chunks += u64::from(row.chunks);
            }
            if end.0 == track && chunk < end.1 {
                let place = format!("track {track}, chunk {chunk}");
                this.problem(&place, None, "two free rows overlap".into());
            }
            end = (track, chunk + row.chunks);
            Ok(())
        })
    }

    fn graves(&mut self) -> Result<()> {
        self.rows(Family::Graves, |this, _, row| {
            let grave = Grave::decode(row)?;
            this.state.graves += 1;
            this.counted.entry(grave.track).or_default().graves += 1;
            Ok(())
        })
    }

    /// Calls `check` with each row of a family; a row that does not decode is a problem.
    fn rows(
        &mut self,
        family: Family,
        mut check: impl FnMut(&mut Self, &[u8], &[u8]) -> Result<(), crate::format::Fault>,
    ) -> Result<()> {
        let view = self.view;
        let mut cursor: RowCursor<'_> = view.rows(family);
        cursor.seek(&[]);
        while let Some((key, row)) = cursor.row()? {
            if let Err(fault) = check(self, key, row) {
                self.problem("index", Some(key), fault.to_string());
            }
            cursor.next();
        }
        Ok(())
    }

    /// Reads the directories of all tracks, and looks their records up.
    fn tracks(&mut self) -> Result<()> {
        let books = self.books;
        for (id, row) in &books.tracks {
            self.report.tracks += 1;
            let outcome = self.track(*id, row.start, row.applied);
            match outcome {
                Ok(head_chunks) => {
                    if head_chunks != u64::from(row.head_chunks) && row.lost_chunks == 0 {
                        let what = format!(
                            "{} chunks of directories in the index, {head_chunks} in the track",
                            row.head_chunks
                        );
                        self.problem(&format!("track {id}"), None, what);
                    }
                }
                // It died and was unlinked since.
                Err(_) if row.live_records == 0 && self.is_unlinked(*id) => {}
                Err(error) => self.broken(None, &error)?,
            }
        }
        Ok(())
    }

    fn is_unlinked(&self, id: TrackId) -> bool {
        // The file goes before the books say so.
        self.shared.refills.wait_for_reuse();
        !self.shared.books().tracks.contains_key(&id)
    }

    fn track(&mut self, id: TrackId, start: u32, end: u32) -> Result<u64> {
        let track = self.shared.files.get(id)?;
        track.read_header()?;
        let path = track.path.clone();
        let there = track.chunks()?;
        if there < end {
            let what = format!("the track ends here, and {end} chunks of it are indexed");
            self.problem(&format!("track {id}, chunk {there}"), None, what);
        }
        let mut scanner = Scanner::new(track, start, end.min(there));
        let mut head_chunks = 0;
        while let Some(chain) = scanner.next_chain(false)? {
            let chain = match chain {
                Ok(chain) => chain,
                Err(bad) => {
                    let error = Error::chunk(&path, id, bad.chunk, bad.fault);
                    self.broken(None, &error)?;
                    scanner.skip_to_chain(bad.chunk + 1)?;
                    continue;
                }
            };
            head_chunks += u64::from(chain.head.head_chunks);
            for bad in &chain.bad {
                let error = Error::chunk(&path, id, bad.chunk, bad.fault.clone());
                self.broken(None, &error)?;
            }
            for directory in &chain.directories {
                for entry in directory.entries() {
                    match entry {
                        Ok(entry) => self.record(id, entry.seq, &entry.record)?,
                        Err(fault) => {
                            let error = Error::chunk(&path, id, chain.head.start, fault);
                            self.broken(None, &error)?;
                        }
                    }
                }
            }
            self.read_bytes(u64::from(chain.head.head_chunks) * CHUNK_BYTES as u64)?;
        }
        Ok(head_chunks)
    }

    /// A put in a track is in the index, or something newer of its key is.
    fn record(&mut self, track: TrackId, seq: Seq, record: &Record<'_>) -> Result<()> {
        let Record::Put(put) = record else { return Ok(()) };
        if let Some(row) = self.view.entry(put.space, put.key)?
            && row.entry()?.seq >= seq
        {
            return Ok(());
        }
        let key = entry::grave_key(put.space, put.key);
        let mut cursor = self.view.rows(Family::Graves);
        cursor.seek(&key);
        let buried = match cursor.row()? {
            Some((found, row)) if found == key => {
                Grave::decode(row).is_ok_and(|grave| grave.seq > seq)
            }
            _ => false,
        };
        if !buried {
            let what =
                format!("put {seq} is in track {track}, but neither it nor its end is indexed");
            self.problem("index", Some(put.key), what);
        }
        Ok(())
    }

    fn counters(&mut self) {
        let books = self.books;
        for (id, row) in &books.tracks {
            let counted = self.counted.remove(id).unwrap_or_default();
            let place = format!("track {id}");
            let pairs = [
                ("live records", row.live_records, counted.live_records),
                ("live bytes", row.live_bytes, counted.live_bytes),
                ("owned chunks", row.owned_chunks.into(), counted.owned_chunks),
                ("free chunks", row.free_chunks.into(), counted.free_chunks),
                ("punched chunks", row.punched_chunks.into(), counted.punched_chunks),
                ("tombstones", row.graves, counted.graves),
            ];
            self.compare(&place, &pairs);
            let sum = 1
                + u64::from(row.head_chunks)
                + u64::from(row.lost_chunks)
                + counted.owned_chunks
                + counted.free_chunks
                + counted.punched_chunks;
            self.report.chunks += sum;
            self.compare(&place, &[("chunks", row.applied.into(), sum)]);
        }
        let strays: Vec<TrackId> = self.counted.keys().copied().collect();
        for id in strays {
            let what = "the index refers to it, but has no row of it".into();
            self.problem(&format!("track {id}"), None, what);
        }
        let state = &books.state;
        let counted = self.state;
        let pairs = [
            ("objects", state.objects, counted.objects),
            ("object bytes", state.object_bytes, counted.object_bytes),
            ("parts", state.parts, counted.parts),
            ("tombstones", state.graves, counted.graves),
        ];
        self.compare("index, counters", &pairs);
    }

    fn compare(&mut self, place: &str, pairs: &[(&str, u64, u64)]) {
        for (what, expected, found) in pairs {
            if expected != found {
                let what = format!("{expected} {what} by the counter, {found} counted");
                self.problem(place, None, what);
            }
        }
    }

    /// An error that is what verifying looks for, or one that ends it.
    fn broken(&mut self, key: Option<&[u8]>, error: &Error) -> Result<()> {
        match error.kind() {
            ErrorKind::Corruption | ErrorKind::Io | ErrorKind::Version => {
                let place = match error.track() {
                    Some((track, chunk)) => format!("track {track}, chunk {chunk}"),
                    None => "store".into(),
                };
                // The error says the place as well, and once is enough.
                let what = error.to_string().replacen(&format!("{place}: "), "", 1);
                self.problem(&place, key, what);
                Ok(())
            }
            _ => Err(error.clone()),
        }
    }

    fn problem(&mut self, place: &str, key: Option<&[u8]>, what: String) {
        if self.report.problems.len() == MAX_PROBLEMS {
            self.more_problems += 1;
            return;
        }
        let (place, key) = (place.to_owned(), key.map(<[u8]>::to_vec));
        self.report.problems.push(Problem { place, key, what });
    }

    fn finish(mut self) -> Result<VerifyReport> {
        self.progress()?;
        if self.more_problems > 0 {
            let what = format!("and {} more problems", self.more_problems);
            self.report.problems.push(Problem { place: "store".into(), key: None, what });
        }
        Ok(self.report)
    }
}
