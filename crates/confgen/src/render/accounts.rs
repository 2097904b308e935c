//! Users and groups that the spec names.

use super::builder::Builder;
use crate::diagnostic::{Code, Diagnostic};
use crate::document::Path;
use crate::spec::Account;

/// A user has to exist, must not be root, and can only be changed to by root.
pub(super) fn user(builder: &mut Builder<'_>, account: &Account, key: &Path) {
    match builder.facts.user(account.as_str()) {
        None => {
            let diagnostic = Diagnostic::error(Code::UnknownUser, format!("there is no user `{account}`"));
            let known = builder.facts.users.keys().map(String::as_str);
            builder.report(key, "", diagnostic.did_you_mean(account.as_str(), known));
        }
        Some(0) => {
            let diagnostic = Diagnostic::error(Code::ServesAsRoot, "applications are never run as root");
            builder.report(key, "", diagnostic.help("name an unprivileged user"));
        }
        Some(uid) => needs_root(builder, key, &format!("running as `{account}`"), uid == builder.facts.start.uid),
    }
}

/// A user's own primary group, where root may change to it. Nothing for an account that only its number is known of.
pub(super) fn group_of(builder: &mut Builder<'_>, account: &Account, key: &Path) -> Option<String> {
    if !builder.facts.starts_as_root() || builder.facts.user(account.as_str()) == Some(0) {
        return None;
    }
    let group = builder.facts.group_of(account.as_str())?;
    if builder.facts.group(&group) == Some(0) {
        let message = format!("the primary group of `{account}` is root's");
        let diagnostic = Diagnostic::error(Code::ServesAsRoot, message);
        builder.report(key, "", diagnostic.help("name an unprivileged group with `group`"));
        return None;
    }
    Some(group)
}

/// A group has to exist, must not be root's, and can only be changed to by root.
pub(super) fn group(builder: &mut Builder<'_>, account: &Account, key: &Path) {
    match builder.facts.group(account.as_str()) {
        None => {
            let diagnostic = Diagnostic::error(Code::UnknownUser, format!("there is no group `{account}`"));
            let known = builder.facts.groups.keys().map(String::as_str);
            builder.report(key, "", diagnostic.did_you_mean(account.as_str(), known));
        }
        Some(0) => {
            let diagnostic = Diagnostic::error(Code::ServesAsRoot, "applications are never run with root's group");
            builder.report(key, "", diagnostic.help("name an unprivileged group"));
        }
        Some(_) => needs_root(builder, key, &format!("running with the group `{account}`"), false),
    }
}

/// Something that only root may do; when it changes nothing for the one who starts, a warning is enough.
pub(super) fn needs_root(builder: &mut Builder<'_>, key: &Path, what: &str, changes_nothing: bool) {
    if builder.facts.starts_as_root() {
        return;
    }
    let user = &builder.facts.start.user;
    let message = format!("{what} needs a start as root; httpd is started as `{user}`");
    let diagnostic = match changes_nothing {
        true => Diagnostic::warning(Code::NeedsRoot, message),
        false => Diagnostic::error(Code::NeedsRoot, message),
    };
    builder.report(key, "", diagnostic.help("start as root, or leave the key out (a profile can set it to null)"));
}
