//! Writes and reads the map of blocked sources. Decides nothing: who is blocked is `enforce`'s business.

use std::{mem::offset_of, os::fd::AsFd as _, path::Path, sync::atomic::Ordering};

use aya::maps::{HashMap, Map, MapData, MapError};
use ids_common::{
    abi::Settings,
    block::{BlockEntry, BlockKey},
    limits::BLOCKS_MAX,
};

use super::{
    KernelError, WORD,
    mapping::{Access, Mapping},
    pin::PinDir,
};

const KEY_BYTES: usize = size_of::<BlockKey>();
const ENTRY_BYTES: usize = size_of::<BlockEntry>();
const NAME: &str = "BLOCKS";

/// What the programs drop. The entries end by themselves; this only adds and removes them.
#[derive(Debug)]
pub struct Blocks {
    map: HashMap<MapData, [u8; KEY_BYTES], [u8; ENTRY_BYTES]>,
    settings: Mapping,
    sources: u32,
    pairs: u32,
    /// Where no agent runs: keeps one from beginning meanwhile.
    _pins: Option<PinDir>,
}

impl Blocks {
    pub(super) fn new(map: Map, settings: Mapping) -> Result<Self, KernelError> {
        let mut blocks =
            Self { map: HashMap::try_from(map).map_err(failed)?, settings, sources: 0, pairs: 0, _pins: None };
        // A map that was there before has entries.
        for (key, _) in blocks.entries()? {
            *blocks.count(&key) += 1;
        }
        blocks.tell_programs();
        Ok(blocks)
    }

    /// The map that an agent which is gone left pinned in `dir`; nothing where none is.
    pub fn left_in(dir: &Path) -> Result<Option<Self>, KernelError> {
        if !dir.join(NAME).exists() {
            return Ok(None);
        }
        let pins = PinDir::open(dir)?;
        let unfit = |cause: String| KernelError::Pin { dir: dir.to_path_buf(), cause };
        let settings = MapData::from_pin(pins.map("SETTINGS")).map_err(|error| unfit(error.to_string()))?;
        let found = settings.info().map_err(|error| unfit(error.to_string()))?.value_size() as usize;
        if found != size_of::<Settings>() {
            return Err(unfit("its maps are of another version; start the agent, which replaces them".to_owned()));
        }
        let words = Mapping::new(settings.fd().as_fd(), size_of::<Settings>(), Access::Write)
            .map_err(|cause| KernelError::Mapping { name: "SETTINGS", cause })?;
        let map = MapData::from_pin(pins.map(NAME)).map_err(failed)?;
        let blocks = Self::new(Map::HashMap(map), words)?;
        Ok(Some(Self { _pins: Some(pins), ..blocks }))
    }

    /// All entries, those that have ended included, in the order of their keys.
    pub fn entries(&self) -> Result<Vec<(BlockKey, BlockEntry)>, KernelError> {
        let mut entries = Vec::new();
        // The keys change under an iteration only by this value's hands.
        for found in self.map.iter().take(BLOCKS_MAX as usize) {
            let (key, entry) = found.map_err(failed)?;
            entries.push((zerocopy::transmute!(key), zerocopy::transmute!(entry)));
        }
        entries.sort_unstable_by_key(|(key, _): &(BlockKey, BlockEntry)| *key);
        Ok(entries)
    }

    /// The entry of a key, if it is in the map.
    pub fn entry(&self, key: &BlockKey) -> Result<Option<BlockEntry>, KernelError> {
        match self.map.get(&zerocopy::transmute!(*key), 0) {
            Ok(entry) => Ok(Some(zerocopy::transmute!(entry))),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(cause) => Err(failed(cause)),
        }
    }

    /// Blocks until `entry.until_ns`; replaces an entry of the same key. Packets dropped between reading an entry and
    /// replacing it are missing in the entry alone: the programs' counters have them.
    pub fn put(&mut self, key: &BlockKey, entry: &BlockEntry) -> Result<(), KernelError> {
        let is_new = self.entry(key)?.is_none();
        let (key_bytes, entry): ([u8; KEY_BYTES], [u8; ENTRY_BYTES]) =
            (zerocopy::transmute!(*key), zerocopy::transmute!(*entry));
        self.map.insert(key_bytes, entry, 0).map_err(failed)?;
        *self.count(key) += u32::from(is_new);
        self.tell_programs();
        Ok(())
    }

    /// Gives the entry that was there.
    pub fn remove(&mut self, key: &BlockKey) -> Result<Option<BlockEntry>, KernelError> {
        let Some(entry) = self.entry(key)? else { return Ok(None) };
        match self.map.remove(&zerocopy::transmute!(*key)) {
            Ok(()) | Err(MapError::KeyNotFound) => {}
            Err(cause) => return Err(failed(cause)),
        }
        let count = self.count(key);
        *count = count.saturating_sub(1);
        self.tell_programs();
        Ok(Some(entry))
    }

    /// Says how many entries of each kind there are, so that the programs know whether to look.
    fn tell_programs(&self) {
        let at = offset_of!(Settings, block_sources) / WORD;
        if let Some(word) = self.settings.writable_words().and_then(|words| words.get(at)) {
            word.store(u64::from(self.sources) | u64::from(self.pairs) << 32, Ordering::Release);
        }
    }

    fn count(&mut self, key: &BlockKey) -> &mut u32 {
        if key.is_pair() { &mut self.pairs } else { &mut self.sources }
    }
}

fn failed(cause: impl Into<MapError>) -> KernelError {
    KernelError::Map { name: NAME, cause: Box::new(cause.into()) }
}

const _: () = {
    assert!(offset_of!(Settings, block_sources) % WORD == 0);
    assert!(offset_of!(Settings, block_pairs) == offset_of!(Settings, block_sources) + 4);
};
