//! Settings: one struct per stage, read once from a TOML file, checked, and then never changed.
//!
//! Imports nothing of the agent's; no stage takes the whole `Config`. `docs/configuration.md`
//! explains every key, and a test compares the two. How a file becomes a `Config`, and how its
//! mistakes are reported, stands in `config/read.rs`.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

mod allow;
mod behaviour;
mod budget;
mod control;
mod enforce;
mod intel;
mod read;
mod sandbox;
mod secret;
mod site;
mod suricata;

pub use allow::{AllowEntry, Expiry, Prefix};
pub use behaviour::{
    AppDosSettings, BeaconSettings, BehaviourSettings, BotSettings, BruteForceSettings, DeviceSettings,
    DnsTunnelSettings, FloodSettings, LimitsSettings, ScanSettings, SweepSettings, load_behaviour,
};
pub use budget::{BudgetSettings, CpuOf};
pub use control::ControlSettings;
pub use enforce::{BLOCKABLE, BLOCKS_MAX, BlockScope, BlockSeverity, EnforceSettings};
pub use intel::{Category, FEEDS_MAX, FeedKind, FeedSettings, IntelSettings};
pub use read::{ConfigError, from_text, load, parse_table, refused};
pub use sandbox::{SandboxSettings, SeccompMode};
pub use secret::SecretPlace;
pub use site::{Measure, SiteFile, SiteFloor, SiteSettings, load_site};
pub use suricata::{EveBegin, EveFiletype, SidThreshold, SuricataSettings};

/// All settings. Missing tables and keys take their defaults.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub capture: CaptureSettings,
    pub sample: SampleSettings,
    pub flow: FlowSettings,
    pub window: WindowSettings,
    pub payload: PayloadSettings,
    pub detect: DetectSettings,
    pub site: SiteSettings,
    pub intel: IntelSettings,
    pub suricata: SuricataSettings,
    pub fuse: FuseSettings,
    pub budget: BudgetSettings,
    pub state: StateSettings,
    pub evidence: EvidenceSettings,
    pub alert: AlertSettings,
    pub metrics: MetricsSettings,
    pub enforce: EnforceSettings,
    pub control: ControlSettings,
    pub sandbox: SandboxSettings,
    pub log: LogSettings,
}

/// Where packets are seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CaptureSettings {
    /// Interfaces to watch, at most 16.
    pub interfaces: Vec<String>,
    pub mode: Mode,
    pub direction: Direction,
    /// Sets of four slots in each CPU's part of the kernel flow table; a power of two.
    pub sets_per_cpu: u32,
    /// Size of the ring buffer: a power of two and a multiple of 65,536.
    pub ring_bytes: u32,
    pub pin: Pin,
}

impl Default for CaptureSettings {
    fn default() -> Self {
        Self {
            interfaces: Vec::new(),
            mode: Mode::Auto,
            direction: Direction::Both,
            sets_per_cpu: 8_192,
            ring_bytes: 4 << 20,
            pin: Pin::default(),
        }
    }
}

/// Whether the programs go on counting when the agent ends, for the next one to take over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Pin {
    Switch(bool),
    /// A directory on a BPF file system.
    Dir(PathBuf),
}

impl Pin {
    /// The directory of those who name none.
    pub const DIR: &str = "/sys/fs/bpf/ids-agent";

    pub fn dir(&self) -> Option<&Path> {
        match self {
            Self::Switch(false) => None,
            Self::Switch(true) => Some(Path::new(Self::DIR)),
            Self::Dir(dir) => Some(dir),
        }
    }
}

impl Default for Pin {
    fn default() -> Self {
        Self::Switch(false)
    }
}

/// Where in the kernel's receive path the program runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Native XDP where the driver has it, else what measures cheaper.
    #[default]
    Auto,
    /// XDP in the driver.
    Native,
    /// XDP behind the driver, on the socket buffer.
    Generic,
    /// The traffic control hooks.
    Tc,
}

impl Mode {
    pub const fn label(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Tc => "tc",
        }
    }
}

/// Which packets of an interface are seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    #[default]
    Both,
    /// Packets that arrive at the interface.
    Ingress,
    /// Packets that leave by it; seen by tc alone.
    Egress,
}

