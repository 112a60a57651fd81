//! Times as eve.json writes them. Reads no clock.

/// `2021-06-06T15:59:46.457984+0200`, as Suricata writes it, in nanoseconds since 1970; years before that are none.
pub(super) fn unix_ns(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = bytes.get(from..to)?;
        digits.iter().try_fold(0_i64, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
    };
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if marks.iter().any(|(at, mark)| bytes.get(*at) != Some(mark)) {
        return None;
    }
    let date = chrono::NaiveDate::from_ymd_opt(
        i32::try_from(number(0, 4)?).ok()?,
        u32::try_from(number(5, 7)?).ok()?,
        u32::try_from(number(8, 10)?).ok()?,
    )?;
    let (hours, minutes, secs) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if hours > 23 || minutes > 59 || secs > 60 {
        return None;
    }
    let mut at = 19;
    let mut nanos = 0;
    if bytes.get(at) == Some(&b'.') {
        let digits = bytes.get(at + 1..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let kept = digits.min(9);
        nanos = number(at + 1, at + 1 + kept)? * 10_i64.pow(9 - kept as u32);
        at += 1 + digits;
    }
    let offset_secs = match bytes.get(at)? {
        b'Z' if bytes.len() == at + 1 => 0,
        sign @ (b'+' | b'-') => {
            let minutes_at = if bytes.get(at + 3) == Some(&b':') { at + 4 } else { at + 3 };
            if bytes.len() != minutes_at + 2 {
                return None;
            }
            let offset = number(at + 1, at + 3)? * 3_600 + number(minutes_at, minutes_at + 2)? * 60;
            if *sign == b'-' { -offset } else { offset }
        }
        _ => return None,
    };
    let days = i64::from(date.signed_duration_since(chrono::NaiveDate::default()).num_days() as i32);
    let secs = days * 86_400 + hours * 3_600 + minutes * 60 + secs - offset_secs;
    u64::try_from(secs).ok()?.checked_mul(1_000_000_000)?.checked_add(nanos as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_offset() {
        for (text, wanted) in [
            ("1970-01-01T00:00:00.000000+0000", Some(0)),
            ("1970-01-01T01:00:00.000001+0100", Some(1_000)),
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-11-20T08:00:00.5-05:30", Some(1_795_181_400_500_000_000)),
            ("1969-12-31T23:59:59+0000", None),
            ("2026-02-30T00:00:00+0000", None),
            ("2026-01-01T25:00:00+0000", None),
            ("2026-01-01T00:00:00", None),
            ("2026-01-01T00:00:00+00000", None),
            ("", None),
        ] {
            assert_eq!(unix_ns(text), wanted, "{text}");
        }
    }
}
