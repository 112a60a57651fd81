//! What payload samples reveal of a flow: protocol, names, fingerprints, login outcome, entropy.
//!
//! Pure. Formats are read by well-kept parsers; bytes that fit none are data, never an error.
//! Protocols are told by what the peers send, never by a TCP port.

use std::sync::Arc;

use ids_common::flow::FlowKey;

use crate::source::Sample;

mod app;
mod bytes;
mod certificate;
mod dns;
mod facts;
mod http;
mod ja3;
mod login;
mod mqtt;
mod recognise;
mod side;
mod signs;
mod table;
mod text;
mod tls;

pub use app::AppProto;
pub use facts::{
    ByteFacts, CertificateFacts, DnsFacts, DnsQuestion, FlowSigns, HttpFacts, Login, PayloadFacts, SshFacts, TlsFacts,
};
pub use side::Search;
use side::{Reading, Side, SideFacts};
use signs::Signs;
pub use signs::{Sign, SignKind};
pub use table::{PayloadStats, PayloadTable};

/// Questions kept of one flow.
const DNS_QUESTIONS_MAX: usize = 16;

/// Text of another sensor, made fit to be shown.
pub(crate) fn escaped(bytes: &[u8]) -> Arc<str> {
    text::text(bytes, HEARD_BYTES_MAX)
}

/// Longest string taken over from another sensor, in bytes.
const HEARD_BYTES_MAX: usize = 256;

/// One sampled payload with the key of its direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampledPacket {
    pub key: FlowKey,
    /// Which record of the key it belongs to.
    pub slot_first_seen_ns: u64,
    pub seen_ns: u64,
    /// Which payload packet of its record it is, from zero.
    pub index: u32,
    /// Payload bytes of the packet on the wire; `bytes` may be fewer.
    pub payload_len: u32,
    pub bytes: Box<[u8]>,
}

/// What the samples of one flow say, read anew; `key` is its initiator's direction.
pub fn read(key: &FlowKey, packets: &[SampledPacket], string_bytes_max: usize) -> PayloadFacts {
    let sides = |key: FlowKey| {
        let mut sides: Vec<Side> = Vec::new();
        for packet in packets.iter().filter(|packet| packet.key == key) {
            let sample = Sample {
                key,
                seen_ns: packet.seen_ns,
                slot_first_seen_ns: packet.slot_first_seen_ns,
                payload_len: packet.payload_len,
                index: packet.index,
                payload_start: 0,
                captured: u32::try_from(packet.bytes.len()).unwrap_or(u32::MAX),
            };
            if sides.last().is_none_or(|side| side.slot_first_seen_ns != packet.slot_first_seen_ns) {
                sides.push(Side::new(packet.slot_first_seen_ns));
            }
            if let Some(side) = sides.last_mut() {
                side.push(&sample, &packet.bytes);
            }
        }
        side::refresh(&mut sides, &key, Reading { string_bytes_max, search: Search::Patterns });
        sides
    };
    let (forward, backward) = (sides(*key), sides(key.reversed()));
    join(&forward.iter().collect::<Vec<_>>(), &backward.iter().collect::<Vec<_>>())
}

/// Joins what both directions say, each in its stretches between silences: facts are those of the first, signs and questions
/// those of all.
fn join(forward: &[&Side], backward: &[&Side]) -> PayloadFacts {
    if forward.is_empty() && backward.is_empty() {
        return PayloadFacts::default();
    }
    let signs = join_signs(forward, backward);
    let asked = forward.iter().chain(backward).flat_map(|side| &side.facts.questions);
    let questions = dns::distinct(asked);
    let refusals = forward.iter().chain(backward).fold(0u8, |sum, side| sum.saturating_add(side.facts.refusals));
    let nothing = SideFacts::default();
    let forward = forward.first().map_or(&nothing, |side| &side.facts);
    let backward = backward.first().map_or(&nothing, |side| &side.facts);
    let app = recognise::settle(forward.guess, backward.guess);
    let tls = tls::join(forward.tls.as_deref(), backward.tls.as_deref());
    let mut dns = dns::join(forward.dns.as_deref(), backward.dns.as_deref());
    if let Some(dns) = &mut dns {
        dns.questions = dns::distinct(dns.questions.iter().chain(&questions));
    }
    let http = http::join(forward.http.as_deref(), backward.http.as_deref());
    let login =
        login_of(app, forward, backward, |login| http.as_ref().map_or(login, |http| login::http_outcome(login, http)));
    let ssh = (forward.ssh.is_some() || backward.ssh.is_some())
        .then(|| SshFacts { client: forward.ssh.clone(), server: backward.ssh.clone() });
    PayloadFacts {
        app,
        tls: tls.map(Box::new),
        dns: dns.map(Box::new),
        http: http.map(Box::new),
        ssh: ssh.map(Box::new),
        login,
        refusals,
        message_bytes: forward.message_bytes,
        forward: forward.bytes,
        backward: backward.bytes,
        signs,
        heard: None,
    }
}

/// What of a flow's facts its hosts' windows count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spoken {
    pub app: AppProto,
    pub login: Login,
}

impl From<&PayloadFacts> for Spoken {
    fn from(facts: &PayloadFacts) -> Self {
        Self { app: facts.app, login: facts.login }
    }
}

/// The same that `join` says of both, without the rest.
fn spoken(forward: &[&Side], backward: &[&Side]) -> Spoken {
    let nothing = SideFacts::default();
    let forward = forward.first().map_or(&nothing, |side| &side.facts);
    let backward = backward.first().map_or(&nothing, |side| &side.facts);
    let app = recognise::settle(forward.guess, backward.guess);
    let login = login_of(app, forward, backward, |login| {
        let http = http::join(forward.http.as_deref(), backward.http.as_deref());
        http.map_or(login, |http| login::http_outcome(login, &http))
    });
    Spoken { app, login }
}

/// How a login went; a page may say it of one that was tried.
fn login_of(app: AppProto, forward: &SideFacts, backward: &SideFacts, of_page: impl FnOnce(Login) -> Login) -> Login {
    match app {
        AppProto::Unknown => Login::None,
        _ => match forward.login.settle(backward.login) {
            Login::Tried => of_page(Login::Tried),
            settled => settled,
        },
    }
}

fn join_signs(forward: &[&Side], backward: &[&Side]) -> Option<Arc<FlowSigns>> {
    if forward.iter().chain(backward).all(|side| side.facts.signs.is_empty()) {
        return None;
    }
    let all = |sides: &[&Side]| Signs::of_all(sides.iter().map(|side| &side.facts.signs)).into_found();
    Some(Arc::new(FlowSigns { forward: all(forward), backward: all(backward) }))
}
