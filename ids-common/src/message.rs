//! Tells whether a payload begins a message, by its first bytes: the kernel program and user space sample by it.
//! Formats are not read here.

use crate::wire::{PROTO_TCP, PROTO_UDP};

/// Bytes that the answer rests on; a shorter payload begins nothing that is looked for.
pub const FRONT_BYTES: usize = 8;

/// Whether these, in little-endian order, are the first bytes of a message of which a later one in a connection tells as much
/// as the first. Bulk data passes as one of these by chance only.
///
/// Words are compared as a whole: the verifier walks every way through comparisons of single bytes.
#[inline(always)]
pub fn begins(front: u64, proto: u8) -> bool {
    match proto {
        PROTO_TCP => begins_in_stream(front),
        PROTO_UDP => is_question(front),
        _ => false,
    }
}

/// Some bytes, and which of their bits count.
struct Front {
    mask: u64,
    value: u64,
}

impl Front {
    const fn new(mask: [u8; FRONT_BYTES], value: [u8; FRONT_BYTES]) -> Self {
        Self { mask: u64::from_le_bytes(mask), value: u64::from_le_bytes(value) }
    }

    #[inline(always)]
    fn fits(&self, front: u64) -> bool {
        front & self.mask == self.value
    }
}

/// DCE/RPC 5.0 or 5.1 in little-endian order (C706, chapter 12).
const RPC: Front = Front::new([0xff, 0xfe, 0, 0, 0xff, 0xff, 0xff, 0xff], [5, 0, 0, 0, 0x10, 0, 0, 0]);
/// Its types that come from clients, as bits: request, bind, alter context.
const RPC_CALLS: u64 = 1 | 1 << 11 | 1 << 14;
/// SMB behind the length of its transport (MS-SMB2, section 2.1).
const SMB: Front = Front::new([0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff], [0, 0, 0, 0, 0, b'S', b'M', b'B']);
const ANSWER: Front = Front::new([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0], *b"HTTP/1.\0");
/// A sequence that begins with a message's number, its length in one byte or in four (RFC 4511, section 4.1.1).
const LDAP: Front = Front::new([0xff, 0x80, 0xff, 0, 0, 0, 0, 0], [0x30, 0, 2, 0, 0, 0, 0, 0]);
const LDAP_LONG: Front = Front::new([0xff, 0xff, 0xff, 0xff, 0, 0, 0xff, 0], [0x30, 0x84, 0, 0, 0, 0, 2, 0]);
/// Behind a length, a Kerberos token that holds such a message, signed or sealed (RFC 4121, section 4.2.6.2).
const TOKEN: Front = Front::new([0xff, 0xff, 0, 0, 0xff, 0xff, 0, 0xff], [0, 0, 0, 0, 5, 4, 0, 0xff]);
/// A DNS message with one question and no answer (RFC 1035, section 4.1.1).
const QUESTION: Front = Front::new([0, 0, 0xf8, 0, 0xff, 0xff, 0xff, 0xff], [0, 0, 0, 0, 0, 1, 0, 0]);

#[inline(always)]
fn begins_in_stream(front: u64) -> bool {
    let byte = |at: u32| front >> (8 * at) & 0xff;
    if RPC.fits(front) {
        return byte(2) < 16 && RPC_CALLS >> byte(2) & 1 != 0;
    }
    if SMB.fits(front) {
        // SMB 1, 2 and compressed 3, but not what is encrypted.
        return byte(4) >= 0xfc && byte(4) != 0xfd;
    }
    let number_len = |at: u32| byte(at).wrapping_sub(1) < 4;
    ANSWER.fits(front)
        || LDAP.fits(front) && number_len(3)
        || LDAP_LONG.fits(front) && number_len(7)
        || TOKEN.fits(front)
        || is_command(front)
}

