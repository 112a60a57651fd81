//! Writes suricata.yaml: from a plan to the file's text. Pure; `machine` makes the plan.

use std::{
    fmt::{self, Write},
    path::{Path, PathBuf},
};

/// Everything that the file depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub interfaces: Vec<String>,
    /// What Suricata takes for the inside, as prefixes.
    pub home_networks: Vec<String>,
    /// The CPUs that its threads may use.
    pub cpus: Vec<u16>,
    pub memory: Memory,
    pub eve: EveTo,
    /// Where socket, pid file and the like go.
    pub run_dir: PathBuf,
    /// Where the rule files are.
    pub rules_dir: PathBuf,
    pub rule_files: Vec<String>,
    pub classification: PathBuf,
    pub reference: PathBuf,
}

/// Where eve.json goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EveTo {
    File(PathBuf),
    /// A socket on which somebody listens: lines are lost while nobody does.
    Socket(PathBuf),
}

/// How the memory is divided. All of it in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// What it was divided from.
    pub whole: u64,
    pub flow: u64,
    pub stream: u64,
    pub reassembly: u64,
    pub defrag: u64,
    pub host: u64,
    pub http: u64,
    /// All rings between the kernel and Suricata together.
    pub rings: u64,
}

const MIB: u64 = 1 << 20;
/// Below this Suricata has no room for any rules.
pub(super) const WHOLE_MIB_MIN: u64 = 192;

impl Memory {
    /// Divides so many MiB. A little more than half is left for the program and its rules: with 22,577 rules of ET Open an
    /// idle Suricata took 258 MiB, and 361 MiB after it had taken them anew.
    pub fn divide(whole_mib: u64) -> Self {
        let whole = whole_mib.max(WHOLE_MIB_MIN) * MIB;
        let tables = whole * 9 / 20;
        let percent = |share: u64| tables * share / 100 / MIB * MIB;
        Self {
            whole,
            flow: percent(25).max(8 * MIB),
            stream: percent(12).max(8 * MIB),
            reassembly: percent(32).max(8 * MIB),
            defrag: percent(6).max(4 * MIB),
            host: percent(5).max(2 * MIB),
            http: percent(8).max(4 * MIB),
            rings: percent(12).max(4 * MIB),
        }
    }

    pub const fn tables(&self) -> u64 {
        self.flow + self.stream + self.reassembly + self.defrag + self.host + self.http + self.rings
    }
}

/// A frame in a ring, with the kernel's header before it.
const RING_FRAME_BYTES: u64 = 1_700;
/// Suricata's number for the first group of sockets that share an interface; each interface has its own.
const CLUSTER: usize = 99;

impl Plan {
    /// Packets that each thread's ring holds.
    fn ring_packets(&self) -> u64 {
        let rings = (self.interfaces.len().max(1) * self.cpus.len().max(1)) as u64;
        (self.memory.rings / rings / RING_FRAME_BYTES).clamp(512, 65_536)
    }

    /// Slots of a hash table whose entries take about so many bytes.
    const fn slots(bytes: u64, each: u64) -> u64 {
        let wanted = bytes / each;
        let floor = if wanted < 1_024 { 1_024 } else { wanted };
        // The power of two that is not above it.
        1 << (63 - floor.leading_zeros())
    }

    /// The file's text.
    pub fn render(&self) -> String {
        let mut out = String::new();
        // Writing into a string fails for nobody.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        self.head(out)?;
        self.outputs(out)?;
        self.capture(out)?;
        self.tables(out)?;
        out.push_str(PROTOCOLS);
        writeln!(out, "      memcap: {}  # of all requests and answers in the making", mb(self.memory.http))?;
        out.push_str(HTP);
        self.rules(out)
    }

