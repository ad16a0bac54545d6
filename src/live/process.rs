//! What each process has for itself: a forked child inherits the memory and not what it stands for.

pub(in crate::live) mod child;

use std::num::NonZero;
use std::process;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use nix::libc;
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
    /// Among its ancestors, which may have had the same number.
    generation: u32,
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
            if let Some(own) = inherited.filter(|newest| newest.generation == generation()) {
                return Ok(own);
            }
            let own = Owned { _inherited: inherited, ..Owned::new(make(inherited)?) };
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
    pub(crate) fn new(value: T) -> Self {
        Self { owner: process::id(), generation: generation(), value, _inherited: None }
    }

    /// The value, in its own process.
    ///
    /// # Errors
    /// [`Error::Forked`] in every other.
    #[inline]
    pub fn get(&self) -> Result<&T> {
        self.check().map(|()| &self.value)
    }

    #[inline]
    fn check(&self) -> Result<()> {
        if self.generation == known_generation() { Ok(()) } else { Err(forked(self.owner)) }
    }
}

#[cold]
fn forked(owner: u32) -> Error {
    Error::Forked { owner }
}

/// Which process this is among its ancestors, of which each has a lower number. Its number in the system may be that of one of them, as
/// of the first process in a container's container.
fn generation() -> u32 {
    match known_generation() {
        0 => learn_generation(),
        generation => generation,
    }
}

/// The generation, or 0 where it has not been asked for yet: so in a child, whatever its parent knew.
///
/// It is compared in each call of the library, which a call of the system would make several times as long.
#[inline]
fn known_generation() -> u32 {
    // SAFETY: it is one of the two here, or a page that was leaked: aligned, and only ever used as this number.
    unsafe { &*KNOWN.load(Ordering::Acquire) }.load(Ordering::Relaxed)
}

/// The newest of this process and its ancestors. A child inherits it.
static NEWEST: AtomicU32 = AtomicU32::new(0);

/// Where the number is kept. No lock, which a child could inherit while it is taken.
static KNOWN: AtomicPtr<AtomicU32> = AtomicPtr::new((&raw const NOWHERE).cast_mut());

/// Until the first call: always 0.
static NOWHERE: AtomicU32 = AtomicU32::new(0);

/// In place of a page, where the kernel (before 4.14) does not clear one.
static CLEARED_BY_FORK: AtomicU32 = AtomicU32::new(0);

fn learn_generation() -> u32 {
    let nowhere = (&raw const NOWHERE).cast_mut();
    if ptr::eq(KNOWN.load(Ordering::Acquire), nowhere) {
        let place = wiped_page().map_or_else(|_| cleared_by_fork(), NonNull::as_ptr);
        // A page that loses the race is left: it is one, and once.
        let _ = KNOWN.compare_exchange(nowhere, place, Ordering::AcqRel, Ordering::Relaxed);
    }
    let next = NEWEST.fetch_add(1, Ordering::Relaxed) + 1;
    // SAFETY: as for `known_generation`, and it is not `NOWHERE` any more.
    let known = unsafe { &*KNOWN.load(Ordering::Acquire) };
    // Of threads that race the first one's counts.
    known.compare_exchange(0, next, Ordering::Relaxed, Ordering::Relaxed).map_or_else(|known| known, |_| next)
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

/// A place that `fork(3)` clears. Who makes a child by the bare call of the system, and goes on in it, is not noticed.
fn cleared_by_fork() -> *mut AtomicU32 {
    extern "C" fn clear() {
        CLEARED_BY_FORK.store(0, Ordering::Relaxed);
    }
    // SAFETY: what it calls in each child does no more than a store.
    unsafe { libc::pthread_atfork(None, None, Some(clear)) };
    (&raw const CLEARED_BY_FORK).cast_mut()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::child::in_a_child;

    #[test]
    fn each_process_has_its_own_generation() {
        let own = generation();
        assert_eq!((generation(), known_generation()), (own, own));
        in_a_child(|| {
            let unknown = known_generation() == 0;
            let child = generation();
            in_a_child(|| ![0, own, child].contains(&generation()));
            unknown && ![0, own].contains(&child) && generation() == child
        });
        assert_eq!(generation(), own);
    }

    /// As of a child in a namespace of its own, whose number is its parent's.
    #[test]
    fn a_child_with_the_number_of_its_parent_is_not_taken_for_it() {
        let parents = Owned::new(7);
        in_a_child(|| {
            let of_child = Owned { owner: process::id(), ..Owned::new(8) };
            let looks_alike =
                Owned { owner: of_child.owner, generation: parents.generation, value: 7, _inherited: None };
            of_child.get().is_ok() && looks_alike.get().is_err()
        });
        assert!(parents.get().is_ok());
    }

    #[test]
    fn an_old_kernel_has_a_place_that_fork_clears() {
        // SAFETY: a static.
        let place = unsafe { &*cleared_by_fork() };
        place.store(7, Ordering::Relaxed);
        in_a_child(|| place.load(Ordering::Relaxed) == 0);
        assert_eq!(place.load(Ordering::Relaxed), 7);
    }
}
