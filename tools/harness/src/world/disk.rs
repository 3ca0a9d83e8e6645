//! A real machine's stack under power cuts and failing disks.
//!
//! A FUSE file system serves disks from memory and logs every write and flush; loop devices with
//! direct I/O lie on them; ext4, xfs or btrfs on those; the store, RocksDB and all, on that. One run
//! is recorded. Then the disk as it was at any flush, with any part of what was written behind it, is
//! mounted, opened, looked at and worked on; and that may be recorded and cut, too.

mod cuts;
mod device;
pub mod errors;
mod fuse;
mod image;
mod log;
mod stack;
mod workshop;

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::judge::{Judge, Script};
use super::{Coverage, Task, Watch, World};
use crate::child::{End, Order, Part};
use crate::oracle::{Break, Loss, LossKind, Oracle};
use crate::random::Random;
use device::Device;
use image::Image;
use log::{Cut, Follower, Log};
use workshop::{Said, Workshop};

pub use stack::FileSystem;

/// Cuts one behind the other.
const DEPTH: usize = 3;
/// Of so many states that are looked at, one is recorded and cut again.
const RECORDED: u64 = 12;
/// Cuts of such a record.
const CUTS_OF_A_LOOK: u64 = 4;
/// Of so many states that are looked at, one is opened a second time.
const OPENED_TWICE: u64 = 3;
/// Operations that are carried out behind a look.
const MORE_WORK: usize = 3;

/// The world of power cuts, under a file system.
pub struct Disk {
    name: &'static str,
    file_system: FileSystem,
    /// An empty file system.
    empty: OnceLock<Result<Image, String>>,
    /// States that the file system itself did not survive.
    unmountable: AtomicU64,
}

/// A recorded run, and whoever has followed it so far.
struct Tape<'t> {
    said: std::slice::Iter<'t, Said>,
    next: Option<&'t Said>,
    judge: Judge,
    follower: Follower<'t>,
}

/// How the cuts of a run were drawn: another count gives other cuts. States are named by it, as in
/// `300.0.17/3`, the third cut behind cut 17 of the 300 that the first share drew.
struct Drawn {
    count: u64,
    share: usize,
}

/// What a run is broken with.
struct Breaking<'a> {
    world: &'a Disk,
    task: &'a Task<'a>,
    workshop: &'a Workshop,
    watch: &'a Watch,
}

/// What a child did on a disk.
struct Recorded {
    /// Where that was wanted.
    log: Option<Log>,
    said: Vec<Said>,
    end: End,
}

/// The disk behind a cut, and what may be on it.
struct State {
    image: Image,
    judge: Judge,
    /// Its name among the states of a task: how it was [drawn](Drawn), and the cuts behind it.
    name: String,
    /// How it came about.
    words: String,
    /// The last event before the first cut.
    at: u64,
    depth: usize,
    number: u64,
}

impl Disk {
    pub const fn new(name: &'static str, file_system: FileSystem) -> Self {
        Disk { name, file_system, empty: OnceLock::new(), unmountable: AtomicU64::new(0) }
    }

    fn empty(&self, workshop: &Workshop) -> Result<Image, String> {
        self.empty.get_or_init(|| workshop.make(self.file_system)).clone()
    }

    fn cuts(&self, log: &Log, count: u64, random: &mut Random) -> Vec<Cut> {
        cuts::draw(log, count, self.file_system.unit_bytes(), random)
    }
}

impl World for Disk {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        match self.file_system {
            FileSystem::Ext4 => "the power is cut under ext4, on a loop device, as root",
            FileSystem::Xfs => "the power is cut under xfs, on a loop device, as root",
            FileSystem::Btrfs => "the power is cut under btrfs, on a loop device, as root",
        }
    }

    fn check_state(&self, state: &str) -> Result<(), String> {
        Drawn::of_state(state).map(drop)
    }

    /// Each share records a run of its own.
    fn run(&self, task: &Task<'_>, watch: &Watch) -> Result<Coverage, String> {
        let workshop = Workshop::open()?;
        let (setup, operations) = task.operations();
        let breaking = Breaking { world: self, task, workshop: &workshop, watch };
        let device = Arc::new(Device::new(self.empty(&workshop)?));
        let oracle = Oracle::of(task.engine.promises(), &setup);
        let judge = Judge::new(&Script::new(&operations), oracle);
        let parts = vec![Part::Work { from: 0, to: usize::MAX }, Part::Close];
        let recorded = breaking
            .record(&device, &judge, parts, true)
            .map_err(|e| format!("{} can't be mounted: {e}", self.file_system.name()))?;
        let Recorded { log: Some(log), said, end: End::Done } = recorded else {
            return Err(format!("{} does not come to its end", task.workload.name));
        };
        let drawn = match task.state {
            Some(state) => Drawn::of_state(state)?,
            None => Drawn {
                count: task.states.div_ceil(task.share.of as u64),
                share: task.share.number,
            },
        };
        let Drawn { count, share } = drawn;
        let name = format!("{} {} {share}", self.name, task.workload.name);
        let mut random = Random::of(task.seed, &name);
        let cuts = self.cuts(&log, count, &mut random);
        let mut tape = Tape::new(&log, &said, judge);
        for (number, cut) in (1..).zip(&cuts) {
            let (image, judge) = tape.state(cut);
            let name = format!("{count}.{share}.{number}");
            let words = format!("the power was cut at {cut}");
            let at = cut.events as u64;
            let is_wanted = task.state.is_none_or(|wanted| wanted.split('/').next() == Some(&name));
            if is_wanted && !watch.is_over() {
                breaking.look(State { image, judge, name, words, at, depth: 1, number })?;
            }
        }
        let hit: BTreeSet<usize> = cuts.iter().map(|cut| cut.events).collect();
        Ok(Coverage { points: log.events.len() as u64, points_hit: hit.len() as u64 })
    }

    fn notes(&self) -> Vec<String> {
        let count = self.unmountable.load(Ordering::Relaxed);
        let name = self.file_system.name();
        let note = format!("{count:>7} states that {name} itself could not mount, not counted");
        (count > 0).then_some(note).into_iter().collect()
    }
}

