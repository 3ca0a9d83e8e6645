//! Versions of objects: what of them is durable, and in which order.
//!
//! Where a bucket keeps versions, an object's row has no bytes. It names the version that is current,
//! and repeats its attributes, so that listings and `HeadObject` need no other row; where the key was
//! deleted there is none. The bytes are in the version's row. An object that was there before the
//! bucket kept versions, or while it kept none, has its bytes in its own row, and is moved to a
//! version's, which copies them once, when something takes its place.
//!
//! What is put whole is put in one batch with the object's row. What is streamed is not: before its
//! version's row is there, a row says that it is pending, and goes in the batch that puts the object's.
//! So a crash in between leaves a version that nobody was told of, and that [`sweep_start`] removes.
//!
//! Whoever changes the rows of a key holds its lock. Which of two versions is newer is decided when
//! they are begun; one that is streamed may be done after a newer one, and is not current then.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use kogia::{Batch, Condition, Info, Item, ListOptions, PutOptions, Store};

use super::attributes::{Version, VersionKind};
use super::buckets::{now_ms, walk};
use super::keys::{self, BucketId, VersionId};
use super::{Attributes, streams, tags};
use crate::error::Result;

/// What is moved through memory whole.
const SMALL_BYTES: u64 = 256 << 10;
/// Locks of keys. Two keys may share one: then one waits a little longer.
const LOCKS: usize = 256;

static KEYS: [Mutex<()>; LOCKS] = [const { Mutex::new(()) }; LOCKS];
/// The newest version that was begun.
static NEWEST: AtomicU64 = AtomicU64::new(0);

/// How a version is called that has no name.
pub const NULL: &str = "null";

/// An object that was found, and where its bytes are.
#[derive(Clone, Debug)]
pub struct Place {
    /// Length and time are the object's, the rest is its row's.
    pub info: Info,
    pub attributes: Attributes,
    /// The row that has the bytes.
    pub row: Vec<u8>,
}

/// What there is under a key, or one of its versions.
#[derive(Clone, Debug)]
pub enum Sought {
    Object(Box<Place>),
    /// It was deleted, by this version.
    Deleted(String),
    Nothing,
}

/// Which version of an object is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    Current,
    Null,
    Id(VersionId),
}

impl Which {
    /// `None` where no version is called so.
    #[must_use]
    pub fn parse(text: Option<&str>) -> Option<Self> {
        match text {
            None => Some(Which::Current),
            Some(NULL) => Some(Which::Null),
            Some(text) => VersionId::parse(text).map(Which::Id),
        }
    }
}

impl Place {
    /// An object by its row, or a version by its own.
    pub fn of(bucket: BucketId, key: &str, mut info: Info) -> Result<Self> {
        let attributes = Attributes::decode(&info.attributes)?;
        let row = match &attributes.version {
            Some(version) => {
                (info.len, info.created_ms) = (version.len, version.created_ms);
                keys::version(bucket, key, version.id)
            }
            None => keys::object(bucket, key),
        };
        Ok(Place { info, attributes, row })
    }

    /// What no other object in the same row has.
    #[must_use]
    pub fn mark(&self) -> u64 {
        match &self.attributes.version {
            Some(version) => version.id.0,
            None => self.info.seq.0,
        }
    }

    /// How its version is called.
    #[must_use]
    pub fn version(&self) -> String {
        name(self.attributes.version.as_ref())
    }
}

/// How a version is called; what has none is the one without a name.
#[must_use]
pub fn name(version: Option<&Version>) -> String {
    match version {
        Some(version) if !version.kind.is_null() => version.id.to_string(),
        _ => NULL.to_owned(),
    }
}

/// Finds an object, or a version of one.
pub fn find(store: &Store, bucket: BucketId, key: &str, which: Which) -> Result<Sought> {
    let found = match which {
        Which::Id(id) => store.head(keys::version(bucket, key, id))?,
        Which::Current | Which::Null => match store.head(keys::object(bucket, key))? {
            Some(info) => {
                let place = Place::of(bucket, key, info)?;
                if which == Which::Current || place.attributes.version.is_none() {
                    return Ok(Sought::Object(Box::new(place)));
                }
                null(store, bucket, key)?.map(|(_, info)| info)
            }
            None if which == Which::Current => newest(store, bucket, key)?,
            None => null(store, bucket, key)?.map(|(_, info)| info),
        },
    };
    let Some(info) = found else { return Ok(Sought::Nothing) };
    let place = Place::of(bucket, key, info)?;
    match &place.attributes.version {
        Some(version) if version.kind.is_null() && matches!(which, Which::Id(_)) => {
            Ok(Sought::Nothing)
        }
        Some(version) if version.kind.is_marker() => Ok(Sought::Deleted(place.version())),
        // Only a deletion is current without an object's row.
        _ if which == Which::Current => Ok(Sought::Nothing),
        _ => Ok(Sought::Object(Box::new(place))),
    }
}

