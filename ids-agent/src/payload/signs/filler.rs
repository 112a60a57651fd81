//! Bytes that stand for nothing: what overflows are filled with in front of the address to jump to, and commands that are
//! given over and over until something breaks.

/// Letters in a row from which no word, name or encoding explains them.
const LETTERS_MIN: usize = 160;
/// Distinct ones among them: a pattern that repeats has few, letters by chance nearly all of the 52.
const DISTINCT_MIN: u32 = 36;
/// Longest pattern that is looked for in them.
const PERIOD_MAX: usize = 80;
/// Commands that are the same, one right behind the other.
const COMMANDS_MIN: usize = 8;

/// A row of letters of both cases and nothing else, as tools fill a buffer with what no filter stops (Metasploit,
/// `Rex::Text.rand_text_alpha`). Base64 of so many bytes has digits; names and words end.
pub(super) fn random_letters(bytes: &[u8]) -> Option<&[u8]> {
    let runs = bytes.split(|byte| !byte.is_ascii_alphabetic());
    runs.filter(|run| run.len() >= LETTERS_MIN).find(|run| {
        let capitals = run.iter().filter(|byte| byte.is_ascii_uppercase()).count();
        let seen = run.iter().fold(0u64, |seen, byte| seen | 1 << (byte & 0x3f));
        (run.len() / 4..=run.len() - run.len() / 4).contains(&capitals)
            && seen.count_ones() >= DISTINCT_MIN
            && !repeats(run)
    })
}

/// Whether a row goes on as it began, as the alphabet does that tests are filled with.
fn repeats(run: &[u8]) -> bool {
    (1..=PERIOD_MAX.min(run.len() / 2)).any(|period| {
        let again = run.iter().zip(run.iter().skip(period)).filter(|(a, b)| a == b).count();
        again * 2 >= run.len() - period
    })
}

/// A command of FTP with the same argument time after time and nothing in between: nobody changes into the folder that he is
/// in, and programs that keep a connection alive say NOOP. Servers that keep something of each were put down so (CVE-2011-0762
/// and kin).
pub(super) fn repeated_command(bytes: &[u8]) -> Option<&[u8]> {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    let mut run: (&[u8], usize) = (&[], 0);
    for line in lines {
        run = if line == run.0 { (line, run.1 + 1) } else { (line, 1) };
        let line = line.trim_ascii_end();
        let word = line.split(|byte| *byte == b' ').next().unwrap_or(&[]);
        let is_command = (3..=4).contains(&word.len()) && word.iter().all(u8::is_ascii_alphabetic);
        if run.1 >= COMMANDS_MIN && is_command && word.len() < line.len() {
            return Some(line);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Letters by a fixed sequence that looks like chance.
    fn letters(count: usize) -> Vec<u8> {
        let mut state = 7u32;
        let alphabet = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        (0..count)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                alphabet[(state >> 16) as usize % alphabet.len()]
            })
            .collect()
    }

    #[test]
    fn letters_by_chance_are_told_from_words_and_encodings() {
        assert!(random_letters(&[b"var x = \"", letters(300).as_slice(), b"\";"].concat()).is_some());
        assert!(random_letters(&letters(LETTERS_MIN - 1)).is_none());
        // Patterns that repeat, capitals alone, words alone, and an encoding with its digits.
        assert!(random_letters(&b"gICA".repeat(100)).is_none());
        assert!(random_letters(&b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".repeat(10)).is_none());
        assert!(random_letters(&letters(300).to_ascii_uppercase()).is_none());
        assert!(random_letters(&letters(300).to_ascii_lowercase()).is_none());
        let encoded: Vec<u8> = letters(400).chunks(40).flat_map(|part| [part, b"7"].concat()).collect();
        assert!(random_letters(&encoded).is_none());
    }

    #[test]
    fn one_command_over_and_over_is_told_from_a_mirror_and_a_heartbeat() {
        assert_eq!(repeated_command(&b"CWD /\r\n".repeat(20)), Some(&b"CWD /"[..]));
        assert_eq!(repeated_command(&b"CWD /\r\n".repeat(7)), None);
        assert_eq!(repeated_command(&b"NOOP\r\n".repeat(40)), None);
        let mirror: Vec<u8> =
            (0..40).flat_map(|n| format!("CWD /pub/{n}\r\nPASV\r\nLIST\r\nCWD /\r\n").into_bytes()).collect();
        assert_eq!(repeated_command(&mirror), None);
    }
}
