//! Fabricated histories, and what the oracle has to say of them.

use super::*;
use crate::operation::{
    How, NULL, Upload, Value, When, marker_name, null_name, part_name, version_name,
};
use crate::oracle::verdict::LossKind;

const ALL: Promises =
    Promises { loses_suffixes: true, failed_is_gone: true, survives_errors: true };
const FAILED: Outcome = Outcome::Failed(Failure::Failed(String::new()));

fn value(tag: u64) -> Value {
    Value { tag, len: 10 * tag as usize }
}

fn put(key: &str, tag: u64, how: How) -> Operation {
    Operation::Put { key: key.into(), value: value(tag), how }
}

fn delete(key: &str, durability: Durability) -> Operation {
    Operation::Delete { key: key.into(), durability }
}

/// Carries operations out, each with the disk that it went to.
fn after(disks: usize, operations: &[(Operation, Outcome, usize)]) -> Oracle {
    let mut oracle = Oracle::new(ALL, disks);
    for (operation, outcome, disk) in operations {
        let number = oracle.begin(operation, 0);
        oracle.end(number, operation, outcome, Some(*disk));
    }
    oracle
}

fn done(operation: Operation) -> (Operation, Outcome, usize) {
    (operation, Outcome::Done, 0)
}

fn seen(objects: &[(&str, u64)]) -> Observation {
    let found = objects.iter().map(|(key, tag)| ((*key).to_owned(), value(*tag).print()));
    Observation { found: found.collect(), ..Observation::default() }
}

/// What is wrong with this after a power cut.
fn wrong(oracle: &Oracle, objects: &[(&str, u64)]) -> Option<LossKind> {
    oracle.clone().recover(Break::Power, &seen(objects), 0).err().map(|losses| losses[0].kind)
}

#[test]
fn a_durable_put_may_not_be_lost_and_an_unsynced_one_may() {
    let oracle = after(1, &[done(put("a", 1, How::SYNC)), done(put("b", 2, How::OS))]);
    assert_eq!(wrong(&oracle, &[("a", 1), ("b", 2)]), None);
    assert_eq!(wrong(&oracle, &[("a", 1)]), None);
    assert_eq!(wrong(&oracle, &[("b", 2)]), Some(LossKind::Lost));
    assert_eq!(wrong(&oracle, &[]), Some(LossKind::Lost));
}

#[test]
fn a_killed_process_loses_nothing_acknowledged() {
    let oracle = after(1, &[done(put("a", 1, How::OS))]);
    assert!(oracle.clone().recover(Break::Process, &seen(&[]), 0).is_err());
    assert!(oracle.clone().recover(Break::Process, &seen(&[("a", 1)]), 0).is_ok());
}

#[test]
fn a_sync_makes_durable_what_came_before() {
    let oracle = after(2, &[done(put("a", 1, How::OS)), done(Operation::Sync)]);
    assert_eq!(wrong(&oracle, &[]), Some(LossKind::Lost));
}

/// What threads do at once: an operation begins, or that of a number has ended.
enum Turn {
    Begins(Operation),
    Ends(usize),
}

fn at_once(disks: usize, turns: Vec<Turn>) -> Oracle {
    let (mut oracle, mut begun) = (Oracle::new(ALL, disks), Vec::new());
    for turn in turns {
        match turn {
            Turn::Begins(operation) => {
                oracle.begin(&operation, 0);
                begun.push(operation);
            }
            Turn::Ends(number) => oracle.end(number, &begun[number], &Outcome::Done, None),
        }
    }
    oracle
}

#[test]
fn a_sync_makes_durable_what_was_acknowledged_when_it_began_and_no_more() {
    use Turn::{Begins, Ends};
    let begin = |key, tag| Begins(put(key, tag, How::OS));
    let turns = vec![begin("a", 1), Ends(0), begin("b", 2), Begins(Operation::Sync)];
    let oracle = at_once(2, turns.into_iter().chain([Ends(1), Ends(2)]).collect());
    assert_eq!(wrong(&oracle, &[("b", 2)]), Some(LossKind::Lost));
    assert_eq!(wrong(&oracle, &[("a", 1)]), None);
}

