//! A thread that stops at a step until it is told to go on.

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::gate::Gate;

/// Stops whoever comes by a step first. Clones share it.
#[derive(Clone)]
pub struct Pause {
    step: &'static str,
    gate: Gate,
}

impl Pause {
    pub fn at(step: &'static str) -> Self {
        Pause { step, gate: Gate::new() }
    }

    /// Runs `work`, which stops at the step.
    pub fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        tracing::subscriber::with_default(self.clone(), work)
    }

    /// Waits until somebody is there.
    pub fn wait(&self) {
        self.gate.wait();
    }

    pub fn go_on(&self) {
        self.gate.let_go();
    }
}

impl Subscriber for Pause {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "kogia::step"
    }

    fn event(&self, event: &Event<'_>) {
        if event.metadata().name() == self.step && self.gate.is_awaited() {
            self.gate.stop();
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