impl Direction {
    pub const fn label(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

/// How much payload is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SampleSettings {
    /// Payload packets sampled of each direction of a flow, 0 to 16.
    pub packets: u32,
    /// Among so many payload packets of each direction, those that begin a message are sampled too, 0 to 1,024.
    pub heads: u32,
    /// Bytes kept of each, 0 to 1,536.
    pub bytes: u32,
}

impl Default for SampleSettings {
    fn default() -> Self {
        Self { packets: 3, heads: 64, bytes: 1_024 }
    }
}

/// When flows begin, are judged and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlowSettings {
    /// Silence of both directions that ends a flow.
    pub idle_timeout_secs: u64,
    /// Silence that ends a flow after RST, or FIN in both directions: trailing packets stay with it.
    pub closed_linger_secs: u64,
    /// A flow that goes on is judged again at least this often.
    pub active_timeout_secs: u64,
    /// Joined flows held at once; beyond it the oldest end as evicted, counted.
    pub flows_max: usize,
    /// Length of a tick: how often flows are read and judged.
    pub tick_millis: u64,
    /// Keys the hash of the table of joined flows: to be drawn at random where traffic is live.
    #[serde(skip)]
    pub hash_seed: u64,
}

impl FlowSettings {
    pub const fn idle_timeout_ns(&self) -> u64 {
        self.idle_timeout_secs.saturating_mul(1_000_000_000)
    }

    pub const fn closed_linger_ns(&self) -> u64 {
        self.closed_linger_secs.saturating_mul(1_000_000_000)
    }

    /// The longest silence that a slot may span, in the kernel's table and in replay's: the
    /// shortest that can end a flow, so that a flow always ends where a slot does.
    pub const fn slot_silence_ns(&self) -> u64 {
        let (idle_ns, linger_ns) = (self.idle_timeout_ns(), self.closed_linger_ns());
        if linger_ns < idle_ns { linger_ns } else { idle_ns }
    }

    pub const fn tick_ns(&self) -> u64 {
        self.tick_millis.saturating_mul(1_000_000)
    }
}

impl Default for FlowSettings {
    fn default() -> Self {
        Self {
            idle_timeout_secs: 60,
            closed_linger_secs: 2,
            active_timeout_secs: 300,
            flows_max: 32_768,
            tick_millis: 500,
            hash_seed: 0,
        }
    }
}

/// Bounds of the per-host windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WindowSettings {
    /// Hosts remembered as sources, and as many as targets.
    pub hosts_max: usize,
    /// Pairs of source and service remembered for attempts per service.
    pub services_max: usize,
    /// Keys the hashes of the tables, whose keys peers choose: to be drawn at random where traffic is live.
    #[serde(skip)]
    pub hash_seed: u64,
}

impl Default for WindowSettings {
    fn default() -> Self {
        Self { hosts_max: 4_096, services_max: 4_096, hash_seed: 0 }
    }
}

/// Bounds of payload parsing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PayloadSettings {
    /// Flows whose payload facts are kept at once.
    pub flows_max: usize,
    /// Sampled bytes held for flows that may still send more; beyond it the oldest are let go, once read.
    pub bytes_max: usize,
    /// Longest string kept of what a peer sent (names, paths, banners), in bytes.
    pub string_bytes_max: usize,
    /// Keys the hash of the table: to be drawn at random where traffic is live.
    #[serde(skip)]
    pub hash_seed: u64,
}

impl Default for PayloadSettings {
    fn default() -> Self {
        Self { flows_max: 16_384, bytes_max: 8 << 20, string_bytes_max: 256, hash_seed: 0 }
    }
}

/// Who judges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DetectSettings {
    /// Folder with one folder a model. Without it the agent looks in `/usr/share/ids-agent/models` and
    /// then in the `models` folder of the checkout it was built from.
    pub models_dir: Option<PathBuf>,
    pub backend: InferenceBackend,
    /// The onnxruntime library that `backend = "ort"` loads.
    pub onnxruntime: Option<PathBuf>,
    /// Whether the trained classifier judges.
    pub classifier: bool,
    /// Whether the autoencoder judges.
    pub anomaly: bool,
    /// Whether hosts' behaviour is judged.
    pub behaviour: bool,
    /// Whether generated domain names are looked for.
    pub dga: bool,
    /// Thresholds for behaviour; without it the built-in ones hold.
    pub behaviour_rules: Option<PathBuf>,
    /// Whether attack patterns in the payload samples are judged.
    pub payload: bool,
    /// Rows given to a model at once.
    pub batch_max: usize,
}

impl Default for DetectSettings {
    fn default() -> Self {
        Self {
            models_dir: None,
            backend: InferenceBackend::Tract,
            onnxruntime: None,
            classifier: true,
            anomaly: true,
            behaviour: true,
            dga: true,
            behaviour_rules: None,
            payload: true,
            batch_max: 256,
        }
    }
}

