//! The side of a run that is killed: a process that carries operations out, and says so.
//!
//! It is this program, told what to do by a hidden argument. What it has done it says through a pipe,
//! each message in one write, so that whatever was said before the end has been said.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Lines, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use serde::{Deserialize, Serialize};

use crate::engine::{self, Clock, Engine, Failure, Place};
use crate::janitor::{Duty, Janitor, Thing};
use crate::operation::Operation;
use crate::points;
use crate::session::{Observation, Outcome, Progress, Session};
use crate::workload;
use crate::world::{Task, operations};

/// The argument that makes a process a child; what it is to do follows.
pub const ARGUMENT: &str = "--as-child";

/// What a child is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    pub engine: String,
    pub workload: String,
    pub seed: u64,
    /// The operations of the workload that count, by their numbers; all without.
    pub chosen: Option<Vec<usize>>,
    /// Where the store's directories are.
    pub root: PathBuf,
    /// The time when it begins.
    pub now_ms: u64,
    pub parts: Vec<Part>,
    /// The step at which it is to be killed, and at which time that it is taken.
    pub kill: Option<(String, u64)>,
    /// Whether it waits for an answer behind each message.
    pub waits: bool,
}

/// A part of what a child does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Part {
    /// Opens the store, and no more.
    Open,
    /// Carries out the operations of these numbers.
    Work { from: usize, to: usize },
    /// Looks at the store and its backup.
    Look,
    /// Makes the index anew.
    Rebuild,
    /// Closes the store.
    Close,
}

/// What a child says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Said {
    /// Of the operation of this number this member begins.
    Begin(usize, usize),
    /// Of the operation of this number this member has ended.
    End(usize, usize, Outcome),
    /// It begins to open the store.
    Opening,
    Opened,
    Seen(Look),
    /// A part other than an operation failed.
    Failed(Failure),
    /// How often each step was taken.
    Counted(BTreeMap<String, u64>),
}

/// What is seen of a store and its backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    pub store: Observation,
    pub backup: Option<Observation>,
}

impl Order {
    /// An order of a task, of which nothing is killed.
    pub fn new(task: &Task<'_>, root: &Path, now_ms: u64, parts: Vec<Part>) -> Self {
        Order {
            engine: task.engine.name().to_owned(),
            workload: task.workload.name.to_owned(),
            seed: task.seed,
            chosen: task.operations.map(<[usize]>::to_vec),
            root: root.to_owned(),
            now_ms,
            parts,
            kill: None,
            waits: false,
        }
    }
}

/// A child that runs.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    lines: Lines<BufReader<ChildStdout>>,
    answers: ChildStdin,
    waits: bool,
    duty: Duty,
}

/// How a child ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    Done,
    Killed,
    /// It ended by itself, and should not have; its last words.
    Died(String),
}

/// What is seen of a session's store and its backup.
pub fn look(session: &mut Session<'_>) -> Result<Look, Failure> {
    Ok(Look { store: session.observe()?, backup: session.observe_backup()? })
}

/// The time when the operation of a number begins: only waiting takes time.
pub fn time_before(operations: &[Operation], number: usize) -> u64 {
    let waits =
        operations[..number.min(operations.len())].iter().map(|operation| match operation {
            Operation::Wait { ms } => *ms,
            _ => 0,
        });
    Clock::START_MS + waits.sum::<u64>()
}

impl Child {
    pub fn start(order: &Order, janitor: &Janitor) -> io::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args([ARGUMENT, &serde_json::to_string(order)?])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let duty = janitor.charge(Thing::Process(process.id()))?;
        let lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        let answers = process.stdin.take().expect("it is piped");
        Ok(Child { process, lines, answers, waits: order.waits, duty })
    }

    /// The next message; `None` when there are no more. A child that waits waits until it is
    /// [answered](Self::answer).
    pub fn hear(&mut self) -> Option<Said> {
        let line = self.lines.next()?.ok()?;
        // A line that is cut off was not said.
        serde_json::from_str(&line).ok()
    }

    /// Lets a child that waits go on.
    pub fn answer(&mut self) {
        if self.waits {
            // Where it has died, its end says so.
            let _ = self.answers.write_all(b".");
        }
    }

    pub fn kill(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
    }

    /// Waits for its end.
    pub fn end(mut self) -> io::Result<End> {
        drop(self.answers);
        let mut words = String::new();
        if let Some(mut stderr) = self.process.stderr.take() {
            stderr.read_to_string(&mut words)?;
        }
        let status = self.process.wait()?;
        self.duty.forget()?;
        Ok(match status.signal() {
            Some(signal) if signal == rustix::process::Signal::KILL.as_raw() => End::Killed,
            None if status.success() => End::Done,
            _ => End::Died(format!("{status}: {}", words.trim())),
        })
    }
}

/// The child's part.
pub fn serve(order: &str, engines: &[&dyn Engine]) -> ExitCode {
    let Ok(order) = serde_json::from_str::<Order>(order) else { return ExitCode::FAILURE };
    let Some(workload) = workload::by_name(&order.workload) else { return ExitCode::FAILURE };
    let Some(engine) = engine::by_name(engines, &order.engine) else { return ExitCode::FAILURE };
    let counts = match &order.kill {
        Some((point, nth)) => {
            let Some(point) = points::find(point) else { return ExitCode::FAILURE };
            points::kill_at(point, *nth);
            None
        }
        None => Some(points::count()),
    };
    let (setup, operations) = operations(workload, order.seed, order.chosen.as_deref());
    let place = Place::below(&order.root, setup.disks, order.now_ms);
    let mut session = Session::new(engine, place, setup);
    for part in &order.parts {
        if let Err(failure) = carry_out(part, &mut session, &operations, order.waits) {
            say(&Said::Failed(failure), order.waits);
        }
    }
    if let Some(counts) = counts {
        let counts = counts.lock().expect("no panic holds it");
        let counts = counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        say(&Said::Counted(counts), order.waits);
    }
    ExitCode::SUCCESS
}

fn carry_out(
    part: &Part,
    session: &mut Session<'_>,
    operations: &[Operation],
    waits: bool,
) -> Result<(), Failure> {
    match part {
        Part::Open => {
            say(&Said::Opening, waits);
            session.open()?;
            say(&Said::Opened, waits);
        }
        Part::Work { from, to } => {
            let numbered = operations.iter().enumerate();
            for (number, operation) in numbered.take(*to).skip(*from) {
                session.carry_out_each(operation, &|member, progress| {
                    let said = match progress {
                        Progress::Begins => Said::Begin(number, member),
                        Progress::Ended(outcome) => Said::End(number, member, outcome),
                    };
                    say(&said, waits);
                });
            }
        }
        Part::Look => say(&Said::Seen(look(session)?), waits),
        Part::Rebuild => drop(session.rebuild()?),
        Part::Close => session.close()?,
    }
    Ok(())
}

/// Nobody to say it to is the end.
fn say(words: &Said, waits: bool) {
    let mut line = serde_json::to_vec(words).expect("it can be written");
    line.push(b'\n');
    let mut out = io::stdout().lock();
    let said = out.write_all(&line).and_then(|()| out.flush());
    let answered = || !waits || io::stdin().lock().read_exact(&mut [0]).is_ok();
    if said.is_err() || !answered() {
        std::process::exit(1);
    }
}
