//! Reads TLS hellos: name, protocols, versions and the JA4 fingerprint. Decrypts nothing.

use huginn_net_tls::tls_process::extract_tls_signature_from_client_hello;
use tls_parser::{
    TlsClientHelloContents, TlsExtension, parse_tls_client_hello_extensions, parse_tls_handshake_client_hello,
    parse_tls_handshake_server_hello, parse_tls_server_hello_extensions,
};

use super::{TlsFacts, certificate, ja3, text::text};

const RECORD_BYTES_MAX: usize = (1 << 14) + 2_048;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;
const HANDSHAKE_HEADER: usize = 4;

/// Whether the bytes begin with a TLS record.
pub(super) fn is_record(bytes: &[u8]) -> bool {
    match *bytes {
        [kind @ 20..=24, 3, 0..=4, high, low, ..] => {
            let len = usize::from(u16::from_be_bytes([high, low]));
            len > 0
                && len <= RECORD_BYTES_MAX
                && match kind {
                    20 => len == 1,
                    // An alert is two bytes in clear and more under encryption.
                    ALERT => len == 2 || (16..=64).contains(&len),
                    HANDSHAKE => len >= HANDSHAKE_HEADER,
                    _ => true,
                }
        }
        _ => is_sslv2_hello(bytes),
    }
}

/// The hello of old clients, which offers SSL 3 or TLS inside an SSL 2 record (RFC 5246, appendix E.2).
fn is_sslv2_hello(bytes: &[u8]) -> bool {
    matches!(*bytes, [high, len, CLIENT_HELLO, 3, 0..=3, c1, c2, s1, s2, ch1, ch2, ..]
        if high & 0xc0 == 0x80 && u16::from_be_bytes([high & 0x3f, len]) as u32 ==
            9 + u32::from(u16::from_be_bytes([c1, c2])) + u32::from(u16::from_be_bytes([s1, s2])) + u32::from(u16::from_be_bytes([ch1, ch2])))
}

/// Facts of the hello at the start of a direction's bytes; `None` where there is none.
pub(super) fn hello(bytes: &[u8], string_bytes_max: usize) -> Option<TlsFacts> {
    if !is_record(bytes) || bytes.first() != Some(&HANDSHAKE) {
        return None;
    }
    let flight = handshake_bytes(bytes);
    let (kind, body, whole, behind) = message(&flight)?;
    match kind {
        CLIENT_HELLO => Some(client_hello(body, !whole, string_bytes_max)),
        SERVER_HELLO => {
            let mut facts = server_hello(body)?;
            // Up to TLS 1.2 the certificate follows in clear.
            if let Some((CERTIFICATE, body, ..)) = message(behind) {
                let first = body.get(6..).unwrap_or(&[]);
                facts.certificate = certificate::read(first, string_bytes_max).map(Box::new);
            }
            Some(facts)
        }
        _ => None,
    }
}

/// The name of who issued the certificate in a server's first bytes, as far as it was sampled: `C=US, O=Example`.
pub(super) fn issuer(bytes: &[u8]) -> Option<String> {
    if !is_record(bytes) || bytes.first() != Some(&HANDSHAKE) {
        return None;
    }
    let flight = handshake_bytes(bytes);
    let (kind, _, _, behind) = message(&flight)?;
    let (next, body, ..) = message(behind)?;
    (kind == SERVER_HELLO && next == CERTIFICATE).then(|| certificate::issuer(body.get(6..)?)).flatten()
}

/// Kind and body of the handshake message in front, whether all of it is there, and what stands behind it.
fn message(flight: &[u8]) -> Option<(u8, &[u8], bool, &[u8])> {
    let (&kind, rest) = flight.split_first()?;
    let (length, body) = rest.split_at_checked(HANDSHAKE_HEADER - 1)?;
    let length = length.iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
    let whole = body.len() >= length;
    Some((kind, body.get(..length).unwrap_or(body), whole, body.get(length..).unwrap_or(&[])))
}

/// Handshake bytes out of the records in front; a message may span several records.
fn handshake_bytes(mut bytes: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(bytes.len());
    while let [HANDSHAKE, 3, _, high, low, rest @ ..] = bytes {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        joined.extend_from_slice(rest.get(..len).unwrap_or(rest));
        bytes = rest.get(len..).unwrap_or(&[]);
    }
    joined
}

