//! Signs outside HTTP: messages as exploits, tools and bots send them, and look-alikes; and that no bytes do harm.

use proptest::prelude::*;

use super::*;

/// Whole samples that follow each other.
pub(super) fn stream(guess: Guess, samples: &[&[u8]]) -> Signs {
    let bytes = samples.concat();
    let mut end = 0;
    let pieces: Vec<Piece> = samples
        .iter()
        .map(|sample| {
            end += sample.len() as u32;
            Piece { end, wire_len: sample.len() as u32, joined: true }
        })
        .collect();
    of_stream(guess, Place::Beginning, &Pieces { bytes: &bytes, pieces: &pieces }, &mut Contexts::default())
}

pub(super) fn surest(signs: &Signs) -> Option<(SignKind, u8)> {
    signs.iter().next().map(|sign| (sign.kind, sign.sureness))
}

pub(super) fn known(app: AppProto) -> Guess {
    Guess::Known(app)
}

pub(super) fn pdu(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = (16 + body.len()) as u16;
    [&[5, 0, kind, 3, 0x10, 0, 0, 0], &length.to_le_bytes()[..], &[0, 0, 1, 0, 0, 0], body].concat()
}

fn bind(uuid: &[u8]) -> Vec<u8> {
    let ndr = [0x04, 0x5d, 0x88, 0x8a, 0xeb, 0x1c, 0xc9, 0x11, 0x9f, 0xe8, 8, 0, 0x2b, 0x10, 0x48, 0x60, 2, 0, 0, 0];
    pdu(11, &[&[0xb8, 0x10, 0xb8, 0x10, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0][..], uuid, &[1, 0, 0, 0], &ndr].concat())
}

fn call(function: u8, stub: &[u8]) -> Vec<u8> {
    pdu(0, &[&[0, 0, 0, 0, 0, 0, function, 0][..], stub].concat())
}

const NETLOGON: [u8; 16] = [0x78, 0x56, 0x34, 0x12, 0x34, 0x12, 0xcd, 0xab, 0xef, 0, 1, 0x23, 0x45, 0x67, 0xcf, 0xfb];
const SVCCTL: [u8; 16] = [0x81, 0xbb, 0x7a, 0x36, 0x44, 0x98, 0xf1, 0x35, 0xad, 0x32, 0x98, 0xf0, 0x38, 0, 0x10, 3];
const SAMR: [u8; 16] = [0x78, 0x57, 0x34, 0x12, 0x34, 0x12, 0xcd, 0xab, 0xef, 0, 1, 0x23, 0x45, 0x67, 0x89, 0xac];

#[test]
fn a_netlogon_challenge_of_zeros_is_zerologon_and_a_random_one_is_not() {
    let name = b"\\\0\\\0D\0C\0\0\0\x04\0\0\0\0\0\0\0";
    let zeros = [&name[..], &[0; 8]].concat();
    let random = [&name[..], &[7, 1, 9, 4, 2, 8, 6, 3]].concat();
    let found = |challenge: &[u8]| surest(&stream(known(AppProto::Dcerpc), &[&bind(&NETLOGON), &call(4, challenge)]));
    assert_eq!(found(&zeros).map(|sign| sign.0), Some(SignKind::Zerologon));
    assert_eq!(found(&random), None);
    // The function's number means something else elsewhere.
    assert_eq!(surest(&stream(known(AppProto::Dcerpc), &[&bind(&SAMR), &call(4, &zeros)])), None);
}

#[test]
fn a_service_made_from_afar_is_surer_than_a_look_at_the_services() {
    let look = surest(&stream(known(AppProto::Dcerpc), &[&bind(&SVCCTL)]));
    let make = surest(&stream(known(AppProto::Dcerpc), &[&bind(&SVCCTL), &call(12, &[1; 40])]));
    assert_eq!(look.map(|sign| sign.0), Some(SignKind::RemoteExecution));
    assert!(make.map(|sign| sign.1) > look.map(|sign| sign.1));
    let repeated = surest(&stream(known(AppProto::Dcerpc), &[&bind(&SVCCTL), &bind(&SVCCTL), &bind(&SVCCTL)]));
    assert_eq!(repeated, look);
    assert_eq!(surest(&stream(known(AppProto::Dcerpc), &[&bind(&SAMR)])), None);
}

