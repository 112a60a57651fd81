//! The kernel side as the agent sees it: loads the programs, attaches them, and reads what they
//! write. The only module that speaks to aya.
//!
//! ```text
//! Kernel::load(settings) ─▶ attach(interfaces) ─▶ into_source(tick) ─▶ LiveSource: FlowSource
//! ```
//!
//! Everything detaches when the `Kernel`, or the source made of it, is dropped; and the kernel
//! detaches it when the process dies. Where the settings say so, maps and links are pinned instead: the programs go on
//! counting, and the next agent goes on with them (docs/capture.md).

use std::{fs::File, io::Read as _, mem::offset_of, os::fd::AsFd as _, path::Path};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, Map, RingBuf},
    programs::{ProgramError, SchedClassifier, Xdp},
    util::nr_cpus,
};
use ids_common::{
    abi::{ABI_VERSION, CounterRow, FlowSet, Handover, Settings, TestWords},
    block::{BlockEntry, BlockKey},
    counter::Counter,
    limits::{
        BLOCKS_MAX, RING_BYTES_DEFAULT, SAMPLE_BYTES_MAX, SAMPLE_HEADS_MAX, SAMPLE_PACKETS_MAX, SETS_PER_CPU_DEFAULT,
        SETS_PER_CPU_MAX, SETS_PER_CPU_MIN,
    },
};

use crate::{
    budget::Rung,
    clock,
    config::{CaptureSettings, FlowSettings, SampleSettings},
    source::{Batch, SlotState, Totals, blind::Blindness, live::LiveSource},
};

mod addresses;
mod attach;
mod blocks;
pub mod cost;
mod earlier;
mod error;
pub mod facts;
mod handover;
mod interface;
mod mapping;
mod netlink;
mod pin;
mod places;
mod reader;
mod ring;
mod routes;
mod sweep;
mod table;
pub mod test_run;
mod watch;

pub use addresses::{addresses, all_addresses};
pub use attach::Attachment;
use attach::TcKind;
pub use blocks::Blocks;
use earlier::Earlier;
pub use error::KernelError;
use handover::HandoverWords;
use mapping::{Access, Mapping};
use pin::{Left, PINNED_MAPS, PinDir, Shape, Unread};
use places::{Hands, Places};
pub use reader::ReadStats;
use reader::{Grace, Reader};
use ring::Ring;
pub use routes::gateways;
use sweep::Sweep;
pub(crate) use sweep::Swept;
use table::MappedTable;

/// The oldest kernel that the agent runs on: `bpf_xdp_load_bytes` (5.18) and links for XDP are there,
/// and a distribution still cares for it.
pub const KERNEL_MIN: (u8, u8) = (6, 1);

/// Memory that the table takes at most where the operator chose no size: with many CPUs each gets a
/// smaller part. Leaves room for the ring below 32 MiB.
pub const TABLE_BYTES_DEFAULT_MAX: usize = 26 << 20;

const WORD: usize = size_of::<u64>();

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/ids-ebpf.o"));

/// Which clock the programs read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProgramClock {
    Boottime,
    /// Time and wire length come from the test.
    Test,
}

/// Loaded programs with their maps.
#[derive(Debug)]
pub struct Kernel {
    sample: SampleSettings,
    ebpf: Ebpf,
    reader: Reader,
    test: Mapping,
    ring_bytes: u32,
    sets_per_cpu: u32,
    cpus: u32,
    tc: TcKind,
    places: Option<Places>,
    attachments: Vec<Attachment>,
    handover: HandoverWords,
    pins: Option<PinDir>,
    /// What an earlier agent told, until the first sweep.
    earlier: Option<Earlier>,
    /// Counters of an earlier agent's maps, until its programs are replaced.
    unread: Option<Unread>,
}

impl Kernel {
    /// Loads the programs with the maps that the settings ask for. Attaches nothing.
    pub fn load(capture: &CaptureSettings, flow: &FlowSettings, sample: &SampleSettings) -> Result<Self, KernelError> {
        Self::load_with(capture, flow, sample, ProgramClock::Boottime)
    }

