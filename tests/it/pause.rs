//! A thread that stops at a step until it is told to go on.

use std::sync::{Arc, Condvar, Mutex};

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Stops whoever comes by a step first. Clones share it.
#[derive(Clone)]
pub struct Pause {
    step: &'static str,
    stage: Arc<(Mutex<Stage>, Condvar)>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Awaited,
    There,
    GoesOn,
}

impl Pause {
    pub fn at(step: &'static str) -> Self {
        Pause { step, stage: Arc::new((Mutex::new(Stage::Awaited), Condvar::new())) }
    }

    /// Runs `work`, which stops at the step.
    pub fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        tracing::subscriber::with_default(self.clone(), work)
    }

    /// Waits until somebody is there.
    pub fn wait(&self) {
        self.wait_for(Stage::There);
    }

    pub fn go_on(&self) {
        self.enter(Stage::GoesOn);
    }

    fn enter(&self, stage: Stage) {
        *self.stage.0.lock().unwrap() = stage;
        self.stage.1.notify_all();
    }

    fn wait_for(&self, wanted: Stage) {
        let stage = self.stage.0.lock().unwrap();
        drop(self.stage.1.wait_while(stage, |stage| *stage < wanted).unwrap());
    }
}

impl Subscriber for Pause {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "kogia::step"
    }

    fn event(&self, event: &Event<'_>) {
        let is_first = *self.stage.0.lock().unwrap() == Stage::Awaited;
        if event.metadata().name() == self.step && is_first {
            self.enter(Stage::There);
            self.wait_for(Stage::GoesOn);
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
