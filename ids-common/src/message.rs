//! Tells whether a payload begins a message, by its first bytes: the kernel program and user space sample by it.
//! Formats are not read here.

use crate::wire::{PROTO_TCP, PROTO_UDP};

/// Bytes that the answer rests on; a shorter payload begins nothing that is looked for.
pub const FRONT_BYTES: usize = 8;

/// Whether these are the first bytes of a message of which a later one in a connection tells as much as the first.
/// Bulk data passes as one of these by chance only.
#[inline(always)]
pub fn begins(front: [u8; FRONT_BYTES], proto: u8) -> bool {
    match proto {
        PROTO_TCP => begins_in_stream(front),
        PROTO_UDP => is_question(front),
        _ => false,
    }
}

#[inline(always)]
fn begins_in_stream(front: [u8; FRONT_BYTES]) -> bool {
    match front {
        // DCE/RPC 5.0, little-endian: request, bind, alter context (C706, chapter 12).
        [5, 0 | 1, 0 | 11 | 14, _, 0x10, 0, 0, 0] => true,
        // SMB 1, 2 or compressed 3 behind the length of its transport (MS-SMB2, section 2.1).
        [0, _, _, _, 0xfc | 0xfe | 0xff, b'S', b'M', b'B'] => true,
        // A sequence that begins with a message's number, its length in one byte or in four (RFC 4511, section 4.1.1).
        [0x30, ..=0x7f, 2, 1..=4, ..] | [0x30, 0x84, 0, 0, _, _, 2, 1..=4] => true,
        // Behind a length, a Kerberos token that holds such a message, signed or sealed (RFC 4121, section 4.2.6.2).
        [0, 0, _, _, 5, 4, _, 0xff] => true,
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', _] => true,
        // A method of HTTP, or a command of FTP, SMTP, POP3 and IRC: three to seven capitals, then a space; or eight.
        [a, b, c, d, e, f, g, h] => {
            let capital = |byte: u8| byte.is_ascii_uppercase();
            capital(a)
                && capital(b)
                && capital(c)
                && (d == b' '
                    || capital(d)
                        && (e == b' '
                            || capital(e)
                                && (f == b' ' || capital(f) && (g == b' ' || capital(g) && (h == b' ' || capital(h))))))
        }
    }
}

/// A DNS message with one question and no answer (RFC 1035, section 4.1.1).
#[inline(always)]
fn is_question(front: [u8; FRONT_BYTES]) -> bool {
    matches!(front, [_, _, ..=0x07, _, 0, 1, 0, 0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn front(bytes: &[u8]) -> [u8; FRONT_BYTES] {
        core::array::from_fn(|at| bytes.get(at).copied().unwrap_or(0))
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
        assert!(begins(*b"\x12\x34\x01\x00\x00\x01\x00\x00", PROTO_UDP));
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
        assert!(!begins(*b"\x12\x34\x81\x80\x00\x01\x00\x02", PROTO_UDP));
        assert!(!begins(*b"\x12\x34\x01\x00\x00\x01\x00\x00", PROTO_TCP));
    }
}
