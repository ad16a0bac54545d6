//! Reads and writes through pointers from C callers, after a check for null.

use std::ffi::{CStr, OsStr, c_char};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use crate::boundary::{Failure, Outcome};

/// Reads a text of the caller.
///
/// # Safety
/// `text` is null or NUL-terminated and stays unchanged for `'a`.
pub(crate) unsafe fn text<'a>(name: &str, text: *const c_char) -> Outcome<&'a str> {
    // SAFETY: the caller guarantees that `text` is null or NUL-terminated, and that it stays unchanged for `'a`.
    let text = unsafe { c_text(name, text) }?;
    text.to_str().map_err(|_| Failure::Argument(format!("{name} is not UTF-8: {}", text.to_string_lossy())))
}

/// Reads a path of the caller. A path may have any bytes.
///
/// # Safety
/// `path` is null or NUL-terminated and stays unchanged for `'a`.
pub(crate) unsafe fn path<'a>(name: &str, path: *const c_char) -> Outcome<&'a Path> {
    // SAFETY: the caller guarantees that `path` is null or NUL-terminated, and that it stays unchanged for `'a`.
    let text = unsafe { c_text(name, path) }?;
    Ok(Path::new(OsStr::from_bytes(text.to_bytes())))
}

/// # Safety
/// `text` is null or NUL-terminated and stays unchanged for `'a`.
unsafe fn c_text<'a>(name: &str, text: *const c_char) -> Outcome<&'a CStr> {
    if text.is_null() {
        return Err(null(name));
    }
    // SAFETY: `text` is not null, so the caller guarantees that it is NUL-terminated and stays unchanged for `'a`.
    Ok(unsafe { CStr::from_ptr(text) })
}

/// A place in the caller's memory for one value.
pub(crate) struct Place<T>(*mut T);

impl<T: Copy> Place<T> {
    /// Returns the place. Refuses a null pointer, so that a function fails before it does any work.
    ///
    /// # Safety
    /// `pointer` is null or valid for reads and writes of a `T` while the place is used.
    pub(crate) unsafe fn new(name: &str, pointer: *mut T) -> Outcome<Self> {
        if pointer.is_null() { Err(null(name)) } else { Ok(Self(pointer)) }
    }

    pub(crate) fn get(&self) -> T {
        // SAFETY: the caller of `new` guarantees that the pointer is valid for reads of a `T`.
        unsafe { self.0.read() }
    }

    pub(crate) fn set(&self, value: T) {
        // SAFETY: the caller of `new` guarantees that the pointer is valid for writes of a `T`.
        unsafe { self.0.write(value) }
    }
}

/// A structure that grows: later versions of nearfab add fields after the last field.
pub(crate) trait Growing: Copy {
    /// The size of the structure in the first version that had the structure. This size never changes.
    const FIRST: usize;
}

/// Implements [`Growing`] for a structure. The compiler checks that no padding follows the last field: a field in
/// former padding would not change the size, and only the size distinguishes the versions of a structure.
macro_rules! growing {
    ($structure:ident, first: $first:literal, last: $last:ident) => {
        impl $crate::pointer::Growing for $structure {
            const FIRST: usize = $first;
        }

        const _: () = {
            const fn size_of_field<S, F>(_: fn(&S) -> &F) -> usize {
                size_of::<F>()
            }
            let end = std::mem::offset_of!($structure, $last) + size_of_field(|value: &$structure| &value.$last);
            assert!(end == size_of::<$structure>(), "padding at the end");
            assert!($first <= end, "shorter than at first");
        };
    };
}
pub(crate) use growing;

/// The caller's array of structures. The caller's structure is shorter than this library's structure if the caller was
/// compiled with an older header, and longer if the header was newer.
pub(crate) struct Array<T> {
    first: *mut T,
    size: usize,
    length: usize,
}

impl<T: Growing> Array<T> {
    /// Returns the array. Refuses a null pointer unless the array is empty, and structures that are shorter than in the
    /// first version.
    ///
    /// # Safety
    /// `first` is null or valid for writes of `length` times `size` bytes while the array is used.
    pub(crate) unsafe fn new(name: &str, first: *mut T, size: usize, length: usize) -> Outcome<Self> {
        if first.is_null() && length > 0 {
            return Err(null(name));
        }
        if size < T::FIRST {
            let least = T::FIRST;
            let text =
                format!("a structure of {name} has {size} bytes: expected {least} or more, such as sizeof *{name}");
            return Err(Failure::Argument(text));
        }
        Ok(Self { first, size, length })
    }

