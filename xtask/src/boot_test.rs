//! `cargo xtask boot-test`: a clean Debian boots with the service enabled, and the service is treated as life treats it: in a
//! container, or with `--vm` in an emulated machine whose kernel keeps the limits of a control group. Packets pass in there alone.

mod install;
mod life;
mod limits;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use self::{life::Life, limits::Wall};
use crate::{
    container::Container,
    debian::Debian,
    process::{find, is_root, must, quiet},
    root::{self, Scratch},
    setup::{self, Purpose},
    vm::{
        disk::{self, Disk},
        kernels::{Archives, KERNELS},
        machine::{self, Machine},
    },
    workspace::{self, TEST_SET},
};

/// systemd, what the unit's commands need and what passes packets; the rest of a Debian is of no account here.
const PACKAGES: [&str; 8] =
    ["curl", "hping3", "iproute2", "iputils-ping", "libcap2-bin", "procps", "systemd", "systemd-sysv"];
const UNIT: &str = "ids-agent.service";
/// Shorter than the unit's, so that the test is.
const WATCHDOG: Duration = Duration::from_secs(6);
const KERNEL: &str = "6.12 amd64";
const DISK_MIB: u32 = 1_600;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The agent to install, in place of one that is built now.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Boots an emulated machine in place of a container: the limits of the service's control group hold there.
    #[arg(long)]
    vm: bool,
    /// The kernel of that machine, as `vm-test` names them.
    #[arg(long, default_value = KERNEL)]
    kernel: String,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if let Some(why) = cannot() {
        bail!("{why}");
    }
    let binary = match &args.binary {
        Some(binary) => binary.clone(),
        None => {
            must(workspace::cargo()?.arg("build").args(TEST_SET).args(["--bin", "ids-agent"]))?;
            workspace::target_dir()?.join("debug/ids-agent")
        }
    };
    if args.vm {
        in_machine(&binary, &args.kernel)?
    } else {
        in_container(&binary)?
    }
    Ok(ExitCode::SUCCESS)
}

/// Why the test cannot run on this machine, if it cannot.
pub(crate) fn cannot() -> Option<&'static str> {
    if !is_root() {
        return Some("booting a container takes root");
    }
    // Both are packages of Debian that `setup` installs, where there is an apt.
    let there = |program| find(program).is_some() || find("apt-get").is_some();
    (!(there("debootstrap") && there("systemd-nspawn"))).then_some("there is no debootstrap or no systemd-nspawn")
}

/// Runs the whole in a container; fails at the first thing that is not as it should be.
pub(crate) fn in_container(binary: &Path) -> Result<()> {
    setup::ensure(&[Purpose::Root])?;
    let scratch = root::clean(&PACKAGES).and_then(|clean| Scratch::over(&clean))?;
    let mut steps = Steps::begin();
    install::install(&scratch.path(), binary)?;
    steps.done("install", "into a clean Debian, enabled at boot");

    let container = Container::boot(&scratch.path(), &scratch.path().with_file_name("console"))?;
    with_last_words(&container, |life| {
        life.begins(&mut steps)?;
        life.goes_on(&mut steps)
    })?;
    container.power_off()?;
    steps.done("power off", "");
    steps.all_passed();
    Ok(())
}

/// The same in a machine with a kernel and control groups of its own, and what those limit.
pub(crate) fn in_machine(binary: &Path, kernel: &str) -> Result<()> {
    setup::ensure(&[Purpose::Root, Purpose::Vm])?;
    let kernel = KERNELS
        .iter()
        .find(|known| known.name == kernel && known.arch.is_native())
        .with_context(|| format!("no kernel `{kernel}` for programs of this machine"))?;
    let archives = Archives::open(false)?;
    let fetched = archives.fetch(kernel)?;
    let busybox = archives.program(kernel.arch, "busybox-static", "bookworm", "busybox")?;
    let scratch = root::clean(&PACKAGES).and_then(|clean| Scratch::over(&clean))?;
    let mut steps = Steps::begin();
    install::install(&scratch.path(), binary)?;
    install::wall(&scratch.path())?;
    machine::prepare(&scratch.path())?;
    let (image, initramfs) = (scratch.path().with_file_name("disk"), scratch.path().with_file_name("initramfs"));
    let size = format!("{DISK_MIB}M");
    quiet(Command::new("mke2fs").args(["-q", "-t", "ext4", "-d"]).arg(scratch.path()).arg(&image).arg(size))?;
    let starter = disk::starter(&fetched, &busybox, "", "/sbin/init")?;
    fs::write(&initramfs, starter.finish()).with_context(|| format!("`{}` cannot be written", initramfs.display()))?;
    steps.done("install", "onto a disk with a clean Debian, enabled at boot, limited by the drop-in");

    let command = disk::command(kernel.arch, &fetched, &initramfs, &image, Disk::Scratch)?;
    let root = scratch.path();
    let machine = Machine::boot(&command, root.parent().context("a scratch root lies in a folder")?)?;
    with_last_words(&machine, |life| {
        life.begins(&mut steps)?;
        let wall = Wall::written()?;
        wall.stands(&machine)?;
        steps.done("wall", &wall.to_string());
        let said = limits::holds_under_a_flood(life, &wall)?;
        steps.done("flood", &said);
        life.goes_on(&mut steps)
    })?;
    machine.power_off()?;
    steps.done("power off", "");
    steps.all_passed();
    Ok(())
}

fn with_last_words(debian: &dyn Debian, lives: impl FnOnce(&Life<'_>) -> Result<()>) -> Result<()> {
    lives(&Life { debian }).map_err(|error| {
        let journal = debian.says(&["journalctl", "--no-pager", "-n", "25", "-u", UNIT]).unwrap_or_default();
        error.context(format!("the service's last words:\n{journal}"))
    })
}

/// Says how long each step took.
struct Steps {
    began: Instant,
    last: Instant,
}

impl Steps {
    fn begin() -> Self {
        let now = Instant::now();
        Self { began: now, last: now }
    }

    fn done(&mut self, name: &str, says: &str) {
        println!("boot-test: {name:<10} {:>5.1} s  {says}", self.last.elapsed().as_secs_f32());
        self.last = Instant::now();
    }

    fn all_passed(&self) {
        println!("boot-test: all passed in {:.0} s", self.began.elapsed().as_secs_f32());
    }
}
