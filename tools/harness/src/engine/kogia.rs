//! Kogia, through its public interface.

use std::collections::HashMap;
use std::io::{ErrorKind as IoKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::kogia::format::chunk::CHUNK_BYTES;
use ::kogia::io::{Io, OpenMode, RealIo};
use ::kogia::{
    BackupOptions, Batch, CompactOptions, Condition, Create, DeleteOptions, Error, ErrorKind,
    Options, PartId, PutOptions, TrackStats, VerifyOptions,
};

use super::{Capability, Clock, Engine, Failure, Place, Promises, Result, Setup, Store};
use crate::operation::{Durability, How, Print, Upload, When};
use crate::points;

pub(super) const NEVER: Duration = Duration::from_secs(24 * 3600);
/// A stream is written in pieces of this size, so that pieces and segments don't meet.
const PIECE_BYTES: usize = 20_000;
/// Where what is copied is parted by key.
const SHARDS: u8 = 3;

/// Kogia, in the settings of [`Setup`].
pub struct Kogia;

/// An open store, and what the calls on it need to know.
struct Open {
    store: ::kogia::Store,
    io: Arc<dyn Io>,
    clock: Clock,
    disks: Vec<PathBuf>,
    backup: PathBuf,
    backup_index: Option<PathBuf>,
}

impl Engine for Kogia {
    fn name(&self) -> &'static str {
        "kogia"
    }

    fn about(&self) -> &'static str {
        "this project's own store"
    }

    fn promises(&self) -> Promises {
        Promises { loses_suffixes: true, failed_is_gone: true, survives_errors: true }
    }

    fn has(&self, capability: Capability) -> bool {
        use Capability as C;
        let of_servers = [C::Abort, C::Append, C::AtOnce, C::Copy, C::Locks, C::Move, C::Suspend];
        !of_servers.contains(&capability) && !matches!(capability, C::Queue | C::Versions)
    }

    fn open(&self, place: &Place, setup: &Setup) -> Result<Box<dyn Store>> {
        opened(options(place, setup).open(&place.home)?, place)
    }

    fn rebuild(&self, place: &Place, setup: &Setup) -> Result<Box<dyn Store>> {
        opened(options(place, setup).rebuild(&place.home)?, place)
    }

    fn open_damaged(&self, place: &Place, setup: &Setup) -> Result<Box<dyn Store>> {
        opened(options(place, setup).accept_loss(true).open(&place.home)?, place)
    }

    fn open_backup(&self, place: &Place, setup: &Setup) -> Result<Option<Box<dyn Store>>> {
        let there = Place {
            home: place.backup.clone(),
            disks: Vec::new(),
            index: place.backup_index.clone(),
            ..place.clone()
        };
        match options(&there, setup).create(Create::Never).open(&there.home) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            store => opened(store?, place).map(Some),
        }
    }
}

fn opened(store: ::kogia::Store, place: &Place) -> Result<Box<dyn Store>> {
    Ok(Box::new(Open {
        store,
        io: place.io.clone().unwrap_or_else(|| Arc::new(RealIo)),
        clock: place.clock.clone(),
        disks: place.disks.clone(),
        backup: place.backup.clone(),
        backup_index: place.backup_index.clone(),
    }))
}

/// Small buffers and segments, and nothing that happens by the clock or in a thread of its own: a
/// recorded run is to be the same when it is run again.
fn options(place: &Place, setup: &Setup) -> Options {
    let clock = place.clock.clone();
    let mut options = Options::new()
        .clock(move || clock.now_ms())
        .memory_bytes(16 << 20)
        .track_bytes(setup.file_bytes)
        .segment_bytes(32 << 10)
        .reserve_bytes(64 << 10)
        .punch(setup.punch)
        .refill(setup.refill)
        .compaction(false)
        .part_max_age(None)
        .sync_interval(NEVER)
        .checkpoint_interval(NEVER);
    if setup.shards {
        options = options.shard(|key, _, _| key.last().map_or(0, |byte| byte % SHARDS));
    }
    if let Some(io) = &place.io {
        // A simulated map goes on showing what was there before a refill.
        options = options.io(io.clone()).map_tracks(false);
    }
    if let Some(index) = &place.index {
        options = options.index_dir(index);
    }
    place.disks.iter().fold(options, |options, disk| options.disk(disk))
}

impl Open {
    fn put_options(&self, how: &How) -> PutOptions {
        PutOptions {
            durability: Some(level(how.durability)),
            condition: match how.when {
                When::Always => Condition::Always,
                When::IfAbsent => Condition::IfAbsent,
                When::IfPresent => Condition::IfPresent,
            },
            expires_ms: how.expires_in_ms.map(|ms| self.clock.now_ms() + ms),
            ..PutOptions::default()
        }
    }

    /// The parts of such checksums; refused where one of them is not there.
    fn part_ids(&self, parts: &[u32]) -> Result<Vec<PartId>> {
        let there = self.store.parts()?;
        let id = |crc: &u32| there.iter().find(|part| part.crc32c == *crc).map(|part| part.id);
        parts.iter().map(id).collect::<Option<_>>().ok_or(Failure::Refused)
    }

