//! Tells protocols by the first bytes a peer sends. For UDP, where many formats have no mark of
//! their own, a well-known port on either side may help; for TCP no port decides.

use super::{AppProto, http, tls};

/// What the bytes of one direction speak for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Guess {
    #[default]
    Nothing,
    Known(AppProto),
    /// `220 `: FTP or SMTP greets so.
    Greeting220,
    /// `USER name`: FTP, POP3 or IRC.
    UserCommand,
}

/// What both directions say together.
pub(super) fn settle(forward: Guess, backward: Guess) -> AppProto {
    match (forward, backward) {
        (Guess::Known(app), _) | (_, Guess::Known(app)) => app,
        (Guess::UserCommand, Guess::Greeting220) | (Guess::Greeting220, Guess::UserCommand) => AppProto::Ftp,
        _ => AppProto::Unknown,
    }
}

/// Reads a TCP direction's first bytes.
pub(super) fn stream(bytes: &[u8]) -> Guess {
    if bytes.is_empty() {
        return Guess::Nothing;
    }
    if let Some(guess) = text_line(bytes) {
        return guess;
    }
    use AppProto as App;
    let app = match *bytes {
        _ if tls::is_record(bytes) => App::Tls,
        // Telnet negotiates with IAC and WILL, WONT, DO, DONT or SB (RFC 854).
        [0xff, 0xfa..=0xfe, _, ..] => App::Telnet,
        // NetBIOS session header, then the mark of SMB 1, 2 or an encrypted or compressed SMB 3.
        [0, _, _, _, 0xfc..=0xff, b'S', b'M', b'B', ..] => App::Smb,
        // NetBIOS session request with an encoded name of 32 bytes.
        [0x81, 0, 0, 0x44, 0x20, ..] => App::Smb,
        [5, 0 | 1, 0..=19, _, 0x10 | 0, 0, 0, 0, ..] => App::Dcerpc,
        // TPKT with a connection request or confirm that negotiates security, or names a user.
        [3, 0, _, _, len, 0xe0 | 0xd0, ..] if len >= 6 && is_rdp(bytes) => App::Rdp,
        [0x10, ..] if is_mqtt_connect(bytes) => App::Mqtt,
        // CONNACK: two bytes, of which the first is flags and the second a code.
        [0x20, 2, 0 | 1, 0..=5] => App::Mqtt,
        [0x13, b'B', b'i', b't', b'T', b'o', b'r', b'r', b'e', b'n', b't', b' ', ..] => App::Bittorrent,
        _ if is_mysql(bytes) => App::Mysql,
        _ if is_pgsql(bytes) => App::Pgsql,
        _ if is_mongodb(bytes) => App::Mongodb,
        _ if is_modbus(bytes) => App::Modbus,
        [0x05, 0x64, len, ..] if len >= 5 => App::Dnp3,
        // Register session: command, length 4, session and status 0.
        [0x65, 0, 4, 0, _, _, _, _, 0, 0, 0, 0, ..] => App::Enip,
        _ => match ldap(bytes) {
            Some(app) => app,
            None => return Guess::Nothing,
        },
    };
    Guess::Known(app)
}

