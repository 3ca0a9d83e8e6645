//! Queues of items: what they are asked, what they answer, and what they show.
//!
//! A queue has no keys. Its items have ids that it gives out itself, so that an operation says how
//! many items it is about, and the answer says which they were.

mod judge;
mod ledger;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::engine::{Consumed, Decision, Entry, Failure, Level, Queue, Result, View};
use crate::operation::{Print, Value};

pub use judge::Moment;
pub use ledger::Ledger;

/// One thing that a queue is asked to do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Task {
    Append {
        item: Value,
        level: Level,
    },
    /// Durable when it is acknowledged; not all or nothing.
    Batch {
        items: Vec<Value>,
    },
    /// Reads everything.
    Read {
        ahead: bool,
    },
    /// Drops so many of the first items that are shown.
    Truncate {
        items: usize,
    },
    /// Drops everything, what is not durable yet, too.
    TruncateAll,
    /// Rewrites items, from one of those that are shown on, all or nothing.
    Rewrite {
        skip: usize,
        changes: Vec<Change>,
    },
    /// A consumer reads so many items, or as many as there are, and commits the last of them.
    Consume {
        name: String,
        items: usize,
    },
}

/// What becomes of an item in a rewrite.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Change {
    Keep,
    Drop,
    Replace(Value),
}

/// What a queue has answered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// The ids of what was appended.
    Appended(Vec<u64>),
    /// What was read.
    Read(Vec<Shown>),
    /// Everything before this id was dropped.
    Truncated(u64),
    /// What each item was that was rewritten.
    Rewritten(Vec<(u64, Print)>),
    Consumed {
        /// What was committed before.
        before: Option<u64>,
        read: Vec<Shown>,
        /// What was committed now, where there was something to commit.
        committed: Option<u64>,
    },
}

/// What a reader is shown, with prints in place of bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Shown {
    Item(u64, Print),
    Cut(u64),
    Lost(u64, u64),
}

/// What a queue shows when it is looked at.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    /// What every reader is shown.
    pub durable: Vec<Shown>,
    /// What is shown to who reads ahead.
    pub written: Vec<Shown>,
    /// Consumers with what they have committed.
    pub consumers: Vec<(String, u64)>,
}

impl Seen {
    /// Items that every reader is shown.
    pub fn items(&self) -> impl Iterator<Item = (u64, Print)> {
        items(&self.durable)
    }

    /// Everything that it shows, each with a name.
    pub fn named(&self) -> impl Iterator<Item = (String, Print)> {
        let items = self.items().map(|(id, print)| (item_name(id), print));
        items.chain(self.consumers.iter().map(|(name, id)| position(name, *id)))
    }
}

pub fn items(shown: &[Shown]) -> impl Iterator<Item = (u64, Print)> {
    shown.iter().filter_map(|shown| match shown {
        Shown::Item(id, print) => Some((*id, *print)),
        _ => None,
    })
}

/// Before the name of a consumer's position, among things that have names.
pub const POSITION: &str = "position of ";

fn item_name(id: u64) -> String {
    format!("item {}", name(id))
}

fn position(consumer: &str, id: u64) -> (String, Print) {
    (format!("{POSITION}{consumer}"), Print { len: 0, hash: id })
}

/// What an answer says that there was, each with a name; `prints` are of what was appended.
pub fn names(
    task: &Task,
    answer: &Answer,
    prints: impl Iterator<Item = Print>,
) -> Vec<(String, Print)> {
    match (task, answer) {
        (_, Answer::Appended(ids)) => ids.iter().map(|id| item_name(*id)).zip(prints).collect(),
        (Task::Rewrite { changes, .. }, Answer::Rewritten(was)) => {
            let replaced = was.iter().zip(changes).filter_map(|((id, _), change)| match change {
                Change::Replace(value) => Some((item_name(*id), value.print())),
                Change::Keep | Change::Drop => None,
            });
            replaced.collect()
        }
        (Task::Consume { name, .. }, Answer::Consumed { committed, .. }) => {
            committed.iter().map(|id| position(name, *id)).collect()
        }
        _ => Vec::new(),
    }
}

/// The items that can be read although something is damaged, each with a name.
pub fn salvage(queue: &dyn Queue) -> Vec<(String, Print)> {
    let read = shown(queue.read(View::Salvaged).unwrap_or_default());
    items(&read).map(|(id, print)| (item_name(id), print)).collect()
}

/// An id in words: the track, and the place in it.
pub fn name(id: u64) -> String {
    format!("{}.{}", id >> 32, id as u32)
}

impl Task {
    /// The items that it appends, in order.
    pub fn appends(&self) -> &[Value] {
        match self {
            Task::Append { item, .. } => std::slice::from_ref(item),
            Task::Batch { items } => items,
            _ => &[],
        }
    }

    /// The bytes that it writes, in order.
    pub fn values(&self) -> Vec<Value> {
        let replaced = |change: &Change| match change {
            Change::Replace(value) => Some(*value),
            Change::Keep | Change::Drop => None,
        };
        match self {
            Task::Rewrite { changes, .. } => changes.iter().filter_map(replaced).collect(),
            _ => self.appends().to_vec(),
        }
    }

    /// Whether its acknowledgement says that it is durable.
    pub fn is_durable(&self) -> bool {
        !matches!(self, Task::Append { level: Level::Os | Level::Later, .. })
    }
}

