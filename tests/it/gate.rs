//! Where a thread stops until a test lets it go.

use std::sync::{Arc, Condvar, Mutex};

/// Stops one thread. Clones share it.
#[derive(Clone, Debug)]
pub struct Gate(Arc<(Mutex<Stage>, Condvar)>);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Stage {
    Awaited,
    Held,
    LetGo,
}

impl Gate {
    pub fn new() -> Self {
        Gate(Arc::new((Mutex::new(Stage::Awaited), Condvar::new())))
    }

    /// Waits until somebody has stopped here.
    pub fn wait(&self) {
        self.wait_for(Stage::Held);
    }

    pub fn let_go(&self) {
        self.enter(Stage::LetGo);
    }

    /// Whether nobody has stopped here yet.
    pub fn is_awaited(&self) -> bool {
        *self.0.0.lock().unwrap() == Stage::Awaited
    }

    /// Stops until it is let go.
    pub fn stop(&self) {
        self.enter(Stage::Held);
        self.wait_for(Stage::LetGo);
    }

    fn enter(&self, stage: Stage) {
        *self.0.0.lock().unwrap() = stage;
        self.0.1.notify_all();
    }

    fn wait_for(&self, wanted: Stage) {
        let stage = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(stage, |stage| *stage < wanted).unwrap());
    }
}
