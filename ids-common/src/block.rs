//! What may not pass, and until when: key and entry of the map that the ingress programs look into. Who is blocked, and
//! why, is decided by the agent.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A source, or a source towards one target. Interface and VLAN make no difference. IPv4 addresses are mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C, align(8))]
pub struct BlockKey {
    pub src: [u8; 16],
    /// All zero, which no packet is addressed to: every target.
    pub dst: [u8; 16],
}

impl BlockKey {
    /// Everything that `src` sends.
    #[inline(always)]
    pub const fn source(src: [u8; 16]) -> Self {
        Self { src, dst: [0; 16] }
    }

    /// What `src` sends to `dst`.
    #[inline(always)]
    pub const fn pair(src: [u8; 16], dst: [u8; 16]) -> Self {
        Self { src, dst }
    }

    pub fn is_pair(&self) -> bool {
        self.dst != [0; 16]
    }
}

/// How long a key is blocked, and what that dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C, align(8))]
pub struct BlockEntry {
    /// Boot time from which packets pass again, whether or not the agent lives.
    pub until_ns: u64,
    /// Boot time at which the agent put the entry there.
    pub placed_ns: u64,
    /// Packets dropped, and their network-layer bytes.
    pub packets: u64,
    pub bytes: u64,
}

impl BlockEntry {
    /// Whether packets are dropped at `now_ns`.
    #[inline(always)]
    pub const fn holds(&self, now_ns: u64) -> bool {
        now_ns < self.until_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_holds_until_its_end_and_no_further() {
        let entry = BlockEntry { until_ns: 100, ..BlockEntry::default() };
        assert!(entry.holds(99));
        assert!(!entry.holds(100));
        assert!(!BlockEntry::default().holds(0), "an entry of zeros blocks nothing");
    }

    #[test]
    fn a_pair_is_told_from_a_source() {
        assert!(!BlockKey::source([7; 16]).is_pair());
        assert!(BlockKey::pair([7; 16], [8; 16]).is_pair());
    }
}
