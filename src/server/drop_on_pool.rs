//! Values that are slow to drop. For example, closing the last handle of a deleted file makes the file system free
//! its blocks.

use std::ops::{Deref, DerefMut};

use smol::unblock;

/// A value that is always dropped on a thread that may block.
#[derive(Debug)]
pub(super) struct DropOnPool<T: Send + 'static>(Option<T>);

impl<T: Send> DropOnPool<T> {
    pub fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// Returns the value; the caller drops it.
    pub fn into_inner(mut self) -> T {
        self.0.take().expect("it is only taken here")
    }
}

impl<T: Send> Drop for DropOnPool<T> {
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            unblock(move || drop(value)).detach();
        }
    }
}

impl<T: Send> Deref for DropOnPool<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("it is only taken at its end")
    }
}

impl<T: Send> DerefMut for DropOnPool<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("it is only taken at its end")
    }
}
