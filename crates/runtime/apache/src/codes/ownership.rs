//! The codes of `script-user=` and `script-group=` ([`crate::ownership`]). Numbers for permissions that the system does
//! not tell have no use here: who may examine a file is told all of them at once.

use wsgi_protocol::abi::Level::Error;

use super::{Code, code};

const FORBIDDEN: &str = "Status 403.";

pub(crate) static SCRIPT_GROUP_UNKNOWN: Code = code(
    153,
    Error,
    "script-group: the script's group could not be found out.",
    FORBIDDEN,
    "Let the Apache user search the folders of the script.",
);
pub(crate) static SCRIPT_GROUP_NAME: Code = code(
    154,
    Error,
    "script-group: the script's group has no name.",
    FORBIDDEN,
    "Give the file to a user and group that the system knows.",
);
pub(crate) static SCRIPT_GROUP_DIFFERS: Code = code(
    155,
    Error,
    "script-group: the script belongs to another group.",
    FORBIDDEN,
    "Change its owner, or the option.",
);
pub(crate) static SCRIPT_GROUP_WORLD: Code =
    code(157, Error, "script-group: everybody can write to the script.", FORBIDDEN, "Take the right to write away.");
pub(crate) static SCRIPT_GROUP_PARENT_UNKNOWN: Code = code(
    158,
    Error,
    "script-group: the group of the script's folder could not be found out.",
    FORBIDDEN,
    "Let the Apache user search the folders of the script.",
);
pub(crate) static SCRIPT_GROUP_PARENT_NAME: Code = code(
    159,
    Error,
    "script-group: the group of the script's folder has no name.",
    FORBIDDEN,
    "Give the file to a user and group that the system knows.",
);
pub(crate) static SCRIPT_GROUP_PARENT_DIFFERS: Code = code(
    160,
    Error,
    "script-group: the script's folder belongs to another group.",
    FORBIDDEN,
    "Change its owner, or the option.",
);
pub(crate) static SCRIPT_GROUP_PARENT_WORLD: Code = code(
    161,
    Error,
    "script-group: everybody can write to the script's folder.",
    FORBIDDEN,
    "Take the right to write away.",
);
pub(crate) static SCRIPT_USER_UNKNOWN: Code = code(
    162,
    Error,
    "script-user: the script's owner could not be found out.",
    FORBIDDEN,
    "Let the Apache user search the folders of the script.",
);
pub(crate) static SCRIPT_USER_NAME: Code = code(
    163,
    Error,
    "script-user: the script's owner has no name.",
    FORBIDDEN,
    "Give the file to a user and group that the system knows.",
);
pub(crate) static SCRIPT_USER_DIFFERS: Code =
    code(164, Error, "script-user: the script belongs to another user.", FORBIDDEN, "Change its owner, or the option.");
pub(crate) static SCRIPT_USER_GROUP_WRITABLE: Code =
    code(166, Error, "script-user: the script's group can write to it.", FORBIDDEN, "Take the right to write away.");
pub(crate) static SCRIPT_USER_WORLD: Code =
    code(168, Error, "script-user: everybody can write to the script.", FORBIDDEN, "Take the right to write away.");
pub(crate) static SCRIPT_USER_PARENT_UNKNOWN: Code = code(
    169,
    Error,
    "script-user: the owner of the script's folder could not be found out.",
    FORBIDDEN,
    "Let the Apache user search the folders of the script.",
);
pub(crate) static SCRIPT_USER_PARENT_NAME: Code = code(
    170,
    Error,
    "script-user: the owner of the script's folder has no name.",
    FORBIDDEN,
    "Give the file to a user and group that the system knows.",
);
pub(crate) static SCRIPT_USER_PARENT_DIFFERS: Code = code(
    171,
    Error,
    "script-user: the script's folder belongs to another user.",
    FORBIDDEN,
    "Change its owner, or the option.",
);
pub(crate) static SCRIPT_USER_PARENT_WORLD: Code = code(
    172,
    Error,
    "script-user: everybody can write to the script's folder.",
    FORBIDDEN,
    "Take the right to write away.",
);
pub(crate) static SCRIPT_USER_PARENT_GROUP_WRITABLE: Code = code(
    173,
    Error,
    "script-user: the group of the script's folder can write to it.",
    FORBIDDEN,
    "Take the right to write away.",
);
