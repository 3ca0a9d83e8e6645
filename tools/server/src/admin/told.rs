//! What the partitions hold, as JSON with the names that `kogia stat --json` has.

use std::sync::Arc;

use kogia::{CompactionStatus, DiskStats, SpaceStats, Store, TrackStats};
use serde_json::{Value, json};

use super::Fault;
use crate::data::Partitions;

/// All partitions.
pub fn stats(partitions: &Partitions) -> Result<Value, Fault> {
    let all = partitions.all().iter().enumerate();
    let told: Result<Vec<_>, Fault> = all.map(|(number, store)| partition(number, store)).collect();
    Ok(json!({ "partitions": told? }))
}

fn partition(number: usize, store: &Arc<Store>) -> Result<Value, Fault> {
    let (stats, tracks) = (store.stats()?, store.tracks()?);
    Ok(json!({
        "partition": number,
        "store": store.id().to_string(),
        "home": store.home().to_string_lossy(),
        "objects": stats.objects,
        "object_bytes": stats.object_bytes,
        "parts": stats.parts,
        "tombstones": stats.tombstones,
        "disks": stats.disks.iter().map(disk).collect::<Vec<_>>(),
        "total": space(&stats.total()),
        "tracks": tracks.iter().map(track).collect::<Vec<_>>(),
        "compaction": compaction(&store.compaction()),
    }))
}

/// A disk, as the partition has it.
#[must_use]
pub fn disk(disk: &DiskStats) -> Value {
    // Of the file system; one that is missing has none.
    let size_bytes = rustix::fs::statvfs(&disk.path)
        .ok()
        .and_then(|stat| stat.f_blocks.checked_mul(stat.f_frsize));
    json!({
        "id": disk.id.to_string(),
        "path": disk.path.to_string_lossy(),
        "size_bytes": size_bytes,
        "available_bytes": disk.available_bytes,
        "full": disk.full,
        "punches": disk.punches,
        "draining": disk.draining,
        "failure": disk.failure,
        "space": space(&disk.space),
    })
}

fn space(space: &SpaceStats) -> Value {
    json!(space)
}

#[must_use]
pub fn track(track: &TrackStats) -> Value {
    let mut told = json!(track);
    told["disk"] = json!(track.disk.to_string());
    told
}

fn compaction(status: &CompactionStatus) -> Value {
    let disks = status.disks.iter().map(|(disk, progress)| {
        json!({
            "disk": disk.to_string(),
            "track": progress.track,
            "done_bytes": progress.done_bytes,
            "total_bytes": progress.total_bytes,
            "tracks": progress.tracks,
            "copied_bytes": progress.copied_bytes,
            "copied_records": progress.copied_records,
        })
    });
    json!({
        "paused": status.paused,
        "bytes_per_second": status.bytes_per_second,
        "slows_writers": status.slows_writers,
        "blocked": status.blocked,
        "disks": disks.collect::<Vec<_>>(),
    })
}
