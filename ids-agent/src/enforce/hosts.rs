//! How many hosts are seen to converse: what a share of hosts is a share of. A host counts only by a connection that it
//! went on with, so that forged addresses do not widen the share.

use foldhash::quality::RandomState;
use hashbrown::HashSet;

/// Hosts that either half of the time holds.
const HOSTS_MAX: usize = 16_384;
/// A host is forgotten between this long and twice as long after it was seen last.
const HALF_NS: u64 = 3_600_000_000_000;

/// Hosts of the last one to two hours.
#[derive(Debug, Default)]
pub struct HostsSeen {
    current: HashSet<[u8; 16], RandomState>,
    earlier: HashSet<[u8; 16], RandomState>,
    /// Those of `earlier` that are not in `current`.
    earlier_alone: usize,
    began_ns: u64,
    /// Hosts not counted because there were too many.
    pub left_out: u64,
}

impl HostsSeen {
    /// Takes in that a host conversed.
    pub fn see(&mut self, host: [u8; 16], now_ns: u64) {
        if now_ns.saturating_sub(self.began_ns) >= HALF_NS {
            let twice = now_ns.saturating_sub(self.began_ns) >= 2 * HALF_NS;
            self.earlier = std::mem::take(&mut self.current);
            if twice {
                self.earlier.clear();
            }
            self.earlier_alone = self.earlier.len();
            self.began_ns = now_ns;
        }
        if self.current.len() >= HOSTS_MAX && !self.current.contains(&host) {
            self.left_out += 1;
            return;
        }
        if self.current.insert(host) && self.earlier.contains(&host) {
            self.earlier_alone -= 1;
        }
    }

    pub fn count(&self) -> usize {
        self.current.len() + self.earlier_alone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_count_once_and_are_forgotten_after_two_halves() {
        let mut seen = HostsSeen::default();
        for host in [1_u8, 2, 2, 3] {
            seen.see([host; 16], HALF_NS + 5);
        }
        assert_eq!(seen.count(), 3);
        seen.see([2; 16], 2 * HALF_NS + 5);
        seen.see([4; 16], 2 * HALF_NS + 6);
        assert_eq!(seen.count(), 4, "those of the half before still count, each once");
        seen.see([5; 16], 3 * HALF_NS + 6);
        assert_eq!(seen.count(), 3, "2, 4 and 5");
        seen.see([6; 16], 9 * HALF_NS);
        assert_eq!(seen.count(), 1, "all else is long past");
    }
}
