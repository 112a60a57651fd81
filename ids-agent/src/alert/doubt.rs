//! What would make an alert false, and what to do next: one plain sentence each, by class, kind and witness.
//!
//! Written for someone at home without knowledge of the field. Holds no string that a peer sent.

use std::net::IpAddr;

use super::attack::is_inside;
use crate::detect::{Class, Incident, Subject, Witness};

/// The two sentences.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Doubt {
    /// Completes "This alert is false if ...".
    pub(super) false_if: String,
    pub(super) next: String,
}

impl Doubt {
    /// What is to be said of `incident` between `src` and `dst`.
    pub(super) fn of(incident: &Incident, src: IpAddr, dst: IpAddr) -> Self {
        let (source, target) = match incident.subject {
            Subject::Source { .. } => (Some(src), None),
            Subject::Target { .. } => (None, Some(dst)),
            Subject::Flow { .. } | Subject::Pair { .. } | Subject::Service { .. } => (Some(src), Some(dst)),
        };
        let parties = Parties { source, target, id: incident.id };
        let witness = speaker(incident);
        let innocent = innocent(incident.class, incident.kind, witness);
        let tail = match incident.class {
            Class::Benign => "",
            _ => "; then silence it with `ids-agent feedback {id} false`",
        };
        Self {
            false_if: parties.fill(&format!("{innocent}{tail}")),
            next: parties.fill(next(incident.class, incident.kind, Side::of(src, dst))),
        }
    }
}

/// Whose word the alert rests on: who named its kind, else the surest witness of its class.
pub(super) fn speaker(incident: &Incident) -> Witness {
    let of_class = || incident.witnesses.iter().filter(|said| said.class == incident.class);
    of_class()
        .find(|said| said.kind == incident.kind)
        .or_else(|| of_class().max_by(|a, b| a.score.total_cmp(&b.score).then(b.witness.cmp(&a.witness))))
        .map_or(Witness::Behaviour, |said| said.witness)
}

/// Who an alert is about; absent where it is about many.
struct Parties {
    source: Option<IpAddr>,
    target: Option<IpAddr>,
    id: u64,
}

impl Parties {
    fn fill(&self, template: &str) -> String {
        let source = self.source.map_or("whoever sent this".to_owned(), |address| address.to_string());
        let target = self.target.map_or("the hosts it reached".to_owned(), |address| address.to_string());
        template.replace("{source}", &source).replace("{target}", &target).replace("{id}", &format!("{:016x}", self.id))
    }
}

/// On which side of the gateway the two ends are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// Both at home.
    Within,
    /// From home to the Internet.
    Outward,
    /// From the Internet.
    Inward,
}

impl Side {
    fn of(src: IpAddr, dst: IpAddr) -> Self {
        match (is_inside(src), is_inside(dst)) {
            (true, true) => Self::Within,
            (true, false) => Self::Outward,
            (false, true | false) => Self::Inward,
        }
    }
}

/// The harmless cause that comes first to mind.
fn innocent(class: Class, kind: &str, witness: Witness) -> &'static str {
    // A list and a statistical model are wrong in ways of their own, whatever they name.
    match (witness, class) {
        (Witness::Intel, Class::PortScan) => {
            "{source} has changed hands since the list was written: addresses of scanners are given to others"
        }
        (Witness::Intel, Class::C2 | Class::Exploit | Class::Infiltration | Class::Anomaly) => listed(kind),
        (Witness::Anomaly, _) => {
            "{source} was just set up, updated or put to a new use, so that what it does is new and still wanted"
        }
        (Witness::Classifier, _) => learned(class),
        (Witness::Signature, _) => {
            "the program or page that matched is one you know and use: a signature looks for a pattern, and harmless traffic can hold it too"
        }
        (Witness::Intel | Witness::Payload | Witness::Behaviour, _) => counted(class, kind),
    }
}

/// What a list of bad addresses and names can be wrong about.
fn listed(kind: &str) -> &'static str {
    match kind {
        "known_fingerprint" => {
            "an ordinary program on {source} greets servers in the same way as the listed malware: fingerprints are shared"
        }
        "known_domain" | "known_url" => {
            "the name is one you know and use: lists grow old, and good sites share names and servers with bad ones"
        }
        "tor" => "somebody uses Tor on purpose, or {target} offers it",
        _ => {
            "what {source} reaches at {target} is a service you know: lists grow old, and many sites share one address"
        }
    }
}

