//! Cleaning up after a run, however it ends.
//!
//! Mounts, loop devices and processes outlive the process that made them. So a second process, which
//! Ctrl-C does not reach, is told of each of them through a pipe; when the pipe ends, because the
//! first one has come to its end, was killed or has crashed, it undoes what is left, the latest first.

use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// The argument that makes a process a janitor.
pub const ARGUMENT: &str = "--as-janitor";

/// What has to be undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Thing {
    Process(u32),
    Loop(PathBuf),
    Mount(PathBuf),
    /// A directory with everything in it, if nothing is mounted there any more.
    Dir(PathBuf),
}

/// The process that cleans up. When the last of its handles is dropped, it undoes what is left, and
/// is waited for.
#[derive(Debug, Clone)]
pub struct Janitor(Arc<Worker>);

#[derive(Debug)]
struct Worker {
    /// None when it is to end.
    pipe: Mutex<Option<ChildStdin>>,
    process: Mutex<Child>,
}

/// Something that the janitor undoes, unless it is done before.
#[derive(Debug)]
pub struct Duty {
    thing: Thing,
    janitor: Janitor,
}

impl Janitor {
    pub fn hire() -> io::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()?;
        let pipe = Mutex::new(process.stdin.take());
        Ok(Janitor(Arc::new(Worker { pipe, process: Mutex::new(process) })))
    }

    /// Has `thing` undone, should this process not come to it.
    pub fn charge(&self, thing: Thing) -> io::Result<Duty> {
        self.tell('+', &thing)?;
        Ok(Duty { thing, janitor: self.clone() })
    }

    fn tell(&self, sign: char, thing: &Thing) -> io::Result<()> {
        let mut pipe = self.0.pipe.lock().expect("no panic holds it");
        pipe.as_mut().map_or(Ok(()), |pipe| pipe.write_all(format!("{sign}{thing}\n").as_bytes()))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.pipe.get_mut().expect("no panic holds it").take());
        // It ends by itself; what it could not undo it has said.
        let _ = self.process.get_mut().expect("no panic holds it").wait();
    }
}

impl Duty {
    /// Undoes it now.
    pub fn fulfil(self) -> io::Result<()> {
        undo(&self.thing)?;
        self.janitor.tell('-', &self.thing)
    }

    /// Says that it was undone, or came to its end by itself.
    pub fn forget(self) -> io::Result<()> {
        self.janitor.tell('-', &self.thing)
    }
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Thing::Process(id) => write!(f, "process {id}"),
            Thing::Loop(path) => write!(f, "loop {}", path.display()),
            Thing::Mount(path) => write!(f, "mount {}", path.display()),
            Thing::Dir(path) => write!(f, "dir {}", path.display()),
        }
    }
}

impl Thing {
    fn parse(words: &str) -> Option<Self> {
        let (kind, name) = words.split_once(' ')?;
        Some(match kind {
            "process" => Thing::Process(name.parse().ok()?),
            "loop" => Thing::Loop(name.into()),
            "mount" => Thing::Mount(name.into()),
            "dir" => Thing::Dir(name.into()),
            _ => return None,
        })
    }
}

/// The janitor's part: reads what there is to undo until nobody writes any more.
pub fn serve(input: impl io::Read) -> ExitCode {
    let mut left: Vec<Thing> = Vec::new();
    for line in BufReader::new(input).lines().map_while(Result::ok) {
        let Some((sign, thing)) = line.split_at_checked(1) else { continue };
        let Some(thing) = Thing::parse(thing) else { continue };
        match sign {
            "+" => left.push(thing),
            _ => left.retain(|other| *other != thing),
        }
    }
    let mut code = ExitCode::SUCCESS;
    for thing in left.iter().rev() {
        if let Err(error) = undo(thing) {
            eprintln!("{thing} is left behind: {error}");
            code = ExitCode::FAILURE;
        }
    }
    code
}

fn undo(thing: &Thing) -> io::Result<()> {
    match thing {
        Thing::Process(id) => {
            let id = i32::try_from(*id).ok().and_then(Pid::from_raw);
            // It may have ended.
            id.map_or(Ok(()), |id| kill_process(id, Signal::KILL).or(Ok(())))
        }
        Thing::Loop(device) => run("losetup", &["-d".as_ref(), device]),
        Thing::Mount(dir) => unmount(dir),
        Thing::Dir(dir) => {
            if has_mounts(dir)? {
                return Err(io::Error::other("something is mounted there"));
            }
            std::fs::remove_dir_all(dir)
        }
    }
}

/// Unmounts what a process that was killed a moment ago may still be in.
pub fn unmount(dir: &Path) -> io::Result<()> {
    const TRIES: u32 = 50;
    for _ in 0..TRIES {
        if run("umount", &[dir]).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    run("umount", &["-l".as_ref(), dir])
}

fn has_mounts(dir: &Path) -> io::Result<bool> {
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let mut points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    Ok(points.any(|point| Path::new(point).starts_with(dir)))
}

/// Runs a program of the system's; what it says is the error.
pub fn run(program: &str, arguments: &[&Path]) -> io::Result<()> {
    output(program, arguments).map(drop)
}

/// The same, for what it prints.
pub fn output(program: &str, arguments: &[&Path]) -> io::Result<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|e| io::Error::new(e.kind(), format!("{program}: {e}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{program}: {}", words.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_when_the_pipe_ends_is_undone_and_what_was_taken_back_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let [left, done] = ["left", "done"].map(|name| dir.path().join(name));
        for dir in [&left, &done] {
            std::fs::create_dir(dir).expect("it is made");
        }
        let mut child = Command::new("sleep").arg("600").spawn().expect("it starts");
        let lines = [
            format!("+{}\n", Thing::Dir(left.clone())),
            format!("+{}\n", Thing::Dir(done.clone())),
            format!("+{}\n", Thing::Process(child.id())),
            format!("-{}\n", Thing::Dir(done.clone())),
        ];
        serve(lines.concat().as_bytes());
        assert!(!left.exists() && done.exists());
        assert!(!child.wait().expect("it has ended").success());
    }

    #[test]
    fn things_are_read_as_they_are_written() {
        let things = [
            Thing::Process(7),
            Thing::Loop("/dev/loop7".into()),
            Thing::Mount("/mnt/a b".into()),
            Thing::Dir("/tmp/x".into()),
        ];
        for thing in things {
            assert_eq!(Thing::parse(&thing.to_string()), Some(thing));
        }
    }
}
