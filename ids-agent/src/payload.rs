//! What payload samples reveal of a flow: protocol, names, fingerprints, login outcome, entropy.
//!
//! Pure. Formats are read by well-kept parsers; bytes that fit none are data, never an error.
//! Protocols are told by what the peers send, never by a TCP port.

use std::{collections::VecDeque, sync::Arc};

use ids_common::flow::FlowKey;
use smallvec::SmallVec;

use crate::{
    bounded::BoundedMap,
    config::PayloadSettings,
    eve::Heard,
    flow::FlowRecord,
    source::{Batch, Sample},
};

mod app;
mod bytes;
mod certificate;
mod dns;
mod http;
mod ja3;
mod login;
mod recognise;
mod side;
mod signs;
mod text;
mod tls;

pub use app::AppProto;
use side::{Side, SideFacts};
use signs::Signs;
pub use signs::{Sign, SignKind};

/// One sampled payload with the key of its direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampledPacket {
    pub key: FlowKey,
    /// Which record of the key it belongs to.
    pub slot_first_seen_ns: u64,
    pub seen_ns: u64,
    /// Payload bytes of the packet on the wire; `bytes` may be fewer.
    pub payload_len: u32,
    pub bytes: Box<[u8]>,
}

/// What the samples of one flow say, read anew; `key` is its initiator's direction.
pub fn read(key: &FlowKey, packets: &[SampledPacket], string_bytes_max: usize) -> PayloadFacts {
    let side = |key: FlowKey| {
        let of_side = packets.iter().filter(|packet| packet.key == key);
        let mut side: Option<Side> = None;
        for (index, packet) in (0..).zip(of_side) {
            let sample = Sample {
                key,
                seen_ns: packet.seen_ns,
                slot_first_seen_ns: packet.slot_first_seen_ns,
                payload_len: packet.payload_len,
                index,
                payload_start: 0,
                captured: u32::try_from(packet.bytes.len()).unwrap_or(u32::MAX),
            };
            let side = side.get_or_insert_with(|| Side::new(packet.slot_first_seen_ns));
            side.push(&sample, &packet.bytes);
        }
        side.map(|mut side| {
            side.refresh(&key, string_bytes_max);
            side.facts
        })
    };
    match (side(*key), side(key.reversed())) {
        (None, None) => PayloadFacts::default(),
        (forward, backward) => join(&forward.unwrap_or_default(), &backward.unwrap_or_default()),
    }
}

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
    /// Attack patterns among the samples; `None` where there are none, which is nearly always.
    pub signs: Option<Arc<FlowSigns>>,
    /// What Suricata said of the flow, where it is heard.
    pub heard: Option<Arc<Heard>>,
}

/// Text of another sensor, made fit to be shown.
pub(crate) fn escaped(bytes: &[u8]) -> Arc<str> {
    text::text(bytes, HEARD_BYTES_MAX)
}

/// Longest string taken over from another sensor, in bytes.
const HEARD_BYTES_MAX: usize = 256;

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

impl SshFacts {
    /// The library or tool that the client's banner names, where it is one that people do not type into. Scripts use
    /// these as attackers do: a fact, not a suspicion.
    pub fn client_library(&self) -> Option<&'static str> {
        const LIBRARIES: [(&str, &str); 12] = [
            ("libssh2", "libssh2"),
            ("libssh", "libssh"),
            ("paramiko", "paramiko"),
            ("asyncssh", "asyncssh"),
            ("-go", "go"),
            ("jsch", "jsch"),
            ("medusa", "medusa"),
            ("ncrack", "ncrack"),
            ("nmap", "nmap"),
            ("zgrab", "zgrab"),
            ("russh", "russh"),
            ("phpseclib", "phpseclib"),
        ];
        let banner = self.client.as_deref()?.to_ascii_lowercase();
        LIBRARIES.iter().find(|(word, _)| banner.contains(word)).map(|(_, name)| *name)
    }
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
pub struct PayloadTable {
    /// Directions by their own key. A key in use again has a side for each time.
    sides: BoundedMap<FlowKey, SmallVec<[Side; 1]>>,
    /// Sides in the order of their first sample: the oldest lets go of its bytes first.
    holding: VecDeque<(FlowKey, u64)>,
    /// Keys with new samples in this batch.
    touched: Vec<FlowKey>,
    bytes_max: usize,
    string_bytes_max: usize,
    stats: PayloadStats,
}

/// Times a key may be in use at once: the connection that ends lingers while the next has begun.
const SIDES_PER_KEY_MAX: usize = 4;
/// Questions kept of one flow.
const DNS_QUESTIONS_MAX: usize = 16;

