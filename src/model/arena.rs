//! A table of values with small ids. An id is never reused for another value.

use std::marker::PhantomData;

use slab::Slab;

/// The id of a value in an [`Arena`]: its slot and a serial number. A slot is reused with another serial number, so the
/// id of a removed value finds nothing. `T` only distinguishes the ids of one kind of value from those of another.
pub struct Id<T> {
    slot: u32,
    serial: u32,
    of: PhantomData<fn() -> T>,
}

/// A table that stores values in slots. Besides its value, a slot contains only a serial number. The ids are `Id<K>`.
#[derive(Debug)]
pub struct Arena<T, K = T> {
    places: Slab<(u32, T)>,
    serial: u32,
    kind: PhantomData<fn() -> K>,
}

impl<T> Id<T> {
    /// An id that no value ever has.
    pub const NONE: Self = Self {
        slot: u32::MAX,
        serial: 0,
        of: PhantomData,
    };

    /// Returns the slot as an index into a parallel table. The slot is reused after the value is removed.
    pub fn slot(self) -> usize {
        self.slot as usize
    }
}

impl<T, K> Arena<T, K> {
    /// Adds a value and returns its id.
    ///
    /// # Panics
    /// If there are 2^32 values, which the limits prevent.
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

    /// Returns the value with the id `id`, unless the value was removed.
    pub fn get(&self, id: Id<K>) -> Option<&T> {
        let (serial, thing) = self.places.get(id.slot())?;
        (*serial == id.serial).then_some(thing)
    }

    /// Returns the value with the id `id`, unless the value was removed.
    pub fn get_mut(&mut self, id: Id<K>) -> Option<&mut T> {
        let (serial, thing) = self.places.get_mut(id.slot())?;
        (*serial == id.serial).then_some(thing)
    }

    /// Removes and returns the value with the id `id`, unless the value was removed before.
    pub fn remove(&mut self, id: Id<K>) -> Option<T> {
        self.get(id)?;
        self.places.try_remove(id.slot()).map(|(_, thing)| thing)
    }

    /// Returns the number of values.
    pub fn count(&self) -> usize {
        self.places.len()
    }

    /// Returns the first value in slot `slot` or in a later slot.
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

// Derived implementations would require the traits of `T` too.
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

/// Orders ids in the order in which their values were added.
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
    fn the_id_of_a_removed_value_never_finds_a_later_value() {
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
