//! `selftest`.
use super::{Failure, SelftestArgs};
pub(super) fn run(_args: &SelftestArgs) -> Result<(), Failure> { Err(Failure::Silent) }
