//! Reads settings from TOML and reports a mistake as one line: file, line, key, value, remedy.

use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

use super::{Config, CpuOf, FEEDS_MAX, budget::CPU_PERCENT_MAX};

/// Why settings could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read configuration `{path}`: {source}; name an existing file or leave --config out")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{path}:{line}: {message}", path = path.display())]
    Wrong { path: PathBuf, line: usize, message: String },
    /// A value given on the command line or by environment.
    #[error("{0}")]
    Override(String),
}

/// Reads and checks a configuration file.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    from_text(&text, path)
}

/// Reads and checks a configuration's text; `path` names it in errors.
pub fn from_text(text: &str, path: &Path) -> Result<Config, ConfigError> {
    let config: Config = parse_table(text, path)?;
    config.check_in(text, path)?;
    Ok(config)
}

/// Reads any table of settings from TOML text; `path` names it in errors.
pub fn parse_table<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        ConfigError::Wrong {
            path: path.to_owned(),
            line: line_of(text, span.start),
            message: explain(text, error.message(), &span),
        }
    })
}

/// A value that parsed but cannot be meant.
#[derive(Debug)]
struct Fault {
    key: String,
    value: String,
    want: &'static str,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} = {} is out of range: {}", self.key, self.value, self.want)
    }
}

/// Refuses a value that the machine cannot give. Names the file and line, where the key stands in one.
pub fn refused(path: Option<&Path>, key: &str, value: &str, want: &str) -> ConfigError {
    let message = format!("{key} = {value} is not possible: {want}");
    let text = path.and_then(|path| Some((path, std::fs::read_to_string(path).ok()?)));
    match text.and_then(|(path, text)| Some((path, line_of(&text, locate_key(&text, key)?)))) {
        Some((path, line)) => ConfigError::Wrong { path: path.to_owned(), line, message: one_line(&message) },
        None => ConfigError::Override(message),
    }
}

fn explain(text: &str, message: &str, span: &Range<usize>) -> String {
    let key = one_line(&key_path(text, span));
    let message = one_line(message);
    let mut quoted = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown field") {
        let unknown = quoted.next().unwrap_or_default();
        let known: Vec<&str> = quoted.collect();
        let within = match key.rsplit_once('.') {
            Some((table, _)) => format!(" in [{table}]"),
            None => String::new(),
        };
        return match nearest(unknown, &known) {
            Some(near) => format!("unknown key `{unknown}`{within}; did you mean `{near}`?"),
            None => format!("unknown key `{unknown}`{within}; it takes {}", known.join(", ")),
        };
    }
    if message.starts_with("unknown variant") {
        let unknown = quoted.next().unwrap_or_default();
        let known: Vec<&str> = quoted.collect();
        return format!("{key} = \"{unknown}\" is not known; it takes {}", known.join(", "));
    }
    if key.is_empty() { format!("not valid TOML: {message}") } else { format!("{key}: {message}") }
}

/// Keys and values of the file stand in messages, and may hold line breaks and control characters.
fn one_line(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    let mut line = String::new();
    for character in words.join(" ").chars() {
        match character {
            plain if !plain.is_control() => line.push(plain),
            control => line.extend(control.escape_default()),
        }
    }
    line
}

