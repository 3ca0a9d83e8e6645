//! Apache's [`object_store`] on a store, for what is built on that crate: DataFusion, delta-rs, Lance
//! and the like. It knows the store's calls, and nothing of what lies below. Feature `object_store`.
//!
//! - A path is the key, byte by byte; a prefix is whole segments. Keys that are no paths (not UTF-8,
//!   `a//b`, `/a`, ...) are passed over by listings.
//! - The e-tag is the object's [`Seq`](crate::Seq): no two puts have the same. There are no versions.
//! - The time of last modification is when the object was put.
//! - What is acknowledged is as durable as the store's [`Durability`](crate::Durability) says; a part
//!   of an upload always is.
//! - Puts, updates under a condition, batches of deletes, the end of an upload, and renaming up to
//!   1 MiB are there whole or not at all.
//!
//! The store's calls block, and run on the threads that Tokio has for that; without a Tokio runtime
//! they run in the caller's. A call whose future is dropped may be carried out all the same.

mod attributes;
mod blocking;
mod copy;
mod delete;
mod error;
mod get;
mod list;
mod multipart;
mod object;
mod put;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

pub use attributes::Tags;

use crate::store::Store;
use blocking::blocking;
use multipart::{Held, Upload, Uploads};

/// A [`Store`] as an [`ObjectStore`]. Clones are the same one, and share their uploads.
///
/// | call | here |
/// | --- | --- |
/// | `put_opts` | all modes; an update needs the e-tag. Up to four times [`segment_bytes`](crate::Options::segment_bytes) is one append and one sync, which others share |
/// | `put_multipart_opts` | parts of any size, in any number at once; completing copies nothing; dropped, it leaves nothing |
/// | `get_opts` | all ranges and conditions, no versions; a stream of pieces of 1 MiB, which goes on reading the same bytes whatever is put meanwhile |
/// | `get_ranges` | ranges of one and the same object, which may overlap |
/// | `delete_stream` | what is ready, up to 1,000, in one batch; what is not there counts as deleted |
/// | `list`, `list_with_offset` | in the order of the paths, pages of 1,000, each of the moment when it is asked for |
/// | `list_with_delimiter` | a seek for each entry that it returns, whatever lies deeper |
/// | `copy_opts` | copies the bytes, in bounded memory |
/// | `rename_opts` | up to 1 MiB in one batch; longer objects are copied, then deleted |
///
/// Errors are `NotFound`, `AlreadyExists` (`Create`), `Precondition` (`Update`, `if_match`, ...),
/// `NotModified` and `NotSupported`; all others are `Generic`, with a [`kogia::Error`](crate::Error) as
/// the source where it is the store's, whose [`kind`](crate::Error::kind) tells what to do next.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use kogia::object_store::KogiaStore;
/// use object_store::path::Path;
/// use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode};
///
/// let store = KogiaStore::open(dir.path())?;
/// let commit = Path::from("table/_log/0001.json");
/// store.put_opts(&commit, "{}".into(), PutMode::Create.into()).await?;
/// let taken = store.put_opts(&commit, "{}".into(), PutMode::Create.into()).await;
/// assert!(matches!(taken, Err(Error::AlreadyExists { .. })));
///
/// let table = store.list_with_delimiter(Some(&Path::from("table"))).await?;
/// assert_eq!(table.common_prefixes, [Path::from("table/_log")]);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct KogiaStore {
    store: Arc<Store>,
    uploads: Arc<Uploads>,
}

impl KogiaStore {
    /// Opens the store at `home` as [`Store::open`] does. Blocks.
    pub fn open(home: impl AsRef<std::path::Path>) -> crate::Result<Self> {
        Ok(Self::new(Arc::new(Store::open(home)?)))
    }

    /// A store that was opened with options of its own, or is used directly as well.
    ///
    /// It is closed when the last of all that have it is dropped: clones, uploads, and results that
    /// are still read. That blocks; `Arc::into_inner` and [`Store::close`] say whether it went well.
    #[must_use]
    pub fn new(store: Arc<Store>) -> Self {
        KogiaStore { store, uploads: Arc::default() }
    }

    /// The store itself.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }
}

impl std::fmt::Display for KogiaStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kogia({})", self.store.home().display())
    }
}

#[async_trait]
impl ObjectStore for KogiaStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let (store, location) = (self.store.clone(), location.clone());
        blocking(move || put::put(&store, &location, &payload, &options)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = Upload::new(self.store.clone(), location, &options)?;
        Ok(Box::new(Held(Arc::new(upload))))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        get::get(self.store.clone(), location.clone(), options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        get::get_ranges(self.store.clone(), location.clone(), ranges.to_vec()).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        delete::delete_stream(self.store.clone(), locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        list::list(self.store.clone(), prefix, None)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        list::list(self.store.clone(), prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        list::list_with_delimiter(self.store.clone(), prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let (store, from, to) = (self.store.clone(), from.clone(), to.clone());
        blocking(move || copy::copy(&store, &from, &to, options.mode)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let (store, from, to) = (self.store.clone(), from.clone(), to.clone());
        blocking(move || copy::rename(&store, &from, &to, options.target_mode)).await
    }
}

/// Uploads by name. They are known until the store is closed, and to clones of the one they were begun
/// with; then their parts are freed.
#[async_trait]
impl MultipartStore for KogiaStore {
    async fn create_multipart(&self, location: &Path) -> Result<MultipartId> {
        self.create_multipart_opts(location, PutMultipartOptions::default()).await
    }

    async fn create_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<MultipartId> {
        let upload = Upload::new(self.store.clone(), location, &options)?;
        let id = self.store.unused_seq().0.to_string();
        self.uploads.begin(id.clone(), upload);
        Ok(id)
    }

    async fn put_part(
        &self,
        location: &Path,
        id: &MultipartId,
        part_idx: usize,
        data: PutPayload,
    ) -> Result<PartId> {
        self.uploads.put_part(location, id, part_idx, data).await
    }

    async fn complete_multipart(
        &self,
        location: &Path,
        id: &MultipartId,
        parts: Vec<PartId>,
    ) -> Result<PutResult> {
        self.uploads.complete(location, id, parts).await
    }

    async fn abort_multipart(&self, location: &Path, id: &MultipartId) -> Result<()> {
        self.uploads.abort(location, id).await
    }
}

#[async_trait]
impl PaginatedListStore for KogiaStore {
    async fn list_paginated(
        &self,
        prefix: Option<&str>,
        options: PaginatedListOptions,
    ) -> Result<PaginatedListResult> {
        list::list_paginated(self.store.clone(), prefix, options).await
    }
}
