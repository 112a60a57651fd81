//! Files as accidents and careless hands leave them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::lab::rng::Rng;

/// Writes a configuration in place that is none, and says what it is.
pub(super) fn config(path: &Path, how: u64) -> Result<&'static str> {
    let mut rng = Rng::new(how, "configuration");
    let whole = fs::read(path).with_context(|| format!("`{}` is unreadable", path.display()))?;
    let with = |line: &str| [whole.as_slice(), line.as_bytes()].concat();
    let (what, bytes) = match rng.range(0, 5) {
        0 => ("noise", noise(&mut rng, 2_000)),
        1 => ("half of it", [&whole[..whole.len() / 2], b"\n[".as_slice()].concat()),
        2 => ("an unknown key", with("\n[fuse]\ndedup_sec = 7\n")),
        3 => ("a value out of range", with("\n[window]\nhosts_max = -1\n")),
        4 => ("a value of another type", with("\n[sample]\npackets = \"three\"\n")),
        _ => {
            fs::remove_file(path).with_context(|| format!("`{}` cannot be removed", path.display()))?;
            return Ok("no file");
        }
    };
    fs::write(path, bytes).with_context(|| format!("`{}` cannot be written", path.display()))?;
    Ok(what)
}

/// A model's file that was spoilt, and what it held.
pub(super) struct Spoilt {
    pub(super) what: String,
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Spoilt {
    pub(super) fn undo(&self) -> Result<()> {
        fs::write(&self.path, &self.bytes).with_context(|| format!("`{}` cannot be written", self.path.display()))
    }
}

/// Spoils one file of one model in place.
pub(super) fn model(models: &Path, how: u64) -> Result<Spoilt> {
    let mut rng = Rng::new(how, "model");
    let mut files = Vec::new();
    for folder in fs::read_dir(models).with_context(|| format!("`{}` is unreadable", models.display()))? {
        let folder = folder?.path();
        for file in fs::read_dir(&folder).with_context(|| format!("`{}` is unreadable", folder.display()))? {
            let file = file?.path();
            // The card is for people, and with trees beside it the graph is for another backend.
            let is_read = match file.file_name().and_then(|name| name.to_str()) {
                Some("card.md") => false,
                Some("model.onnx") => !folder.join("model.trees").is_file(),
                Some(_) | None => true,
            };
            if is_read {
                files.push(file);
            }
        }
    }
    files.sort();
    let path = files.get(usize::try_from(rng.range(0, files.len().saturating_sub(1) as u64))?).context("no models")?;
    let bytes = fs::read(path).with_context(|| format!("`{}` is unreadable", path.display()))?;
    let (what, spoilt) = match rng.range(0, 3) {
        0 => ("noise in", noise(&mut rng, bytes.len())),
        1 => ("half of", bytes[..bytes.len() / 2].to_vec()),
        2 => ("nothing in", Vec::new()),
        _ => ("no", Vec::new()),
    };
    if what == "no" { fs::remove_file(path) } else { fs::write(path, spoilt) }
        .with_context(|| format!("`{}` cannot be spoilt", path.display()))?;
    let name = path.strip_prefix(models).unwrap_or(path).display().to_string();
    Ok(Spoilt { what: format!("{what} {name}"), path: path.clone(), bytes })
}

fn noise(rng: &mut Rng, length: usize) -> Vec<u8> {
    (0..length).map(|_| rng.next().to_le_bytes()[0]).collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, env, fs};

    use super::{config, model};

    #[test]
    fn what_is_spoilt_is_another_file_and_can_be_undone() -> anyhow::Result<()> {
        let dir = env::temp_dir().join(format!("ids-spoil-{}", std::process::id()));
        fs::create_dir_all(dir.join("models/one"))?;
        let (settings, weights) = (dir.join("config.toml"), dir.join("models/one/model.bin"));
        let mut ways = BTreeSet::new();
        for how in 0..40 {
            fs::write(&settings, "[capture]\nmode = \"tc\"\n")?;
            ways.insert(config(&settings, how)?);
            assert_ne!(fs::read(&settings).unwrap_or_default(), b"[capture]\nmode = \"tc\"\n");
            fs::write(&weights, "some weights")?;
            let spoilt = model(&dir.join("models"), how);
            assert_ne!(fs::read(&weights).unwrap_or_default(), b"some weights");
            spoilt?.undo()?;
            assert_eq!(fs::read(&weights)?, b"some weights");
            fs::remove_file(&settings).or_else(|_| anyhow::Ok(()))?;
        }
        assert_eq!(ways.len(), 6);
        fs::remove_dir_all(dir)?;
        Ok(())
    }
}
