//! One direction of one flow: its sampled bytes in order, and what is read out of them.

use ids_common::{flow::FlowKey, wire};
use smallvec::SmallVec;

use super::{
    ByteFacts, DnsFacts, DnsQuestion, HttpFacts, SampledPacket, TlsFacts,
    bytes::{alike, byte_facts},
    dns, http,
    login::{self, LoginSigns},
    mqtt,
    recognise::{self, Guess},
    signs::{self, Contexts, Piece, Pieces, Place, Signs},
    text::text,
    tls,
};
use crate::{payload::AppProto, source::Sample};

const PORT_DNS: u16 = 53;
const PORT_MDNS: u16 = 5353;
const PORT_LLMNR: u16 = 5355;
/// Longest identification string that SSH allows (RFC 4253, section 4.2).
const SSH_BANNER_BYTES_MAX: usize = 255;

/// Samples taken of one direction between two silences.
const SAMPLES_MAX: usize = 48;
/// Facts are read out of samples among so many of the first payload packets, however many more are sampled: models were
/// fitted on what these say. Signs and questions are looked for in all.
const FACT_PACKETS: u32 = ids_common::limits::SAMPLE_PACKETS_DEFAULT;

/// Whether samples are searched for attack patterns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Search {
    #[default]
    Patterns,
    /// Names, versions and logins alone.
    FactsAlone,
}

/// How bytes are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) string_bytes_max: usize,
    pub(super) search: Search,
}

/// What came of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pushed {
    /// Bytes now held.
    pub(super) bytes: usize,
    /// Whether it goes on where the last one ended, so that facts are read out of it too.
    pub(super) read: bool,
}

/// Bytes of a direction that may still grow.
#[derive(Debug, Default)]
struct Raw {
    bytes: Vec<u8>,
    marks: SmallVec<[Mark; 3]>,
    /// Where each sample ends: datagrams are messages of their own.
    pieces: SmallVec<[Piece; 3]>,
    /// Samples that facts are read out of, and their bytes in front of the first gap or cut.
    fact_pieces: usize,
    whole: usize,
}

/// What is kept of a sample beside its bytes.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// In microseconds after the slot's first packet.
    after_us: u32,
    /// Which payload packet of its slot it is.
    index: u32,
    /// Bytes that were cut off.
    cut: u16,
}

/// What one direction says, before both are joined.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct SideFacts {
    pub(super) guess: Guess,
    pub(super) bytes: ByteFacts,
    pub(super) tls: Option<Box<TlsFacts>>,
    pub(super) dns: Option<Box<DnsFacts>>,
    pub(super) http: Option<Box<HttpFacts>>,
    pub(super) ssh: Option<std::sync::Arc<str>>,
    pub(super) login: LoginSigns,
    /// Logins that this side refused, in all samples.
    pub(super) refusals: u8,
    /// Of an MQTT packet on average; 0 where that is unknown.
    pub(super) message_bytes: u16,
    pub(super) signs: Signs,
    /// What was asked in all samples.
    pub(super) questions: SmallVec<[DnsQuestion; 1]>,
    /// Where calls stand, for what comes behind a silence.
    contexts: Contexts,
}

#[derive(Debug)]
pub(super) struct Side {
    pub(super) slot_first_seen_ns: u64,
    pub(super) facts: SideFacts,
    next_index: u32,
    /// Whether the last sample was whole, so that the next one may go on there.
    uncut: bool,
    /// Whether the stream may go on: no gap and no cut so far.
    whole: bool,
    raw: Option<Raw>,
    stale: bool,
}

impl Side {
    pub(super) fn new(slot_first_seen_ns: u64) -> Self {
        Self {
            slot_first_seen_ns,
            facts: SideFacts::default(),
            next_index: 0,
            uncut: true,
            whole: true,
            raw: Some(Raw::default()),
            stale: false,
        }
    }

    /// Bytes held.
    pub(super) fn held_bytes(&self) -> usize {
        self.raw.as_ref().map_or(0, |raw| raw.bytes.len())
    }

