//! Cuts a stream of bytes into lines, however it comes in pieces. Bounded: a line that is too long is dropped and counted.

/// A longer line is dropped. Suricata's longest, `stats` of many threads, are some 100 KiB.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// Running totals. Every byte is in a line that was given out, in one that was not, or in an empty one; or it waits for
/// the end of its line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineStats {
    pub bytes: u64,
    /// Lines given out, and their bytes with their ends.
    pub lines: u64,
    pub line_bytes: u64,
    pub too_long: u64,
    pub cut: u64,
    /// Bytes of lines that were too long or cut.
    pub lost_bytes: u64,
    pub empty_bytes: u64,
}

impl LineStats {
    /// Adds what another stream counted.
    pub fn add(&mut self, more: Self) {
        self.bytes += more.bytes;
        self.lines += more.lines;
        self.line_bytes += more.line_bytes;
        self.too_long += more.too_long;
        self.cut += more.cut;
        self.lost_bytes += more.lost_bytes;
        self.empty_bytes += more.empty_bytes;
    }

    /// Lines that came, whatever became of them.
    pub fn lines_all(&self) -> u64 {
        self.lines + self.too_long + self.cut
    }

    /// Bytes whose line has ended, one way or another.
    pub fn bytes_settled(&self) -> u64 {
        self.line_bytes + self.lost_bytes + self.empty_bytes
    }
}

/// The lines of one stream.
#[derive(Debug, Default)]
pub struct Lines {
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    /// The rest of a line that is too long is passed over.
    skips: bool,
    stats: LineStats,
}

impl Lines {
    /// Takes in the next bytes of the stream and calls `take` with every line that is whole now, without its end. Empty
    /// lines are none.
    pub fn push(&mut self, mut bytes: &[u8], mut take: impl FnMut(&[u8])) {
        self.stats.bytes += bytes.len() as u64;
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            bytes = rest;
            let ended = line.len() as u64 + 1;
            if std::mem::take(&mut self.skips) {
                self.stats.lost_bytes += ended;
                continue;
            }
            if self.partial.len() + line.len() > LINE_BYTES_MAX {
                self.stats.lost_bytes += self.partial.len() as u64 + ended;
                self.partial.clear();
                self.stats.too_long += 1;
            } else if self.partial.is_empty() {
                self.give(line, &mut take);
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(line);
                self.give(&whole, &mut take);
                whole.clear();
                self.partial = whole;
            }
        }
        if self.skips {
            self.stats.lost_bytes += bytes.len() as u64;
            return;
        }
        if self.partial.len() + bytes.len() > LINE_BYTES_MAX {
            self.stats.lost_bytes += (self.partial.len() + bytes.len()) as u64;
            self.partial = Vec::new();
            self.skips = true;
            self.stats.too_long += 1;
        } else {
            self.partial.extend_from_slice(bytes);
        }
    }

    fn give(&mut self, raw: &[u8], take: &mut impl FnMut(&[u8])) {
        let line = raw.strip_suffix(b"\r").unwrap_or(raw);
        let ended = raw.len() as u64 + 1;
        if line.is_empty() {
            self.stats.empty_bytes += ended;
        } else {
            self.stats.lines += 1;
            self.stats.line_bytes += ended;
            take(line);
        }
    }

    /// Bytes of the stream that no line has come of yet: reading again from before them loses nothing.
    pub fn pending_bytes(&self) -> u64 {
        self.partial.len() as u64
    }

    /// Ends the stream; what is left of a line is lost, and counted.
    pub fn end(&mut self) {
        if !std::mem::take(&mut self.skips) {
            self.stats.cut += u64::from(!self.partial.is_empty());
            self.stats.lost_bytes += self.partial.len() as u64;
        }
        self.partial = Vec::new();
    }

    pub fn stats(&self) -> LineStats {
        self.stats
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, LineStats) {
        let mut lines = Lines::default();
        let mut told = Vec::new();
        for piece in pieces {
            lines.push(piece, |line| told.push(line.to_vec()));
        }
        lines.end();
        let stats = lines.stats();
        assert_eq!(stats.bytes, stats.bytes_settled(), "{stats:?}");
        (told, stats)
    }

    #[test]
    fn a_line_in_pieces_comes_out_whole_and_a_last_half_is_counted() {
        let (told, stats) = cut(&[b"on", b"e\r\ntw", b"o\n\n", b"thr"]);
        assert_eq!(told, [b"one".to_vec(), b"two".to_vec()]);
        let wanted = LineStats {
            bytes: 13,
            lines: 2,
            line_bytes: 9,
            cut: 1,
            lost_bytes: 3,
            empty_bytes: 1,
            ..LineStats::default()
        };
        assert_eq!(stats, wanted);
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over_and_the_next_is_not() {
        let long = vec![b'x'; LINE_BYTES_MAX];
        for pieces in
            [vec![&long[..], b"x\nnext\n"], vec![b"x", &long[..], b"\nnext\n"], vec![&long[..], b"x", b"\nnext\n"]]
        {
            let (told, stats) = cut(&pieces);
            assert_eq!(told, [b"next".to_vec()]);
            assert_eq!((stats.lines, stats.too_long, stats.cut), (1, 1, 0));
        }
        let (told, stats) = cut(&[&long, b"\n"]);
        assert_eq!((told.len(), stats.too_long), (1, 0));
    }

    proptest! {
        #[test]
        fn where_the_stream_is_cut_makes_no_difference(text in "[a\n\r]{0,60}", cuts in prop::collection::vec(0usize..60, 0..6)) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|at| at.min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for at in cuts {
                pieces.push(&bytes[from..at]);
                from = at;
            }
            pieces.push(&bytes[from..]);
            prop_assert_eq!(cut(&pieces), cut(&[bytes]));
        }
    }
}
