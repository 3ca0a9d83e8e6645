//! Moving a bucket to another partition.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::jobs::{Job, Progress};
use super::work::{Done, select};
use super::{Fault, FaultKind};
use crate::data::keys;
use crate::data::moving::{Copied, Ended, Mover};
use crate::data::scan::Scan;
use crate::data::{Bucket, Catalogue};
use crate::error::{Error, Result};

/// A pass that finds no more than this to copy is followed by the last one, for which clients wait.
const LITTLE: Copied = Copied { rows: 200, bytes: 16 << 20 };
/// So many passes may find no less to copy than the one before, and there are no more in all.
const PATIENCE: u32 = 4;
const MOST_PASSES: u32 = 50;
/// So often it is looked whether somebody still has what was found in the old partition.
const LOOK_EVERY: Duration = Duration::from_millis(20);

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoveBucket {
    pub bucket: String,
    /// Where it is to lie.
    pub partition: u32,
    #[serde(default)]
    pub bytes_per_second: Option<u64>,
    /// Only tell what would be copied.
    #[serde(default)]
    pub dry_run: bool,
}

impl MoveBucket {
    /// The bucket, unless it makes no sense to move it.
    pub(super) fn check(&self, catalogue: &Catalogue) -> Result<Bucket, Fault> {
        select(catalogue.partitions(), Some(self.partition as usize))?;
        let bucket = catalogue.get(&self.bucket)?;
        if bucket.partition() == self.partition {
            let what =
                format!("bucket {} lies in partition {} already", self.bucket, self.partition);
            return Err(Fault::invalid(what));
        }
        Ok(bucket)
    }

    pub(super) fn run(&self, catalogue: &Arc<Catalogue>, job: &Arc<Job>) -> Result<Done, Fault> {
        // Once more: another job may have moved it since.
        let bucket = self.check(catalogue)?;
        let there = Copied::sum(&bucket)?;
        let from = bucket.partition();
        let mut result = json!({
            "bucket": self.bucket,
            "from": from,
            "to": self.partition,
            "dry_run": self.dry_run,
            "rows": there.rows,
            "bytes": there.bytes,
            "moved": false,
            "swept": false,
            "stopped": false,
        });
        if self.dry_run {
            return Ok(Done { result: Some(result), ..Done::default() });
        }
        let partition = self.partition as usize;
        let to = &catalogue.partitions().all()[partition];
        // A move from there that was cut short may have left a rule, which would delete what is copied.
        catalogue.keep_rules(self.partition)?;
        let mut tell = |copied: &Copied| {
            let (done_bytes, total_bytes) = (copied.bytes, there.bytes.max(copied.bytes));
            job.tell(Progress { partition, done_bytes, total_bytes, ..Progress::default() });
            !job.is_cancelled()
        };
        let mut mover =
            Mover::new((&bucket.store, to), bucket.id, self.bytes_per_second, &mut tell);
        let outcome = self.copy_and_switch(catalogue, &bucket, &mut mover);
        let copied = mover.copied();
        result["rows"] = json!(copied.rows);
        result["bytes"] = json!(copied.bytes);
        match outcome {
            Ok(Ended::Whole) => {}
            Ok(Ended::Cancelled) => {
                catalogue.clear(bucket.id, self.partition)?;
                result["stopped"] = json!(true);
                return Ok(Done { result: Some(result), stopped: true, ..Done::default() });
            }
            Ok(Ended::Outrun) => {
                catalogue.clear(bucket.id, self.partition)?;
                let what = "clients change the bucket faster than it is copied: give it a higher rate, or \
                            none, or move it when they do less";
                return Err(Fault::new(FaultKind::Busy, what));
            }
            // Either may be the one.
            Err(error @ Error::BucketUnsettled) => return Err(error.into()),
            Err(error) => {
                // What is left there belongs to nobody, and is swept at the next start as well.
                if let Err(error) = catalogue.clear(bucket.id, self.partition) {
                    tracing::warn!(%error, "what was copied of a bucket stays until the next start");
                }
                return Err(error.into());
            }
        }
        tracing::info!(
            bucket = self.bucket,
            from,
            to = self.partition,
            copied.bytes,
            "a bucket was moved"
        );
        result["moved"] = json!(true);
        while !bucket.is_alone() {
            if job.is_cancelled() {
                // The next start deletes what is left of it.
                return Ok(Done { result: Some(result), ..Done::default() });
            }
            std::thread::sleep(LOOK_EVERY);
        }
        catalogue.clear(bucket.id, from)?;
        result["swept"] = json!(true);
        Ok(Done { result: Some(result), ..Done::default() })
    }

