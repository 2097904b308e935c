//! Scripts that decide on a request before an application sees it: who may come in, and who is to serve it.
//!
//! They run in the Apache child, also when the application runs in a daemon process.

use crate::abi::Bytes;
use crate::request::Facts;

/// What a script is asked.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// `check_password(environ, user, password)`: [`Advice::Yes`] with the user's new name, if it gets one.
    Password = 0,
    /// `get_realm_hash(environ, user, realm)`: [`Advice::Yes`] with the hash.
    RealmHash = 1,
    /// `groups_for_user(environ, user)`: [`Advice::Yes`] with the names of the groups.
    Groups = 2,
    /// `allow_access(environ, host)`.
    Access = 3,
    /// `process_group(environ)`, `application_group(environ)` and `callable_object(environ)`: [`Advice::Yes`] with
    /// three answers, each absent when the script leaves it to the configuration.
    Dispatch = 4,
}

/// A question to a script.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Consultation<'a> {
    /// Script, application group, environ entries, flags.
    pub facts: Facts<'a>,
    /// The file that the request is for: log lines name it.
    pub resource: Bytes<'a>,
    /// What is asked.
    pub question: Question,
    /// The user or the host.
    pub subject: Bytes<'a>,
    /// The password or the realm.
    pub detail: Bytes<'a>,
}

/// What a script says.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// It failed, which was logged.
    Failed = 0,
    /// Yes, with the answers that were handed over.
    Yes = 1,
    /// No.
    No = 2,
    /// `None`: it does not know, or leaves it to others.
    Nothing = 3,
    /// The interpreter cannot be had. Only that part of it was logged which concerns the interpreter.
    Unavailable = 4,
    /// The script could not be loaded, which was logged.
    NotLoaded = 5,
}
