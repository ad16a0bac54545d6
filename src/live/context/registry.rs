//! Who shares what in this process.
//!
//! A slot is there while it has users, and everything that changes a slot happens under one lock, the opening and the
//! closing of what is shared included: whoever opens a device that another thread closes at the same time waits and
//! opens it anew. Using what is shared takes no lock.
//!
//! A forked child inherits the memory and not what it stands for. It gets a registry of its own; a lease of the parent's
//! is worth nothing in it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::PoisonError;

use crate::error::{Error, Result};
use crate::live::process::{Owned, PerProcess};
use crate::live::sync::{Arc, AtomicBool, Mutex, MutexGuard, Ordering};

/// Something that is shared, and closed when its last user is gone.
pub(super) trait Shared: Send + Sync + 'static {
    /// What it is known by.
    type Key: Ord + Clone + fmt::Debug + Send + Sync;

    /// Closes what is shared.
    ///
    /// # Safety
    /// It is called once, in the process that opened, and nothing is called after it.
    unsafe fn close(&self) -> Result<()>;
}

/// What is shared, in the process that asks.
#[derive(Debug)]
pub(super) struct Registry<T: Shared>(PerProcess<Slots<T>>);

#[derive(Debug)]
struct Slots<T: Shared> {
    /// Whether a thread is opening or closing, and so inside the vendor library.
    busy: AtomicBool,
    all: Mutex<BTreeMap<T::Key, Slot<T>>>,
}

#[derive(Debug)]
struct Slot<T> {
    users: usize,
    shared: Arc<T>,
}

/// One use of what is shared.
#[derive(Debug)]
pub(super) struct Lease<T: Shared> {
    slots: &'static Owned<Slots<T>>,
    key: T::Key,
    shared: Arc<T>,
    given_back: bool,
}

impl<T: Shared> Registry<T> {
    pub(super) const fn new() -> Self {
        Self(PerProcess::new())
    }

    /// One more use of what is shared by this key; the first one opens it.
    pub(super) fn lease(&self, key: T::Key, open: impl FnOnce() -> Result<T>) -> Result<Lease<T>> {
        self.0.get(Slots::new)?.lease(key, open)
    }
}

impl<T: Shared> Owned<Slots<T>> {
    fn lease(&'static self, key: T::Key, open: impl FnOnce() -> Result<T>) -> Result<Lease<T>> {
        let slots = self.get()?;
        let mut all = slots.lock();
        let slot = match all.entry(key.clone()) {
            Entry::Occupied(slot) => slot.into_mut(),
            Entry::Vacant(slot) => slot.insert(Slot { users: 0, shared: Arc::new(slots.busy_with(open)?) }),
        };
        slot.users += 1;
        Ok(Lease { slots: self, key, shared: Arc::clone(&slot.shared), given_back: false })
    }
}