    fn head(&self, out: &mut String) -> fmt::Result {
        let whole = self.memory.whole / MIB;
        let tables = self.memory.tables() / MIB;
        let cpus = list(&self.cpus);
        writeln!(
            out,
            "%YAML 1.1
---
# Written by `ids-agent generate suricata` for this machine. Whoever edits it keeps it out of the way of the next run.
# Fit to {whole} MiB of memory, of which the tables below take {tables}, and to CPU {cpus}.

suricata-version: \"7.0\"

vars:
  address-groups:
    # Most rules look at traffic between the inside and the rest: a network that is missing here is not protected, and one
    # that is wrongly here makes noise.
    HOME_NET: {home}
    EXTERNAL_NET: \"!$HOME_NET\"
    # Rules name these; whoever knows where the servers are makes the rules quicker and quieter by saying so.",
            home = quoted(&format!("[{}]", self.home_networks.join(","))),
        )?;
        for group in [
            "HTTP_SERVERS",
            "SMTP_SERVERS",
            "SQL_SERVERS",
            "DNS_SERVERS",
            "TELNET_SERVERS",
            "DC_SERVERS",
            "DNP3_SERVER",
            "DNP3_CLIENT",
            "MODBUS_CLIENT",
            "MODBUS_SERVER",
            "ENIP_CLIENT",
            "ENIP_SERVER",
        ] {
            writeln!(out, "    {group}: \"$HOME_NET\"")?;
        }
        out.push_str(
            "    AIM_SERVERS: \"$EXTERNAL_NET\"
  port-groups:
    HTTP_PORTS: \"80\"
    SHELLCODE_PORTS: \"!80\"
    ORACLE_PORTS: 1521
    SSH_PORTS: 22
    DNP3_PORTS: 20000
    MODBUS_PORTS: 502
    FILE_DATA_PORTS: \"[$HTTP_PORTS,110,143]\"
    FTP_PORTS: 21
    GENEVE_PORTS: 6081
    VXLAN_PORTS: 4789
    TEREDO_PORTS: 3544

",
        );
        Ok(())
    }

    fn outputs(&self, out: &mut String) -> fmt::Result {
        let run = quoted_path(&self.run_dir);
        writeln!(
            out,
            "default-log-dir: {run}

# Counters, among them what the kernel dropped before Suricata saw it: a sensor that drops is blind without a word.
stats:
  enabled: yes
  interval: 30

outputs:
  - eve-log:
      enabled: yes"
        )?;
        let (filetype, path) = match &self.eve {
            EveTo::File(path) => ("regular", path),
            EveTo::Socket(path) => ("unix_stream  # lines are lost while nobody listens", path),
        };
        writeln!(out, "      filetype: {filetype}\n      filename: {}", quoted_path(path))?;
        out.push_str(EVE_TYPES);
        writeln!(
            out,
            "
# Warnings and errors go to whoever started Suricata; nothing else is written.
logging:
  default-log-level: notice
  outputs:
    - console:
        enabled: yes

# The socket that answers `uptime` and `ruleset-stats`, and that takes `ruleset-reload-rules` and `reopen-log-files`.
unix-command:
  enabled: yes
  filename: {socket}

pid-file: {pid}
coredump:
  max-dump: 0
",
            socket = quoted_path(&self.run_dir.join(super::SOCKET)),
            pid = quoted_path(&self.run_dir.join(super::PID)),
        )
    }

    fn capture(&self, out: &mut String) -> fmt::Result {
        let threads = self.cpus.len().max(1);
        let ring = self.ring_packets();
        out.push_str("# A copy of every packet, through rings in shared memory. Suricata only looks; nothing passes through it.\naf-packet:\n");
        for (at, interface) in self.interfaces.iter().enumerate() {
            writeln!(
                out,
                "  - interface: {name}
    threads: {threads}  # one for each CPU it may use
    cluster-id: {cluster}
    cluster-type: cluster_flow  # both directions of a flow meet in one thread
    defrag: yes
    use-mmap: yes
    tpacket-v3: yes
    ring-size: {ring}  # packets that wait for one thread; more ride out longer bursts and take more memory
    block-size: 131072  # room for the longest packet that fragments make
    checksum-checks: kernel  # what this machine sends has no checksum yet when it is copied",
                name = quoted(interface),
                cluster = CLUSTER.saturating_sub(at),
            )?;
        }
        writeln!(
            out,
            "
# Packets in flight in one thread.
max-pending-packets: 1024

threading:
  set-cpu-affinity: yes
  cpu-affinity:
    - management-cpu-set:
        cpu: [ {cpus} ]
    - receive-cpu-set:
        cpu: [ {cpus} ]
    - worker-cpu-set:
        cpu: [ {cpus} ]
        mode: exclusive
        prio:
          default: low  # where time is short, the flow counters come first
  detect-thread-ratio: 1.0
",
            cpus = list(&self.cpus)
        )
    }

