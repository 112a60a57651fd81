//! Fetches rules through suricata-update, which knows the sources' forms, and gathers one's own.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use super::{RulesError, TestWith, disk, test::wait};
use crate::secret::Secret;

/// Where rules come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// URLs, files and folders. Without any, ET Open for the Suricata that is there.
    pub listed: Vec<String>,
    /// One's own: a file or a folder.
    pub local: Option<PathBuf>,
    /// What stands for `{secret}` in a URL.
    pub secret: Option<Secret>,
}

/// Where a URL of the configuration has its secret.
const PLACE: &str = "{secret}";

impl Sources {
    pub(super) fn names(&self) -> Vec<String> {
        if self.listed.is_empty() { vec!["ET Open".to_owned()] } else { self.listed.clone() }
    }
}

/// Time for all sources together.
const PATIENCE: Duration = Duration::from_secs(600);
/// Characters of its errors that are told.
const TOLD_CHARS: usize = 600;

/// Leaves `suricata.rules` and `classification.config` in `staging`.
pub(super) fn fetch(sources: &Sources, staging: &Path, download: &Path, test: &TestWith<'_>) -> Result<(), RulesError> {
    fs::create_dir_all(download).map_err(disk("make", download))?;
    let said = staging.join("suricata-update.log");
    // It names what it fetches, secrets and all.
    let log = private(&said).map_err(disk("make", &said))?;
    let mut command = Command::new("suricata-update");
    command.arg("update").arg("-D").arg(download).arg("-o").arg(staging).arg("--suricata").arg(test.found()?);
    command.arg("--suricata-conf").arg(test.yaml).args(["--no-reload", "--no-test", "--fail"]);
    if sources.listed.is_empty() {
        command.arg("--etopen");
    }
    // Arguments are for all to see, so a URL with a secret goes by way of a file.
    let hidden = hidden(sources, download)?;
    if let Some(file) = &hidden {
        command.arg("-c").arg(&file.path);
    }
    for source in sources.listed.iter().filter(|source| !source.contains(PLACE)) {
        for url in urls(source)? {
            if url.starts_with("file://") {
                // What it fetched a quarter of an hour ago it would not read again.
                command.arg("--force");
            }
            command.arg(format!("--url={url}"));
        }
    }
    command.stdin(Stdio::null()).stdout(log.try_clone().map_err(disk("make", &said))?).stderr(log);
    let missing = || RulesError::NoProgram {
        program: "suricata-update".to_owned(),
        remedy: "; Debian has it in the package suricata-update",
    };
    match wait(&mut command, PATIENCE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing()),
        Err(error) => Err(disk("run", Path::new("suricata-update"))(error)),
        Ok(None) => Err(RulesError::FetchLate { secs: PATIENCE.as_secs() }),
        Ok(Some(status)) if !status.success() => {
            let (log, said) = (&said, errors(&said));
            fs::remove_file(log).map_err(disk("remove", log))?;
            Err(RulesError::Fetch { said: sources.secret.as_ref().map_or(said.clone(), |secret| secret.redact(&said)) })
        }
        Ok(Some(_)) => fs::remove_file(&said).map_err(disk("remove", &said)),
    }
}

/// Removed when it is read.
struct Hidden {
    path: PathBuf,
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // It was made a moment ago, in a folder of ours.
        let _ = fs::remove_file(&self.path);
    }
}

/// The URLs with a secret, in a file that nobody else may read; none where there are none.
fn hidden(sources: &Sources, download: &Path) -> Result<Option<Hidden>, RulesError> {
    let wanted: Vec<&String> = sources.listed.iter().filter(|source| source.contains(PLACE)).collect();
    let Some(first) = wanted.first() else { return Ok(None) };
    let secret =
        sources.secret.as_ref().ok_or_else(|| RulesError::NoSecret { source_text: (*first).clone() })?.reveal();
    let mut text = String::from("sources:\n");
    for source in wanted {
        for url in urls(&source.replace(PLACE, &percent(secret)))? {
            // YAML's double quotes are JSON's; suricata-update fills in `%(...)s`.
            text.push_str(&format!("  - {}\n", serde_json::Value::from(url.replace('%', "%%"))));
        }
    }
    let path = download.join("sources.yaml");
    let _ = fs::remove_file(&path);
    let hidden = Hidden { path };
    private(&hidden.path).and_then(|mut file| file.write_all(text.as_bytes())).map_err(disk("write", &hidden.path))?;
    Ok(Some(hidden))
}

/// A new file for its owner's eyes.
fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Its errors, or else the last that it said.
fn errors(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let mut lines: Vec<&str> = text.lines().filter(|line| line.contains("<Error>")).collect();
    if lines.is_empty() {
        lines.extend(text.lines().last());
    }
    let plain = |line: &&str| line.rsplit(" -- ").next().unwrap_or_default().to_owned();
    let told: Vec<String> = lines.iter().map(plain).collect();
    told.join("; ").chars().take(TOLD_CHARS).collect()
}