    /// Appends a sample. In a stream, what stands behind a gap or a cut is looked at for signs alone. A datagram
    /// stands alone, so a gap in front of it does no harm. Nothing is taken once the bytes were let go.
    pub(super) fn push(&mut self, sample: &Sample, payload: &[u8]) -> Option<Pushed> {
        let stream = sample.key.proto != wire::PROTO_UDP;
        let raw = self.raw.as_mut()?;
        if raw.pieces.len() >= SAMPLES_MAX || (stream && sample.index < self.next_index) {
            self.whole &= !stream;
            return Some(Pushed { bytes: 0, read: false });
        }
        let joined = self.uncut && sample.index == self.next_index;
        self.whole &= joined || !stream;
        let in_facts = sample.index < FACT_PACKETS;
        raw.bytes.extend_from_slice(payload);
        let after_us = sample.seen_ns.saturating_sub(sample.slot_first_seen_ns) / 1_000;
        let cut = sample.payload_len.saturating_sub(sample.captured);
        raw.marks.push(Mark {
            after_us: u32::try_from(after_us).unwrap_or(u32::MAX),
            index: sample.index,
            cut: u16::try_from(cut).unwrap_or(u16::MAX),
        });
        raw.pieces.push(Piece { end: raw.bytes.len() as u32, wire_len: sample.payload_len, joined: joined && stream });
        if in_facts {
            raw.fact_pieces = raw.pieces.len();
        }
        if in_facts && self.whole {
            raw.whole = raw.bytes.len();
        }
        self.next_index = sample.index.saturating_add(1);
        self.uncut = sample.captured >= sample.payload_len;
        self.stale = true;
        Some(Pushed { bytes: payload.len(), read: in_facts && self.whole })
    }

    /// The samples held, to the microsecond; none where the bytes were let go.
    pub(super) fn packets(&self, key: &FlowKey) -> Option<Vec<SampledPacket>> {
        let raw = self.raw.as_ref()?;
        let packet = |(bytes, mark): (&[u8], &Mark)| SampledPacket {
            key: *key,
            slot_first_seen_ns: self.slot_first_seen_ns,
            seen_ns: self.slot_first_seen_ns.saturating_add(u64::from(mark.after_us) * 1_000),
            index: mark.index,
            payload_len: bytes.len() as u32 + u32::from(mark.cut),
            bytes: bytes.into(),
        };
        Some(raw.datagrams().zip(&raw.marks).map(packet).collect())
    }

    /// Reads the bytes anew if some came since. `before` is the stretch in front of the silence that this one began behind.
    fn refresh(&mut self, before: Option<&SideFacts>, key: &FlowKey, reading: Reading) -> News {
        let Some(raw) = self.raw.as_ref().filter(|_| self.stale) else { return News::None };
        let mut facts = raw.read(before, key, reading);
        if reading.search == Search::FactsAlone {
            // What was found while there was a search stays found.
            facts.signs = self.facts.signs.clone();
        }
        let news = if facts.signs == self.facts.signs { News::None } else { News::Signs };
        self.facts = facts;
        self.stale = false;
        news
    }

    /// Takes over what an earlier stretch of the same direction said.
    pub(super) fn inherit(&mut self, earlier: Self) {
        self.facts.signs = Signs::of_all([&earlier.facts.signs, &self.facts.signs].into_iter());
        self.facts.refusals = self.facts.refusals.saturating_add(earlier.facts.refusals);
        let asked = earlier.facts.questions.iter().chain(&self.facts.questions);
        self.facts.questions = dns::distinct(asked);
    }

    /// Lets the bytes go, which must have been read: the facts stand as they are from now on.
    pub(super) fn settle(&mut self) -> usize {
        self.raw.take().map_or(0, |raw| raw.bytes.len())
    }
}

/// What reading anew brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    None,
    /// Other signs than before.
    Signs,
}

/// Reads the stretches of one direction anew where samples came since, in the order of time.
pub(super) fn refresh(sides: &mut [Side], key: &FlowKey, reading: Reading) -> News {
    let mut news = News::None;
    for at in 0..sides.len() {
        let (before, rest) = sides.split_at_mut(at);
        let Some(side) = rest.first_mut() else { continue };
        if side.refresh(before.last().map(|side| &side.facts), key, reading) == News::Signs {
            news = News::Signs;
        }
    }
    news
}

