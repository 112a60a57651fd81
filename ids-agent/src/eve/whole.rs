//! Reads a whole eve.json that nobody writes any more, plain or packed with gzip or zstd: for replay and for checks.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;

use super::{
    event::{EveEvent, parse_line},
    follow::FollowStats,
    read::Lines,
    reader::EveTotals,
};

/// Unpacked bytes read at most; the rest is left, and the last line with it.
const BYTES_MAX: u64 = 16 << 30;
const READ_BYTES: usize = 256 << 10;

/// Calls `take` with every event of the file, in order, and tells what became of each line.
pub fn read_whole(path: &Path, take: impl FnMut(EveEvent)) -> io::Result<EveTotals> {
    let mut file = BufReader::with_capacity(READ_BYTES, File::open(path)?);
    let magic = file.fill_buf()?;
    if magic.starts_with(&[0x1f, 0x8b]) {
        read_from(MultiGzDecoder::new(file), take)
    } else if magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        read_from(zstd::stream::read::Decoder::with_buffer(file)?, take)
    } else {
        read_from(file, take)
    }
}

/// As `read_whole`, from anything that can be read.
pub fn read_from(from: impl Read, mut take: impl FnMut(EveEvent)) -> io::Result<EveTotals> {
    let mut from = from.take(BYTES_MAX);
    let (mut lines, mut totals) = (Lines::default(), EveTotals::default());
    let mut buffer = vec![0; READ_BYTES];
    let mut on_line = |line: &[u8]| {
        let read = parse_line(line);
        totals.count(&read);
        if let Ok(event) = read {
            take(event);
        }
    };
    let mut failure = None;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => lines.push(buffer.get(..len).unwrap_or(&[]), &mut on_line),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    // A file that is written no more may lack its last line end. It is counted as if it had one.
    if lines.pending_bytes() > 0 {
        lines.push(b"\n", &mut on_line);
    }
    totals.take_input(FollowStats { lines: lines.stats(), ..FollowStats::default() });
    failure.map_or(Ok(totals), Err)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
    use std::io::Write;

    use super::*;

    const STATS: &str = r#"{"timestamp":"2026-01-01T00:00:00.000000+0000","event_type":"stats","stats":{"uptime":46}}"#;

    #[test]
    fn plain_and_packed_files_give_the_same_events() {
        let folder = tempfile::tempdir().unwrap();
        // The last line has no end, as Suricata leaves it when it is killed at the wrong moment.
        let text = format!("{STATS}\nnonsense\n{STATS}");
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("plain"), &text).unwrap();
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(text.as_bytes()).unwrap();
        std::fs::write(path("gz"), gz.finish().unwrap()).unwrap();
        std::fs::write(path("zst"), zstd::encode_all(text.as_bytes(), 1).unwrap()).unwrap();
        for name in ["plain", "gz", "zst"] {
            let mut events = 0;
            let totals = read_whole(&path(name), |_| events += 1).unwrap();
            assert!(totals.is_conserved(), "{name}: {totals:?}");
            assert_eq!(
                (events, totals.skipped_all(), totals.input.lines.bytes),
                (2, 1, text.len() as u64 + 1),
                "{name}"
            );
        }
    }

    #[test]
    fn an_archive_cut_short_gives_an_error_after_what_it_held() {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        for _ in 0..4_000 {
            writeln!(gz, "{STATS}").unwrap();
        }
        let packed = gz.finish().unwrap();
        let mut events = 0;
        let half = &packed[..packed.len() / 2];
        assert!(read_from(MultiGzDecoder::new(half), |_| events += 1).is_err());
        assert!(events > 1_000, "{events}");
    }
}
