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

mod adding;
mod deleting;
mod lock;

use std::sync::atomic::{AtomicU64, Ordering};

use kogia::{Info, Item, ListOptions, Store};

use super::Attributes;
use super::attributes::Version;
use super::buckets::now_ms;
use super::keys::{self, BucketId, VersionId};
use super::scan::Scan;
use crate::error::Result;

pub use adding::{Adding, sweep_start};
pub use deleting::{Hidden, denied};
pub use lock::KeyLock;

/// The newest version that was begun.
static NEWEST: AtomicU64 = AtomicU64::new(0);

/// How a version is called that has no name.
pub const NULL: &str = "null";

/// A key of a bucket, in the store where its rows are.
#[derive(Clone, Copy)]
pub struct Key<'a> {
    pub store: &'a Store,
    pub bucket: BucketId,
    pub name: &'a str,
}

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

    /// The version that it is, unless it has its bytes in the object's own row.
    #[must_use]
    pub fn id(&self) -> Option<VersionId> {
        self.attributes.version.as_ref().map(|version| version.id)
    }

    /// Whether it has its bytes in the object's own row.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.attributes.version.is_none()
    }

    /// Whether it says that the object was deleted.
    #[must_use]
    pub fn is_marker(&self) -> bool {
        self.attributes.version.as_ref().is_some_and(|version| version.kind.is_marker())
    }

    /// Whether it is a version without a name, or says so of one, in a row of its own.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.attributes.version.as_ref().is_some_and(|version| version.kind.is_null())
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

impl<'a> Key<'a> {
    /// The object's row.
    #[must_use]
    pub fn row(&self) -> Vec<u8> {
        keys::object(self.bucket, self.name)
    }

    fn version_row(&self, id: VersionId) -> Vec<u8> {
        keys::version(self.bucket, self.name, id)
    }

    /// What the object's row has, or names.
    pub fn current(&self) -> Result<Option<Place>> {
        self.at(&self.row())
    }

    /// A version by its row.
    fn version(&self, id: VersionId) -> Result<Option<Place>> {
        self.at(&self.version_row(id))
    }

    fn at(&self, row: &[u8]) -> Result<Option<Place>> {
        self.store.head(row)?.map(|info| self.place(info)).transpose()
    }

    fn place(&self, info: Info) -> Result<Place> {
        Place::of(self.bucket, self.name, info)
    }

    /// Finds an object, or a version of one.
    pub fn find(&self, which: Which) -> Result<Sought> {
        let found = match which {
            Which::Id(id) => self.version(id)?.filter(|place| !place.is_null()),
            Which::Current => match self.current()? {
                // Only a deletion is current without an object's row.
                None => self.newest()?.filter(Place::is_marker),
                current => current,
            },
            Which::Null => match self.current()?.filter(Place::is_plain) {
                None => self.null()?,
                current => current,
            },
        };
        Ok(match found {
            None => Sought::Nothing,
            Some(place) if place.is_marker() => Sought::Deleted(place.version()),
            Some(place) => Sought::Object(Box::new(place)),
        })
    }

    /// The newest versions, so many at most, without an object that has its bytes in its own row.
    fn newest_of(&self, max_keys: usize) -> Result<impl Iterator<Item = Result<Place>>> {
        let prefix = keys::versions(self.bucket, self.name);
        let page = self.store.list(&ListOptions { prefix, max_keys, ..ListOptions::default() })?;
        Ok(page.items.into_iter().filter_map(|item| match item {
            Item::Object { info, .. } => Some(self.place(info)),
            Item::Prefix(_) => None,
        }))
    }

    fn newest(&self) -> Result<Option<Place>> {
        self.newest_of(1)?.next().transpose()
    }

    fn newest_id(&self) -> Result<Option<VersionId>> {
        Ok(self.newest()?.and_then(|place| place.id()))
    }

    /// The version without a name, where it is not the object's own row.
    pub fn null(&self) -> Result<Option<Place>> {
        for row in Scan::new(self.store, keys::versions(self.bucket, self.name)) {
            let place = self.place(row?.1)?;
            if place.is_null() {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    /// Begins a version: one that is newer than all of the key.
    pub fn begin(&self) -> Result<VersionId> {
        self.check()?;
        let plain = self.current()?.filter(Place::is_plain).map(|place| by_age(&place));
        let before = self.newest_id()?.max(plain).map_or(0, |id| id.0);
        let now = now_ms().saturating_mul(1000);
        let next = |last: u64| Some(now.max(last.max(before).saturating_add(1)));
        let last = NEWEST
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .expect("there is always a next one");
        Ok(VersionId(next(last).expect("as before")))
    }

    /// Refuses a key that no version can have.
    pub fn check(&self) -> Result<()> {
        if self.name.contains('\0') {
            let what = "A key in a bucket with versions can't have a zero byte";
            return Err(s3s::S3Error::with_message(s3s::S3ErrorCode::InvalidArgument, what).into());
        }
        Ok(())
    }

    /// To be held by whoever changes its rows.
    #[must_use]
    pub fn lock(&self) -> KeyLock {
        KeyLock::take(self.bucket, self.name)
    }
}

/// What an object in its own row would be called by its age.
fn by_age(place: &Place) -> VersionId {
    VersionId(place.info.created_ms.saturating_mul(1000))
}
