//! Application facts under EVE's names; every form uses them.

use serde::Serialize;

use crate::payload::{Login, PayloadFacts};

/// The application objects of a line. Absent ones are left out.
#[derive(Debug, Serialize)]
pub(super) struct AppObjects<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tls: Option<Tls<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) http: Option<Http<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ssh: Option<Ssh<'a>>,
}

#[derive(Debug, Serialize)]
pub(super) struct Tls<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sni: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ja4: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ja3: Option<Fingerprint<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ja3s: Option<Fingerprint<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) issuerdn: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) notbefore: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) notafter: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) client_alpns: Vec<&'a str>,
}

/// JA3 stands in an object of its own.
#[derive(Debug, Serialize)]
pub(super) struct Fingerprint<'a> {
    pub(super) hash: &'a str,
}

/// `2026-11-20T09:00:00`, in UTC, as EVE writes a certificate's dates.
fn date(secs: i64) -> Option<String> {
    chrono::DateTime::from_timestamp(secs, 0).map(|time| time.format("%Y-%m-%dT%H:%M:%S").to_string())
}

#[derive(Debug, Serialize)]
pub(super) struct Http<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hostname: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) http_user_agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) http_method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<u16>,
}

#[derive(Debug, Serialize)]
pub(super) struct Ssh<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client: Option<SshSide<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server: Option<SshSide<'a>>,
}

#[derive(Debug, Serialize)]
pub(super) struct SshSide<'a> {
    pub(super) proto_version: &'a str,
    pub(super) software_version: &'a str,
}

impl<'a> SshSide<'a> {
    /// Splits `SSH-2.0-OpenSSH_9.2 comment` as EVE does (RFC 4253 section 4.2).
    fn of(banner: &'a str) -> Self {
        let rest = banner.strip_prefix("SSH-").unwrap_or(banner);
        let (proto_version, software_version) = rest.split_once('-').unwrap_or(("", rest));
        Self { proto_version, software_version }
    }
}

impl<'a> AppObjects<'a> {
    pub(super) fn of(payload: &'a PayloadFacts) -> Self {
        Self {
            tls: payload.tls.as_ref().map(|tls| Tls {
                sni: tls.sni.as_deref(),
                version: tls.version_label(),
                ja4: tls.ja4.as_deref(),
                ja3: tls.ja3.as_deref().map(|hash| Fingerprint { hash }),
                ja3s: tls.ja3s.as_deref().map(|hash| Fingerprint { hash }),
                subject: tls.certificate.as_ref().map(|certificate| &*certificate.subject),
                issuerdn: tls.certificate.as_ref().map(|certificate| &*certificate.issuer),
                notbefore: tls.certificate.as_ref().and_then(|certificate| date(certificate.not_before_secs?)),
                notafter: tls.certificate.as_ref().and_then(|certificate| date(certificate.not_after_secs?)),
                client_alpns: tls.alpn.as_deref().into_iter().collect(),
            }),
            http: payload.http.as_ref().map(|http| Http {
                hostname: http.host.as_deref(),
                url: http.path.as_deref(),
                http_user_agent: http.user_agent.as_deref(),
                http_method: http.method.as_deref(),
                status: http.status,
            }),
            ssh: payload.ssh.as_ref().map(|ssh| Ssh {
                client: ssh.client.as_deref().map(SshSide::of),
                server: ssh.server.as_deref().map(SshSide::of),
            }),
        }
    }
}

/// What was asked of DNS. EVE's own `dns` object describes one message; this is about a flow.
#[derive(Debug, Serialize)]
pub(super) struct Dns<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rrname: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rrtype: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rcode: Option<&'static str>,
    pub(super) queries: u32,
    pub(super) responses: u32,
    pub(super) answers: u32,
}

impl<'a> Dns<'a> {
    pub(super) fn of(payload: &'a PayloadFacts) -> Option<Self> {
        payload.dns.as_ref().map(|dns| Self {
            rrname: dns.query.as_deref(),
            rrtype: dns.qtype.as_deref(),
            rcode: dns.rcode_label(),
            queries: dns.queries,
            responses: dns.responses,
            answers: dns.answers,
        })
    }
}

/// How a login in clear text went; nothing where none was seen.
pub(super) fn login_name(payload: &PayloadFacts) -> Option<&'static str> {
    match payload.login {
        Login::None => None,
        Login::Tried => Some("tried"),
        Login::Failed => Some("failed"),
        Login::Succeeded => Some("succeeded"),
    }
}