/// An interface as on the wire.
fn interface(text: &str) -> Vec<u8> {
    let bytes = |hex: &str| -> Vec<u8> {
        (0..hex.len() / 2).filter_map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).ok()).collect()
    };
    let parts: Vec<Vec<u8>> = text.split('-').map(bytes).collect();
    let little = |part: &[u8]| part.iter().rev().copied().collect::<Vec<u8>>();
    [little(&parts[0]), little(&parts[1]), little(&parts[2]), parts[3].clone(), parts[4].clone()].concat()
}

#[test]
fn calls_that_list_steal_or_remove_are_told_from_those_that_look() {
    let cases = [
        ("12345778-1234-abcd-ef00-0123456789ab", 43, SignKind::DirectoryTheft),
        ("338cd001-2244-31f1-aaaa-900038001003", 20, SignKind::DirectoryTheft),
        ("338cd001-2244-31f1-aaaa-900038001003", 4, SignKind::DirectorySearch),
        ("82273fdc-e32a-18c3-3f78-827929dc23ea", 0, SignKind::RemoteExecution),
        ("12345778-1234-abcd-ef00-0123456789ac", 40, SignKind::DirectorySearch),
        ("4b324fc8-1670-01d3-1278-5a47bf6ee188", 12, SignKind::DirectorySearch),
        ("9556dc99-828c-11cf-a37e-00aa003240c7", 24, SignKind::RemoteExecution),
    ];
    for (name, function, kind) in cases {
        let found = surest(&stream(known(AppProto::Dcerpc), &[&bind(&interface(name)), &call(function, &[7; 40])]));
        assert!(found.is_some_and(|(found, sureness)| found == kind && sureness >= 70), "{name}: {found:?}");
        // Sealed arguments and an answer that was not sampled change nothing; another function does.
        let other = surest(&stream(known(AppProto::Dcerpc), &[&bind(&interface(name)), &call(44, &[7; 40])]));
        assert!(other.is_none_or(|(_, sureness)| sureness < 70), "{name}: {other:?}");
    }
    // What consoles do too is a sign, and not told alone.
    let users = interface("12345778-1234-abcd-ef00-0123456789ac");
    let listed = surest(&stream(known(AppProto::Dcerpc), &[&bind(&users), &call(13, &[7; 40])]));
    assert!(listed.is_some_and(|(kind, sureness)| kind == SignKind::DirectorySearch && sureness < 70), "{listed:?}");
}

#[test]
fn one_challenge_after_another_is_zerologon_whatever_they_hold() {
    let challenge = [&b"\\\0\\\0D\0C\0\0\0\x04\0\0\0\0\0\0\0"[..], &[7, 1, 9, 4, 2, 8, 6, 3]].concat();
    let found = |times: usize| {
        let calls = call(4, &challenge);
        let samples: Vec<&[u8]> = std::iter::repeat_n(calls.as_slice(), times).collect();
        surest(&stream(known(AppProto::Dcerpc), &[&[bind(&NETLOGON).as_slice()][..], &samples].concat()))
    };
    assert_eq!(found(2), None);
    assert_eq!(found(4), Some((SignKind::Zerologon, 90)));
}

#[test]
fn a_host_of_which_everything_is_listed_is_told_from_one_that_is_looked_at() {
    let shares = interface("4b324fc8-1670-01d3-1278-5a47bf6ee188");
    let found = |accounts: &[u8], server: &[u8]| {
        let mut samples = vec![bind(&SAMR)];
        samples.extend(accounts.iter().map(|function| call(*function, &[7; 40])));
        samples.push(bind(&shares));
        samples.extend(server.iter().map(|function| call(*function, &[7; 40])));
        surest(&stream(known(AppProto::Smb), &samples.iter().map(Vec::as_slice).collect::<Vec<_>>()))
    };
    assert_eq!(found(&[6, 8, 13], &[15, 21]), Some((SignKind::DirectorySearch, 78)));
    assert!(found(&[13], &[15]).is_some_and(|(_, sureness)| sureness < 70));
    assert!(found(&[6, 8], &[15, 21]).is_none_or(|(_, sureness)| sureness < 70));
}

