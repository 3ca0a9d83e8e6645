//! Reading chains back in the order in which they were written.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use super::report::{Damage, RecoveryReport, Torn};
use crate::error::{Error, ErrorKind, Result};
use crate::format::Seq;
use crate::format::chunk::CHUNK_BYTES;
use crate::format::track_header::TrackHeader;
use crate::track::{Bad, Chain, Scanner, TrackFile, TrackFiles};

/// A track that has chains which the index does not reflect yet.
#[derive(Debug, Clone)]
pub(super) struct Tail {
    pub(super) header: TrackHeader,
    /// Where replay begins.
    pub(super) from: u32,
    /// Chunks in the file, or where the track was cut.
    pub(super) end: u32,
    /// All chunks before this one are known to have been synced (invariant I10).
    pub(super) mark: u32,
}

/// Where a tail was found to end.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) chunk: u32,
    pub(super) torn: bool,
    pub(super) lost_chunks: u32,
}

/// Gives the chains of many tracks in the order of their seqs.
///
/// Tracks are opened when their floor comes up, so that a rebuild of thousands has few open.
pub(super) struct Replay<'a> {
    files: &'a TrackFiles,
    accept_loss: bool,
    waiting: VecDeque<Tail>,
    sources: Vec<Option<Source>>,
    heap: BinaryHeap<Reverse<(Seq, usize)>>,
    pub(super) ends: Vec<(TrackHeader, End)>,
}

struct Source {
    header: TrackHeader,
    scanner: Scanner,
    mark: u32,
    next: Option<Chain>,
    end: End,
}

impl<'a> Replay<'a> {
    pub(super) fn new(files: &'a TrackFiles, mut tails: Vec<Tail>, accept_loss: bool) -> Self {
        tails.sort_by_key(|tail| tail.header.floor);
        Replay {
            files,
            accept_loss,
            waiting: tails.into(),
            sources: Vec::new(),
            heap: BinaryHeap::new(),
            ends: Vec::new(),
        }
    }

    /// The next chain, with its track.
    pub(super) fn next(
        &mut self,
        report: &mut RecoveryReport,
    ) -> Result<Option<(TrackHeader, Chain)>> {
        self.open_sources(report)?;
        let Some(Reverse((_, at))) = self.heap.pop() else { return Ok(None) };
        let source = self.sources[at].as_mut().expect("it is in the heap");
        let chain = source.next.take().expect("it is in the heap");
        let header = source.header.clone();
        self.advance(at, report)?;
        Ok(Some((header, chain)))
    }

    /// Opens the tracks whose chains may come before all that are open.
    fn open_sources(&mut self, report: &mut RecoveryReport) -> Result<()> {
        while let Some(tail) = self.waiting.front() {
            let open_before = self.heap.peek().map(|Reverse((seq, _))| *seq);
            if open_before.is_some_and(|seq| seq < tail.header.floor) {
                break;
            }
            let tail = self.waiting.pop_front().expect("there is a front");
            let track = self.files.get(tail.header.track)?;
            let scanner = Scanner::new(track, tail.from, tail.end);
            let end = End { chunk: tail.end, torn: false, lost_chunks: 0 };
            let source = Source { header: tail.header, scanner, mark: tail.mark, next: None, end };
            self.sources.push(Some(source));
            self.advance(self.sources.len() - 1, report)?;
        }
        Ok(())
    }

    fn advance(&mut self, at: usize, report: &mut RecoveryReport) -> Result<()> {
        let source = self.sources[at].as_mut().expect("it is open");
        source.next = source.pull(self.accept_loss, report)?;
        match &source.next {
            Some(chain) => self.heap.push(Reverse((chain.head.seq, at))),
            None => {
                let source = self.sources[at].take().expect("it was open");
                self.ends.push((source.header, source.end));
            }
        }
        Ok(())
    }
}