/// Running totals of a `PayloadTable`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PayloadStats {
    /// Flow directions held, and raw bytes held for them.
    pub directions: u64,
    pub bytes: u64,
    /// Samples taken in, and their bytes.
    pub samples: u64,
    pub sample_bytes: u64,
    /// Samples behind a gap, a cut sample or a finished parse: no facts are read out of them. Those that are still
    /// held are looked at for attack patterns.
    pub samples_unread: u64,
    /// Flows forgotten early because the table was full.
    pub flows_evicted: u64,
    /// Directions whose raw bytes were let go early because the table held too many.
    pub bytes_evicted: u64,
}

impl PayloadTable {
    pub fn new(settings: &PayloadSettings) -> Self {
        Self {
            sides: BoundedMap::new(settings.flows_max.saturating_mul(2), settings.hash_seed),
            holding: VecDeque::new(),
            touched: Vec::new(),
            bytes_max: settings.bytes_max,
            string_bytes_max: settings.string_bytes_max,
            stats: PayloadStats::default(),
        }
    }

    /// Takes in the samples of a batch.
    pub fn absorb(&mut self, batch: &Batch) {
        for sample in &batch.samples {
            self.take(sample, batch.payload(sample));
        }
        for key in std::mem::take(&mut self.touched) {
            for side in self.sides.peek_mut(&key).into_iter().flatten() {
                side.refresh(&key, self.string_bytes_max);
            }
        }
    }

    fn take(&mut self, sample: &Sample, payload: &[u8]) {
        self.stats.samples += 1;
        self.stats.sample_bytes += payload.len() as u64;
        if self.sides.peek(&sample.key).is_none()
            && let Some((_, gone)) = self.sides.make_room()
        {
            self.stats.flows_evicted += 1;
            self.stats.bytes -= gone.iter().map(|side| side.held_bytes() as u64).sum::<u64>();
        }
        let sides = self.sides.touch_or_insert(&sample.key, SmallVec::new);
        let place = match sides.iter().position(|side| side.slot_first_seen_ns == sample.slot_first_seen_ns) {
            Some(place) => place,
            None if sides.len() < SIDES_PER_KEY_MAX => {
                sides.push(Side::new(sample.slot_first_seen_ns));
                self.holding.push_back((sample.key, sample.slot_first_seen_ns));
                sides.len() - 1
            }
            None => {
                self.stats.samples_unread += 1;
                return;
            }
        };
        let Some(side) = sides.get_mut(place) else { return };
        match side.push(sample, payload) {
            None => self.stats.samples_unread += 1,
            Some(pushed) => {
                self.stats.bytes += pushed.bytes as u64;
                self.stats.samples_unread += u64::from(!pushed.read);
                self.touched.push(sample.key);
                self.make_room_for_bytes();
            }
        }
    }

    /// Settles the oldest sides until the bytes held are within their bound.
    fn make_room_for_bytes(&mut self) {
        while self.stats.bytes > self.bytes_max as u64 {
            let Some((key, first_seen_ns)) = self.holding.pop_front() else { return };
            let sides = self.sides.peek_mut(&key).into_iter().flatten();
            for side in sides.filter(|side| side.slot_first_seen_ns == first_seen_ns) {
                let freed = side.settle(&key, self.string_bytes_max);
                self.stats.bytes -= freed as u64;
                self.stats.bytes_evicted += u64::from(freed > 0);
            }
        }
        // Sides of ended flows leave their places in the queue behind.
        if self.holding.len() > 2 * self.sides.len() * SIDES_PER_KEY_MAX {
            let sides = &self.sides;
            self.holding.retain(|(key, first_seen_ns)| {
                sides.peek(key).is_some_and(|sides| sides.iter().any(|s| s.slot_first_seen_ns == *first_seen_ns))
            });
        }
    }

    /// What is known of a flow by now.
    pub fn facts(&self, record: &FlowRecord) -> PayloadFacts {
        let forward = self.side(record, &record.key);
        let backward = self.side(record, &record.key.reversed());
        if forward.is_none() && backward.is_none() {
            return PayloadFacts::default();
        }
        let nothing = SideFacts::default();
        let mut facts = join(forward.unwrap_or(&nothing), backward.unwrap_or(&nothing));
        if let Some(dns) = &mut facts.dns {
            self.add_questions(record, &mut dns.questions);
        }
        facts
    }

