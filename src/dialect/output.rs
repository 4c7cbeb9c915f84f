//! The output of a dialect.

use std::sync::Arc;

use super::{Delivery, EventRecord};
use crate::protocol::EventId;

/// The output of a connection, as its dialect writes it: lines as bytes, or values for a client inside this process.
#[derive(Debug, Default)]
pub struct Output {
    /// The lines, each with its ending.
    pub bytes: Vec<u8>,
    values: Vec<Delivery>,
    value_bytes: usize,
    recent: Option<Box<Recent>>,
}

/// Live events that were written recently. The readers of a room receive the same events, one reader after the other,
/// so each value is made once and shared.
#[derive(Debug, Default)]
struct Recent([Option<Arc<EventRecord>>; RECENT_MAX]);

/// The maximum number of recent events that are kept.
const RECENT_MAX: usize = 16;

impl Output {
    /// Returns the number of bytes. The size of values is approximate.
    pub fn len(&self) -> usize {
        self.bytes.len() + self.value_bytes
    }

    /// Returns whether there is no output.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the approximate size of the values in bytes.
    pub fn value_bytes(&self) -> usize {
        self.value_bytes
    }

    /// Removes the output, but keeps its capacity and the recent events.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.values.clear();
        self.value_bytes = 0;
    }

    /// Appends a value.
    pub fn push(&mut self, value: Delivery) {
        self.value_bytes += value.bytes();
        self.values.push(value);
    }

    /// Returns the recent live event with the id `id`, if `is_same` is true for it. If there is none, makes it.
    pub(super) fn recent(
        &mut self,
        id: EventId,
        is_same: impl FnOnce(&EventRecord) -> bool,
        make: impl FnOnce() -> Option<Arc<EventRecord>>,
    ) -> Option<Arc<EventRecord>> {
        let slot = usize::try_from(id.get()).unwrap_or_default() % RECENT_MAX;
        let slot = self.recent.get_or_insert_default().0.get_mut(slot)?;
        if !slot.as_deref().is_some_and(is_same) {
            *slot = make();
        }
        slot.clone()
    }

    /// Appends a copy of `other`.
    pub fn extend(&mut self, other: &Self) {
        self.bytes.extend_from_slice(&other.bytes);
        self.values.extend_from_slice(&other.values);
        self.value_bytes += other.value_bytes;
    }

    /// Appends `other`.
    pub fn append(&mut self, mut other: Self) {
        self.bytes.append(&mut other.bytes);
        self.values.append(&mut other.values);
        self.value_bytes += other.value_bytes;
    }

    /// Takes the values. They still count in [`Self::len`].
    pub fn take_values(&mut self) -> std::vec::Drain<'_, Delivery> {
        self.values.drain(..)
    }
}

impl From<Vec<u8>> for Output {
    fn from(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            ..Self::default()
        }
    }
}
