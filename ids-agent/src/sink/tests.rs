//! Sinks and their queue: order, bounds, rotation, torn lines, full disks.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::{fs, path::Path};

use super::*;
use crate::config::Fsync;

const KEEP_ALL: FileSettings = FileSettings { rotate_bytes: 0, rotate_keep: 3, fsync: Fsync::Never };

fn line(rank: Rank, text: &str) -> Line {
    Line { rank, bytes: format!("{text}\n").into_bytes() }
}

fn texts(lines: &[Line]) -> Vec<String> {
    lines.iter().map(|line| String::from_utf8_lossy(&line.bytes).trim_end().to_owned()).collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// Offers lines to a queue of three and returns what is left, with the totals.
fn overflow(offered: &[(Rank, &str)]) -> (Vec<String>, SinkStats) {
    let queue = LineQueue::new(3, Overflow::DropLeast);
    for (rank, text) in offered {
        queue.push(line(*rank, text));
    }
    let mut left = Vec::new();
    assert_eq!(queue.take(&mut left, 100), Work::Lines);
    queue.settle(&Delivery { written: left.len() as u64, ..Delivery::default() });
    (texts(&left), queue.stats())
}

#[test]
fn a_full_queue_keeps_the_most_severe_in_order() {
    let offered = [
        (Rank::Low, "low 1"),
        (Rank::Flow, "flow 1"),
        (Rank::Low, "low 2"),
        (Rank::High, "high 1"),
        (Rank::Info, "info 1"),
        (Rank::High, "high 2"),
        (Rank::Medium, "medium 1"),
    ];
    let (left, stats) = overflow(&offered);
    assert_eq!(left, ["high 1", "high 2", "medium 1"]);
    assert_eq!((stats.offered, stats.written, stats.dropped[DropReason::QueueFull as usize]), (7, 3, 4));
    assert!(stats.is_conserved());
}

#[test]
fn among_equals_the_oldest_goes() {
    let (left, _) = overflow(&[(Rank::High, "1"), (Rank::High, "2"), (Rank::High, "3"), (Rank::High, "4")]);
    assert_eq!(left, ["2", "3", "4"]);
}

#[test]
fn abandoned_lines_are_counted() {
    let queue = LineQueue::new(10, Overflow::DropLeast);
    queue.push(line(Rank::High, "a"));
    queue.push(line(Rank::High, "b"));
    queue.abandon();
    queue.push(line(Rank::High, "c"));
    let stats = queue.stats();
    assert_eq!((stats.offered, stats.dropped[DropReason::Stopped as usize], stats.queued), (3, 3, 0));
    assert_eq!(queue.take(&mut Vec::new(), 1), Work::Done);
}

#[test]
fn rotation_keeps_the_newest_files_and_every_line_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alerts.ndjson");
    let settings = FileSettings { rotate_bytes: 20, rotate_keep: 2, ..KEEP_ALL };
    let mut sink = FileSink::open("alerts", &path, settings).unwrap();
    let mut rotations = 0;
    for number in 0..7 {
        rotations += sink.write(&[line(Rank::High, &format!("line {number}"))]).rotations;
    }
    assert_eq!(rotations, 3);
    assert_eq!(read(&path), "line 6\n");
    assert_eq!(read(&dir.path().join("alerts.ndjson.1")), "line 4\nline 5\n");
    assert_eq!(read(&dir.path().join("alerts.ndjson.2")), "line 2\nline 3\n");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
}

#[test]
fn a_batch_larger_than_a_file_is_spread_over_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let settings = FileSettings { rotate_bytes: 10, rotate_keep: 9, ..KEEP_ALL };
    let mut sink = FileSink::open("alerts", &path, settings).unwrap();
    let lines: Vec<Line> = ["1234", "5678", "abcd", "one line that is longer than a file", "e"]
        .iter()
        .map(|text| line(Rank::High, text))
        .collect();
    let delivery = sink.write(&lines);
    assert_eq!((delivery.written, delivery.rotations), (5, 3));
    assert_eq!(read(&dir.path().join("a.3")), "1234\n5678\n");
    assert_eq!(read(&dir.path().join("a.1")), "one line that is longer than a file\n");
    assert_eq!(read(&path), "e\n");
}

