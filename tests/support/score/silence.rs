//! Why no right alert came of a capture, as far as the capture itself shows it. Judges no detector: what holds nothing to see
//! is told apart from what was not seen.

use std::{collections::BTreeSet, path::Path};

use ids_agent::source::pcap::Frames;
use ids_common::{
    flow::FlowKey,
    parse::{Frame, parse},
};

/// Why a capture of an attack has no right alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Silence {
    /// It was told, and in another class than its label's family.
    OtherClass,
    /// No packet of an attack flow has a byte of payload on file.
    NoPayload,
    /// Every answer over HTTP ends inside its head: the capture was cut short, and of what the servers sent, be it an attack on
    /// their visitors, not one byte is on file.
    AnswersCut,
    /// It holds something, and nothing was said.
    Unseen,
}

impl Silence {
    pub const ALL: [Self; 4] = [Self::OtherClass, Self::NoPayload, Self::AnswersCut, Self::Unseen];

    pub fn name(self) -> &'static str {
        match self {
            Self::OtherClass => "other_class",
            Self::NoPayload => "no_payload",
            Self::AnswersCut => "answers_cut",
            Self::Unseen => "unseen",
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Self::OtherClass => "told in another class",
            Self::NoPayload => "no byte of payload on file",
            Self::AnswersCut => "no byte of an answer's body on file",
            Self::Unseen => "nothing said",
        }
    }
}

/// What a capture that was said nothing of holds of its attack flows; none stand for all flows.
pub fn of_capture(capture: &Path, attacks: &[FlowKey]) -> Result<Silence, String> {
    let wanted: BTreeSet<_> = attacks.iter().flat_map(|key| [*key, key.reversed()]).map(|key| tuple(&key)).collect();
    let mut frames = Frames::open(capture).map_err(|error| error.to_string())?;
    let mut held = Held::default();
    while let Some(frame) = frames.step().map_err(|error| error.to_string())? {
        let meta = frame.link.link().and_then(|link| parse(&Frame::new(frame.bytes, frame.wire_len), link).ok());
        let Some(meta) = meta.filter(|meta| wanted.is_empty() || wanted.contains(&tuple(&meta.key))) else { continue };
        let end = (meta.payload_at as usize).saturating_add(meta.payload_len as usize).min(frame.bytes.len());
        held.add(frame.bytes.get(meta.payload_at as usize..end).unwrap_or(&[]), meta.key.src_port);
    }
    Ok(held.silence())
}

/// What payloads amount to.
#[derive(Debug, Default)]
struct Held {
    bytes: usize,
    answers: usize,
    /// What servers of HTTP sent behind a head.
    body_bytes: usize,
    /// Ports from which answers came, and what else came from ports that are none.
    servers: BTreeSet<u16>,
    other_bytes: usize,
}

impl Held {
    fn add(&mut self, payload: &[u8], from: u16) {
        self.bytes += payload.len();
        if payload.starts_with(b"HTTP/1.") {
            self.answers += 1;
            self.servers.insert(from);
            let end = payload.windows(4).position(|four| four == b"\r\n\r\n").map_or(payload.len(), |at| at + 4);
            self.body_bytes += payload.len() - end;
        } else if self.servers.contains(&from) {
            self.body_bytes += payload.len();
        } else if !is_request(payload) {
            self.other_bytes += payload.len();
        }
    }

    fn silence(&self) -> Silence {
        if self.bytes == 0 {
            Silence::NoPayload
        } else if self.answers > 0 && self.body_bytes == 0 && self.other_bytes == 0 {
            Silence::AnswersCut
        } else {
            Silence::Unseen
        }
    }
}

fn is_request(payload: &[u8]) -> bool {
    [&b"GET "[..], b"HEAD ", b"POST ", b"OPTIONS "].iter().any(|method| payload.starts_with(method))
}

/// A flow as lines name it.
fn tuple(key: &FlowKey) -> ([u8; 16], [u8; 16], u16, u16, u8) {
    (key.src, key.dst, key.src_port, key.dst_port, key.proto)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence(payloads: &[(&str, u16)]) -> Silence {
        let mut held = Held::default();
        payloads.iter().for_each(|(payload, from)| held.add(payload.as_bytes(), *from));
        held.silence()
    }

    #[test]
    fn what_holds_nothing_is_told_from_what_was_not_seen() {
        let request = ("GET /a.html HTTP/1.1\r\nHost: a\r\n\r\n", 1_000);
        let head = ("HTTP/1.1 200 OK\r\nContent-Le", 80);
        assert_eq!(silence(&[("", 1_000), ("", 80)]), Silence::NoPayload);
        assert_eq!(silence(&[request, head]), Silence::AnswersCut);
        assert_eq!(silence(&[request, head, ("<script>", 80)]), Silence::Unseen);
        assert_eq!(silence(&[request, ("HTTP/1.1 200 OK\r\n\r\n<", 80)]), Silence::Unseen);
        assert_eq!(silence(&[request]), Silence::Unseen);
        assert_eq!(silence(&[request, head, ("220 ready\r\n", 21)]), Silence::Unseen);
    }
}
