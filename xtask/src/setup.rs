//! `cargo xtask setup`: what the build, the lab and the tests need. Installs nothing that it has not named first.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::{
    process::{find, is_root, line, must, quiet},
    workspace,
};

/// Newer ones want a system LLVM; this one uses the LLVM of rustc.
const BPF_LINKER: &str = "0.10.3";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to prepare for; everything when absent.
    #[arg(value_enum)]
    purposes: Vec<Purpose>,
    /// Only reports; installs nothing, and fails if something is missing.
    #[arg(long)]
    check: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Purpose {
    /// Compiling the agent and its kernel programs.
    Build,
    /// The lab of network namespaces.
    Lab,
    /// The tests.
    Test,
    /// Clean Debian roots and containers to try packages and the service in.
    Root,
    /// Static binaries and packages for both architectures.
    Package,
    /// Booting other kernels under emulation.
    Vm,
    /// Other programs for the same work, to be timed beside ours.
    Peers,
}

struct Need {
    purpose: Purpose,
    name: &'static str,
    why: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    /// A part of the Rust installation.
    Component,
    /// A program that cargo installs, at this version.
    Crate(&'static str),
    /// A program, and the Debian package that brings it.
    Program(&'static str),
    /// A program of a Debian package that would start a service: unpacked under `target/`, not installed.
    Unpacked(&'static str),
}

const NEEDS: &[Need] = &[
    Need {
        purpose: Purpose::Build,
        name: "rust-src",
        why: "core is compiled for the kernel's target",
        kind: Kind::Component,
    },
    Need {
        purpose: Purpose::Build,
        name: "bpf-linker",
        why: "links the kernel programs",
        kind: Kind::Crate(BPF_LINKER),
    },
    Need { purpose: Purpose::Build, name: "cc", why: "compiles zstd", kind: Kind::Program("gcc") },
    Need { purpose: Purpose::Lab, name: "ip", why: "makes network namespaces", kind: Kind::Program("iproute2") },
    Need { purpose: Purpose::Lab, name: "nsenter", why: "enters them", kind: Kind::Program("util-linux") },
    Need {
        purpose: Purpose::Lab,
        name: "ethtool",
        why: "turns offloads off, so that frames are real",
        kind: Kind::Program("ethtool"),
    },
    Need { purpose: Purpose::Lab, name: "nmap", why: "the attacker's port scan", kind: Kind::Program("nmap") },
    Need { purpose: Purpose::Lab, name: "curl", why: "the client's downloads", kind: Kind::Program("curl") },
    Need { purpose: Purpose::Lab, name: "ping", why: "the client's pings", kind: Kind::Program("iputils-ping") },
    Need { purpose: Purpose::Lab, name: "dig", why: "the client's name lookups", kind: Kind::Program("dnsutils") },
    Need { purpose: Purpose::Lab, name: "dnsmasq", why: "the name server", kind: Kind::Program("dnsmasq-base") },
    Need { purpose: Purpose::Lab, name: "python3", why: "the web server", kind: Kind::Program("python3") },
    Need { purpose: Purpose::Lab, name: "tcpdump", why: "takes the captures", kind: Kind::Program("tcpdump") },
    Need { purpose: Purpose::Lab, name: "openssl", why: "the TLS server", kind: Kind::Program("openssl") },
    Need { purpose: Purpose::Test, name: "clippy", why: "lints", kind: Kind::Component },
    Need { purpose: Purpose::Test, name: "rustfmt", why: "checks the form", kind: Kind::Component },
    Need {
        purpose: Purpose::Test,
        name: "tcpreplay",
        why: "plays captures over veth",
        kind: Kind::Program("tcpreplay"),
    },
    Need { purpose: Purpose::Test, name: "tshark", why: "a third opinion on frames", kind: Kind::Program("tshark") },
    Need {
        purpose: Purpose::Test,
        name: "valgrind",
        why: "counts the instructions of a replay",
        kind: Kind::Program("valgrind"),
    },
    Need { purpose: Purpose::Test, name: "setpriv", why: "takes rights away", kind: Kind::Program("util-linux") },
    Need {
        purpose: Purpose::Test,
        name: "systemd-analyze",
        why: "checks the service's unit",
        kind: Kind::Program("systemd"),
    },
    Need {
        purpose: Purpose::Test,
        name: "suricata",
        why: "the other witness, and its opinion on community ids",
        kind: Kind::Unpacked("suricata"),
    },
    Need {
        purpose: Purpose::Test,
        name: "suricata-update",
        why: "fetches Suricata's rules",
        kind: Kind::Program("suricata-update"),
    },
    Need {
        purpose: Purpose::Test,
        name: "promtool",
        why: "checks the metrics and the rules; Prometheus itself comes with it",
        kind: Kind::Unpacked("prometheus"),
    },
    Need {
        purpose: Purpose::Test,
        name: "amtool",
        why: "checks Alertmanager's file",
        kind: Kind::Unpacked("prometheus-alertmanager"),
    },
    Need {
        purpose: Purpose::Root,
        name: "debootstrap",
        why: "makes clean Debian roots",
        kind: Kind::Program("debootstrap"),
    },
    Need {
        purpose: Purpose::Root,
        name: "systemd-nspawn",
        why: "boots them",
        kind: Kind::Program("systemd-container"),
    },
    Need { purpose: Purpose::Package, name: "dpkg-deb", why: "builds the packages", kind: Kind::Program("dpkg") },
    Need {
        purpose: Purpose::Package,
        name: "python3",
        why: "fetches the C compiler for both architectures",
        kind: Kind::Program("python3-pip"),
    },
    Need {
        purpose: Purpose::Vm,
        name: "qemu-system-x86_64",
        why: "emulates amd64",
        kind: Kind::Program("qemu-system-x86"),
    },
    Need {
        purpose: Purpose::Vm,
        name: "qemu-system-aarch64",
        why: "emulates arm64",
        kind: Kind::Program("qemu-system-arm"),
    },
    Need { purpose: Purpose::Vm, name: "dpkg-deb", why: "unpacks kernels", kind: Kind::Program("dpkg") },
    Need { purpose: Purpose::Peers, name: "softflowd", why: "NetFlow of a capture", kind: Kind::Unpacked("softflowd") },
    Need { purpose: Purpose::Peers, name: "nfpcapd", why: "flows of a capture", kind: Kind::Unpacked("nfdump") },
    Need {
        purpose: Purpose::Peers,
        name: "ndpiReader",
        why: "flows and their programs",
        kind: Kind::Program("libndpi-bin"),
    },
    Need { purpose: Purpose::Peers, name: "tshark", why: "conversations of a capture", kind: Kind::Program("tshark") },
    Need { purpose: Purpose::Vm, name: "xz", why: "unpacks kernel modules", kind: Kind::Program("xz-utils") },
];

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let purposes: &[Purpose] = if args.purposes.is_empty() { Purpose::value_variants() } else { &args.purposes };
    if args.check {
        return report(purposes);
    }
    ensure(purposes)?;
    println!("setup: all there");
    Ok(ExitCode::SUCCESS)
}

/// Installs what these purposes lack. Says nothing when nothing is missing.
pub(crate) fn ensure(purposes: &[Purpose]) -> Result<()> {
    let missing = missing(purposes)?;
    if missing.is_empty() {
        return Ok(());
    }
    println!("setup: missing, and fetched now:");
    for need in &missing {
        println!("  {:<12} {} ({})", need.name, need.why, how(need));
    }
    for need in &missing {
        match need.kind {
            Kind::Component => install_component(need.name)?,
            Kind::Crate(version) => install_crate(need.name, version)?,
            Kind::Program(_) | Kind::Unpacked(_) => {}
        }
    }
    install_packages(&missing)
}

/// Installs the Suricata that tests and the lab run.
pub(crate) fn ensure_suricata() -> Result<()> {
    for need in NEEDS.iter().filter(|need| need.name == "suricata") {
        if !is_present(need)? {
            println!("setup: missing, and fetched now: {} ({})", need.name, how(need));
            install_packages(&[need])?;
        }
    }
    Ok(())
}

/// Debian packages that would start a service if they were installed.
const WITH_SERVICE: [&str; 16] = [
    "avahi-daemon",
    "bind9",
    "dns2tcp",
    "dropbear-bin",
    "exim4-daemon-light",
    "iodine",
    "lighttpd",
    "mosquitto",
    "nginx-light",
    "openssh-server",
    "redis-server",
    "samba",
    "snmpd",
    "unbound",
    "vsftpd",
    "xrdp",
];

/// Installs the programs, each with its Debian package, that this system lacks.
pub(crate) fn ensure_programs(programs: &[(&'static str, &'static str)]) -> Result<()> {
    let needs: Vec<Need> = programs
        .iter()
        .map(|(name, package)| {
            let kind = if WITH_SERVICE.contains(package) { Kind::Unpacked(package) } else { Kind::Program(package) };
            Need { purpose: Purpose::Lab, name, why: "a scenario of the lab", kind }
        })
        .collect();
    let mut missing = Vec::new();
    for need in &needs {
        if !is_present(need)? {
            println!("setup: missing, and fetched now: {} ({})", need.name, how(need));
            missing.push(need);
        }
    }
    if missing.is_empty() { Ok(()) } else { install_packages(&missing) }
}

/// The folder of programs that were unpacked rather than installed.
fn tools_dir() -> Result<PathBuf> {
    Ok(workspace::target_dir()?.join("tools"))
}

fn report(purposes: &[Purpose]) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for need in NEEDS.iter().filter(|need| purposes.contains(&need.purpose)) {
        let state = if is_present(need)? {
            "ok".to_owned()
        } else {
            code = ExitCode::FAILURE;
            format!("MISSING: {}", how(need))
        };
        println!("{:<12} {:<45} {state}", need.name, need.why);
    }
    Ok(code)
}

fn missing(purposes: &[Purpose]) -> Result<Vec<&'static Need>> {
    let mut missing = Vec::new();
    for need in NEEDS.iter().filter(|need| purposes.contains(&need.purpose)) {
        if !is_present(need)? {
            missing.push(need);
        }
    }
    Ok(missing)
}

