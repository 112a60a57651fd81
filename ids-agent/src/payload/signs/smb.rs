//! Signs in SMB: messages that only exploits send, and names of pipes, shares and programs that remote execution uses.
//! Layouts: MS-CIFS, MS-SMB2.

use super::{SignKind, Signs};

const MESSAGES_MAX: usize = 32;

/// Signs of the messages in one direction.
pub(super) fn signs(bytes: &[u8], signs: &mut Signs) {
    let marks = bytes.windows(4).enumerate().filter(|(_, window)| matches!(window, [0xfc..=0xff, b'S', b'M', b'B']));
    for (at, window) in marks.take(MESSAGES_MAX) {
        let message = bytes.get(at..).unwrap_or(&[]);
        match window.first() {
            Some(0xff) => smb1(message, signs),
            Some(0xfe) => smb2(message, signs),
            Some(0xfc) => compressed(message, signs),
            _ => {}
        }
    }
}

fn smb1(message: &[u8], signs: &mut Signs) {
    let (Some(&command), Some(&flags)) = (message.get(4), message.get(9)) else { return };
    if flags & 0x80 != 0 {
        return;
    }
    let body = message.get(32..).unwrap_or(&[]);
    match command {
        // Trans2 with the subcommand SESSION_SETUP, which no client uses: DoublePulsar's knock.
        0x32 if body.first() == Some(&15) && body.get(29..31) == Some(&[0x0e, 0]) => {
            signs.add_once(SignKind::SmbExploit, 93, b"Trans2 SESSION_SETUP (DoublePulsar)");
        }
        // NT Trans that announces far more data than SMB 1 carries (MS17-010).
        0xa0 => {
            let total = body.get(8..12).and_then(|four| four.try_into().ok()).map_or(0, u32::from_le_bytes);
            if total > 0x1_0000 {
                signs.add_once(SignKind::SmbExploit, 85, b"NT Trans with more data than fits (MS17-010)");
            }
        }
        // PeekNamedPipe on no pipe at all: how scanners ask whether MS17-010 is mended.
        0x25 if contains(body, b"\x23\x00\x00\x00\x07\x00\\PIPE\\\x00") => {
            signs.add_once(SignKind::SmbExploit, 85, b"PeekNamedPipe on no pipe (MS17-010 check)");
        }
        0x75 | 0xa2 | 0x2d => names(message, signs),
        _ => {}
    }
}

fn smb2(message: &[u8], signs: &mut Signs) {
    let Some(&[c0, c1]) = message.get(12..14) else { return };
    let answers = message.get(16).is_some_and(|flags| flags & 1 != 0);
    // Tree connect and create carry names.
    if !answers && matches!(u16::from_le_bytes([c0, c1]), 3 | 5) {
        names(message, signs);
    }
}

/// SMBGhost: the size announced for the unpacked message overflows with the offset (CVE-2020-0796).
fn compressed(message: &[u8], signs: &mut Signs) {
    let word = |at: usize| message.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_le_bytes);
    if word(4) >= 0x4000_0000 || word(12) >= 0x4000_0000 {
        signs.add_once(SignKind::SmbExploit, 95, b"compressed message of impossible size (CVE-2020-0796)");
    }
}

/// Names in UTF-16 of what remote execution opens.
fn names(message: &[u8], signs: &mut Signs) {
    const NAMES: [(&str, SignKind, u8); 17] = [
        ("psexesvc", SignKind::RemoteExecution, 92),
        ("paexec", SignKind::RemoteExecution, 92),
        ("csexec", SignKind::RemoteExecution, 90),
        ("remcom", SignKind::RemoteExecution, 92),
        ("winexesvc", SignKind::RemoteExecution, 92),
        ("svcctl", SignKind::RemoteExecution, 74),
        ("atsvc", SignKind::RemoteExecution, 70),
        ("winreg", SignKind::RemoteExecution, 50),
        ("efsrpc", SignKind::Coercion, 75),
        ("netdfs", SignKind::Coercion, 55),
        ("protected_storage", SignKind::DirectoryTheft, 50),
        ("eventlog", SignKind::RemoteExecution, 30),
        ("admin$", SignKind::RemoteExecution, 55),
        ("\\c$", SignKind::RemoteExecution, 45),
        ("system32\\wbem\\", SignKind::RemoteExecution, 60),
        ("ntds.dit", SignKind::DirectoryTheft, 85),
        ("lsass", SignKind::DirectoryTheft, 75),
    ];
    let front = message.get(..1_024).unwrap_or(message);
    // Every second byte of UTF-16 ASCII is zero; dropping zeros leaves the name whatever its alignment.
    let plain: Vec<u8> = front.iter().filter(|byte| **byte != 0).map(u8::to_ascii_lowercase).collect();
    for (name, kind, sureness) in NAMES {
        if contains(&plain, name.as_bytes()) {
            signs.add_once(kind, sureness, name.as_bytes());
        }
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    memchr::memmem::find(bytes, wanted).is_some()
}
