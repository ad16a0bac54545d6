//! The steps in which threads race for the generation and the values of their process.
//!
//! This file is compiled twice: with the atomics of the standard library, and with the atomics of loom for the models.

use std::ptr;

use super::atomic::{AtomicPtr, AtomicU32, Ordering};

/// Returns the value that `newest` points to, if the value belongs to this process. Otherwise makes a value and stores
/// it. If threads race, the value of one thread is stored, and all threads return that value.
///
/// # Errors
/// The errors of `make`, which gets the value that the process inherited.
///
/// # Safety
/// `newest` is null or points to a value that this function stored.
pub(super) unsafe fn value<T: 'static, E>(
    newest: &AtomicPtr<T>,
    is_own: impl Fn(&T) -> bool,
    make: impl Fn(Option<&'static T>) -> Result<T, E>,
) -> Result<&'static T, E> {
    loop {
        let stored = newest.load(Ordering::Acquire);
        // SAFETY: the pointer is null or comes from `Box::into_raw` below. A stored value is never freed or moved, and
        // only shared references to it exist.
        let inherited = unsafe { stored.as_ref() };
        if let Some(own) = inherited.filter(|value| is_own(value)) {
            return Ok(own);
        }
        let own = Box::into_raw(Box::new(make(inherited)?));
        if newest.compare_exchange(stored, own, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            // SAFETY: `own` comes from `Box::into_raw` above. The exchange failed, so no other thread has seen the
            // pointer.
            drop(unsafe { Box::from_raw(own) });
        }
    }
}

/// Gives the process the generation after `newest`, and returns it. If threads race, all return the generation of the
/// first thread.
///
/// `known` points to the place that holds the generation, or to `nowhere` while the process has no such place. `place`
/// makes such a place.
///
/// # Safety
/// `known` points to `nowhere` or to a place of an earlier call. A place is valid for ever, and is accessed as an
/// `AtomicU32` only.
pub(super) unsafe fn generation(
    newest: &AtomicU32,
    known: &AtomicPtr<AtomicU32>,
    nowhere: *mut AtomicU32,
    place: impl FnOnce() -> *mut AtomicU32,
) -> u32 {
    if ptr::eq(known.load(Ordering::Acquire), nowhere) {
        // The place of a thread that loses this race stays unused. This happens at most once for each such thread.
        let _ = known.compare_exchange(nowhere, place(), Ordering::AcqRel, Ordering::Relaxed);
    }
    let next = newest.fetch_add(1, Ordering::Relaxed) + 1;
    // SAFETY: by the exchange above, `known` points to a place, which is valid by the contract of this function.
    let place = unsafe { &*known.load(Ordering::Acquire) };
    place.compare_exchange(0, next, Ordering::Relaxed, Ordering::Relaxed).map_or_else(|known| known, |_| next)
}
