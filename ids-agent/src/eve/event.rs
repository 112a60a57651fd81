//! One line of eve.json as an event. Pure: what it does not understand it names, and never fails.
//!
//! Fields as in Suricata 7's schema (etc/schema.json). Every string is capped: the peer chose many of them.

use std::{borrow::Cow, net::IpAddr};

use serde::Deserialize;

use super::{
    app::{DnsPart, EveApp, FilePart, HttpPart, SmbPart, SshPart, TlsPart},
    protocol::protocol,
    time::unix_ns,
};

/// Bytes kept of a signature, a category, a name; the rest is cut.
const TEXT_BYTES_MAX: usize = 256;
/// ATT&CK techniques kept of one signature.
const TECHNIQUES_MAX: usize = 4;

/// An event that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EveEvent {
    /// Time of the packet that made it, nanoseconds: since 1970 as it is read, on the axis of the batch in one.
    pub at_ns: u64,
    /// Absent for events that belong to no flow, such as `stats`.
    pub tuple: Option<EveTuple>,
    /// `1:...`, where Suricata writes it (`community-id: yes`).
    pub community_id: Option<Box<str>>,
    /// When Suricata saw the flow begin, where the line says so.
    pub flow_start_ns: Option<u64>,
    /// Names the flow within one run of Suricata; zero where there is none.
    pub flow_id: u64,
    pub kind: EveType,
    pub detail: EveDetail,
    /// What the line says of the flow's content; most lines say nothing.
    pub app: Option<Box<EveApp>>,
}

/// Addresses and ports as the packet had them: for an alert on an answer, the server is the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EveTuple {
    /// Network order, IPv4 mapped.
    pub src: [u8; 16],
    pub dst: [u8; 16],
    /// For ICMP the type, and below the code; zero for other protocols without ports.
    pub src_port: u16,
    pub dst_port: u16,
    pub proto: u8,
    pub vlan: u16,
}

/// What the agent makes use of beside the tuple.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EveDetail {
    Alert(Box<EveAlert>),
    Stats(EveStats),
    None,
}

/// A signature that matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EveAlert {
    pub gid: u32,
    pub sid: u32,
    pub rev: u32,
    pub signature: Box<str>,
    /// Suricata's text for the class type, such as `A Network Trojan was detected`.
    pub category: Box<str>,
    /// 1 is the highest.
    pub severity: u8,
    /// Whether Suricata dropped the packet.
    pub blocked: bool,
    /// ATT&CK technique ids of the rule's metadata.
    pub techniques: Vec<Box<str>>,
    /// What the rule's author says of it (`signature_severity`, `confidence` of its metadata).
    pub stated_severity: Option<StatedSeverity>,
    pub stated_confidence: Option<StatedConfidence>,
    /// The flow in its initiator's direction, where the line tells it.
    pub flow: Option<EveTuple>,
}

/// How bad a match is, by the rule's author.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StatedSeverity {
    Informational,
    Minor,
    Major,
    Critical,
}

/// How seldom a match is wrong, by the rule's author.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StatedConfidence {
    Low,
    Medium,
    High,
}

impl StatedSeverity {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "Informational" => Self::Informational,
            "Minor" => Self::Minor,
            "Major" => Self::Major,
            "Critical" => Self::Critical,
            _ => return None,
        })
    }
}

impl StatedConfidence {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "Low" => Self::Low,
            "Medium" => Self::Medium,
            "High" => Self::High,
            _ => return None,
        })
    }
}

/// What Suricata says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EveStats {
    pub uptime_secs: u64,
    pub packets: u64,
    pub drops: u64,
    pub rules_loaded: u64,
    pub rules_failed: u64,
    pub memory_bytes: u64,
}

/// Event types that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EveType {
    Alert,
    Flow,
    Dns,
    Tls,
    Http,
    Fileinfo,
    Anomaly,
    Ssh,
    Smb,
    Stats,
    Other,
}

impl EveType {
    pub const ALL: [Self; 11] = [
        Self::Alert,
        Self::Flow,
        Self::Dns,
        Self::Tls,
        Self::Http,
        Self::Fileinfo,
        Self::Anomaly,
        Self::Ssh,
        Self::Smb,
        Self::Stats,
        Self::Other,
    ];

    pub const fn label(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Flow => "flow",
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Http => "http",
            Self::Fileinfo => "fileinfo",
            Self::Anomaly => "anomaly",
            Self::Ssh => "ssh",
            Self::Smb => "smb",
            Self::Stats => "stats",
            Self::Other => "other",
        }
    }

    fn of(name: &str) -> Self {
        Self::ALL.into_iter().find(|kind| kind.label() == name).unwrap_or(Self::Other)
    }
}