#[test]
fn a_header_of_nobodys_behind_a_silence_keeps_a_request_from_ending() {
    let behind = |bytes: &[u8], place| {
        let pieces = [Piece { end: bytes.len() as u32, wire_len: bytes.len() as u32, joined: true }];
        surest(&of_stream(known(AppProto::Http), place, &Pieces { bytes, pieces: &pieces }, &mut Contexts::default()))
    };
    for header in [&b"X-a: 4711\r\n"[..], b"X-c11qpabPzkcnzrtW: iv\r\n"] {
        assert_eq!(behind(header, Place::BehindSilence).map(|sign| sign.0), Some(SignKind::SlowHeaders));
        assert_eq!(behind(header, Place::Beginning), None);
    }
    // Typed by hand; the rest of a head, all at once.
    for rest in
        [&b"Host: a.example\r\n"[..], b"X-a: 4711\r\n\r\n", b"X-Forwarded-For: 192.0.2.1\r\n", b"X-a: 1\r\nX-b: 2\r\n"]
    {
        assert_eq!(behind(rest, Place::BehindSilence), None, "{rest:?}");
    }
}

/// A call with a verifier behind it, as sealed ones have.
fn sealed_call(function: u8) -> Vec<u8> {
    let mut pdu = call(function, &[9; 40]);
    pdu[10] = 16;
    pdu
}

#[test]
fn replication_shows_by_the_order_of_its_sealed_calls_where_the_bind_was_not_seen() {
    let found = |functions: &[u8]| {
        let calls: Vec<Vec<u8>> = functions.iter().map(|function| sealed_call(*function)).collect();
        let samples: Vec<&[u8]> = calls.iter().map(Vec::as_slice).collect();
        surest(&stream(known(AppProto::Dcerpc), &samples))
    };
    assert_eq!(found(&[20, 16, 12, 20, 3, 1]).map(|sign| sign.0), Some(SignKind::DirectoryTheft));
    // Looking up names is what every administrator's console does, and the numbers mean something else elsewhere.
    assert_eq!(found(&[16, 12, 1]), None);
    assert_eq!(found(&[3, 12, 16]), None);
}

#[test]
fn secrets_asked_for_by_name_and_keys_that_are_opened_are_told() {
    let wide = |text: &str| text.bytes().flat_map(|byte| [byte, 0]).collect::<Vec<u8>>();
    let secret = stream(known(AppProto::Dcerpc), &[&call(43, &[&[1; 24][..], &wide("G$BCKUPKEY_P")].concat())]);
    assert_eq!(surest(&secret), Some((SignKind::DirectoryTheft, 85)));
    let keys = interface("3dde7c30-165d-11d1-ab8f-00805f14db40");
    let task = |name: &str| surest(&stream(known(AppProto::Dcerpc), &[&bind(&keys), &call(0, &interface(name))]));
    assert_eq!(task("47270c64-2fc7-499b-ac5b-0e37cdce899a").map(|sign| sign.0), Some(SignKind::DirectoryTheft));
    // Putting one away, as every client does once in a while.
    assert_eq!(task("018ff48a-eaba-40c6-8f6d-72370240e967"), None);
}

#[test]
fn a_second_line_within_a_question_for_an_account_is_told() {
    let smtp = known(AppProto::Smtp);
    let found = |line: &[u8]| surest(&stream(smtp, &[line])).map(|sign| sign.0);
    assert_eq!(found(b"VRFY \nSOMETHINGELSE\r\n"), Some(SignKind::ProtocolViolation));
    // Typed by hand, all lines end alike.
    assert_eq!(found(b"VRFY bob\n"), None);
    assert_eq!(found(b"VRFY bob\r\nVRFY eve\r\n"), None);
    assert_eq!(found(b"EXPN list\nEXPN all\n"), None);
}

