//! Thresholds of the behaviour detectors. `rules/behaviour.toml` holds the same values and says
//! what they mean.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{ConfigError, parse_table};

/// When conduct counts as an attack.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BehaviourSettings {
    pub scan: ScanSettings,
    pub sweep: SweepSettings,
    pub flood: FloodSettings,
    pub app_dos: AppDosSettings,
    pub brute_force: BruteForceSettings,
    pub dns_tunnel: DnsTunnelSettings,
    pub bot: BotSettings,
    pub beacon: BeaconSettings,
    pub device: DeviceSettings,
    pub limits: LimitsSettings,
}

/// One source tries many ports of one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScanSettings {
    /// Distinct ports that gave no conversation, quick and slow. Closed, silent and merely opened ports count.
    pub ports_60s: f64,
    pub ports_600s: f64,
    /// The same for TCP over one hour and six.
    pub ports_3600s: f64,
    pub ports_21600s: f64,
    /// Of all ports tried, the share that gave none.
    pub unproductive_share: f64,
    /// The same for UDP; the slow one is higher, because applications fall silent more often there.
    pub udp_ports_60s: f64,
    pub udp_ports_600s: f64,
    /// Distinct IP protocols, beside the common ones, sent to one target without an answer.
    pub protocols_60s: f64,
    /// Distinct odd ICMP requests (timestamp, information, address mask) to one target.
    pub odd_icmp_60s: f64,
    /// Distinct TCP ports of one target that so many sources together tried in vain.
    pub crowd_ports_60s: f64,
    pub crowd_ports_600s: f64,
    pub crowd_sources: f64,
}

impl Default for ScanSettings {
    fn default() -> Self {
        Self {
            ports_60s: 12.0,
            ports_600s: 25.0,
            ports_3600s: 40.0,
            ports_21600s: 60.0,
            unproductive_share: 0.6,
            udp_ports_60s: 12.0,
            udp_ports_600s: 60.0,
            protocols_60s: 8.0,
            odd_icmp_60s: 2.0,
            crowd_ports_60s: 60.0,
            crowd_ports_600s: 150.0,
            crowd_sources: 10.0,
        }
    }
}

/// One source tries one port, or pings, on many targets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SweepSettings {
    pub targets_60s: f64,
    pub targets_600s: f64,
    /// Of all targets tried, the share that refused or kept silent.
    pub unanswered_share: f64,
    /// For UDP, where unanswered packets to many peers are part of life in peer-to-peer networks.
    pub udp_targets_60s: f64,
    pub udp_unanswered_share: f64,
    /// For TCP ports above 1023 that no common service uses: overlay networks keep looking for peers there.
    pub peer_targets_60s: f64,
    /// Distinct pairs of target and port tried in vain by one source, whatever the ports.
    pub scatter_60s: f64,
    pub scatter_unanswered_share: f64,
}

impl Default for SweepSettings {
    fn default() -> Self {
        Self {
            targets_60s: 20.0,
            targets_600s: 50.0,
            unanswered_share: 0.6,
            udp_targets_60s: 60.0,
            udp_unanswered_share: 0.9,
            peer_targets_60s: 120.0,
            scatter_60s: 250.0,
            scatter_unanswered_share: 0.9,
        }
    }
}

/// More than a target can be meant to serve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FloodSettings {
    /// TCP connections to one port of a target that their sources begin and never complete.
    pub half_open_10s: f64,
    /// Of all connections to it, the share that never completes.
    pub half_open_share: f64,
    /// TCP flows to one port of a target that begin without SYN and carry no payload.
    pub stray_10s: f64,
    /// The same where they come from one source, whose connections may just be older than the agent.
    pub stray_one_source_10s: f64,
    /// TCP connections to one port of a target that are completed and over which nothing is said.
    pub mute_10s: f64,
    /// The same where they come from one source, which may just look whether the service is up.
    pub mute_one_source_10s: f64,
    /// UDP flows to one target that get no answer, and their share.
    pub udp_flows_10s: f64,
    pub udp_silent_share: f64,
    /// UDP packets to one target in flows without an answer.
    pub udp_packets_10s: f64,
    /// UDP packets to one target in flows without an answer, each of which is one datagram time after time.
    pub udp_alike_10s: f64,
    /// UDP packets from a port of reflectors to one target that had asked for none.
    pub answers_10s: f64,
    /// ICMP packets to one target.
    pub icmp_packets_10s: f64,
    /// Short requests for an echo, all of one size, from one source to one target.
    pub echoes_10s: f64,
    /// Sources from which a flood counts as distributed or spoofed.
    pub sources_many: f64,
}

