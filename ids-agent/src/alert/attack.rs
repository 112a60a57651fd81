//! MITRE ATT&CK techniques: named only where the evidence carries them.

use std::net::IpAddr;

use crate::detect::Class;

/// A technique and the tactic it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Technique {
    pub id: &'static str,
    pub name: &'static str,
    pub tactic_id: &'static str,
    pub tactic_name: &'static str,
}

const fn technique(
    id: &'static str,
    name: &'static str,
    tactic_id: &'static str,
    tactic_name: &'static str,
) -> Technique {
    Technique { id, name, tactic_id, tactic_name }
}

const ACTIVE_SCANNING: Technique = technique("T1595", "Active Scanning", "TA0043", "Reconnaissance");
const SERVICE_DISCOVERY: Technique = technique("T1046", "Network Service Discovery", "TA0007", "Discovery");
const SYSTEM_DISCOVERY: Technique = technique("T1018", "Remote System Discovery", "TA0007", "Discovery");
const NETWORK_DOS: Technique = technique("T1498", "Network Denial of Service", "TA0040", "Impact");
const DIRECT_FLOOD: Technique = technique("T1498.001", "Direct Network Flood", "TA0040", "Impact");
const REFLECTION: Technique = technique("T1498.002", "Reflection Amplification", "TA0040", "Impact");
const OS_EXHAUSTION: Technique = technique("T1499.001", "OS Exhaustion Flood", "TA0040", "Impact");
const SERVICE_EXHAUSTION: Technique = technique("T1499.002", "Service Exhaustion Flood", "TA0040", "Impact");
const BRUTE_FORCE: Technique = technique("T1110", "Brute Force", "TA0006", "Credential Access");
const PUBLIC_APPLICATION: Technique =
    technique("T1190", "Exploit Public-Facing Application", "TA0001", "Initial Access");
const DRIVE_BY: Technique = technique("T1189", "Drive-by Compromise", "TA0001", "Initial Access");
const REMOTE_LOGIN: Technique = technique("T1021", "Remote Services", "TA0008", "Lateral Movement");
const REMOTE_SERVICES: Technique = technique("T1210", "Exploitation of Remote Services", "TA0008", "Lateral Movement");
const APPLICATION_PROTOCOL: Technique =
    technique("T1071", "Application Layer Protocol", "TA0011", "Command and Control");
const GENERATED_NAMES: Technique =
    technique("T1568.002", "Domain Generation Algorithms", "TA0011", "Command and Control");
const TUNNELING: Technique = technique("T1572", "Protocol Tunneling", "TA0011", "Command and Control");
const EXFILTRATION: Technique = technique("T1048", "Exfiltration Over Alternative Protocol", "TA0010", "Exfiltration");

/// The technique that a class and kind, seen from `src`, stand for.
pub(super) fn technique_of(class: Class, kind: &str, src: IpAddr) -> Option<Technique> {
    let inside = is_inside(src);
    match class {
        Class::PortScan if !inside => Some(ACTIVE_SCANNING),
        Class::PortScan if kind.contains("sweep") => Some(SYSTEM_DISCOVERY),
        Class::PortScan => Some(SERVICE_DISCOVERY),
        Class::Flood if kind.contains("reflect") || kind.contains("amplif") => Some(REFLECTION),
        Class::Flood if kind.contains("syn") => Some(OS_EXHAUSTION),
        Class::Flood if kind.is_empty() => Some(NETWORK_DOS),
        Class::Flood => Some(DIRECT_FLOOD),
        Class::AppDos => Some(SERVICE_EXHAUSTION),
        Class::BruteForce => Some(BRUTE_FORCE),
        Class::WebAttack => Some(PUBLIC_APPLICATION),
        Class::C2 if kind == "dga" => Some(GENERATED_NAMES),
        Class::C2 => Some(APPLICATION_PROTOCOL),
        Class::DnsTunnel => Some(TUNNELING),
        Class::Exfiltration => Some(EXFILTRATION),
        Class::Exploit if matches!(kind, "exploit_kit" | "malicious_page" | "risky_file") => Some(DRIVE_BY),
        Class::Exploit if inside => Some(REMOTE_SERVICES),
        Class::Exploit => Some(PUBLIC_APPLICATION),
        Class::Infiltration if kind == "lateral_movement" => Some(REMOTE_LOGIN),
        // A strange flow, or the trace of an intrusion, says nothing of how it was done.
        Class::Infiltration | Class::Anomaly | Class::Benign => None,
    }
}

/// Whether an address belongs to a private network (RFC 1918, RFC 4193), the link or the host.
pub(super) fn is_inside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_link_local() || v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_is_discovery_from_inside_and_reconnaissance_from_outside() {
        let [inside, outside] = [[10, 0, 0, 7], [198, 51, 100, 7]].map(IpAddr::from);
        assert_eq!(technique_of(Class::PortScan, "syn_scan", inside), Some(SERVICE_DISCOVERY));
        assert_eq!(technique_of(Class::PortScan, "sweep", inside), Some(SYSTEM_DISCOVERY));
        assert_eq!(technique_of(Class::PortScan, "syn_scan", outside), Some(ACTIVE_SCANNING));
        assert_eq!(technique_of(Class::Anomaly, "", outside), None);
    }

    #[test]
    fn a_page_that_attacks_its_visitor_is_no_attack_on_a_service() {
        let inside = IpAddr::from([10, 0, 0, 7]);
        assert_eq!(technique_of(Class::Exploit, "exploit_kit", inside), Some(DRIVE_BY));
        assert_eq!(technique_of(Class::Exploit, "smb_exploit", inside), Some(REMOTE_SERVICES));
        assert_eq!(technique_of(Class::Infiltration, "lateral_movement", inside), Some(REMOTE_LOGIN));
        assert_eq!(technique_of(Class::Infiltration, "directory_search", inside), None);
    }
}