fn client_hello(body: &[u8], partial: bool, string_bytes_max: usize) -> TlsFacts {
    let Ok((rest, hello)) = parse_tls_handshake_client_hello(body) else {
        return TlsFacts { partial: true, ..TlsFacts::default() };
    };
    // Where the extensions are cut short the parser leaves them, with their length in front.
    let extensions = hello.ext.or_else(|| rest.get(2..)).unwrap_or(&[]);
    let cut = partial || (hello.ext.is_none() && !rest.is_empty());
    let mut facts = TlsFacts { partial: cut, version_offered: Some(hello.version.0), ..TlsFacts::default() };
    let parsed = parse_tls_client_hello_extensions(extensions).map(|(_, parsed)| parsed).unwrap_or_default();
    for extension in &parsed {
        match extension {
            TlsExtension::SNI(names) => {
                facts.sni = names.first().map(|(_, name)| text(name, string_bytes_max));
            }
            TlsExtension::ALPN(protocols) => {
                facts.alpn = protocols.first().map(|name| text(name, string_bytes_max));
            }
            TlsExtension::SupportedVersions(versions) => {
                facts.version_offered = versions.iter().map(|v| v.0).filter(|v| !is_grease(*v)).max();
            }
            _ => {}
        }
    }
    if !cut {
        facts.ja4 = ja4(&hello);
        facts.ja3 = Some(ja3::client(hello.version.0, hello.ciphers.iter().map(|suite| suite.0), extensions));
    }
    facts
}

fn ja4(hello: &TlsClientHelloContents<'_>) -> Option<std::sync::Arc<str>> {
    let signature = extract_tls_signature_from_client_hello(hello).ok()?;
    Some(text(signature.generate_ja4().full.value().as_bytes(), 64))
}

fn server_hello(body: &[u8]) -> Option<TlsFacts> {
    let (_, hello) = parse_tls_handshake_server_hello(body).ok()?;
    let mut version = hello.version.0;
    let extensions = hello
        .ext
        .map_or(Vec::new(), |ext| parse_tls_server_hello_extensions(ext).map(|(_, parsed)| parsed).unwrap_or_default());
    let mut alpn = None;
    for extension in &extensions {
        match extension {
            TlsExtension::SupportedVersions(versions) => {
                version = versions.first().map_or(version, |v| v.0);
            }
            TlsExtension::ALPN(protocols) => alpn = protocols.first().map(|name| text(name, 64)),
            _ => {}
        }
    }
    Some(TlsFacts {
        version_chosen: Some(version),
        cipher_chosen: Some(hello.cipher.0),
        alpn,
        ja3s: Some(ja3::server(hello.version.0, hello.cipher.0, hello.ext.unwrap_or(&[]))),
        ..TlsFacts::default()
    })
}

/// Values that clients make up to keep servers tolerant (RFC 8701).
fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