/// What a model that sees sizes and times alone can mistake for `class`.
fn learned(class: Class) -> &'static str {
    match class {
        Class::PortScan => {
            "a program you know on {source} tries many ports or hosts, such as file sharing or a monitor"
        }
        Class::Flood => "{target} is being tested, copied to or backed up at full speed by somebody who may do so",
        Class::AppDos => "{target} is slow or busy, and its ordinary visitors wait and try again",
        Class::BruteForce => "a program with an old password, or a job of yours, logs in to {target} again and again",
        Class::WebAttack => "a crawler, a test or a busy page that you know sends these requests to {target}",
        Class::C2 => {
            "a program you installed on {source} calls {target} at intervals, such as an updater or a cloud app"
        }
        Class::DnsTunnel => "a mail filter, virus scanner or VPN that you use on {source} asks for such names",
        Class::Exfiltration => "{source} makes a backup or uploads photos or video to {target} by your wish",
        Class::Exploit => "{target} speaks an unusual protocol of its own that you know and use",
        Class::Infiltration => "you, or support you asked for, work on {target} from {source} by remote control",
        Class::Anomaly => {
            "{source} was just set up, updated or put to a new use, so that what it does is new and still wanted"
        }
        Class::Benign => "nothing was found",
    }
}

/// What behaviour that was counted, or bytes that were read, can mean instead.
fn counted(class: Class, kind: &str) -> &'static str {
    match class {
        Class::PortScan => scan(kind),
        Class::Flood => flood(kind),
        Class::AppDos => app_dos(kind),
        Class::BruteForce => brute_force(kind),
        Class::WebAttack => web_attack(kind),
        Class::C2 => c2(kind),
        Class::DnsTunnel if kind == "icmp_echo" => {
            "a monitor or VPN of yours on {source} carries data in its pings to {target}"
        }
        Class::DnsTunnel => {
            "{source} runs a mail filter, virus scanner, VPN or resolver that puts data into names, and you know it"
        }
        Class::Exfiltration => exfiltration(kind),
        Class::Exploit => exploit(kind),
        Class::Infiltration => infiltration(kind),
        Class::Anomaly => anomaly(kind),
        Class::Benign => "nothing was found",
    }
}

fn scan(kind: &str) -> &'static str {
    match kind {
        "ping_sweep" | "ping_scan" => {
            "{source} runs something of yours that looks for devices, such as a network app, a printer driver or a router"
        }
        "udp_scan" | "udp_sweep" => {
            "{source} runs file sharing, a game or a call that tries many peers, or the answers take another way than past this agent"
        }
        "ack_scan" | "fin_scan" | "ack_sweep" | "fin_sweep" => {
            "the start of these connections took another way than past this agent, as with two routers or a restart"
        }
        "connect_sweep" | "syn_sweep" => {
            "{source} is a monitor, an inventory tool or a file-sharing program of yours that asks many hosts for one service"
        }
        "distributed_scan" => {
            "{target} is tested from many places by somebody who may do so, or has just become popular"
        }
        "os_fingerprint" | "protocol_scan" | "protocol_sweep" => {
            "{source} is a scanner that you, or the maker of your router, run to take stock of the network"
        }
        _ => "{source} is a scanner, monitor or security check that you run yourself",
    }
}

fn flood(kind: &str) -> &'static str {
    if kind.contains("reflect") {
        "{target} asked these servers itself, such as a busy resolver or time server whose questions took another way"
    } else if kind.contains("syn") {
        "a load test of yours runs against {target}, or {target} is down and its ordinary visitors keep knocking"
    } else if kind == "connect" {
        "a load test or health check of yours opens connections to {target}, or a proxy of yours keeps them for later"
    } else if kind == "udp_repeated" {
        "a device of yours sends its state to {target} many times a second, as stage lights and controllers do"
    } else if kind.contains("udp") {
        "{target} receives a call, a game, a video stream or a VPN whose answers take another way than past this agent"
    } else if kind.contains("icmp") {
        "a monitor of yours measures {target} by many pings"
    } else {
        "a load test of yours runs against {target}, or the answers of {target} take another way than past this agent"
    }
}

fn app_dos(kind: &str) -> &'static str {
    match kind {
        "slow_requests" | "slow_body" | "slow_read" => {
            "{source} has a very slow or broken line, or uploads in small pieces as sensors and phones do"
        }
        "hoarded_connections" => {
            "{source} stands for many users, such as a proxy or a whole office, or keeps connections open for messages"
        }
        _ => "{source} is a load test, crawler or proxy that you know, or {target} has become popular",
    }
}

