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
        emulator,
        kernels::{Archives, Fetched, KERNELS},
    },
};

const SUITE: &str = "bookworm";
const KERNEL: &str = "6.12";
const DISK_MIB: u32 = 1_200;
const MEMORY_MIB: u32 = 1_024;
/// What the disk and the network of the life take.
const MODULES: [&str; 9] = [
    "virtio_pci",
    "virtio_mmio",
    "virtio_blk",
    "crc32c_generic",
    "ext4",
    "veth",
    "sch_ingress",
    "cls_bpf",
    "af_packet",
];
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
    let disk = disk(arch, &kernel, &busybox, interrupt)?;

    let mut archive = started_by(&kernel, &busybox, "/sbin/init")?;
    archive.directory("payload");
    archive.directory("payload/next");
    for file in files(payload)? {
        archive.file(&format!("payload/{file}"), 0o644, &read(&payload.join(&file))?);
    }
    archive.file("payload/life.service", 0o644, unit("/payload", arch, PATIENCE_SECS, "/dev/console").as_bytes());
    boot(arch, &kernel, archive, &disk, Disk::Scratch, LIFE_TIMEOUT, interrupt, |line| line.contains("package end"))
}

/// Whether what a machine writes to its disk stays.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Disk {
    Kept,
    Scratch,
}

#[expect(clippy::too_many_arguments, reason = "a machine is made of so many parts")]
fn boot(
    arch: Arch,
    kernel: &Fetched,
    archive: Archive,
    disk: &Path,
    keep: Disk,
    timeout: Duration,
    interrupt: &Interrupt,
    is_last: impl Fn(&str) -> bool,
) -> Result<Vec<String>> {
    let initramfs = disk.with_extension(format!("{}.cpio", std::process::id()));
    fs::write(&initramfs, archive.finish()).with_context(|| format!("`{}` cannot be written", initramfs.display()))?;
    let mut command =
        emulator::command(arch, &kernel.image()?, &initramfs, MEMORY_MIB, "systemd.show_status=false net.ifnames=0");
    let snapshot = if keep == Disk::Scratch { "on" } else { "off" };
    command.arg("-drive").arg(format!("file={},format=raw,if=virtio,snapshot={snapshot}", disk.display()));
    let said = emulator::listen(command, timeout, interrupt, |line| !is_last(line));
    fs::remove_file(&initramfs).with_context(|| format!("`{}` cannot be removed", initramfs.display()))?;
    said
}

/// What loads the modules, mounts the disk, brings the payload onto it, and goes on as `init`.
fn started_by(kernel: &Fetched, busybox: &[u8], init: &str) -> Result<Archive> {
    let mut archive = Archive::new();
    for dir in ["bin", "dev", "disk", "modules", "proc", "sys"] {
        archive.directory(dir);
    }
    archive.file("bin/busybox", 0o755, busybox);
    let mut script = String::from(
        "#!/bin/busybox sh\nbusybox=/bin/busybox\n$busybox mount -t devtmpfs dev /dev\n$busybox mount -t proc proc /proc\n\
         $busybox mount -t sysfs sys /sys\n",
    );
    for (name, bytes) in kernel.modules(&MODULES)? {
        archive.file(&format!("modules/{name}"), 0o644, &bytes);
        script.push_str(&format!("$busybox insmod /modules/{name}\n"));
    }
    script.push_str(&format!(
        "until [ -b /dev/vda ]; do $busybox sleep 0.1; done\n$busybox mount -t ext4 /dev/vda /disk\n\
         if [ -d /payload ]; then\n  $busybox cp -r /payload /disk/\n  wants=/disk/etc/systemd/system/multi-user.target.wants\n  \
         $busybox mkdir -p $wants\n  $busybox cp /payload/life.service /disk/etc/systemd/system/\n  \
         $busybox ln -s /etc/systemd/system/life.service $wants/\nfi\n\
         $busybox umount /proc /sys\n$busybox mount --move /dev /disk/dev\nexec $busybox switch_root /disk {init}\n"
    ));
    archive.file("init", 0o755, script.as_bytes());
    Ok(archive)
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
fn disk(arch: Arch, kernel: &Fetched, busybox: &[u8], interrupt: &Interrupt) -> Result<PathBuf> {
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
    let archive = started_by(kernel, busybox, "/second-stage")?;
    let said = boot(arch, kernel, archive, &image, Disk::Kept, MAKING_TIMEOUT, interrupt, |_| false)?;
    let last: Vec<&str> = said.iter().rev().take(6).map(String::as_str).collect();
    ensure!(said.iter().any(|line| line.contains(MADE)), "the Debian was not made; last it said: {}", last.join(" | "));
    fs::rename(&image, &disk).with_context(|| format!("`{}` cannot be put in its place", disk.display()))?;
    remove(&partial)?;
    Ok(disk)
}
