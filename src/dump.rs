//! A track, chunk by chunk: what one reads to debug a crash.
//!
//! Reads the file alone, without its store, and changes nothing. What does not verify is reported
//! where it lies, and the walk goes on behind it. Holes are no news: what was punched out of a track,
//! its front where compaction has passed over it, is all zero.

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;

use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};
use crate::format::chain::DirectoryEntry;
use crate::format::chunk::{CHUNK_BYTES, ChunkKind, HEADER_BYTES};
use crate::format::record::{Record, Space, Value};
use crate::format::track_header::TrackKind;
use crate::format::{Fault, StoreId, TrackId};
use crate::io::{Io, OpenMode, RealIo, read_exact_at};
use crate::track::{Bad, Chain, ChainHead, Scanner, TrackFile};

/// Where the store's id lies in a track's first chunk.
const STORE_AT: usize = HEADER_BYTES + 12;
const REFILLED: &str = "refilled";

/// Something that was found in a track. It prints as one line of text, and serialises for scripts.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let store = kogia::Store::open(dir.path()).unwrap();
/// # store.put("key", "value")?;
/// # let file = dir.path().join(format!("tracks/{}/0000000001.track", store.id()));
/// use std::ops::ControlFlow;
///
/// kogia::dump::track(&file, |finding| {
///     println!("{finding}");
///     ControlFlow::Continue(())
/// })?;
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Finding {
    /// The track's header.
    Header {
        /// The track.
        track: u32,
        /// The store that owns it.
        store: String,
        /// The disk it was written on.
        disk: String,
        /// `append` or `compacted`.
        kind: &'static str,
        /// Seq as of which every record in it was known to be live.
        floor: String,
        /// The disk's track before it, and the chunk up to which that was synced.
        predecessor: Option<(u32, u32)>,
        /// Bytes of the dictionary that small values in it may be compressed with.
        dictionary_bytes: usize,
        /// Milliseconds since 1970.
        created_ms: u64,
    },
    /// A chain.
    Chain {
        /// Its first chunk.
        chunk: u32,
        /// Its chunks.
        chunks: u32,
        /// Those of its directory and packed values.
        head_chunks: u32,
        /// Its seq.
        seq: String,
        /// Chunk up to which the track had been synced when it was framed.
        synced: u32,
    },
    /// A run of a chain's chunks of one kind.
    Chunks {
        /// The first.
        chunk: u32,
        /// How many.
        chunks: u32,
        /// `directory`, `directory rest` or `body`; of a later chain in place of a body that was
        /// freed, `refilled`.
        kind: &'static str,
        /// Payload bytes in use.
        bytes: u64,
    },
    /// A run of chunks that are all zero: given back to the file system, or never written.
    Hole {
        /// The first.
        chunk: u32,
        /// How many.
        chunks: u32,
    },
    /// A record in a chain's directory.
    Record {
        /// Its seq.
        seq: String,
        /// `put`, `delete`, `segment`, and of a part `put part` or `delete part`.
        operation: &'static str,
        /// The key: text, with a backslash as `\\`, and what is not printable as `\x` and two
        /// hexadecimal digits.
        key: Option<String>,
        /// Bytes of the value.
        len: Option<u64>,
        /// CRC-32C of the value.
        crc32c: Option<u32>,
        /// Bytes that the value is compressed to, and whether with the track's dictionary.
        compressed: Option<(u64, bool)>,
        /// Where the value begins: chunk, and byte in its payload.
        place: Option<(u32, u16)>,
        /// Segments that the value is in.
        segments: Option<usize>,
        /// When the object expires, in milliseconds since 1970.
        expires_ms: Option<u64>,
    },
    /// Something that is not what it should be.
    Bad {
        /// The chunk.
        chunk: u32,
        /// What is wrong.
        what: String,
    },
    /// The track's end.
    End {
        /// Whole chunks in the file.
        chunks: u32,
        /// Bytes behind the last whole chunk.
        stray_bytes: u64,
    },
}

