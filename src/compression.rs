//! Values compressed with zstd, and the dictionaries that make it worth while for small ones.
//!
//! A compressed value is one zstd frame. Values that own their chunks are compressed alone; those
//! that share chunks are too short to repeat themselves, and are compressed with the dictionary of
//! their track: bytes that such values have in common, trained from a sample of them. It lies in
//! the track's header, so that a read needs one dictionary and one record.
//!
//! This module knows neither tracks nor keys. What it makes of a value is a pure function of the
//! value, the level and the dictionary. All of it may be used from any number of threads.
//!
//! Sources: RFC 8878 for the frame; zstd's `zdict.h` for what a dictionary wants to be trained with.

use std::sync::{Mutex, PoisonError};

use zstd::zstd_safe::{
    CCtx, CDict, DCtx, DDict, compress_bound, get_error_name, train_from_buffer,
};

use crate::format::record::OWNED_MIN_BYTES;
use crate::format::track_header::MAX_DICTIONARY_BYTES;
use crate::format::{Fault, chunk};

/// The levels that are taken: beyond 19 zstd wants memory that a small machine has not.
pub(crate) const LEVELS: std::ops::RangeInclusive<i32> = -7..=19;
/// For what is copied where the options give no level.
pub(crate) const DEFAULT_LEVEL: i32 = 3;
/// Values of up to this many bytes stay as they are, and a sample of them trains no dictionary.
const TINY_BYTES: usize = 8;
/// A dictionary of fewer values knows nothing of the next one.
const MIN_SAMPLES: usize = 8;
/// Values that a dictionary is trained from at most, and bytes of each: about a hundred times its
/// own size is what it wants, and ten times does.
const MAX_SAMPLES: usize = 1024;
const SAMPLE_BYTES: usize = 1024;
/// The beginning of a long value tells whether the rest is worth trying: media is not.
const PROBE_BYTES: usize = 16 << 10;
/// Contexts that are kept for the next call.
const MAX_IDLE: usize = 4;

/// A dictionary, ready to compress with.
pub(crate) struct Dictionary {
    bytes: Vec<u8>,
    digested: CDict<'static>,
}

