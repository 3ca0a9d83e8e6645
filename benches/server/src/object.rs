//! The objects that are put: names, and bodies that a name gives.
//!
//! No two bodies have a MiB in common, whatever round they are of, since Garage stores equal blocks once,
//! also those that were deleted a while ago. None can be compressed.

use std::hash::{DefaultHasher, Hasher};
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::Result;

/// What tells a body from all others: a hash of its key, and its size, both 8 bytes little-endian.
const HEAD: usize = 16;

/// Noise that bodies are slices of.
static NOISE: LazyLock<Bytes> = LazyLock::new(|| {
    let mut random = Random::new(1);
    (0..3 << 20).flat_map(|_| random.next().to_le_bytes()).collect::<Vec<u8>>().into()
});

/// Xorshift: enough to choose keys, and to make noise.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// The key of object `number` of `size` bytes.
pub fn key(group: &str, size: usize, number: u64) -> String {
    format!("{group}/{size}/{number:08}")
}

/// The size that a key of `key` has.
pub fn size_of(key: &str) -> Option<usize> {
    key.rsplit('/').nth(1)?.parse().ok()
}

/// A body in two pieces, of which the larger one is shared by all.
pub struct Payload {
    pieces: [Bytes; 2],
}

impl Payload {
    pub fn empty() -> Self {
        Self { pieces: [Bytes::new(), Bytes::new()] }
    }

    pub fn text(text: String) -> Self {
        Self { pieces: [text.into(), Bytes::new()] }
    }

    /// The body of the object `key`: `size` bytes, 16 at least.
    pub fn object(key: &str, size: usize) -> Self {
        let rest = size - HEAD;
        let from = (hash(key) % (NOISE.len() - rest) as u64) as usize;
        Self { pieces: [head(key, size).to_vec().into(), NOISE.slice(from..from + rest)] }
    }

    pub fn len(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }
}

/// Fails unless a body of `len` bytes that begins with `start` is the one of `key`.
pub fn check(key: &str, size: usize, len: usize, start: &[u8]) -> Result<()> {
    if len != size || !start.starts_with(&head(key, size)) {
        return Err(format!("{key} of {size} bytes came back as {len} others").into());
    }
    Ok(())
}

fn head(key: &str, size: usize) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(&hash(key).to_le_bytes());
    head[8..].copy_from_slice(&(size as u64).to_le_bytes());
    head
}

/// The same in every process, as the limit's and the client's have to be.
fn hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(key.as_bytes());
    hasher.finish()
}

impl Body for Payload {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Self::Error>>> {
        let piece = self.pieces.iter_mut().find(|piece| !piece.is_empty());
        Poll::Ready(piece.map(|piece| Ok(Frame::data(std::mem::take(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.len() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_which_body_it_has() {
        let key = key("r1", 4096, 7);
        assert_eq!(size_of(&key), Some(4096));
        let body = Payload::object(&key, 4096);
        assert_eq!(body.len(), 4096);
        assert!(check(&key, 4096, 4096, &body.pieces[0]).is_ok());
        assert!(check("r2/4096/00000007", 4096, 4096, &body.pieces[0]).is_err());
        assert!(check(&key, 4096, 4095, &body.pieces[0]).is_err());
    }
}
