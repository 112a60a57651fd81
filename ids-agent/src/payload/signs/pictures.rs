//! Pictures of which the header says what no picture is like: files made to break who shows them. Formats are those of the
//! documents named at each; nothing is drawn.

/// What is wrong with a picture, if something is.
pub(super) fn broken(bytes: &[u8]) -> Option<&'static [u8]> {
    match bytes {
        [b'B', b'M', rest @ ..] if breaks_bitmap(rest) => Some(b"a bitmap shorter than its own header"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'A', b'C', b'O', b'N', rest @ ..] if breaks_cursor(rest) => {
            Some(b"an animated cursor with a header of another length (CVE-2007-0038)")
        }
        [0xd7, 0xcd, 0xc6, 0x9a, ..] | [1 | 2, 0, 9, 0, 0, 3, ..] if breaks_metafile(bytes) => {
            Some(b"a metafile that sets a procedure (CVE-2005-4560)")
        }
        _ => None,
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A bitmap of Windows (BITMAPFILEHEADER, BITMAPINFOHEADER) with a length of the whole that its headers alone exceed, and that
/// is not left out, which many programs do. `rest` begins behind `BM`.
fn breaks_bitmap(rest: &[u8]) -> bool {
    let (Some(length), Some(pixels), Some(header)) = (word(rest, 0), word(rest, 8), word(rest, 12)) else {
        return false;
    };
    header == 40 && rest.get(4..8) == Some(&[0; 4]) && pixels >= 54 && (1..54).contains(&length)
}

/// The header of an animated cursor has 36 bytes (RIFF, chunk `anih`).
fn breaks_cursor(rest: &[u8]) -> bool {
    memchr::memmem::find_iter(rest, b"anih").any(|at| word(rest, at + 4).is_some_and(|length| length != 36))
}

/// An escape that registers a function (MS-WMF, section 2.3.6: function 0x0626, escape 9 in front of its length).
fn breaks_metafile(bytes: &[u8]) -> bool {
    memchr::memmem::find(bytes, &[0x26, 6, 9, 0]).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bitmap(length: u32) -> Vec<u8> {
        let numbers = [length, 0, 1_078, 40, 256, 1];
        let header: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        [&b"BM"[..], &header, &[1, 0, 8, 0]].concat()
    }

    fn cursor(length: u8) -> Vec<u8> {
        [&b"RIFF\x00\x04\x00\x00ACONanih"[..], &[length, 0, 0, 0], &[0; 36]].concat()
    }

    #[test]
    fn pictures_that_contradict_themselves_are_told_from_pictures() {
        assert!(broken(&bitmap(1)).is_some());
        for length in [0, 1_334] {
            assert_eq!(broken(&bitmap(length)), None, "{length}");
        }
        assert!(broken(&cursor(84)).is_some());
        assert_eq!(broken(&cursor(36)), None);
        let metafile =
            |record: &[u8]| [&[1, 0, 9, 0, 0, 3, 0x52, 0x1f, 0, 0, 6, 0, 0x3d, 0, 0, 0, 0, 0][..], record].concat();
        assert!(broken(&metafile(&[0x11, 0, 0, 0, 0x26, 6, 9, 0, 0x16, 0])).is_some());
        assert_eq!(broken(&metafile(&[4, 0, 0, 0, 3, 1, 8, 0])), None);
        assert_eq!(broken(b"BMW drivers"), None);
        assert_eq!(broken(b""), None);
    }
}
