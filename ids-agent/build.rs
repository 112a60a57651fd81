//! Compiles the kernel programs, which `kernel` embeds. They are always optimised and always built
//! by the same stable toolchain, whatever profile the agent is built in.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

const TARGET: &str = "bpfel-unknown-none";
const MEMBER: &str = "ids-ebpf";

fn main() {
    for watched in ["ids-ebpf/src", "ids-ebpf/Cargo.toml", "ids-common/src", "ids-common/Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed=../{watched}");
    }
    println!("cargo::rerun-if-changed=build.rs");
    if let Err(problem) = build() {
        println!("cargo::error={problem}");
    }
}

fn build() -> Result<(), String> {
    let out_dir = PathBuf::from(variable("OUT_DIR")?);
    let manifest_dir = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let root = manifest_dir.parent().ok_or("the agent's crate has no parent directory")?;
    if variable("CARGO_CFG_TARGET_ENDIAN")? != "little" {
        return Err("the kernel programs are built for little-endian machines alone".into());
    }
    require_tools()?;

    let target_dir = shared_target_dir(&out_dir);
    let mut cargo = Command::new(variable("CARGO")?);
    // What the outer build set for the agent must not reach the programs.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        let keep = matches!(&*name, "CARGO_HOME" | "CARGO_NET_OFFLINE" | "RUSTUP_HOME" | "RUSTUP_TOOLCHAIN");
        if !keep && (name.starts_with("CARGO") || name.starts_with("RUST") || name == "TARGET" || name == "HOST") {
            cargo.env_remove(&*name);
        }
    }
    // `target-cpu=v3` has 32-bit arithmetic and fetching atomics (Linux 5.12); debug information is
    // what the map definitions are read from.
    let flags = ["-Ctarget-cpu=v3", "-Cdebuginfo=2", "-Clink-arg=--btf"].join("\x1f");
    let output = cargo
        .current_dir(root)
        .args(["build", "--package", MEMBER, "--release", "--target", TARGET, "-Z", "build-std=core"])
        .arg("--target-dir")
        .arg(&target_dir)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .output()
        .map_err(|error| format!("cannot run cargo for the kernel programs: {error}"))?;
    if !output.status.success() {
        let log = String::from_utf8_lossy(&output.stderr);
        for line in log.lines() {
            println!("cargo::warning={line}");
        }
        return Err(format!("the kernel programs do not build ({}); the lines above say why", output.status));
    }
    let object = target_dir.join(TARGET).join("release").join(MEMBER);
    std::fs::copy(&object, out_dir.join("ids-ebpf.o"))
        .map_err(|error| format!("cannot copy {}: {error}", object.display()))?;
    Ok(())
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("cargo sets no {name}: {error}"))
}

/// The workspace's `target/ebpf`, so that every profile shares one build; the output directory where
/// the layout is another.
fn shared_target_dir(out_dir: &Path) -> PathBuf {
    // OUT_DIR is target/[triple/]profile/build/package-hash/out.
    let target = out_dir.ancestors().skip(1).find(|dir| dir.join("CACHEDIR.TAG").exists());
    target.unwrap_or(out_dir).join("ebpf")
}

/// Names what is missing before cargo fails on it in other words.
fn require_tools() -> Result<(), String> {
    let linker = Command::new("bpf-linker").arg("--version").output();
    if !linker.is_ok_and(|output| output.status.success()) {
        return Err("bpf-linker is missing; run `cargo xtask setup`".into());
    }
    let rustc = variable("RUSTC")?;
    let sysroot = Command::new(rustc)
        .args(["--print", "sysroot"])
        .output()
        .map_err(|error| format!("cannot run rustc: {error}"))?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&sysroot.stdout).trim());
    if !sysroot.join("lib/rustlib/src/rust/library/core").exists() {
        return Err("the component rust-src is missing; run `cargo xtask setup`".into());
    }
    Ok(())
}
