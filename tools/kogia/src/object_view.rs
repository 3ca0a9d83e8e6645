//! How one object is shown: as JSON, as a line of `ls --long`, as the page of `head`.

use std::io::{self, Write};

use kogia::Info;
use serde::Serialize;

use crate::escaped;
use crate::quantity::utc;

/// An object without its value. Key and attributes are escaped text in every form.
#[derive(Serialize)]
pub struct ObjectView {
    key: String,
    len: u64,
    seq: String,
    crc32c: String,
    created_ms: u64,
    modified_ms: u64,
    expires_ms: Option<u64>,
    attributes: String,
}

impl ObjectView {
    /// What is known of the object under `key`.
    pub fn new(key: &[u8], info: &Info) -> Self {
        ObjectView {
            key: escaped::text(key),
            len: info.len,
            seq: info.seq.to_string(),
            crc32c: format!("{:08x}", info.crc32c),
            created_ms: info.created_ms,
            modified_ms: info.modified_ms,
            expires_ms: info.expires_ms,
            attributes: escaped::text(&info.attributes),
        }
    }

    /// Prints one line of JSON.
    pub fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", serde_json::to_string(self)?)
    }

    /// Prints one line: length, times of modification and expiry, checksum, seq, key.
    pub fn write_line(&self, out: &mut dyn Write) -> io::Result<()> {
        let ObjectView { key, len, seq, crc32c, modified_ms, .. } = self;
        let (modified, expires) = (utc(*modified_ms), self.expires("-"));
        writeln!(out, "{len:>14}  {modified}  {expires:20}  {crc32c}  {seq:>10}  {key}")
    }

    /// Prints one line a field.
    pub fn write_page(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "key         {}", self.key)?;
        writeln!(out, "length      {}", self.len)?;
        writeln!(out, "seq         {}", self.seq)?;
        writeln!(out, "crc32c      {}", self.crc32c)?;
        writeln!(out, "created     {}", utc(self.created_ms))?;
        writeln!(out, "modified    {}", utc(self.modified_ms))?;
        writeln!(out, "expires     {}", self.expires("never"))?;
        writeln!(out, "attributes  {}", self.attributes)
    }

    fn expires(&self, never: &str) -> String {
        self.expires_ms.map_or_else(|| never.into(), utc)
    }
}
