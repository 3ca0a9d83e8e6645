//! A command that items pass through, as lines of JSON: what comes back under an item's id takes its
//! place, and where nothing does, it is dropped.
//!
//! One thread feeds the command, and another reads what it answers, so that it may buffer as it
//! likes. An answer counts only if the command reads all and ends well, and so each is taken when the
//! next one, or the end, was read: a command that dies is not taken for one that drops the rest.

use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::ScopedJoinHandle;

use kogia::queue::{Entry, Id, Rewrite, Stream};
use serde_json::Value;

use super::{item_of, to_json};
use crate::failure::Failure;

/// A command that is running.
pub struct Filter<'scope> {
    name: String,
    child: Child,
    answers: BufReader<ChildStdout>,
    feeding: Option<ScopedJoinHandle<'scope, Result<(), Failure>>>,
    /// The answer that was read ahead; `None` behind the last one.
    next: Option<(Id, Vec<u8>)>,
    begun: bool,
}

impl<'scope> Filter<'scope> {
    /// Starts the command, and a thread that feeds it.
    pub fn start(
        command: &str,
        feed: impl FnOnce(ChildStdin) -> ScopedJoinHandle<'scope, Result<(), Failure>>,
    ) -> Result<Self, Failure> {
        let mut child = Command::new("sh")
            .args(["-c", command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(Failure::file("sh"))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        Ok(Filter {
            name: command.to_owned(),
            answers: BufReader::new(output.expect("a pipe was asked for")),
            feeding: Some(feed(input.expect("a pipe was asked for"))),
            child,
            next: None,
            begun: false,
        })
    }

    /// What the command has made of an item.
    pub fn answer(&mut self, id: Id) -> Result<Rewrite, Failure> {
        if !self.begun {
            self.begun = true;
            self.read_ahead(None)?;
        }
        match &self.next {
            Some((of, _)) if *of < id => {
                Err(self.failed(format!("it has answered for {of}, which is no item")))
            }
            Some((of, _)) if *of == id => {
                let (_, item) = self.next.take().expect("it is there");
                self.read_ahead(Some(id))?;
                Ok(Rewrite::Replace(item))
            }
            _ => Ok(Rewrite::Drop),
        }
    }

    /// Reads the answer behind the one for `last`.
    fn read_ahead(&mut self, last: Option<Id>) -> Result<(), Failure> {
        let mut line = Vec::new();
        self.answers.read_until(b'\n', &mut line).map_err(Failure::file(&self.name))?;
        if line.is_empty() {
            return self.end();
        }
        let (id, item) = parse(&line).map_err(|why| {
            self.failed(format!("{why}, in its answer {}", String::from_utf8_lossy(&line).trim()))
        })?;
        if last.is_some_and(|last| id <= last) {
            return Err(self.failed(format!("its answer for {id} is out of order")));
        }
        self.next = Some((id, item));
        Ok(())
    }

    /// Makes sure that it has read all and ended well.
    fn end(&mut self) -> Result<(), Failure> {
        let status = self.child.wait().map_err(Failure::file(&self.name))?;
        if !status.success() {
            return Err(self.failed(format!("it ended with {status}")));
        }
        match self.feeding.take().map(|feeding| feeding.join().expect("it does not panic")) {
            Some(Err(Failure::Output(_))) => Err(self.failed("it did not read all items".into())),
            Some(fed) => fed,
            None => Ok(()),
        }
    }

    fn failed(&self, why: String) -> Failure {
        let source = io::Error::other(format!("{why}; nothing has changed"));
        Failure::File { name: self.name.clone(), source }
    }
}

impl Drop for Filter<'_> {
    fn drop(&mut self) {
        // Where it has ended, this fails. Who feeds it ends with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The id and the item in an answer.
fn parse(line: &[u8]) -> Result<(Id, Vec<u8>), String> {
    let value: Value = serde_json::from_slice(line).map_err(|e| e.to_string())?;
    let id = value.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok());
    Ok((id.ok_or("there is no \"id\" of an item")?, item_of(&value)?))
}

/// Feeds the items before an id that pass to a command. A command that reads no more is a
/// [`Failure::Output`].
pub fn feed(
    mut stream: Stream,
    before: Option<Id>,
    passes: impl Fn(&[u8]) -> bool,
    input: ChildStdin,
) -> Result<(), Failure> {
    let mut input = BufWriter::new(input);
    while let Some(entry) = stream.next().map_err(Failure::Queue)? {
        match entry {
            Entry::Item(id, _) if before.is_some_and(|before| id >= before) => break,
            Entry::Item(_, item) if passes(item) => writeln!(input, "{}", to_json(&entry))?,
            _ => {}
        }
    }
    Ok(input.flush()?)
}
