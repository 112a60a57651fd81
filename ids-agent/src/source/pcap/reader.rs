//! Frames of a capture file: pcap in all its byte orders and resolutions, and pcapng. Says where
//! a damaged file stops making sense; what came before stands.

use pcap_parser::{
    Block, PcapHeader, parse_block_be, parse_block_le, parse_pcap_frame, parse_pcap_frame_be,
    parse_pcap_frame_modified, parse_pcap_header, traits::PcapNGPacketBlock,
};

use super::{
    CaptureError,
    input::{Input, Over, RECORD_BYTES_MAX},
    link::LinkType,
};

/// Section header block (IETF draft-ietf-opsawg-pcapng, section 4.1), the same in both byte orders.
const SECTION: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
/// Byte order magic, as a big-endian section writes it.
const BIG_ENDIAN: [u8; 4] = [0x1a, 0x2b, 0x3c, 0x4d];
/// The packet block of old, which nothing writes any more.
const PACKET_BLOCK_OLD: u32 = 2;
/// Latest time that stays exact in a signed column.
const TIME_MAX_NS: u64 = i64::MAX as u64;

/// Frames of one file, one after another.
pub(super) struct Reader {
    name: String,
    input: Input,
    format: Format,
    plain: Option<PlainPcap>,
    /// Bytes in front of the window's end that the current frame takes.
    consumed: usize,
    frame: FrameAt,
    note: Option<String>,
    blocks_damaged: u64,
}

enum Format {
    Pcap(PcapHeader),
    Pcapng { big_endian: bool, interfaces: Vec<Interface> },
}

/// Where the current frame stands in the window.
#[derive(Clone, Copy, Debug, Default)]
struct FrameAt {
    start: usize,
    len: usize,
    wire_len: usize,
    at_ns: Option<u64>,
    link: u16,
}

/// Pcap in little-endian with the usual record header: nearly every file there is. A record in
/// sight is read without a parser's detour over results, which takes half the time of a packet;
/// the parser sees all that is cut, damaged or otherwise laid out.
#[derive(Clone, Copy)]
struct PlainPcap {
    unit_ns: u64,
    link: u16,
}

impl PlainPcap {
    fn of(format: &Format) -> Option<Self> {
        match format {
            Format::Pcap(header) if !header.is_modified_format() && !header.is_bigendian() => {
                Some(Self { unit_ns: unit_ns(header), link: link(header) })
            }
            Format::Pcap(_) | Format::Pcapng { .. } => None,
        }
    }

    /// The first record's frame, if all of it is in sight.
    #[inline(always)]
    fn frame(self, window: &[u8]) -> Option<FrameAt> {
        let (header, behind) = window.split_first_chunk::<16>()?;
        let [secs, fraction, captured, wire_len]: [[u8; 4]; 4] = zerocopy::transmute!(*header);
        let len = u32::from_le_bytes(captured) as usize;
        if behind.len() < len {
            return None;
        }
        let at_ns = u64::from(u32::from_le_bytes(secs)) * 1_000_000_000
            + u64::from(u32::from_le_bytes(fraction)) * self.unit_ns;
        Some(FrameAt {
            start: 16,
            len,
            wire_len: u32::from_le_bytes(wire_len) as usize,
            at_ns: Some(at_ns.min(TIME_MAX_NS)),
            link: self.link,
        })
    }
}

fn unit_ns(header: &PcapHeader) -> u64 {
    if header.is_nanosecond_precision() { 1 } else { 1_000 }
}

fn link(header: &PcapHeader) -> u16 {
    // The upper half tells of a frame check sequence.
    header.network.0 as u32 as u16
}

/// One frame of the file.
pub struct FileFrame<'a> {
    pub bytes: &'a [u8],
    pub wire_len: usize,
    /// `None` where the file says nothing of the time.
    pub at_ns: Option<u64>,
    pub link: LinkType,
}

#[derive(Clone, Copy)]
struct Interface {
    link: u16,
    resolution: u8,
    offset_secs: i64,
    snap_len: u32,
}

/// What a step along the file met.
enum Step {
    Frame(usize, FrameAt),
    Other(usize),
    /// The file ends here, or stops making sense.
    Over,
}