fn newest(store: &Store, bucket: BucketId, key: &str) -> Result<Option<Info>> {
    let prefix = keys::versions(bucket, key);
    let page = store.list(&ListOptions { prefix, max_keys: 1, ..ListOptions::default() })?;
    Ok(page.items.into_iter().find_map(|item| match item {
        Item::Object { info, .. } => Some(info),
        Item::Prefix(_) => None,
    }))
}

/// The version without a name, where it is not the object's own row.
pub fn null(store: &Store, bucket: BucketId, key: &str) -> Result<Option<(VersionId, Info)>> {
    let mut options = ListOptions { prefix: keys::versions(bucket, key), ..ListOptions::default() };
    loop {
        let page = store.list(&options)?;
        for item in page.items {
            let Item::Object { info, .. } = item else { continue };
            match Attributes::decode(&info.attributes)?.version {
                Some(version) if version.kind.is_null() => return Ok(Some((version.id, info))),
                _ => {}
            }
        }
        options.start_after = page.next;
        if options.start_after.is_none() {
            return Ok(None);
        }
    }
}

/// Begins a version: one that is newer than all of the key.
pub fn begin(store: &Store, bucket: BucketId, key: &str) -> Result<VersionId> {
    check_key(key)?;
    let before = newest_id(store, bucket, key)?.max(plain_id(store, bucket, key)?);
    let before = before.map_or(0, |id| id.0);
    let now = now_ms().saturating_mul(1000);
    let next = |last: u64| Some(now.max(last.max(before).saturating_add(1)));
    let last = NEWEST
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
        .expect("there is always a next one");
    Ok(VersionId(next(last).expect("as before")))
}

fn newest_id(store: &Store, bucket: BucketId, key: &str) -> Result<Option<VersionId>> {
    let Some(info) = newest(store, bucket, key)? else { return Ok(None) };
    Ok(Attributes::decode(&info.attributes)?.version.map(|version| version.id))
}

/// What an object in its own row would be called by its age.
fn plain_id(store: &Store, bucket: BucketId, key: &str) -> Result<Option<VersionId>> {
    let Some(info) = store.head(keys::object(bucket, key))? else { return Ok(None) };
    let place = Place::of(bucket, key, info)?;
    let is_plain = place.attributes.version.is_none();
    Ok(is_plain.then(|| VersionId(place.info.created_ms.saturating_mul(1000))))
}

/// Refuses a key that no version can have.
pub fn check_key(key: &str) -> Result<()> {
    if key.contains('\0') {
        let what = "A key in a bucket with versions can't have a zero byte";
        return Err(s3s::S3Error::with_message(s3s::S3ErrorCode::InvalidArgument, what).into());
    }
    Ok(())
}

/// To be held by whoever changes the rows of a key in a bucket with versions.
pub fn lock(bucket: BucketId, key: &str) -> MutexGuard<'static, ()> {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let number = usize::try_from(hasher.hash_one((bucket, key)) % LOCKS as u64).unwrap_or(0);
    // Who panicked has left the rows as a crash would.
    KEYS[number].lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A version on its way into the store: what is known of it.
pub struct Adding<'a> {
    pub store: &'a Store,
    pub bucket: BucketId,
    pub key: &'a str,
    pub id: VersionId,
    /// What has to hold of the current object.
    pub condition: Condition,
}