    fn load_with(
        capture: &CaptureSettings,
        flow: &FlowSettings,
        sample: &SampleSettings,
        clock: ProgramClock,
    ) -> Result<Self, KernelError> {
        require_kernel()?;
        require_capabilities()?;
        let cpus = nr_cpus().map_err(|(_, cause)| KernelError::Cpus { cause })? as u32;
        let sets_per_cpu = sets_per_cpu(capture.sets_per_cpu, cpus)?;
        let ring_bytes = capture.ring_bytes;
        if !ring_bytes.is_power_of_two() || !ring_bytes.is_multiple_of(65_536) {
            return Err(KernelError::RingBytes { found: ring_bytes });
        }
        let sets = sets_per_cpu * cpus;
        let pins = capture.pin.dir().map(PinDir::open).transpose()?;
        let mut unread = None;
        let mut fits = false;
        let secret = match pins.as_ref().map(|pins| pins.left(&shapes(sets, cpus, ring_bytes))) {
            Some(Left::Fitting { secret }) => {
                fits = true;
                secret
            }
            Some(Left::Unfit { why, unread: left }) => {
                if let Some(pins) = &pins {
                    let dir = pins.path().display();
                    tracing::warn!(%dir, "what an earlier agent pinned cannot be gone on with: {why}; it is replaced");
                    pins.remove_maps()?;
                }
                unread = left;
                hash_secret()?
            }
            Some(Left::Nothing) | None => hash_secret()?,
        };
        let sets_mask = sets_per_cpu - 1;
        // x86_64 makes one CPU's stores visible in program order.
        let fenced = u32::from(!cfg!(target_arch = "x86_64"));
        let test_clock = u32::from(clock == ProgramClock::Test);

        let mut loader = EbpfLoader::new();
        if let Some(pins) = &pins {
            for name in PINNED_MAPS {
                loader.map_pin_path(name, pins.map(name));
            }
        }
        let mut ebpf = loader
            .override_global("HASH_SECRET", &secret[..], true)
            .override_global("SETS_MASK", &sets_mask, true)
            .override_global("SEQUENCE_FENCED", &fenced, true)
            .override_global("TEST_CLOCK", &test_clock, true)
            .map_max_entries("FLOWS", sets)
            .map_max_entries("COUNTERS", cpus)
            .map_max_entries("RING", ring_bytes)
            .load(OBJECT)
            .map_err(|cause| KernelError::Load { cause: Box::new(cause) })?;
        check_abi(&ebpf)?;
        load_program::<Xdp>(&mut ebpf, attach::XDP_PROGRAM, Xdp::load)?;
        for name in attach::TC_PROGRAMS {
            load_program::<SchedClassifier>(&mut ebpf, name, SchedClassifier::load)?;
        }

        let table = map_array(&mut ebpf, "FLOWS", sets as usize * size_of::<FlowSet>(), Access::Read)?;
        let counters = map_array(&mut ebpf, "COUNTERS", cpus as usize * size_of::<CounterRow>(), Access::Read)?;
        let settings = map_array(&mut ebpf, "SETTINGS", size_of::<Settings>(), Access::Write)?;
        let test = map_array(&mut ebpf, "TEST", size_of::<TestWords>(), Access::Write)?;
        let Some(Map::Array(words)) = ebpf.map("HANDOVER") else {
            return Err(KernelError::Missing { name: "HANDOVER" });
        };
        let handover = HandoverWords::new(words.fd().as_fd(), Access::Write)
            .map_err(|cause| KernelError::Mapping { name: "HANDOVER", cause })?;
        let ring_map = ebpf.take_map("RING").ok_or(KernelError::Missing { name: "RING" })?;
        let ring =
            RingBuf::try_from(ring_map).map_err(|cause| KernelError::Map { name: "RING", cause: Box::new(cause) })?;
        // The reader's position is on the ring's first page and the writer's on the second.
        let ring_positions = Mapping::new(ring.as_fd(), 2 * rustix::param::page_size(), Access::Read)
            .map_err(|cause| KernelError::Mapping { name: "RING", cause })?;

        let grace = match clock {
            ProgramClock::Boottime => reader::probe_grace(),
            ProgramClock::Test => Grace::NotNeeded,
        };
        let table = MappedTable::new(table, sets_per_cpu);
        let reader = Reader::new(table, counters, settings, Ring::new(ring, ring_bytes), ring_positions, grace);
        let earlier = fits.then(|| Earlier {
            handed_over_ns: reader.setting(offset_of!(Settings, handed_over_ns)),
            swept_before_ns: reader.setting(offset_of!(Settings, swept_before_ns)),
            idle_timeout_ns: flow.idle_timeout_ns(),
            closed_linger_ns: flow.closed_linger_ns(),
        });
        reader.set(offset_of!(Settings, slot_silence_ns), flow.slot_silence_ns());
        set_sampling(&reader, sample);
        if fits {
            let seen = reader.totals().counter(Counter::PacketsSeen);
            let waiting = seen.saturating_sub(handover.packets_read());
            tracing::info!(packets_seen = seen, packets_waiting = waiting, "goes on where an earlier agent ended");
        } else {
            handover.begin(ABI_VERSION, handover::namespace(), &secret);
        }
        Ok(Self {
            sample: *sample,
            ebpf,
            reader,
            test,
            ring_bytes,
            sets_per_cpu,
            cpus,
            tc: TcKind::of_this_kernel(),
            places: None,
            attachments: Vec::new(),
            handover,
            pins,
            earlier,
            unread,
        })
    }