    /// No stream is written while somebody looks: what is live belongs to an object or a part.
    fn leak(&self) -> Result<Option<String>> {
        let stats = self.store.stats()?;
        let parts = self.store.parts()?;
        let named = stats.object_bytes + parts.iter().map(|part| part.len).sum::<u64>();
        let live = stats.total().live_bytes;
        let words = || format!("{live} bytes live, and objects and parts have {named}");
        Ok((live != named).then(words))
    }

    /// Nothing lies on the disks behind the ends of tracks, or in tracks that are gone.
    fn excess(&self) -> Result<Option<String>> {
        let stats = self.store.stats()?;
        let known_tracks: HashMap<_, _> = self
            .store
            .tracks()?
            .into_iter()
            .map(|track| (track.track.file_name(), track))
            .collect();
        let mut there = 0;
        for disk in &stats.disks {
            let bytes = bytes_of_tracks(&*self.io, &disk.path, &known_tracks);
            there += bytes.map_err(|e| Failure::Failed(e.to_string()))?;
        }
        let known = stats.total().file_bytes;
        let words = || format!("the tracks' files have {there} bytes, and {known} by the index");
        Ok((there > known).then(words))
    }
}

impl Store for Open {
    fn put(&self, key: &str, value: &[u8], how: &How) -> Result<()> {
        self.store.put_with(key, value, &self.put_options(how))?;
        Ok(())
    }

    fn delete(&self, key: &str, durability: Durability) -> Result<bool> {
        let durability = Some(level(durability));
        Ok(self.store.delete_with(key, &DeleteOptions { durability, ..Default::default() })?)
    }

    fn batch(&self, steps: &[(String, Option<Vec<u8>>)], durability: Durability) -> Result<()> {
        let mut batch = Batch::new();
        for (key, value) in steps {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            };
        }
        self.store.write_with(batch, level(durability))?;
        Ok(())
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.store.get(key)?)
    }

    fn keys(&self) -> Result<Vec<String>> {
        let key = |item: ::kogia::Result<(Vec<u8>, _)>| {
            Ok(String::from_utf8_lossy(&item?.0).into_owned())
        };
        self.store.iter(..).map(key).collect()
    }

    fn sync(&self) -> Result<()> {
        Ok(self.store.sync()?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.store.close()?)
    }

    fn stream(&self, key: &str, value: &[u8], how: &How) -> Result<()> {
        let mut writer = self.store.writer_with(key, self.put_options(how))?;
        write_pieces(&mut writer, value)?;
        writer.commit()?;
        Ok(())
    }

    fn abandon(&self, key: &str, value: &[u8]) -> Result<()> {
        write_pieces(&mut self.store.writer(key)?, value)
    }

    fn put_part(&self, _upload: &Upload, value: &[u8]) -> Result<()> {
        let mut part = self.store.part()?;
        write_pieces(&mut part, value)?;
        part.finish()?;
        Ok(())
    }

    fn parts(&self) -> Result<Vec<(u64, u32)>> {
        Ok(self.store.parts()?.iter().map(|part| (part.len, part.crc32c)).collect())
    }

    fn assemble(&self, upload: &Upload, parts: &[u32], durability: Durability) -> Result<()> {
        let options = PutOptions { durability: Some(level(durability)), ..PutOptions::default() };
        self.store.assemble(&upload.key, &self.part_ids(parts)?, &options)?;
        Ok(())
    }

    fn extend(
        &self,
        upload: &Upload,
        before: Print,
        parts: &[u32],
        durability: Durability,
    ) -> Result<()> {
        let info = self.store.head(&upload.key)?.ok_or(Failure::Refused)?;
        if self.get(&upload.key)?.is_none_or(|bytes| Print::of(&bytes) != before) {
            return Err(Failure::Refused);
        }
        let options = PutOptions { durability: Some(level(durability)), ..PutOptions::default() };
        let extended =
            self.store.extend(&upload.key, info.seq, &self.part_ids(parts)?, &options)?;
        extended.map(drop).ok_or(Failure::Refused)
    }

    fn checkpoint(&self) -> Result<()> {
        Ok(self.store.checkpoint()?)
    }

    fn compact(&self) -> Result<()> {
        let everything = CompactOptions { min_garbage: Some(0.0), ..CompactOptions::default() };
        self.store.compact(&everything)?;
        Ok(())
    }

    fn compact_newest(&self) -> Result<()> {
        let newest = self.store.tracks()?.iter().map(|stats| stats.track).max();
        let tracks = Some(Vec::from_iter(newest));
        self.store.compact(&CompactOptions { tracks, ..CompactOptions::default() })?;
        Ok(())
    }

    fn compact_slice(&self) -> Result<()> {
        self.store.compact(&CompactOptions {
            min_garbage: Some(0.0),
            on_progress: Some(Box::new(|report| report.copied_bytes == 0)),
            ..CompactOptions::default()
        })?;
        Ok(())
    }

    fn compact_under(&self, write: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        // What goes there was read, and gets its chain's seq behind this.
        const BEFORE_COPIES: &str = "output.known";
        let mut written = Ok(());
        // What was written is, whatever becomes of the compaction.
        let _ = points::interrupt(BEFORE_COPIES, || self.compact(), || written = write());
        written
    }

    fn put_under_reader(&self, key: &str, value: &[u8]) -> Result<[Result<Option<Vec<u8>>>; 2]> {
        let snapshot = self.store.snapshot()?;
        let look = || snapshot.get(key).map_err(Failure::from);
        let before = look();
        self.put(key, value, &How::SYNC)?;
        // It was put, whatever becomes of the checkpoint.
        let _ = self.store.checkpoint();
        Ok([before, look()])
    }

    fn drain(&self) -> Result<bool> {
        let disks = self.store.stats()?.disks;
        if disks.len() > 1 {
            self.store.drain_disk(disks[0].id, &CompactOptions::default())?;
        }
        Ok(disks.len() > 1)
    }

    fn add_disks(&self) -> Result<bool> {
        let there = self.store.stats()?.disks;
        let drained = self.disks.iter().filter(|dir| there.iter().all(|disk| disk.path != **dir));
        let added: Vec<_> =
            drained.map(|dir| self.store.add_disk(dir)).collect::<::kogia::Result<_>>()?;
        Ok(!added.is_empty())
    }

    fn rebalance(&self) -> Result<bool> {
        Ok(self.store.rebalance(&CompactOptions::default())?.tracks > 0)
    }

    fn expire(&self) -> Result<()> {
        self.store.expire()?;
        Ok(())
    }

    fn backup(&self) -> Result<()> {
        let index_dir = self.backup_index.clone();
        self.store.backup(&self.backup, &BackupOptions { index_dir, ..Default::default() })?;
        Ok(())
    }

    fn verify(&self) -> Result<Vec<String>> {
        let report = self.store.verify(&VerifyOptions::default())?;
        let problems = report.problems.iter().map(ToString::to_string);
        Ok(problems.chain(self.leak()?).chain(self.excess()?).collect())
    }

    fn damage(&self) -> Vec<String> {
        self.store.recovery().damage.iter().map(ToString::to_string).collect()
    }
}

