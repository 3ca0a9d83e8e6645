//! The one test binary: linking RocksDB is slow.

mod refill;
mod streams;
