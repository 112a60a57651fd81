//! Follows eve.json on a thread of its own, and knows which lines the engine and the sinks are done with: only those are
//! left behind by a restart.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, PoisonError, mpsc::SyncSender},
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    clock,
    detect::HEARD_HELD_NS,
    eve::{EveError, EveEvent, EveKept, EvePosition, EveReader, KeptPlace},
    http::{EveGauge, Metrics, QueueGauge},
    sandbox,
    source::eve::{CHUNK_EVENTS, EveChunk, EveOffset},
    supervisor::{Badge, Roster, StopFlag},
};

/// Bytes read between two looks at everything else.
const READ_BYTES: usize = 256 << 10;
/// How long a quiet file is left alone; a FIFO and a socket wake the thread.
const WAIT: Duration = Duration::from_millis(50);
const SHOW_EVERY_NS: u64 = 1_000_000_000;
/// How often positions are written at most: what comes again after a crash has the ids it had.
const KEEP_EVERY_NS: u64 = 2_000_000_000;
/// Positions that wait for the engine; beyond it the older ones are thinned out.
const WAITING_MAX: usize = 256;
/// Suricata's `stats` come every 8 s by default, every 30 s from ours: a longer silence is worth a word.
const SILENCE_NS_MAX: u64 = 120_000_000_000;
/// A file whose newest line is so far ahead was written by another clock.
const AHEAD_NS: u64 = 60_000_000_000;

/// What the engine and the sinks are done with.
#[derive(Clone, Debug, Default)]
pub struct EveSettling {
    state: Arc<Mutex<Settling>>,
}

#[derive(Debug, Default)]
struct Settling {
    judged: u64,
    settled: u64,
    waiting: VecDeque<Judged>,
}

/// A mark that was judged.
#[derive(Debug)]
struct Judged {
    mark: u64,
    at_ns: u64,
    /// Lines that each sink must have written by then: in its order, those that were offered and not dropped.
    lines: Vec<u64>,
}

impl EveSettling {
    /// After a tick was judged and told.
    pub(super) fn judged(&self, mark: u64, now_ns: u64, queues: &[QueueGauge]) {
        let mut state = self.lock();
        if mark > state.judged {
            state.judged = mark;
            let lines = queues.iter().map(|queue| queue.stats.offered - queue.stats.dropped_all()).collect();
            state.waiting.push_back(Judged { mark, at_ns: now_ns, lines });
        }
        while let Some(oldest) = state.waiting.front()
            && now_ns.saturating_sub(oldest.at_ns) >= HEARD_HELD_NS
            && oldest.lines.iter().zip(queues).all(|(lines, queue)| queue.stats.written >= *lines)
        {
            state.settled = oldest.mark;
            state.waiting.pop_front();
        }
    }

    /// The engine has said its last word and the sinks have written it.
    fn close(&self) {
        let mut state = self.lock();
        state.settled = state.judged;
    }

