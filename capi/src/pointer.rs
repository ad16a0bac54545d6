//! What C hands over: pointers to be read or written, once they are not null.

use std::ffi::{CStr, OsStr, c_char};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use crate::boundary::{Failure, Outcome};

/// A text of the caller's.
///
/// # Safety
/// `text` is null or NUL-terminated and stays unchanged for `'a`.
pub(crate) unsafe fn text<'a>(name: &str, text: *const c_char) -> Outcome<&'a str> {
    // SAFETY: as our caller promises.
    let text = unsafe { c_text(name, text) }?;
    text.to_str().map_err(|_| Failure::Argument(format!("{name} is not UTF-8: {}", text.to_string_lossy())))
}

/// A path of the caller's, of whatever bytes.
///
/// # Safety
/// `path` is null or NUL-terminated and stays unchanged for `'a`.
pub(crate) unsafe fn path<'a>(name: &str, path: *const c_char) -> Outcome<&'a Path> {
    // SAFETY: as our caller promises.
    let text = unsafe { c_text(name, path) }?;
    Ok(Path::new(OsStr::from_bytes(text.to_bytes())))
}

/// # Safety
/// `text` is null or NUL-terminated and stays unchanged for `'a`.
unsafe fn c_text<'a>(name: &str, text: *const c_char) -> Outcome<&'a CStr> {
    if text.is_null() {
        return Err(null(name));
    }
    // SAFETY: not null, and our caller promises the rest.
    Ok(unsafe { CStr::from_ptr(text) })
}

/// A place where the answer goes, of one value.
pub(crate) struct Place<T>(*mut T);

impl<T: Copy> Place<T> {
    /// Refuses a null pointer before any work is done.
    ///
    /// # Safety
    /// `pointer` is null or valid for reads and writes of a `T` as long as the place is used.
    pub(crate) unsafe fn new(name: &str, pointer: *mut T) -> Outcome<Self> {
        if pointer.is_null() { Err(null(name)) } else { Ok(Self(pointer)) }
    }

    pub(crate) fn get(&self) -> T {
        // SAFETY: `new`'s caller promised that it can be read.
        unsafe { self.0.read() }
    }

    pub(crate) fn set(&self, value: T) {
        // SAFETY: `new`'s caller promised that it can be written.
        unsafe { self.0.write(value) }
    }
}

/// The caller's array of structures, which may be longer ones than ours if its header is newer.
pub(crate) struct Array<T> {
    first: *mut T,
    size: usize,
    length: usize,
}

impl<T> Array<T> {
    /// Refuses a null pointer (unless the array is empty) and structures that are too small for a `T`.
    ///
    /// # Safety
    /// `first` is null or valid for writes of `length` times `size` bytes as long as the array is used.
    pub(crate) unsafe fn new(name: &str, first: *mut T, size: usize, length: usize) -> Outcome<Self> {
        if first.is_null() && length > 0 {
            return Err(null(name));
        }
        if size < size_of::<T>() {
            let least = size_of::<T>();
            return Err(Failure::Argument(format!("a structure of {name} has {size} bytes, expected {least} or more")));
        }
        Ok(Self { first, size, length })
    }

    /// Writes the values that there is room for, and zeros into what is longer than ours; returns how many.
    pub(crate) fn fill(self, values: impl IntoIterator<Item = T>) -> usize {
        let mut count = 0;
        for value in values.into_iter().take(self.length) {
            let offset = count * self.size;
            // SAFETY: `count` is less than `length`, so this is inside what `new`'s caller promised.
            let start = unsafe { self.first.cast::<u8>().add(offset) };
            // SAFETY: as before, for the `size` bytes from there.
            unsafe { ptr::write_bytes(start, 0, self.size) };
            // SAFETY: `new` saw that a `T` fits into `size` bytes; an odd `size` may have unaligned it.
            unsafe { start.cast::<T>().write_unaligned(value) };
            count += 1;
        }
        count
    }
}

/// Writes a text as snprintf(3) does: cut to `size` bytes with the NUL, and the length of the whole into `length`.
///
/// # Safety
/// `buffer` is valid for writes of `size` bytes unless that is 0, `length` is null or valid for a write.
pub(crate) unsafe fn put_text(text: &str, buffer: *mut c_char, size: usize, length: *mut usize) -> Outcome {
    if buffer.is_null() && size > 0 {
        return Err(null("buffer"));
    }
    if !length.is_null() {
        // SAFETY: not null, and our caller promises the rest.
        unsafe { length.write(text.len()) };
    }
    let Some(room) = size.checked_sub(1) else { return Ok(()) };
    let text = cut(text, room);
    // SAFETY: at most `size - 1` bytes, and a Rust text does not overlap with a buffer of the caller's.
    unsafe { ptr::copy_nonoverlapping(text.as_ptr(), buffer.cast(), text.len()) };
    // SAFETY: the byte after them is still among the `size`.
    let end = unsafe { buffer.add(text.len()) };
    // SAFETY: as before.
    unsafe { end.write(0) };
    Ok(())
}

/// A text in a structure's array, cut where it is too long, zeros after it.
pub(crate) fn name<const N: usize>(text: &str) -> [c_char; N] {
    let mut array = [0; N];
    for (to, from) in array.iter_mut().zip(cut(text, N - 1).bytes()) {
        *to = from.cast_signed() as c_char;
    }
    array
}

/// The beginning of a text of at most `length` bytes, with no character cut in two.
fn cut(text: &str, length: usize) -> &str {
    let ends = text.char_indices().map(|(start, character)| start + character.len_utf8());
    &text[..ends.take_while(|&end| end <= length).last().unwrap_or(0)]
}

fn null(name: &str) -> Failure {
    Failure::Argument(format!("{name} is a null pointer"))
}
