//! Opt-in blocking: from an incident to an entry of the block map, with everything that keeps it from doing harm.
//!
//! ```text
//! Incident ─▶ propose ─▶ Guard ─▶ Enforcer (the block map, or nothing in a dry run)
//!             rules      never-block list, caps, repeaters, what was taken back; an event each ─▶ audit, metrics
//! ```
//!
//! Time is an argument everywhere. The thread behind the queue is `pipeline`'s; what forwarding does after a block is
//! watched by `forwarding`.

use std::collections::BTreeMap;

use ids_common::block::{BlockEntry, BlockKey};

use crate::kernel::{Blocks, KernelError};

pub mod audit;
pub mod forwarding;
pub mod guard;
pub mod hosts;
pub mod never;
pub mod propose;
pub mod surroundings;

pub use guard::{Action, By, Event, Guard, Listed, Refusal};
pub use never::{NeverList, Spared};
pub use propose::{Proposal, Proposed, propose};

/// Why the map did not do as it was told.
#[derive(Debug, thiserror::Error)]
pub enum EnforceError {
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// Carries out what was decided: puts blocks in force, and takes them out.
pub trait Enforcer: Send {
    fn put(&mut self, key: &BlockKey, entry: &BlockEntry) -> Result<(), EnforceError>;

    /// Gives the entry as it stood, with what it dropped.
    fn remove(&mut self, key: &BlockKey) -> Result<Option<BlockEntry>, EnforceError>;

    /// All entries in the order of their keys, those included that have ended and were not yet removed.
    fn entries(&self) -> Result<Vec<(BlockKey, BlockEntry)>, EnforceError>;
}

impl Enforcer for Blocks {
    fn put(&mut self, key: &BlockKey, entry: &BlockEntry) -> Result<(), EnforceError> {
        Ok(Self::put(self, key, entry)?)
    }

    fn remove(&mut self, key: &BlockKey) -> Result<Option<BlockEntry>, EnforceError> {
        Ok(Self::remove(self, key)?)
    }

    fn entries(&self) -> Result<Vec<(BlockKey, BlockEntry)>, EnforceError> {
        Ok(Self::entries(self)?)
    }
}

/// Blocks nothing: what would be in force is only remembered.
#[derive(Debug, Default)]
pub struct DryRun {
    entries: BTreeMap<BlockKey, BlockEntry>,
}

impl Enforcer for DryRun {
    fn put(&mut self, key: &BlockKey, entry: &BlockEntry) -> Result<(), EnforceError> {
        self.entries.insert(*key, *entry);
        Ok(())
    }

    fn remove(&mut self, key: &BlockKey) -> Result<Option<BlockEntry>, EnforceError> {
        Ok(self.entries.remove(key))
    }

    fn entries(&self) -> Result<Vec<(BlockKey, BlockEntry)>, EnforceError> {
        Ok(self.entries.iter().map(|(key, entry)| (*key, *entry)).collect())
    }
}

#[cfg(test)]
mod tests;