impl Adding<'_> {
    /// Adds a version that is put whole. Gives its attributes.
    pub fn whole(&self, body: &[u8], attributes: Attributes) -> Result<Attributes> {
        let _alone = lock(self.bucket, self.key);
        let current = self.check()?;
        let attributes = self.described(attributes, body.len() as u64);
        let mut batch = Batch::new();
        let options = options_of(&attributes);
        self.displace(&mut batch, current)?;
        batch.put_with(keys::version(self.bucket, self.key, self.id), body, &options);
        self.make_current(&mut batch, &attributes)?;
        self.store.write(batch)?;
        Ok(attributes)
    }

    /// Adds a version whose row `put` puts, with the options that it is given. Gives its attributes.
    pub fn streamed(
        &self,
        len: u64,
        attributes: Attributes,
        put: impl FnOnce(&[u8], PutOptions) -> Result<()>,
    ) -> Result<Attributes> {
        let _alone = lock(self.bucket, self.key);
        let current = self.check()?;
        let attributes = self.described(attributes, len);
        let pending = keys::pending(self.bucket, self.key, self.id);
        let mut batch = Batch::new();
        // First, since it may need room: `put` may use up parts, which are nowhere else.
        let displaced = self.displace(&mut batch, current)?;
        self.store.put(&pending, b"")?;
        let row = keys::version(self.bucket, self.key, self.id);
        let added = put(&row, options_of(&attributes)).and_then(|()| {
            batch.delete(&pending);
            self.make_current(&mut batch, &attributes)?;
            Ok(self.store.write(batch)?)
        });
        let Err(error) = added else { return Ok(attributes) };
        // Whatever stays is removed at the next start, or added: see there.
        let keeps = is_of_parts(&attributes) && self.store.exists(&row).unwrap_or(true);
        let ours = (!keeps).then_some(self.id);
        for id in displaced.into_iter().chain(ours) {
            if let Err(error) = take_back(self.store, self.bucket, self.key, id) {
                tracing::warn!(%error, "a version that was not added stays until the next start");
            }
        }
        Err(error)
    }

    /// Makes room in the object's row: what has its bytes there becomes a version, in the batch or, where
    /// that is given back, pending until the batch is written.
    fn displace(&self, batch: &mut Batch, current: Option<Info>) -> Result<Option<VersionId>> {
        match current {
            Some(info) => displace(self.store, batch, self.bucket, self.key, info, self.id),
            None => Ok(None),
        }
    }

    /// The row of the current object, of which the condition holds.
    fn check(&self) -> Result<Option<Info>> {
        let current = self.store.head(keys::object(self.bucket, self.key))?;
        let holds = match (self.condition, &current) {
            (Condition::Always, _) => true,
            (Condition::IfAbsent, current) => current.is_none(),
            (Condition::IfPresent, current) => current.is_some(),
            (Condition::IfSeq(seq), Some(info)) => info.seq == seq,
            (Condition::IfSeq(_), None) => false,
        };
        if holds { Ok(current) } else { Err(crate::conditions::precondition_failed().into()) }
    }

    fn described(&self, attributes: Attributes, len: u64) -> Attributes {
        let kind = VersionKind::Object;
        let version = Version { id: self.id, kind, len, created_ms: now_ms() };
        Attributes { version: Some(version), ..attributes }
    }

    /// Has the object's row name this version, unless a newer one is there.
    fn make_current(&self, batch: &mut Batch, attributes: &Attributes) -> Result<()> {
        if is_newest(self.store, self.bucket, self.key, self.id)? {
            batch.put_with(keys::object(self.bucket, self.key), b"", &options_of(attributes));
        }
        Ok(())
    }
}

fn options_of(attributes: &Attributes) -> PutOptions {
    PutOptions { attributes: attributes.encode(), ..PutOptions::default() }
}

fn is_newest(store: &Store, bucket: BucketId, key: &str, id: VersionId) -> Result<bool> {
    let Some(info) = newest(store, bucket, key)? else { return Ok(true) };
    Ok(Attributes::decode(&info.attributes)?.version.is_none_or(|version| version.id <= id))
}

/// Makes room in the object's row: what has its bytes there becomes a version, older than `below`. Gives
/// it where it is pending until the batch is written.
fn displace(
    store: &Store,
    batch: &mut Batch,
    bucket: BucketId,
    key: &str,
    info: Info,
    below: VersionId,
) -> Result<Option<VersionId>> {
    let place = Place::of(bucket, key, info)?;
    if place.attributes.version.is_some() {
        return Ok(None);
    }
    check_key(key)?;
    if let Some((old, _)) = null(store, bucket, key)? {
        // What was left of an earlier attempt.
        remove_rows(store, batch, &keys::version(bucket, key, old))?;
    }
    // It came behind all versions that are there.
    let by_age = VersionId(place.info.created_ms.saturating_mul(1000));
    let behind = newest_id(store, bucket, key)?.map(|id| VersionId(id.0.saturating_add(1)));
    let id = behind.map_or(by_age, |behind| behind.max(by_age));
    if id >= below {
        return Err(s3s::s3_error!(
            OperationAborted,
            "A newer object was put while this request was under way. Try again."
        )
        .into());
    }
    let version = Version {
        id,
        kind: VersionKind::Null,
        len: place.info.len,
        created_ms: place.info.created_ms,
    };
    let attributes = Attributes {
        tags: tags::of(store, &place)?,
        version: Some(version),
        ..place.attributes.clone()
    };
    let row = keys::version(bucket, key, id);
    if place.info.len <= SMALL_BYTES {
        let Some(bytes) = store.get(&place.row)? else { return Ok(None) };
        batch.put_with(row, bytes, &options_of(&attributes));
    } else {
        let Some(mut bytes) = store.reader(&place.row)? else { return Ok(None) };
        let pending = keys::pending(bucket, key, id);
        store.put(&pending, b"")?;
        let mut stream = store.writer(&row)?;
        std::io::copy(&mut bytes, &mut stream).map_err(streams::of_io)?;
        stream.commit_with(options_of(&attributes))?;
        batch.delete(pending);
    }
    if tags::has_row(store, &place.row)? {
        batch.delete(keys::tags(&place.row));
    }
    Ok((place.info.len > SMALL_BYTES).then_some(id))
}