/// The known name closest to `unknown`, if any is close enough to be what was meant.
fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|name| (strsim::jaro_winkler(unknown, name), *name))
        .filter(|(score, _)| *score > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

/// The dotted key whose name or value contains the span; empty where the text does not parse.
fn key_path(text: &str, span: &Range<usize>) -> String {
    let mut path = Vec::new();
    if let Ok(table) = DeTable::parse(text) {
        descend(table.get_ref(), span, &mut path);
    }
    path.join(".")
}

fn descend(table: &DeTable<'_>, span: &Range<usize>, path: &mut Vec<String>) {
    let within = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
    for (key, value) in table {
        // A table's own span is its header, so its entries are searched whatever the span says.
        path.push(key.get_ref().to_string());
        let depth = path.len();
        match value.get_ref() {
            DeValue::Table(inner) => descend(inner, span, path),
            DeValue::Array(items) => {
                for item in items.iter() {
                    if let DeValue::Table(inner) = item.get_ref() {
                        descend(inner, span, path);
                    }
                    if path.len() > depth {
                        break;
                    }
                }
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => {}
        }
        if path.len() > depth || within(key.span()) || within(value.span()) {
            return;
        }
        path.pop();
    }
}

/// Where the value of a dotted key stands.
fn locate_key(text: &str, key: &str) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let mut table = root.get_ref();
    let mut at = None;
    for part in key.split('.') {
        let (name, value) = table.iter().find(|(name, _)| name.get_ref() == part)?;
        at = Some(name.span().start);
        if let DeValue::Table(inner) = value.get_ref() {
            table = inner;
        }
    }
    at
}

impl Config {
    /// Checks values again after the command line has changed some.
    pub fn check_overrides(&self) -> Result<(), ConfigError> {
        self.check().map_err(|fault| ConfigError::Override(fault.to_string()))
    }

    fn check_in(&self, text: &str, path: &Path) -> Result<(), ConfigError> {
        self.check().map_err(|fault| {
            let line = locate_key(text, &fault.key).map_or(1, |at| line_of(text, at));
            ConfigError::Wrong { path: path.to_owned(), line, message: one_line(&fault.to_string()) }
        })
    }

    /// Says which value cannot be meant, if any.
    fn check(&self) -> Result<(), Fault> {
        let fault =
            |key: &str, value: &dyn ToString, want| Err(Fault { key: key.to_owned(), value: value.to_string(), want });
        let capture = &self.capture;
        if capture.interfaces.len() > INTERFACES_MAX {
            return fault("capture.interfaces", &capture.interfaces.len(), "at most 16 interfaces");
        }
        if !capture.sets_per_cpu.is_power_of_two() || !SETS_PER_CPU_BOUNDS.contains(&capture.sets_per_cpu) {
            return fault("capture.sets_per_cpu", &capture.sets_per_cpu, "a power of two from 64 to 262144");
        }
        if !capture.ring_bytes.is_power_of_two() || !(65_536..=1 << 30).contains(&capture.ring_bytes) {
            return fault("capture.ring_bytes", &capture.ring_bytes, "a power of two from 65536 to 1073741824");
        }
        if self.sample.packets > SAMPLE_PACKETS_MAX {
            return fault("sample.packets", &self.sample.packets, "0 to 16");
        }
        if self.sample.heads > SAMPLE_HEADS_MAX {
            return fault("sample.heads", &self.sample.heads, "0 to 1024");
        }
        if self.sample.bytes > SAMPLE_BYTES_MAX {
            return fault("sample.bytes", &self.sample.bytes, "0 to 1536");
        }
        let flow = &self.flow;
        if !(1..=86_400).contains(&flow.idle_timeout_secs) {
            return fault("flow.idle_timeout_secs", &flow.idle_timeout_secs, "1 to 86400");
        }
        // Without a linger every packet would be a slot of its own.
        if !(1..=flow.idle_timeout_secs).contains(&flow.closed_linger_secs) {
            return fault("flow.closed_linger_secs", &flow.closed_linger_secs, "1 to flow.idle_timeout_secs");
        }
        if !(1..=86_400).contains(&flow.active_timeout_secs) {
            return fault("flow.active_timeout_secs", &flow.active_timeout_secs, "1 to 86400");
        }
        if !(16..=1 << 24).contains(&flow.flows_max) {
            return fault("flow.flows_max", &flow.flows_max, "16 to 16777216");
        }
        if !(10..=60_000).contains(&flow.tick_millis) {
            return fault("flow.tick_millis", &flow.tick_millis, "10 to 60000");
        }
        if !(16..=1 << 22).contains(&self.window.hosts_max) {
            return fault("window.hosts_max", &self.window.hosts_max, "16 to 4194304");
        }
        if !(16..=1 << 22).contains(&self.window.services_max) {
            return fault("window.services_max", &self.window.services_max, "16 to 4194304");
        }
        if !(16..=1 << 24).contains(&self.payload.flows_max) {
            return fault("payload.flows_max", &self.payload.flows_max, "16 to 16777216");
        }
        if !(4_096..=1 << 30).contains(&self.payload.bytes_max) {
            return fault("payload.bytes_max", &self.payload.bytes_max, "4096 to 1073741824");
        }
        if !(16..=4_096).contains(&self.payload.string_bytes_max) {
            return fault("payload.string_bytes_max", &self.payload.string_bytes_max, "16 to 4096");
        }
        if !(1..=4_096).contains(&self.detect.batch_max) {
            return fault("detect.batch_max", &self.detect.batch_max, "1 to 4096");
        }
        let intel = &self.intel;
        if intel.feeds.len() > FEEDS_MAX {
            return fault("intel.feeds", &intel.feeds.len(), "at most 32 feeds");
        }
        for (at, feed) in intel.feeds.iter().enumerate() {
            let name = format!("\"{}\"", feed.name);
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if !(1..=32).contains(&feed.name.len()) || !feed.name.chars().all(plain) {
                return fault("intel.feeds", &name, "a feed's name has 1 to 32 letters, digits, `-`, `_` or `.`");
            }
            if intel.feeds.iter().take(at).any(|other| other.name == feed.name) {
                return fault("intel.feeds", &name, "each feed has a name of its own");
            }
            if !(0.0..=1.0).contains(&feed.trust) {
                return fault("intel.feeds", &feed.trust, "trust is 0 to 1");
            }
        }
        if let Some(confidence) = intel.confidence.values().find(|value| !(0.0..=1.0).contains(*value)) {
            return fault("intel.confidence", confidence, "0 to 1");
        }
        if intel.poll_secs > 86_400 {
            return fault("intel.poll_secs", &intel.poll_secs, "0 to 86400");
        }
        if !(1_000..=1 << 24).contains(&intel.indicators_max) {
            return fault("intel.indicators_max", &intel.indicators_max, "1000 to 16777216");
        }
        if self.fuse.dedup_secs > 86_400 {
            return fault("fuse.dedup_secs", &self.fuse.dedup_secs, "0 to 86400");
        }
        if self.fuse.verdict_hold_secs > 300 {
            return fault("fuse.verdict_hold_secs", &self.fuse.verdict_hold_secs, "0 to 300");
        }
        if !(16..=1 << 20).contains(&self.fuse.incidents_max) {
            return fault("fuse.incidents_max", &self.fuse.incidents_max, "16 to 1048576");
        }
        if let Some(entry) = self.fuse.allow.iter().find(|entry| entry.reason.trim().is_empty()) {
            return fault("fuse.allow", &format!("\"{}\"", entry.reason), "every entry states its reason");
        }
        let budget = &self.budget;
        match budget.cpu_of {
            CpuOf::All if !(1..=100).contains(&budget.cpu_percent) => {
                return fault("budget.cpu_percent", &budget.cpu_percent, "1 to 100 percent of all CPUs");
            }
            CpuOf::Core if !(1..=CPU_PERCENT_MAX).contains(&budget.cpu_percent) => {
                return fault("budget.cpu_percent", &budget.cpu_percent, "1 to 100 percent for each CPU");
            }
            CpuOf::All | CpuOf::Core => {}
        }
        if budget.ram_mib == Some(0) {
            return fault(
                "budget.ram_mib",
                &0,
                "at least what the tables need; leave it out for a share of the machine's",
            );
        }
        let suricata = &self.suricata;
        if !(1..=100).contains(&suricata.cpu_percent) {
            return fault("suricata.cpu_percent", &suricata.cpu_percent, "1 to 100");
        }
        if !(192..=1 << 20).contains(&suricata.ram_mib) {
            return fault("suricata.ram_mib", &suricata.ram_mib, "192 to 1048576");
        }
        if !(1..=65_536).contains(&suricata.eve_mib) {
            return fault("suricata.eve_mib", &suricata.eve_mib, "1 to 65536");
        }
        if suricata.update_hours > 8_760 {
            return fault("suricata.update_hours", &suricata.update_hours, "0 for never, to 8760");
        }
        if suricata.rule_sources.len() > RULE_SOURCES_MAX {
            return fault("suricata.rule_sources", &suricata.rule_sources.len(), "at most 32 sources");
        }
        let site = &self.site;
        if !(16..=8_192).contains(&site.devices_max) {
            return fault("site.devices_max", &site.devices_max, "16 to 8192");
        }
        if !(4..=1_000).contains(&site.learn_hours) {
            return fault("site.learn_hours", &site.learn_hours, "4 to 1000");
        }
        if !(1..=1_000_000).contains(&site.learn_flows) {
            return fault("site.learn_flows", &site.learn_flows, "1 to 1000000");
        }
        if !(1..=86_400).contains(&self.state.every_secs) {
            return fault("state.every_secs", &self.state.every_secs, "1 to 86400");
        }
        if !(1..=65_536).contains(&self.evidence.max_mib) {
            return fault("evidence.max_mib", &self.evidence.max_mib, "1 to 65536");
        }
        if self.evidence.keep > 100_000 {
            return fault("evidence.keep", &self.evidence.keep, "0 for none, to 100000");
        }
        if self.alert.rotate_bytes != 0 && self.alert.rotate_bytes < 4_096 {
            return fault("alert.rotate_bytes", &self.alert.rotate_bytes, "0 for never, or at least 4096");
        }
        if !(1..=1_000).contains(&self.alert.rotate_keep) {
            return fault("alert.rotate_keep", &self.alert.rotate_keep, "1 to 1000");
        }
        if !(1..=1 << 20).contains(&self.alert.queue_max) {
            return fault("alert.queue_max", &self.alert.queue_max, "1 to 1048576");
        }
        if let Some((key, value, takes)) = self.enforce.fault() {
            return fault(key, &value, takes);
        }
        let metrics = &self.metrics;
        if metrics.enabled && !metrics.allow_public && !metrics.listen.ip().is_loopback() {
            return fault(
                "metrics.listen",
                &metrics.listen,
                "a loopback address such as 127.0.0.1:9469, or set metrics.allow_public = true",
            );
        }
        Ok(())
    }
}

/// Each is fetched one after another.
const RULE_SOURCES_MAX: usize = 32;

// The kernel's bounds; a test compares them with `ids_common::limits`.
const INTERFACES_MAX: usize = 16;
const SETS_PER_CPU_BOUNDS: std::ops::RangeInclusive<u32> = 64..=1 << 18;
const SAMPLE_PACKETS_MAX: u32 = 16;
const SAMPLE_HEADS_MAX: u32 = 1_024;
const SAMPLE_BYTES_MAX: u32 = 1_536;

#[cfg(test)]
mod tests {
    use super::*;

    /// The error of a file with this text, without the file's name.
    fn fault(text: &str) -> String {
        match checked(text) {
            Ok(_) => "accepted".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    fn checked(text: &str) -> Result<Config, ConfigError> {
        let path = Path::new("ids.toml");
        let config: Config = parse_table(text, path)?;
        config.check_in(text, path)?;
        Ok(config)
    }

    #[test]
    fn an_unknown_key_names_the_nearest_one_and_its_line() {
        assert_eq!(
            fault("# a comment\n[flow]\nidle_timeout_sec = 3\n"),
            "ids.toml:3: unknown key `idle_timeout_sec` in [flow]; did you mean `idle_timeout_secs`?"
        );
        assert_eq!(fault("[metric]\n"), "ids.toml:1: unknown key `metric`; did you mean `metrics`?");
        assert_eq!(
            fault("[sample]\nq = 1\n"),
            "ids.toml:2: unknown key `q` in [sample]; it takes packets, heads, bytes"
        );
    }

    #[test]
    fn a_wrong_value_names_key_value_and_what_it_takes() {
        assert_eq!(
            fault("[capture]\nmode = \"fast\"\n"),
            "ids.toml:2: capture.mode = \"fast\" is not known; it takes auto, native, generic, tc"
        );
        assert_eq!(
            fault("[capture]\ninterfaces = [\"a\"]\nsets_per_cpu = 100\n"),
            "ids.toml:3: capture.sets_per_cpu = 100 is out of range: a power of two from 64 to 262144"
        );
        assert!(fault("[flow]\nflows_max = \"many\"\n").starts_with("ids.toml:2: flow.flows_max: invalid type"));
        assert!(fault("[flow\n").starts_with("ids.toml:1: not valid TOML: "));
        assert!(fault("flow.closed_linger_secs = 0").ends_with("is out of range: 1 to flow.idle_timeout_secs"));
        assert!(fault("flow.tick_millis = 1").contains(":1: flow.tick_millis = 1 is out of range: 10 to 60000"));
    }

    #[test]
    fn a_public_metrics_address_needs_the_explicit_setting() {
        assert!(fault("[metrics]\nlisten = \"0.0.0.0:9469\"\n").contains("set metrics.allow_public = true"));
        assert_eq!(fault("[metrics]\nlisten = \"0.0.0.0:9469\"\nallow_public = true\n"), "accepted");
    }

    #[test]
    fn nobody_is_blocked_for_what_others_can_send_in_his_name() {
        for class in ["port_scan", "flood", "dns_tunnel", "anomaly", "benign", "spam"] {
            let refused = fault(&format!("[enforce]\nclasses = [\"{class}\"]\n"));
            assert!(
                refused.starts_with(&format!("ids.toml:2: enforce.classes = \"{class}\" is out of range")),
                "{refused}"
            );
        }
        assert_eq!(fault("[enforce]\nclasses = [\"brute_force\"]\n"), "accepted");
        assert!(fault("[enforce]\nduration_secs = 0\n").ends_with("out of range: 1 to enforce.duration_max_secs"));
        assert!(fault("[enforce]\nentries_max = 5000\n").contains(":2: enforce.entries_max = 5000 is out of range"));
    }

    #[test]
    fn an_exception_states_its_end_and_its_reason() {
        let entry = "[[fuse.allow]]\nsource = \"192.0.2.0/24\"\n";
        assert!(fault(entry).contains("missing field `until`"), "{}", fault(entry));
        let full = format!("{entry}until = 2027-01-31\nreason = \"weekly audit\"\n");
        let allowed = checked(&full).map(|config| config.fuse.allow);
        let ends: Vec<u64> = allowed.iter().flatten().map(|entry| entry.until.ns()).collect();
        assert_eq!(ends, [1_801_440_000_000_000_000], "the end of that day in UTC");
        assert!(fault(&full.replace("weekly audit", " ")).contains("every entry states its reason"));
        assert!(fault(&full.replace("/24", "/44")).contains("fuse.allow.source: `192.0.2.0/44` is not an address"));
    }

    #[test]
    fn a_budget_that_no_machine_has_is_refused() {
        assert!(fault("[budget]\ncpu_percent = 0\n").contains(":2: budget.cpu_percent = 0 is out of range: 1 to 100"));
        assert!(fault("budget.cpu_percent = 101").contains("1 to 100 percent of all CPUs"));
        assert_eq!(fault("[budget]\ncpu_of = \"core\"\ncpu_percent = 200\n"), "accepted");
        assert!(fault("[budget]\n\nram_mib = 0\n").contains(":3: budget.ram_mib = 0 is out of range"));
        assert!(fault("budget.ram_mib = -1").contains("budget.ram_mib: invalid value"));
        assert!(fault("budget.cpu_of = \"cores\"").contains("is not known; it takes core, all"));
    }

    #[test]
    fn bounds_shared_with_the_kernel_are_the_same_here() {
        use ids_common::limits;
        let (capture, sample, flow) =
            (super::super::CaptureSettings::default(), super::super::SampleSettings::default(), Config::default().flow);
        assert_eq!(capture.sets_per_cpu, limits::SETS_PER_CPU_DEFAULT);
        assert_eq!(capture.ring_bytes, limits::RING_BYTES_DEFAULT);
        assert_eq!(sample.packets, limits::SAMPLE_PACKETS_DEFAULT);
        assert_eq!((sample.heads, SAMPLE_HEADS_MAX), (limits::SAMPLE_HEADS_DEFAULT, limits::SAMPLE_HEADS_MAX));
        assert_eq!(sample.bytes, limits::SAMPLE_BYTES_DEFAULT);
        assert_eq!(flow.slot_silence_ns(), limits::SLOT_SILENCE_NS_DEFAULT);
        assert_eq!(super::super::BLOCKS_MAX, limits::BLOCKS_MAX as usize);
        assert_eq!(INTERFACES_MAX, limits::INTERFACES_MAX);
        assert_eq!(SETS_PER_CPU_BOUNDS, limits::SETS_PER_CPU_MIN..=limits::SETS_PER_CPU_MAX);
        assert_eq!((SAMPLE_PACKETS_MAX, SAMPLE_BYTES_MAX), (limits::SAMPLE_PACKETS_MAX, limits::SAMPLE_BYTES_MAX));
    }
}
