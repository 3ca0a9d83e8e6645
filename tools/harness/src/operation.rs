//! What a workload is made of, and what each operation changes.
//!
//! Operations and outcomes can be written to a pipe: the side that asks and remembers need not be
//! in the process that carries them out. Values are not in them, only what makes them again.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::queue;

/// What the name of a part begins with.
const OF_PART: &str = "part:";
/// What comes behind the key in the name of a version that says that it was deleted.
const OF_MARKER: char = '!';
/// What comes behind the key in the name of a version that has no id of its own.
const OF_NULL: &str = "@null";
/// What an engine calls such a version.
pub const NULL: &str = "null";

/// One thing that an engine is asked to do, all or nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Operation {
    Put {
        key: String,
        value: Value,
        how: How,
    },
    Delete {
        key: String,
        durability: Durability,
    },
    /// No value deletes.
    Batch {
        steps: Vec<(String, Option<Value>)>,
        durability: Durability,
    },
    /// A put in pieces.
    Stream {
        key: String,
        value: Value,
        how: How,
    },
    /// A stream that is given up: nothing is left of it.
    Abandon {
        key: String,
        value: Value,
    },
    /// Bytes that wait to be assembled.
    Part {
        upload: Upload,
        value: Value,
    },
    /// An object made of all parts of an upload, which are used up.
    Assemble {
        upload: Upload,
        parts: Vec<Value>,
        durability: Durability,
    },
    /// The object of an upload's key made longer by all parts of it, which are used up. Refused, unless
    /// its bytes are those of `before`.
    Extend {
        upload: Upload,
        before: Vec<Value>,
        parts: Vec<Value>,
        durability: Durability,
    },
    /// A value put behind an object's bytes. Refused, unless those are the ones of `before`.
    Append {
        key: String,
        before: Vec<Value>,
        value: Value,
    },
    /// An object under another key as well, which the engine copies by itself. Refused, unless its bytes
    /// are those of `before`.
    Copy {
        key: String,
        before: Vec<Value>,
        to: String,
    },
    /// Gives an upload up: all its parts are gone.
    Abort {
        upload: Upload,
        parts: Vec<Value>,
    },
    /// A put while no versions are kept, where they were: in place of the version that has no id.
    PutNull {
        key: String,
        value: Value,
    },
    /// A delete meanwhile: what it leaves, which says so, is the version that has no id.
    DeleteNull {
        key: String,
    },
    /// What several threads do at once, each of them one thing after the other. No two have a key in common.
    AtOnce {
        threads: Vec<Vec<Operation>>,
    },
    /// Puts of several keys at once, each acknowledged by itself.
    PutAll {
        files: Vec<(String, Value)>,
    },
    /// The same, while everything is moved.
    PutMoving {
        files: Vec<(String, Value)>,
    },
    /// The same of those keys that listing does not show, as whoever copies a directory does.
    PutMissing {
        files: Vec<(String, Value)>,
    },
    /// Makes durable whatever was acknowledged.
    Sync,
    /// Makes the index durable, too.
    Checkpoint,
    Compact,
    /// Compacts the newest file, and no other.
    CompactNewest,
    /// Compacts, and is stopped as soon as anything was copied.
    CompactSlice,
    /// Compacts; a put or a delete of the key overtakes what was read and is not yet copied. No value
    /// deletes.
    Overtake {
        key: String,
        value: Option<Value>,
    },
    /// A put, with a checkpoint behind it, under a reader who goes on seeing what was there before.
    PutUnderReader {
        key: String,
        value: Value,
    },
    /// Moves everything off the first disk. It is given again at the next opening, or before.
    Drain,
    /// Gives the disks again that were drained.
    AddDisks,
    /// Moves from the fullest disks to the emptiest.
    Rebalance,
    /// Moves all objects and parts elsewhere, wherever the engine has another place for them.
    Move,
    /// Lets time pass.
    Wait {
        ms: u64,
    },
    /// Deletes what has expired.
    Expire,
    /// Copies the store to where backups go, over an earlier one.
    Backup,
    /// Closes; whatever comes next opens again.
    Close,
    /// Closes and opens again.
    Reopen,
    /// Closes, and opens with an index made anew.
    Rebuild,
    /// Something that only a queue does.
    Queue(queue::Task),
}

