//! Schedules the connections that have more to do than fits into one turn.
//!
//! One of them runs at a time, and between two of them everything else that is ready runs. So a client that requests
//! little waits for only one turn of a flood, however many connections the flood uses. Addresses take turns, so many
//! busy connections from one address do not delay those from another.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use futures_lite::future;

use crate::model::address_prefix;

/// The connections that wait for their next turn.
#[derive(Debug, Default)]
pub(super) struct FairScheduler {
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// The waiting connections by address, in order. An address without waiting connections has no entry.
    by_origin: HashMap<IpAddr, VecDeque<Arc<WaitingTurn>>>,
    /// The addresses, in the order of their turns.
    origins: VecDeque<IpAddr>,
    /// Wakes [`FairScheduler::runner`] when a connection begins to wait.
    runner: Option<Waker>,
}

#[derive(Debug)]
struct WaitingTurn {
    is_called: AtomicBool,
    waker: Waker,
}

impl FairScheduler {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue
            .lock()
            .expect("no thread panics while it holds this")
    }

    /// Returns whether connections wait for a turn.
    pub fn has_waiting(&self) -> bool {
        !self.queue().origins.is_empty()
    }

    /// Waits for the next turn of a connection from `address`.
    pub async fn turn(&self, address: IpAddr) {
        let mut ticket: Option<Arc<WaitingTurn>> = None;
        poll_fn(|cx| match &ticket {
            Some(ticket) if ticket.is_called.load(Ordering::Acquire) => Poll::Ready(()),
            Some(_) => Poll::Pending, // woken for another reason
            None => {
                let own = Arc::new(WaitingTurn {
                    is_called: AtomicBool::new(false),
                    waker: cx.waker().clone(),
                });
                ticket = Some(own.clone());
                self.queue().add(address_prefix(address), own);
                Poll::Pending
            }
        })
        .await;
    }

    /// Runs one waiting connection after the other, and never returns. Before each of them, `look` detects the
    /// sockets that have become ready.
    pub async fn run(&self, look: impl Fn()) {
        loop {
            poll_fn(|cx| self.queue().poll_any(cx)).await;
            look();
            let next = self.queue().next();
            if let Some(next) = next {
                next.is_called.store(true, Ordering::Release);
                next.waker.wake_by_ref();
            }
            // This puts the task behind all tasks that are ready now, and behind the connection that was called.
            future::yield_now().await;
        }
    }
}

impl Queue {
    fn add(&mut self, origin: IpAddr, ticket: Arc<WaitingTurn>) {
        let own = self.by_origin.entry(origin).or_default();
        if own.is_empty() {
            self.origins.push_back(origin);
        }
        own.push_back(ticket);
        if let Some(runner) = self.runner.take() {
            runner.wake();
        }
    }

    fn next(&mut self) -> Option<Arc<WaitingTurn>> {
        let origin = self.origins.pop_front()?;
        let own = self.by_origin.get_mut(&origin)?;
        let next = own.pop_front();
        if own.is_empty() {
            self.by_origin.remove(&origin);
        } else {
            self.origins.push_back(origin);
        }
        next
    }

    fn poll_any(&mut self, cx: &Context<'_>) -> Poll<()> {
        if !self.origins.is_empty() {
            return Poll::Ready(());
        }
        self.runner = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use smol::Executor;

    use super::*;

    fn from(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, n])
    }

    /// Runs `act` at the same time as busy connections from the addresses `from`. Each of these connections counts
    /// its turns.
    fn beside<F: Future<Output = ()> + Send + 'static>(
        from: &[IpAddr],
        act: impl FnOnce(Arc<Vec<AtomicUsize>>) -> F,
    ) {
        let (scheduler, executor) = (Arc::new(FairScheduler::default()), Executor::new());
        let turns: Arc<Vec<_>> = Arc::new(from.iter().map(|_| AtomicUsize::new(0)).collect());
        let runner = scheduler.clone();
        executor
            .spawn(async move { runner.run(|| {}).await })
            .detach();
        for (n, address) in from.iter().copied().enumerate() {
            let (scheduler, turns) = (scheduler.clone(), turns.clone());
            let goes_on = async move {
                loop {
                    turns[n].fetch_add(1, Ordering::Relaxed);
                    scheduler.turn(address).await;
                }
            };
            executor.spawn(goes_on).detach();
        }
        // `act` runs in a task, as the busy connections do.
        let act = executor.spawn(act(turns));
        smol::block_on(executor.run(act));
    }

    fn sum(turns: &[AtomicUsize]) -> usize {
        turns
            .iter()
            .map(|turns| turns.load(Ordering::Relaxed))
            .sum()
    }

    /// A connection that becomes ready runs after at most two turns of busy connections, however many of them there
    /// are.
    #[test]
    fn a_ready_connection_waits_for_two_turns_of_busy_ones_at_most() {
        const BUSY: usize = 500;
        beside(&[from(1); BUSY], move |turns| async move {
            for _ in 0..1000 {
                let before = sum(&turns);
                future::yield_now().await;
                let passed = sum(&turns) - before;
                let has_begun = before >= BUSY;
                assert!(passed <= 2 || !has_begun, "{passed} turns were before it");
            }
            assert!(sum(&turns) > 1000, "the busy ones have turns too");
        });
    }

    #[test]
    fn addresses_take_turns_whatever_the_number_of_their_connections() {
        let mut all = vec![from(1); 100];
        all.push(from(2));
        beside(&all, move |turns| async move {
            while sum(&turns) < 10_000 {
                future::yield_now().await;
            }
            let alone = turns[100].load(Ordering::Relaxed);
            assert!(alone > 4000, "{alone} of 10,000 turns");
            let others = turns[..100]
                .iter()
                .map(|turns| turns.load(Ordering::Relaxed));
            let (least, most) = (others.clone().min().unwrap(), others.max().unwrap());
            assert!(most - least <= 2, "{least} and {most}");
        });
    }
}
