//! Signs in HTTP requests and answers: a request is split, decoded and put before the rules; nothing is judged here.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::{
    SignKind, Signs, filler, kits,
    normal::{normal, plain},
    pages,
    patterns::{Matcher, Place},
    pictures,
    pieces::Unit,
    web_rules,
};

/// Bytes of a target or header value beyond which it is no address and no cookie, but a lever.
const RUN_BYTES_MIN: usize = 200;
/// The same for a name and a password in base64.
const BASIC_BYTES_MIN: usize = 700;

/// What other headers may take up behind one that was cut.
const OTHER_HEADERS_BYTES: usize = 800;

/// Which part of a conversation some bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Request,
    RequestBody,
    Answer,
    AnswerBody,
}

impl Part {
    /// What begins here, if it shows.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(b"HTTP/1.") {
            Some(Self::Answer)
        } else if super::super::http::is_request(bytes) || is_odd_request(bytes) {
            Some(Self::Request)
        } else {
            None
        }
    }

    /// What the next bytes of the same direction are, unless they begin a message themselves.
    pub(super) fn next(self) -> Self {
        match self {
            Self::Request | Self::RequestBody => Self::RequestBody,
            Self::Answer | Self::AnswerBody => Self::AnswerBody,
        }
    }
}

/// A request line with the version in its place and no method that a client sends.
fn is_odd_request(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or(&[]);
    (line.ends_with(b" HTTP/1.0") || line.ends_with(b" HTTP/1.1"))
        && line.iter().all(|byte| (0x20..0x7f).contains(byte))
}

static REQUEST: LazyLock<Matcher> = LazyLock::new(|| Matcher::new(web_rules::REQUEST));
static ANSWER: LazyLock<Matcher> = LazyLock::new(|| Matcher::new(web_rules::ANSWER));

/// Signs in one message, as far as it was sampled.
pub(super) fn signs(part: Part, unit: Unit<'_>) -> Signs {
    let Unit { bytes, wire_len } = unit;
    let mut signs = Signs::default();
    match part {
        Part::Request => request(bytes, wire_len, &mut signs),
        Part::RequestBody => body(Form::Unknown, bytes, &mut signs),
        Part::Answer => {
            let (head, body) = head_and_body(bytes);
            let text = plain(body);
            ANSWER.find(Place::Body, &text, &mut signs);
            program(head, body, &mut signs);
            kits::answer(head, body, &mut signs);
            signs.merge(pages::signs(&text));
            contents(body, &mut signs);
        }
        Part::AnswerBody => {
            let text = plain(bytes);
            ANSWER.find(Place::Body, &text, &mut signs);
            signs.merge(pages::signs(&text));
            contents(bytes, &mut signs);
        }
    }
    signs
}

/// What a page fills a field of an object with, and pictures made to break who shows them.
fn contents(page: &[u8], signs: &mut Signs) {
    if let Some(letters) = filler::random_letters(page) {
        signs.add_once(SignKind::MaliciousPage, 80, letters);
    }
    if let Some(what) = pictures::broken(page) {
        signs.add_once(SignKind::MaliciousPage, 82, what);
    }
}

/// A program for Windows or Linux in the answer, and whether its type says so.
fn program(head: &[u8], body: &[u8], signs: &mut Signs) {
    let windows = body.starts_with(b"MZ")
        && (body.len() < 128
            || memchr::memmem::find(body, b"PE\0\0").is_some()
            || memchr::memmem::find(body, b"This program").is_some());
    let linux = body.starts_with(b"\x7fELF");
    if !windows && !linux {
        return;
    }
    let what = if windows { &b"a program for Windows"[..] } else { b"a program for Linux" };
    let head = head.to_ascii_lowercase();
    let says = |kind: &[u8]| memchr::memmem::find(&head, kind).is_some();
    let type_of = [
        &b"image/"[..],
        b"audio/",
        b"video/",
        b"text/html",
        b"text/css",
        b"javascript",
        b"json",
        b"application/pdf",
        b"flash",
    ];
    let named = says(b".exe") || says(b".dll") || says(b".msi") || says(b"filename=");
    let disguised =
        type_of.iter().any(|kind| memchr::memmem::find(&head, &[b"content-type: ", *kind].concat()).is_some());
    if disguised && !named {
        signs.add(SignKind::DisguisedProgram, 86, what);
    }
    signs.add(SignKind::ProgramDownload, 50, what);
}

/// Whether a `Host` header names a public IPv4 address instead of a name.
fn is_bare_address(value: &[u8]) -> bool {
    let host = value.split(|byte| *byte == b':').next().unwrap_or(&[]);
    let address = std::str::from_utf8(host).ok().and_then(|host| host.parse::<std::net::Ipv4Addr>().ok());
    address.is_some_and(|v4| !(v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified()))
}