/// What parts belong to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Upload {
    /// No two of a workload have the same.
    pub number: u32,
    /// The key of the object that it becomes.
    pub key: String,
}

/// When an operation is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Durability {
    /// When the device has it.
    Sync,
    /// When the operating system has it.
    Os,
}

/// What goes with a put.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct How {
    /// When it is acknowledged.
    pub durability: Durability,
    /// What must hold of the key.
    pub when: When,
    /// The object is gone so long after the put was asked for.
    pub expires_in_ms: Option<u64>,
}

/// What must hold of the key for a put to be carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum When {
    /// Nothing.
    Always,
    /// There is no such key.
    IfAbsent,
    /// There is one.
    IfPresent,
}

/// Bytes that a tag and a length say. No two tags of a workload are the same, so that bytes tell
/// which operation has written them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Value {
    pub tag: u64,
    pub len: usize,
}

/// What identifies bytes: their length, and a hash that shares nothing with an engine's own
/// checksums. Of a part it is the checksum that the engine gives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Print {
    pub len: u64,
    pub hash: u64,
}

/// What an object or a part becomes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// A key, or a [`part_name`]; nothing, where it is an item of a queue.
    pub name: String,
    /// Gone without.
    pub print: Option<Print>,
    /// The moment from which it is gone all the same.
    pub expires_ms: Option<u64>,
}

impl How {
    /// Acknowledged when it is durable.
    pub const SYNC: How =
        How { durability: Durability::Sync, when: When::Always, expires_in_ms: None };
    /// Acknowledged when the operating system has it.
    pub const OS: How = How { durability: Durability::Os, ..How::SYNC };
}

impl Value {
    pub fn bytes(self) -> Vec<u8> {
        let mut state = self.tag.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut bytes = Vec::with_capacity(self.len + 8);
        while bytes.len() < self.len {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes.truncate(self.len);
        bytes
    }

    pub fn print(self) -> Print {
        Print::of(&self.bytes())
    }

    /// Of values one behind the other.
    pub fn print_of_all(values: &[Value]) -> Print {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.bytes()).collect();
        Print::of(&bytes)
    }

    /// The checksum by which a part of these bytes is found again.
    pub fn crc32c(self) -> u32 {
        kogia::format::checksum::crc32c(&self.bytes())
    }
}

impl Print {
    pub fn of(bytes: &[u8]) -> Self {
        const FACTOR: u64 = 0xff51_afd7_ed55_8ccd;
        let step = |hash: u64, word: u64| ((hash ^ word).wrapping_mul(FACTOR)).rotate_left(29);
        let (words, rest) = bytes.as_chunks::<8>();
        let hash = words.iter().fold(bytes.len() as u64, |h, w| step(h, u64::from_le_bytes(*w)));
        let hash = rest.iter().fold(hash, |h, byte| step(h, u64::from(*byte)));
        Print { len: bytes.len() as u64, hash }
    }

    pub fn of_part(len: u64, crc32c: u32) -> Self {
        Print { len, hash: u64::from(crc32c) }
    }
}

impl fmt::Debug for Print {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, {:016x}", self.len, self.hash)
    }
}

/// The name that a part has among the keys: no workload uses such a key.
pub fn part_name(crc32c: u32) -> String {
    format!("{OF_PART}{crc32c:08x}")
}

/// The name that a version has among the keys, by its bytes: no workload uses such a key.
pub fn version_name(key: &str, print: Print) -> String {
    format!("{key}@{:016x}", print.hash)
}

/// The name that a version has among the keys which says that `key` was deleted, by the engine's own
/// name for it. Its bytes are none.
pub fn marker_name(key: &str, id: &str) -> String {
    format!("{key}{OF_MARKER}{id}")
}

/// The name that the version of a key which has no id has among the keys, where it has bytes. Where it
/// says that the key was deleted it is the [marker](marker_name) [`NULL`].
pub fn null_name(key: &str) -> String {
    format!("{key}{OF_NULL}")
}

