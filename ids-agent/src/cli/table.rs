//! Tables for people: plain borders, colours only where a terminal wants them.

use std::io::{self, IsTerminal};

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};

use crate::alert::json::is_unsafe;

/// A table with a header; widths follow the terminal.
pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    if !is_coloured() {
        table.force_no_tty();
        // Without a terminal there is no width to follow.
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    table.set_header(header);
    table
}

/// A number, aligned with others below it.
pub(super) fn number(value: u64) -> Cell {
    Cell::new(grouped(value)).set_alignment(CellAlignment::Right)
}

/// Digits in groups of three.
pub(super) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Text from traffic or a file name, safe to show: control characters are escaped, long text is cut.
pub(super) fn shown(text: &str, chars_max: usize) -> String {
    let mut safe = String::new();
    for (at, character) in text.chars().enumerate() {
        if at >= chars_max {
            safe.push('…');
            break;
        }
        // Marks that reorder text are no control characters, and terminals obey them all the same.
        if character.is_control() || is_unsafe(character) {
            safe.extend(character.escape_default())
        } else {
            safe.push(character)
        }
    }
    safe
}

/// Whether standard output is a terminal that wants colours (<https://no-color.org>).
pub(super) fn is_coloured() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_come_in_groups_of_three() {
        let texts: Vec<String> = [0, 12, 123, 1_234, 1_234_567].into_iter().map(grouped).collect();
        assert_eq!(texts, ["0", "12", "123", "1,234", "1,234,567"]);
    }

    #[test]
    fn what_traffic_says_cannot_move_the_cursor() {
        assert_eq!(shown("a\u{202e}b\u{9b}c", 20), "a\\u{202e}b\\u{9b}c");
        assert_eq!(shown("a\u{1b}[2J\nb", 20), "a\\u{1b}[2J\\nb");
        assert_eq!(shown("abcdef", 3), "abc…");
    }
}
