//! Where it happens: a gateway whose interface is watched, whoever is outside of it, and a folder that holds what the agent
//! reads and writes. Taken down when dropped.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result, ensure};

use crate::{
    netns::{self, Namespace},
    process::quiet,
    workspace,
};

/// The watched interface; its peer is outside.
pub(crate) const WATCHED: &str = "lan0";
const PEER: &str = "out0";
pub(crate) const GATEWAY: [u8; 4] = [10, 83, 0, 1];
pub(crate) const CLIENT: [u8; 4] = [10, 83, 0, 2];
/// Behind the gateway, which answers for all of it.
const BEHIND: &str = "10.84.0.0/16";
/// Whose addresses the outside may speak from.
const STRANGERS: &str = "45.33.0.0/16";
const PAGES: &str = "127.0.0.1:9481";
/// Small, so that it is filled in a moment.
const ALERT_DISK: &str = "size=8m";
const FOLDER: &str = "ids-chaos-";

pub(crate) struct Stage {
    pub(crate) gateway: Namespace,
    pub(crate) outside: Namespace,
    dir: PathBuf,
    /// Odd while the watched interface is away.
    cuts: AtomicU32,
}

impl Stage {
    pub(crate) fn raise() -> Result<Self> {
        netns::remove_stale()?;
        remove_stale_folders()?;
        let dir = env::temp_dir().join(format!("{FOLDER}{}", std::process::id()));
        let stage = Self {
            gateway: Namespace::make("gateway")?,
            outside: Namespace::make("outside")?,
            dir,
            cuts: AtomicU32::new(1),
        };
        for (folder, kind, options) in [("alerts", "tmpfs", ALERT_DISK), ("bpf", "bpf", "mode=700")] {
            let folder = stage.path(folder);
            fs::create_dir_all(&folder).with_context(|| format!("`{}` cannot be made", folder.display()))?;
            quiet(Command::new("mount").args(["-t", kind, "-o", options, "none"]).arg(&folder))?;
        }
        fs::create_dir_all(stage.path("state"))?;
        stage.copy_models()?;
        stage.configure()?;
        for space in [&stage.gateway, &stage.outside] {
            // Nobody sends a packet of its own accord, and strangers are answered.
            let lines =
                ["ipv6/conf/all/disable_ipv6 1", "ipv6/conf/default/disable_ipv6 1", "ipv4/conf/all/rp_filter 0"];
            let script: Vec<String> = lines
                .iter()
                .filter_map(|line| line.split_once(' '))
                .map(|(path, value)| format!("echo {value} > /proc/sys/net/{path}"))
                .collect();
            quiet(space.command(Path::new("sh")).args(["-ec", &script.join("; ")]))?;
        }
        stage.gateway.ip(&["route", "add", "local", BEHIND, "dev", "lo"])?;
        stage.outside.ip(&["route", "add", "local", STRANGERS, "dev", "lo"])?;
        stage.plug()?;
        Ok(stage)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn alerts(&self) -> PathBuf {
        self.path("alerts/alerts.ndjson")
    }

    pub(crate) fn pages() -> &'static str {
        PAGES
    }

    /// Writes the configuration, as the agent is started with it.
    pub(crate) fn configure(&self) -> Result<()> {
        let path = self.path("config.toml");
        let [pin, alerts, models, control, state] =
            [self.path("bpf/agent"), self.alerts(), self.path("models"), self.path("control.sock"), self.path("state")];
        let text = format!(
            "[capture]\ninterfaces = [{WATCHED:?}]\nmode = \"native\"\npin = {pin:?}\n\n[detect]\nmodels_dir = {models:?}\n\n\
             [alert]\npath = {alerts:?}\n\n[metrics]\nlisten = {PAGES:?}\n\n[control]\npath = {control:?}\n\n\
             [state]\ndir = {state:?}\n"
        );
        fs::write(&path, text).with_context(|| format!("`{}` cannot be written", path.display()))
    }

    /// The shipped models, to be spoilt.
    fn copy_models(&self) -> Result<()> {
        let shipped = workspace::root()?.join("models");
        fs::create_dir_all(self.path("models"))?;
        for entry in fs::read_dir(&shipped).with_context(|| format!("`{}` is unreadable", shipped.display()))? {
            let folder = entry?.path();
            if folder.join("manifest.toml").is_file() {
                quiet(Command::new("cp").arg("-r").arg(&folder).arg(self.path("models")))?;
            }
        }
        Ok(())
    }

    /// Makes the interface and what leads over it.
    pub(crate) fn plug(&self) -> Result<()> {
        self.gateway.pair(WATCHED, &self.outside, PEER)?;
        let address = |[a, b, c, d]: [u8; 4]| format!("{a}.{b}.{c}.{d}");
        for (space, device, own, net, via) in
            [(&self.outside, PEER, CLIENT, BEHIND, GATEWAY), (&self.gateway, WATCHED, GATEWAY, "default", CLIENT)]
        {
            let lines = [
                format!("address add {}/24 dev {device}", address(own)),
                format!("link set {device} up"),
                format!("route add {net} via {}", address(via)),
            ];
            space.ip_batch(&[], &lines)?;
        }
        self.cuts.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Deletes the interface, and with it its peer.
    pub(crate) fn unplug(&self) -> Result<()> {
        self.cuts.fetch_add(1, Ordering::Relaxed);
        self.gateway.ip(&["link", "delete", WATCHED])
    }

    /// How often the interface went and came; odd while it is away.
    pub(crate) fn cuts(&self) -> u32 {
        self.cuts.load(Ordering::Relaxed)
    }

    /// Keeps what the agent wrote for whoever looks for a reason.
    pub(crate) fn keep(&self, results: &Path) -> Result<()> {
        fs::create_dir_all(results).with_context(|| format!("`{}` cannot be made", results.display()))?;
        for file in [self.alerts(), self.path("agent.log")] {
            if let (Some(name), true) = (file.file_name(), file.is_file()) {
                fs::copy(&file, results.join(name)).with_context(|| format!("`{}` cannot be kept", file.display()))?;
            }
        }
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Err(error) = remove_folder(&self.dir) {
            eprintln!("chaos: {error:#}");
        }
    }
}

fn remove_folder(dir: &Path) -> Result<()> {
    for name in ["alerts", "bpf"] {
        // One that was never mounted is as well.
        let _gone = quiet(Command::new("umount").arg("--lazy").arg(dir.join(name)));
    }
    ensure!(
        !fs::read_to_string("/proc/self/mounts")?.contains(&*dir.to_string_lossy()),
        "`{}` cannot be unmounted",
        dir.display()
    );
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("`{}` cannot be removed", dir.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// What runs left behind that were ended by force.
fn remove_stale_folders() -> Result<()> {
    for entry in fs::read_dir(env::temp_dir()).context("the folder for temporary files is unreadable")? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(FOLDER).and_then(|pid| pid.parse().ok());
        if owner.is_some_and(|pid| !netns::is_xtask(pid)) {
            remove_folder(&entry.path())?;
        }
    }
    Ok(())
}
