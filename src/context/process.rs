//! What each process has for itself: a forked child inherits the memory and not what it stands for.

use std::num::NonZero;
use std::process;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous};

use crate::error::{Error, Result};

/// A value for each process. For nearfab's other faces, and no part of what it promises.
///
/// A lock that is inherited may be held for ever, by a thread that the child does not have. So a child never touches the
/// value of its parent, and makes one of its own.
#[derive(Debug)]
pub struct PerProcess<T: 'static> {
    /// The newest value, null before the first. None is ever freed: there are references to it.
    newest: AtomicPtr<Owned<T>>,
}

/// A value, and whose it is.
#[derive(Debug)]
pub struct Owned<T: 'static> {
    /// The process that made it.
    pub owner: u32,
    /// In another process than its owner, only what is atomic or never changes can be relied upon.
    pub value: T,
    /// Keeps what was inherited in reach, or checkers of leaks would report it.
    _inherited: Option<&'static Owned<T>>,
}

impl<T: Send + Sync + 'static> PerProcess<T> {
    /// Without a value so far.
    #[expect(clippy::new_without_default, reason = "made as a static, which Default cannot")]
    pub const fn new() -> Self {
        Self { newest: AtomicPtr::new(ptr::null_mut()) }
    }

    /// The value of this process. `make` makes the first, given what the process inherited; where threads race, one of
    /// theirs is kept.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn get<E>(
        &self,
        make: impl Fn(Option<&Owned<T>>) -> std::result::Result<T, E>,
    ) -> std::result::Result<&'static Owned<T>, E> {
        loop {
            let newest = self.newest.load(Ordering::Acquire);
            // SAFETY: it is null, or a value that was leaked below.
            let inherited = unsafe { newest.as_ref() };
            if let Some(own) = inherited.filter(|newest| newest.owner == id()) {
                return Ok(own);
            }
            let own = Owned { owner: id(), value: make(inherited)?, _inherited: inherited };
            let own = Box::into_raw(Box::new(own));
            if self.newest.compare_exchange(newest, own, Ordering::AcqRel, Ordering::Relaxed).is_err() {
                // SAFETY: it comes from `Box::into_raw`, and another thread's was stored in its place.
                drop(unsafe { Box::from_raw(own) });
            }
        }
    }
}

impl<T> Owned<T> {
    /// A value of this process.
    pub(super) fn new(value: T) -> Self {
        Self { owner: id(), value, _inherited: None }
    }

    /// The value, in its own process.
    ///
    /// # Errors
    /// [`Error::Forked`] in every other.
    pub fn get(&self) -> Result<&T> {
        if self.owner == id() { Ok(&self.value) } else { Err(Error::Forked { owner: self.owner }) }
    }
}

/// The number of this process. It is asked for in each call, which a call of the system would make several times as long: so it
/// is kept where the kernel wipes it in each child, however it is forked.
fn id() -> u32 {
    let known = known();
    match known.load(Ordering::Relaxed) {
        0 => {
            let id = process::id();
            if !ptr::eq(known, &raw const NOWHERE) {
                known.store(id, Ordering::Relaxed);
            }
            id
        }
        id => id,
    }
}

/// In place of a page, where the kernel (before 4.14) does not wipe one: always 0.
static NOWHERE: AtomicU32 = AtomicU32::new(0);

/// Where the number is kept: 0 until it is known.
fn known() -> &'static AtomicU32 {
    // No lock, which a child could inherit while it is taken.
    static PAGE: AtomicPtr<AtomicU32> = AtomicPtr::new(ptr::null_mut());
    // SAFETY: it is null, or what was leaked below.
    if let Some(known) = unsafe { PAGE.load(Ordering::Acquire).as_ref() } {
        return known;
    }
    let made = wiped_page().map_or_else(|_| (&raw const NOWHERE).cast_mut(), NonNull::as_ptr);
    // A page that loses the race is left: it is one, and once.
    let _ = PAGE.compare_exchange(ptr::null_mut(), made, Ordering::AcqRel, Ordering::Relaxed);
    // SAFETY: it is what was leaked here or by another thread: aligned as a page, zero, and only ever used as this number.
    unsafe { &*PAGE.load(Ordering::Acquire) }
}

/// A page that the kernel clears in each child.
fn wiped_page() -> nix::Result<NonNull<AtomicU32>> {
    let size = NonZero::<usize>::MIN; // The kernel gives a whole page.
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: nothing is mapped over.
    let page = unsafe { mmap_anonymous(None, size, protection, MapFlags::MAP_PRIVATE) }?;
    // SAFETY: the page is ours, and nothing is in it yet.
    unsafe { madvise(page, size.get(), MmapAdvise::MADV_WIPEONFORK) }?;
    Ok(page.cast())
}

#[cfg(test)]
mod tests {
    use super::super::child::in_a_child;
    use super::*;

    #[test]
    fn each_process_knows_its_own_number() {
        assert_eq!((id(), id()), (process::id(), process::id()));
        in_a_child(|| {
            let right = id() == process::id();
            in_a_child(|| id() == process::id());
            right && id() == process::id()
        });
        assert_eq!(id(), process::id());
    }
}