/// Bytes of all tracks on a disk, but for one that the index does not know and that has nothing but its
/// header: an active track is told to the index with its first chain, for which a full disk may have had
/// no room.
///
/// What has grown ahead of its chains is active, and has not grown far.
fn bytes_of_tracks(
    io: &dyn Io,
    disk: &Path,
    known: &HashMap<String, TrackStats>,
) -> std::io::Result<u64> {
    const BLANK_BYTES: u64 = 256 << 10;
    let (mut bytes, mut has_empty) = (0, false);
    for name in io.list(disk)? {
        let folder = disk.join(name);
        let files = match io.list(&folder) {
            Err(e) if e.kind() == IoKind::NotADirectory => continue,
            files => files?,
        };
        for file in files.iter().filter(|name| name.ends_with(".track")) {
            match io.open(&folder.join(file), OpenMode::Read) {
                // A dead track goes when it likes.
                Err(e) if e.kind() == IoKind::NotFound => {}
                opened => {
                    let len = opened?.len()?;
                    let track = known.get(file);
                    let is_empty = len == CHUNK_BYTES as u64 && track.is_none();
                    if !is_empty || std::mem::replace(&mut has_empty, true) {
                        let ahead = track.filter(|track| !track.sealed);
                        let ahead = ahead.map_or(0, |track| len.saturating_sub(track.file_bytes));
                        bytes += if ahead <= BLANK_BYTES { len - ahead } else { len };
                    }
                }
            }
        }
    }
    Ok(bytes)
}

pub(super) fn level(durability: Durability) -> ::kogia::Durability {
    match durability {
        Durability::Sync => ::kogia::Durability::Sync,
        Durability::Os => ::kogia::Durability::Os,
    }
}

fn write_pieces(writer: &mut impl Write, value: &[u8]) -> Result<()> {
    value.chunks(PIECE_BYTES).try_for_each(|piece| writer.write_all(piece)).map_err(of_io)
}

/// A stream gives the store's own error, wrapped.
fn of_io(error: std::io::Error) -> Failure {
    match error.downcast::<Error>() {
        Ok(error) => error.into(),
        Err(error) if error.kind() == IoKind::StorageFull => Failure::Full(error.to_string()),
        Err(error) => Failure::Failed(error.to_string()),
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::Condition => Failure::Refused,
            ErrorKind::Full => Failure::Full(error.to_string()),
            ErrorKind::Corruption | ErrorKind::Damaged => Failure::Damaged(error.to_string()),
            _ => Failure::Failed(error.to_string()),
        }
    }
}
