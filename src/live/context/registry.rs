//! The devices and domains that this process shares.
//!
//! Each open device or domain has a slot, which counts its leases. One lock guards all changes of slots. Opening and
//! closing happen under the lock too: if a thread opens a device while another thread closes it, the first thread waits
//! and then opens the device anew. Using an open device takes no lock.
//!
//! A forked child has a new registry. In the child, every use of its parent's leases fails.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::PoisonError;

use crate::error::{Error, Result};
use crate::live::process::{Owned, PerProcess};
use crate::live::sync::{Arc, AtomicBool, Mutex, MutexGuard, Ordering};

/// A device or domain that is shared, and closed with its last lease.
pub(super) trait Shared: Send + Sync + 'static {
    /// The key that finds the device or domain.
    type Key: Ord + Clone + fmt::Debug + Send + Sync;

    /// Closes the device or domain.
    ///
    /// # Safety
    ///
    /// The caller calls `close` once, in the process that opened the value. Nothing uses the value during the call or
    /// after it.
    unsafe fn close(&self) -> Result<()>;
}

/// The shared devices or domains of each process.
#[derive(Debug)]
pub(super) struct Registry<T: Shared>(PerProcess<Slots<T>>);

#[derive(Debug)]
struct Slots<T: Shared> {
    /// Whether a thread is opening or closing, and so may be inside the vendor library.
    busy: AtomicBool,
    all: Mutex<BTreeMap<T::Key, Slot<T>>>,
}

#[derive(Debug)]
struct Slot<T> {
    users: usize,
    shared: Arc<T>,
}

/// One lease of a shared device or domain.
#[derive(Debug)]
pub(super) struct Lease<T: Shared> {
    slots: &'static Owned<Slots<T>>,
    key: T::Key,
    shared: Arc<T>,
    is_released: bool,
}

impl<T: Shared> Registry<T> {
    pub(super) const fn new() -> Self {
        Self(PerProcess::new())
    }

    /// Returns a lease of the device or domain with this key. The first lease opens the device or domain.
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
        Ok(Lease { slots: self, key, shared: Arc::clone(&slot.shared), is_released: false })
    }
}

