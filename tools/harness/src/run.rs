//! Deals worlds and workloads over threads, and puts together what they say.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli;
use crate::engine::Engine;
use crate::report::{Report, Row};
use crate::workload::Workload;
use crate::world::{self, Coverage, Share, Task, Watch, World};

/// States of each sequence, where a workload is a family of sequences.
const STATES_A_VARIANT: u64 = 40;

/// No state takes so long, nor does making a failing history smaller.
const STALLED: Duration = Duration::from_secs(15 * 60);
/// So often it is said how far a run is, where there is no terminal that shows it.
const TOLD: Duration = Duration::from_secs(60);

/// A piece of work that one thread does.
struct Pass<'a> {
    row: usize,
    world: &'static dyn World,
    task: Task<'a>,
}

/// Runs what the command line asks for. An error says what is wrong with that, or with the machine.
pub fn run(options: &cli::Run, engines: &[&dyn Engine]) -> Result<Report, Wrong> {
    check_state(options)?;
    let threads = options.threads.unwrap_or_else(default_threads).max(1);
    let mut rows = Vec::new();
    let (mut passes, mut used) = (Vec::new(), Vec::new());
    for world in worlds(&options.world)? {
        for workload in workloads(&options.workload)? {
            let Some(engine) = engine(options, engines, world, workload)? else { continue };
            if !used.contains(&engine.name()) {
                used.push(engine.name());
            }
            rows.push(Row::new(world.name(), workload.name));
            let tasks = tasks(options, engine, workload, threads);
            let row = rows.len() - 1;
            passes.extend(tasks.into_iter().map(|task| Pass { row, world, task }));
        }
    }
    let started = Instant::now();
    let total: u64 = passes.iter().map(|p| p.task.states / p.task.share.of as u64).sum();
    let progress = progress(total, options.json);
    let watches: Vec<Watch> =
        rows.iter().map(|_| Watch::with(progress.clone(), options.first)).collect();
    let is_told = !options.json && !std::io::stderr().is_terminal();
    let tell = is_told.then_some(Teller { rows: &rows, total, started });
    let covered = go_through(&passes, &watches, threads, options.first, tell)?;
    progress.finish_and_clear();
    for (at, (row, watch)) in rows.iter_mut().zip(&watches).enumerate() {
        row.states = watch.states();
        row.failing = watch.failing().len();
        row.coverage = covered.get(&at).copied().unwrap_or_default();
    }
    let failing = watches.iter().flat_map(Watch::failing).collect();
    let notes = worlds(&options.world)?.into_iter().flat_map(World::notes).collect();
    Ok(Report {
        notes,
        ..Report::new(options, &used.join(", "), rows, failing, threads, started.elapsed())
    })
}

/// Why nothing was run to its end.
#[derive(Debug)]
pub enum Wrong {
    Usage(String),
    Machine(String),
}

impl Wrong {
    fn usage(what: &str, name: &str) -> Self {
        Wrong::Usage(format!(
            "there is no {what} `{name}`; `{} list` says which there are",
            crate::program()
        ))
    }
}

/// The engine that a workload is run on in a world: the one that is asked for, or the first one that
/// has what it needs; none, where there is no such.
fn engine<'a>(
    options: &cli::Run,
    engines: &[&'a dyn Engine],
    world: &dyn World,
    workload: &Workload,
) -> Result<Option<&'a dyn Engine>, Wrong> {
    let run = workload.run(options.seed);
    let fits = |engine: &&dyn Engine| world.suits(*engine) && run.fits(*engine);
    let Some(name) = &options.engine else {
        return Ok(engines.iter().copied().find(fits));
    };
    let engine = crate::engine::by_name(engines, name);
    Ok(Some(engine.ok_or_else(|| Wrong::usage("engine", name))?).filter(fits))
}

/// Two a processor: a thread that judges waits for those of its store now and then.
fn default_threads() -> usize {
    2 * std::thread::available_parallelism().map_or(1, usize::from)
}

fn worlds(names: &[String]) -> Result<Vec<&'static dyn World>, Wrong> {
    let by_name = |name: &String| world::ALL.iter().copied().find(|world| world.name() == *name);
    names.iter().map(|name| by_name(name).ok_or_else(|| Wrong::usage("world", name))).collect()
}

fn workloads(names: &[String]) -> Result<Vec<&'static Workload>, Wrong> {
    if names.iter().any(|name| name == "all") {
        return Ok(crate::workload::all().collect());
    }
    let by_name = crate::workload::by_name;
    names.iter().map(|name| by_name(name).ok_or_else(|| Wrong::usage("workload", name))).collect()
}

/// Whether all worlds can have a state of the name that is wanted.
fn check_state(options: &cli::Run) -> Result<(), Wrong> {
    let Some(state) = &options.state else { return Ok(()) };
    let worlds = worlds(&options.world)?;
    worlds.iter().try_for_each(|world| world.check_state(state)).map_err(Wrong::Usage)
}