impl Reader {
    pub(super) fn new(name: String, mut input: Input) -> Result<Self, CaptureError> {
        let read = |source| CaptureError::Read { name: name.clone(), offset: 0, source };
        input.fill(24).map_err(read)?;
        let window = input.window();
        let mut note = None;
        let format = match parse_pcap_header(window) {
            Ok((_, header)) => {
                input.consume(24);
                Format::Pcap(header)
            }
            Err(pcap_parser::nom::Err::Incomplete(_)) if is_pcap_magic(window) => {
                note = Some(format!("truncated inside its header, at byte {}", window.len()));
                Format::Pcap(PcapHeader::new())
            }
            Err(_) if window.starts_with(&SECTION) => Format::Pcapng { big_endian: false, interfaces: Vec::new() },
            Err(_) => {
                let found = describe(window, input.over());
                return Err(CaptureError::NotACapture { name, found });
            }
        };
        if note.is_some() {
            input.consume(usize::MAX);
        }
        let plain = PlainPcap::of(&format);
        Ok(Self { name, input, format, plain, consumed: 0, frame: FrameAt::default(), note, blocks_damaged: 0 })
    }

    /// Steps to the next frame; false at the end.
    #[inline]
    pub(super) fn advance(&mut self) -> Result<bool, CaptureError> {
        self.input.consume(self.consumed);
        self.consumed = 0;
        if let Some(plain) = self.plain
            && let Some(frame) = plain.frame(self.input.window())
        {
            self.consumed = frame.start + frame.len;
            self.frame = frame;
            return Ok(true);
        }
        self.search()
    }

    /// Steps to the next frame by way of the parsers, over what is no frame, and reads on where the
    /// window ends.
    #[inline(never)]
    fn search(&mut self) -> Result<bool, CaptureError> {
        loop {
            let step = match &self.format {
                Format::Pcap(_) => self.step_pcap(),
                Format::Pcapng { .. } => self.step_pcapng(),
            };
            match step {
                Ok(Step::Frame(len, frame)) => {
                    self.consumed = len;
                    self.frame = frame;
                    return Ok(true);
                }
                Ok(Step::Other(len)) => self.input.consume(len),
                Ok(Step::Over) => return Ok(false),
                Err(source) => {
                    return Err(CaptureError::Read { name: self.name.clone(), offset: self.input.offset(), source });
                }
            }
        }
    }

