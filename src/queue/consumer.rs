//! Consumers: readers whose position is durable.

use std::io::ErrorKind as Kind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::source::Source;
use super::stream::{Entry, Stream};
use super::{CONSUMERS, Id, META_LIMIT};
use crate::error::{Error, ErrorKind, Result};
use crate::format::queue::ConsumerMeta;
use crate::io::Io;

/// The longest name, in bytes.
const MAX_NAME_BYTES: usize = 200;

/// A reader with a name, which goes on behind the last item that it has committed: each item is
/// delivered at least once.
///
/// Items that are truncated are not waited for: see [`Queue::consumers`](super::Queue::consumers).
/// One process at a time should use a name; of two, the one that commits last counts.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// use kogia::queue::{Entry, Queue};
///
/// let queue = Queue::open(dir.path())?;
/// let ids = queue.append_batch(["a", "b"])?;
/// let mut shipper = queue.consumer("shipper")?;
/// assert_eq!(shipper.next()?, Some(Entry::Item(ids[0], b"a")));
/// shipper.commit(ids[0])?;
/// let mut after_a_crash = queue.consumer("shipper")?;
/// assert_eq!(after_a_crash.next()?, Some(Entry::Item(ids[1], b"b")));
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Debug)]
pub struct Consumer {
    source: Arc<Source>,
    name: String,
    path: PathBuf,
    committed: Option<Id>,
    stream: Stream,
}

impl Consumer {
    pub(super) fn open(source: &Arc<Source>, name: &str) -> Result<Self> {
        check_name(name)?;
        let dir = source.dir.join(CONSUMERS);
        source.io.create_dir_all(&dir).map_err(|e| Error::io("create", &dir, e))?;
        let path = dir.join(name);
        let committed = read(source, name)?;
        if committed.is_some() {
            // A process that was killed may not have come to that, and what is committed already is
            // no news to `commit`.
            source.io.sync_dir(&dir).map_err(|e| Error::io("sync", &dir, e))?;
        }
        let stream = Stream::new(source.clone(), committed.map(Id::after))?;
        let (source, name) = (source.clone(), name.to_owned());
        Ok(Consumer { source, name, path, committed, stream })
    }

    /// The id that was committed last.
    #[must_use]
    pub fn committed(&self) -> Option<Id> {
        self.committed
    }

    /// The next entry, as [`Stream::next`] has it.
    #[allow(clippy::should_implement_trait, reason = "it lends, which an iterator can't")]
    pub fn next(&mut self) -> Result<Option<Entry<'_>>> {
        self.stream.next()
    }

    /// The next entry, waited for, as [`Stream::follow`] has it.
    pub fn follow(&mut self, timeout: Option<Duration>) -> Result<Option<Entry<'_>>> {
        self.stream.follow(timeout)
    }

    /// Says that all items up to this one were dealt with; durable when it returns. One that was
    /// committed before, or lies before that, is no news. Costs some syncs: every so many items, or
    /// so often, will do.
    pub fn commit(&mut self, id: Id) -> Result<()> {
        if self.committed.is_some_and(|committed| id <= committed) {
            return Ok(());
        }
        let (queue, consumer) = (self.source.queue, self.name.clone());
        let meta = ConsumerMeta { queue, committed: id.0, consumer };
        let replaced = self.source.io.replace(&self.path, &meta.encode());
        replaced.map_err(|e| Error::io("write", &self.path, e))?;
        self.committed = Some(id);
        Ok(())
    }
}

/// A consumer's name is a file's.
fn check_name(name: &str) -> Result<()> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let fits = (1..=MAX_NAME_BYTES).contains(&name.len());
    if fits && name.chars().all(is_plain) && !name.starts_with('.') {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "a consumer can't be named {name:?}: 1 to 200 letters, digits, '-', '_' and '.' can, the \
         first of which is no '.'"
    )))
}

fn read(source: &Source, name: &str) -> Result<Option<Id>> {
    let path = &source.dir.join(CONSUMERS).join(name);
    let bytes = match source.io.read_small(path, META_LIMIT) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == Kind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io("read", path, e)),
    };
    let meta = ConsumerMeta::decode(&bytes).map_err(|fault| Error::fault(path, fault))?;
    let wrong = |what: String| Err(Error::new(ErrorKind::Corruption, what).with_path(path));
    if meta.queue != source.queue {
        return wrong("it is a consumer of another queue".into());
    }
    if !meta.consumer.is_empty() && meta.consumer != name {
        return wrong(format!("it is the position of the consumer {:?}", meta.consumer));
    }
    Ok(Some(Id(meta.committed)))
}

/// The names of all consumers, each with what it has committed.
pub(super) fn list(source: &Source) -> Result<Vec<(String, Id)>> {
    let dir = source.dir.join(CONSUMERS);
    let names = match source.io.list(&dir) {
        Ok(names) => names,
        Err(e) if e.kind() == Kind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("list", &dir, e)),
    };
    let mut consumers = Vec::new();
    for name in names.into_iter().filter(|name| check_name(name).is_ok()) {
        if let Some(committed) = read(source, &name)? {
            consumers.push((name, committed));
        }
    }
    Ok(consumers)
}

/// Makes positions durable that a process which was killed may have been about to.
pub(super) fn settle(io: &dyn Io, dir: &std::path::Path) -> Result<()> {
    let dir = dir.join(CONSUMERS);
    match io.sync_dir(&dir) {
        Err(e) if e.kind() != Kind::NotFound => Err(Error::io("sync", &dir, e)),
        _ => Ok(()),
    }
}

/// Forgets a consumer; whether there was one.
pub(super) fn forget(source: &Source, name: &str) -> Result<bool> {
    check_name(name)?;
    let dir = source.dir.join(CONSUMERS);
    let path = dir.join(name);
    match source.io.remove(&path) {
        Ok(()) => {}
        Err(e) if e.kind() == Kind::NotFound => return Ok(false),
        Err(e) => return Err(Error::io("remove", &path, e)),
    }
    source.io.sync_dir(&dir).map_err(|e| Error::io("sync", &dir, e))?;
    Ok(true)
}