fn request(bytes: &[u8], wire_len: usize, signs: &mut Signs) {
    let (head, body_bytes) = head_and_body(bytes);
    // What a header that was cut goes on for at most.
    let cut = if head.len() == bytes.len() { wire_len.saturating_sub(bytes.len()) } else { 0 };
    let (line, headers) = match head.iter().position(|byte| *byte == b'\n') {
        Some(at) => head.split_at_checked(at + 1).unwrap_or((head, &[])),
        None => (head, &[][..]),
    };
    let line = line.trim_ascii_end();
    let line = line.strip_suffix(b" HTTP/1.1").or_else(|| line.strip_suffix(b" HTTP/1.0")).unwrap_or(line);
    let (method, target) = match line.iter().position(|byte| *byte == b' ') {
        Some(at) => line.split_at_checked(at).unwrap_or((line, &[])),
        None => (line, &[][..]),
    };
    let target = target.trim_ascii_start();
    let (path, query) = match target.iter().position(|byte| *byte == b'?') {
        Some(at) => target.split_at_checked(at).unwrap_or((target, &[])),
        None => (target, &[][..]),
    };
    REQUEST.find(Place::Target, &plain(target), signs);
    REQUEST.find(Place::Path, &normal(path), signs);
    if !query.is_empty() {
        REQUEST.find(Place::Query, &normal(query), signs);
    }
    for header in headers.split_inclusive(|byte| *byte == b'\n') {
        let Some(at) = header.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (header.get(..at).unwrap_or(&[]), header.get(at + 1..).unwrap_or(&[]));
        let value = value.trim_ascii();
        if name.eq_ignore_ascii_case(b"host") && is_bare_address(value) {
            signs.add(SignKind::AddressHost, 42, value);
        }
        // A name and a password are short, whatever they are; other schemes carry tickets.
        if name.eq_ignore_ascii_case(b"authorization")
            && value.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic "))
            && value.len() + if header.ends_with(b"\n") { 0 } else { cut.saturating_sub(OTHER_HEADERS_BYTES) }
                >= BASIC_BYTES_MIN
        {
            signs.add(SignKind::OverlongField, 80, value);
        }
        if name.eq_ignore_ascii_case(b"user-agent") {
            let value = normal(value);
            REQUEST.find(Place::Agent, &value, signs);
            REQUEST.find(Place::Header, &value, signs);
        } else if name.eq_ignore_ascii_case(b"cookie") {
            REQUEST.find(Place::Cookie, &plain(value), signs);
            REQUEST.find(Place::Header, &normal(value), signs);
        } else if SPEAKING.iter().any(|known| name.eq_ignore_ascii_case(known)) {
            REQUEST.find(Place::Header, &normal(value), signs);
        } else if !PLAIN_HEADERS.iter().any(|known| name.eq_ignore_ascii_case(known)) {
            REQUEST.find(Place::Header, &normal(header), signs);
        }
    }
    shape(method, target, headers, signs);
    let whole = Whole(head.len() < bytes.len());
    caller(method, target, headers, whole, signs);
    kits::request(method, target, headers, signs);
    body(Form::of(headers), body_bytes, signs);
}

/// Whether the headers were seen to end.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Whole(bool);

/// Whether a program that calls itself a browser behaves as one.
fn caller(method: &[u8], target: &[u8], headers: &[u8], whole: Whole, signs: &mut Signs) {
    let headers = headers.to_ascii_lowercase();
    let value = |name: &[u8]| {
        headers.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name)).map(<[u8]>::trim_ascii)
    };
    let path = target.split(|byte| *byte == b'?').next().unwrap_or(&[]).to_ascii_lowercase();
    let ends = |kinds: &[&[u8]]| kinds.iter().any(|kind| path.ends_with(kind));
    let bare = value(b"host:").is_some_and(is_bare_address);
    if bare && method == b"GET" && ends(&[b".exe", b".scr", b".dll", b".elf", b".sh", b".ps1", b".hta", b".vbs"]) {
        signs.add(SignKind::ProgramDownload, 72, &path);
    }
    if whole == Whole(false) {
        return;
    }
    let sent_by_page = value(b"referer:").is_some() || value(b"origin:").is_some();
    let posts = method == b"POST";
    if posts && !sent_by_page && ends(&[b".gif", b".jpg", b".jpeg", b".png", b".css", b".ico", b".bmp"]) {
        signs.add(SignKind::C2Profile, 74, &path);
    }
    let agent = value(b"user-agent:").unwrap_or(&[]);
    let names = |word: &[u8]| memchr::memmem::find(agent, word).is_some();
    let browser = agent.starts_with(b"mozilla/")
        && [&b"msie "[..], b"trident/", b"firefox/", b"chrome/"].iter().any(|word| names(word));
    let speaks = sent_by_page || value(b"accept-language:").is_some() || value(b"accept-encoding:").is_some();
    let terse = value(b"accept:").is_none();
    if browser && !speaks {
        let sureness = match (bare && terse, posts) {
            // Not even what it takes, of a server without a name.
            (true, _) => 66,
            (false, true) => 45,
            (false, false) => 25,
        };
        signs.add(SignKind::C2Profile, sureness, b"a browser's name without a browser's headers");
    }
    // No browser and no library of today: who it is it does not say, nor what it takes, and the address is no word.
    if agent.is_empty() && terse && !speaks && is_random(target) {
        signs.add(SignKind::C2Profile, 74, target);
    }
    if posts
        && value(b"content-type:").is_none()
        && value(b"content-length:").is_some_and(|length| length != b"0")
        && browser
    {
        signs.add(SignKind::C2Profile, 50, b"a body without a type under a browser's name");
    }
}

