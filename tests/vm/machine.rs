//! The emulated machine: its file systems, its modules, its end.
#![expect(deprecated, reason = "what replaces `unshare` is unsafe for the sake of flags that are not used here")]

use std::{ffi::CString, fs, path::Path};

use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    system::{RebootCommand, finit_module, reboot},
    thread::{UnshareFlags, unshare},
};

/// Mounts what a running system has, and loads the modules that came along, in the order of their list.
pub(crate) fn prepare() {
    for (kind, at) in
        [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tmpfs", "/tmp"), ("bpf", "/sys/fs/bpf")]
    {
        fs::create_dir_all(at).unwrap();
        file_system(kind, at);
    }
    for name in fs::read_to_string("/modules/order").unwrap_or_default().lines() {
        let file = fs::File::open(Path::new("/modules").join(name)).unwrap();
        if let Err(error) = finit_module(file, &CString::default(), 0) {
            println!("module {name}: {error}");
        }
    }
}

fn file_system(kind: &str, at: &str) {
    if let Err(error) = mount(kind, at, kind, MountFlags::empty(), None) {
        println!("{at}: {error}");
    }
}

/// Gives this process a network and mounts of its own.
pub(crate) fn isolate() {
    unshare(UnshareFlags::NEWNET | UnshareFlags::NEWNS).unwrap();
    // Nothing that is mounted from here on is seen by anybody else.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
    // What /sys shows of the network is what was there when it was mounted.
    for (kind, at) in [("sysfs", "/sys"), ("bpf", "/sys/fs/bpf")] {
        file_system(kind, at);
    }
    for family in ["all", "default"] {
        // So that nothing is sent but what a check sends. A kernel without IPv6 sends nothing either.
        let _absent = fs::write(format!("/proc/sys/net/ipv6/conf/{family}/disable_ipv6"), "1");
    }
}

/// Hides the kernel's own type information.
pub(crate) fn hide_btf() {
    if Path::new("/sys/kernel/btf").exists() {
        file_system("tmpfs", "/sys/kernel/btf");
    }
    assert!(!Path::new("/sys/kernel/btf/vmlinux").exists(), "the kernel's type information is still there");
}

/// Ends the machine; the emulator was told not to start it again.
pub(crate) fn stop() -> ! {
    loop {
        let error = reboot(RebootCommand::Restart);
        println!("the machine does not end: {error:?}");
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}
