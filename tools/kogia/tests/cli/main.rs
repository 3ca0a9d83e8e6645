//! The command line from outside: what it prints, what it leaves behind, and its exit codes.

mod backup;
mod listing;
mod moving;
mod objects;
mod queue;
mod retention;
mod server;
mod shell;
mod space;
mod upkeep;
mod watch;

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use tempfile::TempDir;

/// A directory in which commands are run, with an empty store `s`.
struct Workplace {
    dir: TempDir,
}

/// How a command ended.
struct Run {
    code: i32,
    stdout: Vec<u8>,
    stderr: String,
}

impl Workplace {
    fn empty() -> Self {
        Workplace { dir: tempfile::tempdir().expect("a directory for the test") }
    }

    fn with_store() -> Self {
        let workplace = Self::empty();
        workplace.ok(["init", "s"]);
        workplace
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders are made");
        fs::write(path, bytes).expect("the file is written");
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kogia"));
        command.args(args).current_dir(&self.dir);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        self.command(args).output().expect("the command starts").into()
    }

    fn run_with_input<A: AsRef<OsStr>>(
        &self,
        input: &[u8],
        args: impl IntoIterator<Item = A>,
    ) -> Run {
        let mut child =
            self.command(args).stdin(Stdio::piped()).spawn().expect("the command starts");
        // A command may end without reading it all.
        let _ = child.stdin.take().expect("a pipe").write_all(input);
        child.wait_with_output().expect("the command ends").into()
    }

    /// Runs a command that must succeed, and gives its standard output.
    fn ok<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> String {
        self.run(args).ok()
    }

    /// Presses Ctrl-C while a command is writing a file into `dir`.
    fn interrupt_in<A: AsRef<OsStr>>(&self, dir: &str, args: &[A]) -> Run {
        for _ in 0..20 {
            let _ = fs::remove_dir_all(self.path(dir));
            fs::create_dir(self.path(dir)).expect("a directory");
            let mut child = self.command(args).spawn().expect("it starts");
            while child.try_wait().expect("it can be asked").is_none() {
                if unfinished_files(&self.path(dir)) > 0 {
                    press_ctrl_c(&child);
                    break;
                }
                sleep(Duration::from_millis(1));
            }
            let run = Run::from(child.wait_with_output().expect("it ends"));
            if run.code != 0 {
                return run;
            }
        }
        panic!("it was too fast every time");
    }

    fn put(&self, key: &str, value: &[u8]) {
        self.run_with_input(value, ["put", "s", "--", key]).ok();
    }

    fn get(&self, key: &str) -> Vec<u8> {
        let run = self.run(["get", "s", "--", key]);
        assert_eq!(run.code, 0, "{key}: {}", run.stderr);
        run.stdout
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let stderr = String::from_utf8(output.stderr).expect("messages are text");
        assert!(!stderr.contains("panicked"), "{stderr}");
        let code = output.status.code().expect("no signal ended the command");
        Run { code, stdout: output.stdout, stderr }
    }
}

impl Run {
    #[track_caller]
    fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self.text()
    }

    fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).expect("results are text")
    }

    /// The command must have ended with `code` and a message that contains `part`.
    #[track_caller]
    fn fails(&self, code: i32, part: &str) {
        assert_eq!(self.code, code, "{}", self.stderr);
        assert!(self.stderr.contains(part), "{}", self.stderr);
    }
}

fn press_ctrl_c(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
}

fn unfinished_files(dir: &Path) -> usize {
    let names = fs::read_dir(dir).expect("a directory").flatten().map(|found| found.file_name());
    names.filter(|name| name.to_string_lossy().starts_with(".kogia-")).count()
}

/// One value of each line of JSON.
fn json_lines(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}
