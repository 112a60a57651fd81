//! Runs Suricata over capture files, for replay and evaluation: one process that loads its rules once and is handed
//! capture after capture at its command socket. Ends with its owner, however that ends.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Read, Write},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use tempfile::TempDir;

use super::{
    command::{CommandError, Commands},
    log::{LogTail, log_line},
    process::{ProcessError, Running, begin},
};
use crate::{
    clock::Stopwatch,
    source::pcap::{CaptureError, Frames},
    supervisor::StopFlag,
};

/// What Suricata is told.
const YAML: &str = include_str!("captures.yaml");
/// Networks that count as the inside, beside those of the configuration: private and local ones.
const HOME_NETWORKS: &str = "192.168.0.0/16,10.0.0.0/8,172.16.0.0/12,fc00::/7,fe80::/10";
/// Where Debian and suricata-update put rules.
const RULES_USUAL: [&str; 3] =
    ["/var/lib/suricata/rules/suricata.rules", "/var/lib/suricata/rules", "/etc/suricata/rules"];

/// Loading 40,000 rules takes some ten seconds on a quick machine.
const START_DEADLINE: Duration = Duration::from_secs(300);
/// Between two looks at whether a capture is done.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long it may take to end once asked.
const END_DEADLINE: Duration = Duration::from_secs(5);
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);
/// What it says, within its folder.
const SAID: &str = "said";
/// The longest packet of IP, behind the longest header of a link.
const FRAME_BYTES_MAX: usize = 65_535 + 64;
/// Stands for bytes that were not captured: in no protocol, and in no padding or sled that a rule looks for.
static FILLING: [u8; FRAME_BYTES_MAX] = [0xa7; FRAME_BYTES_MAX];
/// Rules read of all files together.
const RULES_BYTES_MAX: u64 = 1 << 30;

