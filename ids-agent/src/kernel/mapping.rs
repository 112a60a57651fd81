//! Array maps in this process's memory, as words that a program may change at any moment. The only
//! unsafe code of the agent; what the words mean is decided elsewhere.
#![expect(unsafe_code, reason = "a map is shared memory, which only a raw mapping reaches")]

use std::{fmt, io, ptr::NonNull, slice, sync::atomic::AtomicU64};

use rustix::{
    fd::BorrowedFd,
    mm::{MapFlags, ProtFlags, mmap, munmap},
};

/// What a mapping may do with the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// A mapped array map, or the counters of a ring buffer.
pub(super) struct Mapping {
    base: NonNull<AtomicU64>,
    bytes: usize,
    access: Access,
}

// SAFETY: the mapping is owned by the value, and its words are atomics.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `bytes` bytes; a whole number of words.
    pub(super) fn new(map: BorrowedFd<'_>, bytes: usize, access: Access) -> io::Result<Self> {
        let protection = match access {
            Access::Read => ProtFlags::READ,
            Access::Write => ProtFlags::READ | ProtFlags::WRITE,
        };
        let bytes = bytes.next_multiple_of(size_of::<AtomicU64>());
        // SAFETY: the kernel chooses an unused range, and nothing else refers to it.
        let base = unsafe { mmap(std::ptr::null_mut(), bytes, protection, MapFlags::SHARED, map, 0)? };
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { base, bytes, access })
    }

    /// The words, to be loaded.
    pub(super) fn words(&self) -> &[AtomicU64] {
        // SAFETY: the range is mapped for as long as the value lives, page-aligned, and whoever else
        // writes it writes whole words; atomics may change under a shared reference.
        unsafe { slice::from_raw_parts(self.base.as_ptr(), self.bytes / size_of::<AtomicU64>()) }
    }

    /// The words, to be stored too; `None` for a mapping that may only read.
    pub(super) fn writable_words(&self) -> Option<&[AtomicU64]> {
        (self.access == Access::Write).then(|| self.words())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `new`, and no reference outlives the value.
        if let Err(error) = unsafe { munmap(self.base.as_ptr().cast(), self.bytes) } {
            tracing::error!(%error, "cannot unmap a map");
        }
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping").field("bytes", &self.bytes).field("access", &self.access).finish_non_exhaustive()
    }
}
