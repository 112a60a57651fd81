//! The JA3 fingerprints of a TLS client and server: numbers of a hello in the order sent, hashed with MD5
//! (<https://github.com/salesforce/ja3>). Kept for lists that still speak of it; JA4 stands beside it.

use std::{fmt::Write as _, sync::Arc};

use md5::{Digest, Md5};

/// Values that clients make up to keep servers tolerant (RFC 8701).
fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

const GROUPS: u16 = 10;
const POINT_FORMATS: u16 = 11;

/// The client's: version, suites, extensions, groups, point formats.
pub(super) fn client(version: u16, suites: impl Iterator<Item = u16>, extensions: &[u8]) -> Arc<str> {
    let mut kinds = Vec::new();
    let mut groups = Vec::new();
    let mut formats = Vec::new();
    for (kind, data) in listed(extensions) {
        match kind {
            GROUPS => {
                let (pairs, _) = data.get(2..).unwrap_or(&[]).as_chunks::<2>();
                groups.extend(pairs.iter().map(|pair| u16::from_be_bytes(*pair)));
            }
            POINT_FORMATS => formats.extend(data.get(1..).unwrap_or(&[]).iter().map(|format| u16::from(*format))),
            _ => {}
        }
        kinds.push(kind);
    }
    let lists = [join(suites), join(kinds.into_iter()), join(groups.into_iter()), join_all(formats.into_iter())];
    hash(&format!("{version},{}", lists.join(",")))
}

/// The server's: version, suite, extensions.
pub(super) fn server(version: u16, suite: u16, extensions: &[u8]) -> Arc<str> {
    hash(&format!("{version},{suite},{}", join_all(listed(extensions).map(|(kind, _)| kind))))
}

/// Type and data of each extension.
fn listed(mut extensions: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (&[k0, k1, l0, l1], rest) = extensions.split_first_chunk::<4>()?;
        let (data, behind) = rest.split_at_checked(usize::from(u16::from_be_bytes([l0, l1])))?;
        extensions = behind;
        Some((u16::from_be_bytes([k0, k1]), data))
    })
}

fn join(values: impl Iterator<Item = u16>) -> String {
    join_all(values.filter(|value| !is_grease(*value)))
}

fn join_all(values: impl Iterator<Item = u16>) -> String {
    values.map(|value| value.to_string()).collect::<Vec<_>>().join("-")
}

fn hash(text: &str) -> Arc<str> {
    let digest = Md5::digest(text.as_bytes());
    let mut out = String::with_capacity(32);
    for byte in digest {
        // Writing to a string does not fail.
        let _ = write!(out, "{byte:02x}");
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_examples_come_out() {
        // The README of JA3: a client with extensions, and one without.
        let extension =
            |kind: u16, data: &[u8]| [&kind.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), data].concat();
        let suites = [47u16, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4];
        let extensions =
            [extension(0, b"x"), extension(10, &[0, 6, 0, 23, 0, 24, 0, 25]), extension(11, &[1, 0])].concat();
        assert_eq!(&*client(769, suites.into_iter(), &extensions), "ada70206e40642a3e4461f35503241d5");
        let old = [4u16, 5, 10, 9, 100, 98, 3, 6, 19, 18, 99];
        assert_eq!(&*client(769, old.into_iter(), &[]), "de350869b8c85de67a350c8d186f11e6");
    }

    #[test]
    fn made_up_values_are_left_out() {
        let with = client(771, [0x1a1a, 47].into_iter(), &[0x2a, 0x2a, 0, 0]);
        assert_eq!(with, client(771, [47].into_iter(), &[]));
    }
}
