//! What eve.json says of a flow's content: names, fingerprints, requests, files. Every string is capped: peers chose them.

use std::borrow::Cow;

use serde::Deserialize;

use super::event::capped;

/// The application objects of one line; those that it lacks are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EveApp {
    pub tls: Option<EveTls>,
    pub http: Option<EveHttp>,
    pub dns: Option<EveDns>,
    pub ssh: Option<EveSsh>,
    pub file: Option<EveFile>,
    pub smb: Option<EveSmb>,
}

/// A handshake, as `tls` tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EveTls {
    pub sni: Option<Box<str>>,
    pub ja3: Option<Box<str>>,
    pub ja3s: Option<Box<str>>,
    pub ja4: Option<Box<str>>,
    pub subject: Option<Box<str>>,
    pub issuer: Option<Box<str>>,
}

/// One request and its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EveHttp {
    pub host: Option<Box<str>>,
    pub url: Option<Box<str>>,
    pub user_agent: Option<Box<str>>,
    pub method: Option<Box<str>>,
    pub status: Option<u16>,
}

/// One question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EveDns {
    pub name: Option<Box<str>>,
    pub qtype: Option<Box<str>>,
}

/// Identification strings, `2.0-OpenSSH_9.2`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EveSsh {
    pub client: Option<Box<str>>,
    pub server: Option<Box<str>>,
}

/// A file that passed, as `fileinfo` tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EveFile {
    pub name: Option<Box<str>>,
    pub magic: Option<Box<str>>,
    pub sha256: Option<Box<str>>,
    pub bytes: u64,
}

/// One command of a file share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EveSmb {
    pub command: Option<Box<str>>,
    pub share: Option<Box<str>>,
    pub file: Option<Box<str>>,
    pub status: Option<Box<str>>,
}

type Text<'a> = Option<Cow<'a, str>>;

#[derive(Deserialize)]
pub(super) struct TlsPart<'a> {
    #[serde(borrow)]
    sni: Text<'a>,
    #[serde(borrow)]
    subject: Text<'a>,
    #[serde(borrow)]
    issuerdn: Text<'a>,
    #[serde(borrow)]
    ja3: Option<HashPart<'a>>,
    #[serde(borrow)]
    ja3s: Option<HashPart<'a>>,
    #[serde(borrow)]
    ja4: Text<'a>,
}

#[derive(Deserialize)]
struct HashPart<'a> {
    #[serde(borrow)]
    hash: Text<'a>,
}

#[derive(Deserialize)]
pub(super) struct HttpPart<'a> {
    #[serde(borrow)]
    hostname: Text<'a>,
    #[serde(borrow)]
    url: Text<'a>,
    #[serde(borrow)]
    http_user_agent: Text<'a>,
    #[serde(borrow)]
    http_method: Text<'a>,
    status: Option<u16>,
}

#[derive(Deserialize)]
pub(super) struct DnsPart<'a> {
    #[serde(borrow)]
    rrname: Text<'a>,
    #[serde(borrow)]
    rrtype: Text<'a>,
}

#[derive(Deserialize)]
pub(super) struct SshPart<'a> {
    #[serde(borrow)]
    client: Option<BannerPart<'a>>,
    #[serde(borrow)]
    server: Option<BannerPart<'a>>,
}

#[derive(Deserialize)]
struct BannerPart<'a> {
    #[serde(borrow)]
    proto_version: Text<'a>,
    #[serde(borrow)]
    software_version: Text<'a>,
}

#[derive(Deserialize)]
pub(super) struct FilePart<'a> {
    #[serde(borrow)]
    filename: Text<'a>,
    #[serde(borrow)]
    magic: Text<'a>,
    #[serde(borrow)]
    sha256: Text<'a>,
    #[serde(default)]
    size: u64,
}

#[derive(Deserialize)]
pub(super) struct SmbPart<'a> {
    #[serde(borrow)]
    command: Text<'a>,
    #[serde(borrow)]
    share: Text<'a>,
    #[serde(borrow)]
    filename: Text<'a>,
    #[serde(borrow)]
    status: Text<'a>,
}

fn text(from: &Text<'_>) -> Option<Box<str>> {
    from.as_deref().filter(|text| !text.is_empty()).map(capped)
}

impl TlsPart<'_> {
    pub(super) fn told(&self) -> EveTls {
        let hash = |part: &Option<HashPart<'_>>| part.as_ref().and_then(|part| text(&part.hash));
        EveTls {
            sni: text(&self.sni),
            ja3: hash(&self.ja3),
            ja3s: hash(&self.ja3s),
            ja4: text(&self.ja4),
            subject: text(&self.subject),
            issuer: text(&self.issuerdn),
        }
    }
}

impl HttpPart<'_> {
    pub(super) fn told(&self) -> EveHttp {
        EveHttp {
            host: text(&self.hostname),
            url: text(&self.url),
            user_agent: text(&self.http_user_agent),
            method: text(&self.http_method),
            status: self.status,
        }
    }
}

impl DnsPart<'_> {
    /// Nothing where the line holds its questions in a list, as those of alerts do.
    pub(super) fn told(&self) -> Option<EveDns> {
        text(&self.rrname).map(|name| EveDns { name: Some(name), qtype: text(&self.rrtype) })
    }
}

impl SshPart<'_> {
    pub(super) fn told(&self) -> EveSsh {
        let banner = |part: &Option<BannerPart<'_>>| {
            let part = part.as_ref()?;
            let version = part.proto_version.as_deref()?;
            Some(capped(&format!("SSH-{version}-{}", part.software_version.as_deref().unwrap_or_default())))
        };
        EveSsh { client: banner(&self.client), server: banner(&self.server) }
    }
}

impl FilePart<'_> {
    pub(super) fn told(&self) -> EveFile {
        EveFile { name: text(&self.filename), magic: text(&self.magic), sha256: text(&self.sha256), bytes: self.size }
    }
}

impl SmbPart<'_> {
    pub(super) fn told(&self) -> EveSmb {
        EveSmb {
            command: text(&self.command),
            share: text(&self.share),
            file: text(&self.filename),
            status: text(&self.status),
        }
    }
}
