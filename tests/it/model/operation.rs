//! What a case consists of, and how it is drawn.

use std::fmt;
use std::io::SeekFrom;
use std::ops::Bound;

use kogia::io::sim::Keep;
use kogia::{Durability, ListOptions};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::machine::Media;

pub type Key = Vec<u8>;

/// A store, and what is done with it.
#[derive(Clone)]
pub struct Case {
    pub disks: usize,
    pub tuning: Tuning,
    pub operations: Vec<Operation>,
}

/// What may differ from one opening to the next.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    pub track_bytes: u64,
    pub durability: Durability,
    pub punch: bool,
    pub refill: bool,
    pub map_tracks: bool,
    pub compression: Option<i32>,
}

#[derive(Clone, Debug)]
pub enum Operation {
    Put { key: Key, value: Value, how: How },
    Delete { key: Key, when: When, durability: Option<Durability> },
    Batch { steps: Vec<Step>, durability: Option<Durability> },
    OpenStream { key: Key, how: How },
    WriteStream { stream: Index, value: Value, pieces: usize },
    EndStream { stream: Index, commits: bool },
    Part { value: Value, finishes: bool },
    Assemble { key: Key, parts: Vec<Index>, how: How },
    Discard { part: Index },
    Look(Look),
    TakeSnapshot,
    LookBack { snapshot: Index, look: Look },
    DropSnapshot { snapshot: Index },
    OpenReader { key: Key },
    ReadOn { reader: Index, moves: Vec<Move> },
    DropReader { reader: Index },
    Sync,
    Checkpoint,
    Compact,
    Verify,
    Wait { ms: u64 },
    Expire,
    Reopen { end: End, tuning: Tuning },
}

/// What ends an opening.
#[derive(Clone, Copy, Debug)]
pub enum End {
    Close,
    CloseAndRebuild,
    KillProcess,
    KillProcessAndRebuild,
    CutPower(Keep),
    CutPowerAndRebuild(Keep),
}

/// One step of a batch; no value deletes.
#[derive(Clone, Debug)]
pub struct Step {
    pub key: Key,
    pub value: Option<Value>,
    pub how: How,
}

/// Bytes that a seed says.
#[derive(Clone, Copy, Debug)]
pub struct Value {
    pub len: usize,
    pub seed: u64,
}

/// What goes with a put.
#[derive(Clone, Copy, Debug)]
pub struct How {
    pub attributes: Value,
    pub modified_ms: Option<u64>,
    /// So long from the put's begin, or the stream's, the object expires.
    pub expires_in_ms: Option<u64>,
    pub when: When,
    pub durability: Option<Durability>,
}

/// A condition, before it is known what it is about.
#[derive(Clone, Copy, Debug)]
pub enum When {
    Always,
    IfAbsent,
    IfPresent,
    IfSeqIsRight,
    IfSeqIsWrong,
}

/// A read, of a store or a snapshot.
#[derive(Clone, Debug)]
pub enum Look {
    Get(Key),
    Range { key: Key, from: usize, to: usize },
    Read { key: Key, moves: Vec<Move> },
    List(ListOptions),
    Iterate { from: Bound<Key>, to: Bound<Key>, from_back: Vec<bool> },
}

/// A step of a reader.
#[derive(Clone, Copy, Debug)]
pub enum Move {
    Seek(SeekFrom),
    Read(usize),
    Slice,
}

impl Value {
    pub fn bytes(self) -> Vec<u8> {
        if self.seed.is_multiple_of(2) {
            return self.text();
        }
        let mut bytes = Vec::with_capacity(self.len + 8);
        let mut state = self.seed | 1;
        while bytes.len() < self.len {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes.truncate(self.len);
        bytes
    }

    /// Half of the values are of a kind that compresses.
    fn text(self) -> Vec<u8> {
        let numbers = (0..).map(|number| self.seed.wrapping_add(number));
        let lines = numbers.map(|number| format!("frame {number}: nothing moves\n"));
        lines.flat_map(String::into_bytes).take(self.len).collect()
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} disks, {:?}", self.disks, self.tuning)?;
        self.operations.iter().try_for_each(|operation| writeln!(f, "{operation:?}"))
    }
}

pub fn cases(media: Media) -> impl Strategy<Value = Case> {
    let operations = vec(operation(media), 1..120);
    (1..=3_usize, tunings(), operations).prop_map(|(disks, tuning, operations)| Case {
        disks,
        tuning,
        operations,
    })
}