/// Has a version's row go, and its tags.
fn remove_rows(store: &Store, batch: &mut Batch, row: &[u8]) -> Result<()> {
    if store.exists(row)? {
        batch.delete(row);
    }
    if tags::has_row(store, row)? {
        batch.delete(keys::tags(row));
    }
    Ok(())
}

fn take_back(store: &Store, bucket: BucketId, key: &str, id: VersionId) -> Result<()> {
    let mut batch = Batch::new();
    remove_rows(store, &mut batch, &keys::version(bucket, key, id))?;
    batch.delete(keys::pending(bucket, key, id));
    store.write(batch)?;
    Ok(())
}

/// Deletes an object, and leaves a version that says so. Gives how that is called.
///
/// With `named` it is a version of its own, and all others stay; else it takes the place of the one
/// without a name.
pub fn delete(
    store: &Store,
    bucket: BucketId,
    key: &str,
    condition: Condition,
    named: bool,
) -> Result<String> {
    let _alone = lock(bucket, key);
    // Newer than all that is there.
    let id = begin(store, bucket, key)?;
    let current = Adding { store, bucket, key, id, condition }.check()?;
    let mut batch = Batch::new();
    if let Some(info) = current {
        if named {
            displace(store, &mut batch, bucket, key, info, id)?;
        }
        let row = keys::object(bucket, key);
        if tags::has_row(store, &row)? {
            batch.delete(keys::tags(&row));
        }
        batch.delete(row);
    }
    if !named && let Some((old, _)) = null(store, bucket, key)? {
        remove_rows(store, &mut batch, &keys::version(bucket, key, old))?;
    }
    let kind = if named { VersionKind::Marker } else { VersionKind::NullMarker };
    let version = Version { id, kind, len: 0, created_ms: now_ms() };
    let marker = Attributes { version: Some(version), ..Attributes::of_nothing() };
    batch.put_with(keys::version(bucket, key, id), b"", &options_of(&marker));
    store.write(batch)?;
    Ok(name(marker.version.as_ref()))
}

/// Forgets the version without a name, whose place an object has taken that is in its own row. The
/// caller holds the key's lock.
pub fn forget_null(store: &Store, bucket: BucketId, key: &str) -> Result<()> {
    if let Some((old, _)) = null(store, bucket, key)? {
        let mut batch = Batch::new();
        remove_rows(store, &mut batch, &keys::version(bucket, key, old))?;
        store.write(batch)?;
    }
    Ok(())
}

/// Deletes one version for good. Says whether it was a deletion itself; `None` where it was not there.
pub fn delete_version(
    store: &Store,
    bucket: BucketId,
    key: &str,
    which: Which,
) -> Result<Option<bool>> {
    let _alone = lock(bucket, key);
    delete_locked(store, bucket, key, which)
}

/// What hides a version that is to be deleted by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hidden {
    /// Something newer.
    ByNewer,
    /// Nothing, and it hides nothing: it is a deletion, and the key's only version.
    Nothing,
}

/// Deletes a version for good, if it still is what it was found to be; whether it did.
pub fn delete_if(
    store: &Store,
    bucket: BucketId,
    key: &str,
    id: VersionId,
    state: Hidden,
) -> Result<bool> {
    let _alone = lock(bucket, key);
    let object = store.head(keys::object(bucket, key))?;
    let object = object.map(|info| Place::of(bucket, key, info)).transpose()?;
    let newest = newest_id(store, bucket, key)?;
    let holds = match (state, &object) {
        (Hidden::ByNewer, Some(place)) => {
            place.attributes.version.as_ref().is_none_or(|named| named.id != id)
        }
        (Hidden::ByNewer, None) => newest > Some(id),
        (Hidden::Nothing, Some(_)) => false,
        (Hidden::Nothing, None) => {
            newest == Some(id) && next_newest(store, bucket, key, newest)?.is_none()
        }
    };
    Ok(holds && delete_locked(store, bucket, key, Which::Id(id))?.is_some())
}

