//! Handles: the numbers by which C callers name values that Rust owns.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use nearfab::context::{Owned, PerProcess};

use crate::boundary::{Failure, Outcome};

/// The values behind the handles of one kind.
///
/// A handle is looked up and never dereferenced. The upper 8 bits of a handle are the kind of the value. The next 24
/// bits are the number of a slot. The lower 32 bits are the generation: how many values the slot has held before. A
/// handle that is zero, closed, made up or of another kind is therefore an error and does no harm.
///
/// A forked child has other slots than its parent. The child's first slot number follows the parent's last slot number.
/// The child thus recognizes the parent's handles without taking the parent's lock. The parent's lock may stay locked
/// for ever in the child.
pub(crate) struct Table<T: 'static> {
    kind: Kind,
    slots: PerProcess<Slots<T>>,
}

/// The kind of value that a handle names. No kind is 0, so no handle is 0.
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
    /// The number of this process's first slot. Lower numbers belong to slots of ancestors.
    first: u32,
    /// The process ID of the parent from which this process inherited handles, or 0.
    parent: u32,
    /// The number after the last slot. A forked child reads this number without the lock.
    end: AtomicU32,
    lists: RwLock<Lists<T>>,
}

struct Lists<T> {
    all: Vec<Slot<T>>,
    /// The positions in `all` of slots that have no value and can be used again.
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

    /// Keeps a value and returns its handle.
    pub(crate) fn insert(&self, value: T) -> Outcome<u64> {
        let slots = self.slots();
        let mut lists = slots.write();
        let index = match lists.free.pop() {
            Some(index) => index,
            None => {
                let number = slots.end.load(Ordering::Relaxed);
                if number >> SLOT_BITS != 0 {
                    return Err(Failure::Handle(format!(
                        "too many handles of {}: free some of them",
                        self.kind.name()
                    )));
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

    /// Returns a clone of the value of a handle, so that another thread may free the handle while the clone is used.
    pub(crate) fn get(&self, handle: u64) -> Outcome<T> {
        let slots = self.slots();
        let (index, generation) = self.parts(handle, slots)?;
        let lists = slots.read();
        let slot = lists.all.get(index as usize).filter(|slot| slot.generation == generation);
        slot.and_then(|slot| slot.value.clone()).ok_or_else(|| self.stale(handle))
    }

    /// Closes a handle and returns its value.
    pub(crate) fn remove(&self, handle: u64) -> Outcome<T> {
        let slots = self.slots();
        let (index, generation) = self.parts(handle, slots)?;
        let mut lists = slots.write();
        let slot = lists.all.get_mut(index as usize).filter(|slot| slot.generation == generation);
        let slot = slot.ok_or_else(|| self.stale(handle))?;
        let value = slot.value.take().ok_or_else(|| self.stale(handle))?;
        // A slot is not used again after its last generation. Otherwise old handles of the slot would become valid.
        if let Some(next) = slot.generation.checked_add(1) {
            slot.generation = next;
            lists.free.push(index);
        }
        Ok(value)
    }

    /// Returns the slots of this process.
    fn slots(&self) -> &'static Slots<T> {
        let Ok(own) = self.slots.get(|inherited| Ok::<_, Infallible>(Slots::new(inherited)));
        &own.value
    }

    /// Splits a handle of this table's kind and of this process into the position of its slot and its generation.
    fn parts(&self, handle: u64, slots: &Slots<T>) -> Outcome<(u32, u32)> {
        let expected = self.kind.name();
        if handle == 0 {
            return Err(Failure::Handle(format!("the handle is zero: it was not set to {expected}")));
        }
        let [kind, a, b, c, generation @ ..] = handle.to_be_bytes();
        if kind != self.kind as u8 {
            return Err(Failure::Handle(format!("the handle {handle:#018x} is not a handle of {expected}")));
        }
        let index = u32::from_be_bytes([0, a, b, c]).checked_sub(slots.first).ok_or_else(|| {
            let parent = slots.parent;
            Failure::Forked(format!(
                "the handle {handle:#018x} of {expected} belongs to process {parent}, from which this process was \
                 forked: make a new handle in this process"
            ))
        })?;
        Ok((index, u32::from_be_bytes(generation)))
    }

    fn stale(&self, handle: u64) -> Failure {
        Failure::Handle(format!(
            "the handle {handle:#018x} of {} is closed already, or was never made by this library",
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

    // Nothing that can panic runs while the lists are half changed, so the lists of a poisoned lock are complete.
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
        /// Locks the table until the guard is dropped.
        pub(crate) fn lock(&self) -> impl Drop {
            self.slots().write()
        }
    }

    #[test]
    fn a_forked_child_refuses_its_parents_handles_and_takes_its_own() {
        let table = Table::new(Kind::Host);
        let closed = table.insert("closed").unwrap();
        let open = table.insert("open").unwrap();
        table.remove(closed).unwrap();
        in_a_child(|| {
            let of_child = table.insert("of the child").unwrap();
            let forked = |outcome| matches!(outcome, Err(Failure::Forked(_)));
            [open, closed].iter().all(|&handle| forked(table.get(handle)) && forked(table.remove(handle)))
                && table.get(of_child).is_ok_and(|value| value == "of the child")
                && table.remove(of_child).is_ok()
        });
        assert_eq!(table.get(open).unwrap(), "open");
    }

    #[test]
    fn reusing_a_slot_leaves_its_old_handle_stale() {
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
    fn a_slot_is_not_reused_after_its_last_generation() {
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
    fn a_handle_with_any_bit_changed_is_refused() {
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
