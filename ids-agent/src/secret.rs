//! Secrets: read from a file that nobody else may read, or from what systemd hands over, and never shown again. They
//! stand in no argument, environment variable, log line, metric or printed configuration.

use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::config::SecretPlace;

/// Longer than any token; whoever names a longer file meant another.
const BYTES_MAX: u64 = 4_096;
/// Where systemd says that credentials are.
const DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("cannot read the secret in {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} may be read by others (mode {mode:04o}): `chmod 600` it, and change the secret in it", path.display())]
    Shared { path: PathBuf, mode: u32 },
    #[error("{} belongs to user {owner}, who is neither root nor the agent's", path.display())]
    Foreign { path: PathBuf, owner: u32 },
    #[error("{} is no plain file", path.display())]
    NoFile { path: PathBuf },
    #[error("{} holds no secret: one line of at most {BYTES_MAX} bytes is wanted", path.display())]
    NoSecret { path: PathBuf },
    #[error("there is no credential `{name}`: the service needs `LoadCredential={name}:PATH`")]
    NoCredential { name: String },
}

/// A secret. Printing it prints asterisks.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("***")
    }
}

impl Secret {
    /// Reads it from where the settings say it is.
    pub fn read(place: &SecretPlace) -> Result<Self, SecretError> {
        let credentials = std::env::var_os(DIRECTORY).map(PathBuf::from);
        Self::read_in(place, credentials.as_deref())
    }

    fn read_in(place: &SecretPlace, credentials: Option<&Path>) -> Result<Self, SecretError> {
        match place {
            SecretPlace::File(path) => {
                let file = open(path)?;
                let found = file.metadata().map_err(unreadable(path))?;
                let mode = found.mode() & 0o7777;
                if mode & 0o077 != 0 {
                    return Err(SecretError::Shared { path: path.clone(), mode });
                }
                let own = rustix::process::geteuid().as_raw();
                if ![0, own].contains(&found.uid()) {
                    return Err(SecretError::Foreign { path: path.clone(), owner: found.uid() });
                }
                text(file, path)
            }
            SecretPlace::Credential(name) => {
                let missing = || SecretError::NoCredential { name: name.clone() };
                // systemd has seen to who may read them; a name must not lead elsewhere.
                let plain = !name.is_empty() && !name.starts_with('.') && !name.contains('/');
                let path = credentials.filter(|_| plain).ok_or_else(missing)?.join(name);
                if !path.exists() {
                    return Err(missing());
                }
                text(open(&path)?, &path)
            }
        }
    }

    /// The secret itself, for where it is used.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// `text` without the secret, should a program that was given it have repeated it.
    pub fn redact(&self, text: &str) -> String {
        text.replace(&self.0, "***")
    }
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> SecretError + use<'_> {
    move |source| SecretError::Unreadable { path: path.to_owned(), source }
}

fn open(path: &Path) -> Result<File, SecretError> {
    // A pipe would hold up the start for ever.
    if !path.metadata().map_err(unreadable(path))?.is_file() {
        return Err(SecretError::NoFile { path: path.to_owned() });
    }
    File::open(path).map_err(unreadable(path))
}

fn text(file: File, path: &Path) -> Result<Secret, SecretError> {
    let mut text = String::new();
    let read = file.take(BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable(path))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() || read as u64 > BYTES_MAX || secret.chars().any(char::is_control) {
        return Err(SecretError::NoSecret { path: path.to_owned() });
    }
    Ok(Secret(secret.to_owned()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn written(folder: &Path, text: &str, mode: u32) -> PathBuf {
        let path = folder.join("token");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_secret_is_read_from_a_file_of_its_owner_and_never_printed() {
        let folder = tempfile::tempdir().unwrap();
        let place = SecretPlace::File(written(folder.path(), "hunter2\n", 0o600));
        let secret = Secret::read(&place).unwrap();
        assert_eq!(secret.reveal(), "hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        assert_eq!(secret.redact("fetching https://a/hunter2/x"), "fetching https://a/***/x");
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_with_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        for mode in [0o644, 0o640, 0o604, 0o660] {
            let path = written(folder.path(), "hunter2", mode);
            let error = Secret::read(&SecretPlace::File(path)).unwrap_err().to_string();
            assert!(error.contains(&format!("{mode:04o}")) && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "\n", "two\nlines", "a\tb", &"x".repeat(5_000)] {
            let path = written(folder.path(), text, 0o600);
            assert!(matches!(Secret::read(&SecretPlace::File(path)), Err(SecretError::NoSecret { .. })), "{text:?}");
        }
        let place = SecretPlace::File(folder.path().to_owned());
        assert!(matches!(Secret::read(&place), Err(SecretError::NoFile { .. })));
    }

    #[test]
    fn a_credential_is_one_of_those_that_systemd_handed_over() {
        let folder = tempfile::tempdir().unwrap();
        written(folder.path(), "hunter2", 0o440);
        let read = |name: &str, from| Secret::read_in(&SecretPlace::Credential(name.to_owned()), from);
        assert_eq!(read("token", Some(folder.path())).unwrap().reveal(), "hunter2");
        for (name, from) in [("other", Some(folder.path())), ("token", None), ("../token", Some(folder.path()))] {
            assert!(matches!(read(name, from), Err(SecretError::NoCredential { .. })), "{name}");
        }
    }
}
