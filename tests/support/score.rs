//! Scores what the agent said of one labelled capture. Reads the agent's lines and a label; runs
//! nothing, and adds no captures up: `score/report.rs` does.

use std::{collections::BTreeMap, net::IpAddr};

use chrono::DateTime;
use ids_agent::{
    detect::{Class, Witness, signature::TOLD_FROM},
    flow::proto_label,
};
use ids_common::flow::FlowKey;
use serde::Deserialize;

use crate::labels::Label;

mod evasion;
mod figures;
mod joined;
mod reliability;
mod report;
mod silence;

pub use evasion::{Evasion, Tried};
pub use joined::{JoinCount, Joined, Pair};
pub use reliability::{Band, Told};
pub use report::{Report, report};
pub use silence::{Silence, of_capture as silence_of};

/// Silence of a benign capture longer than this is no time in which an alert could have come: flows
/// idle out far sooner, and a replay skips over it. Some captures hold packets of different years.
const SILENCE_US_MAX: i64 = 600 * 1_000_000;

/// The agent judges and speaks at the end of each tick of its time axis (`flow.tick_millis`).
const TICK_US: i64 = 500_000;

/// What a label's family says of the flows that its filter picks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    Benign,
    Attack(Class),
    /// Something malicious goes on, but no flow of it is told apart.
    Scenario,
}

impl Family {
    /// Families of attacks go by the name of the agent's class, but for a few.
    pub fn of(name: &str) -> Option<Self> {
        let class = match name {
            "BENIGN" => return Some(Self::Benign),
            "MALWARE_MIXED" => return Some(Self::Scenario),
            "DOS_FLOOD" | "DDOS" => Class::Flood,
            "DOS_APP" => Class::AppDos,
            "BOT_C2" => Class::C2,
            brute if brute.starts_with("BRUTE_") => Class::BruteForce,
            other => Class::from_name(&other.to_lowercase())?,
        };
        // That something is unusual is no family of attacks.
        (class != Class::Anomaly && class != Class::Benign).then_some(Self::Attack(class))
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Benign => Class::Benign.name(),
            Self::Attack(class) => class.name(),
            Self::Scenario => "malware_mixed",
        }
    }

    /// Whether an alert of this class is right for a capture of the family.
    fn is_told_by(self, class: Class) -> bool {
        match self {
            Self::Benign => false,
            Self::Attack(family) => class == family,
            Self::Scenario => class != Class::Benign,
        }
    }
}

/// What a flow is by its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Truth {
    /// A flow of a benign capture, or a flow that a filter picks.
    Labelled(Class),
    /// A flow of an attack capture that its filter does not pick.
    Background,
    /// A flow of a capture whose family tells no flows apart.
    Scenario,
}

/// Whose word counts: the agent's answer, or that of one witness alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Voice {
    Together,
    Alone(Witness),
}

impl Voice {
    /// Silent where no Suricata is heard.
    pub const SURICATA: Self = Self::Alone(Witness::Signature);

    pub const ALL: [Self; 7] = [
        Self::Together,
        Self::Alone(Witness::Classifier),
        Self::Alone(Witness::Anomaly),
        Self::Alone(Witness::Behaviour),
        Self::Alone(Witness::Payload),
        Self::Alone(Witness::Intel),
        Self::SURICATA,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Together => "together",
            Self::Alone(witness) => witness.name(),
        }
    }
}

/// What one voice said of one capture, or of several.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said {
    /// Flows by what they are and what they were called.
    pub flows: BTreeMap<(Truth, Class), u64>,
    /// Alert lines.
    pub alerts: u64,
    /// Whether one of them was right for the capture's family.
    pub alerted: bool,
    /// From the capture's first attack packet to the end of the tick of the first right alert.
    pub first_alert_secs: Option<f64>,
}

impl Said {
    /// Whether it called anything an attack.
    pub(crate) fn spoke(&self) -> bool {
        self.alerts > 0 || self.flows.keys().any(|(_, class)| *class != Class::Benign)
    }
}

/// The score of one capture.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    pub path: String,
    pub source: String,
    pub family: Family,
    /// Capture time with packets in it, where the capture is benign.
    pub benign_secs: f64,
    pub said: BTreeMap<Voice, Said>,
    /// Why no right alert came of an attack, where it was looked for.
    pub silence: Option<Silence>,
    /// Every alert line, with what it was told with.
    pub told: Vec<Told>,
}

