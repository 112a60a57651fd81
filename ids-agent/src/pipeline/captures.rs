//! Runs Suricata over capture files, for replay and evaluation: one process that loads its rules once and is handed
//! capture after capture at its command socket. Ends with its owner, however that ends.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    os::unix::{net::UnixStream, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

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
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// Rules read of all files together.
const RULES_BYTES_MAX: u64 = 1 << 30;

/// Why Suricata said nothing of a capture.
#[derive(Debug, thiserror::Error)]
pub enum CapturesError {
    #[error("there is no program `{program}`: install Suricata (Debian: `apt-get install suricata`, 7.0 or newer)")]
    NotFound { program: String },
    #[error("there are no rules: name a file or folder of them with --suricata-rules, or run suricata-update")]
    NoRules,
    #[error("`{}` holds no rules: Suricata loaded none of it", path.display())]
    EmptyRules { path: PathBuf },
    #[error("rules `{}` cannot be read: {source}", path.display())]
    Rules { path: PathBuf, source: io::Error },
    #[error("Suricata cannot be run: {0}")]
    Run(#[source] io::Error),
    #[error("Suricata ended before it was ready; it said: {said}")]
    Ended { said: String },
    #[error("Suricata was not ready after {secs} s")]
    Late { secs: u64 },
    #[error("Suricata refused `{command}`: {answer}")]
    Refused { command: &'static str, answer: String },
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
    /// Networks that count as the inside, beside the private ones.
    pub home_networks: Vec<String>,
}

/// A Suricata that waits for captures.
#[derive(Debug)]
pub struct CaptureSuricata {
    child: Child,
    socket: BufReader<UnixStream>,
    folder: TempDir,
    rules_loaded: u64,
}

impl CaptureSuricata {
    /// Starts it and waits until its rules are loaded.
    pub fn start(settings: &CaptureRules, stop: &StopFlag) -> Result<Self, CapturesError> {
        let rules = match &settings.rules {
            Some(path) => path.clone(),
            None => RULES_USUAL.iter().map(PathBuf::from).find(|path| has_rules(path)).ok_or(CapturesError::NoRules)?,
        };
        let folder = tempfile::Builder::new().prefix("ids-agent-").tempdir().map_err(CapturesError::Run)?;
        let within = |name: &str| folder.path().join(name);
        gather(&rules, &within("all.rules"))?;
        let home: Vec<&str> = std::iter::once(HOME_NETWORKS)
            .chain(settings.home_networks.iter().map(String::as_str).filter(|network| is_prefix(network)))
            .collect();
        fs::write(within("suricata.yaml"), YAML.replace("@HOME_NETWORKS@", &home.join(",")))
            .map_err(CapturesError::Run)?;
        let said = File::create(within("said")).map_err(CapturesError::Run)?;
        let socket = within("socket");
        let mut command = command(&settings.program);
        command
            .arg(format!("--unix-socket={}", socket.display()))
            .arg("-c")
            .arg(within("suricata.yaml"))
            .arg("-S")
            .arg(within("all.rules"))
            .arg("-l")
            .arg(folder.path())
            .args(["-k", "none", "--runmode", "single"])
            .stdin(Stdio::null())
            .stdout(said.try_clone().map_err(CapturesError::Run)?)
            .stderr(said)
            // A Ctrl-C at the agent's terminal is the agent's: it ends Suricata in its own time.
            .process_group(0);
        let child = command.spawn().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => CapturesError::NotFound { program: settings.program.display().to_string() },
            _ => CapturesError::Run(source),
        })?;
        let mut starting = Starting { child: Some(child), folder: Some(folder) };
        let stream = starting.wait(&socket, stop, &settings.program)?;
        let (Some(child), Some(folder)) = (starting.child.take(), starting.folder.take()) else {
            return Err(CapturesError::Stopped);
        };
        let mut suricata = Self { child, socket: BufReader::new(stream), folder, rules_loaded: 0 };
        suricata.ask("version", &json!({ "version": "0.2" }))?;
        let stats = suricata.ask("ruleset-stats", &json!({ "command": "ruleset-stats" }))?;
        let engines = stats.as_array().map_or(&[][..], Vec::as_slice);
        suricata.rules_loaded = engines.iter().filter_map(|engine| engine.get("rules_loaded")?.as_u64()).sum();
        if suricata.rules_loaded == 0 {
            return Err(CapturesError::EmptyRules { path: rules });
        }
        Ok(suricata)
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
        let files = json!({ "filename": capture, "output-dir": out });
        self.ask("pcap-file", &json!({ "command": "pcap-file", "arguments": files }))?;
        loop {
            let waiting = self.ask("pcap-file-number", &json!({ "command": "pcap-file-number" }))?;
            let current = self.ask("pcap-current", &json!({ "command": "pcap-current" }))?;
            if waiting.as_u64() == Some(0) && current.as_str() == Some("None") {
                return Ok(out.join("eve.json"));
            }
            if stop.is_asked() {
                return Err(CapturesError::Stopped);
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// A capture as Suricata reads it: packed ones, and kinds that it does not know, are written anew.
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
        if read.is_ok() && is_plain {
            return fs::canonicalize(capture).map_err(CapturesError::Run);
        }
        let plain = self.folder.path().join("plain.pcap");
        rewrite(capture, &plain)?;
        Ok(plain)
    }

    fn ask(&mut self, command: &'static str, question: &Value) -> Result<Value, CapturesError> {
        let mut line = question.to_string();
        line.push('\n');
        self.socket.get_mut().write_all(line.as_bytes()).map_err(CapturesError::Run)?;
        let mut answer = Vec::new();
        let read = self.socket.by_ref().take(ANSWER_BYTES_MAX).read_until(b'\n', &mut answer);
        if read.map_err(CapturesError::Run)? == 0 {
            return Err(CapturesError::Ended { said: last_words(self.folder.path()) });
        }
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        if answer.get("return").and_then(Value::as_str) != Some("OK") {
            return Err(CapturesError::Refused { command, answer: answer.to_string().chars().take(200).collect() });
        }
        Ok(answer.get("message").cloned().unwrap_or_default())
    }
}

impl Drop for CaptureSuricata {
    fn drop(&mut self) {
        // It may be gone already; the process is what counts.
        let _ = self.ask("shutdown", &json!({ "command": "shutdown" }));
        end(&mut self.child, END_DEADLINE);
    }
}

/// A Suricata that is not ready yet: killed where nobody waits for it any longer.
struct Starting {
    child: Option<Child>,
    folder: Option<TempDir>,
}

impl Starting {
    fn wait(&mut self, socket: &Path, stop: &StopFlag, program: &Path) -> Result<UnixStream, CapturesError> {
        let watch = Stopwatch::start();
        loop {
            if let Ok(stream) = UnixStream::connect(socket) {
                stream.set_read_timeout(Some(ANSWER_PATIENCE)).map_err(CapturesError::Run)?;
                return Ok(stream);
            }
            let folder = self.folder.as_ref().map_or(Path::new(""), TempDir::path);
            match self.child.as_mut().map(Child::try_wait) {
                Some(Ok(None)) => {}
                // What `setpriv` says of a program that is not there.
                Some(Ok(Some(status))) if status.code() == Some(127) => {
                    return Err(CapturesError::NotFound { program: program.display().to_string() });
                }
                Some(Ok(Some(_))) | None => return Err(CapturesError::Ended { said: last_words(folder) }),
                Some(Err(source)) => return Err(CapturesError::Run(source)),
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
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            end(child, Duration::ZERO);
        }
    }
}

/// Waits for the end, and makes it where it does not come.
fn end(child: &mut Child, deadline: Duration) {
    let watch = Stopwatch::start();
    while watch.elapsed() < deadline {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        thread::sleep(LOOK_EVERY);
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// The program under a parent's death signal, so that it ends even with an agent that is killed.
fn command(program: &Path) -> Command {
    let setpriv = ["/usr/bin/setpriv", "/bin/setpriv"].into_iter().find(|path| Path::new(path).is_file());
    match setpriv {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "TERM", "--"]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// The last lines that Suricata said, errors first among them.
fn last_words(folder: &Path) -> String {
    let said = fs::read(folder.join("said")).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("E:") || line.starts_with("Error")).collect();
    let lines = if errors.is_empty() { said.lines().rev().take(3).collect() } else { errors };
    let words: String = lines.into_iter().take(3).collect::<Vec<_>>().join("; ").chars().take(500).collect();
    if words.is_empty() { "nothing".to_owned() } else { words }
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

/// Puts all rules into one file: Suricata's `-S` takes one.
fn gather(rules: &Path, into: &Path) -> Result<(), CapturesError> {
    let failed = |source| CapturesError::Rules { path: rules.to_owned(), source };
    let files = rule_files(rules).map_err(failed)?;
    let mut out = BufWriter::new(File::create(into).map_err(CapturesError::Run)?);
    let mut left = RULES_BYTES_MAX;
    for file in files {
        let mut from = File::open(&file).map_err(failed)?.take(left);
        left -= io::copy(&mut from, &mut out).map_err(failed)?;
        out.write_all(b"\n").map_err(failed)?;
    }
    out.flush().map_err(failed)
}

/// Writes the frames of a capture as a plain pcap in nanoseconds: those of its first link type.
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
        let at_ns = frame.at_ns.unwrap_or(last_ns);
        last_ns = at_ns;
        let words = [
            u32::try_from(at_ns / 1_000_000_000).unwrap_or(u32::MAX),
            (at_ns % 1_000_000_000) as u32,
            u32::try_from(frame.bytes.len()).unwrap_or(u32::MAX),
            u32::try_from(frame.wire_len).unwrap_or(u32::MAX),
        ];
        for word in words {
            write(&word.to_le_bytes())?;
        }
        write(frame.bytes)?;
    }
    out.flush().map_err(CapturesError::Run)
}
