//! Signs in formats of their own: TLS heartbeats, MQTT, LDAP, staged code, and datagrams that were attacks by themselves.

use super::{SignKind, Signs, mqtt};

/// A heartbeat that asks for more than it sent (CVE-2014-0160), in clear.
pub(super) fn tls(bytes: &[u8], signs: &mut Signs) {
    let mut rest = bytes;
    while let [kind, 3, 0..=4, high, low, body @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if let (24, [1 | 2, claimed_high, claimed_low, ..]) = (*kind, body) {
            let claimed = usize::from(u16::from_be_bytes([*claimed_high, *claimed_low]));
            // Type, length and sixteen bytes of padding come on top (RFC 6520); encrypted ones match by chance.
            if claimed + 3 > length && length < 64 {
                signs.add(SignKind::Heartbleed, 96, b"heartbeat longer than its record");
            }
        }
        rest = body.get(length..).unwrap_or(&[]);
    }
}

/// What an MQTT client sends against the protocol (MQTT 3.1.1, sections 3 and 4.7).
pub(super) fn mqtt(bytes: &[u8], signs: &mut Signs) {
    let mut rest = bytes;
    let mut first = true;
    while let Some((kind, body, behind)) = mqtt::packet(rest) {
        match kind >> 4 {
            0 | 15 if first => break,
            0 => signs.add(SignKind::ProtocolViolation, 60, b"a reserved packet type"),
            3 => publish(body, signs),
            1 if !first => signs.add(SignKind::ProtocolViolation, 60, b"a second CONNECT"),
            1 => connect(body, signs),
            _ => {}
        }
        first = false;
        rest = behind;
    }
}

fn connect(body: &[u8], signs: &mut Signs) {
    let name_len =
        usize::from(u16::from_be_bytes([body.first().copied().unwrap_or(0), body.get(1).copied().unwrap_or(0)]));
    let Some((_, rest)) = body.get(2 + name_len..).and_then(|rest| rest.split_at_checked(4)) else { return };
    let Some((&[high, low], id)) = rest.split_first_chunk::<2>() else { return };
    let claimed = usize::from(u16::from_be_bytes([high, low]));
    let id = id.get(..claimed).unwrap_or(id);
    if repeats(id) {
        signs.add(SignKind::ProtocolViolation, 72, id);
    }
    if id.iter().any(|byte| matches!(byte, b'#' | b'$' | b'+' | 0 | b'/')) && id.len() <= 4 && !id.is_empty() {
        signs.add(SignKind::ProtocolViolation, 60, id);
    }
}

fn publish(body: &[u8], signs: &mut Signs) {
    let Some((&[high, low], rest)) = body.split_first_chunk::<2>() else { return };
    let topic = rest.get(..usize::from(u16::from_be_bytes([high, low]))).unwrap_or(rest);
    let wild = topic.iter().any(|byte| matches!(byte, b'#' | b'+' | 0));
    let steps = memchr::memmem::find(topic, b"../").is_some() || memchr::memmem::find(topic, b"//").is_some();
    // Names that begin with a dollar are the server's own; a client that publishes there asks for trouble.
    let reserved = topic.first() == Some(&b'$') && !topic.starts_with(b"$share/") && !topic.starts_with(b"$aws/");
    if topic.is_empty() || wild || steps {
        signs.add(SignKind::ProtocolViolation, 75, topic);
    } else if reserved {
        signs.add(SignKind::ProtocolViolation, 55, topic);
    } else if repeats(topic) {
        signs.add(SignKind::ProtocolViolation, 72, topic);
    }
}

/// Whether a text is one short word many times over.
fn repeats(text: &[u8]) -> bool {
    text.len() >= 64
        && (1..=16).any(|period| {
            text.iter().zip(text.iter().skip(period)).filter(|(a, b)| a == b).count() + period == text.len()
        })
}

