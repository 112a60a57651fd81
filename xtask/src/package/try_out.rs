//! Packages in clean Debians: the life of each, from its installation to its purge, on a system that was booted for it.

mod machine;

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{
    Program, deb,
    tree::{Made, write},
};
use crate::{
    container::Container,
    musl::Arch,
    process::{Interrupt, quiet},
    root::{Scratch, clean},
    setup::{self, Purpose},
};

/// What the life takes beside a minimal Debian.
const PACKAGES: [&str; 5] = ["dbus", "iproute2", "nmap", "procps", "systemd-sysv"];
const LIFE: &str = include_str!("life.sh");
const CONTAINER_TIMEOUT: Duration = Duration::from_secs(600);

/// Tries the package of every program.
pub(super) fn run(programs: &[Program], made: &Made, version: &str, out: &Path) -> Result<ExitCode> {
    setup::ensure(&[Purpose::Root])?;
    let interrupt = Interrupt::catch()?;
    let mut code = ExitCode::SUCCESS;
    for program in programs {
        let started = Instant::now();
        let payload = payload(program, made, version, out)?;
        let said = if program.arch.is_native() {
            in_container(program.arch, &payload, &interrupt)?
        } else {
            machine::run(program.arch, &payload, &interrupt)?
        };
        let (text, passed) = verdict(&said);
        print!("{text}");
        let word = if passed { "passed" } else { "FAILED" };
        println!("package: {} {word} in {} s", program.arch.debian(), started.elapsed().as_secs());
        if !passed {
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

/// A folder with the package, the package of the next version, and what tries them.
fn payload(program: &Program, made: &Made, version: &str, out: &Path) -> Result<std::path::PathBuf> {
    let arch = program.arch.debian();
    let dir = out.join(format!("payload-{arch}"));
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("`{}` cannot be removed", dir.display()))?;
    }
    let next = dir.join("next");
    fs::create_dir_all(&next).with_context(|| format!("`{}` cannot be made", next.display()))?;
    let name = format!("ids-agent_{version}_{arch}.deb");
    fs::copy(out.join(&name), dir.join(&name)).with_context(|| format!("`{name}` is not there"))?;
    deb::build_next(program, made, &next)?;
    write(&dir.join("life.sh"), LIFE.as_bytes())?;
    Ok(dir)
}

/// The unit that runs the life at boot.
fn unit(folder: &str, arch: Arch, patience_secs: u32, said: &str) -> String {
    format!(
        "[Unit]\nDescription=the life of a package\nAfter=multi-user.target\n\n[Service]\nType=oneshot\n\
         ExecStart=/bin/sh {folder}/life.sh {folder} {} {patience_secs} {said}\n\n[Install]\nWantedBy=multi-user.target\n",
        arch.debian()
    )
}

/// Boots a container over a clean root, with the payload in it.
fn in_container(arch: Arch, payload: &Path, interrupt: &Interrupt) -> Result<Vec<String>> {
    let scratch = Scratch::over(&clean(&PACKAGES)?)?;
    let root = scratch.path();
    quiet(Command::new("cp").arg("-r").arg(payload).arg(root.join("payload")))?;
    write(&root.join("etc/systemd/system/life.service"), unit("/payload", arch, 30, "/payload/said").as_bytes())?;
    quiet(Command::new("systemctl").arg(format!("--root={}", root.display())).args(["enable", "life.service"]))?;

    let console = scratch.path().with_file_name("console");
    let mut container = Container::boot(&root, &console)?;
    let deadline = Instant::now() + CONTAINER_TIMEOUT;
    loop {
        interrupt.check()?;
        // What it had said by then is all there is.
        let is_off = container.is_off()?;
        let said = fs::read_to_string(root.join("payload/said")).unwrap_or_default();
        let lines: Vec<String> = said.lines().map(str::to_owned).collect();
        if is_off {
            return Ok(lines);
        }
        let last = lines.last().map_or("nothing", String::as_str);
        ensure!(Instant::now() < deadline, "not done in {} s; last it said: {last}", CONTAINER_TIMEOUT.as_secs());
        thread::sleep(Duration::from_millis(200));
    }
}

/// The checks as a text, and whether all passed.
fn verdict(said: &[String]) -> (String, bool) {
    let mut text = String::new();
    let (mut passed, mut ended) = (true, false);
    for line in said.iter().filter_map(|line| line.get(line.find("package ")?..)) {
        let mut words = line.splitn(4, ' ').skip(1);
        match (words.next(), words.next(), words.next()) {
            (Some("end"), None, _) => ended = true,
            (Some(name), Some("ok"), _) => text.push_str(&format!("  ok    {name}\n")),
            (Some(name), Some("fail"), why) => {
                passed = false;
                text.push_str(&format!("  FAIL  {name}: {}\n", why.unwrap_or_default()));
            }
            _ => {}
        }
    }
    if !ended {
        let last: Vec<&str> = said.iter().rev().take(5).map(String::as_str).collect();
        let last = last.into_iter().rev().collect::<Vec<_>>().join(" | ");
        text.push_str(&format!("  FAIL  it did not come to its end; last it said: {last}\n"));
    }
    (text, passed && ended)
}

#[cfg(test)]
mod tests {
    use super::verdict;

    #[test]
    fn a_life_passes_only_when_every_check_did_and_the_end_was_reached() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        assert!(verdict(&lines("package install ok \npackage end")).1);
        assert!(!verdict(&lines("package install ok ")).1);
        assert!(!verdict(&lines("package install fail why\npackage end")).1);
        assert!(verdict(&lines("[ 1.0] package install fail why so")).0.contains("install: why so"));
    }
}
