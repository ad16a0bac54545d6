//! The races for generations and values under loom, which tries every order of the threads' steps: `cargo xtask loom`.

use std::convert::Infallible;
use std::ptr;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};

mod atomic {
    pub(super) use loom::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};
}

#[path = "race.rs"]
mod race;

/// The statics that hold the generation of a process.
struct Generations {
    newest: AtomicU32,
    known: AtomicPtr<AtomicU32>,
    nowhere: *mut AtomicU32,
}

// SAFETY: the pointer is to an atomic that is never freed.
unsafe impl Send for Generations {}
// SAFETY: as for `Send`.
unsafe impl Sync for Generations {}

impl Generations {
    /// Makes the statics of a first process, or of a child of a process with generation `parent`. The kernel has
    /// cleared the child's place.
    fn new(parent: Option<u32>) -> Self {
        let nowhere = place();
        let known = if parent.is_some() { place() } else { nowhere };
        Self { newest: AtomicU32::new(parent.unwrap_or(0)), known: AtomicPtr::new(known), nowhere }
    }

    fn get(&self) -> u32 {
        // SAFETY: `known` is made by `new` or by `place`, whose atomics are never freed.
        unsafe { race::generation(&self.newest, &self.known, self.nowhere, place) }
    }

    /// Reads the generation as every call of the library does.
    fn known(&self) -> u32 {
        // SAFETY: as for `get`.
        unsafe { &*self.known.load(Ordering::Acquire) }.load(Ordering::Relaxed)
    }
}

fn place() -> *mut AtomicU32 {
    Box::into_raw(Box::new(AtomicU32::new(0)))
}

/// Runs two threads that ask for the generation and one thread that reads it, in every order of their steps.
fn race_for_generation(parent: Option<u32>) {
    loom::model(move || {
        let process = Arc::new(Generations::new(parent));
        let spawn = |_| {
            let process = Arc::clone(&process);
            thread::spawn(move || process.get())
        };
        let threads = [0, 1].map(spawn);
        let seen = process.known();
        let generations = threads.map(|thread| thread.join().expect("no assertion fails"));
        assert_eq!(generations[0], generations[1], "two generations in one process");
        assert!(generations[0] > parent.unwrap_or(0), "the generation of an ancestor");
        assert!([0, generations[0]].contains(&seen), "a third generation was read");
        assert_eq!(process.known(), generations[0]);
    });
}

#[test]
fn threads_of_a_first_process_agree_on_its_generation() {
    race_for_generation(None);
}

#[test]
fn threads_of_a_child_agree_on_a_later_generation() {
    race_for_generation(Some(7));
}

/// A value that shows whether a thread sees all of it.
struct Value {
    generation: u32,
    content: UnsafeCell<u32>,
    alive: Arc<AtomicUsize>,
}

impl Value {
    fn new(generation: u32, alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Self { generation, content: UnsafeCell::new(generation), alive: Arc::clone(alive) }
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Runs two threads that ask for the value of generation 2, in every order of their steps.
fn race_for_value(inherits: bool) {
    loom::model(move || {
        let alive = Arc::new(AtomicUsize::new(0));
        let parents = inherits.then(|| Box::into_raw(Box::new(Value::new(1, &alive))));
        let newest = Arc::new(AtomicPtr::new(parents.unwrap_or(ptr::null_mut())));
        let spawn = |_| {
            let (newest, alive) = (Arc::clone(&newest), Arc::clone(&alive));
            thread::spawn(move || {
                let make = |inherited: Option<&Value>| {
                    assert_eq!(inherited.map(|value| value.generation), inherits.then_some(1));
                    Ok::<_, Infallible>(Value::new(2, &alive))
                };
                // SAFETY: the pointer is null, or to a value that is freed after the threads ended.
                let Ok(own) = unsafe { race::value(&newest, |value| value.generation == 2, make) };
                // SAFETY: the pointer that loom gives is valid, and nothing writes.
                assert_eq!(own.content.with(|content| unsafe { *content }), 2, "not seen whole");
                ptr::from_ref(own).addr()
            })
        };
        let threads = [0, 1].map(spawn);
        let values = threads.map(|thread| thread.join().expect("no assertion fails"));
        assert_eq!(values[0], values[1], "two values in one process");
        assert_eq!(alive.load(Ordering::SeqCst), 1 + usize::from(inherits), "a value that lost is still there");
        // Loom counts the values that are not dropped.
        for left in [Some(newest.load(Ordering::SeqCst)), parents].into_iter().flatten() {
            // SAFETY: the pointer comes from `Box::into_raw`, and the threads that used it ended.
            drop(unsafe { Box::from_raw(left) });
        }
    });
}

#[test]
fn threads_share_the_first_value() {
    race_for_value(false);
}

#[test]
fn threads_share_a_new_value_beside_an_inherited_one() {
    race_for_value(true);
}
