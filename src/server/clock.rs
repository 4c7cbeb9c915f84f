//! The server's clock: the machine's, or a virtual one, which stands still until a test advances it.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::model::{Now, millis};
use crate::protocol::Time;

/// The monotonic clock and the wall clock, and the tasks that wait for a time.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    source: Source,
    alarms: Arc<Mutex<Alarms>>,
}

#[derive(Clone, Debug)]
enum Source {
    /// The machine's clocks. Uptime counts from this moment.
    Machine(Instant),
    Virtual(Arc<VirtualTime>),
}

/// A time that a test advances.
#[derive(Debug)]
struct VirtualTime {
    start: Instant,
    started: Time,
    hands: Mutex<Hands>,
}

#[derive(Debug, Default)]
struct Hands {
    uptime: Duration,
    /// The time that the work between two looks at the clock seems to have taken.
    worked: Duration,
}

/// The tasks that wait, by the uptime for which they wait. A number distinguishes tasks that wait for the same time.
#[derive(Debug, Default)]
struct Alarms {
    wakers: BTreeMap<(Duration, u64), Waker>,
    last_number: u64,
}

/// The time by which a virtual clock seems to advance with each call of [`Clock::instant`]. So connections that have
/// much to do use up their turns, as they do in real time.
const LOOK: Duration = Duration::from_micros(20);

/// A timer that can be set anew.
#[derive(Debug)]
pub(super) struct Alarm {
    clock: Clock,
    at: Duration,
    /// The key of the waker that waits.
    key: Option<(Duration, u64)>,
}

impl Clock {
    /// Returns the machine's clock. Uptime counts from now on.
    pub fn start() -> Self {
        Self::with(Source::Machine(Instant::now()))
    }

    /// Returns a virtual clock for a server that is started at the time `started`.
    pub fn simulated(started: Time) -> Self {
        Self::with(Source::Virtual(Arc::new(VirtualTime {
            start: Instant::now(),
            started,
            hands: Mutex::default(),
        })))
    }

    fn with(source: Source) -> Self {
        Self {
            source,
            alarms: Arc::default(),
        }
    }

    pub fn now(&self) -> Now {
        let uptime = self.uptime();
        let time = match &self.source {
            Source::Machine(_) => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH);
                Time(millis(since.unwrap_or_default()))
            }
            Source::Virtual(time) => Time(time.started.0.saturating_add(millis(uptime))),
        };
        Now { time, uptime }
    }

    fn uptime(&self) -> Duration {
        match &self.source {
            Source::Machine(start) => start.elapsed(),
            Source::Virtual(time) => time.hands().uptime,
        }
    }

    /// Returns the moment of the monotonic clock, to measure how long work takes.
    pub fn instant(&self) -> Instant {
        match &self.source {
            Source::Machine(_) => Instant::now(),
            Source::Virtual(time) => {
                let mut hands = time.hands();
                hands.worked += LOOK;
                time.start + hands.uptime + hands.worked
            }
        }
    }

    /// Returns the offset of local time from UTC in seconds.
    pub fn utc_offset_s(&self) -> i32 {
        match self.source {
            Source::Machine(_) => jiff::Zoned::now().offset().seconds(),
            Source::Virtual(_) => 0,
        }
    }

    /// Returns the first id of a server with a new log. It is the number of microseconds since 1970, so that no id is
    /// used again.
    pub fn first_id(&self) -> u64 {
        self.now().time.0.saturating_mul(1000).max(1)
    }

    /// Returns an alarm that is not set.
    pub fn alarm(&self) -> Alarm {
        Alarm {
            clock: self.clone(),
            at: Duration::MAX,
            key: None,
        }
    }

    /// Waits until this time has passed.
    pub async fn wait(&self, time: Duration) {
        self.alarm_in(time).await;
    }

    /// Returns an alarm that is set to the time after `time` has passed.
    pub fn alarm_in(&self, time: Duration) -> Alarm {
        let mut alarm = self.alarm();
        alarm.set(self.uptime().saturating_add(time));
        alarm
    }

    /// Wakes the tasks whose time has come. Returns the time until the next task must be woken, if any task waits.
    pub fn ring(&self) -> Option<Duration> {
        let next = self.next_due()?; // without a look at the machine's clock
        let uptime = self.uptime();
        if uptime < next {
            return Some(next.saturating_sub(uptime));
        }
        let due = {
            let mut alarms = self.alarms();
            let later = alarms.wakers.split_off(&(uptime, u64::MAX));
            std::mem::replace(&mut alarms.wakers, later)
        };
        due.into_values().for_each(Waker::wake);
        Some(Duration::ZERO)
    }

    /// Returns the uptime at which the next task must be woken.
    pub fn next_due(&self) -> Option<Duration> {
        let alarms = self.alarms();
        alarms.wakers.keys().next().map(|(at, _)| *at)
    }

    /// Advances a virtual clock to the uptime `to`, and wakes the tasks that wait for that time or an earlier one.
    pub fn advance(&self, to: Duration) {
        if let Source::Virtual(time) = &self.source {
            let mut hands = time.hands();
            hands.uptime = hands.uptime.max(to);
        }
        self.ring();
    }

    fn alarms(&self) -> MutexGuard<'_, Alarms> {
        self.alarms
            .lock()
            .expect("no thread panics while it holds this")
    }
}

impl VirtualTime {
    fn hands(&self) -> MutexGuard<'_, Hands> {
        self.hands
            .lock()
            .expect("no thread panics while it holds this")
    }
}

impl Alarm {
    /// Sets the alarm to the uptime `at`.
    pub fn set(&mut self, at: Duration) {
        self.at = at;
    }

    fn stop(&mut self) {
        if let Some(key) = self.key.take() {
            let waker = self.clock.alarms().wakers.remove(&key);
            drop(waker);
        }
    }
}

/// Becomes ready at the time to which the alarm is set.
impl Future for Alarm {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.stop();
        if self.clock.uptime() >= self.at {
            return Poll::Ready(());
        }
        let mut alarms = self.clock.alarms();
        alarms.last_number += 1;
        let key = (self.at, alarms.last_number);
        alarms.wakers.insert(key, cx.waker().clone());
        drop(alarms);
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.stop();
    }
}
