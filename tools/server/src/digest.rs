//! MD5 and the checksums of S3, computed while bytes pass by.

use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256};
use serde::{Deserialize, Serialize};

/// A checksum algorithm that S3 knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

/// A checksum as it is kept and told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Checksum {
    pub algorithm: Algorithm,
    pub value: Vec<u8>,
    /// Of the parts' checksums, as many as this; else of the whole.
    pub parts: Option<u32>,
}

impl Algorithm {
    pub const ALL: [Algorithm; 5] = [
        Algorithm::Crc32,
        Algorithm::Crc32c,
        Algorithm::Crc64Nvme,
        Algorithm::Sha1,
        Algorithm::Sha256,
    ];

    /// As `x-amz-checksum-algorithm` has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "CRC32",
            Algorithm::Crc32c => "CRC32C",
            Algorithm::Crc64Nvme => "CRC64NVME",
            Algorithm::Sha1 => "SHA1",
            Algorithm::Sha256 => "SHA256",
        }
    }

    /// The header that carries it, in front or behind.
    #[must_use]
    pub fn header(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "x-amz-checksum-crc32",
            Algorithm::Crc32c => "x-amz-checksum-crc32c",
            Algorithm::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Algorithm::Sha1 => "x-amz-checksum-sha1",
            Algorithm::Sha256 => "x-amz-checksum-sha256",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    #[must_use]
    pub fn of_header(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.header().eq_ignore_ascii_case(name.trim()))
    }

    #[must_use]
    pub fn digest_bytes(self) -> usize {
        match self {
            Algorithm::Crc32 | Algorithm::Crc32c => 4,
            Algorithm::Crc64Nvme => 8,
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => 32,
        }
    }

    /// Whether the checksum of a whole can be had from those of its parts.
    #[must_use]
    pub fn combines(self) -> bool {
        matches!(self, Algorithm::Crc32 | Algorithm::Crc32c | Algorithm::Crc64Nvme)
    }

    /// The digest in base64, if it is one of this algorithm.
    #[must_use]
    pub fn parse_digest(self, text: &str) -> Option<Vec<u8>> {
        let bytes = base64_simd::STANDARD.decode_to_vec(text).ok()?;
        (bytes.len() == self.digest_bytes()).then_some(bytes)
    }

    /// The checksum of what `first` and then `second` of `second_bytes` are the checksums of.
    fn combine(self, first: &[u8], second: &[u8], second_bytes: u64) -> Option<Vec<u8>> {
        let known = match self {
            Algorithm::Crc32 => crc_fast::CrcAlgorithm::Crc32IsoHdlc,
            Algorithm::Crc32c => crc_fast::CrcAlgorithm::Crc32Iscsi,
            Algorithm::Crc64Nvme => crc_fast::CrcAlgorithm::Crc64Nvme,
            Algorithm::Sha1 | Algorithm::Sha256 => return None,
        };
        let both = crc_fast::checksum_combine(known, number(first), number(second), second_bytes);
        Some(both.to_be_bytes()[8 - self.digest_bytes()..].to_vec())
    }
}

