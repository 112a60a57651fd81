//! A thousand odd, broken and hostile captures: each replays without a panic and loses nothing.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{
    panic::catch_unwind,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use ids_tests::{
    archive,
    replay::{assert_conserved, replay_file},
};

/// What one capture came to: packets, or the reason it was refused.
type Outcome = Result<u64, String>;

fn replay(path: &Path) -> Outcome {
    let name = path.display().to_string();
    let replayed = replay_file(path).map_err(|error| error.to_string())?;
    assert_conserved(&replayed, &name);
    Ok(replayed.facts.packets)
}

#[test]
fn every_odd_capture_replays_and_loses_nothing() {
    let Some(folder) = archive::unpacked("captures-robustness.tar.zst") else { return };
    let captures = archive::files(&folder, &[".pcap", ".pcapng", ".cap"]);
    assert_eq!(captures.len(), 1_010);

    // Captures differ in size by orders of magnitude, so threads take one after another.
    let next = AtomicUsize::new(0);
    let work = || {
        let mut outcomes = Vec::new();
        while let Some(path) = captures.get(next.fetch_add(1, Ordering::Relaxed)) {
            outcomes.push((path, catch_unwind(|| replay(path))));
        }
        outcomes
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let outcomes: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });

    let panicked: Vec<_> = outcomes.iter().filter(|(_, outcome)| outcome.is_err()).map(|(path, _)| path).collect();
    assert!(panicked.is_empty(), "{} captures: {panicked:#?}", panicked.len());
    let (mut packets, mut replayed, mut refused) = (0, 0, Vec::new());
    for (path, outcome) in &outcomes {
        match outcome.as_ref().unwrap() {
            Ok(count) => (packets, replayed) = (packets + count, replayed + 1),
            Err(reason) => refused.push(format!("{}: {reason}", path.display())),
        }
    }
    println!("{replayed} captures with {packets} packets replayed, {} refused: {refused:#?}", refused.len());
    assert!(refused.iter().all(|line| line.contains("no pcap or pcapng capture")), "{refused:#?}");
}
