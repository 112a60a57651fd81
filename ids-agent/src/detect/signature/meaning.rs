//! What a signature is taken for, and what it is worth before anything is known of it: tables of rule families, class
//! types and ATT&CK techniques. General by design: no table names a single signature.

use crate::{
    detect::{Class, Severity},
    eve::{EveAlert, StatedConfidence, StatedSeverity},
};

/// The worth from which a signature opens an incident by itself. Below it only joins what others say.
pub const TOLD_FROM: f32 = 0.5;

/// What a match means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Meaning {
    pub(super) class: Class,
    pub(super) kind: &'static str,
    /// The share of such matches that are attacks, as far as its author says: 0 to 1.
    pub(super) worth: f32,
}

impl Meaning {
    /// How bad a match of this worth is.
    pub(super) fn severity(class: Class, priority: u8, worth: f32) -> Severity {
        match (class, priority) {
            (Class::Anomaly | Class::Benign, _) if worth >= TOLD_FROM => Severity::Low,
            (Class::Anomaly | Class::Benign, _) => Severity::Info,
            (_, 0 | 1) if worth >= 0.7 => Severity::High,
            (_, 0..=2) if worth >= TOLD_FROM => Severity::Medium,
            _ if worth >= TOLD_FROM => Severity::Low,
            _ => Severity::Info,
        }
    }
}

/// One family of rules, as the second word of its messages names it: `ET MALWARE`, `GPL EXPLOIT`.
struct Family {
    name: &'static str,
    class: Class,
    kind: &'static str,
    /// The worth of a rule of the family that its author calls major and sure.
    base: f32,
}

const fn family(name: &'static str, class: Class, kind: &'static str, base: f32) -> Family {
    Family { name, class, kind, base }
}

/// Families of the Emerging Threats and GPL rules. What names a program that some people want, a policy or a mere fact is
/// worth little, however sure the match is: it tells what passes, not that it is wrong.
static FAMILIES: [Family; 51] = [
    family("ACTIVEX", Class::Exploit, "exploit_rule", 0.8),
    family("ADWARE_PUP", Class::C2, "unwanted_rule", 0.45),
    family("ATTACK_RESPONSE", Class::Infiltration, "response_rule", 0.85),
    family("BOTCC", Class::C2, "malware_rule", 0.7),
    family("CHAT", Class::Anomaly, "policy_rule", 0.1),
    family("CINS", Class::Anomaly, "reputation_rule", 0.3),
    family("COINMINER", Class::C2, "miner_rule", 0.45),
    family("COMPROMISED", Class::Anomaly, "reputation_rule", 0.3),
    family("CURRENT_EVENTS", Class::Exploit, "exploit_rule", 0.8),
    family("DNS", Class::C2, "name_rule", 0.3),
    family("DOS", Class::Flood, "dos_rule", 0.55),
    family("DROP", Class::Anomaly, "reputation_rule", 0.3),
    family("DSHIELD", Class::Anomaly, "reputation_rule", 0.3),
    family("DYN_DNS", Class::Anomaly, "policy_rule", 0.1),
    family("EXPLOIT", Class::Exploit, "exploit_rule", 0.9),
    family("EXPLOIT_KIT", Class::Exploit, "exploit_rule", 0.9),
    family("FILE_SHARING", Class::Anomaly, "policy_rule", 0.1),
    family("FTP", Class::Exploit, "exploit_rule", 0.6),
    family("GAMES", Class::Anomaly, "policy_rule", 0.1),
    family("HUNTING", Class::Anomaly, "hunting_rule", 0.3),
    family("ICMP", Class::Anomaly, "policy_rule", 0.1),
    family("ICMP_INFO", Class::Anomaly, "policy_rule", 0.05),
    family("IMAP", Class::Exploit, "exploit_rule", 0.6),
    family("INAPPROPRIATE", Class::Anomaly, "policy_rule", 0.1),
    family("INFO", Class::Anomaly, "policy_rule", 0.1),
    family("JA3", Class::C2, "fingerprint_rule", 0.4),
    family("MALWARE", Class::C2, "malware_rule", 0.95),
    family("MISC", Class::Anomaly, "policy_rule", 0.3),
    family("MOBILE_MALWARE", Class::C2, "malware_rule", 0.95),
    family("NETBIOS", Class::Exploit, "exploit_rule", 0.7),
    family("P2P", Class::Anomaly, "policy_rule", 0.1),
    family("PHISHING", Class::Exploit, "phishing_rule", 0.8),
    family("POLICY", Class::Anomaly, "policy_rule", 0.15),
    family("POP3", Class::Exploit, "exploit_rule", 0.6),
    family("REMOTE_ACCESS", Class::Anomaly, "policy_rule", 0.15),
    family("RPC", Class::Exploit, "exploit_rule", 0.6),
    family("SCADA", Class::Exploit, "exploit_rule", 0.5),
    family("SCAN", Class::PortScan, "scan_rule", 0.55),
    family("SHELLCODE", Class::Exploit, "exploit_rule", 0.7),
    family("SMTP", Class::Exploit, "exploit_rule", 0.6),
    family("SNMP", Class::PortScan, "scan_rule", 0.4),
    family("SQL", Class::Exploit, "exploit_rule", 0.7),
    family("TELNET", Class::Exploit, "exploit_rule", 0.6),
    family("TFTP", Class::Exploit, "exploit_rule", 0.5),
    family("TOR", Class::Anomaly, "reputation_rule", 0.2),
    family("USER_AGENTS", Class::C2, "agent_rule", 0.55),
    family("VOIP", Class::PortScan, "scan_rule", 0.5),
    family("WEB_CLIENT", Class::Exploit, "exploit_rule", 0.75),
    family("WEB_SERVER", Class::WebAttack, "web_rule", 0.8),
    family("WEB_SPECIFIC_APPS", Class::WebAttack, "web_rule", 0.8),
    family("WORM", Class::Exploit, "worm_rule", 0.9),
];