    /// Adds the questions asked behind pauses: a slow client's samples are spread over several slots.
    fn add_questions(&self, record: &FlowRecord, questions: &mut SmallVec<[DnsQuestion; 1]>) {
        let within = record.start_ns..=record.end_ns;
        for key in [record.key, record.key.reversed()] {
            let sides = self.sides.peek(&key).filter(|sides| sides.len() > 1);
            let sides = sides.into_iter().flatten().filter(|side| within.contains(&side.slot_first_seen_ns));
            let asked = sides.filter_map(|side| side.facts.dns.as_deref()).flat_map(|dns| &dns.questions);
            for question in asked {
                if questions.len() < DNS_QUESTIONS_MAX && !questions.contains(question) {
                    questions.push(question.clone());
                }
            }
        }
    }

    /// The samples of a flow, both directions; nothing where one has let go of its bytes: half of them would say otherwise.
    pub fn packets(&self, record: &FlowRecord) -> Vec<SampledPacket> {
        let keys = [record.key, record.key.reversed()];
        let sides = keys.iter().filter_map(|key| Some((key, self.whole_side(record, key)?)));
        let packets: Option<Vec<_>> = sides.map(|(key, side)| side.packets(key)).collect();
        packets.unwrap_or_default().into_iter().flatten().collect()
    }

    fn side(&self, record: &FlowRecord, key: &FlowKey) -> Option<&SideFacts> {
        self.whole_side(record, key).map(|side| &side.facts)
    }

    /// The first side of the key whose slot lies within the record.
    fn whole_side(&self, record: &FlowRecord, key: &FlowKey) -> Option<&Side> {
        let within = record.start_ns..=record.end_ns;
        let sides = self.sides.peek(key)?;
        let side = sides.iter().filter(|side| within.contains(&side.slot_first_seen_ns));
        side.min_by_key(|side| side.slot_first_seen_ns)
    }

    /// Lets go of an ended flow's samples.
    pub fn forget(&mut self, record: &FlowRecord) {
        for key in [record.key, record.key.reversed()] {
            let Some(sides) = self.sides.peek_mut(&key) else { continue };
            let mut freed = 0;
            sides.retain(|side| {
                let stays = side.slot_first_seen_ns > record.end_ns;
                freed += if stays { 0 } else { side.held_bytes() as u64 };
                stays
            });
            self.stats.bytes -= freed;
            if sides.is_empty() {
                self.sides.remove(&key);
            }
        }
    }

    pub fn stats(&self) -> PayloadStats {
        PayloadStats { directions: self.sides.len() as u64, ..self.stats }
    }
}

/// Joins what both directions say.
fn join(forward: &SideFacts, backward: &SideFacts) -> PayloadFacts {
    let app = recognise::settle(forward.guess, backward.guess);
    let tls = tls::join(forward.tls.as_deref(), backward.tls.as_deref());
    let dns = dns::join(forward.dns.as_deref(), backward.dns.as_deref());
    let http = http::join(forward.http.as_deref(), backward.http.as_deref());
    let ssh = (forward.ssh.is_some() || backward.ssh.is_some())
        .then(|| SshFacts { client: forward.ssh.clone(), server: backward.ssh.clone() });
    let mut login = match app {
        AppProto::Unknown => Login::None,
        _ => forward.login.settle(backward.login),
    };
    if let Some(http) = &http {
        login = login::http_outcome(login, http);
    }
    PayloadFacts {
        app,
        tls: tls.map(Box::new),
        dns: dns.map(Box::new),
        http: http.map(Box::new),
        ssh: ssh.map(Box::new),
        login,
        forward: forward.bytes,
        backward: backward.bytes,
        signs: join_signs(&forward.signs, &backward.signs),
        heard: None,
    }
}

fn join_signs(forward: &Signs, backward: &Signs) -> Option<Arc<FlowSigns>> {
    if forward.is_empty() && backward.is_empty() {
        return None;
    }
    Some(Arc::new(FlowSigns {
        forward: forward.iter().cloned().collect(),
        backward: backward.iter().cloned().collect(),
    }))
}

#[cfg(test)]
mod tests {
    use ids_common::wire::{PROTO_TCP, PROTO_UDP};
    use proptest::prelude::*;

    use super::*;
    use crate::fabricated::{Back, Fabricated, SEC, There, host, key, samples};

    fn tcp() -> FlowKey {
        key(host(0, 0, 1), 40_000, host(0, 0, 2), 443, PROTO_TCP)
    }

    /// A record of `key` that lasts from `start_ns` for ten seconds.
    fn record(key: FlowKey, start_ns: u64) -> FlowRecord {
        Fabricated::new(key, start_ns)
            .packet(There, 0, 1)
            .packet(Back, 0, 1)
            .wait(10 * SEC)
            .packet(There, 0, 1)
            .record()
    }

