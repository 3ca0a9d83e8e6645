//! Reading: one moment of an object, in pieces.

use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    Error, Extensions, GetOptions, GetRange, GetResult, GetResultPayload, ObjectMeta, Result,
};
use self_cell::self_cell;

use super::blocking::blocking;
use super::error::{generic, not_found, of_io, of_reading};
use super::{attributes, object};
use crate::store::{Info, Reader, Store};

/// Bytes that are read at once: what a result holds in memory.
const PIECE_BYTES: u64 = 1 << 20;

self_cell!(
    /// A reader that holds its store, so that it can wait for its caller without a thread.
    struct OwnReader {
        owner: Arc<Store>,
        #[not_covariant]
        dependent: Reader,
    }
);

impl OwnReader {
    fn open(store: &Arc<Store>, location: &Path) -> Result<Self> {
        OwnReader::try_new(store.clone(), |store| {
            let found = store.reader(object::key(location));
            found.map_err(|error| of_reading(error, location))?.ok_or_else(|| absent(location))
        })
    }

    fn info(&self) -> Info {
        self.with_dependent(|_, reader| reader.info().clone())
    }

    /// The bytes of a range that lies within the object.
    fn read(&mut self, range: Range<u64>) -> Result<Bytes> {
        let len = range.end - range.start;
        let room = usize::try_from(len).map_err(generic)?;
        self.with_dependent_mut(|_, reader| {
            let mut bytes = Vec::with_capacity(room);
            reader.seek(SeekFrom::Start(range.start)).map_err(of_io)?;
            reader.by_ref().take(len).read_to_end(&mut bytes).map_err(of_io)?;
            assert_eq!(bytes.len(), room, "the range lies within the object");
            Ok(bytes.into())
        })
    }
}

/// What a get has found, and its first piece.
struct Found {
    meta: ObjectMeta,
    info: Info,
    range: Range<u64>,
    first: Bytes,
    /// `None` where the first piece is all.
    reader: Option<OwnReader>,
}

pub(super) async fn get(
    store: Arc<Store>,
    location: Path,
    options: GetOptions,
) -> Result<GetResult> {
    blocking(move || find(&store, location, &options)?.into_result()).await
}

/// Ranges of one and the same object, whatever is put meanwhile.
pub(super) async fn get_ranges(
    store: Arc<Store>,
    location: Path,
    ranges: Vec<Range<u64>>,
) -> Result<Vec<Bytes>> {
    blocking(move || {
        let mut reader = OwnReader::open(&store, &location)?;
        let len = reader.info().len;
        let ranges = ranges.into_iter().map(|range| within(&GetRange::Bounded(range), len));
        ranges.map(|range| reader.read(range?)).collect()
    })
    .await
}

fn find(store: &Arc<Store>, location: Path, options: &GetOptions) -> Result<Found> {
    if options.version.is_some() {
        return Err(Error::NotSupported { source: "the store keeps no versions".into() });
    }
    if options.head {
        let info = head(store, &location)?;
        let (meta, range) = select(location, &info, options)?;
        return Ok(Found { meta, info, range, first: Bytes::new(), reader: None });
    }
    let mut reader = OwnReader::open(store, &location)?;
    let info = reader.info();
    let (meta, range) = select(location, &info, options)?;
    let piece = range.start..range.end.min(range.start + PIECE_BYTES);
    let (is_all, first) = (piece.end == range.end, reader.read(piece)?);
    Ok(Found { meta, info, range, first, reader: (!is_all).then_some(reader) })
}

pub(super) fn head(store: &Store, location: &Path) -> Result<Info> {
    let found = store.head(object::key(location));
    found.map_err(|error| of_reading(error, location))?.ok_or_else(|| absent(location))
}

/// The bytes that are asked for, if the conditions hold.
fn select(location: Path, info: &Info, options: &GetOptions) -> Result<(ObjectMeta, Range<u64>)> {
    let meta = object::meta(location, info);
    options.check_preconditions(&meta)?;
    let range = match &options.range {
        Some(range) => within(range, info.len)?,
        None => 0..info.len,
    };
    Ok((meta, range))
}

fn within(range: &GetRange, len: u64) -> Result<Range<u64>> {
    range.as_range(len).map_err(generic)
}

fn absent(location: &Path) -> Error {
    not_found(location, "no object has this key")
}

impl Found {
    fn into_result(self) -> Result<GetResult> {
        let (attributes, tags) = attributes::decode(&self.info.attributes)?;
        let mut extensions = Extensions::new();
        if let Some(tags) = tags {
            extensions.insert(tags);
        }
        let behind = self.range.start + self.first.len() as u64..self.range.end;
        let first = stream::once(std::future::ready(Ok(self.first)));
        let stream = match self.reader {
            Some(reader) => first.chain(pieces(reader, behind)).boxed(),
            None => first.boxed(),
        };
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream),
            meta: self.meta,
            range: self.range,
            attributes,
            extensions,
        })
    }
}

fn pieces(reader: OwnReader, range: Range<u64>) -> BoxStream<'static, Result<Bytes>> {
    let next = async |(mut reader, range): (OwnReader, Range<u64>)| {
        if range.is_empty() {
            return Ok(None);
        }
        blocking(move || {
            let end = range.end.min(range.start + PIECE_BYTES);
            let piece = reader.read(range.start..end)?;
            Ok(Some((piece, (reader, end..range.end))))
        })
        .await
    };
    stream::try_unfold((reader, range), next).boxed()
}
