//! How the C library's allocator keeps what is freed: as little as it can. As it comes, glibc gives each thread a heap of its own
//! and takes large blocks from there once it has seen one freed; what a flood took is then never given back (docs/budget.md).
//! Other C libraries are left as they are.

/// Blocks from this size on are mapped one by one, so that their memory goes back the moment they are freed, and shrinks in place.
#[cfg(target_env = "gnu")]
const MAPPED_FROM_BYTES: libc::c_int = 64 << 10;

/// To be called first.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "the allocator is set by calls to C")]
pub(crate) fn keep_little() {
    for (parameter, value) in [
        (libc::M_ARENA_MAX, 1),
        // Setting it also keeps it from growing.
        (libc::M_MMAP_THRESHOLD, MAPPED_FROM_BYTES),
        (libc::M_TRIM_THRESHOLD, MAPPED_FROM_BYTES),
    ] {
        // SAFETY: numbers of parameters from malloc.h with values in their range; where one is refused nothing changes.
        unsafe { libc::mallopt(parameter, value) };
    }
}

/// Gives back whole pages that are free between blocks in use: some milliseconds, in which nobody allocates.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "the allocator is asked by a call to C")]
pub(crate) fn give_back() {
    // SAFETY: it may be called at any time, from any thread.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(target_env = "gnu"))]
pub(crate) const fn keep_little() {}

#[cfg(not(target_env = "gnu"))]
pub(crate) const fn give_back() {}
