//! One store, from its making through up to three looks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use super::plan::{Deed, Part, Plan, When};
use super::{Kill, Profile, is_of_opening};
use crate::child::{self, Child, End, Look, Order};
use crate::engine::{Capability, Place, Setup};
use crate::history::History;
use crate::janitor::{Janitor, Thing};
use crate::oracle::{Break, Loss, LossKind, Oracle};
use crate::points::Point;
use crate::random::Random;
use crate::session::Session;
use crate::world::Task;
use crate::world::judge::{Judge, Script, unusable};

/// Looks at one store.
const LOOKS: usize = 3;
/// Of so many looks one is followed by another opening, and one by a rebuild.
const OPENED_TWICE: u64 = 4;
/// Within so many messages those are killed that are killed at steps, too.
const STEPPING_MESSAGES: u64 = 40;
/// Openings take longer than this only if there is much to repair.
const OPENING_MICROS: u64 = 4000;

/// A store under way.
pub struct Trial<'a> {
    task: &'a Task<'a>,
    world: &'a Kill,
    profile: &'a Profile,
    janitor: &'a Janitor,
    random: Random,
    setup: Setup,
    /// Operations of the workload.
    operations: usize,
    judge: Judge,
    /// What was done so far.
    done: Plan,
    /// Messages and looks so far.
    at: u64,
    /// Children that were killed.
    kills: u64,
}

/// A trial that has lost something.
#[derive(Debug)]
pub struct Found {
    pub plan: Plan,
    pub losses: Vec<Loss>,
    pub history: History,
    /// Operations that were begun.
    pub operations: usize,
}

impl<'a> Trial<'a> {
    pub fn new(
        task: &'a Task<'a>,
        world: &'a Kill,
        profile: &'a Profile,
        janitor: &'a Janitor,
        random: Random,
    ) -> Self {
        let (setup, operations) = task.operations();
        let oracle = Oracle::of(task.engine.promises(), &setup);
        let judge = Judge::new(&Script::new(&operations), oracle);
        let done = Plan::default();
        let operations = operations.len();
        Trial {
            task,
            world,
            profile,
            janitor,
            random,
            setup,
            operations,
            judge,
            done,
            at: 0,
            kills: 0,
        }
    }

    /// Does what is planned, or whatever is due; gives how many children were killed, and what was
    /// lost.
    pub fn run(mut self, planned: Option<Plan>) -> Result<(u64, Option<Found>), String> {
        let dir = tempfile::tempdir().map_err(|e| format!("no directory: {e}"))?;
        let duty = self.janitor.charge(Thing::Dir(dir.path().to_owned()));
        let duty = duty.map_err(|e| format!("no janitor: {e}"))?;
        let outcome = match planned {
            Some(plan) => self.follow(&plan, dir.path())?,
            None => self.improvise(dir.path())?,
        };
        duty.forget().map_err(|e| format!("no janitor: {e}"))?;
        dir.close().map_err(|e| format!("the directory stays: {e}"))?;
        let found = outcome.err().map(|losses| Found {
            history: self.judge.history(self.at, &self.done.to_string()),
            plan: self.done,
            losses,
            operations: self.judge.next(),
        });
        Ok((self.kills, found))
    }

    fn follow(&mut self, plan: &Plan, root: &Path) -> Result<Result<(), Vec<Loss>>, String> {
        for deed in &plan.0 {
            if let Err(losses) = self.perform(*deed, root)? {
                return Ok(Err(losses));
            }
        }
        Ok(Ok(()))
    }

    fn improvise(&mut self, root: &Path) -> Result<Result<(), Vec<Loss>>, String> {
        for look in 0..LOOKS {
            let mut deeds = vec![Deed::Child(Part::Work, self.choose_work(look))];
            while !deeds.is_empty() {
                if let Err(losses) = self.perform(deeds.remove(0), root)? {
                    return Ok(Err(losses));
                }
                // Openings can be killed again and again.
                if deeds.is_empty() && self.random.one_in(2) {
                    deeds.push(self.choose_opening());
                }
            }
            if let Err(losses) = self.perform(Deed::Look, root)? {
                return Ok(Err(losses));
            }
            if self.judge.is_at_end() {
                break;
            }
        }
        Ok(Ok(()))
    }

    fn choose_work(&mut self, look: usize) -> When {
        let taken = |point: &Point| self.profile.contains_key(point.name);
        let point = self.world.least(taken, &mut self.random);
        match point {
            Some(point) if !self.random.one_in(8) => {
                let times = self.profile[point.name];
                // Behind the first look less is left to do.
                let times = if look == 0 { times } else { times.min(2) };
                When::Step(point, 1 + self.random.below(times))
            }
            _ => self.choose_moment(),
        }
    }

