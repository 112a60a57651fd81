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
pub static SIGNATURES: [Signature; 71] = [
    signature(1_900_100, Class::PortScan, "", "IDS port scan", SCAN),
    signature(1_900_101, Class::PortScan, "syn_scan", "IDS port scan, SYN", SCAN),
    signature(1_900_102, Class::PortScan, "connect_scan", "IDS port scan, full connections", SCAN),
    signature(1_900_103, Class::PortScan, "fin_scan", "IDS port scan, FIN", SCAN),
    signature(1_900_104, Class::PortScan, "null_scan", "IDS port scan, no flags", SCAN),
    signature(1_900_105, Class::PortScan, "xmas_scan", "IDS port scan, FIN PSH URG", SCAN),
    signature(1_900_106, Class::PortScan, "ack_scan", "IDS port scan, ACK", SCAN),
    signature(1_900_107, Class::PortScan, "udp_scan", "IDS port scan, UDP", SCAN),
    signature(1_900_108, Class::PortScan, "ping_scan", "IDS scan by ICMP", SCAN),
    signature(1_900_109, Class::PortScan, "sctp_scan", "IDS port scan, SCTP", SCAN),
    signature(1_900_110, Class::PortScan, "syn_sweep", "IDS host sweep, SYN", SCAN),
    signature(1_900_111, Class::PortScan, "connect_sweep", "IDS host sweep, full connections", SCAN),
    signature(1_900_112, Class::PortScan, "fin_sweep", "IDS host sweep, FIN", SCAN),
    signature(1_900_113, Class::PortScan, "null_sweep", "IDS host sweep, no flags", SCAN),
    signature(1_900_114, Class::PortScan, "xmas_sweep", "IDS host sweep, FIN PSH URG", SCAN),
    signature(1_900_115, Class::PortScan, "ack_sweep", "IDS host sweep, ACK", SCAN),
    signature(1_900_116, Class::PortScan, "udp_sweep", "IDS host sweep, UDP", SCAN),
    signature(1_900_117, Class::PortScan, "ping_sweep", "IDS host sweep, ping", SCAN),
    signature(1_900_118, Class::PortScan, "sctp_sweep", "IDS host sweep, SCTP", SCAN),
    signature(1_900_119, Class::PortScan, "block_scan", "IDS scan of many ports of many hosts", SCAN),
    signature(1_900_200, Class::Flood, "", "IDS flood", DOS),
    signature(1_900_201, Class::Flood, "syn", "IDS SYN flood", DOS),
    signature(1_900_202, Class::Flood, "spoofed_syn", "IDS SYN flood from many sources", DOS),
    signature(1_900_203, Class::Flood, "tcp", "IDS TCP flood", DOS),
    signature(1_900_204, Class::Flood, "spoofed_tcp", "IDS TCP flood from many sources", DOS),
    signature(1_900_205, Class::Flood, "udp", "IDS UDP flood", DOS),
    signature(1_900_206, Class::Flood, "spoofed_udp", "IDS UDP flood from many sources", DOS),
    signature(1_900_207, Class::Flood, "reflected_udp", "IDS reflected UDP flood", DOS),
    signature(1_900_208, Class::Flood, "udp_volume", "IDS UDP flood by volume", DOS),
    signature(1_900_209, Class::Flood, "icmp", "IDS ICMP flood", DOS),
    signature(1_900_210, Class::Flood, "spoofed_icmp", "IDS ICMP flood from many sources", DOS),
    signature(1_900_211, Class::Flood, "udp_repeated", "IDS UDP flood of one datagram", DOS),
    signature(1_900_212, Class::Flood, "connect", "IDS connection flood", DOS),
    signature(1_900_213, Class::Flood, "reflected_tcp", "IDS reflected TCP flood", DOS),
    signature(1_900_214, Class::Flood, "spoofed_ip", "IDS flood of an IP protocol from many sources", DOS),
    signature(1_900_300, Class::AppDos, "", "IDS application denial of service", DOS),
    signature(1_900_301, Class::AppDos, "slow_requests", "IDS slow requests", DOS),
    signature(1_900_302, Class::AppDos, "hoarded_connections", "IDS hoarded connections", DOS),
    signature(1_900_303, Class::AppDos, "request_flood", "IDS HTTP request flood", DOS),
    signature(1_900_304, Class::AppDos, "changing_agents", "IDS HTTP request flood under changing names", DOS),
    signature(1_900_305, Class::AppDos, "spread", "IDS HTTP request flood from many sources", DOS),
    signature(1_900_400, Class::BruteForce, "", "IDS brute force", LOGIN),
    signature(1_900_401, Class::BruteForce, "ssh", "IDS SSH password guessing", LOGIN),
    signature(1_900_402, Class::BruteForce, "ftp", "IDS FTP password guessing", LOGIN),
    signature(1_900_403, Class::BruteForce, "telnet", "IDS Telnet password guessing", LOGIN),
    signature(1_900_404, Class::BruteForce, "smtp", "IDS SMTP password guessing", LOGIN),
    signature(1_900_405, Class::BruteForce, "pop3", "IDS POP3 password guessing", LOGIN),
    signature(1_900_406, Class::BruteForce, "imap", "IDS IMAP password guessing", LOGIN),
    signature(1_900_407, Class::BruteForce, "http", "IDS HTTP password guessing", LOGIN),
    signature(1_900_408, Class::BruteForce, "smb", "IDS SMB password guessing", LOGIN),
    signature(1_900_409, Class::BruteForce, "rdp", "IDS RDP password guessing", LOGIN),
    signature(1_900_410, Class::BruteForce, "rfb", "IDS VNC password guessing", LOGIN),
    signature(1_900_411, Class::BruteForce, "mysql", "IDS MySQL password guessing", LOGIN),
    signature(1_900_412, Class::BruteForce, "pgsql", "IDS PostgreSQL password guessing", LOGIN),
    signature(1_900_413, Class::BruteForce, "redis", "IDS Redis password guessing", LOGIN),
    signature(1_900_414, Class::BruteForce, "ldap", "IDS LDAP password guessing", LOGIN),
    signature(1_900_415, Class::BruteForce, "spread", "IDS password guessing from many sources", LOGIN),
    signature(1_900_416, Class::BruteForce, "tls", "IDS password guessing over TLS", LOGIN),
    signature(1_900_500, Class::WebAttack, "", "IDS web attack", WEB),
    signature(1_900_600, Class::C2, "", "IDS command and control", C2),
    signature(1_900_601, Class::C2, "dga", "IDS generated domain names", C2),
    signature(1_900_602, Class::C2, "known_address", "IDS address known for command and control", C2),
    signature(1_900_603, Class::C2, "known_domain", "IDS name known for command and control", C2),
    signature(1_900_604, Class::C2, "known_url", "IDS page known for command and control", C2),
    signature(1_900_605, Class::C2, "known_fingerprint", "IDS TLS fingerprint known for malware", C2),
    signature(1_900_606, Class::C2, "recruiting", "IDS infected device looks for others", C2),
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