    /// Attaches to the traffic control hooks as on kernels before 6.6, whatever this one can do.
    pub fn use_clsact(&mut self) {
        self.tc = TcKind::Clsact;
    }

    /// Attaches to every interface of the settings that is there; the others are attached to when they come. On any
    /// failure nothing new stays attached.
    pub fn attach(&mut self, capture: &CaptureSettings) -> Result<&[Attachment], KernelError> {
        let mut places = Places::new(capture, self.tc)?;
        let mut hands = Hands { ebpf: &mut self.ebpf, reader: &self.reader, pins: self.pins.as_ref() };
        let unseen = places.begin(&mut hands, clock::boottime_ns())?;
        self.attachments = places.attachments();
        self.places = Some(places);
        // No program of the earlier maps runs any more.
        let unread = self.unread.take().map_or(0, |unread| unread.packets());
        self.count_gap(unseen.saturating_add(unread));
        Ok(&self.attachments)
    }

    fn count_gap(&self, packets: u64) {
        if packets > 0 {
            tracing::warn!(packets, "packets passed that are in no flow");
            self.handover.add_gap(packets);
        }
    }

    /// Follows the interfaces as they come and go; cheap where nothing changed.
    pub(crate) fn look(&mut self, now_ns: u64) {
        let Some(places) = &mut self.places else { return };
        let mut hands = Hands { ebpf: &mut self.ebpf, reader: &self.reader, pins: self.pins.as_ref() };
        if let Some(unseen) = places.look(&mut hands, now_ns) {
            self.attachments = places.attachments();
            self.count_gap(unseen);
        }
    }

    /// What is attached now, in the order of the configuration.
    pub fn attachments(&self) -> &[Attachment] {
        &self.attachments
    }

    /// Every way in which an interface was attached since the start (interface, mode, direction), and whether it is now.
    pub fn ways(&self) -> Vec<(&str, &'static str, &'static str, bool)> {
        self.places.as_ref().map(Places::ways).unwrap_or_default()
    }

    /// Interfaces of the settings that are not seen.
    pub fn blind(&self) -> Vec<Blindness> {
        self.places.as_ref().map(Places::blind).unwrap_or_default()
    }

