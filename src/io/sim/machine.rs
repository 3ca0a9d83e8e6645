//! The state behind a [`SimIo`](super::SimIo): directories, files, disks, locks.
//!
//! Names point to nodes. A directory has durable names, current ones, and the operations that
//! lead from the former to the latter; a sync of it makes the current ones durable.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Result};
use std::path::{Component, Path, PathBuf};

use rustix::io::Errno;

use super::super::page::{MemoryPage, Page};
use super::content::{BLOCK_BYTES, Content};
use super::crash::{self, Choice, Random};
use super::faults::{CallKind, Gate};
use super::inode::{Change, Inode};
use super::witness::Witness;

/// What a disk holds if no capacity is set: 1 TiB.
const DEFAULT_CAPACITY_BYTES: u64 = 1 << 40;
/// The greatest offset in a file.
const MAX_OFFSET: u64 = i64::MAX as u64;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct NodeId(u64);

const ROOT: NodeId = NodeId(0);

#[derive(Clone, Debug)]
enum Node {
    Dir(Dir),
    File(Inode),
}

type Names = BTreeMap<String, NodeId>;

#[derive(Clone, Default, Debug)]
struct Dir {
    durable: Names,
    current: Names,
    pending: Vec<NameChange>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Link(String, NodeId),
    Unlink(String),
    /// From, to: atomic.
    Rename(String, String, NodeId),
}

impl NameChange {
    fn apply(&self, names: &mut Names) {
        match self {
            NameChange::Link(name, node) => {
                names.insert(name.clone(), *node);
            }
            NameChange::Unlink(name) => {
                names.remove(name);
            }
            NameChange::Rename(from, to, node) => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }

    /// The name that leads elsewhere afterwards.
    fn name(&self) -> &str {
        match self {
            NameChange::Link(name, _) | NameChange::Unlink(name) => name,
            NameChange::Rename(_, to, _) => to,
        }
    }

    fn node(&self) -> Option<NodeId> {
        match self {
            NameChange::Link(_, node) | NameChange::Rename(_, _, node) => Some(*node),
            NameChange::Unlink(_) => None,
        }
    }
}

impl Dir {
    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.current);
        self.pending.push(change);
    }

    fn sync(&mut self) {
        self.durable.clone_from(&self.current);
        self.pending.clear();
    }

    /// Every node that a name leads to, now or after some power cut.
    fn nodes(&self) -> impl Iterator<Item = NodeId> {
        let pending = self.pending.iter().filter_map(NameChange::node);
        self.durable.values().chain(self.current.values()).copied().chain(pending)
    }

    fn cut(&mut self, choice: &mut Choice) {
        for change in self.pending.drain(..) {
            if choice.keeps_name() {
                change.apply(&mut self.durable);
            }
        }
        self.current.clone_from(&self.durable);
    }
}

#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) gate: Gate,
    pub(super) random: Random,
    /// Whether a failed sync loses only some of the writes, not all.
    pub(super) failed_syncs_keep_some: bool,
    /// Whether the file system can share room between files.
    pub(super) reflinks: bool,
    /// Whether syncs do nothing.
    pub(super) syncs_lie: bool,
    pub(super) witness: Option<Witness>,
    nodes: BTreeMap<NodeId, Node>,
    next_node: u64,
    capacities: BTreeMap<PathBuf, u64>,
    locked: BTreeSet<NodeId>,
    pages: BTreeMap<PathBuf, MemoryPage>,
    /// How often the machine was started.
    pub(super) starts: u64,
}

impl Machine {
    pub(super) fn new(seed: u64) -> Self {
        Machine {
            gate: Gate::default(),
            random: Random(seed),
            failed_syncs_keep_some: false,
            reflinks: false,
            syncs_lie: false,
            witness: None,
            nodes: BTreeMap::from([(ROOT, Node::Dir(Dir::default()))]),
            next_node: ROOT.0 + 1,
            capacities: BTreeMap::new(),
            locked: BTreeSet::new(),
            pages: BTreeMap::new(),
            starts: 1,
        }
    }

    /// Lets a call pass the gate, before the eyes of the witness; gives how many bytes it may move.
    pub(super) fn pass(&mut self, kind: CallKind, path: &Path) -> Result<usize> {
        if let Some(witness) = &self.witness {
            witness.look(self, kind, path);
        }
        self.gate.pass(kind, path)
    }

    // Names.

    /// The node at `path`.
    pub(super) fn find(&self, path: &Path) -> Result<NodeId> {
        let mut at = ROOT;
        for name in names(path) {
            let Node::Dir(dir) = &self.nodes[&at] else { return Err(Errno::NOTDIR.into()) };
            at = *dir.current.get(&name).ok_or(Errno::NOENT)?;
        }
        Ok(at)
    }

