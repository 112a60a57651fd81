//! The program: hands its arguments to the command line and its exit code to the shell.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(ids_agent::cli::main(std::env::args_os()))
}