/// Searches that list whom to attack (T1087.002, T1558.003): attributes and filters as MS-ADTS writes them.
pub(super) fn ldap(bytes: &[u8], signs: &mut Signs) {
    // Presence of an attribute is context tag 7 with its length (RFC 4511, section 4.5.1).
    const WANTED: [(&[u8], u8, &str); 10] = [
        (b"\x87\x14serviceprincipalname", 78, "accounts with a service name"),
        (b"\x87\x18msds-allowedtodelegateto", 75, "accounts that may delegate"),
        (b"ms-mcs-admpwd", 82, "passwords of local administrators"),
        (b"msds-managedpassword", 80, "managed passwords"),
        (b"admincount", 60, "protected accounts"),
        (b"ntsecuritydescriptor", 60, "rights on every object"),
        (b"\x87\x0cschemaidguid", 66, "what every right is called"),
        (b"\x04\x12controlaccessright", 60, "what every right is called"),
        (b"samaccountname\x04\x0ddomain admins", 72, "members of Domain Admins"),
        (b"domain admins", 60, "members of Domain Admins"),
    ];
    let text = bytes.to_ascii_lowercase();
    for (wanted, sureness, what) in WANTED {
        if memchr::memmem::find(&text, wanted).is_some() {
            signs.add(SignKind::DirectorySearch, sureness, what.as_bytes());
        }
    }
    if memchr::memmem::find(&text, b"1.2.840.113556.1.4.803").is_some()
        && [&b"4194304"[..], b"524288"].iter().any(|flag| memchr::memmem::find(&text, flag).is_some())
    {
        signs.add(SignKind::DirectorySearch, 82, b"accounts without preauthentication, or trusted for delegation");
    }
}

/// Kerberos requests over TCP or UDP that offer RC4 as their only cipher (RFC 4757): a ticket by a password's hash alone, or one
/// that is quick to crack. Clients offer it among others, where at all.
pub(super) fn kerberos(bytes: &[u8], signs: &mut Signs) {
    // AS-REQ and TGS-REQ are application 10 and 12 (RFC 4120, section 5.4.1), over TCP behind their length.
    let body = match bytes {
        [0, 0, _, _, 0x6a | 0x6c, rest @ ..] | [0x6a | 0x6c, rest @ ..] => rest,
        _ => return,
    };
    // Who asks: the first name is the client's (RFC 4120, section 5.4.1). What the domain thinks of it stands in the answer.
    if matches!(bytes, [0, 0, _, _, 0x6a, ..] | [0x6a, ..])
        && let Some(name) = first_name(body)
    {
        signs.add_once(SignKind::UnknownAccount, 30, name);
    }
    // The list of ciphers is field 8 of the request's body; with RC4 alone it is this.
    const RC4_ALONE: &[u8] = &[0xa8, 5, 0x30, 3, 2, 1, 23];
    // AES with 256 and 128 bits in front, as every client of today asks (RFC 3962).
    if memchr::memmem::find(body, &[2, 1, 18, 2, 1, 17]).is_some() {
        signs.add_once(SignKind::StrongCipher, 30, b"AES in front");
    }
    let is_request = memchr::memmem::find(body, &[0xa1, 3, 2, 1, 5]).is_some();
    if is_request && memchr::memmem::find(body, RC4_ALONE).is_some() {
        signs.add_once(SignKind::WeakTicket, 74, b"RC4 as the only cipher");
    }
}

/// The first text in a Kerberos message: tag 27, a length, printable characters.
fn first_name(body: &[u8]) -> Option<&[u8]> {
    let candidates = memchr::memchr_iter(0x1b, body);
    candidates
        .filter_map(|at| body.get(at + 2..at + 2 + usize::from(*body.get(at + 1)?)))
        .find(|name| (1..=64).contains(&name.len()) && name.iter().all(u8::is_ascii_graphic))
}

