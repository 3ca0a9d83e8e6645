//! A disk that keeps a log of what is done to it, and fails when it is told to.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard};

use super::image::Image;
use super::log::{Event, Log};

const ONCE: &str = "once";
const FOR_EVER: &str = "for-ever";

/// What can be asked of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Read,
    Write,
    Flush,
}

impl Call {
    pub const ALL: [Call; 3] = [Call::Read, Call::Write, Call::Flush];

    fn name(self) -> &'static str {
        match self {
            Call::Read => "read",
            Call::Write => "write",
            Call::Flush => "flush",
        }
    }
}

/// Calls that fail with an I/O error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    pub call: Call,
    /// Calls of this kind that succeed before the one that fails.
    pub after: u64,
    /// Whether all later calls of this kind fail, too.
    pub for_ever: bool,
}

/// `write-17-once`, `flush-3-for-ever`: the call by its number, counted from 1.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.for_ever { FOR_EVER } else { ONCE };
        write!(f, "{}-{}-{how}", self.call.name(), self.after + 1)
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(words: &str) -> Result<Self, String> {
        let parse = || {
            let (call, rest) = words.split_once('-')?;
            let call = Call::ALL.into_iter().find(|known| known.name() == call)?;
            let (number, how) = rest.split_once('-')?;
            let after = number.parse::<u64>().ok()?.checked_sub(1)?;
            let for_ever = match how {
                ONCE => false,
                FOR_EVER => true,
                _ => return None,
            };
            Some(Fault { call, after, for_ever })
        };
        parse().ok_or_else(|| format!("`{words}` names no call that fails"))
    }
}

/// The disk has no such place, or the call was told to fail.
#[derive(Debug, PartialEq, Eq)]
pub struct DiskError;

/// A disk. Calls may come from any number of threads, and count one after the other.
#[derive(Debug)]
pub struct Device(Mutex<State>);

#[derive(Debug)]
struct State {
    image: Image,
    /// None where nobody wants to know.
    log: Option<Log>,
    lies: bool,
    fault: Option<Fault>,
    /// Calls since the count began, in the order of the kinds.
    calls: [u64; 3],
}

impl Device {
    /// A disk with these contents.
    pub fn new(image: Image) -> Self {
        Device(Mutex::new(State { image, log: None, lies: false, fault: None, calls: [0; 3] }))
    }

    pub fn len(&self) -> u64 {
        self.state().image.len()
    }

    /// Logs what is done from now on; a disk that lies says that it has flushed, and has not.
    pub fn record(&self, lies: bool) {
        let mut state = self.state();
        state.log = Some(Log::new(state.image.clone()));
        state.lies = lies;
    }

    /// Ends the log, and gives it.
    pub fn take_log(&self) -> Option<Log> {
        self.state().log.take()
    }

    /// Events in the log so far.
    pub fn events(&self) -> usize {
        self.state().log.as_ref().map_or(0, |log| log.events.len())
    }

    /// The contents now.
    pub fn image(&self) -> Image {
        self.state().image.clone()
    }

    /// Has calls fail; those to come count.
    pub fn fail(&self, fault: Option<Fault>) {
        self.state().fault = fault;
    }

    /// Begins to count the calls.
    pub fn count_from_now(&self) {
        self.state().calls = [0; 3];
    }

    /// Calls of a kind since the count began.
    pub fn calls(&self, call: Call) -> u64 {
        self.state().calls[call as usize]
    }

    pub fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, DiskError> {
        let mut state = self.state();
        state.pass(Call::Read)?;
        Ok(state.image.read(offset, len))
    }

    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let mut state = self.state();
        state.pass(Call::Write)?;
        if !state.image.write(offset, bytes) {
            return Err(DiskError);
        }
        if let Some(log) = &mut state.log {
            log.events.push(Event::Write { offset, bytes: bytes.to_vec() });
        }
        Ok(())
    }

    pub fn flush(&self) -> Result<(), DiskError> {
        let mut state = self.state();
        state.pass(Call::Flush)?;
        let lies = state.lies;
        if let Some(log) = state.log.as_mut().filter(|_| !lies) {
            log.events.push(Event::Flush);
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic holds it")
    }
}

impl State {
    /// Counts a call, and fails it if that was asked for.
    fn pass(&mut self, call: Call) -> Result<(), DiskError> {
        self.calls[call as usize] += 1;
        let Some(fault) = self.fault.as_mut().filter(|fault| fault.call == call) else {
            return Ok(());
        };
        if fault.after > 0 {
            fault.after -= 1;
            return Ok(());
        }
        if !fault.for_ever {
            self.fault = None;
        }
        Err(DiskError)
    }
}

#[cfg(test)]
mod tests {
    use super::super::log::{Cut, Follower, Kept};
    use super::*;

    #[test]
    fn the_log_of_a_run_replayed_gives_the_image_of_the_run() {
        let device = Device::new(Image::new(1 << 20));
        device.write(4096, &[9; 4096]).expect("it writes");
        device.record(false);
        let mut state = 7u64;
        for step in 0..500 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (sector, sectors) = ((state >> 33) % 2000, (state >> 20) % 30 + 1);
            let bytes = vec![step as u8; sectors as usize * 512];
            device.write(sector * 512, &bytes).expect("it writes");
            if step % 17 == 0 {
                device.flush().expect("it flushes");
            }
        }
        let log = device.take_log().expect("it was recording");
        let events = log.events.len();
        let kept = log.unflushed(events).map(|event| Kept { event, sectors: None }).collect();
        let image = Follower::new(&log).state(&Cut { events, kept });
        assert_eq!(image, device.image());
    }

    #[test]
    fn a_fault_is_read_as_it_is_written() {
        for words in ["write-17-once", "flush-1-for-ever", "read-2-once"] {
            assert_eq!(words.parse::<Fault>().expect("it is a fault").to_string(), words);
        }
        for wrong in ["", "write", "write-0-once", "trim-1-once", "write-1-twice"] {
            assert!(wrong.parse::<Fault>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_fault_comes_when_it_was_asked_for_and_what_failed_is_not_in_the_log() {
        let device = Device::new(Image::new(1 << 20));
        device.record(false);
        device.fail(Some(Fault { call: Call::Write, after: 1, for_ever: false }));
        device.write(0, &[1; 512]).expect("the first one succeeds");
        assert_eq!(device.write(512, &[2; 512]), Err(DiskError));
        device.write(1024, &[3; 512]).expect("it failed once");
        device.fail(Some(Fault { call: Call::Flush, after: 0, for_ever: true }));
        assert_eq!([device.flush(), device.flush()], [Err(DiskError), Err(DiskError)]);
        assert_eq!(device.read(0, 1536), Ok([[1; 512], [0; 512], [3; 512]].concat()));
        assert_eq!(device.events(), 2);
        device.record(true);
        device.fail(None);
        device.flush().expect("so it says");
        assert_eq!(device.events(), 0);
        assert_eq!(Call::ALL.map(|call| device.calls(call)), [1, 3, 3]);
    }
}
