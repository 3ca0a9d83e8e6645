//! Damage to what was rewritten is named, and passed over where that is asked for.

use super::*;

/// A queue, closed, of which all but the last track was rewritten.
fn rewritten_queue(io: &SimIo) -> Items {
    let queue = on(io).open(DIR).unwrap();
    append(&queue, 0, [900; 80]);
    queue.rewrite(.., thirds).unwrap();
    append(&queue, 200, [10]);
    let items = read(&queue);
    queue.close().unwrap();
    items
}

fn file_of(track: u32) -> String {
    format!("{DIR}/{track:010}.0000000001.track")
}

fn flip(io: &SimIo, path: &str, byte: usize) {
    let mut bytes = io.read_file(path).unwrap();
    bytes[byte] ^= 4;
    io.write_file(path, &bytes).unwrap();
}

#[test]
fn damage_in_a_rewritten_track_is_named_and_passed_over_where_that_is_asked_for() {
    let expected = rewritten_queue(&SimIo::new(1));
    for chunk in 1..3_usize {
        let io = SimIo::new(1);
        rewritten_queue(&io);
        flip(&io, &file_of(2), chunk * 4096 + 100);
        let queue = on(&io).open(DIR).unwrap();
        let error = queue.stream(None).unwrap().items().find_map(Result::err).unwrap();
        assert_eq!(error.kind(), ErrorKind::Corruption);
        let place = error.track().map(|(track, chunk)| (track.0, chunk as usize));
        assert_eq!(place, Some((2, chunk)));
        let report = queue.verify().unwrap();
        assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
        assert!(report.problems[0].contains(&format!("chunk {chunk}")), "{:?}", report.problems);

        let mut stream = queue.stream(None).unwrap().accept_loss(true);
        let (mut found, mut lost) = (Vec::new(), Vec::new());
        while let Some(entry) = stream.next().unwrap() {
            match entry {
                Entry::Item(id, item) => found.push((id, item.to_vec())),
                Entry::Lost(from, to) => lost.push((from, to)),
                Entry::Cut(_) => panic!("nothing was cut off"),
            }
        }
        let [(from, to)] = lost[..] else { panic!("{lost:?}") };
        let left: Vec<_> =
            expected.iter().filter(|(id, _)| *id < from || *id >= to).cloned().collect();
        assert_eq!(found, left);
        assert!((1..=6).contains(&(expected.len() - left.len())), "{from} {to}");
        // From any id on: what is damaged is in nobody's way who does not come by.
        for (id, _) in &expected {
            let rest = queue.stream(Some(*id)).unwrap().accept_loss(true).items();
            let rest: Vec<_> = rest.collect::<Result<_>>().unwrap();
            assert_eq!(
                rest,
                left.iter().filter(|(left, _)| left >= id).cloned().collect::<Vec<_>>()
            );
        }
        // Nor is it rewritten over.
        let error = queue.rewrite(.., |_, _| Rewrite::Drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption);
    }
}