impl Raw {
    fn read(&self, before: Option<&SideFacts>, key: &FlowKey, reading: Reading) -> SideFacts {
        let Reading { string_bytes_max, search } = reading;
        let mut facts = SideFacts { bytes: byte_facts(self.whole()), ..SideFacts::default() };
        match key.proto {
            wire::PROTO_TCP | wire::PROTO_SCTP => {
                self.read_stream(&mut facts, string_bytes_max);
                // Behind a silence a stream may go on anywhere: it still speaks what it spoke before.
                if let Some(before) = before {
                    facts.contexts = before.contexts.clone();
                    if !matches!(facts.guess, Guess::Known(_)) {
                        facts.guess = before.guess;
                    }
                }
                facts.refusals = match facts.guess {
                    Guess::Known(app) => login::refusals(app, &self.bytes),
                    Guess::Greeting220 => login::refusals(AppProto::Ftp, &self.bytes),
                    // Over NetBIOS a server's consent to the session comes first.
                    Guess::Nothing => login::refusals(AppProto::Smb, &self.bytes),
                    Guess::UserCommand => 0,
                };
                if search == Search::FactsAlone {
                    return facts;
                }
                let place = if before.is_some() { Place::BehindSilence } else { Place::Beginning };
                facts.signs = signs::of_stream(facts.guess, place, &self.pieces(), &mut facts.contexts);
                if let Some(certificate) = facts.tls.as_ref().and_then(|tls| tls.certificate.as_deref()) {
                    facts.signs.add_certificate(certificate);
                }
            }
            wire::PROTO_UDP => {
                facts.bytes.alike = alike(self.datagrams().take(self.fact_pieces));
                self.read_datagrams(key, &mut facts, string_bytes_max);
                if search == Search::FactsAlone {
                    return facts;
                }
                facts.signs = signs::of_datagrams(&self.pieces(), [key.src_port, key.dst_port]);
            }
            _ => {}
        }
        facts
    }

    fn whole(&self) -> &[u8] {
        self.bytes.get(..self.whole).unwrap_or(&[])
    }

    fn pieces(&self) -> Pieces<'_> {
        Pieces { bytes: &self.bytes, pieces: &self.pieces }
    }

    fn read_stream(&self, facts: &mut SideFacts, string_bytes_max: usize) {
        let bytes = self.whole();
        facts.guess = recognise::stream(bytes);
        match facts.guess {
            Guess::Known(AppProto::Tls) => facts.tls = tls::hello(bytes, string_bytes_max).map(Box::new),
            Guess::Known(AppProto::Http) => {
                let http = http::request(bytes, string_bytes_max).or_else(|| http::response(bytes, string_bytes_max));
                if http.as_ref().is_some_and(|http| http.method.is_some()) {
                    facts.login.tried = login::http_request_tries(bytes);
                } else {
                    facts.login.failed_if_tried = login::http_answer_refuses(bytes);
                }
                facts.http = http.map(Box::new);
            }
            Guess::Known(AppProto::Ssh) => {
                let line = bytes.split(|b| matches!(b, b'\r' | b'\n')).next().unwrap_or(&[]);
                facts.ssh = Some(text(line, string_bytes_max.min(SSH_BANNER_BYTES_MAX)));
            }
            Guess::Known(app) => {
                facts.login = login::signs(app, bytes);
                if app == AppProto::Mqtt {
                    facts.message_bytes = mqtt::packet_bytes(bytes);
                }
            }
            // Either may turn out to be FTP once the other side is known; its signs fit no other.
            Guess::Greeting220 | Guess::UserCommand => facts.login = login::signs(AppProto::Ftp, bytes),
            Guess::Nothing => {
                let messages = dns::tcp_messages(bytes);
                if !messages.is_empty() {
                    facts.guess = Guess::Known(AppProto::Dns);
                    facts.dns = dns::gather(&messages, string_bytes_max).map(Box::new);
                }
            }
        }
    }

    fn read_datagrams(&self, key: &FlowKey, facts: &mut SideFacts, string_bytes_max: usize) {
        let ports = [key.src_port, key.dst_port];
        let (app, trust) = if ports.contains(&PORT_MDNS) {
            (AppProto::Mdns, dns::Trust::Port)
        } else if ports.contains(&PORT_LLMNR) {
            (AppProto::Llmnr, dns::Trust::Port)
        } else if ports.contains(&PORT_DNS) {
            (AppProto::Dns, dns::Trust::Port)
        } else {
            (AppProto::Dns, dns::Trust::None)
        };
        facts.guess = self.datagrams().next().map_or(Guess::Nothing, |first| recognise::datagram(first, ports));
        if facts.guess != Guess::Nothing && trust == dns::Trust::None {
            if let Guess::Known(known) = facts.guess {
                facts.login = login::signs(known, &self.bytes);
            }
            return;
        }
        let messages = |count: usize| -> Vec<_> {
            self.datagrams().take(count).filter_map(|datagram| dns::message(datagram, trust)).collect()
        };
        let first = messages(self.fact_pieces);
        if !first.is_empty() {
            facts.guess = Guess::Known(app);
            facts.dns = dns::gather(&first, string_bytes_max).map(Box::new);
            facts.questions = dns::questions(&messages(usize::MAX));
        }
    }

    fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        let ends = self.pieces.iter().map(|piece| piece.end);
        let starts = std::iter::once(0).chain(ends.clone());
        starts.zip(ends).filter_map(|(start, end)| self.bytes.get(start as usize..end as usize))
    }
}