impl Default for FloodSettings {
    fn default() -> Self {
        Self {
            half_open_10s: 150.0,
            half_open_share: 0.8,
            stray_10s: 300.0,
            stray_one_source_10s: 1000.0,
            mute_10s: 300.0,
            mute_one_source_10s: 1000.0,
            udp_flows_10s: 300.0,
            udp_silent_share: 0.9,
            udp_packets_10s: 50_000.0,
            udp_alike_10s: 300.0,
            answers_10s: 300.0,
            icmp_packets_10s: 1000.0,
            echoes_10s: 300.0,
            sources_many: 20.0,
        }
    }
}

/// One source keeps a service of one target from serving others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AppDosSettings {
    /// Connections that send a little, get no answer and stay for at least `stalled_secs`.
    pub stalled_60s: f64,
    pub stalled_secs: u64,
    /// Connections open at once that have carried next to nothing, and how little that is.
    pub hoarded: f64,
    /// The same where they speak HTTP or MQTT.
    pub hoarded_named: f64,
    pub hoarded_payload_bytes: u64,
    /// HTTP connections in which the browser claims to be another one time after time.
    pub agents_60s: f64,
    pub agents_share: f64,
    /// Names of first parameters in HTTP requests, ever new ones, and their share of the requests.
    pub parameters_60s: f64,
    pub parameters_share: f64,
    /// Connections with a tiny receive window that take an answer for at least `stalled_secs`.
    pub slow_reads_60s: f64,
    /// TLS connections that end behind the handshake.
    pub handshakes_10s: f64,
    /// Packets that one MQTT client, or the clients at one address, send to a broker.
    pub mqtt_packets_10s: f64,
    /// The same in messages, of which clients put many into a packet.
    pub mqtt_messages_10s: f64,
    /// HTTP connections from one source to one service, whatever they say.
    pub requests_10s: f64,
}

impl Default for AppDosSettings {
    fn default() -> Self {
        Self {
            stalled_60s: 20.0,
            stalled_secs: 5,
            hoarded: 300.0,
            hoarded_named: 100.0,
            hoarded_payload_bytes: 512,
            agents_60s: 6.0,
            agents_share: 0.2,
            parameters_60s: 20.0,
            parameters_share: 0.5,
            slow_reads_60s: 20.0,
            handshakes_10s: 60.0,
            mqtt_packets_10s: 1000.0,
            mqtt_messages_10s: 5000.0,
            requests_10s: 1000.0,
        }
    }
}

/// One source guesses at one service of one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BruteForceSettings {
    /// Connections in which a login in clear was seen to fail.
    pub failed_60s: f64,
    pub failed_600s: f64,
    pub failed_3600s: f64,
    /// Connections in which credentials for a web page went out, whatever came back.
    pub web_tries_60s: f64,
    /// Short connections to SSH, Telnet, FTP, RDP or VNC, quick and slow.
    pub sessions_60s: f64,
    pub sessions_600s: f64,
    /// The same where the source is outside the house; the last is over an hour.
    pub outside_sessions_60s: f64,
    pub outside_sessions_600s: f64,
    pub outside_sessions_3600s: f64,
    /// What counts as short: at most so long, and so many payload bytes either way.
    pub session_secs_max: u64,
    pub session_bytes_max: u64,
    /// Failed logins at one service from many sources.
    pub spread_failed_60s: f64,
    pub spread_failed_600s: f64,
    pub spread_sources: f64,
    /// Short sessions at one service from sources outside the house, which together guess at it.
    pub spread_sessions_60s: f64,
    /// Distinct targets at which one source failed to log in, at the same service.
    pub spray_targets_600s: f64,
}