/// What runs the models.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InferenceBackend {
    /// Built in.
    #[default]
    Tract,
    /// onnxruntime, loaded when the agent starts; needs a build with the `ort` feature.
    Ort,
}

/// How findings become incidents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FuseSettings {
    /// An incident with the same source, target and class is not raised again for so long.
    pub dedup_secs: u64,
    /// How long a flow's verdict waits for findings about its hosts.
    pub verdict_hold_secs: u64,
    /// Incidents that may be open at once.
    pub incidents_max: usize,
    /// What raises no alert, until when, and why.
    pub allow: Vec<AllowEntry>,
    /// What people called false alerts: a file of its own.
    #[serde(skip)]
    pub feedback: Vec<AllowEntry>,
    /// Keys the hash of the hosts' past: to be drawn at random where traffic is live.
    #[serde(skip)]
    pub hash_seed: u64,
}

impl FuseSettings {
    /// The same settings with expiries on an axis whose zero lies `offset_ns` after the Unix epoch.
    pub fn on_axis(mut self, offset_ns: u64) -> Self {
        for entry in self.allow.iter_mut().chain(&mut self.feedback) {
            entry.until = entry.until.earlier_by(offset_ns);
        }
        self
    }
}

impl Default for FuseSettings {
    fn default() -> Self {
        Self {
            dedup_secs: 300,
            verdict_hold_secs: 10,
            incidents_max: 4_096,
            allow: Vec::new(),
            feedback: Vec::new(),
            hash_seed: 0,
        }
    }
}

/// What survives a restart of `run`; a replay keeps nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StateSettings {
    pub enabled: bool,
    /// Where it is kept. Without the directory the agent says so and starts as new each time.
    pub dir: PathBuf,
    /// How often it is written; at the end of a run it is written in any case.
    pub every_secs: u64,
}

impl Default for StateSettings {
    fn default() -> Self {
        Self { enabled: true, dir: PathBuf::from("/var/lib/ids-agent"), every_secs: 300 }
    }
}

/// What `run` keeps of the alerts it gives, so that they can be explained later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvidenceSettings {
    /// The folder. Without it `evidence` under `state.dir`.
    pub dir: Option<PathBuf>,
    /// Size of the folder; beyond it the oldest alerts go, counted.
    pub max_mib: u64,
    /// Alerts kept; zero keeps none.
    pub keep: usize,
}

impl Default for EvidenceSettings {
    fn default() -> Self {
        Self { dir: None, max_mib: 64, keep: 1_000 }
    }
}

/// Where alerts and flow lines go, and in which form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlertSettings {
    /// File for alerts; `-` is standard output.
    pub path: PathBuf,
    /// File for one line per ended flow; `-` is standard output. Without it none are written.
    pub flows_path: Option<PathBuf>,
    pub format: AlertFormat,
    /// Size at which a file is rotated; zero leaves rotation to others (SIGHUP reopens).
    pub rotate_bytes: u64,
    /// Rotated files kept beside the current one.
    pub rotate_keep: u32,
    pub fsync: Fsync,
    /// Lines that wait for a slow sink; beyond it the least severe are dropped, counted.
    pub queue_max: usize,
}

impl Default for AlertSettings {
    fn default() -> Self {
        Self {
            path: PathBuf::from("-"),
            flows_path: None,
            format: AlertFormat::Native,
            rotate_bytes: 64 << 20,
            rotate_keep: 5,
            fsync: Fsync::Never,
            queue_max: 4_096,
        }
    }
}

/// Shape of an alert line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertFormat {
    /// EVE's names plus an `ids` object.
    #[default]
    Native,
    /// Strict Suricata EVE.
    Eve,
    /// Elastic Common Schema.
    Ecs,
}

/// When lines are forced to disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fsync {
    /// When the kernel sees fit.
    #[default]
    Never,
    /// After each batch of lines.
    Batch,
}

/// Where metrics are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsSettings {
    pub enabled: bool,
    /// Address of the metrics and health pages.
    pub listen: SocketAddr,
    /// Allows `listen` to be an address that other hosts reach.
    pub allow_public: bool,
}

impl Default for MetricsSettings {
    fn default() -> Self {
        Self { enabled: true, listen: SocketAddr::from(([127, 0, 0, 1], 9_469)), allow_public: false }
    }
}

/// What the agent says about itself, on standard error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,ids_agent::kernel=debug`.
    pub level: String,
    pub format: LogFormat,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

/// Shape of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}
