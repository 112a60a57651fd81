//! The agent's program under a name that tests find: the same code as `ids-agent`, and no more.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(ids_agent::cli::main(std::env::args_os()))
}
