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

/// A structure that later versions make longer: fields are added after its last.
pub(crate) trait Growing: Copy {
    /// Its size in the first version that had it, which never changes.
    const FIRST: usize;
}

/// Says of a structure how long it was at first, and has the compiler see that nothing is padded after its last field:
/// a field added there would not change the size, by which versions are told from each other.
macro_rules! growing {
    ($structure:ident, first: $first:literal, last: $last:ident) => {
        impl $crate::pointer::Growing for $structure {
            const FIRST: usize = $first;
        }

        const _: () = {
            const fn size_of_field<S, F>(_: fn(&S) -> &F) -> usize {
                size_of::<F>()
            }
            let end = std::mem::offset_of!($structure, $last) + size_of_field(|it: &$structure| &it.$last);
            assert!(end == size_of::<$structure>(), "padding at the end");
            assert!($first <= end, "shorter than at first");
        };
    };
}
pub(crate) use growing;

/// The caller's array of structures, which are shorter than ours if its header is older, and longer if it is newer.
pub(crate) struct Array<T> {
    first: *mut T,
    size: usize,
    length: usize,
}

impl<T: Growing> Array<T> {
    /// Refuses a null pointer (unless the array is empty) and structures shorter than the first version's.
    ///
    /// # Safety
    /// `first` is null or valid for writes of `length` times `size` bytes as long as the array is used.
    pub(crate) unsafe fn new(name: &str, first: *mut T, size: usize, length: usize) -> Outcome<Self> {
        if first.is_null() && length > 0 {
            return Err(null(name));
        }
        if size < T::FIRST {
            let least = T::FIRST;
            return Err(Failure::Argument(format!("a structure of {name} has {size} bytes, expected {least} or more")));
        }
        Ok(Self { first, size, length })
    }

    /// Writes the values that there is room for, of each what fits, and zeros into what is longer than ours; returns how
    /// many.
    pub(crate) fn fill(self, values: impl IntoIterator<Item = T>) -> usize {
        let known = self.size.min(size_of::<T>());
        let mut count = 0;
        for value in values.into_iter().take(self.length) {
            let offset = count * self.size;
            // SAFETY: `count` is less than `length`, so this is inside what `new`'s caller promised.
            let start = unsafe { self.first.cast::<u8>().add(offset) };
            // SAFETY: as before, for the `size` bytes from there.
            unsafe { ptr::write_bytes(start, 0, self.size) };
            // SAFETY: `known` is no more than `size`, nor than the value has; bytes need no alignment.
            unsafe { ptr::copy_nonoverlapping((&raw const value).cast(), start, known) };
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Had one field at first, and has got another.
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Grown {
        old: u32,
        new: u32,
    }

    growing!(Grown, first: 4, last: new);

    fn filled<const N: usize>(size: usize, length: usize) -> [u8; N] {
        let mut room = [b'#'; N];
        // SAFETY: the caller asks for no more than there is room for.
        let array = unsafe { Array::new("room", room.as_mut_ptr().cast::<Grown>(), size, length) }.unwrap();
        assert_eq!(array.fill([Grown { old: u32::MAX, new: u32::MAX }; 2]), length);
        room
    }

    #[test]
    fn an_older_caller_gets_the_beginning_and_a_newer_one_zeros() {
        assert_eq!(filled(4, 2), *b"\xff\xff\xff\xff\xff\xff\xff\xff##");
        assert_eq!(filled(8, 1), *b"\xff\xff\xff\xff\xff\xff\xff\xff##");
        assert_eq!(filled(10, 1), *b"\xff\xff\xff\xff\xff\xff\xff\xff\0\0#");
        // SAFETY: nothing is written.
        assert!(unsafe { Array::new("room", ptr::dangling_mut::<Grown>(), 3, 1) }.is_err());
    }
}
