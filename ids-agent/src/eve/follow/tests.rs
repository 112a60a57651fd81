//! A writer that rotates in every way, and a follower that must miss nothing and repeat nothing.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::{fs::OpenOptions, io::Write};

use proptest::prelude::*;

use super::*;

const SEC: u64 = 1_000_000_000;

/// A writer of numbered lines and a follower of them.
struct Rig {
    folder: tempfile::TempDir,
    writer: File,
    written: u64,
    follower: Follower,
    told: Vec<String>,
    now_ns: u64,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eve.json");
        let follower = Follower::new(&path, Start::Beginning);
        Self { writer: open(&path), folder, written: 0, follower, told: Vec::new(), now_ns: 0 }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&mut self, lines: u64) {
        for _ in 0..lines {
            writeln!(self.writer, "{{\"line\":{:08}}}", self.written).unwrap();
            self.written += 1;
        }
    }

    fn poll(&mut self) {
        let told = &mut self.told;
        while self.follower.poll(self.now_ns, 1 << 20, |line| told.push(String::from_utf8_lossy(line).into())).unwrap()
        {
        }
    }

    /// As logrotate does it by default: names move up by one, and the writer opens the first anew.
    fn rename(&mut self) {
        for number in (1..5).rev() {
            let _missing =
                fs::rename(self.path(&format!("eve.json.{number}")), self.path(&format!("eve.json.{}", number + 1)));
        }
        fs::rename(self.path("eve.json"), self.path("eve.json.1")).unwrap();
    }

    fn reopen(&mut self) {
        self.writer = open(&self.path("eve.json"));
    }

    fn copy_and_truncate(&mut self) {
        for number in (1..5).rev() {
            let _missing =
                fs::rename(self.path(&format!("eve.json.{number}")), self.path(&format!("eve.json.{}", number + 1)));
        }
        fs::copy(self.path("eve.json"), self.path("eve.json.1")).unwrap();
        self.writer.set_len(0).unwrap();
    }

    fn restart(&mut self) {
        self.follower = Follower::new(&self.path("eve.json"), Start::After(self.follower.positions()));
    }

    /// Every line once; in order, if they came from one file after the other.
    fn check(&mut self) {
        self.poll();
        self.told.sort();
        let told: Vec<u64> = self.told.iter().filter_map(|line| line.get(8..16)?.parse().ok()).collect();
        let missing: Vec<u64> = (0..self.written).filter(|line| !told.contains(line)).collect();
        let repeated: Vec<&[u64]> = told.windows(2).filter(|pair| pair[0] == pair[1]).collect();
        assert!(missing.is_empty() && repeated.is_empty(), "missing {missing:?}, repeated {repeated:?}");
        assert_eq!(self.told.len() as u64, self.written);
    }
}

fn open(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).unwrap()
}

#[test]
fn lines_come_as_they_are_written_and_halves_wait() {
    let mut rig = Rig::new();
    rig.write(3);
    rig.poll();
    assert_eq!(rig.told.len(), 3);
    rig.writer.write_all(b"{\"line\":").unwrap();
    rig.poll();
    assert_eq!(rig.told.len(), 3);
    rig.writer.write_all(b"00000003}\n").unwrap();
    rig.written += 1;
    rig.check();
}

#[test]
fn what_is_written_to_the_old_file_after_its_rename_is_read_too() {
    let mut rig = Rig::new();
    rig.write(2);
    rig.poll();
    rig.rename();
    rig.write(2);
    rig.poll();
    rig.reopen();
    rig.write(2);
    rig.check();
}

#[test]
fn a_copy_is_not_read_twice_and_what_only_it_has_is_read() {
    let mut rig = Rig::new();
    rig.write(5);
    rig.poll();
    // Seen by nobody before the truncation but in the copy.
    rig.write(5);
    rig.copy_and_truncate();
    rig.write(30);
    rig.poll();
    assert_eq!(rig.follower.stats().truncations, 1);
    rig.check();
}

#[test]
fn a_truncated_file_that_grew_past_its_old_length_is_noticed() {
    let mut rig = Rig::new();
    rig.write(3);
    rig.poll();
    rig.copy_and_truncate();
    rig.write(500);
    rig.check();
}

#[test]
fn a_file_that_is_emptied_before_its_first_bytes_are_read_is_read_in_its_copy() {
    let mut rig = Rig::new();
    rig.write(30);
    // Taken up, and nothing of it read.
    rig.follower.poll(rig.now_ns, 0, |_| ()).unwrap();
    rig.copy_and_truncate();
    rig.poll();
    rig.write(60);
    rig.check();
    assert_eq!(rig.follower.stats().truncations, 1);
}

#[test]
fn a_restart_goes_on_where_it_was_even_if_the_file_was_rotated_meanwhile() {
    let mut rig = Rig::new();
    rig.write(10);
    rig.poll();
    rig.writer.write_all(b"{\"line\":000").unwrap();
    rig.poll();
    rig.writer.write_all(b"00010}\n").unwrap();
    rig.written += 1;
    rig.rename();
    rig.reopen();
    rig.write(10);
    rig.restart();
    rig.check();
}

