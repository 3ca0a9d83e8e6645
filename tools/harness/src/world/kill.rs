//! Processes that are killed: at named steps of the library, and at any moment.
//!
//! A child works on a directory of the operating system's, RocksDB and all, and says what was
//! acknowledged; it is killed, and so are some of those that open what it has left. Then the store is
//! opened and looked at, and more work follows, up to three times.
//!
//! Steps are killed at that have had it least often. Directories are made where temporary files go:
//! `TMPDIR=/dev/shm` is fast.

mod plan;
mod trial;

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::{Coverage, Task, Watch, World};
use crate::child::{Child, End, Order, Part, Said};
use crate::engine::Clock;
use crate::janitor::Janitor;
use crate::points::{self, POINTS, Point};
use crate::random::Random;
use crate::shrink::shrink;
use plan::Plan;
use trial::{Found, Trial};

/// The world, and how often each step was killed at.
pub struct Kill {
    hits: Mutex<BTreeMap<&'static str, u64>>,
}

/// How often each step is taken when nobody kills.
type Profile = BTreeMap<String, u64>;

impl World for Kill {
    fn name(&self) -> &'static str {
        "kill"
    }

    fn about(&self) -> &'static str {
        "processes are killed at named steps and at any moment, while they open a store, too"
    }

    fn check_state(&self, state: &str) -> Result<(), String> {
        state.parse::<Plan>().map(drop)
    }

    fn run(&self, task: &Task<'_>, watch: &Watch) -> Result<Coverage, String> {
        let janitor = Janitor::hire().map_err(|e| format!("no janitor: {e}"))?;
        let planned = task.state.map(str::parse::<Plan>).transpose()?;
        let profile = profile(task, &janitor)?;
        let states = task.states.div_ceil(task.share.of as u64);
        let (mut killed, mut number) = (0, task.share.number);
        while killed < states && !watch.is_over() {
            let random = Random::of(task.seed, &format!("kill {} {number}", task.workload.name));
            number += task.share.of;
            let trial = Trial::new(task, self, &profile, &janitor, random);
            let (kills, found) = trial.run(planned.clone())?;
            killed += kills.max(1);
            match found {
                None => (0..kills).for_each(|_| watch.judged()),
                Some(found) => self.report(task, &profile, &janitor, watch, found)?,
            }
        }
        let taken = || POINTS.iter().filter(|point| profile.contains_key(point.name));
        let hits = self.hits();
        let hit = taken().filter(|point| hits.contains_key(point.name)).count();
        Ok(task.share.whole(taken().count() as u64, hit as u64))
    }

    fn notes(&self) -> Vec<String> {
        let hits = self.hits();
        let line = |point: &Point| {
            let count = hits.get(point.name)?;
            Some(format!("{count:>7} kills at {}: {}", point.name, point.done))
        };
        POINTS.iter().filter_map(line).collect()
    }
}

impl Kill {
    pub const fn new() -> Self {
        Kill { hits: Mutex::new(BTreeMap::new()) }
    }

    fn hits(&self) -> BTreeMap<&'static str, u64> {
        self.hits.lock().expect("no panic holds it").clone()
    }

    fn hit(&self, point: &'static Point) {
        *self.hits.lock().expect("no panic holds it").entry(point.name).or_default() += 1;
    }

    /// Of these points one of those that were killed at least often.
    fn least(&self, of: impl Fn(&Point) -> bool, random: &mut Random) -> Option<&'static Point> {
        // Several threads choose at once, and not all of them the same one.
        const SLACK: u64 = 2;
        let hits = self.hits();
        let count = |point: &&Point| hits.get(point.name).copied().unwrap_or(0);
        let all: Vec<&'static Point> = POINTS.iter().filter(|point| of(point)).collect();
        let least = all.iter().map(count).min()?;
        let seldom: Vec<_> =
            all.into_iter().filter(|point| count(point) <= least + SLACK).collect();
        Some(random.pick(&seldom))
    }

    /// Reports a failing trial, with as few operations as it fails with.
    fn report(
        &self,
        task: &Task<'_>,
        profile: &Profile,
        janitor: &Janitor,
        watch: &Watch,
        found: Found,
    ) -> Result<(), String> {
        let plan = found.plan.clone();
        let mut wrong = None;
        let fails = |kept: &[usize]| {
            let fewer = Task { operations: Some(kept), ..*task };
            let random = Random::of(task.seed, "shrinking");
            let ran = Trial::new(&fewer, self, profile, janitor, random).run(Some(plan.clone()));
            ran.map_err(|error| wrong = Some(error)).ok()?.1
        };
        let all = task.chosen(found.operations);
        let (kept, found) = if task.first { (all, found) } else { shrink(all, found, fails) };
        if let Some(error) = wrong {
            return Err(error);
        }
        let state = found.plan.to_string();
        watch.fail(task.failing(self.name(), &kept, &state, found.losses, found.history));
        Ok(())
    }
}

/// How often each step is taken by the workload.
fn profile(task: &Task<'_>, janitor: &Janitor) -> Result<Profile, String> {
    let dir = tempfile::tempdir().map_err(|e| format!("no directory: {e}"))?;
    let parts = vec![Part::Work { from: 0, to: usize::MAX }, Part::Close];
    let order = Order::new(task, dir.path(), Clock::START_MS, parts);
    let mut child = Child::start(&order, janitor).map_err(|e| format!("no child: {e}"))?;
    let mut counts = Profile::new();
    while let Some(said) = child.hear() {
        if let Said::Counted(counted) = said {
            counts = counted;
        }
    }
    match child.end().map_err(|e| format!("no end of the child: {e}"))? {
        End::Done => Ok(counts),
        end => Err(format!("{} does not come to its end: {end:?}", task.workload.name)),
    }
}

/// The points at which openings are killed.
fn is_of_opening(point: &Point, rebuilds: bool, queue: bool) -> bool {
    let belongs = |to: &str| point.name.starts_with(to);
    if queue {
        return belongs("queue.open.") || belongs("replace.");
    }
    belongs("open.") || belongs("replace.") || rebuilds && belongs("rebuild.")
}

/// The point of a name.
fn find(name: &str) -> Result<&'static Point, String> {
    points::find(name).ok_or_else(|| format!("there is no step `{name}`"))
}