#[test]
fn a_certificate_that_nobody_wrote_is_told_by_its_mail_address() {
    let certificate = |subject: &str, self_signed| CertificateFacts {
        subject: subject.into(),
        issuer: subject.into(),
        self_signed,
        ..CertificateFacts::default()
    };
    let found = |certificate: &CertificateFacts| {
        let mut signs = Signs::default();
        signs.add_certificate(certificate);
        surest(&signs)
    };
    let invented =
        "C=US, ST=MA, O=Hill and Sons, OU=quantify, CN=hillandsons.example, emailAddress=quantify@hillandsons.example";
    assert_eq!(found(&certificate(invented, true)), Some((SignKind::C2Profile, 85)));
    assert_eq!(found(&certificate(invented, false)), None);
    let written =
        "C=US, ST=MA, O=Hill and Sons, OU=IT, CN=mail.hillandsons.example, emailAddress=root@hillandsons.example";
    assert_eq!(found(&certificate(written, true)), None);
}

#[test]
fn print_clients_wait_for_changes_and_only_one_flag_alone_is_forced() {
    let spooler = interface("12345678-1234-abcd-ef00-0123456789ab");
    let wait = |flags: u32| {
        let stub = [&[9; 20][..], &flags.to_le_bytes(), &[0; 4], b"\\\0\\\0A\0\0\0"].concat();
        surest(&stream(known(AppProto::Dcerpc), &[&bind(&spooler), &call(65, &stub)]))
    };
    assert_eq!(wait(0x100).map(|sign| sign.0), Some(SignKind::Coercion));
    assert_eq!(wait(0xff00), None);
}

#[test]
fn an_application_that_is_scripted_from_afar_is_named_by_its_function() {
    let scripting = interface("00020400-0000-0000-c000-000000000046");
    let name: Vec<u8> = "RegisterXLL".bytes().flat_map(|byte| [byte, 0]).collect();
    let asks = [&[1; 48][..], &name].concat();
    let found = stream(known(AppProto::Dcerpc), &[&bind(&scripting), &call(5, &asks)]);
    assert_eq!(surest(&found), Some((SignKind::RemoteExecution, 90)));
    // The same words in a call of something else are a text.
    assert_eq!(surest(&stream(known(AppProto::Dcerpc), &[&bind(&SAMR), &call(5, &asks)])), None);
}

#[test]
fn one_look_at_all_endpoints_is_a_tool_and_a_question_for_one_is_a_client() {
    let mapper = interface("e1af8308-5d1f-11c9-91a4-08002b14a0fa");
    let all = surest(&stream(known(AppProto::Dcerpc), &[&bind(&mapper), &call(2, &[0; 40])]));
    assert_eq!(all.map(|sign| sign.0), Some(SignKind::DirectorySearch));
    assert_eq!(surest(&stream(known(AppProto::Dcerpc), &[&bind(&mapper), &call(2, &[1; 40])])), None);
    assert_eq!(surest(&stream(known(AppProto::Dcerpc), &[&bind(&mapper), &call(3, &[0; 40])])), None);
}

#[test]
fn what_calls_were_bound_to_holds_behind_a_silence() {
    let (bound, create) = (bind(&SVCCTL), call(12, &[1; 40]));
    let mut contexts = Contexts::default();
    let mut read = |bytes: &[u8], place| {
        let pieces = [Piece { end: bytes.len() as u32, wire_len: bytes.len() as u32, joined: false }];
        surest(&of_stream(known(AppProto::Dcerpc), place, &Pieces { bytes, pieces: &pieces }, &mut contexts))
    };
    assert_eq!(read(&create, Place::Beginning), None);
    assert_eq!(read(&bound, Place::Beginning).map(|sign| sign.1), Some(74));
    assert_eq!(read(&create, Place::BehindSilence).map(|sign| sign.1), Some(88));
}

/// An SMB 2 request with its body.
fn smb2(command: u8, body: &[u8]) -> Vec<u8> {
    let mut message = b"\0\0\0\0\xfeSMB\x40\0\0\0\0\0\0\0".to_vec();
    message.extend([command, 0]);
    message.resize(4 + 64, 0);
    message.extend(body);
    message
}

fn connect_share(path: &str) -> Vec<u8> {
    let wide: Vec<u8> = path.bytes().flat_map(|byte| [byte, 0]).collect();
    smb2(3, &[&[9, 0, 0, 0, 72, 0, wide.len() as u8, 0][..], &wide].concat())
}

