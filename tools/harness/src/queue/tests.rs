//! Fabricated histories of queues, and what is said of them.

use super::*;
use crate::engine::{Retention, Setup};
use crate::oracle::{Break, LossKind};
use crate::session::Outcome;

const TRACK: u64 = 1 << 32;
const FAILED: Outcome = Outcome::Failed(Failure::Failed(String::new()));
const POWER: Moment = Moment::After(Break::Power);
const PROCESS: Moment = Moment::After(Break::Process);

/// The item of a number: its id is that many bytes into track 1.
fn value(tag: u64) -> Value {
    Value { tag, len: 20 }
}

fn append(tag: u64, level: Level) -> Task {
    Task::Append { item: value(tag), level }
}

fn appended(ids: &[u64]) -> Outcome {
    Outcome::Queue(Answer::Appended(ids.to_vec()))
}

fn done(tag: u64, level: Level) -> (Task, Option<Outcome>) {
    (append(tag, level), Some(appended(&[tag])))
}

/// Follows tasks, of which those without an outcome are under way.
fn go_on(ledger: &mut Ledger, tasks: &[(Task, Option<Outcome>)]) {
    for (at, (task, outcome)) in tasks.iter().enumerate() {
        let number = 100 * ledger.life as usize + at;
        let prints: Vec<Print> = task.values().into_iter().map(Value::print).collect();
        ledger.begin(number, task, &prints, 0);
        if let Some(outcome) = outcome {
            ledger.end(number, task, outcome, 0);
        }
    }
}

fn after(tasks: &[(Task, Option<Outcome>)]) -> Ledger {
    let mut ledger = Ledger::new(&Setup::default());
    go_on(&mut ledger, tasks);
    ledger
}

fn item(tag: u64) -> Shown {
    Shown::Item(tag, value(tag).print())
}

fn seen(shown: &[Shown]) -> Seen {
    let shown = shown.to_vec();
    Seen { durable: shown.clone(), written: shown, consumers: Vec::new() }
}

/// What is wrong with items of these numbers.
fn wrong(ledger: &Ledger, moment: Moment, tags: &[u64]) -> Option<LossKind> {
    let shown: Vec<Shown> = tags.iter().map(|tag| item(*tag)).collect();
    ledger.judge(&seen(&shown), moment, 0).err().map(|losses| losses[0].kind)
}

#[test]
fn what_is_left_is_a_prefix_with_all_that_was_durable() {
    let ledger = after(&[
        done(1, Level::Later),
        done(2, Level::Sync),
        done(3, Level::Os),
        done(4, Level::Later),
    ]);
    for (left, power, process) in [
        (&[1, 2, 3, 4][..], None, None),
        (&[1, 2, 3], None, None),
        (&[1, 2], None, Some(LossKind::Lost)),
        (&[1], Some(LossKind::Lost), Some(LossKind::Lost)),
        (&[], Some(LossKind::Lost), Some(LossKind::Lost)),
        (&[1, 2, 4], Some(LossKind::Hole), Some(LossKind::Hole)),
        (&[2, 3], Some(LossKind::Lost), Some(LossKind::Lost)),
        (&[1, 2, 3, 4, 5], Some(LossKind::Resurrected), Some(LossKind::Resurrected)),
        (&[1, 2, 2], Some(LossKind::Contradiction), Some(LossKind::Contradiction)),
    ] {
        assert_eq!(wrong(&ledger, POWER, left), power, "{left:?}");
        assert_eq!(wrong(&ledger, PROCESS, left), process, "{left:?}");
    }
    let bytes = Shown::Item(2, value(9).print());
    let losses = ledger.judge(&seen(&[item(1), bytes]), POWER, 0).unwrap_err();
    assert_eq!(losses[0].kind, LossKind::WrongBytes);
}

#[test]
fn who_reads_ahead_sees_what_was_written_and_others_what_is_durable() {
    let ledger = after(&[done(1, Level::Sync), done(2, Level::Os)]);
    let seen = |durable: &[Shown], written: &[Shown]| Seen {
        durable: durable.to_vec(),
        written: written.to_vec(),
        consumers: Vec::new(),
    };
    assert!(ledger.judge(&seen(&[item(1)], &[item(1), item(2)]), Moment::Live, 0).is_ok());
    assert!(ledger.judge(&seen(&[item(1)], &[item(1)]), Moment::Live, 0).is_err());
    assert!(ledger.judge(&seen(&[item(1), item(2)], &[item(1)]), Moment::Live, 0).is_err());
}

