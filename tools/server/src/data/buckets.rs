//! The buckets, by name. Their rows are in partition 0; all are held in memory.
//!
//! A bucket's row is put and deleted atomically, and its id is never used again: what is left of a
//! deleted bucket belongs to nobody, and is swept at the next start.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use kogia::{Batch, Condition, Item, ListOptions, PutOptions, Store};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, OwnedRwLockReadGuard};

use super::keys::{self, BucketId};
use super::moving::Ended;
use super::scan::Scan;
use super::settings::{Settings, Versioning};
use super::versions::Key;
use super::{Partitions, lifecycle, rows};
use crate::error::{Error, Result};

/// Rows that are deleted at once.
const SWEPT_ROWS: usize = 256;

/// A bucket as it is stored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BucketRow {
    pub id: u32,
    pub partition: u32,
    pub created_ms: u64,
}

/// The next bucket's id.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Counter(pub u32);

/// A bucket.
#[derive(Clone, Debug)]
pub struct Bucket {
    pub id: BucketId,
    pub name: Arc<str>,
    pub created_ms: u64,
    /// The partition that it lies in.
    pub store: Arc<Store>,
    settings: Arc<RwLock<Arc<Settings>>>,
    partition: u32,
    /// Whether it is there. Held by whoever changes anything in it while the change is carried out;
    /// alone by whoever deletes or moves it.
    presence: Arc<tokio::sync::RwLock<Presence>>,
    /// Held by whoever has found it in this partition.
    found: Arc<()>,
}

/// Whether a bucket is where it was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    There,
    Deleted,
    /// It lies in another partition now.
    Moved,
    /// It lies here, or in another partition, or is deleted; the next start finds out.
    Unsettled,
}

/// Keeps a bucket from being deleted or moved.
pub type Entered = OwnedRwLockReadGuard<Presence>;

impl Presence {
    fn check(self) -> Result<()> {
        match self {
            Presence::There => Ok(()),
            Presence::Deleted => Err(Error::NoSuchBucket),
            Presence::Moved => Err(Error::BucketMoved),
            Presence::Unsettled => Err(Error::BucketUnsettled),
        }
    }
}

impl Bucket {
    /// As they are now.
    ///
    /// # Panics
    ///
    /// Never: nobody panics who has them.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.read().expect("nobody panics here").clone()
    }

    /// A key in it.
    #[must_use]
    pub fn key<'a>(&'a self, name: &'a str) -> Key<'a> {
        Key { store: &self.store, bucket: self.id, name }
    }

    /// What becomes of what is overwritten; the same for as long as the bucket is entered.
    #[must_use]
    pub fn versioning(&self) -> Versioning {
        self.settings().versioning
    }

    /// To be held while something is changed in it.
    ///
    /// No thread of those that may block waits for this: whoever holds it, or is about to, may need one.
    pub async fn enter(&self) -> Result<Entered> {
        let entered = self.presence.clone().read_owned().await;
        entered.check()?;
        Ok(entered)
    }

    /// The number of its partition.
    #[must_use]
    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// Whether nobody else has what was found before it was moved or deleted.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        Arc::strong_count(&self.found) == 1
    }
}

/// All buckets.
#[derive(Debug)]
pub struct Catalogue {
    partitions: Partitions,
    by_name: RwLock<BTreeMap<Arc<str>, Bucket>>,
    /// Held by whoever creates, deletes or moves one.
    changing: Mutex<()>,
    /// Held while the settings of all are read, and their rules given to a store. Taken behind `changing`,
    /// never before it.
    keeping_rules: std::sync::Mutex<()>,
}

impl Catalogue {
    /// Reads all rows.
    pub fn open(partitions: &Partitions) -> Result<Self> {
        let mut by_name = BTreeMap::new();
        walk(partitions.first(), keys::BUCKETS, |found| {
            let name = std::str::from_utf8(&found[keys::BUCKETS.len()..]);
            let name: Arc<str> =
                name.map_err(|_| Error::damaged("a bucket's name is no text"))?.into();
            let Some(row) = partitions.first().get(&found)? else { return Ok(()) };
            let row: BucketRow = rows::decode(&row)?;
            let Some(store) = partitions.get(row.partition) else {
                let number = row.partition;
                let what = format!("bucket {name} lies in partition {number}, which is not there");
                return Err(Error::damaged(what));
            };
            let settings = match partitions.first().get(keys::settings(BucketId(row.id)))? {
                Some(row) => Settings::decode(&row)?,
                None => Settings::default(),
            };
            by_name.insert(name.clone(), bucket(name, &row, settings, store));
            Ok(())
        })?;
        Ok(Catalogue {
            partitions: partitions.clone(),
            by_name: RwLock::new(by_name),
            changing: Mutex::default(),
            keeping_rules: std::sync::Mutex::default(),
        })
    }