/// What both sides' hellos say together.
pub(super) fn join(client: Option<&TlsFacts>, server: Option<&TlsFacts>) -> Option<TlsFacts> {
    match (client, server) {
        (None, None) => None,
        (Some(one), None) | (None, Some(one)) => Some(one.clone()),
        (Some(client), Some(server)) => {
            let (client, server) = if server.version_offered.is_some() { (server, client) } else { (client, server) };
            Some(TlsFacts {
                version_chosen: server.version_chosen,
                cipher_chosen: server.cipher_chosen,
                ja3s: server.ja3s.clone(),
                certificate: server.certificate.clone(),
                ..client.clone()
            })
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes(), &(data.len() as u16).to_be_bytes(), data].concat()
    }

    fn sni(name: &str) -> Vec<u8> {
        let name = [&[0], &(name.len() as u16).to_be_bytes()[..], name.as_bytes()].concat();
        extension(0, &[&(name.len() as u16).to_be_bytes(), name.as_slice()].concat())
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind], &(body.len() as u32).to_be_bytes()[1..], body].concat()
    }

    fn record(fragment: &[u8]) -> Vec<u8> {
        [&[22, 3, 1], &(fragment.len() as u16).to_be_bytes()[..], fragment].concat()
    }

    /// A hello as curl sends it, with a GREASE suite and `padding` bytes of padding.
    pub(in crate::payload) fn client_hello_record(name: &str, padding: usize) -> Vec<u8> {
        let extensions = [
            extension(0x2a2a, &[]),
            sni(name),
            extension(10, b"\x00\x04\x00\x1d\x00\x17"),
            extension(11, b"\x01\x00"),
            extension(13, b"\x00\x04\x04\x03\x08\x04"),
            extension(16, b"\x00\x0c\x02h2\x08http/1.1"),
            extension(43, b"\x04\x03\x04\x03\x03"),
            extension(21, &vec![0; padding]),
        ]
        .concat();
        let ciphers = b"\x00\x06\x1a\x1a\x13\x01\xc0\x2f";
        let body = [
            &[3, 3],
            [7u8; 32].as_slice(),
            &[0],
            ciphers,
            &[1, 0],
            &(extensions.len() as u16).to_be_bytes(),
            &extensions,
        ]
        .concat();
        record(&message(CLIENT_HELLO, &body))
    }

    pub(in crate::payload) fn server_hello_record() -> Vec<u8> {
        let extensions = extension(43, b"\x03\x04");
        let body =
            [&[3, 3], [9u8; 32].as_slice(), &[0, 0x13, 0x01, 0], &(extensions.len() as u16).to_be_bytes(), &extensions]
                .concat();
        record(&message(SERVER_HELLO, &body))
    }

    #[test]
    fn a_client_hello_gives_name_protocol_version_and_fingerprint() {
        let facts = hello(&client_hello_record("www.example.net", 0), 256).unwrap_or_default();
        assert_eq!(facts.sni.as_deref(), Some("www.example.net"));
        assert_eq!(facts.alpn.as_deref(), Some("h2"));
        assert_eq!(facts.version_offered, Some(0x0304));
        assert!(!facts.partial);
        // Parts a and b by hand from the JA4 description: 2 suites, 7 extensions, sha256("1301,c02f").
        let ja4 = facts.ja4.as_deref().unwrap_or_default();
        assert!(ja4.starts_with("t13d0207h2_"), "{ja4}");
        let digest = <sha2::Sha256 as sha2::Digest>::digest(b"1301,c02f");
        let expected: String = digest.iter().take(6).map(|b| format!("{b:02x}")).collect();
        assert_eq!(ja4.split('_').nth(1), Some(expected.as_str()));
    }

    #[test]
    fn a_hello_cut_by_the_sample_still_gives_its_name() {
        let whole = client_hello_record("www.example.net", 1_500);
        let facts = hello(&whole[..1_024], 256).unwrap_or_default();
        assert_eq!(facts.sni.as_deref(), Some("www.example.net"));
        assert_eq!(facts.alpn.as_deref(), Some("h2"));
        assert_eq!(facts.version_offered, Some(0x0304));
        assert!(facts.partial);
        assert_eq!(facts.ja4, None);
    }

    #[test]
    fn a_hello_split_over_records_is_joined() {
        let whole = client_hello_record("www.example.net", 0);
        let (front, back) = whole[5..].split_at(60);
        let split = [record(front), record(back)].concat();
        assert_eq!(hello(&split, 256), hello(&whole, 256));
    }

    #[test]
    fn the_certificate_behind_the_server_hello_is_read() {
        let body = [&[3, 3], [9u8; 32].as_slice(), &[0, 0xc0, 0x2f, 0]].concat();
        let certificate = certificate::tests::certificate("An Issuer", "a.example");
        let length = |bytes: usize| [0, (bytes >> 8) as u8, bytes as u8];
        let list = [&length(certificate.len() + 3)[..], &length(certificate.len()), &certificate].concat();
        let flight = [record(&message(SERVER_HELLO, &body)), record(&message(CERTIFICATE, &list))].concat();
        let facts = hello(&flight, 256).unwrap_or_default();
        assert_eq!(facts.certificate.unwrap_or_default().subject.as_ref(), "CN=a.example");
        assert_eq!(facts.ja3s.as_deref().map(str::len), Some(32));
    }

    #[test]
    fn both_hellos_join() {
        let client = hello(&client_hello_record("a.example", 0), 256);
        let server = hello(&server_hello_record(), 256);
        let joined = join(client.as_ref(), server.as_ref()).unwrap_or_default();
        assert_eq!(join(server.as_ref(), client.as_ref()).as_ref(), Some(&joined));
        assert_eq!(joined.sni.as_deref(), Some("a.example"));
        assert_eq!(joined.version_chosen, Some(0x0304));
        assert_eq!(joined.cipher_chosen, Some(0x1301));
        assert_eq!(joined.version_label(), Some("TLS 1.3"));
    }

    #[test]
    fn what_is_no_hello_gives_nothing() {
        assert_eq!(hello(b"\x17\x03\x03\x00\x05hello", 256), None);
        assert_eq!(hello(b"\x16\x03\x01\x00\x00", 256), None);
        assert_eq!(hello(b"\x16\x03\x01", 256), None);
    }

    proptest! {
        #[test]
        fn changed_hellos_are_data(changes in prop::collection::vec((0usize..400, any::<u8>()), 0..20), cut in 0usize..400) {
            let mut bytes = client_hello_record("www.example.net", 200);
            for (at, value) in changes {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            bytes.truncate(cut);
            let _ = hello(&bytes, 64);
            let mut server = server_hello_record();
            server.truncate(cut);
            let _ = hello(&server, 64);
        }

        #[test]
        fn any_bytes_are_data(bytes: Vec<u8>) {
            let _ = hello(&[&[22, 3, 1, 0, 200, 1, 0, 0], bytes.as_slice()].concat(), 64);
            let _ = hello(&[&[22, 3, 1, 0, 200, 2, 0, 0], bytes.as_slice()].concat(), 64);
        }
    }
}
