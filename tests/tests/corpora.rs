//! Every file of the fuzz corpora, committed seeds and findings alike, through its target; and the
//! committed files are those that their generator makes.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{
    env, fs,
    panic::{catch_unwind, resume_unwind},
    path::PathBuf,
};

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
fn eve_lines_of_the_corpus_pass_their_target() {
    replay("eve", fuzz::eve);
}

/// Random changes to corpus files: no substitute for a fuzzer, but it runs wherever the tests do.
/// `SHAKE_ROUNDS` makes it longer.
fn shake(target: &str, run: fn(&[u8])) {
    let rounds = env::var("SHAKE_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(2_000u64);
    let files: Vec<_> = archive::files(&corpus(target), &[""]).iter().map(|file| fs::read(file).unwrap()).collect();
    for round in 0..rounds {
        // SplitMix64 of the round, so that a failure comes again.
        let mut state = round.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed;
        let mut random = move |below: usize| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (mixed ^ (mixed >> 27)) as usize % below.max(1)
        };
        let mut bytes = files[random(files.len())].clone();
        for _ in 0..1 + random(8) {
            let at = random(bytes.len());
            match (random(6), bytes.get_mut(at)) {
                (0, Some(byte)) => *byte = random(256) as u8,
                (1, Some(byte)) => *byte ^= 1 << random(8),
                (2, Some(byte)) => *byte = [0, 1, 0x7f, 0x80, 0xfe, 0xff][random(6)],
                (3, Some(_)) => bytes.truncate(at),
                (4, Some(_)) => {
                    let end = (at + 1 + random(32)).min(bytes.len());
                    let part = bytes[at..end].to_vec();
                    let into = random(bytes.len());
                    bytes.splice(into..into, part);
                }
                (_, _) => {
                    let other = &files[random(files.len())];
                    let from = random(other.len());
                    let part = &other[from..(from + random(64)).min(other.len())];
                    bytes.splice(at..(at + part.len()).min(bytes.len()), part.iter().copied());
                }
            }
        }
        let outcome = catch_unwind(|| run(&bytes));
        if let Err(panic) = outcome {
            let found = archive::root().join("target").join(format!("{target}-{round}"));
            fs::write(&found, &bytes).unwrap();
            eprintln!("round {round} failed; its bytes are in {}", found.display());
            resume_unwind(panic);
        }
    }
}

#[test]
fn changed_frames_pass_their_target() {
    shake("frame", fuzz::frame);
}

#[test]
fn changed_captures_pass_their_target() {
    shake("capture_file", fuzz::capture_file);
}

#[test]
fn changed_configurations_pass_their_target() {
    shake("config", fuzz::config);
}

#[test]
fn changed_eve_lines_pass_their_target() {
    shake("eve", fuzz::eve);
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