    pub fn get(&self, name: &str) -> Result<Bucket> {
        self.lock_names().get(name).cloned().ok_or(Error::NoSuchBucket)
    }

    /// All, by name.
    #[must_use]
    pub fn all(&self) -> Vec<Bucket> {
        self.lock_names().values().cloned().collect()
    }

    /// All that are still there when their turn comes: whoever moves a bucket waits for those who have
    /// it.
    pub fn one_by_one(&self) -> impl Iterator<Item = Bucket> {
        let names: Vec<_> = self.lock_names().keys().cloned().collect();
        names.into_iter().filter_map(|name| self.get(&name).ok())
    }

    #[must_use]
    pub fn partitions(&self) -> &Partitions {
        &self.partitions
    }

    /// Creates a bucket in the partition that has the fewest; durable when this returns.
    pub async fn create(self: &Arc<Self>, name: &str) -> Result<Bucket> {
        self.create_with(name, Settings::default()).await
    }

    /// The same with settings that are not the default.
    pub async fn create_with(self: &Arc<Self>, name: &str, settings: Settings) -> Result<Bucket> {
        let _changing = self.changing.lock().await;
        if self.lock_names().contains_key(name) {
            return Err(Error::BucketExists);
        }
        let (catalogue, name) = (self.clone(), Arc::<str>::from(name));
        super::blocking(move || catalogue.put(name, settings)).await
    }

    fn put(&self, name: Arc<str>, settings: Settings) -> Result<Bucket> {
        let first = self.partitions.first();
        let next = match first.get(keys::NEXT_BUCKET)? {
            Some(row) => rows::decode::<Counter>(&row)?.0,
            None => 1,
        };
        let partition = self.emptiest();
        let row = BucketRow { id: next, partition, created_ms: now_ms() };
        let after =
            next.checked_add(1).ok_or_else(|| Error::damaged("all buckets' ids are used up"))?;
        let once = PutOptions { condition: Condition::IfAbsent, ..PutOptions::default() };
        let mut batch = Batch::new();
        batch.put_with(keys::bucket(&name), rows::encode(&row), &once);
        batch.put(keys::NEXT_BUCKET, rows::encode(&Counter(after)));
        if settings != Settings::default() {
            batch.put(keys::settings(BucketId(row.id)), settings.encode());
        }
        first.write(batch)?;
        let store = self.partitions.get(partition).expect("it was chosen from them");
        let bucket = bucket(name.clone(), &row, settings, store);
        self.by_name.write().expect("nobody panics here").insert(name, bucket.clone());
        Ok(bucket)
    }

    fn emptiest(&self) -> u32 {
        let mut counts: HashMap<u32, usize> = HashMap::new();
        for bucket in self.lock_names().values() {
            *counts.entry(bucket.partition).or_default() += 1;
        }
        let numbers = 0..u32::try_from(self.partitions.all().len()).unwrap_or(u32::MAX);
        numbers.min_by_key(|number| counts.get(number).copied().unwrap_or(0)).unwrap_or(0)
    }

    /// Deletes a bucket that is empty. Its unfinished uploads go with it.
    pub async fn delete(self: &Arc<Self>, name: &str) -> Result<()> {
        let bucket = self.get(name)?;
        // Whoever is putting something is done, and whoever comes later finds the bucket gone.
        let mut presence = bucket.presence.clone().write_owned().await;
        presence.check()?;
        let _changing = self.changing.lock().await;
        let catalogue = self.clone();
        let gone = bucket.clone();
        super::blocking(move || {
            for prefix in [keys::objects(gone.id), keys::all_versions(gone.id)] {
                if Scan::new(&gone.store, prefix).peek()?.is_some() {
                    return Err(Error::BucketNotEmpty);
                }
            }
            let mut batch = Batch::new();
            batch.delete(keys::bucket(&gone.name)).delete(keys::settings(gone.id));
            if let Err(error) = catalogue.partitions.first().write(batch) {
                return Err(unsettle(&mut presence, &gone, &error));
            }
            *presence = Presence::Deleted;
            catalogue.by_name.write().expect("nobody panics here").remove(&gone.name);
            Ok(())
        })
        .await?;
        let catalogue = self.clone();
        super::blocking(move || catalogue.clear(bucket.id, bucket.partition)).await
    }

