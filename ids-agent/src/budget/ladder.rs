//! What each level gives up, in one table that code, metrics and `docs/budget.md` share. Computes nothing else.

use crate::config::SampleSettings;

/// How much is given up, from nothing to nearly everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Everything is judged by everybody.
    #[default]
    Full = 0,
    /// Fewer and smaller payload samples, longer ticks.
    Lean = 1,
    /// No attack patterns, anomaly for a share of flows, shorter idle timeouts.
    Reduced = 2,
    /// Counters, and the behaviour of hosts with floods.
    Bare = 3,
}

impl Level {
    pub const ALL: [Self; 4] = [Self::Full, Self::Lean, Self::Reduced, Self::Bare];

    pub const fn number(self) -> u8 {
        self as u8
    }

    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Lean => "lean",
            Self::Reduced => "reduced",
            Self::Bare => "bare",
        }
    }

    /// The next level that gives up more; the last stays.
    pub const fn up(self) -> Self {
        match self {
            Self::Full => Self::Lean,
            Self::Lean => Self::Reduced,
            Self::Reduced | Self::Bare => Self::Bare,
        }
    }

    /// The next level that gives up less; the first stays.
    pub const fn down(self) -> Self {
        match self {
            Self::Full | Self::Lean => Self::Full,
            Self::Reduced => Self::Lean,
            Self::Bare => Self::Reduced,
        }
    }

    pub const fn rung(self) -> &'static Rung {
        match self {
            Self::Full => &LADDER[0],
            Self::Lean => &LADDER[1],
            Self::Reduced => &LADDER[2],
            Self::Bare => &LADDER[3],
        }
    }
}

/// What can go blind: a witness, or a part of one that looks at something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sense {
    Classifier,
    Anomaly,
    /// Behaviour of hosts, floods with it.
    Behaviour,
    /// Generated domain names.
    Dga,
    /// Attack patterns in payload samples.
    Payload,
    Intel,
    /// What Suricata says.
    Signature,
}

impl Sense {
    pub const ALL: [Self; 7] =
        [Self::Classifier, Self::Anomaly, Self::Behaviour, Self::Dga, Self::Payload, Self::Intel, Self::Signature];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Classifier => "classifier",
            Self::Anomaly => "anomaly",
            Self::Behaviour => "behaviour",
            Self::Dga => "dga",
            Self::Payload => "payload",
            Self::Intel => "intel",
            Self::Signature => "signature",
        }
    }

    pub const fn index(self) -> usize {
        self as usize
    }
}

/// How much of what there is to judge a sense still judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    All,
    /// All flows, of which less payload is sampled than configured.
    LessPayload,
    /// One flow in so many, by the flow's id.
    OneIn(u32),
    None,
}

impl Share {
    /// Whether the flow is among those that are judged. The id is a hash, so any of its bits will do.
    pub const fn takes(self, flow_id: u64) -> bool {
        match self {
            Self::All | Self::LessPayload => true,
            Self::OneIn(many) => (flow_id >> 32).is_multiple_of(many as u64),
            Self::None => false,
        }
    }

    pub const fn is_none(self) -> bool {
        matches!(self, Self::None)
    }
}

/// One level of the ladder. Numbers are upper bounds: settings that ask for less hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rung {
    pub level: Level,
    /// Bounds of `[sample]`.
    pub sample_packets_max: u32,
    pub sample_heads_max: u32,
    pub sample_bytes_max: u32,
    /// Ticks become so many times longer.
    pub tick_times: u32,
    /// Bound of `flow.idle_timeout_secs`.
    pub idle_timeout_secs_max: u64,
    /// By `Sense::index`.
    shares: [Share; Sense::ALL.len()],
}

const UNBOUNDED: u32 = u32::MAX;

/// The ladder. Models are fitted on what three samples say, so the first level to take less of these is the one at which the
/// classifier hears of payload no more than of any other.
pub const LADDER: [Rung; 4] = {
    use Share::{All, LessPayload, None, OneIn};
    [
        Rung {
            level: Level::Full,
            sample_packets_max: UNBOUNDED,
            sample_heads_max: UNBOUNDED,
            sample_bytes_max: UNBOUNDED,
            tick_times: 1,
            idle_timeout_secs_max: u64::MAX,
            //       classifier, anomaly, behaviour, dga, payload, intel, signature
            shares: [All, All, All, All, All, All, All],
        },
        Rung {
            level: Level::Lean,
            sample_packets_max: 3,
            sample_heads_max: 8,
            sample_bytes_max: 512,
            tick_times: 2,
            idle_timeout_secs_max: u64::MAX,
            shares: [All, All, All, All, LessPayload, All, All],
        },
        Rung {
            level: Level::Reduced,
            sample_packets_max: 2,
            sample_heads_max: 2,
            sample_bytes_max: 512,
            tick_times: 2,
            idle_timeout_secs_max: 15,
            shares: [All, OneIn(4), All, All, None, All, All],
        },
        Rung {
            level: Level::Bare,
            sample_packets_max: 0,
            sample_heads_max: 0,
            sample_bytes_max: 0,
            tick_times: 2,
            idle_timeout_secs_max: 5,
            shares: [None, None, All, None, None, None, All],
        },
    ]
};

impl Rung {
    pub fn share(&self, sense: Sense) -> Share {
        self.shares.get(sense.index()).copied().unwrap_or(Share::All)
    }

