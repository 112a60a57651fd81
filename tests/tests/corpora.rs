//! Every file of the fuzz corpora, committed seeds and findings alike, through its target; and the
//! committed files are those that their generator makes.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{fs, path::PathBuf};

use ids_tests::{archive, capture, cases, fuzz};

fn corpus(target: &str) -> PathBuf {
    archive::root().join("tests/fuzz/corpus").join(target)
}

fn replay(target: &str, run: fn(&[u8])) {
    let files = archive::files(&corpus(target), &[""]);
    for file in &files {
        println!("{}", file.display());
        run(&fs::read(file).unwrap());
    }
    assert!(files.len() > 8, "{} files for {target}", files.len());
}

#[test]
fn frames_of_the_corpus_pass_their_target() {
    replay("frame", fuzz::frame);
}

#[test]
fn captures_of_the_corpus_pass_their_target() {
    replay("capture_file", fuzz::capture_file);
}

#[test]
fn configurations_of_the_corpus_pass_their_target() {
    replay("config", fuzz::config);
}

#[test]
fn committed_files_are_what_the_generator_makes() {
    const REMEDY: &str = "run `cargo run -p ids-tests --example generate`";
    for (target, seeds) in cases::seeds() {
        for (n, seed) in seeds.iter().enumerate() {
            let file = corpus(target).join(format!("seed-{n:03}"));
            assert!(fs::read(&file).unwrap() == *seed, "{} differs: {REMEDY}", file.display());
        }
    }
    for (name, frames) in cases::cases() {
        let file = archive::root().join("tests/cases").join(name).join("traffic.pcap");
        assert!(
            fs::read(&file).unwrap() == capture::pcap(capture::ETHERNET, &frames),
            "{} differs: {REMEDY}",
            file.display()
        );
    }
}