/// Calls `on_finding` with everything in the track at `file`, in order, until it breaks off.
///
/// The store's id is read from the track's header, or from the name of the folder it lies in.
pub fn track(file: &Path, mut on_finding: impl FnMut(Finding) -> ControlFlow<()>) -> Result<()> {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let id = TrackId::from_file_name(name).ok_or_else(|| {
        Error::invalid("not a track: its name is not ten digits and `.track`").with_path(file)
    })?;
    let mut dump = Dump { on_finding: &mut on_finding, stopped: false };
    let dir = file.parent().unwrap_or(Path::new("."));
    let track = TrackFile::open(&RealIo, dir, store_of(file)?, id)?;
    let len = track.file.len().map_err(|e| Error::io("measure the track", file, e))?;
    let chunks = track.chunks()?;
    dump.header(&track);
    let mut scanner = Scanner::new(track.into(), 1, chunks);
    while !dump.stopped
        && let Some(chain) = scanner.next_chain(true)?
    {
        match chain {
            Ok(chain) => dump.chain(&mut scanner, &chain)?,
            Err(bad) => dump.gap(&mut scanner, &bad)?,
        }
    }
    dump.say(Finding::End { chunks, stray_bytes: len % CHUNK_BYTES as u64 });
    Ok(())
}

/// The store that the track belongs to: chunks verify only for it.
fn store_of(file: &Path) -> Result<StoreId> {
    let folder = file.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    if let Some(store) = folder.and_then(StoreId::parse) {
        return Ok(store);
    }
    let mut first = [0; CHUNK_BYTES];
    RealIo
        .open(file, OpenMode::Read)
        .and_then(|file| read_exact_at(&*file, &mut first, 0))
        .map_err(|e| Error::io("read the header of", file, e))?;
    let store = StoreId(crate::format::bytes_at(&first, STORE_AT));
    if store == StoreId([0; 16]) {
        let what = "has no header, and does not lie in a store's folder";
        return Err(Error::new(ErrorKind::Corruption, what).with_path(file));
    }
    Ok(store)
}

struct Dump<'a> {
    on_finding: &'a mut dyn FnMut(Finding) -> ControlFlow<()>,
    stopped: bool,
}

impl Dump<'_> {
    fn say(&mut self, finding: Finding) {
        self.stopped = self.stopped || (self.on_finding)(finding).is_break();
    }

    fn header(&mut self, track: &TrackFile) {
        let read = track.read_header().and_then(|header| Ok((header, track.read_dictionary()?)));
        let finding = match read {
            Err(error) => Finding::Bad { chunk: 0, what: error.to_string() },
            Ok((header, dictionary)) => Finding::Header {
                dictionary_bytes: dictionary.len(),
                track: header.track.0,
                store: header.store.to_string(),
                disk: header.disk.to_string(),
                kind: match header.kind {
                    TrackKind::Append => "append",
                    TrackKind::Compacted => "compacted",
                },
                floor: header.floor.to_string(),
                predecessor: header.predecessor.map(|(track, end)| (track.0, end)),
                created_ms: header.created_ms,
            },
        };
        self.say(finding);
    }

    /// Tells what lies where a chain should begin and does not, up to the next that does: holes, and
    /// what was refilled into them or stands there without its chain.
    fn gap(&mut self, scanner: &mut Scanner, bad: &Bad) -> Result<()> {
        scanner.skip_to_chain(bad.chunk + 1)?;
        let mut runs = Vec::new();
        let mut was_bad = false;
        for at in bad.chunk..scanner.at() {
            let opened = scanner.open(at)?.map(|(header, payload)| (header, payload.len() as u64));
            let fault = match opened {
                Ok((header, used)) if at > bad.chunk || header.kind == ChunkKind::Body => {
                    push_run(&mut runs, at, name_of(header.kind), used);
                    None
                }
                Err(Fault::Hole) => {
                    push_hole(&mut runs, at);
                    None
                }
                Ok(_) => Some(bad.fault.clone()),
                Err(fault) => Some(fault),
            };
            // One is enough of a run of bad ones.
            if let (Some(fault), false) = (&fault, was_bad) {
                runs.push(finding(&Bad { chunk: at, fault: fault.clone() }));
            }
            was_bad = fault.is_some();
        }
        runs.into_iter().for_each(|run| self.say(run));
        Ok(())
    }

    fn chain(&mut self, scanner: &mut Scanner, chain: &Chain) -> Result<()> {
        let head = &chain.head;
        self.say(Finding::Chain {
            chunk: head.start,
            chunks: head.chunks,
            head_chunks: head.head_chunks,
            seq: head.seq.to_string(),
            synced: head.synced,
        });
        let runs = runs(scanner, head)?;
        let is_told = |bad: &Bad| runs.iter().any(|run| explains(run, bad.chunk));
        let bad: Vec<_> = chain.bad.iter().filter(|bad| !is_told(bad)).map(finding).collect();
        runs.into_iter().chain(bad).for_each(|finding| self.say(finding));
        for directory in &chain.directories {
            for entry in directory.entries() {
                let finding = match entry {
                    Ok(entry) => record(head.start, &entry),
                    Err(fault) => {
                        let chunk = head.start + directory.index;
                        Finding::Bad { chunk, what: fault.to_string() }
                    }
                };
                self.say(finding);
            }
        }
        Ok(())
    }
}