/// Protocols that begin with a line of text.
fn text_line(bytes: &[u8]) -> Option<Guess> {
    use AppProto as App;
    let line = bytes.split(|b| *b == b'\n').next().unwrap_or(&[]);
    let contains = |word: &[u8]| {
        let first = word.first().copied().unwrap_or(0);
        let mut places = line.windows(word.len()).filter(|w| w.first().is_some_and(|b| b.eq_ignore_ascii_case(&first)));
        places.any(|w| w.eq_ignore_ascii_case(word))
    };
    let begins = |word: &[u8]| bytes.get(..word.len()).is_some_and(|front| front.eq_ignore_ascii_case(word));
    let app = if bytes.starts_with(b"SSH-") {
        App::Ssh
    } else if bytes.starts_with(b"RFB 00") {
        App::Rfb
    } else if bytes.starts_with(b"PRI * HTTP/2.0") {
        App::Http2
    } else if begins(b"220 ") || begins(b"220-") {
        if contains(b"smtp") {
            App::Smtp
        } else if contains(b"ftp") || contains(b"filezilla") {
            App::Ftp
        } else {
            return Some(Guess::Greeting220);
        }
    } else if begins(b"EHLO ") || begins(b"HELO ") || begins(b"MAIL FROM:") || begins(b"554 ") && contains(b"smtp") {
        App::Smtp
    } else if begins(b"530 ") || begins(b"331 ") || begins(b"AUTH TLS\r") || begins(b"AUTH SSL\r") {
        App::Ftp
    } else if begins(b"USER ") {
        return Some(Guess::UserCommand);
    } else if begins(b"+OK") || begins(b"CAPA\r") || begins(b"APOP ") {
        App::Pop3
    } else if begins(b"* OK") || begins(b"* PREAUTH") || is_imap_command(line) {
        App::Imap
    } else if is_redis(bytes) {
        App::Redis
    } else if is_sip(line) {
        App::Sip
    } else if bytes.starts_with(b"HTTP/1.") || http::is_request(bytes) {
        if contains(b"RTSP/1.0") { return None } else { App::Http }
    } else {
        return None;
    };
    Some(Guess::Known(app))
}

/// Reads a datagram's first bytes. `ports` are source and destination.
pub(super) fn datagram(bytes: &[u8], ports: [u16; 2]) -> Guess {
    use AppProto as App;
    let on = |port: u16| ports.contains(&port);
    let app = match *bytes {
        // QUIC long header with a version in use (RFC 9000, RFC 9369, drafts), or Google's.
        [0xc0..=0xff, 0, 0, 0, 1, ..]
        | [0xc0..=0xff, 0x6b, 0x33, 0x43, 0xcf, ..]
        | [0xc0..=0xff, 0xff, 0, 0, _, ..] => App::Quic,
        [0xc0..=0xff, b'Q' | b'T', b'0', b'0'..=b'9', b'0'..=b'9', ..] => App::Quic,
        [0x08..=0x0f, _, _, _, _, _, _, _, _, b'Q', b'0', b'0'..=b'9', b'0'..=b'9', ..] => App::Quic,
        [20..=25, 0xfe, 0xff | 0xfd | 0xfc, ..] => App::Dtls,
        // STUN and TURN carry a magic cookie (RFC 8489).
        [0..=3, _, _, _, 0x21, 0x12, 0xa4, 0x42, ..] => App::Stun,
        // BOOTP operation, Ethernet, and the DHCP cookie behind the fixed part.
        [1 | 2, 1, 6, ..] if bytes.get(236..240) == Some(&[0x63, 0x82, 0x53, 0x63]) => App::Dhcp,
        [1..=13, _, _, _, ..] if on(546) && on(547) => App::Dhcp,
        [first, ..] if on(123) && bytes.len() >= 12 && (1..=4).contains(&(first >> 3 & 7)) && first & 7 != 0 => {
            App::Ntp
        }
        [b'd', b'1', b':', b'a' | b'r' | b'e' | b'q', ..] => App::BittorrentDht,
        [b'd', b'2', b':', b'i', b'p', ..] => App::BittorrentDht,
        [0, 1 | 2, _, ..] if is_tftp(bytes) => App::Tftp,
        // SNMP: a sequence, then the version as an integer.
        [0x30, ..] if on(161) || on(162) => App::Snmp,
        [0x30, _, 2, 1, 0 | 1 | 3, 4 | 0x30, ..] | [0x30, 0x81, _, 2, 1, 0 | 1 | 3, 4 | 0x30, ..] => App::Snmp,
        [0x6a..=0x7e, ..] if on(88) => App::Krb5,
        _ if (on(500) || on(4500)) && is_ike(bytes, on(4500)) => App::Ike,
        [_, _, _, _, 0, _, 0, _, ..] if on(137) && bytes.len() >= 12 => App::Nbns,
        _ if is_ssdp(bytes) => App::Ssdp,
        _ if is_sip(bytes.split(|b| *b == b'\n').next().unwrap_or(&[])) => App::Sip,
        _ => match ldap(bytes) {
            Some(app) => app,
            None => return Guess::Nothing,
        },
    };
    Guess::Known(app)
}

