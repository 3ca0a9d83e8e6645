//! The crash harness with other engines beside Kogia.
//!
//! Each engine is used as its own documentation says for writes that are to survive a power cut; the
//! module of each says how. Nobody else builds this package.

mod files;
mod fjall;
mod marble;
mod place;
mod redb;
mod rocksdb;
mod sled;

use std::process::ExitCode;

use kogia_crash::engine::kogia::Kogia;

fn main() -> ExitCode {
    kogia_crash::main(&[
        &Kogia,
        &rocksdb::RocksDb,
        &redb::Redb,
        &fjall::Fjall,
        &sled::Sled,
        &marble::Marble,
        &files::PlainFiles,
    ])
}
