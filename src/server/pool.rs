//! Runs what may block: the disk, the log, passwords.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};

use smol::{Executor, Task, unblock};

/// Where blocking work runs.
#[derive(Clone, Debug)]
pub(super) enum Pool {
    /// On the threads of `blocking`.
    Threads,
    /// In the thread that serves the rooms, in a task of its own. Only a simulation does that.
    Simulated(Arc<SimulatedPool>),
}

/// A pool without threads. It may hold its work back until it is told to do it.
#[derive(Debug)]
pub(super) struct SimulatedPool {
    executor: Arc<Executor<'static>>,
    state: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    /// Whether work waits for [`SimulatedPool::release`].
    holds: bool,
    /// The number of releases.
    releases: u64,
    waiting: Vec<Waker>,
}

impl Pool {
    /// Runs `act`. As with any task, the work may be cancelled by dropping the task before the work begins.
    pub fn run<T: Send + 'static>(&self, act: impl FnOnce() -> T + Send + 'static) -> Task<T> {
        match self {
            Self::Threads => unblock(act),
            Self::Simulated(pool) => {
                let held = pool.clone();
                let at = held.held().releases;
                pool.executor.spawn(async move {
                    poll_fn(|cx| held.held().poll(at, cx.waker())).await;
                    act()
                })
            }
        }
    }
}

impl SimulatedPool {
    /// Creates a pool for the tasks of `executor`. If it `holds`, all work waits for [`Self::release`].
    pub fn new(executor: Arc<Executor<'static>>, holds: bool) -> Self {
        Self {
            executor,
            state: Mutex::new(Held {
                holds,
                releases: 0,
                waiting: Vec::new(),
            }),
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.state
            .lock()
            .expect("no thread panics while it holds this")
    }

    /// Lets the work that has been held back run. Returns whether there was any.
    pub fn release(&self) -> bool {
        let waiting = {
            let mut held = self.held();
            held.releases += 1;
            std::mem::take(&mut held.waiting)
        };
        let any = !waiting.is_empty();
        waiting.into_iter().for_each(Waker::wake);
        any
    }

    /// Holds nothing back from now on.
    pub fn hold_nothing(&self) {
        self.held().holds = false;
        self.release();
    }
}

impl Held {
    /// Becomes ready when work that was submitted after `at` releases may run.
    fn poll(&mut self, at: u64, waker: &Waker) -> Poll<()> {
        if !self.holds || self.releases > at {
            return Poll::Ready(());
        }
        self.waiting.push(waker.clone());
        Poll::Pending
    }
}
