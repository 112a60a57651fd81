//! Which trouble comes when, out of the seed alone.

use std::time::Duration;

use crate::lab::rng::Rng;

/// Before the first trouble, and behind the last one.
const QUIET: Duration = Duration::from_secs(8);
const PAUSE_MS: (u64, u64) = (4_000, 9_000);

/// What befalls the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    /// `kill -9`, and nobody there for a while.
    Kill { away: Duration },
    /// SIGTERM and a new start, as in an upgrade.
    Restart,
    /// SIGSTOP for a while.
    Freeze { lasts: Duration },
    /// The interface is deleted and made anew.
    Unplug { away: Duration },
    /// The configuration is spoilt in place, and read again.
    BadConfig { how: u64 },
    /// A model is spoilt in place, and everything is read again.
    BadModel { how: u64 },
    /// The disk of the alerts is full for a while.
    FullDisk { lasts: Duration },
    /// A flood of SYNs; other troubles may come meanwhile.
    Flood { per_sec: u32, lasts: Duration },
    /// A flood while the agent does not read: more than the table and the ring hold.
    RingStall { per_sec: u32, lasts: Duration },
}

impl Trouble {
    pub(crate) const NAMES: [&'static str; 9] = [
        "kill -9",
        "restart",
        "SIGSTOP",
        "interface deleted",
        "spoilt configuration",
        "spoilt model",
        "full disk",
        "SYN flood",
        "ring stall",
    ];

    pub(crate) fn name(self) -> &'static str {
        Self::NAMES[match self {
            Self::Kill { .. } => 0,
            Self::Restart => 1,
            Self::Freeze { .. } => 2,
            Self::Unplug { .. } => 3,
            Self::BadConfig { .. } => 4,
            Self::BadModel { .. } => 5,
            Self::FullDisk { .. } => 6,
            Self::Flood { .. } => 7,
            Self::RingStall { .. } => 8,
        }]
    }

    /// How long it is planned to last.
    fn lasts(self) -> Duration {
        match self {
            Self::Kill { away } | Self::Unplug { away } => away,
            Self::Freeze { lasts } | Self::FullDisk { lasts } | Self::RingStall { lasts, .. } => lasts,
            // It goes on beside what follows.
            Self::Flood { .. } => Duration::ZERO,
            Self::Restart | Self::BadConfig { .. } | Self::BadModel { .. } => Duration::from_secs(1),
        }
    }

    fn drawn(kind: usize, rng: &mut Rng) -> Self {
        let mut millis = |low, high| Duration::from_millis(rng.range(low, high));
        match kind {
            0 => Self::Kill { away: millis(100, 4_000) },
            1 => Self::Restart,
            2 => Self::Freeze { lasts: millis(1_000, 9_000) },
            3 => Self::Unplug { away: millis(100, 6_000) },
            4 => Self::BadConfig { how: rng.next() },
            5 => Self::BadModel { how: rng.next() },
            6 => Self::FullDisk { lasts: millis(3_000, 12_000) },
            7 => Self::Flood { lasts: millis(4_000, 10_000), per_sec: per_sec(rng, 3_000, 12_000) },
            _ => Self::RingStall { lasts: millis(5_000, 9_000), per_sec: per_sec(rng, 10_000, 16_000) },
        }
    }
}

fn per_sec(rng: &mut Rng, low: u64, high: u64) -> u32 {
    u32::try_from(rng.range(low, high)).unwrap_or_default()
}

/// A trouble and the time from the begin of the run at which it comes, if those before it are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) at: Duration,
    pub(crate) trouble: Trouble,
}

/// Rounds of all troubles, or of those named alone, each in another order, for so long.
pub(crate) fn planned(seed: u64, duration: Duration, only: &[String]) -> Vec<Event> {
    let mut rng = Rng::new(seed, "troubles");
    let is_wanted = |kind: &usize| only.is_empty() || only.iter().any(|name| name == Trouble::NAMES[*kind]);
    let kinds: Vec<usize> = (0..Trouble::NAMES.len()).filter(is_wanted).collect();
    let (mut events, mut at) = (Vec::new(), QUIET);
    while !kinds.is_empty() {
        for kind in rng.shuffled(&kinds) {
            let trouble = Trouble::drawn(kind, &mut rng);
            if at + trouble.lasts() + QUIET > duration {
                return events;
            }
            events.push(Event { at, trouble });
            at += trouble.lasts() + Duration::from_millis(rng.range(PAUSE_MS.0, PAUSE_MS.1));
        }
    }
    events
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use super::{Trouble, planned};

    #[test]
    fn a_seed_gives_one_schedule_and_every_round_holds_every_trouble() {
        let ten_minutes = Duration::from_secs(600);
        let events = planned(7, ten_minutes, &[]);
        assert_eq!(events, planned(7, ten_minutes, &[]));
        assert_ne!(events, planned(8, ten_minutes, &[]));
        for round in events.chunks_exact(Trouble::NAMES.len()) {
            let names: BTreeSet<_> = round.iter().map(|event| event.trouble.name()).collect();
            assert_eq!(names.len(), Trouble::NAMES.len());
        }
        assert!(events.len() > 3 * Trouble::NAMES.len(), "{}", events.len());
        assert!(events.windows(2).all(|pair| pair[0].at < pair[1].at));
        assert!(events.last().is_some_and(|event| event.at < ten_minutes));
    }

    #[test]
    fn a_shorter_run_is_the_begin_of_a_longer_one() {
        let [short, long] = [60, 600].map(|secs| planned(3, Duration::from_secs(secs), &[]));
        assert!(!short.is_empty() && long.starts_with(&short));
        assert_eq!(planned(3, Duration::ZERO, &[]), []);
    }

    #[test]
    fn of_troubles_that_are_named_no_other_comes() {
        let only = ["SIGSTOP", "kill -9"].map(str::to_owned);
        let events = planned(7, Duration::from_secs(300), &only);
        assert!(events.len() > 10 && events.iter().all(|event| only.contains(&event.trouble.name().to_owned())));
        assert_eq!(planned(7, Duration::from_secs(300), &["rain".to_owned()]), []);
    }
}