/// Forty letters and more of both cases with digits among them, and no word, folder or ending.
fn is_random(target: &[u8]) -> bool {
    let name = target.strip_prefix(b"/").unwrap_or(target);
    let counts = |is: fn(&u8) -> bool| name.iter().filter(|byte| is(byte)).count();
    // Questions for a certificate's state are base64 too: a sequence in a sequence (RFC 6960, appendix A.1).
    name.len() >= 40
        && !matches!(name, [b'M', b'D'..=b'I', ..])
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        && counts(u8::is_ascii_uppercase) >= 8
        && counts(u8::is_ascii_lowercase) >= 8
        && counts(u8::is_ascii_digit) >= 3
}

/// Headers of which the value alone counts: programs behind the server read them like fields of a form.
const SPEAKING: [&[u8]; 5] = [b"referer", b"x-forwarded-for", b"x-api-version", b"content-type", b"authorization"];
/// Headers that carry what the client's library put there.
const PLAIN_HEADERS: [&[u8]; 12] = [
    b"host",
    b"connection",
    b"accept-language",
    b"accept-encoding",
    b"content-length",
    b"cache-control",
    b"pragma",
    b"upgrade-insecure-requests",
    b"if-modified-since",
    b"if-none-match",
    b"keep-alive",
    b"origin",
];

/// How the fields of a body are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Unknown,
    Encoded,
    Text,
    Binary,
}

impl Form {
    fn of(headers: &[u8]) -> Self {
        let value = headers.split(|byte| *byte == b'\n').find_map(|line| {
            let (name, value) = line.split_at_checked(13)?;
            name.eq_ignore_ascii_case(b"content-type:").then(|| value.to_ascii_lowercase())
        });
        let contains = |word: &[u8]| value.as_ref().is_some_and(|value| value.windows(word.len()).any(|w| w == word));
        if contains(b"x-www-form-urlencoded") {
            Self::Encoded
        } else if [&b"json"[..], b"xml", b"text/", b"multipart/"].iter().any(|word| contains(word)) {
            Self::Text
        } else if value.is_none() {
            Self::Unknown
        } else {
            Self::Binary
        }
    }
}

fn body(form: Form, bytes: &[u8], signs: &mut Signs) {
    if bytes.is_empty() {
        return;
    }
    match form {
        Form::Unknown | Form::Encoded => {
            let text = normal(bytes);
            REQUEST.find(Place::Body, &text, signs);
            if form == Form::Encoded || looks_like_form(bytes) {
                REQUEST.find(Place::Query, &text, signs);
            }
        }
        Form::Text => REQUEST.find(Place::Body, &normal(bytes), signs),
        Form::Binary => REQUEST.find(Place::Body, &plain(bytes), signs),
    }
}

/// `name=value` at the start, without a space or a control character in front of the sign.
fn looks_like_form(bytes: &[u8]) -> bool {
    let name =
        bytes.iter().take(64).take_while(|byte| byte.is_ascii_alphanumeric() || b"_-.[]%".contains(byte)).count();
    name > 0 && bytes.get(name) == Some(&b'=')
}

/// The head, line ends included, and what stands behind the empty line.
fn head_and_body(bytes: &[u8]) -> (&[u8], &[u8]) {
    static END: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| AhoCorasick::new(["\r\n\r\n", "\n\n"]).ok());
    match END.as_ref().and_then(|end| end.find(bytes)) {
        Some(end) => (bytes.get(..end.start() + 1).unwrap_or(bytes), bytes.get(end.end()..).unwrap_or(&[])),
        None => (bytes, &[]),
    }
}

