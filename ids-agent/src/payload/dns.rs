//! Reads DNS messages: what is asked, and how it is answered. mDNS and LLMNR share the format.

use simple_dns::{Packet, QTYPE, TYPE};
use smallvec::SmallVec;

use super::{DNS_QUESTIONS_MAX, DnsFacts, DnsQuestion, text::text};

const HEADER: usize = 12;
/// A question in clear is at most a 255-byte name, a type and a class.
const QUESTION_BYTES_MAX: usize = 260;
/// A resource record is at least a root name, type, class, TTL and length.
const RECORD_BYTES_MIN: usize = 11;

/// What is read out of one message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    is_response: bool,
    rcode: u16,
    answers: u16,
    name: Vec<u8>,
    label_bytes_max: u32,
    qtype: u16,
    asks: bool,
}

/// Whether the ports of a UDP flow are those of a DNS-like protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// They are: a sound header is enough.
    Port,
    /// They are not: the whole message has to parse.
    None,
}

/// Reads a message of which `bytes` may be the front alone.
pub(super) fn message(bytes: &[u8], trust: Trust) -> Option<Message> {
    let &[_, _, flags, codes, q1, q0, a1, a0, n1, n0, x1, x0, ..] = bytes else { return None };
    let [questions, answers, servers, more] = [[q1, q0], [a1, a0], [n1, n0], [x1, x0]].map(u16::from_be_bytes);
    let opcode = flags >> 3 & 0x0f;
    let sound = opcode <= 6 && codes & 0x40 == 0 && questions <= 32;
    if !sound {
        return None;
    }
    let records = usize::from(answers) + usize::from(servers) + usize::from(more);
    // The parser reserves room for all announced records at once.
    let fits = records * RECORD_BYTES_MIN + usize::from(questions) * 5 <= bytes.len() - HEADER;
    match trust {
        Trust::Port => {}
        Trust::None if fits && questions + answers > 0 && Packet::parse(bytes).is_ok() => {}
        Trust::None => return None,
    }
    let mut message =
        Message { is_response: flags & 0x80 != 0, rcode: u16::from(codes & 0x0f), answers, ..Message::default() };
    if questions > 0 && !read_question(bytes, &mut message) && trust == Trust::None {
        return None;
    }
    Some(message)
}

/// Parses the first question alone, so that a cut tail or an odd record does no harm.
fn read_question(bytes: &[u8], message: &mut Message) -> bool {
    let mut alone = bytes.get(..HEADER + QUESTION_BYTES_MAX).unwrap_or(bytes).to_vec();
    if let Some(counts) = alone.get_mut(4..HEADER) {
        counts.copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
    }
    // The parser knows assigned types and classes only, yet tunnels use others: it gets A and IN.
    let mut at = HEADER;
    while let Some(&len @ 1..=63) = alone.get(at) {
        at += 1 + usize::from(len);
    }
    let Some(&[t1, t0]) = alone.get(at + 1..at + 3) else { return false };
    if let Some(kind) = alone.get_mut(at + 1..at + 5) {
        kind.copy_from_slice(&[0, 1, 0, 1]);
    }
    let Ok(packet) = Packet::parse(&alone) else { return false };
    let Some(question) = packet.questions.first() else { return false };
    message.asks = true;
    message.qtype = u16::from_be_bytes([t1, t0]);
    for label in question.qname.as_bytes() {
        if !message.name.is_empty() {
            message.name.push(b'.');
        }
        message.name.extend_from_slice(label);
        message.label_bytes_max = message.label_bytes_max.max(label.len() as u32);
    }
    true
}

/// Folds the messages of one direction into facts.
pub(super) fn gather(messages: &[Message], string_bytes_max: usize) -> Option<DnsFacts> {
    if messages.is_empty() {
        return None;
    }
    let mut facts = DnsFacts::default();
    let mut names: Vec<&[u8]> = Vec::new();
    for message in messages {
        if message.is_response {
            facts.responses += 1;
            facts.answers += u32::from(message.answers);
            facts.errors += u32::from(message.rcode != 0);
            facts.rcode.get_or_insert(message.rcode);
        } else {
            facts.queries += 1;
        }
        if !message.asks {
            continue;
        }
        if facts.query.is_none() {
            facts.query = Some(text(&message.name, string_bytes_max));
            facts.qtype = Some(type_label(message.qtype).into());
            facts.qtype_code = message.qtype;
        }
        facts.name_bytes_max = facts.name_bytes_max.max(message.name.len() as u32);
        facts.label_bytes_max = facts.label_bytes_max.max(message.label_bytes_max);
        if !names.contains(&message.name.as_slice()) {
            names.push(&message.name);
        }
    }
    facts.names = names.len() as u32;
    facts.questions = questions(messages);
    Some(facts)
}