#[test]
fn reopening_follows_a_file_that_was_moved_away() {
    let dir = tempfile::tempdir().unwrap();
    let (path, moved) = (dir.path().join("alerts"), dir.path().join("alerts.old"));
    let mut sink = FileSink::open("alerts", &path, KEEP_ALL).unwrap();
    sink.write(&[line(Rank::High, "before")]);
    fs::rename(&path, &moved).unwrap();
    sink.write(&[line(Rank::High, "between")]);
    sink.reopen().unwrap();
    sink.write(&[line(Rank::High, "after")]);
    assert_eq!((read(&moved).as_str(), read(&path).as_str()), ("before\nbetween\n", "after\n"));
}

#[test]
fn a_torn_line_is_cut_off_and_whole_ones_stay() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alerts");
    fs::write(&path, "{\"whole\":1}\n{\"to").unwrap();
    let mut sink = FileSink::open("alerts", &path, KEEP_ALL).unwrap();
    sink.write(&[line(Rank::High, "next")]);
    assert_eq!(read(&path), "{\"whole\":1}\nnext\n");
}

#[test]
fn a_full_disk_leaves_lines_without_a_place_and_does_not_stop_the_sink() {
    let mut sink = FileSink::open("alerts", Path::new("/dev/full"), KEEP_ALL).unwrap();
    let delivery = sink.write(&[line(Rank::High, "a"), line(Rank::Low, "b")]);
    assert_eq!((delivery.written, delivery.unplaced, delivery.dropped), (0, 2, [0; 5]));
    sink.finish().unwrap();
}

/// What a queue of three holds after it took back what found no room, and its totals.
fn taken_back(queue: &LineQueue, unplaced: Vec<Line>) -> (Vec<String>, SinkStats) {
    queue.settle(&Delivery { unplaced: unplaced.len() as u64, ..Delivery::default() });
    queue.retry(unplaced.into_iter(), Duration::ZERO);
    let mut left = Vec::new();
    queue.take(&mut left, 100);
    (texts(&left), queue.stats())
}

#[test]
fn lines_without_a_place_come_first_again_and_the_most_severe_stay() {
    let queue = LineQueue::new(3, Overflow::DropLeast);
    queue.push(line(Rank::Low, "low 1"));
    queue.push(line(Rank::High, "high 1"));
    let mut unplaced = Vec::new();
    queue.take(&mut unplaced, 100);
    queue.push(line(Rank::Flow, "flow"));
    queue.push(line(Rank::High, "high 2"));
    let (left, stats) = taken_back(&queue, unplaced);
    assert_eq!(left, ["low 1", "high 1", "high 2"]);
    assert_eq!(stats.dropped[DropReason::DiskFull as usize], 1, "the line of a flow, and for the disk");
    assert!(stats.is_conserved());
}

#[test]
fn what_finds_no_place_at_the_end_or_where_nobody_may_wait_is_counted() {
    for (queue, is_closed) in
        [(LineQueue::new(3, Overflow::DropLeast), true), (LineQueue::new(3, Overflow::Wait), false)]
    {
        queue.push(line(Rank::High, "a"));
        let mut unplaced = Vec::new();
        queue.take(&mut unplaced, 100);
        // Taking from a queue that is open and empty would wait for ever.
        queue.settle(&Delivery { unplaced: 1, ..Delivery::default() });
        if is_closed {
            queue.close();
        }
        queue.retry(unplaced.into_iter(), Duration::ZERO);
        let stats = queue.stats();
        assert_eq!((stats.dropped[DropReason::DiskFull as usize], stats.queued), (1, 0));
    }
}

#[test]
fn a_file_in_the_making_shows_only_when_complete() {
    use std::io::Write;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.csv");
    fs::write(&path, "old").unwrap();
    let mut dropped = WholeFile::create(&path).unwrap();
    dropped.write_all(b"half").unwrap();
    drop(dropped);
    assert_eq!(read(&path), "old");
    let mut whole = WholeFile::create(&path).unwrap();
    whole.write_all(b"new").unwrap();
    whole.commit().unwrap();
    assert_eq!(read(&path), "new");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn an_unwritable_place_is_named() {
    let error = FileSink::open("alerts", Path::new("/nonexistent/alerts"), KEEP_ALL).map(|_| ()).unwrap_err();
    assert!(error.to_string().starts_with("cannot open `/nonexistent/alerts` for writing: No such file"), "{error}");
}
