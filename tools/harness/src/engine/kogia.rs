//! Kogia, through its public interface.

use std::io::{ErrorKind as IoKind, Write};
use std::path::PathBuf;
use std::time::Duration;

use ::kogia::{
    BackupOptions, Batch, CompactOptions, Condition, Create, DeleteOptions, Error, ErrorKind,
    Options, PartId, PutOptions, VerifyOptions,
};

use super::{Capability, Clock, Engine, Failure, Place, Promises, Result, Setup, Store};
use crate::operation::{Durability, How, When};

const NEVER: Duration = Duration::from_secs(24 * 3600);
/// A stream is written in pieces of this size, so that pieces and segments don't meet.
const PIECE_BYTES: usize = 20_000;

/// Kogia, in the settings of [`Setup`].
pub struct Kogia;

/// An open store, and what the calls on it need to know.
struct Open {
    store: ::kogia::Store,
    clock: Clock,
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

    fn has(&self, _capability: Capability) -> bool {
        true
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
        clock: place.clock.clone(),
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

    fn put_part(&self, value: &[u8]) -> Result<()> {
        let mut part = self.store.part()?;
        write_pieces(&mut part, value)?;
        part.finish()?;
        Ok(())
    }

    fn parts(&self) -> Result<Vec<(u64, u32)>> {
        Ok(self.store.parts()?.iter().map(|part| (part.len, part.crc32c)).collect())
    }

    fn assemble(&self, key: &str, parts: &[u32], durability: Durability) -> Result<()> {
        let there = self.store.parts()?;
        let id = |crc: &u32| there.iter().find(|part| part.crc32c == *crc).map(|part| part.id);
        let ids: Option<Vec<PartId>> = parts.iter().map(id).collect();
        let options = PutOptions { durability: Some(level(durability)), ..PutOptions::default() };
        self.store.assemble(key, &ids.ok_or(Failure::Refused)?, &options)?;
        Ok(())
    }

    fn checkpoint(&self) -> Result<()> {
        Ok(self.store.checkpoint()?)
    }

    fn compact(&self) -> Result<()> {
        let everything = CompactOptions { min_garbage: Some(0.0), ..CompactOptions::default() };
        self.store.compact(&everything)?;
        Ok(())
    }

    fn drain(&self) -> Result<()> {
        let disks = self.store.stats()?.disks;
        if disks.len() == 1 {
            return Err(Failure::Unsupported);
        }
        self.store.drain_disk(disks[0].id, &CompactOptions::default())?;
        Ok(())
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
        Ok(report.problems.iter().map(ToString::to_string).collect())
    }

    fn damage(&self) -> Vec<String> {
        self.store.recovery().damage.iter().map(ToString::to_string).collect()
    }
}

fn level(durability: Durability) -> ::kogia::Durability {
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
