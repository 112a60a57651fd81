//! A Debian that has booted, in a container or in an emulated machine: asked, waited for, and what systemd knows of its units.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

/// For each thing that is waited for, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) trait Debian {
    /// What a command inside says, by root; fails where the command does.
    fn says(&self, words: &[&str]) -> Result<String>;

    /// The same of a line for the shell.
    fn shell(&self, line: &str) -> Result<String> {
        self.says(&["sh", "-c", line])
    }

    /// Properties of a unit by name.
    fn unit(&self, name: &str, properties: &[&str]) -> Result<BTreeMap<String, String>> {
        let wanted = format!("--property={}", properties.join(","));
        let said = self.says(&["systemctl", "show", name, &wanted])?;
        let pairs = said.lines().filter_map(|line| line.split_once('='));
        Ok(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    /// Starts a command that goes on by itself, as a unit of that name with such bounds.
    fn start(&self, unit: &str, bounds: &[String], words: &[&str]) -> Result<()> {
        let unit = format!("--unit={unit}");
        let bounds = bounds.iter().flat_map(|bound| ["--property", bound.as_str()]);
        let all: Vec<&str> = ["systemd-run", "--quiet", &unit]
            .into_iter()
            .chain(bounds)
            .chain(["--"])
            .chain(words.iter().copied())
            .collect();
        self.says(&all).map(drop)
    }

    /// Whether such a command has ended; fails where it ended badly.
    fn has_ended(&self, unit: &str) -> Result<bool> {
        let state = self.unit(&format!("{unit}.service"), &["ActiveState", "Result"])?;
        let is = |name: &str, wanted: &str| state.get(name).is_some_and(|value| value == wanted);
        ensure!(!is("ActiveState", "failed"), "`{unit}` ended badly: {state:?}");
        // One that ended well is forgotten, and inactive like all that nobody knows.
        Ok(is("ActiveState", "inactive"))
    }
}

/// Asks until there is an answer; says what was waited for when there never is.
pub(crate) fn wait<T>(mut ask: impl FnMut() -> Result<T, String>) -> Result<T> {
    let began = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(what) => ensure!(began.elapsed() < PATIENCE, "{what}, after {PATIENCE:?}"),
        }
        thread::sleep(Duration::from_millis(100));
    }
}
