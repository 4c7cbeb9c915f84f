//! Values that are slow to drop. For example, closing the last handle of a deleted file makes the file system free
//! its blocks.

use std::ops::{Deref, DerefMut};

use super::pool::Pool;

/// A value that is always dropped where work may block.
#[derive(Debug)]
pub(super) struct DropOnPool<T: Send + 'static> {
    value: Option<T>,
    pool: Pool,
}

impl<T: Send> DropOnPool<T> {
    pub fn new(value: T, pool: Pool) -> Self {
        Self {
            value: Some(value),
            pool,
        }
    }

    /// Returns the pool on which the value is dropped.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Returns the value; the caller drops it.
    pub fn into_inner(mut self) -> T {
        self.value.take().expect("it is only taken here")
    }
}

impl<T: Send> Drop for DropOnPool<T> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            self.pool.run(move || drop(value)).detach();
        }
    }
}

impl<T: Send> Deref for DropOnPool<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("it is only taken at its end")
    }
}

impl<T: Send> DerefMut for DropOnPool<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("it is only taken at its end")
    }
}
