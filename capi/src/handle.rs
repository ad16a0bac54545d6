//! Handles: numbers that C holds for what Rust owns.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use nearfab::context::{Owned, PerProcess};

use crate::boundary::{Failure, Outcome};

/// The values behind the handles of one kind.
///
/// A handle is looked up and never dereferenced: from the top, 8 bits say which kind of thing it is for, 24 bits which
/// slot, 32 bits how many users that slot has had before. So a zero, closed or made-up handle, and one of another kind, is
/// an error and no more.
///
/// A forked child has slots of its own, and numbers them on from where its parent's end. So it knows a handle of its
/// parent's without taking the parent's lock, which may be held for ever.
pub(crate) struct Table<T: 'static> {
    kind: Kind,
    slots: PerProcess<Slots<T>>,
}

/// What a handle can be for. Numbers are never 0, so no handle is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Host = 1,
    Efa = 2,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Host => "a host",
            Self::Efa => "an open EFA interface",
        }
    }
}

struct Slots<T> {
    /// The number of this process's first slot: those below are inherited.
    first: u32,
    /// The process that they are inherited from.
    parent: u32,
    /// The number that comes after the last slot. Children read it without the lock.
    end: AtomicU32,
    lists: RwLock<Lists<T>>,
}

struct Lists<T> {
    all: Vec<Slot<T>>,
    /// Where those without a value are.
    free: Vec<u32>,
}

struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

const SLOT_BITS: u32 = 24;
const GENERATION_BITS: u32 = 32;

impl<T: Clone + Send + Sync + 'static> Table<T> {
    pub(crate) const fn new(kind: Kind) -> Self {
        Self { kind, slots: PerProcess::new() }
    }

    /// Keeps a value; returns its handle.
    pub(crate) fn insert(&self, value: T) -> Outcome<u64> {
        let slots = self.slots();
        let mut lists = slots.write();
        let index = match lists.free.pop() {
            Some(index) => index,
            None => {
                let number = slots.end.load(Ordering::Relaxed);
                if number >> SLOT_BITS != 0 {
                    return Err(Failure::Handle(format!("too many handles of {}: free some", self.kind.name())));
                }
                lists.all.push(Slot { generation: 0, value: None });
                slots.end.store(number + 1, Ordering::Release);
                number - slots.first
            }
        };
        let slot = &mut lists.all[index as usize];
        slot.value = Some(value);
        Ok(u64::from(self.kind as u8) << (SLOT_BITS + GENERATION_BITS)
            | u64::from(slots.first + index) << GENERATION_BITS
            | u64::from(slot.generation))
    }

    /// The value of a handle, as a clone, so that another thread may free the handle meanwhile.
    pub(crate) fn get(&self, handle: u64) -> Outcome<T> {
        let slots = self.slots();
        let (index, generation) = self.parts(handle, slots)?;
        let lists = slots.read();
        let slot = lists.all.get(index as usize).filter(|slot| slot.generation == generation);
        slot.and_then(|slot| slot.value.clone()).ok_or_else(|| self.stale(handle))
    }

    /// Ends a handle and returns its value.
    pub(crate) fn remove(&self, handle: u64) -> Outcome<T> {
        let slots = self.slots();
        let (index, generation) = self.parts(handle, slots)?;
        let mut lists = slots.write();
        let slot = lists.all.get_mut(index as usize).filter(|slot| slot.generation == generation);
        let slot = slot.ok_or_else(|| self.stale(handle))?;
        let value = slot.value.take().ok_or_else(|| self.stale(handle))?;
        // After its last generation a slot is not used again: its old handles stay stale for ever.
        if let Some(next) = slot.generation.checked_add(1) {
            slot.generation = next;
            lists.free.push(index);
        }
        Ok(value)
    }

    fn slots(&self) -> &'static Slots<T> {
        let Ok(own) = self.slots.get(|inherited| Ok::<_, Infallible>(Slots::new(inherited)));
        &own.value
    }

    /// Where among these slots the one of a handle is, if it is of this table's kind and of this process, and the
    /// handle's generation.
    fn parts(&self, handle: u64, slots: &Slots<T>) -> Outcome<(u32, u32)> {
        let expected = self.kind.name();
        if handle == 0 {
            return Err(Failure::Handle(format!("the handle is zero: nothing has put {expected} into it")));
        }
        let [kind, a, b, c, generation @ ..] = handle.to_be_bytes();
        if kind != self.kind as u8 {
            return Err(Failure::Handle(format!("the handle {handle:#018x} is not one of {expected}")));
        }
        let index = u32::from_be_bytes([0, a, b, c]).checked_sub(slots.first).ok_or_else(|| {
            let parent = slots.parent;
            Failure::Forked(format!(
                "the handle {handle:#018x} of {expected} belongs to process {parent}, from which this one was forked: \
                 make one here"
            ))
        })?;
        Ok((index, u32::from_be_bytes(generation)))
    }

    fn stale(&self, handle: u64) -> Failure {
        Failure::Handle(format!(
            "the handle {handle:#018x} of {} is closed already, or never was one",
            self.kind.name()
        ))
    }
}