impl Source {
    /// The track's next chain; `None` where it ends, whole or torn.
    ///
    /// Invariant I10: a bad chunk behind a mark, or that a later directory vouches for, is damage
    /// to acknowledged data; one beyond every mark is the torn tail.
    fn pull(&mut self, accept_loss: bool, report: &mut RecoveryReport) -> Result<Option<Chain>> {
        loop {
            let start = self.scanner.at();
            // Beyond the marks a chain counts only if all of it is there, bodies too.
            let unsynced = start >= self.mark;
            let bad = match self.scanner.next_chain(unsynced)? {
                None => return Ok(None),
                Some(Ok(chain)) if chain.bad.is_empty() => return Ok(Some(chain)),
                Some(Ok(mut chain)) => {
                    let first = chain.bad[0].clone();
                    if !self.was_synced(chain.head.end(), first.chunk)? {
                        return self.tear(start, &first);
                    }
                    // Owned values may have been punched out since; where one is rotten, reading
                    // it says so.
                    let head_end = start + chain.head.head_chunks;
                    chain.bad.retain(|bad| bad.chunk < head_end);
                    if let Some(bad) = chain.bad.first() {
                        self.damaged(bad, chain.bad.len() as u32, accept_loss, report)?;
                    }
                    return Ok(Some(chain));
                }
                Some(Err(bad)) => bad,
            };
            if !self.was_synced(start + 1, bad.chunk)? {
                return self.tear(start, &bad);
            }
            if let Some(chain) = self.scanner.next_damaged(&bad)? {
                self.damaged(&bad, chain.bad.len() as u32, accept_loss, report)?;
                return Ok(Some(chain));
            }
            self.scanner.skip_to_chain(start + 1)?;
            let lost = self.scanner.at() - start;
            self.damaged(&bad, lost, accept_loss, report)?;
            self.end.lost_chunks += lost;
        }
    }

    fn was_synced(&mut self, from: u32, chunk: u32) -> Result<bool> {
        Ok(chunk < self.mark || self.scanner.witness_beyond(from, chunk)?)
    }

    fn tear(&mut self, start: u32, bad: &Bad) -> Result<Option<Chain>> {
        if self.scanner.is_blank(start)? {
            self.end.chunk = start;
            return Ok(None);
        }
        tracing::info!(track = %self.header.track, chunk = bad.chunk, fault = %bad.fault, "torn end");
        self.end = End { chunk: start, torn: true, ..self.end };
        Ok(None)
    }

    fn damaged(
        &self,
        bad: &Bad,
        chunks: u32,
        accept_loss: bool,
        report: &mut RecoveryReport,
    ) -> Result<()> {
        let track: &Arc<TrackFile> = self.scanner.track();
        let damage = Damage {
            track: track.id,
            chunk: bad.chunk,
            chunks,
            what: format!(
                "{}; what was acknowledged here is lost, and puts as well as overwrites and \
                 deletes may be hidden",
                bad.fault
            ),
        };
        tracing::error!(path = %track.path.display(), %damage, "damage");
        if !accept_loss {
            let what = format!("{damage}; `accept_loss` (--accept-loss) opens without it");
            return Err(Error::new(ErrorKind::Damaged, what).with_path(&track.path));
        }
        report.damage.push(damage);
        Ok(())
    }
}

/// Cuts off what lies behind the end, so that the file is as long as the track for ever after. The length that
/// is found may be but what a killed process has left, and be more after a power cut, so it is synced as well.
pub(super) fn cut_off(track: &TrackFile, end: u32) -> Result<Option<Torn>> {
    let len = u64::from(end) * CHUNK_BYTES as u64;
    let there = track.len()?;
    if there <= len {
        track.file.sync_data().map_err(|e| track.io_error("sync the track", e))?;
        return Ok(None);
    }
    if track.is_linked()? {
        // Whatever is read as torn here is so in the backup, too, and may not be lost to both.
        let what = "the end of the track is torn, but its file is also a backup's, which can't be \
                    cut; put a copy of the file in its place";
        return Err(Error::new(ErrorKind::Damaged, what).with_path(&track.path));
    }
    track
        .file
        .set_len(len)
        .and_then(|()| track.file.sync_data())
        .map_err(|e| track.io_error("cut the torn end off", e))?;
    step!("open.torn-cut");
    Ok(Some(Torn { track: track.id, chunk: end, bytes: there - len }))
}