/// Why a line gave no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skipped {
    /// Longer than `LINE_BYTES_MAX`.
    TooLong,
    /// The file ended, or was replaced, in the middle of it.
    Cut,
    Utf8,
    Json,
    /// No `event_type`, or none that is text.
    NoType,
    Time,
    /// An address, port or protocol that is none.
    Tuple,
    /// An `alert` without a signature id.
    Alert,
}

impl Skipped {
    pub const ALL: [Self; 8] =
        [Self::TooLong, Self::Cut, Self::Utf8, Self::Json, Self::NoType, Self::Time, Self::Tuple, Self::Alert];

    pub const fn label(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Cut => "cut",
            Self::Utf8 => "utf8",
            Self::Json => "json",
            Self::NoType => "no_type",
            Self::Time => "time",
            Self::Tuple => "tuple",
            Self::Alert => "alert",
        }
    }
}

/// Reads one line, without its line end.
pub fn parse_line(line: &[u8]) -> Result<EveEvent, Skipped> {
    let text = std::str::from_utf8(line).map_err(|_| Skipped::Utf8)?;
    let line: Line<'_> = serde_json::from_str(text).map_err(|_| Skipped::Json)?;
    let kind = EveType::of(line.event_type.as_deref().ok_or(Skipped::NoType)?);
    let at_ns = line.timestamp.as_deref().and_then(unix_ns).ok_or(Skipped::Time)?;
    let tuple = line.tuple()?;
    let detail = match (kind, &line.alert, &line.stats) {
        (EveType::Alert, alert, _) => {
            let flow = line.flow.as_ref().and_then(|flow| flow.tuple(tuple.as_ref()?));
            EveDetail::Alert(Box::new(EveAlert { flow, ..alert.as_ref().ok_or(Skipped::Alert)?.told()? }))
        }
        (EveType::Stats, _, Some(stats)) => EveDetail::Stats(stats.told()),
        _ => EveDetail::None,
    };
    Ok(EveEvent {
        at_ns,
        tuple,
        community_id: line.community_id.as_deref().map(capped),
        flow_start_ns: line.flow.as_ref().and_then(|flow| flow.start.as_deref()).and_then(unix_ns),
        flow_id: line.flow_id.unwrap_or(0),
        kind,
        detail,
        app: line.app(),
    })
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    timestamp: Option<Cow<'a, str>>,
    #[serde(borrow)]
    event_type: Option<Cow<'a, str>>,
    flow_id: Option<u64>,
    #[serde(borrow)]
    src_ip: Option<Cow<'a, str>>,
    #[serde(borrow)]
    dest_ip: Option<Cow<'a, str>>,
    src_port: Option<u16>,
    dest_port: Option<u16>,
    #[serde(borrow)]
    proto: Option<Cow<'a, str>>,
    icmp_type: Option<u16>,
    icmp_code: Option<u16>,
    vlan: Option<Vec<u16>>,
    #[serde(borrow)]
    community_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    flow: Option<FlowPart<'a>>,
    #[serde(borrow)]
    alert: Option<AlertPart<'a>>,
    stats: Option<StatsPart>,
    #[serde(borrow)]
    tls: Option<TlsPart<'a>>,
    #[serde(borrow)]
    http: Option<HttpPart<'a>>,
    #[serde(borrow)]
    dns: Option<DnsPart<'a>>,
    #[serde(borrow)]
    ssh: Option<SshPart<'a>>,
    #[serde(borrow)]
    fileinfo: Option<FilePart<'a>>,
    #[serde(borrow)]
    smb: Option<SmbPart<'a>>,
}

#[derive(Deserialize)]
struct FlowPart<'a> {
    #[serde(borrow)]
    start: Option<Cow<'a, str>>,
    #[serde(borrow)]
    src_ip: Option<Cow<'a, str>>,
    #[serde(borrow)]
    dest_ip: Option<Cow<'a, str>>,
    src_port: Option<u16>,
    dest_port: Option<u16>,
}

impl FlowPart<'_> {
    /// The flow's own ends; those of `packet` but for what stands here.
    fn tuple(&self, packet: &EveTuple) -> Option<EveTuple> {
        Some(EveTuple {
            src: address(self.src_ip.as_deref()?).ok()?,
            dst: address(self.dest_ip.as_deref()?).ok()?,
            src_port: self.src_port.unwrap_or(packet.src_port),
            dst_port: self.dest_port.unwrap_or(packet.dst_port),
            ..*packet
        })
    }
}

#[derive(Deserialize)]
struct AlertPart<'a> {
    gid: Option<u32>,
    signature_id: Option<u32>,
    rev: Option<u32>,
    #[serde(borrow)]
    signature: Option<Cow<'a, str>>,
    #[serde(borrow)]
    category: Option<Cow<'a, str>>,
    severity: Option<u8>,
    #[serde(borrow)]
    action: Option<Cow<'a, str>>,
    #[serde(borrow)]
    metadata: Option<MetadataPart<'a>>,
}

