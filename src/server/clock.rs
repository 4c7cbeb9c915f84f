//! The server's clock: the machine's, or a virtual one, which stands still until a test advances it.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_io::Timer;

use crate::model::Now;
use crate::protocol::Time;

/// The monotonic clock and the wall clock.
#[derive(Clone, Debug)]
pub(super) enum Clock {
    /// The machine's clocks. Uptime counts from this moment.
    Machine(Instant),
    Virtual(Arc<VirtualClock>),
}

/// A clock that a test advances.
#[derive(Debug)]
pub(super) struct VirtualClock {
    start: Instant,
    started: Time,
    state: Mutex<Hands>,
}

#[derive(Debug, Default)]
struct Hands {
    uptime: Duration,
    /// The time that the work between two looks at the clock seems to have taken.
    worked: Duration,
    alarms: BTreeMap<(Duration, u64), Waker>,
    last_alarm: u64,
}

/// The time by which a virtual clock seems to advance with each call of [`Clock::instant`]. So connections that have
/// much to do use up their turns, as they do in real time.
const LOOK: Duration = Duration::from_micros(20);

/// A timer that can be set anew.
#[derive(Debug)]
pub(super) enum Alarm {
    Machine(Instant, Timer),
    Virtual {
        clock: Arc<VirtualClock>,
        at: Duration,
        /// The key of the waker that waits.
        key: Option<(Duration, u64)>,
    },
}

impl Clock {
    /// Returns the machine's clock. Uptime counts from now on.
    pub fn start() -> Self {
        Self::Machine(Instant::now())
    }

    pub fn now(&self) -> Now {
        match self {
            Self::Machine(start) => {
                let since = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default();
                Now {
                    time: Time(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
                    uptime: start.elapsed(),
                }
            }
            Self::Virtual(clock) => clock.now(),
        }
    }

    /// Returns the moment of the monotonic clock, to measure how long work takes.
    pub fn instant(&self) -> Instant {
        match self {
            Self::Machine(_) => Instant::now(),
            Self::Virtual(clock) => clock.instant(),
        }
    }

    /// Returns the offset of local time from UTC in seconds.
    pub fn utc_offset_s(&self) -> i32 {
        match self {
            Self::Machine(_) => jiff::Zoned::now().offset().seconds(),
            Self::Virtual(_) => 0,
        }
    }

    /// Returns the first id of a server with a new log. It is the number of microseconds since 1970, so that no id is
    /// used again.
    pub fn first_id(&self) -> u64 {
        self.now().time.0.saturating_mul(1000).max(1)
    }

    /// Returns an alarm that is not set.
    pub fn alarm(&self) -> Alarm {
        match self {
            Self::Machine(start) => Alarm::Machine(*start, Timer::never()),
            Self::Virtual(clock) => Alarm::Virtual {
                clock: clock.clone(),
                at: Duration::MAX,
                key: None,
            },
        }
    }

    /// Waits until this time has passed.
    pub async fn wait(&self, time: Duration) {
        match self {
            Self::Machine(_) => {
                Timer::after(time).await;
            }
            Self::Virtual(clock) => {
                let mut alarm = self.alarm();
                alarm.set(clock.now().uptime.saturating_add(time));
                poll_fn(|cx| alarm.poll(cx)).await;
            }
        }
    }
}

impl Alarm {
    /// Sets the alarm to the uptime `at`.
    pub fn set(&mut self, at: Duration) {
        match self {
            Self::Machine(start, timer) => timer.set_at(*start + at),
            Self::Virtual { at: known, .. } => *known = at,
        }
    }

    /// Becomes ready at the time to which the alarm is set.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Machine(_, timer) => Future::poll(Pin::new(timer), cx).map(drop),
            Self::Virtual { clock, at, key } => {
                let mut hands = clock.hands();
                if let Some(key) = key.take() {
                    hands.alarms.remove(&key);
                }
                if hands.uptime >= *at {
                    return Poll::Ready(());
                }
                hands.last_alarm += 1;
                let set = (*at, hands.last_alarm);
                hands.alarms.insert(set, cx.waker().clone());
                *key = Some(set);
                Poll::Pending
            }
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Self::Virtual { clock, key, .. } = self
            && let Some(key) = key
        {
            let waker = clock.hands().alarms.remove(key);
            drop(waker);
        }
    }
}

impl VirtualClock {
    /// Returns a clock for a server that is started at the time `started`.
    pub fn new(started: Time) -> Self {
        Self {
            start: Instant::now(),
            started,
            state: Mutex::default(),
        }
    }

    fn hands(&self) -> MutexGuard<'_, Hands> {
        self.state
            .lock()
            .expect("no thread panics while it holds this")
    }

    pub fn now(&self) -> Now {
        let uptime = self.hands().uptime;
        let passed = u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX);
        Now {
            time: Time(self.started.0.saturating_add(passed)),
            uptime,
        }
    }

    fn instant(&self) -> Instant {
        let mut hands = self.hands();
        hands.worked += LOOK;
        self.start + hands.uptime + hands.worked
    }

    /// Returns the uptime at which the next task wants to be woken.
    pub fn next_due(&self) -> Option<Duration> {
        self.hands().alarms.keys().next().map(|(at, _)| *at)
    }

    /// Advances to the uptime `to`, and wakes the tasks that wait for that time or an earlier one.
    pub fn advance(&self, to: Duration) {
        let due = {
            let mut hands = self.hands();
            let uptime = hands.uptime.max(to);
            hands.uptime = uptime;
            let later = hands.alarms.split_off(&(uptime, u64::MAX));
            std::mem::replace(&mut hands.alarms, later)
        };
        due.into_values().for_each(Waker::wake);
    }
}
