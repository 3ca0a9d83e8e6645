//! What a machine goes through after a cut: it is opened, looked at, works on, and is perhaps
//! recorded, to be cut again.

use std::panic::{AssertUnwindSafe, catch_unwind};

use kogia::io::sim::{Fail, Fault};

use super::machine::{Image, Machine};
use super::recording::{Recorder, Recording};
use crate::engine::{Capability, Engine, Failure, Promises, Setup};
use crate::operation::Operation;
use crate::oracle::{Break, Loss, LossKind, Oracle};
use crate::random::Random;
use crate::session::{Outcome, Session};
use crate::workload;

/// Operations of a machine that works on.
const FOLLOWING: usize = 5;
/// Checkpoints before that where a process was killed.
pub const FORGETTING: usize = 2;
/// Of so many states one is opened a second time.
const OPENED_TWICE: u64 = 8;
/// Of so many states one is opened before that while calls fail: one of so many, or all behind it.
const STUMBLES: u64 = 5;
const CALLS_OF_OPENING: u64 = 80;
const SHORT_BYTES: usize = 1000;

/// What a machine is judged by.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    pub engine: &'a dyn Engine,
    pub setup: Setup,
    pub promises: Promises,
}

/// A life that was recorded, and what an oracle knew when the store was open.
pub struct Recorded {
    pub recording: Recording,
    pub recovered: Oracle,
    /// What it knew until then, and the first call behind that, where a process was killed: what that
    /// had not made durable is durable when the store is open.
    pub unrecovered: Option<(Oracle, u64)>,
}

impl Rules<'_> {
    pub fn oracle(&self) -> Oracle {
        Oracle::of(self.promises, &self.setup)
    }

    /// Opens what was left when something broke, and judges it by what the oracle knew. A panic is a
    /// loss, too.
    pub fn judge(
        &self,
        image: &Image,
        oracle: Oracle,
        broke: Break,
        seed: u64,
    ) -> Result<(), Vec<Loss>> {
        guarded(|| {
            let stumbled = self.stumble(image, &mut Random::of(seed, "stumbling"));
            // A sync that failed may have cost what was in memory alone.
            let broke = if stumbled.is_some() { Break::Power } else { broke };
            let image = stumbled.as_ref().unwrap_or(image);
            let machine = Machine::of(image);
            let mut life = Life::open(self, &machine, oracle, broke)?;
            life.judge_backup(image)?;
            life.look_again(&mut Random::of(seed, "second look"))?;
            life.end();
            Ok(())
        })
    }

    /// Now and then: what an opening leaves of which calls fail, whether it came to its end or not.
    fn stumble(&self, image: &Image, random: &mut Random) -> Option<Image> {
        if !random.one_in(STUMBLES) {
            return None;
        }
        let machine = Machine::of(&image.fork());
        let fail = random.pick(&[Fail::Eio, Fail::Enospc, Fail::Short(SHORT_BYTES)]);
        let fault = Fault::call(random.below(CALLS_OF_OPENING), fail);
        machine.io.fail(if random.one_in(2) { fault.lasting() } else { fault });
        let mut session = Session::new(self.engine, machine.place(), self.setup);
        // That it does not open is to be expected.
        let _ = session.open();
        let left = machine.image();
        machine.io.power_off();
        session.abandon();
        Some(left)
    }

    /// Judges in the same way a machine that is recorded from when it comes up, and works on.
    pub fn record(
        &self,
        image: &Image,
        oracle: Oracle,
        broke: Break,
        seed: u64,
    ) -> Result<Recorded, Vec<Loss>> {
        guarded(|| {
            let machine = Machine::of(image);
            let mut recorder = Recorder::start(&machine, self.setup.disks);
            let before = (broke == Break::Process).then(|| oracle.clone());
            let mut life = Life::open(self, &machine, oracle, broke)?;
            let unrecovered = before.map(|before| (before, machine.io.calls()));
            let recovered = life.oracle.clone();
            let checkpoints = match broke {
                // Which forget what seems to be gone, before any name is synced with a new file's.
                Break::Process if self.engine.has(Capability::Checkpoint) => FORGETTING,
                _ => 0,
            };
            let first = std::iter::repeat_n(Operation::Checkpoint, checkpoints);
            for operation in first.chain(workload::following(self.engine, seed, FOLLOWING)) {
                let oracle = Some(&mut life.oracle);
                recorder.carry_out(&mut life.session, &machine, &operation, oracle);
            }
            life.look()?;
            let recording = recorder.finish(&machine);
            life.end();
            Ok(Recorded { recording, recovered, unrecovered })
        })
    }
}

