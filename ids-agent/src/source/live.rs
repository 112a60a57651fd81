//! Live traffic as a source: reads what the kernel programs wrote, tick by tick of the boot-time
//! clock. How reading works is decided in `kernel`.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::{
    budget::Effort,
    clock,
    kernel::{Kernel, KernelError, KernelSweep, Swept},
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

/// Slots, or samples, with which a batch is handed over before its tick is complete. A tick then takes no more memory under a
/// flood than at a home's rates, however much the kernel's table and the ring hold; when nobody takes batches the ring fills, and
/// the programs count what they drop.
const BATCH_FULL: usize = 2_048;

/// The kernel's flow table, a batch a tick, or several.
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
    /// End of the last tick that was handed over whole.
    told_ns: u64,
    stopped: Arc<AtomicBool>,
    state: State,
}

#[derive(Debug)]
enum State {
    Running,
    /// A tick is being read.
    Sweeping(KernelSweep),
    Ending(KernelSweep),
    Ended,
}

impl LiveSource {
    pub(crate) fn new(kernel: Kernel, tick_ns: u64) -> Self {
        let tick_ns = tick_ns.max(1);
        let tick_end_ns = tick_after(clock::boottime_ns(), tick_ns);
        Self {
            kernel,
            tick_ns,
            tick_set_ns: tick_ns,
            tick_end_ns,
            told_ns: tick_end_ns.saturating_sub(tick_ns),
            stopped: Arc::default(),
            state: State::Running,
        }
    }

    pub fn stop_handle(&self) -> StopHandle {
        StopHandle { stopped: Arc::clone(&self.stopped) }
    }

    /// Hands over what was drained of the ring alone.
    fn part(&mut self, batch: &mut Batch) -> Progress {
        self.kernel.complete(batch);
        Progress::Part
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
    }

    fn next_batch(&mut self, batch: &mut Batch) -> Result<Progress, KernelError> {
        batch.clear();
        batch.now_ns = self.told_ns;
        loop {
            match &mut self.state {
                State::Ended => return Err(KernelError::Ended),
                State::Ending(sweep) => {
                    return Ok(match self.kernel.end_on(sweep, room(batch), batch) {
                        Swept::Part => Progress::Part,
                        Swept::Whole => {
                            self.state = State::Ended;
                            Progress::End
                        }
                    });
                }
                State::Sweeping(sweep) => {
                    return Ok(match self.kernel.sweep_on(sweep, room(batch), batch) {
                        Swept::Part => Progress::Part,
                        Swept::Whole => {
                            self.state = State::Running;
                            self.told_ns = batch.now_ns;
                            Progress::Tick
                        }
                    });
                }
                State::Running => {}
            }
            if self.stopped.load(Ordering::Acquire) {
                self.state = State::Ending(self.kernel.begin_end());
                continue;
            }
            let now_ns = clock::boottime_ns();
            self.kernel.look(now_ns);
            if now_ns >= self.tick_end_ns {
                // After a suspension, or on a machine too busy, ticks are left out, not made up for.
                let end = now_ns - now_ns % self.tick_ns;
                self.tick_end_ns = end + self.tick_ns;
                self.state = State::Sweeping(self.kernel.begin_sweep(end, SlotState::Open));
                if room(batch) < BATCH_FULL / 2 {
                    return Ok(self.part(batch));
                }
                continue;
            }
            if self.kernel.drain_ring(room(batch), batch) {
                return Ok(self.part(batch));
            }
            clock::sleep_until_boottime(self.tick_end_ns.min(now_ns + DRAIN_EVERY_NS));
        }
    }
}

/// What a batch still takes.
fn room(batch: &Batch) -> usize {
    BATCH_FULL.saturating_sub(batch.slots.len().max(batch.samples.len()))
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
