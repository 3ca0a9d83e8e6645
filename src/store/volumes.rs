//! The disks of an open store; they may come and go.

use std::sync::{Arc, RwLock};

use crate::disk::Volume;
use crate::format::DiskId;

/// The store's places on its disks.
#[derive(Debug)]
pub(crate) struct Volumes(RwLock<Arc<[Arc<Volume>]>>);

impl Volumes {
    pub(crate) fn new(volumes: Vec<Arc<Volume>>) -> Self {
        Volumes(RwLock::new(volumes.into()))
    }

    /// Those that there are now, in the order in which they came.
    pub(crate) fn all(&self) -> Arc<[Arc<Volume>]> {
        self.0.read().expect("no panic holds it").clone()
    }

    /// The store's place on a disk.
    pub(crate) fn of(&self, disk: DiskId) -> Option<Arc<Volume>> {
        self.all().iter().find(|volume| volume.disk.id == disk).cloned()
    }

    /// Whether any disk takes puts: is not drained, and does not fail.
    pub(crate) fn any_takes_puts(&self) -> bool {
        self.all().iter().any(|volume| volume.takes_puts())
    }

    /// Whether a disk is left out: it fails, and there are others.
    pub(crate) fn are_without(&self, volume: &Volume) -> bool {
        volume.failure().is_some() && self.any_takes_puts()
    }

    pub(crate) fn add(&self, volume: Arc<Volume>) {
        self.change(|volumes| volumes.push(volume));
    }

    pub(crate) fn remove(&self, disk: DiskId) {
        self.change(|volumes| volumes.retain(|volume| volume.disk.id != disk));
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Arc<Volume>>)) {
        let mut list = self.0.write().expect("no panic holds it");
        let mut volumes = list.to_vec();
        change(&mut volumes);
        *list = volumes.into();
    }
}