fn tunings() -> impl Strategy<Value = Tuning> {
    let track_bytes = select(&[64 << 10, 128 << 10, 300 << 10, 1 << 20][..]);
    let durability = prop_oneof![2 => Just(Durability::Sync), 1 => Just(Durability::Os)];
    let switches = (any::<bool>(), any::<bool>(), any::<bool>());
    let compression = select(&[None, None, Some(1), Some(3)][..]);
    let tuning = (track_bytes, durability, switches, compression);
    tuning.prop_map(|(track_bytes, durability, (punch, refill, map_tracks), compression)| Tuning {
        track_bytes,
        durability,
        punch,
        refill,
        map_tracks,
        compression,
    })
}

fn operation(media: Media) -> BoxedStrategy<Operation> {
    prop_oneof![
        24 => writes(),
        12 => streams_and_parts(),
        12 => looks().prop_map(Operation::Look),
        8 => held_looks(),
        10 => upkeep(),
        3 => (ends(media), tunings()).prop_map(|(end, tuning)| Operation::Reopen { end, tuning }),
    ]
    .boxed()
}

fn writes() -> BoxedStrategy<Operation> {
    let put =
        (keys(), values(), hows()).prop_map(|(key, value, how)| Operation::Put { key, value, how });
    let delete = (keys(), whens(), durabilities())
        .prop_map(|(key, when, durability)| Operation::Delete { key, when, durability });
    let step = (keys(), option::weighted(0.7, values()), hows())
        .prop_map(|(key, value, how)| Step { key, value, how });
    let batch = (vec(step, 0..6), durabilities())
        .prop_map(|(steps, durability)| Operation::Batch { steps, durability });
    prop_oneof![5 => put, 3 => delete, 2 => batch].boxed()
}

fn streams_and_parts() -> BoxedStrategy<Operation> {
    let index = any::<Index>;
    let open = (keys(), hows()).prop_map(|(key, how)| Operation::OpenStream { key, how });
    let write = (index(), values(), 1..4_usize)
        .prop_map(|(stream, value, pieces)| Operation::WriteStream { stream, value, pieces });
    let end = (index(), prop::bool::weighted(0.8))
        .prop_map(|(stream, commits)| Operation::EndStream { stream, commits });
    let part = (values(), prop::bool::weighted(0.9))
        .prop_map(|(value, finishes)| Operation::Part { value, finishes });
    let assemble = (keys(), vec(index(), 0..4), hows())
        .prop_map(|(key, parts, how)| Operation::Assemble { key, parts, how });
    let discard = index().prop_map(|part| Operation::Discard { part });
    prop_oneof![3 => open, 5 => write, 3 => end, 4 => part, 2 => assemble, 1 => discard].boxed()
}

fn looks() -> BoxedStrategy<Look> {
    let range = (keys(), lens(), lens()).prop_map(|(key, from, to)| Look::Range { key, from, to });
    let read = (keys(), vec(moves(), 1..8)).prop_map(|(key, moves)| Look::Read { key, moves });
    let iterate = (bounds(), bounds(), vec(any::<bool>(), 0..12))
        .prop_map(|(from, to, from_back)| Look::Iterate { from, to, from_back });
    prop_oneof![
        2 => keys().prop_map(Look::Get),
        2 => range,
        2 => read,
        3 => listings().prop_map(Look::List),
        2 => iterate,
    ]
    .boxed()
}

fn held_looks() -> BoxedStrategy<Operation> {
    let index = any::<Index>;
    let look_back =
        (index(), looks()).prop_map(|(snapshot, look)| Operation::LookBack { snapshot, look });
    let read_on = (index(), vec(moves(), 1..4))
        .prop_map(|(reader, moves)| Operation::ReadOn { reader, moves });
    prop_oneof![
        2 => Just(Operation::TakeSnapshot),
        4 => look_back,
        1 => index().prop_map(|snapshot| Operation::DropSnapshot { snapshot }),
        2 => keys().prop_map(|key| Operation::OpenReader { key }),
        4 => read_on,
        1 => index().prop_map(|reader| Operation::DropReader { reader }),
    ]
    .boxed()
}

fn upkeep() -> impl Strategy<Value = Operation> {
    prop_oneof![
        1 => Just(Operation::Sync),
        3 => Just(Operation::Checkpoint),
        3 => Just(Operation::Compact),
        1 => Just(Operation::Verify),
        3 => (1..40_u64).prop_map(|ms| Operation::Wait { ms }),
        2 => Just(Operation::Expire),
    ]
}