fn delete_locked(store: &Store, bucket: BucketId, key: &str, which: Which) -> Result<Option<bool>> {
    let object = keys::object(bucket, key);
    let current = store.head(&object)?.map(|info| Place::of(bucket, key, info)).transpose()?;
    let is_plain = current.as_ref().is_some_and(|place| place.attributes.version.is_none());
    // What a crash has left of one whose place was taken.
    let stale = if is_plain { null(store, bucket, key)?.map(|(id, _)| id) } else { None };
    let (row, version) = match which {
        Which::Null if is_plain => (object.clone(), None),
        Which::Current => return Ok(None),
        Which::Null => match null(store, bucket, key)? {
            Some((id, info)) => {
                (keys::version(bucket, key, id), Attributes::decode(&info.attributes)?.version)
            }
            None => return Ok(None),
        },
        Which::Id(id) => {
            let row = keys::version(bucket, key, id);
            match store.head(&row)? {
                Some(info) => (row, Attributes::decode(&info.attributes)?.version),
                None => return Ok(None),
            }
        }
    };
    let was_current = match (&current, &version) {
        (_, None) => true,
        (Some(place), Some(version)) => {
            place.attributes.version.as_ref().is_some_and(|named| named.id == version.id)
        }
        (None, Some(version)) => is_newest(store, bucket, key, version.id)?,
    };
    let mut batch = Batch::new();
    if tags::has_row(store, &row)? {
        batch.delete(keys::tags(&row));
    }
    if row != object {
        batch.delete(row);
    } else if let Some(stale) = stale {
        remove_rows(store, &mut batch, &keys::version(bucket, key, stale))?;
    }
    if was_current {
        let gone = version.as_ref().map(|version| version.id).or(stale);
        let next = next_newest(store, bucket, key, gone)?;
        let is_object =
            |next: &Attributes| next.version.as_ref().is_some_and(|v| !v.kind.is_marker());
        match next.filter(is_object) {
            Some(next) => {
                batch.put_with(object, b"", &options_of(&next));
            }
            None if current.is_some() => {
                batch.delete(object);
            }
            None => {}
        }
    }
    store.write(batch)?;
    Ok(Some(version.is_some_and(|version| version.kind.is_marker())))
}

/// The newest version but for one.
fn next_newest(
    store: &Store,
    bucket: BucketId,
    key: &str,
    without: Option<VersionId>,
) -> Result<Option<Attributes>> {
    let prefix = keys::versions(bucket, key);
    let page = store.list(&ListOptions { prefix, max_keys: 2, ..ListOptions::default() })?;
    for item in page.items {
        let Item::Object { info, .. } = item else { continue };
        let attributes = Attributes::decode(&info.attributes)?;
        if attributes.version.as_ref().map(|version| version.id) != without {
            return Ok(Some(attributes));
        }
    }
    Ok(None)
}

/// Removes the versions that a crash has left half added, before anybody uses the store. What was made
/// of parts is there whole, and they are used up: it is added.
pub fn sweep_start(store: &Store, buckets: &HashSet<BucketId>) -> Result<()> {
    walk(store, keys::PENDING, |row| match (keys::bucket_of(&row), keys::parse_version(&row)) {
        (Some(bucket), Some((key, id))) if buckets.contains(&bucket) => {
            let found = store.head(keys::version(bucket, key, id))?;
            match found.map(|info| Attributes::decode(&info.attributes)).transpose()? {
                Some(attributes) if is_of_parts(&attributes) => {
                    add_again(store, bucket, key, id, &attributes)
                }
                _ => take_back(store, bucket, key, id),
            }
        }
        _ => Ok(store.delete(&row).map(drop)?),
    })
}

fn is_of_parts(attributes: &Attributes) -> bool {
    let is_object = |version: &Version| version.kind == VersionKind::Object;
    attributes.upload.is_some() && attributes.version.as_ref().is_some_and(is_object)
}

/// Does what was left to be done when a version's row was there.
fn add_again(
    store: &Store,
    bucket: BucketId,
    key: &str,
    id: VersionId,
    attributes: &Attributes,
) -> Result<()> {
    let current = store.head(keys::object(bucket, key))?;
    let current = current.map(|info| Place::of(bucket, key, info)).transpose()?;
    let mut batch = Batch::new();
    // An object in its own row stays there: as if this version had come before it.
    if current.is_none_or(|place| place.attributes.version.is_some()) {
        let adding = Adding { store, bucket, key, id, condition: Condition::Always };
        adding.make_current(&mut batch, attributes)?;
    }
    batch.delete(keys::pending(bucket, key, id));
    store.write(batch)?;
    Ok(())
}