/// The chunks of a chain that verify and those that were punched, of one kind together.
fn runs(scanner: &mut Scanner, head: &ChainHead) -> Result<Vec<Finding>> {
    let mut runs = Vec::new();
    for at in head.start..head.end() {
        let is_body = at >= head.start + head.head_chunks;
        match scanner.open(at)? {
            Ok((header, payload)) => {
                let is_refilled =
                    is_body && header.kind == ChunkKind::Body && header.seq > head.seq;
                let kind = if is_refilled { REFILLED } else { name_of(header.kind) };
                push_run(&mut runs, at, kind, payload.len() as u64);
            }
            // Nothing that a directory needs is punched while its chain stands.
            Err(Fault::Hole) if is_body => push_hole(&mut runs, at),
            Err(_) => {}
        }
    }
    Ok(runs)
}

/// Whether the run says that the chunk is another's, or nobody's.
fn explains(run: &Finding, at: u32) -> bool {
    match run {
        Finding::Hole { chunk, chunks } | Finding::Chunks { chunk, chunks, kind: REFILLED, .. } => {
            (*chunk..chunk + chunks).contains(&at)
        }
        _ => false,
    }
}

fn push_run(runs: &mut Vec<Finding>, at: u32, found: &'static str, used: u64) {
    match runs.last_mut() {
        Some(Finding::Chunks { chunk, chunks, kind, bytes })
            if *kind == found && *chunk + *chunks == at =>
        {
            *chunks += 1;
            *bytes += used;
        }
        _ => runs.push(Finding::Chunks { chunk: at, chunks: 1, kind: found, bytes: used }),
    }
}

fn push_hole(runs: &mut Vec<Finding>, at: u32) {
    match runs.last_mut() {
        Some(Finding::Hole { chunk, chunks }) if *chunk + *chunks == at => *chunks += 1,
        _ => runs.push(Finding::Hole { chunk: at, chunks: 1 }),
    }
}

fn name_of(kind: ChunkKind) -> &'static str {
    match kind {
        ChunkKind::TrackHeader => "track header",
        ChunkKind::Directory => "directory",
        ChunkKind::DirectoryRest => "directory rest",
        ChunkKind::Body => "body",
        ChunkKind::Items => "items",
    }
}

fn finding(bad: &Bad) -> Finding {
    Finding::Bad { chunk: bad.chunk, what: bad.fault.to_string() }
}

/// The key as text that tells all bytes apart.
fn key_text(key: &[u8]) -> String {
    let mut text = String::with_capacity(key.len());
    let hex = |text: &mut String, bytes: &[u8]| {
        bytes.iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    };
    for chunk in key.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                _ if character.is_control() => {
                    hex(&mut text, character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                _ => text.push(character),
            }
        }
        hex(&mut text, chunk.invalid());
    }
    text
}

