//! Splits an MQTT stream into its packets (MQTT 3.1.1, section 2.2). What they mean is read elsewhere.

/// Packets among the samples from which their length is taken for that of the rest.
const PACKETS_MIN: usize = 8;

/// First byte and body of the packet in front, as far as it is there, and what stands behind it.
pub(super) fn packet(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (kind, length, rest) = header(bytes)?;
    Some((kind, rest.get(..length).unwrap_or(rest), rest.get(length..).unwrap_or(&[])))
}

/// First byte, length of the body, and what stands behind both.
fn header(bytes: &[u8]) -> Option<(u8, usize, &[u8])> {
    let (&kind, rest) = bytes.split_first()?;
    let mut length = 0usize;
    for (at, byte) in rest.iter().enumerate().take(4) {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((kind, length, rest.get(at + 1..)?));
        }
    }
    None
}

/// Whether some bytes are whole packets of known types and nothing else.
pub(super) fn is_even(mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match header(bytes) {
            Some((kind, length, rest)) if (1..=15).contains(&(kind >> 4)) && length <= rest.len() => {
                bytes = rest.get(length..).unwrap_or(&[]);
            }
            _ => return false,
        }
    }
    true
}

/// Bytes of a packet on average, of those that are whole at the start of a stream; 0 where they are few.
pub(super) fn packet_bytes(stream: &[u8]) -> u16 {
    let (mut rest, mut count) = (stream, 0);
    while let Some((_, length, behind)) = header(rest) {
        let Some(next) = behind.get(length..) else { break };
        rest = next;
        count += 1;
    }
    if count < PACKETS_MIN { 0 } else { u16::try_from((stream.len() - rest.len()).div_ceil(count)).unwrap_or(u16::MAX) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Six bytes: a publication of one letter below a name of one.
    const PUBLISH: &[u8] = &[0x30, 4, 0, 1, b't', b'7'];

    #[test]
    fn whole_packets_come_out_even_and_their_length_is_that_of_the_rest() {
        let many = PUBLISH.repeat(20);
        assert!(is_even(&many) && is_even(b""));
        assert!(!is_even(&many[1..]) && !is_even(&many[..many.len() - 1]));
        assert_eq!(packet_bytes(&many), 6);
        assert_eq!(packet_bytes(&many[..many.len() - 1]), 6);
        assert_eq!(packet_bytes(&PUBLISH.repeat(7)), 0);
        assert_eq!(packet(&many), Some((0x30, &PUBLISH[2..], &many[6..])));
    }

    proptest! {
        #[test]
        fn any_bytes_are_data(bytes: Vec<u8>) {
            let _ = (packet(&bytes), is_even(&bytes), packet_bytes(&bytes));
        }
    }
}