    fn tables(&self, out: &mut String) -> fmt::Result {
        let memory = &self.memory;
        let flow_slots = Self::slots(memory.flow, 1_024);
        let fragments = Self::slots(memory.defrag, 2_048);
        writeln!(
            out,
            "# Tables. Each has its own cap, and does less when it is reached: flows end early, streams are not put together.
flow:
  memcap: {flow}
  hash-size: {flow_slots}
  prealloc: {prealloc}
  emergency-recovery: 30
vlan:
  use-for-tracking: true  # the same addresses in two VLANs are two flows
livedev:
  use-for-tracking: true
flow-timeouts:
  default: {{ new: 30, established: 300, closed: 0, emergency-new: 10, emergency-established: 100, emergency-closed: 0 }}
  tcp: {{ new: 60, established: 600, closed: 60, emergency-new: 5, emergency-established: 100, emergency-closed: 10 }}
  udp: {{ new: 30, established: 300, emergency-new: 10, emergency-established: 100 }}
  icmp: {{ new: 30, established: 300, emergency-new: 10, emergency-established: 100 }}
stream:
  memcap: {stream}
  checksum-validation: yes
  inline: no
  midstream: false
  reassembly:
    memcap: {reassembly}
    depth: 1mb  # what follows in a stream is not looked into
    toserver-chunk-size: 2560
    toclient-chunk-size: 2560
    randomize-chunk-size: yes
defrag:
  memcap: {defrag}
  hash-size: {fragments}
  trackers: {fragments}
  max-frags: {max_frags}
  prealloc: yes
  timeout: 60
host:
  hash-size: 4096
  prealloc: 256
  memcap: {host}
ippair:
  hash-size: 4096
  prealloc: 256
  memcap: {host}
asn1-max-frames: 256
host-mode: sniffer-only
# What a full table does to packets: nothing. Suricata only looks.
exception-policy: ignore
pcre:
  match-limit: 3500
  match-limit-recursion: 1500
decoder:
  teredo: {{ enabled: true, ports: $TEREDO_PORTS }}
  vxlan: {{ enabled: true, ports: $VXLAN_PORTS }}
  geneve: {{ enabled: true, ports: $GENEVE_PORTS }}
",
            flow = mb(memory.flow),
            prealloc = (flow_slots / 8).min(10_000),
            stream = mb(memory.stream),
            reassembly = mb(memory.reassembly),
            defrag = mb(memory.defrag),
            max_frags = fragments * 2,
            host = mb(memory.host),
        )
    }

    fn rules(&self, out: &mut String) -> fmt::Result {
        writeln!(
            out,
            "
# Rules in larger groups take less memory and more time.
detect:
  profile: {profile}
  sgh-mpm-context: auto
mpm-algo: auto
spm-algo: auto

default-rule-path: {path}
rule-files:",
            profile = if self.memory.whole < 256 * MIB { "low" } else { "medium" },
            path = quoted_path(&self.rules_dir),
        )?;
        for file in &self.rule_files {
            writeln!(out, "  - {}", quoted(file))?;
        }
        writeln!(
            out,
            "classification-file: {}\nreference-config-file: {}",
            quoted_path(&self.classification),
            quoted_path(&self.reference)
        )
    }
}

/// What the agent joins. The rest of what Suricata could say costs time and is left out.
const EVE_TYPES: &str = "      # The same name for a flow that the agent gives it: what joins an alert to its flow.
      community-id: true
      community-id-seed: 0
      types:
        - alert:
            tagged-packets: no
            metadata: yes  # the rule's own words: technique, severity, who wrote it
        - anomaly:
            enabled: yes
            types: { decode: no, stream: no, applayer: yes }
        - http:
            extended: yes
        - dns
        - tls:
            extended: yes
            ja4: on
        - files:
            force-magic: no
        - ssh
        - smb
        - stats:
            totals: yes
            threads: no
            deltas: no
        - flow
