//! `run`: live interfaces through the line, until a signal ends it.

mod budget;
mod control;
mod enforce;
mod eve;
mod reload;

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use self::{eve::Hearing, reload::Reloader};
use super::{
    Failure,
    inputs::is_dash,
    options::{CommonArgs, LogChoice, OutputArgs, effective},
    parts,
    parts::Seed,
};
use crate::{
    alert::{Provenance, Renderer},
    clock::{self, Axis},
    config::{AlertSettings, AllowEntry, Config, Direction, MetricsSettings, Mode, Pin, StateSettings},
    detect::{Detector, EXHIBITS_MAX, Engine, EngineParts},
    evidence::{EvidenceSink, Recorder},
    feedback::{self, Feedback},
    http::{self, Health, Metrics, Pages},
    intel::Feeds,
    kernel::{Kernel, KernelError, cost::Counting},
    pipeline::{
        Control, ControlKeeper, DRAIN_DEADLINE, Ended, Enforcement, EvidenceOutlet, FeedKeeper, Gauges, Hangup,
        LineReport, Lines, Outlet, PipelineError, SinkReport, Sinks, SuricataKeeper, Watch, build_engine, run_line,
        supervise,
    },
    sink::{AlertSink, FileSettings, FileSink, Overflow, SinkStats, StdoutSink},
    source::{eve::EveSource, live::LiveSource},
    state::{StateImage, StateStore},
    supervisor::Roster,
};
use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ids-agent run --interface eth0
  ids-agent run --interface eth0 --interface wlan0 --alerts /var/log/ids-agent/alerts.ndjson
  ids-agent run --config /etc/ids-agent/config.toml --format eve

Needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON. SIGHUP reopens the output files and reads the
configuration again, SIGINT and SIGTERM stop the agent; a second one stops it at once. Packets pass unless [enforce]
is turned on.")]
pub(super) struct RunArgs {
    /// Interface to watch; may be given several times
    #[arg(short, long = "interface", value_name = "NAME", env = "IDS_INTERFACE", value_delimiter = ',')]
    interfaces: Vec<String>,
    #[command(flatten)]
    common: CommonArgs,
    /// Where in the receive path the program runs
    #[arg(long, value_enum)]
    mode: Option<ModeArg>,
    /// Which packets of an interface are seen
    #[arg(long, value_enum)]
    direction: Option<DirectionArg>,
    /// Pin programs and maps in this directory of a BPF file system: they count on while no agent runs
    #[arg(long, value_name = "DIR", env = "IDS_PIN")]
    pin: Option<PathBuf>,
    /// Address of the metrics and health pages, or `off`
    #[arg(long, value_name = "ADDRESS", env = "IDS_METRICS")]
    metrics: Option<MetricsArg>,
    #[command(flatten)]
    output: OutputArgs,
}