/// Has a queue do something.
pub fn carry_out(queue: &dyn Queue, task: &Task) -> Result<Answer> {
    Ok(match task {
        Task::Append { item, level } => {
            Answer::Appended(vec![queue.append(&item.bytes(), *level)?])
        }
        Task::Batch { items } => {
            let items: Vec<Vec<u8>> = items.iter().map(|item| item.bytes()).collect();
            Answer::Appended(queue.append_batch(&items)?)
        }
        Task::Read { ahead } => {
            let view = if *ahead { View::Ahead } else { View::Owner };
            Answer::Read(shown(queue.read(view)?))
        }
        Task::Truncate { items } => Answer::Truncated(queue.truncate(*items)?),
        Task::TruncateAll => Answer::Truncated(queue.truncate_all()?),
        Task::Rewrite { skip, changes } => {
            let rewritten = rewrite(queue, *skip, changes)?;
            Answer::Rewritten(rewritten)
        }
        Task::Consume { name, items } => {
            let Consumed { before, read, committed } = queue.consume(name, *items)?;
            Answer::Consumed { before, read: shown(read), committed }
        }
    })
}

/// Rewrites as many items as there are changes, or as there are.
fn rewrite(queue: &dyn Queue, skip: usize, changes: &[Change]) -> Result<Vec<(u64, Print)>> {
    let mut rewritten = Vec::new();
    let mut decide = |id, bytes: &[u8]| {
        let change = changes.get(rewritten.len());
        rewritten.push((id, Print::of(bytes)));
        match change {
            None | Some(Change::Keep) => Decision::Keep,
            Some(Change::Drop) => Decision::Drop,
            Some(Change::Replace(value)) => Decision::Replace(value.bytes()),
        }
    };
    queue.rewrite(skip, changes.len(), &mut decide)?;
    Ok(rewritten)
}

/// Looks at an open queue; what can't be read goes to the problems.
pub fn observe(queue: &dyn Queue, problems: &mut Vec<String>) -> Result<Seen> {
    let mut read = |view| match queue.read(view) {
        Ok(entries) => Ok(shown(entries)),
        Err(Failure::Damaged(what)) => {
            problems.push(what);
            // What can be read all the same.
            Ok(shown(queue.read(View::Salvaged).unwrap_or_default()))
        }
        Err(failure) => Err(failure),
    };
    let (durable, beside, written) = (read(View::Owner)?, read(View::Beside)?, read(View::Ahead)?);
    // Old items may go meanwhile.
    if problems.is_empty() && !durable.ends_with(&beside) {
        problems.push(format!(
            "its owner is shown {}, and who reads beside it {}",
            summary(&durable),
            summary(&beside)
        ));
    }
    let consumers = match queue.consumers() {
        Err(Failure::Damaged(what)) => {
            problems.push(what);
            Vec::new()
        }
        consumers => consumers?,
    };
    Ok(Seen { durable, written, consumers })
}

/// What somebody was shown before the queue was opened, and is not shown any more. Where nothing is,
/// all may have been truncated, as far as can be told from here.
pub fn gone(before: Vec<Entry>, seen: &Seen) -> Option<String> {
    let (first, _) = seen.items().next()?;
    let is_gone = |(id, print): &(u64, Print)| {
        *id >= first && !seen.items().any(|there| there == (*id, *print))
    };
    let (id, print) = items(&shown(before)).find(is_gone)?;
    let words = "was shown to who read beside it before it was opened, and is gone now";
    Some(format!("item {} ({print:?}) {words}", name(id)))
}

pub fn shown(entries: Vec<Entry>) -> Vec<Shown> {
    let shown = |entry| match entry {
        Entry::Item(id, bytes) => Shown::Item(id, Print::of(&bytes)),
        Entry::Cut(id) => Shown::Cut(id),
        Entry::Lost(from, to) => Shown::Lost(from, to),
    };
    entries.into_iter().map(shown).collect()
}

/// How many items, from where to where.
fn summary(shown: &[Shown]) -> String {
    let ids: Vec<u64> = items(shown).map(|(id, _)| id).collect();
    match (ids.first(), ids.last()) {
        (Some(first), Some(last)) => {
            format!("{} items from {} to {}", ids.len(), name(*first), name(*last))
        }
        _ => "nothing".to_owned(),
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Task::Append { item, level } => {
                let level = match level {
                    Level::Sync => ", synced",
                    Level::Os => "",
                    Level::Later => ", later",
                };
                write!(f, "append {item}{level}")
            }
            Task::Batch { items } => {
                f.write_str("append a batch of")?;
                items.iter().try_for_each(|item| write!(f, " {}", item.len))
            }
            Task::Read { ahead: false } => f.write_str("read all"),
            Task::Read { ahead: true } => f.write_str("read all, ahead"),
            Task::Truncate { items } => write!(f, "truncate {items} items"),
            Task::TruncateAll => f.write_str("truncate all"),
            Task::Rewrite { skip, changes } => {
                write!(f, "rewrite {} items behind {skip}:", changes.len())?;
                changes.iter().try_for_each(|change| match change {
                    Change::Keep => f.write_str(" ="),
                    Change::Drop => f.write_str(" -"),
                    Change::Replace(value) => write!(f, " {}", value.len),
                })
            }
            Task::Consume { name, items } => write!(f, "{name} consumes {items} items"),
        }
    }
}