#[test]
fn what_a_reader_was_shown_is_not_taken_back() {
    let read = |ahead, shown: &[Shown]| {
        (Task::Read { ahead }, Some(Outcome::Queue(Answer::Read(shown.to_vec()))))
    };
    let both = [done(1, Level::Sync), done(2, Level::Os)];
    let shown = [item(1), item(2)];
    let ledger = after(&[&both[..], &[read(false, &shown)]].concat());
    assert_eq!(wrong(&ledger, POWER, &[1]), Some(LossKind::Lost));
    let ledger = after(&[&both[..], &[read(true, &shown)]].concat());
    assert_eq!(wrong(&ledger, POWER, &[1]), None);
    let ledger = after(&[&both[..], &[read(false, &[])]].concat());
    assert_eq!(wrong(&ledger, POWER, &[1, 2]), Some(LossKind::Lost));
}

#[test]
fn of_a_batch_that_is_under_way_a_prefix_may_be_there() {
    let batch = Task::Batch { items: vec![value(2), value(3), value(4)] };
    let ledger = after(&[done(1, Level::Sync), (batch, None)]);
    for left in [&[1][..], &[1, 2], &[1, 2, 3], &[1, 2, 3, 4]] {
        assert_eq!(wrong(&ledger, POWER, left), None, "{left:?}");
    }
    assert_eq!(wrong(&ledger, POWER, &[1, 3]), Some(LossKind::Half));
    assert_eq!(wrong(&ledger, POWER, &[1, 2, 4]), Some(LossKind::Half));
}

#[test]
fn what_failed_may_be_there_or_not_whatever_comes_behind_it() {
    let failed = (append(2, Level::Sync), Some(FAILED));
    let ledger = after(&[done(1, Level::Sync), failed, done(3, Level::Sync)]);
    assert_eq!(wrong(&ledger, POWER, &[1, 3]), None);
    assert_eq!(wrong(&ledger, POWER, &[1, 2, 3]), None);
    assert_eq!(wrong(&ledger, POWER, &[1, 2]), Some(LossKind::Lost));
}

#[test]
fn an_id_that_was_given_out_is_never_given_out_again() {
    let mut ledger = after(&[done(1, Level::Sync), done(2, Level::Later)]);
    ledger.recover(&seen(&[item(1)]), POWER, 0).unwrap();
    let again = (append(3, Level::Sync), Some(appended(&[2])));
    go_on(&mut ledger, &[again]);
    let shown = seen(&[item(1), Shown::Cut(2), Shown::Item(2, value(3).print())]);
    assert_eq!(ledger.judge(&shown, POWER, 0).unwrap_err()[0].kind, LossKind::Contradiction);
}

#[test]
fn a_cut_is_told_where_something_was_lost_and_nowhere_else() {
    let mut ledger = after(&[done(1, Level::Sync), done(2, Level::Later)]);
    let early = seen(&[item(1), Shown::Cut(2)]);
    assert!(ledger.judge(&early, Moment::Live, 0).is_err());
    ledger.recover(&early, POWER, 0).unwrap();
    go_on(&mut ledger, &[done(TRACK, Level::Sync), done(TRACK + 1, Level::Sync)]);
    let [first, second] = [item(TRACK), item(TRACK + 1)];
    let judge = |shown: &[Shown]| ledger.judge(&seen(shown), Moment::Live, 0).is_ok();
    assert!(judge(&[item(1), Shown::Cut(2), first, second]));
    assert!(!judge(&[item(1), first, second]));
    assert!(!judge(&[item(1), Shown::Cut(2), first, Shown::Cut(TRACK + 1), second]));
    assert!(!judge(&[item(1), Shown::Cut(1), first, second]));
}

#[test]
fn what_was_truncated_stays_gone_and_all_else_is_kept() {
    let three = [done(1, Level::Sync), done(2, Level::Sync), done(3, Level::Sync)];
    let task = Task::Truncate { items: 2 };
    let answer = Outcome::Queue(Answer::Truncated(3));
    let ledger = after(&[&three[..], &[(task.clone(), Some(answer))]].concat());
    assert_eq!(wrong(&ledger, POWER, &[3]), None);
    assert_eq!(wrong(&ledger, POWER, &[2, 3]), Some(LossKind::Resurrected));
    assert_eq!(wrong(&ledger, POWER, &[]), Some(LossKind::Lost));
    let under_way = after(&[&three[..], &[(task, None)]].concat());
    assert_eq!(wrong(&under_way, POWER, &[1, 2, 3]), None);
    assert_eq!(wrong(&under_way, POWER, &[3]), None);
    assert_eq!(wrong(&under_way, POWER, &[2, 3]), Some(LossKind::Lost));
    let later = [done(4, Level::Later)];
    let all = (Task::TruncateAll, Some(Outcome::Queue(Answer::Truncated(u64::MAX))));
    let ledger = after(&[&three[..], &later, &[all]].concat());
    assert_eq!(wrong(&ledger, POWER, &[]), None);
    assert_eq!(wrong(&ledger, POWER, &[4]), Some(LossKind::Resurrected));
}

