//! How RocksDB is run.

use std::path::Path;
use std::sync::LazyLock;

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompressionType,
    DataBlockIndexType, InfoLogger, LogLevel, Options,
};

use super::Column;
use crate::options::MEMTABLE_AT_MOST_BYTES;

/// A memtable of this size flushes by itself, which invariant I1 forbids: far beyond what the
/// store lets collect before it calls for a checkpoint.
const UNREACHABLE_BYTES: usize = 4 * MEMTABLE_AT_MOST_BYTES;

/// Of a file of rows. Small, since a look-up has all of a block read and kept.
const BLOCK_BYTES: usize = 4 << 10;

/// Keys to a bucket of a block's hash, of a byte each. Where two share a bucket the block is searched
/// after all: by default, with three keys to four buckets, for every other key.
const KEYS_A_BUCKET: f64 = 0.5;

/// A cache of which the table may be made at once: it is 32 MiB then.
const UNLOCKED_AT_MOST_BYTES: usize = 1 << 30;

/// A memtable's filter, which is written when it is made: enough for 25 million keys.
const MEMTABLE_FILTER_AT_MOST_BYTES: usize = 32 << 20;

/// What the store allows.
pub(super) struct Tuning {
    pub(super) memtable_bytes: usize,
    pub(super) cache_bytes: usize,
    pub(super) compacts_itself: bool,
    pub(super) is_large: bool,
}

/// How files are written once [`is_large`] says so.
pub(super) const IN_PARTS: (&str, &str) =
    ("block_based_table_factory", "{index_type=kTwoLevelIndexSearch;partition_filters=true;}");

/// Whether files of rows should have their indexes and filters in parts as large as a block. As wholes
/// these are some 420 KB a file, a fortieth of it: where the cache is too small for all of them, each
/// look-up reads that much, and throws another's away. In parts a look-up takes a fifth longer, so that
/// as many files have wholes as half of the cache can hold.
pub(super) fn is_large(files_bytes: u64, cache_bytes: usize) -> bool {
    files_bytes > cache_bytes as u64 * 20
}

/// What has no setter in these bindings. Closing flushes unless told otherwise, and so does RocksDB's
/// own recovery from a failed flush: both would write rows whose tracks are not synced (invariant I1).
const NEVER_BY_ITSELF: &str = "avoid_flush_during_shutdown=true;max_bgerror_resume_count=0";

/// Options by default, and with what has no setter. Copied, not made again: with each that is made
/// comes a block cache of 32 MiB that nobody uses, and reading options from text takes its time.
static PLAIN: LazyLock<Result<[Options; 2], rocksdb::Error>> = LazyLock::new(|| {
    let mut plain = Options::default();
    let never_by_itself = plain.get_options_from_string(NEVER_BY_ITSELF)?;
    Ok([plain, never_by_itself])
});

pub(super) fn open(path: &Path, tuning: &Tuning) -> Result<DB, rocksdb::Error> {
    let cache = block_cache(tuning.cache_bytes);
    let [plain, never_by_itself] = PLAIN.as_ref().map_err(Clone::clone)?;
    let columns = Column::ALL.map(|column| {
        ColumnFamilyDescriptor::new(column.name(), rows(plain, column, tuning, &cache))
    });
    DB::open_cf_descriptors(&database(never_by_itself), path, columns)
}

/// A cache without a lock for those who look up. Its table has places for as many blocks as fit in if
/// they are whole, and takes up to a twentieth of it from the begin: not where all that is allowed may
/// be more than there is.
fn block_cache(bytes: usize) -> Cache {
    if bytes <= UNLOCKED_AT_MOST_BYTES {
        Cache::new_hyper_clock_cache(bytes, BLOCK_BYTES)
    } else {
        Cache::new_lru_cache(bytes)
    }
}

fn database(never_by_itself: &Options) -> Options {
    let mut options = never_by_itself.clone();
    // By default 4 MiB are taken for the list of files, of which a small index uses some KiB.
    options.set_manifest_preallocation_size(64 << 10);
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_atomic_flush(true);
    options.set_max_background_jobs(2);
    options.set_max_open_files(512);
    // By default 16 threads are started a column family, to open files that the cache of them is too
    // small to hold anyway.
    options.set_max_file_opening_threads(1);
    options.set_bytes_per_sync(1 << 20);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options.set_skip_stats_update_on_db_open(true);
    // Instead of a file of its own beside the rows, of which each opening fills some 100 KiB.
    options.set_log_level(LogLevel::Warn);
    options.set_info_logger(InfoLogger::new_callback_logger(LogLevel::Warn, log));
    options
}

/// What RocksDB has to say. That its options are so and so comes below the level of a warning,
/// whatever level is asked for.
fn log(level: LogLevel, line: &str) {
    match level {
        LogLevel::Warn => tracing::warn!(line, "RocksDB"),
        LogLevel::Error | LogLevel::Fatal => tracing::error!(line, "RocksDB"),
        LogLevel::Debug | LogLevel::Info | LogLevel::Header => {}
    }
}

fn rows(plain: &Options, column: Column, tuning: &Tuning, cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_block_size(BLOCK_BYTES);
    // A seek goes over the rows behind the restart point that it finds, one by one; looking up one
    // key finds that point by a hash.
    blocks.set_block_restart_interval(4);
    blocks.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
    blocks.set_data_block_hash_ratio(KEYS_A_BUCKET);
    blocks.set_cache_index_and_filter_blocks(true);
    if tuning.is_large {
        blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
        blocks.set_partition_filters(true);
    }
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    blocks.set_optimize_filters_for_memory(true);
    let mut options = plain.clone();
    if column != Column::Books {
        // Most keys that are looked up before they are put are new: the filters say so, that of
        // the memtable (its size a share of the write buffer's) as well as those of the files.
        blocks.set_bloom_filter(10.0, false);
        let filter_bytes = (tuning.memtable_bytes / 16).min(MEMTABLE_FILTER_AT_MOST_BYTES);
        let share = filter_bytes as f64 / UNREACHABLE_BYTES as f64;
        options.set_memtable_prefix_bloom_ratio(share);
        options.set_memtable_whole_key_filtering(true);
    }
    options.set_block_based_table_factory(&blocks);
    // Each seek asks every file of level 0: with few of them, and small blocks, a page of common
    // prefixes costs about the same however many keys lie below. A flush has the rows of most common
    // prefixes once more, and a listing goes over each copy.
    let most_files = if column == Column::Prefixes { 1 } else { 2 };
    options.set_level_zero_file_num_compaction_trigger(most_files);
    options.set_disable_auto_compactions(!tuning.compacts_itself);
    options.set_compression_type(DBCompressionType::None);
    options.set_write_buffer_size(UNREACHABLE_BYTES);
    options.set_arena_block_size(256 << 10);
    options.set_max_write_buffer_number(4);
    options.set_target_file_size_base(16 << 20);
    // One level up to this size: each further one is sought in as well.
    options.set_max_bytes_for_level_base(128 << 20);
    options
}
