//! Users and groups, and whom Apache serves as.

use std::ffi::CStr;

use crate::host::Pool;
use crate::host::request::text;
use crate::sys;

/// A user of the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// Its number.
    pub(crate) id: u32,
    /// Its login group.
    pub(crate) group: u32,
    /// Its name, when the number has one.
    pub(crate) name: Option<String>,
}

/// Whom Apache's children run as, from `User` and `Group`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServingUser {
    /// The user's number.
    pub(crate) id: u32,
    /// The group's number.
    pub(crate) group: u32,
    /// The user's name.
    pub(crate) name: Option<String>,
}

/// Whom Apache's children run as. Settled once the configuration was read.
pub(crate) fn serving_user() -> ServingUser {
    // SAFETY: plain calls; a start as an ordinary user keeps that user.
    unsafe {
        if libc::geteuid() != 0 {
            return ServingUser { id: libc::geteuid(), group: libc::getegid(), name: None };
        }
        let config = &raw const sys::ap_unixd_config;
        let name = text((*config).user_name).map(|name| name.to_string_lossy().into_owned());
        ServingUser { id: (*config).user_id, group: (*config).group_id, name }
    }
}

/// A user by name, or by number as `#1000`.
pub(crate) fn user(pool: Pool<'_>, given: &CStr) -> Option<User> {
    let (mut id, mut group) = (0, 0);
    if let Some(number) = given.to_str().ok().and_then(|given| given.strip_prefix('#')) {
        let id = number.parse().ok()?;
        let mut name = std::ptr::null_mut();
        // SAFETY: the results are writable; the name is made in the pool.
        let name = unsafe {
            let status = sys::apr_uid_name_get(&raw mut name, id, pool.raw());
            if status == 0 { text(name) } else { None }
        };
        if let Some(name) = name {
            let mut same = id;
            // SAFETY: as above.
            unsafe { sys::apr_uid_get(&raw mut same, &raw mut group, name.as_ptr(), pool.raw()) };
        }
        return Some(User { id, group, name: name.map(|name| name.to_string_lossy().into_owned()) });
    }
    // SAFETY: the results are writable.
    let status = unsafe { sys::apr_uid_get(&raw mut id, &raw mut group, given.as_ptr(), pool.raw()) };
    (status == 0).then(|| User { id, group, name: Some(given.to_string_lossy().into_owned()) })
}

/// A group by name, or by number as `#1000`.
pub(crate) fn group_id(pool: Pool<'_>, given: &CStr) -> Option<u32> {
    if let Some(number) = given.to_str().ok().and_then(|given| given.strip_prefix('#')) {
        return number.parse().ok();
    }
    let mut id = 0;
    // SAFETY: the result is writable.
    let status = unsafe { sys::apr_gid_get(&raw mut id, given.as_ptr(), pool.raw()) };
    (status == 0).then_some(id)
}

/// The name of a user.
pub(crate) fn user_name(pool: Pool<'_>, id: u32) -> Option<&CStr> {
    let mut name = std::ptr::null_mut();
    // SAFETY: the result is writable; the name is made in the pool.
    unsafe { if sys::apr_uid_name_get(&raw mut name, id, pool.raw()) == 0 { text(name) } else { None } }
}

/// The name of a group.
pub(crate) fn group_name(pool: Pool<'_>, id: u32) -> Option<&CStr> {
    let mut name = std::ptr::null_mut();
    // SAFETY: as above.
    unsafe { if sys::apr_gid_name_get(&raw mut name, id, pool.raw()) == 0 { text(name) } else { None } }
}
