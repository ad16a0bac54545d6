//! An object that a vendor library makes on something open: ended once, in the process that made it, and before what it hangs
//! on.

use std::ffi::c_int;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::live::process::Owned;

/// What ending a use came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Closed {
    /// It was the last use: the object is closed.
    Now,
    /// There are other uses, of its own kind or by what was made of it: the last of them closes it.
    Later,
}

/// What objects are made on: one use of it.
pub(super) trait Home {
    /// What a function of the library came to.
    fn check(&self, function: &'static str, status: c_int) -> Result<()>;
}

/// One object, however many users it has; `P` is what it hangs on beside its home.
#[derive(Debug)]
pub(super) struct Object<T: 'static, H: Home, P = ()> {
    raw: Owned<NonNull<T>>,
    destroy: Destroy<T>,
    is_open: bool,
    /// Dropped after the object is destroyed, as all fields are.
    pub(super) parents: P,
    pub(super) home: H,
}

/// The function that ends an object, and its name.
#[derive(Debug)]
pub(super) struct Destroy<T> {
    pub(super) name: &'static str,
    pub(super) function: unsafe extern "C" fn(*mut T) -> c_int,
}

// SAFETY: what is made into an object may be used by any thread at any time, as its maker promises; the pointer never changes,
// and what is in the object is the library's to lock.
unsafe impl<T, H: Home + Send, P: Send> Send for Object<T, H, P> {}
// SAFETY: as above.
unsafe impl<T, H: Home + Sync, P: Sync> Sync for Object<T, H, P> {}

impl<T: 'static, H: Home, P> Object<T, H, P> {
    /// # Safety
    ///
    /// The object is one of this home, that `destroy` ends, that hangs on no more than `parents`, and that nobody else
    /// ends; the library lets any thread use it at any time.
    pub(super) unsafe fn new(raw: NonNull<T>, destroy: Destroy<T>, parents: P, home: H) -> Arc<Self> {
        Arc::new(Self { raw: Owned::new(raw), destroy, is_open: true, parents, home })
    }

    /// The object, for a call in the process that made it.
    #[inline]
    pub(super) fn get(&self) -> Result<*mut T> {
        Ok(self.raw.get()?.as_ptr())
    }

    /// The object, for one who knows that this is the process that made it.
    #[inline]
    pub(super) fn get_unchecked(&self) -> NonNull<T> {
        self.raw.value
    }

    /// Ends one use, and the object with the last.
    pub(super) fn close(this: Arc<Self>) -> Result<Closed> {
        this.get()?;
        match Arc::into_inner(this) {
            Some(mut last) => last.end().map(|()| Closed::Now),
            None => Ok(Closed::Later),
        }
    }

    fn end(&mut self) -> Result<()> {
        self.is_open = false;
        let raw = self.get()?;
        // SAFETY: the object is open, as only this function ends it and does so once; this is the process that made it; and
        // what hangs on it holds it, so that there is none any more.
        let status = unsafe { (self.destroy.function)(raw) };
        self.home.check(self.destroy.name, status)
    }
}

impl<T: 'static, H: Home, P> Drop for Object<T, H, P> {
    fn drop(&mut self) {
        if !self.is_open {
            return;
        }
        match self.end() {
            Ok(()) | Err(Error::Forked { .. }) => {} // The parent's own object lives on.
            Err(error) => tracing::warn!(error = error.chain(), "closed with an error"),
        }
    }
}