    /// Packets that passed a watched interface and were seen or read by no agent, as far as that is known.
    pub fn gap_packets(&self) -> u64 {
        self.handover.gap_packets()
    }

    /// Takes pinned maps and links out of a directory, so that programs without an agent detach. Gives the number of links
    /// and maps.
    pub fn unpin(dir: &Path) -> Result<(usize, usize), KernelError> {
        let pins = PinDir::open(dir)?;
        let (links, maps) = (pins.links(), pins.maps());
        for hook in &links {
            attach::take_off(hook).map_err(|error| KernelError::Pin {
                dir: dir.to_path_buf(),
                cause: format!("`{}` cannot be taken off: {error}", hook.path.display()),
            })?;
        }
        pins.remove_maps()?;
        Ok((links.len(), maps))
    }

    /// Detaches from every interface. The maps stay readable.
    pub fn detach(&mut self) {
        if let Some(places) = &mut self.places {
            places.detach();
        }
        self.attachments.clear();
    }

    /// The map of blocked sources, to be written from elsewhere; once.
    pub fn take_blocks(&mut self) -> Result<Blocks, KernelError> {
        let settings = map_array(&mut self.ebpf, "SETTINGS", size_of::<Settings>(), Access::Write)?;
        let map = self.ebpf.take_map("BLOCKS").ok_or(KernelError::Missing { name: "BLOCKS" })?;
        Blocks::new(map, settings)
    }

    /// Begins the last sweep. Pinned programs go on counting, in new slots.
    pub(crate) fn begin_end(&mut self) -> KernelSweep {
        if self.pins.is_none() {
            self.detach();
            return self.begin_sweep(clock::boottime_ns(), SlotState::Closed);
        }
        let now_ns = clock::boottime_ns();
        self.reader.set(offset_of!(Settings, handed_over_ns), now_ns);
        self.reader.settle();
        self.begin_sweep(now_ns, SlotState::Open)
    }

    /// Fills the batch with the next of the last sweep: every slot in it is closed. Those of pinned programs that are not in
    /// it are told by the next agent.
    pub(crate) fn end_on(&mut self, sweep: &mut KernelSweep, room: usize, batch: &mut Batch) -> Swept {
        let swept = self.sweep_on(sweep, room, batch);
        if self.pins.is_some() {
            // What left the table meanwhile is nowhere else.
            let now_ns = sweep.sweep.now_ns;
            batch.slots.retain(|update| update.state == SlotState::Closed || update.slot.first_seen_ns < now_ns);
        }
        for update in &mut batch.slots {
            update.state = SlotState::Closed;
        }
        swept
    }

    /// Turns the loaded programs into a source with a batch every `tick_millis`.
    pub fn into_source(self, flow: &FlowSettings) -> LiveSource {
        LiveSource::new(self, flow.tick_ns())
    }

    /// Bytes of all maps.
    pub fn map_bytes(&self) -> u64 {
        let cpus = u64::from(self.cpus);
        cpus * u64::from(self.sets_per_cpu) * size_of::<FlowSet>() as u64
            + cpus * size_of::<CounterRow>() as u64
            + u64::from(self.ring_bytes)
            + (size_of::<Settings>() + size_of::<TestWords>() + size_of::<Handover>()) as u64
            + u64::from(BLOCKS_MAX) * (size_of::<BlockKey>() + size_of::<BlockEntry>()) as u64
    }

    /// Sets of each CPU's part of the table; fewer than asked for where the default did not fit.
    pub fn sets_per_cpu(&self) -> u32 {
        self.sets_per_cpu
    }

    /// Parts of the table: CPUs that the machine may have, present or not.
    pub fn cpus(&self) -> u32 {
        self.cpus
    }

    /// Size of the ring buffer, as the kernel was asked for it.
    pub fn ring_bytes(&self) -> u32 {
        self.ring_bytes
    }

    pub fn stats(&self) -> ReadStats {
        self.reader.stats()
    }

    /// Sum of the counters of all CPUs.
    pub fn totals(&self) -> Totals {
        self.reader.totals()
    }

