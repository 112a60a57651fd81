//! Makes printable text of what a peer sent: capped, control characters escaped, bad UTF-8 replaced.

use std::{fmt::Write as _, sync::Arc};

/// The text of `bytes`, cut so that the result has at most `bytes_max` bytes.
pub(super) fn text(bytes: &[u8], bytes_max: usize) -> Arc<str> {
    if let Some(front) = bytes.get(..bytes_max.min(bytes.len()))
        && front.iter().all(|byte| matches!(byte, 0x20..=0x7e))
        && let Ok(front) = std::str::from_utf8(front)
    {
        return front.into();
    }
    // Escapes only lengthen, so bytes behind the cap cannot show.
    let bytes = bytes.get(..bytes_max.saturating_add(4)).unwrap_or(bytes);
    let mut out = String::with_capacity(bytes.len().min(bytes_max));
    let mut piece = String::new();
    for char in String::from_utf8_lossy(bytes).chars() {
        piece.clear();
        if !is_unsafe(char) {
            piece.push(char);
        } else if (char as u32) < 0x100 {
            // Writing to a string does not fail.
            let _ = write!(piece, "\\x{:02x}", char as u32);
        } else {
            let _ = write!(piece, "\\u{{{:x}}}", char as u32);
        }
        if out.len() + piece.len() > bytes_max {
            break;
        }
        out.push_str(&piece);
    }
    out.into()
}

/// Characters that steer a terminal, break a line or reorder what is read (Unicode TR 36).
fn is_unsafe(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn control_characters_cannot_reach_a_terminal() {
        assert_eq!(&*text(b"a\x1b[31mb\r\n\xff\x00", 64), "a\\x1b[31mb\\x0d\\x0a\u{fffd}\\x00");
        assert_eq!(&*text("a\u{202e}b".as_bytes(), 64), "a\\u{202e}b");
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(&*text("aä".as_bytes(), 2), "a");
        assert_eq!(&*text(b"abc", 0), "");
    }

    proptest! {
        #[test]
        fn any_bytes_give_capped_printable_text(bytes: Vec<u8>, bytes_max in 0usize..64) {
            let text = text(&bytes, bytes_max);
            prop_assert!(text.len() <= bytes_max);
            prop_assert!(!text.chars().any(is_unsafe));
        }
    }
}