    /// The directory above `path`, and the name in it.
    fn parent(&mut self, path: &Path) -> Result<(&mut Dir, String)> {
        let mut above = names(path);
        let name = above.pop().ok_or(Errno::ISDIR)?;
        let parent: PathBuf = above.iter().collect();
        Ok((self.dir(&parent)?, name))
    }

    fn dir(&mut self, path: &Path) -> Result<&mut Dir> {
        let id = self.find(path)?;
        match self.nodes.get_mut(&id) {
            Some(Node::Dir(dir)) => Ok(dir),
            _ => Err(Errno::NOTDIR.into()),
        }
    }

    pub(super) fn find_file(&self, path: &Path) -> Result<NodeId> {
        let id = self.find(path)?;
        match self.nodes[&id] {
            Node::Dir(_) => Err(Errno::ISDIR.into()),
            Node::File(_) => Ok(id),
        }
    }

    pub(super) fn exists(&self, path: &Path) -> Result<bool> {
        match self.find(path) {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    pub(super) fn is_dir(&self, path: &Path) -> bool {
        self.find(path).is_ok_and(|id| matches!(self.nodes[&id], Node::Dir(_)))
    }

    pub(super) fn list(&mut self, path: &Path) -> Result<Vec<String>> {
        Ok(self.dir(path)?.current.keys().cloned().collect())
    }

    /// The paths of all files, sorted.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut open = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, id)) = open.pop() {
            match &self.nodes[&id] {
                Node::File(_) => files.push(path),
                Node::Dir(dir) => {
                    open.extend(dir.current.iter().map(|(name, &id)| (path.join(name), id)));
                }
            }
        }
        files.sort_unstable();
        files
    }

    pub(super) fn create_file(&mut self, path: &Path) -> Result<NodeId> {
        self.create(path, Node::File(Inode::new(absolute(path), Content::default())))
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> Result<()> {
        self.create(path, Node::Dir(Dir::default())).map(drop)
    }

    fn create(&mut self, path: &Path, node: Node) -> Result<NodeId> {
        let id = NodeId(self.next_node);
        let (dir, name) = self.parent(path)?;
        if dir.current.contains_key(&name) {
            return Err(Errno::EXIST.into());
        }
        dir.change(NameChange::Link(name, id));
        self.nodes.insert(id, node);
        self.next_node += 1;
        Ok(id)
    }

    pub(super) fn remove(&mut self, path: &Path) -> Result<()> {
        self.find_file(path)?;
        let (dir, name) = self.parent(path)?;
        dir.change(NameChange::Unlink(name));
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, path: &Path) -> Result<()> {
        if !self.dir(path)?.current.is_empty() {
            return Err(Errno::NOTEMPTY.into());
        }
        let (dir, name) = self.parent(path)?;
        dir.change(NameChange::Unlink(name));
        Ok(())
    }

    pub(super) fn hard_link(&mut self, from: &Path, to: &Path) -> Result<()> {
        let id = self.find_file(from)?;
        if self.disk(&self.file(id).path) != self.disk(&absolute(to)) {
            return Err(Errno::XDEV.into());
        }
        let (dir, name) = self.parent(to)?;
        if dir.current.contains_key(&name) {
            return Err(Errno::EXIST.into());
        }
        dir.change(NameChange::Link(name, id));
        Ok(())
    }

    /// A copy, which counts as if it shared nothing.
    pub(super) fn reflink(&mut self, from: &Path, to: &Path) -> Result<()> {
        let from = self.find_file(from)?;
        if !self.reflinks || self.disk(&self.file(from).path) != self.disk(&absolute(to)) {
            return Err(Errno::OPNOTSUPP.into());
        }
        let content = self.file(from).cache.clone();
        let new = self.create_file(to)?;
        let mut at = 0;
        while let Some(range) = content.next_data(at) {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            content.read(range.start, &mut bytes);
            self.file_mut(new).change(Change::Write { offset: range.start, bytes: bytes.into() });
            at = range.end;
        }
        self.set_len(new, content.len())
    }

    /// Renames a file in its directory, over another if need be.
    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> Result<()> {
        let id = self.find_file(from)?;
        if self.is_dir(to) {
            return Err(Errno::ISDIR.into());
        }
        let (_, to) = self.parent(to)?;
        let (dir, from) = self.parent(from)?;
        dir.change(NameChange::Rename(from, to, id));
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> Result<()> {
        let lies = self.syncs_lie;
        match self.dir(path) {
            Ok(_) if lies => {}
            Ok(dir) => dir.sync(),
            Err(e) if e.kind() == ErrorKind::NotADirectory => {
                let id = self.find_file(path)?;
                self.sync(id);
            }
            Err(e) => return Err(e),
        }
        self.collect();
        Ok(())
    }

    /// Forgets the nodes that neither a name, nor a handle, nor a power cut can bring back.
    pub(super) fn collect(&mut self) {
        let mut live = BTreeSet::new();
        let mut open = vec![ROOT];
        while let Some(id) = open.pop() {
            if live.insert(id)
                && let Node::Dir(dir) = &self.nodes[&id]
            {
                open.extend(dir.nodes());
            }
        }
        let in_use = |node: &Node| matches!(node, Node::File(file) if file.handles > 0);
        self.nodes.retain(|id, node| live.contains(id) || in_use(node));
    }

    // Files.

    pub(super) fn file(&self, id: NodeId) -> &Inode {
        match self.nodes.get(&id) {
            Some(Node::File(file)) => file,
            _ => unreachable!("a file lives as long as its handles and names"),
        }
    }

    pub(super) fn file_mut(&mut self, id: NodeId) -> &mut Inode {
        match self.nodes.get_mut(&id) {
            Some(Node::File(file)) => file,
            _ => unreachable!("a file lives as long as its handles and names"),
        }
    }

    /// Writes as much of `bytes` as the disk has room for.
    pub(super) fn write(&mut self, id: NodeId, offset: u64, bytes: &[u8]) -> Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let end = offset.checked_add(bytes.len() as u64).filter(|&end| end <= MAX_OFFSET);
        let end = end.ok_or(Errno::FBIG)?;
        let path = &self.file(id).path;
        let mut room = if self.disk(path).is_some() { self.available(path) } else { u64::MAX };
        let cache = &self.file(id).cache;
        let full_at = (offset / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES)).find(|&number| {
            let fits = cache.has_block(number) || room >= BLOCK_BYTES;
            room = room.saturating_sub(if cache.has_block(number) { 0 } else { BLOCK_BYTES });
            !fits
        });
        let end = full_at.map_or(end, |number| (number * BLOCK_BYTES).max(offset));
        let count = (end - offset) as usize;
        if count == 0 {
            return Err(Errno::NOSPC.into());
        }
        self.file_mut(id).change(Change::Write { offset, bytes: bytes[..count].into() });
        Ok(count)
    }

