//! Counts things by key, such as the connections from each address.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::net::IpAddr;

/// A count for each key. A key whose count is 0 takes no memory.
#[derive(Debug)]
pub(super) struct Tally<K = IpAddr>(HashMap<K, usize>);

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Tally<K> {
    /// Returns the count of `key`.
    pub fn count<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        self.0.get(key).copied().unwrap_or_default()
    }

    /// Increases the count of `key` by one.
    pub fn add(&mut self, key: K) {
        *self.0.entry(key).or_default() += 1;
    }

    /// Decreases the count of `key` by one.
    pub fn remove(&mut self, key: K) {
        if let Entry::Occupied(mut count) = self.0.entry(key) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_whose_count_is_zero_takes_no_memory() {
        let (home, office) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let mut tally = Tally::default();
        tally.add(home);
        tally.add(home);
        tally.add(office);
        tally.remove(home);
        assert_eq!((tally.count(&home), tally.count(&office)), (1, 1));
        tally.remove(home);
        tally.remove(home);
        assert_eq!((tally.count(&home), tally.0.len()), (0, 1));
    }
}
