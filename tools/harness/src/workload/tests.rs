//! Where nothing breaks, every workload is carried out, and the oracle agrees with every state.

use std::sync::Mutex;

use super::{Run, Workload};
use crate::engine::kogia::Kogia;
use crate::engine::kogia_queue::KogiaQueue;
use crate::engine::kogia_server::KogiaServer;
use crate::engine::{Clock, Engine, Failure, Place};
use crate::operation::Operation;
use crate::oracle::Oracle;
use crate::session::{Outcome, Progress, Session};

#[test]
fn every_workload_is_carried_out_and_leaves_what_was_asked() {
    for workload in super::all() {
        let run = workload.run(1);
        let engines: [&dyn Engine; 3] = [&Kogia, &KogiaQueue, &KogiaServer];
        for engine in engines.into_iter().filter(|engine| run.fits(*engine)) {
            carry_out(workload, &run, engine);
        }
        assert!(engines.iter().any(|engine| run.fits(*engine)), "{}", workload.name);
    }
}

/// Behind each operation the oracle agrees with what there is.
fn carry_out(workload: &Workload, run: &Run, engine: &dyn Engine) {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::below(dir.path(), run.setup.disks, Clock::START_MS);
    let mut session = Session::new(engine, place, run.setup);
    let mut oracle = Oracle::of(engine.promises(), &run.setup);
    let mut grown = 0;
    for operation in &run.operations {
        let which = format!("{} of {}: {operation}", workload.name, engine.name());
        let members = operation.members();
        let now_ms = session.place().clock.now_ms();
        let numbers: Vec<_> = members.iter().map(|member| oracle.begin(member, now_ms)).collect();
        let (begun, outcomes) = (Mutex::new(Vec::new()), Mutex::new(vec![None; members.len()]));
        session.carry_out_each(operation, &|member, progress| match progress {
            Progress::Begins => begun.lock().unwrap().push(member),
            Progress::Ended(outcome) => {
                assert!(begun.lock().unwrap().contains(&member), "{which}");
                assert_eq!(outcomes.lock().unwrap()[member].replace(outcome), None, "{which}");
            }
        });
        assert_eq!(begun.into_inner().unwrap().len(), members.len(), "{which}");
        for ((member, number), outcome) in
            members.iter().zip(numbers).zip(outcomes.into_inner().unwrap())
        {
            let outcome = outcome.expect(&which);
            let went_well = match &outcome {
                Outcome::Failed(failure) => *failure == Failure::Refused,
                Outcome::Wrong(_) => false,
                _ => true,
            };
            assert!(went_well, "{which}: {outcome:?}");
            grown += usize::from(grows(member) && outcome == Outcome::Done);
            oracle.end(number, member, &outcome, None);
        }
        let seen = session.observe().unwrap_or_else(|failure| panic!("{which}: {failure}"));
        oracle.look(&seen, session.place().clock.now_ms()).expect(&which);
    }
    // A condition that never holds would say nothing.
    let growing = run.operations.iter().filter(|operation| grows(operation)).count();
    assert!(grown * 2 >= growing, "{}: {grown} of {growing}", workload.name);
    let backup = session.observe_backup().unwrap();
    oracle.judge_backup(backup.as_ref(), session.place().clock.now_ms()).unwrap();
}

fn grows(operation: &Operation) -> bool {
    use Operation::{Append, Copy, Extend};
    matches!(operation, Extend { .. } | Append { .. } | Copy { .. })
}

#[test]
fn a_workload_is_the_same_whenever_it_is_drawn() {
    for workload in super::all() {
        let (first, again, other) = (workload.run(3), workload.run(3), workload.run(4));
        assert_eq!((first.setup, &first.operations), (again.setup, &again.operations));
        assert_ne!(first.operations, other.operations, "{}", workload.name);
    }
}