impl Default for BruteForceSettings {
    fn default() -> Self {
        Self {
            failed_60s: 8.0,
            failed_600s: 10.0,
            failed_3600s: 20.0,
            web_tries_60s: 20.0,
            sessions_60s: 10.0,
            sessions_600s: 20.0,
            outside_sessions_60s: 6.0,
            outside_sessions_600s: 12.0,
            outside_sessions_3600s: 40.0,
            session_secs_max: 300,
            session_bytes_max: 4000,
            spread_failed_60s: 30.0,
            spread_failed_600s: 60.0,
            spread_sources: 10.0,
            spread_sessions_60s: 25.0,
            spray_targets_600s: 6.0,
        }
    }
}

/// Names below one domain carry data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DnsTunnelSettings {
    /// Sums over distinct names of how little each looks like one for a host, decaying, quick to slow.
    pub weight_60s: f64,
    pub weight_600s: f64,
    pub weight_3600s: f64,
    /// Fewer distinct names than this are never a tunnel.
    pub names_min: f64,
    /// Distinct coded or numbered names of odd types below at least three domains, and their share of all names.
    pub spread_names_600s: f64,
    pub spread_share: f64,
    /// Distinct odd types asked for below at least three domains, distinct names of them, and their share of all names.
    pub types_600s: f64,
    pub types_names_600s: f64,
    pub types_share: f64,
    /// Domains below which names carry data for all the world to know, with all below them.
    pub allow_domains: Vec<String>,
}

impl Default for DnsTunnelSettings {
    fn default() -> Self {
        const ALLOWED: [&str; 23] = [
            "abuse.ch",
            "avast.com",
            "avcdn.net",
            "barracudacentral.org",
            "bitdefender.net",
            "brightcloud.com",
            "cymru.com",
            "dnswl.org",
            "e5.sk",
            "googlesyndication.com",
            "invaluement.com",
            "kaspersky-labs.com",
            "mailspike.net",
            "mcafee.com",
            "rspamd.com",
            "senderbase.org",
            "sophosxl.com",
            "sophosxl.net",
            "spamcop.net",
            "spamhaus.net",
            "spamhaus.org",
            "surbl.org",
            "uribl.com",
        ];
        Self {
            weight_60s: 10.0,
            weight_600s: 20.0,
            weight_3600s: 50.0,
            names_min: 6.0,
            spread_names_600s: 16.0,
            spread_share: 0.4,
            types_600s: 4.0,
            types_names_600s: 5.0,
            types_share: 0.15,
            allow_domains: ALLOWED.map(str::to_owned).to_vec(),
        }
    }
}

/// A device works for a stranger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BotSettings {
    /// Distinct hosts that got one and the same datagram of no known protocol, and the share that kept silent.
    pub announce_targets_60s: f64,
    pub announce_unanswered_share: f64,
    /// Distinct hosts to which a source that takes in no mail itself handed mail at port 25.
    pub mail_hosts_60s: f64,
    pub mail_hosts_600s: f64,
    /// Distinct hosts outside that a device of the house tried at ports of worms, and the share that did not answer or refused.
    pub recruit_targets_60s: f64,
    pub recruit_unanswered_share: f64,
}

impl Default for BotSettings {
    fn default() -> Self {
        Self {
            announce_targets_60s: 120.0,
            announce_unanswered_share: 0.9,
            mail_hosts_60s: 30.0,
            mail_hosts_600s: 100.0,
            recruit_targets_60s: 15.0,
            recruit_unanswered_share: 0.9,
        }
    }
}

/// Connections come like clockwork, and are odd in other ways too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BeaconSettings {
    /// Connections, or bursts of them, before a period is looked for.
    pub beats_min: f64,
    /// Median deviation from the period, as its share.
    pub jitter_max: f64,
    /// Of: no name, which is needed, a foreign port, one small size, no program named. Period alone is never told.
    pub oddities_min: f64,
}

impl Default for BeaconSettings {
    fn default() -> Self {
        Self { beats_min: 10.0, jitter_max: 0.3, oddities_min: 2.0 }
    }
}