#[test]
fn of_several_threads_on_one_disk_nothing_is_there_behind_what_is_lost() {
    use Turn::{Begins, Ends};
    let begin = |key, tag, how| Begins(put(key, tag, how));
    let os = |key, tag| begin(key, tag, How::OS);
    let turns = || vec![os("a", 1), os("b", 2), Ends(0), os("c", 3), Ends(1), Ends(2)];
    let oracle = at_once(1, turns());
    for may_be in [&[("a", 1)][..], &[("b", 2)], &[("a", 1), ("c", 3)]] {
        assert_eq!(wrong(&oracle, may_be), None, "{may_be:?}");
    }
    assert_eq!(wrong(&oracle, &[("b", 2), ("c", 3)]), Some(LossKind::Hole));
    // Nobody knows on which of two disks they are.
    assert_eq!(wrong(&at_once(2, turns()), &[("b", 2), ("c", 3)]), None);
    let durable = [begin("d", 4, How::SYNC), Ends(3)];
    let oracle = at_once(1, turns().into_iter().chain(durable).collect());
    assert_eq!(wrong(&oracle, &[("a", 1), ("c", 3), ("d", 4)]), Some(LossKind::Lost));
    assert_eq!(wrong(&oracle, &[("a", 1), ("b", 2), ("c", 3), ("d", 4)]), None);
}

#[test]
fn what_was_deleted_stays_deleted() {
    let oracle = after(1, &[done(put("a", 1, How::SYNC)), done(delete("a", Durability::Sync))]);
    assert_eq!(wrong(&oracle, &[]), None);
    assert_eq!(wrong(&oracle, &[("a", 1)]), Some(LossKind::Resurrected));
}

#[test]
fn an_older_value_is_a_loss_and_a_strange_one_is_wrong() {
    let oracle = after(1, &[done(put("a", 1, How::SYNC)), done(put("a", 2, How::SYNC))]);
    assert_eq!(wrong(&oracle, &[("a", 2)]), None);
    assert_eq!(wrong(&oracle, &[("a", 1)]), Some(LossKind::Lost));
    assert_eq!(wrong(&oracle, &[("a", 3)]), Some(LossKind::WrongBytes));
    assert_eq!(wrong(&oracle, &[("a", 2), ("z", 1)]), Some(LossKind::WrongBytes));
}

#[test]
fn of_one_disk_a_suffix_is_lost_and_never_a_hole() {
    let oracle = after(1, &[done(put("a", 1, How::OS)), done(put("b", 2, How::OS))]);
    assert_eq!(wrong(&oracle, &[]), None);
    assert_eq!(wrong(&oracle, &[("a", 1)]), None);
    assert_eq!(wrong(&oracle, &[("b", 2)]), Some(LossKind::Hole));
}

#[test]
fn each_of_two_disks_loses_a_suffix_of_its_own() {
    let (a, b) = (put("a", 1, How::OS), put("b", 2, How::OS));
    let apart = after(2, &[(a.clone(), Outcome::Done, 0), (b.clone(), Outcome::Done, 1)]);
    assert_eq!(wrong(&apart, &[("b", 2)]), None);
    let together = after(2, &[(a, Outcome::Done, 1), (b, Outcome::Done, 1)]);
    assert_eq!(wrong(&together, &[("b", 2)]), Some(LossKind::Hole));
}

#[test]
fn a_delete_that_is_lost_is_a_hole_where_a_later_put_of_its_disk_is_there() {
    let oracle = after(
        1,
        &[
            done(put("a", 1, How::SYNC)),
            done(delete("a", Durability::Os)),
            done(put("b", 2, How::OS)),
        ],
    );
    assert_eq!(wrong(&oracle, &[("a", 1)]), None);
    assert_eq!(wrong(&oracle, &[]), None);
    assert_eq!(wrong(&oracle, &[("b", 2)]), None);
    assert_eq!(wrong(&oracle, &[("a", 1), ("b", 2)]), Some(LossKind::Hole));
}

