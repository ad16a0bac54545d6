//! What each process has for itself: a forked child inherits the memory and not what it stands for.

use std::process;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

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
            if let Some(own) = inherited.filter(|newest| newest.owner == process::id()) {
                return Ok(own);
            }
            let own = Owned { owner: process::id(), value: make(inherited)?, _inherited: inherited };
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
        Self { owner: process::id(), value, _inherited: None }
    }

    /// The value, in its own process.
    ///
    /// # Errors
    /// [`Error::Forked`] in every other.
    pub fn get(&self) -> Result<&T> {
        if self.owner == process::id() { Ok(&self.value) } else { Err(Error::Forked { owner: self.owner }) }
    }
}