    /// When a child is killed: anywhere in its work, and soon, where it takes no steps.
    fn choose_moment(&mut self) -> When {
        let (messages, within_us) = if self.takes_steps() {
            (self.random.below(STEPPING_MESSAGES), 3000)
        } else {
            let left = self.operations.saturating_sub(self.judge.next());
            // Two messages each.
            let messages = 1 + self.random.below(2 * left.max(1) as u64);
            (messages, self.random.pick(&[50, 300, 3000]))
        };
        When::Moment { messages, after: Duration::from_micros(self.random.below(within_us)) }
    }

    /// Whether the engine says what it does.
    fn takes_steps(&self) -> bool {
        !self.profile.is_empty()
    }

    fn choose_opening(&mut self) -> Deed {
        if !self.takes_steps() {
            let after = Duration::from_micros(self.random.below(OPENING_MICROS));
            return Deed::Child(Part::Open, When::Moment { messages: 1, after });
        }
        // Where no operation has come to its end, there may be no store to make an index for.
        let rebuilds = self.task.engine.has(Capability::Rebuild)
            && self.judge.has_steps()
            && self.random.one_in(6);
        let part = if rebuilds { Part::Rebuild } else { Part::Open };
        let queue = self.task.engine.has(Capability::Queue);
        let of_opening = |point: &Point| is_of_opening(point, rebuilds, queue);
        let point = self.world.least(of_opening, &mut self.random).expect("there are such steps");
        Deed::Child(part, When::Step(point, 1 + self.random.below(2)))
    }

    fn perform(&mut self, deed: Deed, root: &Path) -> Result<Result<(), Vec<Loss>>, String> {
        self.done.0.push(deed);
        self.at += 1;
        match deed {
            Deed::Child(part, when) => self.child(part, when, root),
            Deed::Look => Ok(self.look(root)),
        }
    }

    /// Has a child do its part, and killed.
    fn child(
        &mut self,
        part: Part,
        when: When,
        root: &Path,
    ) -> Result<Result<(), Vec<Loss>>, String> {
        let parts = match part {
            Part::Work => {
                vec![
                    child::Part::Work { from: self.judge.next(), to: usize::MAX },
                    child::Part::Close,
                ]
            }
            Part::Open => vec![child::Part::Open],
            Part::Rebuild => vec![child::Part::Rebuild],
        };
        let kill = match when {
            When::Step(point, nth) => Some((point.name.to_owned(), nth)),
            When::Moment { .. } => None,
        };
        let order = Order { kill, ..Order::new(self.task, root, self.judge.now_ms(), parts) };
        let mut child = Child::start(&order, self.janitor).map_err(|e| format!("no child: {e}"))?;
        let mut outcome = Ok(());
        let mut heard = 0;
        while let Some(said) = child.hear() {
            (heard, self.at) = (heard + 1, self.at + 1);
            outcome = outcome.and(self.judge.hear(self.at, &said));
            if let When::Moment { messages, after } = when
                && heard == messages
            {
                std::thread::sleep(after);
                child.kill();
            }
        }
        self.judge.breaks(Break::Process);
        match child.end().map_err(|e| format!("no end of the child: {e}"))? {
            End::Killed => {
                self.kills += 1;
                if let When::Step(point, _) = when {
                    self.world.hit(point);
                }
            }
            End::Done => {}
            End::Died(words) => outcome = Err(vec![Loss::new(LossKind::Died, words)]),
        }
        Ok(outcome)
    }

    /// Opens the store, in this process, and judges what it shows; now and then twice.
    fn look(&mut self, root: &Path) -> Result<(), Vec<Loss>> {
        let place = Place::below(root, self.setup.disks, self.judge.now_ms());
        let mut session = Session::new(self.task.engine, place, self.setup);
        self.judge.look(&looked(&mut session)?)?;
        match self.random.below(OPENED_TWICE) {
            0 => catch(|| session.close())?.map_err(|failure| unusable(&failure))?,
            1 if self.judge.has_steps() && self.task.engine.has(Capability::Rebuild) => {
                catch(|| session.rebuild().map(drop))?.map_err(|failure| unusable(&failure))?;
            }
            _ => return catch(|| session.close())?.map_err(|failure| unusable(&failure)),
        }
        self.judge.look(&looked(&mut session)?)?;
        catch(|| session.close())?.map_err(|failure| unusable(&failure))
    }
}

fn looked(session: &mut Session<'_>) -> Result<Look, Vec<Loss>> {
    catch(|| child::look(session))?.map_err(|failure| unusable(&failure))
}

/// A panic is a loss like others.
fn catch<T>(what: impl FnOnce() -> T) -> Result<T, Vec<Loss>> {
    catch_unwind(AssertUnwindSafe(what)).map_err(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        let words = words.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        vec![Loss::new(LossKind::Died, words.unwrap_or_else(|| "it panicked".to_owned()))]
    })
}
