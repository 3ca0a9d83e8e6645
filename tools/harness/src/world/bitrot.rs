//! Files of a store that was closed rot: bits flip, chunks are zeroed, swapped, misplaced or old,
//! files are too short or gone.
//!
//! Whatever it is, it is found or it does not matter: bytes that are read are those that were
//! written, and what can't be read is an error, never silence. Some of the damage is done under the
//! open store, most of it before opening.

mod damage;
mod plan;

use super::life::{Rules, guarded};
use super::machine::{Image, Machine};
use super::recording::{Recorder, Recording};
use super::{Coverage, Task, Watch, World};
use crate::engine::{Capability, Engine, Failure, Store};
use crate::history::{History, Moment};
use crate::operation::{Operation, Print};
use crate::oracle::{Loss, LossKind};
use crate::queue;
use crate::session::{Observation, Outcome, Session};
use damage::Damage;
use plan::{Plan, spread};

/// Before the name of damage that is done under the open store.
const LIVE: &str = "live,";
/// Of so many flips one is done before opening, the others under the open store, which is a
/// hundred times as fast.
const OPENED: usize = 8;
/// Before the name of damage beside which the index is gone, and is made anew from what is left.
const REBUILT: &str = "rebuilt,";

pub struct Bitrot;

/// A store that was closed, and what it holds.
struct Closed<'a> {
    rules: Rules<'a>,
    recording: Recording,
    image: Image,
    expected: Observation,
}

impl World for Bitrot {
    fn name(&self) -> &'static str {
        "bitrot"
    }

    fn about(&self) -> &'static str {
        "bits flip, chunks are zeroed, swapped, misplaced or old, files too short or gone"
    }

    fn suits(&self, engine: &dyn Engine) -> bool {
        engine.has(Capability::Simulated)
    }

    fn check_state(&self, state: &str) -> Result<(), String> {
        state.strip_prefix(LIVE).unwrap_or(state).parse::<Damage>().map(drop)
    }

    fn run(&self, task: &Task<'_>, watch: &Watch) -> Result<Coverage, String> {
        let (setup, operations) = task.operations();
        let rules = Rules { engine: task.engine, setup, promises: task.engine.promises() };
        let closed = Closed::after(rules, &operations)?;
        let fail = |name: String, losses| {
            let moment = Moment { call: closed.recording.calls, words: name.clone() };
            let history = History::of(&closed.recording.steps, closed.recording.calls, moment);
            let kept = task.chosen(operations.len());
            watch.fail(task.failing(self.name(), &kept, &name, losses, history));
        };
        if let Some(name) = task.state {
            if let Err(losses) = closed.judge_named(name)? {
                fail(name.to_owned(), losses);
            }
            return Ok(Coverage::default());
        }
        let plan = Plan::of(&closed.image, &closed.recording, task.seed);
        let flips = task.states.saturating_sub(plan.whole.len() as u64).max(task.states / 2);
        let whole = spread(plan.whole.len() as u64, task.states - flips);
        for number in whole.filter(|n| task.share.has(*n as usize)) {
            let damage = &plan.whole[number as usize];
            match closed.judge(damage) {
                Ok(()) => watch.judged(),
                Err(losses) => fail(damage.to_string(), losses),
            }
            if tells_without_index(damage) {
                match closed.judge_rebuilt(damage) {
                    Ok(()) => watch.judged(),
                    Err(losses) => fail(format!("{REBUILT}{damage}"), losses),
                }
            }
            if watch.is_over() {
                return Ok(Coverage::default());
            }
        }
        let hit = closed.flip(&plan, flips, task, watch, &fail);
        Ok(Coverage { points: task.share.whole(plan.bytes(), 0).points, points_hit: hit })
    }
}

/// Whether damage is found without the index: of a file that is gone or too short only that can tell.
fn tells_without_index(damage: &Damage) -> bool {
    match damage {
        Damage::Zero { file, .. } => file.ends_with(".track"),
        Damage::Flip { file, .. } => file.ends_with("META"),
        _ => false,
    }
}