/// A machine that has come up, with its store open.
struct Life<'a> {
    rules: &'a Rules<'a>,
    machine: &'a Machine,
    session: Session<'a>,
    oracle: Oracle,
}

impl<'a> Life<'a> {
    fn open(
        rules: &'a Rules<'a>,
        machine: &'a Machine,
        oracle: Oracle,
        broke: Break,
    ) -> Result<Self, Vec<Loss>> {
        let session = Session::new(rules.engine, machine.place(), rules.setup);
        let mut life = Life { rules, machine, session, oracle };
        let seen = life.session.observe().map_err(unusable("it does not open any more"))?;
        life.oracle.recover(broke, &seen, machine.clock.now_ms())?;
        Ok(life)
    }

    fn look(&mut self) -> Result<(), Vec<Loss>> {
        let seen = self.session.observe().map_err(unusable("it can't be read"))?;
        self.oracle.look(&seen, self.machine.clock.now_ms())
    }

    /// Opens the backup on a machine of its own: an open backup is written to.
    fn judge_backup(&self, image: &Image) -> Result<(), Vec<Loss>> {
        if !self.oracle.has_backups() || !self.rules.engine.has(Capability::Backup) {
            return Ok(());
        }
        let machine = Machine::of(&image.fork());
        let session = Session::new(self.rules.engine, machine.place(), self.rules.setup);
        let seen = session.observe_backup().map_err(unusable("the backup does not open"))?;
        self.oracle.judge_backup(seen.as_ref(), machine.clock.now_ms())
    }

    /// Now and then: what was found once is found again, however the store was left.
    fn look_again(&mut self, random: &mut Random) -> Result<(), Vec<Loss>> {
        if !random.one_in(OPENED_TWICE) {
            return Ok(());
        }
        match random.below(3) {
            0 => self.look_after(Operation::Reopen),
            1 if self.rules.engine.has(Capability::Rebuild) => self.look_after(Operation::Rebuild),
            _ => {
                let killed = Machine::of(&self.machine.image());
                let place = killed.place();
                let mut session = Session::new(self.rules.engine, place, self.rules.setup);
                let seen = session.observe().map_err(unusable("it opens once, and not again"))?;
                self.oracle.look(&seen, killed.clock.now_ms())
            }
        }
    }

    fn look_after(&mut self, operation: Operation) -> Result<(), Vec<Loss>> {
        let outcome = self.session.carry_out(&operation);
        if let Outcome::Failed(failure) = outcome {
            return Err(unusable("it opens once, and not again")(failure));
        }
        self.look()
    }

    /// Nobody waits for a store whose machine is gone.
    fn end(mut self) {
        self.machine.io.power_off();
        self.session.abandon();
    }
}

fn unusable(what: &'static str) -> impl Fn(Failure) -> Vec<Loss> {
    move |failure| vec![Loss::new(LossKind::Unusable, format!("{what}: {failure}"))]
}

/// Takes a panic for a loss.
pub fn guarded<T>(life: impl FnOnce() -> Result<T, Vec<Loss>>) -> Result<T, Vec<Loss>> {
    catch_unwind(AssertUnwindSafe(life)).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no words");
        Err(vec![Loss::new(LossKind::Died, format!("a panic: {words}"))])
    })
}
