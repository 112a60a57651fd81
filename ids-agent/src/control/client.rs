//! Asks a running agent over its control socket.

use std::{
    io,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;

use super::{ANSWER_BYTES_MAX, Answer, Request};

/// A reload reads models, which takes a small machine a while.
const ANSWER_WITHIN: Duration = Duration::from_secs(180);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no agent runs with a control socket at {}; start it, or name its configuration with --config", path.display())]
    NobodyThere { path: PathBuf },
    #[error("cannot speak to the agent at {}: {source}", path.display())]
    Speak { path: PathBuf, source: io::Error },
    #[error("the agent at {} gave no answer that can be read: {reason}", path.display())]
    Garbled { path: PathBuf, reason: String },
    /// The agent's own words.
    #[error("{0}")]
    Refused(String),
}

/// Gives the result of what was asked for.
pub fn ask(path: &Path, request: &Request) -> Result<Value, ClientError> {
    let speak = |source| ClientError::Speak { path: path.to_owned(), source };
    let mut stream = UnixStream::connect(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            ClientError::NobodyThere { path: path.to_owned() }
        }
        _ => speak(error),
    })?;
    stream.set_read_timeout(Some(ANSWER_WITHIN)).map_err(speak)?;
    let mut line = serde_json::to_vec(request).map_err(|error| speak(io::Error::other(error)))?;
    line.push(b'\n');
    stream.write_all(&line).map_err(speak)?;
    let mut answer = String::new();
    BufReader::new(stream.take(ANSWER_BYTES_MAX)).read_line(&mut answer).map_err(speak)?;
    let garbled = |reason: String| ClientError::Garbled { path: path.to_owned(), reason };
    let answer: Answer = serde_json::from_str(&answer).map_err(|error| garbled(error.to_string()))?;
    match (answer.ok, answer.error) {
        (true, _) => Ok(answer.result),
        (false, error) => Err(ClientError::Refused(error.unwrap_or_else(|| "refused".to_owned()))),
    }
}