#[test]
fn only_what_is_too_old_or_too_much_is_dropped() {
    // Room for four tracks, two of which may be empty ones behind the last of which anybody knows.
    let retention = Retention { max_age_ms: None, max_bytes: Some(4 << 10) };
    let setup = Setup { file_bytes: 1 << 10, retention, ..Setup::default() };
    let tasks: Vec<_> = (1..=7).map(|track| done(track * TRACK, Level::Sync)).collect();
    let mut ledger = Ledger::new(&setup);
    go_on(&mut ledger, &tasks);
    let tracks = [1, 2, 3, 4, 5, 6, 7].map(|track| track * TRACK);
    for dropped in 0..=5 {
        assert_eq!(wrong(&ledger, POWER, &tracks[dropped..]), None, "{dropped}");
    }
    for dropped in 6..=7 {
        let lost = wrong(&ledger, POWER, &tracks[dropped..]);
        assert_eq!(lost, Some(LossKind::Lost), "{dropped}");
    }
    // What a truncation counts from is what retention has left, and of what is in doubt nothing counts.
    let mut truncated = ledger.clone();
    go_on(&mut truncated, &[(Task::Truncate { items: 1 }, None)]);
    assert_eq!(wrong(&truncated, POWER, &tracks[6..]), None);
    assert_eq!(wrong(&truncated, POWER, &[]), Some(LossKind::Lost));
    let retention = Retention { max_age_ms: Some(5), max_bytes: None };
    let mut ledger = Ledger::new(&Setup { retention, ..setup });
    go_on(&mut ledger, &tasks[..4]);
    let shown = seen(&[item(tracks[2]), item(tracks[3])]);
    assert!(ledger.judge(&shown, POWER, 5).is_err());
    assert!(ledger.judge(&shown, POWER, 6).is_ok());
}

#[test]
fn a_consumer_is_where_it_has_committed_or_a_little_further() {
    let items = [done(1, Level::Sync), done(2, Level::Sync), done(3, Level::Sync)];
    let shown = [item(1), item(2), item(3)];
    let consume = |count: usize, outcome: Option<Answer>| {
        let task = Task::Consume { name: "ship".into(), items: count };
        (task, outcome.map(Outcome::Queue))
    };
    let first = Answer::Consumed { before: None, read: vec![item(1)], committed: Some(1) };
    let ledger = after(&[&items[..], &[consume(1, Some(first)), consume(2, None)]].concat());
    let at = |id: Option<u64>| {
        let consumers = id.map(|id| ("ship".to_owned(), id)).into_iter().collect();
        ledger.judge(&Seen { consumers, ..seen(&shown) }, POWER, 0)
    };
    assert!(at(Some(1)).is_ok() && at(Some(2)).is_ok() && at(Some(3)).is_ok());
    assert_eq!(at(None).unwrap_err()[0].kind, LossKind::Lost);
    assert!(at(Some(4)).is_err());
    let skipping = Answer::Consumed { before: None, read: vec![item(2)], committed: Some(2) };
    let ledger = after(&[&items[..], &[consume(1, Some(skipping))]].concat());
    assert!(ledger.judge(&seen(&shown), POWER, 0).is_err());
}

#[test]
fn a_rewrite_is_there_whole_or_not_at_all() {
    let items = [done(1, Level::Sync), done(2, Level::Sync), done(3, Level::Sync)];
    let changes = vec![Change::Drop, Change::Replace(value(9)), Change::Keep];
    let task = Task::Rewrite { skip: 0, changes };
    let new = Shown::Item(2, value(9).print());
    let judge = |ledger: &Ledger, shown: &[Shown]| {
        ledger.judge(&seen(shown), POWER, 0).err().map(|losses| losses[0].kind)
    };
    let under_way = after(&[&items[..], &[(task.clone(), None)]].concat());
    assert_eq!(judge(&under_way, &[item(1), item(2), item(3)]), None);
    assert_eq!(judge(&under_way, &[new, item(3)]), None);
    assert_eq!(judge(&under_way, &[item(1), new, item(3)]), Some(LossKind::Half));
    assert_eq!(judge(&under_way, &[item(2), item(3)]), Some(LossKind::Half));
    let was = [1, 2, 3].map(|tag| (tag, value(tag).print())).to_vec();
    let answer = Outcome::Queue(Answer::Rewritten(was));
    let mut ledger = after(&[&items[..], &[(task, Some(answer))]].concat());
    assert_eq!(judge(&ledger, &[new, item(3)]), None);
    assert!(judge(&ledger, &[item(1), item(2), item(3)]).is_some());
    ledger.recover(&seen(&[new, item(3)]), POWER, 0).unwrap();
    assert_eq!(judge(&ledger, &[new, item(3)]), None);
}