/// What Suricata's class types stand for, by the words that eve.json has for them (classification.config).
static CATEGORIES: [(&str, Class, &str, f32); 24] = [
    ("A Network Trojan was detected", Class::C2, "malware_rule", 0.9),
    ("Malware Command and Control Activity Detected", Class::C2, "malware_rule", 0.95),
    ("Domain Observed Used for C2 Detected", Class::C2, "malware_rule", 0.9),
    ("Crypto Currency Mining Activity Detected", Class::C2, "miner_rule", 0.45),
    ("Possibly Unwanted Program Detected", Class::C2, "unwanted_rule", 0.45),
    ("Exploit Kit Activity Detected", Class::Exploit, "exploit_rule", 0.9),
    ("Targeted Malicious Activity was Detected", Class::Exploit, "exploit_rule", 0.9),
    ("Executable code was detected", Class::Exploit, "exploit_rule", 0.7),
    ("Attempted Administrator Privilege Gain", Class::Exploit, "exploit_rule", 0.8),
    ("Attempted User Privilege Gain", Class::Exploit, "exploit_rule", 0.75),
    ("Misc Attack", Class::Exploit, "exploit_rule", 0.6),
    ("Successful Administrator Privilege Gain", Class::Infiltration, "response_rule", 0.9),
    ("Successful User Privilege Gain", Class::Infiltration, "response_rule", 0.9),
    ("Successful Credential Theft Detected", Class::Infiltration, "response_rule", 0.9),
    ("Possible Social Engineering Attempted", Class::Exploit, "phishing_rule", 0.8),
    ("Web Application Attack", Class::WebAttack, "web_rule", 0.8),
    ("access to a potentially vulnerable web application", Class::WebAttack, "web_rule", 0.55),
    ("Unsuccessful User Privilege Gain", Class::BruteForce, "login_rule", 0.6),
    ("Attempt to login by a default username and password", Class::BruteForce, "login_rule", 0.7),
    ("An attempted login using a suspicious username was detected", Class::BruteForce, "login_rule", 0.6),
    ("Detection of a Network Scan", Class::PortScan, "scan_rule", 0.6),
    ("Attempted Information Leak", Class::PortScan, "scan_rule", 0.55),
    ("Attempted Denial of Service", Class::Flood, "dos_rule", 0.6),
    ("Detection of a Denial of Service Attack", Class::Flood, "dos_rule", 0.7),
];

/// Words of a message that name what was done more exactly than its family does.
static WORDS: [(&str, Class, &str); 13] = [
    ("brute force", Class::BruteForce, "login_rule"),
    ("brute-force", Class::BruteForce, "login_rule"),
    ("bruteforce", Class::BruteForce, "login_rule"),
    ("password guess", Class::BruteForce, "login_rule"),
    ("dns tunnel", Class::DnsTunnel, "tunnel_rule"),
    ("data exfil", Class::Exfiltration, "exfiltration_rule"),
    ("exfiltration", Class::Exfiltration, "exfiltration_rule"),
    ("sql injection", Class::WebAttack, "web_rule"),
    ("cross site scripting", Class::WebAttack, "web_rule"),
    ("directory traversal", Class::WebAttack, "web_rule"),
    ("slowloris", Class::AppDos, "dos_rule"),
    ("slow http", Class::AppDos, "dos_rule"),
    ("http flood", Class::AppDos, "dos_rule"),
];

