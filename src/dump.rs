//! A track's chunks, chains and records as text: what one reads to debug a crash.

use std::io::Write;
use std::path::Path;

use crate::error::Result;
use crate::format::StoreId;

/// x
pub fn track(_file: &Path, _store: Option<StoreId>, _out: &mut dyn Write) -> Result<()> {
    todo!()
}