impl<'a> Closed<'a> {
    fn after(rules: Rules<'a>, operations: &[Operation]) -> Result<Self, String> {
        let machine = Machine::new(1, &rules.setup);
        let mut recorder = Recorder::start(&machine, rules.setup.disks);
        let mut session = Session::new(rules.engine, machine.place(), rules.setup);
        for operation in operations {
            recorder.carry_out(&mut session, &machine, operation, None);
        }
        let wrong = |failure: Failure| format!("without any damage: {failure}");
        if let Some(store) = session.store().filter(|store| store.queue().is_some()) {
            // Of a queue only what is durable is shown, and closing makes durable what is not.
            store.sync().map_err(wrong)?;
        }
        let expected = session.observe().map_err(wrong)?.named();
        session.close().map_err(wrong)?;
        let recording = recorder.finish(&machine);
        let image = machine.image();
        if !rules.setup.retention.drops() {
            return Ok(Closed { rules, recording, image, expected });
        }
        // Opening a queue drops what has become too old or too much since it dropped something last.
        let machine = Machine::of(&image.fork());
        let mut session = Session::new(rules.engine, machine.place(), rules.setup);
        let expected = session.observe().map_err(wrong)?.named();
        machine.io.power_off();
        session.abandon();
        Ok(Closed { rules, recording, image, expected })
    }

    fn judge_named(&self, name: &str) -> Result<Result<(), Vec<Loss>>, String> {
        if let Some(name) = name.strip_prefix(REBUILT) {
            return Ok(self.judge_rebuilt(&name.parse()?));
        }
        match name.strip_prefix(LIVE) {
            None => Ok(self.judge(&name.parse()?)),
            Some(name) => {
                let damage: Damage = name.parse()?;
                self.with_live(|live| live.judge(&damage))
            }
        }
    }

    /// Does damage, and opens the store.
    fn judge(&self, damage: &Damage) -> Result<(), Vec<Loss>> {
        self.judge_image(damage.apply(&self.image, |call| self.before(call)))
    }

    /// Does damage, takes the index away, and opens the store.
    fn judge_rebuilt(&self, damage: &Damage) -> Result<(), Vec<Loss>> {
        let mut image = damage.apply(&self.image, |call| self.before(call));
        if let Some(image) = &mut image {
            let of_index = |file: &String| file.starts_with("index/");
            image
                .files()
                .iter()
                .filter(|file| of_index(file))
                .for_each(|f| image.set_file(f, None));
        }
        self.judge_image(image)
    }

    /// The machine as it was before a call.
    fn before(&self, call: u64) -> Option<Image> {
        let cut = self.recording.cuts.iter().find(|cut| cut.call == call);
        cut.map(|cut| cut.image.clone())
    }

    /// Opens what is left; of a file that is too short there was no such chunk.
    fn judge_image(&self, image: Option<Image>) -> Result<(), Vec<Loss>> {
        let Some(image) = image else { return Ok(()) };
        let setup = self.rules.setup;
        guarded(|| {
            let machine = Machine::of(&image);
            let mut session = Session::new(self.rules.engine, machine.place(), setup);
            let judged = match session.observe() {
                Ok(seen) => self.compare(&seen.named()),
                Err(_) => self.judge_accepted(&image),
            };
            machine.io.power_off();
            session.abandon();
            judged
        })
    }

    /// The store does not open, or not all of it can be read: where the loss is accepted, nothing is
    /// there that is wrong.
    fn judge_accepted(&self, image: &Image) -> Result<(), Vec<Loss>> {
        let machine = Machine::of(&image.fork());
        let opened = self.rules.engine.open_damaged(&machine.place(), &self.rules.setup);
        let Ok(store) = opened else { return Ok(()) };
        // An older value may be back: what overtook it may be what is damaged.
        let judged = read_each(&*store, |key, print| self.was_ever(key, print));
        machine.io.power_off();
        judged
    }

    /// Whether anybody ever wrote these bytes under a key.
    fn was_ever(&self, key: &str, print: Print) -> bool {
        let changes = self.recording.steps.iter().flat_map(|step| step.known.changes.iter());
        let mut of_key = changes.filter(|change| change.name == *key);
        of_key.any(|change| change.print == Some(print)) || self.was_in_queue(key, print)
    }

    /// Whether a queue ever had such an item or position.
    fn was_in_queue(&self, name: &str, print: Print) -> bool {
        self.recording.steps.iter().any(|step| match (&step.operation, &step.outcome) {
            (Operation::Queue(task), Outcome::Queue(answer)) => {
                let prints = step.known.changes.iter().filter_map(|change| change.print);
                let names = queue::names(task, answer, prints);
                names.contains(&(name.to_owned(), print))
            }
            _ => false,
        })
    }

    /// Whether a queue has nothing that would say so if this were older than it should be, or gone: of
    /// `QUEUE`, which says what was truncated, and of positions there is one copy.
    fn may_go_back(&self, name: &str, found: Option<Print>) -> bool {
        let is_position = name.starts_with(queue::POSITION);
        let was_truncated = !self.expected.found.contains_key(name);
        self.rules.engine.has(Capability::Queue)
            && (is_position || was_truncated)
            && found.is_none_or(|print| self.was_ever(name, print))
    }

