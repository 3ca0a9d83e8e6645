//! The named steps of the library, and a listener that ends the process at one of them.
//!
//! The library says what it does as `tracing` events of the target [`TARGET`], each with a name of
//! its own. So a child process can be killed between any two steps without a line of crash code in
//! the library.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Event, Metadata, Subscriber};

use crate::random::Random;

/// The target of the library's steps.
const TARGET: &str = "kogia::step";

/// A step, and what has just been done when it is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    pub name: &'static str,
    pub done: &'static str,
}

const fn point(name: &'static str, done: &'static str) -> Point {
    Point { name, done }
}

/// All steps, in the order of what they belong to; `docs/steps.md` is made of them.
pub const POINTS: &[Point] = &[
    point("write.appended", "a commit group was written to its track as one chain"),
    point("write.synced", "the track was synced"),
    point("write.applied", "the index has the chain's records, in memory"),
    point("write.answered", "all callers of the group know"),
    point("roll.sealed", "the active track was synced, and takes no more"),
    point("track.created", "the file of a new track is there, empty"),
    point("track.header-synced", "its header is durable"),
    point("track.directory-synced", "its name is durable"),
    point("roll.named", "`META` names it as the active track"),
    point("replace.written", "the next contents of a small file lie beside it"),
    point("replace.synced", "they are durable"),
    point("replace.renamed", "they have taken its place, perhaps not durably"),
    point("stream.segment-queued", "a segment of a stream is on its way to a disk"),
    point(
        "stream.segments-synced",
        "all segments of a stream are durable, and no record names them",
    ),
    point("refill.written", "a value was written into freed chunks"),
    point("refill.synced", "it is durable there, and no record names it"),
    point("expire.deleted", "objects that have expired were deleted"),
    point("checkpoint.synced", "all disks are synced"),
    point("checkpoint.rows-written", "the index has how far each track is durable, in memory"),
    point("checkpoint.flushed", "the index is durable"),
    point("checkpoint.named", "`META` says how far each track is durable"),
    point("reclaim.punched", "a freed extent was punched out of its track"),
    point("reclaim.punches-noted", "the index knows the holes, in memory"),
    point("reclaim.floors-raised", "tracks without anything dead have a higher floor"),
    point("reclaim.graves-forgotten", "tombstones that nothing needs are gone from the index"),
    point("reserve.removed", "the room that is kept for deletes was given back"),
    point("unlink.vouched", "`META` vouches for the outputs that a dead track vouched for"),
    point("unlink.unnamed", "`META` does not name the dead track any more"),
    point("unlink.removed", "its file is unlinked, perhaps not durably"),
    point("unlink.directory-synced", "it is unlinked, durably"),
    point("unlink.rows-dropped", "the index knows neither it nor its tombstones, in memory"),
    point("unlink.forgotten", "`META` has forgotten its end"),
    point("pass.begun", "compaction has taken a track, and all queues were drained"),
    point("slice.copied", "a slice of live records was appended to outputs"),
    point("slice.synced", "the outputs are durable"),
    point("slice.swapped", "the index points at a batch of copies, in memory"),
    point("slice.passed", "the victim's chains count as passed over, in memory"),
    point("slice.given-back", "the slices' room came back before the pass went on"),
    point("pass.ended", "a pass over a track has ended"),
    point("output.named", "`META` names a new output"),
    point("output.known", "the index knows it, in memory"),
    point("output.cut", "an output ends where the index knows it to end"),
    point("output.sealed", "an output takes no more"),
    point("active.sealed", "compaction has sealed an active track"),
    point("active.seal-known", "the index knows that, in memory"),
    point("compact.copied", "everything was copied, and all outputs are sealed"),
    point("compact.ended", "all room that could come back has"),
    point("add-disk.prepared", "a directory is a disk, and not yet the store's"),
    point("add-disk.named", "`META` names it as one of the store's"),
    point("drain.marked", "`META` says that a disk is drained"),
    point("drain.active-sealed", "the disk's active track is sealed"),
    point("drain.track-moved", "a track of the disk was passed over"),
    point("drain.tidied", "its room was given back, as far as it could"),
    point("drain.left", "the disk takes nothing any more"),
    point("drain.checkpointed", "the durable index does not know the disk"),
    point("drain.emptied", "no track is on the disk, not even one that was begun and never named"),
    point("drain.forgotten", "`META` does not name the disk any more"),
    point("rebalance.track-moved", "a track went from the fullest disk to the emptiest"),
    point("backup.claimed", "a directory was taken for a backup, and cleaned up"),
    point("backup.staged", "the index of the moment is linked beside the store's"),
    point("backup.track-brought", "a track is in the backup"),
    point("backup.tracks-synced", "all tracks are, durably"),
    point("backup.index-brought", "the index is, durably"),
    point("backup.marked", "the store knows the backup as of its own past"),
    point("backup.described", "the list of the backup's tracks is durable"),
    point("backup.index-retired", "the earlier backup's index is out of the way"),
    point("backup.named", "the backup's `META` names the new tracks"),
    point("backup.switched", "the new index is in its place"),
    point("backup.old-tracks-removed", "what only the earlier backup had is gone"),
    point("backup.finished", "nothing says any more that a backup is made"),
    point("close.synced", "closing has synced all disks"),
    point("close.checkpointed", "closing has taken a checkpoint"),
    point("close.cut", "the active tracks' files end where their chains do"),
    point("close.named", "`META` says that the store was closed cleanly"),
    point("open.locked", "opening has the store's lock"),
    point("open.meta-read", "`META` was read"),
    point("open.index-opened", "the index was opened"),
    point("open.disks-found", "all disks are there"),
    point("open.counted", "`META` counts the opening"),
    point("open.volumes-attached", "each disk has its folder and its thread"),
    point("open.tail-synced", "a track's tail was synced, and its cached pages dropped"),
    point("open.tails-found", "what is to be replayed is known"),
    point("open.replayed", "a batch of replayed records is in the index, in memory"),
    point("open.torn-cut", "a torn end was cut off"),
    point("open.track-ended", "a track that was active is sealed, or will be gone on with"),
    point("open.unfinished-unnamed", "`META` does not name a track without chains any more"),
    point("open.unfinished-removed", "its file is gone"),
    point("open.dead-streams-freed", "segments that nobody owns are free"),
    point("open.flushed", "the index is durable, as recovery has brought it up"),
    point("open.named", "`META` says how far the tracks are durable"),
    point("open.reserved", "the reserve is kept"),
    point("rebuild.index-emptied", "the old index is gone"),
    point("rebuild.segments-adopted", "all segments have their owners again"),
    point("rebuild.live-claimed", "what nothing live refers to is free"),
    point("queue.track-created", "the file of a queue's next track is there, and empty"),
    point("queue.header-synced", "its header is durable, and its name is not yet"),
    point("queue.roll", "the track before it is durable, and the next one not yet created"),
    point("queue.written", "a group of items was written to a queue, and not yet synced"),
    point("queue.synced", "it was synced, and nobody was told yet"),
    point(
        "queue.truncated",
        "`QUEUE` says what is kept, and the tracks before that are still there",
    ),
    point(
        "queue.rewrite-written",
        "the new files of a rewrite are durable, and `QUEUE` does not name them",
    ),
    point("queue.rewritten", "`QUEUE` names them, and the old ones are still there"),
    point("queue.track-dropped", "a track that was truncated is unlinked, perhaps not durably"),
    point(
        "queue.ending",
        "closing has cut the last track off behind its last item, and `QUEUE` does not say so yet",
    ),
    point("queue.open.locked", "opening has the queue's lock"),
    point(
        "queue.open.dropped",
        "tracks that were truncated before are unlinked, perhaps not durably",
    ),
    point("queue.open.track-synced", "the last track was synced, and its cached pages dropped"),
    point("queue.open.noted", "`QUEUE` does not say any more where the queue ends"),
    point("queue.open.told", "`TAIL` tells readers of the new owner"),
];

