//! The keyed hash of a flow key: NH from UMAC (RFC 4418, section 5.2.2) over its ten 32-bit words.
//!
//! Two keys collide with probability 2^-32 over the choice of the secret, whatever an attacker
//! sends, and the whole hash is five multiplications, which a BPF program can afford.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::flow::FlowKey;

/// The secret of the hash, drawn at random when the table is made.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct HashSecret {
    pub words: [u64; 5],
    pub finish: u64,
}

impl HashSecret {
    /// A fixed secret for replay and tests, where nobody chooses keys against a running table.
    pub const FIXED: Self = Self {
        words: [
            0x9e37_79b9_7f4a_7c15,
            0xbf58_476d_1ce4_e5b9,
            0x94d0_49bb_1331_11eb,
            0x2545_f491_4f6c_dd1d,
            0xd6e8_feb8_6659_fd93,
        ],
        finish: 0xff51_afd7_ed55_8ccd,
    };
}

/// Hashes `key`: the low half picks the set, the high half is the tag.
#[inline(always)]
pub fn hash(key: &FlowKey, secret: &HashSecret) -> u64 {
    let words = key.words();
    let mut sum = nh(words[0], secret.words[0]);
    sum = sum.wrapping_add(nh(words[1], secret.words[1]));
    sum = sum.wrapping_add(nh(words[2], secret.words[2]));
    sum = sum.wrapping_add(nh(words[3], secret.words[3]));
    sum = sum.wrapping_add(nh(words[4], secret.words[4]));
    // NH's strength is in the high half; the odd multiplier and the shift spread it over both.
    let mixed = (sum ^ (sum >> 32)).wrapping_mul(secret.finish | 1);
    mixed ^ (mixed >> 29)
}

/// One step of NH: both halves of the word are added to key halves modulo 2^32 and multiplied.
#[inline(always)]
fn nh(word: u64, key: u64) -> u64 {
    let low = (word as u32).wrapping_add(key as u32);
    let high = ((word >> 32) as u32).wrapping_add((key >> 32) as u32);
    u64::from(low).wrapping_mul(u64::from(high))
}

/// The tag that stands for a key in its set; zero means an empty slot.
#[inline(always)]
pub fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32 | 1
}