impl RunArgs {
    fn effective(&self) -> Result<Config, Failure> {
        let mut config = effective(&self.common, Some(&self.output))?;
        if !self.interfaces.is_empty() {
            config.capture.interfaces.clone_from(&self.interfaces);
        }
        if let Some(dir) = &self.pin {
            config.capture.pin = Pin::Dir(dir.clone());
        }
        if let Some(mode) = self.mode {
            config.capture.mode = match mode {
                ModeArg::Auto => Mode::Auto,
                ModeArg::Native => Mode::Native,
                ModeArg::Generic => Mode::Generic,
                ModeArg::Tc => Mode::Tc,
            };
        }
        if let Some(direction) = self.direction {
            config.capture.direction = match direction {
                DirectionArg::Both => Direction::Both,
                DirectionArg::Ingress => Direction::Ingress,
                DirectionArg::Egress => Direction::Egress,
            };
        }
        match self.metrics {
            None => {}
            Some(MetricsArg::Off) => config.metrics.enabled = false,
            Some(MetricsArg::Listen(address)) => {
                config.metrics.enabled = true;
                config.metrics.listen = address;
            }
        }
        config.check_overrides()?;
        if config.capture.interfaces.is_empty() {
            return Err(Failure::Usage(
                "no interface to watch: name one with --interface, or set capture.interfaces".to_owned(),
            ));
        }
        Ok(config)
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModeArg {
    /// Native where the driver has it, else what measures cheaper
    Auto,
    /// XDP in the driver
    Native,
    /// XDP behind the driver
    Generic,
    /// The traffic control hooks
    Tc,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DirectionArg {
    Both,
    Ingress,
    Egress,
}

#[derive(Clone, Copy, Debug)]
enum MetricsArg {
    Off,
    Listen(SocketAddr),
}

impl FromStr for MetricsArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse().map(Self::Listen).map_err(|_| "expected an address such as 127.0.0.1:9469, or `off`".to_owned())
    }
}

mod sight;
mod suricata;
mod walls;

pub(super) fn run(args: RunArgs, log: &LogChoice) -> Result<(), Failure> {
    let config_file = args.common.config_file();
    let mut config = args.effective()?;
    log.start(&config.log, None)?;
    // Everything that can fail does so before anything is attached, the quick things first.
    let feedback = config.state.dir.join(feedback::FILE);
    // A mistake in that file must not leave the network unwatched.
    config.fuse.feedback = read_feedback(&feedback).unwrap_or_default();
    let (mut detectors, groups) = reload::build_groups(&config)?;
    let feeds = parts::feeds(&config.intel, Seed::Random)?;
    detectors.extend(parts::intel(feeds.as_ref(), Axis::Boottime, Seed::Random));
    if config.suricata.eve_file().is_some() {
        detectors.push(parts::signature(&config.suricata, Seed::Random));
    }
    let preset = parts::site_state(&config)?;
    let roster = Roster::default();
    let page = Page::open(&config.metrics, &roster)?;
    let opened = open_sinks(&config.alert)?;

    let mut kernel = Kernel::load(&config.capture, &config.flow, &config.sample).map_err(kernel_failure)?;
    let limits = budget::limits(&config, config_file.as_deref(), kernel.map_bytes())?;
    kernel.attach(&config.capture).map_err(kernel_failure)?;
    let counting = limits.and_then(|_| Counting::start());
    // From here on there are other threads, none of which may hold more than it needs.
    let walls = walls::enter(&config, config_file.as_deref())?;
    let provenance = provenance(&detectors, &config.capture.interfaces);
    let evidence = open_evidence(&config)?;
    let state = open_state(&config.state).map(Arc::new);
    let socket = control::open(&config.control);
    // Begun outside of the walls, and its children with it.
    let suricata = suricata::manage(&config, &page.pages.metrics, &roster)?;
    let stop_suricata = suricata.as_ref().map(SuricataKeeper::stopper);
    walls::close(walls, &page.pages.metrics)?;

    let mut sinks = Sinks::default();
    let (alerts, flows) = start_sinks(opened, &config.alert, &mut sinks, &roster)?;
    let enforcement = enforce::start(&config, &mut kernel, &mut sinks, &page.pages.metrics, &roster)?;
    let lost_before = kernel.totals().records_lost();
    let source = kernel.into_source(&config.flow);
    let stop_source = source.stop_handle();
    let evidence = evidence.map(|sink| keep_evidence(sink, &config, &mut sinks, &provenance, &roster)).transpose()?;
    let (told, senses) = (alerts.clone(), detectors.iter().map(|detector| detector.sense()).collect());
    let lines =
        Lines::new(Renderer::new(config.alert.format, provenance.clone()), alerts, flows).with_evidence(evidence);
    let hearing = Hearing::start(source, &config.suricata, state.as_deref(), &page.pages.metrics, &roster)?;
    let control = Control {
        gauges: Gauges { metrics: Some(Arc::clone(&page.pages.metrics)), health: Some(Arc::clone(&page.pages.health)) },
        roster: roster.clone(),
        state,
        eve: hearing.settling.clone(),
        board: Arc::new(budget::board(limits)),
        ..Control::default()
    };
    let around = budget::Around {
        config: &config,
        board: Arc::clone(&control.board),
        metrics: Arc::clone(&page.pages.metrics),
        suricata: suricata.as_ref(),
        provenance,
        alerts: told,
        senses,
        lost_before,
        counting,
    };
    let governing = budget::govern(limits, around, &roster)?;
    let handle = enforcement.as_ref().map(Enforcement::handle);
    let reloader = Reloader {
        args,
        started: config.clone(),
        applied: config.clone(),
        groups,
        hears_feeds: feeds.is_some(),
        hears_suricata: config.suricata.eve_file().is_some(),
        feedback,
        feeds: keep_fresh(feeds, &config, &page.pages.metrics, &roster)?,
        metrics: Arc::clone(&page.pages.metrics),
        roster: roster.clone(),
        renewal: control.renewal.clone(),
        enforce: handle.clone(),
    };
    let mut desk = control::Desk {
        reloader,
        enforce: handle,
        metrics: Arc::clone(&page.pages.metrics),
        health: Arc::clone(&page.pages.health),
        began_ns: clock::boottime_ns(),
    };
    let keeper = ControlKeeper::start(socket, Box::new(move |request, peer| desk.handle(request, peer)), &roster)
        .map_err(|error| Failure::Other(format!("cannot start thread `control`: {error}")))?;
    let (asker, asking) = (keeper.reload_asker(), keeper.reload_asker());
    let watch = Watch {
        ask_stop: Box::new(move || {
            stop_suricata.iter().for_each(|stop| stop());
            stop_source.stop();
        }),
        hangup: Hangup::Reopen(sinks.queues(), None),
        reload: Box::new(move || asker.ask()),
        reloaded: Box::new(move || asking.is_done()),
        health: Some(Arc::clone(&page.pages.health)),
        pages: page.listener.map(|listener| (listener, page.pages)),
        roster,
        deadline: DRAIN_DEADLINE,
    };
    let ended =
        supervise(watch, move || work(hearing, detectors, &config, (lines, enforcement), sinks, preset, &control));
    keeper.finish();
    drop(governing);
    suricata.into_iter().for_each(SuricataKeeper::finish);
    let Ended { result, asked } = ended.map_err(Failure::other)?;
    let (report, outputs) = result?;
    farewell(&report, &outputs);
    if asked { Ok(()) } else { Err(Failure::Other("the source ended by itself".to_owned())) }
}

/// Has the feeds looked after while the agent runs.
fn keep_fresh(
    feeds: Option<Feeds>,
    config: &Config,
    metrics: &Arc<Metrics>,
    roster: &Roster,
) -> Result<Option<FeedKeeper>, Failure> {
    let poll_secs = config.intel.poll_secs;
    let keeper = feeds.map(|feeds| FeedKeeper::start(feeds, poll_secs, Some(Arc::clone(metrics)), roster));
    keeper.transpose().map_err(|error| Failure::Other(format!("cannot start thread `feeds`: {error}")))
}

/// The line itself, on its own thread.
fn work(
    hearing: Hearing,
    detectors: Vec<Box<dyn Detector>>,
    config: &Config,
    (mut lines, enforcement): (Lines, Option<Enforcement>),
    sinks: Sinks,
    preset: Option<StateImage>,
    control: &Control,
) -> Result<(LineReport, SinkReport), Failure> {
    let exhibits_max = if lines.keeps_evidence() { EXHIBITS_MAX } else { 0 };
    let parts = EngineParts { exhibits_max, ..parts::engine_parts(config, detectors, Axis::Boottime, Seed::Random) };
    let mut engine = build_engine(parts, control.gauges.metrics.as_ref());
    restore(&mut engine, control.state.as_deref(), preset);
    let Hearing { mut source, following, .. } = hearing;
    let observe = |source: &EveSource<LiveSource>| sight::observe(source.inner());
    let report = match &enforcement {
        None => run_line(&mut source, observe, engine, &mut lines, control),
        Some(enforcement) => {
            let mut enforced = enforcement.around(&mut lines);
            run_line(&mut source, observe, engine, &mut enforced, control)
        }
    };
    // Its last words go to a sink.
    if let Some(enforcement) = enforcement {
        enforcement.finish();
    }
    // Nobody listens any more, which also ends a follower that waits for the engine.
    drop(source);
    // What was decided is written, however the line ended.
    let outputs = sinks.finish();
    if let Some(following) = following {
        following.finish();
    }
    let report = report.map_err(|error| match error {
        PipelineError::Source(error) => kernel_failure(error),
        other => Failure::other(other),
    })?;
    Ok((report, outputs.map_err(Failure::other)?))
}

/// The state's directory, where there is one that can be written.
fn open_state(settings: &StateSettings) -> Option<StateStore> {
    if !settings.enabled {
        return None;
    }
    let dir = &settings.dir;
    match StateStore::open(dir, settings.every_secs.saturating_mul(1_000_000_000)) {
        Ok(store) => Some(store),
        Err(error) => {
            tracing::warn!(
                dir = %dir.display(), %error,
                "no state is kept: what is learned ends with this run; make the directory, or set state.dir"
            );
            None
        }
    }
}

/// Gives the engine what the last run left, or else what calibration found.
fn restore(engine: &mut Engine, store: Option<&StateStore>, preset: Option<StateImage>) {
    let left = store.and_then(StateStore::load);
    let from = if left.is_some() { "the last run" } else { "calibration" };
    let Some(image) = left.or(preset) else { return };
    let restored = engine.restore(&image.parts, image.shift(clock::boottime_ns(), clock::wall_ns()));
    for error in &restored.refused {
        tracing::warn!("{error}; it is learned anew");
    }
    if let Some(store) = store {
        store.count_refused(restored.refused.len() + restored.unknown.len());
    }
    tracing::info!(
        from,
        saved = %clock::Timestamp::from_unix_ns(image.wall_ns).rfc3339(),
        taken = restored.taken.join(", "),
        not_known = restored.unknown.join(", "),
        "state restored"
    );
}

/// The exceptions of the feedback's file; none where it cannot be read.
fn read_feedback(path: &Path) -> Option<Vec<AllowEntry>> {
    match Feedback::load(path) {
        Ok(feedback) => {
            let allow = feedback.allow();
            if !allow.is_empty() {
                tracing::info!(file = %path.display(), exceptions = allow.len(), "feedback read");
            }
            Some(allow)
        }
        Err(error) => {
            tracing::warn!("{error}; the feedback in it is not taken up");
            None
        }
    }
}

/// The folder with the evidence, where there is one that can be written.
fn open_evidence(config: &Config) -> Result<Option<EvidenceSink>, Failure> {
    if config.evidence.keep == 0 {
        return Ok(None);
    }
    let dir = parts::evidence_dir(config);
    match EvidenceSink::open(&dir, &config.evidence) {
        Ok(sink) => Ok(Some(sink)),
        Err(error) => {
            tracing::warn!("{error}; alerts cannot be explained later; make the directory, or set evidence.dir");
            Ok(None)
        }
    }
}

/// Begins to keep evidence.
fn keep_evidence(
    sink: EvidenceSink,
    config: &Config,
    sinks: &mut Sinks,
    provenance: &Provenance,
    roster: &Roster,
) -> Result<EvidenceOutlet, Failure> {
    let removed = sink.removed();
    let outlet = sinks
        .start(Box::new(sink), config.alert.queue_max, Overflow::DropLeast, roster)
        .map_err(|error| Failure::Other(format!("cannot start thread `evidence`: {error}")))?;
    let recorder = Recorder {
        renderer: Renderer::new(config.alert.format, provenance.clone()),
        string_bytes_max: config.payload.string_bytes_max,
    };
    Ok(EvidenceOutlet { recorder, outlet, removed })
}

/// The metrics pages; without an address the figures are kept and not served.
struct Page {
    listener: Option<TcpListener>,
    pages: Arc<Pages>,
}

impl Page {
    fn open(settings: &MetricsSettings, roster: &Roster) -> Result<Self, Failure> {
        let listener = settings.enabled.then(|| http::bind(settings.listen)).transpose().map_err(Failure::other)?;
        if let Some(address) = listener.as_ref().and_then(|listener| listener.local_addr().ok()) {
            tracing::info!(%address, "metrics at /metrics, health at /healthz and /readyz");
        }
        let metrics = Arc::new(Metrics::new().map_err(Failure::other)?);
        let health = Arc::new(Health::starting(roster));
        Ok(Self { listener, pages: Arc::new(Pages { metrics, health }) })
    }
}

/// The sinks whose files are open, and whose threads are not begun.
struct OpenSinks {
    alerts: Box<dyn AlertSink>,
    flows: FlowsGo,
}

/// Where flow lines go.
enum FlowsGo {
    Nowhere,
    WithAlerts,
    To(Box<dyn AlertSink>),
}

fn open_sinks(settings: &AlertSettings) -> Result<OpenSinks, Failure> {
    let open = |name: &'static str, path: &Path| -> Result<Box<dyn AlertSink>, Failure> {
        if is_dash(path) {
            return Ok(Box::new(StdoutSink::new(name)));
        }
        let kept = FileSettings {
            rotate_bytes: settings.rotate_bytes,
            rotate_keep: settings.rotate_keep,
            fsync: settings.fsync,
        };
        Ok(Box::new(FileSink::open(name, path, kept).map_err(Failure::other)?))
    };
    let alerts = open("alerts", &settings.path)?;
    let flows = match &settings.flows_path {
        None => FlowsGo::Nowhere,
        Some(path) if *path == settings.path => FlowsGo::WithAlerts,
        Some(path) => FlowsGo::To(open("flows", path)?),
    };
    Ok(OpenSinks { alerts, flows })
}

