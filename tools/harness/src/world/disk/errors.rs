//! Disks that fail: a read, a write or a flush answers with an I/O error, once or from then on.
//!
//! The store works on while that happens, as far as it and the file system do. Then the disk is well
//! again, the power is cut, and what is there is looked at.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::device::{Call, Device, Fault};
use super::died;
use super::image::Image;
use super::stack::FileSystem;
use super::workshop::{Said, Workshop};
use crate::child::{self, End, Order, Part};
use crate::oracle::{Break, Loss, Oracle};
use crate::random::Random;
use crate::world::judge::{Judge, Script};
use crate::world::{Coverage, Task, Watch, World};

/// The world of failing disks, under a file system.
pub struct DiskErrors {
    name: &'static str,
    file_system: FileSystem,
    /// An empty file system.
    empty: OnceLock<Result<Image, String>>,
    /// Processes that ended by themselves, of engines that may do so.
    ended: AtomicU64,
}

/// What a run is broken with.
struct Breaking<'a> {
    world: &'a DiskErrors,
    task: &'a Task<'a>,
    workshop: &'a Workshop,
    empty: Image,
    /// Nothing was asked yet.
    judge: Judge,
}

/// Calls of each kind when nothing fails.
type Calls = [(Call, u64); 3];

impl DiskErrors {
    pub const fn new(name: &'static str, file_system: FileSystem) -> Self {
        DiskErrors { name, file_system, empty: OnceLock::new(), ended: AtomicU64::new(0) }
    }
}

impl World for DiskErrors {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        match self.file_system {
            FileSystem::Ext4 => "reads, writes and flushes of the disk under ext4 fail, as root",
            FileSystem::Xfs => "reads, writes and flushes of the disk under xfs fail, as root",
            FileSystem::Btrfs => "reads, writes and flushes of the disk under btrfs fail, as root",
        }
    }

    fn check_state(&self, state: &str) -> Result<(), String> {
        state.parse::<Fault>().map(drop)
    }

    fn run(&self, task: &Task<'_>, watch: &Watch) -> Result<Coverage, String> {
        let workshop = Workshop::open()?;
        let (setup, operations) = task.operations();
        let empty = self.empty.get_or_init(|| workshop.make(self.file_system)).clone()?;
        let oracle = Oracle::of(task.engine.promises(), &setup);
        let judge = Judge::new(&Script::new(&operations), oracle);
        let breaking = Breaking { world: self, task, workshop: &workshop, empty, judge };
        let calls = breaking.count()?;
        let faults = match task.state {
            Some(state) => vec![state.parse()?],
            None => draw(&calls, task),
        };
        for fault in &faults {
            if !watch.is_over() {
                breaking.once(*fault, watch)?;
            }
        }
        let points = calls.iter().map(|(_, count)| 2 * count).sum();
        Ok(Coverage { points, points_hit: faults.len() as u64 })
    }

    fn notes(&self) -> Vec<String> {
        let count = self.ended.load(Ordering::Relaxed);
        let note = format!("{count:>7} processes that ended by themselves as the disk failed");
        (count > 0).then_some(note).into_iter().collect()
    }
}

/// Every fault in turn where as many are wanted as there can be, else some of them.
fn draw(calls: &Calls, task: &Task<'_>) -> Vec<Fault> {
    let counts = calls.iter().flat_map(|(call, count)| (0..*count).map(|after| (*call, after)));
    let all: Vec<Fault> = counts
        .flat_map(|(call, after)| [false, true].map(|for_ever| Fault { call, after, for_ever }))
        .collect();
    let mut random = Random::of(task.seed, &format!("faults {}", task.workload.name));
    let some: Vec<Fault> = if task.states >= all.len() as u64 {
        all
    } else {
        (0..task.states).map(|_| random.pick(&all)).collect()
    };
    let numbered = some.into_iter().enumerate();
    numbered.filter(|(number, _)| task.share.has(*number)).map(|(_, fault)| fault).collect()
}

impl Breaking<'_> {
    /// Counts the calls of a run in which none fails.
    fn count(&self) -> Result<Calls, String> {
        let device = Arc::new(Device::new(self.empty.clone()));
        match self.work(&device, None)? {
            (_, End::Done, _) => Ok(Call::ALL.map(|call| (call, device.calls(call)))),
            _ => Err(format!("{} does not come to its end", self.task.workload.name)),
        }
    }

    /// Runs the workload with one fault, and looks at what it leaves.
    fn once(&self, fault: Fault, watch: &Watch) -> Result<(), String> {
        let device = Arc::new(Device::new(self.empty.clone()));
        let (said, end, image) = self.work(&device, Some(fault))?;
        let mut judge = self.judge.clone();
        let mut outcome = heard(&mut judge, &said);
        if self.task.engine.promises().survives_errors {
            outcome = outcome.and(died(&end));
        } else if end != End::Done {
            self.world.ended.fetch_add(1, Ordering::Relaxed);
        }
        if outcome.is_ok() {
            judge.breaks(Break::Power);
            let (said, end) = self.look(image, &judge)?;
            outcome = said.iter().try_for_each(|(at, words)| judge.hear(*at, words));
            outcome = outcome.and(died(&end));
        }
        let Err(losses) = outcome else {
            watch.judged();
            return Ok(());
        };
        let (kept, name) = (self.task.chosen(judge.next()), fault.to_string());
        let history = judge.history(said.len() as u64, &format!("the disk failed: {name}"));
        watch.fail(self.task.failing(self.world.name, &kept, &name, losses, history));
        Ok(())
    }

    /// Runs the workload; gives what was said, and the disk when it had come to its end.
    fn work(
        &self,
        device: &Arc<Device>,
        fault: Option<Fault>,
    ) -> Result<(Vec<Said>, End, Image), String> {
        let parts = vec![Part::Work { from: 0, to: usize::MAX }, Part::Close];
        let bench = self
            .workshop
            .mount(device, self.world.file_system)
            .map_err(|e| format!("{} can't be mounted: {e}", self.world.file_system.name()))?;
        device.fail(fault);
        device.count_from_now();
        let order = Order::new(self.task, bench.dir(), self.judge.now_ms(), parts);
        let work = self.workshop.work(&order, device);
        let (said, end) = work.map_err(|e| format!("no child: {e}"))?;
        device.fail(None);
        // Before it is unmounted: what was not written when the power was cut never is.
        Ok((said, end, device.image()))
    }

    fn look(&self, image: Image, judge: &Judge) -> Result<(Vec<Said>, End), String> {
        let device = Arc::new(Device::new(image));
        let bench = self
            .workshop
            .mount(&device, self.world.file_system)
            .map_err(|e| format!("{} can't be mounted: {e}", self.world.file_system.name()))?;
        let parts = vec![Part::Look, Part::Close, Part::Look];
        let order = Order::new(self.task, bench.dir(), judge.now_ms(), parts);
        self.workshop.work(&order, &device).map_err(|e| format!("no child: {e}"))
    }
}

/// On a failing disk anything may fail.
fn heard(judge: &mut Judge, said: &[Said]) -> Result<(), Vec<Loss>> {
    let failed = |words: &child::Said| matches!(words, child::Said::Failed(_));
    for (number, (_, words)) in said.iter().enumerate() {
        if !failed(words) {
            judge.hear(number as u64, words)?;
        }
    }
    Ok(())
}
