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
use std::process;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use crate::error::{Error, Result};
use crate::pci::Bdf;

/// Something that is shared, and closed when its last user is gone.
pub(super) trait Shared: Send + Sync + 'static {
    /// Called once, when nobody else uses it.
    fn close(&self) -> Result<()>;
}

/// The registry of the process that asks.
#[derive(Debug)]
pub(super) struct PerProcess<T> {
    /// The newest registry, null before the first. None is ever freed: leases refer to it.
    newest: AtomicPtr<Registry<T>>,
}

#[derive(Debug)]
struct Registry<T> {
    owner: u32,
    slots: Mutex<BTreeMap<Bdf, Slot<T>>>,
}

#[derive(Debug)]
struct Slot<T> {
    users: usize,
    shared: Arc<T>,
}

/// One use of what is shared.
#[derive(Debug)]
pub(super) struct Lease<T: Shared> {
    registry: &'static Registry<T>,
    address: Bdf,
    shared: Arc<T>,
    given_back: bool,
}

impl<T: Shared> PerProcess<T> {
    pub(super) const fn new() -> Self {
        Self { newest: AtomicPtr::new(ptr::null_mut()) }
    }

    /// One more use of what is shared at `address`; the first one opens it.
    pub(super) fn lease(&self, address: Bdf, open: impl FnOnce() -> Result<T>) -> Result<Lease<T>> {
        let registry = self.registry()?;
        let mut slots = registry.lock();
        let slot = match slots.entry(address) {
            Entry::Occupied(slot) => slot.into_mut(),
            Entry::Vacant(slot) => slot.insert(Slot { users: 0, shared: Arc::new(open()?) }),
        };
        slot.users += 1;
        Ok(Lease { registry, address, shared: Arc::clone(&slot.shared), given_back: false })
    }

    fn registry(&self) -> Result<&'static Registry<T>> {
        loop {
            let newest = self.newest.load(Ordering::Acquire);
            // SAFETY: it is null, or a registry that was leaked below.
            if let Some(registry) = unsafe { newest.as_ref() } {
                if registry.owner == process::id() {
                    return Ok(registry);
                }
                // Held at the fork by a thread that does not exist here. It was opening or closing: the locks of the vendor
                // library may be held as well, for ever.
                if matches!(registry.slots.try_lock(), Err(TryLockError::WouldBlock)) {
                    return Err(Error::Forked { owner: registry.owner });
                }
            }
            let own = Box::into_raw(Box::new(Registry { owner: process::id(), slots: Mutex::default() }));
            if self.newest.compare_exchange(newest, own, Ordering::AcqRel, Ordering::Relaxed).is_err() {
                // SAFETY: it comes from `Box::into_raw`, and another thread's was stored in its place.
                drop(unsafe { Box::from_raw(own) });
            }
        }
    }
}

