//! How small rows are written: a version, then bincode.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The version that is written. A reader knows all versions up to its own.
const VERSION: u8 = 1;
/// No row is longer, so none makes a reader allocate more.
pub const MAX_ROW_BYTES: usize = 1 << 20;

/// A row that does not decode: written by a later version, or not by us.
#[derive(Debug)]
pub struct NoRow(String);

impl NoRow {
    #[must_use]
    pub fn new(why: impl Into<String>) -> Self {
        NoRow(why.into())
    }
}

impl std::fmt::Display for NoRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoRow {}

/// # Panics
///
/// Where a row's type has something that bincode can't write: never, with those here.
#[must_use]
pub fn encode(row: &impl Serialize) -> Vec<u8> {
    encode_as(VERSION, row)
}

/// Encodes a row of a kind that has more than one version.
///
/// # Panics
///
/// As [`encode`].
#[must_use]
pub fn encode_as(version: u8, row: &impl Serialize) -> Vec<u8> {
    let mut bytes = vec![version];
    bincode::serde::encode_into_std_write(row, &mut bytes, bincode::config::standard())
        .expect("rows are plain data");
    bytes
}

pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, NoRow> {
    decode_as(VERSION, bytes)
}

/// Decodes a row of a kind that has more than one version.
pub fn decode_as<T: DeserializeOwned>(known: u8, bytes: &[u8]) -> Result<T, NoRow> {
    let config = bincode::config::standard().with_limit::<MAX_ROW_BYTES>();
    match bytes.split_first() {
        Some((&version, row)) if version == known => {
            match bincode::serde::decode_from_slice(row, config) {
                Ok((row, taken)) if taken == bytes.len() - 1 => Ok(row),
                Ok(_) => Err(NoRow("a row has bytes behind its end".into())),
                Err(error) => Err(NoRow(format!("a row does not decode: {error}"))),
            }
        }
        Some((version, _)) => {
            Err(NoRow(format!("a row has version {version}, and this build knows {known}")))
        }
        None => Err(NoRow("a row is empty".into())),
    }
}