#[test]
fn a_durable_write_makes_earlier_ones_of_its_disk_durable() {
    let (a, b) = (put("a", 1, How::OS), put("b", 2, How::SYNC));
    let together = after(2, &[(a.clone(), Outcome::Done, 1), (b.clone(), Outcome::Done, 1)]);
    assert_eq!(wrong(&together, &[("b", 2)]), Some(LossKind::Lost));
    let apart = after(2, &[(a, Outcome::Done, 0), (b, Outcome::Done, 1)]);
    assert_eq!(wrong(&apart, &[("b", 2)]), None);
}

#[test]
fn a_batch_is_there_as_a_whole_or_not_at_all() {
    let steps = vec![("a".to_owned(), Some(value(1))), ("b".to_owned(), Some(value(2)))];
    let batch = Operation::Batch { steps, durability: Durability::Os };
    let mut oracle = after(2, &[(batch.clone(), Outcome::Done, 0)]);
    assert_eq!(wrong(&oracle, &[("a", 1), ("b", 2)]), None);
    assert_eq!(wrong(&oracle, &[]), None);
    assert_eq!(wrong(&oracle, &[("a", 1)]), Some(LossKind::Half));
    // The same while it is under way.
    oracle = Oracle::new(ALL, 2);
    oracle.begin(&batch, 0);
    assert_eq!(wrong(&oracle, &[]), None);
    assert_eq!(wrong(&oracle, &[("b", 2)]), Some(LossKind::Half));
}

#[test]
fn what_a_batch_writes_in_between_is_nobodys_to_see() {
    let steps = vec![("a".to_owned(), Some(value(1))), ("a".to_owned(), None)];
    let batch = Operation::Batch { steps, durability: Durability::Os };
    let oracle = after(1, &[(batch, Outcome::Done, 0)]);
    assert_eq!(wrong(&oracle, &[]), None);
    assert_eq!(wrong(&oracle, &[("a", 1)]), Some(LossKind::Half));
}

#[test]
fn what_failed_may_be_there_until_a_later_success() {
    let failed = (put("a", 1, How::SYNC), FAILED, 0);
    let oracle = after(1, std::slice::from_ref(&failed));
    assert_eq!(wrong(&oracle, &[]), None);
    assert_eq!(wrong(&oracle, &[("a", 1)]), None);
    let oracle = after(1, &[failed, done(put("b", 2, How::SYNC))]);
    assert_eq!(wrong(&oracle, &[("b", 2)]), None);
    assert!(wrong(&oracle, &[("a", 1), ("b", 2)]).is_some());
}

#[test]
fn what_was_refused_is_not_there() {
    let refused = Outcome::Failed(Failure::Refused);
    let oracle = after(1, &[(put("a", 1, How::SYNC), refused, 0)]);
    assert_eq!(wrong(&oracle, &[("a", 1)]), Some(LossKind::Resurrected));
}

#[test]
fn what_expired_is_gone_whether_it_was_deleted_or_not() {
    let how = How { expires_in_ms: Some(10), ..How::SYNC };
    let oracle = after(1, &[done(put("a", 1, how))]);
    assert!(oracle.look(&seen(&[("a", 1)]), 9).is_ok());
    assert!(oracle.look(&seen(&[]), 9).is_err());
    assert!(oracle.look(&seen(&[]), 10).is_ok());
    assert!(oracle.look(&seen(&[("a", 1)]), 10).is_err());
}

#[test]
fn what_is_found_once_is_the_truth_from_then_on() {
    let mut oracle = after(1, &[done(put("a", 1, How::OS))]);
    oracle.recover(Break::Power, &seen(&[]), 0).unwrap();
    assert_eq!(wrong(&oracle, &[("a", 1)]), Some(LossKind::Resurrected));
    let mut oracle = after(1, &[done(put("a", 1, How::OS))]);
    oracle.recover(Break::Power, &seen(&[("a", 1)]), 0).unwrap();
    assert_eq!(wrong(&oracle, &[]), Some(LossKind::Lost));
}