    fn facts(entries: &[(FlowKey, u64, u32, &[u8])]) -> PayloadFacts {
        let mut table = PayloadTable::new(&PayloadSettings::default());
        table.absorb(&samples(entries));
        table.facts(&record(entries[0].0, entries[0].1))
    }

    #[test]
    fn a_tls_flow_joins_both_hellos() {
        let (client, server) =
            (tls::tests::client_hello_record("www.example.net", 0), tls::tests::server_hello_record());
        let facts = facts(&[(tcp(), 0, 0, &client), (tcp().reversed(), 1, 0, &server)]);
        let tls = facts.tls.unwrap_or_default();
        assert_eq!(facts.app, AppProto::Tls);
        assert_eq!((tls.sni.as_deref(), tls.version_chosen), (Some("www.example.net"), Some(0x0304)));
        assert!(tls.ja4.is_some());
        assert_eq!(facts.forward.bytes as usize, client.len());
    }

    #[test]
    fn a_hello_over_two_samples_is_put_together() {
        let client = tls::tests::client_hello_record("www.example.net", 1_200);
        let (front, back) = client.split_at(1_000);
        let facts = facts(&[(tcp(), 0, 0, front), (tcp(), 0, 1, back)]);
        let tls = facts.tls.unwrap_or_default();
        assert!(!tls.partial && tls.ja4.is_some());
    }

    #[test]
    fn bytes_behind_a_gap_are_not_joined_to_those_before_it() {
        let client = tls::tests::client_hello_record("www.example.net", 1_200);
        let (front, back) = client.split_at(1_000);
        let mut table = PayloadTable::new(&PayloadSettings::default());
        table.absorb(&samples(&[(tcp(), 0, 0, front), (tcp(), 0, 2, back)]));
        let tls = table.facts(&record(tcp(), 0)).tls.unwrap_or_default();
        assert!(tls.partial);
        assert_eq!(table.stats().samples_unread, 1);
    }

    #[test]
    fn a_cut_sample_ends_the_stream() {
        let mut batch = samples(&[(tcp(), 0, 0, b"GET / HTTP/1.1\r\nHost: a"), (tcp(), 0, 1, b"bc\r\n\r\n")]);
        batch.samples[0].payload_len += 10;
        let mut table = PayloadTable::new(&PayloadSettings::default());
        table.absorb(&batch);
        assert!(table.facts(&record(tcp(), 0)).http.unwrap_or_default().partial);
    }

    #[test]
    fn dns_over_udp_gives_name_and_answer() {
        let key = key(host(0, 0, 1), 40_000, host(0, 0, 2), 53, PROTO_UDP);
        let (query, response) =
            (dns::tests::query("www.example.net", 16), dns::tests::response("www.example.net", 0, 1));
        let facts = facts(&[(key, 0, 0, &query), (key.reversed(), 1, 0, &response)]);
        let dns = facts.dns.unwrap_or_default();
        assert_eq!(facts.app, AppProto::Dns);
        assert_eq!((dns.query.as_deref(), dns.qtype.as_deref()), (Some("www.example.net"), Some("TXT")));
        assert_eq!((dns.rcode_label(), dns.answers), (Some("NOERROR"), 1));
    }

    #[test]
    fn banners_are_told_by_side() {
        let facts =
            facts(&[(tcp(), 0, 0, b"SSH-2.0-libssh2_1.9\r\n"), (tcp().reversed(), 1, 0, b"SSH-2.0-x\x1b[0m\r\n")]);
        let ssh = facts.ssh.unwrap_or_default();
        assert_eq!(ssh.client.as_deref(), Some("SSH-2.0-libssh2_1.9"));
        assert_eq!(ssh.server.as_deref(), Some("SSH-2.0-x\\x1b[0m"));
    }

    #[test]
    fn a_failed_login_shows() {
        let ftp = facts(&[
            (tcp(), 0, 0, b"USER root\r\n"),
            (tcp(), 0, 1, b"PASS x\r\n"),
            (tcp().reversed(), 1, 0, b"220 ready\r\n"),
            (tcp().reversed(), 1, 1, b"331 go on\r\n"),
            (tcp().reversed(), 1, 2, b"530 Login incorrect.\r\n"),
        ]);
        assert_eq!((ftp.app, ftp.login), (AppProto::Ftp, Login::Failed));
        let http = facts(&[
            (tcp(), 0, 0, b"GET / HTTP/1.1\r\nAuthorization: Basic eDp5\r\n\r\n"),
            (tcp().reversed(), 1, 0, b"HTTP/1.1 401 Unauthorized\r\n\r\n"),
        ]);
        assert_eq!(http.login, Login::Failed);
    }

