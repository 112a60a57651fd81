//! A Debian on a disk of its own in an emulated machine: what starts it, and how the emulator is told of the disk.

use std::{path::Path, process::Command};

use anyhow::Result;

use super::{archive::Archive, emulator, kernels::Fetched};
use crate::musl::Arch;

const MEMORY_MIB: u32 = 1_024;
/// What disk, network and whoever talks to the machine take.
const MODULES: [&str; 10] = [
    "virtio_pci",
    "virtio_mmio",
    "virtio_blk",
    "virtio_console",
    "crc32c_generic",
    "ext4",
    "veth",
    "sch_ingress",
    "cls_bpf",
    "af_packet",
];

/// Whether what a machine writes to its disk stays.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disk {
    Kept,
    Scratch,
}

/// The emulator for a machine that `starter` begins, with the disk.
pub(crate) fn command(arch: Arch, kernel: &Fetched, initramfs: &Path, disk: &Path, keep: Disk) -> Result<Command> {
    let mut command =
        emulator::command(arch, &kernel.image()?, initramfs, MEMORY_MIB, "systemd.show_status=false net.ifnames=0");
    let snapshot = if keep == Disk::Scratch { "on" } else { "off" };
    command.arg("-drive").arg(format!("file={},format=raw,if=virtio,snapshot={snapshot}", disk.display()));
    Ok(command)
}

/// What loads the modules, mounts the disk, does `more` with what is in the archive, and goes on as `init`.
pub(crate) fn starter(kernel: &Fetched, busybox: &[u8], more: &str, init: &str) -> Result<Archive> {
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
        "until [ -b /dev/vda ]; do $busybox sleep 0.1; done\n$busybox mount -t ext4 /dev/vda /disk\n{more}\
         $busybox umount /proc /sys\n$busybox mount --move /dev /disk/dev\nexec $busybox switch_root /disk {init}\n"
    ));
    archive.file("init", 0o755, script.as_bytes());
    Ok(archive)
}