#[test]
fn a_backup_is_the_old_one_or_the_new_one() {
    let mut oracle = after(1, &[done(put("a", 1, How::SYNC)), done(Operation::Backup)]);
    assert!(oracle.judge_backup(None, 0).is_err());
    assert!(oracle.judge_backup(Some(&seen(&[("a", 1)])), 0).is_ok());
    let b = put("b", 2, How::SYNC);
    let number = oracle.begin(&b, 0);
    oracle.end(number, &b, &Outcome::Done, None);
    let number = oracle.begin(&Operation::Backup, 0);
    assert!(oracle.judge_backup(Some(&seen(&[("a", 1)])), 0).is_ok());
    assert!(oracle.judge_backup(Some(&seen(&[("a", 1), ("b", 2)])), 0).is_ok());
    assert!(oracle.judge_backup(Some(&seen(&[("b", 2)])), 0).is_err());
    oracle.end(number, &Operation::Backup, &Outcome::Done, None);
    assert!(oracle.judge_backup(Some(&seen(&[("a", 1)])), 0).is_err());
}

#[test]
fn what_contradicts_itself_is_wrong_whatever_was_found() {
    let mut contradicted = seen(&[]);
    contradicted.problems.push("listed, and not found".into());
    let losses = Oracle::new(ALL, 1).look(&contradicted, 0).unwrap_err();
    assert_eq!(losses[0].kind, LossKind::Contradiction);
}

#[test]
fn an_outcome_has_to_agree_with_what_was_there() {
    let if_absent = How { when: When::IfAbsent, ..How::SYNC };
    let if_present = How { when: When::IfPresent, ..How::SYNC };
    let refused = || Outcome::Failed(Failure::Refused);
    let judged = |operation: Operation, outcome: Outcome, objects: &[(&str, u64)]| {
        let first = (put("a", 1, How::OS), Outcome::Done, 0);
        wrong(&after(1, &[first, (operation, outcome, 0)]), objects)
    };
    let contradiction = Some(LossKind::Contradiction);
    let now = [("a", 1), ("b", 2)];
    assert_eq!(judged(put("b", 2, if_absent), Outcome::Done, &now), None);
    assert_eq!(judged(put("b", 2, if_present), Outcome::Done, &now), contradiction);
    assert_eq!(judged(put("a", 2, if_absent), Outcome::Done, &[("a", 2)]), contradiction);
    assert_eq!(judged(put("a", 2, if_absent), refused(), &[("a", 1)]), None);
    assert_eq!(judged(put("a", 2, if_present), refused(), &[("a", 1)]), contradiction);
    assert_eq!(judged(delete("b", Durability::Sync), Outcome::Done, &[("a", 1)]), contradiction);
    assert_eq!(judged(delete("a", Durability::Sync), Outcome::Nothing, &[("a", 1)]), contradiction);
    let expiring = How { expires_in_ms: Some(5), ..How::SYNC };
    let mut oracle = after(1, &[(put("a", 1, expiring), Outcome::Done, 0)]);
    let late = put("a", 2, if_absent);
    let number = oracle.begin(&late, 5);
    oracle.end(number, &late, &Outcome::Done, Some(0));
    assert_eq!(wrong(&oracle, &[("a", 2)]), None);
}

#[test]
fn behind_a_failure_nobody_knows_whether_a_condition_holds() {
    let if_absent = How { when: When::IfAbsent, ..How::SYNC };
    for outcome in [Outcome::Done, Outcome::Failed(Failure::Refused)] {
        let failed = (put("a", 1, How::SYNC), FAILED, 0);
        let oracle = after(1, &[failed, (put("a", 2, if_absent), outcome, 0)]);
        assert!(oracle.wrong.is_empty());
    }
}

#[test]
fn what_a_reader_saw_wrong_is_wrong_although_the_put_is_there() {
    let operation = Operation::PutUnderReader { key: "a".into(), value: value(1) };
    let outcome = Outcome::Wrong("it has changed".into());
    let oracle = after(1, &[(operation, outcome, 0)]);
    assert_eq!(wrong(&oracle, &[("a", 1)]), Some(LossKind::Contradiction));
}

#[test]
fn a_drain_that_had_nothing_to_do_makes_nothing_durable() {
    let oracle = after(1, &[done(put("a", 1, How::OS)), (Operation::Drain, Outcome::Nothing, 0)]);
    assert_eq!(wrong(&oracle, &[]), None);
}

fn files(tags: &[u64]) -> Vec<(String, Value)> {
    tags.iter().map(|tag| (format!("f{tag}"), value(*tag))).collect()
}