/// The tasks of one workload: one a seed and a thread, or one a sequence.
fn tasks<'a>(
    options: &'a cli::Run,
    engine: &'a dyn Engine,
    workload: &'a Workload,
    threads: usize,
) -> Vec<Task<'a>> {
    let task = Task {
        engine,
        workload,
        seed: options.seed,
        states: options.states,
        share: Share::ALL,
        operations: options.operations.as_deref(),
        state: options.state.as_deref(),
        first: options.first,
        lying: options.lying_disk,
    };
    if options.state.is_some() {
        return vec![Task { states: 1, ..task }];
    }
    let Some(variants) = workload.variants else {
        let seeds = options.seed..options.seed + options.seeds;
        let shares = (0..threads).map(|number| Share { number, of: threads });
        return seeds
            .flat_map(|seed| shares.clone().map(move |share| Task { seed, share, ..task }))
            .collect();
    };
    let wanted = options.states * options.seeds;
    let count = (wanted / STATES_A_VARIANT).clamp(1, variants);
    let states = wanted / count;
    // Evenly over all of them, and others for another seed.
    let seed = |n: u64| (options.seed - 1 + n * variants / count) % variants;
    (0..count).map(|n| Task { seed: seed(n), states, ..task }).collect()
}

/// Says on standard error how far a run is: it may take hours, and be ended.
#[derive(Clone, Copy)]
struct Teller<'a> {
    rows: &'a [Row],
    total: u64,
    started: Instant,
}

impl Teller<'_> {
    fn so_far(&self, states: u64) {
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = states as f64 / seconds;
        let left = self.total.saturating_sub(states) as f64 / rate.max(f64::MIN_POSITIVE) / 60.0;
        let (total, a_minute) = (self.total, rate * 60.0);
        eprintln!("{states} of {total} states at most, {a_minute:.0} a minute, {left:.0} min left");
    }

    /// All passes of a row have come to their end.
    fn done(&self, row: usize, states: u64, coverage: Coverage) {
        let (Row { world, workload, .. }, Coverage { points, points_hit }) =
            (&self.rows[row], coverage);
        eprintln!("{world}, {workload}: {states} states, {points_hit} of {points} points");
    }
}

/// Goes through all passes; gives what was covered, by row.
fn go_through(
    passes: &[Pass<'_>],
    watches: &[Watch],
    threads: usize,
    first: bool,
    tell: Option<Teller<'_>>,
) -> Result<BTreeMap<usize, Coverage>, Wrong> {
    let of_row = |row| passes.iter().filter(|pass| pass.row == row).count();
    let left: Vec<_> = (0..watches.len()).map(|row| AtomicUsize::new(of_row(row))).collect();
    let (next, covered) = (AtomicUsize::new(0), Mutex::new(BTreeMap::<usize, Coverage>::new()));
    let work = || {
        while let Some(pass) = passes.get(next.fetch_add(1, Ordering::Relaxed)) {
            let is_over = first && watches.iter().any(Watch::is_over);
            if is_over || watches[pass.row].is_over() {
                continue;
            }
            let coverage = pass.world.run(&pass.task, &watches[pass.row])?;
            let mut covered = covered.lock().expect("no panic holds it");
            let of_row = covered.entry(pass.row).or_default();
            of_row.add(coverage);
            let is_last = left[pass.row].fetch_sub(1, Ordering::Relaxed) == 1;
            if let Some(tell) = tell.filter(|_| is_last) {
                tell.done(pass.row, watches[pass.row].states(), *of_row);
            }
        }
        Ok(())
    };
    let (done, is_done) = channel::<()>();
    let ended: Vec<Result<(), String>> = std::thread::scope(|scope| {
        scope.spawn(|| watch_over(watches, is_done, tell));
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let join = |worker: ScopedJoinHandle<'_, _>| worker.join().expect("worlds catch panics");
        let ended = workers.into_iter().map(join).collect();
        drop(done);
        ended
    });
    ended.into_iter().collect::<Result<(), String>>().map_err(Wrong::Machine)?;
    Ok(covered.into_inner().expect("no panic held it"))
}

/// Ends the process where nothing is judged any more: an engine that waits for ever has lost
/// everything, and its threads can't be ended.
fn watch_over(watches: &[Watch], is_done: Receiver<()>, tell: Option<Teller<'_>>) {
    let judged = || watches.iter().map(Watch::states).sum::<u64>();
    let mut last = (judged(), Instant::now());
    while is_done.recv_timeout(TOLD) == Err(RecvTimeoutError::Timeout) {
        let states = judged();
        if states != last.0 {
            last = (states, Instant::now());
        }
        if let Some(tell) = tell {
            tell.so_far(states);
        }
        if last.1.elapsed() >= STALLED {
            let minutes = STALLED.as_secs() / 60;
            eprintln!(
                "kogia-crash: nothing was judged for {minutes} minutes, after {states} states"
            );
            std::process::exit(i32::from(crate::LOST));
        }
    }
}

fn progress(total: u64, is_quiet: bool) -> ProgressBar {
    if is_quiet {
        return ProgressBar::hidden();
    }
    let style = "{wide_bar} {pos} of {len} states, {per_sec}, {eta} left";
    let style = ProgressStyle::with_template(style).expect("the template is right");
    ProgressBar::new(total).with_style(style)
}