/// What no pattern shows: methods, lengths and repetitions that no client produces by itself.
fn shape(method: &[u8], target: &[u8], headers: &[u8], signs: &mut Signs) {
    if method.iter().any(|byte| matches!(byte, b'<' | b'>' | b'\'' | b'"' | b'(')) {
        signs.add(SignKind::MalformedRequest, 80, method);
    }
    if let Some(run) = longest_run(target).filter(|run| run.len() >= RUN_BYTES_MIN) {
        signs.add(SignKind::MalformedRequest, 85, run);
    }
    let mut framed = (false, false);
    for line in headers.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii_end();
        if line.len() < 12 {
            continue;
        }
        let is = |name: &[u8]| line.get(..name.len()).is_some_and(|front| front.eq_ignore_ascii_case(name));
        if is(b"content-length:") {
            framed.0 = true;
            let value = line.get(15..).unwrap_or(&[]).trim_ascii();
            if value.first() == Some(&b'-') || (!value.is_empty() && !value.iter().all(u8::is_ascii_digit)) {
                signs.add(SignKind::MalformedRequest, 60, line);
            }
        } else if is(b"transfer-encoding:") {
            framed.1 = true;
        } else if is(b"range:") && line.iter().filter(|byte| **byte == b',').count() >= 20 {
            // Each range is assembled on its own (CVE-2011-3192).
            signs.add(SignKind::ManyRanges, 85, line);
        }
        if let Some(run) = longest_run(line).filter(|run| run.len() >= RUN_BYTES_MIN) {
            signs.add(SignKind::MalformedRequest, 80, run);
        }
        // Latin-1 and UTF-8 words occur in headers, but not machine code.
        let odd = line.iter().filter(|byte| matches!(byte, 0..=8 | 0x0e..=0x1f | 0x7f..=0x9f)).count();
        if odd >= 24 {
            signs.add(SignKind::MalformedRequest, 60, line);
        }
    }
    if framed == (true, true) {
        signs.add(SignKind::MalformedRequest, 60, b"Content-Length and Transfer-Encoding");
    }
}

/// Whether some bytes are one header of nobody's, as slowloris and slowhttptest send after each pause to keep a request from
/// ending (`X-a: 4711`). Who types a request by hand names headers that exist.
pub(super) fn is_lone_header(bytes: &[u8]) -> bool {
    let Some((name, value)) = bytes.strip_prefix(b"X-").and_then(|rest| rest.strip_suffix(b"\r\n")).and_then(|line| {
        let at = memchr::memchr(b':', line)?;
        Some((line.get(..at)?, line.get(at + 1..)?.trim_ascii_start()))
    }) else {
        return false;
    };
    let is_word = |word: &[u8]| (1..=40).contains(&word.len()) && word.iter().all(u8::is_ascii_alphanumeric);
    is_word(name) && is_word(value)
}

/// The longest repetition of one byte.
fn longest_run(bytes: &[u8]) -> Option<&[u8]> {
    bytes.chunk_by(|a, b| a == b).max_by_key(|run| run.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kinds and sureness that a request gives.
    fn kinds(request: &[u8]) -> Vec<(&'static str, u8)> {
        let unit = Unit { bytes: request, wire_len: request.len() };
        let signs = signs(Part::of(request).unwrap_or(Part::RequestBody), unit).settle();
        signs.iter().map(|sign| (sign.kind.name(), sign.sureness)).collect()
    }

    #[test]
    fn parts_are_told_by_their_first_line() {
        assert_eq!(Part::of(b"GET / HTTP/1.1\r\n"), Some(Part::Request));
        assert_eq!(Part::of(b"<SCRIPT> / HTTP/1.1\r\n"), Some(Part::Request));
        assert_eq!(Part::of(b"HTTP/1.1 200 OK\r\n"), Some(Part::Answer));
        assert_eq!(Part::of(b"SSH-2.0-OpenSSH\r\n"), None);
    }

    #[test]
    fn requests_that_no_client_sends_are_told_by_their_shape() {
        assert_eq!(kinds(b"<XSS> / HTTP/1.1\r\nHost: a\r\n\r\n").first().map(|k| k.0), Some("malformed_request"));
        let run = [b"GET /".as_slice(), &[b'A'; 300], b" HTTP/1.0\r\n\r\n"].concat();
        assert_eq!(kinds(&run).first().map(|k| k.0), Some("malformed_request"));
        assert!(kinds(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n").is_empty());
    }
}
