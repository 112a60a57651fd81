//! Lengths of time as people write them: `90s`, `10m`, `1h`.

use std::time::Duration;

/// Reads a number with `s`, `m` or `h` behind it; without one it counts seconds.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let (number, seconds) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3_600),
        Some(_) | None => (text, 1),
    };
    let number: u64 = number.parse().map_err(|_| format!("`{text}` is no length of time: write 90s, 10m or 1h"))?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(|| format!("`{text}` is too long"))
}

/// As a person reads it.
pub(crate) fn shown(span: Duration) -> String {
    match span.as_secs() {
        secs if secs >= 60 => format!("{} min {} s", secs / 60, secs % 60),
        secs => format!("{secs} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::{parse, shown};

    #[test]
    fn lengths_have_a_unit_and_are_seconds_without_one() {
        let secs = |text| parse(text).map(|span| span.as_secs()).ok();
        assert_eq!((secs("10m"), secs("1h"), secs("90s"), secs("90")), (Some(600), Some(3_600), Some(90), Some(90)));
        assert_eq!(
            (secs(""), secs("m"), secs("-1s"), secs("1d"), secs("9999999999999999999h")),
            (None, None, None, None, None)
        );
        assert_eq!(parse("10m").map(shown), Ok("10 min 0 s".to_owned()));
    }
}
