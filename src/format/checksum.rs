//! CRC-32C, the one checksum of the formats.
//!
//! Hardware instructions are chosen at run time where the processor has them.

/// CRC-32C of `bytes`.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    extend(0, bytes)
}

/// CRC-32C of the bytes whose checksum is `crc`, followed by `bytes`.
#[must_use]
pub fn extend(crc: u32, bytes: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if bytes.len() >= WIDE_MIN_BYTES && has_wide_registers() {
        return extend_wide(crc, bytes);
    }
    ::crc32c::crc32c_append(crc, bytes)
}

/// Below this, setting wide registers up costs more than they save.
#[cfg(target_arch = "x86_64")]
const WIDE_MIN_BYTES: usize = 512;

/// Whether the processor multiplies 512 bits without carry. Where it does not, three chains of CRC
/// instructions over neighbouring blocks are faster than they are together with narrow products, in
/// the cache, and more than twice as fast from memory.
#[cfg(target_arch = "x86_64")]
fn has_wide_registers() -> bool {
    std::arch::is_x86_feature_detected!("avx512vl")
        && std::arch::is_x86_feature_detected!("vpclmulqdq")
}

#[cfg(target_arch = "x86_64")]
fn extend_wide(crc: u32, bytes: &[u8]) -> u32 {
    use crc_fast::{CrcAlgorithm, Digest};
    // The state is the checksum before it is inverted at the end.
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, (!crc).into());
    digest.update(bytes);
    digest.finalize() as u32
}

/// Puts checksums of consecutive runs together where all but the last have the same length, so
/// that a value's checksum costs no second pass over its bytes.
///
/// Appending `n` bytes to a checksum is linear over its bits: one table of 4 x 256 words, made
/// once for `n`, does it in four look-ups.
pub(crate) struct Joiner {
    tables: [[u32; 256]; 4],
}

impl Joiner {
    /// A joiner whose second runs are `second_bytes` long.
    pub(crate) fn new(second_bytes: usize) -> Self {
        let mut tables = [[0; 256]; 4];
        for (byte, table) in tables.iter_mut().enumerate() {
            for bit in 0..8 {
                let basis = 1_u32 << (8 * byte + bit);
                let image = ::crc32c::crc32c_combine(basis, 0, second_bytes);
                for index in (1 << bit)..(2 << bit) {
                    table[index] = image ^ table[index - (1 << bit)];
                }
            }
        }
        Self { tables }
    }

    /// The checksum of two runs, from the checksum of each.
    pub(crate) fn join(&self, first: u32, second: u32) -> u32 {
        let bytes = first.to_le_bytes();
        let shifted = (0..4).fold(0, |acc, i| acc ^ self.tables[i][usize::from(bytes[i])]);
        shifted ^ second
    }
}

/// CRC-32C of two runs of bytes, from the checksum of each and the length of the second.
#[must_use]
pub fn combine(first: u32, second: u32, second_len: usize) -> u32 {
    ::crc32c::crc32c_combine(first, second, second_len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_published_check_value() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(extend(crc32c(b"1234"), b"56789"), 0xe306_9283);
        assert_eq!(combine(crc32c(b"1234"), crc32c(b"56789"), 5), 0xe306_9283);
        #[cfg(target_arch = "x86_64")]
        assert_eq!(extend_wide(extend_wide(0, b"1234"), b"56789"), 0xe306_9283);
        assert_eq!(Joiner::new(5).join(crc32c(b"1234"), crc32c(b"56789")), 0xe306_9283);
    }
}