fn create_file(name: &str, access: u32, disposition: u32) -> Vec<u8> {
    let wide: Vec<u8> = name.bytes().flat_map(|byte| [byte, 0]).collect();
    let mut body = vec![57, 0, 0, 0];
    body.resize(24, 0);
    body.extend(access.to_le_bytes());
    body.extend([0; 8]);
    body.extend(disposition.to_le_bytes());
    body.extend([0; 4]);
    body.extend([120, 0, wide.len() as u8, 0]);
    body.extend([0; 8]);
    body.extend(wide);
    smb2(5, &body)
}

#[test]
fn a_program_written_to_a_share_for_administrators_is_told_from_files_on_other_shares() {
    let found = |share: &str, name: &str, access, disposition| {
        surest(&stream(known(AppProto::Smb), &[&connect_share(share), &create_file(name, access, disposition)]))
    };
    let drop = (SignKind::RemoteExecution, 84);
    assert_eq!(found("\\\\host\\C$", "Windows\\Temp\\a.dll", 0x0017_019f, 2), Some(drop));
    assert_eq!(found("\\\\host\\ADMIN$", "a.exe", 0x2, 5), Some(drop));
    for (share, name, access, disposition) in [
        ("\\\\host\\C$", "Windows\\notepad.exe", 0x80, 1),
        ("\\\\host\\C$", "report.docx", 0x0017_019f, 2),
        ("\\\\host\\public", "setup.exe", 0x0017_019f, 2),
        ("\\\\host\\music$", "setup.exe", 0x0017_019f, 2),
    ] {
        let other = found(share, name, access, disposition);
        assert!(other.is_none_or(|(_, sureness)| sureness < 70), "{share} {name}: {other:?}");
    }
}

#[test]
fn a_ticket_asked_for_in_the_weakest_cipher_alone_is_told() {
    let ask = |ciphers: &[u8]| {
        let list: Vec<u8> = ciphers.iter().flat_map(|cipher| [2, 1, *cipher]).collect();
        let body = [
            &b"\x6a\x30\x30\x2e\xa1\x03\x02\x01\x05\xa2\x03\x02\x01\x0a\xa4\x20\x30\x1e"[..],
            &[0xa8, list.len() as u8 + 2, 0x30, list.len() as u8],
            &list,
        ]
        .concat();
        let framed = [&(body.len() as u32).to_be_bytes()[..], &body].concat();
        let piece = [Piece { end: body.len() as u32, wire_len: body.len() as u32, joined: false }];
        let datagram = surest(&of_datagrams(&Pieces { bytes: &body, pieces: &piece }, [50_000, 88]));
        assert_eq!(surest(&stream(Guess::Nothing, &[&framed])), datagram);
        datagram
    };
    assert_eq!(ask(&[23]).map(|sign| sign.0), Some(SignKind::WeakTicket));
    // AES in front is noted for the answer's sake, and is no weak ticket.
    assert_eq!(ask(&[18, 17, 23]), Some((SignKind::StrongCipher, 30)));
    assert_eq!(ask(&[18]), None);
}

#[test]
fn smb_messages_of_exploits_are_told_from_ordinary_ones() {
    let mut knock = b"\0\0\0\x4e\xffSMB\x32\0\0\0\0\x18\x07\xc0".to_vec();
    knock.resize(4 + 32, 0);
    knock.push(15);
    knock.resize(4 + 32 + 29, 0);
    knock.extend([0x0e, 0, 0, 0]);
    assert_eq!(surest(&stream(known(AppProto::Smb), &[&knock])).map(|s| s.0), Some(SignKind::SmbExploit));
    knock[4 + 32 + 29] = 5;
    assert_eq!(surest(&stream(known(AppProto::Smb), &[&knock])), None);
    let ghost = b"\0\0\0\x20\xfcSMB\xff\xff\xff\xff\x01\0\0\0\x10\0\0\0aaaa";
    assert_eq!(surest(&stream(known(AppProto::Smb), &[ghost])).map(|s| s.0), Some(SignKind::SmbExploit));
    let mut create = b"\0\0\0\x90\xfeSMB\x40\0\0\0\0\0\0\0\x05\0\0\0".to_vec();
    create.resize(130, 0);
    create.extend(b"P\0S\0E\0X\0E\0S\0V\0C\0.\0e\0x\0e\0");
    assert_eq!(surest(&stream(known(AppProto::Smb), &[&create])).map(|s| s.0), Some(SignKind::RemoteExecution));
}

