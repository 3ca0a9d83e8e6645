//! What callers say and learn of an object.

use crate::format::Seq;
use crate::format::entry::Entry;
use crate::options::{Condition, Durability};

/// What is known of an object without reading it.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let store = kogia::Store::open(dir.path()).unwrap();
/// store.put("key", "value")?;
/// let info = store.head("key")?.expect("it was just put");
/// assert_eq!(info.len, 5);
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Info {
    /// The put's place in the store-wide order; [`Condition::IfSeq`] takes it.
    pub seq: Seq,
    /// Bytes of the value.
    pub len: u64,
    /// CRC-32C of the value.
    pub crc32c: u32,
    /// When the value was put, in milliseconds since 1970.
    pub created_ms: u64,
    /// When its source was last changed, as the put said; else the same.
    pub modified_ms: u64,
    /// When the object is gone, in milliseconds since 1970, as the put said; `None` never.
    pub expires_ms: Option<u64>,
    /// The attributes that were given with the put.
    pub attributes: Vec<u8>,
}

impl Info {
    pub(crate) fn of(entry: &Entry<'_>) -> Self {
        Info {
            seq: entry.seq,
            len: entry.meta.len,
            crc32c: entry.meta.crc,
            created_ms: entry.meta.created_ms,
            modified_ms: entry.meta.modified_ms,
            expires_ms: entry.meta.expires_ms,
            attributes: entry.meta.attributes.to_vec(),
        }
    }
}

/// What a put carries beside key and value.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let store = kogia::Store::open(dir.path()).unwrap();
/// use kogia::{Condition, ErrorKind, PutOptions};
///
/// let once = PutOptions { condition: Condition::IfAbsent, ..PutOptions::default() };
/// store.put_with("key", "first", &once)?;
/// let refused = store.put_with("key", "second", &once).unwrap_err();
/// assert_eq!(refused.kind(), ErrorKind::Condition);
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PutOptions {
    /// Opaque bytes that are kept in the index, up to 64 KiB; default none.
    pub attributes: Vec<u8>,
    /// When the source was last changed, in milliseconds since 1970; default as `created_ms`.
    pub modified_ms: Option<u64>,
    /// When it was put, in milliseconds since 1970; default now. For a copy that is to be as old as
    /// what it is a copy of, to rules that give objects an age as well.
    pub created_ms: Option<u64>,
    /// When the object is gone, in milliseconds since 1970; default never. From that millisecond
    /// on no call finds it, and its room follows. A time that has passed makes the put one that
    /// nobody sees, and that takes the place of what was there all the same.
    pub expires_ms: Option<u64>,
    /// What must hold for the put to be carried out; default anything.
    pub condition: Condition,
    /// When the put is acknowledged; default as the store's options say.
    pub durability: Option<Durability>,
}

/// When a value was put, and when its source was last changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Times {
    pub(crate) created_ms: u64,
    pub(crate) modified_ms: u64,
}

impl PutOptions {
    /// The times of a put that is made at `now_ms`.
    pub(crate) fn times(&self, now_ms: u64) -> Times {
        let created_ms = self.created_ms.unwrap_or(now_ms);
        Times { created_ms, modified_ms: self.modified_ms.unwrap_or(created_ms) }
    }
}

/// What a delete carries beside the key.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let store = kogia::Store::open(dir.path()).unwrap();
/// use kogia::{Condition, DeleteOptions};
///
/// let seq = store.put("key", "value")?;
/// let this_one = DeleteOptions { condition: Condition::IfSeq(seq), ..DeleteOptions::default() };
/// assert!(store.delete_with("key", &this_one)?);
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeleteOptions {
    /// What must hold for the delete to be carried out; default anything.
    pub condition: Condition,
    /// When the delete is acknowledged; default as the store's options say.
    pub durability: Option<Durability>,
}