    /// Changes a bucket's settings, while nothing else is changed in it; durable when this returns.
    pub async fn change_settings(
        self: &Arc<Self>,
        bucket: &Bucket,
        change: impl FnOnce(&mut Settings) -> Result<()>,
    ) -> Result<()> {
        let presence = bucket.presence.clone().write_owned().await;
        presence.check()?;
        let mut settings = Settings::clone(&bucket.settings());
        change(&mut settings)?;
        let row = settings.encode();
        // What does not come back would keep the server from starting.
        if Settings::decode(&row).is_err() {
            return Err(
                s3s::s3_error!(InvalidRequest, "The bucket's configuration is too long").into()
            );
        }
        let (catalogue, bucket) = (self.clone(), bucket.clone());
        super::blocking(move || {
            catalogue.partitions.first().put(keys::settings(bucket.id), row)?;
            *bucket.settings.write().expect("nobody panics here") = Arc::new(settings);
            drop(presence);
            catalogue.keep_rules(bucket.partition)
        })
        .await
    }

    /// Has a bucket lie in another partition from now on. `last` makes what is in both the same, and
    /// durable, while nobody changes anything in the bucket. Where it fails with
    /// [`BucketUnsettled`](Error::BucketUnsettled), both have to stay as they are. Blocks.
    pub fn switch(
        &self,
        bucket: &Bucket,
        to: u32,
        last: impl FnOnce() -> Result<Ended>,
    ) -> Result<Ended> {
        let store = self.partitions.get(to).expect("it was looked up");
        let mut presence = bucket.presence.blocking_write();
        presence.check()?;
        let ended = last()?;
        if ended != Ended::Whole {
            return Ok(ended);
        }
        let _changing = self.changing.blocking_lock();
        // Until the bucket is seen there: whoever keeps the rules of those that are would take its away.
        let _keeping = self.lock_rules();
        // Before the bucket is seen there: what has expired here is to stay so.
        add_rules(store, bucket)?;
        let row = BucketRow { id: bucket.id.0, partition: to, created_ms: bucket.created_ms };
        if let Err(error) =
            self.partitions.first().put(keys::bucket(&bucket.name), rows::encode(&row))
        {
            return Err(unsettle(&mut presence, bucket, &error));
        }
        let moved = Bucket {
            store: store.clone(),
            partition: to,
            presence: Arc::new(tokio::sync::RwLock::new(Presence::There)),
            found: Arc::default(),
            ..bucket.clone()
        };
        self.by_name.write().expect("nobody panics here").insert(bucket.name.clone(), moved);
        *presence = Presence::Moved;
        Ok(Ended::Whole)
    }

    /// Deletes what a partition has of a bucket that does not lie in it, and forgets its rules.
    pub fn clear(&self, bucket: BucketId, in_partition: u32) -> Result<()> {
        let store = self.partitions.get(in_partition).expect("it was looked up");
        if self.ids_in(in_partition).contains(&bucket) {
            return Err(Error::damaged("the copy of a bucket is what it is"));
        }
        self.keep_rules(in_partition)?;
        sweep_bucket(store, bucket)
    }

    /// Has a partition's store go by the rules of its buckets.
    pub fn keep_rules(&self, partition: u32) -> Result<()> {
        let Some(store) = self.partitions.get(partition) else { return Ok(()) };
        let _keeping = self.lock_rules();
        let buckets = self.all().into_iter().filter(|bucket| bucket.partition == partition);
        let rules: Vec<_> = buckets
            .flat_map(|bucket| lifecycle::retention(bucket.id, &bucket.settings()))
            .collect();
        if store.retention() != rules {
            store.set_retention(&rules)?;
        }
        Ok(())
    }

    /// The buckets of a partition.
    #[must_use]
    pub fn ids_in(&self, partition: u32) -> HashSet<BucketId> {
        let lies_there = |bucket: &&Bucket| bucket.partition == partition;
        self.lock_names().values().filter(lies_there).map(|bucket| bucket.id).collect()
    }