/// KRB-ERROR with KDC_ERR_C_PRINCIPAL_UNKNOWN (RFC 4120, section 7.5.9): a name that the domain does not know. One is a stale
/// name; who asks for one after the other looks for those that exist (T1087.002).
pub(super) fn kerberos_answer(bytes: &[u8], signs: &mut Signs) {
    let body = match bytes {
        [0, 0, _, _, 0x7e, rest @ ..] | [0x7e, rest @ ..] => rest,
        _ => return,
    };
    if memchr::memmem::find(body, &[0xa6, 3, 2, 1, 6]).is_some() {
        signs.add_once(SignKind::UnknownAccount, 62, b"KDC_ERR_C_PRINCIPAL_UNKNOWN");
    }
    // KDC_ERR_PREAUTH_REQUIRED with RC4 as the only cipher that the server would take (ETYPE-INFO2, RFC 4120, section 5.2.7.5).
    // Nothing where the client knew no better; where it asked for AES, the server was made to forget how ("Skeleton Key",
    // T1556.001), or the account's password is older than the domain's AES.
    const RC4_TAKEN: &[u8] = &[0x30, 7, 0x30, 5, 0xa0, 3, 2, 1, 23];
    if memchr::memmem::find(body, &[0xa6, 3, 2, 1, 25]).is_some() && memchr::memmem::find(body, RC4_TAKEN).is_some() {
        signs.add_once(SignKind::WeakTicket, 56, b"RC4 alone is taken");
    }
}

/// Code sent as such at the start of a connection, without a protocol around it.
pub(super) fn staged(bytes: &[u8], wire_len: usize, signs: &mut Signs) {
    match *bytes {
        // A length, then a library that loads itself: how stagers fetch the rest (four bytes, little endian).
        [l0, l1, l2, l3, b'M', b'Z', ..] if (0x1000..0x0200_0000).contains(&u32::from_le_bytes([l0, l1, l2, l3])) => {
            signs.add(SignKind::Stager, 92, b"length and program");
        }
        [b'M', b'Z', 0xe8, 0, 0, 0, 0, ..] | [b'M', b'Z', b'A', b'R', b'U', b'H', ..] => {
            signs.add(SignKind::Stager, 95, b"a program that loads itself");
        }
        // Five letters, both lengths, then zlib: the frame of Gh0st and its many kin.
        [a, b, c, d, e, l0, l1, l2, l3, _, _, _, _, 0x78, 0x9c | 0x01 | 0xda, ..]
            if [a, b, c, d, e].iter().all(u8::is_ascii_alphanumeric) =>
        {
            let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
            if length >= 15 && (length == wire_len || length == bytes.len()) {
                signs.add(SignKind::RatHello, 93, bytes.get(..5).unwrap_or(&[]));
            }
        }
        _ => {}
    }
}

/// Datagrams that are attacks by themselves.
pub(super) fn datagram(bytes: &[u8], wire_len: usize, ports: [u16; 2], signs: &mut Signs) {
    let [from, to] = ports;
    // SQL Server's resolution service takes a name of 16 bytes (CVE-2002-0649).
    if to == 1434 && matches!(bytes.first(), Some(4 | 8 | 10)) && wire_len > 96 {
        signs.add(SignKind::Worm, 95, b"overlong request to SQL Server's resolution service");
    }
    // Two services that answer everything, set upon each other.
    if from != to && matches!(from, 7 | 13 | 17 | 19) && matches!(to, 7 | 13 | 17 | 19) {
        signs.add(SignKind::ServiceLoop, 88, b"one echo service speaks to another");
    }
}

/// DNS over TCP: an answer with a signature record that fills the message (CVE-2020-1350).
pub(super) fn dns_stream(bytes: &[u8], signs: &mut Signs) {
    if let Some((&[high, low], message)) = bytes.split_first_chunk::<2>()
        && u16::from_be_bytes([high, low]) > 60_000
        && message.get(2).is_some_and(|flags| flags & 0x80 != 0)
        && memchr::memmem::find(message, &[0, 24, 0, 1]).is_some()
    {
        signs.add(SignKind::OverlongField, 88, b"DNS answer filled by one SIG record (CVE-2020-1350)");
    }
}
