//! The only reader of time. Everything behind it takes times as arguments.
//!
//! Live sources count nanoseconds of CLOCK_BOOTTIME, as the kernel programs do: it never jumps and
//! goes on during suspend. Files count the capture's own time. Wall time appears only when a
//! line is written, through a `WallOffset`.

use std::{
    fmt,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use rustix::time::{ClockId, Timespec, clock_gettime};

const NANOS_PER_SEC: u64 = 1_000_000_000;

/// Nanoseconds since boot, suspend included: the axis of live sources.
pub fn boottime_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Boottime))
}

/// Nanoseconds since the Unix epoch by the machine's clock, which may jump.
pub fn wall_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Realtime))
}

fn nanoseconds(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(NANOS_PER_SEC).saturating_add(nanos)
}

/// Blocks the thread until the boot-time clock reads `until_ns`. Returns at once when that has passed.
pub fn sleep_until_boottime(until_ns: u64) {
    let left_ns = until_ns.saturating_sub(boottime_ns());
    if left_ns > 0 {
        std::thread::sleep(Duration::from_nanos(left_ns));
    }
}

/// What to add to a source's time to get nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallOffset {
    ns: u64,
}

impl WallOffset {
    /// For a source whose axis is wall time: a capture file.
    pub const ZERO: Self = Self { ns: 0 };

    /// For the boot-time axis, as the machine's clock stands now.
    pub fn of_boottime() -> Self {
        Self { ns: wall_ns().saturating_sub(boottime_ns()) }
    }

    pub const fn ns(self) -> u64 {
        self.ns
    }

    pub const fn wall(self, source_ns: u64) -> Timestamp {
        Timestamp { ns: source_ns.saturating_add(self.ns) }
    }
}

/// What a source's times count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Nanoseconds since the Unix epoch: capture files.
    Wall,
    /// Nanoseconds since boot: live traffic.
    Boottime,
}

impl Axis {
    /// The offset as it is now: the machine's clock may be set while the agent runs.
    pub fn offset(self) -> WallOffset {
        match self {
            Self::Wall => WallOffset::ZERO,
            Self::Boottime => WallOffset::of_boottime(),
        }
    }

    /// The time now, where the source runs with the clock: a capture's time is another.
    pub fn now(self) -> Option<Timestamp> {
        match self {
            Self::Wall => None,
            Self::Boottime => Some(Timestamp::from_unix_ns(wall_ns())),
        }
    }
}

/// A point in wall time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    ns: u64,
}

impl Timestamp {
    pub const fn from_unix_ns(ns: u64) -> Self {
        Self { ns }
    }

    pub const fn unix_ns(self) -> u64 {
        self.ns
    }

    fn utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_nanos(i64::try_from(self.ns).unwrap_or(i64::MAX))
    }

    /// Suricata's form: `2027-01-31T12:00:00.123456+0000`.
    pub fn eve(self) -> impl fmt::Display {
        self.utc().format("%Y-%m-%dT%H:%M:%S%.6f+0000")
    }

    /// RFC 3339 in UTC with microseconds: `2027-01-31T12:00:00.123456Z`.
    pub fn rfc3339(self) -> impl fmt::Display {
        self.utc().format("%Y-%m-%dT%H:%M:%S%.6fZ")
    }
}

/// Measures how long something took, on a clock that never jumps.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    since: Instant,
}

impl Stopwatch {
    pub fn start() -> Self {
        Self { since: Instant::now() }
    }

    pub fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_have_microseconds_and_a_numeric_zone() {
        let at = Timestamp::from_unix_ns(1_499_257_434_123_456_789);
        assert_eq!(at.eve().to_string(), "2017-07-05T12:23:54.123456+0000");
        assert_eq!(at.rfc3339().to_string(), "2017-07-05T12:23:54.123456Z");
        assert_eq!(Timestamp::from_unix_ns(0).eve().to_string(), "1970-01-01T00:00:00.000000+0000");
    }

    #[test]
    fn the_wall_offset_maps_boottime_onto_the_wall_clock() {
        let offset = WallOffset::of_boottime();
        let mapped = offset.wall(boottime_ns()).unix_ns();
        assert!(mapped.abs_diff(wall_ns()) < NANOS_PER_SEC);
        assert_eq!(WallOffset::ZERO.wall(77).unix_ns(), 77);
    }

    #[test]
    fn sleeping_until_the_past_returns_at_once() {
        let watch = Stopwatch::start();
        sleep_until_boottime(0);
        assert!(watch.elapsed() < Duration::from_secs(5));
    }
}