    /// The frame that `advance` has stepped to.
    #[inline]
    pub(super) fn frame(&self) -> FileFrame<'_> {
        let FrameAt { start, len, wire_len, at_ns, link } = self.frame;
        let bytes = self.input.window().get(start..start + len).unwrap_or(&[]);
        FileFrame { bytes, wire_len, at_ns, link: LinkType(link) }
    }

    pub(super) fn position(&self) -> u64 {
        self.input.position()
    }

    /// What was wrong with the file, if anything was.
    pub(super) fn note(&self, packets: u64) -> Option<String> {
        let mut note = self.note.clone().map(|note| format!("{note} after {packets} packets"));
        if self.blocks_damaged > 0 {
            let damaged = format!("{} damaged blocks left out", self.blocks_damaged);
            note = Some(note.map_or(damaged.clone(), |note| format!("{note}; {damaged}")));
        }
        note
    }

    #[inline]
    fn step_pcap(&mut self) -> Result<Step, std::io::Error> {
        let Format::Pcap(header) = &self.format else { return Ok(Step::Over) };
        let (modified, big_endian) = (header.is_modified_format(), header.is_bigendian());
        let header_len = if modified { 24 } else { 16 };
        if !self.input.fill(header_len)? {
            return Ok(self.over());
        }
        let parse = match (modified, big_endian) {
            (true, _) => parse_pcap_frame_modified,
            (false, true) => parse_pcap_frame_be,
            (false, false) => parse_pcap_frame,
        };
        let mut parsed = parse(self.input.window());
        if let Err(pcap_parser::nom::Err::Incomplete(pcap_parser::nom::Needed::Size(needed))) = parsed {
            let whole = self.input.window().len().saturating_add(needed.get());
            if whole > RECORD_BYTES_MAX {
                return Ok(self.damaged("a record claims more than 64 MiB"));
            }
            if !self.input.fill(whole)? {
                return Ok(self.over());
            }
            parsed = parse(self.input.window());
        }
        let Ok((_, block)) = parsed else { return Ok(self.damaged("a record makes no sense")) };
        let Format::Pcap(header) = &self.format else { return Ok(Step::Over) };
        let at_ns = u64::from(block.ts_sec) * 1_000_000_000 + u64::from(block.ts_usec) * unit_ns(header);
        let frame = FrameAt {
            start: header_len,
            len: block.caplen as usize,
            wire_len: block.origlen as usize,
            at_ns: Some(at_ns.min(TIME_MAX_NS)),
            link: link(header),
        };
        Ok(Step::Frame(header_len + block.caplen as usize, frame))
    }

    fn step_pcapng(&mut self) -> Result<Step, std::io::Error> {
        if !self.input.fill(12)? {
            return Ok(self.over());
        }
        let Format::Pcapng { big_endian, interfaces } = &mut self.format else { return Ok(Step::Over) };
        let window = self.input.window();
        if window.starts_with(&SECTION) {
            *big_endian = window.get(8..12) == Some(&BIG_ENDIAN);
            interfaces.clear();
        }
        let word = |at: usize| {
            let bytes = window.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
            if *big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
        };
        let len = word(4) as usize;
        if !(12..=RECORD_BYTES_MAX).contains(&len) {
            return Ok(self.damaged("a block claims an impossible length"));
        }
        if !self.input.fill(len)? {
            return Ok(self.over());
        }
        let Format::Pcapng { big_endian, interfaces } = &mut self.format else { return Ok(Step::Over) };
        let block = self.input.window().get(..len).unwrap_or(&[]);
        let parsed = if *big_endian { parse_block_be(block) } else { parse_block_le(block) };
        let frame = match parsed {
            Ok((_, block)) => pcapng_frame(&block, interfaces, *big_endian),
            Err(_) => {
                self.blocks_damaged += 1;
                None
            }
        };
        Ok(frame.map_or(Step::Other(len), |frame| Step::Frame(len, frame)))
    }

    /// Says where the file ends, unless it ends where a record does.
    fn over(&mut self) -> Step {
        let left = self.input.window().len() as u64;
        let at = self.input.offset() + left;
        if self.note.is_none() {
            self.note = match self.input.over() {
                Some(Over::Damaged(error)) => Some(format!("damaged compression at byte {at} ({error}),")),
                Some(Over::Ended) | None if left > 0 => Some(format!("truncated at byte {at}")),
                Some(Over::Ended) | None => None,
            };
        }
        self.input.consume(usize::MAX);
        Step::Over
    }

    fn damaged(&mut self, what: &str) -> Step {
        self.note = Some(format!("damaged at byte {}: {what},", self.input.offset()));
        self.input.consume(usize::MAX);
        Step::Over
    }
}

/// Takes a block in: an interface is noted, a packet is given.
fn pcapng_frame(block: &Block<'_>, interfaces: &mut Vec<Interface>, big_endian: bool) -> Option<FrameAt> {
    match block {
        Block::InterfaceDescription(block) => {
            interfaces.push(Interface {
                link: block.linktype.0 as u32 as u16,
                resolution: block.if_tsresol,
                offset_secs: block.if_tsoffset,
                snap_len: block.snaplen,
            });
            None
        }
        Block::EnhancedPacket(block) => {
            let interface = interfaces.get(block.if_id as usize)?;
            let ticks = u64::from(block.ts_high) << 32 | u64::from(block.ts_low);
            Some(FrameAt {
                start: 28,
                len: block.packet_data().len(),
                wire_len: block.origlen as usize,
                at_ns: Some(interface.time_ns(ticks)),
                link: interface.link,
            })
        }
        Block::SimplePacket(block) => {
            let interface = interfaces.first()?;
            let snap_len = if interface.snap_len == 0 { usize::MAX } else { interface.snap_len as usize };
            Some(FrameAt {
                start: 12,
                len: block.packet_data().len().min(snap_len),
                wire_len: block.origlen as usize,
                at_ns: None,
                link: interface.link,
            })
        }
        Block::Unknown(block) if block.block_type == PACKET_BLOCK_OLD => old_packet(block.data, interfaces, big_endian),
        Block::SectionHeader(_)
        | Block::NameResolution(_)
        | Block::InterfaceStatistics(_)
        | Block::SystemdJournalExport(_)
        | Block::DecryptionSecrets(_)
        | Block::ProcessInformation(_)
        | Block::Custom(_)
        | Block::Unknown(_) => None,
    }
}