/// Whether this is the name of a part.
pub fn is_part(name: &str) -> bool {
    name.starts_with(OF_PART)
}

/// The key that a version says was deleted.
pub fn key_of_marker(name: &str) -> Option<&str> {
    Some(name.split_once(OF_MARKER)?.0)
}

impl Operation {
    /// The operations that it is made of, each of which is carried out, or not, by itself.
    pub fn members(&self) -> Vec<Operation> {
        let put = |when: When| {
            let how = How { when, ..How::SYNC };
            move |(key, value): &(String, Value)| Operation::Put {
                key: key.clone(),
                value: *value,
                how,
            }
        };
        match self {
            Operation::AtOnce { threads } => threads.concat(),
            Operation::PutAll { files } => files.iter().map(put(When::Always)).collect(),
            Operation::PutMoving { files } => {
                files.iter().map(put(When::Always)).chain([Operation::Move]).collect()
            }
            Operation::PutMissing { files } => files.iter().map(put(When::IfAbsent)).collect(),
            _ => vec![self.clone()],
        }
    }

    /// What it changes if it is carried out at `now_ms`, in order.
    pub fn changes(&self, now_ms: u64) -> Vec<Change> {
        match self {
            Operation::Put { key, value, how } | Operation::Stream { key, value, how } => {
                let expires_ms = how.expires_in_ms.map(|ms| now_ms + ms);
                vec![Change { name: key.clone(), print: Some(value.print()), expires_ms }]
            }
            Operation::Delete { key, .. } => vec![Change::to(key, None)],
            Operation::Overtake { key, value } => vec![Change::to(key, value.map(Value::print))],
            Operation::PutUnderReader { key, value } => vec![Change::to(key, Some(value.print()))],
            Operation::Batch { steps, .. } => {
                let step = |(key, value): &(String, Option<Value>)| {
                    Change::to(key, value.map(Value::print))
                };
                steps.iter().map(step).collect()
            }
            Operation::Part { value, .. } => vec![Change::of_part(*value, true)],
            Operation::Assemble { upload, parts, .. } => assembled(&upload.key, &[], parts),
            Operation::Extend { upload, before, parts, .. } => {
                assembled(&upload.key, before, parts)
            }
            Operation::Append { key, before, value } => {
                let whole = [&before[..], &[*value]].concat();
                vec![Change::to(key, Some(Value::print_of_all(&whole)))]
            }
            Operation::Copy { before, to, .. } => {
                vec![Change::to(to, Some(Value::print_of_all(before)))]
            }
            Operation::Abort { parts, .. } => {
                parts.iter().map(|part| Change::of_part(*part, false)).collect()
            }
            Operation::PutNull { key, value } => {
                let print = Some(value.print());
                let marker = marker_name(key, NULL);
                let names = [(key, print), (&null_name(key), print), (&marker, None)];
                names.map(|(name, print)| Change::to(name, print)).into()
            }
            Operation::DeleteNull { key } => {
                let marker = Change::marker(&marker_name(key, NULL));
                [Change::to(key, None), Change::to(&null_name(key), None), marker].into()
            }
            Operation::Queue(task) => {
                task.values().iter().map(|item| Change::to("", Some(item.print()))).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The level at which it is acknowledged, where it changes anything.
    pub fn durability(&self) -> Durability {
        match self {
            Operation::Put { how, .. } | Operation::Stream { how, .. } => how.durability,
            Operation::Delete { durability, .. }
            | Operation::Batch { durability, .. }
            | Operation::Assemble { durability, .. }
            | Operation::Extend { durability, .. } => *durability,
            Operation::Queue(task) if !task.is_durable() => Durability::Os,
            _ => Durability::Sync,
        }
    }

    /// Whether its acknowledgement says that everything acknowledged before is durable.
    pub fn settles(&self) -> bool {
        use Operation::{Backup, Checkpoint, Close, Compact, Drain, Rebuild, Reopen, Sync};
        matches!(self, Sync | Checkpoint | Compact | Drain | Backup | Close | Reopen | Rebuild)
    }
}

/// An object of what it had before and of parts, which are gone with that.
fn assembled(key: &str, before: &[Value], parts: &[Value]) -> Vec<Change> {
    let print = Value::print_of_all(&[before, parts].concat());
    let used_up = parts.iter().map(|part| Change::of_part(*part, false));
    [Change::to(key, Some(print))].into_iter().chain(used_up).collect()
}

impl Change {
    /// The version that it leaves behind, where versions are kept.
    pub fn version(&self) -> Option<Change> {
        let print = self.print.filter(|_| !is_part(&self.name))?;
        Some(Change::to(&version_name(&self.name, print), Some(print)))
    }

    /// Whether it is of a version that has no id.
    pub fn is_of_null(&self) -> bool {
        self.name.ends_with(OF_NULL)
    }

    /// A version that says that a key was deleted, by the [name](marker_name) that it has.
    pub fn marker(name: &str) -> Change {
        Change::to(name, Some(Print::of(&[])))
    }

    fn to(name: &str, print: Option<Print>) -> Self {
        Change { name: name.to_owned(), print, expires_ms: None }
    }

    fn of_part(value: Value, is_there: bool) -> Self {
        let crc32c = value.crc32c();
        let print = is_there.then(|| Print::of_part(value.len as u64, crc32c));
        Change { name: part_name(crc32c), print, expires_ms: None }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operation::Put { key, value, how } => write!(f, "put {key}, {value}{how}"),
            Operation::Stream { key, value, how } => write!(f, "stream {key}, {value}{how}"),
            Operation::Delete { key, durability } => write!(f, "delete {key}{durability}"),
            Operation::Batch { steps, durability } => {
                f.write_str("batch of")?;
                for (key, value) in steps {
                    match value {
                        Some(value) => write!(f, " {key}={value}")?,
                        None => write!(f, " -{key}")?,
                    }
                }
                write!(f, "{durability}")
            }
            Operation::Abandon { key, value } => write!(f, "give up a stream to {key}, {value}"),
            Operation::Part { value, .. } => write!(f, "part of {value}"),
            Operation::Assemble { upload, parts, durability } => {
                write!(f, "assemble {} of {} parts{durability}", upload.key, parts.len())
            }
            Operation::Extend { upload, parts, durability, .. } => {
                write!(f, "extend {} by {} parts{durability}", upload.key, parts.len())
            }
            Operation::Append { key, value, .. } => write!(f, "append to {key}, {value}"),
            Operation::Copy { key, to, .. } => write!(f, "copy {key} to {to}"),
            Operation::Abort { parts, .. } => write!(f, "give up {} parts", parts.len()),
            Operation::PutNull { key, value } => write!(f, "put {key}, {value}, without an id"),
            Operation::DeleteNull { key } => write!(f, "delete {key}, without an id"),
            Operation::AtOnce { threads } => write!(f, "{} threads at once", threads.len()),
            Operation::PutAll { files } => write!(f, "put {} keys at once", files.len()),
            Operation::PutMoving { files } => {
                write!(f, "move, and put {} keys meanwhile", files.len())
            }
            Operation::PutMissing { files } => {
                write!(f, "put of {} keys what is missing", files.len())
            }
            Operation::Overtake { key, value: Some(value) } => {
                write!(f, "compact, overtaken by put {key}, {value}")
            }
            Operation::Overtake { key, value: None } => {
                write!(f, "compact, overtaken by delete {key}")
            }
            Operation::PutUnderReader { key, value } => {
                write!(f, "put {key}, {value}, and a checkpoint, under a reader")
            }
            Operation::Wait { ms } => write!(f, "wait {ms} ms"),
            Operation::Queue(task) => task.fmt(f),
            plain => f.write_str(&format!("{plain:?}").to_lowercase()),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len)
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.durability)?;
        match self.when {
            When::Always => {}
            When::IfAbsent => f.write_str(", if absent")?,
            When::IfPresent => f.write_str(", if present")?,
        }
        self.expires_in_ms.map_or(Ok(()), |ms| write!(f, ", for {ms} ms"))
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Durability::Sync => ", synced",
            Durability::Os => "",
        })
    }
}
