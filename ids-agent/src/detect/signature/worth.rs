//! What each signature proved to be worth here: how often other witnesses agreed with it, how often it spoke alone, and
//! what people called false. Bounded; kept over a restart.

use crate::{
    bounded::BoundedMap,
    detect::{
        StateError,
        saved::{Saved, Saver},
    },
};

/// Signatures of which it is remembered how they did. ET Open has 35,000; a site hears of a few hundred.
pub(super) const SIDS_MAX: usize = 4_096;
/// Pairs of a signature and a source that were counted lately.
pub(super) const COUNTED_MAX: usize = 8_192;
/// A source counts once so often for a signature: who repeats himself proves nothing new.
const COUNTED_EVERY_NS: u64 = 3_600_000_000_000;

/// How many observations the author's word weighs.
const PRIOR: f32 = 8.0;
/// A signature sees what nobody else does: that others are silent counts a quarter of their assent.
const ALONE: f32 = 0.25;
/// A person who calls it false weighs more.
const FALSE: f32 = 4.0;
/// What speaks alone never falls below this share of the author's word; what people call false does.
const FLOOR: f32 = 0.25;
/// Sources from which a signature that others hardly ever agree with is taken for ordinary traffic.
const HOSTS_MANY: u32 = 24;
const AGREED_RARELY: f32 = 0.1;

/// A signature: generator and id.
pub(super) type Sid = (u32, u32);

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Record {
    agreed: f32,
    alone: f32,
    /// A bit for each of 64 groups of sources, so that many of them show.
    hosts: u64,
}

#[derive(Debug)]
pub(super) struct Worths {
    records: BoundedMap<Sid, Record>,
    counted: BoundedMap<(Sid, [u8; 16]), u64>,
    /// Signatures that people called false, with how often, in order.
    called_false: Vec<(u32, u32)>,
}

impl Worths {
    pub(super) fn new(hash_seed: u64) -> Self {
        Self {
            records: BoundedMap::new(SIDS_MAX, hash_seed),
            counted: BoundedMap::new(COUNTED_MAX, hash_seed.rotate_left(16)),
            called_false: Vec::new(),
        }
    }

    /// The worth of a signature whose author takes `stated` of its matches for attacks.
    pub(super) fn of(&self, sid: Sid, stated: f32) -> f32 {
        let record = self.records.peek(&sid).copied().unwrap_or_default();
        let called = self.called_false.iter().find(|(called, _)| *called == sid.1).map_or(0, |(_, times)| *times);
        let seen = record.agreed + ALONE * record.alone;
        let mut worth = (PRIOR * stated + record.agreed) / (PRIOR + seen);
        let agreed_share = record.agreed / (record.agreed + record.alone).max(1.0);
        if distinct(record.hosts) >= HOSTS_MANY && agreed_share < AGREED_RARELY {
            worth *= 0.5;
        }
        let worth = worth.max(FLOOR * stated);
        worth * PRIOR / (PRIOR + FALSE * called as f32)
    }

    /// Takes in whether anybody else found the hosts of a match suspicious.
    pub(super) fn count(&mut self, sid: Sid, source: [u8; 16], now_ns: u64, agreed: bool) {
        let last_ns = self.counted.touch_or_insert(&(sid, source), || 0);
        if *last_ns != 0 && now_ns < last_ns.saturating_add(COUNTED_EVERY_NS) {
            return;
        }
        *last_ns = now_ns.max(1);
        let record = self.records.touch_or_insert(&sid, Record::default);
        if agreed {
            record.agreed += 1.0;
        } else {
            record.alone += 1.0;
        }
        // The finish of SplitMix64 over both halves: a group is a matter of chance, whatever the addresses have in common.
        let half = |part: usize| part_of(&source, part);
        let mut mixed = (half(0) ^ half(8).rotate_left(32)).wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        record.hosts |= 1 << (mixed >> 58);
    }

    /// Takes other feedback: the signatures that it calls false, each as often as it does.
    pub(super) fn heed(&mut self, sids: impl Iterator<Item = u32>) {
        let mut sids: Vec<u32> = sids.collect();
        sids.sort_unstable();
        self.called_false.clear();
        for sid in sids {
            match self.called_false.last_mut() {
                Some((last, times)) if *last == sid => *times += 1,
                _ => self.called_false.push((sid, 1)),
            }
        }
    }

    pub(super) fn forgotten(&self) -> u64 {
        self.records.evicted()
    }