impl<T> Slots<T> {
    fn new(inherited: Option<&Owned<Self>>) -> Self {
        let first = inherited.map_or(0, |parent| parent.value.end.load(Ordering::Acquire));
        Self {
            first,
            parent: inherited.map_or(0, |parent| parent.owner),
            end: AtomicU32::new(first),
            lists: RwLock::new(Lists { all: Vec::new(), free: Vec::new() }),
        }
    }

    // A panic of another thread cannot leave the lists half changed, so its poison is no news.
    fn read(&self) -> RwLockReadGuard<'_, Lists<T>> {
        self.lists.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Lists<T>> {
        self.lists.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child::in_a_child;

    impl<T: Clone + Send + Sync + 'static> Table<T> {
        /// Keeps other threads out.
        pub(crate) fn hold(&self) -> impl Drop {
            self.slots().write()
        }
    }

    #[test]
    fn a_child_knows_its_parents_handles_from_its_own() {
        let table = Table::new(Kind::Host);
        let closed = table.insert("closed").unwrap();
        let open = table.insert("open").unwrap();
        table.remove(closed).unwrap();
        in_a_child(|| {
            let own = table.insert("own").unwrap();
            let forked = |outcome| matches!(outcome, Err(Failure::Forked(_)));
            [open, closed].iter().all(|&handle| forked(table.get(handle)) && forked(table.remove(handle)))
                && table.get(own).is_ok_and(|value| value == "own")
                && table.remove(own).is_ok()
        });
        assert_eq!(table.get(open).unwrap(), "open");
    }

    #[test]
    fn a_slot_used_again_leaves_the_old_handle_stale() {
        let table = Table::new(Kind::Host);
        let first = table.insert("first").unwrap();
        assert_eq!(table.remove(first).unwrap(), "first");
        let second = table.insert("second").unwrap();
        assert_eq!(first >> GENERATION_BITS, second >> GENERATION_BITS, "the same slot");
        assert!(table.get(first).is_err());
        assert!(table.remove(first).is_err());
        assert_eq!(table.get(second).unwrap(), "second");
    }

    #[test]
    fn a_slot_after_its_last_generation_is_retired() {
        let table = Table::new(Kind::Host);
        let first = table.insert(1).unwrap();
        table.slots().write().all[0].generation = u32::MAX;
        let last = first | u64::from(u32::MAX);
        assert_eq!(table.remove(last).unwrap(), 1);
        assert!(table.get(last).is_err());
        let next = table.insert(2).unwrap();
        assert_ne!(next >> GENERATION_BITS, last >> GENERATION_BITS, "another slot");
    }

    #[test]
    fn no_bit_pattern_but_the_handle_itself_is_taken() {
        let table = Table::new(Kind::Host);
        let handle = table.insert(()).unwrap();
        assert!(table.get(handle).is_ok());
        for bit in 0..64 {
            assert!(table.get(handle ^ 1 << bit).is_err(), "bit {bit}");
        }
        assert!(table.get(0).is_err());
        assert!(table.get(u64::MAX).is_err());
    }
}
