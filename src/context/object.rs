//! An object that libibverbs makes on an open interface: closed once, in the process that made it, and before what it hangs
//! on.

use std::ffi::c_int;
use std::ptr::NonNull;
use std::sync::Arc;

use super::Efa;
use crate::error::{Error, Result};

/// What ending a use came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Closed {
    /// It was the last use: the object is closed.
    Now,
    /// There are other uses, of its own kind or by what was made of it: the last of them closes it.
    Later,
}

/// One object, however many users it has; `P` is what it hangs on beside the interface.
#[derive(Debug)]
pub(super) struct Object<T, P = ()> {
    raw: NonNull<T>,
    destroy: Destroy<T>,
    is_open: bool,
    /// Dropped after the object is destroyed, as all fields are.
    pub(super) parents: P,
    pub(super) efa: Efa,
}

/// The function that ends an object, and its name: 0, or an errno value.
#[derive(Debug)]
pub(super) struct Destroy<T> {
    pub(super) name: &'static str,
    pub(super) function: unsafe extern "C" fn(*mut T) -> c_int,
}

// SAFETY: libibverbs lets any thread use its objects at any time; the pointer never changes, and what is in the object is
// the library's to lock.
unsafe impl<T, P: Send> Send for Object<T, P> {}
// SAFETY: as above.
unsafe impl<T, P: Sync> Sync for Object<T, P> {}

impl<T, P> Object<T, P> {
    /// # Safety
    ///
    /// The object is one of this interface, that `destroy` ends, that hangs on no more than `parents`, and that nobody else
    /// ends.
    pub(super) unsafe fn new(raw: NonNull<T>, destroy: Destroy<T>, parents: P, efa: &Efa) -> Arc<Self> {
        Arc::new(Self { raw, destroy, is_open: true, parents, efa: efa.clone() })
    }

    /// The object, for a call in the process that made it.
    pub(super) fn get(&self) -> Result<*mut T> {
        self.efa.device()?;
        Ok(self.raw.as_ptr())
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
        let device = self.efa.device()?;
        // SAFETY: the object is open, as only this function ends it and does so once; this is the process that made it; and
        // what hangs on it holds it, so that there is none any more.
        let status = unsafe { (self.destroy.function)(self.raw.as_ptr()) };
        device.check(self.destroy.name, status)
    }
}

impl<T, P> Drop for Object<T, P> {
    fn drop(&mut self) {
        if !self.is_open {
            return;
        }
        match self.end() {
            Ok(()) | Err(Error::Forked { .. }) => {} // The parent's own object lives on.
            Err(error) => tracing::warn!(efa = %self.efa.address(), error = error.chain(), "closed with an error"),
        }
    }
}