fn is_present(need: &Need) -> Result<bool> {
    Ok(match need.kind {
        Kind::Component => has_component(need.name)?,
        Kind::Crate(version) => quiet(Command::new(need.name).arg("--version"))
            .is_ok_and(|said| said.split_whitespace().any(|word| word == version)),
        Kind::Program(_) => find(need.name).is_some(),
        Kind::Unpacked("suricata") => {
            [find(need.name), Some(unpacked(need.name)?)].into_iter().flatten().any(is_suricata_7)
        }
        Kind::Unpacked(_) => find(need.name).is_some() || unpacked(need.name)?.is_file(),
    })
}

/// Whether a program is a Suricata of the first version that takes our configuration.
fn is_suricata_7(program: PathBuf) -> bool {
    let Ok(environment) = tools_environment() else { return false };
    let said = quiet(Command::new(program).arg("-V").envs(environment)).unwrap_or_default();
    let version = said.split_whitespace().skip_while(|word| *word != "version").nth(1);
    version.and_then(|version| version.split('.').next()?.parse::<u32>().ok()).is_some_and(|major| major >= 7)
}

fn how(need: &Need) -> String {
    match need.kind {
        Kind::Component => format!("rustup component add {}", need.name),
        Kind::Crate(version) => format!("cargo install {} --version {version} --locked", need.name),
        Kind::Program(package) => format!("Debian package {package}"),
        Kind::Unpacked(package) => format!("Debian package {package}, unpacked under target/, not installed"),
    }
}

