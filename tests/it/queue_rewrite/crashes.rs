//! Crashes and failing calls leave all of a rewrite as it was, or all as it is to be.

use super::*;

/// A queue of some tracks, one of which a crash has cut off, and one of which was rewritten before;
/// what lies in it is durable. Gives its items.
fn prepared(io: &SimIo) -> Items {
    let queue = on(io).open(DIR).unwrap();
    append(&queue, 0, [50, 0, 3000, 5000, 9000, 200, 17_000, 4100, 60]);
    let third = read(&queue)[2].0;
    queue.rewrite(..third, |_, item| Rewrite::Replace([item, b"!"].concat())).unwrap();
    drop(queue);
    let queue = on(io).open(DIR).unwrap();
    append(&queue, 20, [7000, 1, 2, 3000, 20, 11_000, 300]);
    let items = read(&queue);
    queue.close().unwrap();
    items
}

/// What is done to what was prepared, up to the first error: what may be there after it.
struct Run {
    before: Items,
    after: Option<Items>,
    /// Whether the rewrite said that it was done.
    done: bool,
    /// Whether it said that it was not.
    failed: bool,
}

impl Run {
    fn go(io: &SimIo, before: &Items, range: std::ops::Range<usize>) -> (Self, Option<Queue>) {
        let mut run = Run { before: before.clone(), after: None, done: false, failed: false };
        let Ok(queue) = on(io).open(DIR) else { return (run, None) };
        let ids = before[range.start].0..before[range.end].0;
        let mut after = before.clone();
        after.splice(range.clone(), rewritten(&before[range], thirds));
        run.after = Some(after);
        match queue.rewrite(ids, thirds) {
            Ok(report) => {
                assert!(report.tracks > 2, "{report:?}");
                run.done = true;
            }
            Err(error) => {
                let text = error.to_string();
                run.failed = !text.contains("is open until") && !text.contains("are rewritten");
            }
        }
        (run, Some(queue))
    }

    /// Fails unless this is all of the one, or all of the other; gives whether it is the new one.
    #[track_caller]
    fn check(&self, found: &Items) -> bool {
        let is_new = self.after.as_ref() == Some(found);
        assert!(is_new || *found == self.before, "neither as it was nor as it is to be: {found:?}");
        assert!(is_new || !self.done, "it was said to be done");
        is_new
    }
}

/// Opens what is left, and goes on with it.
#[track_caller]
fn check_and_go_on(io: &SimIo, run: &Run) -> bool {
    let reader = QueueReader::open_on(Arc::new(io.clone()), DIR).unwrap();
    let is_new = run.check(&items(reader.stream(None).unwrap()));
    let queue = on(io).open(DIR).unwrap();
    let found = read(&queue);
    assert_eq!(run.check(&found), is_new);
    // No file is there but those that are read.
    let files = io.files();
    let tracks = files.iter().filter(|path| path.extension().is_some_and(|x| x == "track"));
    assert_eq!(tracks.count() as u64, queue.stats().unwrap().tracks, "{files:?}");
    let report = queue.verify().unwrap();
    assert_eq!(report.problems, [""; 0]);
    let last = found.last().unwrap().0;
    let id = queue.append(b"goes on").unwrap();
    assert!(id > last);
    queue.rewrite(id.., |_, _| Rewrite::Drop).unwrap();
    assert_eq!(read(&queue), found);
    queue.close().unwrap();
    assert_eq!(read(&on(io).open(DIR).unwrap()), found);
    is_new
}

fn machine() -> (SimIo, Items) {
    let io = SimIo::new(1);
    let items = prepared(&io);
    (io.kill(), items)
}

const RANGES: [std::ops::Range<usize>; 2] = [1..12, 3..15];

fn calls_of(range: &std::ops::Range<usize>) -> u64 {
    let (io, before) = machine();
    let (run, queue) = Run::go(&io, &before, range.clone());
    assert!(run.done);
    drop(queue);
    io.calls()
}

#[test]
fn after_a_power_cut_at_any_call_a_rewrite_is_there_as_a_whole_or_not_at_all() {
    for range in RANGES {
        let (calls, mut seen) = (calls_of(&range), [0, 0]);
        assert!(calls > 60);
        for call in 0..calls {
            let (io, before) = machine();
            io.power_off_at_call(call);
            let (run, queue) = Run::go(&io, &before, range.clone());
            drop(queue);
            for keep in [
                Keep::Nothing,
                Keep::Everything,
                Keep::Random(call),
                Keep::Random(call + 1_000_000),
            ] {
                seen[usize::from(check_and_go_on(&io.crash(keep), &run))] += 1;
            }
            // A process that was killed, and then the power is cut.
            let killed = io.kill();
            check_and_go_on(&killed.kill(), &run);
            let Ok(queue) = on(&killed).open(DIR) else { panic!("it opens") };
            let shown = read(&queue);
            run.check(&shown);
            killed.power_off();
            drop(queue);
            let again = Run { before: shown, after: None, done: false, failed: false };
            check_and_go_on(&killed.crash(Keep::Random(call)), &again);
        }
        assert!(seen.iter().all(|count| *count > 20), "{seen:?}");
    }
}

