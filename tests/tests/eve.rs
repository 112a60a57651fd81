//! eve.json followed while it is rotated without pause, killed over, or comes through a FIFO or a socket.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use ids_agent::{
    config::EveFiletype,
    eve::{EveReader, EveType, Skipped, Start, read_whole},
};
use ids_tests::{
    archive, eve,
    pair::{NEEDS, Pair},
    probe::can_run,
    running::{self, Running, eventually},
};
use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    process::Signal,
};
use serde_json::Value;

const AGENT: &str = env!("CARGO_BIN_EXE_agent");
/// How long the storm blows, with ten rotations a second.
const STORM: Duration = Duration::from_secs(60);
const ROTATE_EVERY: Duration = Duration::from_millis(100);
/// Rotated files that stay: a reader that the machine gave no time for so long may lose lines, and no other.
const FILES_KEPT: u64 = 150;
/// After the rename, lines go on into the old file until the writer opens the new one.
const LINES_BEHIND: u64 = 20;
const LINES_BETWEEN: u64 = 80;

fn unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

fn appending(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).unwrap()
}

/// Writes numbered lines and rotates; tells how many it wrote and how often it rotated in each way.
fn storm(folder: &Path) -> (u64, u64, u64) {
    let path = folder.join("eve.json");
    let rotated = |number: u64| folder.join(format!("eve.json-{number:06}"));
    let mut file = appending(&path);
    let (mut written, mut renames, mut truncations) = (0, 0, 0);
    let mut write = |file: &mut File, lines: u64| {
        for _ in 0..lines {
            let line = eve::mixed(written, unix_ns());
            // Some lines come in two pieces, as a full buffer makes them.
            let (one, two) = line.split_at(if written.is_multiple_of(7) { line.len() / 2 } else { 0 });
            file.write_all(one.as_bytes()).unwrap();
            file.write_all(format!("{two}\n").as_bytes()).unwrap();
            written += 1;
        }
    };
    let begin = Instant::now();
    for rotation in 0u64.. {
        if begin.elapsed() >= STORM {
            break;
        }
        write(&mut file, LINES_BETWEEN);
        if rotation % 3 == 2 {
            // The copy is taken and the file emptied while nobody writes: what is written in between is lost to anybody.
            fs::copy(&path, rotated(rotation)).unwrap();
            file.set_len(0).unwrap();
            truncations += 1;
        } else {
            fs::rename(&path, rotated(rotation)).unwrap();
            write(&mut file, LINES_BEHIND);
            file = appending(&path);
            renames += 1;
        }
        if let Some(old) = rotation.checked_sub(FILES_KEPT) {
            fs::remove_file(rotated(old)).unwrap();
        }
        let due = ROTATE_EVERY * (rotation as u32 + 1);
        thread::sleep(due.saturating_sub(begin.elapsed()));
    }
    write(&mut file, 1);
    (written, renames, truncations)
}