/// What a technique stands for, by its number without the part behind the dot, which rules write as `_`.
fn of_technique(id: &str) -> Option<(Class, &'static str)> {
    Some(match id.split(['.', '_']).next().unwrap_or_default() {
        "T1110" => (Class::BruteForce, "login_rule"),
        "T1595" | "T1046" | "T1018" | "T1590" | "T1592" => (Class::PortScan, "scan_rule"),
        "T1498" => (Class::Flood, "dos_rule"),
        "T1499" => (Class::AppDos, "dos_rule"),
        "T1071" | "T1571" | "T1573" | "T1568" | "T1090" | "T1095" | "T1102" | "T1132" | "T1008" | "T1104" | "T1105"
        | "T1572" | "T1219" | "T1496" => (Class::C2, "malware_rule"),
        "T1048" | "T1041" | "T1567" => (Class::Exfiltration, "exfiltration_rule"),
        "T1190" | "T1189" | "T1203" | "T1210" | "T1068" | "T1212" => (Class::Exploit, "exploit_rule"),
        "T1505" => (Class::WebAttack, "web_rule"),
        "T1021" | "T1570" | "T1003" | "T1550" | "T1558" | "T1569" => (Class::Infiltration, "response_rule"),
        _ => return None,
    })
}

/// Rules that people write for themselves (<https://sidallocation.org>): they know what they look for.
const LOCAL_SIDS: std::ops::RangeInclusive<u32> = 1_000_000..=1_999_999;
const LOCAL_BASE: f32 = 0.9;
/// Suricata's own events of its decoders, its stream engine and its parsers.
const EVENT_SIDS: std::ops::RangeInclusive<u32> = 2_200_000..=2_299_999;
const EVENT_WORTH: f32 = 0.02;
/// Lists of certificates and fingerprints that abuse.ch keeps of malware.
const SSLBL: &str = "SSLBL: Malicious";

/// What a signature is taken for. The family of its message comes first, for it is what its author filed it under; then
/// its class type. What tells a mere fact never gets a class from a technique or a word.
pub(super) fn of(alert: &EveAlert) -> Meaning {
    if EVENT_SIDS.contains(&alert.sid) || alert.signature.starts_with("SURICATA ") {
        return Meaning { class: Class::Anomaly, kind: "engine_event", worth: EVENT_WORTH };
    }
    let mut words = alert.signature.split(' ');
    let family = match (words.next(), words.next()) {
        (Some("ET" | "ETPRO" | "GPL"), Some(name)) => FAMILIES.iter().find(|family| family.name == name),
        _ => None,
    };
    let of_category = || CATEGORIES.iter().find(|(name, ..)| *name == &*alert.category);
    let (class, kind, base) = match family {
        Some(family) => (family.class, family.kind, family.base),
        None if alert.signature.starts_with(SSLBL) => (Class::C2, "malware_rule", 0.95),
        None => {
            of_category().map_or((Class::Anomaly, "other_rule", 0.3), |(_, class, kind, base)| (*class, *kind, *base))
        }
    };
    let is_local = LOCAL_SIDS.contains(&alert.sid);
    let base = if is_local { LOCAL_BASE } else { base };
    let (class, kind) = if class == Class::Anomaly && !is_local { (class, kind) } else { refined(alert, class, kind) };
    Meaning {
        class,
        kind,
        worth: (base * severity_factor(alert) * confidence_factor(alert, is_local)).clamp(0.0, 0.98),
    }
}

/// A class that the message or the rule's technique names more exactly. Web attacks are exploits of a public
/// application (T1190), so the broader technique does not replace them; nor does it malware, which uses many.
fn refined(alert: &EveAlert, class: Class, kind: &'static str) -> (Class, &'static str) {
    let message = alert.signature.to_ascii_lowercase();
    if class != Class::C2
        && let Some((_, class, kind)) = WORDS.iter().find(|(word, ..)| message.contains(word))
    {
        return (*class, kind);
    }
    match class {
        Class::C2 | Class::WebAttack => (class, kind),
        _ => alert.techniques.iter().find_map(|id| of_technique(id)).unwrap_or((class, kind)),
    }
}

/// Without a word of the author's, Suricata's priority tells it: most rules that are noise have 3.
fn severity_factor(alert: &EveAlert) -> f32 {
    match (alert.stated_severity, alert.severity) {
        (Some(StatedSeverity::Informational), _) => 0.25,
        (Some(StatedSeverity::Minor), _) => 0.75,
        (Some(StatedSeverity::Major), _) => 1.0,
        (Some(StatedSeverity::Critical), _) => 1.05,
        (None, 0 | 1) => 0.9,
        (None, 2) => 0.75,
        (None, _) => 0.4,
    }
}

