//! Counts something by address.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;

/// A count for each address. An address whose count is 0 takes no memory.
#[derive(Debug, Default)]
pub(super) struct Tally(HashMap<IpAddr, usize>);

impl Tally {
    /// Returns the count of `origin`.
    pub fn count(&self, origin: IpAddr) -> usize {
        self.0.get(&origin).copied().unwrap_or_default()
    }

    /// Adds one.
    pub fn add(&mut self, origin: IpAddr) {
        *self.0.entry(origin).or_default() += 1;
    }

    /// Subtracts one.
    pub fn remove(&mut self, origin: IpAddr) {
        if let Entry::Occupied(mut count) = self.0.entry(origin) {
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
    fn an_address_with_none_takes_no_memory() {
        let (home, office) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let mut tally = Tally::default();
        tally.add(home);
        tally.add(home);
        tally.add(office);
        tally.remove(home);
        assert_eq!((tally.count(home), tally.count(office)), (1, 1));
        tally.remove(home);
        tally.remove(home);
        assert_eq!((tally.count(home), tally.0.len()), (0, 1));
    }
}