    #[test]
    fn a_key_in_use_again_does_not_inherit() {
        let mut table = PayloadTable::new(&PayloadSettings::default());
        let (first, second) = (record(tcp(), SEC), record(tcp(), 20 * SEC));
        table.absorb(&samples(&[(tcp(), SEC, 0, b"SSH-2.0-a\r\n"), (tcp(), 20 * SEC, 0, b"GET / HTTP/1.1\r\n\r\n")]));
        assert_eq!(table.facts(&first).app, AppProto::Ssh);
        assert_eq!(table.facts(&second).app, AppProto::Http);
        table.forget(&first);
        assert_eq!(table.facts(&second).app, AppProto::Http);
        table.forget(&second);
        assert_eq!(table.facts(&second), PayloadFacts::default());
        assert_eq!((table.stats().directions, table.stats().bytes), (0, 0));
    }

    #[test]
    fn held_samples_are_given_back_and_read_to_the_same_facts() {
        let (client, server) =
            (tls::tests::client_hello_record("www.example.net", 1_200), tls::tests::server_hello_record());
        let (front, back) = client.split_at(1_000);
        let mut batch = samples(&[(tcp(), 5, 0, front), (tcp().reversed(), 6, 0, &server), (tcp(), 5, 1, back)]);
        batch.samples[1].payload_len += 7;
        let mut table = PayloadTable::new(&PayloadSettings::default());
        table.absorb(&batch);
        let record = record(tcp(), 5);
        let packets = table.packets(&record);
        let shape: Vec<_> = packets.iter().map(|packet| (packet.key, packet.bytes.len(), packet.payload_len)).collect();
        let (len, server_len) = (client.len(), server.len());
        let cut = (tcp().reversed(), server_len, server_len as u32 + 7);
        assert_eq!(shape, [(tcp(), 1_000, 1_000), (tcp(), len - 1_000, len as u32 - 1_000), cut]);
        assert_eq!(packets.iter().map(|packet| packet.seen_ns / 1_000).collect::<Vec<_>>(), [0, 0, 0]);
        assert_eq!(read(&record.key, &packets, 256), table.facts(&record));
        table.forget(&record);
        assert!(table.packets(&record).is_empty());
    }

    #[test]
    fn bounds_hold_and_are_counted() {
        let settings = PayloadSettings { flows_max: 8, bytes_max: 4_096, ..PayloadSettings::default() };
        let mut table = PayloadTable::new(&settings);
        for port in 0..1_000u16 {
            let key = FlowKey { src_port: port, ..tcp() };
            table.absorb(&samples(&[(key, 0, 0, &[b'x'; 700])]));
            assert!(table.stats().bytes <= 4_096 && table.stats().directions <= 16);
        }
        let stats = table.stats();
        assert_eq!(stats.flows_evicted, 1_000 - 16);
        assert!(stats.bytes_evicted > 900);
        assert!(table.holding.len() <= 2 * 16 * SIDES_PER_KEY_MAX + 1);
        // What was read of a side that let go of its bytes stays.
        let last = FlowKey { src_port: 990, ..tcp() };
        assert_eq!(table.facts(&record(last, 0)).forward.bytes, 700);
    }

    proptest! {
        #[test]
        fn batches_may_be_split_anywhere(payloads in prop::collection::vec((0u16..4, any::<bool>(), prop::collection::vec(any::<u8>(), 0..80)), 0..24), split in 0usize..24) {
            let settings = PayloadSettings { bytes_max: 400, ..PayloadSettings::default() };
            let entries: Vec<_> = payloads.iter().enumerate().map(|(at, (port, back, payload))| {
                let key = FlowKey { src_port: *port, ..tcp() };
                let key = if *back { key.reversed() } else { key };
                let index = payloads[..at].iter().filter(|(p, b, _)| (p, b) == (port, back)).count() as u32;
                (key, 0u64, index, payload.as_slice())
            }).collect();
            let split = split.min(entries.len());
            let (mut one, mut two) = (PayloadTable::new(&settings), PayloadTable::new(&settings));
            one.absorb(&samples(&entries));
            two.absorb(&samples(&entries[..split]));
            two.absorb(&samples(&entries[split..]));
            for port in 0..4 {
                let record = record(FlowKey { src_port: port, ..tcp() }, 0);
                prop_assert_eq!(one.facts(&record), two.facts(&record));
            }
            prop_assert_eq!(one.stats(), two.stats());
        }
    }
}
