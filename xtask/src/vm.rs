//! Emulated machines: Debian's kernels, the archive that one starts from, the emulator, and a Debian in it that one talks to.

pub(crate) mod archive;
pub(crate) mod disk;
pub(crate) mod emulator;
pub(crate) mod kernels;
pub(crate) mod machine;
