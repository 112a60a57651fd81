//! Features of what the payload samples say: bytes, protocol, names and requests.

use super::{FeatureSpec, Scale, feature_table};
use crate::payload::{AppProto, DnsFacts, HttpFacts, Login, PayloadFacts, TlsFacts};

feature_table! {
    static SPECS = "";
    fn values(payload: &PayloadFacts) let (payload, dns, http, tls) = {
        (payload, payload.dns.as_deref(), payload.http.as_deref(), payload.tls.as_deref())
    };

    {
        fwd_entropy: "bits/byte", Linear, 0 to 8, "Shannon entropy of the initiator's sampled bytes; 0 without any"
            => f64::from(payload.forward.entropy);
        bwd_entropy: "bits/byte", Linear, 0 to 8, "Shannon entropy of the sampled bytes back"
            => f64::from(payload.backward.entropy);
        fwd_printable: "share", Linear, 0 to 1, "share of the initiator's sampled bytes that are printable ASCII"
            => f64::from(payload.forward.printable);
        bwd_printable: "share", Linear, 0 to 1, "share of the sampled bytes back that are printable ASCII"
            => f64::from(payload.backward.printable);
        fwd_sampled: "bytes", Log, 0 to 65536, "the initiator's payload bytes looked at" => f64::from(payload.forward.bytes);
        bwd_sampled: "bytes", Log, 0 to 65536, "payload bytes back looked at" => f64::from(payload.backward.bytes);
        app_unknown: "flag", Linear, 0 to 1, "1 if payload was sampled and no protocol recognised"
            => flag(payload.app == AppProto::Unknown && payload.forward.bytes + payload.backward.bytes > 0);
        app_tls: "flag", Linear, 0 to 1, "1 for TLS, DTLS and QUIC"
            => flag(matches!(payload.app, AppProto::Tls | AppProto::Dtls | AppProto::Quic));
        app_http: "flag", Linear, 0 to 1, "1 for HTTP in clear" => flag(matches!(payload.app, AppProto::Http | AppProto::Http2));
        app_dns: "flag", Linear, 0 to 1, "1 for DNS, mDNS and LLMNR"
            => flag(matches!(payload.app, AppProto::Dns | AppProto::Mdns | AppProto::Llmnr));
        app_ssh: "flag", Linear, 0 to 1, "1 for SSH" => flag(payload.app == AppProto::Ssh);
        app_ftp: "flag", Linear, 0 to 1, "1 for FTP" => flag(payload.app == AppProto::Ftp);
        app_mail: "flag", Linear, 0 to 1, "1 for SMTP, POP3 and IMAP"
            => flag(matches!(payload.app, AppProto::Smtp | AppProto::Pop3 | AppProto::Imap));
        app_windows: "flag", Linear, 0 to 1, "1 for SMB, DCE/RPC, NetBIOS names, RDP, LDAP and Kerberos"
            => flag(matches!(
                payload.app,
                AppProto::Smb | AppProto::Dcerpc | AppProto::Nbns | AppProto::Rdp | AppProto::Ldap | AppProto::Krb5
            ));
        login_failed: "flag", Linear, 0 to 1, "1 if a login in clear was seen to fail" => flag(payload.login == Login::Failed);
        dns_name_len: "bytes", Linear, 0 to 255, "longest name asked for, with dots"
            => of(dns, |dns| dns.name_bytes_max);
        dns_label_len: "bytes", Linear, 0 to 63, "longest label asked for" => of(dns, |dns| dns.label_bytes_max);
        dns_name_digits: "share", Linear, 0 to 1, "share of digits in the first name asked for"
            => dns.map_or(0.0, |dns| share(dns.query.as_deref(), |byte| byte.is_ascii_digit()));
        dns_names: "names", Linear, 0 to 16, "distinct names asked for among the samples" => of(dns, |dns| dns.names);
        dns_errors: "messages", Linear, 0 to 16, "sampled responses with an error code" => of(dns, |dns| dns.errors);
        dns_answers: "records", Log, 0 to 65535, "answer records of the sampled responses" => of(dns, |dns| dns.answers);
        dns_bulk_type: "flag", Linear, 0 to 1, "1 if the first question is of type NULL, CNAME, MX, TXT, SRV or ANY"
            => flag(dns.is_some_and(asks_in_bulk));
        http_path_len: "bytes", Log, 0 to 65536, "length of the requested path and query"
            => f64::from(http.and_then(|http| http.path.as_deref()).map_or(0, str::len) as u32);
        http_path_odd: "share", Linear, 0 to 1,
            "share of the path's bytes among % ' \" < > ( ) ; * | \\ ` $ { } and two dots"
            => http.map_or(0.0, |http| odd_share(http.path.as_deref()));
        http_args: "arguments", Log, 0 to 1024, "count of = in the path's query"
            => http.map_or(0.0, |http| arguments(http.path.as_deref()));
        http_post: "flag", Linear, 0 to 1, "1 for a request that carries a body by its method (POST, PUT, PATCH)"
            => flag(http.and_then(|http| http.method.as_deref()).is_some_and(|m| matches!(m, "POST" | "PUT" | "PATCH")));
        http_partial: "flag", Linear, 0 to 1, "1 if the request's headers had not ended within the samples"
            => flag(http.is_some_and(|http| http.partial));
        http_no_agent: "flag", Linear, 0 to 1, "1 for a request without a User-Agent"
            => flag(http.is_some_and(|http| http.method.is_some() && http.user_agent.is_none()));
        http_refused: "flag", Linear, 0 to 1, "1 for a status from 400 on"
            => flag(http.is_some_and(|http| http.status.is_some_and(|status| status >= 400)));
        http_authorized: "flag", Linear, 0 to 1, "1 for a request with an Authorization header"
            => flag(http.is_some_and(|http: &HttpFacts| http.authorization));
        tls_no_name: "flag", Linear, 0 to 1, "1 for a whole ClientHello without a server name"
            => flag(tls.is_some_and(|tls| tls.version_offered.is_some() && tls.sni.is_none() && !tls.partial));
        tls_no_alpn: "flag", Linear, 0 to 1, "1 for a whole ClientHello without ALPN"
            => flag(tls.is_some_and(|tls| tls.version_offered.is_some() && tls.alpn.is_none() && !tls.partial));
        tls_old: "flag", Linear, 0 to 1, "1 if the version in force is older than TLS 1.2" => flag(tls.is_some_and(is_old));
    }
}