/// Why Suricata said nothing of a capture.
#[derive(Debug, thiserror::Error)]
pub enum CapturesError {
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error("there are no rules: name a file or folder of them with --suricata-rules, or run suricata-update")]
    NoRules,
    #[error("`{}` holds no rules: Suricata loaded none of it", path.display())]
    EmptyRules { path: PathBuf },
    #[error("rules `{}` cannot be read: {source}", path.display())]
    Rules { path: PathBuf, source: io::Error },
    #[error("Suricata cannot be run: {0}")]
    Run(#[source] io::Error),
    #[error("Suricata ended by itself; it said: {said}")]
    Ended { said: String },
    #[error("Suricata was not ready after {secs} s")]
    Late { secs: u64 },
    #[error(transparent)]
    Capture(#[from] CaptureError),
    #[error("standard input cannot be read twice: `--suricata` needs a file")]
    StandardInput,
    #[error("interrupted")]
    Stopped,
}

/// What to start.
#[derive(Clone, Debug)]
pub struct CaptureRules {
    pub program: PathBuf,
    /// A file of rules, or a folder of them; without it those of the machine.
    pub rules: Option<PathBuf>,
    /// Rules beside them, such as those that come with the agent.
    pub local_rules: Option<PathBuf>,
    /// Networks that count as the inside, beside the private ones.
    pub home_networks: Vec<String>,
}

/// A Suricata that waits for captures.
#[derive(Debug)]
pub struct CaptureSuricata {
    /// Ends before its folder goes.
    running: Running,
    commands: Commands,
    folder: TempDir,
    rules_loaded: u64,
}

impl CaptureSuricata {
    /// Starts it and waits until its rules are loaded.
    pub fn start(settings: &CaptureRules, stop: &StopFlag) -> Result<Self, CapturesError> {
        let rules = match &settings.rules {
            Some(path) => path.clone(),
            None => {
                let usual = RULES_USUAL.iter().map(PathBuf::from).find(|path| has_rules(path));
                usual.or_else(|| settings.local_rules.clone()).ok_or(CapturesError::NoRules)?
            }
        };
        let folder = tempfile::Builder::new().prefix("ids-agent-").tempdir().map_err(CapturesError::Run)?;
        let within = |name: &str| folder.path().join(name);
        gather(&rules, settings.local_rules.as_deref(), &within("all.rules"))?;
        let home: Vec<&str> = std::iter::once(HOME_NETWORKS)
            .chain(settings.home_networks.iter().map(String::as_str).filter(|network| is_prefix(network)))
            .collect();
        let yaml = YAML.replace("@HOME_NETWORKS@", &home.join(","));
        fs::write(within("suricata.yaml"), yaml).map_err(CapturesError::Run)?;
        let said = File::create(within(SAID)).map_err(CapturesError::Run)?;
        let also_said = said.try_clone().map_err(CapturesError::Run)?;
        let socket = within("socket");
        let child = begin(&settings.program, |command| {
            command
                .arg(format!("--unix-socket={}", socket.display()))
                .arg("-c")
                .arg(within("suricata.yaml"))
                .arg("-S")
                .arg(within("all.rules"))
                .arg("-l")
                .arg(folder.path())
                .args(["-k", "none", "--runmode", "single"])
                .stdout(also_said)
                .stderr(said);
        })?;
        let mut running = Running::unheld(child);
        let mut commands = connect(&mut running, &socket, folder.path(), stop)?;
        let rules_loaded = commands.rule_counts()?.loaded;
        if rules_loaded == 0 {
            return Err(CapturesError::EmptyRules { path: rules });
        }
        Ok(Self { running, commands, folder, rules_loaded })
    }

    pub fn rules_loaded(&self) -> u64 {
        self.rules_loaded
    }

    /// Judges a capture. What Suricata said of it stands in the file whose path is returned, until the next capture.
    pub fn judge(&mut self, capture: &Path, stop: &StopFlag) -> Result<PathBuf, CapturesError> {
        let out = self.folder.path().join("out");
        let _ = fs::remove_dir_all(&out);
        fs::create_dir(&out).map_err(CapturesError::Run)?;
        let capture = self.plain(capture)?;
        self.asked(|commands| commands.judge(&capture, &out))?;
        while !self.asked(Commands::is_idle)? {
            if stop.is_asked() {
                return Err(CapturesError::Stopped);
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(out.join("eve.json"))
    }

    fn asked<T>(&mut self, ask: impl FnOnce(&mut Commands) -> Result<T, CommandError>) -> Result<T, CapturesError> {
        let answer = ask(&mut self.commands);
        answer.map_err(|error| match self.running.ended() {
            Ok(None) => error.into(),
            Ok(Some(_)) | Err(_) => CapturesError::Ended { said: last_words(self.folder.path()) },
        })
    }

    /// A capture as Suricata reads it: packed ones, kinds that it does not know, and those that were cut short are written anew.
    fn plain(&self, capture: &Path) -> Result<PathBuf, CapturesError> {
        if capture.as_os_str() == "-" {
            return Err(CapturesError::StandardInput);
        }
        let mut magic = [0; 4];
        let read = File::open(capture).and_then(|mut file| file.read(&mut magic));
        let is_plain = matches!(
            magic,
            // pcap in microseconds and nanoseconds, of either byte order, and pcapng.
            [0xa1, 0xb2, 0xc3, 0xd4]
                | [0xd4, 0xc3, 0xb2, 0xa1]
                | [0xa1, 0xb2, 0x3c, 0x4d]
                | [0x4d, 0x3c, 0xb2, 0xa1]
                | [0x0a, 0x0d, 0x0d, 0x0a]
        );
        if read.is_ok() && is_plain && !is_cut(capture) {
            return fs::canonicalize(capture).map_err(CapturesError::Run);
        }
        let plain = self.folder.path().join("plain.pcap");
        rewrite(capture, &plain)?;
        Ok(plain)
    }
}

impl Drop for CaptureSuricata {
    fn drop(&mut self) {
        // It may be gone already; where it does not go, it is killed behind this.
        let _ = self.commands.shut_down();
        let _ = self.running.wait(END_DEADLINE);
    }
}

/// Waits until its rules are loaded and it can be asked.
fn connect(running: &mut Running, socket: &Path, folder: &Path, stop: &StopFlag) -> Result<Commands, CapturesError> {
    let watch = Stopwatch::start();
    loop {
        match Commands::connect(socket, ANSWER_PATIENCE) {
            Ok(commands) => return Ok(commands),
            Err(error @ CommandError::Answer { .. }) => return Err(error.into()),
            // Not there yet.
            Err(CommandError::Socket { .. }) => {}
        }
        if running.ended().map_err(CapturesError::Run)?.is_some() {
            return Err(CapturesError::Ended { said: last_words(folder) });
        }
        if stop.is_asked() {
            return Err(CapturesError::Stopped);
        }
        if watch.elapsed() > START_DEADLINE {
            return Err(CapturesError::Late { secs: START_DEADLINE.as_secs() });
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// The last errors that Suricata told, else its last line.
fn last_words(folder: &Path) -> String {
    let said = fs::read(folder.join(SAID)).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let mut tail = LogTail::default();
    said.lines().for_each(|line| tail.note(log_line(line)));
    let told = tail.told();
    if told.is_empty() { said.lines().last().unwrap_or("nothing").to_owned() } else { told }
}

fn is_prefix(text: &str) -> bool {
    text.chars().all(|char| char.is_ascii_hexdigit() || matches!(char, '.' | ':' | '/'))
}

fn rule_files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "rules") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn has_rules(path: &Path) -> bool {
    rule_files(path).is_ok_and(|files| files.iter().any(|file| file.metadata().is_ok_and(|facts| facts.len() > 0)))
}

/// Puts all rules into one file: Suricata's `-S` takes one. Of several with one number it takes one, so that it does no harm
/// where the local ones stand among the others already.
fn gather(rules: &Path, local: Option<&Path>, into: &Path) -> Result<(), CapturesError> {
    let failed = |source| CapturesError::Rules { path: rules.to_owned(), source };
    let mut files: Vec<PathBuf> = local.filter(|local| local.is_file()).map(Path::to_owned).into_iter().collect();
    files.extend(rule_files(rules).map_err(failed)?);
    let mut out = BufWriter::new(File::create(into).map_err(CapturesError::Run)?);
    let mut left = RULES_BYTES_MAX;
    for file in files {
        let mut from = File::open(&file).map_err(failed)?.take(left);
        left -= io::copy(&mut from, &mut out).map_err(failed)?;
        out.write_all(b"\n").map_err(failed)?;
    }
    out.flush().map_err(failed)
}

/// Whether a frame of the capture is shorter than it was on the wire.
fn is_cut(capture: &Path) -> bool {
    let Ok(mut frames) = Frames::open(capture) else { return false };
    // Where it stops making sense Suricata stops too.
    while let Ok(Some(frame)) = frames.step() {
        if missing(frame.bytes, frame.wire_len) > 0 {
            return true;
        }
    }
    false
}

/// Bytes that were not captured; none where the length on the wire is no length of a frame.
fn missing(bytes: &[u8], wire_len: usize) -> usize {
    if wire_len <= FRAME_BYTES_MAX { wire_len.saturating_sub(bytes.len()) } else { 0 }
}

/// Writes the frames of a capture as a plain pcap in nanoseconds: those of its first link type. Suricata passes over a packet
/// that is shorter than its header says, and with it over the rest of its stream: what was cut off is filled up.
fn rewrite(capture: &Path, into: &Path) -> Result<(), CapturesError> {
    let mut frames = Frames::open(capture)?;
    let mut out = BufWriter::new(File::create(into).map_err(CapturesError::Run)?);
    let mut link = None;
    let mut last_ns = 0;
    let mut write = |bytes: &[u8]| out.write_all(bytes).map_err(CapturesError::Run);
    while let Some(frame) = frames.step()? {
        if link.is_none() {
            link = Some(frame.link);
            write(&0xa1b2_3c4d_u32.to_le_bytes())?;
            write(&[2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
            write(&262_144_u32.to_le_bytes())?;
            write(&u32::from(frame.link.0).to_le_bytes())?;
        }
        if link != Some(frame.link) {
            continue;
        }
        let filled = missing(frame.bytes, frame.wire_len);
        let at_ns = frame.at_ns.unwrap_or(last_ns);
        last_ns = at_ns;
        let words = [
            u32::try_from(at_ns / 1_000_000_000).unwrap_or(u32::MAX),
            (at_ns % 1_000_000_000) as u32,
            u32::try_from(frame.bytes.len() + filled).unwrap_or(u32::MAX),
            u32::try_from(frame.wire_len).unwrap_or(u32::MAX),
        ];
        for word in words {
            write(&word.to_le_bytes())?;
        }
        write(frame.bytes)?;
        write(FILLING.get(..filled).unwrap_or_default())?;
    }
    out.flush().map_err(CapturesError::Run)
}
