//! What a test needs of the machine, and the one line it prints where the machine lacks it.

use std::{env, fmt, path::Path};

/// Something a test cannot do without.
#[derive(Clone, Copy, Debug)]
pub enum Need<'a> {
    /// Effective uid 0: namespaces, loading programs.
    Root,
    /// A program on the search path.
    Tool(&'a str),
    /// A file or directory.
    File(&'a Path),
}

impl Need<'_> {
    fn is_met(self) -> bool {
        match self {
            Self::Root => rustix::process::geteuid().is_root(),
            Self::Tool(name) => tool(name),
            Self::File(path) => path.exists(),
        }
    }
}

impl fmt::Display for Need<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => write!(f, "root"),
            Self::Tool(name) => write!(f, "the program `{name}`"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Whether a program is on the search path.
pub fn tool(name: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|dir| dir.join(name).is_file()))
}

/// Whether every need is met; prints one line for the first that is not.
///
/// Where CI is true and the user is root, nothing can excuse a missing tool, so that fails.
pub fn can_run(test: &str, needs: &[Need<'_>]) -> bool {
    let Some(missing) = needs.iter().find(|need| !need.is_met()) else { return true };
    let strict = env::var("CI").is_ok_and(|ci| ci == "true") && Need::Root.is_met();
    assert!(!(strict && matches!(missing, Need::Tool(_))), "{test} needs {missing}, which CI must install");
    eprintln!("skipped: {test} needs {missing}");
    false
}
