//! Entropy, printable share and first bytes of what one direction sent.

use std::sync::LazyLock;

use super::ByteFacts;

/// `c log2 c` of the counts that samples of the usual size can show.
static WEIGHTS: LazyLock<[f32; 4_096]> = LazyLock::new(|| std::array::from_fn(|count| weight(count as u32)));

fn weight(count: u32) -> f32 {
    if count == 0 { 0.0 } else { count as f32 * (count as f32).log2() }
}

/// Looks at `bytes` as a whole.
pub(super) fn byte_facts(bytes: &[u8]) -> ByteFacts {
    if bytes.is_empty() {
        return ByteFacts::default();
    }
    let mut counts = [0u32; 256];
    for &byte in bytes {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let total = bytes.len() as f32;
    let weights = &*WEIGHTS;
    let (mut weighted, mut printable) = (0.0f32, 0u32);
    for (value, &count) in counts.iter().enumerate() {
        if count == 0 {
            continue;
        }
        weighted += weights.get(count as usize).copied().unwrap_or_else(|| weight(count));
        if matches!(value, 0x20..=0x7e | 0x09 | 0x0a | 0x0d) {
            printable += count;
        }
    }
    let mut first = [0; 8];
    for (to, from) in first.iter_mut().zip(bytes) {
        *to = *from;
    }
    ByteFacts {
        bytes: bytes.len() as u32,
        // H = log2 n - (1/n) sum c log2 c
        entropy: (total.log2() - weighted / total).clamp(0.0, 8.0),
        printable: printable as f32 / total,
        first,
        alike: 0,
    }
}

/// How many datagrams there are, if several and all the same.
pub(super) fn alike<'a>(mut datagrams: impl Iterator<Item = &'a [u8]>) -> u8 {
    let Some(first) = datagrams.next() else { return 0 };
    let mut same = 1u8;
    for datagram in datagrams {
        if datagram != first {
            return 0;
        }
        same = same.saturating_add(1);
    }
    if same > 1 { same } else { 0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn entropy_is_in_bits_per_byte() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(byte_facts(&all).entropy, 8.0);
        assert_eq!(byte_facts(&[7; 100]).entropy, 0.0);
        assert!((byte_facts(b"abab").entropy - 1.0).abs() < 1e-6);
        assert_eq!(byte_facts(&[]), ByteFacts::default());
    }

    #[test]
    fn line_ends_are_printable() {
        let facts = byte_facts(b"GET\r\n\x00\x80\xff");
        assert_eq!(facts.printable, 5.0 / 8.0);
        assert_eq!(&facts.first, b"GET\r\n\x00\x80\xff");
    }

    #[test]
    fn datagrams_are_alike_where_all_say_the_same() {
        let of = |datagrams: &[&'static [u8]]| alike(datagrams.iter().copied());
        assert_eq!(of(&[b"ping", b"ping", b"ping"]), 3);
        assert_eq!(of(&[b"ping", b"ping", b"pong"]), 0);
        assert_eq!(of(&[b"ping", b"pin"]), 0);
        assert_eq!(of(&[b"ping"]), 0);
        assert_eq!(of(&[]), 0);
    }

    proptest! {
        #[test]
        fn values_stay_in_range(bytes: Vec<u8>) {
            let facts = byte_facts(&bytes);
            prop_assert!((0.0..=8.0).contains(&facts.entropy));
            prop_assert!((0.0..=1.0).contains(&facts.printable));
        }
    }
}
