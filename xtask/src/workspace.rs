//! Where things lie in this checkout, and how cargo is called, so that no crate is compiled twice.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// What every compiling call of `cargo xtask test` shares: another feature set would compile the agent again.
pub(crate) const TEST_SET: [&str; 5] = ["--workspace", "--exclude", "ids-ebpf", "--features", "ids-agent/ort"];

/// The root of the checkout.
pub(crate) fn root() -> Result<PathBuf> {
    // Set by `cargo run`; a binary started by hand looks upwards from where it stands.
    if let Some(manifest) = env::var_os("CARGO_MANIFEST_DIR") {
        let manifest = PathBuf::from(manifest);
        return Ok(manifest.parent().context("xtask has no parent directory")?.to_path_buf());
    }
    let here = env::current_dir().context("the current directory is unreadable")?;
    here.ancestors()
        .find(|dir| dir.join("xtask/Cargo.toml").is_file())
        .map(Path::to_path_buf)
        .with_context(|| format!("`{}` is not inside the project: change into its checkout", here.display()))
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let output = cargo()?
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .context("`cargo metadata` does not start")?;
    ensure!(output.status.success(), "`cargo metadata` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).context("`cargo metadata` is not JSON")?;
    let dir = metadata["target_directory"].as_str().context("`cargo metadata` names no target directory")?;
    Ok(PathBuf::from(dir))
}

/// Cargo, at the root of the checkout.
pub(crate) fn cargo() -> Result<Command> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()?);
    // The inner cargo must choose for itself; these are what the outer one told this process.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    Ok(command)
}

/// The folder of captures as an absolute path, if it holds labels.
pub(crate) fn labelled(dir: &Path) -> Result<PathBuf> {
    let dir = dir.canonicalize().with_context(|| format!("captures folder `{}`", dir.display()))?;
    ensure!(
        dir.join("LABELS.tsv").is_file(),
        "`{}` has no LABELS.tsv: name a folder whose captures are labelled",
        dir.display()
    );
    Ok(dir)
}
