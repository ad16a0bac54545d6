//! A use of something open: of what nearfab opened and shares, or of what somebody else opened.

use std::sync::Arc;

use super::registry::{Lease, Shared};
use crate::error::Result;
use crate::live::process::Owned;

/// One of the users.
#[derive(Debug)]
pub(super) enum Use<T: Shared> {
    /// Of what nearfab opened, and closes after the last.
    Leased(Lease<T>),
    /// Of what somebody else opened, and closes.
    Borrowed(Arc<Borrowed<T>>),
}

#[derive(Debug)]
pub(super) struct Borrowed<T: Shared> {
    key: T::Key,
    owned: Owned<T>,
}

impl<T: Shared> Use<T> {
    /// Of what somebody else opened: it is not closed from here.
    pub(super) fn borrowed(key: T::Key, open: T) -> Self {
        Self::Borrowed(Arc::new(Borrowed { key, owned: Owned::new(open) }))
    }

    pub(super) fn key(&self) -> &T::Key {
        match self {
            Self::Leased(lease) => lease.key(),
            Self::Borrowed(borrowed) => &borrowed.key,
        }
    }

    /// What is used, in the process that opened it.
    #[inline]
    pub(super) fn get(&self) -> Result<&T> {
        match self {
            Self::Leased(lease) => lease.shared(),
            Self::Borrowed(borrowed) => borrowed.owned.get(),
        }
    }

    /// How many users there are, this one included.
    pub(super) fn users(&self) -> Result<usize> {
        match self {
            Self::Leased(lease) => lease.users(),
            Self::Borrowed(borrowed) => borrowed.owned.get().map(|_| Arc::strong_count(borrowed)),
        }
    }

    /// Ends this use, and tells how many others there are; at none, what nearfab opened has been closed.
    pub(super) fn close(self) -> Result<usize> {
        match self {
            Self::Leased(lease) => lease.give_back(),
            Self::Borrowed(borrowed) => borrowed.owned.get().map(|_| Arc::strong_count(&borrowed) - 1),
        }
    }
}

impl<T: Shared> Clone for Use<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Leased(lease) => Self::Leased(lease.clone()),
            Self::Borrowed(borrowed) => Self::Borrowed(Arc::clone(borrowed)),
        }
    }
}