    pub(super) fn save(&self, saver: &mut Saver<'_>) {
        saver.count(self.records.len());
        for ((gid, sid), record, proven) in self.records.by_age() {
            saver.u32(*gid);
            saver.u32(*sid);
            saver.f32(record.agreed);
            saver.f32(record.alone);
            saver.u64(record.hosts);
            saver.flag(proven);
        }
    }

    pub(super) fn restore(&mut self, saved: &mut Saved<'_>) -> Result<(), StateError> {
        let count = saved.count(SIDS_MAX)?;
        let mut records = Vec::with_capacity(count);
        for _ in 0..count {
            let sid = (saved.u32()?, saved.u32()?);
            let record = Record { agreed: saved.f32()?, alone: saved.f32()?, hosts: saved.u64()? };
            if record.agreed < 0.0 || record.alone < 0.0 {
                return Err(saved.refuse("it counts less than nothing"));
            }
            records.push((sid, record, saved.flag()?));
        }
        self.records.refill(records);
        Ok(())
    }
}

/// Eight bytes of an address, from `at` on.
fn part_of(address: &[u8; 16], at: usize) -> u64 {
    address.iter().skip(at).take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// How many sources set so many of 64 bits, about: linear counting.
fn distinct(hosts: u64) -> u32 {
    let free = f64::from(hosts.count_zeros().max(1));
    (64.0 * (64.0 / free).ln()).round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = COUNTED_EVERY_NS;

    fn host(number: u8) -> [u8; 16] {
        let mut address = [0; 16];
        address[14] = number.wrapping_mul(37);
        address[15] = number;
        address
    }

    #[test]
    fn an_unknown_signature_is_worth_what_its_author_says() {
        assert_eq!(Worths::new(1).of((1, 2_000_000), 0.8), 0.8);
    }

    #[test]
    fn assent_raises_and_silence_lowers_it_down_to_a_floor() {
        let mut worths = Worths::new(1);
        for turn in 0..40 {
            worths.count((1, 1), host(1), (turn + 1) * HOUR, true);
            worths.count((1, 2), host(1), (turn + 1) * HOUR, false);
        }
        assert!(worths.of((1, 1), 0.6) > 0.85);
        assert!(worths.of((1, 2), 0.6) < 0.3);
        for turn in 40..10_000 {
            worths.count((1, 2), host(1), (turn + 1) * HOUR, false);
        }
        assert!((worths.of((1, 2), 0.6) - 0.15).abs() < 1e-3);
    }

    #[test]
    fn one_source_counts_once_an_hour() {
        let mut worths = Worths::new(1);
        for turn in 0..1_000 {
            worths.count((1, 1), host(1), 5 + turn, false);
        }
        assert!(worths.of((1, 1), 0.8) > 0.75);
    }

    #[test]
    fn what_fires_everywhere_and_nobody_confirms_is_ordinary() {
        let mut worths = Worths::new(1);
        for number in 0..40 {
            worths.count((1, 1), host(number), 5, false);
        }
        let many = worths.of((1, 1), 0.8);
        let mut one = Worths::new(1);
        for turn in 0..40 {
            one.count((1, 1), host(1), (turn + 1) * HOUR, false);
        }
        assert!(many < 0.6 * one.of((1, 1), 0.8), "{many}");
    }

    #[test]
    fn people_have_the_last_word() {
        let mut worths = Worths::new(1);
        worths.heed([7, 9, 7].into_iter());
        assert!((worths.of((1, 9), 0.9) - 0.6).abs() < 1e-6);
        assert!(worths.of((1, 7), 0.9) < 0.5);
        worths.heed([].into_iter());
        assert_eq!(worths.of((1, 7), 0.9), 0.9);
    }

    #[test]
    fn it_survives_a_restart() {
        let mut worths = Worths::new(1);
        for number in 0..30 {
            worths.count((1, 1), host(number), 5, number % 3 == 0);
        }
        let mut out = Vec::new();
        worths.save(&mut Saver::new(&mut out));
        let mut again = Worths::new(2);
        let mut saved = Saved::new("signature_worth/1", &out);
        assert_eq!(again.restore(&mut saved).and_then(|()| saved.end()), Ok(()));
        assert_eq!(again.of((1, 1), 0.5), worths.of((1, 1), 0.5));
        assert!(Worths::new(1).restore(&mut Saved::new("signature_worth/1", &out[..out.len() - 3])).is_err());
    }
}