fn is_rdp(bytes: &[u8]) -> bool {
    let front = bytes.get(..128).unwrap_or(bytes);
    front.windows(8).any(|w| w == b"mstshash" || matches!(w, [1..=3, 0..=31, 8, 0, _, 0, 0, 0]))
}

/// A CONNECT packet: remaining length in one to four bytes, then the protocol's name.
fn is_mqtt_connect(bytes: &[u8]) -> bool {
    (2..=5).any(|at| {
        bytes.get(at..).is_some_and(|rest| rest.starts_with(b"\x00\x04MQTT") || rest.starts_with(b"\x00\x06MQIsdp"))
    })
}

/// The server's greeting: length, sequence 0, protocol 10, printable version, zero. Or its refusal.
fn is_mysql(bytes: &[u8]) -> bool {
    match *bytes {
        [_, _, 0, 0, 10, ref rest @ ..] => {
            let version = rest.split(|b| *b == 0).next().unwrap_or(&[]);
            (3..64).contains(&version.len())
                && version.len() < rest.len()
                && version.first().is_some_and(u8::is_ascii_digit)
                && version.iter().all(u8::is_ascii_graphic)
        }
        [len, 0, 0, 0, 0xff, _, _, ref rest @ ..] => {
            usize::from(len) == rest.len() + 3 && rest.len() > 8 && rest.iter().all(|b| (0x20..0x7f).contains(b))
        }
        _ => false,
    }
}

/// A start-up message of protocol 3, or a request for TLS.
fn is_pgsql(bytes: &[u8]) -> bool {
    match *bytes {
        [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f] => true,
        [0, 0, _, len, 0, 3, 0, _, ref rest @ ..] => usize::from(len) <= rest.len() + 8 && rest.starts_with(b"user\0"),
        [b'R', 0, 0, 0, 8..=64, 0, 0, 0, ..] => true,
        _ => false,
    }
}

/// A message header of which the operation is one in use (OP_QUERY, OP_MSG, OP_COMPRESSED, OP_REPLY).
fn is_mongodb(bytes: &[u8]) -> bool {
    let Some(&[l0, l1, l2, l3, _, _, _, _, _, _, _, _, o0, o1, o2, o3]) = bytes.get(..16) else { return false };
    let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    matches!(u32::from_le_bytes([o0, o1, o2, o3]), 2004 | 2012 | 2013 | 1)
        && (16..48 << 20).contains(&len)
        && len >= bytes.len()
}

/// Transaction, protocol 0, the length of what follows, a unit and a function in use.
fn is_modbus(bytes: &[u8]) -> bool {
    match *bytes {
        [_, _, 0, 0, 0, len, _, function, ..] => {
            len >= 2 && usize::from(len) + 6 == bytes.len() && matches!(function & 0x7f, 1..=24 | 43 | 90)
        }
        _ => false,
    }
}

/// LDAP: a sequence, a message number, then a bind, search or their answers. Kerberos over TCP has a length in
/// front.
fn ldap(bytes: &[u8]) -> Option<AppProto> {
    match *bytes {
        [0x30, _, 2, 1, _, 0x60..=0x65 | 0x77 | 0x78, ..]
        | [0x30, 0x84, 0, 0, _, _, 2, 1, _, 0x60..=0x65 | 0x77 | 0x78, ..]
        | [0x30, 0x81, _, 2, 1, _, 0x60..=0x65 | 0x77 | 0x78, ..]
        | [0x30, 0x82, _, _, 2, 1, _, 0x60..=0x65 | 0x77 | 0x78, ..] => Some(AppProto::Ldap),
        [0, 0, high, low, 0x6a..=0x6f | 0x7e, ..]
            if usize::from(u16::from_be_bytes([high, low])) + 4 >= bytes.len() && bytes.len() > 32 =>
        {
            Some(AppProto::Krb5)
        }
        _ => None,
    }
}

