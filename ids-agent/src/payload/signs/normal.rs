//! Undoes what hides a pattern: percent and HTML encodings, overlong UTF-8, comments, case, white space. Bounded:
//! every pass makes its input shorter or ends.

/// Times a text may be wrapped in percent encoding: servers behind proxies decode twice, attackers count on it.
const PASSES_MAX: usize = 3;

/// A query, form field or header as the code behind the server sees it, in lower case and with single spaces.
pub(super) fn normal(bytes: &[u8]) -> Vec<u8> {
    let mut text = decoded(bytes);
    let mut passes = 1;
    while passes < PASSES_MAX && hides(&text) {
        let next = unescaped(&text, Plus::Stays);
        if next == text {
            break;
        }
        text = next;
        passes += 1;
    }
    tidied(&text)
}

fn decoded(bytes: &[u8]) -> Vec<u8> {
    unescaped(bytes, Plus::IsSpace)
}

/// Lower case and single spaces alone, for what is not encoded: a body of JSON or XML, a page.
pub(super) fn plain(bytes: &[u8]) -> Vec<u8> {
    tidied(bytes)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Plus {
    IsSpace,
    Stays,
}

fn hides(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, b'%' | b'&' | b'\\' | 0xc0 | 0xc1))
}

/// One pass of `%xx`, `%uxxxx`, `\xxx`, `\uxxxx` and HTML entities.
fn unescaped(bytes: &[u8], plus: Plus) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, behind)) = rest.split_first() {
        let (byte, length) = match first {
            b'+' if plus == Plus::IsSpace => (b' ', 1),
            b'%' | b'\\' => escape(first, behind).unwrap_or((first, 1)),
            b'&' => entity(rest).unwrap_or((first, 1)),
            // Overlong forms of `/`, `.` and `\` (CVE-2000-0884 and many since).
            0xc0 if matches!(behind.first(), Some(0xae | 0xaf | 0x2e | 0x2f)) => {
                (if matches!(behind.first(), Some(0xae | 0x2e)) { b'.' } else { b'/' }, 2)
            }
            0xc1 if matches!(behind.first(), Some(0x9c | 0x1c)) => (b'\\', 2),
            _ => (first, 1),
        };
        out.push(byte);
        rest = rest.get(length..).unwrap_or(&[]);
    }
    out
}

/// The byte that an escape stands for, and the bytes it takes.
fn escape(mark: u8, behind: &[u8]) -> Option<(u8, usize)> {
    let hex = |at: usize, digits: usize| -> Option<u32> {
        let digits = behind.get(at..at + digits)?;
        digits.iter().try_fold(0u32, |sum, digit| Some(sum << 4 | char::from(*digit).to_digit(16)?))
    };
    match (mark, behind.first()?) {
        (_, b'u' | b'U') => {
            let value = hex(1, 4)?;
            // Full-width forms are read as the ASCII they look like by more than one server.
            let value = if (0xff01..=0xff5e).contains(&value) { value - 0xfee0 } else { value };
            Some((u8::try_from(value).unwrap_or(b'?'), 6))
        }
        (b'\\', b'x') => Some((u8::try_from(hex(1, 2)?).ok()?, 4)),
        (b'%', _) => Some((u8::try_from(hex(0, 2)?).ok()?, 3)),
        _ => None,
    }
}

fn entity(rest: &[u8]) -> Option<(u8, usize)> {
    const NAMED: [(&[u8], u8); 10] = [
        (b"&lt;", b'<'),
        (b"&gt;", b'>'),
        (b"&quot;", b'"'),
        (b"&apos;", b'\''),
        (b"&amp;", b'&'),
        (b"&colon;", b':'),
        (b"&lpar;", b'('),
        (b"&rpar;", b')'),
        (b"&tab;", b' '),
        (b"&newline;", b' '),
    ];
    let named =
        NAMED.iter().find(|(name, _)| rest.get(..name.len()).is_some_and(|front| front.eq_ignore_ascii_case(name)));
    if let Some((name, byte)) = named {
        return Some((*byte, name.len()));
    }
    let number = rest.strip_prefix(b"&#")?;
    let (digits, radix, skipped) = match number.first()? {
        b'x' | b'X' => (number.get(1..)?, 16, 3),
        _ => (number, 10, 2),
    };
    let count = digits.iter().take(7).take_while(|digit| char::from(**digit).is_digit(radix)).count();
    let text = std::str::from_utf8(digits.get(..count).filter(|digits| !digits.is_empty())?).ok()?;
    let value = u8::try_from(u32::from_str_radix(text, radix).ok()?).ok()?;
    let semicolon = usize::from(digits.get(count) == Some(&b';'));
    Some((value, skipped + count + semicolon))
}