impl Scored {
    /// Whether it is an attack of which no right alert came.
    pub fn is_missed(&self) -> bool {
        self.family != Family::Benign && !self.said[&Voice::Together].alerted
    }
}

/// Scores the agent's flow and alert lines of a capture against its label.
pub fn score(label: &Label, flows: &str, alerts: &str) -> Result<Scored, String> {
    let family = Family::of(&label.family).ok_or(format!("`{}` is no family that is known", label.family))?;
    let flows = lines::<FlowLine>(flows)?.into_iter().map(Flow::try_from).collect::<Result<Vec<_>, _>>()?;
    let alerts = lines::<AlertLine>(alerts)?.into_iter().map(Alert::try_from).collect::<Result<Vec<_>, _>>()?;
    let is_attack = |flow: &&Flow| family != Family::Benign && label.filter.matches(&flow.key);
    let began_us = flows.iter().filter(is_attack).map(|flow| flow.start_us).min();
    let said = Voice::ALL.into_iter().map(|voice| {
        let mut said =
            Said { alerts: alerts.iter().filter(|alert| alert.says(voice)).count() as u64, ..Said::default() };
        for flow in &flows {
            let truth = match family {
                Family::Benign => Truth::Labelled(Class::Benign),
                Family::Scenario => Truth::Scenario,
                Family::Attack(class) if is_attack(&flow) => Truth::Labelled(class),
                Family::Attack(_) => Truth::Background,
            };
            *said.flows.entry((truth, flow.opinion.of(voice))).or_default() += 1;
        }
        let right = |alert: &&Alert| {
            family.is_told_by(alert.opinion.of(voice)) && began_us.is_none_or(|began| alert.at_us >= began)
        };
        let first_us = alerts.iter().filter(right).map(|alert| alert.at_us).min();
        said.alerted = first_us.is_some();
        said.first_alert_secs = first_us.zip(began_us).map(|(first, began)| (first - began) as f64 / 1e6);
        (voice, said)
    });
    let said = said.collect();
    let right =
        |alert: &Alert| family.is_told_by(alert.opinion.class) && began_us.is_none_or(|began| alert.at_us >= began);
    let told = alerts.iter().map(|alert| Told { confidence: alert.confidence, right: right(alert) }).collect();
    let benign_secs = if family == Family::Benign { busy_us(&flows) as f64 / 1e6 } else { 0.0 };
    let (path, source) = (label.path.clone(), label.source.clone());
    Ok(Scored { path, source, family, benign_secs, said, silence: None, told })
}

/// The attack flows that the agent's flow lines tell of, in their initiator's direction.
pub fn attack_flows(label: &Label, flows: &str) -> Result<Vec<FlowKey>, String> {
    let flows = lines::<FlowLine>(flows)?.into_iter().map(Flow::try_from).collect::<Result<Vec<_>, _>>()?;
    Ok(flows.into_iter().map(|flow| flow.key).filter(|key| label.filter.matches(key)).collect())
}

/// Time covered by flows, and by silence between them that is not too long.
fn busy_us(flows: &[Flow]) -> i64 {
    let mut spans: Vec<_> = flows.iter().map(|flow| (flow.start_us, flow.end_us)).collect();
    spans.sort_unstable();
    let mut busy_us = 0;
    let mut until_us = None;
    for (start, end) in spans {
        let from = match until_us {
            Some(until) if start - until <= SILENCE_US_MAX => until,
            Some(_) | None => start,
        };
        busy_us += (end - from).max(0);
        until_us = Some(until_us.map_or(end, |until: i64| until.max(end)));
    }
    busy_us
}

/// The class that the agent gave, and those that its witnesses gave.
#[derive(Debug)]
struct Opinion {
    class: Class,
    witnesses: Vec<Vote>,
}

impl Opinion {
    /// A witness alone says what it said most strongly; one that said nothing takes it for benign.
    fn of(&self, voice: Voice) -> Class {
        let witness = match voice {
            Voice::Together => return self.class,
            Voice::Alone(witness) => witness,
        };
        // A signature that is mostly noise calls nothing an attack.
        let called_from = if voice == Voice::SURICATA { f64::from(TOLD_FROM) } else { 0.0 };
        let votes = self.witnesses.iter().filter(|vote| vote.witness == witness.name() && vote.score >= called_from);
        let strongest = votes.max_by(|a, b| a.score.total_cmp(&b.score).then(b.class.cmp(&a.class)));
        strongest.map_or(Class::Benign, |vote| vote.class)
    }
}

