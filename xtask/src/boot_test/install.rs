//! The service in a clean root: everything where a package puts it, a configuration of one line, enabled at boot.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};

use super::{UNIT, WATCHDOG, limits::LIMITS};
use crate::{process::quiet, workspace};

/// Puts everything where a package puts it.
pub(super) fn install(root: &Path, binary: &Path) -> Result<()> {
    let project = workspace::root()?;
    let put = |from: &Path, to: &str, mode: &str| {
        quiet(Command::new("install").args(["-D", "-m", mode]).arg(from).arg(root.join(to))).map(drop)
    };
    put(binary, "usr/bin/ids-agent", "0755")?;
    let systemd = project.join("systemd");
    put(&systemd.join(UNIT), "usr/lib/systemd/system/ids-agent.service", "0644")?;
    put(&systemd.join("ids-agent.sysusers"), "usr/lib/sysusers.d/ids-agent.conf", "0644")?;
    put(&systemd.join("ids-agent.tmpfiles"), "usr/lib/tmpfiles.d/ids-agent.conf", "0644")?;
    let share = root.join("usr/share/ids-agent");
    fs::create_dir_all(&share)?;
    quiet(Command::new("cp").arg("-r").arg(project.join("models")).arg(&share))?;
    let write = |path: &str, text: &str| -> Result<()> {
        let path = root.join(path);
        let folder = path.parent().context("a file without a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("`{}` cannot be made", folder.display()))?;
        fs::write(&path, text).with_context(|| format!("`{}` cannot be written", path.display()))
    };
    write(
        "etc/ids-agent/config.toml",
        "[capture]\ninterfaces = [\"sensor0\"]\n\n[alert]\npath = \"/var/log/ids-agent/alerts.ndjson\"\n",
    )?;
    write(
        "etc/systemd/system/ids-agent.service.d/boot-test.conf",
        &format!("[Service]\nWatchdogSec={}\n", WATCHDOG.as_secs()),
    )?;
    // Where there is no container systemd does this by itself.
    write(
        "usr/lib/systemd/system/bpffs.service",
        "[Unit]\nDefaultDependencies=no\nConditionPathIsMountPoint=!/sys/fs/bpf\n[Service]\nType=oneshot\n\
         ExecStart=/bin/sh -c 'mkdir -p /sys/fs/bpf && mount -t bpf -o mode=700 bpf /sys/fs/bpf'\n\
         [Install]\nWantedBy=sysinit.target\n",
    )?;
    let mut at = std::ffi::OsString::from("--root=");
    at.push(root);
    quiet(Command::new("systemd-sysusers").arg(&at))?;
    quiet(Command::new("systemctl").arg(&at).args(["enable", UNIT, "bpffs.service"])).map(drop)
}

/// Puts the wall of the project's drop-in around the service.
pub(super) fn wall(root: &Path) -> Result<()> {
    let to = root.join("etc/systemd/system/ids-agent.service.d/limits.conf");
    quiet(Command::new("install").args(["-D", "-m", "0644"]).arg(workspace::root()?.join(LIMITS)).arg(to)).map(drop)
}