#[test]
fn a_first_start_begins_at_the_end_and_misses_nothing_from_then_on() {
    let mut rig = Rig::new();
    rig.write(10);
    rig.follower = Follower::new(&rig.path("eve.json"), Start::End);
    rig.poll();
    assert!(rig.told.is_empty());
    rig.written = 0;
    rig.write(4);
    rig.check();
}

#[test]
fn a_file_that_is_not_there_yet_is_waited_for_and_what_is_no_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("eve.json");
    let mut follower = Follower::new(&path, Start::Beginning);
    assert!(!follower.poll(0, 1 << 20, |_| {}).unwrap());
    fs::create_dir(&path).unwrap();
    let error = follower.poll(0, 1 << 20, |_| {}).unwrap_err();
    assert!(error.to_string().contains("directory"), "{error}");
    let mut nowhere = Follower::new(Path::new("/nonexistent/eve.json"), Start::Beginning);
    assert!(nowhere.poll(0, 1 << 20, |_| {}).is_err());
}

#[test]
fn names_of_threads_and_days_belong_to_it_and_packed_ones_do_not() {
    let name = Name::of(Path::new("/var/log/suricata/eve.json"));
    for (other, covered) in [
        ("eve.json", true),
        ("eve.json.1", true),
        ("eve.json-20260101", true),
        ("eve.3.json", true),
        ("eve-2026-01-01.json", true),
        ("eve.json.2.gz", false),
        ("evening.json", false),
        ("stats.log", false),
    ] {
        assert_eq!(name.covers(other), covered, "{other}");
    }
}

#[test]
fn files_that_were_rotated_away_are_let_go_and_their_number_is_bounded() {
    let mut rig = Rig::new();
    for _ in 0..200 {
        rig.write(1);
        rig.poll();
        rig.rename();
        rig.reopen();
        rig.now_ns += LINGER_NS;
        assert!(rig.follower.files.len() <= 8, "{}", rig.follower.files.len());
    }
    rig.check();
    assert!(rig.follower.left.len() <= LEFT_MAX);
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Write(u64),
    Poll,
    Rename,
    CopyAndTruncate,
    Restart,
    Wait,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]
    // Six hundred rotations in all, and every line exactly once.
    #[test]
    fn a_storm_of_rotations_loses_nothing_and_repeats_nothing(acts in prop::collection::vec(
        prop_oneof![
            4 => (1u64..40).prop_map(Act::Write),
            4 => Just(Act::Poll),
            3 => Just(Act::Rename),
            1 => Just(Act::CopyAndTruncate),
            1 => Just(Act::Restart),
            1 => Just(Act::Wait),
        ], 40..80)
    ) {
        let mut rig = Rig::new();
        let mut unread = 0;
        for act in acts {
            match act {
                Act::Write(lines) => rig.write(lines),
                Act::Poll => { rig.poll(); unread = 0; }
                // Four names are kept: more rotations than that between two looks delete lines unread.
                Act::Rename if unread < 3 => { rig.write(1); rig.rename(); rig.write(3); rig.reopen(); rig.write(1); unread += 1; }
                Act::CopyAndTruncate if unread == 0 => { rig.write(1); rig.poll(); rig.write(2); rig.copy_and_truncate(); rig.write(1); rig.poll(); }
                Act::Rename | Act::CopyAndTruncate => {}
                Act::Restart => rig.restart(),
                Act::Wait => rig.now_ns += SEC * 11,
            }
        }
        rig.check();
    }
}

#[test]
fn a_copy_that_somebody_makes_neither_repeats_anything_nor_takes_the_place_of_the_file() {
    let mut rig = Rig::new();
    rig.write(20);
    rig.poll();
    fs::copy(rig.path("eve.json"), rig.path("eve.json.bak")).unwrap();
    rig.poll();
    // The copy is the older of the two, and both go on from what was remembered.
    rig.restart();
    rig.write(20);
    rig.poll();
    rig.write(20);
    rig.check();
}

#[test]
fn hundreds_of_old_files_keep_nobody_from_the_one_that_is_written() {
    for at_end in [true, false] {
        let mut rig = Rig::new();
        for number in 0..200 {
            fs::write(rig.path(&format!("eve.json-{number:04}")), format!("{{\"old\":{number:08}}}\n")).unwrap();
        }
        rig.write(3);
        let start = if at_end { Start::End } else { Start::Beginning };
        rig.follower = Follower::new(&rig.path("eve.json"), start);
        rig.poll();
        let old = rig.told.len();
        assert_eq!(old, if at_end { 0 } else { 203 });
        rig.write(5);
        rig.poll();
        rig.copy_and_truncate();
        rig.write(5);
        for _ in 0..3 {
            rig.now_ns += LINGER_NS;
            rig.poll();
        }
        assert_eq!(rig.told.len(), old + 10, "at the end {at_end}");
    }
}

#[test]
fn a_link_is_followed_to_its_file() {
    let mut rig = Rig::new();
    std::os::unix::fs::symlink(rig.path("eve.json"), rig.path("link.json")).unwrap();
    rig.follower = Follower::new(&rig.path("link.json"), Start::Beginning);
    rig.write(3);
    rig.check();
}