    /// Writes as many values as the array has room for, and returns the number of written values. If the caller's
    /// structure is shorter than this library's structure, only the first fields are written. If the caller's structure
    /// is longer, its last bytes are filled with zeros.
    pub(crate) fn fill(self, values: impl IntoIterator<Item = T>) -> usize {
        let known = self.size.min(size_of::<T>());
        let mut count = 0;
        for value in values.into_iter().take(self.length) {
            let offset = count * self.size;
            // SAFETY: `count` is less than `length`, so the offset is inside the `length` times `size` bytes that the
            // caller of `new` guarantees.
            let start = unsafe { self.first.cast::<u8>().add(offset) };
            // SAFETY: `size` bytes from `start` are the structure number `count` of the caller's array, which can be
            // written.
            unsafe { ptr::write_bytes(start, 0, self.size) };
            // SAFETY: `known` is neither more than the `size` bytes at `start` nor more than the bytes of `value`, a
            // local variable that does not overlap with them; bytes need no alignment.
            unsafe { ptr::copy_nonoverlapping((&raw const value).cast(), start, known) };
            count += 1;
        }
        count
    }
}

/// Writes a text as snprintf(3) does: the text is cut to `size` bytes including the NUL. Writes the length of the whole
/// text into `length`.
///
/// # Safety
/// `buffer` is valid for writes of `size` bytes unless that is 0, `length` is null or valid for a write.
pub(crate) unsafe fn put_text(text: &str, buffer: *mut c_char, size: usize, length: *mut usize) -> Outcome {
    if buffer.is_null() && size > 0 {
        return Err(null("buffer"));
    }
    if !length.is_null() {
        // SAFETY: `length` is not null, so the caller guarantees that it can be written.
        unsafe { length.write(text.len()) };
    }
    let Some(room) = size.checked_sub(1) else { return Ok(()) };
    let text = cut(text, room);
    // SAFETY: `text` has at most `size - 1` bytes, of the `size` bytes of `buffer` that the caller guarantees; the text
    // is memory of this library and does not overlap with a buffer of the caller.
    unsafe { ptr::copy_nonoverlapping(text.as_ptr(), buffer.cast(), text.len()) };
    // SAFETY: `text` has at most `size - 1` bytes, so the byte after it is still one of the `size` bytes of `buffer`.
    let end = unsafe { buffer.add(text.len()) };
    // SAFETY: `end` is one of the `size` bytes of `buffer`, which the caller guarantees can be written.
    unsafe { end.write(0) };
    Ok(())
}

/// Returns a text as an array for a structure. A text that is too long is cut, and zeros fill the rest of the array.
pub(crate) fn name<const N: usize>(text: &str) -> [c_char; N] {
    let mut array = [0; N];
    for (to, from) in array.iter_mut().zip(cut(text, N - 1).bytes()) {
        *to = from.cast_signed() as c_char;
    }
    array
}

/// Returns the beginning of a text, at most `length` bytes long, without cutting a character in two.
fn cut(text: &str, length: usize) -> &str {
    let ends = text.char_indices().map(|(start, character)| start + character.len_utf8());
    &text[..ends.take_while(|&end| end <= length).last().unwrap_or(0)]
}

fn null(name: &str) -> Failure {
    Failure::Argument(format!("{name} is a null pointer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A structure that had one field in its first version and has two now.
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Grown {
        old: u32,
        new: u32,
    }

    growing!(Grown, first: 4, last: new);

    fn filled<const N: usize>(size: usize, length: usize) -> [u8; N] {
        let mut buffer = [b'#'; N];
        assert!(size * length <= N);
        // SAFETY: the buffer has at least `size` times `length` bytes.
        let array = unsafe { Array::new("buffer", buffer.as_mut_ptr().cast::<Grown>(), size, length) }.unwrap();
        assert_eq!(array.fill([Grown { old: u32::MAX, new: u32::MAX }; 2]), length);
        buffer
    }

    #[test]
    fn an_older_caller_gets_the_beginning_and_a_newer_caller_gets_zeros() {
        assert_eq!(filled(4, 2), *b"\xff\xff\xff\xff\xff\xff\xff\xff##");
        assert_eq!(filled(8, 1), *b"\xff\xff\xff\xff\xff\xff\xff\xff##");
        assert_eq!(filled(10, 1), *b"\xff\xff\xff\xff\xff\xff\xff\xff\0\0#");
        // SAFETY: a structure of 3 bytes is refused before anything is written.
        assert!(unsafe { Array::new("buffer", ptr::dangling_mut::<Grown>(), 3, 1) }.is_err());
    }
}