fn is_imap_command(line: &[u8]) -> bool {
    let mut words = line.split(|b| matches!(b, b' ' | b'\r'));
    let (tag, verb) = (words.next().unwrap_or(&[]), words.next().unwrap_or(&[]));
    (1..=12).contains(&tag.len())
        && tag.iter().all(u8::is_ascii_alphanumeric)
        && tag.iter().any(u8::is_ascii_digit)
        && [b"LOGIN".as_slice(), b"CAPABILITY", b"STARTTLS", b"AUTHENTICATE", b"SELECT"]
            .iter()
            .any(|known| verb.eq_ignore_ascii_case(known))
}

/// A RESP array of bulk strings, or an error that no other protocol writes so.
fn is_redis(bytes: &[u8]) -> bool {
    match *bytes {
        [b'*', b'1'..=b'9', b'\r', b'\n', b'$', b'0'..=b'9', ..] => true,
        [b'*', b'1'..=b'9', b'0'..=b'9', b'\r', b'\n', b'$', ..] => true,
        _ => bytes.starts_with(b"-NOAUTH") || bytes.starts_with(b"-WRONGPASS") || bytes == b"+PONG\r\n",
    }
}

fn is_sip(line: &[u8]) -> bool {
    const METHODS: [&[u8]; 8] =
        [b"INVITE ", b"REGISTER ", b"OPTIONS ", b"ACK ", b"BYE ", b"SUBSCRIBE ", b"NOTIFY ", b"MESSAGE "];
    line.starts_with(b"SIP/2.0 ")
        || METHODS.iter().any(|method| {
            line.strip_prefix(*method).is_some_and(|rest| rest.starts_with(b"sip:") || rest.starts_with(b"sips:"))
        })
}

fn is_ssdp(bytes: &[u8]) -> bool {
    bytes.starts_with(b"M-SEARCH * HTTP/1.1")
        || bytes.starts_with(b"NOTIFY * HTTP/1.1")
        || bytes.starts_with(b"HTTP/1.1 200 OK") && bytes.windows(4).any(|w| w.eq_ignore_ascii_case(b"usn:"))
}

/// Read or write request: a file name and a mode, each ended by zero.
fn is_tftp(bytes: &[u8]) -> bool {
    let mut words = bytes.get(2..).unwrap_or(&[]).split(|b| *b == 0);
    let (Some(name), Some(mode)) = (words.next(), words.next()) else { return false };
    !name.is_empty() && (mode.eq_ignore_ascii_case(b"octet") || mode.eq_ignore_ascii_case(b"netascii"))
}

