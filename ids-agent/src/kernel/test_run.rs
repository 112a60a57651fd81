//! Runs frames through the real kernel programs without an interface (BPF_PROG_TEST_RUN), at times
//! that the caller gives: for `selftest`, tests and benches.

use std::{mem::offset_of, sync::atomic::Ordering, time::Duration};

use aya::{
    Ebpf,
    programs::{
        ProgramError, SchedClassifier, TestRun as _, TestRunAttrs, TestRunOptions, TestRunResult, Xdp, XdpMode,
    },
};
use ids_common::abi::TestWords;
use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};

use super::{Blocks, Kernel, KernelError, ProgramClock, ReadStats, Reader, WORD, attach, load_program};
use crate::{
    config::{CaptureSettings, FlowSettings, SampleSettings},
    source::{Batch, SlotState},
};

/// Frames shorter than an Ethernet header are refused by the kernel before any program runs.
pub const FRAME_BYTES_MIN: usize = 14;

/// Frames between two looks at the clock while sending; the queue of a veth takes 256.
const SENT_AT_ONCE: u32 = 64;

/// Silence after which empty ticks are left out.
const SILENCE_TOLD_NS: u64 = 600_000_000_000;

/// A program of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    Xdp,
    TcIngress,
    TcEgress,
    /// Those of interfaces without link headers. A run feeds them Ethernet frames, which they take for IP.
    TcIpIngress,
    TcIpEgress,
    /// An XDP program that does nothing: what a run costs by itself.
    Empty,
    /// `Xdp` behind a step that gives every run a random source address.
    Random,
    /// An XDP program that sends every frame back.
    Send,
}

impl Entry {
    const fn program(self) -> &'static str {
        match self {
            Self::Xdp => attach::XDP_PROGRAM,
            Self::TcIngress => attach::TC_INGRESS_PROGRAM,
            Self::TcEgress => attach::TC_EGRESS_PROGRAM,
            Self::TcIpIngress => attach::TC_IP_INGRESS_PROGRAM,
            Self::TcIpEgress => attach::TC_IP_EGRESS_PROGRAM,
            Self::Empty => "bench_empty",
            Self::Random => "bench_random",
            Self::Send => "bench_send",
        }
    }
}

/// Where an XDP program sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpHook {
    Native,
    Generic,
}

/// What the kernel says about a loaded program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramSize {
    /// Instructions that the verifier walked.
    pub verified_instructions: u32,
    pub jited_bytes: u32,
}

/// The programs with their maps, pinned to the CPU of the thread that made them.
///
/// The batches are those of a live source whose packets came at the given times.
#[derive(Debug)]
pub struct TestRun {
    kernel: Kernel,
    tick_ns: u64,
    tick_end_ns: Option<u64>,
    /// Time of the last frame.
    last_ns: u64,
}

impl TestRun {
    /// Loads the programs with a clock that `feed` sets. The calling thread stays on its CPU from
    /// here on, so that all packets meet in one part of the table.
    pub fn new(capture: &CaptureSettings, flow: &FlowSettings, sample: &SampleSettings) -> Result<Self, KernelError> {
        Self::load(capture, flow, sample, ProgramClock::Test)
    }

    /// The same with the clock of live traffic, for benches.
    pub fn with_live_clock(
        capture: &CaptureSettings,
        flow: &FlowSettings,
        sample: &SampleSettings,
    ) -> Result<Self, KernelError> {
        Self::load(capture, flow, sample, ProgramClock::Boottime)
    }

