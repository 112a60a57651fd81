//! A flood from made-up sources, bounded in rate and time, into a namespace of the test's own.

use std::{
    path::{Path, PathBuf},
    process::{Child, Stdio},
};

use crate::{
    capture::{self, Timed},
    frame::{self, Ipv4, SYN, Tcp},
    netns::Namespace,
};

/// Sources of one round; each round has others.
const SOURCES: u32 = 10_000;

/// A flood of SYNs, each from another source, to one port of one host.
#[derive(Debug)]
pub struct Flood {
    file: PathBuf,
}

impl Flood {
    /// Writes it down once; `folder` holds it.
    pub fn new(folder: &Path, victim: [u8; 4], port: u16) -> Self {
        let frames: Vec<Timed> = (0..SOURCES)
            .map(|number| {
                // A bijection that looks like chance; the first byte is of no private network.
                let mixed = number.wrapping_mul(0x9e37_79b1).to_be_bytes();
                let source = [44, mixed[0], mixed[1], mixed[2] ^ mixed[3]];
                let segment = Tcp::ports(1_024 + (number % 60_000) as u16, port, SYN).wrap(&[]);
                let packet = Ipv4::between(source, victim, frame::TCP).wrap(&segment);
                Timed::new(u64::from(number) * 1_000, frame::padded(frame::ethernet(frame::IPV4, &packet)))
            })
            .collect();
        let file = folder.join("flood.pcap");
        capture::write_pcap(&file, capture::ETHERNET, &frames);
        Self { file }
    }

    /// Begins to send so many packets a second for about so long. The sender ends by itself.
    pub fn start(&self, space: &Namespace, device: &str, per_sec: u32, secs: u32) -> Child {
        let rounds = (u64::from(per_sec) * u64::from(secs)).div_ceil(u64::from(SOURCES)).max(1);
        space
            .command("tcpreplay")
            .args(["--quiet", "--unique-ip", "--preload-pcap", "-i", device])
            .args([format!("--pps={per_sec}"), format!("--loop={rounds}")])
            .arg(&self.file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }
}