impl<T> Registry<T> {
    /// Comes before the lock, which in a forked child may be held for ever.
    fn check_process(&self) -> Result<()> {
        if self.owner == process::id() { Ok(()) } else { Err(Error::Forked { owner: self.owner }) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Bdf, Slot<T>>> {
        // A panic in `open` or `close` leaves the slots as they were.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Shared> Lease<T> {
    pub(super) fn address(&self) -> Bdf {
        self.address
    }

    /// What is shared, for use in the process that opened it.
    pub(super) fn shared(&self) -> Result<&T> {
        self.registry.check_process()?;
        Ok(&self.shared)
    }

    pub(super) fn users(&self) -> Result<usize> {
        self.registry.check_process()?;
        Ok(self.registry.lock().get(&self.address).map_or(0, |slot| slot.users))
    }

    /// Ends this use and tells how many others there are; at none, what was shared has been closed.
    pub(super) fn give_back(mut self) -> Result<usize> {
        self.end()
    }

    fn end(&mut self) -> Result<usize> {
        self.given_back = true;
        self.registry.check_process()?;
        let mut slots = self.registry.lock();
        let Some(slot) = slots.get_mut(&self.address) else { return Ok(0) };
        slot.users -= 1;
        let others = slot.users;
        if others == 0 {
            slots.remove(&self.address);
            self.shared.close()?;
        }
        Ok(others)
    }
}

/// One more use. In a forked child it is as useless as the first.
impl<T: Shared> Clone for Lease<T> {
    fn clone(&self) -> Self {
        if self.registry.check_process().is_ok()
            && let Some(slot) = self.registry.lock().get_mut(&self.address)
        {
            slot.users += 1;
        }
        Self { registry: self.registry, address: self.address, shared: Arc::clone(&self.shared), given_back: false }
    }
}

impl<T: Shared> Drop for Lease<T> {
    fn drop(&mut self) {
        if self.given_back {
            return;
        }
        match self.end() {
            Ok(_) | Err(Error::Forked { .. }) => {} // The parent's own handle lives on.
            Err(error) => tracing::warn!(address = %self.address, error = error.chain(), "closed with an error"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::panic::{self, AssertUnwindSafe};
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};

    use super::*;

    const ADDRESS: Bdf = Bdf::new(0, 0xc9, 0, 0);

    /// Counts how many of it are open, which must never be two.
    #[derive(Debug)]
    struct Device {
        open: &'static AtomicUsize,
        closing_fails: bool,
    }

    impl Device {
        fn open(open: &'static AtomicUsize) -> Result<Self> {
            assert_eq!(open.fetch_add(1, Ordering::SeqCst), 0, "open twice");
            Ok(Self { open, closing_fails: false })
        }
    }

    impl Shared for Device {
        fn close(&self) -> Result<()> {
            thread::yield_now(); // Lets others in, if anything does.
            assert_eq!(self.open.fetch_sub(1, Ordering::SeqCst), 1, "closed twice");
            if self.closing_fails { Err(failure()) } else { Ok(()) }
        }
    }

    fn failure() -> Error {
        Error::Call { function: "ibv_close_device", device: "rdmap201s0".into(), source: io::Error::other("busy") }
    }

    /// A registry and a counter of its own for each test.
    macro_rules! registry {
        () => {{
            static REGISTRY: PerProcess<Device> = PerProcess::new();
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
        let lease = registry.lease(ADDRESS, || Ok(Device { closing_fails: true, ..Device::open(open)? })).unwrap();
        let error = lease.give_back().unwrap_err();
        assert!(matches!(error, Error::Call { function: "ibv_close_device", .. }), "{error}");
        assert_eq!(registry.lease(ADDRESS, || Device::open(open)).unwrap().users().unwrap(), 1);
    }

    #[test]
    fn a_last_drop_and_a_new_open_do_not_meet() {
        let (registry, open) = registry!();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2000 {
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
    fn a_child_forked_while_a_thread_opens_gets_an_error_and_no_deadlock() {
        let (registry, open) = registry!();
        let lease = registry.lease(ADDRESS, || Device::open(open)).unwrap();
        let held = lease.registry.lock();
        in_a_child(|| forked(lease.users()) && forked(registry.lease(ADDRESS, || Device::open(open))));
        drop(held);
        assert_eq!(lease.users().unwrap(), 1);
    }

    fn forked<R>(result: Result<R>) -> bool {
        matches!(result, Err(Error::Forked { owner }) if owner == nix::unistd::getppid().as_raw().cast_unsigned())
    }

    fn in_a_child(succeeds: impl FnOnce() -> bool) {
        // SAFETY: the child takes no lock that another thread may hold, but the allocator's, which fork leaves free.
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child } => {
                assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
            }
            ForkResult::Child => {
                // A panic must not bring the child back into the test harness.
                let succeeded = panic::catch_unwind(AssertUnwindSafe(succeeds)).unwrap_or(false);
                // SAFETY: ends the process, without the exit handlers of the test harness.
                unsafe { nix::libc::_exit(i32::from(!succeeded)) }
            }
        }
    }
}