    fn load(
        capture: &CaptureSettings,
        flow: &FlowSettings,
        sample: &SampleSettings,
        clock: ProgramClock,
    ) -> Result<Self, KernelError> {
        stay_on_cpu()?;
        let mut kernel = Kernel::load_with(capture, flow, sample, clock)?;
        for entry in [Entry::Empty, Entry::Random, Entry::Send] {
            load_program::<Xdp>(&mut kernel.ebpf, entry.program(), Xdp::load)?;
        }
        Ok(Self { kernel, tick_ns: flow.tick_ns(), tick_end_ns: None, last_ns: 0 })
    }

    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Runs one frame, seen at `now_ns`, of which the wire had `wire_len` bytes. Ticks that ended before it
    /// are handed to `tick` first, as a live source would give them.
    pub fn feed(
        &mut self,
        entry: Entry,
        now_ns: u64,
        frame: &[u8],
        wire_len: usize,
        mut tick: impl FnMut(&Batch),
        batch: &mut Batch,
    ) -> Result<(), KernelError> {
        let mut end = *self.tick_end_ns.get_or_insert(now_ns - now_ns % self.tick_ns + self.tick_ns);
        let told_ns = self.last_ns.saturating_add(SILENCE_TOLD_NS);
        while now_ns >= end {
            self.sweep(end, SlotState::Open, batch);
            tick(batch);
            // As a file does: all timeouts have fired by then.
            let next = if end > told_ns { now_ns - now_ns % self.tick_ns } else { end };
            end = next + self.tick_ns;
            self.tick_end_ns = Some(end);
        }
        self.last_ns = now_ns;
        self.set(offset_of!(TestWords, now_ns), now_ns);
        self.set(offset_of!(TestWords, wire_len), if wire_len > frame.len() { wire_len as u64 } else { 0 });
        self.run(entry, frame, 1)?;
        Ok(())
    }

    /// The batch of the last tick: every slot in it is closed.
    pub fn finish(&mut self, batch: &mut Batch) {
        self.sweep(self.last_ns.saturating_add(1), SlotState::Closed, batch);
    }

    /// Reads everything that changed, as the sweep of a tick that ends at `now_ns`.
    pub fn sweep(&mut self, now_ns: u64, state: SlotState, batch: &mut Batch) {
        batch.clear();
        self.kernel.sweep(now_ns, state, batch);
    }

    /// Runs one frame `repeat` times at the time set last; gives the mean duration of a run.
    pub fn run(&self, entry: Entry, frame: &[u8], repeat: u32) -> Result<Duration, KernelError> {
        Programs { ebpf: &self.kernel.ebpf }.run(entry, frame, repeat)
    }

    /// The same once, for the action that the program gave.
    pub fn action(&self, entry: Entry, frame: &[u8]) -> Result<u32, KernelError> {
        Programs { ebpf: &self.kernel.ebpf }.ran(entry, frame, 1).map(|ran| ran.return_value)
    }

    /// The time that the next run sees.
    pub fn set_now(&self, now_ns: u64) {
        self.set(offset_of!(TestWords, now_ns), now_ns);
    }

    /// What the programs drop; to be taken once.
    pub fn take_blocks(&mut self) -> Result<Blocks, KernelError> {
        self.kernel.take_blocks()
    }

    /// The programs and their reader apart, to race one against the other.
    pub fn race(&mut self) -> (Programs<'_>, Sweeps<'_>) {
        (Programs { ebpf: &self.kernel.ebpf }, Sweeps { reader: &mut self.kernel.reader })
    }

    /// Bits of the source address that `Entry::Random` draws anew in every run.
    pub fn set_random_mask(&self, mask: u32) {
        self.set(offset_of!(TestWords, random_mask), u64::from(mask));
        self.set(offset_of!(TestWords, random_state), 0x9e37_79b9_7f4a_7c15);
    }

    pub fn size(&self, entry: Entry) -> Result<ProgramSize, KernelError> {
        let failed = |cause: ProgramError| KernelError::TestRun { cause: Box::new(cause) };
        let programs = Programs { ebpf: &self.kernel.ebpf };
        let info = match entry {
            Entry::TcIngress | Entry::TcEgress | Entry::TcIpIngress | Entry::TcIpEgress => {
                programs.classifier(entry)?.info()
            }
            Entry::Xdp | Entry::Empty | Entry::Random | Entry::Send => programs.xdp(entry)?.info(),
        }
        .map_err(failed)?;
        Ok(ProgramSize {
            verified_instructions: info.verified_instruction_count().unwrap_or(0),
            jited_bytes: info.size_jitted(),
        })
    }