#[derive(Deserialize)]
struct MetadataPart<'a> {
    #[serde(borrow, default)]
    mitre_technique_id: Vec<Cow<'a, str>>,
    #[serde(borrow, default)]
    signature_severity: Vec<Cow<'a, str>>,
    #[serde(borrow, default)]
    confidence: Vec<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct StatsPart {
    #[serde(default)]
    uptime: u64,
    capture: Option<CapturePart>,
    decoder: Option<DecoderPart>,
    detect: Option<DetectPart>,
    flow: Option<MemoryPart>,
    tcp: Option<TcpPart>,
}

#[derive(Deserialize)]
struct CapturePart {
    kernel_packets: Option<u64>,
    #[serde(default)]
    kernel_drops: u64,
}

#[derive(Deserialize)]
struct DecoderPart {
    #[serde(default)]
    pkts: u64,
}

#[derive(Deserialize)]
struct DetectPart {
    #[serde(default)]
    engines: Vec<EnginePart>,
}

#[derive(Deserialize)]
struct EnginePart {
    #[serde(default)]
    rules_loaded: u64,
    #[serde(default)]
    rules_failed: u64,
}

#[derive(Deserialize)]
struct MemoryPart {
    #[serde(default)]
    memuse: u64,
}

#[derive(Deserialize)]
struct TcpPart {
    #[serde(default)]
    memuse: u64,
    #[serde(default)]
    reassembly_memuse: u64,
}

impl Line<'_> {
    fn app(&self) -> Option<Box<EveApp>> {
        let app = EveApp {
            tls: self.tls.as_ref().map(TlsPart::told),
            http: self.http.as_ref().map(HttpPart::told),
            dns: self.dns.as_ref().and_then(DnsPart::told),
            ssh: self.ssh.as_ref().map(SshPart::told),
            file: self.fileinfo.as_ref().map(FilePart::told),
            smb: self.smb.as_ref().map(SmbPart::told),
        };
        (app != EveApp::default()).then(|| Box::new(app))
    }

    /// None where the line names no address at all; an error where it names half of a flow, or nonsense.
    fn tuple(&self) -> Result<Option<EveTuple>, Skipped> {
        let (src, dst) = match (&self.src_ip, &self.dest_ip) {
            (None, None) => return Ok(None),
            (Some(src), Some(dst)) => (address(src)?, address(dst)?),
            (Some(_), None) | (None, Some(_)) => return Err(Skipped::Tuple),
        };
        let proto = protocol(self.proto.as_deref().ok_or(Skipped::Tuple)?).ok_or(Skipped::Tuple)?;
        Ok(Some(EveTuple {
            src,
            dst,
            src_port: self.src_port.or(self.icmp_type).unwrap_or(0),
            dst_port: self.dest_port.or(self.icmp_code).unwrap_or(0),
            proto,
            vlan: self.vlan.as_ref().and_then(|tags| tags.last()).copied().unwrap_or(0),
        }))
    }
}

impl AlertPart<'_> {
    fn told(&self) -> Result<EveAlert, Skipped> {
        let techniques = self.metadata.iter().flat_map(|metadata| &metadata.mitre_technique_id);
        Ok(EveAlert {
            gid: self.gid.unwrap_or(1),
            sid: self.signature_id.ok_or(Skipped::Alert)?,
            rev: self.rev.unwrap_or(0),
            signature: capped(self.signature.as_deref().unwrap_or_default()),
            category: capped(self.category.as_deref().unwrap_or_default()),
            severity: self.severity.unwrap_or(3).clamp(1, 4),
            blocked: self.action.as_deref() == Some("blocked"),
            techniques: techniques.take(TECHNIQUES_MAX).map(|id| capped(id)).collect(),
            stated_severity: self
                .metadata
                .as_ref()
                .and_then(|said| StatedSeverity::of(said.signature_severity.first()?)),
            stated_confidence: self.metadata.as_ref().and_then(|said| StatedConfidence::of(said.confidence.first()?)),
            flow: None,
        })
    }
}

impl StatsPart {
    fn told(&self) -> EveStats {
        let decoded = self.decoder.as_ref().map_or(0, |decoder| decoder.pkts);
        let engines = || self.detect.iter().flat_map(|detect| &detect.engines);
        let tcp = self.tcp.as_ref().map_or(0, |tcp| tcp.memuse.saturating_add(tcp.reassembly_memuse));
        EveStats {
            uptime_secs: self.uptime,
            packets: self.capture.as_ref().and_then(|capture| capture.kernel_packets).unwrap_or(decoded),
            drops: self.capture.as_ref().map_or(0, |capture| capture.kernel_drops),
            rules_loaded: engines().fold(0, |sum, engine| sum.saturating_add(engine.rules_loaded)),
            rules_failed: engines().fold(0, |sum, engine| sum.saturating_add(engine.rules_failed)),
            memory_bytes: self.flow.as_ref().map_or(0, |flow| flow.memuse).saturating_add(tcp),
        }
    }
}

