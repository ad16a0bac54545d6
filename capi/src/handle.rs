//! Handles: numbers that C holds for what Rust owns.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::boundary::{Failure, Outcome};

/// The values behind the handles of one kind.
///
/// A handle is looked up and never dereferenced: from the top, 8 bits say which kind of thing it is for, 24 bits which
/// slot, 32 bits how many users that slot has had before. So a zero, closed or made-up handle, and one of another kind, is
/// an error and no more.
pub(crate) struct Table<T> {
    kind: Kind,
    slots: RwLock<Slots<T>>,
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
    all: Vec<Slot<T>>,
    free: Vec<u32>,
}

struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

const SLOT_BITS: u32 = 24;
const GENERATION_BITS: u32 = 32;

impl<T: Clone> Table<T> {
    pub(crate) const fn new(kind: Kind) -> Self {
        Self { kind, slots: RwLock::new(Slots { all: Vec::new(), free: Vec::new() }) }
    }

    /// Keeps a value; returns its handle.
    pub(crate) fn insert(&self, value: T) -> Outcome<u64> {
        let mut slots = self.write();
        let index = match slots.free.pop() {
            Some(index) => index,
            None => {
                let index = u32::try_from(slots.all.len()).ok().filter(|index| index >> SLOT_BITS == 0);
                let index = index
                    .ok_or_else(|| Failure::Handle(format!("too many handles of {}: free some", self.kind.name())))?;
                slots.all.push(Slot { generation: 0, value: None });
                index
            }
        };
        let slot = &mut slots.all[index as usize];
        slot.value = Some(value);
        Ok(u64::from(self.kind as u8) << (SLOT_BITS + GENERATION_BITS)
            | u64::from(index) << GENERATION_BITS
            | u64::from(slot.generation))
    }

    /// The value of a handle, as a clone, so that another thread may free the handle meanwhile.
    pub(crate) fn get(&self, handle: u64) -> Outcome<T> {
        let (index, generation) = self.parts(handle)?;
        let slots = self.read();
        let slot = slots.all.get(index as usize).filter(|slot| slot.generation == generation);
        slot.and_then(|slot| slot.value.clone()).ok_or_else(|| self.stale(handle))
    }

    /// Ends a handle and returns its value.
    pub(crate) fn remove(&self, handle: u64) -> Outcome<T> {
        let (index, generation) = self.parts(handle)?;
        let mut slots = self.write();
        let slot = slots.all.get_mut(index as usize).filter(|slot| slot.generation == generation);
        let slot = slot.ok_or_else(|| self.stale(handle))?;
        let value = slot.value.take().ok_or_else(|| self.stale(handle))?;
        // After its last generation a slot is not used again: its old handles stay stale for ever.
        if let Some(next) = slot.generation.checked_add(1) {
            slot.generation = next;
            slots.free.push(index);
        }
        Ok(value)
    }

    /// Slot and generation of a handle of this table's kind.
    fn parts(&self, handle: u64) -> Outcome<(u32, u32)> {
        let expected = self.kind.name();
        if handle == 0 {
            return Err(Failure::Handle(format!("the handle is zero: nothing has put {expected} into it")));
        }
        let [kind, a, b, c, generation @ ..] = handle.to_be_bytes();
        if kind != self.kind as u8 {
            return Err(Failure::Handle(format!("the handle {handle:#018x} is not one of {expected}")));
        }
        Ok((u32::from_be_bytes([0, a, b, c]), u32::from_be_bytes(generation)))
    }

    fn stale(&self, handle: u64) -> Failure {
        Failure::Handle(format!(
            "the handle {handle:#018x} of {} is closed already, or never was one",
            self.kind.name()
        ))
    }

    // A panic of another thread cannot leave a table half changed, so its poison is no news.
    fn read(&self) -> RwLockReadGuard<'_, Slots<T>> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Slots<T>> {
        self.slots.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        table.write().all[0].generation = u32::MAX;
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
