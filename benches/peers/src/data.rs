//! What is stored: keys with numbers, and bodies that differ and can't be compressed.
//!
//! A body is a slice of noise whose place the object's number and version tell, so that making it
//! costs nothing while the clock runs, and what is read can be checked.

/// Bodies begin at one of so many bytes of the noise.
const SPREAD_BYTES: usize = 32 << 20;
const CAMERAS: u64 = 64;

/// A key, and the number that it was made of: Marble's objects have numbers alone.
#[derive(Clone, Debug)]
pub struct Key {
    pub number: u64,
    pub name: String,
}

impl Key {
    /// As of 64 cameras, each of which counts up.
    pub fn camera(number: u64) -> Self {
        let name = format!("camera-{:02}/{:010}", number % CAMERAS, number / CAMERAS);
        Key { number, name }
    }

    /// One of many below `prefixes` common prefixes.
    pub fn below(number: u64, prefixes: u64) -> Self {
        let name = format!("folder-{:06}/{:010}", number % prefixes, number / prefixes);
        Key { number, name }
    }

    pub fn bytes(&self) -> &[u8] {
        self.name.as_bytes()
    }
}

/// Where bodies come from.
pub struct Bodies {
    noise: Vec<u8>,
    seed: u64,
}

impl Bodies {
    /// For bodies of `longest` bytes at most; those of another seed are others.
    pub fn new(seed: u64, longest: usize) -> Self {
        let mut random = Random::new(seed);
        let words = (SPREAD_BYTES + longest).div_ceil(8);
        let noise = (0..words).flat_map(|_| random.next().to_le_bytes()).collect();
        Bodies { noise, seed }
    }

    /// The body of a version of an object.
    pub fn body(&self, number: u64, version: u64, len: usize) -> &[u8] {
        let at = mix(self.seed ^ mix(number) ^ version.wrapping_mul(0x9e37_79b9));
        let from = (at % (SPREAD_BYTES as u64 / 8)) as usize * 8;
        &self.noise[from..from + len]
    }
}

/// Random enough to choose keys and to make noise (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(mix(seed))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

fn mix(mut state: u64) -> u64 {
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_differ_by_object_version_and_seed() {
        let (bodies, others) = (Bodies::new(1, 100), Bodies::new(2, 100));
        let body = bodies.body(7, 0, 100);
        assert_eq!(body, bodies.body(7, 0, 100));
        assert_ne!(body, bodies.body(8, 0, 100));
        assert_ne!(body, bodies.body(7, 1, 100));
        assert_ne!(body, others.body(7, 0, 100));
    }
}