    /// Whether attack patterns are looked for in samples.
    pub fn looks_for_patterns(&self) -> bool {
        !self.share(Sense::Payload).is_none()
    }

    /// Whether anybody reads feature vectors.
    pub fn needs_features(&self) -> bool {
        [Sense::Classifier, Sense::Anomaly].iter().any(|sense| !self.share(*sense).is_none())
    }

    /// What is sampled at this level.
    pub fn sample(&self, settings: &SampleSettings) -> SampleSettings {
        SampleSettings {
            packets: settings.packets.min(self.sample_packets_max),
            heads: settings.heads.min(self.sample_heads_max),
            bytes: settings.bytes.min(self.sample_bytes_max),
        }
    }

    /// How much a sense still sees, 0 to 1: of flows, or of the payload that would be sampled of each.
    pub fn coverage(&self, sense: Sense, settings: &SampleSettings) -> f64 {
        match self.share(sense) {
            Share::All => 1.0,
            Share::OneIn(many) => 1.0 / f64::from(many.max(1)),
            Share::None => 0.0,
            Share::LessPayload => {
                let bytes = |sample: &SampleSettings| f64::from(sample.packets) * f64::from(sample.bytes);
                let whole = bytes(settings);
                if whole > 0.0 { bytes(&self.sample(settings)) / whole } else { 0.0 }
            }
        }
    }
}

/// What holds at the moment: the level, and how far tables were cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Effort {
    pub level: Level,
    pub tables: Tables,
}

impl Effort {
    /// A level as such, with whole tables.
    pub const fn at(level: Level) -> Self {
        Self { level, tables: Tables::WHOLE }
    }
}

/// How much of their configured size bounded tables have: halved so many times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tables {
    halvings: u8,
}

impl Tables {
    pub const WHOLE: Self = Self { halvings: 0 };
    /// A sixteenth.
    pub const SMALLEST: Self = Self { halvings: 4 };

    pub const fn halvings(self) -> u8 {
        self.halvings
    }

    pub const fn halved(halvings: u8) -> Self {
        if halvings < Self::SMALLEST.halvings { Self { halvings } } else { Self::SMALLEST }
    }

    pub const fn smaller(self) -> Self {
        Self::halved(self.halvings + 1)
    }

    pub const fn larger(self) -> Self {
        Self { halvings: self.halvings.saturating_sub(1) }
    }

    pub fn share(self) -> f64 {
        1.0 / f64::from(1u32 << self.halvings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_gives_up_no_less_than_the_one_before() {
        let settings = SampleSettings::default();
        for (at, level) in Level::ALL.into_iter().enumerate() {
            assert_eq!((usize::from(level.number()), level.rung().level), (at, level));
            assert_eq!(Level::from_number(level.number()), Some(level));
            let (rung, next) = (level.rung(), level.up().rung());
            assert!(next.sample_bytes_max <= rung.sample_bytes_max && next.tick_times >= rung.tick_times);
            assert!(next.idle_timeout_secs_max <= rung.idle_timeout_secs_max);
            for sense in Sense::ALL {
                assert!(next.coverage(sense, &settings) <= rung.coverage(sense, &settings), "{sense:?} at {level:?}");
            }
        }
        assert_eq!((Level::Full.down(), Level::Bare.up()), (Level::Full, Level::Bare));
        assert_eq!(Level::from_number(4), None);
    }

    #[test]
    fn nothing_is_given_up_at_the_first_level_and_hosts_are_watched_at_the_last() {
        let settings = SampleSettings::default();
        assert!(Sense::ALL.iter().all(|sense| Level::Full.rung().coverage(*sense, &settings) >= 1.0));
        assert_eq!(Level::Full.rung().sample(&settings), settings);
        let left: Vec<&str> = Sense::ALL
            .into_iter()
            .filter(|sense| Level::Bare.rung().coverage(*sense, &settings) > 0.0)
            .map(Sense::name)
            .collect();
        assert_eq!(left, ["behaviour", "signature"]);
    }

    #[test]
    fn coverage_is_the_share_of_flows_or_of_sampled_payload() {
        let settings = SampleSettings { packets: 3, heads: 64, bytes: 1_024 };
        let at = |level: Level, sense| level.rung().coverage(sense, &settings);
        assert_eq!(at(Level::Lean, Sense::Payload).to_bits(), 0.5_f64.to_bits());
        assert_eq!(at(Level::Reduced, Sense::Anomaly).to_bits(), 0.25_f64.to_bits());
        let less = SampleSettings { bytes: 256, ..settings };
        assert!(Level::Lean.rung().coverage(Sense::Payload, &less) >= 1.0, "settings that ask for less hold");
        let none = SampleSettings { packets: 0, ..settings };
        assert!(Level::Lean.rung().coverage(Sense::Payload, &none) <= 0.0);
    }

    #[test]
    fn one_flow_in_four_is_one_in_four() {
        let ids = (0..4_000u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let taken = ids.filter(|id| Share::OneIn(4).takes(*id)).count();
        assert!((900..1_100).contains(&taken), "{taken}");
        assert!(Share::All.takes(3) && !Share::None.takes(3));
    }

    #[test]
    fn tables_are_never_cut_below_the_smallest() {
        assert_eq!(Tables::SMALLEST.smaller(), Tables::SMALLEST);
        assert_eq!(Tables::WHOLE.larger(), Tables::WHOLE);
    }
}
