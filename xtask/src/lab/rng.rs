//! Numbers that depend on the seed alone. Not for secrets.

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    /// Independent of the numbers for another `purpose` of the same seed.
    pub(crate) fn new(seed: u64, purpose: &str) -> Self {
        // FNV-1a, so that purposes that differ in one letter start far apart.
        let hash = purpose
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        let mut rng = Self(seed ^ hash);
        rng.next();
        rng
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `low` to `high`, both included.
    pub(crate) fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high.saturating_sub(low) + 1)
    }

    /// True once in `of` times.
    pub(crate) fn once_in(&mut self, of: u64) -> bool {
        self.range(1, of) == 1
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }

    /// All of them, in an order of the seed's.
    pub(crate) fn shuffled<T: Clone>(&mut self, from: &[T]) -> Vec<T> {
        let mut all = from.to_vec();
        for at in (1..all.len()).rev() {
            all.swap(at, self.index(at + 1));
        }
        all
    }

    /// A word of lower-case letters and digits.
    pub(crate) fn word(&mut self, letters: usize) -> String {
        (0..letters).map(|_| char::from(self.pick(b"abcdefghijklmnopqrstuvwxyz0123456789"))).collect()
    }

    fn index(&mut self, len: usize) -> usize {
        let len = u64::try_from(len.max(1)).unwrap_or(1);
        usize::try_from(self.next() % len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::Rng;

    #[test]
    fn a_seed_gives_the_same_numbers_and_another_purpose_others() {
        let numbers = |seed, purpose| {
            let mut rng = Rng::new(seed, purpose);
            (0..8).map(|_| rng.range(10, 1_000)).collect::<Vec<_>>()
        };
        assert_eq!(numbers(7, "scan"), numbers(7, "scan"));
        assert_ne!(numbers(7, "scan"), numbers(7, "scam"));
        assert_ne!(numbers(7, "scan"), numbers(8, "scan"));
        assert!(numbers(7, "scan").iter().all(|number| (10..=1_000).contains(number)));
    }

    #[test]
    fn shuffling_loses_nothing() {
        let mut shuffled = Rng::new(1, "order").shuffled(&[1, 2, 3, 4, 5, 6, 7]);
        assert_ne!(shuffled, [1, 2, 3, 4, 5, 6, 7]);
        shuffled.sort_unstable();
        assert_eq!(shuffled, [1, 2, 3, 4, 5, 6, 7]);
    }
}
