//! Long work in threads of its own, one of a kind at a time.
//!
//! A job that has ended can be asked about until `KEPT` later ones have, or the server has.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use super::work::{Done, Task};
use super::{Fault, FaultKind};
use crate::data::Partitions;
use crate::data::buckets::now_ms;

/// Jobs that are remembered, beside those that run.
const KEPT: usize = 50;

/// All jobs of a server.
#[derive(Debug, Default)]
pub struct Jobs {
    state: Mutex<State>,
    /// Signalled whenever one ends.
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    started: u64,
    jobs: VecDeque<Arc<Job>>,
    stopping: bool,
}

/// A job, which runs or has ended.
#[derive(Debug)]
pub struct Job {
    id: u64,
    kind: &'static str,
    began_ms: u64,
    cancelled: AtomicBool,
    told: Mutex<Told>,
}

/// How far a job is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Progress {
    /// The partition that is worked on.
    pub partition: usize,
    pub done_bytes: u64,
    /// About; 0 is unknown.
    pub total_bytes: u64,
    /// The track that is being passed over, and how many of the partition's are left with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub track: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracks_left: Option<u64>,
    /// Room that came back so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given_back_bytes: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    #[default]
    Running,
    /// It was cancelled, and has not ended yet.
    Cancelling,
    Done,
    Cancelled,
    Failed,
}

#[derive(Clone, Debug, Default, Serialize)]
struct Told {
    state: Phase,
    progress: Progress,
    ended_ms: Option<u64>,
    /// What was done, also where it was cut short.
    result: Option<Value>,
    error: Option<Fault>,
}

/// What is told of a job.
#[derive(Debug, Serialize)]
pub struct JobView {
    pub id: u64,
    pub kind: &'static str,
    began_ms: u64,
    #[serde(flatten)]
    told: Told,
}

impl Job {
    /// Whether it should come to its end.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    pub fn tell(&self, progress: Progress) {
        self.lock().progress = progress;
    }

    fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
        let mut told = self.lock();
        if told.state == Phase::Running {
            told.state = Phase::Cancelling;
        }
    }

    fn has_ended(&self) -> bool {
        self.lock().ended_ms.is_some()
    }

    fn end(&self, done: Done) {
        let mut told = self.lock();
        told.state = match &done.fault {
            Some(_) => Phase::Failed,
            None if done.stopped => Phase::Cancelled,
            None => Phase::Done,
        };
        told.ended_ms = Some(now_ms());
        told.result = done.result;
        told.error = done.fault;
    }

    fn view(&self) -> JobView {
        let told = self.lock().clone();
        JobView { id: self.id, kind: self.kind, began_ms: self.began_ms, told }
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().expect("nobody panics here")
    }
}

impl Jobs {
    /// Starts a job, unless there is one of its kind already.
    pub fn start(self: &Arc<Self>, task: Task, partitions: &Partitions) -> Result<JobView, Fault> {
        let mut state = self.lock();
        if state.stopping {
            return Err(Fault::new(FaultKind::Busy, "the server is about to stop"));
        }
        let kind = task.kind();
        if let Some(job) = state.jobs.iter().find(|job| job.kind == kind && !job.has_ended()) {
            let what = format!("there is a job of this kind already: {}", job.id);
            return Err(Fault::new(FaultKind::Busy, what));
        }
        let in_the_way = |job: &&Arc<Job>| !job.has_ended() && task.excludes(job.kind);
        if let Some(job) = state.jobs.iter().find(in_the_way) {
            let what = format!("it would not go well with job {}, of kind {}", job.id, job.kind);
            return Err(Fault::new(FaultKind::Busy, what));
        }
        let job = Arc::new(Job {
            id: state.started + 1,
            kind,
            began_ms: now_ms(),
            cancelled: AtomicBool::new(false),
            told: Mutex::default(),
        });
        let (jobs, running, partitions) = (self.clone(), job.clone(), partitions.clone());
        std::thread::Builder::new()
            .name(format!("kogia-{kind}"))
            .spawn(move || jobs.carry_out(&running, task, partitions))
            .map_err(|e| Fault::new(FaultKind::Io, format!("could not start a thread: {e}")))?;
        state.started = job.id;
        state.jobs.push_back(job.clone());
        let ended = state.jobs.iter().filter(|job| job.has_ended()).count();
        if ended > KEPT
            && let Some(oldest) = state.jobs.iter().position(|job| job.has_ended())
        {
            state.jobs.remove(oldest);
        }
        Ok(job.view())
    }

    fn carry_out(&self, job: &Arc<Job>, task: Task, partitions: Partitions) {
        tracing::info!(id = job.id, kind = job.kind, "a job begins");
        let run = std::panic::AssertUnwindSafe(|| task.run(&partitions, job));
        let done = std::panic::catch_unwind(run).unwrap_or_else(|_| {
            Done::failed(Fault::new(FaultKind::Io, "it ended by a fault of the server's own"))
        });
        match &done.fault {
            Some(error) => tracing::error!(id = job.id, kind = job.kind, %error, "a job failed"),
            None => tracing::info!(id = job.id, kind = job.kind, done.stopped, "a job ended"),
        }
        // Before anybody hears of its end: who waits for that closes them next.
        drop((partitions, task));
        let _state = self.lock();
        job.end(done);
        self.ended.notify_all();
    }

    /// All that are remembered, the oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<JobView> {
        self.lock().jobs.iter().map(|job| job.view()).collect()
    }

    pub fn get(&self, id: u64) -> Result<JobView, Fault> {
        Ok(self.find(id)?.view())
    }

    /// Asks a job to come to its end; one that has ended stays as it is.
    pub fn cancel(&self, id: u64) -> Result<JobView, Fault> {
        let job = self.find(id)?;
        job.cancel();
        Ok(job.view())
    }

    /// Takes no more, cancels all, and waits for their ends, up to `patience`.
    pub fn stop(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        state.stopping = true;
        state.jobs.iter().for_each(|job| job.cancel());
        while state.jobs.iter().any(|job| !job.has_ended()) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                tracing::warn!("jobs were still running when the time to stop them was over");
                return;
            }
            state = self.ended.wait_timeout(state, left).expect("nobody panics here").0;
        }
    }

    fn find(&self, id: u64) -> Result<Arc<Job>, Fault> {
        let state = self.lock();
        let found = state.jobs.iter().find(|job| job.id == id).cloned();
        found.ok_or_else(|| Fault::not_found(format!("there is no job {id}, or not any more")))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics here")
    }
}
