//! What is read out of a flow's samples: protocol, names, fingerprints, the outcome of a login, what the bytes are like.
//! Types alone; reading is the business of the files beside this one.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{AppProto, Sign};
use crate::eve::Heard;

/// Facts gathered from the samples of one flow, as seen from its initiator. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PayloadFacts {
    pub app: AppProto,
    pub tls: Option<Box<TlsFacts>>,
    pub dns: Option<Box<DnsFacts>>,
    pub http: Option<Box<HttpFacts>>,
    pub ssh: Option<Box<SshFacts>>,
    /// Outcome of a login in clear text, where the samples show one.
    pub login: Login,
    /// Logins that were refused in all samples, those behind pauses included: `login` is what the first of them show.
    pub refusals: u8,
    /// Bytes of an MQTT message of the initiator's on average, where the samples hold several; else 0.
    pub message_bytes: u16,
    /// Payload bytes looked at, and what they are like. All zero for a silent direction.
    pub forward: ByteFacts,
    pub backward: ByteFacts,
    /// Attack patterns among the samples; `None` where there are none, which is nearly always.
    pub signs: Option<Arc<FlowSigns>>,
    /// What Suricata said of the flow, where it is heard.
    pub heard: Option<Arc<Heard>>,
}

/// Attack patterns of both directions, each by sureness.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowSigns {
    pub forward: Vec<Sign>,
    pub backward: Vec<Sign>,
}

/// What the sampled bytes of one direction are like.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ByteFacts {
    /// Bytes looked at.
    pub bytes: u32,
    /// Shannon entropy of the byte values, in bits per byte, 0 to 8. At most log2 of `bytes`.
    pub entropy: f32,
    /// Share of bytes that are printable ASCII, tab, CR or LF, 0 to 1.
    pub printable: f32,
    /// The first bytes, zero behind the end.
    pub first: [u8; 8],
    /// Sampled datagrams, if there are several and all say the same.
    pub alike: u8,
}

/// A TLS handshake in clear. Strings are escaped and capped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    pub sni: Option<Arc<str>>,
    /// First protocol the client offers.
    pub alpn: Option<Arc<str>>,
    pub ja4: Option<Arc<str>>,
    /// JA3 of the client's hello and of the server's, in hex.
    pub ja3: Option<Arc<str>>,
    pub ja3s: Option<Arc<str>>,
    /// The server's certificate, where it is sent in clear.
    pub certificate: Option<Box<CertificateFacts>>,
    /// Highest version the client offers, as on the wire: `0x0304` is TLS 1.3.
    pub version_offered: Option<u16>,
    /// Version the server chose.
    pub version_chosen: Option<u16>,
    /// Cipher suite the server chose.
    pub cipher_chosen: Option<u16>,
    /// The ClientHello was longer than the samples: what lies behind the cut is missing, and so
    /// is the fingerprint.
    pub partial: bool,
}

/// What a server's certificate says of itself; nothing of it is verified. Strings are escaped and capped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateFacts {
    /// `C=US, O=Example, CN=a.example`.
    pub subject: Arc<str>,
    pub issuer: Arc<str>,
    pub self_signed: bool,
    /// Validity, in seconds since 1970.
    pub not_before_secs: Option<i64>,
    pub not_after_secs: Option<i64>,
}

impl TlsFacts {
    /// EVE's name of the version in force: the chosen one, else the offered one.
    pub fn version_label(&self) -> Option<&'static str> {
        match self.version_chosen.or(self.version_offered)? {
            0x0300 => Some("SSLv3"),
            0x0301 => Some("TLSv1"),
            0x0302 => Some("TLS 1.1"),
            0x0303 => Some("TLS 1.2"),
            0x0304 => Some("TLS 1.3"),
            _ => Some("UNDETERMINED"),
        }
    }
}

/// The DNS messages among the samples, mDNS and LLMNR included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsFacts {
    /// First name asked for.
    pub query: Option<Arc<str>>,
    /// Its type: `A`, `TXT`, `TYPE65`.
    pub qtype: Option<Arc<str>>,
    pub qtype_code: u16,
    /// Response code of the first answer, as on the wire, and its name: `NOERROR`, `NXDOMAIN`.
    pub rcode: Option<u16>,
    /// Sampled messages that ask, and that answer.
    pub queries: u32,
    pub responses: u32,
    /// Answer records announced by all sampled responses.
    pub answers: u32,
    /// Sampled responses with an error code.
    pub errors: u32,
    /// Longest name asked for, in bytes as written with dots.
    pub name_bytes_max: u32,
    /// Longest label asked for.
    pub label_bytes_max: u32,
    /// Distinct names asked for among the sampled messages.
    pub names: u32,
    /// The questions of the sampled messages, distinct, in their order, those behind pauses included.
    pub questions: SmallVec<[DnsQuestion; 1]>,
}

/// One thing asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsQuestion {
    /// The whole name in lower case. Bytes that no host name has are `?`, so nothing in it steers a terminal.
    pub name: Arc<str>,
    /// The type, as on the wire.
    pub qtype: u16,
}

impl DnsFacts {
    /// The name of `rcode`, as in EVE.
    pub fn rcode_label(&self) -> Option<&'static str> {
        Some(match self.rcode? {
            0 => "NOERROR",
            1 => "FORMERR",
            2 => "SERVFAIL",
            3 => "NXDOMAIN",
            4 => "NOTIMP",
            5 => "REFUSED",
            6 => "YXDOMAIN",
            7 => "YXRRSET",
            8 => "NXRRSET",
            9 => "NOTAUTH",
            10 => "NOTZONE",
            _ => "UNKNOWN",
        })
    }
}

/// First request and response of an HTTP/1 connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpFacts {
    pub method: Option<Arc<str>>,
    pub host: Option<Arc<str>>,
    /// Path and query, as sent.
    pub path: Option<Arc<str>>,
    pub user_agent: Option<Arc<str>>,
    /// `application/json` and the like, of the request.
    pub content_type: Option<Arc<str>>,
    pub status: Option<u16>,
    /// Where the response sends the client on to, as sent.
    pub location: Option<Arc<str>>,
    /// Whether the request carries an `Authorization` header.
    pub authorization: bool,
    /// The request's header block had not ended within the samples.
    pub partial: bool,
}

/// Identification strings, without line end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SshFacts {
    pub client: Option<Arc<str>>,
    pub server: Option<Arc<str>>,
}

/// How a login went, as far as the samples show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Login {
    /// None was seen.
    #[default]
    None,
    /// Credentials went out, the answer was not sampled.
    Tried,
    Failed,
    Succeeded,
}