fn start_sinks(
    opened: OpenSinks,
    settings: &AlertSettings,
    sinks: &mut Sinks,
    roster: &Roster,
) -> Result<(Option<Outlet>, Option<Outlet>), Failure> {
    let mut start = |sink: Box<dyn AlertSink>| {
        let name = sink.name();
        sinks
            .start(sink, settings.queue_max, Overflow::DropLeast, roster)
            .map_err(|error| Failure::Other(format!("cannot start thread `{name}`: {error}")))
    };
    let alerts = start(opened.alerts)?;
    let flows = match opened.flows {
        FlowsGo::Nowhere => None,
        FlowsGo::WithAlerts => Some(alerts.clone()),
        FlowsGo::To(sink) => Some(start(sink)?),
    };
    Ok((Some(alerts), flows))
}

fn provenance(detectors: &[Box<dyn Detector>], interfaces: &[String]) -> Provenance {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Provenance {
        agent_version: env!("CARGO_PKG_VERSION"),
        host: Some(host.into()),
        // The flow key's index counts interfaces in this order, there or not.
        interfaces: interfaces.iter().map(|name| name.as_str().into()).collect(),
        models: detectors.iter().filter_map(|detector| detector.model()).collect(),
        axis: Axis::Boottime,
    }
}

/// Which kernel errors are mistakes in the settings.
fn kernel_failure(error: KernelError) -> Failure {
    match &error {
        KernelError::SetsPerCpu { .. } | KernelError::RingBytes { .. } | KernelError::TooManyInterfaces { .. } => {
            Failure::Config(error.to_string())
        }
        _ => Failure::Other(error.to_string()),
    }
}

fn farewell(report: &LineReport, outputs: &[(&'static str, SinkStats)]) {
    use ids_common::counter::Counter;
    let totals = &report.totals;
    tracing::info!(
        packets = totals.counter(Counter::PacketsSeen),
        in_flows = totals.counter(Counter::FlowPackets),
        skipped = totals.skipped_all(),
        lost = totals.counter(Counter::SlotsLostPackets),
        flows = report.stats.flow.ended_all(),
        "stopped"
    );
    for (sink, stats) in outputs {
        tracing::info!(sink, offered = stats.offered, written = stats.written, dropped = stats.dropped_all(), "closed");
    }
}