fn confidence_factor(alert: &EveAlert, is_local: bool) -> f32 {
    match alert.stated_confidence {
        Some(StatedConfidence::Low) => 0.6,
        Some(StatedConfidence::Medium) => 0.85,
        Some(StatedConfidence::High) => 1.0,
        None if is_local => 1.0,
        None => 0.85,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(sid: u32, signature: &str, category: &str, priority: u8) -> EveAlert {
        EveAlert {
            gid: 1,
            sid,
            rev: 1,
            signature: signature.into(),
            category: category.into(),
            severity: priority,
            blocked: false,
            techniques: Vec::new(),
            stated_severity: None,
            stated_confidence: None,
            flow: None,
        }
    }

    fn check(alert: &EveAlert, class: Class, told: bool) {
        let meaning = of(alert);
        assert_eq!((meaning.class, meaning.worth >= TOLD_FROM), (class, told), "{}: {meaning:?}", alert.signature);
    }

    #[test]
    fn a_rule_is_what_its_author_filed_it_under() {
        let trojan = "A Network Trojan was detected";
        check(&rule(2_000_001, "ET MALWARE Loader CnC Checkin", trojan, 1), Class::C2, true);
        check(&rule(2_000_002, "GPL EXPLOIT ntalkd overflow", "Misc Attack", 2), Class::Exploit, true);
        check(&rule(2_000_003, "ET WEB_SERVER Shell Upload", "Web Application Attack", 1), Class::WebAttack, true);
        // The class type of a program that some do not want is that of a Trojan.
        check(&rule(2_000_004, "ET P2P Client User-Agent", trojan, 1), Class::Anomaly, false);
        check(&rule(2_000_005, "ET CINS Active Threat Intelligence", "Misc Attack", 2), Class::Anomaly, false);
    }

    #[test]
    fn noise_is_worth_next_to_nothing_whatever_its_priority() {
        let event =
            of(&rule(2_210_045, "SURICATA STREAM Packet with invalid ack", "Generic Protocol Command Decode", 1));
        assert!(event.worth < 0.05 && event.class == Class::Anomaly, "{event:?}");
        let sure = EveAlert {
            stated_severity: Some(StatedSeverity::Informational),
            stated_confidence: Some(StatedConfidence::High),
            ..rule(2_000_006, "ET HUNTING SQL Database Version Discovery", "Attempted User Privilege Gain", 1)
        };
        assert!(of(&sure).worth < 0.1);
        let mere =
            EveAlert { stated_severity: Some(StatedSeverity::Informational), ..rule(2_000_007, "ET EXPLOIT x", "", 1) };
        check(&mere, Class::Exploit, false);
    }

    #[test]
    fn rules_of_unknown_make_go_by_their_class_type_and_local_ones_are_meant() {
        check(&rule(3_000_001, "Somebody's rule", "Web Application Attack", 1), Class::WebAttack, true);
        check(&rule(3_000_002, "Somebody's rule", "Misc activity", 3), Class::Anomaly, false);
        check(&rule(1_000_001, "our own", "", 1), Class::Anomaly, true);
        check(&rule(1_000_002, "our own", "Attempted Denial of Service", 2), Class::Flood, true);
        check(&rule(1_000_003, "our own", "Misc activity", 3), Class::Anomaly, false);
    }

    #[test]
    fn words_and_techniques_name_what_was_done_more_exactly() {
        let scan =
            rule(2_000_010, "ET SCAN LibSSH Likely BruteForce Attack", "Attempted Administrator Privilege Gain", 1);
        assert_eq!(of(&scan).class, Class::BruteForce);
        let technique =
            |id: &str, signature: &str| EveAlert { techniques: vec![id.into()], ..rule(2_000_011, signature, "", 1) };
        assert_eq!(of(&technique("T1110.001", "ET SCAN many logins")).class, Class::BruteForce);
        assert_eq!(of(&technique("T1190", "ET WEB_SERVER upload")).class, Class::WebAttack);
        assert_eq!(of(&technique("T1041", "ET MALWARE stealer")).class, Class::C2);
        assert_eq!(of(&technique("T1071", "ET POLICY a chat program")).class, Class::Anomaly);
    }

    #[test]
    fn families_are_in_order_and_worths_are_shares() {
        assert!(FAMILIES.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert!(FAMILIES.iter().all(|family| (0.0..=1.0).contains(&family.base)));
    }
}
