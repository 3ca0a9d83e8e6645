//! Reads, of the store as it is or of a snapshot, compared with what the map says.

use std::collections::VecDeque;
use std::io::{BufRead, Cursor, Read, Seek, SeekFrom};
use std::ops::{Bound, Range};

use kogia::{ErrorKind, Info, Iter, ListOptions, Page, Reader, Result, Snapshot, Store};

use super::contents::Contents;
use super::operation::{Key, Look, Move};

/// What can be read from.
pub trait Moment {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>>;
    fn get_range(&self, key: &[u8], range: Range<u64>) -> Result<Option<Vec<u8>>>;
    fn head(&self, key: &[u8]) -> Result<Option<Info>>;
    fn reader(&self, key: &[u8]) -> Result<Option<Reader<'_>>>;
    fn list(&self, options: &ListOptions) -> Result<Page>;
    fn iter(&self, range: (Bound<Key>, Bound<Key>)) -> Iter<'_>;
}

macro_rules! moment {
    ($type:ty) => {
        impl Moment for $type {
            fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
                self.get(key)
            }

            fn get_range(&self, key: &[u8], range: Range<u64>) -> Result<Option<Vec<u8>>> {
                self.get_range(key, range)
            }

            fn head(&self, key: &[u8]) -> Result<Option<Info>> {
                self.head(key)
            }

            fn reader(&self, key: &[u8]) -> Result<Option<Reader<'_>>> {
                self.reader(key)
            }

            fn list(&self, options: &ListOptions) -> Result<Page> {
                self.list(options)
            }

            fn iter(&self, range: (Bound<Key>, Bound<Key>)) -> Iter<'_> {
                self.iter(range)
            }
        }
    };
}

moment!(Store);
moment!(Snapshot<'_>);

pub fn look_at(moment: &impl Moment, contents: &Contents, look: &Look) {
    match look {
        Look::Get(key) => get(moment, contents, key),
        Look::Range { key, from, to } => range(moment, contents, key, *from as u64..*to as u64),
        Look::Read { key, moves } => read(moment, contents, key, moves),
        Look::List(options) => list(moment, contents, options),
        Look::Iterate { from, to, from_back } => iterate(moment, contents, from, to, from_back),
    }
}

fn get(moment: &impl Moment, contents: &Contents, key: &[u8]) {
    let object = contents.objects.get(key);
    let found = moment.get(key).unwrap();
    assert!(found.as_ref() == object.map(|object| &*object.value));
    assert_eq!(moment.head(key).unwrap().as_ref(), object.map(|object| &object.info));
}

fn range(moment: &impl Moment, contents: &Contents, key: &[u8], range: Range<u64>) {
    let outcome = moment.get_range(key, range.clone());
    let Some(object) = contents.objects.get(key) else {
        return assert_eq!(outcome.unwrap(), None);
    };
    let len = object.info.len;
    if range.start > len || range.start > range.end {
        return assert_eq!(outcome.unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
    let expected = &object.value[range.start as usize..range.end.min(len) as usize];
    assert!(outcome.unwrap().as_deref() == Some(expected), "{range:?} of {len}");
}

fn read(moment: &impl Moment, contents: &Contents, key: &[u8], moves: &[Move]) {
    let (reader, object) = (moment.reader(key).unwrap(), contents.objects.get(key));
    assert_eq!(reader.is_some(), object.is_some());
    if let (Some(mut reader), Some(object)) = (reader, object) {
        assert_eq!(*reader.info(), object.info);
        let mut expected = Cursor::new(object.value.to_vec());
        moves.iter().for_each(|step| follow(&mut reader, &mut expected, *step));
    }
}

/// Makes the same move with a reader and a cursor over the bytes that it has to read.
pub fn follow(reader: &mut Reader<'_>, expected: &mut Cursor<Vec<u8>>, step: Move) {
    match step {
        Move::Seek(to) => {
            let (found, expected) = (reader.seek(to), expected.seek(to));
            assert_eq!(found.map_err(|e| e.kind()), expected.map_err(|e| e.kind()), "{to:?}");
        }
        Move::Read(len) => {
            let (mut found, mut wanted) = (Vec::new(), Vec::new());
            reader.take(len as u64).read_to_end(&mut found).unwrap();
            expected.take(len as u64).read_to_end(&mut wanted).unwrap();
            assert!(found == wanted, "{len} bytes before {:?}", expected.stream_position());
        }
        Move::Slice => {
            let slice = reader.next_slice().unwrap().unwrap_or_default();
            let wanted = expected.fill_buf().unwrap();
            assert!(slice.is_empty() == wanted.is_empty() && wanted.starts_with(slice));
            expected.seek(SeekFrom::Current(slice.len() as i64)).unwrap();
        }
    }
}

/// Pages to the end.
fn list(moment: &impl Moment, contents: &Contents, options: &ListOptions) {
    let mut options = options.clone();
    if options.max_keys == 0 {
        return assert_eq!(moment.list(&options).unwrap(), Page::default());
    }
    let mut expected: VecDeque<_> = contents.list(&options).into();
    loop {
        let page = moment.list(&options).unwrap();
        let wanted: Vec<_> = expected.drain(..options.max_keys.min(expected.len())).collect();
        assert_eq!(page.items, wanted, "{options:?}");
        assert_eq!(page.next.is_some(), !expected.is_empty(), "{options:?}");
        if page.next.is_none() {
            return;
        }
        options.start_after = page.next;
    }
}

/// Takes from both ends as `from_back` says, and then the rest.
fn iterate(
    moment: &impl Moment,
    contents: &Contents,
    from: &Bound<Key>,
    to: &Bound<Key>,
    from_back: &[bool],
) {
    let mut expected: VecDeque<_> = contents.range(from, to).into();
    let mut iter = moment.iter((from.clone(), to.clone()));
    for &is_back in from_back {
        let (found, wanted) = if is_back {
            (iter.next_back(), expected.pop_back())
        } else {
            (iter.next(), expected.pop_front())
        };
        assert_eq!(found.transpose().unwrap(), wanted);
    }
    assert_eq!(iter.collect::<Result<VecDeque<_>>>().unwrap(), expected);
}
