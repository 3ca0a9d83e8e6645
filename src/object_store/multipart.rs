//! Uploads in parts: each part is written as it comes, and the upload's end makes the object of them
//! without copying a byte.
//!
//! What belongs to an upload is kept in memory alone. Parts of one that ended neither way are freed
//! when it is dropped, those of a process that died after `Options::part_max_age`.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use futures_util::FutureExt;
use object_store::multipart;
use object_store::path::Path;
use object_store::{
    Error, MultipartId, MultipartUpload, PutMultipartOptions, PutPayload, PutResult, Result,
    UploadPart,
};

use super::blocking::{blocking, drop_elsewhere};
use super::error::{generic, not_found, of_io};
use super::{attributes, object};
use crate::store::{PartId, PutOptions, Store};

/// One upload.
#[derive(Debug)]
pub(super) struct Upload {
    store: Arc<Store>,
    location: Path,
    options: PutOptions,
    /// `None` when it has ended.
    parts: Mutex<Option<Parts>>,
}

/// The parts of an upload, by their places. What is left of them when this is dropped is freed.
#[derive(Debug)]
struct Parts {
    store: Arc<Store>,
    /// Places that were given out, from 0 on, where the caller does not say them himself.
    given_out: usize,
    at: BTreeMap<usize, PartId>,
}

impl Upload {
    /// Fails with attributes that the store can't keep.
    pub(super) fn new(
        store: Arc<Store>,
        location: &Path,
        options: &PutMultipartOptions,
    ) -> Result<Self> {
        let attributes = attributes::encode(&options.attributes, &options.tags)?;
        let parts = Parts { store: store.clone(), given_out: 0, at: BTreeMap::new() };
        Ok(Upload {
            store,
            location: location.clone(),
            options: PutOptions { attributes, ..PutOptions::default() },
            parts: Mutex::new(Some(parts)),
        })
    }

    /// The place of the next part.
    fn next_place(&self) -> usize {
        self.parts().as_mut().map_or(0, |parts| {
            parts.given_out += 1;
            parts.given_out - 1
        })
    }

    /// Writes a part. Of two at the same place the later one counts.
    fn put(&self, place: usize, payload: &PutPayload) -> Result<PartId> {
        self.parts().as_ref().ok_or_else(ended)?;
        let mut part = self.store.part().map_err(generic)?;
        for piece in payload {
            part.write_all(piece).map_err(of_io)?;
        }
        let part = part.finish().map_err(generic)?.id;
        let replaced = match self.parts().as_mut() {
            Some(parts) => parts.at.insert(place, part),
            None => Some(part),
        };
        if let Some(replaced) = replaced {
            self.store.discard_part(replaced).map_err(generic)?;
        }
        if replaced == Some(part) { Err(ended()) } else { Ok(part) }
    }

    /// Makes the object. If that fails, the parts stay for another try.
    ///
    /// The lock is held meanwhile: of two that end the upload, one finds it ended.
    fn complete(&self, given: Option<&[PartId]>) -> Result<PutResult> {
        let mut held = self.parts();
        let parts = held.as_mut().ok_or_else(ended)?;
        let chosen = match given {
            Some(given) => parts.check(given)?,
            None => parts.all()?,
        };
        let key = object::key(&self.location);
        let seq = self.store.assemble(key, &chosen, &self.options).map_err(generic)?;
        // They are used up; what was uploaded behind them is freed.
        parts.at = parts.at.split_off(&chosen.len());
        *held = None;
        Ok(object::put_result(seq))
    }

    fn abort(&self) {
        self.parts().take();
    }

    fn parts(&self) -> MutexGuard<'_, Option<Parts>> {
        self.parts.lock().expect("no panic holds it")
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Ok(Some(parts)) = self.parts.get_mut().map(Option::take) {
            drop_elsewhere(parts);
        }
    }
}

impl Parts {
    /// One for each place that was given out.
    fn all(&self) -> Result<Vec<PartId>> {
        let missing = |place| generic(format!("part {place} was not uploaded"));
        let part = |place| self.at.get(&place).copied().ok_or_else(|| missing(place));
        (0..self.given_out).map(part).collect()
    }

    /// Those that are given, if each was put at its place.
    fn check(&self, given: &[PartId]) -> Result<Vec<PartId>> {
        for (place, part) in given.iter().enumerate() {
            if self.at.get(&place) != Some(part) {
                return Err(generic(format!("part {place} is not the one that was uploaded")));
            }
        }
        Ok(given.to_vec())
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        for part in self.at.values() {
            if let Err(error) = self.store.discard_part(*part) {
                tracing::warn!(%error, "a part of an upload that has ended stays until it is old");
            }
        }
    }
}

fn ended() -> Error {
    generic("the upload was completed or aborted before")
}

/// An upload in the caller's hands.
#[derive(Debug)]
pub(super) struct Held(pub(super) Arc<Upload>);

#[async_trait]
impl MultipartUpload for Held {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (upload, place) = (self.0.clone(), self.0.next_place());
        blocking(move || upload.put(place, &data).map(|_| ())).boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let upload = self.0.clone();
        blocking(move || upload.complete(None)).await
    }

    async fn abort(&mut self) -> Result<()> {
        let upload = self.0.clone();
        blocking(move || {
            upload.abort();
            Ok(())
        })
        .await
    }
}

/// Uploads that are known by a name.
#[derive(Debug, Default)]
pub(super) struct Uploads(Mutex<HashMap<MultipartId, Arc<Upload>>>);

impl Uploads {
    pub(super) fn begin(&self, id: MultipartId, upload: Upload) {
        self.map().insert(id, Arc::new(upload));
    }

    fn find(&self, location: &Path, id: &MultipartId) -> Result<Arc<Upload>> {
        let upload = self.map().get(id).filter(|upload| upload.location == *location).cloned();
        upload.ok_or_else(|| not_found(location, format!("there is no upload {id}")))
    }

    pub(super) async fn put_part(
        &self,
        location: &Path,
        id: &MultipartId,
        place: usize,
        data: PutPayload,
    ) -> Result<multipart::PartId> {
        let upload = self.find(location, id)?;
        let part = blocking(move || upload.put(place, &data)).await?;
        Ok(multipart::PartId { content_id: part.0.to_string() })
    }

    pub(super) async fn complete(
        &self,
        location: &Path,
        id: &MultipartId,
        parts: Vec<multipart::PartId>,
    ) -> Result<PutResult> {
        let upload = self.find(location, id)?;
        let part = |part: multipart::PartId| Ok(PartId(part.content_id.parse().map_err(generic)?));
        let parts = parts.into_iter().map(part).collect::<Result<Vec<_>>>()?;
        let done = blocking(move || upload.complete(Some(&parts))).await?;
        self.map().remove(id);
        Ok(done)
    }

    pub(super) async fn abort(&self, location: &Path, id: &MultipartId) -> Result<()> {
        let upload = self.find(location, id)?;
        self.map().remove(id);
        blocking(move || {
            upload.abort();
            Ok(())
        })
        .await
    }

    fn map(&self) -> MutexGuard<'_, HashMap<MultipartId, Arc<Upload>>> {
        self.0.lock().expect("no panic holds it")
    }
}
