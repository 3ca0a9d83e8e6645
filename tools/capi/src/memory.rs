//! What C hands over: addresses that may be NULL, bytes, arrays and strings. Here C's word is taken
//! for what lies there; all else is checked.

#![expect(unsafe_code, reason = "the addresses are C's")]

use std::ffi::{CStr, OsStr, c_char, c_void};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use kogia::format::items::MAX_ITEM_BYTES;

use crate::error::Failure;

/// What is not NULL.
pub(crate) fn given<T>(argument: Option<T>, name: &str) -> Result<T, Failure> {
    argument.ok_or_else(|| Failure::invalid(format!("{name} is NULL")))
}

/// The bytes of an item, which may be none, at NULL, too.
///
/// # Safety
/// `data` is NULL or points to `len` bytes, which nobody changes meanwhile.
pub(crate) unsafe fn item<'a>(data: *const c_void, len: usize) -> Result<&'a [u8], Failure> {
    if len > MAX_ITEM_BYTES {
        let what = format!("an item of {len} bytes: at most 1 GiB is possible");
        return Err(Failure::invalid(what));
    }
    // SAFETY: the caller's.
    unsafe { array(data.cast(), len, "data") }
}

/// An array, which may be empty, at NULL, too.
///
/// # Safety
/// `first` is NULL or points to `count` of them, which nobody changes meanwhile.
pub(crate) unsafe fn array<'a, T>(
    first: *const T,
    count: usize,
    name: &str,
) -> Result<&'a [T], Failure> {
    if count == 0 {
        return Ok(&[]);
    }
    check::<T>(first.is_null(), count, name)?;
    // SAFETY: the caller's, and it is not NULL and no larger than an array can be.
    Ok(unsafe { std::slice::from_raw_parts(first, count) })
}

/// An array to be written to; NULL where it is not wanted.
///
/// # Safety
/// `first` is NULL or points to room for `count` of them, which nobody else uses meanwhile.
pub(crate) unsafe fn room<'a, T>(
    first: *mut T,
    count: usize,
    name: &str,
) -> Result<&'a mut [MaybeUninit<T>], Failure> {
    if first.is_null() || count == 0 {
        return Ok(&mut []);
    }
    check::<T>(false, count, name)?;
    // SAFETY: the caller's, and it is not NULL and no larger than an array can be.
    Ok(unsafe { std::slice::from_raw_parts_mut(first.cast(), count) })
}

fn check<T>(is_null: bool, count: usize, name: &str) -> Result<(), Failure> {
    if is_null {
        return Err(Failure::invalid(format!("{name} is NULL, and {count} are to be there")));
    }
    if count.checked_mul(size_of::<T>()).is_none_or(|bytes| bytes > isize::MAX as usize) {
        return Err(Failure::invalid(format!("{name}: there can't be {count}")));
    }
    Ok(())
}

/// A path, whose bytes need not be UTF-8.
///
/// # Safety
/// `path` is NULL or a string that ends with a zero, which nobody changes meanwhile.
pub(crate) unsafe fn path<'a>(path: *const c_char, name: &str) -> Result<&'a Path, Failure> {
    if path.is_null() {
        return Err(Failure::invalid(format!("{name} is NULL")));
    }
    // SAFETY: the caller's.
    let path = unsafe { CStr::from_ptr(path) };
    Ok(Path::new(OsStr::from_bytes(path.to_bytes())))
}

/// A string of UTF-8.
///
/// # Safety
/// `text` is NULL or a string that ends with a zero, which nobody changes meanwhile.
pub(crate) unsafe fn text<'a>(text: *const c_char, name: &str) -> Result<&'a str, Failure> {
    // SAFETY: the caller's.
    let text = unsafe { path(text, name) }?;
    text.to_str().ok_or_else(|| Failure::invalid(format!("{name} is not UTF-8: {text:?}")))
}

