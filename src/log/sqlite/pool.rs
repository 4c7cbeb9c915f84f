//! A pool of connections for reading. There are few of them, their caches are small, and they are closed when they
//! are not used.

use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard};

use rusqlite::Connection;

use super::schema;
use crate::config::fixed::LOG_CONNECTIONS_MAX;
use crate::model::StorageError;

/// The maximum number of idle connections that stay open.
const IDLE_MAX: usize = 4;

/// A pool that lends connections to a log.
pub(super) struct Pool {
    path: PathBuf,
    open: fn(&Path) -> Result<Connection, StorageError>,
    state: Mutex<State>,
    /// Signals that a connection was returned.
    returned: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Connection>,
    /// The number of connections that are lent.
    lent: usize,
}

/// A guard that releases a slot of the pool when it is dropped, even if the connection was lost.
struct Place<'a>(&'a Pool);

impl Pool {
    pub fn new(path: &Path) -> Self {
        Self::with(path, schema::open_to_read)
    }

    /// Returns a pool for a log that must not be changed.
    pub fn unchanged(path: &Path) -> Self {
        Self::with(path, schema::open_unchanged)
    }

    fn with(path: &Path, open: fn(&Path) -> Result<Connection, StorageError>) -> Self {
        Self {
            path: path.to_owned(),
            open,
            state: Mutex::default(),
            returned: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no thread panics while it holds this")
    }

    /// Runs `ask` on a connection. If all connections are lent, waits for one.
    pub fn ask<T>(
        &self,
        ask: impl FnOnce(&mut Connection) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let is_empty = |state: &mut State| state.lent >= LOG_CONNECTIONS_MAX;
        let mut state = self
            .returned
            .wait_while(self.state(), is_empty)
            .expect("no thread panics while it holds this");
        state.lent += 1;
        let idle = state.idle.pop();
        drop(state);
        let _place = Place(self);
        let mut db = match idle {
            Some(db) => db,
            None => (self.open)(&self.path)?,
        };
        let answer = ask(&mut db)?;
        let mut state = self.state();
        if state.idle.len() < IDLE_MAX {
            state.idle.push(db);
        }
        Ok(answer)
    }

    /// Returns the number of open connections.
    #[cfg(test)]
    pub fn open(&self) -> usize {
        let state = self.state();
        state.idle.len() + state.lent
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.state().lent -= 1;
        self.0.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    #[test]
    fn connections_are_few_and_are_closed_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("chat.db");
        let _writer = schema::open(&path).expect("a log");
        let pool = Pool::new(&path);
        let (lent, at_once) = (Mutex::new((0, 0)), Barrier::new(LOG_CONNECTIONS_MAX));
        let ask = || {
            pool.ask(|_| {
                let count = |change: isize| {
                    let mut lent = lent.lock().expect("nobody panics");
                    lent.0 += change;
                    lent.1 = lent.1.max(lent.0);
                };
                count(1);
                at_once.wait(); // so that this many are lent at the same time
                count(-1);
                Ok(())
            })
        };
        thread::scope(|scope| {
            for _ in 0..LOG_CONNECTIONS_MAX * 4 {
                scope.spawn(ask);
            }
        });
        let (left, most) = *lent.lock().expect("nobody panics");
        assert_eq!((left, most), (0, LOG_CONNECTIONS_MAX as isize));
        assert!(pool.open() <= IDLE_MAX);
        // A failed call must release its slot too.
        for _ in 0..LOG_CONNECTIONS_MAX * 2 {
            let failed = pool.ask(|_| Err::<(), _>(StorageError::Ended));
            failed.expect_err("it fails");
        }
        let writes = pool.ask(|db| Ok(db.execute("DELETE FROM events", [])?));
        writes.expect_err("only the writer writes");
        pool.ask(|_| Ok(())).expect("one is free");
    }
}