/// An ISAKMP header of version 1.0 or 2.0; on the NAT traversal port behind four zeros.
fn is_ike(bytes: &[u8], behind_marker: bool) -> bool {
    let header = match bytes.split_at_checked(4) {
        Some(([0, 0, 0, 0], rest)) if behind_marker => rest,
        _ => bytes,
    };
    header.len() >= 28 && matches!(header.get(17), Some(0x10 | 0x20))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check_stream(bytes: &[u8], expected: AppProto) {
        assert_eq!(settle(stream(bytes), Guess::Nothing), expected, "{bytes:?}");
    }

    #[test]
    fn tcp_protocols_are_told_by_their_first_bytes() {
        check_stream(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", AppProto::Ssh);
        check_stream(b"220 (vsFTPd 3.0.3)\r\n", AppProto::Ftp);
        check_stream(b"220 mail.example.net ESMTP Postfix\r\n", AppProto::Smtp);
        check_stream(b"EHLO client\r\n", AppProto::Smtp);
        check_stream(b"+OK POP3 ready\r\n", AppProto::Pop3);
        check_stream(b"* OK [CAPABILITY IMAP4rev1] ready\r\n", AppProto::Imap);
        check_stream(b"a001 LOGIN mary secret\r\n", AppProto::Imap);
        check_stream(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", AppProto::Http);
        check_stream(b"HTTP/1.1 200 OK\r\n\r\n", AppProto::Http);
        check_stream(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", AppProto::Http2);
        check_stream(b"\xff\xfd\x18\xff\xfd\x20", AppProto::Telnet);
        check_stream(b"\x00\x00\x00\x85\xffSMBr\x00\x00\x00\x00", AppProto::Smb);
        check_stream(b"\x00\x00\x00\x85\xfeSMB@\x00\x00\x00\x00", AppProto::Smb);
        check_stream(
            b"\x03\x00\x00\x2a\x25\xe0\x00\x00\x00\x00\x00Cookie: mstshash=u\r\n\x01\x00\x08\x00",
            AppProto::Rdp,
        );
        check_stream(b"\x03\x00\x00\x13\x0e\xd0\x00\x00\x12\x34\x00\x02\x1f\x08\x00\x02\x00\x00\x00", AppProto::Rdp);
        check_stream(b"\x10\x16\x00\x04MQTT\x04\x02\x00\x3c\x00\x0aclient", AppProto::Mqtt);
        check_stream(b"\x20\x02\x00\x05", AppProto::Mqtt);
        check_stream(b"J\x00\x00\x00\x0a8.0.36\x00\x08\x00\x00\x00abcdefgh\x00", AppProto::Mysql);
        check_stream(b"\x00\x00\x00\x08\x04\xd2\x16\x2f", AppProto::Pgsql);
        check_stream(b"\x00\x00\x00\x23\x00\x03\x00\x00user\0postgres\0database\0postgres\0\0", AppProto::Pgsql);
        check_stream(b"*1\r\n$4\r\nPING\r\n", AppProto::Redis);
        check_stream(b"RFB 003.008\n", AppProto::Rfb);
        check_stream(b"\x13BitTorrent protocol\0\0\0\0\0\0\0\0", AppProto::Bittorrent);
        check_stream(b"\x00\x01\x00\x00\x00\x06\x01\x03\x00\x00\x00\x0a", AppProto::Modbus);
        check_stream(b"INVITE sip:bob@example.net SIP/2.0\r\n", AppProto::Sip);
        check_stream(b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00", AppProto::Ldap);
    }

    #[test]
    fn what_fits_no_protocol_stays_unknown() {
        for bytes in [b"".as_slice(), b"\x00", b"hello world\r\n", b"\xde\xad\xbe\xef\x00\x01", b"GET", b"220"] {
            check_stream(bytes, AppProto::Unknown);
        }
    }

    #[test]
    fn an_ambiguous_greeting_is_settled_by_the_other_side() {
        assert_eq!(settle(stream(b"USER anna\r\n"), stream(b"220 ready\r\n")), AppProto::Ftp);
        assert_eq!(settle(stream(b"EHLO x\r\n"), stream(b"220 ready\r\n")), AppProto::Smtp);
        assert_eq!(settle(stream(b"USER anna\r\n"), stream(b"+OK ready\r\n")), AppProto::Pop3);
    }

    #[test]
    fn udp_protocols_are_told_by_their_first_bytes() {
        let check = |bytes: &[u8], ports: [u16; 2], expected| {
            assert_eq!(settle(datagram(bytes, ports), Guess::Nothing), expected, "{bytes:?}");
        };
        check(b"\xc3\x00\x00\x00\x01\x08abcdefgh", [50_000, 443], AppProto::Quic);
        check(b"\x16\xfe\xfd\x00\x00", [50_000, 4_433], AppProto::Dtls);
        check(b"\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl", [50_000, 3_478], AppProto::Stun);
        check(&[0x1b; 48], [50_000, 123], AppProto::Ntp);
        check(&[0x1b; 48], [50_000, 124], AppProto::Unknown);
        check(b"\x00\x01boot.img\0octet\0", [50_000, 69], AppProto::Tftp);
        check(b"M-SEARCH * HTTP/1.1\r\nST: ssdp:all\r\n\r\n", [50_000, 1_900], AppProto::Ssdp);
        check(b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping", [6_881, 6_881], AppProto::BittorrentDht);
        check(b"\x30\x26\x02\x01\x01\x04\x06public", [50_000, 161], AppProto::Snmp);
        let mut dhcp = vec![1, 1, 6, 0];
        dhcp.resize(236, 0);
        dhcp.extend([0x63, 0x82, 0x53, 0x63]);
        check(&dhcp, [68, 67], AppProto::Dhcp);
    }

    proptest! {
        #[test]
        fn any_bytes_are_data(bytes: Vec<u8>, ports: [u16; 2]) {
            let _ = settle(stream(&bytes), datagram(&bytes, ports));
        }
    }
}
