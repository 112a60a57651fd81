//! Suricata's command socket: one question, one answer, both a line of JSON. Protocol 0.2 of Suricata's unix-manager.c.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("Suricata's socket {} cannot be asked: {source}", path.display())]
    Socket { path: PathBuf, source: io::Error },
    #[error("Suricata's socket answered `{command}` with something else: {answer}")]
    Answer { command: &'static str, answer: String },
}

/// How many rules are in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleCounts {
    pub loaded: u64,
    pub failed: u64,
}

/// Bytes of the longest answer that is read: `ruleset-failed-rules` names every rule.
const ANSWER_BYTES_MAX: u64 = 4 << 20;
/// Characters of a strange answer that are told.
const TOLD_CHARS: usize = 200;

/// A connection. Suricata serves all of them on one thread, between other things.
#[derive(Debug)]
pub struct Commands {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Commands {
    /// Connects, and waits for any answer at most `patience`.
    pub fn connect(path: &Path, patience: Duration) -> Result<Self, CommandError> {
        let socket = |source| CommandError::Socket { path: path.to_owned(), source };
        let stream = stream(path, patience).map_err(socket)?;
        let mut connection = Self { path: path.to_owned(), stream: BufReader::new(stream) };
        connection.exchange("version", &json!({ "version": "0.2" }))?;
        Ok(connection)
    }

    /// Seconds since Suricata began.
    pub fn uptime_secs(&mut self) -> Result<u64, CommandError> {
        let answer = self.ask("uptime")?;
        answer.as_u64().ok_or_else(|| strange("uptime", &answer))
    }

    pub fn rule_counts(&mut self) -> Result<RuleCounts, CommandError> {
        let answer = self.ask("ruleset-stats")?;
        let engines = answer.as_array().ok_or_else(|| strange("ruleset-stats", &answer))?;
        let sum = |key: &str| engines.iter().filter_map(|engine| engine.get(key)?.as_u64()).sum();
        Ok(RuleCounts { loaded: sum("rules_loaded"), failed: sum("rules_failed") })
    }

    /// Names the ruleset in force: it changes when other rules take its place.
    pub fn reloaded_at(&mut self) -> Result<String, CommandError> {
        Ok(self.ask("ruleset-reload-time")?.to_string())
    }

    /// Has the rules read anew and waits until the new ones judge. Suricata says `done` whether it took them or not.
    pub fn reload_rules(&mut self) -> Result<(), CommandError> {
        self.ask("ruleset-reload-rules").map(|_| ())
    }

    /// Has the output files opened again, after they were moved.
    pub fn reopen_files(&mut self) -> Result<(), CommandError> {
        self.ask("reopen-log-files").map(|_| ())
    }

    /// Hands it a capture, in the mode that waits for some; what it says of it goes into the folder `out`.
    pub fn judge(&mut self, capture: &Path, out: &Path) -> Result<(), CommandError> {
        let files = json!({ "filename": capture, "output-dir": out });
        self.exchange("pcap-file", &json!({ "command": "pcap-file", "arguments": files })).map(|_| ())
    }

    /// Whether it is done with every capture.
    pub fn is_idle(&mut self) -> Result<bool, CommandError> {
        let waiting = self.ask("pcap-file-number")?;
        let current = self.ask("pcap-current")?;
        Ok(waiting.as_u64() == Some(0) && current.as_str() == Some("None"))
    }

    pub fn shut_down(&mut self) -> Result<(), CommandError> {
        self.ask("shutdown").map(|_| ())
    }

    fn ask(&mut self, command: &'static str) -> Result<Value, CommandError> {
        self.exchange(command, &json!({ "command": command }))
    }

    fn exchange(&mut self, command: &'static str, question: &Value) -> Result<Value, CommandError> {
        let socket = |source| CommandError::Socket { path: self.path.clone(), source };
        let mut line = question.to_string();
        line.push('\n');
        self.stream.get_mut().write_all(line.as_bytes()).map_err(socket)?;
        let mut answer = Vec::new();
        let read = self.stream.by_ref().take(ANSWER_BYTES_MAX).read_until(b'\n', &mut answer).map_err(socket)?;
        if read == 0 {
            return Err(socket(io::ErrorKind::UnexpectedEof.into()));
        }
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        if answer.get("return").and_then(Value::as_str) != Some("OK") {
            return Err(strange(command, &answer));
        }
        Ok(answer.get("message").cloned().unwrap_or_default())
    }
}

/// Suricata lets two wait at its door: a third one would wait for ever.
fn stream(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt};
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    for which in [sockopt::Timeout::Send, sockopt::Timeout::Recv] {
        sockopt::set_socket_timeout(&socket, which, Some(patience))?;
    }
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(UnixStream::from(socket))
}

fn strange(command: &'static str, answer: &Value) -> CommandError {
    CommandError::Answer { command, answer: answer.to_string().chars().take(TOLD_CHARS).collect() }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use std::{os::unix::net::UnixListener, thread};

    use super::*;

    /// Answers one connection with these lines, whatever it is asked.
    fn against<T>(answers: &[&str], test: impl FnOnce(Result<Commands, CommandError>) -> T) -> T {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let answers: Vec<String> = answers.iter().map(|answer| format!("{answer}\n")).collect();
        thread::scope(|scope| {
            scope.spawn(move || {
                let (stream, _) = listener.accept().unwrap();
                let mut asked = BufReader::new(stream);
                for answer in answers {
                    asked.read_line(&mut String::new()).unwrap();
                    asked.get_mut().write_all(answer.as_bytes()).unwrap();
                }
            });
            test(Commands::connect(&path, Duration::from_secs(10)))
        })
    }

    #[test]
    fn answers_are_read_as_suricata_gives_them() {
        let stats = r#"{"message":[{"id":0,"rules_loaded":21926,"rules_failed":3,"rules_skipped":0}],"return":"OK"}"#;
        against(&[r#"{"return":"OK"}"#, r#"{"message":46,"return":"OK"}"#, stats], |commands| {
            let mut commands = commands.unwrap();
            assert_eq!(commands.uptime_secs().unwrap(), 46);
            assert_eq!(commands.rule_counts().unwrap(), RuleCounts { loaded: 21_926, failed: 3 });
            assert!(commands.uptime_secs().is_err(), "the other side is gone");
        });
    }

    #[test]
    fn a_refusal_is_told_as_it_was_said() {
        against(&[r#"{"return":"OK"}"#, r#"{"message":"no","return":"NOK"}"#], |commands| {
            let error = commands.unwrap().reload_rules().unwrap_err().to_string();
            assert!(error.contains("`ruleset-reload-rules`") && error.contains("NOK"), "{error}");
        });
        against(&["what?"], |commands| assert!(commands.is_err()));
        assert!(Commands::connect(Path::new("/nowhere/socket"), Duration::from_secs(1)).is_err());
    }

    #[test]
    fn a_suricata_that_is_busy_is_not_waited_for_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let busy =
            rustix::net::socket(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::STREAM, None).unwrap();
        rustix::net::bind(&busy, &rustix::net::SocketAddrUnix::new(&path).unwrap()).unwrap();
        rustix::net::listen(&busy, 1).unwrap();
        let mut waiting = Vec::new();
        for _ in 0..4 {
            let patience = Duration::from_millis(50);
            assert!(Commands::connect(&path, patience).is_err(), "nobody answers");
            waiting.extend(stream(&path, patience).ok());
        }
        assert!(waiting.len() < 4, "the door is full");
    }
}