    pub(super) fn set_len(&mut self, id: NodeId, len: u64) -> Result<()> {
        if len > MAX_OFFSET {
            return Err(Errno::FBIG.into());
        }
        self.file_mut(id).change(Change::SetLen(len));
        Ok(())
    }

    pub(super) fn allocate(&mut self, id: NodeId, len: u64) -> Result<()> {
        if len == 0 || len > MAX_OFFSET {
            return Err(Errno::INVAL.into());
        }
        let file = self.file(id);
        let blocks = len.div_ceil(BLOCK_BYTES);
        let there = file.cache.blocks_from(0).take_while(|&number| number < blocks).count() as u64;
        if (blocks - there).saturating_mul(BLOCK_BYTES) > self.available(&file.path) {
            return Err(Errno::NOSPC.into());
        }
        self.file_mut(id).change(Change::Reserve(len));
        Ok(())
    }

    pub(super) fn punch(&mut self, id: NodeId, offset: u64, len: u64) -> Result<()> {
        if len == 0 || offset.checked_add(len).is_none_or(|end| end > MAX_OFFSET) {
            return Err(Errno::INVAL.into());
        }
        self.file_mut(id).change(Change::Punch { offset, len });
        Ok(())
    }

    pub(super) fn sync(&mut self, id: NodeId) {
        if !self.syncs_lie {
            self.file_mut(id).sync();
        }
    }

    pub(super) fn fail_sync(&mut self, id: NodeId) {
        let mut survivors = match self.failed_syncs_keep_some {
            true => Choice::Random(Random(self.random.next())),
            false => Choice::First,
        };
        self.file_mut(id).fail_sync(&mut survivors);
    }

    pub(super) fn lock(&mut self, id: NodeId) -> Result<()> {
        if self.locked.insert(id) { Ok(()) } else { Err(Errno::WOULDBLOCK.into()) }
    }

    pub(super) fn unlock(&mut self, id: NodeId) {
        self.locked.remove(&id);
    }

    /// Puts `content` under `path`, durably, and whatever directories it takes.
    pub(super) fn plant(&mut self, path: &Path, content: Content) -> Result<()> {
        let path = absolute(path);
        let above: Vec<&Path> = path.ancestors().skip(1).collect();
        for dir in above.into_iter().rev() {
            if !self.exists(dir)? {
                self.create_dir(dir)?;
                self.settle(dir)?;
            }
        }
        let id = match self.exists(&path)? {
            true => self.find_file(&path)?,
            false => self.create_file(&path)?,
        };
        let file = self.file_mut(id);
        file.device.clone_from(&content);
        file.cache = content;
        file.pending.clear();
        self.settle(&path)
    }

