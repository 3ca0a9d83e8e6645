//! How far the queue has come: what the writer tells readers, in this process and in others.
//!
//! The numbers are in a [`Page`], the file `TAIL`, which is never made durable and never believed
//! across a start of the machine: after one, readers look at the tracks. A number that is wrong can
//! make readers stop early or find a chunk that does not verify, and no more.

use std::sync::Arc;
use std::time::Duration;

use super::Id;
use crate::format::{StoreId, bytes_at};
use crate::io::Page;

const MAGIC: u64 = u64::from_le_bytes(*b"KOGIATL\x01");

const MAGIC_AT: usize = 0;
const BOOT_AT: usize = 1;
const QUEUE_AT: usize = 3;
const DURABLE_AT: usize = 5;
const WRITTEN_AT: usize = 6;
const KEPT_AT: usize = 7;

/// The page of one queue.
#[derive(Debug, Clone)]
pub(super) struct Tail {
    page: Arc<Page>,
}

impl Tail {
    pub(super) fn of(page: Page) -> Self {
        Tail { page: Arc::new(page) }
    }

    /// Begins to tell: all numbers, and then whose they are.
    pub(super) fn begin(&self, queue: StoreId, boot: [u8; 16], end: Id, first_kept: Id) {
        self.page.store(MAGIC_AT, 0);
        self.publish(end, end);
        self.keep_from(first_kept);
        for (at, id) in [(BOOT_AT, boot), (QUEUE_AT, queue.0)] {
            self.page.store(at, u64::from_le_bytes(bytes_at(&id, 0)));
            self.page.store(at + 1, u64::from_le_bytes(bytes_at(&id, 8)));
        }
        self.page.store(MAGIC_AT, MAGIC);
        self.page.ring();
    }

    /// Whether it tells of `queue`, since the machine's last start.
    pub(super) fn is_of(&self, queue: StoreId, boot: [u8; 16]) -> bool {
        let id = |at| {
            let (low, high) = (self.page.load(at), self.page.load(at + 1));
            (u128::from(high) << 64 | u128::from(low)).to_le_bytes()
        };
        self.page.load(MAGIC_AT) == MAGIC && id(BOOT_AT) == boot && id(QUEUE_AT) == queue.0
    }

    /// Says how far the queue is durable, and how far it was written.
    pub(super) fn publish(&self, durable: Id, written: Id) {
        self.page.store(WRITTEN_AT, written.0);
        self.page.store(DURABLE_AT, durable.0);
    }

    /// Says what was truncated.
    pub(super) fn keep_from(&self, first_kept: Id) {
        self.page.store(KEPT_AT, first_kept.0);
    }

    pub(super) fn durable(&self) -> Id {
        Id(self.page.load(DURABLE_AT))
    }

    pub(super) fn written(&self) -> Id {
        Id(self.page.load(WRITTEN_AT))
    }

    pub(super) fn first_kept(&self) -> Id {
        Id(self.page.load(KEPT_AT))
    }

    /// Wakes all who follow.
    pub(super) fn ring(&self) {
        self.page.ring();
    }

    pub(super) fn rung(&self) -> u32 {
        self.page.rung()
    }

    pub(super) fn wait(&self, rung: u32, timeout: Option<Duration>) {
        self.page.wait(rung, timeout);
    }
}
