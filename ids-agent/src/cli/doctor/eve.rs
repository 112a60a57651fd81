//! What `doctor` says of eve.json: whether it can be read, whether it grows, and whether its flows can be told apart.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    os::unix::{fs::FileTypeExt, net::UnixStream},
    path::Path,
    time::UNIX_EPOCH,
};

use rustix::fs::{Access, access};

use super::{Findings, State};
use crate::{
    clock,
    config::{EveFiletype, SuricataSettings},
    eve::{EveTotals, Lines, parse_line},
};

/// Bytes at the end of the file that are looked at.
const TAIL_BYTES: u64 = 1 << 20;
/// Suricata writes its statistics at least so often.
const SILENCE_SECS: u64 = 120;
const AHEAD_NS: u64 = 60_000_000_000;

pub(super) fn look(found: &mut Findings, settings: &SuricataSettings) {
    let Some(path) = &settings.eve_file() else { return };
    match settings.eve_filetype {
        EveFiletype::Regular => regular(found, path),
        EveFiletype::UnixStream => socket(found, path),
    }
}

fn regular(found: &mut Findings, path: &Path) {
    let what = "Suricata's eve.json";
    let shown = path.display();
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let says = format!(
                "there is no {shown}: the agent waits for it; suricata.yaml says under `outputs`, `eve-log`, where it is written"
            );
            return found.add(what, State::Limited, says);
        }
        Err(error) => return found.add(what, State::Limited, format!("{shown} cannot be read: {error}")),
    };
    if metadata.file_type().is_fifo() {
        return found.add(what, State::Works, format!("{shown} is a FIFO: what is not read of it holds Suricata up"));
    }
    if !metadata.is_file() {
        return found.add(
            what,
            State::Limited,
            format!("{shown} is no file; for a socket, set eve_filetype = \"unix_stream\""),
        );
    }
    let tail = match tail(path, metadata.len()) {
        Ok(tail) => tail,
        Err(error) => {
            let says =
                format!("{shown} cannot be read: {error}; the agent's user needs to be in the group that owns it");
            return found.add(what, State::Limited, says);
        }
    };
    let written = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let silent_secs = (clock::wall_ns() / 1_000_000_000).saturating_sub(written.as_secs());
    let lines = format!("{} of the last {} lines are events", tail.events_all(), tail.input.lines.lines_all());
    if tail.input.lines.lines_all() > 0 && tail.events_all() == 0 {
        found.add(what, State::Limited, format!("{shown} is no eve.json: {lines}"));
        return;
    }
    if silent_secs > SILENCE_SECS {
        let says =
            format!("nothing was written to {shown} for {silent_secs} s: does Suricata run, and is its eve-log on?");
        found.add(what, State::Limited, says);
    } else {
        found.add(what, State::Works, format!("{shown} is read and grows; {lines}"));
    }
    community_id(found, &tail);
    if tail.newest_ns > clock::wall_ns().saturating_add(AHEAD_NS) {
        let ahead_secs = (tail.newest_ns - clock::wall_ns()) / 1_000_000_000;
        let says = format!("it is {ahead_secs} s ahead of this machine's: events are joined by community-id at best");
        found.add("clock of eve.json", State::Limited, says);
    }
}

fn community_id(found: &mut Findings, tail: &EveTotals) {
    let what = "community-id of eve.json";
    let turn_on = "set `community-id: yes` below `eve-log` in suricata.yaml, with the seed 0, and restart Suricata";
    if tail.of_flows == 0 {
        found.add(what, State::Limited, format!("not known: no flow is named yet. If it is off, {turn_on}"));
    } else if tail.with_community_id == 0 {
        let says = format!(
            "off: events are joined by addresses, ports and time, which NAT and reused ports confuse; {turn_on}"
        );
        found.add(what, State::Limited, says);
    } else {
        let says = format!("on: {} of {} events of flows bear one", tail.with_community_id, tail.of_flows);
        found.add(what, State::Works, says);
    }
}