    /// Moves what waits in the ring into the batch, at most `records_max` records. Says whether more waits.
    pub(crate) fn drain_ring(&mut self, records_max: usize, batch: &mut Batch) -> bool {
        self.reader.drain_ring(self.room(records_max), batch)
    }

    /// Puts what was drained of the ring alone into the form of a sweep's part.
    pub(crate) fn complete(&mut self, batch: &mut Batch) {
        self.reader.complete(batch);
    }

    /// What an earlier agent told is told apart by all that the first sweep brings at once.
    fn room(&self, room: usize) -> usize {
        if self.earlier.is_some() { usize::MAX } else { room }
    }

    /// Samples what a level leaves of the settings, from the next packet on.
    pub(crate) fn ease_sampling(&self, rung: &Rung) {
        set_sampling(&self.reader, &rung.sample(&self.sample));
    }

    pub(crate) fn begin_sweep(&mut self, now_ns: u64, state: SlotState) -> KernelSweep {
        let packets_seen = self.reader.totals().counter(Counter::PacketsSeen);
        KernelSweep { packets_seen, sweep: self.reader.begin_sweep(now_ns, state) }
    }

    /// See `Reader::sweep_on`.
    pub(crate) fn sweep_on(&mut self, sweep: &mut KernelSweep, room: usize, batch: &mut Batch) -> Swept {
        let swept = self.reader.sweep_on(&mut sweep.sweep, self.room(room), batch);
        if swept == Swept::Whole {
            self.handover.set_packets_read(sweep.packets_seen);
            if let Some(earlier) = self.earlier.take() {
                earlier.forget_told(&mut batch.slots);
            }
        }
        swept
    }

    /// A whole sweep in one batch.
    pub(crate) fn sweep(&mut self, now_ns: u64, state: SlotState, batch: &mut Batch) {
        let mut sweep = self.begin_sweep(now_ns, state);
        while self.sweep_on(&mut sweep, usize::MAX, batch) == Swept::Part {}
    }
}

/// A sweep that goes on, and what the programs had seen when it began.
#[derive(Debug)]
pub(crate) struct KernelSweep {
    sweep: Sweep,
    packets_seen: u64,
}

fn set_sampling(reader: &Reader, sample: &SampleSettings) {
    let packets = sample.packets.min(SAMPLE_PACKETS_MAX);
    let sampling = u64::from(packets) | u64::from(sample.bytes.min(SAMPLE_BYTES_MAX)) << 32;
    reader.set(offset_of!(Settings, sample_packets), sampling);
    let among = sample.heads.min(SAMPLE_HEADS_MAX).max(packets);
    reader.set(offset_of!(Settings, sample_among), u64::from(among));
}

/// Maps whose size the settings choose, and the one whose size tells of the layout of another.
fn shapes(sets: u32, cpus: u32, ring_bytes: u32) -> [Shape; 6] {
    let shape = |name, value_bytes: usize, entries| Shape { name, value_bytes: value_bytes as u32, entries };
    [
        shape("FLOWS", size_of::<FlowSet>(), sets),
        shape("COUNTERS", size_of::<CounterRow>(), cpus),
        shape("SETTINGS", size_of::<Settings>(), 1),
        shape("RING", 0, ring_bytes),
        shape("BLOCKS", size_of::<BlockEntry>(), BLOCKS_MAX),
        shape("HANDOVER", size_of::<Handover>(), 1),
    ]
}

fn require_kernel() -> Result<(), KernelError> {
    if facts::kernel_is_supported() {
        Ok(())
    } else {
        Err(KernelError::KernelTooOld { found: facts::kernel_release() })
    }
}

fn require_capabilities() -> Result<(), KernelError> {
    let missing: Vec<&str> = facts::capabilities().into_iter().filter(|cap| !cap.held).map(|cap| cap.name).collect();
    if missing.is_empty() { Ok(()) } else { Err(KernelError::Capability { missing: missing.join(", ") }) }
}

