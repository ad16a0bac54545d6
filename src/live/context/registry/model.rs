//! The registry under loom, which tries every interleaving of the threads: `cargo xtask loom`.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use super::*;
use crate::types::Bdf;

const ADDRESS: Bdf = Bdf::new(0, 0xc9, 0, 0);

/// Counts the open instances of a device: exactly one while the device is used.
#[derive(Debug)]
struct Device(Arc<AtomicUsize>);

impl Device {
    fn open(open: &Arc<AtomicUsize>) -> Result<Self> {
        assert_eq!(open.fetch_add(1, Ordering::SeqCst), 0, "open twice");
        Ok(Self(Arc::clone(open)))
    }

    fn is_used(&self) {
        assert_eq!(self.0.load(Ordering::SeqCst), 1, "closed under a user");
    }
}

impl Shared for Device {
    type Key = Bdf;

    unsafe fn close(&self) -> Result<()> {
        assert_eq!(self.0.fetch_sub(1, Ordering::SeqCst), 1, "closed twice");
        Ok(())
    }
}

/// The actions of one thread on a registry.
type Run = fn(&'static Owned<Slots<Device>>, &Arc<AtomicUsize>);

/// Runs the threads on one registry: two threads in every interleaving, three in every interleaving with at most two
/// preemptions.
fn in_every_order(threads: &'static [Run]) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = (threads.len() > 2).then_some(2);
    model.check(move || {
        let open = Arc::new(AtomicUsize::new(0));
        let slots: &'static _ = Box::leak(Box::new(Owned::new(Slots::new(None).expect("the first"))));
        let spawn = |run: &'static Run| {
            let open = Arc::clone(&open);
            thread::spawn(move || run(slots, &open))
        };
        let running: Vec<_> = threads.iter().map(spawn).collect();
        running.into_iter().for_each(|thread| thread.join().expect("no assertion fails"));
        assert_eq!(open.load(Ordering::SeqCst), 0, "left open");
    });
}

fn open_use_drop(slots: &'static Owned<Slots<Device>>, open: &Arc<AtomicUsize>) {
    let lease = slots.lease(ADDRESS, || Device::open(open)).expect("it opens");
    lease.shared().expect("its own process").is_used();
}

fn open_clone_close(slots: &'static Owned<Slots<Device>>, open: &Arc<AtomicUsize>) {
    let first = slots.lease(ADDRESS, || Device::open(open)).expect("it opens");
    let second = first.clone();
    assert!(first.release().expect("it closes") >= 1, "the clone is a user");
    second.shared().expect("its own process").is_used();
}

#[test]
fn a_last_drop_and_a_new_open() {
    in_every_order(&[open_use_drop, open_use_drop]);
}

#[test]
fn clones_and_closes() {
    in_every_order(&[open_clone_close, open_use_drop]);
}

#[test]
fn three_users() {
    in_every_order(&[open_use_drop, open_use_drop, open_use_drop]);
}
