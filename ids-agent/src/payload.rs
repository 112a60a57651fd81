//! What payload samples reveal of a flow: protocol, names, fingerprints, login outcome, entropy.
//!
//! Pure. Formats are read by well-kept parsers; bytes that fit none are data, never an error.
//! Protocols are told by what the peers send, never by a TCP port.

use std::sync::Arc;

use crate::{config::PayloadSettings, flow::FlowRecord, source::Batch};

mod app;

pub use app::AppProto;

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
    /// Payload bytes looked at, and what they are like. All zero for a silent direction.
    pub forward: ByteFacts,
    pub backward: ByteFacts,
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
}

/// A TLS handshake in clear. Strings are escaped and capped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    pub sni: Option<Arc<str>>,
    /// First protocol the client offers.
    pub alpn: Option<Arc<str>>,
    pub ja4: Option<Arc<str>>,
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

/// Samples of live flows, and what was read out of them. Bounded in flows and bytes.
#[derive(Debug)]
pub struct PayloadTable {}

/// Running totals of a `PayloadTable`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PayloadStats {
    /// Flow directions held, and raw bytes held for them.
    pub directions: u64,
    pub bytes: u64,
    /// Samples taken in, and their bytes.
    pub samples: u64,
    pub sample_bytes: u64,
    /// Samples behind a gap, a cut sample or a finished parse: counted, not read.
    pub samples_unread: u64,
    /// Flows forgotten early because the table was full.
    pub flows_evicted: u64,
    /// Directions whose raw bytes were let go early because the table held too many.
    pub bytes_evicted: u64,
}

impl PayloadTable {
    pub fn new(_settings: &PayloadSettings) -> Self {
        Self {}
    }

    /// Takes in the samples of a batch.
    pub fn absorb(&mut self, _batch: &Batch) {}

    /// What is known of a flow by now.
    pub fn facts(&self, _record: &FlowRecord) -> PayloadFacts {
        PayloadFacts::default()
    }

    /// Lets go of an ended flow's samples.
    pub fn forget(&mut self, _record: &FlowRecord) {}

    pub fn stats(&self) -> PayloadStats {
        PayloadStats::default()
    }
}
