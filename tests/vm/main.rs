//! Tries on one kernel what is promised for every kernel. Runs as the first process of an emulated machine and says a line a
//! check: `probe NAME ok|fail|skip DETAIL`. Each check is a process of its own, in namespaces of its own.
#![expect(clippy::unwrap_used, reason = "a check stops at the first thing that fails, and its process with it")]

mod checks;
mod link;
mod machine;
mod wire;

use std::{
    env,
    io::Read as _,
    process::{Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

/// No check of a promised kernel takes a quarter of this, even under emulation.
const CHECK_TIMEOUT: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    if std::process::id() == 1 {
        machine::prepare();
        for name in checks::wanted() {
            println!("probe {name} {}", try_out(name));
        }
        println!("probe end");
        machine::stop();
    }
    let Some(name) = env::args().nth(1) else {
        eprintln!("this is the first process of an emulated machine: `cargo xtask vm-test` starts it");
        return ExitCode::FAILURE;
    };
    machine::isolate();
    match checks::run(&name) {
        Ok(detail) => {
            println!("ok {detail}");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            println!("fail {reason}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one check, and gives its verdict in one line.
fn try_out(name: &str) -> String {
    let started = Instant::now();
    let child = Command::new("/init").arg(name).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return format!("fail it does not start: {error}"),
    };
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > CHECK_TIMEOUT {
            child.kill().unwrap();
            child.wait().unwrap();
            return format!("fail not done in {} s", CHECK_TIMEOUT.as_secs());
        }
        thread::sleep(Duration::from_millis(20));
    }
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    match out.lines().next_back() {
        Some(verdict) if verdict.starts_with("ok ") || verdict.starts_with("fail ") => verdict.to_owned(),
        // It panicked; what it said fits no line, so it is cut.
        _ => format!("fail {}", err.lines().collect::<Vec<_>>().join(" ").chars().take(400).collect::<String>()),
    }
}