fn number(big_endian: &[u8]) -> u64 {
    big_endian.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

impl Checksum {
    /// As headers and answers have it.
    #[must_use]
    pub fn text(&self) -> String {
        let value = base64_simd::STANDARD.encode_to_string(&self.value);
        match self.parts {
            Some(count) => format!("{value}-{count}"),
            None => value,
        }
    }

    /// Of the parts' checksums in their order: what S3 calls composite.
    #[must_use]
    pub fn composite(algorithm: Algorithm, parts: &[Vec<u8>]) -> Self {
        let mut running = Running::new(algorithm);
        parts.iter().for_each(|part| running.update(part));
        let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        Checksum { algorithm, value: running.finish(), parts: Some(count) }
    }

    /// Of the whole, from the checksums and lengths of its parts; `None` where the algorithm has no
    /// such thing.
    #[must_use]
    pub fn combined(algorithm: Algorithm, parts: &[(Vec<u8>, u64)]) -> Option<Self> {
        let ((first, _), rest) = parts.split_first()?;
        let mut value = first.clone();
        if !algorithm.combines() {
            return None;
        }
        for (next, len) in rest {
            value = algorithm.combine(&value, next, *len)?;
        }
        Some(Checksum { algorithm, value, parts: None })
    }
}

enum Running {
    Crc32(Crc32),
    Crc32c(Crc32c),
    Crc64Nvme(Box<Crc64Nvme>),
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Running {
    fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Crc32 => Running::Crc32(Crc32::new()),
            Algorithm::Crc32c => Running::Crc32c(Crc32c::new()),
            Algorithm::Crc64Nvme => Running::Crc64Nvme(Box::new(Crc64Nvme::new())),
            Algorithm::Sha1 => Running::Sha1(Sha1::new()),
            Algorithm::Sha256 => Running::Sha256(Sha256::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Running::Crc32(sum) => sum.update(bytes),
            Running::Crc32c(sum) => sum.update(bytes),
            Running::Crc64Nvme(sum) => sum.update(bytes),
            Running::Sha1(sum) => sum.update(bytes),
            Running::Sha256(sum) => sum.update(bytes),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Running::Crc32(sum) => sum.finalize().as_ref().to_vec(),
            Running::Crc32c(sum) => sum.finalize().as_ref().to_vec(),
            Running::Crc64Nvme(sum) => sum.finalize().as_ref().to_vec(),
            Running::Sha1(sum) => sum.finalize().as_ref().to_vec(),
            Running::Sha256(sum) => sum.finalize().as_ref().to_vec(),
        }
    }
}

/// Digests of the bytes that pass by.
pub struct Digests {
    md5: Md5,
    checksum: Option<(Algorithm, Running)>,
}

/// The digests of all that has passed by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sums {
    pub md5: [u8; 16],
    pub checksum: Option<Checksum>,
}

impl Digests {
    #[must_use]
    pub fn new(algorithm: Option<Algorithm>) -> Self {
        let checksum = algorithm.map(|algorithm| (algorithm, Running::new(algorithm)));
        Digests { md5: Md5::new(), checksum }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        if let Some((_, running)) = &mut self.checksum {
            running.update(bytes);
        }
    }

    #[must_use]
    pub fn finish(self) -> Sums {
        let checksum = self.checksum.map(|(algorithm, running)| Checksum {
            algorithm,
            value: running.finish(),
            parts: None,
        });
        Sums { md5: self.md5.finalize(), checksum }
    }
}

/// MD5 of bytes that are there already.
#[must_use]
pub fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::checksum(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checksum(algorithm: Algorithm, bytes: &[u8]) -> Checksum {
        let mut digests = Digests::new(Some(algorithm));
        digests.update(bytes);
        digests.finish().checksum.unwrap()
    }

    #[test]
    fn known_answers() {
        let bytes = b"123456789";
        let text = |algorithm| checksum(algorithm, bytes).text();
        assert_eq!(text(Algorithm::Crc32), "y/Q5Jg==");
        assert_eq!(text(Algorithm::Crc32c), "4waSgw==");
        assert_eq!(text(Algorithm::Crc64Nvme), "rosUhgp5mIg=");
        assert_eq!(text(Algorithm::Sha1), "98O8HYCOBHMq32eZZczDTKeuNEE=");
        assert_eq!(text(Algorithm::Sha256), "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=");
    }

    #[test]
    fn parts_combine_to_the_checksum_of_the_whole() {
        let whole: Vec<u8> = (0..100_000u32).map(|i| (i.wrapping_mul(i) >> 3) as u8).collect();
        let cuts = [0, 1, 5000, 5000, 70_000, 100_000];
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
            let parts: Vec<_> = cuts
                .windows(2)
                .map(|cut| &whole[cut[0]..cut[1]])
                .map(|part| (checksum(algorithm, part).value, part.len() as u64))
                .collect();
            assert_eq!(Checksum::combined(algorithm, &parts), Some(checksum(algorithm, &whole)));
        }
        assert_eq!(Checksum::combined(Algorithm::Sha1, &[(vec![0; 20], 1)]), None);
    }

    #[test]
    fn names_and_digests_are_told_from_rubbish() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::parse(algorithm.name()), Some(algorithm));
            assert_eq!(Algorithm::of_header(algorithm.header()), Some(algorithm));
            let digest = checksum(algorithm, b"x");
            assert_eq!(algorithm.parse_digest(&digest.text()), Some(digest.value));
            assert_eq!(algorithm.parse_digest("AAAA"), None);
            assert_eq!(algorithm.parse_digest("!"), None);
        }
        assert_eq!(Algorithm::parse("MD5"), None);
    }
}