    fn lock_rules(&self) -> std::sync::MutexGuard<'_, ()> {
        self.keeping_rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_names(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<Arc<str>, Bucket>> {
        self.by_name.read().expect("nobody panics here")
    }
}

fn bucket(name: Arc<str>, row: &BucketRow, settings: Settings, store: &Arc<Store>) -> Bucket {
    Bucket {
        settings: Arc::new(RwLock::new(Arc::new(settings))),
        id: BucketId(row.id),
        name,
        created_ms: row.created_ms,
        store: store.clone(),
        partition: row.partition,
        presence: Arc::new(tokio::sync::RwLock::new(Presence::There)),
        found: Arc::default(),
    }
}

/// Has a store go by the rules of a bucket as well that is about to lie there.
fn add_rules(store: &Store, bucket: &Bucket) -> Result<()> {
    let mut rules = store.retention();
    for rule in lifecycle::retention(bucket.id, &bucket.settings()) {
        if !rules.contains(&rule) {
            rules.push(rule);
        }
    }
    Ok(store.set_retention(&rules)?)
}

/// Has nothing more written to a bucket of which a write to the catalogue failed: it may turn up at the
/// next start all the same, and what was acknowledged since would be swept.
fn unsettle(presence: &mut Presence, bucket: &Bucket, error: &kogia::Error) -> Error {
    *presence = Presence::Unsettled;
    tracing::error!(%error, bucket = &*bucket.name, "what has become of a bucket is not known");
    Error::BucketUnsettled
}

/// Deletes what is left of a bucket that is empty: uploads, their parts, tags, what has expired.
fn sweep_bucket(store: &Store, bucket: BucketId) -> Result<()> {
    super::uploads::discard_all(store, &keys::bucket_parts(bucket), &HashSet::new())?;
    // Objects and versions too: such as have expired were hidden when it was looked whether there are any.
    for kind in keys::KINDS {
        let mut batch = Batch::new();
        let mut rows = Scan::new(store, keys::of_bucket(kind, bucket)).peekable();
        while let Some(row) = rows.next() {
            batch.delete(row?.0);
            if batch.len() == SWEPT_ROWS || rows.peek().is_none() {
                store.write(std::mem::take(&mut batch))?;
            }
        }
    }
    Ok(())
}

/// Deletes what a crash has left of buckets that were deleted, before anybody uses the store.
pub fn sweep_start(store: &Store, there: &HashSet<BucketId>) -> Result<()> {
    for kind in keys::KINDS {
        let prefix = kind.to_vec();
        let mut options =
            ListOptions { prefix, delimiter: Some(b"/".to_vec()), ..ListOptions::default() };
        loop {
            let page = store.list(&options)?;
            for item in page.items {
                let Item::Prefix(rows) = item else { continue };
                let bucket = keys::bucket_of(&rows).filter(|bucket| !there.contains(bucket));
                bucket.map_or(Ok(()), |gone| sweep_bucket(store, gone))?;
            }
            let Some(next) = page.next else { break };
            options.start_after = Some(next);
        }
    }
    Ok(())
}

/// Calls with each key below a prefix, in bounded memory; it may delete what it is given.
pub(super) fn walk(
    store: &Store,
    prefix: &[u8],
    mut on_key: impl FnMut(Vec<u8>) -> Result<()>,
) -> Result<()> {
    Scan::new(store, prefix.to_vec()).try_for_each(|row| on_key(row?.0))
}

/// Milliseconds since 1970.
#[must_use]
pub fn now_ms() -> u64 {
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_deleted_buckets_is_swept_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let (there, gone) = (BucketId(1), BucketId(2));
        for bucket in [there, gone] {
            let object = keys::object(bucket, "a/b");
            store.put(&object, "x").unwrap();
            store.put(keys::tags(&object), "x").unwrap();
            store.put(keys::settings(bucket), "x").unwrap();
        }
        store.put(keys::NEXT_BUCKET, "x").unwrap();
        sweep_start(&store, &HashSet::from([there])).unwrap();
        let mut left = Vec::new();
        walk(&store, b"", |row| {
            left.push(String::from_utf8(row).unwrap());
            Ok(())
        })
        .unwrap();
        let expected =
            ["c/00000001", "c/00000002", "o/00000001/a/b", "s/next-bucket", "t/00000001/a/b"];
        assert_eq!(left, expected);
    }
}