    fn copy_and_switch(
        &self,
        catalogue: &Catalogue,
        bucket: &Bucket,
        mover: &mut Mover<'_>,
    ) -> Result<Ended> {
        let (mut passes, mut in_vain, mut last) = (0, 0, None);
        loop {
            let before = mover.copied();
            if mover.pass()? == Ended::Cancelled {
                return Ok(Ended::Cancelled);
            }
            let new = mover.copied().since(before);
            if new.rows <= LITTLE.rows && new.bytes <= LITTLE.bytes {
                break;
            }
            let is_less =
                last.is_none_or(|last: Copied| new.bytes < last.bytes || new.rows < last.rows);
            (passes, in_vain) = (passes + 1, in_vain + u32::from(!is_less));
            if passes == MOST_PASSES || in_vain == PATIENCE {
                return Ok(Ended::Outrun);
            }
            last = Some(new);
        }
        // Most of it, before clients have to wait for the rest.
        mover.to.sync()?;
        mover.bytes_per_second = None;
        catalogue.switch(bucket, self.partition, || {
            let ended = mover.pass()?;
            mover.to.sync()?;
            Ok(ended)
        })
    }
}

impl Copied {
    /// All that a bucket has.
    fn sum(bucket: &Bucket) -> Result<Self> {
        let mut sum = Copied::default();
        for kind in keys::KINDS {
            for row in Scan::new(&bucket.store, keys::of_bucket(kind, bucket.id)) {
                sum.rows += 1;
                sum.bytes += row?.1.len;
            }
        }
        Ok(sum)
    }

    fn since(self, before: Copied) -> Copied {
        Copied { rows: self.rows - before.rows, bytes: self.bytes - before.bytes }
    }
}

#[cfg(test)]
mod tests {
    use kogia::{PutOptions, RetentionRule};

    use super::*;
    use crate::admin::Jobs;
    use crate::admin::work::Task;
    use crate::data::Partitions;
    use crate::data::partitions::PartitionOptions;

    /// A move that was cancelled when the bucket lay elsewhere already left its rules behind. Those deleted
    /// objects of a bucket that came back, and had other rules by then.
    #[tokio::test]
    async fn a_bucket_that_comes_back_does_not_go_by_the_rules_that_it_left() {
        let dir = tempfile::tempdir().unwrap();
        let options = PartitionOptions {
            dir: dir.path().to_owned(),
            disks: Vec::new(),
            count: 2,
            memory_bytes: 64 << 20,
        };
        let partitions = Partitions::open(&options).unwrap();
        let catalogue = Arc::new(Catalogue::open(&partitions).unwrap());
        let bucket = catalogue.create("bucket").await.unwrap();
        let old = PutOptions { created_ms: Some(1), ..PutOptions::default() };
        bucket.store.put_with(bucket.key("key").row(), "value", &old).unwrap();
        let left = RetentionRule::new(keys::objects(bucket.id)).max_age(Duration::from_secs(60));
        let partition = 1 - bucket.partition();
        drop(bucket);
        partitions.get(partition).unwrap().set_retention(&[left]).unwrap();
        let moving = MoveBucket {
            bucket: "bucket".into(),
            partition,
            bytes_per_second: None,
            dry_run: false,
        };
        let jobs = Arc::new(Jobs::default());
        let job = jobs.start(Task::MoveBucket(moving, catalogue.clone()), &partitions).unwrap();
        while json!(jobs.get(job.id).unwrap())["ended_ms"].is_null() {
            std::thread::sleep(LOOK_EVERY);
        }
        let job = json!(jobs.get(job.id).unwrap());
        assert_eq!(job["state"], "done", "{job}");
        let bucket = catalogue.get("bucket").unwrap();
        assert_eq!(bucket.partition(), partition);
        assert_eq!(bucket.store.get(bucket.key("key").row()).unwrap().unwrap(), b"value");
    }
}