#[derive(Debug)]
struct Flow {
    /// The initiator's direction.
    key: FlowKey,
    start_us: i64,
    end_us: i64,
    opinion: Opinion,
}

#[derive(Debug)]
struct Alert {
    /// When the agent spoke, unless it waited for the end of a flow before.
    at_us: i64,
    confidence: f64,
    opinion: Opinion,
}

impl Alert {
    fn says(&self, voice: Voice) -> bool {
        voice == Voice::Together || self.opinion.of(voice) != Class::Benign
    }
}

/// What is read of a flow line in the agent's native form.
#[derive(Debug, Deserialize)]
struct FlowLine {
    src_ip: IpAddr,
    dest_ip: IpAddr,
    #[serde(default)]
    src_port: u16,
    #[serde(default)]
    dest_port: u16,
    proto: String,
    flow: Span,
    ids: Ids,
}

#[derive(Debug, Deserialize)]
struct Span {
    start: String,
    end: String,
}

#[derive(Debug, Deserialize)]
struct AlertLine {
    timestamp: String,
    ids: AlertIds,
}

#[derive(Debug, Deserialize)]
struct AlertIds {
    confidence: f64,
    #[serde(flatten)]
    ids: Ids,
}

#[derive(Debug, Deserialize)]
struct Ids {
    class: Class,
    witnesses: Vec<Vote>,
}

#[derive(Debug, Deserialize)]
struct Vote {
    witness: String,
    class: Class,
    score: f64,
}

impl From<Ids> for Opinion {
    fn from(ids: Ids) -> Self {
        Self { class: ids.class, witnesses: ids.witnesses }
    }
}

impl TryFrom<FlowLine> for Flow {
    type Error = String;

    fn try_from(line: FlowLine) -> Result<Self, String> {
        let octets = |address: IpAddr| match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        let proto = (0..=u8::MAX).find(|proto| proto_label(*proto) == line.proto);
        let key = FlowKey {
            src: octets(line.src_ip),
            dst: octets(line.dest_ip),
            src_port: line.src_port,
            dst_port: line.dest_port,
            proto: proto.ok_or(format!("a flow line names the protocol `{}`", line.proto))?,
            kind: 0,
            vlan: 0,
        };
        let (start_us, end_us) = (micros(&line.flow.start)?, micros(&line.flow.end)?);
        Ok(Self { key, start_us, end_us, opinion: line.ids.into() })
    }
}

impl TryFrom<AlertLine> for Alert {
    type Error = String;

    fn try_from(line: AlertLine) -> Result<Self, String> {
        // The line has the time of the last packet that it rests on.
        let at_us = (micros(&line.timestamp)?.div_euclid(TICK_US) + 1) * TICK_US;
        Ok(Self { at_us, confidence: line.ids.confidence, opinion: line.ids.ids.into() })
    }
}

fn micros(time: &str) -> Result<i64, String> {
    let parsed = DateTime::parse_from_str(time, "%Y-%m-%dT%H:%M:%S%.f%z");
    Ok(parsed.map_err(|error| format!("a line has the time `{time}`: {error}"))?.timestamp_micros())
}