    fn settled(&self) -> u64 {
        self.lock().settled
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Settling> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the thread works with.
pub struct EveParts {
    pub reader: EveReader,
    pub to_source: SyncSender<EveChunk>,
    pub offset: EveOffset,
    /// Nothing is kept without it.
    pub place: Option<KeptPlace>,
    pub metrics: Option<Arc<Metrics>>,
    pub settling: EveSettling,
}

/// A thread that follows eve.json.
#[derive(Debug)]
pub struct EveFollowing {
    thread: JoinHandle<()>,
    stop: StopFlag,
    settling: EveSettling,
}

impl EveFollowing {
    pub fn start(parts: EveParts, roster: &Roster) -> io::Result<Self> {
        let (stop, roster) = (StopFlag::default(), roster.clone());
        let (asked, settling) = (stop.clone(), parts.settling.clone());
        let thread = thread::Builder::new().name("eve".to_owned()).spawn(move || {
            sandbox::surrender();
            Following::new(parts).run(&asked, &roster.enter("eve"));
        })?;
        Ok(Self { thread, stop, settling })
    }

    /// Ends it, when the engine and the sinks are done and the source is gone; what they were done with is kept.
    pub fn finish(self) {
        self.settling.close();
        self.stop.ask();
        if self.thread.join().is_err() {
            tracing::error!("thread `eve` panicked; please report this as a bug");
        }
    }
}

struct Following {
    parts: EveParts,
    mark: u64,
    lines: u64,
    /// Where to go on once all up to the mark is settled.
    waiting: VecDeque<(u64, Vec<EvePosition>)>,
    settled: Option<Vec<EvePosition>>,
    kept_ns: u64,
    keep_failed: bool,
    shown_ns: u64,
    trouble: Option<String>,
    ahead: bool,
    /// When the last line was read, or else the first look was.
    heard_ns: Option<u64>,
    silent: bool,
}

impl Following {
    fn new(parts: EveParts) -> Self {
        Self {
            parts,
            mark: 0,
            lines: 0,
            waiting: VecDeque::new(),
            settled: None,
            kept_ns: 0,
            keep_failed: false,
            shown_ns: 0,
            trouble: None,
            ahead: false,
            heard_ns: None,
            silent: false,
        }
    }

    fn run(mut self, stop: &StopFlag, badge: &Badge) {
        loop {
            badge.works();
            let now_ns = clock::boottime_ns();
            let more = self.read(now_ns, badge);
            self.settle(now_ns, KEEP_EVERY_NS);
            if now_ns.saturating_sub(self.shown_ns) >= SHOW_EVERY_NS {
                self.shown_ns = now_ns;
                self.notice_silence(now_ns);
                self.show();
            }
            if stop.is_asked() {
                break;
            }
            match more {
                Some(true) => {}
                Some(false) => self.parts.reader.wait(WAIT),
                // The line has ended: what is read now is nobody's.
                None => break,
            }
        }
        badge.waits();
        // `finish` is on its way, or was here.
        while !stop.is_asked() {
            self.parts.reader.wait(WAIT);
        }
        self.settle(clock::boottime_ns(), 0);
        self.show();
    }

    /// Reads what is new and passes it on; waits where the engine is behind. Tells whether there is more, nothing when
    /// nobody listens any more.
    fn read(&mut self, now_ns: u64, badge: &Badge) -> Option<bool> {
        let Self { parts, mark, .. } = self;
        let mut events: Vec<EveEvent> = Vec::new();
        let mut gone = false;
        let polled = parts.reader.poll(now_ns, READ_BYTES, |event| {
            events.push(event);
            if events.len() >= CHUNK_EVENTS {
                // The lines of this poll are not all read yet, so the mark stays.
                let chunk = EveChunk { events: std::mem::take(&mut events), mark: *mark };
                // The source takes it when it has room.
                badge.waits();
                gone |= parts.to_source.send(chunk).is_err();
                badge.works();
            }
        });
        let lines = parts.reader.totals().input.lines.lines_all();
        if lines > self.lines {
            self.lines = lines;
            self.heard_ns = Some(now_ns);
            self.mark += 1;
            badge.waits();
            gone |= self.parts.to_source.send(EveChunk { events, mark: self.mark }).is_err();
            badge.works();
            self.waiting.push_back((self.mark, self.parts.reader.positions()));
            if self.waiting.len() > WAITING_MAX {
                // Every second of the older half: what is settled is then known a little later.
                let mut at = 0;
                self.waiting.retain(|_| {
                    at += 1;
                    at > WAITING_MAX / 2 || at % 2 == 0
                });
            }
        }
        if gone {
            return None;
        }
        match polled {
            Ok(more) => {
                if let Some(trouble) = self.trouble.take() {
                    tracing::info!(was = trouble, "eve.json is read again");
                }
                Some(more)
            }
            Err(error) => {
                self.warn(&error);
                Some(false)
            }
        }
    }

    /// Says a trouble once, not twenty times a second.
    fn warn(&mut self, error: &EveError) {
        let trouble = error.to_string();
        if self.trouble.as_ref() != Some(&trouble) {
            tracing::warn!("{trouble}; tried again all the time, detection without Suricata goes on");
            self.trouble = Some(trouble);
        }
    }

    /// Says once that nothing was said for long, and that it is over.
    fn notice_silence(&mut self, now_ns: u64) {
        let silent_ns = now_ns.saturating_sub(*self.heard_ns.get_or_insert(now_ns));
        let silent = silent_ns >= SILENCE_NS_MAX;
        if silent && !self.silent && self.trouble.is_none() {
            tracing::warn!(
                secs = silent_ns / 1_000_000_000,
                "nothing was written to eve.json: does Suricata run, and is its eve-log on? detection without it goes on"
            );
        } else if self.silent && !silent {
            tracing::info!("eve.json is written again");
        }
        self.silent = silent;
    }

    /// Keeps the last position before which everything is settled.
    fn settle(&mut self, now_ns: u64, every_ns: u64) {
        let settled = self.parts.settling.settled();
        while self.waiting.front().is_some_and(|(mark, _)| *mark <= settled) {
            self.settled = self.waiting.pop_front().map(|(_, positions)| positions);
        }
        if now_ns.saturating_sub(self.kept_ns) < every_ns {
            return;
        }
        let Some(place) = &self.parts.place else { return };
        if let Some(positions) = self.settled.take() {
            self.kept_ns = now_ns;
            let kept = EveKept { positions, offset_ns: self.parts.offset.ns() };
            let written = place.write(&kept, now_ns);
            match &written {
                Ok(()) => {}
                // Once, not every other second.
                Err(_) if self.keep_failed => {}
                Err(error) => tracing::warn!("{error}; lines of eve.json may come again after a restart"),
            }
            self.keep_failed = written.is_err();
        }
    }

    fn show(&mut self) {
        let totals = self.parts.reader.totals();
        let wall_ns = clock::wall_ns();
        let ahead = totals.newest_ns > wall_ns.saturating_add(AHEAD_NS);
        if ahead && !self.ahead {
            tracing::warn!(
                secs = totals.newest_ns.saturating_sub(wall_ns) / 1_000_000_000,
                "eve.json is ahead of this machine's clock: what it says is joined by community-id at best"
            );
        }
        self.ahead = ahead;
        if let Some(metrics) = &self.parts.metrics {
            metrics.show_eve(&EveGauge { totals, readable: self.trouble.is_none(), wall_ns });
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use std::{fs, io::Write, path::Path};

    use super::*;
    use crate::{
        clock::{Axis, Stopwatch},
        config::EveFiletype,
        eve::Start,
        sink::SinkStats,
        source::eve::queue,
    };

    fn gauge(offered: u64, written: u64, dropped: u64) -> QueueGauge {
        let stats = SinkStats { offered, written, dropped: [dropped, 0, 0, 0, 0], ..SinkStats::default() };
        QueueGauge { sink: "alerts", lines_max: 9, stats }
    }

    #[test]
    fn a_mark_is_settled_when_nobody_holds_its_events_and_its_lines_are_written() {
        let settling = EveSettling::default();
        settling.judged(1, 0, &[gauge(5, 2, 1)]);
        settling.judged(1, HEARD_HELD_NS - 1, &[gauge(5, 5, 1)]);
        assert_eq!(settling.settled(), 0, "events may be held");
        settling.judged(2, HEARD_HELD_NS, &[gauge(6, 3, 1)]);
        assert_eq!(settling.settled(), 0, "three of four are written");
        settling.judged(2, HEARD_HELD_NS, &[gauge(6, 4, 1)]);
        assert_eq!(settling.settled(), 1);
        settling.close();
        assert_eq!(settling.settled(), 2);
    }

    fn parts(path: &Path, state: &Path) -> (EveParts, std::sync::mpsc::Receiver<EveChunk>) {
        let place = KeptPlace::new(state, path);
        let kept = place.load();
        let offset = EveOffset::new(kept.as_ref().map(|kept| kept.offset_ns), Axis::Boottime);
        let start = kept.map_or(Start::Beginning, |kept| Start::After(kept.positions));
        let (to_source, chunks) = queue();
        let parts = EveParts {
            reader: EveReader::new(path, EveFiletype::Regular, start),
            to_source,
            offset,
            place: Some(place),
            metrics: None,
            settling: EveSettling::default(),
        };
        (parts, chunks)
    }

    /// Takes events until `wanted` came; gives their times and the last mark.
    fn take(chunks: &std::sync::mpsc::Receiver<EveChunk>, wanted: usize) -> (Vec<u64>, u64) {
        let (watch, mut times, mut mark) = (Stopwatch::start(), Vec::new(), 0);
        while times.len() < wanted {
            assert!(watch.elapsed() < Duration::from_secs(60), "{} of {wanted}", times.len());
            if let Ok(chunk) = chunks.recv_timeout(Duration::from_millis(100)) {
                times.extend(chunk.events.iter().map(|event| event.at_ns / 1_000_000_000));
                mark = chunk.mark;
            }
        }
        (times, mark)
    }

    fn line(number: u64) -> String {
        let (minutes, seconds) = (number / 60, number % 60);
        format!("{{\"timestamp\":\"1970-01-01T00:{minutes:02}:{seconds:02}.000000+0000\",\"event_type\":\"flow\"}}\n")
    }

    #[test]
    fn after_a_restart_what_was_not_settled_comes_again_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eve.json");
        fs::write(&path, (0..100).map(line).collect::<String>()).unwrap();
        let roster = Roster::default();

        let (eve, chunks) = parts(&path, folder.path());
        let settling = eve.settling.clone();
        let following = EveFollowing::start(eve, &roster).unwrap();
        let (times, mark) = take(&chunks, 100);
        assert_eq!(times, (0..100).collect::<Vec<_>>());
        settling.judged(mark, 0, &[gauge(3, 3, 0)]);
        // Read, and never judged: as if the agent were killed now.
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(line(100).as_bytes()).unwrap();
        take(&chunks, 1);
        drop(chunks);
        following.finish();
        assert!(roster.running().is_empty());

        let (eve, chunks) = parts(&path, folder.path());
        let following = EveFollowing::start(eve, &roster).unwrap();
        assert_eq!(take(&chunks, 1).0, [100]);
        drop(chunks);
        following.finish();
    }

    #[test]
    fn a_long_silence_is_noticed_and_its_end_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eve.json");
        let (eve, _chunks) = parts(&path, folder.path());
        let mut following = Following::new(eve);
        let badge = Roster::default().enter("eve");
        let mut silent_at = |now_ns| {
            following.read(now_ns, &badge);
            following.notice_silence(now_ns);
            following.silent
        };
        assert!(!silent_at(7));
        assert!(!silent_at(SILENCE_NS_MAX));
        assert!(silent_at(SILENCE_NS_MAX + 7));
        fs::write(&path, line(1)).unwrap();
        assert!(!silent_at(SILENCE_NS_MAX + 8));
        assert!(!silent_at(2 * SILENCE_NS_MAX));
        assert!(silent_at(2 * SILENCE_NS_MAX + 8));
    }

    #[test]
    fn an_engine_that_does_not_listen_is_waited_for_and_nothing_is_read_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eve.json");
        let lines = 120_000;
        fs::write(&path, (0..lines).map(|number| line(number % 3_600)).collect::<String>()).unwrap();
        let (eve, chunks) = parts(&path, folder.path());
        let following = EveFollowing::start(eve, &Roster::default()).unwrap();
        let watch = Stopwatch::start();
        // It fills the queue and stands still.
        while watch.elapsed() < Duration::from_millis(1_500) {
            thread::yield_now();
        }
        let waiting: usize = chunks.try_iter().map(|chunk| chunk.events.len()).sum();
        assert!(waiting < lines as usize / 2, "{waiting} events wait");
        assert_eq!(waiting + take(&chunks, lines as usize - waiting).0.len(), lines as usize);
        drop(chunks);
        following.finish();
    }
}
