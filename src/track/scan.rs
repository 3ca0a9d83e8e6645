//! Walking a track from chain to chain, as recovery, rebuild, verify and dump do.

use std::sync::Arc;

use super::TrackFile;
use crate::error::Result;
use crate::format::chain::{ChainPlace, Directory};
use crate::format::chunk::{self, CHUNK_BYTES, ChunkHeader, ChunkKind};
use crate::format::{Fault, Seq};

/// Chunks read at once: 256 KiB.
const WINDOW_CHUNKS: u32 = 64;

/// A chunk that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bad {
    pub(crate) chunk: u32,
    pub(crate) fault: Fault,
}

/// A chain's extent, from its first chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChainHead {
    pub(crate) start: u32,
    pub(crate) chunks: u32,
    /// Chunks of the directory and the packed values.
    pub(crate) head_chunks: u32,
    pub(crate) seq: Seq,
    /// Chunk up to which the track had been synced when the chain was framed.
    pub(crate) synced: u32,
}

/// A chain, as far as it can be read.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) head: ChainHead,
    pub(crate) directories: Vec<Directory<'static>>,
    /// Chunks that do not verify: of the directory and packed values always, of the owned values
    /// where the scanner was asked to look.
    pub(crate) bad: Vec<Bad>,
}

impl ChainHead {
    /// As the chain's first directory chunk says.
    fn of(start: u32, seq: Seq, directory: &Directory<'_>) -> Self {
        ChainHead {
            start,
            chunks: directory.chunks,
            head_chunks: directory.head_chunks(),
            seq,
            synced: directory.synced,
        }
    }

    pub(crate) fn end(&self) -> u32 {
        self.start + self.chunks
    }
}

/// Walks a track's chains.
#[derive(Debug)]
pub(crate) struct Scanner {
    track: Arc<TrackFile>,
    at: u32,
    end: u32,
    window: Vec<u8>,
    window_start: u32,
}

impl Scanner {
    /// A scanner of the chunks from `at` to `end`.
    pub(crate) fn new(track: Arc<TrackFile>, at: u32, end: u32) -> Self {
        Scanner { track, at, end, window: Vec::new(), window_start: 0 }
    }

    /// Where the next chain should begin.
    pub(crate) fn at(&self) -> u32 {
        self.at
    }

    pub(crate) fn track(&self) -> &Arc<TrackFile> {
        &self.track
    }

    /// The next chain, or the chunk where one should begin and does not; `None` at the end. Moves
    /// on only past a chain. With `bodies`, owned values are verified, too.
    pub(crate) fn next_chain(&mut self, bodies: bool) -> Result<Option<Result<Chain, Bad>>> {
        if self.at >= self.end {
            return Ok(None);
        }
        let start = self.at;
        let (head, first) = match self.read_head(start)? {
            Ok(head) => head,
            Err(fault) => return Ok(Some(Err(Bad { chunk: start, fault }))),
        };
        let mut chain = Chain { head, directories: vec![first], bad: Vec::new() };
        self.read_directory(&mut chain, 1)?;
        let checked_to = if bodies { head.chunks } else { head.head_chunks };
        for index in chain.directories[0].directory_chunks..checked_to {
            if let Err(fault) = self.open_in_chain(&head, index)? {
                chain.bad.push(Bad { chunk: head.start + index, fault });
            }
        }
        self.at = head.end();
        Ok(Some(Ok(chain)))
    }

    /// The damaged chain that begins at `start`, as far as its directory tells of it: without the
    /// first chunks, or running past the track's end. `None` where nothing tells. Moves on only past
    /// a chain.
    pub(crate) fn next_damaged(&mut self, bad: &Bad) -> Result<Option<Chain>> {
        let start = bad.chunk;
        let Some((mut head, directory)) = self.read_later_head(start)? else { return Ok(None) };
        let index = directory.index;
        let before = (start..start + index).map(|chunk| Bad { chunk, fault: bad.fault.clone() });
        let mut chain = Chain { head, directories: vec![directory], bad: before.collect() };
        self.read_directory(&mut chain, index + 1)?;
        if index > 0 {
            let last = chain.directories.last().expect("there is one");
            head.head_chunks = last.packed_end().unwrap_or(head.chunks);
        }
        let missing = Fault::Invalid { what: "track", why: "it ends before its chain".into() };
        let missing = |chunk| Bad { chunk, fault: missing.clone() };
        chain.bad.extend((self.end..head.end()).map(missing));
        chain.bad.dedup_by_key(|bad| bad.chunk);
        chain.head = head;
        self.at = head.end();
        Ok(Some(chain))
    }

    /// The first directory chunk that can be read of the chain that begins at `start`.
    fn read_later_head(&mut self, start: u32) -> Result<Option<(ChainHead, Directory<'static>)>> {
        for at in start..self.end {
            let Ok((header, payload)) = self.open(at)? else { continue };
            if header.first != (at == start) || header.kind == ChunkKind::Body {
                break;
            }
            let Ok(directory) = Directory::decode(payload) else { continue };
            if header.kind == ChunkKind::Directory && directory.index == at - start {
                let head = ChainHead::of(start, header.seq, &directory);
                return Ok(Some((head, directory.into_owned())));
            }
        }
        Ok(None)
    }

