//! Reading an object as a stream.

use std::io::{self, BufRead, Read, Seek, SeekFrom};

use super::pins::Pin;
use super::read::Source;
use super::{Info, Moment, PartId, Shared};
use crate::error::{Error, Result};
use crate::format::record::Space;
use crate::index::ViewRef;
use crate::track::Bytes;

/// Reads an object, in bounded memory, however large it is. It goes on reading the same bytes
/// when the object is overwritten or deleted, or expires.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let store = kogia::Store::open(dir.path()).unwrap();
/// use std::io::{Read, Seek, SeekFrom};
///
/// store.put("key", "some media")?;
/// let mut reader = store.reader("key")?.expect("it was just put");
/// reader.seek(SeekFrom::End(-5))?;
/// let mut end = String::new();
/// reader.read_to_string(&mut end)?;
/// assert_eq!(end, "media");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct Reader<'a> {
    shared: &'a Shared,
    /// The rows of the object's segments, as they were when it was opened.
    view: ViewRef<'a>,
    info: Info,
    source: Source,
    at: u64,
    /// The piece that `at` lies in: its first byte in the object, its length, its bytes.
    piece: Option<(u64, u64, Piece)>,
    /// Keeps the object's chunks from being reused.
    _pin: Option<Pin<'a>>,
}

/// The bytes of a piece.
enum Piece {
    InTrack(Bytes),
    /// A compressed value, read whole: it was put whole.
    InMemory(Vec<u8>),
}

impl Piece {
    /// The bytes from `at` on, as many as lie together.
    fn at(&mut self, at: u64) -> Result<&[u8]> {
        match self {
            Piece::InTrack(bytes) => bytes.at(at),
            Piece::InMemory(value) => {
                let from = usize::try_from(at).unwrap_or(usize::MAX);
                Ok(value.get(from..).unwrap_or_default())
            }
        }
    }
}

impl<'a> Reader<'a> {
    /// A reader of the object that `key` means in `view`, if it is there at `moment`. The view's moment is pinned by `pin`, or
    /// by whoever made the view.
    pub(crate) fn open(
        shared: &'a Shared,
        view: ViewRef<'a>,
        moment: &Moment,
        pin: Option<Pin<'a>>,
        key: &[u8],
    ) -> Result<Option<Self>> {
        super::write::check_key(key)?;
        let Some((info, source)) = shared.find(&view, moment, key)? else { return Ok(None) };
        Ok(Some(Self::of(shared, view, pin, info, source)))
    }

    /// A reader of a part, if it is there.
    pub(crate) fn open_part(
        shared: &'a Shared,
        view: ViewRef<'a>,
        pin: Option<Pin<'a>>,
        part: PartId,
    ) -> Result<Option<Self>> {
        let Some(row) = view.entry(Space::Part, &part.0.to_be_bytes())? else { return Ok(None) };
        let entry = row.entry()?;
        let (info, source) = (Info::of(&entry), Source::of(entry)?);
        Ok(Some(Self::of(shared, view, pin, info, source)))
    }

    fn of(
        shared: &'a Shared,
        view: ViewRef<'a>,
        pin: Option<Pin<'a>>,
        info: Info,
        source: Source,
    ) -> Self {
        Reader { shared, view, info, source, at: 0, piece: None, _pin: pin }
    }

    /// What is known of the object.
    #[must_use]
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// The next bytes, as many as lie together (up to 4,072, or all of a compressed value), without
    /// a copy where the track is mapped; `None` at the end. Their checksum has been verified.
    pub fn next_slice(&mut self) -> Result<Option<&[u8]>> {
        let len = self.slice()?.len();
        self.at += len as u64;
        if len == 0 {
            return Ok(None);
        }
        let (start, _, bytes) = self.piece.as_mut().expect("it gave a slice");
        let slice = bytes.at(self.at - len as u64 - *start)?;
        Ok(Some(&slice[..len]))
    }

    fn slice(&mut self) -> Result<&[u8]> {
        if self.at >= self.info.len {
            return Ok(&[]);
        }
        let at = self.at;
        if !self.piece.as_ref().is_some_and(|(start, len, _)| (*start..start + len).contains(&at)) {
            self.piece = None;
            self.piece = self.open_piece(at)?;
        }
        match &mut self.piece {
            Some((start, _, bytes)) => bytes.at(at - *start),
            None => Ok(&[]),
        }
    }

    fn open_piece(&self, at: u64) -> Result<Option<(u64, u64, Piece)>> {
        let files = &self.shared.files;
        match &self.source {
            Source::Empty => Ok(None),
            Source::Inline(track, place) => {
                let bytes = Bytes::new(files.get(*track)?, *place);
                Ok(Some((0, place.len, Piece::InTrack(bytes))))
            }
            Source::Compressed(packed) => {
                let value = self.shared.unpacked(packed)?;
                Ok(Some((0, packed.len, Piece::InMemory(value))))
            }
            Source::Segments(segments) => {
                let index = segments.partition_point(|(start, segment)| start + segment.len <= at);
                let Some((start, segment)) = segments.get(index) else { return Ok(None) };
                let (track, place) = self.shared.segment(&self.view, segment)?;
                if let Some((_, next)) = segments.get(index + 1) {
                    // The next segment lies on another disk, most likely, which can fetch it now.
                    let (track, place) = self.shared.segment(&self.view, next)?;
                    Bytes::new(track, place).will_need();
                }
                Ok(Some((*start, segment.len, Piece::InTrack(Bytes::new(track, place)))))
            }
        }
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let slice = self.slice()?;
        let len = slice.len().min(out.len());
        out[..len].copy_from_slice(&slice[..len]);
        self.at += len as u64;
        Ok(len)
    }
}

impl BufRead for Reader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(self.slice()?)
    }

    fn consume(&mut self, bytes: usize) {
        self.at += bytes as u64;
    }
}

impl Seek for Reader<'_> {
    /// Seeking behind the end is allowed, and reads nothing there.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.info.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = target.ok_or_else(|| Error::invalid("a seek before the object's begin"))?;
        Ok(self.at)
    }
}

impl std::fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("info", &self.info)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}
