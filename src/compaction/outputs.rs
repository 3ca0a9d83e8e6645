//! The tracks that a compaction writes: one open for each disk and shard.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::copies::Copies;
use crate::compression::Dictionary;
use crate::disk::{CopiedChain, Output, Proposal, Volume};
use crate::error::{Error, Result};
use crate::format::chain::{Layout, MAX_CHUNKS};
use crate::format::{DiskId, Seq, TrackId};
use crate::store::{Encoder, Shared};

/// The open outputs of one compaction.
#[derive(Default)]
pub(super) struct Outputs {
    open: BTreeMap<(DiskId, u8), Output>,
    /// Those that are full; sealed when the index knows all that is in them.
    full: Vec<Output>,
    /// Whether small tracks are being gathered in them.
    pub(super) gathers: bool,
    /// What was copied since room was last given back.
    pub(super) debt: Debt,
}

/// Copies whose originals still take room.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Debt {
    pub(super) bytes: u64,
    /// The index batch of the last swap among them.
    pub(super) batch: u64,
}

impl Outputs {
    /// Appends a chain of copies for a shard. `floor` is a seq as of which all of them were known
    /// to be live; from values that are `alike` a new track's dictionary is trained.
    pub(super) fn append<'c>(
        &mut self,
        shared: &Shared,
        volume: &Arc<Volume>,
        shard: u8,
        floor: Seq,
        copies: &Copies,
        alike: impl FnOnce() -> Vec<&'c [u8]>,
    ) -> Result<CopiedChain> {
        let key = (volume.disk.id, shard);
        if let Some(output) = self.open.get_mut(&key) {
            let (proposal, layout) = lay_out(shared, output.dictionary(), copies)?;
            if output.has_room(layout.chunks) {
                return output.append(proposal, layout);
            }
        }
        self.full.extend(self.open.remove(&key));
        let dictionary = shared.compressor.train(&alike()).map(Arc::new);
        let before = shared.unvouched(volume.disk.id);
        let (proposal, layout) = lay_out(shared, dictionary.as_ref(), copies)?;
        let output = Output::create(volume, shard, floor, before, dictionary)?;
        self.open.entry(key).or_insert(output).append(proposal, layout)
    }

    /// Makes everything that was appended durable.
    pub(super) fn sync(&mut self) -> Result<()> {
        self.all().try_for_each(Output::sync)
    }

    /// Gives back what file systems have allocated in advance.
    pub(super) fn trim(&mut self) {
        self.all().for_each(Output::trim);
    }

    /// The output that is this track.
    pub(super) fn of(&mut self, track: TrackId) -> Option<&mut Output> {
        self.all().find(|output| output.track() == track)
    }

    /// Seals the full outputs: the index knows all that is in them.
    pub(super) fn seal_full(&mut self, shared: &Shared) -> Result<()> {
        // Each of them, whatever becomes of the others; the first error counts.
        let outcomes =
            std::mem::take(&mut self.full).into_iter().map(|output| seal(shared, &output));
        outcomes.fold(Ok(()), Result::and)
    }

    /// Seals the open outputs that are worth a pass: those that are open are neither compacted nor
    /// refilled, and what was copied dies as well.
    pub(super) fn seal_worn(
        &mut self,
        shared: &Shared,
        is_worn: impl Fn(TrackId) -> bool,
    ) -> Result<()> {
        for (key, output) in std::mem::take(&mut self.open) {
            if is_worn(output.track()) {
                self.full.push(output);
            } else {
                self.open.insert(key, output);
            }
        }
        self.seal_full(shared)
    }

    /// Seals all outputs where the index knows them to end: what lies behind was not swapped.
    pub(super) fn seal(&mut self, shared: &Shared) -> Result<()> {
        let open = std::mem::take(&mut self.open);
        self.full.extend(open.into_values());
        self.seal_full(shared)
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Output> {
        self.open.values_mut().chain(&mut self.full)
    }
}

/// The copies as they are laid down in a track with this dictionary.
fn lay_out(
    shared: &Shared,
    dictionary: Option<&Arc<Dictionary>>,
    copies: &Copies,
) -> Result<(Proposal, Layout)> {
    let compresses = shared.options.compression.is_some();
    let encoder = Encoder::new(&shared.compressor, compresses, dictionary.cloned());
    let proposal = copies.propose(&encoder).map_err(|fault| shared.index.fault(fault))?;
    let layout = proposal.layout();
    if layout.chunks > MAX_CHUNKS {
        return Err(Error::invalid("a record of more than 1 GiB"));
    }
    Ok((proposal, layout))
}

fn seal(shared: &Shared, output: &Output) -> Result<()> {
    output.cut()?;
    step!("output.cut");
    let (track, end) = (output.track(), output.applied());
    shared.change(&mut shared.books(), |join| {
        if let Some(row) = join.track(track) {
            row.sealed = Some(end);
        }
        Ok(())
    })?;
    shared.files.seal(track, end);
    step!("output.sealed");
    Ok(())
}

impl Shared {
    /// A sealed output of the disk that no later track's header vouches for (invariant I10).
    fn unvouched(&self, disk: DiskId) -> Option<(TrackId, u32)> {
        let meta = self.ledger.get();
        let outputs = meta.disks.into_iter().find(|state| state.id == disk)?.outputs;
        let books = self.books();
        let end = |id: TrackId| Some((id, books.tracks.get(&id)?.sealed?));
        outputs.into_iter().find_map(|(id, _)| end(id))
    }
}
