//! Emulated machines: Debian's kernels, the archive that one starts from, and the emulator.

pub(crate) mod archive;
pub(crate) mod emulator;
pub(crate) mod kernels;
