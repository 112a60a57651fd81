//! Signs of machine code and of what carries it, in any protocol that is not encrypted.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::{SignKind, Signs};
use crate::payload::{AppProto, recognise::Guess};

/// Bytes of one instruction that does nothing, in a row.
const SLED_MIN: usize = 32;
/// Repetitions of one letter that no message contains and an overflow does.
const RUN_MIN: usize = 200;

/// Instruction sequences that programs have inside files and never send on their own.
const CODE: [(&[u8], u8, &str); 12] = [
    (b"h//shh/bin", 95, "code that starts a shell"),
    (b"\xb0\x0b\xcd\x80", 70, "code that starts a program (execve)"),
    (b"\x6a\x3b\x58\x99", 75, "code that starts a program (execve, 64 bit)"),
    (b"\xfc\xe8\x82\x00\x00\x00\x60", 97, "code that finds functions by hash"),
    (b"\xfc\xe8\x89\x00\x00\x00\x60", 97, "code that finds functions by hash"),
    (b"\xfc\xe8\x8f\x00\x00\x00\x60", 97, "code that finds functions by hash"),
    (b"\xfc\x48\x83\xe4\xf0\xe8", 97, "code that finds functions by hash, 64 bit"),
    (b"\x66\x81\xca\xff\x0f\x42\x52\x6a", 97, "code that looks for the rest of itself"),
    (b"\x6a\x30\x59\x64\x8b\x01\x8b\x40", 90, "code that reads the process's module list"),
    (b"\x64\xa1\x30\x00\x00\x00\x8b\x40\x0c", 75, "code that reads the process's module list"),
    (b"\x31\xc9\x64\x8b\x71\x30", 90, "code that reads the process's module list"),
    (b"\xeb\x10\x5b\x4b\x33\xc9\x66\xb9", 95, "code that decodes the rest of itself"),
];

/// Signs in bytes that are not a file's. In IMAP every argument is short, so that a long one weighs more.
pub(super) fn signs(guess: Guess, bytes: &[u8], signs: &mut Signs) {
    let short = guess == Guess::Known(AppProto::Imap);
    static STRINGS: LazyLock<Option<AhoCorasick>> =
        LazyLock::new(|| AhoCorasick::new(CODE.iter().map(|(bytes, ..)| bytes)).ok());
    if let Some(found) = STRINGS.as_ref().and_then(|strings| strings.find(bytes))
        && let Some((_, sureness, what)) = CODE.get(found.pattern().as_usize())
    {
        signs.add_once(SignKind::Shellcode, *sureness, what.as_bytes());
    }
    if decodes_itself(bytes) {
        signs.add_once(SignKind::Shellcode, 85, b"code that decodes the rest of itself");
    }
    for run in bytes.chunk_by(|a, b| a == b).filter(|run| run.len() >= SLED_MIN) {
        match run.first() {
            Some(0x90) => signs.add_once(SignKind::Shellcode, 82, b"a row of instructions that do nothing"),
            // Speed tests and tests of protocols send letters; nobody sends control characters.
            Some(1..=6) if run.len() >= RUN_MIN => signs.add_once(SignKind::ByteRun, 80, run),
            Some(byte) if run.len() >= RUN_MIN && byte.is_ascii_alphanumeric() => {
                signs.add_once(SignKind::ByteRun, if short { 75 } else { 40 }, run);
            }
            _ => {}
        }
    }
    if let Some(at) = format_string(bytes) {
        signs.add_once(SignKind::FormatString, 85, bytes.get(at..bytes.len().min(at + 32)).unwrap_or(&[]));
    }
}

/// FNSTENV to the stack and a POP soon behind it: how position-independent decoders learn where they are.
fn decodes_itself(bytes: &[u8]) -> bool {
    memchr::memmem::find_iter(bytes, b"\xd9\x74\x24\xf4").any(|at| {
        let behind = bytes.get(at + 4..bytes.len().min(at + 20)).unwrap_or(&[]);
        let floats = bytes.get(at.saturating_sub(24)..at).unwrap_or(&[]);
        behind.iter().any(|byte| (0x58..=0x5f).contains(byte)) && floats.iter().any(|byte| (0xd9..=0xdf).contains(byte))
    })
}

/// Where five conversions follow each other, one of which writes or reads blindly.
fn format_string(bytes: &[u8]) -> Option<usize> {
    let (mut count, mut blind, mut start, mut at) = (0, 0, 0, 0);
    while let Some(offset) = memchr::memchr(b'%', bytes.get(at..)?) {
        let here = at + offset;
        let digits =
            bytes.get(here + 1..)?.iter().take(6).take_while(|b| b.is_ascii_digit() || b"$.h".contains(b)).count();
        let conversion = bytes.get(here + 1 + digits);
        if !conversion.is_some_and(|byte| b"nxsp".contains(byte)) {
            count = 0;
        } else if count == 0 || offset > 2 {
            (count, blind, start) = (1, 0, here);
        } else {
            count += 1;
        }
        blind += usize::from(conversion.is_some_and(|byte| matches!(byte, b'n' | b's')));
        if count >= 5 && blind > 0 {
            return Some(start);
        }
        at = here + 2 + digits;
    }
    None
}
