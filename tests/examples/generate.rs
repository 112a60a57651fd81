//! Writes what is committed but made by hand: the traffic of the replay cases and the seeds of the
//! fuzz corpora. `cargo run -p ids-tests --example generate`
#![expect(clippy::unwrap_used, reason = "a generator stops at the first thing that fails")]

use std::fs;

use ids_tests::{archive, capture, cases};

fn main() {
    let tests = archive::root().join("tests");
    for (name, frames) in cases::cases() {
        let folder = tests.join("cases").join(name);
        fs::create_dir_all(&folder).unwrap();
        capture::write_pcap(&folder.join("traffic.pcap"), capture::ETHERNET, &frames);
        println!("{name}: {} frames", frames.len());
    }
    for (target, seeds) in cases::seeds() {
        let folder = tests.join("fuzz/corpus").join(target);
        fs::create_dir_all(&folder).unwrap();
        for (n, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{n:03}")), seed).unwrap();
        }
        println!("{target}: {} seeds", seeds.len());
    }
}
