//! JSON on one line, from which no control character reaches a terminal or a log.

use std::io;

use serde::Serialize;
use serde_json::ser::Formatter;

/// Serialises `value` as one line with its line end.
pub(crate) fn line<T: Serialize>(value: &T) -> Vec<u8> {
    let mut line = Vec::with_capacity(1_024);
    let mut serializer = serde_json::Serializer::with_formatter(&mut line, Plain);
    if value.serialize(&mut serializer).is_err() {
        // Maps with keys that are no strings are the one cause, and the forms have none.
        line.clear();
    }
    line.push(b'\n');
    line
}

/// Compact JSON that also escapes what JSON allows and terminals obey: DEL, the C1 controls, and the
/// marks that reorder text.
struct Plain;

impl Formatter for Plain {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut plain_from = 0;
        for (at, character) in fragment.char_indices().filter(|(_, character)| is_unsafe(*character)) {
            writer.write_all(fragment.get(plain_from..at).unwrap_or_default().as_bytes())?;
            write!(writer, "\\u{:04x}", u32::from(character))?;
            plain_from = at + character.len_utf8();
        }
        writer.write_all(fragment.get(plain_from..).unwrap_or_default().as_bytes())
    }
}

pub(crate) fn is_unsafe(character: char) -> bool {
    matches!(character,
        '\u{7f}'..='\u{9f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}'
        | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_survives_and_the_value_does() {
        let hostile = "a\u{1b}[2J\u{7f}b\u{9b}31mc\u{202e}d\r\n\te\0ü";
        let line = line(&hostile);
        let text = String::from_utf8_lossy(&line);
        assert_eq!(text.matches(char::is_control).count(), 1, "{text:?}: the line end alone");
        assert!(text.contains("\\u001b[2J\\u007fb\\u009b31mc\\u202ed\\r\\n\\te\\u0000ü"), "{text}");
        assert_eq!(serde_json::from_slice::<String>(&line).ok().as_deref(), Some(hostile));
    }
}