/// The questions of messages, distinct and in their order.
pub(super) fn questions(messages: &[Message]) -> SmallVec<[DnsQuestion; 1]> {
    let asking = messages.iter().filter(|message| message.asks);
    let all: Vec<DnsQuestion> =
        asking.map(|message| DnsQuestion { name: plain(&message.name).into(), qtype: message.qtype }).collect();
    distinct(all.iter())
}

/// The first of each question, as many as are kept of a flow.
pub(super) fn distinct<'a>(asked: impl Iterator<Item = &'a DnsQuestion>) -> SmallVec<[DnsQuestion; 1]> {
    let mut questions: SmallVec<[DnsQuestion; 1]> = SmallVec::new();
    for question in asked {
        if questions.len() < DNS_QUESTIONS_MAX && !questions.contains(question) {
            questions.push(question.clone());
        }
    }
    questions
}

/// A name that can be compared and shown: lower case, and `?` for what no host name holds.
fn plain(name: &[u8]) -> String {
    let plain = |byte: &u8| match byte.to_ascii_lowercase() {
        byte @ (b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.') => char::from(byte),
        _ => '?',
    };
    name.iter().map(plain).collect()
}

/// What both directions say together; questions of the asking side come first.
pub(super) fn join(forward: Option<&DnsFacts>, backward: Option<&DnsFacts>) -> Option<DnsFacts> {
    let (first, second) = match (forward, backward) {
        (None, None) => return None,
        (Some(one), None) | (None, Some(one)) => return Some(one.clone()),
        (Some(forward), Some(backward)) if forward.queries == 0 && backward.queries > 0 => (backward, forward),
        (Some(forward), Some(backward)) => (forward, backward),
    };
    let named = if first.query.is_some() { first } else { second };
    Some(DnsFacts {
        query: named.query.clone(),
        qtype: named.qtype.clone(),
        qtype_code: named.qtype_code,
        rcode: second.rcode.or(first.rcode),
        queries: first.queries + second.queries,
        responses: first.responses + second.responses,
        answers: first.answers + second.answers,
        errors: first.errors + second.errors,
        name_bytes_max: first.name_bytes_max.max(second.name_bytes_max),
        label_bytes_max: first.label_bytes_max.max(second.label_bytes_max),
        // A response repeats the names of its queries.
        names: first.names.max(second.names),
        questions: named.questions.clone(),
    })
}

/// Messages over TCP stand behind a length of two bytes each.
pub(super) fn tcp_messages(mut bytes: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    while let [high, low, rest @ ..] = bytes {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        if len < HEADER {
            break;
        }
        let body = rest.get(..len).unwrap_or(rest);
        // The first message vouches for those behind it. A cut one is read as far as it goes.
        let trust = if messages.is_empty() && body.len() == len { Trust::None } else { Trust::Port };
        if messages.is_empty() && body.len() < len && !looks_like_cut_message(body) {
            break;
        }
        let Some(message) = message(body, trust) else { break };
        messages.push(message);
        bytes = rest.get(len..).unwrap_or(&[]);
    }
    messages
}

/// Whether the front of a message over TCP, the rest of which was not sampled, is sound enough to be trusted
/// without a port.
fn looks_like_cut_message(body: &[u8]) -> bool {
    let question_only = |body: &[u8]| {
        let mut message = Message::default();
        read_question(body, &mut message) && message.qtype != 0 && message.name.is_ascii()
    };
    matches!(*body, [_, _, flags, _, 0, 1, ..] if flags & 0x80 != 0) && question_only(body)
}

fn type_label(code: u16) -> String {
    match QTYPE::try_from(code) {
        Ok(QTYPE::TYPE(TYPE::Unknown(code))) => format!("TYPE{code}"),
        Ok(QTYPE::TYPE(known)) => format!("{known:?}"),
        Ok(other) => format!("{other:?}"),
        Err(_) => format!("TYPE{code}"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in crate::payload) fn query(name: &str, qtype: u16) -> Vec<u8> {
        let mut bytes = vec![0x12, 0x34, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.').filter(|label| !label.is_empty()) {
            bytes.push(label.len() as u8);
            bytes.extend_from_slice(label.as_bytes());
        }
        bytes.push(0);
        bytes.extend_from_slice(&qtype.to_be_bytes());
        bytes.extend_from_slice(&[0, 1]);
        bytes
    }

    pub(in crate::payload) fn response(name: &str, rcode: u8, answers: u16) -> Vec<u8> {
        let mut bytes = query(name, 1);
        bytes[2] = 0x81;
        bytes[3] = 0x80 | rcode;
        bytes[6..8].copy_from_slice(&answers.to_be_bytes());
        for _ in 0..answers {
            bytes.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
        }
        bytes
    }

    fn facts(messages: &[Vec<u8>], trust: Trust) -> Option<DnsFacts> {
        let messages: Vec<_> = messages.iter().filter_map(|bytes| message(bytes, trust)).collect();
        gather(&messages, 256)
    }

    #[test]
    fn a_question_and_its_answer_are_read() {
        let asked = facts(&[query("www.example.net", 28)], Trust::None);
        let answered = facts(&[response("www.example.net", 3, 0)], Trust::None);
        let joined = join(asked.as_ref(), answered.as_ref()).unwrap_or_default();
        assert_eq!(joined.query.as_deref(), Some("www.example.net"));
        assert_eq!((joined.qtype.as_deref(), joined.qtype_code), (Some("AAAA"), 28));
        assert_eq!((joined.rcode_label(), joined.errors), (Some("NXDOMAIN"), 1));
        assert_eq!((joined.queries, joined.responses, joined.names), (1, 1, 1));
        assert_eq!((joined.name_bytes_max, joined.label_bytes_max), (15, 7));
    }

    #[test]
    fn questions_are_kept_whole_and_plain() {
        let long = format!("{0}.{0}.{0}.example.net", "Ab9".repeat(20));
        let asked = [query(&long, 16), query("t\u{e9}\u{1b}[1m.example.net", 10), query(&long, 16)];
        let facts = facts(&asked, Trust::Port).unwrap_or_default();
        let names: Vec<_> = facts.questions.iter().map(|question| (&*question.name, question.qtype)).collect();
        let long = long.to_ascii_lowercase();
        assert_eq!(names, [(long.as_str(), 16), ("t????1m.example.net", 10)]);
    }

    #[test]
    fn odd_types_and_cut_answers_still_give_the_question() {
        let private = facts(&[query("t.example.net", 65_399)], Trust::Port).unwrap_or_default();
        assert_eq!((private.query.as_deref(), private.qtype.as_deref()), (Some("t.example.net"), Some("TYPE65399")));
        let cut = response("www.example.net", 0, 20);
        let cut = facts(&[cut[..60].to_vec()], Trust::Port).unwrap_or_default();
        assert_eq!((cut.query.as_deref(), cut.answers), (Some("www.example.net"), 20));
    }

    #[test]
    fn messages_over_tcp_stand_behind_their_length() {
        let (first, second) = (query("a.example.net", 1), query("b.example.net", 16));
        let framed = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes(), bytes].concat();
        let stream = [framed(&first), framed(&second)].concat();
        let gathered = gather(&tcp_messages(&stream), 256).unwrap_or_default();
        assert_eq!((gathered.queries, gathered.names), (2, 2));
        assert!(tcp_messages(b"\x00\x20 some other protocol entirely, in text").is_empty());
    }

    #[test]
    fn a_port_is_not_needed_where_the_whole_message_parses() {
        assert!(facts(&[response("www.example.net", 0, 2)], Trust::None).is_some());
        assert!(facts(&[b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c".to_vec()], Trust::None).is_none());
        assert!(facts(&[vec![0; 64]], Trust::None).is_none());
    }

    #[test]
    fn a_message_that_announces_too_much_is_not_reserved_for() {
        let mut bytes = query("www.example.net", 1);
        bytes[6..12].fill(0xff);
        assert_eq!(message(&bytes, Trust::None), None);
    }

    proptest! {
        #[test]
        fn changed_messages_are_data(changes in prop::collection::vec((0usize..80, any::<u8>()), 0..20), cut in 0usize..80) {
            let mut bytes = response("www.example.net", 0, 2);
            for (at, value) in changes {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            bytes.truncate(cut);
            for trust in [Trust::Port, Trust::None] {
                if let Some(message) = message(&bytes, trust) {
                    let _ = gather(&[message], 64);
                }
            }
            let _ = tcp_messages(&bytes);
        }

        #[test]
        fn any_bytes_are_data(bytes: Vec<u8>) {
            let _ = message(&bytes, Trust::Port);
            let _ = message(&bytes, Trust::None);
            let _ = tcp_messages(&bytes);
        }
    }
}