impl<T: Shared> Slots<T> {
    /// Makes the slots of this process. Fails in a child forked while another thread was opening or closing: that
    /// thread does not exist in the child, so the locks that it held in the vendor library stay locked.
    fn new(inherited: Option<&Owned<Self>>) -> Result<Self> {
        match inherited {
            Some(parent) if parent.value.busy.load(Ordering::SeqCst) => Err(Error::Forked { owner: parent.owner }),
            _ => Ok(Self { busy: AtomicBool::new(false), all: Mutex::default() }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<T::Key, Slot<T>>> {
        // A panic in `open` or `close` leaves the slots in a valid state, so a poisoned lock is no problem.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks the slots as busy during `call`, which opens or closes under the lock.
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

    /// Returns the device or domain. Fails outside the process that opened the device or domain.
    pub(super) fn shared(&self) -> Result<&T> {
        self.slots.get()?;
        Ok(&self.shared)
    }

    /// Returns the number of leases, this one included.
    pub(super) fn users(&self) -> Result<usize> {
        Ok(self.slots.get()?.lock().get(&self.key).map_or(0, |slot| slot.users))
    }

    /// Ends this lease and returns the number of other leases. The device or domain was closed if the number is 0.
    pub(super) fn release(mut self) -> Result<usize> {
        self.end()
    }

    fn end(&mut self) -> Result<usize> {
        self.is_released = true;
        let slots = self.slots.get()?;
        let mut all = slots.lock();
        let Some(slot) = all.get_mut(&self.key) else { return Ok(0) };
        slot.users -= 1;
        let others = slot.users;
        if others == 0 {
            all.remove(&self.key);
            slots.busy_with(|| {
                // SAFETY: `self.slots.get` shows that this process opened the value. The value is reached by leases
                // only, and this lease is the last: it is borrowed mutably here, and ends. The slot was removed under
                // the lock, so no new lease of the value can be made, and `close` runs once.
                unsafe { self.shared.close() }
            })?;
        }
        Ok(others)
    }
}

/// Makes another lease. In a forked child, the methods of the new lease fail, like the methods of the first lease.
impl<T: Shared> Clone for Lease<T> {
    fn clone(&self) -> Self {
        if let Ok(slots) = self.slots.get()
            && let Some(slot) = slots.lock().get_mut(&self.key)
        {
            slot.users += 1;
        }
        Self { slots: self.slots, key: self.key.clone(), shared: Arc::clone(&self.shared), is_released: false }
    }
}

impl<T: Shared> Drop for Lease<T> {
    fn drop(&mut self) {
        if self.is_released {
            return;
        }
        match self.end() {
            Ok(_) | Err(Error::Forked { .. }) => {} // The parent process's lease continues.
            Err(error) => {
                tracing::warn!(key = ?self.key, error = %error, "a device or domain was closed with an error")
            }
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

    /// A device that counts its open instances: at most one at a time.
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
            thread::yield_now(); // Gives other threads a chance to interfere.
            assert_eq!(self.open.fetch_sub(1, Ordering::SeqCst), 1, "closed twice");
            (self.closing)()
        }
    }

    fn failure() -> Error {
        Error::Call { function: "ibv_close_device", device: "rdmap201s0".into(), cause: io::Error::other("busy") }
    }

    /// Makes a registry and a counter for one test.
    macro_rules! registry {
        () => {{
            static REGISTRY: Registry<Device> = Registry::new();
            static OPEN: AtomicUsize = AtomicUsize::new(0);
            (&REGISTRY, &OPEN)
        }};
    }

    #[test]
    fn the_first_lease_opens_and_the_last_closes() {
        let (registry, open) = registry!();
        let first = registry.lease(ADDRESS, || Device::open(open)).unwrap();
        let second = registry.lease(ADDRESS, || Device::open(open)).unwrap();
        let third = first.clone();
        assert_eq!(third.users().unwrap(), 3);
        drop(first.clone());
        assert_eq!(third.users().unwrap(), 3, "a dropped clone is no user");
        drop(first);
        assert_eq!(third.users().unwrap(), 2);
        assert_eq!(second.release().unwrap(), 1);
        assert_eq!(open.load(Ordering::SeqCst), 1);
        assert_eq!(third.release().unwrap(), 0);
        assert_eq!(open.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_failed_open_leaves_no_slot() {
        let (registry, open) = registry!();
        registry.lease(ADDRESS, || Err(failure())).unwrap_err();
        let lease = registry.lease(ADDRESS, || Device::open(open)).unwrap();
        assert_eq!(lease.users().unwrap(), 1);
    }

    #[test]
    fn a_failed_close_is_reported_and_removes_the_slot() {
        let (registry, open) = registry!();
        let lease =
            registry.lease(ADDRESS, || Ok(Device { closing: || Err(failure()), ..Device::open(open)? })).unwrap();
        let error = lease.release().unwrap_err();
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
            let all_refused = forked(lease.shared()) && forked(lease.users()) && forked(lease.clone().release());
            drop(lease.clone());
            all_refused && open.load(Ordering::SeqCst) == 1
        });
        assert_eq!(lease.release().unwrap(), 0);
    }

    #[test]
    fn a_forked_child_can_open_a_device_itself() {
        static OPEN_IN_CHILD: AtomicUsize = AtomicUsize::new(0);
        let (registry, open) = registry!();
        let lease = registry.lease(ADDRESS, || Device::open(open)).unwrap();
        in_a_child(|| {
            let own = registry.lease(ADDRESS, || Device::open(&OPEN_IN_CHILD)).unwrap();
            own.users().unwrap() == 1 && own.release().unwrap() == 0 && OPEN_IN_CHILD.load(Ordering::SeqCst) == 0
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
        assert_eq!(lease.unwrap().release().unwrap(), 0);
    }

    #[test]
    fn a_child_forked_while_a_thread_counts_leases_can_open_a_device_itself() {
        static OPEN_IN_CHILD: AtomicUsize = AtomicUsize::new(0);
        let (registry, open) = registry!();
        let lease = registry.lease(ADDRESS, || Device::open(open)).unwrap();
        let held = lease.slots.get().unwrap().lock();
        in_a_child(|| {
            let own = registry.lease(ADDRESS, || Device::open(&OPEN_IN_CHILD)).unwrap();
            forked(lease.users()) && own.users().unwrap() == 1 && own.release().unwrap() == 0
        });
        drop(held);
        assert_eq!(lease.users().unwrap(), 1);
    }

    #[test]
    fn after_a_panic_while_opening_the_slots_are_not_busy() {
        let (registry, open) = registry!();
        let lease = || registry.lease(ADDRESS, || panic!("on purpose"));
        panic::catch_unwind(lease).unwrap_err();
        in_a_child(|| registry.lease(ADDRESS, || Device::open(open)).is_ok());
    }

    fn forked<R>(result: Result<R>) -> bool {
        matches!(result, Err(Error::Forked { owner }) if owner == nix::unistd::getppid().as_raw().cast_unsigned())
    }
}
