//! Looking on while a machine works: its state before each call, to be broken later.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::SimIo;
use super::faults::CallKind;
use super::machine::Machine;

/// A machine just before a call.
///
/// ```
/// use kogia::io::{Io, sim::{Keep, Moment, SimIo}};
/// use std::path::Path;
/// use std::sync::{Arc, Mutex};
///
/// // One run tells what a power cut at any of its calls would have left.
/// let (io, path) = (SimIo::new(1), Path::new("/file"));
/// io.replace(path, b"old")?;
/// let before = Arc::new(Mutex::new(Vec::new()));
/// let seen = before.clone();
/// io.witness(move |moment: &Moment<'_>| seen.lock().unwrap().push(moment.fork()));
/// io.replace(path, b"new")?;
/// for machine in before.lock().unwrap().iter() {
///     assert_eq!(machine.crash(Keep::Nothing).read_file(path)?, b"old");
/// }
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Moment<'a> {
    /// The call's number.
    pub call: u64,
    /// What it asks for.
    pub kind: CallKind,
    /// The file or directory that it is about.
    pub path: &'a Path,
    machine: &'a Machine,
}

type Look = dyn FnMut(&Moment<'_>) + Send;

/// Called before each call, while the machine stands still.
#[derive(Clone)]
pub(super) struct Witness(Arc<Mutex<Look>>);

impl Moment<'_> {
    /// The machine as [`SimIo::kill`] would give it now.
    #[must_use]
    pub fn fork(&self) -> SimIo {
        SimIo::of(self.machine.restarted())
    }
}

impl Witness {
    pub(super) fn new(witness: impl FnMut(&Moment<'_>) + Send + 'static) -> Self {
        Witness(Arc::new(Mutex::new(witness)))
    }

    pub(super) fn look(&self, machine: &Machine, kind: CallKind, path: &Path) {
        let moment = Moment { call: machine.gate.calls, kind, path, machine };
        self.0.lock().unwrap_or_else(PoisonError::into_inner)(&moment);
    }
}

impl fmt::Debug for Moment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Moment")
            .field("call", &self.call)
            .field("kind", &self.kind)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Witness")
    }
}
