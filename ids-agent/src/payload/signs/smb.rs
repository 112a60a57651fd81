//! Signs in SMB: messages that only exploits send, and names of pipes, shares and programs that remote execution uses.
//! Layouts: MS-CIFS, MS-SMB2.

use super::{SignKind, Signs};

const MESSAGES_MAX: usize = 32;

/// Signs of the messages in one direction.
pub(super) fn signs(bytes: &[u8], signs: &mut Signs) {
    let mut share = Share::Other;
    let marks = bytes.windows(4).enumerate().filter(|(_, window)| matches!(window, [0xfc..=0xff, b'S', b'M', b'B']));
    for (at, window) in marks.take(MESSAGES_MAX) {
        let message = bytes.get(at..).unwrap_or(&[]);
        match window.first() {
            Some(0xff) => smb1(message, signs),
            Some(0xfe) => smb2(message, &mut share, signs),
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

/// What kind of share a connection opened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Share {
    Other,
    /// A drive or the system's folder, for administrators alone.
    Admin,
}

fn smb2(message: &[u8], share: &mut Share, signs: &mut Signs) {
    let Some(&[c0, c1]) = message.get(12..14) else { return };
    let answers = message.get(16).is_some_and(|flags| flags & 1 != 0);
    // Tree connect and create carry names.
    if answers {
        return;
    }
    match u16::from_le_bytes([c0, c1]) {
        3 => {
            let path = plain(message);
            let is_drive = |end: &[u8]| matches!(end, [b'\\', b'a'..=b'z', b'$']);
            if path.ends_with(b"\\admin$")
                || path.len().checked_sub(3).and_then(|at| path.get(at..)).is_some_and(is_drive)
            {
                *share = Share::Admin;
            }
            names(message, signs);
        }
        5 => {
            if *share == Share::Admin && writes_program(message) {
                signs.add_once(SignKind::RemoteExecution, 84, b"a program is written to a share for administrators");
            }
            names(message, signs);
        }
        _ => {}
    }
}

/// Whether a file is created or replaced of which the name is that of a program (MS-SMB2, section 2.2.13).
fn writes_program(message: &[u8]) -> bool {
    const FILE_WRITE_DATA: u32 = 0x2;
    const PROGRAMS: [&[u8]; 12] =
        [b".exe", b".dll", b".sys", b".bat", b".cmd", b".ps1", b".vbs", b".js", b".hta", b".scr", b".cpl", b".xll"];
    let word = |at: usize| message.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_le_bytes);
    let half = |at: usize| message.get(at..at + 2).and_then(|two| two.try_into().ok()).map_or(0, u16::from_le_bytes);
    let (access, disposition) = (word(64 + 24), word(64 + 36));
    let (at, length) = (usize::from(half(64 + 44)), usize::from(half(64 + 46)));
    let Some(name) = at.checked_add(length).and_then(|end| message.get(at..end)) else { return false };
    let name: Vec<u8> = name.iter().filter(|byte| **byte != 0).map(u8::to_ascii_lowercase).collect();
    // Supersede, create, open or create, overwrite, overwrite or create; not open.
    access & FILE_WRITE_DATA != 0
        && matches!(disposition, 0 | 2..=5)
        && PROGRAMS.iter().any(|program| name.ends_with(program))
}

/// The front of a message in lower case without zeros: every second byte of UTF-16 ASCII is zero, and so the name is left
/// whatever its alignment.
fn plain(message: &[u8]) -> Vec<u8> {
    let front = message.get(..1_024).unwrap_or(message);
    let front = match memchr::memmem::find(front.get(4..).unwrap_or(&[]), b"SMB") {
        // Up to the next message of the same packet or of the next.
        Some(at) => front.get(..(4 + at).saturating_sub(5)).unwrap_or(front),
        None => front,
    };
    front.iter().filter(|byte| **byte != 0).map(u8::to_ascii_lowercase).collect()
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
    let plain = plain(message);
    for (name, kind, sureness) in NAMES {
        if contains(&plain, name.as_bytes()) {
            signs.add_once(kind, sureness, name.as_bytes());
        }
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    memchr::memmem::find(bytes, wanted).is_some()
}