";

/// Ends where the memory of HTTP is to follow.
const PROTOCOLS: &str = "app-layer:
  protocols:
    tls:
      enabled: yes
      detection-ports: { dp: 443 }
      ja3-fingerprints: yes
      ja4-fingerprints: yes
      encryption-handling: default
    ssh: { enabled: yes, hassh: yes }
    dns:
      tcp: { enabled: yes, detection-ports: { dp: 53 } }
      udp: { enabled: yes, detection-ports: { dp: 53 } }
    smb:
      enabled: yes
      detection-ports: { dp: \"139, 445\" }
    rfb:
      enabled: yes
      detection-ports: { dp: \"5900, 5901, 5902, 5903, 5904, 5905, 5906, 5907, 5908, 5909\" }
    smtp:
      enabled: yes
      raw-extraction: no
      mime:
        decode-mime: yes
        decode-base64: yes
        decode-quoted-printable: yes
        header-value-depth: 2000
        extract-urls: yes
      inspected-tracker:
        content-limit: 100000
        content-inspect-min-size: 32768
        content-inspect-window: 4096
    bittorrent-dht: { enabled: yes }
    dcerpc: { enabled: yes }
    dhcp: { enabled: yes }
    dnp3: { enabled: yes, detection-ports: { dp: 20000 } }
    enip: { enabled: yes, detection-ports: { dp: 44818, sp: 44818 } }
    ftp: { enabled: yes }
    http2: { enabled: yes }
    ike: { enabled: yes }
    imap: { enabled: detection-only }
    krb5: { enabled: yes }
    modbus: { enabled: yes, detection-ports: { dp: 502 }, stream-depth: 0 }
    mqtt: { enabled: yes }
    nfs: { enabled: yes }
    ntp: { enabled: yes }
    pgsql: { enabled: yes, stream-depth: 0 }
    quic: { enabled: yes }
    rdp: { enabled: yes }
    sip: { enabled: yes }
    snmp: { enabled: yes }
    telnet: { enabled: yes }
    tftp: { enabled: yes }
    http:
      enabled: yes
";

const HTP: &str = "      libhtp:
        default-config:
          personality: IDS
          request-body-limit: 100kb
          response-body-limit: 100kb
          request-body-minimal-inspect-size: 32kb
          request-body-inspect-window: 4kb
          response-body-minimal-inspect-size: 40kb
          response-body-inspect-window: 16kb
          response-body-decompress-layer-limit: 2
          http-body-inline: auto
          swf-decompression: { enabled: no, type: both, compress-depth: 100kb, decompress-depth: 100kb }
          double-decode-path: no
          double-decode-query: no
";

fn mb(bytes: u64) -> String {
    format!("{}mb", bytes / MIB)
}

fn list(cpus: &[u16]) -> String {
    let cpus: Vec<String> = cpus.iter().map(u16::to_string).collect();
    cpus.join(", ")
}

fn quoted_path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

/// A double-quoted scalar: only these two characters, and control characters, mean something in it.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            plain if !plain.is_control() => quoted.push(plain),
            control => {
                let _ = write!(quoted, "\\U{:08X}", u32::from(control));
            }
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_rings_leave_more_than_half_for_the_rules() {
        for whole_mib in [192, 256, 512, 1_024, 4_096] {
            let memory = Memory::divide(whole_mib);
            assert!(memory.tables() <= whole_mib * MIB / 2, "{whole_mib} MiB: {memory:?}");
        }
        assert_eq!(Memory::divide(0), Memory::divide(WHOLE_MIB_MIN));
    }

    #[test]
    fn hash_tables_have_a_power_of_two_that_is_not_above_what_was_asked() {
        assert_eq!([0, 1 << 20, 3 << 20, 4 << 20].map(|bytes| Plan::slots(bytes, 1_024)), [1_024, 1_024, 2_048, 4_096]);
    }

    #[test]
    fn text_cannot_leave_its_quotes() {
        assert_eq!(quoted("a\"b\\c\nd: é"), "\"a\\\"b\\\\c\\U0000000Ad: é\"");
    }
}
