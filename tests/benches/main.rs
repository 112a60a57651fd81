//! What the parts of the agent cost: `ids-bench PART [ARGS]` measures one and prints its result as one JSON object. One program
//! for all parts, since link-time optimisation takes minutes a program. Called by `cargo xtask bench`.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a bench stops at the first thing that fails")]

mod capture;
mod drain;
mod eve;
mod join;
mod kernel;
mod models;
mod replay;
mod ring;
mod rounds;
mod scale;
mod wire;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (part, args) = match args.split_first() {
        Some((part, args)) => (part.as_str(), args),
        None => ("", [].as_slice()),
    };
    let result = match part {
        "bare" => replay::bare_alone(args),
        "capture" => capture::run(args),
        "drain" => drain::run(),
        "eve" => eve::run(args),
        "hold" => return wire::hold(args),
        "join" => join::run(),
        "kernel" => kernel::run(args),
        "models" => models::run(),
        "replay" => replay::run(args),
        "ring" => ring::run(args),
        "scale" => scale::run(),
        "send" => return wire::send(args),
        _ => {
            eprintln!("ids-bench: there is no part `{part}`");
            return ExitCode::FAILURE;
        }
    };
    println!("{result:#}");
    ExitCode::SUCCESS
}