    /// What opens without a word is all there; what is complained of may be missing, and is not wrong.
    fn compare(&self, seen: &Observation) -> Result<(), Vec<Loss>> {
        let mut losses = Vec::new();
        for (name, print) in &seen.found {
            let expected = self.expected.found.get(name);
            if expected != Some(print) && !self.may_go_back(name, Some(*print)) {
                let words = format!("{name} is {print:?}, and was {expected:?}");
                losses.push(Loss::new(LossKind::WrongBytes, words));
            }
        }
        for name in self.expected.found.keys().filter(|name| !seen.found.contains_key(*name)) {
            if seen.problems.is_empty() && !self.may_go_back(name, None) {
                let words = format!("{name} is not there, and nobody complains");
                losses.push(Loss::new(LossKind::Lost, words));
            }
        }
        if losses.is_empty() { Ok(()) } else { Err(losses) }
    }

    /// Flips bits; gives in how many bytes.
    fn flip(
        &self,
        plan: &Plan,
        flips: u64,
        task: &Task<'_>,
        watch: &Watch,
        fail: &dyn Fn(String, Vec<Loss>),
    ) -> u64 {
        let numbers = plan.flips(flips, task.seed);
        let mine = numbers.enumerate().filter(|(n, _)| task.share.has(*n));
        let live = self.with_live(|live| {
            let mut hit = 0;
            for (n, flip) in mine {
                let Some(damage) = plan.flip(flip.byte, flip.bit) else { continue };
                let is_opened = (n / task.share.of).is_multiple_of(OPENED) || !live.sees(&damage);
                let judged = if is_opened { self.judge(&damage) } else { live.judge(&damage) };
                let live = if is_opened { "" } else { LIVE };
                hit += u64::from(flip.is_first);
                match judged {
                    Ok(()) => watch.judged(),
                    Err(losses) => fail(format!("{live}{damage}"), losses),
                }
                if watch.is_over() {
                    break;
                }
            }
            hit
        });
        live.unwrap_or(0)
    }

    /// Opens the store as it was closed, to be damaged while it is open.
    fn with_live<T>(&self, each: impl FnOnce(&Live<'_>) -> T) -> Result<T, String> {
        let machine = Machine::of(&self.image.fork());
        let mut session = Session::new(self.rules.engine, machine.place(), self.rules.setup);
        session.open().map_err(|failure| format!("without any damage: {failure}"))?;
        let live = Live { closed: self, machine: &machine, session: &session };
        let out = each(&live);
        machine.io.power_off();
        session.abandon();
        Ok(out)
    }
}

/// A store that is open while its files rot.
struct Live<'a> {
    closed: &'a Closed<'a>,
    machine: &'a Machine,
    session: &'a Session<'a>,
}

impl Live<'_> {
    /// Whether the damage is to a file that is the same under the open store, and is read from.
    fn sees(&self, damage: &Damage) -> bool {
        let Damage::Flip { file, .. } = damage else { return false };
        let now = self.machine.io.read_file(&**file).ok();
        file.ends_with(".track") && now.is_some() && now == self.closed.image.file(file)
    }

    fn judge(&self, damage: &Damage) -> Result<(), Vec<Loss>> {
        let Damage::Flip { file, at, bit } = damage else { return Ok(()) };
        let flip = || {
            let mut bytes =
                self.machine.io.read_file(&**file).expect("an open store has its files");
            bytes[*at] ^= 1 << bit;
            self.machine.io.write_file(&**file, &bytes).expect("it is there");
        };
        flip();
        let judged = guarded(|| match self.session.store() {
            Some(store) => {
                let found = &self.closed.expected.found;
                read_each(store, |key, print| found.get(key) == Some(&print))
            }
            None => Ok(()),
        });
        flip();
        judged
    }
}

/// Reads each object: it is right, or an error, or, where a loss was accepted, gone.
fn read_each(store: &dyn Store, is_right: impl Fn(&str, Print) -> bool) -> Result<(), Vec<Loss>> {
    let keys = store.keys().unwrap_or_default();
    let of_keys = keys.into_iter().filter_map(|key| {
        let bytes = store.get(&key).ok()??;
        Some((key, Print::of(&bytes)))
    });
    let of_queue = store.queue().map_or_else(Vec::new, queue::salvage);
    let mut losses = Vec::new();
    for (name, print) in of_keys.chain(of_queue) {
        if !is_right(&name, print) {
            let words = format!("{name} has {print:?}, which nobody wrote there");
            losses.push(Loss::new(LossKind::WrongBytes, words));
        }
    }
    if losses.is_empty() { Ok(()) } else { Err(losses) }
}
