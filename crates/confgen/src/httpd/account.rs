//! The account httpd serves as, and whether it can reach a file.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User};

/// A system account with all its groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// The name of its primary group.
    pub group_name: String,
    /// Its user id.
    pub uid: u32,
    /// Its primary group's id.
    pub gid: u32,
    /// All groups it is a member of.
    pub groups: Vec<u32>,
    /// Its home directory.
    pub home: PathBuf,
}

/// Why an account could not be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AccountError {
    /// No such name.
    #[error("there is no user named {0:?}")]
    UnknownUser(String),
    /// No such id.
    #[error("there is no user with id {0}")]
    UnknownId(u32),
    /// The user database could not be read.
    #[error("cannot look up the user {0}: {1}")]
    Lookup(String, nix::Error),
}

/// What keeps an account from a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// The first folder or file on the way that is closed to the account.
    pub path: PathBuf,
    /// Whether it is a folder on the way (search permission) or the file itself (read permission).
    pub folder: bool,
    /// Whether it is missing altogether.
    pub missing: bool,
}

impl Account {
    /// The account with this name.
    pub fn by_name(name: &str) -> Result<Self, AccountError> {
        let user = User::from_name(name).map_err(|error| AccountError::Lookup(name.to_owned(), error))?;
        Ok(Self::from_user(user.ok_or_else(|| AccountError::UnknownUser(name.to_owned()))?))
    }

    /// The account with this id.
    pub fn by_id(uid: u32) -> Result<Self, AccountError> {
        let user = User::from_uid(Uid::from_raw(uid)).map_err(|error| AccountError::Lookup(uid.to_string(), error))?;
        Ok(Self::from_user(user.ok_or(AccountError::UnknownId(uid))?))
    }

    /// The account this process runs as. An id without an entry (a container's arbitrary user) gets its number as name.
    pub fn current() -> Self {
        let (uid, gid) = (Uid::effective(), Gid::effective());
        match User::from_uid(uid) {
            Ok(Some(user)) => Self::from_user(user),
            _ => Self {
                name: uid.to_string(),
                group_name: gid.to_string(),
                uid: uid.as_raw(),
                gid: gid.as_raw(),
                groups: nix::unistd::getgroups().unwrap_or_default().into_iter().map(Gid::as_raw).collect(),
                home: PathBuf::from("/"),
            },
        }
    }

    /// The first of the accounts that distributions give to a web server, for a start as root that names none.
    pub fn of_web_server() -> Option<Self> {
        ["www-data", "apache", "www", "http", "httpd", "nobody"].iter().find_map(|name| Self::by_name(name).ok())
    }

    /// Whether this is the superuser.
    pub fn is_root(&self) -> bool {
        self.uid == 0
    }

    fn from_user(user: User) -> Self {
        let group_name =
            Group::from_gid(user.gid).ok().flatten().map_or_else(|| format!("#{}", user.gid), |group| group.name);
        let groups = CString::new(user.name.as_str())
            .ok()
            .and_then(|name| nix::unistd::getgrouplist(&name, user.gid).ok())
            .unwrap_or_else(|| vec![user.gid])
            .into_iter()
            .map(Gid::as_raw)
            .collect();
        Self { name: user.name, group_name, uid: user.uid.as_raw(), gid: user.gid.as_raw(), groups, home: user.dir }
    }

    /// What keeps this account from reading `path` (and from searching it, if it is a folder), judged by the permission bits.
    ///
    /// What has an access control list is taken to be open: the list may allow what the bits refuse. Security modules are not
    /// looked at; they may refuse more.
    pub fn obstacle(&self, path: &Path) -> Option<Obstacle> {
        self.obstacle_on_the_way(path).or_else(|| {
            let needed = if path.is_dir() { 0o5 } else { 0o4 };
            self.refused(path, needed).map(|missing| Obstacle { path: path.to_owned(), folder: needed == 0o5, missing })
        })
    }

    /// What keeps this account from the folder that `path` is in.
    pub fn obstacle_on_the_way(&self, path: &Path) -> Option<Obstacle> {
        let ancestors: Vec<&Path> = path.ancestors().collect();
        for folder in ancestors.iter().skip(1).rev().filter(|folder| !folder.as_os_str().is_empty()) {
            if let Some(missing) = self.refused(folder, 0o1) {
                return Some(Obstacle { path: (*folder).to_owned(), folder: true, missing });
            }
        }
        None
    }

    /// `None` if the bits are granted, otherwise whether the path is missing.
    fn refused(&self, path: &Path, needed: u32) -> Option<bool> {
        let Ok(metadata) = fs::metadata(path) else { return Some(true) };
        if self.is_root() {
            return None;
        }
        let mode = metadata.mode();
        let granted = if metadata.uid() == self.uid {
            mode >> 6
        } else if metadata.gid() == self.gid || self.groups.contains(&metadata.gid()) {
            mode >> 3
        } else {
            mode
        };
        if granted & needed == needed || has_access_list(path) { None } else { Some(false) }
    }
}

/// Whether a file has an access control list beside its permission bits.
fn has_access_list(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return false };
    // SAFETY: both texts end with a NUL, and with a size of 0 nothing is written to the null pointer.
    unsafe { libc::getxattr(path.as_ptr(), c"system.posix_acl_access".as_ptr(), std::ptr::null_mut(), 0) > 0 }
}

impl Obstacle {
    /// A sentence with the cause and what to do, for the account of the given name.
    pub fn explain(&self, account: &str) -> String {
        let path = self.path.display();
        if self.missing {
            format!("{path} does not exist")
        } else if self.folder {
            format!(
                "the user {account} may not enter the folder {path}; run `chmod o+x {path}`, or move the application below a folder that {account} can enter, or serve as another user"
            )
        } else {
            format!("the user {account} may not read {path}; run `chmod o+r {path}` or serve as another user")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn stranger() -> Account {
        Account {
            name: "stranger".into(),
            group_name: "stranger".into(),
            uid: 54_321,
            gid: 54_321,
            groups: vec![54_321],
            home: "/".into(),
        }
    }

    #[test]
    fn names_the_first_closed_folder() {
        let top = tempfile::tempdir().unwrap();
        fs::set_permissions(top.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let closed = top.path().join("home");
        fs::create_dir_all(closed.join("app")).unwrap();
        fs::write(closed.join("app/site.wsgi"), "").unwrap();
        let script = closed.join("app/site.wsgi");
        assert_eq!(stranger().obstacle(&script), None);
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        let obstacle = stranger().obstacle(&script).unwrap();
        assert_eq!((obstacle.path.as_path(), obstacle.folder, obstacle.missing), (closed.as_path(), true, false));
        assert!(obstacle.explain("stranger").contains("may not enter the folder"));
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o711)).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o600)).unwrap();
        let obstacle = stranger().obstacle(&script).unwrap();
        assert_eq!((obstacle.path.as_path(), obstacle.folder), (script.as_path(), false));
    }

    #[test]
    fn a_missing_file_is_said_to_be_missing() {
        let obstacle = stranger().obstacle(Path::new("/nonexistent-folder/x.wsgi")).unwrap();
        assert!(obstacle.missing);
        assert_eq!(obstacle.explain("x"), "/nonexistent-folder does not exist");
    }

    #[test]
    fn unknown_users_are_named() {
        assert_eq!(
            Account::by_name("no-such-user-here").unwrap_err().to_string(),
            "there is no user named \"no-such-user-here\""
        );
        assert!(Account::by_id(0).unwrap().is_root());
    }
}