#[test]
fn a_power_cut_while_what_a_rewrite_left_is_cleared_away_costs_nothing() {
    let calls = calls_of(&RANGES[0]);
    for call in (0..calls).step_by(3) {
        let (io, before) = machine();
        io.power_off_at_call(call);
        let (run, queue) = Run::go(&io, &before, RANGES[0].clone());
        drop(queue);
        for keep in [Keep::Everything, Keep::Random(call)] {
            let left = io.crash(keep);
            let as_left = left.kill();
            let is_new = check_and_go_on(&left, &run);
            for cut in 0..60 {
                let io = as_left.kill();
                io.power_off_at_call(cut);
                let opened = on(&io).open(DIR).map(drop);
                let cut_off = io.crash(Keep::Random(cut));
                assert_eq!(check_and_go_on(&cut_off, &run), is_new);
                if opened.is_ok() {
                    break;
                }
            }
        }
    }
}

#[test]
fn a_call_that_fails_once_leaves_all_as_it_was_or_all_as_it_is_to_be() {
    for range in RANGES {
        let calls = calls_of(&range);
        for call in 0..calls {
            for fail in [Fail::Eio, Fail::Enospc, Fail::Short(7)] {
                let (io, before) = machine();
                io.fail_call(call, fail);
                let (run, queue) = Run::go(&io, &before, range.clone());
                io.heal();
                if let Some(queue) = &queue {
                    // What is said is so.
                    let is_new = run.check(&read(queue));
                    assert!(!run.failed || !is_new, "call {call}: it was said to have failed");
                    let reader = QueueReader::open_on(Arc::new(io.clone()), DIR).unwrap();
                    assert_eq!(run.check(&items(reader.stream(None).unwrap())), is_new);
                }
                let alive = queue.is_some_and(|queue| queue.close().is_ok());
                let mut machines = vec![io.kill(), io.crash(Keep::Nothing)];
                machines.extend(alive.then(|| io.crash(Keep::Random(call))));
                for machine in machines {
                    let is_new = check_and_go_on(&machine, &run);
                    assert!(!run.failed || !is_new, "call {call}: it was said to have failed");
                }
            }
        }
    }
}

#[test]
fn where_queue_can_neither_be_replaced_nor_put_back_either_is_whole() {
    let (io, before) = machine();
    let queue = on(&io).open(DIR).unwrap();
    // Renamed, and the directory not synced, from then on never.
    let last = before.last().unwrap().0.track().0;
    let ids = ..Id(u64::from(last) << 32);
    let all = before.iter().filter(|(id, _)| id.track().0 < last).count();
    let (mut asked, failing) = (0, io.clone());
    let error = queue.rewrite(ids, |_, _| {
        asked += 1;
        if asked == all {
            failing.fail(Fault::nth(CallKind::SyncDir, 1, Fail::Eio).lasting());
        }
        Rewrite::Drop
    });
    let error = error.unwrap_err();
    assert!(error.to_string().contains("is open until"), "{error}");
    assert_eq!(read(&queue), before);
    let after = Some(before[all..].to_vec());
    let run = Run { before, after, done: false, failed: false };
    let mut seen = [false; 2];
    for seed in 0..20 {
        let io = io.crash(Keep::Random(seed));
        let queue = on(&io).open(DIR).unwrap();
        seen[usize::from(run.check(&read(&queue)))] = true;
    }
    assert_eq!(seen, [true, true]);
    io.heal();
    // It goes on as it was, and its files are not in the way of the next.
    assert_eq!(queue.rewrite(.., thirds).unwrap().items as usize, run.before.len());
    let expected = rewritten(&run.before, thirds);
    assert_eq!(read(&queue), expected);
    queue.close().unwrap();
    assert_eq!(read(&on(&io.kill()).open(DIR).unwrap()), expected);
}

#[test]
fn an_old_file_that_cannot_be_removed_is_told_of_and_is_gone_with_the_next_opening() {
    let (io, before) = machine();
    let queue = on(&io).open(DIR).unwrap();
    io.fail(Fault::next(CallKind::Remove, Fail::Eio).under(DIR).lasting());
    let error = queue.rewrite(.., thirds).unwrap_err();
    assert!(error.to_string().contains("the items are rewritten"), "{error}");
    let expected = rewritten(&before, thirds);
    assert_eq!(read(&queue), expected);
    io.heal();
    queue.close().unwrap();
    let queue = on(&io).open(DIR).unwrap();
    let files = io.files();
    let tracks = files.iter().filter(|path| path.extension().is_some_and(|x| x == "track"));
    assert_eq!(tracks.count() as u64, queue.stats().unwrap().tracks);
    assert_eq!(read(&queue), expected);
}

#[test]
fn a_full_disk_refuses_a_rewrite_and_changes_nothing() {
    let io = SimIo::new(1);
    io.set_capacity("/data", 400 << 10);
    let queue = on(&io).open(DIR).unwrap();
    let mut expected = append(&queue, 0, [3000; 75]);
    let error = queue.rewrite(.., |_, item| Rewrite::Replace(item[1..].to_vec())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full);
    assert_eq!(read(&queue), expected);
    // What it had written is gone, so that a smaller one has room.
    let ids = expected[10].0..expected[20].0;
    queue.rewrite(ids, |_, _| Rewrite::Drop).unwrap();
    expected.drain(10..20);
    assert_eq!(read(&queue), expected);
    expected.extend(append(&queue, 100, [3000; 10]));
    queue.close().unwrap();
    assert_eq!(read(&on(&io).open(DIR).unwrap()), expected);
}
