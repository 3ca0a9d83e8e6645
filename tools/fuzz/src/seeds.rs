//! The inputs that fuzzing starts from: what the encoders write.

use std::path::Path;

use crate::format::record::{
    Compressed, Meta, Put, Record, Refilled, SegmentList, SegmentRef, Space, Value,
};
use crate::format::{Seq, TrackId};

/// Names the directory that the seeds are to be written to.
const DIRECTORY: &str = "KOGIA_FUZZ_SEEDS";

/// Writes the seeds and ends the process, if the environment asks for it; each target calls this
/// first. The only way to make a corpus: none is kept beside the code, where it would age.
pub fn write_if_asked(seeds: impl FnOnce() -> Vec<Vec<u8>>) {
    let Some(dir) = std::env::var_os(DIRECTORY) else { return };
    for (number, seed) in seeds().iter().enumerate() {
        std::fs::write(Path::new(&dir).join(format!("seed-{number:02}")), seed)
            .expect("the directory of the seeds can be written");
    }
    std::process::exit(0);
}

/// What is known of a value of `len` bytes.
#[must_use]
pub fn meta(len: u64) -> Meta<'static> {
    Meta {
        len,
        crc: 0x1234_5678,
        created_ms: 1_700_000_000_000,
        modified_ms: 1,
        expires_ms: Some(2_000_000_000_000),
        attributes: b"content-type: video/mp2t",
    }
}

/// One record of each shape.
#[must_use]
pub fn records() -> Vec<Record<'static>> {
    let refilled = Refilled { track: TrackId(2), chunk: 300, crc: 9 };
    let segments = vec![
        SegmentRef { seq: Seq(Seq::first_of(3).0 + 9), len: 70_000, refilled: None },
        SegmentRef { seq: Seq(Seq::first_of(2).0 + 1), len: 5, refilled: Some(refilled) },
    ];
    let put = |meta, value| Put { space: Space::Object, key: b"camera/1/0001.ts", meta, value };
    vec![
        Record::Put(put(meta(100), Value::Inline)),
        Record::Put(put(meta(1 << 20), Value::Inline)),
        Record::Put(put(
            meta(300),
            Value::Compressed(Compressed { bytes: 90, with_dictionary: true }),
        )),
        Record::Put(put(meta(70_005), Value::Segments(SegmentList(segments)))),
        Record::Put(Put { space: Space::Part, key: b"part 8 B", ..put(meta(0), Value::Inline) }),
        Record::Delete { space: Space::Object, key: b"camera/1/0000.ts" },
        Record::Segment { len: 1 << 20, crc: 7 },
    ]
}

/// The entries of [`records`], with seqs.
#[must_use]
pub fn entries() -> Vec<Vec<u8>> {
    let encode = |(record, seq): (Record<'_>, u64)| {
        let mut entry = Vec::new();
        record.encode_into(&mut entry);
        crate::format::record::set_seq(&mut entry, Seq(seq));
        entry
    };
    records().into_iter().zip(1 << 41..).map(encode).collect()
}