fn brute_force(kind: &str) -> &'static str {
    match kind {
        "ssh" => {
            "a backup, copy job or script of yours connects to {target} by SSH very often, or retries with an old key"
        }
        "ftp" => {
            "a camera, scanner or copy job of yours logs in to {target} by FTP for every file, or with an old password"
        }
        "http" | "tls" => {
            "an app or page with an old password keeps asking {target} for a login, or a test of yours does"
        }
        "smtp" | "imap" | "pop3" => "a mail program with an old password keeps asking {target} for mail",
        "smb" => "a computer with an old password keeps asking {target} for a shared folder",
        "rdp" | "rfb" | "vnc" | "telnet" => "somebody you know mistyped the password of {target} a number of times",
        "mysql" | "pgsql" | "mssql" | "redis" | "mongodb" | "ldap" => {
            "a program with a wrong or old password keeps connecting to the database {target}"
        }
        "mqtt" => "a device with an old password keeps connecting to the message broker {target}",
        "spread" => {
            "many users log in to {target} at the same time, such as after a password change or behind one proxy"
        }
        "spray" => "{source} is a monitor or login service of yours that logs in to many hosts",
        _ => "a program or person you know logs in to {target} again and again with a wrong or old password",
    }
}

fn web_attack(kind: &str) -> &'static str {
    match kind {
        "attack_tool" | "scanner" | "malformed_request" | "exploit_path" => {
            "{source} is a security scanner or link checker that you run against {target} yourself"
        }
        "sql_injection" | "nosql_injection" | "sql_error" => {
            "{target} is a database tool or search page to which such words are sent on purpose, or is under development"
        }
        "xss" | "malicious_page" => {
            "{target} is a forum, wiki or mail page in which pieces of web pages are written on purpose"
        }
        "path_traversal" | "file_inclusion" | "leaked_file" => {
            "{target} is a file server or developer's tool that takes such paths from those who may use it"
        }
        "web_shell" | "command_injection" | "code_injection" => {
            "you maintain {target} through a page that runs commands, and {source} is you"
        }
        "ssrf" => "{target} is made to fetch pages that others name, such as a feed reader or a link preview",
        _ => "the request to {target} was sent on purpose by somebody who may test it, or quotes such text",
    }
}

fn c2(kind: &str) -> &'static str {
    match kind {
        "dga" => {
            "a program you know on {source} asks for made-up names, as some browsers, virus scanners and ad blockers do"
        }
        "beacon" | "c2_profile" => {
            "a program you installed on {source} calls {target} at intervals, such as an updater, a monitor or a smart device"
        }
        "irc_bot" => "somebody uses IRC chat on {source}, or runs a chat bot there",
        "spam" | "spam_bot" => "{source} is a mail server or newsletter tool of yours",
        "announcement" => "{source} runs file sharing, a game or a discovery tool that greets very many peers",
        "recruiting" => "{source} is a scanner with which you survey devices of others on purpose",
        "miner" => "somebody mines coins on {source} on purpose",
        "remote_shell" | "rat" => "you, or support you asked for, control {source} or {target} from afar",
        "stager" | "disguised_program" | "program_download" | "bare_address" => {
            "somebody on {source} fetched a program from {target} on purpose and trusts where it comes from"
        }
        _ => "the program on {source} that talks to {target} is one you installed and trust",
    }
}

fn exfiltration(kind: &str) -> &'static str {
    if kind.contains("icmp") {
        "a monitor of yours sends large pings to {target} to measure the line"
    } else if kind.contains("dns") {
        "{source} runs a virus scanner, mail filter or VPN that sends data inside names, and you know it"
    } else {
        "{source} makes a backup, syncs files or uploads photos or video to {target} by your wish"
    }
}

fn exploit(kind: &str) -> &'static str {
    match kind {
        "exploit_kit" => {
            "the site that {source} visited makes up its addresses, as some advertisements and downloads do"
        }
        "risky_file" => "somebody on {source} wanted this help file, script or shortcut and trusts where it comes from",
        "overlong_field" | "repeated_byte" | "format_string" | "protocol_violation" | "service_loop" => {
            "a faulty or unusual program of yours on {source} talks to {target} in this way all the time"
        }
        "smb_exploit" | "rpc_exploit" | "zerologon" | "heartbleed" => {
            "{source} is a vulnerability scanner that you run against {target} yourself"
        }
        "disguised_program" | "program_download" | "stager" => {
            "somebody on {source} fetched a program from {target} on purpose and trusts where it comes from"
        }
        _ => "{source} is a security test of yours, or the bytes are part of a document or program about such attacks",
    }
}

fn infiltration(kind: &str) -> &'static str {
    match kind {
        "remote_shell" | "command_output" | "rat" => {
            "you, or support you asked for, opened this command line between {source} and {target}"
        }
        "remote_execution" | "directory_search" | "forced_login" | "directory_theft" => {
            "{source} is the computer from which the Windows network is run, or its backup or inventory tool"
        }
        "lateral_movement" => {
            "the program on {source} that was told before is one you trust, and work on {target} is its task"
        }
        "unknown_account" => "a program on {source} signs in under several names that were deleted or renamed",
        _ => "you, or support you asked for, work on {target} from {source}",
    }
}

