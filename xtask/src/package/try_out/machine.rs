//! The life of a package of another architecture: in an emulated machine, with a Debian on a disk of its own. The disk is made
//! once, its packages configured inside such a machine, and kept outside the tree.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::{PACKAGES, unit};
use crate::{
    musl::Arch,
    package::tree::{files, read},
    process::{Interrupt, quiet},
    root::{cache_dir, mirror, remove},
    setup::{self, Purpose},
    vm::{
        archive::Archive,
        disk::{self, Disk},
        emulator,
        kernels::{Archives, Fetched, KERNELS},
    },
};

const SUITE: &str = "bookworm";
const KERNEL: &str = "6.12";
const DISK_MIB: u32 = 1_200;
/// What brings the payload onto the disk, with the service that tries it.
const BRINGS_THE_PAYLOAD: &str = "$busybox cp -r /payload /disk/
wants=/disk/etc/systemd/system/multi-user.target.wants
$busybox mkdir -p $wants
$busybox cp /payload/life.service /disk/etc/systemd/system/
$busybox ln -s /etc/systemd/system/life.service $wants/
";
/// Configuring a hundred packages under emulation.
const MAKING_TIMEOUT: Duration = Duration::from_secs(1_800);
/// Nine minutes on two busy cores.
const LIFE_TIMEOUT: Duration = Duration::from_secs(1_800);
/// Everything is some ten times slower there.
const PATIENCE_SECS: u32 = 150;
const MADE: &str = "disk made";

/// Runs the life of the packages in `payload`; gives what it said.
pub(super) fn run(arch: Arch, payload: &Path, interrupt: &Interrupt) -> Result<Vec<String>> {
    setup::ensure(&[Purpose::Vm])?;
    let archives = Archives::open(false)?;
    let name = format!("{KERNEL} {}", arch.debian());
    let kernel = KERNELS.iter().find(|kernel| kernel.name == name).context("no kernel for it")?;
    let kernel = archives.fetch(kernel)?;
    let busybox = archives.program(arch, "busybox-static", "bookworm", "busybox")?;
    let image = debian(arch, &kernel, &busybox, interrupt)?;

    let mut archive = disk::starter(&kernel, &busybox, BRINGS_THE_PAYLOAD, "/sbin/init")?;
    archive.directory("payload");
    archive.directory("payload/next");
    for file in files(payload)? {
        archive.file(&format!("payload/{file}"), 0o644, &read(&payload.join(&file))?);
    }
    archive.file("payload/life.service", 0o644, unit("/payload", arch, PATIENCE_SECS, "/dev/console").as_bytes());
    boot(arch, &kernel, archive, &image, Disk::Scratch, LIFE_TIMEOUT, interrupt, |line| line.contains("package end"))
}

#[expect(clippy::too_many_arguments, reason = "a machine is made of so many parts")]
fn boot(
    arch: Arch,
    kernel: &Fetched,
    archive: Archive,
    image: &Path,
    keep: Disk,
    timeout: Duration,
    interrupt: &Interrupt,
    is_last: impl Fn(&str) -> bool,
) -> Result<Vec<String>> {
    let initramfs = image.with_extension(format!("{}.cpio", std::process::id()));
    fs::write(&initramfs, archive.finish()).with_context(|| format!("`{}` cannot be written", initramfs.display()))?;
    let command = disk::command(arch, kernel, &initramfs, image, keep)?;
    let said = emulator::listen(command, timeout, interrupt, |line| !is_last(line));
    fs::remove_file(&initramfs).with_context(|| format!("`{}` cannot be removed", initramfs.display()))?;
    said
}

/// The second half of debootstrap, which runs the architecture's own programs.
const SECOND_STAGE: &str = "#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# Where debootstrap itself ran in a container, it left a link.
[ ! -L /proc ] || { rm /proc; mkdir /proc; }
mount -t proc proc /proc
mount -t sysfs sys /sys
/debootstrap/debootstrap --second-stage || tail -n 5 /debootstrap/debootstrap.log
rm -f /second-stage
apt-get clean
sync
[ -e /debootstrap ] || echo 'disk made'
# It took that away when it was done.
[ -e /proc/sysrq-trigger ] || mount -t proc proc /proc
# Read-only, then off.
for key in u b; do echo $key >/proc/sysrq-trigger; sleep 2; done
sleep 60
";

/// A disk with a Debian of the architecture; made at the first call.
fn debian(arch: Arch, kernel: &Fetched, busybox: &[u8], interrupt: &Interrupt) -> Result<PathBuf> {
    let dir = cache_dir()?.join("disks");
    fs::create_dir_all(&dir).with_context(|| format!("`{}` cannot be made", dir.display()))?;
    let disk = dir.join(format!("{SUITE}-{}+{}.img", arch.debian(), PACKAGES.join("+")));
    if disk.is_file() {
        return Ok(disk);
    }
    println!("package: making a Debian {SUITE} for {} under emulation: some minutes, once", arch.debian());
    let partial = dir.join(format!("partial-{}", std::process::id()));
    let (tree, image) = (partial.join("tree"), partial.join("disk"));
    remove(&partial)?;
    fs::create_dir_all(&tree).with_context(|| format!("`{}` cannot be made", tree.display()))?;
    let mut command = Command::new("debootstrap");
    command.args(["--foreign", "--variant=minbase", "--arch", arch.debian()]);
    quiet(command.arg(format!("--include={}", PACKAGES.join(","))).arg(SUITE).arg(&tree).arg(mirror()))?;
    super::super::tree::write(&tree.join("second-stage"), SECOND_STAGE.as_bytes())?;
    quiet(Command::new("chmod").arg("755").arg(tree.join("second-stage")))?;
    quiet(Command::new("mke2fs").args(["-q", "-t", "ext4", "-d"]).arg(&tree).arg(&image).arg(format!("{DISK_MIB}M")))?;
    let archive = disk::starter(kernel, busybox, "", "/second-stage")?;
    let said = boot(arch, kernel, archive, &image, Disk::Kept, MAKING_TIMEOUT, interrupt, |_| false)?;
    let last: Vec<&str> = said.iter().rev().take(6).map(String::as_str).collect();
    ensure!(said.iter().any(|line| line.contains(MADE)), "the Debian was not made; last it said: {}", last.join(" | "));
    fs::rename(&image, &disk).with_context(|| format!("`{}` cannot be put in its place", disk.display()))?;
    remove(&partial)?;
    Ok(disk)
}
