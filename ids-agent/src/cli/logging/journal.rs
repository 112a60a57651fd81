//! Log lines as entries of systemd's journal, by its native protocol: the message as people read it, and each value as a
//! field of its own (`journalctl IDS_INTERFACE=eth0`). https://systemd.io/JOURNAL_NATIVE_PROTOCOL

use std::{
    fmt::{self, Write as _},
    io,
    os::unix::net::UnixDatagram,
    path::PathBuf,
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";
/// Longest message and longest value; a datagram holds some of them.
const BYTES_MAX: usize = 8 << 10;

/// Sends every event to the journal.
pub(super) struct Journal {
    socket: UnixDatagram,
    to: PathBuf,
}

impl Journal {
    /// Fails where no journal listens.
    pub(super) fn connect() -> io::Result<Self> {
        let journal = Self { socket: UnixDatagram::unbound()?, to: PathBuf::from(SOCKET) };
        // Nothing is an entry too: it is left out, and says whether somebody listens.
        journal.socket.send_to(&[], &journal.to)?;
        Ok(journal)
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut entry = Entry::default();
        event.record(&mut entry);
        let level = *event.metadata().level();
        // Where the journal is gone there is nobody to tell.
        let _ = self.socket.send_to(&entry.encode(level, event.metadata().target()), &self.to);
    }
}

/// What one event says.
#[derive(Default)]
struct Entry {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Entry {
    fn add(&mut self, field: &Field, value: String) {
        if field.name() == "message" {
            self.message = value;
        } else {
            self.fields.push((field.name(), value));
        }
    }

    fn encode(&self, level: Level, module: &str) -> Vec<u8> {
        let mut text = plain(&self.message);
        for (name, value) in &self.fields {
            // A text of its own cannot fail to grow.
            let _ = write!(text, " {name}={}", plain(value));
        }
        let mut bytes = Vec::new();
        put(&mut bytes, "MESSAGE", &text);
        put(&mut bytes, "PRIORITY", priority(level));
        put(&mut bytes, "SYSLOG_IDENTIFIER", "ids-agent");
        put(&mut bytes, "IDS_MODULE", module);
        for (name, value) in &self.fields {
            let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            put(&mut bytes, &format!("IDS_{}", name.to_ascii_uppercase()), value);
        }
        bytes
    }
}

impl Visit for Entry {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }
}

/// syslog's numbers.
const fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    }
}

/// Without what a terminal would obey.
fn plain(text: &str) -> String {
    let mut line = String::new();
    for character in text.chars() {
        match character {
            control if control.is_control() => line.extend(control.escape_default()),
            plain => line.push(plain),
        }
    }
    line
}

/// One field. A value with line breaks goes by its length.
fn put(bytes: &mut Vec<u8>, name: &str, value: &str) {
    let value = value.get(..value.floor_char_boundary(BYTES_MAX)).unwrap_or(value);
    bytes.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        bytes.push(b'\n');
        bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        bytes.push(b'=');
    }
    bytes.extend_from_slice(value.as_bytes());
    bytes.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_holds_the_line_for_people_and_each_value_as_a_field() {
        let fields = vec![("interface", "eth0".to_owned()), ("says", "two\nlines".to_owned())];
        let entry = Entry { message: "attached".to_owned(), fields };
        let bytes = entry.encode(Level::WARN, "ids_agent::kernel");
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.starts_with("MESSAGE=attached interface=eth0 says=two\\nlines\nPRIORITY=4\n"), "{text}");
        assert!(text.contains("\nIDS_INTERFACE=eth0\n"), "{text}");
        let by_length = [b"IDS_SAYS\n".as_slice(), &9_u64.to_le_bytes(), b"two\nlines\n"].concat();
        assert!(bytes.windows(by_length.len()).any(|window| window == by_length), "{text}");
    }

    #[test]
    fn a_value_is_cut_at_a_character() {
        let mut bytes = Vec::new();
        put(&mut bytes, "A", &"\u{e4}".repeat(BYTES_MAX));
        assert_eq!(bytes.len(), BYTES_MAX + 3);
        assert!(String::from_utf8(bytes).is_ok());
    }
}