    /// Removes a file, durably.
    pub(super) fn uproot(&mut self, path: &Path) -> Result<()> {
        self.remove(path)?;
        self.settle(path)
    }

    /// Makes one name durable as it is, whether it is there or not.
    fn settle(&mut self, path: &Path) -> Result<()> {
        let (dir, name) = self.parent(path)?;
        dir.pending.retain(|change| change.name() != name);
        match dir.current.get(&name) {
            Some(&node) => dir.durable.insert(name, node),
            None => dir.durable.remove(&name),
        };
        self.collect();
        Ok(())
    }

    // Pages.

    /// The page at `path`, which whoever writes to it makes if need be.
    pub(super) fn page(&mut self, path: &Path, writable: bool) -> Result<Page> {
        let path = absolute(path);
        if writable {
            return Ok(self.pages.entry(path).or_default().open(true));
        }
        Ok(self.pages.get(&path).ok_or(Errno::NOENT)?.open(false))
    }

    // Disks.

    pub(super) fn set_capacity(&mut self, dir: &Path, bytes: u64) {
        self.capacities.insert(absolute(dir), bytes);
    }

    /// Bytes that can still be written on the disk of `path`.
    pub(super) fn available(&self, path: &Path) -> u64 {
        let path = absolute(path);
        let disk = self.disk(&path);
        let capacity = disk.map_or(DEFAULT_CAPACITY_BYTES, |dir| self.capacities[dir]);
        let linked = self.linked();
        let blocks = self.nodes.iter().map(|(id, node)| match node {
            Node::File(file)
                if (file.handles > 0 || linked.contains(id)) && self.disk(&file.path) == disk =>
            {
                file.cache.blocks()
            }
            _ => 0,
        });
        capacity.saturating_sub(blocks.sum::<u64>() * BLOCK_BYTES)
    }

    /// The innermost directory above `path` that has a capacity of its own.
    fn disk(&self, path: &Path) -> Option<&PathBuf> {
        path.ancestors().find_map(|dir| self.capacities.get_key_value(dir)).map(|(dir, _)| dir)
    }

    /// The names that lead to a file now.
    pub(super) fn link_count(&self, id: NodeId) -> u64 {
        let dirs = self.nodes.values().filter_map(|node| match node {
            Node::Dir(dir) => Some(dir),
            Node::File(_) => None,
        });
        dirs.flat_map(|dir| dir.current.values()).filter(|&&node| node == id).count() as u64
    }

    /// The nodes that have a name now.
    fn linked(&self) -> BTreeSet<NodeId> {
        let dirs = self.nodes.values().filter_map(|node| match node {
            Node::Dir(dir) => Some(dir),
            Node::File(_) => None,
        });
        dirs.flat_map(|dir| dir.current.values().copied()).collect()
    }

    // Power.

    /// The machine after a power cut, before anybody has opened anything.
    pub(super) fn cut(&self, choice: &mut Choice) -> Self {
        let mut after = self.restarted();
        for node in after.nodes.values_mut() {
            match node {
                Node::Dir(dir) => dir.cut(choice),
                Node::File(file) => *file = Inode::new(file.path.clone(), choice.cut(file)),
            }
        }
        after.pages.retain(|_, _| choice.keeps_page());
        after.starts += 1;
        after.collect();
        after
    }

    /// The machine after its process died: no handles, no locks, no faults.
    pub(super) fn restarted(&self) -> Self {
        let mut after = self.clone();
        after.gate = Gate::default();
        after.witness = None;
        after.locked.clear();
        // Those of the processes that died stay theirs.
        after.pages.values_mut().for_each(|page| *page = page.copy());
        for node in after.nodes.values_mut() {
            if let Node::File(file) = node {
                file.handles = 0;
            }
        }
        after.collect();
        after
    }

    pub(super) fn crash_states(&self) -> u128 {
        let of_node = |node: &Node| match node {
            Node::Dir(dir) => 1_u128.checked_shl(dir.pending.len() as u32).unwrap_or(u128::MAX),
            Node::File(file) => crash::states(file),
        };
        self.restarted().nodes.values().map(of_node).fold(1, u128::saturating_mul)
    }

    pub(super) fn pending_sectors(&self) -> u64 {
        let of_node = |node: &Node| match node {
            Node::Dir(_) => 0,
            Node::File(file) => crash::pending_sectors(file),
        };
        self.restarted().nodes.values().map(of_node).sum()
    }
}

/// The path from the root, without `.` and `..`.
pub(super) fn absolute(path: &Path) -> PathBuf {
    Path::new("/").join(names(path).iter().collect::<PathBuf>())
}

fn names(path: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name.to_string_lossy().into_owned()),
            Component::ParentDir => drop(names.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    names
}
