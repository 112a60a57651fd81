//! Signs of intruders inside a house or domain: calls that run programs, tickets in old ciphers, certificates of tools, messages
//! that go on behind a cut.

use super::{
    tests::{known, pdu, stream, surest},
    *,
};

fn wide(text: &str) -> Vec<u8> {
    text.bytes().flat_map(|byte| [byte, 0]).collect()
}

/// A call whose bind was not seen, with variants among its arguments.
fn invoked(function: u8, marked: &[u8], text: &str) -> Option<(SignKind, u8)> {
    let arguments = [&[0; 32][..], marked, &[8, 0, 0, 0], &wide(text)].concat();
    surest(&stream(known(AppProto::Dcerpc), &[&pdu(0, &[&[0, 0, 0, 0, 6, 0, function, 0][..], &arguments].concat())]))
}

#[test]
fn a_program_among_the_arguments_of_a_scripted_call_is_told_without_its_bind() {
    for text in ["/c notepad.exe", "C:\\Windows\\System32\\RunDLL32", "powershell -enc AAAA"] {
        assert_eq!(invoked(6, b"UserUser", text), Some((SignKind::RemoteExecution, 85)), "{text}");
    }
    // Another function, other arguments, and a number in place of a program.
    assert_eq!(invoked(5, b"UserUser", "/c notepad.exe"), None);
    assert_eq!(invoked(6, b"\0\0\0\0", "/c notepad.exe"), None);
    assert_eq!(invoked(6, b"UserUser", "Sheet1!A1"), None);
}

/// A request for a ticket as far as it matters: the client, and ciphers in the order of preference.
fn asked(ciphers: &[u8]) -> Vec<u8> {
    let name = b"\xa1\x0c0\x0a\x1b\x08backdoor";
    let list: Vec<u8> = ciphers.iter().flat_map(|cipher| [2, 1, *cipher]).collect();
    let length = list.len() as u8;
    let body = [&[0xa1, 3, 2, 1, 5, 0xa2, 3, 2, 1, 10][..], name, &[0xa8, length + 2, 0x30, length], &list].concat();
    [&[0, 0, 0, body.len() as u8 + 2, 0x6a, body.len() as u8][..], &body].concat()
}

/// The answer that wants a proof first, in one of these ciphers.
fn wanted(ciphers: &[u8]) -> Vec<u8> {
    let entries: Vec<u8> = ciphers.iter().flat_map(|cipher| [0x30, 5, 0xa0, 3, 2, 1, *cipher]).collect();
    let body = [&[0xa6, 3, 2, 1, 25, 0xa1, 3, 2, 1, 19, 0x30, entries.len() as u8][..], &entries].concat();
    [&[0, 0, 0, body.len() as u8 + 2, 0x7e, body.len() as u8][..], &body].concat()
}

#[test]
fn a_ticket_asked_for_in_aes_and_taken_in_rc4_alone_leaves_both_signs() {
    let found = |bytes: &[u8]| -> Vec<(SignKind, u8)> {
        stream(Guess::Nothing, &[bytes]).iter().map(|sign| (sign.kind, sign.sureness)).collect()
    };
    assert!(found(&asked(&[18, 17, 23])).contains(&(SignKind::StrongCipher, 30)));
    assert!(!found(&asked(&[23, 3])).iter().any(|(kind, _)| *kind == SignKind::StrongCipher));
    assert_eq!(found(&wanted(&[23])), [(SignKind::WeakTicket, 56)]);
    assert_eq!(found(&wanted(&[18, 23])), []);
}

#[test]
fn an_issuer_that_a_tool_invented_is_told_where_the_certificate_is_cut() {
    let found = |issuer: &str| {
        let mut signs = Signs::default();
        signs.add_issuer(issuer);
        surest(&signs.settle())
    };
    let invented = "C=US, ST=MA, O=Prosacco and Sons, OU=quantify, CN=prosacco.sons.com, emailAddress=quantify@prosac";
    assert_eq!(found(invented), Some((SignKind::C2Profile, 80)));
    for issuer in [
        // A company with an address of its own, one from elsewhere, and an authority.
        "C=US, ST=MA, O=Prosacco and Sons, OU=quantify, CN=prosacco.sons.com, emailAddress=admin@prosacco.sons.com",
        "C=US, O=Example Corp, OU=support, CN=ca.example.org, emailAddress=support@ca.example.org",
        "C=DE, O=Prosacco and Sons, OU=quantify, CN=prosacco.sons.com, emailAddress=quantify@prosacco.sons.com",
        "C=US, O=DigiCert Inc, OU=www.digicert.com, CN=DigiCert Global Root CA",
    ] {
        assert_eq!(found(issuer), None, "{issuer}");
    }
}

#[test]
fn a_packet_that_goes_on_within_a_message_is_no_message() {
    let connect = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00";
    let publish = b"\x30\x09\x00\x06home/t1";
    let bad = b"\x30\x08\x00\x05/../.t";
    let read = |second: &[u8], wire_len: usize| {
        let bytes = [&connect[..], second].concat();
        let pieces = [
            Piece { end: connect.len() as u32, wire_len: connect.len() as u32, joined: true },
            Piece { end: bytes.len() as u32, wire_len: wire_len as u32, joined: false },
        ];
        let pieces = Pieces { bytes: &bytes, pieces: &pieces };
        surest(&of_stream(known(AppProto::Mqtt), Place::Beginning, &pieces, &mut Contexts::default()))
    };
    // Behind a gap: the end of one message, then whole ones; cut; and whole ones, of which one is forbidden.
    assert_eq!(read(&[&publish[3..], publish].concat(), publish.len() * 2 - 3), None);
    assert_eq!(read(bad, 900), None);
    assert_eq!(
        read(&[&publish[..], bad].concat(), publish.len() + bad.len()).map(|sign| sign.0),
        Some(SignKind::ProtocolViolation)
    );
}

#[test]
fn a_command_over_and_over_and_letters_without_an_end_are_told() {
    let again = b"CWD /\r\n".repeat(10);
    assert_eq!(surest(&stream(known(AppProto::Ftp), &[&again])), Some((SignKind::RepeatedCommand, 74)));
    assert_eq!(surest(&stream(known(AppProto::Ftp), &[&b"NOOP\r\n".repeat(30)])), None);
}