    /// Moves on to the next chunk at or behind `from` that begins a chain.
    pub(crate) fn skip_to_chain(&mut self, from: u32) -> Result<()> {
        self.at = from;
        while self.at < self.end && self.read_head(self.at)?.is_err() {
            self.at += 1;
        }
        Ok(())
    }

    /// Whether a directory at or behind `from` says that the track was synced beyond `chunk`.
    pub(crate) fn witness_beyond(&mut self, from: u32, chunk: u32) -> Result<bool> {
        for at in from..self.end {
            if let Ok((header, payload)) = self.open(at)?
                && header.kind == ChunkKind::Directory
                && Directory::decode(payload).is_ok_and(|directory| directory.synced > chunk)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether all chunks from `from` on are blank: the file has grown ahead of what was appended.
    pub(crate) fn is_blank(&mut self, from: u32) -> Result<bool> {
        for at in from..self.end {
            if self.open(at)? != Err(Fault::Hole) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Opens the chunk `at` of the track.
    pub(crate) fn open(&mut self, at: u32) -> Result<Result<(ChunkHeader, &[u8]), Fault>> {
        let held = (self.window.len() / CHUNK_BYTES) as u32;
        if !(self.window_start..self.window_start + held).contains(&at) {
            let chunks = WINDOW_CHUNKS.min(self.end.saturating_sub(at)).max(1);
            self.window.resize(chunks as usize * CHUNK_BYTES, 0);
            self.window_start = at;
            if let Err(e) = self.track.read_chunks(at, &mut self.window) {
                self.window.clear();
                if e.kind() == std::io::ErrorKind::UnexpectedEof {
                    let fault = Fault::Short { what: "track", needed: CHUNK_BYTES, found: 0 };
                    return Ok(Err(fault));
                }
                return Err(self.track.io_error("read the track", e));
            }
        }
        let start = (at - self.window_start) as usize * CHUNK_BYTES;
        Ok(chunk::open(&self.window[start..start + CHUNK_BYTES], self.track.place(at)))
    }

    fn read_head(&mut self, start: u32) -> Result<Result<(ChainHead, Directory<'static>), Fault>> {
        let end = self.end;
        let (header, payload) = match self.open(start)? {
            Ok(opened) => opened,
            Err(fault) => return Ok(Err(fault)),
        };
        if header.kind != ChunkKind::Directory || !header.first {
            return Ok(Err(Fault::Invalid { what: "chain", why: "it does not begin here".into() }));
        }
        Ok(Directory::decode(payload).and_then(|directory| {
            let head = ChainHead::of(start, header.seq, &directory);
            if directory.index != 0 || u64::from(start) + u64::from(head.chunks) > end.into() {
                let why = format!("{} chunks run past the track's end", head.chunks);
                return Err(Fault::Invalid { what: "chain", why });
            }
            Ok((head, directory.into_owned()))
        }))
    }

    /// Reads the directory from chunk `from` of the chain on; what is bad costs only the keys in it.
    fn read_directory(&mut self, chain: &mut Chain, from: u32) -> Result<()> {
        let head = chain.head;
        let mut rest = chain.directories[0].rest_chunks();
        for index in from..chain.directories[0].directory_chunks {
            let opened = self.open_in_chain(&head, index)?;
            let wanted = if rest > 0 { ChunkKind::DirectoryRest } else { ChunkKind::Directory };
            let taken = opened.and_then(|(header, payload)| {
                if header.kind != wanted {
                    let why = format!("{:?} where {wanted:?} is expected", header.kind);
                    return Err(Fault::Invalid { what: "chunk", why });
                }
                if rest > 0 {
                    rest -= 1;
                    let last = chain.directories.last_mut().expect("there is a first");
                    last.push_rest(payload);
                    return Ok(());
                }
                let directory = Directory::decode(payload)?.into_owned();
                rest = directory.rest_chunks();
                chain.directories.push(directory);
                Ok(())
            });
            if let Err(fault) = taken {
                chain.bad.push(Bad { chunk: head.start + index, fault });
                rest = rest.saturating_sub(1);
            }
        }
        Ok(())
    }

    /// Opens the chain's chunk `index`, and checks that it is this chain's.
    fn open_in_chain(
        &mut self,
        head: &ChainHead,
        index: u32,
    ) -> Result<Result<(ChunkHeader, &[u8]), Fault>> {
        let place =
            ChainPlace { start: self.track.place(head.start), seq: head.seq, synced: head.synced };
        Ok(self.open(head.start + index)?.and_then(|(header, payload)| {
            let expected = place.header(index, head.chunks, header.used, header.kind);
            if header == expected {
                return Ok((header, payload));
            }
            let why = format!("it is not number {index} of chain {}", head.seq);
            Err(Fault::Invalid { what: "chunk", why })
        }))
    }
}
