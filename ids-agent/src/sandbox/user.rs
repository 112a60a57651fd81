//! Who the agent becomes, and whether that user may write where the agent writes. Reads /etc/passwd and nothing else:
//! a name service would want a network.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::process::{Gid, Uid};

use super::SandboxError;

/// The user that packages make.
const DEFAULT: &str = "ids-agent";

/// A user of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub uid: Uid,
    pub gid: Gid,
}

impl User {
    pub(super) fn root() -> Self {
        Self { name: "root".to_owned(), uid: Uid::ROOT, gid: Gid::ROOT }
    }
}

/// The user that was asked for, who must fit, or the default one, if it does; else why root stays.
pub(super) fn choose(asked: Option<&str>, write: &[PathBuf]) -> Result<Result<User, String>, SandboxError> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = asked.unwrap_or(DEFAULT);
    let Some(user) = find(&passwd, name) else {
        return match asked {
            Some(name) => Err(SandboxError::NoUser { name: name.to_owned() }),
            None => Ok(Err(format!("there is no user `{name}`"))),
        };
    };
    match (write.iter().find(|path| !may_write(path, &user)), asked) {
        (None, _) => Ok(Ok(user)),
        (Some(path), Some(name)) => Err(SandboxError::Unwritable { name: name.to_owned(), path: path.clone() }),
        (Some(path), None) => Ok(Err(format!("user `{name}` cannot write {}", path.display()))),
    }
}

fn find(passwd: &str, name: &str) -> Option<User> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(User { name: name.to_owned(), uid: Uid::from_raw(uid), gid: Gid::from_raw(gid) })
}

/// Whether the user, without capabilities, may make files in a folder. What is not there is nobody's.
pub(super) fn may_write(path: &Path, user: &User) -> bool {
    let Ok(found) = fs::metadata(path) else { return true };
    let shift = if found.uid() == user.uid.as_raw() {
        6
    } else if found.gid() == user.gid.as_raw() {
        3
    } else {
        0
    };
    // To make a name in a folder takes leave to write and to enter.
    let wanted = if found.is_dir() { 0o3 } else { 0o2 };
    found.mode() >> shift & wanted == wanted
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_user_is_found_by_the_whole_name() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nids-agent2:x:7:7::/:\nids-agent:x:998:997::/var/lib:/bin/false\n";
        let user = find(passwd, "ids-agent").unwrap();
        assert_eq!((user.uid.as_raw(), user.gid.as_raw()), (998, 997));
        assert_eq!(find(passwd, "ids"), None);
    }

    #[test]
    fn a_folder_is_written_by_its_owner_its_group_or_all() {
        let folder = tempfile::tempdir().unwrap();
        let owner = fs::metadata(folder.path()).unwrap().uid();
        let (mine, other) = (Uid::from_raw(owner), Uid::from_raw(owner.wrapping_add(4_711)));
        let who = |uid| User { name: String::new(), uid, gid: Gid::from_raw(4_711) };
        for (mode, by_owner, by_other) in [(0o755, true, false), (0o777, true, true), (0o557, false, true)] {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(may_write(folder.path(), &who(mine)), by_owner, "{mode:o}");
            assert_eq!(may_write(folder.path(), &who(other)), by_other, "{mode:o}");
        }
    }

    #[test]
    fn a_user_that_was_asked_for_must_be_there_and_the_default_need_not() {
        assert!(matches!(choose(Some("nobody-of-this-name"), &[]), Err(SandboxError::NoUser { .. })));
        assert!(choose(None, &[]).is_ok());
    }
}
