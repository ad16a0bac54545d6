//! A handle of an open device or domain that nearfab opened and shares, or that another runtime opened.

use std::sync::Arc;

use super::object::Closed;
use super::registry::{Lease, Shared};
use crate::error::Result;
use crate::live::process::Owned;

/// One handle of an open device or domain.
#[derive(Debug)]
pub(super) enum Handle<T: Shared> {
    /// nearfab opened the device or domain, and closes it with the last lease.
    Leased(Lease<T>),
    /// Another runtime opened the device or domain, and that runtime closes it.
    Borrowed(Arc<Borrowed<T>>),
}

#[derive(Debug)]
pub(super) struct Borrowed<T: Shared> {
    key: T::Key,
    owned: Owned<T>,
}

impl<T: Shared> Handle<T> {
    /// Makes a handle of a device or domain that another runtime opened. nearfab never closes it.
    pub(super) fn borrowed(key: T::Key, open: T) -> Self {
        Self::Borrowed(Arc::new(Borrowed { key, owned: Owned::new(open) }))
    }

    pub(super) fn key(&self) -> &T::Key {
        match self {
            Self::Leased(lease) => lease.key(),
            Self::Borrowed(borrowed) => &borrowed.key,
        }
    }

    /// Returns the device or domain. Fails outside the process that opened the device or domain.
    #[inline]
    pub(super) fn get(&self) -> Result<&T> {
        match self {
            Self::Leased(lease) => lease.shared(),
            Self::Borrowed(borrowed) => borrowed.owned.get(),
        }
    }

    /// Returns the number of handles, this one included.
    pub(super) fn users(&self) -> Result<usize> {
        match self {
            Self::Leased(lease) => lease.users(),
            Self::Borrowed(borrowed) => borrowed.owned.get().map(|_| Arc::strong_count(borrowed)),
        }
    }

    /// Closes this handle. The last lease also closes the device or domain that nearfab opened.
    pub(super) fn close(self) -> Result<Closed> {
        match self {
            Self::Leased(lease) => lease.release().map(|others| if others == 0 { Closed::Now } else { Closed::Later }),
            Self::Borrowed(borrowed) => borrowed.owned.get().map(|_| Closed::Later),
        }
    }
}

impl<T: Shared> Clone for Handle<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Leased(lease) => Self::Leased(lease.clone()),
            Self::Borrowed(borrowed) => Self::Borrowed(Arc::clone(borrowed)),
        }
    }
}
