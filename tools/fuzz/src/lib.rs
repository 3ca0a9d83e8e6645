//! What the fuzz targets share: the formats and the paging of listings, compiled by path so that
//! nothing builds RocksDB; a limit on allocations; chunks and files sealed by the letter of the
//! documentation; seeds.
//!
//! Each target treats its input twice: as it is, and with its checksums put right, since bytes
//! with a wrong one get no further than that. Each asserts more than the absence of panics: what
//! decodes, encodes and decodes again to the same.

#[allow(dead_code, reason = "the store uses what the targets do not")]
#[path = "../../../src/format/mod.rs"]
pub mod format;

pub mod forge;
pub mod keys;
mod limit;
#[allow(dead_code, reason = "the store uses what the targets do not")]
#[path = "../../../src/store/paging.rs"]
mod paging;
pub mod seeds;