#[test]
fn every_kind_of_damage_to_a_rewritten_track_is_an_error_and_no_panic() {
    let expected = rewritten_queue(&SimIo::new(1));
    let io = SimIo::new(1);
    rewritten_queue(&io);
    let good = io.read_file(file_of(2)).unwrap();
    let original = {
        let io = SimIo::new(1);
        append(&on(&io).open(DIR).unwrap(), 0, [900; 80]);
        io.read_file(format!("{DIR}/0000000002.track")).unwrap()
    };
    let other = {
        // The same track by another rewrite.
        let io = SimIo::new(1);
        let queue = on(&io).open(DIR).unwrap();
        append(&queue, 0, [900; 80]);
        queue.rewrite(..Id(2 << 32), |_, _| Rewrite::Drop).unwrap();
        queue.rewrite(.., thirds).unwrap();
        io.read_file(format!("{DIR}/0000000002.0000000002.track")).unwrap()
    };
    let wrong = [
        good[..4096].to_vec(),
        good[..good.len() - 4096].to_vec(),
        Vec::new(),
        vec![0; good.len()],
        original.clone(),
        other.clone(),
        [&good[..4096], &original[4096..8192], &good[8192..]].concat(),
        [&good[..4096], &other[4096..8192], &good[8192..]].concat(),
        [&good[..4096], &good[8192..12288], &good[8192..]].concat(),
    ];
    for (at, bytes) in wrong.iter().enumerate() {
        io.write_file(file_of(2), bytes).unwrap();
        let reader = QueueReader::open_on(Arc::new(io.clone()), DIR).unwrap();
        let error = reader.stream(None).unwrap().items().find_map(Result::err);
        let error = error.unwrap_or_else(|| panic!("{at} was not found"));
        assert_eq!(error.kind(), ErrorKind::Corruption, "{at}");
        assert_eq!(error.track().map(|(track, _)| track.0), Some(2), "{at}");
    }
    io.write_file(file_of(2), &good).unwrap();
    let queue = on(&io).open(DIR).unwrap();
    assert_eq!(read(&queue), expected);
}

#[test]
fn a_rewritten_track_or_the_one_behind_it_that_is_missing_is_damage() {
    for is_last in [false, true] {
        let io = SimIo::new(1);
        let expected = rewritten_queue(&io);
        let last = expected.last().unwrap().0.track();
        let name = if is_last { last.file_name() } else { "0000000002.0000000001.track".into() };
        let path = format!("{DIR}/{name}");
        io.remove_file(&path).unwrap();
        // What another rewrite left is no substitute, and goes only when nothing is missing.
        let stale = format!("{DIR}/0000000002.track");
        io.write_file(&stale, b"left over").unwrap();
        let error = on(&io).open(DIR).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged);
        assert_eq!(error.path(), Some(Path::new(&path)));
        assert!(io.read_file(&stale).is_ok());
        let reader = QueueReader::open_on(Arc::new(io.clone()), DIR).unwrap();
        let error = reader.stream(None).unwrap().items().find_map(Result::err).unwrap();
        assert_eq!(error.kind(), ErrorKind::Corruption);

        let queue = on(&io).accept_loss(true).open(DIR).unwrap();
        let track: u32 = name[..10].parse().unwrap();
        let left: Vec<_> =
            expected.iter().filter(|(id, _)| id.track().0 != track).cloned().collect();
        assert_eq!(read(&queue), left);
        assert!(io.read_file(&stale).is_err());
        assert!(queue.append(b"next").unwrap() > expected.last().unwrap().0);
    }
}

#[test]
fn gaps_that_were_accepted_are_left_out_of_what_is_written_and_told_of_once() {
    let io = SimIo::new(1);
    let on = |io| on(io).track_bytes(1 << 20);
    let queue = on(&io).open(DIR).unwrap();
    // Each vouches for those before it.
    let old: Items = (0..12).flat_map(|number| append(&queue, number, [900])).collect();
    io.power_off();
    drop(queue);
    let io = io.kill();
    flip(&io, &format!("{DIR}/0000000001.track"), 4096 + 100);
    let queue = on(&io).accept_loss(true).open(DIR).unwrap();
    let expected = read(&queue);
    assert!(expected.len() < old.len() && !expected.is_empty());
    let report = queue.rewrite(.., thirds).unwrap();
    assert_eq!(report.lost.len(), 1);
    let expected = rewritten(&expected, thirds);
    assert_eq!(read(&queue), expected);
    let mut stream = queue.stream(None).unwrap();
    let mut cuts = 0;
    while let Some(entry) = stream.next().unwrap() {
        assert!(!matches!(entry, Entry::Lost(..)), "{entry:?}");
        cuts += usize::from(matches!(entry, Entry::Cut(_)));
    }
    // Where the crash cut writing off is still told of.
    assert_eq!(cuts, 1);
}
