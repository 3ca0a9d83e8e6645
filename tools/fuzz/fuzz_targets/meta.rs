//! `META`, `DISK`, `BACKUP` and `BACKUPS`: what decodes is what was sealed.

#![no_main]

use kogia_fuzz::format::meta::{
    BackupMarks, BackupMeta, DiskMeta, DiskState, META_VERSION, StoreMeta, VERSION,
};
use kogia_fuzz::format::{DiskId, Fault, StoreId, TrackId};
use kogia_fuzz::{forge, seeds};
use libfuzzer_sys::fuzz_target;

const VALUE_AT: usize = 16;

fuzz_target!(init: seeds::write_if_asked(samples), |data: &[u8]| {
    let _ = StoreMeta::decode(data);
    let _ = DiskMeta::decode(data);
    let _ = BackupMeta::decode(data);
    let _ = BackupMarks::decode(data);

    let first = forge::envelope(b"KOGIAMET", 1, data);
    if let Some(meta) = accepted(StoreMeta::decode(&first)) {
        assert_eq!(StoreMeta::decode(&meta.encode()), Ok(meta));
    }
    let store = forge::envelope(b"KOGIAMET", META_VERSION, data);
    if let Some(meta) = accepted(StoreMeta::decode(&store)) {
        assert_eq!(StoreMeta::decode(&meta.encode()), Ok(meta));
        let bad = flip(&store);
        assert!(StoreMeta::decode(&bad).is_err());
        assert!(DiskMeta::decode(&store).is_err(), "one file is not the other");
    }
    let disk = forge::envelope(b"KOGIADSK", VERSION, data);
    if let Some(meta) = accepted(DiskMeta::decode(&disk)) {
        assert_eq!(DiskMeta::decode(&meta.encode()), Ok(meta));
        assert!(DiskMeta::decode(&flip(&disk)).is_err());
    }
    let backup = forge::envelope(b"KOGIABAK", VERSION, data);
    if let Some(meta) = accepted(BackupMeta::decode(&backup)) {
        assert_eq!(BackupMeta::decode(&meta.encode()), Ok(meta));
        assert!(BackupMeta::decode(&flip(&backup)).is_err());
    }
    let marks = forge::envelope(b"KOGIABKS", VERSION, data);
    if let Some(meta) = accepted(BackupMarks::decode(&marks)) {
        assert_eq!(BackupMarks::decode(&meta.encode()), Ok(meta));
        assert!(BackupMarks::decode(&flip(&marks)).is_err());
    }
});

/// What was decoded, unless the value was refused; the envelope must not be.
fn accepted<T>(decoded: Result<T, Fault>) -> Option<T> {
    match decoded {
        Ok(value) => Some(value),
        Err(Fault::Invalid { .. }) => None,
        Err(fault) => panic!("the envelope is by the documentation, but: {fault}"),
    }
}

/// The file with one bit flipped, somewhere.
fn flip(file: &[u8]) -> Vec<u8> {
    let mut bad = file.to_vec();
    let at = file.iter().fold(0_usize, |sum, &b| sum.wrapping_mul(31).wrapping_add(b.into()));
    bad[at % file.len()] ^= 1 << (at % 7);
    bad
}

fn samples() -> Vec<Vec<u8>> {
    let disk = |number: u8| DiskState {
        active: (number > 1).then_some((TrackId(300), 65_536)),
        outputs: vec![(TrackId(u32::from(number)), 300); number.into()],
        draining: number == 2,
        ..DiskState::new(DiskId([number; 16]), format!("/mnt/{number}/kogia"))
    };
    let small = StoreMeta {
        store: StoreId([9; 16]),
        openings: 1,
        clean: false,
        next_track: 0,
        disks: Vec::new(),
        cuts: Vec::new(),
        trims: Vec::new(),
    };
    let large = StoreMeta {
        openings: 70_000,
        clean: true,
        next_track: 301,
        disks: vec![disk(1), disk(2), disk(3)],
        cuts: vec![(TrackId(299), 17), (TrackId(4), 1 << 20)],
        trims: vec![(TrackId(298), 1 << 18)],
        ..small.clone()
    };
    let files = [small.encode(), large.encode(), DiskMeta { id: DiskId([3; 16]) }.encode()];
    let values = files.iter().map(|file| file[VALUE_AT..file.len() - 4].to_vec());
    values.chain(files.iter().cloned()).collect()
}