/// A method of HTTP, or a command of FTP, SMTP, POP3 and IRC: three to seven capitals, then a space; or eight.
#[inline(always)]
fn is_command(front: u64) -> bool {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * EACH;
    let low = front & !HIGH;
    // The high bit of each byte says it: from `A` on, and not beyond `Z`.
    let capitals = (low + (0x80 - 0x41) * EACH) & !(low + (0x80 - 0x5b) * EACH) & !front & HIGH;
    let others = !capitals & HIGH;
    let first_other = others & others.wrapping_neg();
    let differs = front ^ (0x20 * EACH);
    let spaces = !(((differs & !HIGH) + !HIGH) | differs) & HIGH;
    first_other == 0 || spaces & first_other & 0x8080_8080_8000_0000 != 0
}

#[inline(always)]
fn is_question(front: u64) -> bool {
    QUESTION.fits(front)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn front(bytes: &[u8]) -> u64 {
        u64::from_le_bytes(core::array::from_fn(|at| bytes.get(at).copied().unwrap_or(0)))
    }

    #[test]
    fn a_command_is_three_to_seven_capitals_and_a_space() {
        const ALPHABET: [u8; 6] = [b'A', b'Z', b' ', b'@', b'[', 0xc1];
        for mut number in 0..6_usize.pow(8) {
            let bytes: [u8; 8] = core::array::from_fn(|_| {
                let byte = ALPHABET[number % 6];
                number /= 6;
                byte
            });
            let capitals = bytes.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
            let wanted = capitals == 8 || capitals >= 3 && bytes[capitals] == b' ';
            assert_eq!(is_command(front(&bytes)), wanted, "{bytes:?}");
        }
    }

    #[test]
    fn requests_calls_and_searches_begin_messages() {
        let messages: [&[u8]; 15] = [
            b"GET / HTTP/1.1",
            b"OPTIONS * HTTP/1.1",
            b"PROPFIND /a HTTP/1.1",
            b"HTTP/1.0 200 OK",
            b"USER root\r\n",
            b"CWD /tmp\r\n",
            b"PRIVMSG #a :b",
            b"\x05\x00\x00\x03\x10\x00\x00\x00\x18\x00",
            b"\x05\x00\x0b\x03\x10\x00\x00\x00\x48\x00",
            b"\x00\x00\x00\xa0\xfeSMB@",
            b"\x00\x00\x00\xa0\xffSMBr",
            b"\x30\x0c\x02\x01\x01\x60\x07\x02",
            b"\x30\x84\x00\x00\x01\x2d\x02\x01\x05c",
            b"\x30\x25\x02\x02\x01\x02c\x20",
            b"\x00\x00\x00\x50\x05\x04\x04\xff",
        ];
        for message in messages {
            assert!(begins(front(message), PROTO_TCP), "{message:?}");
            assert!(!begins(front(message), 1), "{message:?}");
        }
        assert!(begins(front(b"\x12\x34\x01\x00\x00\x01\x00\x00"), PROTO_UDP));
    }

    #[test]
    fn bulk_data_and_answers_of_procedures_begin_none() {
        let others: [&[u8]; 10] = [
            b"\x17\x03\x03\x05\x90abc",
            b"MZ\x90\x00\x03\x00\x00\x00",
            b"</td></tr>",
            b"AB cdefgh",
            b"Get / HTTP/1.1",
            b"SSH-2.0-a",
            b"\x05\x00\x02\x03\x10\x00\x00\x00",
            b"\x05\x00\x00\x03\x00\x00\x00\x10",
            b"\x00\x00\x00\xa0\xfdSMB",
            b"\x30\x82\x02\x6e\x30\x82\x01\xd7",
        ];
        for other in others {
            assert!(!begins(front(other), PROTO_TCP), "{other:?}");
        }
        assert!(!begins(front(b"\x12\x34\x81\x80\x00\x01\x00\x02"), PROTO_UDP));
        assert!(!begins(front(b"\x12\x34\x01\x00\x00\x01\x00\x00"), PROTO_TCP));
    }
}
