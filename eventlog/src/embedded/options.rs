//! Settings of the embedded log, and what they mean for RocksDB.

use std::time::Duration;

use jiff::Timestamp;
use rocksdb::{BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode, LogLevel, Options};

use super::layout;

/// Settings of the embedded log. The defaults suit `tripline run` on a small machine.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// How long after a commit the log is synced, when no append asks for it sooner.
    pub sync_after: Duration,
    /// Where append times come from. A clock that goes back repeats the last time of the log until it has caught up.
    pub clock: fn() -> Timestamp,
    /// Recent writes of one topic held in memory, in bytes. Twice as much is held of all topics and state together.
    pub write_buffer_bytes: usize,
    /// Blocks of data files held in memory, in bytes.
    pub block_cache_bytes: usize,
    /// Write-ahead log on disk, in bytes, about: what an unclean end leaves to be read at the next start.
    pub wal_bytes_max: u64,
    /// RocksDB's list of data files, its MANIFEST, is begun anew when it is larger than this, in bytes, and than some times what
    /// it then says. Each time data files come or go, all of it is read to mark how far it goes.
    pub manifest_bytes_max: usize,
    /// Data files held open.
    pub open_files_max: i32,
    /// Retention rewrites data files to give the disk back when so many bytes of records were dropped since it last did.
    /// Files with nothing but dropped records go at once.
    pub rewrite_after_bytes: u64,
}

impl Default for EmbeddedOptions {
    fn default() -> EmbeddedOptions {
        EmbeddedOptions {
            sync_after: Duration::from_millis(1),
            clock: tripline_faults::now,
            write_buffer_bytes: 4 << 20,
            block_cache_bytes: 4 << 20,
            wal_bytes_max: 32 << 20,
            manifest_bytes_max: 1 << 20,
            open_files_max: 256,
            rewrite_after_bytes: 16 << 20,
        }
    }
}

impl EmbeddedOptions {
    /// Options of the whole database.
    pub(super) fn database(&self) -> Options {
        let mut options = Options::default();
        // A torn record at the end of the write-ahead log was never acknowledged and is dropped. Damage anywhere else is
        // refused: recovering "to a point in time" would silently drop acknowledged records behind it.
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        options.set_track_and_verify_wals_in_manifest(true);
        options.set_paranoid_checks(true);
        options.set_max_total_wal_size(self.wal_bytes_max);
        options.set_db_write_buffer_size(2 * self.write_buffer_bytes);
        options.set_max_manifest_file_size(self.manifest_bytes_max);
        options.set_max_open_files(self.open_files_max);
        options.set_max_background_jobs(2);
        options.set_bytes_per_sync(1 << 20);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        // RocksDB's own log, a few small files.
        options.set_log_level(LogLevel::Warn);
        options.set_max_log_file_size(1 << 20);
        options.set_keep_log_file_num(3);
        options
    }

    /// The column families of these names.
    pub(super) fn families(&self, names: &[String], cache: &Cache) -> Vec<ColumnFamilyDescriptor> {
        names.iter().map(|name| ColumnFamilyDescriptor::new(name, self.family(name, cache))).collect()
    }

    /// Options of one column family.
    pub(super) fn family(&self, name: &str, cache: &Cache) -> Options {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(cache);
        blocks.set_cache_index_and_filter_blocks(true);
        blocks.set_block_size(16 << 10);

        let mut options = Options::default();
        options.set_write_buffer_size(self.write_buffer_bytes);
        options.set_arena_block_size(256 << 10);
        options.set_target_file_size_base(8 << 20);
        options.set_max_bytes_for_level_base(32 << 20);
        options.set_compression_type(DBCompressionType::Lz4);
        if name != rocksdb::DEFAULT_COLUMN_FAMILY_NAME {
            // Large values lie in files of their own and are not rewritten whenever their neighbours are.
            options.set_enable_blob_files(true);
            options.set_min_blob_size(4 << 10);
            options.set_blob_file_size(16 << 20);
            options.set_blob_compression_type(DBCompressionType::Zstd);
            options.set_enable_blob_gc(true);
        }
        if name == layout::STATE {
            blocks.set_bloom_filter(10.0, false);
        }
        options.set_block_based_table_factory(&blocks);
        options
    }
}