#[test]
fn machine_code_and_format_strings_are_told_from_letters() {
    let sled = [&[0x90; 64][..], b"\xeb\x10"].concat();
    let cases: [(&[u8], SignKind); 4] = [
        (&sled, SignKind::Shellcode),
        (b"aa1\xc0Ph//shh/bin\x89\xe3", SignKind::Shellcode),
        (b"\xfc\xe8\x82\x00\x00\x00\x60\x89\xe5", SignKind::Shellcode),
        (b"SITE %x%x%x%x%x%n\r\n", SignKind::FormatString),
    ];
    for (bytes, kind) in cases {
        assert_eq!(surest(&stream(Guess::Nothing, &[bytes])).map(|sign| sign.0), Some(kind), "{bytes:?}");
    }
    for bytes in [&[b'x'; 900][..], b"100% sure, 50% off, %d of %d", &[0; 900], &[0xff; 900]] {
        assert!(surest(&stream(Guess::Nothing, &[bytes])).is_none_or(|(_, sureness)| sureness < 70), "{bytes:?}");
    }
}

#[test]
fn conversations_of_lines_are_read() {
    let long = [b"CWD ".as_slice(), &[b'A'; 600], b"\r\n"].concat();
    let mail = b"DATA\r\n<IMG SRC=\"jav&#X41sc&#0010;ript:document.location.href='http://a.example/'\">\r\n";
    let cases: [(Guess, &[u8], SignKind); 10] = [
        (known(AppProto::Smtp), mail, SignKind::CrossSiteScripting),
        (Guess::UserCommand, &long, SignKind::OverlongField),
        (Guess::Nothing, b"uid=0(root) gid=0(root) groups=0(root)\n", SignKind::CommandOutput),
        (Guess::Nothing, b"Microsoft Windows [Version 6.1.7601]\r\nCopyright (c)", SignKind::RemoteShell),
        (Guess::Nothing, b"bash: no job control in this shell\n", SignKind::RemoteShell),
        (Guess::Nothing, b"PRIVMSG #x :.advscan asn445 100 5 0 -r\r\n", SignKind::BotChat),
        (Guess::Nothing, b"NICK [USA|XP]4711\r\nUSER a b c :d\r\n", SignKind::BotChat),
        (Guess::Nothing, b"\x00\x10\x01\x00MZ\x90\x00\x03\x00", SignKind::Stager),
        (Guess::Nothing, b"Gh0st\x14\0\0\0\x30\0\0\0\x78\x9c\x01\x02\x03\x04\x05", SignKind::RatHello),
        (known(AppProto::Telnet), b"enable\r\nsystem\r\nshell\r\n/bin/busybox ECCHI\r\n", SignKind::BotLoader),
    ];
    for (guess, bytes, kind) in cases {
        let found = surest(&stream(guess, &[bytes]));
        assert!(found.is_some_and(|(found, sureness)| found == kind && sureness >= 70), "{bytes:?}: {found:?}");
    }
    let harmless: [(Guess, &[u8]); 8] = [
        (known(AppProto::Smtp), b"DATA\r\n<a href=\"/join?a=1&#38;b=2\">it&#39;s: here</a>\r\n"),
        (Guess::UserCommand, b"USER anonymous\r\nCWD /pub/a/rather/long/path\r\n"),
        (known(AppProto::Telnet), b"$ id\r\nuid=0(root) gid=0(root)\r\n"),
        (Guess::Nothing, b"NICK alice\r\nUSER alice 0 * :Alice\r\nJOIN #rust\r\nPRIVMSG #rust :hello, scan this\r\n"),
        (known(AppProto::Smtp), b"EHLO mail.example.org\r\nMAIL FROM:<a@example.org>\r\n"),
        (known(AppProto::Smtp), b"HELO laptop\r\n"),
        (Guess::Nothing, b"MZ is where a program begins\r\n"),
        (Guess::Nothing, b"NICK Guest-0262937047\r\nUSER guest 0 * :Guest\r\n"),
    ];
    for (guess, bytes) in harmless {
        let found = surest(&stream(guess, &[bytes]));
        assert!(found.is_none_or(|(_, sureness)| sureness < 70), "{bytes:?}: {found:?}");
    }
}

