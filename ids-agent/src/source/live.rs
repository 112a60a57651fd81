//! Live traffic as a source: reads what the kernel programs wrote, tick by tick of the boot-time
//! clock. How reading works is decided in `kernel`.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::{
    budget::Effort,
    clock,
    kernel::{Kernel, KernelError},
    source::{Batch, FlowSource, Progress, SlotState},
};

/// How often the ring is drained between ticks: it must hold what comes in this time.
const DRAIN_EVERY_NS: u64 = 50_000_000;

/// Ends a live source from elsewhere.
#[derive(Clone, Debug)]
pub struct StopHandle {
    stopped: Arc<AtomicBool>,
}

impl StopHandle {
    /// Makes the source detach (or leave pinned programs to the next agent), read everything once more and end, within
    /// some 100 ms.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }
}

/// Evicted slots in a batch from which on the ring is left to the tick's end; what it then cannot
/// take the programs count as lost. Seven megabytes of slots a batch.
const SLOTS_DRAINED_MAX: usize = 32_768;

/// The kernel's flow table, a batch a tick.
///
/// Every packet seen before a batch's `now_ns` is in that batch or an earlier one. Packets of the few
/// milliseconds that reading took may be in it too.
#[derive(Debug)]
pub struct LiveSource {
    kernel: Kernel,
    /// Length of a tick, and what the settings say of it.
    tick_ns: u64,
    tick_set_ns: u64,
    tick_end_ns: u64,
    slots_drained_max: usize,
    stopped: Arc<AtomicBool>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    Ended,
}

impl LiveSource {
    pub(crate) fn new(kernel: Kernel, tick_ns: u64) -> Self {
        let tick_ns = tick_ns.max(1);
        Self {
            kernel,
            tick_ns,
            tick_set_ns: tick_ns,
            slots_drained_max: SLOTS_DRAINED_MAX,
            tick_end_ns: tick_after(clock::boottime_ns(), tick_ns),
            stopped: Arc::default(),
            state: State::Running,
        }
    }

    pub fn stop_handle(&self) -> StopHandle {
        StopHandle { stopped: Arc::clone(&self.stopped) }
    }

    /// For metrics and logs: attachments, sizes and what reading met.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }
}

impl FlowSource for LiveSource {
    type Error = KernelError;

    fn ease(&mut self, effort: Effort) {
        let rung = effort.level.rung();
        self.kernel.ease_sampling(rung);
        self.tick_ns = self.tick_set_ns.saturating_mul(u64::from(rung.tick_times));
        self.slots_drained_max = effort.tables.of(SLOTS_DRAINED_MAX);
    }

    fn next_batch(&mut self, batch: &mut Batch) -> Result<Progress, KernelError> {
        batch.clear();
        if batch.slots.capacity() > 4 * self.slots_drained_max {
            batch.slots.shrink_to(self.slots_drained_max);
        }
        if self.state == State::Ended {
            return Err(KernelError::Ended);
        }
        loop {
            if self.stopped.load(Ordering::Acquire) {
                self.kernel.end(batch);
                self.state = State::Ended;
                return Ok(Progress::End);
            }
            let now_ns = clock::boottime_ns();
            self.kernel.look(now_ns);
            if now_ns >= self.tick_end_ns {
                // After a suspension, or on a machine too busy, ticks are left out, not made up for.
                let end = now_ns - now_ns % self.tick_ns;
                self.kernel.sweep(end, SlotState::Open, batch);
                self.tick_end_ns = end + self.tick_ns;
                return Ok(Progress::Tick);
            }
            // Under a flood the ring fills, and the programs count what they drop: memory stays bounded.
            if batch.slots.len() < self.slots_drained_max {
                self.kernel.drain_ring(batch);
            }
            clock::sleep_until_boottime(self.tick_end_ns.min(now_ns + DRAIN_EVERY_NS));
        }
    }
}

fn tick_after(now_ns: u64, tick_ns: u64) -> u64 {
    now_ns - now_ns % tick_ns + tick_ns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_multiples_of_their_length() {
        assert_eq!(tick_after(0, 500), 500);
        assert_eq!(tick_after(499, 500), 500);
        assert_eq!(tick_after(500, 500), 1_000);
    }
}
