//! bincode with one configuration: little-endian, variable-length integers, bounded.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::enc::write::Writer;
use bincode::error::EncodeError;
use serde::{Deserialize, Serialize};

use super::Fault;

/// The most bytes one value may decode from: a directory entry with the largest key, the largest
/// attributes and the segments of an object of some terabytes.
const LIMIT_BYTES: usize = 64 << 20;

const CONFIG: Configuration<LittleEndian, Varint, Limit<LIMIT_BYTES>> =
    bincode::config::standard().with_limit::<LIMIT_BYTES>();

/// Appends the encoding of `value` to `out`.
pub(super) fn encode_into<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    bincode::serde::encode_into_writer(value, Appended(out), CONFIG)
        .expect("our own types encode into memory");
}

/// Cheaper than writing through `std::io::Write`, which counts.
struct Appended<'a>(&'a mut Vec<u8>);

impl Writer for Appended<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// Decodes all of `bytes`, borrowing from them.
pub(super) fn decode<'a, T: Deserialize<'a>>(
    what: &'static str,
    bytes: &'a [u8],
) -> Result<T, Fault> {
    let (value, used) = bincode::serde::borrow_decode_from_slice(bytes, CONFIG)
        .map_err(|e| Fault::Invalid { what, why: e.to_string() })?;
    if used != bytes.len() {
        let why = format!("{} bytes follow its end", bytes.len() - used);
        return Err(Fault::Invalid { what, why });
    }
    Ok(value)
}

/// Decodes text without allocating by the length that it claims: for `deserialize_with`.
pub(super) fn text<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    <&str>::deserialize(from).map(str::to_owned)
}
