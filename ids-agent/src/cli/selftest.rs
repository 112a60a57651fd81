//! `selftest`: compares the kernel program with the user path on built-in frames.

use super::{Failure, SelftestArgs};

pub(super) fn run(_args: &SelftestArgs) -> Result<(), Failure> {
    Err(Failure::Other("selftest is not there yet".to_owned()))
}