/// A structure whose fields are numbers, and of which `own` is how it is where nothing is said. It
/// begins with its size as its owner knows it: what he lacks stays as it is in `own`, and what is
/// not known here has to be zero.
///
/// # Safety
/// Any bytes are a `T`. `given` is NULL or points to a size and as many bytes as that says, itself
/// included, which nobody changes meanwhile.
pub(crate) unsafe fn grown<T: Copy>(given: *const T, own: T, name: &str) -> Result<T, Failure> {
    let mut own = own;
    if given.is_null() {
        return Ok(own);
    }
    let given = given.cast::<u8>();
    // SAFETY: a size is there, the caller says.
    let size = unsafe { given.cast::<usize>().read_unaligned() };
    if !(size_of::<usize>()..=4096).contains(&size) {
        let what = format!("{name}.size is {size}: it is to be the structure's size");
        return Err(Failure::invalid(what));
    }
    // SAFETY: so many bytes are there, the caller says.
    let given = unsafe { std::slice::from_raw_parts(given, size) };
    let (known, unknown) = given.split_at(size.min(size_of::<T>()));
    if unknown.iter().any(|byte| *byte != 0) {
        let what = format!("{name} has fields that this version of the library does not know");
        return Err(Failure::invalid(what));
    }
    // SAFETY: so many bytes are there on both sides, and any are a T.
    unsafe { (&raw mut own).cast::<u8>().copy_from_nonoverlapping(known.as_ptr(), known.len()) };
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C)]
    #[derive(Clone, Copy, Default, PartialEq, Debug)]
    struct Old {
        size: usize,
        first: u64,
    }

    #[repr(C)]
    #[derive(Clone, Copy, Default, PartialEq, Debug)]
    struct New {
        old: Old,
        second: u64,
    }

    #[test]
    fn a_structure_may_be_older_or_newer_than_the_library() {
        let old = Old { size: size_of::<Old>(), first: 7 };
        let own = New { second: 5, ..New::default() };
        // SAFETY: the size is right in each of these.
        let read = |new: &New| unsafe { grown((new as *const New).cast::<Old>(), old, "options") };
        // SAFETY: as above.
        let from_old = unsafe { grown((&raw const old).cast::<New>(), own, "options") };
        assert_eq!(from_old.unwrap(), New { old, second: 5 });
        let mut new = New { old: Old { size: size_of::<New>(), first: 8 }, second: 0 };
        assert_eq!(read(&new).unwrap(), new.old);
        new.second = 1;
        assert!(read(&new).is_err());
        for size in [0, 7, 4097] {
            new.old.size = size;
            assert!(read(&new).is_err(), "{size}");
        }
        // SAFETY: NULL is fine.
        assert_eq!(unsafe { grown(std::ptr::null(), own, "options") }.unwrap(), own);
    }

    #[test]
    fn what_cannot_be_there_is_refused() {
        let null = std::ptr::null();
        let mut place = 0_u64;
        // SAFETY: nothing is read that is not there.
        unsafe {
            assert_eq!(item(null, 0).unwrap(), b"");
            assert!(item(null, 1).is_err());
            assert!(item(c"x".as_ptr().cast(), MAX_ITEM_BYTES + 1).is_err());
            assert_eq!(item(c"abc".as_ptr().cast(), 2).unwrap(), b"ab");
            assert!(array(&raw const place, usize::MAX / 8, "items").is_err());
            assert!(room(&raw mut place, usize::MAX / 4, "ids").is_err());
            assert_eq!(room(&raw mut place, 1, "ids").unwrap().len(), 1);
            assert!(room::<u64>(std::ptr::null_mut(), 3, "ids").unwrap().is_empty());
            assert!(path(std::ptr::null(), "dir").is_err());
            assert_eq!(path(c"/\xff".as_ptr(), "dir").unwrap().as_os_str().len(), 2);
            assert!(text(c"\xff".as_ptr(), "name").is_err());
            assert_eq!(text(c"shipper".as_ptr(), "name").unwrap(), "shipper");
        }
    }
}
