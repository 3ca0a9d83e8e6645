//! Writers and readers that hold their store, so that they can wait for a client without a thread.
//!
//! Their calls block. A client that goes away leaves them to be dropped anywhere; dropping a writer
//! frees what it has written, which blocks, too: [`OffRuntime`] takes that to a thread that may.

use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use kogia::{Info, PartInfo, PartWriter, PutOptions, Reader, Store, Writer};
use self_cell::self_cell;

use crate::error::{Error, Result};

type WriterSlot<'a> = Option<Writer<'a>>;
type PartSlot<'a> = Option<PartWriter<'a>>;

self_cell!(
    struct WriterCell {
        owner: Arc<Store>,
        #[not_covariant]
        dependent: WriterSlot,
    }
);

self_cell!(
    struct PartCell {
        owner: Arc<Store>,
        #[not_covariant]
        dependent: PartSlot,
    }
);

self_cell!(
    struct ReaderCell {
        owner: Arc<Store>,
        #[not_covariant]
        dependent: Reader,
    }
);

/// What takes the pieces of a body.
pub trait Sink: Send + 'static {
    fn write(&mut self, bytes: &[u8]) -> Result<()>;
}

/// A stream that becomes an object.
pub struct ObjectStream(WriterCell);

impl ObjectStream {
    pub fn open(store: &Arc<Store>, key: &[u8]) -> Result<Self> {
        let cell = WriterCell::try_new(store.clone(), |store| store.writer(key).map(Some))?;
        Ok(ObjectStream(cell))
    }

    /// Makes it an object.
    ///
    /// # Panics
    ///
    /// Never: the writer is there until here.
    pub fn commit(mut self, options: PutOptions) -> Result<Info> {
        self.0.with_dependent_mut(|_, writer| {
            Ok(writer.take().expect("it is there until here").commit_with(options)?)
        })
    }
}

impl Sink for ObjectStream {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.with_dependent_mut(|_, writer| match writer {
            Some(writer) => write(writer, bytes),
            None => Ok(()),
        })
    }
}

/// A stream that becomes a part.
pub struct PartStream(PartCell);

impl PartStream {
    pub fn open(store: &Arc<Store>) -> Result<Self> {
        Ok(PartStream(PartCell::try_new(store.clone(), |store| store.part().map(Some))?))
    }

    /// Makes it a part; durable when this returns.
    ///
    /// # Panics
    ///
    /// Never: the writer is there until here.
    pub fn finish(mut self) -> Result<PartInfo> {
        self.0.with_dependent_mut(|_, part| {
            Ok(part.take().expect("it is there until here").finish()?)
        })
    }
}

impl Sink for PartStream {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.with_dependent_mut(|_, part| match part {
            Some(part) => write(part, bytes),
            None => Ok(()),
        })
    }
}

fn write(to: &mut impl Write, bytes: &[u8]) -> Result<()> {
    to.write_all(bytes).map_err(of_io)
}

/// The store's own error, which its writers and readers wrap.
pub(super) fn of_io(error: std::io::Error) -> Error {
    match error.downcast::<kogia::Error>() {
        Ok(error) => error.into(),
        Err(error) => Error::damaged(error.to_string()),
    }
}

/// A reader of an object.
pub struct ObjectReader(ReaderCell);

impl ObjectReader {
    /// `None` if there is no such object.
    pub fn open(store: &Arc<Store>, key: &[u8]) -> Result<Option<Self>> {
        let opened = ReaderCell::try_new(store.clone(), |store| match store.reader(key) {
            Ok(Some(reader)) => Ok(reader),
            Ok(None) => Err(None),
            Err(error) => Err(Some(error)),
        });
        match opened {
            Ok(cell) => Ok(Some(ObjectReader(cell))),
            Err(None) => Ok(None),
            Err(Some(error)) => Err(error.into()),
        }
    }

    #[must_use]
    pub fn info(&self) -> Info {
        self.0.with_dependent(|_, reader| reader.info().clone())
    }

    pub fn seek(&mut self, to: u64) -> Result<()> {
        self.0.with_dependent_mut(|_, reader| reader.seek(SeekFrom::Start(to)).map_err(of_io))?;
        Ok(())
    }

    /// The next `len` bytes, fewer at the end.
    pub fn read(&mut self, len: usize) -> Result<Vec<u8>> {
        self.0.with_dependent_mut(|_, reader| {
            let mut bytes = Vec::with_capacity(len);
            reader.by_ref().take(len as u64).read_to_end(&mut bytes).map_err(of_io)?;
            Ok(bytes)
        })
    }
}

/// Something that is dropped on a thread that may block.
pub struct OffRuntime<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> OffRuntime<T> {
    pub fn new(inner: T) -> Self {
        OffRuntime(Some(inner))
    }

    /// # Panics
    ///
    /// Never: it is there until it is dropped.
    #[must_use]
    pub fn into_inner(mut self) -> T {
        self.0.take().expect("it is there until it is dropped")
    }
}

impl<T: Send + 'static> Drop for OffRuntime<T> {
    fn drop(&mut self) {
        let Some(inner) = self.0.take() else { return };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || drop(inner))),
            Err(_) => drop(inner),
        }
    }
}