#[test]
fn formats_with_their_own_rules_are_read() {
    let heartbeat = b"\x18\x03\x02\x00\x03\x01\x40\x00";
    assert_eq!(surest(&stream(known(AppProto::Tls), &[heartbeat])).map(|s| s.0), Some(SignKind::Heartbleed));
    let honest = [b"\x18\x03\x02\x00\x15\x01\x00\x02ab".as_slice(), &[0; 16]].concat();
    assert_eq!(surest(&stream(known(AppProto::Tls), &[&honest])), None);
    let connect = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00";
    let bad = [connect.as_slice(), b"\x30\x09\x00\x05/../.t"].concat();
    assert_eq!(surest(&stream(known(AppProto::Mqtt), &[&bad])).map(|s| s.0), Some(SignKind::ProtocolViolation));
    let good = [connect.as_slice(), b"\x30\x09\x00\x06home/t1"].concat();
    assert_eq!(surest(&stream(known(AppProto::Mqtt), &[&good])), None);
    let roast = b"0\x84\0\0\0\x40\x02\x01\x05c\x87\x14servicePrincipalName";
    assert_eq!(surest(&stream(known(AppProto::Ldap), &[roast])).map(|s| s.0), Some(SignKind::DirectorySearch));
    // A server's rule asks for one group of its own.
    let sealed =
        b"\0\0\0\x50\x05\x04\x04\xff\0\x0c\0\x0c0\x84\0\0\0\x40\x02\x01\x0cc\xa3\x0esamAccountName\x04\rDomain Admins";
    assert_eq!(surest(&stream(known(AppProto::Ldap), &[sealed])).map(|s| s.0), Some(SignKind::DirectorySearch));
    let staff = b"0\x84\0\0\0\x40\x02\x01\x0cc\xa3\x0esamAccountName\x04\x05Staff";
    assert_eq!(surest(&stream(known(AppProto::Ldap), &[staff])), None);
    let slammer = [&[4][..], &[1; 375]].concat();
    let piece = [Piece { end: 376, wire_len: 376, joined: false }];
    let worm = |ports| surest(&of_datagrams(&Pieces { bytes: &slammer, pieces: &piece }, ports)).map(|s| s.0);
    assert_eq!(worm([4_000, 1_434]), Some(SignKind::Worm));
    assert_eq!(worm([4_000, 1_435]), None);
}

/// Every way into the tables.
fn guesses() -> Vec<Guess> {
    let apps = AppProto::ALL.iter().map(|app| Guess::Known(*app));
    apps.chain([Guess::Nothing, Guess::Greeting220, Guess::UserCommand]).collect()
}

proptest! {
    #[test]
    fn any_bytes_are_data(at in 0usize..64, samples in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..4)) {
        let guesses = guesses();
        let samples: Vec<&[u8]> = samples.iter().map(Vec::as_slice).collect();
        let signs = stream(guesses[at % guesses.len()], &samples);
        prop_assert!(signs.iter().count() <= SIGNS_PER_SIDE_MAX);
        prop_assert!(signs.iter().all(|sign| sign.what.len() <= QUOTE_BYTES_MAX && (SURENESS_MIN..=100).contains(&sign.sureness)));
    }

    #[test]
    fn any_text_is_data(at in 0usize..64, text in "(GET |POST |HTTP/1.1 200 OK\r\n\r\n|NICK |union select|<script|%u9090|\\.\\./|\\$\\{|' or |%25|\\+|;|\r\n|[ -~]){0,200}") {
        let guesses = guesses();
        let _ = stream(guesses[at % guesses.len()], &[text.as_bytes()]);
    }
}