/// The point of this name.
pub fn find(name: &str) -> Option<&'static Point> {
    POINTS.iter().find(|point| point.name == name)
}

/// Has this process killed when the step `point` is taken for the `nth` time, counted from 1.
pub fn kill_at(point: &'static Point, nth: u64) {
    let left = AtomicU64::new(nth);
    let step = move |_: &Event<'_>| {
        if left.fetch_sub(1, Ordering::Relaxed) == 1 {
            // The calling thread does not come back from this.
            let _ = kill_process(getpid(), Signal::KILL);
        }
    };
    listen(Listener { only: Some(point.name), step });
}

/// How often each step was taken.
pub type Counts = Arc<Mutex<BTreeMap<&'static str, u64>>>;

/// Counts the steps that are taken from now on.
pub fn count() -> Counts {
    let counts = Counts::default();
    let counting = counts.clone();
    let step = move |event: &Event<'_>| {
        let mut counts = counting.lock().expect("no panic holds it");
        *counts.entry(event.metadata().name()).or_default() += 1;
    };
    listen(Listener { only: None, step });
    counts
}

/// Carries `run` out in a thread of its own. When it takes the step `name` for the first time it
/// waits until `meanwhile` has come to its end; where it never does, that comes behind.
pub fn interrupt<T: Send>(
    name: &'static str,
    run: impl FnOnce() -> T + Send,
    meanwhile: impl FnOnce(),
) -> T {
    let (reached, is_reached) = channel::<()>();
    let (go_on, may_go_on) = channel::<()>();
    let gate = Mutex::new(Some((reached, may_go_on)));
    let step = move |_: &Event<'_>| pass(gate.lock().expect("no panic holds it").take());
    let listener = Listener { only: Some(name), step };
    std::thread::scope(|scope| {
        let running = scope.spawn(|| tracing::subscriber::with_default(listener, run));
        // An error is the listener's end: the step was not taken.
        let _ = is_reached.recv();
        meanwhile();
        drop(go_on);
        running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Threads that are at work at once, of which one or two stop at a step each, until the others have come to their end
/// or wait for them. Most faults of order show where one thread is late once, or two are (Emmi, Qadeer, Rakamaric,
/// "Delay-bounded scheduling", POPL 2011).
pub struct Delays {
    threads: usize,
    seed: u64,
    /// Steps that they have taken, all of them together.
    steps: Arc<AtomicU64>,
}

impl Delays {
    /// No two stop the same.
    pub fn of(threads: usize) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        Delays { threads, seed: NUMBER.fetch_add(1, Ordering::Relaxed), steps: Arc::default() }
    }

    /// Carries out in this thread what number so and so of them is to do.
    pub fn within<T>(&self, thread: usize, run: impl FnOnce() -> T) -> T {
        let others = tracing::dispatcher::get_default(Dispatch::clone);
        let (stops, steps) = (Mutex::new(self.stops(thread)), self.steps.clone());
        let late = Late { stops, taken: AtomicU64::new(0), steps, others };
        let step = move |event: &Event<'_>| late.take(event);
        tracing::subscriber::with_default(Listener { only: None, step }, run)
    }

    fn stops(&self, thread: usize) -> Vec<Stop> {
        let mut random = Random::of(self.seed, "delays");
        let count = 1 + random.below(2);
        let all = (0..count).map(|_| {
            let of_thread = random.below(self.threads as u64);
            let within = random.pick(&[4, 16, 64]);
            let stop = Stop { step: random.below(within), patience: 50 + random.below(200) };
            (of_thread, stop)
        });
        all.filter(|(of, _)| *of == thread as u64).map(|(_, stop)| stop).collect()
    }
}

/// Says that a step was taken, and waits until the other side lets go.
fn pass(gate: Option<(Sender<()>, Receiver<()>)>) {
    let Some((reached, may_go_on)) = gate else { return };
    let _ = reached.send(());
    let _ = may_go_on.recv();
}

fn listen(listener: impl Subscriber + Send + Sync) {
    tracing::subscriber::set_global_default(listener).expect("a process listens once");
}

/// Does something at steps; spans are of no interest here.
struct Listener<F> {
    /// The one step that it listens to; all without.
    only: Option<&'static str>,
    step: F,
}

impl<F: Fn(&Event<'_>) + 'static> Subscriber for Listener<F> {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == TARGET && self.only.is_none_or(|only| only == metadata.name())
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn event(&self, event: &Event<'_>) {
        (self.step)(event);
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

/// A step at which a thread stops, by its number, until it has looked so often in vain whether the others take any.
struct Stop {
    step: u64,
    patience: u64,
}

/// Stops at steps, and lets those hear of them who listen to all threads.
struct Late {
    stops: Mutex<Vec<Stop>>,
    taken: AtomicU64,
    steps: Arc<AtomicU64>,
    others: Dispatch,
}

impl Late {
    fn wait_for_others(&self, stop: &Stop) {
        let now = || self.steps.load(Ordering::Relaxed);
        let (mut last, mut idle) = (now(), 0);
        while idle < stop.patience {
            std::thread::sleep(Duration::from_micros(50));
            idle = if now() == last { idle + 1 } else { 0 };
            last = now();
        }
    }

    fn take(&self, event: &Event<'_>) {
        self.steps.fetch_add(1, Ordering::Relaxed);
        let step = self.taken.fetch_add(1, Ordering::Relaxed);
        let stops = self.stops.lock().expect("no panic holds it");
        if let Some(stop) = stops.iter().find(|stop| stop.step == step) {
            self.wait_for_others(stop);
        }
        drop(stops);
        if self.others.enabled(event.metadata()) {
            self.others.event(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;

    fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).expect("the library's sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                sources(&path, into);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                into.push(path);
            }
        }
    }

    fn library() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    #[test]
    fn the_list_has_the_library_s_steps_and_no_others() {
        let mut files = Vec::new();
        sources(&library().join("src"), &mut files);
        let mut found = Vec::new();
        for file in files {
            let text = std::fs::read_to_string(&file).expect("it is text");
            let names = text.split("step!(\"").skip(1);
            found.extend(names.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
        }
        let listed: BTreeSet<String> = POINTS.iter().map(|point| point.name.to_owned()).collect();
        assert_eq!(listed.len(), POINTS.len(), "a name is listed twice");
        assert_eq!(found.len(), POINTS.len(), "a step is taken at two places: {found:?}");
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), listed);
    }

    #[test]
    fn what_is_to_come_in_the_middle_comes_at_the_step_or_behind_all() {
        let seen = Mutex::new(Vec::new());
        let note = |what| seen.lock().expect("no panic holds it").push(what);
        let run = |steps: u32| {
            note("begins");
            for _ in 0..steps {
                tracing::event!(name: "a.step", target: TARGET, tracing::Level::TRACE, {});
                note("goes on");
            }
            steps
        };
        assert_eq!(interrupt("a.step", || run(2), || note("meanwhile")), 2);
        assert_eq!(interrupt("another.step", || run(1), || note("meanwhile")), 1);
        let first = ["begins", "meanwhile", "goes on", "goes on"];
        let second = ["begins", "goes on", "meanwhile"];
        assert_eq!(*seen.lock().expect("no panic holds it"), [&first[..], &second].concat());
    }

    #[test]
    fn the_documentation_has_the_list() {
        let page = std::fs::read_to_string(library().join("docs/steps.md")).expect("docs/steps.md");
        let row = |point: &Point| format!("| `{}` | {} |\n", point.name, point.done);
        let table: String = POINTS.iter().map(row).collect();
        assert!(page.contains(&table), "docs/steps.md has another table than this:\n{table}");
    }
}