fn anomaly(kind: &str) -> &'static str {
    if kind.contains("new_service") || kind.contains("new_peer") {
        "{source} was updated, or given a new use that explains the new connections"
    } else {
        "{source} was just set up, updated or put to a new use, so that what it does is new and still wanted"
    }
}

/// The first sensible step of somebody who is not sure.
fn next(class: Class, kind: &str, side: Side) -> &'static str {
    match (class, side) {
        (Class::PortScan, Side::Inward) => {
            "Nothing is broken into yet: see that your router forwards no port you do not need, and keep what it forwards up to date"
        }
        (Class::PortScan, Side::Within | Side::Outward) => {
            "Find the device with address {source}, ask its user, and if nobody started a scan, take it off the network and look for malware"
        }
        (Class::Flood, Side::Inward) => {
            "If your line is slow, restart the router to get a new address, and ask your provider for help when it goes on"
        }
        (Class::Flood, Side::Within | Side::Outward) => {
            "Find the device that sends this, unplug it, and reset or update it before it goes back online"
        }
        (Class::AppDos, _) => {
            "See whether {target} still answers; if not, limit connections per visitor in its server, and block {source} in the firewall"
        }
        (Class::BruteForce, Side::Inward) => {
            "Close this login to the Internet or allow known addresses alone, and see in the log of {target} whether anybody got in"
        }
        (Class::BruteForce, Side::Within | Side::Outward) => {
            "Find the device with address {source}, see which program logs in, and change the password of {target} if it is none of yours"
        }
        (Class::WebAttack, _) => {
            "Update the web application on {target}, and see in its log what answer these requests got"
        }
        (Class::C2, _) if kind == "dga" => {
            "Find the device with address {source} and look for malware on it; what it asked for is in the evidence"
        }
        (Class::C2, _) if matches!(kind, "known_domain" | "known_url" | "known_address" | "known_fingerprint") => {
            "Find the program on {source} that made this connection; unless you trust it, take the device off the network and look for malware"
        }
        (Class::C2, _) => {
            "Take {source} off the network, look for malware on it, and change passwords that were used on it"
        }
        (Class::DnsTunnel, _) => {
            "Find the program on {source} that asks for these names; if you do not know it, take the device off the network"
        }
        (Class::Exfiltration, _) => {
            "Ask the user of {source} what was uploaded; if nobody knows, take the device off the network and change its passwords"
        }
        (Class::Exploit, _) => {
            "Update {target}, see whether it behaves as before, and set it up anew if a program or user appears that you do not know"
        }
        (Class::Infiltration, _) => {
            "Take {target} off the network, see who is logged in, and change its passwords from another device"
        }
        (Class::Anomaly, _) => {
            "Look at the evidence and at what {source} did at that time; if it goes on and you cannot explain it, update or reset the device"
        }
        (Class::Benign, _) => "Nothing needs to be done",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::SIGNATURES;

    const WORDS_MAX: usize = 60;

    #[test]
    fn every_signature_and_witness_names_what_would_make_it_false_in_one_short_sentence() {
        let [home, away] = [[10, 0, 0, 7], [198, 51, 100, 9]].map(IpAddr::from);
        for signature in &SIGNATURES {
            for witness in Witness::ALL {
                for source in [Some(home), None] {
                    let parties = Parties { source, target: Some(away), id: 7 };
                    let told = parties.fill(innocent(signature.class, signature.kind, witness));
                    assert!(told.len() > 15, "{} {}: {told}", signature.text, witness.name());
                    for side in [Side::Within, Side::Outward, Side::Inward] {
                        let step = parties.fill(next(signature.class, signature.kind, side));
                        for text in [&told, &step] {
                            assert!(!text.contains(['{', '}', '\n']), "{text}");
                            assert!(text.split(' ').count() < WORDS_MAX, "{text}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_service_that_was_tried_decides_what_may_be_harmless() {
        let ssh = innocent(Class::BruteForce, "ssh", Witness::Behaviour);
        let ftp = innocent(Class::BruteForce, "ftp", Witness::Behaviour);
        assert!(ssh.contains("SSH") && ftp.contains("FTP") && ssh != ftp);
    }

    #[test]
    fn what_is_left_to_do_depends_on_where_it_comes_from() {
        let [home, printer, away] = [[10, 0, 0, 7], [10, 0, 0, 9], [198, 51, 100, 9]].map(IpAddr::from);
        assert_eq!(Side::of(home, printer), Side::Within);
        assert_eq!(Side::of(home, away), Side::Outward);
        assert_eq!(Side::of(away, home), Side::Inward);
        assert_ne!(next(Class::PortScan, "", Side::Inward), next(Class::PortScan, "", Side::Within));
    }
}
