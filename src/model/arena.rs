//! A table of things with small ids that are never reused for another thing.

use std::marker::PhantomData;

use slab::Slab;

/// Identifies a thing in an [`Arena`]: its slot and a serial number, so that the id of a removed thing
/// finds nothing even when its slot is in use again. `T` only distinguishes the ids of one kind from those
/// of another.
pub struct Id<T> {
    slot: u32,
    serial: u32,
    of: PhantomData<fn() -> T>,
}

/// Stores things in slots, so that each takes only its own size and a serial number. Their ids are `Id<K>`.
#[derive(Debug)]
pub struct Arena<T, K = T> {
    places: Slab<(u32, T)>,
    serial: u32,
    kind: PhantomData<fn() -> K>,
}

impl<T> Id<T> {
    /// An id that no thing ever has.
    pub const NONE: Self = Self {
        slot: u32::MAX,
        serial: 0,
        of: PhantomData,
    };

    /// Returns the slot, for a table that is indexed in parallel. The slot is reused once this thing is
    /// removed.
    pub fn slot(self) -> usize {
        self.slot as usize
    }
}

impl<T, K> Arena<T, K> {
    /// Adds `thing` and returns its id.
    ///
    /// # Panics
    /// At 2^32 things, which the limits make impossible.
    pub fn insert(&mut self, thing: T) -> Id<K> {
        self.serial = self.serial.wrapping_add(1);
        let slot = self.places.insert((self.serial, thing));
        let slot = u32::try_from(slot).expect("the limits allow far fewer than 2^32");
        Id {
            slot,
            serial: self.serial,
            of: PhantomData,
        }
    }

    /// Returns the thing with that id, unless it was removed.
    pub fn get(&self, id: Id<K>) -> Option<&T> {
        let (serial, thing) = self.places.get(id.slot())?;
        (*serial == id.serial).then_some(thing)
    }

    /// Returns the thing with that id, unless it was removed.
    pub fn get_mut(&mut self, id: Id<K>) -> Option<&mut T> {
        let (serial, thing) = self.places.get_mut(id.slot())?;
        (*serial == id.serial).then_some(thing)
    }

    /// Removes and returns the thing with that id, unless it was removed before.
    pub fn remove(&mut self, id: Id<K>) -> Option<T> {
        self.get(id)?;
        self.places.try_remove(id.slot()).map(|(_, thing)| thing)
    }

    /// Returns the number of things.
    pub fn count(&self) -> usize {
        self.places.len()
    }

    /// Returns the first thing in slot `slot` or a later one.
    pub fn from_slot(&self, slot: usize) -> Option<(Id<K>, &T)> {
        (slot..self.places.capacity()).find_map(|slot| {
            let (serial, thing) = self.places.get(slot)?;
            let id = Id {
                slot: slot as u32,
                serial: *serial,
                of: PhantomData,
            };
            Some((id, thing))
        })
    }
}

impl<T, K> Default for Arena<T, K> {
    fn default() -> Self {
        Self {
            places: Slab::new(),
            serial: 0,
            kind: PhantomData,
        }
    }
}

// Derived implementations would require the same traits of `T`.
impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Id<T> {}

impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.serial, self.slot) == (other.serial, other.slot)
    }
}

impl<T> Eq for Id<T> {}

impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// In the order in which the things were added.
impl<T> Ord for Id<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.serial, self.slot).cmp(&(other.serial, other.slot))
    }
}

impl<T> std::fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.slot, self.serial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_never_finds_what_came_later() {
        let mut arena: Arena<&str> = Arena::default();
        let a = arena.insert("a");
        assert_eq!(arena.remove(a), Some("a"));
        let b = arena.insert("b");
        assert_eq!(a.slot(), b.slot());
        assert_eq!((arena.get(a), arena.get(b)), (None, Some(&"b")));
        assert_eq!(arena.remove(a), None);
        assert!(a < b);
    }
}