#[test]
fn in_a_minute_of_ten_rotations_a_second_every_line_is_read_exactly_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("eve.json");
    let mut reader = EveReader::new(&path, EveFiletype::Regular, Start::Beginning);
    let ended = AtomicBool::new(false);
    let mut times: Vec<u8> = Vec::new();
    let (written, renames, truncations) = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let done = storm(folder.path());
            ended.store(true, Ordering::Release);
            done
        });
        let begin = Instant::now();
        loop {
            // What was written before this look is read by it or by the ones behind it.
            let last = ended.load(Ordering::Acquire);
            let mut found = false;
            let more = reader.poll(begin.elapsed().as_nanos() as u64, 256 << 10, |event| {
                found = true;
                let number = match event.kind {
                    // Of no flow; its number stands elsewhere.
                    EveType::Stats => return,
                    _ => event.flow_id as usize - 1,
                };
                times.resize(times.len().max(number + 1), 0);
                times[number] += 1;
            });
            if !more.unwrap() {
                if last && !found {
                    break;
                }
                reader.wait(Duration::from_millis(20));
            }
        }
        writer.join().unwrap()
    });
    println!("{written} lines, {renames} renames, {truncations} truncations");
    assert!(written > 10_000 && renames > 100 && truncations > 50, "{written} {renames} {truncations}");
    let stats: Vec<usize> = (0..written as usize).filter(|number| number % 400 == 19).collect();
    let wrong: Vec<(usize, u8)> = (0..written as usize)
        .map(|number| (number, times.get(number).copied().unwrap_or(0)))
        .filter(|(number, times)| *times != u8::from(!stats.contains(number)))
        .collect();
    assert!(
        wrong.is_empty(),
        "of {written} lines {} were not read once: {:?}",
        wrong.len(),
        &wrong[..wrong.len().min(20)]
    );
    let totals = reader.totals();
    assert!(totals.is_conserved(), "{totals:?}");
    assert_eq!(totals.events_all(), written);
    // Half a line at the moment of a truncation is no line: nothing else is skipped.
    let cut = Skipped::ALL.iter().position(|reason| *reason == Skipped::Cut).unwrap();
    assert_eq!(totals.skipped_all(), totals.skipped[cut], "{totals:?}");
    assert_eq!(totals.input.behind_bytes, 0);
}

#[test]
fn real_events_of_other_sensors_are_understood_or_have_a_reason() {
    let Some(folder) = archive::unpacked("eve-samples.tar.zst") else { return };
    let files = archive::files(&folder, &[".json", ".gz"]);
    let (mut events, mut read) = (0, 0);
    for file in files {
        let totals = read_whole(&file, |_| {}).unwrap();
        assert!(totals.is_conserved(), "{}: {totals:?}", file.display());
        // Some of the files are JSON of another shape: summaries and lists over many lines.
        if totals.events_all() > 0 {
            println!("{}: {} events, {} skipped", file.display(), totals.events_all(), totals.skipped_all());
            assert!(totals.skipped_all() * 100 <= totals.events_all(), "{}: {totals:?}", file.display());
            read += 1;
            events += totals.events_all();
        }
    }
    assert!(read >= 3 && events > 5_000, "{events} events in {read} files");
}

/// An agent that follows an eve.json, with no models.
struct Agent<'a>(Running<'a>);

/// Where an agent keeps and writes everything.
struct Place {
    folder: tempfile::TempDir,
    filetype: &'static str,
}

impl Place {
    fn new(filetype: &'static str) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), filetype }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn eve(&self) -> PathBuf {
        self.path("eve.json")
    }

    fn config(&self) -> PathBuf {
        let shown = |name| self.path(name).display().to_string();
        let text = format!(
            "[detect]\nclassifier = false\nanomaly = false\ndga = false\n\
             [suricata]\neve_path = \"{}\"\neve_filetype = \"{}\"\neve_begin = \"start\"\n\
             [state]\ndir = \"{}\"\n[control]\nenabled = false\n[evidence]\nkeep = 0\n[alert]\npath = \"{}\"\n",
            shown("eve.json"),
            self.filetype,
            self.folder.path().display(),
            shown("alerts.ndjson"),
        );
        fs::write(self.path("ids.toml"), text).unwrap();
        self.path("ids.toml")
    }

    /// Incident and source of every alert that was written.
    fn alerts(&self) -> Vec<(String, String)> {
        let Ok(text) = fs::read_to_string(self.path("alerts.ndjson")) else { return Vec::new() };
        let alerts = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        alerts
            .map(|alert| {
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                (text(&alert["ids"]["incident"]), text(&alert["src_ip"]))
            })
            .collect()
    }

    fn sources(&self) -> BTreeSet<String> {
        self.alerts().into_iter().map(|(_, source)| source).collect()
    }
}

impl<'a> Agent<'a> {
    fn start(pair: &'a Pair, place: &Place) -> Self {
        Self(pair.start(AGENT, &["--config", place.config().to_str().unwrap()]))
    }