impl Dictionary {
    /// `None` where zstd takes these bytes for a dictionary that is none.
    pub(crate) fn new(bytes: Vec<u8>, level: i32) -> Option<Self> {
        Some(Dictionary { digested: CDict::try_create(&bytes, level)?, bytes })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl std::fmt::Debug for Dictionary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dictionary").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

/// Compresses values, and keeps a sample of the small ones to train dictionaries from.
pub(crate) struct Compressor {
    level: i32,
    contexts: Idle<CCtx<'static>>,
    /// Lock: taken alone.
    samples: Mutex<Samples>,
}

impl Compressor {
    pub(crate) fn new(level: i32) -> Self {
        Compressor { level, contexts: Idle::default(), samples: Mutex::default() }
    }

    /// The frame of `value`, where it takes less room; else `None`.
    pub(crate) fn compress(
        &self,
        value: &[u8],
        dictionary: Option<&Dictionary>,
    ) -> Option<Vec<u8>> {
        let probe = &value[..value.len().min(PROBE_BYTES)];
        if value.len() >= 4 * PROBE_BYTES && self.frame(probe, None).len() > less(PROBE_BYTES) {
            return None;
        }
        if value.len() <= TINY_BYTES {
            return None;
        }
        let frame = self.frame(value, dictionary);
        let pays = frame.len() < value.len() && room(frame.len()) <= less(room(value.len()));
        pays.then_some(frame)
    }

    /// Lets `value` be one of those that the next dictionary is trained from.
    pub(crate) fn offer(&self, value: &[u8]) {
        // Where another thread offers one at this moment, that one does.
        if let Ok(mut samples) = self.samples.try_lock() {
            samples.offer(value);
        }
    }

    /// A dictionary for values like those offered since the last call, if it would do them good.
    pub(crate) fn train_offered(&self) -> Option<Dictionary> {
        let samples =
            std::mem::take(&mut *self.samples.lock().unwrap_or_else(PoisonError::into_inner));
        self.train(&samples.values)
    }

    /// A dictionary for values like these, if it would do them good: it is tried on values that it
    /// was not trained from.
    pub(crate) fn train<T: AsRef<[u8]>>(&self, samples: &[T]) -> Option<Dictionary> {
        let all_bytes: usize = samples.iter().map(|sample| sample.as_ref().len()).sum();
        if samples.len() < MIN_SAMPLES || all_bytes <= samples.len() * TINY_BYTES {
            return None;
        }
        let (mut together, mut lens, mut others) = (Vec::with_capacity(all_bytes), vec![], vec![]);
        for (at, sample) in samples.iter().map(AsRef::as_ref).enumerate() {
            if at % 4 == 3 {
                others.push(sample);
            } else {
                together.extend_from_slice(sample);
                lens.push(sample.len());
            }
        }
        let mut bytes = Vec::with_capacity(MAX_DICTIONARY_BYTES);
        train_from_buffer(&mut bytes, &together, &lens).ok()?;
        forget_id(&mut bytes);
        let dictionary = Dictionary::new(bytes, self.level)?;
        let stored = |dictionary| {
            let len =
                |value: &&[u8]| self.compress(value, dictionary).map_or(value.len(), |f| f.len());
            others.iter().map(len).sum::<usize>()
        };
        (stored(Some(&dictionary)) * 10 <= stored(None) * 9).then_some(dictionary)
    }

    fn frame(&self, value: &[u8], dictionary: Option<&Dictionary>) -> Vec<u8> {
        let mut frame = Vec::with_capacity(compress_bound(value.len()));
        let outcome = self.contexts.with(CCtx::create, |context| match dictionary {
            Some(known) => context.compress_using_cdict(&mut frame, value, &known.digested),
            None => context.compress(&mut frame, value, self.level),
        });
        outcome.expect("there is room for the worst case, and memory to compress in");
        frame
    }
}

/// Bytes that are enough fewer to pay for the reader's work: a sixteenth.
fn less(bytes: usize) -> usize {
    bytes - bytes / 16
}

/// What a value of `len` bytes takes in its chain.
fn room(len: usize) -> usize {
    let chunks = chunk::chunks_for(len as u64) as usize;
    if len as u64 >= OWNED_MIN_BYTES { chunks * chunk::PAYLOAD_BYTES } else { len }
}

/// Frames name their dictionary by an id of four bytes, unless it has none: the track says it.
fn forget_id(dictionary: &mut [u8]) {
    const MAGIC: [u8; 4] = 0xEC30_A437_u32.to_le_bytes();
    if dictionary.starts_with(&MAGIC) && dictionary.len() >= 8 {
        dictionary[4..8].fill(0);
    }
}

/// Reads what a [`Compressor`] made.
#[derive(Default)]
pub(crate) struct Decompressor {
    contexts: Idle<DCtx<'static>>,
}

impl Decompressor {
    /// Fills `value` with what `frame` holds, which has to be just as long.
    pub(crate) fn decompress(
        &self,
        frame: &[u8],
        dictionary: Option<&DDict<'static>>,
        value: &mut [u8],
    ) -> Result<(), Fault> {
        let outcome = self.contexts.with(DCtx::create, |context| match dictionary {
            Some(known) => context.decompress_using_ddict(value, frame, known),
            None => context.decompress(value, frame),
        });
        match outcome {
            Ok(len) if len == value.len() => Ok(()),
            Ok(len) => Err(fault(format!("{len} bytes, where {} are expected", value.len()))),
            Err(code) => Err(fault(get_error_name(code).into())),
        }
    }
}

fn fault(why: String) -> Fault {
    Fault::Invalid { what: "compressed value", why }
}

/// Contexts that nobody uses now: making one costs more than compressing a small value.
struct Idle<T>(Mutex<Vec<T>>);

impl<T> Default for Idle<T> {
    fn default() -> Self {
        Idle(Mutex::default())
    }
}

impl<T> Idle<T> {
    fn with<R>(&self, create: impl FnOnce() -> T, run: impl FnOnce(&mut T) -> R) -> R {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = lock().pop();
        let mut context = idle.unwrap_or_else(create);
        let outcome = run(&mut context);
        let mut idle = lock();
        if idle.len() < MAX_IDLE {
            idle.push(context);
        }
        outcome
    }
}

/// A fair sample of values: each of those offered is in it as likely as any other (Vitter's
/// algorithm R, ACM TOMS 11, 1985).
#[derive(Default)]
struct Samples {
    values: Vec<Vec<u8>>,
    offered: u64,
    state: u64,
}

impl Samples {
    fn offer(&mut self, value: &[u8]) {
        self.offered += 1;
        let sample = || value[..value.len().min(SAMPLE_BYTES)].to_vec();
        if self.values.len() < MAX_SAMPLES {
            self.values.push(sample());
            return;
        }
        let at = (self.random() % self.offered) as usize;
        if let Some(other) = self.values.get_mut(at) {
            *other = sample();
        }
    }

    /// splitmix64: what is sampled need not be a secret.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Of many values those, evenly spread, that a dictionary is trained from.
pub(crate) fn spread<'v>(values: &[&'v [u8]]) -> Vec<&'v [u8]> {
    let step = values.len().div_ceil(MAX_SAMPLES).max(1);
    values.iter().step_by(step).map(|value| &value[..value.len().min(SAMPLE_BYTES)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a camera says of a frame: most of it is what it said of the last one.
    fn note(number: u64) -> Vec<u8> {
        let bright = number.wrapping_mul(2_654_435_761) % 1000;
        format!(
            "{{\"camera\":\"entrance-{}\",\"frame\":{number},\"exposure_us\":{},\
             \"brightness\":0.{bright:03},\"codec\":\"h264\",\"motion\":{}}}",
            number % 7,
            8_000 + bright,
            bright > 500,
        )
        .into_bytes()
    }

    fn noise(len: usize) -> Vec<u8> {
        let mut samples = Samples::default();
        (0..len).map(|_| samples.random() as u8).collect()
    }

    fn read(frame: &[u8], dictionary: Option<&Dictionary>, len: usize) -> Result<Vec<u8>, Fault> {
        let mut value = vec![0; len];
        let digested = dictionary.map(|known| DDict::create(known.bytes()));
        Decompressor::default().decompress(frame, digested.as_ref(), &mut value)?;
        Ok(value)
    }

    #[test]
    fn small_values_shrink_with_a_dictionary_and_come_back() {
        let compressor = Compressor::new(3);
        (0..5_000).for_each(|number| compressor.offer(&note(number)));
        let dictionary = compressor.train_offered().expect("they are alike");
        assert!(dictionary.bytes().len() <= MAX_DICTIONARY_BYTES);
        let (mut with, mut without) = (0, 0);
        for number in 9_000..9_100 {
            let value = note(number);
            let frame = compressor.compress(&value, Some(&dictionary)).expect("it is like those");
            assert_eq!(read(&frame, Some(&dictionary), value.len()), Ok(value.clone()));
            with += frame.len();
            without += compressor.compress(&value, None).map_or(value.len(), |frame| frame.len());
        }
        assert!(with * 2 < without, "{with} bytes with, {without} without");
    }

    #[test]
    fn what_does_not_shrink_stays_as_it_is() {
        let compressor = Compressor::new(3);
        let mut large = noise(1 << 20);
        assert_eq!(compressor.compress(&large, None), None);
        // Only the beginning is tried.
        large[PROBE_BYTES..].fill(0);
        assert_eq!(compressor.compress(&large, None), None);
        assert_eq!(compressor.compress(&noise(300), None), None);
        assert_eq!(compressor.compress(&[7; TINY_BYTES], None), None);
        // Fewer bytes, but as many chunks.
        let mut odd = noise(5 * chunk::PAYLOAD_BYTES);
        odd[..2_000].fill(0);
        assert_eq!(compressor.compress(&odd, None), None);
    }

    #[test]
    fn few_or_tiny_or_unlike_values_make_no_dictionary() {
        let compressor = Compressor::new(3);
        let notes: Vec<_> = (0..200).map(note).collect();
        assert!(compressor.train(&notes[..MIN_SAMPLES - 1]).is_none());
        assert!(compressor.train(&vec![b"12345678"; 5_000]).is_none());
        let unlike: Vec<_> = noise(200 * 500).chunks(500).map(<[u8]>::to_vec).collect();
        assert!(compressor.train(&unlike).is_none());
        assert!(compressor.train(&notes).is_some());
        assert!(compressor.train_offered().is_none());
    }

    #[test]
    fn a_frame_that_is_not_what_it_should_be_is_a_fault() {
        let compressor = Compressor::new(3);
        let value = vec![7; 1_000];
        let frame = compressor.compress(&value, None).expect("it is all the same");
        assert_eq!(read(&frame, None, 1_000), Ok(value));
        for (frame, len) in [(&frame[..], 999), (&frame[..], 1_001), (&frame[1..], 1_000), (b"", 1)]
        {
            assert!(read(frame, None, len).is_err());
        }
    }

    #[test]
    fn the_sample_is_fair() {
        let mut samples = Samples::default();
        (0..100_000_u32).for_each(|number| samples.offer(&number.to_le_bytes()));
        assert_eq!(samples.values.len(), MAX_SAMPLES);
        let numbers = samples.values.iter().map(|v| u32::from_le_bytes(v[..].try_into().unwrap()));
        let mean = numbers.map(f64::from).sum::<f64>() / MAX_SAMPLES as f64;
        assert!((45_000.0..55_000.0).contains(&mean), "{mean}");
    }
}