#[test]
fn of_what_goes_on_at_once_each_is_there_or_not_by_itself() {
    let members = Operation::PutAll { files: files(&[1, 2, 3]) }.members();
    let mut oracle = Oracle::new(ALL, 2);
    let numbers: Vec<_> = members.iter().map(|member| oracle.begin(member, 0)).collect();
    oracle.end(numbers[1], &members[1], &Outcome::Done, None);
    let killed = |objects: &[(&str, u64)]| {
        let judged = oracle.clone().recover(Break::Process, &seen(objects), 0);
        judged.err().map(|losses| losses[0].kind)
    };
    assert_eq!(killed(&[("f2", 2)]), None);
    assert_eq!(killed(&[("f2", 2), ("f3", 3)]), None);
    assert_eq!(killed(&[("f1", 1), ("f2", 2), ("f3", 3)]), None);
    assert_eq!(killed(&[("f1", 1), ("f3", 3)]), Some(LossKind::Lost));
}

#[test]
fn what_is_passed_over_as_listed_has_to_be_there() {
    let members = Operation::PutMissing { files: files(&[1]) }.members();
    let refused = || Outcome::Failed(Failure::Refused);
    let put = |outcome| (members[0].clone(), outcome, 0);
    assert_eq!(wrong(&after(1, &[put(refused())]), &[]), Some(LossKind::Contradiction));
    let first = || done(self::put("f1", 1, How::SYNC));
    assert_eq!(wrong(&after(1, &[first(), put(refused())]), &[("f1", 1)]), None);
    let again = wrong(&after(1, &[first(), put(Outcome::Done)]), &[("f1", 1)]);
    assert_eq!(again, Some(LossKind::Contradiction));
}

/// Of a store that keeps versions: two puts of a key, and a delete.
fn kept(deleted: Option<Outcome>) -> Oracle {
    let setup = Setup { versions: true, ..Setup::default() };
    let mut oracle = Oracle::of(ALL, &setup);
    let operations =
        [put("a", 1, How::SYNC), put("a", 2, How::SYNC), delete("a", Durability::Sync)];
    let outcomes = [Some(Outcome::Done), Some(Outcome::Done), deleted];
    for (operation, outcome) in operations.iter().zip(outcomes) {
        let number = oracle.begin(operation, 0);
        if let Some(outcome) = outcome {
            oracle.end(number, operation, &outcome, None);
        }
    }
    oracle
}

/// What is wrong with an object, versions of it, and others that say that it was deleted.
fn wrong_versions(
    oracle: &Oracle,
    object: Option<u64>,
    versions: &[u64],
    markers: &[&str],
) -> Option<LossKind> {
    let object = object.map(|tag| ("a".to_owned(), value(tag).print()));
    let versions = versions.iter().map(|tag| {
        let print = value(*tag).print();
        (version_name("a", print), print)
    });
    let markers = markers.iter().map(|id| (marker_name("a", id), Print::of(&[])));
    let found = object.into_iter().chain(versions).chain(markers).collect();
    let seen = Observation { found, ..Observation::default() };
    let judged = oracle.clone().recover(Break::Process, &seen, 0);
    judged.err().map(|losses| losses[0].kind)
}

#[test]
fn what_was_overwritten_or_deleted_stays_as_a_version() {
    let oracle = kept(Some(Outcome::Marked("x".to_owned())));
    assert_eq!(wrong_versions(&oracle, None, &[1, 2], &["x"]), None);
    assert_eq!(wrong_versions(&oracle, None, &[2], &["x"]), Some(LossKind::Lost));
    assert_eq!(wrong_versions(&oracle, None, &[1, 2], &[]), Some(LossKind::Lost));
    let resurrected = wrong_versions(&oracle, Some(2), &[1, 2], &["x"]);
    assert_eq!(resurrected, Some(LossKind::Resurrected));
    let strange = wrong_versions(&oracle, None, &[1, 2], &["x", "y"]);
    assert_eq!(strange, Some(LossKind::WrongBytes));
}

