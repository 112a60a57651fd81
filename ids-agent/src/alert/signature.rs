//! The table of signatures. An id, once given, never changes its meaning; new ones are appended.

use crate::detect::Class;

/// Our generator id: Suricata's own rules are gid 1.
pub const GID: u32 = 9_469;
/// Revision of the signatures.
pub const REV: u32 = 1;

/// What an alert of one class and kind is called.
#[derive(Debug, PartialEq, Eq)]
pub struct Signature {
    /// From 1,900,000: within the range that rule writers leave to local use.
    pub id: u32,
    pub class: Class,
    /// Empty for the class as such, which also stands for kinds that have no id of their own.
    pub kind: &'static str,
    pub text: &'static str,
    /// A description out of Suricata's classification.config.
    pub category: &'static str,
}

const SCAN: &str = "Detection of a Network Scan";
const DOS: &str = "Attempted Denial of Service";
const LOGIN: &str = "Attempted User Privilege Gain";
const WEB: &str = "Web Application Attack";
const C2: &str = "Malware Command and Control Activity Detected";
const ATTACK: &str = "Misc Attack";
const ODD: &str = "Potentially Bad Traffic";

const fn signature(id: u32, class: Class, kind: &'static str, text: &'static str, category: &'static str) -> Signature {
    Signature { id, class, kind, text, category }
}

/// Every signature, by id. Each class has a block of one hundred.
pub static SIGNATURES: [Signature; 11] = [
    signature(1_900_100, Class::PortScan, "", "IDS port scan", SCAN),
    signature(1_900_200, Class::Flood, "", "IDS flood", DOS),
    signature(1_900_300, Class::AppDos, "", "IDS application denial of service", DOS),
    signature(1_900_400, Class::BruteForce, "", "IDS brute force", LOGIN),
    signature(1_900_500, Class::WebAttack, "", "IDS web attack", WEB),
    signature(1_900_600, Class::C2, "", "IDS command and control", C2),
    signature(1_900_700, Class::DnsTunnel, "", "IDS DNS tunnel", C2),
    signature(1_900_800, Class::Exfiltration, "", "IDS exfiltration", ODD),
    signature(1_900_900, Class::Exploit, "", "IDS exploit", ATTACK),
    signature(1_901_000, Class::Infiltration, "", "IDS infiltration", ATTACK),
    signature(1_901_100, Class::Anomaly, "", "IDS unusual traffic", ODD),
];

/// What stands in for a class without a row; benign traffic raises no alert.
static UNKNOWN: Signature = signature(1_900_000, Class::Benign, "", "IDS alert", ODD);

/// The signature of a class and kind, else that of the class.
pub(super) fn of(class: Class, kind: &str) -> &'static Signature {
    let named = |wanted: &str| SIGNATURES.iter().find(|known| known.class == class && known.kind == wanted);
    named(kind).or_else(|| named("")).unwrap_or(&UNKNOWN)
}