impl Drawn {
    fn of_state(name: &str) -> Result<Self, String> {
        let parse = || {
            let (first, behind) = name.split_once('/').unwrap_or((name, "0"));
            let numbers: Vec<u64> =
                first.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
            let &[count, share, _number] = &numbers[..] else { return None };
            behind.split('/').all(|number| number.parse::<u64>().is_ok()).then_some(())?;
            Some(Drawn { count, share: share as usize })
        };
        parse().ok_or_else(|| format!("`{name}` is no cut that was drawn; one is `300.0.17/3`"))
    }
}

impl<'t> Tape<'t> {
    fn new(log: &'t Log, said: &'t [Said], judge: Judge) -> Self {
        let mut said = said.iter();
        Tape { next: said.next(), said, judge, follower: Follower::new(log) }
    }

    /// The disk after a cut that does not come before an earlier one, and what may be on it.
    fn state(&mut self, cut: &Cut) -> (Image, Judge) {
        while let Some((at, words)) = self.next.filter(|(at, _)| *at <= cut.events as u64) {
            // What was lost before was judged before.
            let _ = self.judge.hear(*at, words);
            self.next = self.said.next();
        }
        let mut judge = self.judge.clone();
        judge.breaks(Break::Power);
        (self.follower.state(cut), judge)
    }
}

impl Breaking<'_> {
    /// Mounts a state, opens what is there, looks and works, now and then closes and looks again, and
    /// now and then cuts the power while that is done.
    fn look(&self, state: State) -> Result<(), String> {
        let State { image, mut judge, name, words, at, depth, number } = state;
        let device = Arc::new(Device::new(image));
        let is_recorded = depth < DEPTH && number.is_multiple_of(RECORDED);
        let next = judge.next();
        let more = Part::Work { from: next, to: next + MORE_WORK };
        let mut parts = vec![Part::Look, more];
        if number.is_multiple_of(OPENED_TWICE) {
            parts.extend([Part::Close, Part::Look]);
        }
        let before = judge.clone();
        let Ok(recorded) = self.record(&device, &judge, parts, is_recorded) else {
            // The file system's loss, not the engine's.
            self.world.unmountable.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        };
        if let Err(losses) = judged(&mut judge, &recorded) {
            // All of them: with fewer the disk is another one, and so are the cuts.
            let kept = self.task.chosen(self.task.operations().1.len());
            let history = before.history(at, &words);
            self.watch.fail(self.task.failing(self.world.name, &kept, &name, losses, history));
            return Ok(());
        }
        self.watch.judged();
        let Some(log) = recorded.log else { return Ok(()) };
        let cuts = self.world.cuts(&log, CUTS_OF_A_LOOK, &mut Random::of(self.task.seed, &words));
        let mut tape = Tape::new(&log, &recorded.said, before);
        for (number, cut) in (1..).zip(&cuts) {
            let (image, judge) = tape.state(cut);
            let name = format!("{name}/{number}");
            let words = format!("{words}, then, while that was opened, at {cut}");
            // Every other one of these is recorded.
            let number = number * RECORDED / 2;
            self.look(State { image, judge, name, words, at, depth: depth + 1, number })?;
        }
        Ok(())
    }

    /// Mounts the device and has a child work on it, from where the judge is.
    fn record(
        &self,
        device: &Arc<Device>,
        judge: &Judge,
        parts: Vec<Part>,
        is_recorded: bool,
    ) -> io::Result<Recorded> {
        if is_recorded {
            device.record(self.task.lying);
        }
        let bench = self.workshop.mount(device, self.world.file_system)?;
        let order = Order::new(self.task, bench.dir(), judge.now_ms(), parts);
        let order = Order { waits: is_recorded, ..order };
        let (said, end) = self.workshop.work(&order, device)?;
        // Before it is unmounted: nobody pulls a plug behind that.
        Ok(Recorded { log: device.take_log(), said, end })
    }
}

fn judged(judge: &mut Judge, recorded: &Recorded) -> Result<(), Vec<Loss>> {
    recorded.said.iter().try_for_each(|(at, words)| judge.hear(*at, words))?;
    died(&recorded.end)
}

/// A child that did not come to its end.
fn died(end: &End) -> Result<(), Vec<Loss>> {
    match end {
        End::Done => Ok(()),
        End::Killed => Err(vec![Loss::new(LossKind::Died, "it was killed")]),
        End::Died(words) => Err(vec![Loss::new(LossKind::Died, words)]),
    }
}
