//! Reads what a server's certificate says of itself, where TLS still shows it (up to 1.2). Certificates are longer than
//! samples, so the front alone is read, by its DER lengths (X.690; RFC 5280, section 4.1). Checks no signature.

use std::sync::Arc;

use super::{CertificateFacts, text::text};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;
/// Attributes read of one name.
const ATTRIBUTES_MAX: usize = 12;

/// Bytes of an issuer's name that are looked at where the certificate was cut.
const ISSUER_BYTES_MAX: usize = 400;

/// The name of the issuer alone, as far as it is there.
pub(super) fn issuer(bytes: &[u8]) -> Option<String> {
    let (issuer, _) = issuer_and_rest(bytes)?;
    Some(name(issuer, ISSUER_BYTES_MAX).as_ref().to_owned())
}

/// The content of the issuer's name, and what stands behind it.
fn issuer_and_rest(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, certificate, _) = element(bytes).filter(|(tag, ..)| *tag == SEQUENCE)?;
    let (_, mut rest, _) = element(certificate).filter(|(tag, ..)| *tag == SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        rest = element(rest)?.2;
    }
    let (_, _serial, rest) = element(rest).filter(|(tag, ..)| *tag == INTEGER)?;
    let (_, _algorithm, rest) = element(rest)?;
    let (_, issuer, rest) = element(rest).filter(|(tag, ..)| *tag == SEQUENCE)?;
    Some((issuer, rest))
}

/// Facts of a certificate of which the front is there, up to its subject.
pub(super) fn read(bytes: &[u8], string_bytes_max: usize) -> Option<CertificateFacts> {
    let (issuer, rest) = issuer_and_rest(bytes)?;
    let (_, validity, rest) = element(rest).filter(|(tag, ..)| *tag == SEQUENCE)?;
    let (_, subject, rest) = element(rest).filter(|(tag, ..)| *tag == SEQUENCE)?;
    // A subject that was cut looks like any other that begins so.
    if rest.is_empty() {
        return None;
    }
    let (tag, from, behind) = element(validity)?;
    let (until_tag, until, _) = element(behind)?;
    Some(CertificateFacts {
        subject: name(subject, string_bytes_max),
        issuer: name(issuer, string_bytes_max),
        self_signed: subject == issuer,
        not_before_secs: seconds(tag, from),
        not_after_secs: seconds(until_tag, until),
    })
}

/// Tag, content as far as it was sampled, and what stands behind it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0usize, |sum, digit| sum << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    Some((tag, rest.get(..length).unwrap_or(rest), rest.get(length..).unwrap_or(&[])))
}

/// `C=US, O=Example, CN=a.example`, as EVE writes names.
fn name(mut sets: &[u8], string_bytes_max: usize) -> Arc<str> {
    let mut out = String::new();
    for _ in 0..ATTRIBUTES_MAX {
        let Some((SET, set, behind)) = element(sets) else { break };
        sets = behind;
        let Some((SEQUENCE, pair, _)) = element(set) else { continue };
        let Some((OID, kind, value)) = element(pair) else { continue };
        let Some((_, value, _)) = element(value) else { continue };
        // Attribute types of X.520 that names are made of, and the mail address of PKCS 9.
        let label = match *kind {
            [0x55, 4, 3] => "CN",
            [0x55, 4, 6] => "C",
            [0x55, 4, 7] => "L",
            [0x55, 4, 8] => "ST",
            [0x55, 4, 10] => "O",
            [0x55, 4, 11] => "OU",
            [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1] => "emailAddress",
            _ => continue,
        };
        if !out.is_empty() {
            out.push_str(", ");
        }
        out.push_str(label);
        out.push('=');
        out.push_str(&text(value, 64));
    }
    text(out.as_bytes(), string_bytes_max)
}

/// Seconds since 1970 of a time in UTC; `None` for what is no date.
fn seconds(tag: u8, digits: &[u8]) -> Option<i64> {
    let digits = std::str::from_utf8(digits).ok()?.strip_suffix('Z')?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = match tag {
        UTC_TIME => {
            let short: i32 = digits.get(..2)?.parse().ok()?;
            // RFC 5280, section 4.1.2.5.1.
            (if short >= 50 { 1900 + short } else { 2000 + short }, digits.get(2..)?)
        }
        GENERALIZED_TIME => (digits.get(..4)?.parse().ok()?, digits.get(4..)?),
        _ => return None,
    };
    let part = |at: usize| rest.get(at..at + 2)?.parse::<u32>().ok();
    let date = chrono::NaiveDate::from_ymd_opt(year, part(0)?, part(2)?)?;
    Some(date.and_hms_opt(part(4)?, part(6)?, part(8).unwrap_or(0))?.and_utc().timestamp())
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        match content.len() {
            length @ 0..=127 => [&[tag, length as u8], content].concat(),
            length => [&[tag, 0x82, (length >> 8) as u8, length as u8], content].concat(),
        }
    }

    fn named(common: &str) -> Vec<u8> {
        let pair = [der(OID, &[0x55, 4, 3]), der(0x0c, common.as_bytes())].concat();
        der(SEQUENCE, &der(SET, &der(SEQUENCE, &pair)))
    }

    /// A certificate as far as anybody reads it.
    pub(in crate::payload) fn certificate(issuer: &str, subject: &str) -> Vec<u8> {
        let validity = [der(UTC_TIME, b"200101000000Z"), der(GENERALIZED_TIME, b"20500102030405Z")].concat();
        let body = [
            der(VERSION, &der(INTEGER, &[2])),
            der(INTEGER, &[1, 2, 3]),
            der(SEQUENCE, &der(OID, &[0x2a])),
            named(issuer),
            der(SEQUENCE, &validity),
            named(subject),
            der(SEQUENCE, &[0; 200]),
        ]
        .concat();
        der(SEQUENCE, &der(SEQUENCE, &body))
    }

    #[test]
    fn names_and_times_are_read_out_of_the_front() {
        let whole = certificate("An Issuer", "a.example");
        let facts = read(&whole[..180], 256).unwrap_or_default();
        assert_eq!((&*facts.subject, &*facts.issuer), ("CN=a.example", "CN=An Issuer"));
        assert!(!facts.self_signed);
        // date -u -d "2020-01-01" +%s; date -u -d "2050-01-02 03:04:05" +%s
        assert_eq!((facts.not_before_secs, facts.not_after_secs), (Some(1_577_836_800), Some(2_524_705_445)));
        assert!(read(&certificate("me", "me"), 256).unwrap_or_default().self_signed);
    }

    #[test]
    fn a_cut_subject_is_no_subject() {
        let whole = certificate("An Issuer", "a.example");
        assert_eq!(read(&whole[..100], 256), None);
    }

    proptest! {
        #[test]
        fn changed_certificates_are_data(changes in prop::collection::vec((0usize..160, any::<u8>()), 0..12), cut in 0usize..400) {
            let mut bytes = certificate("An Issuer", "a.example");
            for (at, value) in changes {
                bytes[at] = value;
            }
            bytes.truncate(cut);
            let _ = read(&bytes, 64);
        }
    }
}