/// The body of an old packet block: interface (16 bits), drops (16), time (64), captured and wire
/// length, then the frame.
fn old_packet(body: &[u8], interfaces: &[Interface], big_endian: bool) -> Option<FrameAt> {
    let word = |at: usize| -> Option<u32> {
        let bytes = body.get(at..at + 4)?.try_into().ok()?;
        Some(if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    };
    let first = word(0)?;
    let id = if big_endian { first >> 16 } else { first & 0xffff };
    let interface = interfaces.get(id as usize)?;
    let ticks = u64::from(word(4)?) << 32 | u64::from(word(8)?);
    let len = (word(12)? as usize).min(body.len().saturating_sub(20));
    Some(FrameAt {
        start: 28,
        len,
        wire_len: word(16)? as usize,
        at_ns: Some(interface.time_ns(ticks)),
        link: interface.link,
    })
}

impl Interface {
    /// Nanoseconds since 1970 from ticks of the interface's resolution: a power of ten, or of two
    /// where the high bit is set.
    fn time_ns(&self, ticks: u64) -> u64 {
        let exponent = u32::from(self.resolution & 0x7f);
        let (ticks, unit_ns) = (u128::from(ticks), 1_000_000_000_u128);
        let ns = if self.resolution & 0x80 != 0 {
            ticks.saturating_mul(unit_ns).checked_shr(exponent).unwrap_or(0)
        } else {
            ticks.saturating_mul(unit_ns) / 10_u128.checked_pow(exponent).unwrap_or(u128::MAX)
        };
        let offset_ns = i128::from(self.offset_secs) * 1_000_000_000;
        let ns = i128::try_from(ns).unwrap_or(i128::MAX).saturating_add(offset_ns);
        ns.clamp(0, i128::from(TIME_MAX_NS)) as u64
    }
}

fn is_pcap_magic(bytes: &[u8]) -> bool {
    const MAGICS: [u32; 3] = [0xa1b2_c3d4, 0xa1b2_3c4d, 0xa1b2_cd34];
    let Some(Ok(word)) = bytes.get(..4).map(<[u8; 4]>::try_from) else { return false };
    MAGICS.contains(&u32::from_le_bytes(word)) || MAGICS.contains(&u32::from_be_bytes(word))
}

/// Says what a file is that is no capture.
fn describe(bytes: &[u8], over: Option<&Over>) -> String {
    const KNOWN: [(&[u8], &str); 20] = [
        (b"\x7fELF", "an ELF program"),
        (b"PK\x03\x04", "a zip archive: unpack it first"),
        (b"\xfd7zXZ", "xz-compressed: unpack it first, or compress with zstd or gzip"),
        (b"BZh", "bzip2-compressed: unpack it first, or compress with zstd or gzip"),
        (b"7z\xbc\xaf", "a 7z archive: unpack it first"),
        (b"\x04\x22\x4d\x18", "lz4-compressed: unpack it first"),
        (b"Rar!", "a rar archive: unpack it first"),
        (b"snoop\0\0\0", "a snoop capture: convert it with `editcap -F pcapng`"),
        (b"GMBU", "a Network Monitor capture: convert it with `editcap -F pcapng`"),
        (b"RTSS", "a Network Monitor capture: convert it with `editcap -F pcapng`"),
        (b"TRSNIFF data", "a Sniffer capture: convert it with `editcap -F pcapng`"),
        (b"\x89PNG", "a PNG image"),
        (b"\xff\xd8\xff", "a JPEG image"),
        (b"%PDF", "a PDF document"),
        (b"PAR1", "a Parquet file"),
        (b"SQLite format 3", "an SQLite database"),
        (b"<?xml", "an XML document"),
        (b"#!", "a script"),
        (b"{", "JSON text"),
        (b"[", "JSON text"),
    ];
    if let Some(Over::Damaged(error)) = over
        && bytes.is_empty()
    {
        return format!("damaged compressed data ({error})");
    }
    if bytes.is_empty() {
        return "empty".to_owned();
    }
    if let Some((_, what)) = KNOWN.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return (*what).to_owned();
    }
    if bytes.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
        return "plain text".to_owned();
    }
    let shown: Vec<String> = bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("of an unknown type (it begins with {})", shown.join(" "))
}