fn flag(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

fn of(dns: Option<&DnsFacts>, field: impl Fn(&DnsFacts) -> u32) -> f64 {
    dns.map_or(0.0, |dns| f64::from(field(dns)))
}

fn share(text: Option<&str>, counts: impl Fn(&u8) -> bool) -> f64 {
    let bytes = text.unwrap_or("").as_bytes();
    bytes.iter().filter(|byte| counts(byte)).count() as f64 / bytes.len().max(1) as f64
}

/// The types that tunnels carry data in, by number (RFC 1035, section 3.2.2; RFC 2782).
fn asks_in_bulk(dns: &DnsFacts) -> bool {
    dns.query.is_some() && matches!(dns.qtype_code, 5 | 10 | 15 | 16 | 33 | 255)
}

fn odd_share(path: Option<&str>) -> f64 {
    let odd = |byte: &u8| b"%'\"<>();*|\\`${}".contains(byte);
    let dots = path.unwrap_or("").matches("..").count() as f64 * 2.0;
    (share(path, odd) + dots / path.unwrap_or("").len().max(1) as f64).min(1.0)
}

fn arguments(path: Option<&str>) -> f64 {
    let query = path.and_then(|path| path.split_once('?')).map_or("", |(_, query)| query);
    query.matches('=').count() as f64
}

fn is_old(tls: &TlsFacts) -> bool {
    tls.version_chosen.or(tls.version_offered).is_some_and(|version| version < 0x0303)
}