    /// Waits until a family's series have at least this value together; gives the page.
    #[track_caller]
    fn await_sum(&mut self, family: &str, at_least: u64) -> String {
        self.0.await_page("/metrics", |_, page| sum(page, family) >= at_least)
    }

    /// By SIGKILL: it has no time for anything.
    fn kill(self) {
        drop(self.0);
    }

    fn stop(self) {
        self.0.signal(Signal::TERM);
        let ran = self.0.end();
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
}

fn value(page: &str, series: &str) -> u64 {
    running::value(page, series) as u64
}

fn sum(page: &str, family: &str) -> u64 {
    running::sum(page, family) as u64
}

#[track_caller]
fn assert_lines_conserved(page: &str) {
    let lines = value(page, "ids_eve_lines_total");
    assert_eq!(lines, sum(page, "ids_eve_events_total") + sum(page, "ids_eve_lines_skipped_total"), "{page}");
}

/// Writes alerts of ever new sources, so that each is an incident of its own.
fn write_alerts(file: &mut impl Write, numbers: std::ops::Range<u64>) {
    for number in numbers {
        writeln!(file, "{}", eve::alert(number, unix_ns())).unwrap();
    }
}

#[test]
fn an_agent_that_is_killed_tells_every_alert_and_tells_it_again_under_the_same_id() {
    if !can_run("eve", &NEEDS) {
        return;
    }
    // Nothing passes by but what Suricata says.
    let pair = Pair::new("killed");
    let place = Place::new("regular");
    let mut file = appending(&place.eve());
    write_alerts(&mut file, 0..300);

    // Read, and killed while it waits for its flows: nothing, or next to nothing, is told yet.
    let mut agent = Agent::start(&pair, &place);
    agent.await_sum("ids_eve_lines_total", 300);
    agent.kill();
    write_alerts(&mut file, 300..400);
    // Half a line, whose rest comes while nobody looks.
    let line = eve::alert(400, unix_ns());
    file.write_all(&line.as_bytes()[..50]).unwrap();

    // Killed once all was told, and before it was left behind for good.
    let mut agent = Agent::start(&pair, &place);
    agent.await_sum("ids_sink_lines_written_total", 400);
    agent.kill();
    assert_eq!(place.sources().len(), 400);
    file.write_all(&line.as_bytes()[50..]).unwrap();
    file.write_all(b"\n").unwrap();
    // Meanwhile the file is rotated away.
    fs::rename(place.eve(), place.path("eve.json.1")).unwrap();
    let mut file = appending(&place.eve());
    write_alerts(&mut file, 401..500);

    // Ended in good order: all is told, and left behind.
    let mut agent = Agent::start(&pair, &place);
    let page = agent.0.await_page("/metrics", |_, _| place.sources().len() >= 500);
    assert_lines_conserved(&page);
    agent.stop();
    let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let alerts = place.alerts();
    for (incident, source) in &alerts {
        ids.entry(source.clone()).or_default().insert(incident.clone());
    }
    let missing: Vec<_> =
        (0..500).map(|number| eve::source(number).to_string()).filter(|source| !ids.contains_key(source)).collect();
    assert_eq!(missing, Vec::<String>::new());
    let changed: Vec<_> = ids.iter().filter(|(_, ids)| ids.len() != 1).take(5).collect();
    assert!(changed.is_empty(), "repeats have other ids: {changed:?}");
    assert!(alerts.len() > 500, "nothing came twice: was nobody killed?");

    // Nothing comes again after an orderly end. One that comes while alerts wait for their flows tells them first.
    write_alerts(&mut file, 500..510);
    let mut agent = Agent::start(&pair, &place);
    let page = agent.await_sum("ids_eve_events_total", 10);
    assert_eq!(value(&page, "ids_eve_lines_total"), 10);
    agent.stop();
    assert_eq!(place.alerts().len(), alerts.len() + 10);
}

#[test]
fn what_is_settled_does_not_come_again_after_a_kill() {
    if !can_run("eve", &NEEDS) {
        return;
    }
    // Nothing passes by but what Suricata says.
    let pair = Pair::new("settled");
    let place = Place::new("regular");
    let mut file = appending(&place.eve());
    write_alerts(&mut file, 0..50);
    let mut agent = Agent::start(&pair, &place);
    agent.await_sum("ids_alerts_total", 50);
    // The clock's offset is kept from the start, a position once its lines are done with.
    let kept = || fs::metadata(place.path("eve.bin")).unwrap().len();
    let at_first = kept();
    eventually("no position is kept", || kept() > at_first);
    agent.kill();
    write_alerts(&mut file, 50..55);
    let mut agent = Agent::start(&pair, &place);
    let page = agent.await_sum("ids_eve_events_total", 5);
    assert_eq!(value(&page, "ids_eve_lines_total"), 5);
    agent.stop();
    assert_eq!(place.alerts().len(), 55);
}

#[test]
fn a_fifo_and_what_is_wrong_with_its_lines_show_in_the_metrics() {
    if !can_run("eve", &NEEDS) {
        return;
    }
    // Nothing passes by but what Suricata says.
    let pair = Pair::new("fifo");
    let place = Place::new("regular");
    mknodat(CWD, place.eve(), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let mut agent = Agent::start(&pair, &place);
    // Opening waits for the reader.
    let mut writer = OpenOptions::new().write(true).open(place.eve()).unwrap();
    let now_ns = unix_ns();
    for number in 0..1_000 {
        writeln!(writer, "{}", eve::mixed(number, now_ns)).unwrap();
    }
    writer.write_all(b"\xff\xfe no text\nno json\n{\"event_type\":\"alert\"}\n").unwrap();
    let long = vec![b'x'; 3 << 20];
    writer.write_all(&long).unwrap();
    writer.write_all(b"\n").unwrap();
    writeln!(writer, "{}", eve::stats(7, now_ns)).unwrap();
    write!(writer, "half").unwrap();
    drop(writer);
    let page = agent.await_sum("ids_eve_lines_total", 1_006);
    assert_lines_conserved(&page);
    for (reason, lines) in [("utf8", 1), ("json", 1), ("time", 1), ("too_long", 1), ("cut", 1)] {
        assert_eq!(value(&page, &format!("ids_eve_lines_skipped_total{{reason=\"{reason}\"}}")), lines, "{page}");
    }
    for (series, wanted) in [
        ("ids_suricata_up", 1),
        ("ids_eve_readable", 1),
        ("ids_suricata_rules{state=\"loaded\"}", 41_234),
        ("ids_suricata_rules{state=\"failed\"}", 2),
        ("ids_suricata_packets{fate=\"seen\"}", 70),
        ("ids_suricata_packets{fate=\"dropped\"}", 7),
        ("ids_suricata_uptime_seconds", 7),
    ] {
        assert_eq!(value(&page, series), wanted, "{series} in {page}");
    }
    agent.stop();
}

#[test]
fn suricata_connects_to_the_socket_and_connects_again() {
    if !can_run("eve", &NEEDS) {
        return;
    }
    // Nothing passes by but what Suricata says.
    let pair = Pair::new("socket");
    let place = Place::new("unix_stream");
    let mut agent = Agent::start(&pair, &place);
    let connect = || {
        let mut stream = None;
        eventually("nobody listens", || {
            stream = UnixStream::connect(place.eve()).ok();
            stream.is_some()
        });
        stream.unwrap()
    };
    let mut suricata = connect();
    write_alerts(&mut suricata, 0..20);
    agent.await_sum("ids_eve_lines_total", 20);
    drop(suricata);
    let mut suricata = connect();
    write_alerts(&mut suricata, 20..30);
    let page = agent.await_sum("ids_eve_events_total", 30);
    assert_lines_conserved(&page);
    agent.stop();
    assert!(!place.eve().exists(), "the socket is taken away");
    assert_eq!(place.alerts().len(), 30);
}
