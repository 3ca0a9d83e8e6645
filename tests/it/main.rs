//! The one test binary: linking RocksDB is slow.

mod chart;
mod damage;
mod refill;
mod recovery;
mod sample;
mod streams;