    /// Sends a frame out of an interface so many times, as fast as the kernel can (XDP live frames).
    pub fn send(&self, ifindex: u32, frame: &[u8], repeat: u32) -> Result<(), KernelError> {
        // `struct xdp_md`: the data lies from zero to its length, and came from this interface.
        let words = [0, frame.len() as u32, 0, ifindex, 0, 0];
        let context: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let options = TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(&context),
            repeat,
            attrs: TestRunAttrs::new().xdp_live_frames(SENT_AT_ONCE),
            ..TestRunOptions::new()
        };
        let program = Programs { ebpf: &self.kernel.ebpf }.xdp(Entry::Send)?;
        program.test_run(options).map(drop).map_err(|cause| KernelError::TestRun { cause: Box::new(cause) })
    }

    /// Attaches the program that does nothing to an interface, until this value is dropped: what a hook costs by itself.
    pub fn attach_empty(&mut self, interface: &str, mode: XdpHook) -> Result<(), KernelError> {
        let name = Entry::Empty.program();
        let program = self.kernel.ebpf.program_mut(name).and_then(|program| program.try_into().ok());
        let program: &mut Xdp = program.ok_or(KernelError::Missing { name })?;
        let mode = match mode {
            XdpHook::Native => XdpMode::Driver,
            XdpHook::Generic => XdpMode::Skb,
        };
        program.attach(interface, mode).map(drop).map_err(|cause| KernelError::TestRun { cause: Box::new(cause) })
    }

    fn set(&self, at: usize, value: u64) {
        if let Some(word) = self.kernel.test.writable_words().and_then(|words| words.get(at / WORD)) {
            word.store(value, Ordering::Release);
        }
    }
}

/// The loaded programs, to be run from any thread.
#[derive(Clone, Copy, Debug)]
pub struct Programs<'a> {
    ebpf: &'a Ebpf,
}

impl<'a> Programs<'a> {
    /// Runs one frame `repeat` times; gives the mean duration of a run.
    pub fn run(self, entry: Entry, frame: &[u8], repeat: u32) -> Result<Duration, KernelError> {
        self.ran(entry, frame, repeat).map(|ran| ran.duration)
    }

    fn ran(self, entry: Entry, frame: &[u8], repeat: u32) -> Result<TestRunResult, KernelError> {
        let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::new() };
        let ran = match entry {
            Entry::TcIngress | Entry::TcEgress | Entry::TcIpIngress | Entry::TcIpEgress => {
                self.classifier(entry)?.test_run(options)
            }
            Entry::Xdp | Entry::Empty | Entry::Random | Entry::Send => self.xdp(entry)?.test_run(options),
        };
        ran.map_err(|cause| KernelError::TestRun { cause: Box::new(cause) })
    }

    fn xdp(self, entry: Entry) -> Result<&'a Xdp, KernelError> {
        let program = self.ebpf.program(entry.program()).and_then(|program| program.try_into().ok());
        program.ok_or(KernelError::Missing { name: entry.program() })
    }

    fn classifier(self, entry: Entry) -> Result<&'a SchedClassifier, KernelError> {
        let program = self.ebpf.program(entry.program()).and_then(|program| program.try_into().ok());
        program.ok_or(KernelError::Missing { name: entry.program() })
    }
}

/// The reader of what the programs write.
#[derive(Debug)]
pub struct Sweeps<'a> {
    reader: &'a mut Reader,
}

impl Sweeps<'_> {
    /// Reads everything that changed.
    pub fn sweep(&mut self, now_ns: u64, batch: &mut Batch) {
        batch.clear();
        self.reader.sweep(now_ns, SlotState::Open, batch);
    }

    pub fn stats(&self) -> ReadStats {
        self.reader.stats()
    }
}

fn stay_on_cpu() -> Result<(), KernelError> {
    let mut here = CpuSet::new();
    here.set(sched_getcpu());
    sched_setaffinity(None, &here).map_err(|cause| KernelError::Affinity { cause: cause.into() })
}
