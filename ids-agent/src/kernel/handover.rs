//! The words that an agent leaves to the next one. Says nothing about when they are written.

use std::{
    io,
    mem::offset_of,
    os::{fd::BorrowedFd, unix::fs::MetadataExt as _},
    sync::atomic::Ordering,
};

use ids_common::abi::Handover;

use super::{
    WORD,
    mapping::{Access, Mapping},
};

/// The only element of the map `HANDOVER`.
#[derive(Debug)]
pub(super) struct HandoverWords {
    mapping: Mapping,
}

impl HandoverWords {
    pub(super) fn new(map: BorrowedFd<'_>, access: Access) -> io::Result<Self> {
        Ok(Self { mapping: Mapping::new(map, size_of::<Handover>(), access)? })
    }

    pub(super) fn abi_version(&self) -> u64 {
        self.word(offset_of!(Handover, abi_version))
    }

    pub(super) fn namespace(&self) -> u64 {
        self.word(offset_of!(Handover, namespace))
    }

    pub(super) fn packets_read(&self) -> u64 {
        self.word(offset_of!(Handover, packets_read))
    }

    pub(super) fn gap_packets(&self) -> u64 {
        self.word(offset_of!(Handover, gap_packets))
    }

    pub(super) fn secret(&self) -> [u64; 6] {
        std::array::from_fn(|at| self.word(offset_of!(Handover, secret) + at * WORD))
    }

    pub(super) fn set_packets_read(&self, packets: u64) {
        self.set(offset_of!(Handover, packets_read), packets);
    }

    pub(super) fn add_gap(&self, packets: u64) {
        self.set(offset_of!(Handover, gap_packets), self.gap_packets().saturating_add(packets));
    }

    /// Says that the maps are ready; nobody goes on with them before.
    pub(super) fn begin(&self, abi_version: u32, namespace: u64, secret: &[u64; 6]) {
        self.set(offset_of!(Handover, namespace), namespace);
        for (at, word) in secret.iter().enumerate() {
            self.set(offset_of!(Handover, secret) + at * WORD, *word);
        }
        self.set(offset_of!(Handover, abi_version), u64::from(abi_version));
    }

    fn word(&self, at: usize) -> u64 {
        self.mapping.words().get(at / WORD).map_or(0, |word| word.load(Ordering::Acquire))
    }

    fn set(&self, at: usize, value: u64) {
        if let Some(word) = self.mapping.writable_words().and_then(|words| words.get(at / WORD)) {
            word.store(value, Ordering::Release);
        }
    }
}

/// The network namespace of the calling thread, by the inode of its file; zero where /proc does not show it.
pub(super) fn namespace() -> u64 {
    std::fs::metadata("/proc/thread-self/ns/net").map_or(0, |file| file.ino())
}
