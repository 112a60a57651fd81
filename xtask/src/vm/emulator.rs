//! One emulated machine: started, listened to, and ended at its deadline. Always plain emulation, which works everywhere.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    musl::Arch,
    process::{Group, Interrupt},
};

/// The emulator for an architecture, with a console on its standard output.
pub(crate) fn command(arch: Arch, image: &Path, initramfs: &Path, memory_mib: u32, words: &str) -> Command {
    // The CPU of a Raspberry Pi 5: that of a Pi 4 has no pages of 16 KiB.
    let (program, machine, cpu, console) = match arch {
        Arch::Amd64 => ("qemu-system-x86_64", "q35", "max", "console=ttyS0 tsc=unstable"),
        Arch::Arm64 => ("qemu-system-aarch64", "virt", "cortex-a76", "console=ttyAMA0"),
    };
    let mut command = Command::new(program);
    command.args(["-machine", machine, "-cpu", cpu, "-accel", "tcg", "-smp", "2", "-m", &memory_mib.to_string()]);
    command.args(["-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio"]);
    command.arg("-kernel").arg(image).arg("-initrd").arg(initramfs);
    command.arg("-append").arg(format!("{console} panic=-1 quiet {words}").trim_end());
    command
}

/// Boots the kernel and gives what its console said. Ends when the machine does, or when `goes_on` says so of a line.
pub(crate) fn run(
    arch: Arch,
    image: &Path,
    initramfs: &Path,
    timeout: Duration,
    interrupt: &Interrupt,
    goes_on: impl FnMut(&str) -> bool,
) -> Result<Vec<String>> {
    listen(command(arch, image, initramfs, 768, ""), timeout, interrupt, goes_on)
}

/// Starts the emulator and gives what the console said.
pub(crate) fn listen(
    mut command: Command,
    timeout: Duration,
    interrupt: &Interrupt,
    mut goes_on: impl FnMut(&str) -> bool,
) -> Result<Vec<String>> {
    // It says there that it was ended, which is what we did.
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut machine = Group::start("the emulator", &mut command)?;
    let out = machine.output().context("the emulator has no output")?;
    let (line_in, lines) = channel();
    let reader = thread::spawn(move || {
        for line in BufReader::new(out).split(b'\n').map_while(Result::ok) {
            if line_in.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                break;
            }
        }
    });
    let deadline = Instant::now() + timeout;
    let mut said = Vec::new();
    let ended = loop {
        if interrupt.asked() || Instant::now() >= deadline {
            break false;
        }
        match lines.recv_timeout(Duration::from_millis(200)) {
            Ok(line) => {
                let more = goes_on(&line);
                said.push(line);
                if !more {
                    break true;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break true,
        }
    };
    machine.stop(Duration::from_secs(2))?;
    drop(lines);
    // It ends with the pipe.
    let _ended = reader.join();
    interrupt.check()?;
    if !ended {
        let last: Vec<&str> = said.iter().rev().take(3).map(String::as_str).collect();
        bail!("not done in {} s; last it said: {}", timeout.as_secs(), last.join(" | "));
    }
    Ok(said)
}
