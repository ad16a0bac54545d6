//! An object that a vendor library made on an open device or domain. The object is destroyed once, in the process that
//! made it. The object is destroyed before its parent and its dependencies.

use std::ffi::c_int;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::live::process::Owned;

/// Whether closing a handle also closed the device, domain or object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Closed {
    /// The closed handle was the last handle: the device, domain or object is closed.
    Now,
    /// The device, domain or object stays open: other handles or objects use it, and the last of these closes it. A
    /// device or domain that was borrowed from another runtime stays open too, until that runtime closes it.
    Later,
}

/// The open device or domain that owns an object. The parent is a handle, which keeps the device or domain open.
pub(super) trait Parent {
    /// Turns the status that a function of the library returned into a result.
    fn check(&self, function: &'static str, status: c_int) -> Result<()>;
}

/// An object of a vendor library, shared by its handles. `D` is the type of the other objects that the object depends
/// on.
#[derive(Debug)]
pub(super) struct Object<T: 'static, P: Parent, D = ()> {
    raw: Owned<NonNull<T>>,
    destroy: Destroy<T>,
    is_open: bool,
    /// The dependencies are dropped after the object is destroyed, like all fields.
    pub(super) dependencies: D,
    pub(super) parent: P,
}

/// The function that destroys an object, and its name.
#[derive(Debug)]
pub(super) struct Destroy<T> {
    pub(super) name: &'static str,
    pub(super) function: unsafe extern "C" fn(*mut T) -> c_int,
}

// SAFETY: the caller of `new` promises that any thread may use and destroy the library's object. The pointer to it
// never changes, and the other fields are `Send` by the bounds.
unsafe impl<T, P: Parent + Send, D: Send> Send for Object<T, P, D> {}
// SAFETY: the caller of `new` promises that any threads may use the library's object at the same time: the library
// locks its state. The pointer to it never changes, and the other fields are `Sync` by the bounds.
unsafe impl<T, P: Parent + Sync, D: Sync> Sync for Object<T, P, D> {}

impl<T: 'static, P: Parent, D> Object<T, P, D> {
    /// # Safety
    ///
    /// - `raw` is an object of `parent` that this process made just now. `destroy` destroys it, and nothing else does.
    /// - The object depends on `parent` and `dependencies` only.
    /// - The library lets any thread use the object at any time.
    pub(super) unsafe fn new(raw: NonNull<T>, destroy: Destroy<T>, dependencies: D, parent: P) -> Arc<Self> {
        Arc::new(Self { raw: Owned::new(raw), destroy, is_open: true, dependencies, parent })
    }

    /// Returns the object. Fails outside the process that made the object.
    #[inline]
    pub(super) fn get(&self) -> Result<*mut T> {
        Ok(self.raw.get()?.as_ptr())
    }

    /// Returns the object, for callers that have checked that this process made it.
    #[inline]
    pub(super) fn get_unchecked(&self) -> NonNull<T> {
        self.raw.value
    }

    /// Closes one handle. Destroys the object if this was the last handle.
    pub(super) fn close(this: Arc<Self>) -> Result<Closed> {
        this.get()?;
        match Arc::into_inner(this) {
            Some(mut last) => last.destroy().map(|()| Closed::Now),
            None => Ok(Closed::Later),
        }
    }

    fn destroy(&mut self) -> Result<()> {
        self.is_open = false;
        let raw = self.get()?;
        // SAFETY: the object exists, because only this function destroys it and this function runs once: `close` takes
        // the last handle, and `is_open` keeps `drop` from a second call. `get` shows that this process made the
        // object. Nothing depends on the object: each dependent object holds a handle of it, and no handle is left.
        let status = unsafe { (self.destroy.function)(raw) };
        self.parent.check(self.destroy.name, status)
    }
}

impl<T: 'static, P: Parent, D> Drop for Object<T, P, D> {
    fn drop(&mut self) {
        if !self.is_open {
            return;
        }
        match self.destroy() {
            Ok(()) | Err(Error::Forked { .. }) => {} // The object of the parent process stays open.
            Err(error) => tracing::warn!(error = %error, "an object was closed with an error"),
        }
    }
}
