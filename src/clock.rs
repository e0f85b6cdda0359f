//! The only reader of time. Everything that decides takes `now` as an argument.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// A moment of wall-clock time, in milliseconds since the Unix epoch.
///
/// Wall clocks may run backwards; every difference therefore saturates at zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(
    /// One more than they are, so that an `Option` takes no more room: several are stored with each response.
    NonZeroU64,
);

impl Timestamp {
    /// The moment `milliseconds` after the Unix epoch.
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(milliseconds))
    }

    /// The moment `seconds` after the Unix epoch.
    pub const fn from_secs(seconds: u64) -> Self {
        Self::from_millis(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0.get() - 1
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn as_secs(self) -> u64 {
        self.as_millis() / 1000
    }

    /// How long ago `earlier` was; zero if it lies in the future.
    pub const fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.as_millis().saturating_sub(earlier.as_millis()))
    }

    /// The moment `duration` later, saturating at the end of time.
    pub fn plus(self, duration: Duration) -> Timestamp {
        Self(self.0.saturating_add(Millis::from(duration).0))
    }

    /// The moment `duration` earlier, saturating at the Unix epoch.
    pub fn minus(self, duration: Duration) -> Timestamp {
        Self::from_millis(self.as_millis().saturating_sub(Millis::from(duration).0))
    }

    /// The same moment as the standard library writes it, capped at the end of the year 9999:
    /// the last that HTTP dates and ISO 8601 can name.
    pub fn to_system_time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.as_millis().min(END_OF_9999))
    }

    /// ISO 8601 in UTC with whole seconds: `2026-11-23T08:15:00Z`.
    pub fn iso8601(self) -> impl fmt::Display {
        humantime::format_rfc3339_seconds(self.to_system_time())
    }

    /// The same as text. Every hit says it twice.
    pub fn iso8601_bytes(self) -> [u8; 20] {
        let seconds = self.as_millis().min(END_OF_9999) / 1000;
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        // Days since 0000-03-01, in eras of 400 years, whose years begin in March: Howard Hinnant, "chrono-Compatible
        // Low-Level Date Algorithms", civil_from_days.
        let shifted = days + 719_468;
        let day_of_era = shifted % 146_097;
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = shifted / 146_097 * 400 + year_of_era + u64::from(month <= 2);
        let mut text = *b"0000-00-00T00:00:00Z";
        let mut write = |at: usize, number: u64| {
            let number = u8::try_from(number % 100).unwrap_or_default();
            text[at] = b'0' + number / 10;
            text[at + 1] = b'0' + number % 10;
        };
        write(0, year / 100);
        write(2, year);
        write(5, month);
        write(8, day);
        write(11, second / 3600);
        write(14, second / 60 % 60);
        write(17, second % 60);
        text
    }
}

/// The last moment that HTTP dates and ISO 8601 can name, in milliseconds.
const END_OF_9999: u64 = 253_402_300_799_999;

/// The Unix epoch.
impl Default for Timestamp {
    fn default() -> Self {
        Self::from_millis(0)
    }
}

/// A length of time in whole milliseconds, in half the room of a [`Duration`]: several are stored with each response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Millis(u64);

impl Millis {
    /// None.
    pub const ZERO: Self = Self(0);

    /// The same as the standard library has it.
    pub const fn get(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

/// Rounded down, and saturating.
impl From<Duration> for Millis {
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }
}

impl From<SystemTime> for Timestamp {
    /// Moments before the Unix epoch become the epoch itself.
    fn from(time: SystemTime) -> Self {
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::from_millis(Millis::from(since_epoch).0)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", humantime::format_rfc3339_millis(self.to_system_time()))
    }
}

/// Where `now` comes from. Clones tell the same time.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Milliseconds since the Unix epoch, where somebody moves the time by hand; `None`: the system's.
    stopped: Option<Arc<AtomicU64>>,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self { stopped: None }
    }

    /// A clock that stands still at the system's present time until it is moved.
    pub fn stopped() -> Self {
        Self { stopped: Some(Arc::new(AtomicU64::new(Self::system().now().as_millis()))) }
    }

    /// The present moment.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn now(&self) -> Timestamp {
        match &self.stopped {
            None => Timestamp::from(SystemTime::now()),
            Some(stopped) => Timestamp::from_millis(stopped.load(Ordering::Relaxed)),
        }
    }

    /// Moves a stopped clock forwards; no effect on the system's.
    pub fn advance(&self, by: Duration) {
        self.set(self.now().plus(by));
    }

    /// Moves a stopped clock backwards; no effect on the system's.
    pub fn rewind(&self, by: Duration) {
        self.set(self.now().minus(by));
    }

    fn set(&self, to: Timestamp) {
        if let Some(stopped) = &self.stopped {
            stopped.store(to.as_millis(), Ordering::Relaxed);
        }
    }
}

/// Measures how long something took, on the monotonic clock: the one that timers go by.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts measuring.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since [`start`](Self::start).
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// How long is waited, for several things one after the other.
#[derive(Debug)]
pub struct Patience {
    since: Stopwatch,
    limit: Duration,
}

impl Patience {
    /// From now on, so long for all of them.
    pub fn of(limit: Duration) -> Self {
        Self { since: Stopwatch::start(), limit }
    }

    /// What of it is left.
    pub fn left(&self) -> Duration {
        self.limit.saturating_sub(self.since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_with_the_future_is_zero() {
        assert_eq!(Timestamp::from_secs(5).since(Timestamp::from_secs(9)), Duration::ZERO);
    }

    #[test]
    fn iso_8601_is_in_whole_seconds_of_utc() {
        assert_eq!(Timestamp::from_millis(999).iso8601().to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Timestamp::from_millis(u64::MAX).iso8601().to_string(), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn it_is_written_in_one_way() {
        let days = (0..3000).map(|step| step * 1_000_003 * 86_400_000 + step * 7919 * 1000);
        let edges =
            ["1999-12-31T23:59:59Z", "2000-02-29T00:00:00Z", "2000-03-01T00:00:00Z", "2100-02-28T12:00:00Z"]
                .map(|text| Timestamp::from(humantime::parse_rfc3339(text).unwrap()).as_millis());
        for millis in days.chain(edges).chain([0, END_OF_9999, u64::MAX]) {
            let moment = Timestamp::from_millis(millis);
            assert_eq!(moment.iso8601().to_string().as_bytes(), moment.iso8601_bytes(), "{millis}");
        }
    }

    #[test]
    fn a_stopped_clock_stands_still_until_it_is_moved() {
        let clock = Clock::stopped();
        let start = clock.now();
        clock.advance(Duration::from_secs(3600));
        assert_eq!(clock.clone().now(), start.plus(Duration::from_secs(3600)));
        clock.rewind(Duration::from_secs(7200));
        assert_eq!(clock.now(), start.minus(Duration::from_secs(3600)));
    }
}
