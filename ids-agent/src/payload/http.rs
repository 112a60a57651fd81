//! Reads the first HTTP/1 request or response of a direction.

use httparse::{EMPTY_HEADER, Request, Response};

use super::{HttpFacts, text::text};

const HEADERS_MAX: usize = 64;
/// Longest method known: BASELINE-CONTROL.
const METHOD_BYTES_MAX: usize = 16;

/// Facts of the request at the start of `bytes`.
pub(super) fn request(bytes: &[u8], string_bytes_max: usize) -> Option<HttpFacts> {
    if !is_request(bytes) {
        return None;
    }
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut request = Request::new(&mut headers);
    let parsed = request.parse(bytes);
    let mut facts =
        HttpFacts { partial: !matches!(parsed, Ok(status) if status.is_complete()), ..HttpFacts::default() };
    let text = |bytes: &[u8]| Some(text(bytes, string_bytes_max));
    let (method, path) = request_line(bytes);
    facts.method = text(method);
    facts.path = path.and_then(text);
    for header in request.headers.iter() {
        if header.name.is_empty() {
            break;
        }
        if header.name.eq_ignore_ascii_case("host") {
            facts.host = facts.host.or_else(|| text(header.value));
        } else if header.name.eq_ignore_ascii_case("user-agent") {
            facts.user_agent = facts.user_agent.or_else(|| text(header.value));
        } else if header.name.eq_ignore_ascii_case("content-type") {
            facts.content_type = facts.content_type.or_else(|| text(header.value));
        } else if header.name.eq_ignore_ascii_case("authorization") {
            facts.authorization = true;
        }
    }
    Some(facts)
}

/// Facts of the response at the start of `bytes`.
pub(super) fn response(bytes: &[u8], string_bytes_max: usize) -> Option<HttpFacts> {
    if !bytes.starts_with(b"HTTP/1.") {
        return None;
    }
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut response = Response::new(&mut headers);
    // The status line stands before any header that may be odd or cut.
    let _ = response.parse(bytes);
    let status = response.code?;
    let named = |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case("location");
    let location = response.headers.iter().find(named).map(|header| text(header.value, string_bytes_max));
    Some(HttpFacts { status: Some(status), location, ..HttpFacts::default() })
}

/// Whether the bytes begin with `METHOD target HTTP/1.`, or with as much of it as was sampled.
pub(super) fn is_request(bytes: &[u8]) -> bool {
    let (method, path) = request_line(bytes);
    if !(3..=METHOD_BYTES_MAX).contains(&method.len()) || !method.iter().all(|b| b.is_ascii_uppercase() || *b == b'-') {
        return false;
    }
    let Some(path) = path.filter(|path| !path.is_empty()) else { return false };
    let behind = bytes.get(method.len() + path.len() + 2..).unwrap_or(&[]);
    let version = b"HTTP/1.";
    if behind.is_empty() {
        return matches!(method, b"GET" | b"POST" | b"HEAD" | b"PUT") && path.first() == Some(&b'/');
    }
    behind.starts_with(version) || version.starts_with(behind)
}

/// Whether the bytes begin with a request line or a status line.
pub(super) fn begins_message(bytes: &[u8]) -> bool {
    bytes.starts_with(b"HTTP/1.") || is_request(bytes)
}

/// Method and target, each up to its space.
fn request_line(bytes: &[u8]) -> (&[u8], Option<&[u8]>) {
    let line = bytes.split(|b| matches!(b, b'\r' | b'\n')).next().unwrap_or(&[]);
    let mut words = line.splitn(3, |b| *b == b' ');
    (words.next().unwrap_or(&[]), words.next())
}

/// Joins the request of one side and the response of the other.
pub(super) fn join(request: Option<&HttpFacts>, response: Option<&HttpFacts>) -> Option<HttpFacts> {
    match (request, response) {
        (None, None) => None,
        (Some(one), None) | (None, Some(one)) => Some(one.clone()),
        (Some(one), Some(other)) => {
            let (request, response) = if one.method.is_none() { (other, one) } else { (one, other) };
            Some(HttpFacts { status: response.status, location: response.location.clone(), ..request.clone() })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REQUEST: &[u8] = b"POST /login?next=%2F HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: curl/8.1\r\n\
        Content-Type: application/x-www-form-urlencoded\r\nAuthorization: Basic YTpi\r\n\r\nuser=a&password=b";

    #[test]
    fn request_and_response_join() {
        let request = request(REQUEST, 256);
        let response = response(b"HTTP/1.1 401 Unauthorized\r\nServer: x\r\n\r\n", 64);
        let facts = join(request.as_ref(), response.as_ref()).unwrap_or_default();
        assert_eq!(facts.method.as_deref(), Some("POST"));
        assert_eq!(facts.path.as_deref(), Some("/login?next=%2F"));
        assert_eq!(facts.host.as_deref(), Some("shop.example"));
        assert_eq!(facts.user_agent.as_deref(), Some("curl/8.1"));
        assert_eq!(facts.content_type.as_deref(), Some("application/x-www-form-urlencoded"));
        assert_eq!(facts.status, Some(401));
        assert!(facts.authorization && !facts.partial);
    }

    #[test]
    fn a_request_whose_headers_never_end_is_partial() {
        let facts = request(b"GET / HTTP/1.1\r\nHost: a.example\r\nX-a: b\r\n", 256).unwrap_or_default();
        assert_eq!((facts.method.as_deref(), facts.host.as_deref()), (Some("GET"), Some("a.example")));
        assert!(facts.partial);
    }

    #[test]
    fn odd_headers_do_not_hide_the_request_line() {
        let facts = request(b"GET /a HTTP/1.1\r\nBad Header\x01: x\r\n\r\n", 256).unwrap_or_default();
        assert_eq!(facts.path.as_deref(), Some("/a"));
        assert!(request(b"hello world HTTP/1.1\r\n\r\n", 256).is_none());
    }

    proptest! {
        #[test]
        fn changed_requests_are_data(changes in prop::collection::vec((0usize..240, any::<u8>()), 0..20), cut in 0usize..240) {
            let mut bytes = REQUEST.to_vec();
            for (at, value) in changes {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            bytes.truncate(cut);
            let _ = request(&bytes, 64);
        }

        #[test]
        fn any_bytes_are_data(bytes: Vec<u8>) {
            let _ = request(&bytes, 64);
            let _ = response(&bytes, 64);
            let _ = response(&[b"HTTP/1.", bytes.as_slice()].concat(), 64);
        }
    }
}