fn address(text: &str) -> Result<[u8; 16], Skipped> {
    match text.parse().map_err(|_| Skipped::Tuple)? {
        IpAddr::V4(v4) => Ok(v4.to_ipv6_mapped().octets()),
        IpAddr::V6(v6) => Ok(v6.octets()),
    }
}

/// At most `TEXT_BYTES_MAX` bytes, cut between characters.
pub(super) fn capped(text: &str) -> Box<str> {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].into()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    const ALERT: &str = r#"{"timestamp":"2021-06-06T15:59:46.457984+0200","flow_id":1374195536821504,"event_type":"alert","vlan":[12],"src_ip":"78.36.196.213","src_port":51698,"dest_ip":"192.168.1.129","dest_port":445,"proto":"TCP","community_id":"1:LQU9qZlK+B5F3KDmev6m5PMibrg=","alert":{"action":"allowed","gid":1,"signature_id":2403388,"rev":66418,"signature":"ET CINS Active Threat Intelligence","category":"Misc Attack","severity":2,"metadata":{"mitre_technique_id":["T1110"]}},"flow":{"pkts_toserver":1,"start":"2021-06-06T15:59:46.457984+0200"}}"#;

    fn skipped(line: &str) -> Option<Skipped> {
        parse_line(line.as_bytes()).err()
    }

    #[test]
    fn an_alert_has_its_flow_its_time_and_its_signature() {
        let event = parse_line(ALERT.as_bytes()).unwrap();
        assert_eq!(event.at_ns, 1_622_987_986_457_984_000);
        assert_eq!((event.kind, event.flow_id), (EveType::Alert, 1_374_195_536_821_504));
        assert_eq!(event.flow_start_ns, Some(event.at_ns));
        let tuple = event.tuple.unwrap();
        assert_eq!((tuple.src_port, tuple.dst_port, tuple.proto, tuple.vlan), (51_698, 445, 6, 12));
        let EveDetail::Alert(alert) = event.detail else { panic!("no alert") };
        assert_eq!((alert.gid, alert.sid, alert.severity, alert.blocked), (1, 2_403_388, 2, false));
        assert_eq!(&*alert.techniques[0], "T1110");
    }

    #[test]
    fn stats_belong_to_no_flow() {
        let line = r#"{"timestamp":"2026-01-01T00:00:00.000000+0000","event_type":"stats","stats":{"uptime":46,"capture":{"kernel_packets":200,"kernel_drops":3},"decoder":{"pkts":197},"detect":{"engines":[{"id":0,"rules_loaded":21926,"rules_failed":1}]},"flow":{"memuse":7},"tcp":{"memuse":1,"reassembly_memuse":2}}}"#;
        let event = parse_line(line.as_bytes()).unwrap();
        let told = EveStats {
            uptime_secs: 46,
            packets: 200,
            drops: 3,
            rules_loaded: 21_926,
            rules_failed: 1,
            memory_bytes: 10,
        };
        assert_eq!((event.tuple, event.detail), (None, EveDetail::Stats(told)));
    }

    #[test]
    fn what_is_wrong_with_a_line_is_named() {
        let with = |from: &str, to: &str| ALERT.replace(from, to);
        for (line, reason) in [
            ("{", Skipped::Json),
            ("[]", Skipped::Json),
            ("{}", Skipped::NoType),
            (&*with("\"alert\",", "7,"), Skipped::Json),
            (&*with("2021-06-06T15:59:46.457984+0200\",\"flow_id", "yesterday\",\"flow_id"), Skipped::Time),
            (&*with("78.36.196.213", "78.36.196"), Skipped::Tuple),
            (&*with("\"TCP\"", "\"carrier pigeon\""), Skipped::Tuple),
            (&*with("\"signature_id\":2403388,", ""), Skipped::Alert),
        ] {
            assert_eq!(skipped(line), Some(reason), "{line}");
        }
        assert_eq!(parse_line(b"{\"event_type\":\"\xff\"}").err(), Some(Skipped::Utf8));
        assert_eq!(skipped(ALERT), None);
    }

    #[test]
    fn nesting_without_end_is_no_stack_overflow() {
        let line = format!("{{\"event_type\":\"alert\",\"x\":{}", "[".repeat(100_000));
        assert_eq!(skipped(&line), Some(Skipped::Json));
    }

    #[test]
    fn text_is_cut_between_characters() {
        let long = "é".repeat(200);
        assert_eq!(capped(&long).len(), TEXT_BYTES_MAX);
        assert_eq!(capped(&format!("a{long}")).len(), TEXT_BYTES_MAX - 1);
    }
}