impl<T: Shared> Slots<T> {
    /// None for a child that was forked while a thread of its parent, which does not exist here, was opening or closing:
    /// the locks of the vendor library may be held as well, for ever.
    fn new(inherited: Option<&Owned<Self>>) -> Result<Self> {
        match inherited {
            Some(parent) if parent.value.busy.load(Ordering::SeqCst) => Err(Error::Forked { owner: parent.owner }),
            _ => Ok(Self { busy: AtomicBool::new(false), all: Mutex::default() }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<T::Key, Slot<T>>> {
        // A panic in `open` or `close` leaves the slots as they were.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens or closes, under the lock.
    fn busy_with<R>(&self, call: impl FnOnce() -> R) -> R {
        struct Busy<'a>(&'a AtomicBool);
        impl Drop for Busy<'_> {
            fn drop(&mut self) {
                self.0.store(false, Ordering::SeqCst);
            }
        }

        self.busy.store(true, Ordering::SeqCst);
        let _until_it_returns_or_panics = Busy(&self.busy);
        call()
    }
}

impl<T: Shared> Lease<T> {
    pub(super) fn key(&self) -> &T::Key {
        &self.key
    }

    /// What is shared, for use in the process that opened it.
    pub(super) fn shared(&self) -> Result<&T> {
        self.slots.get()?;
        Ok(&self.shared)
    }

    pub(super) fn users(&self) -> Result<usize> {
        Ok(self.slots.get()?.lock().get(&self.key).map_or(0, |slot| slot.users))
    }

    /// Ends this use and tells how many others there are; at none, what was shared has been closed.
    pub(super) fn give_back(mut self) -> Result<usize> {
        self.end()
    }

    fn end(&mut self) -> Result<usize> {
        self.given_back = true;
        let slots = self.slots.get()?;
        let mut all = slots.lock();
        let Some(slot) = all.get_mut(&self.key) else { return Ok(0) };
        slot.users -= 1;
        let others = slot.users;
        if others == 0 {
            all.remove(&self.key);
            slots.busy_with(|| {
                // SAFETY: in its own process, as `slots` shows; no lease is left, by which alone it is reached, but this
                // one, which is given back and borrowed by nobody; and its slot is gone, so no other comes to it.
                unsafe { self.shared.close() }
            })?;
        }
        Ok(others)
    }
}

/// One more use. In a forked child it is as useless as the first.
impl<T: Shared> Clone for Lease<T> {
    fn clone(&self) -> Self {
        if let Ok(slots) = self.slots.get()
            && let Some(slot) = slots.lock().get_mut(&self.key)
        {
            slot.users += 1;
        }
        Self { slots: self.slots, key: self.key.clone(), shared: Arc::clone(&self.shared), given_back: false }
    }
}

impl<T: Shared> Drop for Lease<T> {
    fn drop(&mut self) {
        if self.given_back {
            return;
        }
        match self.end() {
            Ok(_) | Err(Error::Forked { .. }) => {} // The parent's own handle lives on.
            Err(error) => tracing::warn!(key = ?self.key, error = error.chain(), "closed with an error"),
        }
    }
}

#[cfg(all(test, loom))]
#[path = "registry/model.rs"]
mod model;

#[cfg(all(test, not(loom)))]
mod tests {
    use std::io;
    use std::panic;
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    use super::*;
    use crate::live::child::in_a_child;
    use crate::types::Bdf;

    const ADDRESS: Bdf = Bdf::new(0, 0xc9, 0, 0);

    /// Counts how many of it are open, which must never be two.
    #[derive(Debug)]
    struct Device {
        open: &'static AtomicUsize,
        closing: fn() -> Result<()>,
    }

    impl Device {
        fn open(open: &'static AtomicUsize) -> Result<Self> {
            assert_eq!(open.fetch_add(1, Ordering::SeqCst), 0, "open twice");
            Ok(Self { open, closing: || Ok(()) })
        }
    }

    impl Shared for Device {
        type Key = Bdf;

        unsafe fn close(&self) -> Result<()> {
            thread::yield_now(); // Lets others in, if anything does.
            assert_eq!(self.open.fetch_sub(1, Ordering::SeqCst), 1, "closed twice");
            (self.closing)()
        }
    }

    fn failure() -> Error {
        Error::Call { function: "ibv_close_device", device: "rdmap201s0".into(), source: io::Error::other("busy") }
    }

    /// A registry and a counter of its own for each test.
    macro_rules! registry {
        () => {{
            static REGISTRY: Registry<Device> = Registry::new();
            static OPEN: AtomicUsize = AtomicUsize::new(0);
            (&REGISTRY, &OPEN)
        }};
    }

    #[test]
    fn the_first_user_opens_and_the_last_closes() {
        let (registry, open) = registry!();
        let first = registry.lease(ADDRESS, || Device::open(open)).unwrap();
        let second = registry.lease(ADDRESS, || Device::open(open)).unwrap();
        let third = first.clone();
        assert_eq!(third.users().unwrap(), 3);
        drop(first);
        assert_eq!(third.users().unwrap(), 2);
        assert_eq!(second.give_back().unwrap(), 1);
        assert_eq!(open.load(Ordering::SeqCst), 1);
        assert_eq!(third.give_back().unwrap(), 0);
        assert_eq!(open.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn what_failed_to_open_leaves_nothing_behind() {
        let (registry, open) = registry!();
        registry.lease(ADDRESS, || Err(failure())).unwrap_err();
        let lease = registry.lease(ADDRESS, || Device::open(open)).unwrap();
        assert_eq!(lease.users().unwrap(), 1);
    }

    #[test]
    fn what_failed_to_close_is_reported_and_gone() {
        let (registry, open) = registry!();
        let lease =
            registry.lease(ADDRESS, || Ok(Device { closing: || Err(failure()), ..Device::open(open)? })).unwrap();
        let error = lease.give_back().unwrap_err();
        assert!(matches!(error, Error::Call { function: "ibv_close_device", .. }), "{error}");
        assert_eq!(registry.lease(ADDRESS, || Device::open(open)).unwrap().users().unwrap(), 1);
    }

    #[test]
    fn a_last_drop_and_a_new_open_do_not_meet() {
        let (registry, open) = registry!();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..1_000_000 {
                        let lease = registry.lease(ADDRESS, || Device::open(open)).unwrap();
                        assert_eq!(lease.shared().unwrap().open.load(Ordering::SeqCst), 1);
                    }
                });
            }
        });
        assert_eq!(open.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_forked_child_cannot_use_what_its_parent_opened() {
        let (registry, open) = registry!();
        let lease = registry.lease(ADDRESS, || Device::open(open)).unwrap();
        in_a_child(|| {
            let all_refused = forked(lease.shared()) && forked(lease.users()) && forked(lease.clone().give_back());
            drop(lease.clone());
            all_refused && open.load(Ordering::SeqCst) == 1
        });
        assert_eq!(lease.give_back().unwrap(), 0);
    }

    #[test]
    fn a_forked_child_can_open_for_itself() {
        static OPEN_IN_CHILD: AtomicUsize = AtomicUsize::new(0);
        let (registry, open) = registry!();
        let lease = registry.lease(ADDRESS, || Device::open(open)).unwrap();
        in_a_child(|| {
            let own = registry.lease(ADDRESS, || Device::open(&OPEN_IN_CHILD)).unwrap();
            own.users().unwrap() == 1 && own.give_back().unwrap() == 0 && OPEN_IN_CHILD.load(Ordering::SeqCst) == 0
        });
        assert_eq!(lease.users().unwrap(), 1);
    }

    #[test]
    fn a_child_forked_while_the_parent_opens_or_closes_gets_an_error_and_no_deadlock() {
        static REGISTRY: Registry<Device> = Registry::new();
        static OPEN: AtomicUsize = AtomicUsize::new(0);
        fn refused_in_a_child() {
            in_a_child(|| forked(REGISTRY.lease(Bdf::new(0, 0xca, 0, 0), || unreachable!("opened"))));
        }
        let lease = REGISTRY.lease(ADDRESS, || {
            refused_in_a_child();
            let closing = || {
                refused_in_a_child();
                Ok(())
            };
            Ok(Device { closing, ..Device::open(&OPEN)? })
        });
        assert_eq!(lease.unwrap().give_back().unwrap(), 0);
    }

    #[test]
    fn a_child_forked_while_a_thread_counts_users_can_open_for_itself() {
        static OPEN_IN_CHILD: AtomicUsize = AtomicUsize::new(0);
        let (registry, open) = registry!();
        let lease = registry.lease(ADDRESS, || Device::open(open)).unwrap();
        let held = lease.slots.get().unwrap().lock();
        in_a_child(|| {
            let own = registry.lease(ADDRESS, || Device::open(&OPEN_IN_CHILD)).unwrap();
            forked(lease.users()) && own.users().unwrap() == 1 && own.give_back().unwrap() == 0
        });
        drop(held);
        assert_eq!(lease.users().unwrap(), 1);
    }

    #[test]
    fn a_panic_in_the_vendor_library_leaves_nobody_busy() {
        let (registry, open) = registry!();
        let lease = || registry.lease(ADDRESS, || panic!("on purpose"));
        panic::catch_unwind(lease).unwrap_err();
        in_a_child(|| registry.lease(ADDRESS, || Device::open(open)).is_ok());
    }

    fn forked<R>(result: Result<R>) -> bool {
        matches!(result, Err(Error::Forked { owner }) if owner == nix::unistd::getppid().as_raw().cast_unsigned())
    }
}