fn ends(media: Media) -> BoxedStrategy<End> {
    let keeps = || {
        prop_oneof![
            1 => Just(Keep::Nothing),
            1 => Just(Keep::Everything),
            4 => any::<u64>().prop_map(Keep::Random),
        ]
    };
    match media {
        Media::Real => prop_oneof![2 => Just(End::Close), 1 => Just(End::CloseAndRebuild)].boxed(),
        Media::Simulated => prop_oneof![
            2 => Just(End::Close),
            1 => Just(End::CloseAndRebuild),
            2 => Just(End::KillProcess),
            1 => Just(End::KillProcessAndRebuild),
            4 => keeps().prop_map(End::CutPower),
            2 => keeps().prop_map(End::CutPowerAndRebuild),
        ]
        .boxed(),
    }
}

/// Few enough keys that operations meet, with delimiters, bytes at both ends, and long ones.
fn keys() -> BoxedStrategy<Key> {
    prop_oneof![
        12 => vec(select(&b"ab/"[..]), 1..=3),
        2 => vec(select(&[0, b'/', b'a', 0xff][..]), 1..=3),
        1 => select(&[1000, 5000, 65_535][..]).prop_map(|len| vec![b'a'; len]),
    ]
    .boxed()
}

fn values() -> impl Strategy<Value = Value> {
    (lens(), any::<u64>()).prop_map(|(len, seed)| Value { len, seed })
}

/// Around every size at which a value is written in another way.
fn lens() -> BoxedStrategy<usize> {
    prop_oneof![
        2 => Just(0),
        6 => 1..200_usize,
        3 => 4000..4150_usize,
        3 => 8100..8200_usize,
        4 => 16_200..16_400_usize,
        3 => Just(20_000),
        2 => 32_600..32_900_usize,
        2 => Just(100_000),
        1 => 131_000..131_200_usize,
        1 => 140_000..400_000_usize,
    ]
    .boxed()
}

fn hows() -> impl Strategy<Value = How> {
    let attributes = prop_oneof![6 => Just(0), 3 => 1..100_usize, 1 => 4000..65_537_usize];
    let attributes = (attributes, any::<u64>()).prop_map(|(len, seed)| Value { len, seed });
    let times = (option::weighted(0.2, any::<u64>()), option::weighted(0.2, 0..60_u64));
    let how = (attributes, times, whens(), durabilities());
    how.prop_map(|(attributes, (modified_ms, expires_in_ms), when, durability)| How {
        attributes,
        modified_ms,
        expires_in_ms,
        when,
        durability,
    })
}

fn whens() -> impl Strategy<Value = When> {
    prop_oneof![
        12 => Just(When::Always),
        1 => Just(When::IfAbsent),
        1 => Just(When::IfPresent),
        1 => Just(When::IfSeqIsRight),
        1 => Just(When::IfSeqIsWrong),
    ]
}

fn durabilities() -> impl Strategy<Value = Option<Durability>> {
    prop_oneof![
        4 => Just(None),
        1 => Just(Some(Durability::Sync)),
        1 => Just(Some(Durability::Os)),
    ]
}

fn listings() -> impl Strategy<Value = ListOptions> {
    let prefix = vec(select(&b"ab/"[..]), 0..=2);
    let delimiter = option::of(select(&["/", "a", "//", "/a", ""][..]));
    let start_after = option::weighted(0.3, keys());
    let max_keys = prop_oneof![1 => Just(0), 8 => 1..6_usize, 3 => Just(1000)];
    (prefix, delimiter, start_after, max_keys).prop_map(
        |(prefix, delimiter, start_after, max_keys)| ListOptions {
            prefix,
            delimiter: delimiter.map(|delimiter| delimiter.as_bytes().to_vec()),
            start_after,
            max_keys,
        },
    )
}

fn bounds() -> impl Strategy<Value = Bound<Key>> {
    prop_oneof![
        Just(Bound::Unbounded),
        keys().prop_map(Bound::Included),
        keys().prop_map(Bound::Excluded),
    ]
}

fn moves() -> impl Strategy<Value = Move> {
    let near = || -100_000..100_000_i64;
    prop_oneof![
        2 => (0..400_000_u64).prop_map(|at| Move::Seek(SeekFrom::Start(at))),
        2 => near().prop_map(|by| Move::Seek(SeekFrom::End(by))),
        2 => near().prop_map(|by| Move::Seek(SeekFrom::Current(by))),
        4 => lens().prop_map(Move::Read),
        3 => Just(Move::Slice),
    ]
}
