//! Takes DNS names apart: who registered them, and whether what stands below is made by a person or carries data.
//! Counts nothing.

/// A question about something below a registered domain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Asked<'a> {
    /// What someone registered; empty where data stands in the place of the top-level domain.
    pub(super) domain: &'a str,
    /// What stands in front of it, without the last dot.
    pub(super) below: &'a str,
    pub(super) form: Form,
    pub(super) kind: Kind,
}

/// What the part below the domain looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Words, or nothing that would tell.
    Plain,
    /// Many digits, as serial numbers and content networks have them.
    Numbered,
    /// What an encoder makes: letters and digits mixed, no vowels, or far longer than a word.
    Coded,
    /// A service record: some label begins with an underscore.
    Service,
}

/// How usual the type asked for is with programs that look for hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Addresses, names, delegations and their keys.
    Host,
    /// Texts, mail exchangers, aliases, services, authorities: few programs ask for them, and then seldom.
    Odd,
    /// NULL and the types for private use (RFC 6895): none but tunnels ask for them.
    Never,
}

/// Names that lead to an address, or nowhere: nothing is carried below them.
const LOCAL: [&str; 2] = ["arpa", "localhost"];
/// No top-level domain is longer, but for encoded ones (`xn--`).
const TOP_BYTES_MAX: usize = 18;
/// A label longer than this, without the hyphens that people put between words, is no word.
const WORD_BYTES_MAX: usize = 40;

/// Takes a lower-case name apart; `None` where nothing stands below a domain, or nothing could get out through it.
pub(super) fn asked(name: &str, qtype: u16) -> Option<Asked<'_>> {
    let kind = kind_of(qtype);
    let (_, top) = name.rsplit_once('.')?;
    if LOCAL.contains(&top) || is_reversed_address(name) {
        return None;
    }
    if !is_top_level(top) {
        return Some(Asked { domain: "", below: name, form: Form::Coded, kind });
    }
    let domain = psl::domain_str(name)?;
    let below = name.strip_suffix(domain)?.strip_suffix('.').filter(|below| !below.is_empty())?;
    Some(Asked { domain, below, form: form_of(below), kind })
}

fn kind_of(qtype: u16) -> Kind {
    match qtype {
        // A, NS, PTR, AAAA, DS, RRSIG, NSEC, DNSKEY, NSEC3, SVCB, HTTPS, ANY.
        1 | 2 | 12 | 28 | 43 | 46 | 47 | 48 | 50 | 64 | 65 | 255 => Kind::Host,
        10 | 65_280..=65_534 => Kind::Never,
        _ => Kind::Odd,
    }
}

/// Whether the last label may be one: letters alone, or an encoded one.
fn is_top_level(label: &str) -> bool {
    label.starts_with("xn--") || (label.len() <= TOP_BYTES_MAX && label.bytes().all(|byte| byte.is_ascii_lowercase()))
}

/// Block lists are asked for addresses, octet by octet or digit by digit, last one first.
fn is_reversed_address(name: &str) -> bool {
    let octets = name.split('.').take_while(|label| label.parse::<u8>().is_ok()).count();
    let nibbles = name.split('.').take_while(|label| label.len() == 1).count();
    octets >= 4 || nibbles >= 16
}

fn form_of(below: &str) -> Form {
    let labels = || below.split('.');
    if labels().any(|label| label.starts_with('_')) {
        Form::Service
    } else if labels().any(is_coded) {
        Form::Coded
    } else if below.bytes().filter(u8::is_ascii_digit).count() >= 5 {
        Form::Numbered
    } else {
        Form::Plain
    }
}

fn is_coded(label: &str) -> bool {
    let (mut switches, mut consonants, mut consonants_max, mut hyphens) = (0, 0, 0, 0);
    let mut last_digit = None;
    for byte in label.bytes() {
        let digit = match byte {
            b'?' => return true,
            b'-' => {
                hyphens += 1;
                consonants = 0;
                continue;
            }
            b'0'..=b'9' => true,
            _ => false,
        };
        switches += usize::from(last_digit.is_some_and(|last| last != digit));
        last_digit = Some(digit);
        let vowel = matches!(byte, b'a' | b'e' | b'i' | b'o' | b'u' | b'y');
        consonants = if digit || vowel { 0 } else { consonants + 1 };
        consonants_max = consonants_max.max(consonants);
    }
    switches >= 3 || consonants_max >= 5 || (label.len() > WORD_BYTES_MAX && hyphens * 12 < label.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(name: &str, qtype: u16) -> Option<(&str, Form, Kind)> {
        asked(name, qtype).map(|asked| (asked.domain, asked.form, asked.kind))
    }

    #[test]
    fn what_people_and_programs_name_is_not_taken_for_data() {
        for name in
            ["www.example.net", "mail.example.co.uk", "api-gateway.eu-west-1.prod.example.com", "cdn2.img.example.org"]
        {
            assert_eq!(asked(name, 1).map(|asked| asked.form), Some(Form::Plain), "{name}");
        }
        assert_eq!(told("e13829.dscx.example.net", 1), Some(("example.net", Form::Numbered, Kind::Host)));
        assert_eq!(told("20230601._domainkey.example.net", 16), Some(("example.net", Form::Service, Kind::Odd)));
    }

    #[test]
    fn what_an_encoder_makes_is_seen() {
        for below in [
            "9d21010f850c4193a64dd2006cff6ebacd",
            "pafqcggy",
            "1ijbcmtq8vl73bqmjmzm6amreeli",
            "z2o3aa-aaahhh-drink-mal-ein-j?germeister-",
            "mzxw6ytboi3dgmzsgm2tkmjrgizdgmzrgu3dmnzygaytemztgq2tcnrxha",
        ] {
            let name = format!("{below}.t.example.net");
            assert_eq!(asked(&name, 10).map(|asked| (asked.domain, asked.form)), Some(("example.net", Form::Coded)));
        }
        assert_eq!(
            told("t.546b03f5.a6023ed4df184d6ac5c2628b47714fdee584fed739", 15),
            Some(("", Form::Coded, Kind::Odd))
        );
        assert_eq!(asked("t.example.net", 65_399).map(|asked| asked.kind), Some(Kind::Never));
    }

    #[test]
    fn addresses_and_names_of_the_house_carry_nothing() {
        for name in [
            "4.3.2.1.zen.example.org",
            "1.b.2.5.c.6.e.f.f.f.7.e.3.7.2.e.0.0.0.0.0.0.0.0.0.0.0.0.0.8.e.f.ip6.arpa",
            "7.7.168.192.in-addr.arpa",
            "printer.lan",
            "example.net",
            "net",
            "..a",
            "",
            "d1a2b3c4d5e6f7.cloudfront.net",
        ] {
            assert_eq!(asked(name, 16), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_name_is_taken_apart(name in "[a-z0-9?_.-]{0,255}", qtype: u16) {
            if let Some(asked) = asked(&name, qtype) {
                prop_assert!(asked.below.len() + asked.domain.len() <= name.len());
                prop_assert!(!asked.below.is_empty());
            }
        }
    }
}