fn record(start: u32, entry: &DirectoryEntry<'_>) -> Finding {
    let text = |key: &[u8]| Some(key_text(key));
    let place = (start + entry.spot.chunk, entry.spot.offset);
    let seq = entry.seq.to_string();
    match &entry.record {
        Record::Put(put) => Finding::Record {
            seq,
            operation: if put.space == Space::Part { "put part" } else { "put" },
            key: text(put.key),
            len: Some(put.meta.len),
            crc32c: Some(put.meta.crc),
            compressed: match put.value {
                Value::Compressed(frame) => Some((frame.bytes, frame.with_dictionary)),
                Value::Inline | Value::Segments(_) => None,
            },
            place: (put.inline_bytes() > 0).then_some(place),
            segments: match &put.value {
                Value::Segments(list) => Some(list.0.len()),
                Value::Inline | Value::Compressed(_) => None,
            },
            expires_ms: put.meta.expires_ms,
        },
        Record::Delete { space, key } => Finding::Record {
            seq,
            operation: if *space == Space::Part { "delete part" } else { "delete" },
            key: text(key),
            len: None,
            crc32c: None,
            compressed: None,
            place: None,
            segments: None,
            expires_ms: None,
        },
        Record::Segment { len, crc } => Finding::Record {
            seq,
            operation: "segment",
            key: None,
            len: Some(*len),
            crc32c: Some(*crc),
            compressed: None,
            place: Some(place),
            segments: None,
            expires_ms: None,
        },
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Header {
                track,
                store,
                disk,
                kind,
                floor,
                predecessor,
                dictionary_bytes,
                created_ms,
            } => {
                write!(
                    f,
                    "track {track} ({kind}) of store {store} on disk {disk}, floor {floor}, "
                )?;
                write!(f, "created {created_ms} ms after 1970")?;
                if let Some((track, end)) = predecessor {
                    write!(f, ", after track {track} synced to chunk {end}")?;
                }
                if *dictionary_bytes > 0 {
                    write!(f, ", with a dictionary of {dictionary_bytes} bytes")?;
                }
                Ok(())
            }
            Finding::Chain { chunk, chunks, seq, synced, .. } => {
                write!(f, "chain {seq}: chunks {chunk}..{}, synced {synced}", chunk + chunks)
            }
            Finding::Chunks { chunk, chunks, kind, bytes } => {
                write!(f, "  chunks {chunk}..{}: {kind}, {bytes} bytes", chunk + chunks)
            }
            Finding::Hole { chunk, chunks } => {
                write!(f, "  chunks {chunk}..{}: a hole", chunk + chunks)
            }
            Finding::Record {
                seq,
                operation,
                key,
                len,
                crc32c,
                compressed,
                place,
                segments,
                expires_ms,
            } => {
                write!(f, "  {operation} {seq}")?;
                key.iter().try_for_each(|key| write!(f, " \"{key}\""))?;
                len.iter().try_for_each(|len| write!(f, ", {len} bytes"))?;
                crc32c.iter().try_for_each(|crc| write!(f, ", crc {crc:08x}"))?;
                compressed.iter().try_for_each(|(bytes, with_dictionary)| {
                    let with = if *with_dictionary { " with the dictionary" } else { "" };
                    write!(f, ", compressed{with} to {bytes}")
                })?;
                place.iter().try_for_each(|(chunk, at)| write!(f, ", at chunk {chunk}+{at}"))?;
                segments.iter().try_for_each(|count| write!(f, ", in {count} segments"))?;
                expires_ms.iter().try_for_each(|ms| write!(f, ", expires {ms} ms after 1970"))
            }
            Finding::Bad { chunk, what } => write!(f, "BAD chunk {chunk}: {what}"),
            Finding::End { chunks, stray_bytes: 0 } => write!(f, "end: {chunks} chunks"),
            Finding::End { chunks, stray_bytes } => {
                write!(f, "end: {chunks} chunks, and {stray_bytes} stray bytes")
            }
        }
    }
}
