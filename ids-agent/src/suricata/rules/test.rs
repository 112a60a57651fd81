//! Has Suricata itself say whether it takes the rules, before they are in force.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use super::{FILES, RulesError, TestWith, disk};
use crate::suricata::{
    log::{LogLine, LogTail, log_line},
    process::wait_for,
};

/// What `suricata -T` accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tested {
    pub rules: u64,
    pub left_out: u64,
}

/// Time for one test; 22,000 rules take a few seconds of one CPU.
const PATIENCE: Duration = Duration::from_secs(300);
/// A newer set may hold a few rules that an older Suricata cannot compile. More than this many of a hundred, and it was
/// meant for something else.
const LEFT_OUT_PERCENT_MAX: u64 = 2;

/// Tests the rules in a folder. Rules that do not compile are commented out there, if they are few.
pub(super) fn test(folder: &Path, with: &TestWith<'_>) -> Result<Tested, RulesError> {
    let first = run(folder, with)?;
    if first.accepted {
        return Ok(Tested { rules: first.rules, left_out: 0 });
    }
    let failed: u64 = first.failed.values().map(|lines| lines.len() as u64).sum();
    // The counts of a refused test leave out what failed.
    let all = first.rules.max(count_rules(folder)?);
    // One's own rules are for this Suricata: a mistake in them is one to be mended.
    let own = first.failed.contains_key(&folder.join(FILES[1]));
    if failed == 0 || own || failed * 100 > all * LEFT_OUT_PERCENT_MAX {
        return Err(RulesError::Refused { said: first.told });
    }
    for (file, lines) in &first.failed {
        comment_out(file, lines)?;
    }
    let second = run(folder, with)?;
    if !second.accepted {
        return Err(RulesError::Refused { said: second.told });
    }
    tracing::warn!(rules = failed, first = first.told, "rules that this Suricata cannot compile are left out");
    Ok(Tested { rules: second.rules, left_out: failed })
}

struct Said {
    accepted: bool,
    rules: u64,
    /// Lines by file, counted from one.
    failed: BTreeMap<PathBuf, BTreeSet<usize>>,
    told: String,
}

fn run(folder: &Path, with: &TestWith<'_>) -> Result<Said, RulesError> {
    let path = folder.join("test.log");
    let log = File::create(&path).map_err(disk("make", &path))?;
    let mut command = Command::new(with.found()?);
    command.args(["-T", "-v", "-c"]).arg(with.yaml).arg("-l").arg(folder);
    command.arg("--set").arg(setting("default-rule-path", folder));
    let classes = folder.join("classification.config");
    if classes.is_file() {
        command.arg("--set").arg(setting("classification-file", &classes));
    }
    command.stdin(Stdio::null()).stdout(log.try_clone().map_err(disk("make", &path))?).stderr(log);
    let status = match wait(&mut command, PATIENCE) {
        Ok(Some(status)) => status,
        Ok(None) => return Err(RulesError::TestLate { secs: PATIENCE.as_secs() }),
        Err(error) => return Err(disk("run", with.program)(error)),
    };
    let text = fs::read(&path).map_err(disk("read", &path))?;
    fs::remove_file(&path).map_err(disk("remove", &path))?;
    let mut said = read(&String::from_utf8_lossy(&text));
    said.accepted = status.success();
    if said.told.is_empty() {
        said.told = status.to_string();
    }
    Ok(said)
}

fn setting(key: &str, value: &Path) -> std::ffi::OsString {
    let mut setting = std::ffi::OsString::from(key);
    setting.push("=");
    setting.push(value);
    setting
}

fn read(text: &str) -> Said {
    let mut said = Said { accepted: false, rules: 0, failed: BTreeMap::new(), told: String::new() };
    let mut tail = LogTail::default();
    for line in text.lines() {
        tail.note(log_line(line));
        if let Some((file, at)) = failed_rule(line) {
            said.failed.entry(file).or_default().insert(at);
        }
        // `1 rule files processed. 21926 rules successfully loaded, 0 rules failed, 0`
        if let Some((before, _)) = line.split_once(" rules successfully loaded") {
            said.rules = before.rsplit(' ').next().and_then(|count| count.parse().ok()).unwrap_or(said.rules);
        }
        if let LogLine::Error(error) = log_line(line)
            && said.told.is_empty()
        {
            said.told = error.to_owned();
        }
    }
    said
}

/// `... error parsing signature "..." from file /x/suricata.rules at line 455`
fn failed_rule(line: &str) -> Option<(PathBuf, usize)> {
    let (_, place) = line.rsplit_once("\" from file ")?;
    let (file, at) = place.rsplit_once(" at line ")?;
    Some((PathBuf::from(file), at.trim().parse().ok()?))
}

fn count_rules(folder: &Path) -> Result<u64, RulesError> {
    let mut rules = 0;
    for file in FILES {
        let path = folder.join(file);
        let text = fs::read(&path).map_err(disk("read", &path))?;
        let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_start);
        rules += lines.filter(|line| !line.is_empty() && !line.starts_with(b"#")).count() as u64;
    }
    Ok(rules)
}

fn comment_out(file: &Path, lines: &BTreeSet<usize>) -> Result<(), RulesError> {
    let text = fs::read(file).map_err(disk("read", file))?;
    let mut out = Vec::with_capacity(text.len() + lines.len() * 2);
    for (at, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        if lines.contains(&(at + 1)) {
            out.extend_from_slice(b"# ");
        }
        out.extend_from_slice(line);
    }
    fs::write(file, out).map_err(disk("write", file))
}

/// Runs a program to its end, or ends it after `patience`.
pub(super) fn wait(command: &mut Command, patience: Duration) -> io::Result<Option<ExitStatus>> {
    let mut child = command.process_group(0).spawn()?;
    // What an update takes, nothing that runs should miss.
    let _ = rustix::process::setpriority_process(Some(rustix::process::Pid::from_child(&child)), 15);
    let ended = wait_for(&mut child, patience)?;
    if ended.is_none() {
        child.kill()?;
        child.wait()?;
    }
    Ok(ended)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;
    use crate::clock::Stopwatch;

    #[test]
    fn what_suricata_says_of_a_rule_names_its_place() {
        let said = read(
            "E: detect-parse: no terminating \";\" found\n\
             E: detect: error parsing signature \"alert ip any any -> any any (msg:\"x\" from file y at line 3\")\" \
             from file /r/suricata.rules at line 455\n\
             i: detect: 1 rule files processed. 21926 rules successfully loaded, 1 rules failed, 0\n",
        );
        assert_eq!(said.failed, BTreeMap::from([(PathBuf::from("/r/suricata.rules"), BTreeSet::from([455]))]));
        assert_eq!(said.rules, 21_926);
        assert_eq!(said.told, "detect-parse: no terminating \";\" found");
    }

    #[test]
    fn lines_are_commented_out_and_the_rest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("r");
        fs::write(&file, "one\ntwo\r\nthree").unwrap();
        comment_out(&file, &BTreeSet::from([2, 3])).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "one\n# two\r\n# three");
    }

    #[test]
    fn a_program_that_does_not_end_is_ended() {
        let watch = Stopwatch::start();
        let ended = wait(Command::new("sleep").arg("60"), Duration::from_millis(100)).unwrap();
        assert_eq!(ended, None);
        assert!(watch.elapsed() < Duration::from_secs(30));
    }
}