/// A device of the house departs from its own past.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeviceSettings {
    /// Hours with traffic that have to be known before an hour can be too much.
    pub learn_hours: f64,
    /// What an hour has to send out at least, the median deviations it has to exceed the median by, and the times
    /// it has to exceed the busiest hour by.
    pub sent_mb_min: f64,
    pub sent_deviations: f64,
    pub sent_times_max: f64,
    /// One upload in clear or in an unknown protocol that is told even of an unknown device, at low severity.
    pub upload_mb_min: f64,
    /// Days after which a device with few services counts as simple, and a new one as news.
    pub simple_days: i64,
}

impl Default for DeviceSettings {
    fn default() -> Self {
        Self {
            learn_hours: 24.0,
            sent_mb_min: 50.0,
            sent_deviations: 8.0,
            sent_times_max: 3.0,
            upload_mb_min: 200.0,
            simple_days: 3,
        }
    }
}

/// Bounds of what is remembered; beyond them the idlest goes first, counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsSettings {
    pub flows_max: usize,
    pub pairs_max: usize,
    pub sources_max: usize,
    pub targets_max: usize,
    pub services_max: usize,
    pub devices_max: usize,
    /// An unanswered flow counts as such after this long.
    pub grace_millis: u64,
    /// While something goes on it is reported again when it has doubled, and at least this often.
    pub repeat_secs: u64,
}

impl Default for LimitsSettings {
    fn default() -> Self {
        Self {
            flows_max: 32_768,
            pairs_max: 8192,
            sources_max: 8192,
            targets_max: 4096,
            services_max: 8192,
            devices_max: 512,
            grace_millis: 1000,
            repeat_secs: 5,
        }
    }
}

/// Reads thresholds from a file; keys that are missing keep the built-in values.
pub fn load_behaviour(path: &Path) -> Result<BehaviourSettings, ConfigError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    let settings: BehaviourSettings = parse_table(&text, path)?;
    let wrong = |message: String| ConfigError::Wrong { path: path.to_owned(), line: 1, message };
    let tables = toml::Table::try_from(&settings).map_err(|error| wrong(error.to_string()))?;
    for (table, entries) in &tables {
        for (key, value) in entries.as_table().into_iter().flatten().filter(|(_, value)| !value.is_array()) {
            let number = value.as_float().or_else(|| value.as_integer().map(|number| number as f64)).unwrap_or(0.0);
            let most = if key.ends_with("_share") { 1.0 } else { 1e12 };
            if !(number > 0.0 && number <= most) {
                return Err(wrong(format!("{table}.{key} = {value} is out of range: above 0, at most {most}")));
            }
        }
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../rules/behaviour.toml");

    #[test]
    fn the_shipped_rules_are_the_built_in_ones() -> Result<(), ConfigError> {
        assert_eq!(load_behaviour(Path::new(SHIPPED))?, BehaviourSettings::default());
        Ok(())
    }

    #[test]
    fn the_shipped_rules_name_every_threshold() -> Result<(), Box<dyn std::error::Error>> {
        let shipped: toml::Table = toml::from_str(&std::fs::read_to_string(SHIPPED)?)?;
        let built_in = toml::Table::try_from(BehaviourSettings::default())?;
        for (name, table) in &built_in {
            let keys = |table: Option<&toml::Value>| -> Vec<String> {
                table.and_then(toml::Value::as_table).map_or(Vec::new(), |table| table.keys().cloned().collect())
            };
            assert_eq!(keys(shipped.get(name)), keys(Some(table)), "[{name}]");
        }
        Ok(())
    }

    #[test]
    fn mistakes_are_told() -> Result<(), Box<dyn std::error::Error>> {
        for (text, told) in [
            ("[scan]\nport_60s = 3", "unknown key `port_60s`"),
            ("[flood]\nhalf_open_share = 1.5", "flood.half_open_share = 1.5 is out of range"),
            ("[scan]\nports_60s = nan", "scan.ports_60s = nan is out of range"),
            ("[scan]\nports_60s = 0", "scan.ports_60s = 0.0 is out of range"),
        ] {
            let file = tempfile::NamedTempFile::new()?;
            std::fs::write(file.path(), text)?;
            let error = load_behaviour(file.path()).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(told), "{error}");
        }
        Ok(())
    }
}
