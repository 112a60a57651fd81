//! What Suricata says on its console: which lines a person should see, and the last of them for when it dies.

use std::collections::VecDeque;

/// How grave a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLine<'a> {
    Error(&'a str),
    Warning(&'a str),
    Other(&'a str),
}

/// Longest line that is kept; rules are quoted whole in errors.
const LINE_BYTES_MAX: usize = 400;
/// Errors that are remembered.
const ERRORS_KEPT: usize = 3;

/// Suricata 7 begins lines with `E: ` and `W: `, with `-v` with `Error: ` and `Warning: `.
pub fn log_line(line: &str) -> LogLine<'_> {
    let line = cut(line.trim());
    match line.split_once(": ") {
        Some(("E" | "Error", rest)) => LogLine::Error(rest),
        Some(("W" | "Warning", rest)) => LogLine::Warning(rest),
        _ => LogLine::Other(line),
    }
}

fn cut(line: &str) -> &str {
    let mut end = line.len().min(LINE_BYTES_MAX);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.get(..end).unwrap_or_default()
}

/// The last errors, for the message that says why Suricata ended.
#[derive(Clone, Debug, Default)]
pub struct LogTail {
    errors: VecDeque<String>,
}

impl LogTail {
    pub fn note(&mut self, line: LogLine<'_>) {
        let LogLine::Error(error) = line else { return };
        if self.errors.len() == ERRORS_KEPT {
            self.errors.pop_front();
        }
        self.errors.push_back(error.to_owned());
    }

    /// Empty where it said nothing.
    pub fn told(&self) -> String {
        let errors: Vec<&str> = self.errors.iter().map(String::as_str).collect();
        errors.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_warnings_are_told_apart() {
        assert_eq!(log_line("E: af-packet: no such device\n"), LogLine::Error("af-packet: no such device"));
        assert_eq!(log_line("W: detect: odd"), LogLine::Warning("detect: odd"));
        assert_eq!(log_line("i: threads: 2"), LogLine::Other("i: threads: 2"));
        assert_eq!(log_line("Error: suricata: no"), LogLine::Error("suricata: no"));
        assert_eq!(log_line("Warning: suricata: no"), LogLine::Warning("suricata: no"));
        assert_eq!(log_line("Notice: E: no"), LogLine::Other("Notice: E: no"));
    }

    #[test]
    fn the_last_errors_are_kept_and_long_ones_cut() {
        let mut tail = LogTail::default();
        for text in ["E: a: 1", "W: b: 2", "E: c: 3", "E: d: 4", "E: e: 5"] {
            tail.note(log_line(text));
        }
        assert_eq!(tail.told(), "c: 3; d: 4; e: 5");
        let long = format!("E: {}", "é".repeat(300));
        assert!(matches!(log_line(&long), LogLine::Error(line) if line.len() <= LINE_BYTES_MAX));
    }
}