/// What each byte becomes where nothing special stands around it: lower case, and one kind of space.
static TIDY: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = match byte as u8 {
            0 | 0x09..=0x0d | 0x20 | 0xa0 => b' ',
            other => other.to_ascii_lowercase(),
        };
        byte += 1;
    }
    table
};

/// Lower case; comments and runs of white space and zeros become one space.
fn tidied(text: &[u8]) -> Vec<u8> {
    // Every byte sampled of a page comes through here: written in any case, and counted where it stays.
    let mut out = vec![0; text.len()];
    let (mut at, mut filled, mut after_space) = (0, 0, false);
    while let Some(&first) = text.get(at) {
        let mut byte = TIDY.get(usize::from(first)).copied().unwrap_or(first);
        let mut length = 1;
        if matches!(first, b'/' | b'*')
            && let Some(comment) = comment(text.get(at..).unwrap_or(&[]))
        {
            (byte, length) = (b' ', comment);
        }
        if let Some(place) = out.get_mut(filled) {
            *place = byte;
        }
        let is_space = byte == b' ';
        filled += usize::from(!(is_space && after_space));
        after_space = is_space;
        at += length;
    }
    out.truncate(filled);
    out
}

/// Bytes of the comment, or of its end, that `rest` begins with.
fn comment(rest: &[u8]) -> Option<usize> {
    match rest {
        // MySQL runs what stands in `/*! ... */`.
        [b'/', b'*', b'!', behind @ ..] => Some(3 + behind.iter().take_while(|byte| byte.is_ascii_digit()).count()),
        [b'/', b'*', behind @ ..] => memchr::memmem::find(behind, b"*/").map(|at| at + 4),
        [b'*', b'/', ..] => Some(2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn encodings_come_off() {
        let cases: [(&str, &str); 12] = [
            ("a%27+UNION%20SELECT", "a' union select"),
            ("%2527%2520or", "' or"),
            ("un/**/ion/*x*/sel/*!*/ect", "un ion sel ect"),
            ("/*!50000union*/+select", " union select"),
            ("%u003cscript%u003E", "<script>"),
            ("&lt;script&#62;&#x3C;", "<script><"),
            ("%EF%BC%87", "\u{ff07}"),
            ("%uff1cscript", "<script"),
            ("a%00b\t\n c", "a b c"),
            ("100%", "100%"),
            ("%zz%4", "%zz%4"),
            ("..\\x2fetc", "../etc"),
        ];
        for (given, expected) in cases {
            assert_eq!(String::from_utf8_lossy(&normal(given.as_bytes())), expected, "{given}");
        }
        assert_eq!(normal(b"..%c0%af..%c1%9cetc"), b"../..\\etc");
    }

    /// As one would write it down: lower case; comments and runs of white space and zeros become one space.
    fn tidied_byte_by_byte(text: &[u8]) -> Vec<u8> {
        let mut out: Vec<u8> = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some((&first, behind)) = rest.split_first() {
            let mut length = 1;
            let byte = match first {
                b'/' if behind.first() == Some(&b'*') => match behind.get(1) {
                    // MySQL runs what stands in `/*! ... */`.
                    Some(b'!') => {
                        let version = behind.get(2..).unwrap_or(&[]).iter().take_while(|b| b.is_ascii_digit()).count();
                        length = 3 + version;
                        b' '
                    }
                    _ => match rest.windows(2).skip(2).position(|pair| pair == b"*/") {
                        Some(at) => {
                            length = at + 4;
                            b' '
                        }
                        None => first,
                    },
                },
                b'*' if behind.first() == Some(&b'/') => {
                    length = 2;
                    b' '
                }
                0 | 0x09..=0x0d | 0x20 | 0xa0 => b' ',
                _ => first.to_ascii_lowercase(),
            };
            if byte != b' ' || out.last() != Some(&b' ') {
                out.push(byte);
            }
            rest = rest.get(length..).unwrap_or(&[]);
        }
        out
    }

    proptest! {
        #[test]
        fn it_is_tidied_as_one_would_write_it_down(bytes in prop::collection::vec(prop::sample::select(b"/*!5 a\tB\0\xa0x%".to_vec()), 0..80), any: Vec<u8>) {
            prop_assert_eq!(tidied(&bytes), tidied_byte_by_byte(&bytes));
            prop_assert_eq!(tidied(&any), tidied_byte_by_byte(&any));
        }

        #[test]
        fn no_input_grows(bytes: Vec<u8>) {
            prop_assert!(normal(&bytes).len() <= bytes.len());
            prop_assert!(plain(&bytes).len() <= bytes.len());
        }
    }
}