/// A source as URLs: suricata-update takes files as such too, and folders not at all.
fn urls(source: &str) -> Result<Vec<String>, RulesError> {
    if ["http://", "https://", "file://"].iter().any(|scheme| source.starts_with(scheme)) {
        return Ok(vec![source.to_owned()]);
    }
    if source.contains("://") {
        return Err(RulesError::Source { source_text: source.to_owned() });
    }
    let path = Path::new(source);
    let path = path.canonicalize().map_err(disk("read", path))?;
    Ok(rule_files(&path)?.iter().map(|file| file_url(file)).collect())
}

/// RFC 3986: what is not plain is written in percents. suricata-update also fills in `%(...)s`, which doubles them.
fn file_url(path: &Path) -> String {
    format!("file://{}", escape(path.as_os_str().as_encoded_bytes(), b"/"))
}

/// A secret is one part of a URL, whatever it holds.
fn percent(secret: &str) -> String {
    escape(secret.as_bytes(), b"")
}

fn escape(bytes: &[u8], kept: &[u8]) -> String {
    let mut url = String::new();
    for byte in bytes {
        match byte {
            plain if kept.contains(plain) => url.push(char::from(*plain)),
            b'-' | b'.' | b'_' | b'~' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => url.push(char::from(*byte)),
            other => url.push_str(&format!("%{other:02X}")),
        }
    }
    url
}

/// The file itself, or the `*.rules` of a folder in order.
pub(super) fn rule_files(path: &Path) -> Result<Vec<PathBuf>, RulesError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(disk("read", path))? {
        let file = entry.map_err(disk("read", path))?.path();
        if file.extension().is_some_and(|ending| ending == "rules") {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(RulesError::NoRules { path: path.to_owned() });
    }
    Ok(files)
}

/// One file out of one's own rules.
pub(super) fn gather_local(local: Option<&Path>, into: &Path) -> Result<(), RulesError> {
    let mut out = File::create(into).map_err(disk("make", into))?;
    let Some(local) = local else { return Ok(()) };
    for file in rule_files(local)? {
        let mut text = fs::read(&file).map_err(disk("read", &file))?;
        text.push(b'\n');
        out.write_all(&text).map_err(disk("write", into))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;

    #[test]
    fn files_and_folders_become_urls() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        fs::write(base.join("b c.rules"), "").unwrap();
        fs::write(base.join("a.rules"), "").unwrap();
        fs::write(base.join("readme"), "").unwrap();
        let shown = base.display();
        assert_eq!(
            urls(&base.to_string_lossy()).unwrap(),
            [format!("file://{shown}/a.rules"), format!("file://{shown}/b%20c.rules")]
        );
        assert_eq!(urls("https://rules.example/x.tar.gz").unwrap(), ["https://rules.example/x.tar.gz"]);
        assert!(urls("ftp://rules.example/x").unwrap_err().to_string().contains("no rule source"));
        assert!(urls("/nowhere/x.rules").unwrap_err().to_string().contains("cannot read /nowhere/x.rules"));
    }

    #[test]
    fn a_secret_goes_by_way_of_a_file_that_nobody_else_may_read() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        fs::write(&token, "a/b\n").unwrap();
        fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
        let listed = vec!["https://rules.example/{secret}/x.tar.gz".to_owned(), "https://b.example/y".to_owned()];
        let without = Sources { listed: listed.clone(), local: None, secret: None };
        let told = hidden(&without, folder.path()).err().unwrap().to_string();
        assert!(told.contains("rule_secret"), "{told}");
        let secret = Secret::read(&crate::config::SecretPlace::File(token)).unwrap();
        let sources = Sources { secret: Some(secret), ..without };
        let path = {
            let made = hidden(&sources, folder.path()).unwrap().unwrap();
            let text = fs::read_to_string(&made.path).unwrap();
            assert_eq!(text, "sources:\n  - \"https://rules.example/a%%2Fb/x.tar.gz\"\n");
            assert_eq!(fs::metadata(&made.path).unwrap().permissions().mode() & 0o777, 0o600);
            made.path.clone()
        };
        assert!(!path.exists(), "it does not stay");
        assert!(sources.names().iter().all(|name| !name.contains("a/b")), "releases are named without it");
    }

    #[test]
    fn ones_own_rules_are_gathered_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let into = folder.path().join("out");
        gather_local(None, &into).unwrap();
        assert_eq!(fs::read_to_string(&into).unwrap(), "");
        assert!(gather_local(Some(folder.path()), &into).is_err(), "a folder without rules is a mistake");
        fs::write(folder.path().join("b.rules"), "second").unwrap();
        fs::write(folder.path().join("a.rules"), "first").unwrap();
        gather_local(Some(folder.path()), &into).unwrap();
        assert_eq!(fs::read_to_string(&into).unwrap(), "first\nsecond\n");
    }
}