/// A version with an id, and what has none: put, put anew, and deleted or put once more, of which nobody has
/// heard the end.
#[test]
fn what_has_no_id_is_one_version_at_most() {
    let oracle = |last: Operation| {
        let mut oracle = Oracle::of(ALL, &Setup { versions: true, ..Setup::default() });
        let null = |tag| Operation::PutNull { key: "a".to_owned(), value: value(tag) };
        for operation in [put("a", 1, How::SYNC), null(2), null(3)] {
            let number = oracle.begin(&operation, 0);
            oracle.end(number, &operation, &Outcome::Done, None);
        }
        oracle.begin(&last, 0);
        oracle
    };
    let wrong = |last: &Operation, object: Option<u64>, nulls: &[Option<u64>]| {
        let print = |tag: u64| value(tag).print();
        let object = object.map(|tag| ("a".to_owned(), print(tag)));
        let nulls = nulls.iter().map(|tag| match tag {
            Some(tag) => (null_name("a"), print(*tag)),
            None => (marker_name("a", NULL), Print::of(&[])),
        });
        let found = object.into_iter().chain([(version_name("a", print(1)), print(1))]);
        let seen = Observation { found: found.chain(nulls).collect(), ..Observation::default() };
        let judged = oracle(last.clone()).recover(Break::Process, &seen, 0);
        judged.err().map(|losses| losses[0].kind)
    };
    let deleted = Operation::DeleteNull { key: "a".to_owned() };
    assert_eq!(wrong(&deleted, Some(3), &[Some(3)]), None);
    assert_eq!(wrong(&deleted, None, &[None]), None);
    assert_ne!(wrong(&deleted, None, &[None, Some(3)]), None);
    assert_ne!(wrong(&deleted, None, &[]), None);
    assert_eq!(wrong(&deleted, Some(2), &[Some(2)]), Some(LossKind::Lost));
    let again = Operation::PutNull { key: "a".to_owned(), value: value(4) };
    assert_eq!(wrong(&again, Some(4), &[Some(4)]), None);
    assert_ne!(wrong(&again, Some(4), &[Some(3)]), None);
    // What was put with an id stays.
    assert_eq!(wrong(&put("a", 5, How::SYNC), Some(3), &[Some(3)]), None);
    assert_ne!(wrong(&put("a", 5, How::SYNC), Some(5), &[]), None);
}

#[test]
fn an_upload_that_is_given_up_is_gone_whole() {
    let (parts, upload) = ([value(1), value(2)], Upload { number: 1, key: "a".to_owned() });
    let mut oracle = Oracle::of(ALL, &Setup { versions: true, ..Setup::default() });
    for value in parts {
        let part = Operation::Part { upload: upload.clone(), value };
        let number = oracle.begin(&part, 0);
        oracle.end(number, &part, &Outcome::Done, None);
    }
    let abort = Operation::Abort { upload, parts: parts.into() };
    oracle.begin(&abort, 0);
    let wrong = |left: &[Value]| {
        let part = |value: &Value| {
            let (len, crc32c) = (value.len as u64, value.crc32c());
            (part_name(crc32c), Print::of_part(len, crc32c))
        };
        let seen = Observation { found: left.iter().map(part).collect(), ..Observation::default() };
        let judged = oracle.clone().recover(Break::Process, &seen, 0);
        judged.err().map(|losses| losses[0].kind)
    };
    assert_eq!((wrong(&parts), wrong(&[])), (None, None));
    assert_ne!(wrong(&parts[..1]), None);
}

#[test]
fn a_delete_without_an_outcome_has_left_its_version_or_done_nothing() {
    let oracle = kept(None);
    assert_eq!(wrong_versions(&oracle, Some(2), &[1, 2], &[]), None);
    assert_eq!(wrong_versions(&oracle, None, &[1, 2], &["x"]), None);
    // Who has left nothing can't be told.
    assert_eq!(wrong_versions(&oracle, None, &[1, 2], &[]), Some(LossKind::Hole));
    assert_eq!(wrong_versions(&oracle, Some(2), &[1, 2], &["x"]), Some(LossKind::Half));
    let twice = wrong_versions(&oracle, None, &[1, 2], &["x", "y"]);
    assert_eq!(twice, Some(LossKind::WrongBytes));
}