fn lines<'a, T: Deserialize<'a>>(text: &'a str) -> Result<Vec<T>, String> {
    let line = |(at, line)| serde_json::from_str(line).map_err(|error| format!("the agent's line {}: {error}", at + 1));
    text.lines().enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_map_to_the_agents_classes() {
        let of = |name| Family::of(name).map(Family::name);
        for (name, wanted) in [
            ("BENIGN", Some("benign")),
            ("DDOS", Some("flood")),
            ("DOS_FLOOD", Some("flood")),
            ("DOS_APP", Some("app_dos")),
            ("BRUTE_WEB", Some("brute_force")),
            ("BOT_C2", Some("c2")),
            ("EXFILTRATION", Some("exfiltration")),
            ("MALWARE_MIXED", Some("malware_mixed")),
            ("ANOMALY", None),
            ("PORTSCAN", None),
        ] {
            assert_eq!(of(name), wanted, "{name}");
        }
    }

    fn flow(start: i64, end: i64) -> Flow {
        let opinion = Opinion { class: Class::Benign, witnesses: Vec::new() };
        let key = FlowKey { src: [0; 16], dst: [0; 16], src_port: 0, dst_port: 0, proto: 6, kind: 0, vlan: 0 };
        Flow { key, start_us: start * 1_000_000, end_us: end * 1_000_000, opinion }
    }

    #[test]
    fn long_silence_is_no_capture_time() {
        assert_eq!(busy_us(&[]), 0);
        assert_eq!(busy_us(&[flow(0, 10), flow(5, 7)]), 10_000_000);
        // Ten seconds, 600 of silence, five: all of it counts.
        assert_eq!(busy_us(&[flow(610, 615), flow(0, 10)]), 615_000_000);
        // A second more of silence, and none of it does.
        assert_eq!(busy_us(&[flow(0, 10), flow(611, 616)]), 15_000_000);
    }

    #[test]
    fn a_witness_alone_says_what_it_said_most_strongly() {
        let vote = |witness: &str, class, score| Vote { witness: witness.to_owned(), class, score };
        let opinion = Opinion {
            class: Class::Flood,
            witnesses: vec![
                vote("classifier", Class::PortScan, 0.4),
                vote("classifier", Class::Flood, 0.7),
                vote("behaviour", Class::PortScan, 0.9),
            ],
        };
        assert_eq!(
            Voice::ALL.map(|voice| opinion.of(voice)),
            [Class::Flood, Class::Flood, Class::Benign, Class::PortScan, Class::Benign, Class::Benign, Class::Benign]
        );
    }

    #[test]
    fn a_line_of_another_form_is_an_error_that_says_which() {
        let label = Label {
            line: 2,
            path: "a.pcap".into(),
            family: "BENIGN".into(),
            source: "lab".into(),
            filter: crate::labels::Filter::parse("none").unwrap(),
        };
        assert!(score(&label, "", "").is_ok());
        let error = score(&label, "", "{\"timestamp\": 1}").unwrap_err();
        assert!(error.contains("line 1"), "{error}");
        let odd = r#"{"timestamp":"yesterday","ids":{"class":"flood","confidence":0.5,"witnesses":[]}}"#;
        assert!(score(&label, "", odd).unwrap_err().contains("yesterday"));
    }

    #[test]
    fn alerts_count_from_the_first_attack_packet_and_for_the_right_family() {
        let flow = |src: &str, start: &str| {
            format!(
                r#"{{"src_ip":"{src}","dest_ip":"192.0.2.9","src_port":1,"dest_port":2,"proto":"UDP","flow":{{"start":"2026-03-01T12:00:{start}+0000","end":"2026-03-01T12:00:{start}+0000"}},"ids":{{"class":"flood","witnesses":[{{"witness":"behaviour","class":"flood","score":0.9}}]}}}}"#
            ) + "\n"
        };
        let alert = |class: &str, at: &str| {
            let ids = format!(
                r#"{{"class":"{class}","confidence":0.4,"witnesses":[{{"witness":"classifier","class":"{class}","score":0.5}}]}}"#
            );
            format!(r#"{{"timestamp":"2026-03-01T12:00:{at}+0000","ids":{ids}}}"#) + "\n"
        };
        let label = Label {
            line: 2,
            path: "a.pcap".into(),
            family: "DDOS".into(),
            source: "lab".into(),
            filter: crate::labels::Filter::parse("src host 192.0.2.1").unwrap(),
        };
        let flows = flow("192.0.2.7", "01.000000") + &flow("192.0.2.1", "10.250000") + &flow("192.0.2.1", "11.000000");
        // Of the right family, but before it began; of another family; right; right once more.
        let alerts = [("flood", "03.0"), ("port_scan", "10.6"), ("flood", "11.499999"), ("flood", "30.0")];
        let alerts: String = alerts.into_iter().map(|(class, at)| alert(class, at)).collect();
        let scored = score(&label, &flows, &alerts).unwrap();
        let together = &scored.said[&Voice::Together];
        assert_eq!(together.alerts, 4);
        // The tick of 11.499999 ends at 11.5, and the first attack packet came at 10.25.
        assert_eq!((together.alerted, together.first_alert_secs), (true, Some(1.25)));
        let cells = [((Truth::Labelled(Class::Flood), Class::Flood), 2), ((Truth::Background, Class::Flood), 1)];
        assert_eq!(together.flows, cells.into_iter().collect());
        // The classifier spoke in the alerts and not of the flows; behaviour the other way round.
        let classifier = &scored.said[&Voice::Alone(Witness::Classifier)];
        assert_eq!(
            (classifier.first_alert_secs, classifier.flows[&(Truth::Background, Class::Benign)]),
            (Some(1.25), 1)
        );
        let behaviour = &scored.said[&Voice::Alone(Witness::Behaviour)];
        assert_eq!((behaviour.alerts, behaviour.alerted, &behaviour.flows), (0, false, &together.flows));
    }
}
