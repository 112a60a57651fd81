//! Puts what Suricata said into the batches of another source, on its axis of time. Reads nothing itself: events come
//! through a bounded queue from the thread that follows eve.json.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
    mpsc::{Receiver, SyncSender, sync_channel},
};

use crate::{
    budget::Effort,
    clock::Axis,
    eve::EveEvent,
    source::{Batch, FlowSource, Progress},
};

/// Events that travel together.
pub const CHUNK_EVENTS: usize = 1_024;
/// Chunks that may wait for the next tick; then the follower waits, and reads no further.
const CHUNKS_WAITING: usize = 32;
/// Chunks in one batch; the rest comes with the next.
const CHUNKS_A_BATCH: usize = 48;
/// A wall clock that has moved by more against the axis is followed; less is its usual wander.
const WANDER_NS_MAX: u64 = 200_000_000;

/// Events on their way into a batch.
#[derive(Debug)]
pub struct EveChunk {
    /// Times since 1970.
    pub events: Vec<EveEvent>,
    /// Rises with what was read: once the engine is done with it, so are all lines up to here.
    pub mark: u64,
}

/// What is subtracted from wall time to get the time of the source. It stays as it is while the clocks agree, so that a
/// line that is read again after a restart lies at the same time to the nanosecond.
#[derive(Clone, Debug, Default)]
pub struct EveOffset {
    ns: Arc<AtomicU64>,
}

impl EveOffset {
    /// Begins with what an earlier run had, where that still holds.
    pub fn new(earlier_ns: Option<u64>, axis: Axis) -> Self {
        let offset = Self { ns: Arc::new(AtomicU64::new(earlier_ns.unwrap_or(0))) };
        offset.follow(axis.offset().ns());
        offset
    }

    fn follow(&self, now_ns: u64) {
        if self.ns.load(Ordering::Relaxed).abs_diff(now_ns) > WANDER_NS_MAX {
            self.ns.store(now_ns, Ordering::Relaxed);
        }
    }

    pub fn ns(&self) -> u64 {
        self.ns.load(Ordering::Relaxed)
    }
}

/// The queue to a source.
pub fn queue() -> (SyncSender<EveChunk>, Receiver<EveChunk>) {
    sync_channel(CHUNKS_WAITING)
}

/// A source with Suricata's events in its batches.
#[derive(Debug)]
pub struct EveSource<S> {
    inner: S,
    heard: Option<Heard>,
}

#[derive(Debug)]
struct Heard {
    chunks: Receiver<EveChunk>,
    offset: EveOffset,
    axis: Axis,
    mark: u64,
}

impl<S> EveSource<S> {
    /// A source that nobody says anything about.
    pub fn unheard(inner: S) -> Self {
        Self { inner, heard: None }
    }

    pub fn new(inner: S, chunks: Receiver<EveChunk>, offset: EveOffset, axis: Axis) -> Self {
        Self { inner, heard: Some(Heard { chunks, offset, axis, mark: 0 }) }
    }

    pub fn inner(&self) -> &S {
        &self.inner
    }
}

impl<S: FlowSource> FlowSource for EveSource<S> {
    type Error = S::Error;

    fn ease(&mut self, effort: Effort) {
        self.inner.ease(effort);
    }

    fn next_batch(&mut self, batch: &mut Batch) -> Result<Progress, S::Error> {
        let progress = self.inner.next_batch(batch)?;
        if let Some(heard) = &mut self.heard {
            heard.add_to(batch);
        }
        Ok(progress)
    }
}

impl Heard {
    fn add_to(&mut self, batch: &mut Batch) {
        self.offset.follow(self.axis.offset().ns());
        let offset_ns = self.offset.ns();
        let moved = |ns: u64| ns.saturating_sub(offset_ns);
        for chunk in self.chunks.try_iter().take(CHUNKS_A_BATCH) {
            self.mark = chunk.mark;
            batch.eve.extend(chunk.events.into_iter().map(|mut event| {
                event.at_ns = moved(event.at_ns);
                event.flow_start_ns = event.flow_start_ns.map(moved);
                event
            }));
        }
        batch.eve_mark = self.mark;
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
    use std::convert::Infallible;

    use super::*;

    struct Ticks;

    impl FlowSource for Ticks {
        type Error = Infallible;

        fn next_batch(&mut self, batch: &mut Batch) -> Result<Progress, Infallible> {
            batch.clear();
            Ok(Progress::Tick)
        }
    }

    fn event(at_ns: u64) -> EveEvent {
        let line = br#"{"timestamp":"2026-01-01T00:00:00.000000+0000","event_type":"flow"}"#;
        let mut event = crate::eve::parse_line(line).unwrap();
        (event.at_ns, event.flow_start_ns) = (at_ns, Some(at_ns.saturating_sub(1)));
        event
    }

    #[test]
    fn events_come_with_the_next_tick_on_its_axis_and_once() {
        let (chunks, heard) = queue();
        let offset = EveOffset::new(None, Axis::Boottime);
        let base_ns = offset.ns();
        let mut source = EveSource::new(Ticks, heard, offset, Axis::Boottime);
        let mut batch = Batch::default();
        chunks.send(EveChunk { events: vec![event(base_ns + 500), event(base_ns + 400)], mark: 3 }).unwrap();
        source.next_batch(&mut batch).unwrap();
        let times: Vec<_> = batch.eve.iter().map(|event| (event.at_ns, event.flow_start_ns)).collect();
        assert_eq!(times, [(500, Some(499)), (400, Some(399))]);
        assert_eq!(batch.eve_mark, 3);
        source.next_batch(&mut batch).unwrap();
        assert_eq!((batch.eve.len(), batch.eve_mark), (0, 3));
        // Before the machine was started.
        chunks.send(EveChunk { events: vec![event(7)], mark: 4 }).unwrap();
        source.next_batch(&mut batch).unwrap();
        assert_eq!((batch.eve[0].at_ns, batch.eve_mark), (0, 4));
    }

    #[test]
    fn what_waits_and_what_a_batch_takes_is_bounded() {
        let (chunks, heard) = queue();
        let mut sent = 0;
        while chunks.try_send(EveChunk { events: vec![event(0); 2], mark: sent }).is_ok() {
            sent += 1;
        }
        assert_eq!(sent as usize, CHUNKS_WAITING);
        let mut source = EveSource::new(Ticks, heard, EveOffset::new(None, Axis::Wall), Axis::Wall);
        let mut batch = Batch::default();
        source.next_batch(&mut batch).unwrap();
        assert_eq!(batch.eve.len(), 2 * CHUNKS_WAITING);
    }

    #[test]
    fn an_offset_outlives_a_restart_but_not_a_clock_that_was_set() {
        let now_ns = Axis::Boottime.offset().ns();
        assert_eq!(EveOffset::new(Some(now_ns + 1_000), Axis::Boottime).ns(), now_ns + 1_000);
        let set = EveOffset::new(Some(now_ns + 3_600_000_000_000), Axis::Boottime).ns();
        assert!(set.abs_diff(now_ns) < WANDER_NS_MAX);
    }
}
