//! Values that belong to one process. A forked child inherits its parent's memory, but not the devices, libraries and
//! locks that the memory describes.

pub(in crate::live) mod child;
#[cfg(all(test, loom))]
mod model;
mod race;

use std::num::NonZero;
use std::process;
use std::ptr::{self, NonNull};

use atomic::{AtomicPtr, AtomicU32, Ordering};

use nix::libc;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous};

use crate::error::{Error, Result};

/// The atomics that [`race`] uses here.
mod atomic {
    pub(super) use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
}

/// A static with one value in each process. For nearfab's C and Python packages; not part of the stable API.
///
/// A lock that a child inherits may stay locked for ever, because the thread that holds it does not exist in the child.
/// So a child never uses the value of its parent. The child makes a new value.
#[derive(Debug)]
pub struct PerProcess<T: 'static> {
    /// The newest value; null before the first. No value is ever freed, because `get` hands out `'static` references.
    newest: AtomicPtr<Owned<T>>,
}

/// A value and the process that owns it.
#[derive(Debug)]
pub struct Owned<T: 'static> {
    /// The PID of the process that made the value.
    pub owner: u32,
    /// The owner's generation. An ancestor of the owner may have had the same PID, but never the same generation.
    generation: u32,
    /// The value. Outside the owner, only the atomic and the immutable parts of the value are valid: a lock may be
    /// locked for ever.
    pub value: T,
    /// Keeps the parent's value reachable, so that leak checkers do not report the value.
    _inherited: Option<&'static Owned<T>>,
}

impl<T: Send + Sync + 'static> PerProcess<T> {
    /// Makes a static without a value.
    #[expect(clippy::new_without_default, reason = "made as a static, which Default cannot")]
    pub const fn new() -> Self {
        Self { newest: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Returns the value of this process. If the process has none, `make` makes it from the value that the process
    /// inherited. If threads race, the value of one of them is kept.
    ///
    /// # Errors
    /// The errors of `make`.
    pub fn get<E>(
        &self,
        make: impl Fn(Option<&Owned<T>>) -> std::result::Result<T, E>,
    ) -> std::result::Result<&'static Owned<T>, E> {
        let is_own = |value: &Owned<T>| value.generation == generation();
        let make = |inherited| Ok(Owned { _inherited: inherited, ..Owned::new(make(inherited)?) });
        // SAFETY: `newest` is null at first, and nothing else stores in it.
        unsafe { race::value(&self.newest, is_own, make) }
    }
}

impl<T> Owned<T> {
    /// Makes a value that belongs to this process.
    pub(crate) fn new(value: T) -> Self {
        Self { owner: process::id(), generation: generation(), value, _inherited: None }
    }

    /// Returns the value.
    ///
    /// # Errors
    /// [`Error::Forked`] in every process except the owner.
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

/// Returns the generation of this process: a number greater than the generations of all its ancestors.
///
/// A PID does not distinguish a process from its ancestors: the first process of a nested container can have the PID of
/// its parent.
fn generation() -> u32 {
    match known_generation() {
        0 => learn_generation(),
        generation => generation,
    }
}

/// Returns the generation, or 0 before the first call of [`generation`] in this process. A new child reads 0.
///
/// Each call of the library compares the generation. A system call such as `getpid` would take several times as long.
#[inline]
fn known_generation() -> u32 {
    // SAFETY: `KNOWN` holds the address of `NOWHERE`, of `CLEARED_BY_FORK`, or of a page that is never unmapped. Each
    // of these places is aligned for an `AtomicU32`, is initialized (a fresh or wiped page is zero), and is accessed as
    // an `AtomicU32` only.
    unsafe { &*KNOWN.load(Ordering::Acquire) }.load(Ordering::Relaxed)
}

/// The greatest generation of this process and its ancestors. A child inherits this number.
static NEWEST: AtomicU32 = AtomicU32::new(0);

/// The address of this process's generation. No lock guards the address, because a child could inherit the lock in its
/// locked state.
static KNOWN: AtomicPtr<AtomicU32> = AtomicPtr::new((&raw const NOWHERE).cast_mut());

/// Always 0. [`KNOWN`] points here until the first call of [`learn_generation`].
static NOWHERE: AtomicU32 = AtomicU32::new(0);

/// Takes the place of the wiped page on kernels before 4.14, which have no `MADV_WIPEONFORK`.
static CLEARED_BY_FORK: AtomicU32 = AtomicU32::new(0);

fn learn_generation() -> u32 {
    let nowhere = (&raw const NOWHERE).cast_mut();
    let place = || wiped_page().map_or_else(|_| cleared_by_fork(), NonNull::as_ptr);
    // SAFETY: `KNOWN` is `NOWHERE` at first, and nothing else stores in it. A place is `CLEARED_BY_FORK` or a page that
    // is never unmapped. Both places are aligned for an `AtomicU32`, are initialized, and are accessed as an
    // `AtomicU32` only.
    unsafe { race::generation(&NEWEST, &KNOWN, nowhere, place) }
}

/// Maps a page that the kernel clears in each child.
fn wiped_page() -> nix::Result<NonNull<AtomicU32>> {
    let size = NonZero::<usize>::MIN; // The kernel gives a whole page.
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: without an address and `MAP_FIXED`, the kernel chooses a free range, so the call replaces no existing
    // mapping.
    let page = unsafe { mmap_anonymous(None, size, protection, MapFlags::MAP_PRIVATE) }?;
    // SAFETY: the page was mapped just now and nothing refers to it. The advice changes its content in children only,
    // where a zero is a valid `AtomicU32`.
    unsafe { madvise(page, size.get(), MmapAdvise::MADV_WIPEONFORK) }?;
    Ok(page.cast())
}

/// Returns a static that `fork(3)` clears in the child. A child that was made by the bare system call does not run the
/// handler, so nearfab does not recognize the child.
fn cleared_by_fork() -> *mut AtomicU32 {
    extern "C" fn clear() {
        CLEARED_BY_FORK.store(0, Ordering::Relaxed);
    }
    // SAFETY: `clear` has the signature that the function expects and lives as long as the program. `clear` makes one
    // atomic store, which is allowed in a child of a process with threads.
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

    /// A child in a new PID namespace can have the PID of its parent.
    #[test]
    fn a_child_with_its_parents_pid_cannot_use_its_parents_value() {
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
    fn fork_clears_the_static_that_old_kernels_use() {
        // SAFETY: the function returns the address of a static, which is accessed as an `AtomicU32` only.
        let place = unsafe { &*cleared_by_fork() };
        place.store(7, Ordering::Relaxed);
        in_a_child(|| place.load(Ordering::Relaxed) == 0);
        assert_eq!(place.load(Ordering::Relaxed), 7);
    }
}
