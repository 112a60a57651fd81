//! Prefixes as disjoint ranges of addresses, each of which belongs to the narrowest prefix around it.

/// Sorted by their first address.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    ranges: Box<[Range]>,
    prefixes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: u128,
    last: u128,
    tag: u16,
    bits: u8,
}

impl Ranges {
    /// Of two that are equal, the first given wins.
    pub(super) fn new(prefixes: Vec<([u8; 16], u8, u16)>) -> Self {
        let mut given: Vec<Range> = prefixes
            .into_iter()
            .map(|(address, bits, tag)| {
                let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
                let first = u128::from_be_bytes(address) & mask;
                Range { first, last: first | !mask, tag, bits }
            })
            .collect();
        // The widest first among those that begin together: prefixes nest or are apart.
        given.sort_by_key(|range| (range.first, range.bits));
        given.dedup_by_key(|range| (range.first, range.bits));
        let prefixes = given.len();
        let mut flat = Vec::with_capacity(given.len());
        let mut open: Vec<Range> = Vec::new();
        // Where the range on top of `open` goes on.
        let mut from = 0;
        for range in given {
            while let Some(top) = open.last().copied()
                && top.last < range.first
            {
                close(&mut flat, top, from);
                from = top.last.saturating_add(1);
                open.pop();
            }
            if let Some(top) = open.last()
                && from < range.first
            {
                flat.push(Range { first: from.max(top.first), last: range.first - 1, ..*top });
            }
            from = range.first;
            open.push(range);
        }
        while let Some(top) = open.pop() {
            close(&mut flat, top, from);
            from = top.last.saturating_add(1);
        }
        Self { ranges: flat.into_boxed_slice(), prefixes }
    }

    /// Distinct prefixes.
    pub(super) fn len(&self) -> usize {
        self.prefixes
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.ranges)
    }

    /// Tag and length of the narrowest prefix around an address.
    pub(super) fn find(&self, address: [u8; 16]) -> Option<(u16, u8)> {
        let address = u128::from_be_bytes(address);
        let after = self.ranges.partition_point(|range| range.first <= address);
        let range = self.ranges.get(after.checked_sub(1)?)?;
        (address <= range.last).then_some((range.tag, range.bits))
    }
}

fn close(flat: &mut Vec<Range>, top: Range, from: u128) {
    // The very last address has nothing behind it.
    let done = from > top.last || flat.last().is_some_and(|last| last.last >= top.last);
    if !done {
        flat.push(Range { first: from.max(top.first), ..top });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(value: u128) -> [u8; 16] {
        value.to_be_bytes()
    }

    #[test]
    fn the_narrowest_prefix_wins_and_the_gap_behind_it_is_the_wider_ones() {
        let base = 0xffff_cb00_7100_u128;
        let ranges =
            Ranges::new(vec![(address(base), 120, 1), (address(base + 64), 122, 2), (address(base + 65), 128, 3)]);
        let found = |offset| ranges.find(address(base + offset));
        assert_eq!(found(0), Some((1, 120)));
        assert_eq!(found(64), Some((2, 122)));
        assert_eq!(found(65), Some((3, 128)));
        assert_eq!(found(66), Some((2, 122)));
        assert_eq!(found(128), Some((1, 120)));
        assert_eq!(found(256), None);
        assert_eq!(ranges.find(address(base - 1)), None);
        assert_eq!(ranges.len(), 3);
    }

    proptest! {
        #[test]
        fn ranges_answer_as_a_search_through_all_prefixes_does(
            prefixes in prop::collection::vec((any::<u8>(), 120u8..=128), 0..40), asked: u8, ends in 0u8..4,
        ) {
            // The first and the last addresses of all are among them.
            let base = if ends == 0 { u128::MAX - 255 } else if ends == 1 { 0 } else { 0xffff_0000_0000 };
            let given: Vec<_> = prefixes
                .iter()
                .enumerate()
                .map(|(tag, (offset, bits))| (address(base + u128::from(*offset)), *bits, tag as u16))
                .collect();
            let asked = base + u128::from(asked);
            let around = |(_, bits, _): &&([u8; 16], u8, u16), prefix: u128| {
                let mask = u128::MAX.checked_shl(128 - u32::from(*bits)).unwrap_or(0);
                prefix & mask == asked & mask
            };
            let wanted = given.iter().filter(|given| around(given, u128::from_be_bytes(given.0))).map(|given| given.1).max();
            prop_assert_eq!(Ranges::new(given.clone()).find(address(asked)).map(|(_, bits)| bits), wanted);
        }
    }
}
