//! The one test binary: linking RocksDB is slow.

mod backup;
mod chart;
mod compaction;
mod compaction_power;
mod compaction_races;
mod concurrency;
mod damage;
mod disks;
mod fixture;
mod full;
mod held;
mod invariants;
mod kill;
mod machine;
mod model;
mod moving;
mod power;
mod reads;
mod recorder;
mod recovery;
mod refill;
mod retention;
mod sample;
mod schedules;
mod strangers;
mod streams;
