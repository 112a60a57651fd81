//! Control groups of a test's own, of either version; they vanish with the value that made them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

const TOP: &str = "/sys/fs/cgroup";

/// A control group that holds whoever is started in it.
#[derive(Debug)]
pub struct Group {
    folder: PathBuf,
}

impl Group {
    /// A group with so many percent of one CPU; none where this machine lets nobody make one.
    pub fn cpu(percent: u32) -> Option<Self> {
        let quota = percent * 1_000;
        Self::new("cpu", &[("cpu.max", format!("{quota} 100000"))]).or_else(|| {
            let limits = [("cpu.cfs_period_us", "100000".to_owned()), ("cpu.cfs_quota_us", quota.to_string())];
            Self::new("cpu", &limits)
        })
    }

    /// A group beyond whose memory the kernel kills.
    pub fn memory(bytes: u64) -> Option<Self> {
        let limit = bytes.to_string();
        Self::new("memory", &[("memory.max", limit.clone())])
            .or_else(|| Self::new("memory", &[("memory.limit_in_bytes", limit)]))
    }

    fn new(controller: &str, limits: &[(&str, String)]) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let top = Path::new(TOP);
        // Version 2 has all controllers in one tree, version 1 a tree for each.
        let parent = if top.join("cgroup.controllers").exists() {
            fs::write(top.join("cgroup.subtree_control"), format!("+{controller}")).ok()?;
            top.to_owned()
        } else {
            top.join(controller)
        };
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!("ids-test-{}-{count}", std::process::id()));
        fs::create_dir(&folder).ok()?;
        let group = Self { folder };
        limits.iter().all(|(name, value)| fs::write(group.folder.join(name), value).is_ok()).then_some(group)
    }

    /// The same command, begun inside.
    pub fn holding(&self, command: &Command) -> Command {
        let mut inside = Command::new("sh");
        inside.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(self.folder.join("cgroup.procs"));
        inside.arg(command.get_program()).args(command.get_args());
        inside
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Whoever was in it may take a moment to be gone.
        for _ in 0..100 {
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        eprintln!("cannot remove {}", self.folder.display());
    }
}