/// What stands in the last lines.
fn tail(path: &Path, len: u64) -> io::Result<EveTotals> {
    let mut file = File::open(path)?;
    let from = len.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    // The first line may have begun before.
    let whole = if from == 0 { 0 } else { memchr::memchr(b'\n', &bytes).map_or(bytes.len(), |end| end + 1) };
    let (mut lines, mut totals) = (Lines::default(), EveTotals::default());
    lines.push(bytes.get(whole..).unwrap_or(&[]), |line| totals.count(&parse_line(line)));
    let mut input = totals.input;
    input.lines = lines.stats();
    totals.take_input(input);
    Ok(totals)
}

fn socket(found: &mut Findings, path: &Path) {
    let what = "socket for Suricata's eve.json";
    let shown = path.display();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Err(error) = access(folder, Access::WRITE_OK | Access::EXEC_OK) {
        let says =
            format!("it cannot be made in {}: {error}; the agent's user must be able to write there", folder.display());
        return found.add(what, State::Limited, says);
    }
    match fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            found.add(
                what,
                State::Limited,
                format!("{shown} is there and is no socket: remove it, or name another path"),
            );
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            found.add(what, State::Works, format!("{shown} is listened on, by an agent that runs"));
        }
        Ok(_) | Err(_) => {
            let says = format!(
                "{shown} is made when the agent runs; suricata.yaml takes `filetype: unix_stream` and `filename: {shown}`"
            );
            found.add(what, State::Works, says);
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    fn says(settings: &SuricataSettings) -> String {
        let mut found = Findings::default();
        look(&mut found, settings);
        found.findings.iter().map(|one| format!("{} {}: {}\n", one.what, one.state.label(), one.says)).collect()
    }

    fn of_file(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eve.json");
        fs::write(&path, text).unwrap();
        says(&SuricataSettings { eve_path: Some(path), ..SuricataSettings::default() })
    }

    const PLAIN: &str = r#"{"timestamp":"2026-01-01T00:00:00.000000+0000","flow_id":7,"event_type":"flow","src_ip":"10.0.0.1","dest_ip":"10.0.0.2","proto":"TCP"}"#;

    #[test]
    fn whether_the_community_id_is_on_is_told_from_the_lines_and_how_to_turn_it_on() {
        let off = of_file(&format!("{PLAIN}\n{PLAIN}\n"));
        assert!(off.contains("community-id of eve.json limited: off") && off.contains("`community-id: yes`"), "{off}");
        assert!(off.contains("eve.json works") && off.contains("2 of the last 2 lines"), "{off}");
        let on = of_file(&PLAIN.replace("\"flow_id\":7", "\"flow_id\":7,\"community_id\":\"1:abc=\""));
        assert!(!on.contains("works: on"), "half a line is none: {on}");
        let on = of_file(&format!("{}\n", PLAIN.replace("\"flow_id\":7", "\"flow_id\":7,\"community_id\":\"1:abc=\"")));
        assert!(on.contains("works: on: 1 of 1"), "{on}");
        assert!(of_file("").contains("not known"));
        assert!(of_file("no json\nat all\n").contains("is no eve.json: 0 of the last 2"));
        let future = of_file(&format!("{}\n", PLAIN.replace("2026-", "2260-")));
        assert!(future.contains("clock of eve.json limited"), "{future}");
    }

    #[test]
    fn what_is_not_there_and_what_is_of_another_kind_is_told() {
        assert_eq!(says(&SuricataSettings::default()), "");
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str, eve_filetype| {
            says(&SuricataSettings {
                eve_path: Some(folder.path().join(name)),
                eve_filetype,
                ..SuricataSettings::default()
            })
        };
        assert!(at("eve.json", EveFiletype::Regular).contains("there is no"));
        assert!(at("", EveFiletype::Regular).contains("eve_filetype"));
        assert!(at("eve.sock", EveFiletype::UnixStream).contains("filetype: unix_stream"));
        assert!(at("no/eve.sock", EveFiletype::UnixStream).contains("cannot be made"));
        fs::write(folder.path().join("eve.sock"), "").unwrap();
        assert!(at("eve.sock", EveFiletype::UnixStream).contains("is no socket"));
    }
}
