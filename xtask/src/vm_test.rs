//! `cargo xtask vm-test`: boots every kernel that is promised, and one that is too old, under emulation, and tries on each what
//! is promised for it.

mod table;

use std::{
    collections::VecDeque,
    fs,
    path::Path,
    process::ExitCode,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    musl::{self, Arch},
    process::Interrupt,
    setup::{self, Purpose},
    vm::{
        archive::Archive,
        emulator,
        kernels::{Archives, KERNELS, Kernel},
    },
    workspace,
};

const PROFILE: &str = "probe";
const PROBE: &str = "vm-probe";
/// A machine that has not ended by then is given up: several times what the slowest takes beside other work.
const BOOT_TIMEOUT: Duration = Duration::from_secs(480);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Kernels to try, as the table names them (`6.12 arm64 16k`); all when absent.
    kernels: Vec<String>,
    /// Asks Debian for newer kernels; otherwise once a week.
    #[arg(long)]
    refresh: bool,
    /// Writes the table into docs/kernels.md.
    #[arg(long)]
    write: bool,
    /// Takes the probe that was built last.
    #[arg(long)]
    no_build: bool,
    /// Shows what each machine says.
    #[arg(long)]
    verbose: bool,
}

/// What one machine said.
pub(crate) struct Report {
    kernel: &'static Kernel,
    took: Duration,
    /// Name, verdict, detail.
    checks: Vec<(String, bool, String)>,
    /// Why there is nothing more, where the machine ended early.
    broken: Option<String>,
}

impl Report {
    fn passed(&self) -> bool {
        self.broken.is_none() && self.checks.iter().all(|(_, passed, _)| *passed)
    }
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let wanted: Vec<&'static Kernel> = KERNELS
        .iter()
        .filter(|kernel| args.kernels.is_empty() || args.kernels.iter().any(|name| name == kernel.name))
        .collect();
    if wanted.is_empty() {
        bail!("no kernel of that name; there are: {}", KERNELS.map(|kernel| kernel.name).join(", "));
    }
    ensure!(!args.write || wanted.len() == KERNELS.len(), "--write takes all kernels");
    setup::ensure(&[Purpose::Build, Purpose::Package, Purpose::Vm])?;
    let archs: Vec<Arch> =
        Arch::ALL.into_iter().filter(|arch| wanted.iter().any(|kernel| kernel.arch == *arch)).collect();
    let probes = if args.no_build {
        musl::built(PROFILE, PROBE, &archs)?
    } else {
        let tools = musl::ensure_tools(&archs)?;
        println!("vm-test: building the probe");
        tools.build(PROFILE, "ids-tests", PROBE, &["--no-default-features"], &archs)?
    };
    let archives = Archives::open(args.refresh)?;
    let mut machines = VecDeque::new();
    for kernel in wanted {
        let probe = archs.iter().zip(&probes).find(|(arch, _)| **arch == kernel.arch).context("no probe was built")?.1;
        machines.push_back(prepare(kernel, &archives, probe)?);
    }

    let interrupt = Interrupt::catch()?;
    let started = Instant::now();
    let reports = boot_all(machines, &interrupt, args.verbose)?;
    let took = started.elapsed();
    print!("{}", table::text(&reports));
    println!("vm-test: {} kernels in {} s", reports.len(), took.as_secs());
    if args.write {
        table::write(&workspace::root()?.join("docs/kernels.md"), &reports)?;
    }
    let passed = reports.iter().all(Report::passed);
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Machine {
    kernel: &'static Kernel,
    image: std::path::PathBuf,
    initramfs: std::path::PathBuf,
}

/// Puts the probe and the kernel's modules into an archive that the kernel starts from.
fn prepare(kernel: &'static Kernel, archives: &Archives, probe: &Path) -> Result<Machine> {
    let fetched = archives.fetch(kernel)?;
    let mut archive = Archive::new();
    for dir in ["dev", "modules", "proc", "sys", "tmp"] {
        archive.directory(dir);
    }
    archive.file("init", 0o755, &fs::read(probe).with_context(|| format!("`{}` is unreadable", probe.display()))?);
    let mut order = String::new();
    for (name, bytes) in fetched.modules(&["veth", "sch_ingress", "cls_bpf", "af_packet"])? {
        archive.file(&format!("modules/{name}"), 0o644, &bytes);
        order.push_str(&name);
        order.push('\n');
    }
    archive.file("modules/order", 0o644, order.as_bytes());
    let dir = workspace::target_dir()?.join("vm");
    fs::create_dir_all(&dir).with_context(|| format!("`{}` cannot be made", dir.display()))?;
    let initramfs = dir.join(format!("{}.cpio", kernel.name.replace(' ', "-")));
    fs::write(&initramfs, archive.finish()).with_context(|| format!("`{}` cannot be written", initramfs.display()))?;
    Ok(Machine { kernel, image: fetched.image()?, initramfs })
}

/// Boots the machines, as many at once as there are pairs of CPUs, and at least one.
fn boot_all(machines: VecDeque<Machine>, interrupt: &Interrupt, verbose: bool) -> Result<Vec<Report>> {
    let at_once = thread::available_parallelism().map_or(1, |cpus| cpus.get().div_ceil(2)).clamp(1, 4);
    let (queue, reports) = (Mutex::new(machines), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while !interrupt.asked() {
                    let Some(machine) = queue.lock().ok().and_then(|mut queue| queue.pop_front()) else { break };
                    let report = boot(&machine, interrupt, verbose);
                    let verdict = if report.passed() { "passed" } else { "FAILED" };
                    println!("vm-test: {} {verdict} in {} s", report.kernel.name, report.took.as_secs());
                    if let Ok(mut reports) = reports.lock() {
                        reports.push(report);
                    }
                }
            });
        }
    });
    interrupt.check()?;
    let mut reports = reports.into_inner().unwrap_or_default();
    reports.sort_by_key(|report| KERNELS.iter().position(|kernel| kernel.name == report.kernel.name));
    Ok(reports)
}

fn boot(machine: &Machine, interrupt: &Interrupt, verbose: bool) -> Report {
    let started = Instant::now();
    let kernel = machine.kernel;
    let said = emulator::run(kernel.arch, &machine.image, &machine.initramfs, BOOT_TIMEOUT, interrupt, |line| {
        if verbose {
            println!("{}: {line}", kernel.name);
        }
        // The last thing that it says.
        line.trim() != "probe end"
    });
    let (lines, mut broken) = match said {
        Ok(lines) => (lines, None),
        Err(error) => (Vec::new(), Some(format!("{error:#}"))),
    };
    let mut checks = Vec::new();
    let mut ended = false;
    for line in &lines {
        // The kernel may have put its own words on the same line before.
        let Some(at) = line.find("probe ") else { continue };
        let mut words = line.get(at..).unwrap_or_default().splitn(4, ' ').skip(1);
        match (words.next(), words.next()) {
            (Some("end"), None) => ended = true,
            (Some(name), Some(verdict)) => {
                checks.push((name.to_owned(), verdict == "ok", words.next().unwrap_or_default().to_owned()));
            }
            _ => {}
        }
    }
    if !ended && broken.is_none() {
        let last: Vec<&str> = lines.iter().rev().take(3).map(String::as_str).collect();
        broken = Some(format!("the machine ended early; last it said: {}", last.join(" | ")));
    }
    Report { kernel, took: started.elapsed(), checks, broken }
}