fn has_component(name: &str) -> Result<bool> {
    // rustup puts a program of that name on the path whether the component is there or not; so it must run.
    Ok(match name {
        "clippy" => quiet(workspace::cargo()?.args(["clippy", "--version"])).is_ok(),
        "rustfmt" => quiet(workspace::cargo()?.args(["fmt", "--version"])).is_ok(),
        _ => {
            let sysroot = quiet(Command::new("rustc").args(["--print", "sysroot"]))?;
            Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file()
        }
    })
}

fn install_component(name: &str) -> Result<()> {
    if find("rustup").is_none() {
        bail!("this Rust lacks {name}, and there is no rustup to add it: install Rust by rustup");
    }
    must(Command::new("rustup").args(["component", "add", name]))
}

fn install_crate(name: &str, version: &str) -> Result<()> {
    println!("setup: compiling {name} {version}, about two minutes of CPU");
    must(workspace::cargo()?.args(["install", name, "--version", version, "--locked", "--force", "--quiet"]))
}

fn install_packages(missing: &[&Need]) -> Result<()> {
    let mut installed = Vec::new();
    let mut unpacked = Vec::new();
    for need in missing {
        match need.kind {
            Kind::Program(package) => installed.push(package),
            Kind::Unpacked(package) => unpacked.push((need.name, package)),
            Kind::Component | Kind::Crate(_) => {}
        }
    }
    if installed.is_empty() && unpacked.is_empty() {
        return Ok(());
    }
    let apt = find("apt-get").with_context(|| {
        format!("this system has no apt-get: install what brings these by its own means: {}", names(missing))
    })?;
    if !is_root() {
        let wanted: Vec<&str> = installed.iter().copied().chain(unpacked.iter().map(|(_, package)| *package)).collect();
        bail!("installing packages needs root: run `sudo apt-get install {}`, then this again", wanted.join(" "));
    }
    let wanted = || installed.iter().copied().chain(unpacked.iter().map(|(_, package)| *package));
    let backports = if wanted().any(|package| FROM_BACKPORTS.contains(&package)) { Backports::find()? } else { None };
    let sources = backports.as_ref().map(|backports| backports.sources.clone()).unwrap_or_default();
    let options = |package: &str| match &backports {
        Some(backports) if FROM_BACKPORTS.contains(&package) => backports.options(),
        _ => Vec::new(),
    };
    quiet(Command::new(&apt).args(["update", "-qq"]).args(&sources))?;
    let (newer, plain): (Vec<&str>, Vec<&str>) =
        installed.iter().partition(|package| FROM_BACKPORTS.contains(package) && backports.is_some());
    for packages in [plain, newer] {
        let Some(first) = packages.first() else { continue };
        let mut command = Command::new(&apt);
        command.args(["install", "-y", "-qq", "--no-install-recommends"]).args(options(first)).args(&packages);
        println!("setup: {}", line(&command));
        // Where an init script would start a service, Debian takes this for single-user mode and starts none.
        quiet(command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1"))?;
    }
    for (program, package) in unpacked {
        unpack(&apt, program, package, &options(package))?;
    }
    Ok(())
}

/// Debian 12 itself has a Suricata that is too old for what the agent writes, and an emulator too old for new kernels;
/// its backports have newer ones.
const FROM_BACKPORTS: [&str; 4] = ["suricata", "suricata-update", "qemu-system-x86", "qemu-system-arm"];

struct Backports {
    /// What shows apt the archive, where the machine does not name it.
    sources: Vec<String>,
}

impl Backports {
    /// Nothing where the system is another one.
    fn find() -> Result<Option<Self>> {
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        if !release.lines().any(|line| line == "VERSION_CODENAME=bookworm") {
            return Ok(None);
        }
        if quiet(Command::new("apt-cache").args(["policy"])).is_ok_and(|said| said.contains("bookworm-backports")) {
            return Ok(Some(Self { sources: Vec::new() }));
        }
        // For these runs of apt alone; nothing under /etc is changed.
        let tools = tools_dir()?;
        fs::create_dir_all(&tools).with_context(|| format!("`{}` cannot be made", tools.display()))?;
        let list = tools.join("sources.list");
        let mut text = fs::read_to_string("/etc/apt/sources.list").unwrap_or_default();
        text.push_str("\ndeb http://deb.debian.org/debian bookworm-backports main\n");
        fs::write(&list, text).with_context(|| format!("`{}` cannot be written", list.display()))?;
        Ok(Some(Self { sources: vec!["-o".to_owned(), format!("Dir::Etc::sourcelist={}", list.display())] }))
    }

    fn options(&self) -> Vec<String> {
        let target = ["-t", "bookworm-backports"].map(str::to_owned);
        self.sources.iter().cloned().chain(target).collect()
    }
}

fn names(needs: &[&Need]) -> String {
    let names: Vec<&str> = needs.iter().map(|need| need.name).collect();
    names.join(", ")
}

/// Where a program is, installed or unpacked.
pub(crate) fn tool(program: &str) -> Result<PathBuf> {
    Ok(find(program).unwrap_or(unpacked(program)?))
}

/// Where the program lies, or would lie, under the tools.
fn unpacked(program: &str) -> Result<PathBuf> {
    let tools = tools_dir()?;
    let system = tools.join("usr/sbin").join(program);
    Ok(if system.is_file() { system } else { tools.join("usr/bin").join(program) })
}

fn unpack(apt: &Path, program: &str, package: &str, options: &[String]) -> Result<()> {
    let tools = tools_dir()?;
    let archive = tools.join("archive");
    let partial = archive.join("partial");
    fs::create_dir_all(&partial).with_context(|| format!("`{}` cannot be made", partial.display()))?;
    println!("setup: unpacking {package} into {}", tools.display());
    let mut cache = OsString::from("Dir::Cache::archives=");
    cache.push(&archive);
    // Brings the libraries that this system lacks, too.
    let mut download = Command::new(apt);
    download.args(["install", "-y", "-qq", "--no-install-recommends", "--reinstall", "--download-only"]);
    download.args(options).arg("-o");
    quiet(download.arg(cache).arg(package).env("DEBIAN_FRONTEND", "noninteractive"))?;
    for entry in fs::read_dir(&archive).with_context(|| format!("`{}` is unreadable", archive.display()))? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "deb") {
            quiet(Command::new("dpkg-deb").arg("-x").arg(&file).arg(&tools))?;
        }
    }
    fs::remove_dir_all(&archive).with_context(|| format!("`{}` cannot be removed", archive.display()))?;
    if !unpacked(program)?.is_file() {
        bail!("the Debian package {package} brought no `{program}`");
    }
    Ok(())
}

/// What a program must be told to find those that were unpacked, and their libraries.
pub(crate) fn tools_environment() -> Result<Vec<(&'static str, OsString)>> {
    let tools = tools_dir()?;
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(env::split_paths(&path).chain(["usr/bin", "usr/sbin"].map(|dir| tools.join(dir))))
        .context("an entry of PATH holds a colon")?;
    let libraries = tools.join("usr/lib");
    // Debian keeps libraries in a folder named after the machine.
    let folders: Vec<PathBuf> = fs::read_dir(&libraries)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|folder| folder.file_name().is_some_and(|name| name.to_string_lossy().ends_with("-linux-gnu")))
        // Samba keeps its own in a folder below.
        .flat_map(|folder| [folder.join("samba"), folder])
        .filter(|folder| folder.is_dir())
        .collect();
    let mut environment = vec![("PATH", path)];
    if !folders.is_empty() {
        let library_path = env::join_paths(folders).context("the target directory's path holds a colon")?;
        environment.push(("LD_LIBRARY_PATH", library_path));
    }
    Ok(environment)
}
