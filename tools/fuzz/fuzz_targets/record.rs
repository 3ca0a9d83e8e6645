//! A record that decodes is one that encodes to an entry of the same meaning.

#![no_main]

use kogia_fuzz::format::Seq;
use kogia_fuzz::format::chain::Room;
use kogia_fuzz::format::record;
use kogia_fuzz::{forge, seeds};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: seeds::write_if_asked(samples), |data: &[u8]| {
    check(data);
    check(&forge::entry(data.len() as u64, data));
});

fn check(entry: &[u8]) {
    let length = record::entry_bytes(entry);
    let Ok((seq, decoded)) = record::decode(entry) else { return };
    assert_eq!(length, Ok(entry.len()));
    let _ = Room::of(&decoded);

    let mut again = Vec::new();
    decoded.encode_into(&mut again);
    assert_eq!(record::decode(&again), Ok((Seq(0), decoded.clone())));
    record::set_seq(&mut again, seq);
    assert_eq!(record::decode(&again), Ok((seq, decoded)));
    // Integers have one shortest form, which is the one that is written.
    assert!(again.len() <= entry.len());
    for len in 0..again.len() {
        assert!(record::decode(&again[..len]).is_err(), "decodes cut off at {len}");
    }
}

fn samples() -> Vec<Vec<u8>> {
    let entries = seeds::entries();
    let operations = entries.iter().map(|entry| entry[record::PREFIX_BYTES..].to_vec());
    operations.chain(entries.iter().cloned()).collect()
}
