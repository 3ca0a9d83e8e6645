//! Where nothing breaks, every workload is carried out, and the oracle agrees with every state.

use crate::engine::kogia::Kogia;
use crate::engine::kogia_queue::KogiaQueue;
use crate::engine::{Clock, Engine, Failure, Place};
use crate::oracle::Oracle;
use crate::session::{Outcome, Session};

#[test]
fn every_workload_is_carried_out_and_leaves_what_was_asked() {
    for workload in super::all() {
        let run = workload.run(1);
        let engine: &dyn Engine = if run.fits(&Kogia) { &Kogia } else { &KogiaQueue };
        assert!(run.fits(engine), "{}", workload.name);
        let dir = tempfile::tempdir().unwrap();
        let mut session = Session::new(
            engine,
            Place::below(dir.path(), run.setup.disks, Clock::START_MS),
            run.setup,
        );
        let mut oracle = Oracle::of(engine.promises(), &run.setup);
        for operation in &run.operations {
            let which = format!("{}: {operation}", workload.name);
            let number = oracle.begin(operation, session.place().clock.now_ms());
            let outcome = session.carry_out(operation);
            let went_well = match &outcome {
                Outcome::Failed(failure) => *failure == Failure::Refused,
                Outcome::Done | Outcome::Nothing | Outcome::Queue(_) => true,
                Outcome::Wrong(_) => false,
            };
            assert!(went_well, "{which}: {outcome:?}");
            oracle.end(number, operation, &outcome, None);
            let seen = session.observe().unwrap();
            oracle.look(&seen, session.place().clock.now_ms()).expect(&which);
        }
        let backup = session.observe_backup().unwrap();
        oracle.judge_backup(backup.as_ref(), session.place().clock.now_ms()).unwrap();
    }
}

#[test]
fn a_workload_is_the_same_whenever_it_is_drawn() {
    for workload in super::all() {
        let (first, again, other) = (workload.run(3), workload.run(3), workload.run(4));
        assert_eq!((first.setup, &first.operations), (again.setup, &again.operations));
        assert_ne!(first.operations, other.operations, "{}", workload.name);
    }
}