/// A kill in the middle of a rewrite, behind which an item is missing that was not durable and was to be
/// dropped: whether the kill took it or the rewrite can't be told, and so no cut is asked for.
#[test]
fn what_a_rewrite_may_have_dropped_is_not_said_to_be_lost() {
    let changes = vec![Change::Keep, Change::Drop];
    let rewrite = (Task::Rewrite { skip: 0, changes }, None);
    let mut ledger = after(&[done(1, Level::Sync), done(2, Level::Later), rewrite]);
    ledger.recover(&seen(&[item(1)]), PROCESS, 0).unwrap();
    go_on(&mut ledger, &[done(5, Level::Sync)]);
    for shown in [&[item(1), item(5)][..], &[item(1), Shown::Cut(2), item(5)]] {
        ledger.judge(&seen(shown), POWER, 0).unwrap();
    }
}

/// Symptom: a rewrite that had failed when all was done was said to have left wrong bytes, where another
/// rewrite was carried out behind it. Cause: that one had come to none of the items that the first one
/// changes, and was taken to say that they were as before. Rule: who has not seen an item says nothing of
/// it.
#[test]
fn a_rewrite_says_of_an_earlier_one_what_it_has_come_to_and_no_more() {
    let items =
        [done(1, Level::Sync), done(2, Level::Sync), done(3, Level::Sync), done(4, Level::Sync)];
    let first = Task::Rewrite { skip: 0, changes: vec![Change::Replace(value(9)), Change::Drop] };
    let then = |skip, was: &[(u64, u64)]| {
        let was = was.iter().map(|(id, tag)| (*id, value(*tag).print())).collect();
        let changes = vec![Change::Replace(value(7))];
        (Task::Rewrite { skip, changes }, Some(Outcome::Queue(Answer::Rewritten(was))))
    };
    let judge = |ledger: &Ledger, shown: &[(u64, u64)]| {
        let shown: Vec<Shown> =
            shown.iter().map(|(id, tag)| Shown::Item(*id, value(*tag).print())).collect();
        ledger.judge(&seen(&shown), POWER, 0).is_ok()
    };
    let after = |then| after(&[&items[..], &[(first.clone(), Some(FAILED)), then]].concat());
    let (old, new) = ([(1, 1), (2, 2)], [(1, 9)]);
    let behind = [(3, 3), (4, 7)];
    // It has come to the last one alone.
    let ledger = after(then(3, &[(4, 4)]));
    assert!(judge(&ledger, &[&old[..], &behind].concat()));
    assert!(judge(&ledger, &[&new[..], &behind].concat()));
    assert!(!judge(&ledger, &[&old[..], &[(3, 3), (4, 4)]].concat()));
    // To the first, as it was before, and as it is then.
    let ledger = after(then(0, &[(1, 1)]));
    assert!(judge(&ledger, &[(1, 7), (2, 2), (3, 3), (4, 4)]));
    assert!(!judge(&ledger, &[(1, 9), (2, 2), (3, 3), (4, 4)]));
    let ledger = after(then(0, &[(1, 9)]));
    assert!(judge(&ledger, &[(1, 7), (3, 3), (4, 4)]));
    assert!(!judge(&ledger, &[(1, 7), (2, 2), (3, 3), (4, 4)]));
}

/// Symptom: a batch was said to be there with a hole. Cause: it had failed and was there, and a rewrite had
/// dropped some of its items, of which nobody knew the ids. Rule: what a rewrite may have dropped is not
/// missing.
#[test]
fn of_a_batch_without_an_answer_a_rewrite_may_drop_any_item() {
    let batch = Task::Batch { items: vec![value(2), value(3), value(4)] };
    let changes = vec![Change::Keep, Change::Keep, Change::Drop, Change::Keep];
    let was = [1, 2, 3, 4].map(|tag| (tag, value(tag).print())).to_vec();
    let rewrite =
        (Task::Rewrite { skip: 0, changes }, Some(Outcome::Queue(Answer::Rewritten(was))));
    let failed = [done(1, Level::Sync), (batch, Some(FAILED))];
    assert_eq!(wrong(&after(&failed), POWER, &[1, 2, 4]), Some(LossKind::Half));
    let ledger = after(&[&failed[..], &[rewrite]].concat());
    assert_eq!(wrong(&ledger, POWER, &[1, 2, 4]), None);
}

#[test]
fn what_was_shown_before_the_queue_was_opened_is_still_there() {
    let before = || vec![Entry::Item(1, value(1).bytes()), Entry::Item(2, value(2).bytes())];
    assert_eq!(gone(before(), &seen(&[item(1), item(2), item(3)])), None);
    assert_eq!(gone(before(), &seen(&[item(2)])), None);
    assert!(gone(before(), &seen(&[item(1)])).is_some());
    assert_eq!(gone(before(), &seen(&[])), None);
}