/// The configured size, or a smaller one where the default would take too much for so many CPUs.
fn sets_per_cpu(configured: u32, cpus: u32) -> Result<u32, KernelError> {
    if !configured.is_power_of_two() || !(SETS_PER_CPU_MIN..=SETS_PER_CPU_MAX).contains(&configured) {
        return Err(KernelError::SetsPerCpu { found: configured });
    }
    let mut sets = configured;
    if configured == SETS_PER_CPU_DEFAULT {
        let bytes = |sets: u32| sets as usize * cpus as usize * size_of::<FlowSet>();
        while sets > SETS_PER_CPU_MIN && bytes(sets) > TABLE_BYTES_DEFAULT_MAX {
            sets /= 2;
        }
    }
    Ok(sets)
}

fn hash_secret() -> Result<[u64; 6], KernelError> {
    let mut bytes = [0_u8; 48];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|cause| KernelError::Random { cause })?;
    Ok(zerocopy::transmute!(bytes))
}

/// Compares the object's layout with this agent's.
fn check_abi(ebpf: &Ebpf) -> Result<(), KernelError> {
    let name = ".rodata.abi";
    let map = ebpf.map(name).ok_or(KernelError::Missing { name: "ABI" })?;
    let found = Array::<_, u32>::try_from(map)
        .and_then(|version| version.get(&0, 0))
        .map_err(|cause| KernelError::Map { name, cause: Box::new(cause) })?;
    if found == ABI_VERSION { Ok(()) } else { Err(KernelError::Abi { found }) }
}

fn load_program<P>(
    ebpf: &mut Ebpf,
    name: &'static str,
    load: impl FnOnce(&mut P) -> Result<(), ProgramError>,
) -> Result<(), KernelError>
where
    for<'a> &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    let program = ebpf.program_mut(name).ok_or(KernelError::Missing { name })?;
    let program: &mut P = program
        .try_into()
        .map_err(|error: ProgramError| KernelError::Refused { program: name, reason: error.to_string() })?;
    load(program).map_err(|error| KernelError::Refused { program: name, reason: refusal(error) })
}

/// The kernel's reason in one line: the last of the verifier's, where it speaks.
fn refusal(error: ProgramError) -> String {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            // The verifier's verdict comes before its statistics.
            let statistics = ["processed ", "verification time", "stack depth"];
            let last = log.lines().rev().find(|line| {
                !line.trim().is_empty() && !statistics.iter().any(|statistic| line.starts_with(statistic))
            });
            match last {
                Some(line) => format!("{io_error}: {}", line.trim()),
                None => io_error.to_string(),
            }
        }
        other => other.to_string(),
    }
}

fn map_array(ebpf: &mut Ebpf, name: &'static str, bytes: usize, access: Access) -> Result<Mapping, KernelError> {
    let Some(Map::Array(data)) = ebpf.map(name) else { return Err(KernelError::Missing { name }) };
    Mapping::new(data.fd().as_fd(), bytes, access).map_err(|cause| KernelError::Mapping { name, cause })
}

const _: () = {
    assert!(TABLE_BYTES_DEFAULT_MAX + RING_BYTES_DEFAULT as usize <= 32 << 20);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_table_shrinks_with_many_cpus_and_a_chosen_one_does_not() {
        assert!(matches!(sets_per_cpu(SETS_PER_CPU_DEFAULT, 2), Ok(SETS_PER_CPU_DEFAULT)));
        let many = sets_per_cpu(SETS_PER_CPU_DEFAULT, 64).unwrap_or(0) as usize;
        assert!(many.is_power_of_two() && many * 64 * size_of::<FlowSet>() <= TABLE_BYTES_DEFAULT_MAX);
        assert!(matches!(sets_per_cpu(16_384, 64), Ok(16_384)));
        assert!(matches!(sets_per_cpu(100, 2), Err(KernelError::SetsPerCpu { found: 100 })));
    }
}
